//! Being a client: connections that the handler opens.
//!
//! [`Shard::connect`] opens a connection to an [`Endpoint`], from any shard: those of a
//! [`Server`](crate::Server), for a proxy or a bridge, or those of a [`Client`], which listens on
//! nothing. [`Handler::open`] is called when it is open, or [`Handler::failed`] with the reason;
//! from then on it is a connection like any other. [`Handler::upgrade`] is not called in the client
//! role: the state is given to `connect`.
//!
//! [`Endpoint::resolve`] looks a name up, which can take seconds: do it before the shards start, or
//! on another thread. The addresses of a name are tried one after another, in the order of RFC 8305
//! section 4, within [`Config::handshake_timeout`] in all. `unix:/run/app.sock:/path` is the
//! endpoint of a server on a Unix socket; its `Host` is `localhost`.
//!
//! In `open`, [`Connection::opening_times`] has the durations of TCP, TLS and the upgrade; in
//! `failed`, [`ConnectError::stage`] is the one that failed.
//!
//! # Very many connections
//!
//! From one address of this machine, 28,232 connections to one address of a server are possible by
//! default. [`Endpoint::sources`] opens them from several, and [`Endpoint::rotate_addresses`] to
//! all addresses of the server. With [`Endpoint::hold_before_upgrade`] a connection waits when TCP,
//! and TLS, are established, so that all connections can be opened first and upgraded later.
//!
//! A client reads slowly with [`Connection::pause`] and [`Connection::resume`]: a handler that
//! pauses in each call of `message` receives one message for each `resume`. The server is stopped
//! when the buffers of the kernel are full; [`Endpoint::receive_buffer`] makes that of the client
//! small.
//!
//! [`Connection::buffered_amount`] shows what the kernel has taken. When it is 0, or
//! [`Handler::drained`] is called, that is all output so far. Otherwise at most the last
//! `buffered_amount` bytes are not taken: it counts the output that is queued, and all of the send
//! in flight, of which the kernel may have taken a part. No further counter is needed: a client
//! that adds up the frames that it sends subtracts this number. Frame headers, pongs and pings are
//! included, so the number of messages is exact when the amount is 0, and a lower bound otherwise.
//!
//! # Reconnecting
//!
//! The engine does not reconnect by itself. To reconnect, a handler calls `connect` again in
//! `failed` or `closed`, after a delay:
//!
//! ```
//! use ringway::{
//!     Client, CloseReason, ConnectError, Connection, Endpoint, Handler, Message, Request, Shard, Shards, Upgrade,
//! };
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! /// Prints what a server sends, and connects again when the connection is lost.
//! struct Following {
//!     endpoint: Arc<Endpoint>,
//! }
//!
//! impl Handler for Following {
//!     type State = ();
//!
//!     fn start(&mut self, shard: &mut Shard<'_, Self>) {
//!         self.woken(shard);
//!     }
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(()) // never called: a client accepts nothing
//!     }
//!
//!     fn message(&mut self, _: &mut Connection<'_, Self>, message: Message<'_>) {
//!         println!("{:?}", message.as_text());
//!     }
//!
//!     fn closed(&mut self, shard: &mut Shard<'_, Self>, (): (), _: &CloseReason) {
//!         shard.wake_at(shard.turn_time() + Duration::from_secs(1));
//!     }
//!
//!     fn failed(&mut self, shard: &mut Shard<'_, Self>, (): (), error: &ConnectError) {
//!         eprintln!("{error}");
//!         shard.wake_at(shard.turn_time() + Duration::from_secs(1));
//!     }
//!
//!     fn woken(&mut self, shard: &mut Shard<'_, Self>) {
//!         shard.connect(&self.endpoint, ());
//!     }
//! }
//!
//! let endpoint = Arc::new(Endpoint::resolve("ws://127.0.0.1:9/feed")?);
//! let client = Client::new().shards(Shards::Count(1));
//! let running = client.start(move |_| Following { endpoint: Arc::clone(&endpoint) })?;
//! # running.stop();
//! running.wait()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The example `client` adds a delay that grows, and decides which failures are worth another
//! attempt. With `wss://` in its URL, an endpoint verifies the server: see [TLS](super::tls).
//!
//! In the client role each frame is masked with a key from a generator that is seeded by the system
//! (RFC 6455 section 10.3), so replies and prepared messages are copied. After the closing
//! handshake the client waits for the server to end the TCP connection (section 7.1.1).
//!
//! Next: [TLS](super::tls).
//!
//! [`Client`]: crate::Client
//! [`Config::handshake_timeout`]: crate::Config::handshake_timeout
//! [`Endpoint`]: crate::Endpoint
//! [`Endpoint::resolve`]: crate::Endpoint::resolve
//! [`ConnectError::stage`]: crate::ConnectError::stage
//! [`Connection::buffered_amount`]: crate::Connection::buffered_amount
//! [`Connection::pause`]: crate::Connection::pause
//! [`Connection::resume`]: crate::Connection::resume
//! [`Endpoint::hold_before_upgrade`]: crate::Endpoint::hold_before_upgrade
//! [`Endpoint::receive_buffer`]: crate::Endpoint::receive_buffer
//! [`Endpoint::rotate_addresses`]: crate::Endpoint::rotate_addresses
//! [`Endpoint::sources`]: crate::Endpoint::sources
//! [`Handler::drained`]: crate::Handler::drained
//! [`Connection::opening_times`]: crate::Connection::opening_times
//! [`Handler::failed`]: crate::Handler::failed
//! [`Handler::open`]: crate::Handler::open
//! [`Handler::upgrade`]: crate::Handler::upgrade
//! [`Shard::connect`]: crate::Shard::connect
