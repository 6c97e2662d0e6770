//! Request smuggling (RFC 9112 section 11.2): bytes in which two programs could find different
//! requests get one response, and the connection ends.

use super::tests::{answers, read_all};

/// The request that another program might not have seen.
const SMUGGLED: &str = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";

/// Header fields of a request whose end is ambiguous, or not known to be its head's.
const FIELDS: &[&str] = &[
    // Content-Length for one program, Transfer-Encoding for the other.
    "Content-Length: 6\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 6",
    "Content-Length: 0\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nContent-Length: 0",
    "Content-Length: 44\r\nTransfer-Encoding : chunked",
    // A Transfer-Encoding that only one of them takes for one.
    "Transfer-Encoding: chunked",
    "Transfer-Encoding: xchunked",
    "Transfer-Encoding : chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\tchunked",
    "Transfer-Encoding:\x0bchunked",
    "Transfer-Encoding: \x0cchunked",
    "Transfer-Encoding: chunked, identity",
    "Transfer-Encoding: identity, chunked",
    "Transfer-Encoding: identity",
    "Transfer-Encoding: cHuNkEd",
    "Transfer-Encoding: 'chunked'",
    "Transfer-Encoding: \"chunked\"",
    "Transfer-Encoding: chunked;a=b",
    "Transfer-Encoding: chunk\u{e9}d",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding\r\n: chunked",
    "Transfer_Encoding: chunked",
    " Transfer-Encoding: chunked",
    "X: y\r\n Transfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\r\r\nTransfer-Encoding: chunked",
    "\0Transfer-Encoding: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer-Encoding: chunked\0",
    "\"Transfer-Encoding\": chunked",
    "Transfer Encoding: chunked",
    // A length that they read differently.
    "Content-Length: 6\r\nContent-Length: 6",
    "Content-Length: 0\r\nContent-Length: 6",
    "Content-Length: 6\r\nContent-Length: 0",
    "Content-Length: 0\r\nContent-Length: 0",
    "Content-Length: 0, 6",
    "Content-Length: 0\r\ncontent-length: 6",
    "Content-Length: +6",
    "Content-Length: -6",
    "Content-Length: 0x6",
    "Content-Length: 6.0",
    "Content-Length: 6e1",
    "Content-Length: 6 ",
    "Content-Length: 0 6",
    "Content-Length: 06",
    "Content-Length: \"6\"",
    "Content-Length:",
    "Content-Length: ,",
    "Content-Length: 18446744073709551616",
    "Content-Length: 4294967302",
    "Content-Length : 6",
    "Content-Length: 6\r\n 0",
    "Content-Length: 6\0",
    "Content-Length:\0 6",
    "Content_Length: 6",
    "\tContent-Length: 6",
    "Content-Length: 6\nX: y",
    "Content-Length: 6",
    // A host that they read differently.
    "Host: b",
    "host: a",
    " Host: b",
    "Host : b",
    // The request is read to its end by one of them only.
    "Expect: 100-continue\r\nContent-Length: 6",
    "Expect: 100-continue",
    "X: y\n",
    "X: y\n\r\nGET / HTTP/1.1\r\nHost: a",
    "no colon",
    ": no name",
    "X\0: y",
    "X: \0",
    "X: \x7f",
    "X: \x1b[2J",
    "X(: y",
];

/// Bytes before the head of a request.
const HEADS: &[&str] = &[
    "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    " \r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "\0GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    " GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\nHost: a\n\n",
    "GET / HTTP/1.1\n\n",
    "GET / HTTP/1.1\rHost: a\r\r",
    "GET /\r\n\r\n",
    "GET / \r\nHost: a\r\n\r\n",
    "GET / HTTP/0.9\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.10\r\nHost: a\r\n\r\n",
    "GET / HTTP/11\r\nHost: a\r\n\r\n",
    "GET / HTTP/2.0\r\nHost: a\r\n\r\n",
    "GET / HTTPS/1.1\r\nHost: a\r\n\r\n",
    "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n",
    "GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /  HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET /# HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET http://a@b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET b:80 HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT b:80 HTTP/1.1\r\nHost: b:80\r\n\r\n",
    "GET, / HTTP/1.1\r\nHost: a\r\n\r\n",
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a b\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a:80:80\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: \r\n\r\n",
    "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "\x16\x03\x01\x00\x05hello",
];

/// Checks that these bytes, and what follows, get one response, which refuses them, in every split.
/// Returns its status.
fn one_refusal(bytes: &str) -> u16 {
    let (sent, log, finished) = answers(bytes.as_bytes());
    if bytes.starts_with('\x16') {
        assert!(log.is_empty() && finished, "an alert of TLS answers a ClientHello");
        return 400;
    }
    let read = read_all(&sent, &[]);
    let [response] = &read[..] else { panic!("{bytes:?} got {read:?}") };
    assert!(response.closes && finished, "{bytes:?} got {response:?}");
    assert!(log.is_empty(), "{bytes:?} was passed to the handler: {log:?}");
    response.status
}

#[test]
fn rfc9112_11_2_ambiguous_fields_get_one_refusal_and_end_the_connection() {
    for fields in FIELDS {
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let status = one_refusal(&request);
        assert!(matches!(status, 400 | 411 | 413 | 417 | 501), "{fields:?} got {status}");
    }
}

#[test]
fn rfc9112_11_2_ambiguous_lines_get_one_refusal_and_end_the_connection() {
    for head in HEADS {
        let status = one_refusal(&format!("{head}{SMUGGLED}"));
        assert!(matches!(status, 400 | 405 | 505), "{head:?} got {status}");
    }
}

#[test]
fn rfc9112_11_2_the_same_holds_for_a_later_request_of_the_connection() {
    for fields in FIELDS {
        let first = "GET /first HTTP/1.1\r\nHost: a\r\n\r\n";
        let request = format!("{first}POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}");
        let (sent, log, finished) = answers(request.as_bytes());
        let closing: Vec<bool> = read_all(&sent, &[]).iter().map(|response| response.closes).collect();
        assert_eq!((log, closing, finished), (vec!["GET /first".to_owned()], vec![false, true], true), "{fields:?}");
    }
}

#[test]
fn rfc9112_11_2_one_empty_line_gets_one_response_and_ends_the_connection() {
    let (sent, log, finished) = answers(format!("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n{SMUGGLED}").as_bytes());
    let read = read_all(&sent, &[]);
    assert_eq!((read.len(), read[0].status, read[0].closes, finished), (1, 200, true, true));
    assert_eq!(log, ["GET /"]);
}

/// The same requests, as ones for a WebSocket: the bytes behind them would be decoded as frames.
#[test]
fn rfc9112_11_2_no_websocket_is_opened_by_an_ambiguous_request() {
    for fields in FIELDS {
        let request = format!(
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n\r\n0\r\n\r\n{SMUGGLED}"
        );
        one_refusal(&request);
    }
}
