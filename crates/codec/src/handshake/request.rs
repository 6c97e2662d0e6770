//! The request of a client, and the check that it opens a WebSocket (RFC 6455 section 4.2.1).

use http::StatusCode;
use http::header::{self, HeaderValue};

use super::extension::{Extension, parse_extensions};
use super::framing;
use super::head::{self, HeadLimits, Headers};
use super::host::host_of;
use super::key::Key;
use super::origin::OriginPolicy;
use super::respond::Refusal;

/// The head of an HTTP/1 request, borrowed from the received bytes.
///
/// ```
/// use ringway_codec::{HeadLimits, parse_request};
///
/// let head = b"GET /chat?room=1 HTTP/1.1\r\nHost: example.com\r\nCookie: id=7\r\n\r\n";
/// let (request, len) = parse_request(head, &HeadLimits::default())?.expect("the head is complete");
/// assert_eq!((request.path(), request.query(), len), ("/chat", Some("room=1"), head.len()));
/// assert_eq!(request.cookies().next(), Some(("id", "7")));
/// # Ok::<(), ringway_codec::Refusal>(())
/// ```
#[derive(Debug, Clone)]
pub struct Request<'b> {
    method: &'b str,
    target: &'b str,
    version: u8,
    /// Whether an empty line preceded the request.
    after_empty_line: bool,
    headers: Headers<'b>,
}

/// Parses the request at the start of `bytes`, and returns it with the length of its head;
/// `Ok(None)` when more bytes are needed.
///
/// One pass over the head, and one allocation for its header fields. See
/// [`HeadScan`](crate::HeadScan) for a head that arrives in many pieces.
///
/// # Errors
///
/// A [`Refusal`] to send: 400 for bytes that are not HTTP, for lines that do not end with CRLF, and
/// for more than one empty line before the request (RFC 9112 section 2.2); 414 for a request line and 431 for a
/// head over [`HeadLimits::max_bytes`], 431 for more than [`HeadLimits::max_headers`], 505 for
/// versions other than HTTP/1.
pub fn parse_request<'b>(bytes: &'b [u8], limits: &HeadLimits) -> Result<Option<(Request<'b>, usize)>, Refusal> {
    let allowed = limits.allowed(bytes);
    // The first byte of TLS; its version may not have arrived yet. It has its own message, because
    // wss:// to a plain port is a common mistake.
    if allowed.starts_with(&[0x16]) {
        return Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "this is a TLS handshake, but the port speaks plain HTTP; use ws:// instead of wss://",
        ));
    }
    let mut slots = head::header_slots();
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(allowed, limits.slots(&mut slots)) {
        Ok(httparse::Status::Complete(len)) => {
            const COMPLETE: &str = "httparse has set it when the head is complete";
            if !framing::has_strict_lines(&allowed[..len]) {
                return Err(bad("expected each line of the head to end with CRLF, and no empty lines before it"));
            }
            let request = Request {
                method: parsed.method.expect(COMPLETE),
                target: parsed.path.expect(COMPLETE),
                version: parsed.version.expect(COMPLETE),
                after_empty_line: allowed.starts_with(b"\r\n"),
                headers: Headers::new(parsed.headers),
            };
            Ok(Some((request, len)))
        }
        Ok(httparse::Status::Partial) if allowed.len() < limits.max_bytes => Ok(None),
        Ok(httparse::Status::Partial) => Err(too_long(allowed, limits)),
        Err(httparse::Error::TooManyHeaders) => Err(Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!("the request has more than {} header fields", limits.max_headers.min(head::MAX_HEADERS)),
        )),
        Err(httparse::Error::Version) => Err(Refusal::new(
            StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            "the HTTP version is not supported; expected HTTP/1.1",
        )),
        Err(error) => Err(Refusal::new(StatusCode::BAD_REQUEST, format!("the request is not valid HTTP/1.1: {error}"))),
    }
}

#[cold]
fn too_long(allowed: &[u8], limits: &HeadLimits) -> Refusal {
    // Blank lines before the request line are skipped (RFC 9112 section 2.2).
    let line = allowed.trim_ascii_start();
    if line.contains(&b'\n') {
        Refusal::new(
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            format!("the head of the request is longer than {} bytes", limits.max_bytes),
        )
    } else {
        Refusal::new(StatusCode::URI_TOO_LONG, format!("the request line is longer than {} bytes", limits.max_bytes))
    }
}

impl<'b> Request<'b> {
    /// The method, such as `GET`; case-sensitive.
    #[must_use]
    pub fn method(&self) -> &'b str {
        self.method
    }

    /// The request target as received: path and query, or an absolute URL (RFC 9112 section 3.2).
    #[must_use]
    pub fn target(&self) -> &'b str {
        self.target
    }

    /// The target's path, still percent-encoded, without the query. `/` when an absolute URL has
    /// none.
    #[must_use]
    pub fn path(&self) -> &'b str {
        let path = self.path_and_query().split_once('?').map_or_else(|| self.path_and_query(), |(path, _)| path);
        if path.is_empty() { "/" } else { path }
    }

    /// The query of the target, after its first `?`, still percent-encoded; `None` without a `?`.
    #[must_use]
    pub fn query(&self) -> Option<&'b str> {
        self.path_and_query().split_once('?').map(|(_, query)| query)
    }

    /// The target without the scheme and authority of the absolute form.
    fn path_and_query(&self) -> &'b str {
        self.absolute().map_or(self.target, |(_, path_and_query)| path_and_query)
    }

    /// Authority, and path and query, of a target in absolute form (RFC 9112 section 3.2.2): an
    /// HTTP URL (RFC 6455 section 4.2.1) or a WebSocket URL.
    fn absolute(&self) -> Option<(&'b str, &'b str)> {
        if self.target.starts_with('/') {
            return None;
        }
        let (scheme, rest) = self.target.split_once("://")?;
        let is_known = ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        is_known.then(|| rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len())))
    }

    /// The minor version: 1 for HTTP/1.1, 0 for HTTP/1.0.
    #[must_use]
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Whether the connection continues after the response, as far as the client is concerned (RFC
    /// 9112 section 9.3): HTTP/1.1 without `Connection: close`, or HTTP/1.0 with `Connection:
    /// keep-alive`. An empty line before the request, which is the rest of something else, ends it
    /// too.
    ///
    /// ```
    /// use ringway_codec::{HeadLimits, parse_request};
    ///
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    /// let (request, _) = parse_request(head, &HeadLimits::default())?.expect("the head is complete");
    /// assert!(!request.keeps_alive());
    /// # Ok::<(), ringway_codec::Refusal>(())
    /// ```
    #[must_use]
    pub fn keeps_alive(&self) -> bool {
        let closes = self.headers.lists("connection", "close");
        !closes && !self.after_empty_line && (self.version > 0 || self.headers.lists("connection", "keep-alive"))
    }

    /// The value of the first header field with this name, ASCII case-insensitively.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        self.headers.first(name)
    }

    /// All header fields, name and value, in the order received.
    pub fn headers(&self) -> impl Iterator<Item = (&'b str, &'b [u8])> {
        self.headers.iter()
    }

    /// The values of all header fields with this name, in the order received.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &'b [u8]> {
        self.headers.all(name)
    }

    /// The requested host: name or address, and a port unless it is the default one. The host of an
    /// absolute target replaces `Host` (RFC 9112 section 3.2.2). `None` when absent or not UTF-8.
    #[must_use]
    pub fn host(&self) -> Option<&'b str> {
        match self.absolute() {
            Some((authority, _)) => Some(authority),
            None => std::str::from_utf8(self.header("host")?).ok(),
        }
    }

    /// The `Origin` that a browser sends (RFC 6454 section 7). `None` when absent or not UTF-8.
    #[must_use]
    pub fn origin(&self) -> Option<&'b str> {
        std::str::from_utf8(self.header("origin")?).ok()
    }

    /// The cookies, name and value, of all `Cookie` headers (RFC 6265 section 5.4). Values are
    /// unchanged, quotes included; pairs without `=` and headers that are not UTF-8 are omitted.
    pub fn cookies(&self) -> impl Iterator<Item = (&'b str, &'b str)> {
        self.header_values("cookie")
            .filter_map(|value| std::str::from_utf8(value).ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.trim_matches([' ', '\t']), value.trim_matches([' ', '\t'])))
    }

    /// The subprotocols that the client offers, the preferred one first, over all
    /// `Sec-WebSocket-Protocol` headers (RFC 6455 section 11.3.4). Names that are not tokens are
    /// omitted.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'b str> {
        self.headers.list("sec-websocket-protocol").filter(|name| head::is_token(name))
    }

    /// The extensions that the client offers, the preferred one first, over all
    /// `Sec-WebSocket-Extensions` headers (RFC 6455 section 9.1).
    ///
    /// # Errors
    ///
    /// A [`Refusal`] to send, 400, for a header that does not conform to the grammar.
    pub fn extensions(&self) -> Result<Vec<Extension<'b>>, Refusal> {
        parse_extensions(&self.headers).map_err(|_| bad("the header Sec-WebSocket-Extensions is malformed"))
    }

    /// Whether the client requests a WebSocket: an `Upgrade` header names it.
    /// [`websocket`](Request::websocket) checks the other conditions.
    #[must_use]
    pub fn wants_upgrade(&self) -> bool {
        self.headers.lists("upgrade", "websocket")
    }

    /// Checks the `Origin` (RFC 6455 section 10.2).
    ///
    /// ```
    /// use ringway_codec::{HeadLimits, OriginPolicy, parse_request};
    ///
    /// let policy = OriginPolicy::List(vec!["https://example.com".to_owned()]);
    /// let head = b"GET / HTTP/1.1\r\nHost: a\r\nOrigin: https://example.org\r\n\r\n";
    /// let (request, _) = parse_request(head, &HeadLimits::default())?.expect("the head is complete");
    /// assert_eq!(request.check_origin(&policy).unwrap_err().status, 403);
    /// # Ok::<(), ringway_codec::Refusal>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`Refusal`] with status 403 when the origin is missing, duplicated or not allowed.
    /// [`OriginPolicy::Any`] never fails.
    pub fn check_origin(&self, policy: &OriginPolicy) -> Result<(), Refusal> {
        let forbidden = |reason| Err(Refusal::new(StatusCode::FORBIDDEN, reason));
        if *policy == OriginPolicy::Any {
            return Ok(());
        }
        let count = self.header_values("origin").count();
        match self.origin().filter(|_| count == 1) {
            None => forbidden("expected exactly one Origin header"),
            origin if policy.admits(origin) => Ok(()),
            Some(_) => forbidden("connections from this origin are not allowed"),
        }
    }

    /// Checks that the request ends with its head, for all recipients, and that its method is known.
    ///
    /// ```
    /// use ringway_codec::{HeadLimits, parse_request};
    ///
    /// let head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n";
    /// let (request, _) = parse_request(head, &HeadLimits::default())?.expect("the head is complete");
    /// assert_eq!(request.check_framing().unwrap_err().status, 413);
    /// # Ok::<(), ringway_codec::Refusal>(())
    /// ```
    ///
    /// # Errors
    ///
    /// A [`Refusal`] to send, in this order: 400 for a body of ambiguous length (RFC 9112 section
    /// 6.3): `Transfer-Encoding` beside `Content-Length`, more than one length, a length that does
    /// not consist of digits, or `chunked` not as the last coding; 501 for a method other than those
    /// of RFC 9110 section 9 and PATCH; 417 for an expectation; and, because request bodies are not
    /// supported, 411 for a chunked one, 501 for one with other codings, and 413 for one with a
    /// length.
    pub fn check_framing(&self) -> Result<(), Refusal> {
        framing::check(self.method, self.version, &self.headers)
    }

    /// Checks the request's target and its `Host`.
    ///
    /// The target is a path, an absolute URL of HTTP or WebSocket with a host and without user
    /// information, or, for the methods that have them, the authority of `CONNECT` and the `*` of
    /// `OPTIONS` (RFC 9112 section 3.2); it has no fragment. Other characters that a URL must
    /// percent-encode are accepted, because browsers send some of them unencoded.
    ///
    /// Exactly one `Host` is required, with a host and optionally a port (RFC 9110 section 7.2); it
    /// is optional in HTTP/1.0. It may be empty only if the target is an absolute URL, whose host
    /// replaces it.
    ///
    /// # Errors
    ///
    /// 400.
    pub fn check_target(&self) -> Result<(), Refusal> {
        if self.target.contains('#') {
            return Err(bad("expected a request target without a fragment; write %23 for a # that belongs to it"));
        }
        let absolute = self.absolute();
        if let Some((authority, _)) = absolute {
            // An HTTP URL has a host (RFC 9110 section 4.2.1), and `user@` in it is an error
            // (section 4.2.4).
            if host_of(authority).is_none_or(str::is_empty) {
                return Err(bad("expected the URL in the request line to have a valid host, and no user information"));
            }
        } else if !self.target.starts_with('/') {
            let is_of_its_method = match self.method {
                "OPTIONS" => self.target == "*",
                // Host and port, both of them (RFC 9110 section 9.3.6).
                "CONNECT" => {
                    host_of(self.target).is_some_and(|host| !host.is_empty() && host.len() + 1 < self.target.len())
                }
                _ => false,
            };
            if !is_of_its_method {
                return Err(bad("expected the request target to be a path such as /chat, or an absolute URL"));
            }
        }
        let mut hosts = self.header_values("host");
        match (hosts.next(), hosts.next()) {
            (None, _) if self.version == 0 => Ok(()),
            (Some(host), None) => match std::str::from_utf8(host).ok().and_then(host_of) {
                Some(host) if !host.is_empty() || absolute.is_some() => Ok(()),
                _ => Err(bad("expected the Host header to be a name or an address, with a port or without")),
            },
            _ => Err(bad("expected exactly one Host header")),
        }
    }

    /// Checks that this request meets all requirements of RFC 6455 section 4.2.1, and returns its
    /// key.
    ///
    /// # Errors
    ///
    /// A [`Refusal`] to send: 405 for methods other than GET, 505 for HTTP/1.0, 426 when `Upgrade`
    /// does not name WebSocket or the version is not 13, 400 for any other missing, duplicated or
    /// malformed field, and for a body. The reason names draft 76, whose requests have no version.
    pub fn websocket(&self) -> Result<Key, Refusal> {
        if self.method != "GET" {
            return Err(Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "a WebSocket is opened with the method GET")
                .with_header(header::ALLOW, HeaderValue::from_static("GET")));
        }
        if self.version == 0 {
            return Err(Refusal::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "HTTP/1.0 cannot open a WebSocket; expected HTTP/1.1",
            ));
        }
        self.check_target()?;
        if !self.wants_upgrade() {
            return Err(upgrade_required("expected the header Upgrade: websocket"));
        }
        if !self.headers.lists("connection", "upgrade") {
            return Err(bad("expected the header Connection: Upgrade"));
        }
        if self.is_draft_76() {
            return Err(other_version(
                "this is the handshake of draft 76 (hixie-76, with Sec-WebSocket-Key1), which is not supported; \
                 use a client of RFC 6455 (Sec-WebSocket-Version: 13)",
            ));
        }
        let mut versions = self.header_values("sec-websocket-version");
        if versions.next() != Some(b"13") || versions.next().is_some() {
            return Err(other_version("expected the header Sec-WebSocket-Version: 13"));
        }
        let mut keys = self.header_values("sec-websocket-key");
        let (Some(key), None) = (keys.next(), keys.next()) else {
            return Err(bad("expected exactly one Sec-WebSocket-Key header"));
        };
        let Some(key) = Key::parse(key) else {
            return Err(bad("expected the Sec-WebSocket-Key to be the base64 of 16 bytes"));
        };
        if !self.headers.is_token_list("sec-websocket-protocol") {
            return Err(bad("expected the header Sec-WebSocket-Protocol to be a list of tokens"));
        }
        // The bytes of a body would be decoded as frames.
        let has_body = self.header("transfer-encoding").is_some()
            || self
                .header_values("content-length")
                .any(|length| length.is_empty() || length.iter().any(|&b| b != b'0'));
        if has_body {
            return Err(bad("a request that opens a WebSocket has no body"));
        }
        // A malformed offer fails the connection, whatever extensions are supported (RFC 6455
        // section 9.1).
        self.extensions()?;
        Ok(key)
    }

    /// Whether this is a request of draft-hixie-thewebsocketprotocol-76: a key in two headers, and
    /// no version. A version decides, whatever other headers there are.
    fn is_draft_76(&self) -> bool {
        self.header("sec-websocket-key1").is_some() && self.header("sec-websocket-version").is_none()
    }
}

#[cold]
fn bad(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, reason)
}

/// The answer to another version names the supported ones (RFC 6455 section 4.4).
#[cold]
fn other_version(reason: &'static str) -> Refusal {
    upgrade_required(reason).with_header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

/// 426 has to name the protocol (RFC 9110 section 15.5.22).
#[cold]
fn upgrade_required(reason: &'static str) -> Refusal {
    Refusal::new(StatusCode::UPGRADE_REQUIRED, reason)
        .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
}
