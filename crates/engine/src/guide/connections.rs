//! The life of a connection: handshake, open, messages, closing.
//!
//! The methods of a [`Handler`] are called in this order for a connection in the server role:
//!
//! 1. [`upgrade`](crate::Handler::upgrade), when a valid request for a WebSocket has arrived
//! 2. [`open`](crate::Handler::open), when it has been accepted
//! 3. [`message`](crate::Handler::message), [`ping`](crate::Handler::ping),
//!    [`pong`](crate::Handler::pong), [`drained`](crate::Handler::drained) and
//!    [`timer`](crate::Handler::timer), any number of times
//! 4. [`closed`](crate::Handler::closed), exactly once for each connection that was open
//!
//! # The handshake
//!
//! The engine checks the request first (RFC 6455 section 4.2.1) and answers an invalid one itself:
//!
//! | the request | status |
//! |---|---|
//! | is not valid HTTP, has an invalid `Host` or target, has a body, or lacks a header that the handshake needs | 400 |
//! | has an origin that [`Config::origins`] does not allow | 403 |
//! | has another method than GET | 405 |
//! | is not complete within [`Config::handshake_timeout`] | 408 |
//! | has a request line longer than [`Limits::max_head`] | 414 |
//! | has another WebSocket version than 13, or none | 426 |
//! | has a head larger than [`Limits::max_head`], or more than [`Limits::max_headers`] headers | 431 |
//! | meets a handler that panics | 500 |
//! | meets a shard whose memory budget is used up | 503 |
//! | has another version of HTTP than 1.1 | 505 |
//!
//! `upgrade` then decides with the whole [`Request`]: path, query, headers, cookies, origin and
//! offered subprotocols. [`Upgrade::accept`] carries the connection's first state,
//! [`Upgrade::reject`] a status and a line of text. [`Upgrade::defer`] leaves the answer to
//! [`Shard::answer`], for a check that takes long; bytes that arrive meanwhile are kept.
//!
//! A request without an `Upgrade: websocket` header is plain HTTP on the same port.
//! [`Handler::request`] answers it, and a later request of the connection can open a WebSocket: see
//! [plain HTTP](super::http).
//!
//! # State
//!
//! [`Handler::State`] is what the application keeps for each connection. It is stored inside the
//! engine's session, which has some 120 bytes besides it, so a small state keeps an idle connection
//! small. `conn.state()` borrows it, and `closed` receives it back.
//!
//! A [`Connection`] is lent to the handler for one call. [`Connection::id`] names it between calls,
//! and [`Shard::connection`] finds it again as long as it exists:
//!
//! ```
//! use ringway::{CloseReason, Connection, ConnectionId, Handler, Message, Request, Shard, StatusCode, Upgrade};
//! use std::collections::HashMap;
//!
//! /// Passes messages on: `bob hello` sends `hello` to the user bob.
//! #[derive(Default)]
//! struct Switchboard {
//!     users: HashMap<String, ConnectionId>,
//! }
//!
//! impl Handler for Switchboard {
//!     /// The user's name.
//!     type State = String;
//!
//!     fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
//!         match request.query() {
//!             Some(name) if !self.users.contains_key(name) => Upgrade::accept(name.to_owned()),
//!             _ => Upgrade::reject(StatusCode::BAD_REQUEST, "give a name that is free: /?NAME"),
//!         }
//!     }
//!
//!     fn open(&mut self, conn: &mut Connection<'_, Self>) {
//!         let name = conn.state().clone();
//!         self.users.insert(name, conn.id());
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         let Some((name, text)) = message.as_text().and_then(|text| text.split_once(' ')) else { return };
//!         if let Some(id) = self.users.get(name)
//!             && let Some(mut user) = conn.shard().connection(*id)
//!         {
//!             let _ = user.send(Message::text(text));
//!         }
//!     }
//!
//!     fn closed(&mut self, _: &mut Shard<'_, Self>, name: String, _: &CloseReason) {
//!         self.users.remove(&name);
//!     }
//! }
//! # let _ = Switchboard::default();
//! ```
//!
//! # Messages
//!
//! A [`Message`] borrows its payload from the buffer that the kernel filled, or from the one in
//! which its parts were assembled. Text is valid UTF-8. The engine answers pings by itself.
//!
//! [`Connection::pause`] stops the delivery of messages, for an application that is not ready for
//! them; [`Connection::resume`] continues. TCP flow control stops the peer of a paused connection.
//!
//! # Closing
//!
//! | who ends the connection | how | [`Ending`] |
//! |---|---|---|
//! | the peer | its close frame is answered with the same code | `Peer` |
//! | the handler, with [`Connection::close`] | a close frame, which the peer answers | `Local`, or `Unanswered` after [`Config::close_timeout`] |
//! | the handler, with [`Connection::terminate`] | at once, without a close frame | `Terminated` |
//! | the peer, without a close frame | the end of the TCP connection, or a reset | `Vanished`, `Reset` |
//! | the engine | at a [limit or deadline](super::limits), or after a violation of the protocol | `Violation` and others |
//!
//! Output that is queued is sent before a connection closes, as long as the peer takes it.
//! [`CloseReason`] has the close code, the text and the [`Ending`]; a connection that ended without
//! a close frame has code 1006.
//!
//! Next: [sending and backpressure](super::sending).
//!
//! [`CloseReason`]: crate::CloseReason
//! [`Config::close_timeout`]: crate::Config::close_timeout
//! [`Config::handshake_timeout`]: crate::Config::handshake_timeout
//! [`Config::origins`]: crate::Config::origins
//! [`Connection`]: crate::Connection
//! [`Connection::close`]: crate::Connection::close
//! [`Connection::id`]: crate::Connection::id
//! [`Connection::pause`]: crate::Connection::pause
//! [`Connection::resume`]: crate::Connection::resume
//! [`Connection::terminate`]: crate::Connection::terminate
//! [`Ending`]: crate::Ending
//! [`Handler`]: crate::Handler
//! [`Handler::State`]: crate::Handler::State
//! [`Handler::request`]: crate::Handler::request
//! [`Limits::max_head`]: crate::Limits::max_head
//! [`Limits::max_headers`]: crate::Limits::max_headers
//! [`Message`]: crate::Message
//! [`Request`]: crate::Request
//! [`Shard::answer`]: crate::Shard::answer
//! [`Shard::connection`]: crate::Shard::connection
//! [`Upgrade::accept`]: crate::Upgrade::accept
//! [`Upgrade::defer`]: crate::Upgrade::defer
//! [`Upgrade::reject`]: crate::Upgrade::reject
