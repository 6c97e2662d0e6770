//! Replacing a running server by a new process that takes over its listening sockets.
//!
//! The old process offers its sockets at a Unix socket ([`Running::offer`]). The new one asks for
//! them ([`take_over`]), starts its shards on them ([`Server::from_predecessor`]), and confirms
//! ([`Predecessor::release`]). Only then does the old one begin to drain, with 1012. Both accept from
//! the same queues in between, so no connection is refused or reset. A successor that fails before
//! it confirms, or does not confirm within [`CONFIRM_TIMEOUT`], leaves the old process serving.
//!
//! Two processes that only share a port (`SO_REUSEPORT`) lose connections: those in the queue of the
//! process that closes its socket are reset.
//!
//! The file of the Unix socket has the permissions 0600, and a process of another user than that of
//! the old one, or root, is refused (`SO_PEERCRED`). The protocol has a version; its messages and
//! the number of sockets are limited, and each step has a timeout.
//!
//! ```no_run
//! use ringway::{Connection, Handler, Message, Request, Server, Upgrade, handover};
//! # struct Echo;
//! # impl Handler for Echo {
//! #     type State = ();
//! #     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> { Upgrade::accept(()) }
//! #     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) { conn.reply(message) }
//! # }
//!
//! let path = "/run/chat/handover.sock";
//! let mut predecessor = handover::take_over(path)?;
//! let server = match &mut predecessor {
//!     Some(predecessor) => Server::from_predecessor(predecessor, None)?,
//!     None => Server::bind("0.0.0.0:80")?,
//! };
//! let running = server.start(|_| Echo)?;
//! if let Some(predecessor) = predecessor {
//!     predecessor.release()?; // It drains now.
//! }
//! running.offer(path)?; // for the next process
//! running.stop_on_signals()?;
//! running.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! [`Running::offer`]: crate::Running::offer
//! [`Server::from_predecessor`]: crate::Server::from_predecessor

mod error;
mod offer;
mod predecessor;
mod protocol;

pub use error::HandoverError;
pub(crate) use offer::Offer;
pub use predecessor::{Predecessor, take_over};

use std::time::Duration;

/// The maximum time from the transfer of the sockets to the confirmation of the successor.
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum time for each other step of the exchange.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of sockets that are handed over.
pub const MAX_SOCKETS: usize = 4096;
