//! Requests for a WebSocket, and the answers to them.

use ringway::{HeaderMap, HeaderName, HeaderValue, StatusCode, Upgrade};
use std::net::SocketAddr;

/// A valid request for a WebSocket (RFC 6455 section 4.2.1).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Request {
    /// The target: path and query, percent-encoded, such as `/chat?room=blue`.
    pub target: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The subprotocols that the client offers, in order of preference.
    pub subprotocols: Vec<String>,
    /// The peer's address; `None` for a Unix socket.
    pub remote_addr: Option<SocketAddr>,
}

impl Request {
    pub(crate) fn of(request: &ringway::Request<'_>) -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in request.headers() {
            // The engine has checked both.
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value)) {
                headers.append(name, value);
            }
        }
        Self {
            target: request.target().to_owned(),
            headers,
            subprotocols: request.subprotocols().map(str::to_owned).collect(),
            remote_addr: request.remote_addr(),
        }
    }

    /// The path of the target, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The value of the first header field with this name, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// The answer to a request.
///
/// ```
/// use ringway_aio::{Answer, Request, StatusCode};
///
/// fn answer(request: &Request) -> Answer {
///     match request.path() {
///         "/chat" => Answer::accept().subprotocol("chat.v2"),
///         _ => Answer::reject(StatusCode::NOT_FOUND, "there is only /chat"),
///     }
/// }
/// # let _ = answer;
/// ```
#[derive(Clone, Debug)]
pub struct Answer {
    kind: Kind,
    headers: HeaderMap,
}

#[derive(Clone, Debug)]
enum Kind {
    Accept(Option<String>),
    Reject(StatusCode, String),
}

impl Answer {
    /// Opens the WebSocket.
    #[must_use]
    pub fn accept() -> Self {
        Self { kind: Kind::Accept(None), headers: HeaderMap::new() }
    }

    /// Refuses with a status and a line of text that states the reason.
    #[must_use]
    pub fn reject(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { kind: Kind::Reject(status, reason.into()), headers: HeaderMap::new() }
    }

    /// Selects this subprotocol, which the request must have offered; otherwise the connection opens
    /// without one. Has no effect on a rejection.
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        if let Kind::Accept(subprotocol) = &mut self.kind {
            *subprotocol = Some(name.into());
        }
        self
    }

    /// Adds a header field to the response.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// The status of a rejection.
    pub(crate) fn rejection(&self) -> Option<StatusCode> {
        match self.kind {
            Kind::Accept(_) => None,
            Kind::Reject(status, _) => Some(status),
        }
    }

    pub(crate) fn into_upgrade<S>(self, state: S) -> Upgrade<S> {
        let mut upgrade = match self.kind {
            Kind::Accept(subprotocol) => {
                let accepted = Upgrade::accept(state);
                match subprotocol {
                    Some(name) => accepted.subprotocol(&name),
                    None => accepted,
                }
            }
            Kind::Reject(status, reason) => Upgrade::reject(status, &reason),
        };
        let mut last = None;
        for (name, value) in self.headers {
            // A further value of the same name comes without the name.
            last = name.or(last);
            if let Some(name) = last.clone() {
                upgrade = upgrade.header(name, value);
            }
        }
        upgrade
    }
}
