//! Starting shards, and stopping them.

pub(crate) mod client;
pub(crate) mod error;
mod launch;
mod listening;
pub mod placement;
pub(crate) mod running;
pub(crate) mod server;
mod signals;
