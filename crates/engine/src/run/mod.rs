//! Starts and stops shards.

mod agreement;
pub mod cgroup;
pub(crate) mod client;
mod driver;
pub(crate) mod error;
pub mod handover;
mod launch;
mod listening;
pub(crate) mod local;
mod memory;
pub mod placement;
pub(crate) mod readiness;
pub(crate) mod running;
pub(crate) mod server;
mod signals;
mod sockets;
