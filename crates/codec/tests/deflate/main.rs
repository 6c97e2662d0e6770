//! Messages through compression and back, with all parameters and splits.

mod conversation;
mod suspension;

use conversation::{ascending, conversation, payload, write};
use flate2::{Compress, Compression, FlushCompress};
use proptest::collection::vec;
use proptest::prelude::*;
use ringway_codec::{
    Decoder, DeflateParams, Deflater, Event, Limits, MessageKind, OpCode, Prepared, ProtocolError, Role,
    SPILL_HEADROOM, SpillPool, WindowBits, deflated_frame, encode_deflated, encode_server,
};
use ringway_testkit::decoder::{Outcome, Seen, feed, symmetric};
use ringway_testkit::{Frame, KEY};

fn bits(bits: u8) -> WindowBits {
    WindowBits::new(bits).unwrap()
}

/// The same parameters for both directions.
fn agreed(takeover: bool, window: u8) -> DeflateParams {
    symmetric(takeover, bits(window))
}

fn decode_server(params: &DeflateParams, limits: Limits, stream: &[u8], cuts: &[usize]) -> Outcome {
    feed(&mut Decoder::with_deflate(Role::Server, params), &mut SpillPool::new(limits), stream, cuts)
}

fn one(message: &[u8]) -> Outcome {
    (vec![Seen::Message(MessageKind::Text, message.to_vec())], None)
}

#[test]
fn rfc7692_7_2_3_the_examples_of_the_standard() {
    let takeover = agreed(true, 15);
    let decode = |stream: &[u8]| decode_server(&takeover, Limits::default(), stream, &[]);
    let whole = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(decode(&Frame::text(whole).rsv1().bytes()), one(b"Hello"));
    let fragments = [Frame::text(&whole[..3]).more().rsv1().bytes(), Frame::continuation(&whole[3..]).bytes()];
    assert_eq!(decode(&fragments.concat()), one(b"Hello"));
    // 7.2.3.2: the second message refers to the first.
    let twice = [Frame::text(whole).rsv1().bytes(), Frame::text([0xf2, 0, 0x11, 0, 0]).rsv1().bytes()];
    assert_eq!(decode(&twice.concat()).0.len(), 2);
    assert_eq!(decode(&twice.concat()).0[1], Seen::Message(MessageKind::Text, b"Hello".to_vec()));
    let alone = decode_server(&agreed(false, 15), Limits::default(), &twice.concat(), &[]);
    assert_eq!((alone.0.len(), alone.1), (1, Some(ProtocolError::CorruptCompression)));
    // 7.2.3.3: a block without compression.
    let stored = [0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00];
    assert_eq!(decode(&Frame::text(stored).rsv1().bytes()), one(b"Hello"));
    // 7.2.3.4: a last block, with the empty block that must follow it, and without.
    let last = [0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00];
    for last in [&last[..], &last[..7]] {
        let again = [Frame::text(last).rsv1().bytes(), Frame::text(whole).rsv1().bytes()].concat();
        let hello = one(b"Hello").0[0].clone();
        assert_eq!(decode(&again), (vec![hello.clone(), hello], None), "{last:x?}");
    }
    // 7.2.3.5: two blocks.
    let two = [0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00];
    assert_eq!(decode(&Frame::text(two).rsv1().bytes()), one(b"Hello"));
    // 7.2.3.6: an empty message.
    assert_eq!(decode(&Frame::text([0]).rsv1().bytes()), one(b""));
}

#[test]
fn rfc7692_7_2_2_a_message_ends_between_two_blocks_or_is_refused() {
    let text = payload(300, 5, false);
    for (level, takeover) in [(0, true), (1, true), (6, true), (9, false)] {
        let mut deflater = Deflater::new(level, bits(15)).unwrap();
        let mut data = Vec::new();
        deflater.compress(&text, false, &mut data);
        let decode = |data: &[u8], cuts: &[usize]| {
            decode_server(&agreed(takeover, 15), Limits::default(), &Frame::binary(data).rsv1().bytes(), cuts)
        };
        let refused = Some(ProtocolError::CorruptCompression);
        for end in 0..data.len() {
            if data[..end] == [0] {
                // The first byte of a stored block is that of an empty message.
                continue;
            }
            let stream = Frame::binary(&data[..end]).rsv1().bytes().len();
            for cuts in [&[][..], &[stream - 1], &[stream / 2], &[stream / 3, stream - 2]] {
                let outcome = decode(&data[..end], cuts);
                assert_eq!(outcome, (Vec::new(), refused), "{end} of {} bytes at level {level}", data.len());
            }
        }
        assert_eq!(decode(&data, &[]).1, None, "all of it at level {level}");
        // A tail that was not removed is not the end of the message but the beginning of a block.
        assert_eq!(decode(&[&data[..], &[0, 0, 0xff, 0xff]].concat(), &[]).1, refused, "its tail too at level {level}");
    }
}

#[test]
fn rfc7692_7_2_3_4_a_message_may_end_with_a_last_block_in_each_way() {
    for (len, level) in [0, 5, 300].into_iter().flat_map(|len| [0, 1, 6].map(|level| (len, level))) {
        let message = payload(len, 5, false);
        let mut last = Vec::with_capacity(1000);
        let mut compress = Compress::new(Compression::new(level), false);
        compress.compress_vec(&message, &mut last, FlushCompress::Finish).unwrap();
        // Unchanged; with the empty block after it; and with the tail removed where the last block
        // is an empty stored one.
        let stripped = last.strip_suffix(&[0, 0, 0xff, 0xff]).unwrap_or(&last).to_vec();
        for data in [last.clone(), [&last[..], &[0]].concat(), stripped] {
            let mut whole = Vec::new();
            Deflater::new(6, bits(15)).unwrap().compress(&message, false, &mut whole);
            let stream = [&data, &whole].map(|data| Frame::binary(data).rsv1().bytes()).concat();
            for takeover in [true, false] {
                let (seen, error) = decode_server(&agreed(takeover, 15), Limits::default(), &stream, &[]);
                let expected = Seen::Message(MessageKind::Binary, message.clone());
                assert_eq!((seen, error), (vec![expected.clone(), expected], None), "{data:x?} at level {level}");
            }
            // It leaves no state that would make an empty frame a message.
            let stream = [&data[..], &[]].map(|data| Frame::binary(data).rsv1().bytes()).concat();
            let (seen, error) = decode_server(&agreed(true, 15), Limits::default(), &stream, &[]);
            assert_eq!((seen.len(), error), (1, Some(ProtocolError::CorruptCompression)), "{data:x?}");
        }
    }
}

#[test]
fn rfc7692_7_2_3_6_empty_messages_have_their_block_however_many_come() {
    for takeover in [true, false] {
        let mut deflater = Deflater::new(6, bits(15)).unwrap();
        for _ in 0..3 {
            let mut out = Vec::new();
            deflater.compress(b"", takeover, &mut out);
            assert_eq!(out, [0]);
        }
    }
}

#[test]
fn rfc7692_6_1_the_bit_is_for_the_first_frame_of_a_message() {
    let params = agreed(true, 15);
    let error = |stream: &[u8]| decode_server(&params, Limits::default(), stream, &[]).1;
    let begun = Frame::text([0xf2]).more().rsv1().bytes();
    let again = [begun, Frame::continuation([0]).rsv1().bytes()].concat();
    assert_eq!(error(&again), Some(ProtocolError::UnexpectedRsv1));
    for control in [OpCode::Ping, OpCode::Pong, OpCode::Close] {
        assert_eq!(error(&Frame::new(control as u8, b"").rsv1().bytes()), Some(ProtocolError::UnexpectedRsv1));
    }
    let mut plain = Decoder::new(Role::Server);
    let outcome = feed(&mut plain, &mut SpillPool::new(Limits::default()), &Frame::text([0]).rsv1().bytes(), &[]);
    assert_eq!(outcome.1, Some(ProtocolError::UnexpectedRsv1));
}

#[test]
fn compressed_and_uncompressed_messages_mix() {
    for takeover in [true, false] {
        let mut deflater = Deflater::new(1, bits(15)).unwrap();
        let mut stream = Vec::new();
        for compressed in [true, false, true, true, false, false, true] {
            if compressed {
                encode_deflated(
                    MessageKind::Text,
                    &b"again and ".repeat(9),
                    Some(KEY),
                    &mut deflater,
                    takeover,
                    &mut stream,
                );
            } else {
                stream.extend(Frame::text(b"plain").bytes());
            }
            stream.extend(Frame::ping(b"?").bytes());
        }
        let (seen, error) = decode_server(&agreed(takeover, 15), Limits::default(), &stream, &[]);
        assert_eq!((seen.len(), error), (14, None));
    }
}

/// Compressed by hand, without the tail.
fn deflated(payload: &[u8]) -> Vec<u8> {
    let mut compress = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(payload.len() / 100 + 100);
    let mut rest = payload;
    while !rest.is_empty() || out.len() == out.capacity() {
        out.reserve(1 << 20);
        let before = compress.total_in();
        compress.compress_vec(rest, &mut out, FlushCompress::Sync).unwrap();
        rest = &rest[(compress.total_in() - before) as usize..];
    }
    out.truncate(out.len() - 4);
    out
}

#[test]
fn a_bomb_of_1_gib_is_stopped_at_the_limit_and_no_memory_is_taken_beyond_it() {
    // Zeros compress a thousandfold: one MiB of them, repeated, as blocks of one stream.
    let block = {
        let mut compress = Compress::new(Compression::best(), false);
        let mut out = Vec::with_capacity(1 << 16);
        compress.compress_vec(&vec![0; 1 << 20], &mut out, FlushCompress::Full).unwrap();
        out
    };
    let bomb = block.repeat(1024);
    for limit in [1, 1000, 1 << 20, 3 << 20] {
        for kind in [OpCode::Binary, OpCode::Text] {
            let limits = Limits { max_message: limit, ..Limits::default() };
            let mut pool = SpillPool::new(limits);
            let mut decoder = Decoder::with_deflate(Role::Server, &agreed(false, 15));
            // The frame itself must not exceed the limit.
            let most = bomb.len().min(limit + limit / 8 + 64);
            let stream = Frame::new(kind as u8, &bomb[..most]).rsv1().bytes();
            let cuts: Vec<usize> = (1..stream.len() / 512).map(|n| n * 512).collect();
            let (seen, error) = feed(&mut decoder, &mut pool, &stream, &cuts);
            if limit > 1 || !seen.is_empty() {
                assert_eq!((seen, error), (vec![], Some(ProtocolError::TooBig { limit })));
            }
            assert!(error.is_none_or(|error| error.close_code().as_u16() == 1009));
            decoder.release(&mut pool);
            // The buffer that held it.
            let capacity = pool.take().capacity();
            assert!(capacity <= SPILL_HEADROOM + limit.max(512) + 1, "{capacity} for a limit of {limit}");
        }
    }
    let limits = Limits { max_message: 16 << 20, ..Limits::default() };
    let stream = Frame::binary(&bomb).rsv1().bytes();
    assert_eq!(
        decode_server(&agreed(true, 15), limits, &stream, &[]).1,
        Some(ProtocolError::TooBig { limit: 16 << 20 })
    );
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for limit in [0, 1, 100, 5000, 100_000] {
        let limits = Limits { max_message: limit, ..Limits::default() };
        // One that compresses well, and one that becomes longer.
        let noise: Vec<u8> = (0..=limit as u64).map(|n| (n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect();
        for payload in [vec![b'x'; limit + 1], noise] {
            let whole = |len: usize| Frame::binary(deflated(&payload[..len])).rsv1().bytes();
            if limit > 0 {
                let (seen, error) = decode_server(&agreed(true, 15), limits, &whole(limit), &[]);
                assert_eq!((seen.len(), error), (1, None), "{limit}");
            }
            let (seen, error) = decode_server(&agreed(true, 15), limits, &whole(limit + 1), &[]);
            assert_eq!((seen.len(), error), (0, Some(ProtocolError::TooBig { limit })), "{limit}");
        }
    }
}

#[test]
fn endless_data_that_inflates_to_nothing_is_bounded() {
    let limits = Limits { max_message: 1000, fragment_cost: 10 };
    let mut decoder = Decoder::with_deflate(Role::Server, &agreed(true, 15));
    let mut pool = SpillPool::new(limits);
    let empty = [0, 0, 0, 0xff, 0xff];
    let begun = Frame::binary(empty).more().rsv1().bytes();
    assert_eq!(feed(&mut decoder, &mut pool, &begun, &[]), (vec![], None));
    let more = Frame::continuation(empty.repeat(10)).more().bytes();
    let rounds = (0..100).find(|_| feed(&mut decoder, &mut pool, &more, &[]).1.is_some());
    assert!(rounds.is_some_and(|rounds| rounds <= 20));
}

#[test]
fn rfc6455_8_1_bad_text_fails_while_it_inflates() {
    let text = [&b"a".repeat(3000)[..], b"\xf4\x90", &b"a".repeat(3000)].concat();
    let stream = Frame::text(deflated(&text)).rsv1().bytes();
    let found = (1..=stream.len()).find(|&end| {
        decode_server(&agreed(true, 15), Limits::default(), &stream[..end], &[]).1 == Some(ProtocolError::InvalidText)
    });
    assert!(found.is_some_and(|end| end < stream.len() - 4), "{found:?} of {}", stream.len());
    // Text beyond the limit is not validated.
    let limits = Limits { max_message: 3000, ..Limits::default() };
    assert_eq!(decode_server(&agreed(true, 15), limits, &stream, &[]).1, Some(ProtocolError::TooBig { limit: 3000 }));
    let limits = Limits { max_message: 3002, ..Limits::default() };
    assert_eq!(decode_server(&agreed(true, 15), limits, &stream, &[]).1, Some(ProtocolError::InvalidText));
    // Cut inside a character.
    let stream = Frame::text(deflated("€".as_bytes().split_last().unwrap().1)).rsv1().bytes();
    assert_eq!(decode_server(&agreed(true, 15), Limits::default(), &stream, &[]).1, Some(ProtocolError::InvalidText));
}

#[test]
fn invalid_deflate_data_is_refused_with_1007() {
    let error = |payload: &[u8]| {
        let stream = Frame::binary(payload).rsv1().bytes();
        decode_server(&agreed(false, 15), Limits::default(), &stream, &[]).1
    };
    // A reserved kind of block; a stored block whose lengths disagree; a distance beyond the
    // beginning.
    for payload in [&[0x06][..], &[0x00, 0x05, 0x00, 0x00, 0x00], &[0xf2, 0x00, 0x11, 0x00, 0x00]] {
        assert_eq!(error(payload), Some(ProtocolError::CorruptCompression), "{payload:x?}");
    }
    assert_eq!(ProtocolError::CorruptCompression.close_code().as_u16(), 1007);
}

#[test]
fn without_takeover_a_decoder_owns_nothing_between_messages_and_with_it_one_window() {
    assert!(size_of::<Decoder>() <= 16);
    let stream = Frame::text(deflated(b"hello hello hello")).rsv1().bytes();
    for takeover in [false, true] {
        let mut pool = SpillPool::new(Limits::default());
        let mut decoder = Decoder::with_deflate(Role::Server, &agreed(takeover, 15));
        assert!(!decoder.keeps_memory());
        let _ = feed(&mut decoder, &mut pool, &Frame::text(b"plain").bytes(), &[]);
        assert!(!decoder.keeps_memory(), "nothing that is compressed has come");
        let _ = feed(&mut decoder, &mut pool, &stream, &[7]);
        assert_eq!(decoder.keeps_memory(), takeover);
        assert!(decoder.is_between_messages());
        decoder.release(&mut pool);
        assert!(!decoder.keeps_memory());
    }
}

#[test]
fn a_prepared_message_is_compressed_once_for_all_windows_that_are_alike() {
    let prepared = Prepared::text(&"the same for everybody, ".repeat(20));
    let clone = prepared.clone();
    let mut deflater = Deflater::new(6, bits(15)).unwrap();
    let mut other = Deflater::new(6, bits(9)).unwrap();
    let first = deflated_frame(&prepared, &mut deflater).unwrap().clone();
    assert!(std::sync::Arc::ptr_eq(&first, deflated_frame(&clone, &mut deflater).unwrap()));
    assert!(!std::sync::Arc::ptr_eq(&first, deflated_frame(&clone, &mut other).unwrap()));
    assert!(first.len() < prepared.as_frame().len() / 4);
    let mut bytes = first.to_vec();
    let mut at = 0;
    let mut pool = SpillPool::new(Limits::default());
    let mut decoder = Decoder::with_deflate(Role::Client, &agreed(true, 15));
    let Ok(Some(Event::Message(message))) = decoder.next(&mut pool, &mut bytes, &mut at) else { panic!() };
    assert_eq!(message.payload(), prepared.payload());
    // A message that does not become shorter is not compressed.
    assert!(deflated_frame(&Prepared::binary(b"short"), &mut deflater).is_none());
}

#[test]
fn without_takeover_incompressible_messages_are_sent_uncompressed() {
    let noise: Vec<u8> = (0..200u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let mut deflater = Deflater::new(9, bits(15)).unwrap();
    let (mut out, mut plain) = (Vec::new(), Vec::new());
    encode_deflated(MessageKind::Binary, &noise, None, &mut deflater, false, &mut out);
    encode_server(OpCode::Binary, &noise, &mut plain);
    assert_eq!(out, plain);
    // With takeover it must be in the receiver's window too.
    out.clear();
    encode_deflated(MessageKind::Binary, &noise, None, &mut deflater, true, &mut out);
    assert_eq!(out[0] & 0x40, 0x40);
}

#[test]
fn a_restart_is_allowed_at_any_time_with_takeover_too() {
    let mut deflater = Deflater::new(6, bits(15)).unwrap();
    let mut stream = Vec::new();
    let text = b"something to refer to, something to refer to";
    for n in 0..6 {
        if n % 3 == 2 {
            deflater.restart();
        }
        encode_deflated(MessageKind::Text, text, Some(KEY), &mut deflater, true, &mut stream);
    }
    let (seen, error) = decode_server(&agreed(true, 15), Limits::default(), &stream, &[]);
    assert_eq!((seen, error), (vec![one(text).0[0].clone(); 6], None));
}

proptest! {
    #[test]
    fn compressed_messages_inflate_to_the_original_with_any_cuts(
        (takeover, window, level, specs) in conversation(70_000),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let (stream, expected) = write(takeover, window, level, &specs);
        let cuts = ascending(&cuts, stream.len());
        let outcome = decode_server(&agreed(takeover, window), Limits::default(), &stream, &cuts);
        prop_assert_eq!(outcome, (expected, None));
    }

    #[test]
    fn our_frames_are_read_by_the_other_side_with_every_window(
        (takeover, window, level, specs) in conversation(70_000),
        client in any::<bool>(),
    ) {
        let mut deflater = Deflater::new(level, bits(window)).unwrap();
        let mut stream = b"before".to_vec();
        let mut expected = Vec::new();
        for spec in &specs {
            let payload = payload(spec.len, spec.seed, spec.noise);
            let kind = if spec.noise { MessageKind::Binary } else { MessageKind::Text };
            encode_deflated(kind, &payload, client.then_some(KEY), &mut deflater, takeover, &mut stream);
            expected.push(Seen::Message(kind, payload));
        }
        let role = if client { Role::Server } else { Role::Client };
        let mut decoder = Decoder::with_deflate(role, &agreed(takeover, window));
        let outcome = feed(&mut decoder, &mut SpillPool::new(Limits::default()), &stream[6..], &[]);
        prop_assert_eq!(outcome, (expected, None));
    }

    #[test]
    fn wrong_bytes_give_the_same_events_and_error_however_they_are_cut(
        (takeover, window, level, specs) in conversation(300),
        max_message in prop_oneof![0..400usize, Just(1 << 20)],
        wrong in vec((any::<prop::sample::Index>(), 1u8..), 0..3),
    ) {
        let (mut stream, _) = write(takeover, window, level, &specs);
        for (place, change) in wrong {
            let place = place.index(stream.len());
            stream[place] ^= change;
        }
        let limits = Limits { max_message, fragment_cost: 3 };
        let params = agreed(takeover, window);
        let whole = decode_server(&params, limits, &stream, &[]);
        for cut in 0..=stream.len() {
            prop_assert_eq!(&decode_server(&params, limits, &stream, &[cut]), &whole, "cut at {}", cut);
        }
        let every: Vec<usize> = (1..stream.len()).collect();
        prop_assert_eq!(&decode_server(&params, limits, &stream, &every), &whole, "byte by byte");
    }
}
