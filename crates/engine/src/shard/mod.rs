//! One shard: its sessions, what they share, and the loop that serves them.

mod accepting;
mod admit;
pub(crate) mod balance;
pub(crate) mod clock;
pub(crate) mod core;
pub(crate) mod dispatch;
pub(crate) mod drain;
pub(crate) mod event_loop;
pub(crate) mod http;
pub(crate) mod lifetimes;
pub(crate) mod mailbox;
pub(crate) mod memory;
pub(crate) mod notices;
pub(crate) mod relief;
pub(crate) mod session_table;
pub(crate) mod slice;
mod tapping;
pub(crate) mod timers;
