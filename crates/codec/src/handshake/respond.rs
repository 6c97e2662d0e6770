//! The responses of a server (RFC 6455 section 4.2.2): the 101, a refusal, or plain HTTP.

use std::borrow::Cow;
use std::io::Write as _;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{StatusCode, Version};

use super::head::is_token;
use super::key::Key;
use crate::deflate::DeflateParams;

/// The refusal of a request: the response to send before closing.
///
/// ```
/// use http::StatusCode;
/// use ringway_codec::Refusal;
///
/// let mut response = Vec::new();
/// Refusal::new(StatusCode::FORBIDDEN, "the token has expired").encode(&mut response);
/// assert!(response.starts_with(b"HTTP/1.1 403 Forbidden\r\n"));
/// assert!(response.ends_with(b"the token has expired\n"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {reason}", status.as_u16())]
pub struct Refusal {
    /// The status, 4xx or 5xx.
    pub status: StatusCode,
    /// One line with the problem and the expectation. It is the body of the response, so it must
    /// not contain secrets.
    pub reason: Cow<'static, str>,
    /// Further header fields, such as `Sec-WebSocket-Version: 13`. `Connection`, `Content-Length`,
    /// `Content-Type` and `Transfer-Encoding`, which the response sets itself, are ignored.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// Creates a refusal without further header fields.
    #[must_use]
    pub fn new(status: StatusCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { status, reason: reason.into(), headers: Vec::new() }
    }

    /// Adds a header field.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Appends the whole HTTP/1.1 response: `Connection: close`, and the reason as a line of plain
    /// text.
    pub fn encode(&self, out: &mut Vec<u8>) {
        status_line(self.status, out);
        // A sender of Upgrade must list it in Connection (RFC 9110 section 7.8).
        let upgrade = self.headers.iter().any(|(name, _)| name == header::UPGRADE);
        let connection = if upgrade { "close, Upgrade" } else { "close" };
        field("Connection", connection.as_bytes(), out);
        field("Content-Type", b"text/plain; charset=utf-8", out);
        content_length(self.reason.len() + 1, out);
        for (name, value) in &self.headers {
            if !frames_the_body(name) && name != header::CONTENT_TYPE {
                field(name.as_str(), value.as_bytes(), out);
            }
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(self.reason.as_bytes());
        out.push(b'\n');
    }
}

/// Appends the 101 response that opens the WebSocket.
///
/// `subprotocol` must be one that the client offered, see
/// [`choose_subprotocol`](crate::choose_subprotocol); one that is not a token is omitted, because
/// it is not valid in a header. `deflate` must be the answer to one of the client's offers, see
/// [`DeflatePolicy::choose`](crate::DeflatePolicy::choose). Those of the `extra` header fields that
/// the handshake itself writes or forbids are ignored.
pub fn encode_accept(
    key: &Key,
    subprotocol: Option<&str>,
    deflate: Option<&DeflateParams>,
    extra: &HeaderMap,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n");
    field("Sec-WebSocket-Accept", &key.accept(), out);
    if let Some(name) = subprotocol.filter(|name| is_token(name)) {
        field("Sec-WebSocket-Protocol", name.as_bytes(), out);
    }
    if let Some(params) = deflate {
        field("Sec-WebSocket-Extensions", params.to_string().as_bytes(), out);
    }
    for (name, value) in extra {
        if !frames_the_body(name) && !belongs_to_the_handshake(name) {
            field(name.as_str(), value.as_bytes(), out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a plain HTTP/1.1 response with `Connection: close`, and `Content-Length` where the
/// status may have one (not 1xx or 204, RFC 9110 section 8.6). 1xx, 204 and 304 have no body, so
/// `body` is omitted for them.
///
/// `Connection`, `Content-Length` and `Transfer-Encoding` in `headers` are ignored.
pub fn encode_response(status: StatusCode, headers: &HeaderMap, body: &[u8], out: &mut Vec<u8>) {
    status_line(status, out);
    field("Connection", b"close", out);
    let unframed = status.is_informational() || status == StatusCode::NO_CONTENT;
    let bodyless = unframed || status == StatusCode::NOT_MODIFIED;
    if !bodyless {
        content_length(body.len(), out);
    }
    for (name, value) in headers {
        if !frames_the_body(name) {
            field(name.as_str(), value.as_bytes(), out);
        }
    }
    out.extend_from_slice(b"\r\n");
    if !bodyless {
        out.extend_from_slice(body);
    }
}

/// Fields that define where a message and its connection end: a second, different one permits
/// request smuggling.
pub(super) fn frames_the_body(name: &HeaderName) -> bool {
    *name == header::CONNECTION || *name == header::CONTENT_LENGTH || *name == header::TRANSFER_ENCODING
}

pub(super) fn belongs_to_the_handshake(name: &HeaderName) -> bool {
    *name == header::UPGRADE || name.as_str().starts_with("sec-websocket-")
}

/// Names are written as in RFC 6455: HTTP ignores case, but some simple clients do not.
pub(super) fn field(name: &str, value: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn status_line(status: StatusCode, out: &mut Vec<u8>) {
    let phrase = status.canonical_reason().unwrap_or_default();
    write!(out, "{:?} {} {phrase}\r\n", Version::HTTP_11, status.as_u16()).expect("writing to a Vec cannot fail");
}

fn content_length(length: usize, out: &mut Vec<u8>) {
    write!(out, "Content-Length: {length}\r\n").expect("writing to a Vec cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &[u8]) -> &str {
        std::str::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refusal_is_a_whole_response_that_closes() {
        let mut out = Vec::new();
        Refusal::new(StatusCode::FORBIDDEN, "no").encode(&mut out);
        assert_eq!(
            text(&out),
            "HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 3\r\n\r\nno\n"
        );
    }

    #[test]
    fn rfc9110_7_8_a_refusal_with_upgrade_lists_it_in_connection() {
        let mut out = Vec::new();
        Refusal::new(StatusCode::UPGRADE_REQUIRED, "x")
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with_header(header::CONTENT_LENGTH, HeaderValue::from_static("77"))
            .encode(&mut out);
        assert!(text(&out).contains("\r\nConnection: close, Upgrade\r\n"));
        assert!(text(&out).contains("\r\nupgrade: websocket\r\n"));
        assert!(!text(&out).contains("77"));
    }

    #[test]
    fn rfc6455_4_2_2_the_accepting_response() {
        let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        let mut extra = HeaderMap::new();
        extra.insert(header::SERVER, HeaderValue::from_static("ringway"));
        extra.insert(header::UPGRADE, HeaderValue::from_static("h2c"));
        extra.insert(header::CONTENT_LENGTH, HeaderValue::from_static("1"));
        extra.insert(header::SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        let mut out = Vec::new();
        encode_accept(&key, Some("chat"), None, &extra, &mut out);
        assert_eq!(
            text(&out),
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\
             server: ringway\r\n\r\n"
        );
    }

    #[test]
    fn a_subprotocol_that_would_break_the_head_is_left_out() {
        let key = Key::from_nonce([0; 16]);
        let mut out = Vec::new();
        encode_accept(&key, Some("chat\r\nset-cookie: a=b"), None, &HeaderMap::new(), &mut out);
        assert!(!text(&out).contains("cookie"));
    }

    #[test]
    fn a_plain_response_has_its_length_and_body() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        let mut out = Vec::new();
        encode_response(StatusCode::OK, &headers, b"<p>hi", &mut out);
        assert_eq!(
            text(&out),
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\ncontent-type: text/html\r\n\r\n<p>hi"
        );
    }

    #[test]
    fn rfc9110_8_6_a_response_without_content_has_no_length() {
        let mut out = Vec::new();
        encode_response(StatusCode::NO_CONTENT, &HeaderMap::new(), b"ignored", &mut out);
        assert_eq!(text(&out), "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    }
}
