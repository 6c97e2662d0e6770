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
