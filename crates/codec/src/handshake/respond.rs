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
/// Refusal::new(StatusCode::FORBIDDEN, "the token has expired").encode(None, &mut response);
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
    /// text. `date` is the value of `Date` (RFC 9110 section 6.6.1), which a server without a clock
    /// omits.
    pub fn encode(&self, date: Option<&str>, out: &mut Vec<u8>) {
        self.encode_head(date, out);
        out.extend_from_slice(self.reason.as_bytes());
        out.push(b'\n');
    }

    /// Appends the head of the response alone, which answers HEAD (RFC 9110 section 9.3.2).
    pub fn encode_head(&self, date: Option<&str>, out: &mut Vec<u8>) {
        status_line(self.status, out);
        if let Some(date) = date {
            field("Date", date.as_bytes(), out);
        }
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

/// The head of a response to a plain HTTP request (RFC 9112 section 4). The body follows it, if
/// [`has_content`](ResponseHead::has_content) and the request was not HEAD.
///
/// ```
/// use http::{HeaderMap, StatusCode};
/// use ringway_codec::ResponseHead;
///
/// let mut out = Vec::new();
/// let headers = HeaderMap::new();
/// let date = "Sun, 06 Nov 1994 08:49:37 GMT";
/// ResponseHead { status: StatusCode::OK, headers: &headers, len: 2, keeps_alive: true, date }.encode(&mut out);
/// assert!(out.ends_with(b"Connection: keep-alive\r\nContent-Length: 2\r\n\r\n"));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ResponseHead<'a> {
    /// The status. An informational one does not end a request.
    pub status: StatusCode,
    /// Further header fields. `Connection`, `Content-Length` and `Transfer-Encoding` are ignored,
    /// because the response sets them itself.
    pub headers: &'a HeaderMap,
    /// The length of the body in bytes, also in the response to HEAD (RFC 9110 section 8.6).
    pub len: usize,
    /// Whether the connection continues after the response (RFC 9112 section 9.3).
    pub keeps_alive: bool,
    /// The value of `Date` (RFC 9110 section 6.6.1), unless `headers` has one.
    pub date: &'a str,
}

impl ResponseHead<'_> {
    /// Whether a response with this status has a body: not with 1xx, 204, 205 and 304 (RFC 9110
    /// sections 6.4.1 and 15.3.6).
    #[must_use]
    pub fn has_content(status: StatusCode) -> bool {
        let without = [StatusCode::NO_CONTENT, StatusCode::RESET_CONTENT, StatusCode::NOT_MODIFIED];
        !status.is_informational() && !without.contains(&status)
    }

    /// Appends the head. `Content-Length` is omitted for 1xx and 204 (RFC 9110 section 8.6) and for
    /// 304, and is 0 for 205.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let Self { status, headers, len, keeps_alive, date } = *self;
        status_line(status, out);
        if !headers.contains_key(header::DATE) {
            field("Date", date.as_bytes(), out);
        }
        field("Connection", if keeps_alive { b"keep-alive" } else { b"close" }, out);
        if Self::has_content(status) {
            content_length(len, out);
        } else if status == StatusCode::RESET_CONTENT {
            content_length(0, out);
        }
        for (name, value) in headers {
            if !frames_the_body(name) {
                field(name.as_str(), value.as_bytes(), out);
            }
        }
        out.extend_from_slice(b"\r\n");
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

    /// The example of RFC 9110 section 5.6.7.
    const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

    fn text(out: &[u8]) -> &str {
        std::str::from_utf8(out).unwrap()
    }

    #[test]
    fn a_refusal_is_a_whole_response_that_closes() {
        let mut out = Vec::new();
        Refusal::new(StatusCode::FORBIDDEN, "no").encode(Some(DATE), &mut out);
        assert_eq!(
            text(&out),
            "HTTP/1.1 403 Forbidden\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 3\r\n\r\nno\n"
        );
    }

    #[test]
    fn rfc9110_7_8_a_refusal_with_upgrade_lists_it_in_connection() {
        let mut out = Vec::new();
        Refusal::new(StatusCode::UPGRADE_REQUIRED, "x")
            .with_header(header::UPGRADE, HeaderValue::from_static("websocket"))
            .with_header(header::CONTENT_LENGTH, HeaderValue::from_static("77"))
            .encode(None, &mut out);
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

    fn head(status: StatusCode, headers: &HeaderMap, len: usize, keeps_alive: bool) -> String {
        let mut out = Vec::new();
        ResponseHead { status, headers, len, keeps_alive, date: DATE }.encode(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_plain_response_has_its_date_and_length() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html"));
        headers.insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        for (keeps_alive, connection) in [(true, "keep-alive"), (false, "close")] {
            assert_eq!(
                head(StatusCode::OK, &headers, 5, keeps_alive),
                format!(
                    "HTTP/1.1 200 OK\r\nDate: {DATE}\r\nConnection: {connection}\r\nContent-Length: 5\r\n\
                     content-type: text/html\r\n\r\n"
                )
            );
        }
    }

    #[test]
    fn a_date_of_the_application_is_the_only_one() {
        let mut headers = HeaderMap::new();
        headers.insert(header::DATE, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
        let head = head(StatusCode::OK, &headers, 0, true);
        assert!(!head.contains(DATE) && head.contains("1970"), "{head}");
    }

    #[test]
    fn rfc9110_8_6_a_response_without_content_has_no_length() {
        for status in [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED, StatusCode::SWITCHING_PROTOCOLS] {
            assert!(!ResponseHead::has_content(status));
            assert!(!head(status, &HeaderMap::new(), 7, false).contains("Length"), "{status}");
        }
        assert!(!ResponseHead::has_content(StatusCode::RESET_CONTENT));
        assert!(head(StatusCode::RESET_CONTENT, &HeaderMap::new(), 7, true).contains("Content-Length: 0\r\n"));
    }
}
