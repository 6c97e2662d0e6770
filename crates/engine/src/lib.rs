//! A WebSocket server engine for Linux on io_uring, with one thread per core, and its client.
//!
//! The engine holds very many connections at a low cost for each: an idle connection takes some 120
//! bytes besides the application's own state and the kernel's socket, and a message that is
//! contained in one receive buffer is delivered, and sent back, without a copy. It speaks RFC 6455
//! and permessage-deflate (RFC 7692) in both roles. It uses io_uring (Linux 6.1 or newer), and epoll
//! where io_uring is refused.
//!
//! An application implements [`Handler`]. A [`Server`] runs one handler on each core, with a
//! listener, a driver and connections of its own. Nothing is shared between cores, so a handler
//! needs no locks and no `Sync`.
//!
//! # Quick start: a server
//!
//! ```no_run
//! use ringway::{Connection, Handler, Message, Request, ServeError, Server, Upgrade};
//!
//! struct Echo;
//!
//! impl Handler for Echo {
//!     /// What is kept for each connection: nothing.
//!     type State = ();
//!
//!     /// A client asks for a WebSocket.
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(())
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         conn.reply(message); // without a copy: the receive buffer goes back out
//!     }
//! }
//!
//! fn main() -> Result<(), ServeError> {
//!     // Runs until SIGINT or SIGTERM.
//!     Server::bind("127.0.0.1:9001")?.run(|_shard| Echo)
//! }
//! ```
//!
//! # Quick start: a client
//!
//! ```no_run
//! use ringway::{
//!     Client, CloseCode, CloseReason, ConnectError, Connection, Endpoint, Handler, Message,
//!     Request, Shard, Shards, Upgrade,
//! };
//! use std::error::Error;
//! use std::sync::Arc;
//!
//! struct Greeting {
//!     server: Arc<Endpoint>,
//! }
//!
//! impl Handler for Greeting {
//!     type State = ();
//!
//!     fn start(&mut self, shard: &mut Shard<'_, Self>) {
//!         shard.connect(&self.server, ());
//!     }
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(()) // for servers only: a client is not asked
//!     }
//!
//!     fn open(&mut self, conn: &mut Connection<'_, Self>) {
//!         let _ = conn.send(Message::text("hello"));
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         println!("{}", message.as_text().unwrap_or("(binary)"));
//!         conn.close(CloseCode::NORMAL, "").expect("1000 may be sent");
//!     }
//!
//!     fn closed(&mut self, shard: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
//!         println!("{reason}");
//!         shard.stop();
//!     }
//!
//!     fn failed(&mut self, shard: &mut Shard<'_, Self>, (): (), error: &ConnectError) {
//!         eprintln!("{error}");
//!         shard.stop();
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn Error>> {
//!     let server = Arc::new(Endpoint::resolve("ws://127.0.0.1:9001/")?);
//!     let client = Client::new().shards(Shards::Count(1));
//!     client.start(move |_shard| Greeting { server: Arc::clone(&server) })?.wait()?;
//!     Ok(())
//! }
//! ```
//!
//! # Concepts
//!
//! The [`guide`] explains them, in this order:
//!
//! 1. [Shards](guide::shards): threads, handlers, and how shards reach each other
//! 2. [The life of a connection](guide::connections): handshake, open, messages, closing
//! 3. [Sending](guide::sending): replies, messages, prepared messages, and backpressure
//! 4. [Topics](guide::topics): messages to all who have subscribed
//! 5. [Limits](guide::limits), the memory budget and deadlines, and what happens at each of them
//! 6. [Admission](guide::admission): limits over all shards, rates, and clients behind a proxy
//! 7. [Panics](guide::panics) of a handler
//! 8. [Timers](guide::timers) of connections, and the alarm of a shard
//! 9. [Compression](guide::compression)
//! 10. [Running](guide::running): addresses, signals and stopping
//! 11. [Being a client](guide::clients)
//! 12. [Errors](guide::errors)
//!
//! # The items by topic
//!
//! - Starting: [`Server`], [`Client`], [`Running`]; [`Shards`], [`Cores`] and [`placement`];
//!   [`raise_descriptor_limit`]; the limits of containers: [`cgroup`]
//! - Addresses: [`Address`], [`UnixAddress`], [`UnixSocket`], [`PeerCredentials`]
//! - Options: [`Config`], [`Limits`], [`Deflate`], [`OriginPolicy`], [`BufferConfig`],
//!   [`BusyPoll`], [`DriverChoice`], [`Accept`], [`OnPanic`], [`OnMemoryLimit`]
//! - Admission: [`Admission`], [`Rate`], [`OverRate`], [`RejectWith`], [`Network`]; the echo service:
//!   [`EchoRates`]
//! - TLS: [`TlsConfig`], [`ClientAuth`], [`TlsVersion`], [`ClientTls`]
//! - The application: [`Handler`], [`Connection`], [`Shard`], [`ShardHandle`]; [`ConnectionId`],
//!   [`TimerId`]
//! - The opening handshake: [`Request`], [`Upgrade`], [`Response`]; [`StatusCode`], [`HeaderMap`],
//!   [`HeaderName`], [`HeaderValue`]
//! - Messages: [`Message`], [`MessageKind`], [`Prepared`], [`SendOutcome`]
//! - Topics: [`TopicPolicy`], [`Published`], [`TopicLimit`]; [`Publisher`], [`PublishError`]
//! - The end of a connection: [`CloseReason`], [`Ending`], [`CloseCode`], [`ProtocolError`]
//! - Outgoing connections: [`Endpoint`], [`Target`], [`Scheme`]
//! - TLS: [`TlsConfig`], [`ClientAuth`], [`TlsVersion`], [`ClientTls`], [`TlsSession`],
//!   [`ServedCertificate`], [`TlsError`]
//! - A shard in the thread of its caller: [`LocalShard`], [`LocalStart`], [`LocalReport`]
//! - Draining: [`DrainReason`], [`DrainReport`], [`Readiness`]; replacing a process: [`handover`]
//! - What was counted: [`ShardReport`], [`Counters`], [`Stats`], [`TcpInfo`]; [`Metrics`], [`MetricsReader`],
//!   [`ShardMetrics`], [`ConnectionCounts`], [`PausedCounts`], [`ClosedBy`], [`Histogram`]
//! - Tracing: [`WireTap`], [`TapOptions`], [`TapReader`]; [`TapEvent`], [`TapKind`], [`TappedConnection`],
//!   [`TapDirection`], [`TapEnd`]
//! - Errors: [`ConfigError`], [`OptionError`], [`StartError`], [`BindError`],
//!   [`AddressError`], [`UnixBindError`], [`UringUnavailable`], [`LikelyCause`],
//!   [`RunError`], [`ServeError`], [`ConnectError`], [`Unopened`], [`SourceError`], [`TargetError`],
//!   [`HandshakeError`], [`RefusedUpgrade`], [`NetworkError`], [`TlsError`], [`PostError`], [`PingTooLong`], [`CodeNotSendable`]
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod admission;
mod api;
mod config;
mod echo;
pub mod guide;
mod metrics;
mod run;
mod session;
mod shard;
mod tap;
mod tls;
mod topics;

pub use admission::network::{Network, NetworkError};
pub use admission::options::{Admission, OverRate, RejectWith};
pub use admission::rate::Rate;
pub use api::close::{CloseReason, Ending};
pub use api::connection::{Connection, PingTooLong, SendOutcome};
pub use api::endpoint::Endpoint;
pub use api::error::{ConnectError, Unopened};
pub use api::handler::Handler;
pub use api::id::{ConnectionId, TimerId};
pub use api::message::Message;
pub use api::opening::{OpeningStage, OpeningTimes};
pub use api::refused::RefusedUpgrade;
pub use api::request::Request;
pub use api::response::{Response, Upgrade};
pub use api::shard::{Shard, ShardHandle};
pub use api::tls::TlsSession;
pub use api::topic::{Published, TopicLimit, TopicPolicy};
pub use config::{Accept, Config, ConfigError, Cores, Deflate, DriverChoice, Limits, OnMemoryLimit, OnPanic, Shards};
pub use echo::options::EchoRates;
pub use metrics::codes::ClosedBy;
pub use metrics::histogram::Histogram;
pub use metrics::reader::MetricsReader;
pub use metrics::snapshot::{ConnectionCounts, Metrics, PausedCounts, ShardMetrics};
pub use run::cgroup;
pub use run::client::Client;
pub use run::error::{RunError, ServeError, StartError};
pub use run::handover;
pub use run::local::{LocalReport, LocalShard, LocalStart};
pub use run::placement;
pub use run::readiness::Readiness;
pub use run::running::{Running, ShardReport};
pub use run::server::Server;
pub use shard::core::Counters;
pub use shard::drain::{DrainReason, DrainReport};
pub use shard::mailbox::PostError;
pub use tap::{TapDirection, TapEnd, TapEvent, TapKind, TapOptions, TapReader, TappedConnection, WireTap};
pub use tls::{ClientAuth, ClientTls, ServedCertificate, TlsConfig, TlsError, TlsVersion};
pub use topics::publisher::{PublishError, Publisher};

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use session::fuzzing::{drive_requests, drive_session};

pub use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
pub use ringway_codec::{
    CloseCode, CodeNotSendable, HandshakeError, MessageKind, OriginPolicy, Prepared, ProtocolError, Scheme, Target,
    TargetError,
};
pub use ringway_io::uring::{LikelyCause, Unavailable as UringUnavailable};
pub use ringway_io::{
    Address, AddressError, BindError, BufferConfig, BusyPoll, DescriptorLimit, InheritError, OptionError,
    PeerCredentials, SourceError, Stats, TcpInfo, UnixAddress, UnixBindError, UnixSocket, raise_descriptor_limit,
};
