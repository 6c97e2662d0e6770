//! The handshake of a client: its request, and the check of the response (RFC 6455 section 4.1).

use http::header::{self, HeaderMap, HeaderValue};

use super::extension::parse_extensions;
use super::head::{self, HeadLimits, Headers};
use super::key::Key;
use super::respond::{belongs_to_the_handshake, field, frames_the_body};
use super::target::Target;
use crate::deflate::{self, DeflateOffer, DeflateParams};

/// A client's request to open a WebSocket.
///
/// ```
/// use http::HeaderMap;
/// use ringway_codec::{ClientRequest, Target};
///
/// let target = Target::parse("ws://example.com/chat")?;
/// let request = ClientRequest {
///     target: &target,
///     key: [7; 16], // Random in a real client.
///     subprotocols: &[],
///     deflate: &[],
///     origin: None,
///     headers: &HeaderMap::new(),
/// };
/// let mut head = Vec::new();
/// request.encode(&mut head);
/// assert!(head.starts_with(b"GET /chat HTTP/1.1\r\nHost: example.com\r\n"));
/// # Ok::<(), ringway_codec::TargetError>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ClientRequest<'a> {
    /// The URL to request.
    pub target: &'a Target,
    /// A nonce, which must be random for each connection (RFC 6455 section 4.1).
    pub key: [u8; 16],
    /// The subprotocols to offer, the preferred one first. Names that are not tokens, which are not
    /// valid in a header, and duplicates are omitted.
    pub subprotocols: &'a [String],
    /// The compression to offer, the preferred form first, see
    /// [`DeflatePolicy::offers`](crate::DeflatePolicy::offers); empty for no compression.
    pub deflate: &'a [DeflateOffer],
    /// The `Origin` to send, which only browsers must. Omitted if it has characters that are not
    /// valid in a header.
    pub origin: Option<&'a str>,
    /// Further header fields. `Host` and `Origin` replace the values above. Fields of the handshake
    /// (`Upgrade`, `Connection`, `Sec-WebSocket-*`) and those that announce a body are ignored.
    pub headers: &'a HeaderMap,
}

impl<'a> ClientRequest<'a> {
    /// Appends the request's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"GET ");
        out.extend_from_slice(self.target.path_and_query.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        if !self.headers.contains_key(header::HOST) {
            field("Host", self.target.authority().as_bytes(), out);
        }
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n");
        field("Sec-WebSocket-Key", Key::from_nonce(self.key).as_bytes(), out);
        if !self.headers.contains_key(header::ORIGIN)
            && let Some(origin) = self.origin.and_then(|origin| HeaderValue::from_str(origin).ok())
        {
            field("Origin", origin.as_bytes(), out);
        }
        let mut offered: Vec<&str> = Vec::new();
        for name in self.subprotocols {
            // No duplicates (RFC 6455 section 4.1).
            if head::is_token(name) && !offered.contains(&name.as_str()) {
                offered.push(name);
            }
        }
        if !offered.is_empty() {
            field("Sec-WebSocket-Protocol", offered.join(", ").as_bytes(), out);
        }
        if !self.deflate.is_empty() {
            let offers: Vec<String> = self.deflate.iter().map(DeflateOffer::to_string).collect();
            field("Sec-WebSocket-Extensions", offers.join(", ").as_bytes(), out);
        }
        for (name, value) in self.headers {
            if !frames_the_body(name) && !belongs_to_the_handshake(name) {
                field(name.as_str(), value.as_bytes(), out);
            }
        }
        out.extend_from_slice(b"\r\n");
    }

    /// Returns the properties that the response must have.
    #[must_use]
    pub fn expectation(&self) -> ResponseExpectation<'a> {
        ResponseExpectation { key: self.key, subprotocols: self.subprotocols, deflate: self.deflate }
    }
}

/// The parts of a client's request that its response is checked against.
///
/// ```
/// use ringway_codec::{HandshakeError, HeadLimits, ResponseExpectation, parse_response};
///
/// let expected = ResponseExpectation { key: [7; 16], subprotocols: &[], deflate: &[] };
/// let head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";
/// let error = parse_response(head, &HeadLimits::default(), &expected).unwrap_err();
/// assert_eq!(error, HandshakeError::Accept);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ResponseExpectation<'a> {
    /// The nonce that was sent.
    pub key: [u8; 16],
    /// The subprotocols that were offered.
    pub subprotocols: &'a [String],
    /// The compression that was offered.
    pub deflate: &'a [DeflateOffer],
}

/// A server's response that opened the WebSocket.
///
/// ```
/// use ringway_codec::{HeadLimits, Key, ResponseExpectation, encode_accept, parse_response};
///
/// let expected = ResponseExpectation { key: [7; 16], subprotocols: &["chat".to_owned()], deflate: &[] };
/// let mut head = Vec::new();
/// encode_accept(&Key::from_nonce([7; 16]), Some("chat"), None, &http::HeaderMap::new(), &mut head);
/// let (response, len) = parse_response(&head, &HeadLimits::default(), &expected)?.expect("the head is complete");
/// assert_eq!((response.subprotocol.as_deref(), len), (Some("chat"), head.len()));
/// # Ok::<(), ringway_codec::HandshakeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Response<'b> {
    /// The subprotocol that the server chose; one of those offered.
    pub subprotocol: Option<String>,
    /// The negotiated compression, which fits one of the offers.
    pub deflate: Option<DeflateParams>,
    /// All header fields.
    pub headers: Headers<'b>,
}

/// The reason why a server's response does not open the WebSocket.
///
/// ```
/// use ringway_codec::{HandshakeError, HeadLimits, ResponseExpectation, parse_response};
///
/// let expected = ResponseExpectation { key: [7; 16], subprotocols: &[], deflate: &[] };
/// let head = b"HTTP/1.1 404 Not Found\r\n\r\n";
/// let error = parse_response(head, &HeadLimits::default(), &expected).unwrap_err();
/// assert!(matches!(error, HandshakeError::Status { status: 404, .. }));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// A final status other than 101.
    #[error("the server answered {status} {reason} instead of 101 Switching Protocols")]
    Status {
        /// The status code.
        status: u16,
        /// The server's reason phrase, which may be empty.
        reason: String,
    },
    /// The response is not HTTP/1; holds the parser's reason.
    #[error("the server's answer is not HTTP/1.1: {0}")]
    Malformed(String),
    /// A 101 in HTTP/1.0, which does not support upgrades.
    #[error("the server answered in HTTP/1.0, which cannot open a WebSocket")]
    Version,
    /// The head, together with the interim responses before it, exceeds [`HeadLimits::max_bytes`].
    #[error("the head of the server's answer is longer than {0} bytes")]
    TooLong(usize),
    /// The head has over [`HeadLimits::max_headers`] fields.
    #[error("the server's answer has more than {0} header fields")]
    TooManyHeaders(usize),
    /// No `Upgrade: websocket`, or one that also names another protocol.
    #[error("the server's answer has no header Upgrade: websocket")]
    Upgrade,
    /// No `Connection: Upgrade`.
    #[error("the server's answer has no header Connection: Upgrade")]
    Connection,
    /// `Sec-WebSocket-Accept` is missing, duplicated, or does not match the key.
    #[error("the server's Sec-WebSocket-Accept does not match the key that was sent")]
    Accept,
    /// An extension or a parameter that was not offered, or a malformed header.
    #[error("the server's extension {0:?} was not offered or is malformed")]
    Extension(String),
    /// A subprotocol that was not offered, or more than one.
    #[error("the server's subprotocol {0:?} was not offered, or several were chosen")]
    Subprotocol(String),
}

/// Parses the response at the start of `bytes`, and returns it with the length of its head, which
/// frames follow; `Ok(None)` when more bytes are needed.
///
/// Interim responses (1xx other than 101, RFC 9110 section 15.2) before it are skipped. They count
/// towards the length and towards [`HeadLimits::max_bytes`].
///
/// # Errors
///
/// Every condition under which RFC 6455 section 4.1 requires a client to fail the connection; see
/// [`HandshakeError`].
pub fn parse_response<'b>(
    bytes: &'b [u8],
    limits: &HeadLimits,
    expected: &ResponseExpectation<'_>,
) -> Result<Option<(Response<'b>, usize)>, HandshakeError> {
    let Some((head, len)) = final_head(bytes, limits)? else { return Ok(None) };
    match head.status {
        101 if head.is_http_1_0 => Err(HandshakeError::Version),
        101 => accept(head.headers, expected).map(|response| Some((response, len))),
        status => Err(HandshakeError::Status { status, reason: head.reason.to_owned() }),
    }
}

/// The head of a server's final response, of whatever status.
///
/// ```
/// use ringway_codec::{HeadLimits, FinalHead};
///
/// let bytes = b"HTTP/1.1 301 Moved Permanently\r\nLocation: /new\r\n\r\nmoved";
/// let (head, len) = FinalHead::parse(bytes, &HeadLimits::default())?.expect("the head is complete");
/// assert_eq!((head.status, head.reason, head.headers.first("location")), (301, "Moved Permanently", Some(&b"/new"[..])));
/// assert_eq!(&bytes[len..], b"moved");
/// # Ok::<(), ringway_codec::HandshakeError>(())
/// ```
#[derive(Debug, Clone)]
pub struct FinalHead<'b> {
    /// The status code.
    pub status: u16,
    /// The reason phrase, which may be empty.
    pub reason: &'b str,
    /// All header fields.
    pub headers: Headers<'b>,
    is_http_1_0: bool,
}

impl<'b> FinalHead<'b> {
    /// Parses the response at the start of `bytes`, as [`parse_response`] does, without a check.
    ///
    /// # Errors
    ///
    /// Those of [`HandshakeError`] for a head that is not HTTP/1 or exceeds the limits.
    pub fn parse(bytes: &'b [u8], limits: &HeadLimits) -> Result<Option<(Self, usize)>, HandshakeError> {
        final_head(bytes, limits)
    }
}

/// The parser's reason, and the beginning of what is not a response.
fn malformed(error: &httparse::Error, bytes: &[u8]) -> String {
    /// What suffices to recognise another protocol.
    const SHOWN: usize = 40;
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    format!("{error}; it begins with {shown:?}")
}

/// Parses the head of the final response, and returns it with the length of all heads up to it.
fn final_head<'b>(bytes: &'b [u8], limits: &HeadLimits) -> Result<Option<(FinalHead<'b>, usize)>, HandshakeError> {
    let allowed = limits.allowed(bytes);
    let mut at = 0;
    loop {
        let mut slots = head::header_slots();
        let mut parsed = httparse::Response::new(&mut []);
        let result = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut parsed,
            &allowed[at..],
            limits.slots(&mut slots),
        );
        match result {
            Ok(httparse::Status::Complete(len)) => at += len,
            Ok(httparse::Status::Partial) if allowed.len() < limits.max_bytes => return Ok(None),
            Ok(httparse::Status::Partial) => return Err(HandshakeError::TooLong(limits.max_bytes)),
            Err(httparse::Error::TooManyHeaders) => {
                return Err(HandshakeError::TooManyHeaders(limits.max_headers.min(head::MAX_HEADERS)));
            }
            Err(error) => return Err(HandshakeError::Malformed(malformed(&error, &allowed[at..]))),
        }
        let status = parsed.code.unwrap_or(0);
        if status == 101 || !(100..200).contains(&status) {
            let head = FinalHead {
                status,
                reason: parsed.reason.unwrap_or_default(),
                headers: Headers::new(parsed.headers),
                is_http_1_0: parsed.version == Some(0),
            };
            return Ok(Some((head, at)));
        }
    }
}

/// Checks the header fields of a 101 against the request.
fn accept<'b>(headers: Headers<'b>, expected: &ResponseExpectation<'_>) -> Result<Response<'b>, HandshakeError> {
    check(&headers, expected)?;
    let deflate = check_extensions(&headers, expected)?;
    let subprotocol = check_subprotocol(&headers, expected)?;
    Ok(Response { subprotocol, deflate, headers })
}

fn check(headers: &Headers<'_>, expected: &ResponseExpectation<'_>) -> Result<(), HandshakeError> {
    // The server has switched to the protocol named here, so it must be the only one.
    let mut upgrades = headers.list("upgrade");
    if !upgrades.next().is_some_and(|name| name.eq_ignore_ascii_case("websocket")) || upgrades.next().is_some() {
        return Err(HandshakeError::Upgrade);
    }
    if !headers.lists("connection", "upgrade") {
        return Err(HandshakeError::Connection);
    }
    let mut accepts = headers.all("sec-websocket-accept");
    let proof = Key::from_nonce(expected.key).accept();
    if accepts.next() != Some(&proof[..]) || accepts.next().is_some() {
        return Err(HandshakeError::Accept);
    }
    Ok(())
}

fn check_extensions(
    headers: &Headers<'_>,
    expected: &ResponseExpectation<'_>,
) -> Result<Option<DeflateParams>, HandshakeError> {
    let extensions = parse_extensions(headers).map_err(|_| {
        let value = headers.first("sec-websocket-extensions").unwrap_or_default();
        HandshakeError::Extension(String::from_utf8_lossy(value).into_owned())
    })?;
    deflate::verify(&extensions, expected.deflate).map_err(|text| HandshakeError::Extension(text.to_owned()))
}

fn check_subprotocol(
    headers: &Headers<'_>,
    expected: &ResponseExpectation<'_>,
) -> Result<Option<String>, HandshakeError> {
    let mut chosen = headers.all("sec-websocket-protocol");
    let Some(name) = chosen.next() else { return Ok(None) };
    let offered = expected.subprotocols.iter().find(|offered| offered.as_bytes() == name);
    match (offered, chosen.next()) {
        (Some(name), None) => Ok(Some(name.clone())),
        (_, other) => Err(HandshakeError::Subprotocol(String::from_utf8_lossy(other.unwrap_or(name)).into_owned())),
    }
}
