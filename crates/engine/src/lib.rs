//! A multi-core WebSocket server engine for Linux on io_uring, and its client.
//!
//! A [`Handler`] says what happens on a connection; a [`Server`] runs one handler on each core, with a listener, an
//! io_uring and connections of its own. Nothing is shared between cores, so a handler needs no locks and no `Sync`.
//!
//! ```no_run
//! use ringway::{Connection, Handler, Message, Server};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     type State = ();
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
//! - A **shard** is a thread with an io_uring, a listener and connections of its own. [`Shards`] sets how many there are,
//!   [`Cores`] where they run; [`placement`] has the rule.
//! - A **handler** is the application: one value for each shard, made on the shard's thread, with methods for what happens
//!   on connections. Its [`State`](Handler::State) is kept for each connection. While a method runs, nothing else happens
//!   on the shard: work that takes long belongs on another thread, which answers through a [`ShardHandle`].
//! - A [`Connection`] is lent to the handler for one call. A [`ConnectionId`] names it between calls, and
//!   [`Shard::connection`] finds it again. [`Shard::for_each_connection`] visits all of them.
//! - A [`Message`] is borrowed from the receive buffer. [`Connection::reply`] sends it back in that buffer,
//!   [`Connection::send`] copies another one, and a [`Prepared`] message is encoded once for many connections.
//! - **Backpressure**: [`SendOutcome`] says whether a message is sent, queued or handed back, and [`Handler::drained`] is
//!   called when the queue is empty. A peer that does not read is not read either, see [`Limits::max_buffered`].
//!   [`Connection::pause`] stops the delivery of messages.
//! - **Limits**: [`Config`] has the options of the operator, [`Limits`] what a peer may use. Setters check the range of
//!   their option, and a [`ConfigError`] names option, value and range.
//! - **Time**: [`Connection::set_timer`] sets a timer of a connection, [`Shard::wake_at`] the alarm of a shard.
//! - **Errors** are of starting ([`StartError`]), of running ([`RunError`]) and of connecting ([`ConnectError`]); a
//!   [`CloseReason`] says how a connection has ended.
//!
//! A handler can also open connections, with [`Shard::connect`]; a [`Client`] runs handlers that only do that.
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
