//! Plain HTTP on the same port.
//!
//! A listener serves HTTP/1.1 and HTTP/1.0 beside WebSocket. Requests that ask for no WebSocket are
//! passed to [`Handler::request`], which returns a [`Response`]: a page, a health check, a short
//! answer of an API. The engine is not a web server for large sites: it reads no request bodies, and
//! a response is one piece of memory.
//!
//! ```
//! use ringway::{Connection, Handler, HeaderMap, HeaderName, HeaderValue, Message, Request, Response};
//! use ringway::{StatusCode, Upgrade};
//! use std::sync::Arc;
//!
//! struct Chat {
//!     /// Shared by all shards: a body above 1 KiB is sent without a copy.
//!     page: Arc<[u8]>,
//! }
//!
//! impl Handler for Chat {
//!     type State = ();
//!
//!     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
//!         Upgrade::accept(())
//!     }
//!
//!     fn request(&mut self, request: &Request<'_>) -> Response {
//!         if !matches!(request.method(), "GET" | "HEAD") {
//!             return Response::method_not_allowed("GET, HEAD");
//!         }
//!         let html = HeaderValue::from_static("text/html; charset=utf-8");
//!         match request.path() {
//!             "/" => Response::shared(StatusCode::OK, HeaderMap::new(), Arc::clone(&self.page))
//!                 .header(HeaderName::from_static("content-type"), html),
//!             "/health" => Response::text(StatusCode::OK, "healthy"),
//!             _ => Response::text(StatusCode::NOT_FOUND, "there is only / and /health"),
//!         }
//!     }
//!
//!     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
//!         conn.reply(message);
//!     }
//! }
//! # let _ = |page| Chat { page };
//! ```
//!
//! # Connections
//!
//! A connection continues after a response ([`Response`] lists the exceptions), and any later
//! request of it can open a WebSocket, with a deferred answer too. Requests that arrive before the
//! responses to earlier ones (pipelining) are answered in order. A connection that waits for its next
//! request holds no memory but its session and 8 bytes.
//!
//! | limit | default | when it is reached |
//! |---|---|---|
//! | [`Limits::max_requests`] | 1000 | the response to the last one ends the connection |
//! | [`Limits::max_buffered`] | 1 MiB | no request is read until the client has read half of the responses |
//! | [`Config::keep_alive_timeout`] | 15 s | a connection without a further request is closed |
//! | [`Config::handshake_timeout`] | 10 s | a request that began and is not complete is answered with 408 |
//! | [`Config::write_timeout`] | 60 s | a client that reads none of its responses is dropped |
//!
//! A connection with many requests in its input yields to others after some 30 of them, as one with
//! many messages does.
//!
//! # What the engine answers itself
//!
//! Each of these responses ends the connection. What the client still sends is discarded for a
//! while, so that a reset does not destroy the response.
//!
//! | status | request |
//! |---|---|
//! | 400 | not HTTP; a line that ends with a bare LF; a folded line; a missing, second or invalid `Host`; `Transfer-Encoding` beside `Content-Length`; more than one `Content-Length`; a length other than digits; `chunked` not as the last coding |
//! | 405 | `CONNECT` |
//! | 408 | one that is not complete in time |
//! | 411, 413 | one with a body: chunked, or with a length |
//! | 414, 431 | one over [`Limits::max_head`] or [`Limits::max_headers`] |
//! | 417 | one with `Expect` |
//! | 501 | an unknown method, or a transfer coding beside chunked |
//! | 503 | any, while the shard is at its memory limit |
//! | 505 | another version |
//!
//! The strictness is deliberate. A proxy in front of the server may read ambiguous bytes in another
//! way, and take a part of them for a body; the rest would be a request that it has not seen (RFC
//! 9112 section 11.2). One empty line before a request is accepted (section 2.2), and the connection
//! ends with the response.
//!
//! A rejected request for a WebSocket ends its connection too: a client that does not wait for the
//! response may have sent frames behind the request.
//!
//! # Headers
//!
//! `Date`, `Connection` and `Content-Length` are added to each response; the date is computed once
//! per second and shard. `HEAD` is passed to the handler like `GET`, and the engine omits the body of
//! the response.
//!
//! Next: [errors](super::errors).
//!
//! [`Config::handshake_timeout`]: crate::Config::handshake_timeout
//! [`Config::keep_alive_timeout`]: crate::Config::keep_alive_timeout
//! [`Config::write_timeout`]: crate::Config::write_timeout
//! [`Handler::request`]: crate::Handler::request
//! [`Limits::max_buffered`]: crate::Limits::max_buffered
//! [`Limits::max_head`]: crate::Limits::max_head
//! [`Limits::max_headers`]: crate::Limits::max_headers
//! [`Limits::max_requests`]: crate::Limits::max_requests
//! [`Response`]: crate::Response
