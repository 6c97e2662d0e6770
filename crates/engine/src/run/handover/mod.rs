//! Replacing a running server by a new process that takes over its listening sockets.
//!
//! The old process offers its sockets at a Unix socket ([`Running::offer`]). The new one asks for
//! them ([`take_over`]), starts its shards on them ([`Server::taking_over`]), and confirms
//! ([`Predecessor::release`]). Only then does the old one stop accepting and begin to drain, with
//! 1012. Both accept from the same queues in between, so no connection is refused or reset, and when
//! the confirmation returns, the old process accepts no more. A successor that fails before it
//! confirms, or does not confirm within [`OfferOptions::confirm_timeout`], leaves the old process
//! serving.
//!
//! # Messages
//!
//! A message that reaches the handler of the old process is answered before the close frame: what
//! [`Connection::send`](crate::Connection::send) and [`Connection::reply`](crate::Connection::reply)
//! have taken until then is sent before it. Messages that arrive after the close frame has been
//! queued never reach the handler. So a client that numbers its messages, and has the handler answer
//! each, sends those without an answer again on its next connection, and none is handled twice or
//! lost. The exceptions are those of every connection: a peer that does not read until the deadline
//! of the drain ([`Config::stop_timeout`](crate::Config::stop_timeout)), or a network that fails.
//!
//! # Two servers without a hand-over
//!
//! Two processes that only share a port (`SO_REUSEPORT`) lose connections: those in the queue of the
//! process that closes its socket are reset.
//!
//! # Who may take over
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
//!     Some(predecessor) => Server::taking_over(predecessor)?.and_bind("0.0.0.0:80")?,
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
//! [`Server::taking_over`]: crate::Server::taking_over

mod error;
mod offer;
mod options;
mod predecessor;
mod protocol;
mod source;

pub use error::HandoverError;
pub(crate) use offer::Offer;
pub use options::OfferOptions;
pub(crate) use predecessor::TakenListeners;
pub use predecessor::{Predecessor, take_over};
pub use source::Part;

use std::time::Duration;

/// The default of [`OfferOptions::confirm_timeout`].
pub const CONFIRM_TIMEOUT: Duration = Duration::from_secs(60);

/// The maximum time for each other step of the exchange.
pub const STEP_TIMEOUT: Duration = Duration::from_secs(10);

/// The maximum number of sockets that are handed over.
pub const MAX_SOCKETS: usize = 4096;

/// The maximum number of a part ([`OfferOptions::part`]).
pub const MAX_PART: u8 = 62;

/// The number of the part of the echo service of the server that makes the offer.
pub(crate) const ECHO_PART: u8 = 63;
