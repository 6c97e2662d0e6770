//! A multi-core WebSocket server engine for Linux on io_uring, and its client.
//!
//! A [`Handler`] defines how an application responds to the events of a connection; a [`Server`]
//! runs one handler on each core, with its own listener, io_uring and connections. Cores share
//! nothing, so a handler needs no locks and no `Sync`.
//!
//! ```no_run
//! use ringway::{Connection, Handler, Message, Request, Server, Upgrade};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type State = ();
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(())
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         conn.reply(message); // without a copy: the receive buffer goes back out
//!     }
//! }
//!
//! Server::bind("127.0.0.1:9001")?.run(|_shard| Echo)?;
//! # Ok::<(), ringway::ServeError>(())
//! ```
//!
//! # Concepts
//!
//! - A **shard** is a thread with its own io_uring, listener and connections. [`Shards`] sets the
//!   number of shards and [`Cores`] the cores that they run on; [`placement`] states the rule.
//! - A **handler** is the application: one value for each shard, created on the shard's thread,
//!   with one method for each kind of event. Its [`State`](Handler::State) is stored for each
//!   connection. A method blocks its shard while it runs: move long work to another thread, which
//!   returns the result through a [`ShardHandle`].
//! - A [`Connection`] is lent to the handler for one call. A [`ConnectionId`] identifies it between
//!   calls, and [`Shard::connection`] looks it up. [`Shard::for_each_connection`] visits all
//!   connections.
//! - A [`Message`] is borrowed from the receive buffer. [`Connection::reply`] sends it back in that
//!   buffer, [`Connection::send`] copies any other message, and a [`Prepared`] message is encoded
//!   once for many connections.
//! - **Backpressure**: [`SendOutcome`] reports whether a message is sent, queued or handed back,
//!   and [`Handler::drained`] is called when the queue is empty. While a peer does not read,
//!   nothing is received from it: see [`Limits::max_buffered`]. [`Connection::pause`] stops the
//!   delivery of messages.
//! - **Limits**: [`Config`] holds the options of the operator, and [`Limits`] bounds the resources
//!   that a peer can use. Setters check the range of their option; a [`ConfigError`] names the
//!   option, the value and the range.
//! - **Time**: [`Connection::set_timer`] sets a timer of a connection, [`Shard::wake_at`] the alarm
//!   of a shard.
//! - **Errors** are grouped by phase: starting ([`StartError`]), running ([`RunError`]) and
//!   connecting ([`ConnectError`]). A [`CloseReason`] states why a connection ended.
//!
//! A handler can also open connections, with [`Shard::connect`]; a [`Client`] runs handlers that
//! only open connections.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod api;
mod config;
mod run;
mod session;
mod shard;

pub use api::close::{CloseReason, Ending};
pub use api::connection::{Connection, PingTooLong, SendOutcome};
pub use api::endpoint::Endpoint;
pub use api::error::ConnectError;
pub use api::handler::Handler;
pub use api::id::{ConnectionId, TimerId};
pub use api::message::Message;
pub use api::request::Request;
pub use api::response::{Response, Upgrade};
pub use api::shard::{Shard, ShardHandle};
pub use config::{Config, ConfigError, Cores, Deflate, Limits, OnPanic, Shards};
pub use run::client::Client;
pub use run::error::{RunError, ServeError, StartError};
pub use run::placement;
pub use run::running::{Running, ShardReport};
pub use run::server::Server;
pub use shard::core::Counters;
pub use shard::mailbox::PostError;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use session::fuzzing::drive_session;

pub use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
pub use ringway_codec::{
    CloseCode, CodeNotSendable, HandshakeError, MessageKind, OriginPolicy, Prepared, ProtocolError, Scheme, Target,
    TargetError,
};
pub use ringway_io::uring::Unavailable as UringUnavailable;
pub use ringway_io::{BindError, BufferConfig, BusyPoll, DescriptorLimit, OptionError, Stats, raise_descriptor_limit};
