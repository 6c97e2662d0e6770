//! A handler's responses to requests.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

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

/// The response to a plain HTTP request. The connection is closed after it.
///
/// ```
/// use ringway::{HeaderMap, Response, StatusCode};
///
/// let healthy = Response::text(StatusCode::OK, "healthy");
/// let page = Response::new(StatusCode::OK, HeaderMap::new(), b"<!doctype html><title>Chat</title>".to_vec());
/// # let _ = (healthy, page);
/// ```
#[derive(Debug)]
pub struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Creates a response with a line of plain text in UTF-8. A status below 200 is sent as 500: it
    /// would not end the request.
    #[must_use]
    pub fn text(status: StatusCode, text: &str) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        Self { status, headers, body: format!("{text}\n").into_bytes() }
    }

    /// Creates a response with this body, of any length; `Content-Length` and `Connection: close`
    /// are added.
    #[must_use]
    pub fn new(status: StatusCode, headers: HeaderMap, body: Vec<u8>) -> Self {
        Self { status, headers, body }
    }
}
