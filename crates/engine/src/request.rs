//! The opening handshake as a handler sees it: the request, and the answers to it.

use crate::ConnectionId;
use crate::hub::Peers;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

/// An HTTP request: one that asks for a WebSocket, or a plain one on the same port.
///
/// Method, target, headers, cookies, origin and offered subprotocols are read through the request of
/// [`ringway_codec`] that it derefs to.
pub struct Request<'a> {
    pub(crate) head: &'a ringway_codec::Request<'a>,
    pub(crate) id: ConnectionId,
    pub(crate) peers: Peers<'a>,
}

impl Request<'_> {
    /// The connection it came on.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The peer's address; `None` when the connection is gone already. Costs one `getpeername(2)`.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        (self.peers)(self.id.0)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("head", self.head).field("id", &self.id).finish_non_exhaustive()
    }
}

impl<'a> Deref for Request<'a> {
    type Target = ringway_codec::Request<'a>;

    fn deref(&self) -> &Self::Target {
        self.head
    }
}

/// The answer to a request for a WebSocket.
#[derive(Debug)]
pub struct Upgrade<S>(pub(crate) Answer<S>);

#[derive(Debug)]
pub(crate) enum Answer<S> {
    Accept { state: S, subprotocol: Option<String>, headers: HeaderMap },
    Reject(Response),
    Defer,
}

impl<S> Upgrade<S> {
    /// Accepts: the connection opens with this state.
    #[must_use]
    pub fn accept(state: S) -> Self {
        Self(Answer::Accept { state, subprotocol: None, headers: HeaderMap::new() })
    }

    /// Refuses with a status and a line of text that says why.
    #[must_use]
    pub fn reject(status: StatusCode, reason: &str) -> Self {
        Self(Answer::Reject(Response::text(status, reason)))
    }

    /// Decides later: with [`Shard::answer`](crate::Shard::answer), within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    #[must_use]
    pub fn defer() -> Self {
        Self(Answer::Defer)
    }

    /// Speaks this subprotocol, which the request must have offered; otherwise the connection goes on without one.
    /// Without this call the choice is made from [`Config::subprotocols`](crate::Config::subprotocols).
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        if let Answer::Accept { subprotocol, .. } = &mut self.0 {
            *subprotocol = Some(name.to_owned());
        }
        self
    }

    /// Adds a header to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        match &mut self.0 {
            Answer::Accept { headers, .. } => drop(headers.append(name, value)),
            Answer::Reject(response) => drop(response.headers.append(name, value)),
            Answer::Defer => {}
        }
        self
    }
}

/// The answer to a plain HTTP request. The connection closes after it.
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A short text.
    #[must_use]
    pub fn text(status: StatusCode, text: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self { status, headers, body: format!("{text}\n").into_bytes() }
    }

    /// Anything else; `Content-Length` and `Connection: close` are added.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { status, headers, body }
    }
}
