//! The negotiation of permessage-deflate: the requirements of RFC 7692 sections 5 and 7.1, as
//! tables.

use http::HeaderMap;
use ringway_codec::{
    ClientRequest, DeflateOffer, DeflateParams, DeflatePolicy, HandshakeError, HeadLimits, Key, Target, WindowBits,
    encode_accept, parse_request, parse_response,
};

const TAKEOVER: DeflatePolicy = DeflatePolicy {
    takeover: true,
    peer_takeover: true,
    window_bits: WindowBits::MAX,
    peer_window_bits: WindowBits::MAX,
};
const SHARED: DeflatePolicy = DeflatePolicy { takeover: false, peer_takeover: false, ..TAKEOVER };

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

fn small() -> DeflatePolicy {
    DeflatePolicy { window_bits: bits(12), peer_window_bits: bits(10), ..TAKEOVER }
}

/// The response of a server to a request with this header; `-` if it declines, the status if it
/// refuses.
fn answer(policy: &DeflatePolicy, header: &str) -> String {
    let head = format!(
        "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
    );
    let (request, _) = parse_request(head.as_bytes(), &HeadLimits::default()).unwrap().unwrap();
    if let Err(refusal) = request.websocket() {
        return refusal.status.as_u16().to_string();
    }
    let chosen = policy.choose(&request.extensions().unwrap());
    chosen.map_or_else(|| "-".into(), |params| params.to_string())
}

fn answers(policy: &DeflatePolicy, table: &[(&str, &str)]) {
    for (offer, expected) in table {
        let header = format!("Sec-WebSocket-Extensions: {offer}\r\n");
        assert_eq!(&answer(policy, &header).replace("permessage-deflate", "pmd"), expected, "{offer}");
    }
}

#[test]
fn rfc7692_7_1_a_server_that_is_ready_for_everything_accepts_all_parameters() {
    answers(
        &TAKEOVER,
        &[
            ("permessage-deflate", "pmd"),
            ("permessage-deflate; server_no_context_takeover", "pmd; server_no_context_takeover"),
            ("permessage-deflate; client_no_context_takeover", "pmd; client_no_context_takeover"),
            ("permessage-deflate; server_max_window_bits=9", "pmd; server_max_window_bits=9"),
            ("permessage-deflate; server_max_window_bits=15", "pmd; server_max_window_bits=15"),
            ("permessage-deflate; server_max_window_bits=\"10\"", "pmd; server_max_window_bits=10"),
            ("permessage-deflate; client_max_window_bits", "pmd"),
            ("permessage-deflate; client_max_window_bits=15", "pmd"),
            ("permessage-deflate; client_max_window_bits=8", "pmd; client_max_window_bits=8"),
            ("permessage-deflate ;client_max_window_bits = \"1\\0\"", "pmd; client_max_window_bits=10"),
            (
                "permessage-deflate; client_max_window_bits=9; server_max_window_bits=11; client_no_context_takeover; \
                 server_no_context_takeover",
                "pmd; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11; \
                 client_max_window_bits=9",
            ),
        ],
    );
}

#[test]
fn rfc7692_7_1_an_offer_that_is_not_as_defined_is_declined() {
    for params in [
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        "server_max_window_bits=09",
        "server_max_window_bits=+9",
        "server_max_window_bits=ten",
        "server_max_window_bits=99999999999999999999",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=0",
        "client_max_window_bits=08",
        "client_max_window_bits=1e1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "client_no_context_takeover=\"x\"",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits; client_max_window_bits",
        "client_max_window_bits=10; client_max_window_bits",
        "client_max_window_bits=10; server_max_window_bits=10; client_max_window_bits=11",
        "unknown",
        "server_max_window_bits=10; unknown=1",
        "Server_No_Context_Takeover",
    ] {
        assert_eq!(
            answer(&TAKEOVER, &format!("Sec-WebSocket-Extensions: permessage-deflate; {params}\r\n")),
            "-",
            "{params}"
        );
    }
}

#[test]
fn windows_that_zlib_cannot_use_are_declined() {
    // A compressor's window of 256 bytes. Inflating such data is supported.
    answers(
        &TAKEOVER,
        &[
            ("permessage-deflate; server_max_window_bits=8", "-"),
            ("permessage-deflate; server_max_window_bits=8, permessage-deflate", "pmd"),
            ("permessage-deflate; client_max_window_bits=8", "pmd; client_max_window_bits=8"),
        ],
    );
}

#[test]
fn rfc7692_5_1_the_first_offer_that_can_be_accepted_is() {
    answers(
        &TAKEOVER,
        &[
            ("x-webkit-deflate-frame, permessage-deflate", "pmd"),
            ("permessage-bzip2; x=1", "-"),
            ("Permessage-Deflate", "-"),
            (
                "permessage-deflate; unknown, permessage-deflate; server_max_window_bits=12",
                "pmd; server_max_window_bits=12",
            ),
            (
                "permessage-deflate; server_max_window_bits=10\r\nSec-WebSocket-Extensions: permessage-deflate",
                "pmd; server_max_window_bits=10",
            ),
            ("permessage-deflate; a=\"x;y\", permessage-deflate", "400"),
            ("permessage-deflate; server_max_window_bits=", "400"),
            ("permessage-deflate;", "400"),
            ("", "-"),
        ],
    );
    assert_eq!(answer(&TAKEOVER, ""), "-");
}

#[test]
fn rfc7692_7_1_1_a_server_that_keeps_no_context_says_so_for_both_sides() {
    answers(
        &SHARED,
        &[
            ("permessage-deflate", "pmd; server_no_context_takeover; client_no_context_takeover"),
            (
                "permessage-deflate; client_max_window_bits; server_max_window_bits=11",
                "pmd; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
            ),
        ],
    );
}

#[test]
fn rfc7692_7_1_2_a_server_with_smaller_windows_asks_for_them_where_it_may() {
    answers(
        &small(),
        &[
            // A client that does not offer a limit of its window must not be given one.
            ("permessage-deflate", "pmd; server_max_window_bits=12"),
            ("permessage-deflate; client_max_window_bits", "pmd; server_max_window_bits=12; client_max_window_bits=10"),
            (
                "permessage-deflate; client_max_window_bits=9",
                "pmd; server_max_window_bits=12; client_max_window_bits=9",
            ),
            (
                "permessage-deflate; client_max_window_bits=12; server_max_window_bits=14",
                "pmd; server_max_window_bits=12; client_max_window_bits=10",
            ),
            (
                "permessage-deflate; client_max_window_bits=12; server_max_window_bits=9",
                "pmd; server_max_window_bits=9; client_max_window_bits=10",
            ),
        ],
    );
}

fn request(policy: &DeflatePolicy) -> String {
    let offers: Vec<String> = policy.offers().iter().map(ToString::to_string).collect();
    offers.join(", ").replace("permessage-deflate", "pmd")
}

#[test]
fn offers_of_a_client() {
    assert_eq!(request(&TAKEOVER), "pmd; client_max_window_bits");
    assert_eq!(request(&SHARED), "pmd; server_no_context_takeover; client_no_context_takeover; client_max_window_bits");
    assert_eq!(
        request(&small()),
        "pmd; server_max_window_bits=10; client_max_window_bits=12, \
         pmd; client_max_window_bits=12"
    );
    let least = DeflatePolicy { window_bits: WindowBits::MIN, peer_window_bits: WindowBits::MIN, ..TAKEOVER };
    assert!(request(&least).starts_with("pmd; server_max_window_bits=9; client_max_window_bits=9,"));
}

/// The result of a client with these offers for a server's response.
fn verify(offers: &[DeflateOffer], extensions: &str) -> Result<Option<DeflateParams>, String> {
    let nonce = *b"the sample nonce";
    let mut head = Vec::new();
    encode_accept(&Key::from_nonce(nonce), None, None, &HeaderMap::new(), &mut head);
    head.truncate(head.len() - 2);
    head.extend_from_slice(format!("Sec-WebSocket-Extensions: {extensions}\r\n\r\n").as_bytes());
    let expected = ringway_codec::ResponseExpectation { key: nonce, subprotocols: &[], deflate: offers };
    match parse_response(&head, &HeadLimits::default(), &expected) {
        Ok(parsed) => Ok(parsed.expect("a whole head").0.deflate),
        Err(HandshakeError::Extension(text)) => Err(text),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn rfc7692_7_1_a_client_accepts_answers_that_fit_an_offer() {
    for (policy, answer) in [
        (TAKEOVER, "permessage-deflate"),
        (TAKEOVER, "permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        (TAKEOVER, "permessage-deflate; server_max_window_bits=8; client_max_window_bits=8"),
        (TAKEOVER, "permessage-deflate; server_max_window_bits=\"15\"; client_max_window_bits=15"),
        (SHARED, "permessage-deflate; server_no_context_takeover"),
        (SHARED, "permessage-deflate; client_no_context_takeover; server_no_context_takeover"),
        (small(), "permessage-deflate; server_max_window_bits=10"),
        (small(), "permessage-deflate; server_max_window_bits=9; client_max_window_bits=12"),
        // The second offer.
        (small(), "permessage-deflate; server_no_context_takeover"),
    ] {
        assert!(matches!(verify(&policy.offers(), answer), Ok(Some(_))), "{answer}");
    }
    assert_eq!(verify(&TAKEOVER.offers(), ""), Ok(None));
    assert_eq!(verify(&[], ""), Ok(None));
}

#[test]
fn rfc7692_5_1_a_client_fails_the_connection_over_any_other_answer() {
    let unlimited = [DeflateOffer::default()];
    let table: [(&[DeflateOffer], &str); 17] = [
        (&[], "permessage-deflate"),
        (&TAKEOVER.offers(), "permessage-bzip2"),
        (&TAKEOVER.offers(), "permessage-deflate; unknown"),
        (&TAKEOVER.offers(), "permessage-deflate; server_max_window_bits"),
        (&TAKEOVER.offers(), "permessage-deflate; client_max_window_bits"),
        (&TAKEOVER.offers(), "permessage-deflate; server_max_window_bits=16"),
        (&TAKEOVER.offers(), "permessage-deflate; server_no_context_takeover=1"),
        (&TAKEOVER.offers(), "permessage-deflate; server_max_window_bits=9; server_max_window_bits=9"),
        (&TAKEOVER.offers(), "permessage-deflate, permessage-deflate"),
        (&TAKEOVER.offers(), "permessage-deflate; server_max_window_bits="),
        // RFC 7692 section 7.1.1.1: the server must answer the parameter.
        (&SHARED.offers(), "permessage-deflate"),
        (&SHARED.offers(), "permessage-deflate; client_no_context_takeover"),
        // Section 7.1.2.1: with the same or a smaller value.
        (&small().offers()[..1], "permessage-deflate; server_max_window_bits=11"),
        (&small().offers()[..1], "permessage-deflate"),
        // Section 7.1.2.2: only if the client has offered it, and with the same or a smaller value.
        (&unlimited, "permessage-deflate; client_max_window_bits=10"),
        (&small().offers(), "permessage-deflate; server_max_window_bits=10; client_max_window_bits=13"),
        (&TAKEOVER.offers(), "permessage-deflate, mux"),
    ];
    for (offers, answer) in table {
        assert!(verify(offers, answer).is_err(), "{answer}");
    }
}

#[test]
fn a_handshake_between_our_two_sides_agrees_on_common_parameters() {
    let policies = || {
        // Two of them under Miri, where all pairs of policies take an hour.
        let windows: &[u8] = if cfg!(miri) { &[8, 12] } else { &[8, 9, 12, 15] };
        [(true, true), (true, false), (false, true), (false, false)].into_iter().flat_map(
            move |(takeover, peer_takeover)| {
                windows.iter().flat_map(move |&window_bits| {
                    windows.iter().map(move |&peer_window_bits| DeflatePolicy {
                        takeover,
                        peer_takeover,
                        window_bits: bits(window_bits),
                        peer_window_bits: bits(peer_window_bits),
                    })
                })
            },
        )
    };
    let target = Target::parse("ws://localhost/").unwrap();
    for client in policies() {
        let offers = client.offers();
        let mut head = Vec::new();
        let nonce = [7; 16];
        let asked = ClientRequest {
            target: &target,
            key: nonce,
            subprotocols: &[],
            deflate: &offers,
            origin: None,
            headers: &HeaderMap::new(),
        };
        asked.encode(&mut head);
        for server in policies() {
            let (request, _) = parse_request(&head, &HeadLimits::default()).unwrap().unwrap();
            let key = request.websocket().unwrap();
            let chosen = server.choose(&request.extensions().unwrap()).expect("an offer of ours is one that we accept");
            let mut answer = Vec::new();
            encode_accept(&key, None, Some(&chosen), &HeaderMap::new(), &mut answer);
            let (response, _) = parse_response(&answer, &HeadLimits::default(), &asked.expectation()).unwrap().unwrap();
            assert_eq!(response.deflate, Some(chosen), "{client:?} {server:?}");
            use ringway_codec::Role::{Client, Server};
            let (up, down) = (chosen.outgoing(Client), chosen.outgoing(Server));
            assert_eq!((chosen.incoming(Server), chosen.incoming(Client)), (up, down));
            assert!(!up.takeover || client.takeover && server.peer_takeover);
            assert!(!down.takeover || server.takeover && client.peer_takeover);
            assert!(down.window_bits <= server.window_bits.max(bits(9)));
        }
    }
}
