//! WebSocket as asynchronous streams, for programs that live in a runtime of
//! [tokio-uring](https://docs.rs/tokio-uring) 0.5.
//!
//! - [`connect`], [`connect_to`] and [`Connector`]: the client role;
//! - [`accept`], [`accept_with`] and [`Acceptor`]: the server role on a connection that the program has
//!   accepted; [`Listener`]: on a port;
//! - [`serve`] and [`Server`]: one runtime on each core, until it is stopped;
//! - [`WebSocket`]: `next` and `send`, `Stream` and `Sink`, and two halves for two tasks.
//!
//! ```
//! use ringway_aio::{CloseCode, Message, Server, Shards};
//!
//! let server = Server::bind("127.0.0.1:0")?.shards(Shards::Count(1)).start(|mut ws| async move {
//!     while let Some(Ok(message)) = ws.next().await {
//!         let _ = ws.send(message).await;
//!     }
//! })?;
//! let url = format!("ws://{}/", server.addresses()[0]);
//! tokio_uring::start(async {
//!     let mut ws = ringway_aio::connect(&url).await?;
//!     ws.send("hello").await?;
//!     assert_eq!(ws.next().await.transpose()?, Some(Message::from("hello")));
//!     ws.close(CloseCode::NORMAL, "").await
//! })?;
//! server.stop();
//! server.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works
//!
//! Each runtime has one shard of the [engine](ringway), which starts with its first connection, and
//! one task that runs its turns: protocol, TLS, compression, limits, deadlines and the memory budget
//! are those of the engine, with the options of [`configure`] or [`Server`]. A stream is a queue of
//! the messages that its task has not taken, and a handle on its connection. Output of all tasks that
//! run in one round of the runtime is submitted together.
//!
//! An idle stream holds no receive buffer: the driver waits until its socket is readable, and takes a
//! buffer of the shard's pool for the receive only.
//!
//! # The end
//!
//! When its runtime ends, or its driver fails, a stream ends with an error that says so. Streams can
//! be dropped after their runtime.
//!
//! # What tokio-uring 0.5 lacks
//!
//! The driver works around its defects: `ringway_io::tokio_uring` lists them. One concerns programs:
//! an operation whose future was dropped goes on. A read that was dropped takes bytes that nobody
//! gets, so pass no stream to [`accept`] on which one was. A dropped accept of its listener leaks a
//! connection: [`Listener`] uses readiness instead.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod accept;
mod connect;
mod connection;
mod error;
mod halves;
mod handle;
mod inbox;
mod listener;
mod message;
mod opening;
mod request;
mod resolve;
mod room;
mod room_queue;
mod serve;
mod shard;
mod sink;
mod streams;
mod websocket;
mod woken;

pub use accept::{Acceptor, accept, accept_with};
pub use connect::{Connector, connect, connect_to};
pub use error::{CloseReason, Error, TrySendError};
pub use halves::{Receiver, Sender};
pub use listener::Listener;
pub use message::Message;
pub use request::{Answer, Request};
pub use serve::{Running, Server, Stopper, serve};
pub use shard::configure;
pub use websocket::WebSocket;

pub use ringway::{
    ClientTls, CloseCode, Config, ConnectError, Deflate, Endpoint, HeaderMap, HeaderName, HeaderValue, Limits,
    RunError, ServeError, Shards, StartError, StatusCode, TlsConfig, Unopened,
};
