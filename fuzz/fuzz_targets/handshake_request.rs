#![no_main]
//! The result of a request depends on its head alone: the bytes after it change nothing, a prefix
//! of a valid head is not an error, and a head beyond the limit is refused. An accepted request can
//! be answered, and a refusal is a valid HTTP response. The first byte of the input selects the
//! limits.

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use ringway_codec::{
    HeadLimits, HeadScan, OriginPolicy, ResponseExpectation, choose_subprotocol, encode_accept, parse_request,
    parse_response,
};

fuzz_target!(|data: &[u8]| {
    let Some((&first, head)) = data.split_first() else { return };
    let limits = match first % 3 {
        0 => HeadLimits::default(),
        1 => HeadLimits { max_bytes: usize::from(first), max_headers: 8 },
        _ => HeadLimits { max_bytes: 4096, max_headers: usize::from(first) },
    };
    let mut scan = HeadScan::new(&limits);
    let worthwhile = scan.push(head);
    match parse_request(head, &limits) {
        Ok(None) => assert!(head.len() < limits.max_bytes),
        Err(refusal) => {
            let mut answer = Vec::new();
            refusal.encode(None, &mut answer);
            assert!(refusal.status.is_client_error() || refusal.status.is_server_error());
            assert!(answer.starts_with(b"HTTP/1.1 ") && answer.ends_with(b"\n"));
        }
        Ok(Some((request, len))) => {
            assert!(worthwhile && len <= head.len() && len <= limits.max_bytes);
            for end in (0..len).rev().take(40) {
                assert!(matches!(parse_request(&head[..end], &limits), Ok(None)), "{end} of {len} bytes");
            }
            let (again, same) = parse_request(&head[..len], &limits).expect("it was good").expect("it was whole");
            assert_eq!((again.method(), again.target(), same), (request.method(), request.target(), len));
            let _ = (request.path(), request.query(), request.host(), request.origin());
            let _ = (request.cookies().count(), request.headers().count());
            if request.check_target().is_ok() {
                // A valid request has a host and a path, except for HTTP/1.0 and two methods with
                // their own forms of the target.
                let odd = request.version() == 0 || ["CONNECT", "OPTIONS"].contains(&request.method());
                assert!(odd || request.path().starts_with('/') && request.host().is_some_and(|host| !host.is_empty()));
                assert!(!request.target().contains('#'));
            }
            let _ = request.check_origin(&OriginPolicy::List(vec!["https://example.com".into()]));
            if let Ok(key) = request.websocket() {
                assert_eq!((request.method(), request.version(), request.wants_upgrade()), ("GET", 1, true));
                assert_eq!(request.check_target(), Ok(()));
                assert!(head.windows(24).any(|window| window == key.as_bytes()));
                let ours = ["chat".to_owned()];
                let subprotocol = choose_subprotocol(request.subprotocols(), &ours);
                answer(&key, subprotocol);
            }
        }
    }
});

/// Checks that a client with this key accepts the answer.
fn answer(key: &ringway_codec::Key, subprotocol: Option<&str>) {
    let mut answer = Vec::new();
    encode_accept(key, subprotocol, None, &HeaderMap::new(), &mut answer);
    let text = std::str::from_utf8(&answer).expect("ASCII");
    let accept = key.accept();
    let accept = std::str::from_utf8(&accept).expect("base64");
    assert!(text.contains(&format!("\r\nSec-WebSocket-Accept: {accept}\r\n")));
    let offered: Vec<String> = subprotocol.map(str::to_owned).into_iter().collect();
    let other = ResponseExpectation { key: *b"another nonce...", subprotocols: &offered, deflate: &[] };
    // No other key has this accept value.
    assert!(parse_response(&answer, &HeadLimits::default(), &other).is_err());
}
