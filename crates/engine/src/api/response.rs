//! A handler's responses to requests.

use http::StatusCode;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;

/// The response to a request for a WebSocket.
///
/// ```
/// use ringway::{Connection, Handler, HeaderName, HeaderValue, Message, Request, StatusCode, Upgrade};
///
/// struct Members;
///
/// impl Handler for Members {
///     type State = String;
///
///     fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<String> {
///         let Some(user) = request.cookie("user") else {
///             return Upgrade::reject(StatusCode::UNAUTHORIZED, "log in first");
///         };
///         Upgrade::accept(user.to_owned())
///             .subprotocol("chat.v2")
///             .header(HeaderName::from_static("x-shard"), HeaderValue::from_static("1"))
///     }
///
///     fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
///         conn.reply(message);
///     }
/// }
/// # let _ = Members;
/// ```
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

    /// Refuses with a status and a line of text that states the reason.
    #[must_use]
    pub fn reject(status: StatusCode, reason: &str) -> Self {
        Self(Answer::Reject(Response::text(status, reason)))
    }

    /// Defers the response: it is given by [`Shard::answer`](crate::Shard::answer), within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    #[must_use]
    pub fn defer() -> Self {
        Self(Answer::Defer)
    }

    /// Selects this subprotocol, which the request must have offered; otherwise the connection
    /// opens without one. Without this call the choice is made from
    /// [`Config::subprotocols`](crate::Config::subprotocols).
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        if let Answer::Accept { subprotocol, .. } = &mut self.0 {
            *subprotocol = Some(name.to_owned());
        }
        self
    }

    /// Adds a header to the response.
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

/// The response to a plain HTTP request.
///
/// `Date`, `Connection`, and `Content-Length` where the status has a body are added. The response to
/// HEAD is sent without its body. The connection continues after it, for
/// [`Config::keep_alive_timeout`](crate::Config::keep_alive_timeout) without a request, unless
///
/// - the client does not want that: HTTP/1.1 with `Connection: close`, or HTTP/1.0 without
///   `Connection: keep-alive` (RFC 9112 section 9.3);
/// - it was request number [`Limits::max_requests`](crate::Limits::max_requests);
/// - the status says that the request was not understood or not read to its end (400, 405, 408, 411,
///   413, 414, 417, 431, 501, 503, 505);
/// - [`Response::close`] was called.
///
/// ```
/// use ringway::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
/// use std::sync::Arc;
///
/// let healthy = Response::text(StatusCode::OK, "healthy");
/// assert_eq!(healthy.body(), b"healthy\n");
///
/// // Made once, and sent without a copy.
/// let page: Arc<[u8]> = Arc::from(&b"<!doctype html><title>Chat</title>"[..]);
/// let response = Response::shared(StatusCode::OK, HeaderMap::new(), page)
///     .header(HeaderName::from_static("content-type"), HeaderValue::from_static("text/html; charset=utf-8"));
/// assert_eq!(response.status(), StatusCode::OK);
/// ```
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) content: Content,
    /// Whether the connection ends after the response.
    pub(crate) closes: bool,
}

/// The body of a response.
#[derive(Debug)]
pub(crate) enum Content {
    Owned(Vec<u8>),
    Shared(Arc<[u8]>),
}

impl Content {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned(bytes) => bytes,
            Self::Shared(bytes) => bytes,
        }
    }
}

impl Response {
    /// Creates a response with a line of plain text in UTF-8. A status below 200 is sent as 500: it
    /// would not end the request.
    #[must_use]
    pub fn text(status: StatusCode, text: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self::new(status, headers, format!("{text}\n").into_bytes())
    }

    /// Creates a response with this body, of up to 1 GiB; a longer one is sent as 500. Sending costs
    /// one copy of the body. It is omitted with a status that has none: 204, 205 and 304.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { status, headers, content: Content::Owned(body), closes: false }
    }

    /// Creates a response with a body that many responses share, of up to 1 GiB. One above 1 KiB is
    /// not copied.
    #[must_use]
    pub fn shared(status: StatusCode, headers: HeaderMap, body: Arc<[u8]>) -> Self {
        Self { status, headers, content: Content::Shared(body), closes: false }
    }

    /// Creates the response to a method that the resource does not have: 405 with `Allow`, which
    /// names its methods (RFC 9110 section 15.5.6).
    ///
    /// ```
    /// use ringway::Response;
    ///
    /// let response = Response::method_not_allowed("GET, HEAD");
    /// assert_eq!(response.headers()["allow"], "GET, HEAD");
    /// ```
    #[must_use]
    pub fn method_not_allowed(allow: &'static str) -> Self {
        Self::text(StatusCode::METHOD_NOT_ALLOWED, &format!("the methods of this resource are {allow}"))
            .header(header::ALLOW, HeaderValue::from_static(allow))
    }

    /// Adds a header field. `Connection`, `Content-Length` and `Transfer-Encoding` are ignored.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Ends the connection after this response.
    #[must_use]
    pub fn close(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The header fields that were set.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.content.as_slice()
    }
}
