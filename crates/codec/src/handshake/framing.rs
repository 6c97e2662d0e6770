//! The end of a request: whether it has a body, and whether all recipients find the same end (RFC
//! 9112 section 6).
//!
//! Requests with bodies are refused, so every head is followed by the next request. A head that
//! another recipient on the way could read as one with a body is refused with 400: the bytes after
//! it could be a request that the other one has not seen (request smuggling, section 11.2).

use http::StatusCode;

use super::head::{Headers, is_token};
use super::respond::Refusal;

/// The methods of RFC 9110 section 9 and RFC 5789.
const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// The body of a request, as its head declares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    None,
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// Other transfer codings before `chunked`.
    Coded,
    /// `Content-Length` above 0.
    Sized,
}

/// Checks that the request has an unambiguous end, a known method, no expectation and no body.
pub(super) fn check(method: &str, version: u8, headers: &Headers<'_>) -> Result<(), Refusal> {
    let body = body_of(version, headers).map_err(|reason| Refusal::new(StatusCode::BAD_REQUEST, reason))?;
    if !METHODS.contains(&method) {
        return Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "the method is unknown; methods are case-sensitive, as in GET",
        ));
    }
    // In HTTP/1.0 the expectation is ignored (RFC 9110 section 10.1.1).
    if version > 0 && headers.first("expect").is_some() {
        return Err(Refusal::new(
            StatusCode::EXPECTATION_FAILED,
            "expectations are not supported; send the request without the header Expect",
        ));
    }
    match body {
        Body::None => Ok(()),
        Body::Chunked => Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "chunked bodies are not supported; send the request without a body",
        )),
        Body::Coded => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "transfer codings are not supported; send the request without a body",
        )),
        Body::Sized => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request bodies are not supported; send the request without a body",
        )),
    }
}

/// The body that the head declares (RFC 9112 section 6.3); the reason why it is ambiguous as an
/// error.
fn body_of(version: u8, headers: &Headers<'_>) -> Result<Body, &'static str> {
    if headers.iter().any(|(name, _)| resembles_framing(name)) {
        return Err("expected Content-Length or Transfer-Encoding to be spelled with a hyphen");
    }
    let mut lengths = headers.all("content-length");
    let (length, second) = (lengths.next(), lengths.next());
    let coded = headers.first("transfer-encoding").is_some();
    if coded && length.is_some() {
        return Err("a request has Transfer-Encoding or Content-Length, not both");
    }
    if coded {
        // Section 6.1: its framing is faulty.
        if version == 0 {
            return Err("a request of HTTP/1.0 has no Transfer-Encoding");
        }
        return coding_of(headers);
    }
    match (length, second) {
        (None, _) => Ok(Body::None),
        // Equal values could be accepted (section 6.3), but no client has a reason to send two.
        (Some(_), Some(_)) => Err("expected at most one Content-Length header"),
        (Some(length), None) if length.is_empty() || !length.iter().all(u8::is_ascii_digit) => {
            Err("expected the Content-Length to consist of digits")
        }
        (Some(length), None) if length.iter().all(|&digit| digit == b'0') => Ok(Body::None),
        _ => Ok(Body::Sized),
    }
}

/// The body with a `Transfer-Encoding`: `chunked` is the last coding, and occurs once (RFC 9112
/// section 6.1).
fn coding_of(headers: &Headers<'_>) -> Result<Body, &'static str> {
    const CHUNKED_LAST: &str = "expected the last transfer coding, and no other, to be chunked";
    let mut codings = 0;
    let mut chunked = false;
    for value in headers.all("transfer-encoding") {
        for coding in value.split(|&byte| byte == b',') {
            let coding = std::str::from_utf8(coding).unwrap_or_default().trim_matches([' ', '\t']);
            let name = coding.split(';').next().unwrap_or_default().trim_matches([' ', '\t']);
            // A coding after chunked, an empty element, or a parameter of chunked.
            if chunked || !is_token(name) {
                return Err(CHUNKED_LAST);
            }
            chunked = coding.eq_ignore_ascii_case("chunked");
            codings += 1;
        }
    }
    match (chunked, codings) {
        (false, _) => Err(CHUNKED_LAST),
        (true, 1) => Ok(Body::Chunked),
        (true, _) => Ok(Body::Coded),
    }
}

/// Whether a program that does not distinguish `-` and `_` in names, as CGI does not, would read
/// this field as one that defines the end of the request.
fn resembles_framing(name: &str) -> bool {
    let is_like = |other: &str| {
        let mut pairs = name.bytes().zip(other.bytes());
        pairs.all(|(a, b)| a.eq_ignore_ascii_case(&b) || (a, b) == (b'_', b'-'))
    };
    name.contains('_')
        && (name.len() == 14 && is_like("content-length") || name.len() == 17 && is_like("transfer-encoding"))
}

/// Whether each line of a head ends with CRLF, and at most one empty line precedes it. A bare LF
/// may be accepted as the end of a line (RFC 9112 section 2.2); programs that do so and others find
/// different requests in the same bytes.
pub(super) fn has_strict_lines(head: &[u8]) -> bool {
    let is_crlf = |line: &[u8]| line.ends_with(b"\r\n");
    head.split_inclusive(|&byte| byte == b'\n').all(is_crlf) && !head.starts_with(b"\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use crate::handshake::{HeadLimits, parse_request};

    /// The status of the refusal; 0 if there is none.
    fn status(line: &str, fields: &str) -> u16 {
        let head = format!("{line}\r\nHost: a\r\n{fields}\r\n");
        match parse_request(head.as_bytes(), &HeadLimits::default()) {
            Ok(parsed) => {
                let (request, len) = parsed.expect("it is complete");
                assert_eq!(len, head.len());
                request.check_framing().map_or_else(|refusal| refusal.status.as_u16(), |()| 0)
            }
            Err(refusal) => refusal.status.as_u16(),
        }
    }

    fn of(fields: &str) -> u16 {
        status("POST / HTTP/1.1", fields)
    }

    #[test]
    fn rfc9112_6_3_requests_without_a_body_are_accepted() {
        for fields in ["", "Content-Length: 0\r\n", "content-length:000\r\n", "TE: chunked\r\n"] {
            assert_eq!(of(fields), 0, "{fields:?}");
        }
        assert_eq!(status("POST / HTTP/1.0", "Expect: 100-continue\r\n"), 0);
    }

    #[test]
    fn rfc9112_6_3_bodies_are_refused_by_their_kind() {
        for (fields, expected) in [
            ("Content-Length: 1\r\n", 413),
            ("Content-Length: 99999999999999999999999999\r\n", 413),
            ("Transfer-Encoding: chunked\r\n", 411),
            ("Transfer-Encoding:\tCHUNKED \r\n", 411),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
            ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 501),
            ("Expect: 100-continue\r\nContent-Length: 1\r\n", 417),
            ("Expect: something\r\n", 417),
        ] {
            assert_eq!(of(fields), expected, "{fields:?}");
        }
    }

    #[test]
    fn rfc9112_6_1_ambiguous_ends_are_refused() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
            "Content-Length: 5\r\nContent-Length: 5\r\n",
            "Content-Length: 0\r\nContent-Length: 0\r\n",
            "Content-Length: 0\r\nContent-Length: 5\r\n",
            "Content-Length: 5, 5\r\n",
            "Content-Length:\r\n",
            "Content-Length: +5\r\n",
            "Content-Length: -5\r\n",
            "Content-Length: 0x5\r\n",
            "Content-Length: 5 5\r\n",
            "Content-Length: \u{661}\r\n",
            "Content_Length: 5\r\n",
            "TRANSFER_ENCODING: chunked\r\n",
            "Transfer-Encoding: chunked, chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
            "Transfer-Encoding: chunked, gzip\r\n",
            "Transfer-Encoding: identity\r\n",
            "Transfer-Encoding: xchunked\r\n",
            "Transfer-Encoding: \"chunked\"\r\n",
            "Transfer-Encoding: chunked;q=1\r\n",
            "Transfer-Encoding: , chunked\r\n",
            "Transfer-Encoding:\r\n",
            "Transfer-Encoding: chunked x\r\n",
        ] {
            assert_eq!(of(fields), 400, "{fields:?}");
        }
        assert_eq!(status("POST / HTTP/1.0", "Transfer-Encoding: chunked\r\n"), 400);
    }

    #[test]
    fn rfc9110_9_1_unknown_methods_are_not_implemented() {
        for line in ["BREW / HTTP/1.1", "get / HTTP/1.1", "PRI / HTTP/1.1", "GETS / HTTP/1.1"] {
            assert_eq!(status(line, ""), 501, "{line}");
        }
        for method in super::METHODS {
            assert_eq!(status(&format!("{method} / HTTP/1.1"), ""), 0, "{method}");
        }
    }

    #[test]
    fn rfc9112_2_2_lines_end_with_crlf_and_one_empty_line_may_precede_them() {
        let parse = |head: &str| {
            let parsed = parse_request(head.as_bytes(), &HeadLimits::default());
            parsed.map(|parsed| parsed.expect("it is complete").1).map_err(|refusal| refusal.status.as_u16())
        };
        assert_eq!(parse("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(27));
        assert_eq!(parse("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), Ok(29));
        for head in [
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\n\n",
        ] {
            assert_eq!(parse(head), Err(400), "{head:?}");
        }
    }
}
