use super::*;
use crate::close::CloseCode;
use crate::deflate::{DeflateParams, Deflater, WindowBits};
use crate::encoder::{encode_client, encode_deflated, encode_server};
use crate::spill::SPILL_HEADROOM;
use ringway_testkit::{Frame, KEY};

fn pool() -> SpillPool {
    SpillPool::new(Limits::default())
}

fn pool_of(max_message: usize, fragment_cost: usize) -> SpillPool {
    SpillPool::new(Limits { max_message, fragment_cost })
}

/// All events as text, and the error that ended them.
fn run(decoder: &mut Decoder, pool: &mut SpillPool, bytes: &[u8]) -> (Vec<String>, Option<ProtocolError>) {
    let mut input = bytes.to_vec();
    let mut at = 0;
    let mut events = Vec::new();
    loop {
        match decoder.next(pool, &mut input, &mut at) {
            Ok(None) => break,
            Ok(Some(Event::Message(m))) => {
                events.push(format!("{:?} {:?} {}", m.place(), m.kind(), m.payload().escape_ascii()));
            }
            Ok(Some(event)) => events.push(format!("{event:?}")),
            Err(error) => return (events, Some(error)),
        }
    }
    assert_eq!(at, input.len());
    (events, None)
}

fn server_error(bytes: &[u8]) -> ProtocolError {
    let mut decoder = Decoder::new(Role::Server);
    let (events, error) = run(&mut decoder, &mut pool(), bytes);
    assert_eq!(events, [""; 0]);
    error.expect("an error")
}

#[test]
fn a_decoder_is_16_bytes_and_owns_nothing_between_messages() {
    assert!(size_of::<Decoder>() <= 16);
    let mut decoder = Decoder::new(Role::Server);
    let mut pool = pool();
    let bytes = Frame::binary(b"spilled").bytes();
    let _ = run(&mut decoder, &mut pool, &bytes[..9]);
    assert!(decoder.partial.is_some());
    assert!(!decoder.is_between_messages());
    let (events, _) = run(&mut decoder, &mut pool, &bytes[9..]);
    assert_eq!(events, ["Spill Binary spilled"]);
    assert!(decoder.partial.is_none());
    assert!(decoder.is_between_messages());
}

#[test]
fn a_message_moves_so_that_its_reply_begins_at_the_front() {
    let mut pool = pool();
    for len in [0, 1, 20, 125, 126, 3000, 65_535, 65_536] {
        for opcode in [OpCode::Text, OpCode::Binary] {
            let (mut received, mut due) = (vec![0xee; 40], Vec::new());
            encode_client(opcode, &vec![b'a'; len], KEY, &mut received);
            encode_server(opcode, &vec![b'a'; len], &mut due);
            let end = received.len();
            encode_client(OpCode::Text, b"behind", KEY, &mut received);
            // The reply takes the place of the masked frame without the key: from 44.
            for front in [0, 7, 39, 40, 41, 43, 44, 45, 60, received.len() + 1, usize::MAX] {
                let (mut input, mut at) = (received.clone(), 40);
                let mut decoder = Decoder::new(Role::Server);
                let event = decoder.next_behind(&mut pool, &mut input, &mut at, Some(front));
                let Ok(Some(Event::Message(message))) = event else { panic!("{len} at {front}") };
                assert_eq!(message.payload(), vec![b'a'; len]);
                let payload = message.range();
                let (place, range) = message.into_server_frame();
                assert_eq!((place, range.start), (Place::Input, front.min(44)), "{len} at {front}");
                assert_eq!((payload.end, at), (range.end, end));
                assert!(input[range.clone()] == due && input[..range.start.min(40)].iter().all(|byte| *byte == 0xee));
                assert_eq!(input[end..], received[end..]);
            }
        }
    }
}

#[test]
fn messages_without_a_key_and_control_frames_do_not_move() {
    let mut pool = pool();
    let mut input = vec![0xee; 40];
    encode_server(OpCode::Text, b"hello", &mut input);
    let mut decoder = Decoder::new(Role::Client);
    let event = decoder.next_behind(&mut pool, &mut input, &mut 40, Some(3));
    assert!(matches!(event, Ok(Some(Event::Message(message))) if message.range() == (42..47)));

    let mut input = vec![0xee; 40];
    encode_client(OpCode::Ping, b"alive?", KEY, &mut input);
    let mut decoder = Decoder::new(Role::Server);
    let event = decoder.next_behind(&mut pool, &mut input, &mut 40, Some(3));
    assert!(matches!(event, Ok(Some(Event::Ping(b"alive?")))));
    assert_eq!(input[..40], [0xee; 40]);
}

#[test]
fn invalid_text_fails_wherever_it_moves() {
    let mut pool = pool();
    for len in [1, 40, 3000, 20_000, 40_000] {
        for wrong in [0, len / 2, len - 1] {
            let mut text = vec![b'a'; len];
            text[wrong] = 0xff;
            let mut input = vec![0xee; 40];
            encode_client(OpCode::Text, &text, KEY, &mut input);
            let mut decoder = Decoder::new(Role::Server);
            let result = decoder.next_behind(&mut pool, &mut input, &mut 40, Some(8));
            assert_eq!(result.err(), Some(ProtocolError::InvalidText), "byte {wrong} of {len}");
        }
    }
}

#[test]
fn a_whole_message_is_yielded_where_it_lies() {
    let mut pool = pool();
    for (role, header) in [(Role::Server, 6), (Role::Client, 2)] {
        let mut input = vec![0xee; 3];
        match role {
            Role::Server => encode_client(OpCode::Text, b"hello", KEY, &mut input),
            Role::Client => encode_server(OpCode::Text, b"hello", &mut input),
        }
        let payload = input[3 + header..].as_ptr();
        let mut decoder = Decoder::new(role);
        let mut at = 3;
        let Ok(Some(Event::Message(message))) = decoder.next(&mut pool, &mut input, &mut at) else { panic!() };
        assert_eq!(message.payload().as_ptr(), payload);
        assert_eq!(message.as_text(), Some("hello"));
        assert_eq!(message.range(), 3 + header..3 + header + 5);
        let (place, range) = message.into_server_frame();
        assert_eq!(place, Place::Input);
        assert_eq!(input[range], *b"\x81\x05hello");
        assert!(decoder.partial.is_none());
        assert!(decoder.take_spill().is_none());
    }
}

#[test]
fn a_spilled_message_can_be_taken_with_its_buffer_and_sent_back() {
    let mut pool = pool();
    for len in [0, 125, 126, 65535, 65536] {
        let payload = vec![b'x'; len];
        let mut first = Frame::text(&payload[..len / 2]).more().bytes();
        first.extend(Frame::continuation(&payload[len / 2..]).bytes());
        let mut decoder = Decoder::new(Role::Server);
        let mut at = 0;
        let Ok(Some(Event::Message(message))) = decoder.next(&mut pool, &mut first, &mut at) else { panic!() };
        let address = message.payload().as_ptr();
        assert_eq!(message.range(), SPILL_HEADROOM..SPILL_HEADROOM + len);
        let (place, range) = message.into_server_frame();
        assert_eq!(place, Place::Spill);
        let spill = decoder.take_spill().unwrap();
        assert_eq!(spill[SPILL_HEADROOM..].as_ptr(), address);
        let mut expected = Vec::new();
        encode_server(OpCode::Text, &payload, &mut expected);
        assert_eq!(spill[range], expected);
        assert!(decoder.take_spill().is_none());
    }
}

#[test]
fn a_spill_that_is_not_taken_goes_back_to_the_pool_at_the_next_call() {
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    let bytes = Frame::binary([1; 1000]).bytes();
    let _ = run(&mut decoder, &mut pool, &bytes[..500]);
    let _ = run(&mut decoder, &mut pool, &bytes[500..]);
    assert!(pool.take().capacity() >= 1000);
}

#[test]
fn a_spilled_message_contains_no_earlier_bytes() {
    let mut pool = pool();
    pool.give(b"what another connection has received".to_vec());
    let mut decoder = Decoder::new(Role::Server);
    let bytes = Frame::binary(b"short").bytes();
    let _ = run(&mut decoder, &mut pool, &bytes[..8]);
    let (mut input, mut at) = (bytes[8..].to_vec(), 0);
    assert!(decoder.next(&mut pool, &mut input, &mut at).unwrap().is_some());
    assert_eq!(decoder.take_spill().unwrap(), [&[0; SPILL_HEADROOM][..], b"short"].concat());
}

#[test]
fn between_compressed_messages_the_buffer_is_kept_and_given_back_at_the_end_of_the_input() {
    let params = DeflateParams::default();
    let mut deflater = Deflater::new(1, WindowBits::MAX).unwrap();
    let mut message = Vec::new();
    encode_deflated(MessageKind::Binary, &[1; 1000], Some(KEY), &mut deflater, false, &mut message);
    for behind in [&[][..], &message[..1], &message[..5]] {
        let mut pool = pool();
        let mut decoder = Decoder::with_deflate(Role::Server, &params);
        let mut input = [&message, &message, behind].concat();
        let mut at = 0;
        for _ in 0..2 {
            assert!(decoder.next(&mut pool, &mut input, &mut at).unwrap().is_some());
            assert_eq!(pool.take().capacity(), 0, "the message is in it");
        }
        assert!(decoder.next(&mut pool, &mut input, &mut at).unwrap().is_none());
        assert!(pool.take().capacity() >= 1000, "no message is in it, with {} bytes behind", behind.len());
    }
}

#[test]
fn input_after_a_spilled_message_is_not_copied() {
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    let one = Frame::binary(b"one").bytes();
    let _ = run(&mut decoder, &mut pool, &one[..1]);
    let rest = [&one[1..], &Frame::text(b"two").bytes()].concat();
    assert_eq!(run(&mut decoder, &mut pool, &rest).0, ["Spill Binary one", "Input Text two"]);
}

#[test]
fn rfc6455_5_4_control_frames_come_between_fragments() {
    let mut decoder = Decoder::new(Role::Server);
    let bytes = [
        Frame::text(b"Hel").more().bytes(),
        Frame::ping(b"are you there").bytes(),
        Frame::continuation(b"").more().bytes(),
        Frame::pong(b"").bytes(),
        Frame::continuation(b"lo").bytes(),
    ]
    .concat();
    let expected =
        [format!("{:?}", Event::Ping(b"are you there")), format!("{:?}", Event::Pong(b"")), "Spill Text Hello".into()];
    assert_eq!(run(&mut decoder, &mut pool(), &bytes), (expected.to_vec(), None));
}

#[test]
fn rfc6455_5_1_masking_is_demanded_of_clients_and_refused_of_servers() {
    assert_eq!(server_error(&[0x81, 0x00]), ProtocolError::UnmaskedFrame);
    assert_eq!(server_error(&[0x89, 0x05]), ProtocolError::UnmaskedFrame);
    let mut decoder = Decoder::new(Role::Client);
    assert_eq!(run(&mut decoder, &mut pool(), &[0x81, 0x80]).1, Some(ProtocolError::MaskedFrame));
}

#[test]
fn rfc6455_5_2_rsv1_is_refused_at_the_first_byte() {
    assert_eq!(server_error(&[0xc1]), ProtocolError::UnexpectedRsv1);
    assert_eq!(server_error(&[0xc9]), ProtocolError::UnexpectedRsv1);
}

#[test]
fn rfc6455_5_4_fragments_must_follow_each_other() {
    assert_eq!(server_error(&[0x80]), ProtocolError::UnexpectedContinuation);
    let bytes = [Frame::text(b"a").more().bytes(), vec![0x81]].concat();
    assert_eq!(server_error(&bytes), ProtocolError::ExpectedContinuation);
    let bytes = [Frame::text(b"a").more().bytes(), Frame::binary(b"b").bytes()].concat();
    assert_eq!(server_error(&bytes), ProtocolError::ExpectedContinuation);
}

#[test]
fn rfc6455_8_1_bad_text_fails_before_its_frame_is_complete() {
    let mut bytes = Frame::text([b"a".repeat(10), vec![0xf4, 0x90], b"a".repeat(50)].concat()).bytes();
    assert_eq!(server_error(&bytes), ProtocolError::InvalidText);
    bytes.truncate(6 + 12);
    assert_eq!(server_error(&bytes), ProtocolError::InvalidText);
}

#[test]
fn rfc6455_8_1_text_must_not_end_inside_a_character() {
    assert_eq!(server_error(&Frame::text(b"\xe2\x82").bytes()), ProtocolError::InvalidText);
    let bytes = [Frame::text(b"\xe2").more().bytes(), Frame::continuation(b"\x82").bytes()].concat();
    assert_eq!(server_error(&bytes), ProtocolError::InvalidText);
}

#[test]
fn a_character_may_be_cut_by_fragments() {
    let mut decoder = Decoder::new(Role::Server);
    let bytes = [Frame::text(b"\xe2\x82").more().bytes(), Frame::continuation(b"\xac").bytes()].concat();
    assert_eq!(run(&mut decoder, &mut pool(), &bytes).0, [r"Spill Text \xe2\x82\xac"]);
}

#[test]
fn rfc6455_5_5_1_bad_close_frames() {
    let error = |payload: &[u8]| server_error(&Frame::new(OpCode::Close as u8, payload).bytes());
    assert_eq!(error(b"\x03"), ProtocolError::TruncatedCloseCode);
    assert_eq!(error(b"\x03\xed"), ProtocolError::ForbiddenCloseCode(1005));
    assert_eq!(error(b"\x03\xe8\xff"), ProtocolError::InvalidCloseReason);
    assert_eq!(error(b"\x03\xe8\xff").close_code(), CloseCode::INVALID_PAYLOAD);
}

#[test]
fn bytes_after_a_close_frame_are_ignored() {
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    let bytes = [
        Frame::text(b"unfinished").more().bytes(),
        Frame::new(OpCode::Close as u8, b"\x03\xe8bye").bytes(),
        Frame::text(b"late").bytes(),
        vec![0xff; 10],
    ]
    .concat();
    let (events, error) = run(&mut decoder, &mut pool, &bytes);
    assert_eq!((events.len(), error), (1, None));
    assert_eq!(run(&mut decoder, &mut pool, &[0xff; 10]), (vec![], None));
    assert!(decoder.partial.is_none(), "the unfinished message was given back");
}

#[test]
fn a_failed_decoder_stays_failed() {
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    let bad = Frame::text(b"\xff").bytes();
    let good = Frame::text(b"good").bytes();
    for bytes in [&bad, &good, &vec![], &bad] {
        assert_eq!(run(&mut decoder, &mut pool, bytes), (vec![], Some(ProtocolError::InvalidText)));
    }
    decoder.release(&mut pool);
    assert_eq!(run(&mut decoder, &mut pool, &good), (vec![], None));
}

#[test]
fn release_gives_an_unfinished_message_back() {
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    let _ = run(&mut decoder, &mut pool, &Frame::binary([1; 3000]).more().bytes());
    decoder.release(&mut pool);
    assert!(decoder.partial.is_none());
    assert!(decoder.is_between_messages());
    assert!(pool.take().capacity() >= 3000);
}

#[test]
fn a_promise_of_2_to_the_62_bytes_is_refused_without_allocating_for_it() {
    let mut head = [0; 14];
    let len =
        Header { fin: true, opcode: OpCode::Binary, rsv1: false, mask: Some(KEY), length: 1 << 62 }.encode(&mut head);
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    let error = run(&mut decoder, &mut pool, &head[..len]).1.unwrap();
    assert_eq!(error, ProtocolError::TooBig { limit: 16 * 1024 * 1024 });
    assert_eq!(error.close_code(), CloseCode::TOO_BIG);
    assert_eq!(pool.take().capacity(), 0);
}

#[test]
fn a_buffer_grows_with_received_bytes_not_with_the_announced_length() {
    let mut head = [0; 14];
    let length = u64::MAX >> 1;
    let len = Header { fin: true, opcode: OpCode::Binary, rsv1: false, mask: Some(KEY), length }.encode(&mut head);
    let mut pool = pool_of(usize::MAX, 64);
    let mut decoder = Decoder::new(Role::Server);
    assert_eq!(run(&mut decoder, &mut pool, &head[..len]), (vec![], None));
    for _ in 0..100 {
        assert_eq!(run(&mut decoder, &mut pool, &[0; 1000]), (vec![], None));
    }
    decoder.release(&mut pool);
    let capacity = pool.take().capacity();
    assert!((100_000..=210_000).contains(&capacity), "{capacity}");
}

#[test]
fn a_buffer_for_one_frame_does_not_outgrow_the_message() {
    let bytes = Frame::binary([1; 100_000]).bytes();
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    for piece in bytes.chunks(30_000) {
        let _ = run(&mut decoder, &mut pool, piece);
    }
    assert_eq!(pool.take().capacity(), SPILL_HEADROOM + 100_000);
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for cut in [1, 60] {
        let mut pool = pool_of(100, 64);
        let mut decoder = Decoder::new(Role::Server);
        let bytes = Frame::binary([b'x'; 100]).bytes();
        assert_eq!(run(&mut decoder, &mut pool, &bytes).0.len(), 1);
        let _ = run(&mut decoder, &mut pool, &bytes[..cut]);
        assert_eq!(run(&mut decoder, &mut pool, &bytes[cut..]).0.len(), 1);
        let bytes = Frame::binary([b'x'; 101]).bytes();
        assert_eq!(run(&mut decoder, &mut pool, &bytes[..6]).1, Some(ProtocolError::TooBig { limit: 100 }));
    }
}

#[test]
fn fragments_are_counted_with_their_cost() {
    let mut pool = pool_of(100, 10);
    let mut decoder = Decoder::new(Role::Server);
    let first = Frame::binary([b'x'; 40]).more().bytes();
    let fits = Frame::continuation([b'x'; 40]).bytes();
    let over = Frame::continuation([b'x'; 41]).bytes();
    for _ in 0..3 {
        assert_eq!(run(&mut decoder, &mut pool, &[&first[..], &fits[..]].concat()).0.len(), 1);
    }
    let expected = (vec![], Some(ProtocolError::TooBig { limit: 100 }));
    assert_eq!(run(&mut decoder, &mut pool, &[&first[..], &over[..6]].concat()), expected);
}

#[test]
fn endless_empty_fragments_are_bounded() {
    let mut pool = pool();
    let mut decoder = Decoder::new(Role::Server);
    assert_eq!(run(&mut decoder, &mut pool, &Frame::text(b"").more().bytes()).1, None);
    let empty = Frame::continuation(b"").more().bytes().repeat(1000);
    let rounds = (0..1000).find(|_| run(&mut decoder, &mut pool, &empty).1.is_some()).expect("an end");
    assert!(rounds <= 16 * 1024 * 1024 / 64 / 1000);
}

#[test]
fn the_first_violation_in_the_order_of_the_bytes_is_the_one_reported() {
    // An unexpected continuation, unmasked, with an overlong length: the first byte decides, whole
    // or byte by byte.
    let bytes = [0x80, 126, 0, 1];
    assert_eq!(server_error(&bytes), ProtocolError::UnexpectedContinuation);
    assert_eq!(server_error(&bytes[..1]), ProtocolError::UnexpectedContinuation);
    // Unmasked and overlong: the mask bit is in the second byte.
    assert_eq!(server_error(&[0x81, 126, 0, 1]), ProtocolError::UnmaskedFrame);
    assert_eq!(server_error(&[0x81, 0xfe, 0, 1]), ProtocolError::NonMinimalLength(1));
}

#[test]
fn a_cursor_beyond_the_input_is_an_input_consumed() {
    let mut decoder = Decoder::new(Role::Server);
    assert!(matches!(decoder.next(&mut pool(), &mut [1, 2, 3], &mut 7), Ok(None)));
}

/// The header of a masked frame with `length`, followed by `payload`.
fn promising(opcode: OpCode, length: u64, payload: &[u8]) -> Vec<u8> {
    let mut head = [0; 14];
    let len = Header { fin: true, opcode, rsv1: false, mask: Some(KEY), length }.encode(&mut head);
    let mut out = head[..len].to_vec();
    mask::append(&mut out, payload, KEY, 0);
    out
}

#[test]
fn room_for_payload_grows_with_received_bytes_not_with_the_announced_length() {
    const PROMISED: usize = 16 << 20;
    let (mut decoder, mut pool) = (Decoder::new(Role::Server), pool());
    let _ = run(&mut decoder, &mut pool, &promising(OpCode::Binary, PROMISED as u64, b"x"));
    let mut come = 1;
    while come < PROMISED {
        let most = (PROMISED - come).min((16 << 10).max(come + SPILL_HEADROOM));
        let len = decoder.payload_room(usize::MAX).expect("payload comes next").len();
        assert!(len <= most, "{len} bytes of room for {come} that have come");
        assert!(decoder.partial.as_ref().unwrap().spill.capacity() <= 2 * come + (16 << 10) + 2 * SPILL_HEADROOM);
        let whole = decoder.payload_received(&mut pool, len).unwrap().is_some();
        come += len;
        assert_eq!(whole, come == PROMISED);
    }
    assert!(decoder.payload_room(usize::MAX).is_none());
}

#[test]
fn room_for_payload_ends_with_its_frame_and_is_no_more_than_asked_for() {
    let (mut decoder, mut pool) = (Decoder::new(Role::Server), pool());
    assert!(decoder.payload_room(1).is_none(), "no header has come");
    let _ = run(&mut decoder, &mut pool, &Frame::text([b'a'; 100]).more().bytes()[..7]);
    assert_eq!(decoder.payload_room(10).map(|room| room.len()), Some(10));
    // The room may be left unused.
    assert_eq!(decoder.payload_room(usize::MAX).map(|room| room.len()), Some(99));
    let _ = run(&mut decoder, &mut pool, &Frame::text([b'a'; 100]).more().bytes()[7..]);
    assert!(decoder.payload_room(1).is_none(), "a header comes next");
    let _ = run(&mut decoder, &mut pool, &Frame::ping(b"between").bytes()[..8]);
    assert!(decoder.payload_room(1).is_none(), "a control frame is not received there");
}

#[test]
fn retained_capacity_is_reused_at_once() {
    let (mut decoder, mut pool) = (Decoder::new(Role::Server), pool());
    let bytes = Frame::binary([1; 20_000]).bytes();
    for expected in [16 << 10, 20_000 - 7] {
        let _ = run(&mut decoder, &mut pool, &bytes[..15]);
        assert_eq!(decoder.payload_room(usize::MAX).map(|room| room.len()), Some(expected));
        let (events, error) = run(&mut decoder, &mut pool, &bytes[15..]);
        assert_eq!((events.len(), error), (1, None));
    }
}

#[test]
fn compressed_payload_has_no_room_of_its_own() {
    let params = DeflateParams::default();
    let (mut decoder, mut pool) = (Decoder::with_deflate(Role::Server, &params), pool());
    let mut bytes = Vec::new();
    let mut deflater = Deflater::new(1, WindowBits::MAX).unwrap();
    encode_deflated(MessageKind::Text, &[b'a'; 5000], Some(KEY), &mut deflater, true, &mut bytes);
    for cut in 1..bytes.len() {
        let (events, _) = run(&mut decoder, &mut pool, &bytes[..cut]);
        assert!(events.is_empty());
        assert!(decoder.payload_room(1).is_none());
        let (events, error) = run(&mut decoder, &mut pool, &bytes[cut..]);
        assert_eq!((events.len(), error), (1, None), "cut at {cut}");
    }
}

#[test]
#[should_panic(expected = "20 bytes were received in a room of 10")]
fn more_payload_than_there_was_room_for_is_a_bug_of_the_caller() {
    let (mut decoder, mut pool) = (Decoder::new(Role::Server), pool());
    let _ = run(&mut decoder, &mut pool, &Frame::binary([1; 100]).bytes()[..50]);
    assert_eq!(decoder.payload_room(10).map(|room| room.len()), Some(10));
    let _ = decoder.payload_received(&mut pool, 20);
}

#[test]
#[should_panic(expected = "1 bytes were received in a room of 0")]
fn room_is_lent_until_the_next_call_only() {
    let (mut decoder, mut pool) = (Decoder::new(Role::Server), pool());
    let bytes = Frame::binary([1; 100]).bytes();
    let _ = run(&mut decoder, &mut pool, &bytes[..50]);
    assert!(decoder.payload_room(10).is_some());
    let _ = run(&mut decoder, &mut pool, &bytes[50..60]);
    let _ = decoder.payload_received(&mut pool, 1);
}
