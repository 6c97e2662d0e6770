#![no_main]
//! A `Sec-WebSocket-Extensions` header, parsed as a server and as a client. The server's answer
//! matches an offer of the client, the client accepts that answer, and both derive the same
//! parameters; a client accepts only what it has offered. The first two bytes of the input
//! configure the two sides.

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use ringway_codec::{
    DeflateOffer, DeflateParams, DeflatePolicy, HeadLimits, Key, ResponseExpectation, Role, WindowBits, encode_accept,
    parse_request, parse_response,
};

const NONCE: [u8; 16] = *b"the sample nonce";
const LIMITS: HeadLimits = HeadLimits { max_bytes: 1 << 20, max_headers: 128 };

fn policy(byte: u8) -> DeflatePolicy {
    let window = |bits: u8| WindowBits::new(8 + bits % 8).expect("8 to 15 bits are windows");
    DeflatePolicy {
        takeover: byte & 1 != 0,
        peer_takeover: byte & 2 != 0,
        window_bits: window(byte >> 2),
        peer_window_bits: window(byte >> 5),
    }
}

/// The parameters that a client with these `offers` derives from an answer with this header; `None`
/// if it fails the connection.
fn taken(offers: &[DeflateOffer], header: &[u8]) -> Option<Option<DeflateParams>> {
    let mut head = Vec::new();
    encode_accept(&Key::from_nonce(NONCE), None, None, &HeaderMap::new(), &mut head);
    head.truncate(head.len() - 2);
    head.extend_from_slice(b"Sec-WebSocket-Extensions: ");
    head.extend_from_slice(header);
    head.extend_from_slice(b"\r\n\r\n");
    let expected = ResponseExpectation { key: NONCE, subprotocols: &[], deflate: offers };
    parse_response(&head, &LIMITS, &expected).ok().flatten().map(|(response, _)| response.deflate)
}

fuzz_target!(|data: &[u8]| {
    let Some((&[server, client], header)) = data.split_first_chunk::<2>() else { return };
    let (server, client) = (policy(server), policy(client));

    let head = [
        b"GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
          Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: ",
        header,
        b"\r\n\r\n",
    ]
    .concat();
    if let Ok(Some((request, _))) = parse_request(&head, &LIMITS) {
        let extensions = request.extensions();
        assert!(extensions.is_ok() || request.websocket().is_err(), "a malformed offer is refused");
        let extensions = extensions.unwrap_or_default();
        let offers: Vec<DeflateOffer> = extensions.iter().filter_map(DeflateOffer::parse).collect();
        match server.choose(&extensions) {
            None => assert!(offers.iter().all(|offer| server.accept(offer).is_none())),
            Some(params) => {
                assert!(offers.iter().any(|offer| offer.admits(&params)));
                assert_eq!(taken(&offers, params.to_string().as_bytes()), Some(Some(params)));
                for role in [Role::Server, Role::Client] {
                    let (ours, theirs) = (params.outgoing(role), params.incoming(role));
                    assert_eq!(
                        (params.incoming(Role::Server), params.incoming(Role::Client)),
                        match role {
                            Role::Server => (theirs, ours),
                            Role::Client => (ours, theirs),
                        }
                    );
                }
                let down = params.outgoing(Role::Server);
                assert!(down.window_bits.is_deflatable() && down.takeover <= server.takeover);
                assert!(params.outgoing(Role::Client).takeover <= server.peer_takeover);
            }
        }
        // An encoded offer parses as the same offer.
        for offer in offers {
            let text = offer.to_string();
            let head = format!("GET / HTTP/1.1\r\nSec-WebSocket-Extensions: {text}\r\n\r\n");
            let (request, _) = parse_request(head.as_bytes(), &LIMITS).expect("it is good").expect("it is whole");
            let again = request.extensions().expect("it follows the grammar");
            assert_eq!(again.iter().filter_map(DeflateOffer::parse).collect::<Vec<_>>(), [offer]);
        }
    }

    let offers = client.offers();
    if let Some(Some(params)) = taken(&offers, header) {
        assert!(offers.iter().any(|offer| offer.admits(&params)));
        assert!(params.incoming(Role::Client).takeover <= client.peer_takeover);
        assert_eq!(taken(&offers, params.to_string().as_bytes()), Some(Some(params)));
        assert_eq!(taken(&[], header), None, "a client accepts only what it has offered");
    }
});
