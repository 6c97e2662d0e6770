//! Requirements of RFC 6455: a test for each that no other test checks in full. docs/conformance.md
//! lists the test of each requirement.
//!
//! Sent bytes are parsed here without the codec's own parser.

use http::HeaderMap;
use ringway_codec::{
    ClientRequest, CloseCode, Decoder, Event, HandshakeError, HeadLimits, Key, Limits, MessageKind, OpCode, Prepared,
    ProtocolError, Refusal, Role, SpillPool, Target, encode_accept, encode_client, encode_close, encode_server,
    parse_request, parse_response,
};
use ringway_testkit::decoder::{Outcome, Seen, decode, received_by};
use ringway_testkit::{Frame, KEY};

const NONCE: [u8; 16] = *b"the sample nonce";
const ROLES: [Role; 2] = [Role::Server, Role::Client];
const OPCODES: [OpCode; 6] =
    [OpCode::Continuation, OpCode::Text, OpCode::Binary, OpCode::Close, OpCode::Ping, OpCode::Pong];

fn request(url: &str, subprotocols: &[&str], headers: &HeaderMap) -> String {
    let target = Target::parse(url).unwrap();
    let subprotocols: Vec<String> = subprotocols.iter().map(ToString::to_string).collect();
    let mut bytes = Vec::new();
    let asked =
        ClientRequest { target: &target, key: NONCE, subprotocols: &subprotocols, deflate: &[], origin: None, headers };
    asked.encode(&mut bytes);
    String::from_utf8(bytes).unwrap()
}

/// The values of a header field, over all its lines.
fn values<'h>(head: &'h str, name: &str) -> Vec<&'h str> {
    let fields = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value).collect()
}

#[test]
fn rfc6455_4_1_the_request_has_each_field_that_it_must_have_once() {
    let mut headers = HeaderMap::new();
    for name in ["upgrade", "connection", "sec-websocket-key", "sec-websocket-version", "content-length"] {
        headers.insert(name, "wrong".parse().unwrap());
    }
    let head = request("ws://example.com:9001/chat/room?id=1&x=%20", &[], &headers);
    assert!(head.starts_with("GET /chat/room?id=1&x=%20 HTTP/1.1\r\n"), "{head}");
    assert!(head.ends_with("\r\n\r\n"), "{head}");
    assert_eq!(values(&head, "host"), ["example.com:9001"]);
    assert_eq!(values(&head, "upgrade"), ["websocket"]);
    assert_eq!(values(&head, "connection"), ["Upgrade"]);
    assert_eq!(values(&head, "sec-websocket-key"), ["dGhlIHNhbXBsZSBub25jZQ=="]);
    assert_eq!(values(&head, "sec-websocket-version"), ["13"]);
    assert!(values(&head, "sec-websocket-protocol").is_empty());
    assert!(values(&head, "sec-websocket-extensions").is_empty());
    assert!(values(&head, "content-length").is_empty());
}

#[test]
fn rfc6455_4_1_the_host_has_no_port_when_it_is_the_default_one() {
    for (url, host) in [
        ("ws://example.com", "example.com"),
        ("ws://example.com:80/", "example.com"),
        ("ws://example.com:443/", "example.com:443"),
        ("wss://example.com:443/", "example.com"),
        ("wss://[::1]:80/", "[::1]:80"),
    ] {
        assert_eq!(values(&request(url, &[], &HeaderMap::new()), "host"), [host], "{url}");
    }
}

#[test]
fn rfc6455_4_1_offered_subprotocols_are_tokens_and_each_comes_once() {
    let head =
        request("ws://h/", &["v2.chat", "", "v1 chat", "v1,chat", "a\r\nb: c", "v2.chat", "v1"], &HeaderMap::new());
    assert_eq!(values(&head, "sec-websocket-protocol"), ["v2.chat, v1"]);
    let head = request("ws://h/", &["", "é"], &HeaderMap::new());
    assert!(values(&head, "sec-websocket-protocol").is_empty());
}

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// The result of a client that offered no subprotocol for the response with `from` replaced by
/// `to`.
fn answered(from: &str, to: &str) -> Result<(), HandshakeError> {
    assert!(ANSWER.contains(from), "{from}");
    let target = Target::parse("ws://h/").unwrap();
    let headers = HeaderMap::new();
    let asked =
        ClientRequest { target: &target, key: NONCE, subprotocols: &[], deflate: &[], origin: None, headers: &headers };
    let answer = ANSWER.replacen(from, to, 1);
    let parsed = parse_response(answer.as_bytes(), &HeadLimits::default(), &asked.expectation());
    parsed.map(|parsed| assert!(parsed.is_some(), "a whole head"))
}

#[test]
fn rfc6455_4_1_the_answer_names_websocket_and_nothing_else() {
    for upgrade in ["WebSocket", "WEBSOCKET", " websocket ", "websocket,"] {
        assert_eq!(answered("Upgrade: websocket", &format!("Upgrade: {upgrade}")), Ok(()), "{upgrade:?}");
    }
    for upgrade in ["", "websockets", "h2c, websocket", "websocket, h2c", "websocket/13", "websocket\r\nUpgrade: h2c"] {
        let result = answered("Upgrade: websocket", &format!("Upgrade: {upgrade}"));
        assert_eq!(result, Err(HandshakeError::Upgrade), "{upgrade:?}");
    }
}

#[test]
fn rfc6455_4_1_white_space_around_the_accept_value_does_not_count() {
    assert_eq!(answered("Accept: ", "Accept:\t  "), Ok(()));
    assert_eq!(answered("xOo=\r\n", "xOo= \t\r\n"), Ok(()));
    assert_eq!(answered("Accept: s3pPL", "Accept: s3p PL"), Err(HandshakeError::Accept));
    // Base64 is case-sensitive, unlike most of HTTP.
    assert_eq!(answered("s3pPL", "S3PPL"), Err(HandshakeError::Accept));
}

#[test]
fn rfc6455_4_1_an_answer_with_unrequested_fields_fails() {
    let with = |field: &str| answered("\r\n\r\n", &format!("\r\n{field}\r\n\r\n"));
    assert_eq!(with("Sec-WebSocket-Protocol: chat"), Err(HandshakeError::Subprotocol("chat".into())));
    assert_eq!(with("Sec-WebSocket-Protocol:"), Err(HandshakeError::Subprotocol(String::new())));
    assert_eq!(with("Sec-WebSocket-Extensions: x-mux"), Err(HandshakeError::Extension("x-mux".into())));
    assert!(matches!(with("Sec-WebSocket-Extensions: permessage-deflate"), Err(HandshakeError::Extension(_))));
    assert_eq!(with("X-Anything: else"), Ok(()));
}

const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example.com\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The sample request with one more header field.
fn asked(field: &[u8]) -> Result<Key, Refusal> {
    let head = [REQUEST.strip_suffix("\r\n").unwrap().as_bytes(), field, b"\r\n\r\n"].concat();
    let (request, len) = parse_request(&head, &HeadLimits::default())?.expect("a whole head");
    assert_eq!(len, head.len());
    request.websocket()
}

#[test]
fn rfc6455_4_2_1_subprotocols_that_are_no_list_of_tokens_are_refused() {
    for good in [&b"chat"[..], b"chat, superchat", b"chat,,superchat ,", b"v1.chat!#$%&'*+-^_`|~"] {
        assert!(asked(&[b"Sec-WebSocket-Protocol: ", good].concat()).is_ok(), "{}", good.escape_ascii());
    }
    for bad in [&b""[..], b" , ,", b"super chat", b"chat;q=1", b"\"chat\"", b"chat, a/b", b"caf\xe9", b"chat\xff"] {
        let refusal = asked(&[b"Sec-WebSocket-Protocol: ", bad].concat()).unwrap_err();
        assert_eq!(refusal.status.as_u16(), 400, "{}", bad.escape_ascii());
    }
    let lines = b"Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: super chat";
    assert_eq!(asked(lines).unwrap_err().status.as_u16(), 400);
}

#[test]
fn rfc6455_4_2_2_the_answer_has_no_subprotocol_or_extension_unless_set() {
    let mut bytes = Vec::new();
    encode_accept(&Key::from_nonce(NONCE), None, None, &HeaderMap::new(), &mut bytes);
    let head = String::from_utf8(bytes).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert_eq!(values(&head, "upgrade"), ["websocket"]);
    assert_eq!(values(&head, "connection"), ["Upgrade"]);
    assert_eq!(values(&head, "sec-websocket-accept"), ["s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    assert!(values(&head, "sec-websocket-protocol").is_empty());
    assert!(values(&head, "sec-websocket-extensions").is_empty());
}

#[test]
fn rfc6455_8_1_a_handshake_that_is_not_utf8_where_it_is_read_as_text_is_refused() {
    let target = b"GET /caf\xe9 HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(parse_request(target, &HeadLimits::default()).unwrap_err().status.as_u16(), 400);
    assert_eq!(asked(b"Sec-WebSocket-Protocol: \xc3").unwrap_err().status.as_u16(), 400);
    // Bytes that are not text are not validated.
    assert!(asked(b"X-Name: caf\xe9").is_ok());
    let head = [&REQUEST.as_bytes()[..REQUEST.len() - 2], b"Origin: http://caf\xe9\r\n\r\n"].concat();
    let (request, _) = parse_request(&head, &HeadLimits::default()).unwrap().unwrap();
    assert_eq!(request.origin(), None);
}

/// A sent frame, parsed without the codec.
#[derive(Debug, PartialEq, Eq)]
struct RawFrame {
    first: u8,
    key: Option<[u8; 4]>,
    /// The number of bytes of the length: 1, 3 or 9.
    length_bytes: usize,
    payload: Vec<u8>,
}

fn read(bytes: &[u8]) -> RawFrame {
    let (length, length_bytes) = match bytes[1] & 0x7f {
        126 => (u64::from(u16::from_be_bytes(bytes[2..4].try_into().unwrap())), 3),
        127 => (u64::from_be_bytes(bytes[2..10].try_into().unwrap()), 9),
        short => (u64::from(short), 1),
    };
    let at = 1 + length_bytes;
    let (key, at): (Option<[u8; 4]>, usize) = match bytes[1] & 0x80 {
        0 => (None, at),
        _ => (Some(bytes[at..at + 4].try_into().unwrap()), at + 4),
    };
    let mut payload = bytes[at..].to_vec();
    assert_eq!(payload.len() as u64, length, "the frame has the length that it says");
    if let Some(key) = key {
        payload.iter_mut().enumerate().for_each(|(i, byte)| *byte ^= key[i % 4]);
    }
    RawFrame { first: bytes[0], key, length_bytes, payload }
}

fn shortest(length: usize) -> usize {
    match length {
        0..126 => 1,
        126..65536 => 3,
        _ => 9,
    }
}

/// Around the boundaries of the forms of length; under Miri without some of the long ones, which
/// take minutes.
const LENGTHS: &[usize] =
    if cfg!(miri) { &[0, 1, 125, 126, 127, 65536] } else { &[0, 1, 124, 125, 126, 127, 65535, 65536, 65537] };

#[test]
fn rfc6455_5_2_every_frame_sent_is_whole_without_reserved_bits_and_has_the_shortest_length() {
    for opcode in OPCODES {
        for &length in LENGTHS.iter().filter(|&&length| !opcode.is_control() || length <= 125) {
            let payload: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            let expected = |key| RawFrame {
                first: 0x80 | opcode as u8,
                key,
                length_bytes: shortest(length),
                payload: payload.clone(),
            };
            let mut frame = Vec::new();
            encode_server(opcode, &payload, &mut frame);
            assert_eq!(read(&frame), expected(None), "{opcode:?} of {length}");
            frame.clear();
            encode_client(opcode, &payload, KEY, &mut frame);
            assert_eq!(read(&frame), expected(Some(KEY)), "{opcode:?} of {length}");
        }
    }
}

#[test]
fn rfc6455_5_2_prepared_frames_and_replies_are_frames_like_others() {
    for &length in LENGTHS {
        let payload = vec![b'x'; length];
        let expected = RawFrame { first: 0x82, key: None, length_bytes: shortest(length), payload: payload.clone() };
        assert_eq!(read(Prepared::binary(&payload).as_frame()), expected);

        let mut input = Vec::new();
        encode_client(OpCode::Binary, &payload, KEY, &mut input);
        let mut pool = SpillPool::new(Limits::default());
        let mut decoder = Decoder::new(Role::Server);
        let Ok(Some(Event::Message(message))) = decoder.next(&mut pool, &mut input, &mut 0) else {
            panic!("a message")
        };
        let (_, range) = message.into_server_frame();
        assert_eq!(read(&input[range]), expected);
    }
}

#[test]
fn rfc6455_5_5_1_a_close_frame_with_a_body_begins_with_its_code() {
    for n in (0..=u16::MAX).step_by(if cfg!(miri) { 97 } else { 1 }).map(CloseCode::new) {
        let Ok(payload) = encode_close(n, "why") else {
            assert!(!n.is_sendable());
            continue;
        };
        let mut frame = Vec::new();
        encode_server(OpCode::Close, &payload, &mut frame);
        assert_eq!(read(&frame).payload, [&n.as_u16().to_be_bytes()[..], b"why"].concat());
    }
    let longest = encode_close(CloseCode::NORMAL, &"x".repeat(500)).unwrap();
    assert_eq!(longest.len(), 125);
}

/// A frame as `role` receives it.
fn received(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    received_by(role, Frame::with_first_byte(first, payload))
}

fn receive(role: Role, stream: &[u8]) -> Outcome {
    decode(role, None, Limits::default(), stream, &[])
}

#[test]
fn rfc6455_5_1_frames_with_the_wrong_mask_bit_close_the_connection() {
    for first in OPCODES.map(|opcode| 0x80 | opcode as u8).into_iter().filter(|first| first & 0x0f != 0) {
        for length in [0, 2, 126] {
            if first & 8 != 0 && length > 125 {
                continue;
            }
            let unmasked = received(Role::Client, first, &[0x03, 0xe8].repeat(63)[..length]);
            assert_eq!(receive(Role::Server, &unmasked), (vec![], Some(ProtocolError::UnmaskedFrame)));
            let masked = received(Role::Server, first, &[0x03, 0xe8].repeat(63)[..length]);
            assert_eq!(receive(Role::Client, &masked), (vec![], Some(ProtocolError::MaskedFrame)));
        }
    }
    assert_eq!(ProtocolError::UnmaskedFrame.close_code(), CloseCode::PROTOCOL_ERROR);
    assert_eq!(ProtocolError::MaskedFrame.close_code(), CloseCode::PROTOCOL_ERROR);
}

/// FIN, the three reserved bits, and the opcode: all 256 of them, at the start of a message and
/// inside one.
#[test]
fn rfc6455_5_2_every_first_byte_is_accepted_or_refused_as_the_standard_has_it() {
    for role in ROLES {
        for inside in [false, true] {
            for first in 0..=255u8 {
                let opening = if inside { received(role, 0x02, b"begun") } else { Vec::new() };
                let (_, error) = receive(role, &[opening, received(role, first, b"")].concat());
                let good = first & 0x70 == 0
                    && match first & 0x0f {
                        0 => inside,
                        1 | 2 => !inside,
                        8..=10 => first & 0x80 != 0,
                        _ => false,
                    };
                assert_eq!(error.is_none(), good, "{first:#04x} for {role:?}, inside {inside}");
                if let Some(error) = error {
                    assert_eq!(error.close_code().as_u16(), 1002, "{first:#04x}");
                }
            }
        }
    }
}

#[test]
fn rfc6455_5_2_every_length_that_could_be_shorter_is_refused() {
    let header = |role: Role, form: u8, length: &[u8]| {
        let mask = if role == Role::Server { 0x80 } else { 0 };
        [&[0x82, mask | form][..], length, &[0; 4]].concat()
    };
    for role in ROLES {
        for length in 0..=125u16 {
            let error = receive(role, &header(role, 126, &length.to_be_bytes())).1;
            assert_eq!(error, Some(ProtocolError::NonMinimalLength(length.into())));
        }
        for length in [0, 125, 126, 127, 65534, 65535u64] {
            let error = receive(role, &header(role, 127, &length.to_be_bytes())).1;
            assert_eq!(error, Some(ProtocolError::NonMinimalLength(length)));
        }
        for length in [1 << 63, u64::MAX, (1 << 63) | 65536] {
            let error = receive(role, &header(role, 127, &length.to_be_bytes())).1;
            assert_eq!(error, Some(ProtocolError::LengthOverflow));
        }
        assert_eq!(receive(role, &header(role, 126, &126u16.to_be_bytes())).1, None);
        assert_eq!(receive(role, &header(role, 127, &65536u64.to_be_bytes())).1, None);
    }
}

#[test]
fn rfc6455_5_4_whole_and_fragmented_messages_are_received_with_control_frames_between() {
    for role in ROLES {
        let stream = [
            received(role, 0x81, b"whole"),
            received(role, 0x02, b"a"),
            received(role, 0x89, b"p"),
            received(role, 0x00, b""),
            received(role, 0x8a, b""),
            received(role, 0x00, b"b"),
            received(role, 0x80, b"c"),
            received(role, 0x82, b""),
            received(role, 0x01, "é".as_bytes()),
            received(role, 0x88, &1000u16.to_be_bytes()),
        ];
        let expected = vec![
            Seen::Message(MessageKind::Text, b"whole".to_vec()),
            Seen::Ping(b"p".to_vec()),
            Seen::Pong(vec![]),
            Seen::Message(MessageKind::Binary, b"abc".to_vec()),
            Seen::Message(MessageKind::Binary, vec![]),
            Seen::Close(Some((1000, String::new()))),
        ];
        assert_eq!(receive(role, &stream.concat()), (expected, None));
    }
}

#[test]
fn rfc6455_5_5_control_frames_of_125_bytes_pass_and_longer_or_fragmented_ones_do_not() {
    for role in ROLES {
        for opcode in [0x08, 0x09, 0x0a] {
            let body = [&1000u16.to_be_bytes()[..], &[b'x'; 123]].concat();
            assert_eq!(receive(role, &received(role, 0x80 | opcode, &body)).0.len(), 1);
            let long = [&body[..], b"x"].concat();
            let error = receive(role, &received(role, 0x80 | opcode, &long));
            assert_eq!(error, (vec![], Some(ProtocolError::OversizedControl)));
            let error = receive(role, &received(role, opcode, b""));
            assert_eq!(error, (vec![], Some(ProtocolError::FragmentedControl)));
        }
    }
}

#[test]
fn rfc6455_5_6_text_is_checked_as_a_whole_and_for_both_roles() {
    for role in ROLES {
        let cut =
            [received(role, 0x01, b"\xf0\x9f"), received(role, 0x89, b""), received(role, 0x80, b"\x98\x80")].concat();
        let text = Seen::Message(MessageKind::Text, b"\xf0\x9f\x98\x80".to_vec());
        assert_eq!(receive(role, &cut).0, [Seen::Ping(vec![]), text]);
        for bad in [&b"\x80"[..], b"a\xc0\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf5", b"\xe2\x82"] {
            assert_eq!(receive(role, &received(role, 0x81, bad)), (vec![], Some(ProtocolError::InvalidText)));
            let pieces = [received(role, 0x01, &bad[..1]), received(role, 0x80, &bad[1..])].concat();
            assert_eq!(receive(role, &pieces), (vec![], Some(ProtocolError::InvalidText)));
            // The same bytes are accepted in a binary message.
            assert_eq!(receive(role, &received(role, 0x82, bad)).1, None);
        }
    }
}

#[test]
fn rfc6455_7_1_7_input_after_a_violation_is_ignored() {
    for role in ROLES {
        let good = [
            received(role, 0x81, b"good"),
            received(role, 0x89, b"good"),
            received(role, 0x88, &1000u16.to_be_bytes()),
        ]
        .concat();
        for bad in [
            received(role, 0x81, b"\xff"),
            received(role, 0x80, b""),
            received(role, 0x83, b""),
            received(role, 0xf1, b""),
            received(role, 0x88, b"\x03"),
            received(role, 0x88, &1005u16.to_be_bytes()),
            received(role, 0x88, b"\x03\xe8\xff"),
        ] {
            let (events, error) = receive(role, &[&bad[..], &good].concat());
            assert_eq!(events, []);
            assert!(error.is_some());
            let before = [received(role, 0x81, b"before"), received(role, 0x89, b"before")].concat();
            let (events, again) = receive(role, &[&before[..], &bad, &good].concat());
            let expected = vec![Seen::Message(MessageKind::Text, b"before".to_vec()), Seen::Ping(b"before".to_vec())];
            assert_eq!((events, again), (expected, error));
        }
    }
}

#[test]
fn rfc6455_7_4_1_reserved_codes_are_neither_sent_nor_taken() {
    for code in [1005, 1006, 1015].map(CloseCode::new) {
        assert!(encode_close(code, "").is_err());
        for role in ROLES {
            let (events, error) = receive(role, &received(role, 0x88, &code.as_u16().to_be_bytes()));
            assert_eq!((events, error), (vec![], Some(ProtocolError::ForbiddenCloseCode(code.as_u16()))));
        }
    }
}
