#![no_main]
//! A response opens a WebSocket only if its accept value matches the key and it selects only what
//! was offered, whatever interim responses precede it. A prefix of a valid head is not an error,
//! and the bytes after a head change nothing. The first byte of the input selects the limits.

use libfuzzer_sys::fuzz_target;
use ringway_codec::{DeflatePolicy, HeadLimits, Key, ResponseExpectation, WindowBits, parse_response};

fuzz_target!(|data: &[u8]| {
    let Some((&first, head)) = data.split_first() else { return };
    let limits = match first % 3 {
        0 => HeadLimits::default(),
        1 => HeadLimits { max_bytes: usize::from(first), max_headers: 8 },
        _ => HeadLimits { max_bytes: 4096, max_headers: usize::from(first) },
    };
    let offered = ["chat".to_owned(), "v2.soap".to_owned()];
    let peer_window_bits = WindowBits::new(12).expect("12 bits are a window");
    let offers = DeflatePolicy { peer_window_bits, ..DeflatePolicy::default() }.offers();
    let expected = ResponseExpectation { key: *b"the sample nonce", subprotocols: &offered, deflate: &offers };
    match parse_response(head, &limits, &expected) {
        Ok(None) => assert!(head.len() < limits.max_bytes),
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(Some((response, len))) => {
            assert!(len <= head.len() && len <= limits.max_bytes);
            let proof = Key::from_nonce(expected.key).accept();
            let proofs: Vec<_> = response.headers.all("sec-websocket-accept").collect();
            assert_eq!(proofs, [&proof[..]]);
            assert!(response.subprotocol.is_none_or(|name| offered.contains(&name)));
            // Interim responses may precede it.
            assert!(head[..len].windows(12).any(|window| window == b"HTTP/1.1 101"));
            assert!(response.deflate.is_none_or(|params| offers.iter().any(|offer| offer.admits(&params))));
            for end in (0..len).rev().take(40) {
                assert!(matches!(parse_response(&head[..end], &limits, &expected), Ok(None)), "{end} of {len} bytes");
            }
            let again = parse_response(&head[..len], &limits, &expected).expect("it was good").expect("it was whole");
            assert_eq!(again.1, len);
        }
    }
});
