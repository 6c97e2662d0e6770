//! Both sides of the opening handshake, tested against RFC 6455 section 4 and against each other.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use ringway_codec::{
    ClientRequest, HandshakeError, HeadLimits, Key, OriginPolicy, Refusal, Request, Target, choose_subprotocol,
    encode_accept, parse_request, parse_response,
};

/// The request of RFC 6455 section 1.2.
const SAMPLE: &str = "GET /chat?room=1 HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nOrigin: http://example.com\r\n\
    Sec-WebSocket-Protocol: chat, superchat\r\nSec-WebSocket-Version: 13\r\n\r\n";

fn parse(head: &str) -> Request<'_> {
    let (request, len) = parse_request(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(len, head.len());
    request
}

fn refusal(bytes: &[u8], limits: &HeadLimits) -> Refusal {
    match parse_request(bytes, limits) {
        Err(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

/// The refusal of the sample with `from` replaced by `to`.
fn refused(from: &str, to: &str) -> Refusal {
    assert!(SAMPLE.contains(from), "{from}");
    parse(&SAMPLE.replace(from, to)).websocket().unwrap_err()
}

fn header<'r>(refusal: &'r Refusal, name: &str) -> Option<&'r str> {
    refusal.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.to_str().unwrap())
}

#[test]
fn rfc6455_1_2_the_sample_request_is_accepted() {
    let request = parse(SAMPLE);
    assert_eq!(request.method(), "GET");
    assert_eq!(request.target(), "/chat?room=1");
    assert_eq!(request.path(), "/chat");
    assert_eq!(request.query(), Some("room=1"));
    assert_eq!(request.version(), 1);
    assert_eq!(request.host(), Some("server.example.com"));
    assert_eq!(request.origin(), Some("http://example.com"));
    assert_eq!(request.header("SEC-WEBSOCKET-VERSION"), Some(&b"13"[..]));
    assert_eq!(request.headers().count(), 7);
    assert!(request.wants_upgrade());
    assert_eq!(&request.websocket().unwrap().accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

#[test]
fn the_head_ends_where_the_frames_begin() {
    let bytes = [SAMPLE.as_bytes(), b"\x81\x80"].concat();
    let (_, len) = parse_request(&bytes, &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(len, SAMPLE.len());
}

#[test]
fn every_prefix_of_a_request_needs_more() {
    for end in 0..SAMPLE.len() {
        assert!(parse_request(&SAMPLE.as_bytes()[..end], &HeadLimits::default()).unwrap().is_none(), "{end}");
    }
}

#[test]
fn rfc6455_4_2_1_lists_and_case_are_read_as_http_has_them() {
    for (from, to) in [
        ("Connection: Upgrade", "Connection: keep-alive, Upgrade"),
        ("Connection: Upgrade", "connection: keep-alive\r\nCONNECTION:upgrade"),
        ("Upgrade: websocket", "Upgrade: h2c, WebSocket"),
        ("Host: server.example.com", "host:server.example.com:8080"),
        ("Origin: http://example.com", "Content-Length: 0"),
        ("/chat?room=1", "http://server.example.com/chat?room=1"),
    ] {
        assert!(SAMPLE.contains(from));
        assert!(parse(&SAMPLE.replacen(from, to, 1)).websocket().is_ok(), "{to}");
    }
}

#[test]
fn rfc6455_4_2_1_every_condition_is_checked() {
    let status = |from, to| refused(from, to).status.as_u16();
    assert_eq!(status("GET /", "POST /"), 405);
    assert_eq!(status("GET /", "get /"), 405);
    assert_eq!(status("HTTP/1.1", "HTTP/1.0"), 505);
    assert_eq!(status("Host: server.example.com\r\n", ""), 400);
    assert_eq!(status("Host: server.example.com", "Host: a\r\nHost: b"), 400);
    assert_eq!(status("Connection: Upgrade\r\n", ""), 400);
    assert_eq!(status("Connection: Upgrade", "Connection: Upgraded"), 400);
    assert_eq!(status("Upgrade: websocket\r\n", ""), 426);
    assert_eq!(status("Upgrade: websocket", "Upgrade: websockets"), 426);
    assert_eq!(status("Sec-WebSocket-Version: 13\r\n", ""), 426);
    assert_eq!(status("Version: 13", "Version: 7"), 426);
    assert_eq!(status("Version: 13", "Version: 8"), 426);
    assert_eq!(status("Version: 13", "Version: 13, 8"), 426);
    assert_eq!(status("Version: 13", "Version: 013"), 426);
    assert_eq!(status("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", ""), 400);
    assert_eq!(status("dGhlIHNhbXBsZSBub25jZQ==", "c2hvcnQ="), 400);
    assert_eq!(status("Origin: http://example.com", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="), 400);
    assert_eq!(status("Origin: http://example.com", "Content-Length: 5"), 400);
    assert_eq!(status("Origin: http://example.com", "Content-Length: many"), 400);
    assert_eq!(status("Origin: http://example.com", "Transfer-Encoding: chunked"), 400);
}

#[test]
fn refusals_name_the_expected_value() {
    assert_eq!(header(&refused("GET /", "PUT /"), "allow"), Some("GET"));
    assert_eq!(header(&refused("Upgrade: websocket\r\n", ""), "upgrade"), Some("websocket"));
    let version = refused("Version: 13", "Version: 8");
    assert_eq!(header(&version, "sec-websocket-version"), Some("13"));
    assert_eq!(header(&version, "upgrade"), Some("websocket"));
    assert!(version.to_string().starts_with("426: "), "{version}");
}

/// The request of draft-hixie-thewebsocketprotocol-76, section 1.2, with the last 8 bytes of its
/// challenge.
const DRAFT_76: &str = "GET /demo HTTP/1.1\r\nHost: example.com\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\nSec-WebSocket-Protocol: sample\r\nUpgrade: WebSocket\r\n\
    Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\nOrigin: http://example.com\r\n\r\n^n:ds[4U";

#[test]
fn the_refusal_of_draft_76_says_which_draft_it_is() {
    let (request, len) = parse_request(DRAFT_76.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(len, DRAFT_76.len() - 8);
    let refusal = request.websocket().unwrap_err();
    assert_eq!(refusal.status.as_u16(), 426);
    assert!(refusal.reason.contains("draft 76"), "{refusal}");
    assert_eq!(header(&refusal, "sec-websocket-version"), Some("13"));
    assert_eq!(header(&refusal, "upgrade"), Some("websocket"));
}

#[test]
fn a_version_decides_whatever_other_headers_there_are() {
    let key1 = "Sec-WebSocket-Key1: 4 @1  46546xW%0l 1 5";
    assert!(parse(&SAMPLE.replace("Origin: http://example.com", key1)).websocket().is_ok());
    let drafts = |version: &str| refused("Version: 13\r\n", &format!("Version: {version}\r\n{key1}\r\n"));
    for version in ["7", "8"] {
        assert!(!drafts(version).reason.contains("draft 76"), "{version}");
        assert_eq!(header(&drafts(version), "sec-websocket-version"), Some("13"), "{version}");
    }
}

#[test]
fn a_head_over_the_limits_is_refused_with_its_own_status() {
    let limits = HeadLimits { max_bytes: 100, max_headers: 3 };
    let long = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200));
    assert_eq!(refusal(long.as_bytes(), &limits).status.as_u16(), 414);
    assert_eq!(refusal(format!("\r\n\r\n{long}").as_bytes(), &limits).status.as_u16(), 414);
    let long = format!("GET / HTTP/1.1\r\nCookie: {}\r\n\r\n", "a".repeat(200));
    assert_eq!(refusal(long.as_bytes(), &limits).status.as_u16(), 431);
    assert_eq!(refusal(&long.as_bytes()[..100], &limits).status.as_u16(), 431);
    assert!(parse_request(&long.as_bytes()[..99], &limits).unwrap().is_none());
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(4));
    assert_eq!(refusal(many.as_bytes(), &limits).status.as_u16(), 431);
    let fits = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(3));
    assert!(parse_request(fits.as_bytes(), &limits).unwrap().is_some());
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(129));
    assert_eq!(refusal(many.as_bytes(), &HeadLimits { max_bytes: 9999, max_headers: 9999 }).status.as_u16(), 431);
}

#[test]
fn bytes_that_are_not_http_are_refused_at_once() {
    let limits = HeadLimits::default();
    assert_eq!(refusal(b"\x00\x01", &limits).status.as_u16(), 400);
    assert!(refusal(b"\x16\x03\x01\x02\x00", &limits).reason.contains("TLS"));
    assert_eq!(refusal(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &limits).status.as_u16(), 505);
    assert_eq!(refusal(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", &limits).status.as_u16(), 400);
    assert_eq!(refusal(b"GET / HTTP/1.1\r\nA: b\r\n folded\r\n\r\n", &limits).status.as_u16(), 400);
}

#[test]
fn paths_and_queries_of_all_forms_of_target() {
    let of = |target: &str| {
        let head = format!("GET {target} HTTP/1.1\r\n\r\n");
        let request = parse(&head);
        (request.path().to_owned(), request.query().map(str::to_owned))
    };
    assert_eq!(of("/"), ("/".into(), None));
    assert_eq!(of("/a/b?"), ("/a/b".into(), Some("".into())));
    assert_eq!(of("/a?b=c?d"), ("/a".into(), Some("b=c?d".into())));
    assert_eq!(of("/redirect?to=http://x/y"), ("/redirect".into(), Some("to=http://x/y".into())));
    assert_eq!(of("http://host"), ("/".into(), None));
    assert_eq!(of("http://host?q"), ("/".into(), Some("q".into())));
    assert_eq!(of("http://host/p?q"), ("/p".into(), Some("q".into())));
    assert_eq!(of("*"), ("*".into(), None));
}

/// The status of the refusal of `METHOD TARGET` with these `Host` headers; 0 if the request is
/// accepted.
fn status_of(line: &str, hosts: &[&str]) -> u16 {
    let (_, rest) = SAMPLE.split_once("Host: server.example.com\r\n").unwrap();
    let hosts: String = hosts.iter().map(|host| format!("Host: {host}\r\n")).collect();
    let line = if line.contains("HTTP/") { line.to_owned() } else { format!("{line} HTTP/1.1") };
    let head = format!("{line}\r\n{hosts}{rest}");
    let request = parse(&head);
    let checked = request.check_target().err();
    if line.starts_with("GET") && line.ends_with("1.1") {
        assert_eq!(request.websocket().err(), checked, "{head}");
    }
    checked.map_or(0, |refusal| refusal.status.as_u16())
}

#[test]
fn rfc9112_3_2_a_host_is_there_once_and_valid() {
    for host in ["h", "h:80", "h:", "10.0.0.1", "[::1]:9001", "a_b.c", "b%C3%BCcher"] {
        assert_eq!(status_of("GET /", &[host]), 0, "{host}");
    }
    for host in
        ["", " ", ":80", "a b/c@d", "a b", "a, b", "http://h", "h/", "me@h", "h:x", "h:65536", "::1", "[::1", "bücher"]
    {
        assert_eq!(status_of("GET /", &[host]), 400, "{host:?}");
        assert_eq!(status_of("POST /", &[host]), 400, "{host:?}");
        assert_eq!(status_of("GET / HTTP/1.0", &[host]), 400, "{host:?}");
    }
    assert_eq!(status_of("GET /", &[]), 400);
    assert_eq!(status_of("GET /", &["h", "h"]), 400);
    assert_eq!(status_of("GET /", &["h", ""]), 400);
    assert_eq!(status_of("GET / HTTP/1.0", &[]), 0, "HTTP/1.0 had no Host");
    assert_eq!(status_of("GET / HTTP/1.0", &["h", "h"]), 400);
    let raw = [&b"GET / HTTP/1.1\r\nHost: a\xff\r\n\r\n"[..], b"GET / HTTP/1.1\r\nHost: \xc3\xbc\r\n\r\n"];
    for head in raw {
        let (request, _) = parse_request(head, &HeadLimits::default()).unwrap().unwrap();
        assert_eq!(request.check_target().unwrap_err().status.as_u16(), 400);
    }
}

#[test]
fn rfc9112_3_2_a_request_target_has_one_of_the_four_forms() {
    for target in
        ["/", "//", "/a?b", "/a?f[x]=|{y}", "/ü", "/a:b@c", "http://h", "HTTPS://h:1/?a", "ws://[::1]/", "wss://h"]
    {
        assert_eq!(status_of(&format!("GET {target}"), &["h"]), 0, "{target}");
    }
    for target in [
        "foo",
        "?a",
        "a/b",
        "/a#b",
        "/#",
        "/?a#b",
        "#",
        "http://h/#a",
        "http://h#",
        "foo?to=http://h/",
        "ftp://h/",
        "://h/",
        "http:/h",
        "http:h",
        "mailto:a@h",
        "\\a",
    ] {
        assert_eq!(status_of(&format!("GET {target}"), &["h"]), 400, "{target}");
        assert_eq!(status_of(&format!("POST {target}"), &["h"]), 400, "{target}");
    }
}

#[test]
fn rfc9110_4_2_a_url_without_a_host_or_with_user_information_is_refused() {
    for target in [
        "http://",
        "http:///a",
        "http://:80/",
        "http://?a",
        "http://me@h/",
        "http://me:secret@h/",
        "http://h:x/",
        "http://h:65536/",
        "http://[::1/",
        "http://h,[::1]/",
        "ws://ü/",
    ] {
        assert_eq!(status_of(&format!("GET {target}"), &["h"]), 400, "{target}");
    }
}

#[test]
fn rfc9112_3_2_3_only_connect_has_an_authority_and_only_options_an_asterisk() {
    for (line, status) in [
        ("GET h:80", 400),
        ("GET h", 400),
        ("GET *", 400),
        ("POST *", 400),
        ("CONNECT *", 400),
        ("OPTIONS h:80", 400),
        ("OPTIONS *?", 400),
        ("CONNECT :80", 400),
        ("CONNECT h", 400),
        ("CONNECT h:", 400),
        ("CONNECT me@h:80", 400),
        ("CONNECT h:80", 0),
        ("OPTIONS *", 0),
        ("OPTIONS /", 0),
    ] {
        assert_eq!(status_of(line, &["h"]), status, "{line}");
    }
}

#[test]
fn rfc9112_3_2_2_an_absolute_target_wins_over_the_host() {
    for (target, host, path, query) in [
        ("http://real.example:8080/chat?room=1", "real.example:8080", "/chat", Some("room=1")),
        ("HTTP://real.example", "real.example", "/", None),
        ("wss://[::1]:1?to=http://a/b", "[::1]:1", "/", Some("to=http://a/b")),
    ] {
        for value in ["other.example", ""] {
            let head = SAMPLE.replace("/chat?room=1", target).replace("server.example.com", value);
            let request = parse(&head);
            assert!(request.websocket().is_ok(), "{head}");
            assert_eq!((request.host(), request.path(), request.query()), (Some(host), path, query));
            assert_eq!((request.target(), request.header("host")), (target, Some(value.as_bytes())));
        }
        // It is required all the same, once and valid (RFC 9112 section 3.2).
        let line = format!("GET {target}");
        assert_eq!([&[][..], &["a", "b"], &["a b/c@d"]].map(|hosts| status_of(&line, hosts)), [400; 3], "{target}");
    }
    // A URL inside the path is part of the path.
    assert_eq!(parse(&SAMPLE.replace("room=1", "to=http://a/b")).host(), Some("server.example.com"));
}

#[test]
fn cookies_of_all_headers() {
    let request = parse("GET / HTTP/1.1\r\nCookie: a=1; b=\"x=y\";flag; =v\r\ncookie: c=\r\n\r\n");
    let cookies: Vec<_> = request.cookies().collect();
    assert_eq!(cookies, [("a", "1"), ("b", "\"x=y\""), ("", "v"), ("c", "")]);
}

#[test]
fn a_handshake_between_our_own_two_sides() {
    let target = Target::parse("ws://[::1]:9001/chat?room=1").unwrap();
    let ours = ["v2".to_owned(), "v1".to_owned()];
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("authorization"), HeaderValue::from_static("Bearer x")),
        (HeaderName::from_static("sec-websocket-version"), HeaderValue::from_static("8")),
        (HeaderName::from_static("content-length"), HeaderValue::from_static("8")),
    ]);
    let asked = ClientRequest {
        target: &target,
        key: *b"the sample nonce",
        subprotocols: &ours,
        deflate: &[],
        origin: Some("http://localhost"),
        headers: &headers,
    };
    let mut bytes = Vec::new();
    asked.encode(&mut bytes);
    let head = std::str::from_utf8(&bytes).unwrap();
    let request = parse(head);
    assert_eq!(request.host(), Some("[::1]:9001"));
    assert_eq!(request.target(), "/chat?room=1");
    assert_eq!(request.origin(), Some("http://localhost"));
    assert_eq!(request.header("authorization"), Some(&b"Bearer x"[..]));
    let key = request.websocket().unwrap();
    assert_eq!(key, Key::from_nonce(*b"the sample nonce"));
    let chosen = choose_subprotocol(request.subprotocols(), &ours[1..]);

    let mut answer = Vec::new();
    encode_accept(&key, chosen, None, &HeaderMap::new(), &mut answer);
    let head = answer.len();
    answer.extend_from_slice(b"\x81\x00");
    for end in 0..head {
        let parsed = parse_response(&answer[..end], &HeadLimits::default(), &asked.expectation());
        assert!(parsed.unwrap().is_none());
    }
    let (response, len) = parse_response(&answer, &HeadLimits::default(), &asked.expectation()).unwrap().unwrap();
    assert_eq!(len, head);
    assert_eq!(response.subprotocol.as_deref(), Some("v1"));
    assert_eq!(response.headers.first("upgrade"), Some(&b"websocket"[..]));
}

#[test]
fn rfc6455_10_2_a_policy_other_than_any_needs_exactly_one_origin() {
    let check = |policy: &OriginPolicy, origins: &[&str]| {
        let fields: String = origins.iter().map(|origin| format!("Origin: {origin}\r\n")).collect();
        let head = format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        parse(&head).check_origin(policy).err().map(|refusal| refusal.status.as_u16())
    };
    for origins in [&[][..], &["null"], &["http://a", "http://b"]] {
        assert_eq!(check(&OriginPolicy::Any, origins), None);
    }
    for policy in [OriginPolicy::Required, OriginPolicy::List(vec!["http://a".into()])] {
        assert_eq!(check(&policy, &["http://a"]), None);
        assert_eq!(check(&policy, &[]), Some(403));
        assert_eq!(check(&policy, &["http://a", "http://a"]), Some(403));
    }
    assert_eq!(check(&OriginPolicy::List(vec!["http://a".into()]), &["http://b"]), Some(403));
}

#[test]
fn headers_of_the_caller_replace_host_and_origin() {
    let target = Target::parse("ws://10.0.0.1/").unwrap();
    let headers = HeaderMap::from_iter([
        (HeaderName::from_static("host"), HeaderValue::from_static("example.com")),
        (HeaderName::from_static("origin"), HeaderValue::from_static("http://b")),
    ]);
    let mut bytes = Vec::new();
    ClientRequest {
        target: &target,
        key: [0; 16],
        subprotocols: &[],
        deflate: &[],
        origin: Some("http://a"),
        headers: &headers,
    }
    .encode(&mut bytes);
    let request = parse(std::str::from_utf8(&bytes).unwrap());
    assert_eq!(request.header_values("host").collect::<Vec<_>>(), [b"example.com"]);
    assert_eq!(request.header_values("origin").collect::<Vec<_>>(), [b"http://b"]);
    assert!(request.header("sec-websocket-protocol").is_none());
}

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";

fn answered(answer: &str) -> Result<Option<String>, HandshakeError> {
    let offered = ["soap".to_owned(), "chat".to_owned()];
    let expected =
        ringway_codec::ResponseExpectation { key: *b"the sample nonce", subprotocols: &offered, deflate: &[] };
    let parsed = parse_response(answer.as_bytes(), &HeadLimits { max_bytes: 400, max_headers: 8 }, &expected);
    parsed.map(|parsed| parsed.expect("a whole head").0.subprotocol)
}

#[test]
fn rfc6455_4_1_the_clients_checks() {
    use HandshakeError as E;
    let with = |from: &str, to: &str| {
        assert!(ANSWER.contains(from), "{from}");
        answered(&ANSWER.replacen(from, to, 1))
    };
    assert_eq!(answered(ANSWER), Ok(Some("chat".into())));
    assert_eq!(with("Sec-WebSocket-Protocol: chat\r\n", ""), Ok(None));
    assert_eq!(with("Upgrade: websocket", "upgrade: WEBSOCKET"), Ok(Some("chat".into())));
    let status = E::Status { status: 404, reason: "Not Found".into() };
    assert_eq!(with("101 Switching Protocols", "404 Not Found"), Err(status));
    assert_eq!(with("101 Switching Protocols", "200"), Err(E::Status { status: 200, reason: String::new() }));
    assert_eq!(with("HTTP/1.1", "HTTP/1.0"), Err(E::Version));
    assert_eq!(with("Upgrade: websocket\r\n", ""), Err(E::Upgrade));
    assert_eq!(with("Connection: Upgrade\r\n", ""), Err(E::Connection));
    assert_eq!(with("s3pPL", "S3pPL"), Err(E::Accept));
    assert_eq!(with("Sec-WebSocket-Accept", "X-Accept"), Err(E::Accept));
    assert_eq!(
        with("Protocol: chat", "Extensions: permessage-deflate"),
        Err(E::Extension("permessage-deflate".into()))
    );
    assert_eq!(with("Protocol: chat", "Protocol: Chat"), Err(E::Subprotocol("Chat".into())));
    assert_eq!(
        with("Protocol: chat", "Protocol: chat\r\nSec-WebSocket-Protocol: soap"),
        Err(E::Subprotocol("soap".into()))
    );
    assert_eq!(with("\r\n\r\n", &format!("\r\n{}\r\n", "a: b\r\n".repeat(9))), Err(E::TooManyHeaders(8)));
    assert_eq!(with("\r\n\r\n", &format!("\r\na: {}\r\n\r\n", "b".repeat(400))), Err(E::TooLong(400)));
    assert!(matches!(answered("SSH-2.0-OpenSSH_9.6\r\n"), Err(E::Malformed(_))));
}

#[test]
fn rfc9110_15_2_interim_responses_are_skipped() {
    let interim = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n\
        HTTP/1.1 199\r\nSec-WebSocket-Accept: x\r\nSec-WebSocket-Protocol: news\r\n\r\n";
    assert_eq!(answered(&format!("{interim}{ANSWER}")), Ok(Some("chat".into())));
    // The final response counts, whatever precedes it.
    let refused = answered(&format!("{interim}HTTP/1.1 503 Busy\r\n\r\n"));
    assert_eq!(refused, Err(HandshakeError::Status { status: 503, reason: "Busy".into() }));
    // 101 is not an interim response: frames follow it.
    let first = answered(&format!("HTTP/1.1 101 Switching Protocols\r\n\r\n{ANSWER}"));
    assert_eq!(first, Err(HandshakeError::Upgrade));
    assert!(matches!(answered(&format!("{interim}SSH-2.0\r\n")), Err(HandshakeError::Malformed(_))));
}

#[test]
fn rfc9110_15_2_interim_responses_count_towards_the_limits() {
    let expected =
        ringway_codec::ResponseExpectation { key: *b"the sample nonce", subprotocols: &["chat".into()], deflate: &[] };
    let limits = HeadLimits { max_bytes: 1000, max_headers: 4 };
    let parse =
        |bytes: &str| parse_response(bytes.as_bytes(), &limits, &expected).map(|parsed| parsed.map(|(_, len)| len));
    let interim = "HTTP/1.1 102 Processing\r\n\r\n";
    let many = interim.repeat((1000 - ANSWER.len()) / interim.len());
    let whole = format!("{many}{ANSWER}");
    assert_eq!(parse(&whole), Ok(Some(whole.len())));
    assert_eq!(parse(&format!("{whole}\u{1}\0")), Ok(Some(whole.len())), "frames follow");
    for end in 0..whole.len() {
        assert_eq!(parse(&whole[..end]), Ok(None), "{end}");
    }
    assert_eq!(parse(&format!("{many}{interim}{interim}{ANSWER}")), Err(HandshakeError::TooLong(1000)));
    assert_eq!(parse(&interim.repeat(100)), Err(HandshakeError::TooLong(1000)));
    // The number of fields is that of one head.
    let fields = "HTTP/1.1 103 Early Hints\r\na: b\r\na: b\r\n\r\n";
    assert!(parse(&format!("{fields}{fields}{ANSWER}")).is_ok());
    let fields = format!("HTTP/1.1 103 Early Hints\r\n{}\r\n", "a: b\r\n".repeat(5));
    assert_eq!(parse(&fields), Err(HandshakeError::TooManyHeaders(4)));
}

#[test]
fn an_answer_in_single_bytes_is_parsed_when_its_end_is_received_interim_responses_or_not() {
    let whole = format!("HTTP/1.1 100 Continue\r\n\r\n{ANSWER}");
    let expected =
        ringway_codec::ResponseExpectation { key: *b"the sample nonce", subprotocols: &["chat".into()], deflate: &[] };
    let limits = HeadLimits::default();
    let mut scan = ringway_codec::HeadScan::new(&limits);
    let parsed = (1..=whole.len()).find_map(|end| {
        let bytes = &whole.as_bytes()[..end];
        scan.push(bytes).then(|| parse_response(bytes, &limits, &expected).unwrap().map(|_| end)).flatten()
    });
    assert_eq!(parsed, Some(whole.len()));
}

#[test]
fn the_agreed_parameters_and_response_fields_can_be_read() {
    let more = "\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nX-Node: 7\r\n\r\n";
    let answer = format!("HTTP/1.1 100 Continue\r\nX-Node: 8\r\n\r\n{}", ANSWER.replace("\r\n\r\n", more));
    let expected =
        ringway_codec::ResponseExpectation { key: *b"the sample nonce", subprotocols: &["chat".into()], deflate: &[] };
    let (response, len) = parse_response(answer.as_bytes(), &HeadLimits::default(), &expected).unwrap().unwrap();
    assert_eq!((response.subprotocol.as_deref(), len), (Some("chat"), answer.len()));
    assert_eq!(response.headers.all("Set-Cookie").collect::<Vec<_>>(), [b"a=1", b"b=2"]);
    assert_eq!(response.headers.first("x-node"), Some(&b"7"[..]));
    assert_eq!(response.headers.iter().count(), 7);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), max_bytes in 0..250usize) {
        let limits = HeadLimits { max_bytes, max_headers: 5 };
        let _ = parse_request(&bytes, &limits);
        let _ = Key::parse(&bytes);
        let _ = Target::parse(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_request_with_wrong_bytes_never_panics(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = SAMPLE.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(Some((request, _))) = parse_request(&bytes, &HeadLimits::default()) {
            let _ = (request.websocket(), request.path(), request.query(), request.cookies().count());
            let _ = (request.subprotocols().count(), request.host(), request.origin(), request.check_target());
        }
    }
}
