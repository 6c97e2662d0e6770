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
//! # Ok::<(), ringway::StartError>(())
//! ```
//!
//! A handler can also open connections, with [`Shard::connect`]; a [`Client`] runs handlers that only do that.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod client;
mod close;
mod compression;
mod config;
mod connection;
mod event_loop;
mod handler;
mod hub;
mod mailbox;
mod message;
pub mod placement;
mod request;
mod running;
mod server;
mod session;
mod table;

pub use client::{Client, ConnectError, Endpoint};
pub use close::{CloseReason, Ending};
pub use config::{Config, Cores, Deflate, Limits, Shards};
pub use connection::{Connection, ConnectionId, Sent, Shard};
pub use handler::Handler;
pub use mailbox::{PostError, ShardHandle};
pub use message::Message;
pub use request::{Request, Response, Upgrade};
pub use running::{Running, ShardReport, StartError};
pub use server::Server;

pub use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
pub use ringway_codec::{
    CloseCode, HandshakeError, MessageKind, OriginPolicy, Prepared, ProtocolError, Target, TargetError,
};
pub use ringway_io::{BufferConfig, BusyPoll, Stats};
