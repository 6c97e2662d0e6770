//! A server's response that does not open a WebSocket, with what it says.

use http::HeaderMap;
use std::fmt;

/// The response of a server that has refused to open a WebSocket: another status than 101, its
/// header, and the beginning of its body. Collected for endpoints with
/// [`Endpoint::read_refusals`](crate::Endpoint::read_refusals). Displayed as `the server answered 404
/// Not Found instead of 101 Switching Protocols`.
///
/// ```
/// use ringway::ConnectError;
///
/// /// The URL of a redirect.
/// fn location(error: &ConnectError) -> Option<&str> {
///     let ConnectError::Refused(response) = error else { return None };
///     if !(300..400).contains(&response.status) {
///         return None;
///     }
///     response.headers.get("location")?.to_str().ok()
/// }
/// # let _ = location;
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RefusedUpgrade {
    /// The status code.
    pub status: u16,
    /// The reason phrase, which may be empty.
    pub reason: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The beginning of the body, without the framing of chunks (RFC 9112 section 7.1).
    pub body: Vec<u8>,
    /// Whether the body continues behind it.
    pub is_cut: bool,
    /// The received part of a body in chunks, with their framing.
    raw: Vec<u8>,
    length: BodyLength,
    max_body: usize,
}

/// How the end of a body is found (RFC 9112 section 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BodyLength {
    Bytes(u64),
    Chunked,
    ToTheEnd,
}

impl RefusedUpgrade {
    pub(crate) fn new(status: u16, reason: &str, headers: HeaderMap, max_body: usize) -> Self {
        let field = |name: &str| headers.get_all(name).iter().next_back().and_then(|value| value.to_str().ok());
        let is_chunked = field("transfer-encoding").is_some_and(|codings| {
            codings.rsplit(',').next().is_some_and(|it| it.trim().eq_ignore_ascii_case("chunked"))
        });
        let length = match field("content-length").map(|length| length.trim().parse()) {
            // Neither has a body (RFC 9110 section 6.4.1).
            _ if matches!(status, 204 | 304) => BodyLength::Bytes(0),
            _ if is_chunked => BodyLength::Chunked,
            Some(Ok(length)) => BodyLength::Bytes(length),
            _ => BodyLength::ToTheEnd,
        };
        let (body, raw) = (Vec::new(), Vec::new());
        Self { status, reason: reason.to_owned(), headers, body, is_cut: false, raw, length, max_body }
    }

    /// Adds received bytes of the body, and returns whether no more are needed.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        match self.length {
            BodyLength::Bytes(length) => {
                // What is behind the body is not part of it.
                let left = length.saturating_sub(self.body.len() as u64);
                self.append(&bytes[..bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX))]);
                self.is_cut = (self.body.len() as u64) < length;
                !self.is_cut || self.body.len() >= self.max_body
            }
            BodyLength::ToTheEnd => {
                self.append(bytes);
                self.is_cut = true;
                self.body.len() >= self.max_body
            }
            BodyLength::Chunked => {
                // The framing of a chunk is at least 5 bytes; what has more of it is not text to read.
                let room = (2 * self.max_body + 1024).saturating_sub(self.raw.len());
                self.raw.extend_from_slice(&bytes[..bytes.len().min(room)]);
                let (body, complete) = unchunk(&self.raw, self.max_body);
                self.body = body;
                self.is_cut = !complete;
                complete || room <= bytes.len() || self.body.len() >= self.max_body
            }
        }
    }

    /// The server has ended the connection.
    pub(crate) fn ended(&mut self) {
        if self.length == BodyLength::ToTheEnd && self.body.len() < self.max_body {
            self.is_cut = false;
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        let room = self.max_body - self.body.len();
        self.body.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// The number of bytes of memory that it occupies.
    pub(crate) fn held(&self) -> usize {
        self.body.capacity() + self.raw.capacity()
    }
}

/// The first bytes of a body in chunks, and whether it is complete.
fn unchunk(mut raw: &[u8], max: usize) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    while let Some(end) = raw.windows(2).position(|pair| pair == b"\r\n") {
        let size = std::str::from_utf8(&raw[..end]).ok();
        let size =
            size.and_then(|line| line.split(';').next()).and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let Some(size) = size else { return (body, false) };
        if size == 0 {
            return (body, true);
        }
        let data = &raw[end + 2..];
        let here = &data[..data.len().min(size)];
        body.extend_from_slice(&here[..here.len().min(max - body.len())]);
        match size.checked_add(2).and_then(|behind| data.get(behind..)) {
            Some(rest) if body.len() < max => raw = rest,
            _ => return (body, false),
        }
    }
    (body, false)
}

impl fmt::Display for RefusedUpgrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the server answered {} {} instead of 101 Switching Protocols", self.status, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn refused(fields: &[(&'static str, &'static str)], parts: &[&[u8]]) -> (RefusedUpgrade, bool) {
        let fields =
            fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut refused = RefusedUpgrade::new(404, "Not Found", fields.collect(), 8);
        let complete = parts.iter().fold(false, |_, part| refused.push(part));
        (refused, complete)
    }

    #[test]
    fn a_body_ends_by_its_length_by_its_last_chunk_or_with_the_connection() {
        for (fields, parts, body, complete, cut) in [
            (&[("content-length", "5")][..], &[&b"he"[..], b"llo"][..], &b"hello"[..], true, false),
            (&[("content-length", "5")], &[b"he"], b"he", false, true),
            (&[("content-length", "50")], &[b"0123456789"], b"01234567", true, true),
            (&[("content-length", "0")], &[b""], b"", true, false),
            (
                &[("transfer-encoding", "chunked")],
                &[b"2\r\nhe\r\n3;x=1\r\nl", b"lo\r\n0\r\n\r\n"],
                b"hello",
                true,
                false,
            ),
            (&[("transfer-encoding", "chunked")], &[b"5\r\nhel"], b"hel", false, true),
            (&[("transfer-encoding", "chunked")], &[b"ff\r\n0123456789"], b"01234567", true, true),
            (&[("transfer-encoding", "chunked")], &[b"ffffffffffffffff\r\n01"], b"01", false, true),
            (&[], &[b"hello"], b"hello", false, true),
            (&[], &[b"0123456789"], b"01234567", true, true),
        ] {
            let (refused, is_complete) = refused(fields, parts);
            assert_eq!((&refused.body[..], is_complete, refused.is_cut), (body, complete, cut), "{fields:?} {parts:?}");
        }
        let (mut to_the_end, _) = refused(&[], &[b"hello"]);
        to_the_end.ended();
        assert!(!to_the_end.is_cut);
    }

    #[test]
    fn what_is_kept_of_chunks_is_limited() {
        let (mut refused, mut complete) = refused(&[("transfer-encoding", "chunked")], &[b"1;"]);
        for _ in 0..100 {
            complete |= refused.push(&[b'x'; 100]);
        }
        assert!(complete && refused.held() <= 4096, "{}", refused.held());
    }
}
