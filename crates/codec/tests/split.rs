//! The events of a byte stream do not depend on where it is split into inputs, nor does the error
//! of an invalid one.

use proptest::collection::vec;
use proptest::prelude::*;
use ringway_codec::{Limits, MessageKind, OpCode, Role};
use ringway_testkit::Frame;
use ringway_testkit::decoder::{self, Outcome, Seen, received_by};
use std::ops::Range;

/// Decodes `stream`, split at `cuts` (ascending).
fn decode(role: Role, limits: Limits, stream: &[u8], cuts: &[usize]) -> Outcome {
    decoder::decode(role, None, limits, stream, cuts)
}

/// As [`decode`]. `direct` returns for each piece whether it is received in the assembly buffer, as
/// far as that has room, and the maximum at a time.
fn decode_as(
    role: Role,
    limits: Limits,
    stream: &[u8],
    cuts: &[usize],
    direct: impl Fn(usize) -> Option<usize>,
) -> Outcome {
    decoder::decode_as(role, None, limits, stream, cuts, direct)
}

/// A frame to encode.
#[derive(Debug, Clone)]
struct FrameSpec {
    fin: bool,
    opcode: OpCode,
    payload: Vec<u8>,
    key: [u8; 4],
}

fn encode(role: Role, frames: &[FrameSpec]) -> Vec<u8> {
    let encode = |FrameSpec { fin, opcode, payload, key }: &FrameSpec| {
        received_by(role, Frame::new(*opcode as u8, payload).fin(*fin).key(*key))
    };
    frames.iter().flat_map(encode).collect()
}

/// The expected events of the frames, computed without the decoder.
fn expected(frames: &[FrameSpec]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let mut open = None;
    for FrameSpec { fin, opcode, payload, .. } in frames {
        let (kind, mut bytes) = match opcode {
            OpCode::Ping => {
                seen.push(Seen::Ping(payload.clone()));
                continue;
            }
            OpCode::Pong => {
                seen.push(Seen::Pong(payload.clone()));
                continue;
            }
            OpCode::Close => {
                let code = payload.get(..2).map(|code| u16::from_be_bytes([code[0], code[1]]));
                seen.push(Seen::Close(code.map(|code| (code, String::from_utf8(payload[2..].to_vec()).unwrap()))));
                return seen;
            }
            OpCode::Text => (MessageKind::Text, Vec::new()),
            OpCode::Binary => (MessageKind::Binary, Vec::new()),
            OpCode::Continuation => open.take().unwrap(),
        };
        bytes.extend_from_slice(payload);
        match fin {
            true => seen.push(Seen::Message(kind, bytes)),
            false => open = Some((kind, bytes)),
        }
    }
    seen
}

/// Bytes, or text with characters of every length, from a seed: cheaper to generate and to shrink
/// than each byte.
fn payload(kind: MessageKind, len: usize, mut seed: u64) -> Vec<u8> {
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    match kind {
        MessageKind::Binary => (0..len).map(|_| random() as u8).collect(),
        MessageKind::Text => {
            let characters = ["a", "é", "€", "𝄞", " ", "plain text ", "\u{10ffff}", "\u{7ff}", "\u{d7ff}"];
            let mut text = String::new();
            while text.len() < len {
                text.push_str(characters[random() % characters.len()]);
            }
            let end = (0..=len).rev().find(|&at| text.is_char_boundary(at)).unwrap();
            text.truncate(end);
            text.extend(std::iter::repeat_n('.', len - end));
            text.into_bytes()
        }
    }
}

fn length(longest: usize) -> impl Strategy<Value = usize> {
    prop_oneof![
        3 => prop::sample::select(vec![0, 125, 126, 65535, 65536]).prop_map(move |len: usize| len.min(longest)),
        3 => 0..longest.min(300),
        1 => 0..longest,
    ]
}

fn control() -> impl Strategy<Value = FrameSpec> {
    (any::<bool>(), 0..=125usize, any::<u64>(), any::<[u8; 4]>()).prop_map(|(ping, len, seed, key)| FrameSpec {
        fin: true,
        opcode: if ping { OpCode::Ping } else { OpCode::Pong },
        payload: payload(MessageKind::Binary, len, seed),
        key,
    })
}

fn close() -> impl Strategy<Value = FrameSpec> {
    let body = prop_oneof![
        Just(Vec::new()),
        (prop::sample::select(vec![1000u16, 1001, 1014, 3000, 4999]), 0..=123usize).prop_map(|(code, len)| {
            [&code.to_be_bytes()[..], &payload(MessageKind::Text, len, u64::from(code))].concat()
        }),
    ];
    (body, any::<[u8; 4]>()).prop_map(|(payload, key)| FrameSpec { fin: true, opcode: OpCode::Close, payload, key })
}

/// A message in 1 to 5 frames, cut at any byte, with control frames before and between them.
fn message(longest: usize) -> impl Strategy<Value = Vec<FrameSpec>> {
    let kind = prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary)];
    let cuts = prop_oneof![2 => Just(Vec::new()), 1 => vec(any::<prop::sample::Index>(), 1..5)];
    let controls = prop_oneof![2 => Just(Vec::new()), 1 => vec((any::<prop::sample::Index>(), control()), 1..4)];
    (kind, length(longest), any::<u64>(), any::<[u8; 4]>(), cuts, controls).prop_map(
        |(kind, len, seed, key, cuts, controls)| {
            let payload = payload(kind, len, seed);
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).chain([0, len]).collect();
            cuts.sort_unstable();
            let mut frames: Vec<FrameSpec> = Vec::new();
            for (i, pair) in cuts.windows(2).enumerate() {
                frames.push(FrameSpec {
                    fin: i + 2 == cuts.len(),
                    opcode: if i == 0 { kind.into() } else { OpCode::Continuation },
                    payload: payload[pair[0]..pair[1]].to_vec(),
                    key: key.map(|byte| byte.wrapping_add(i as u8)),
                });
            }
            for (place, control) in controls {
                frames.insert(place.index(frames.len()), control);
            }
            frames
        },
    )
}

fn stream(messages: usize, longest: usize) -> impl Strategy<Value = (Role, Vec<FrameSpec>)> {
    let role = prop_oneof![Just(Role::Server), Just(Role::Client)];
    let close = prop_oneof![3 => Just(None), 1 => close().prop_map(Some)];
    (role, vec(message(longest), 0..=messages), close)
        .prop_map(|(role, messages, close)| (role, messages.into_iter().flatten().chain(close).collect()))
}

fn limits() -> impl Strategy<Value = Limits> {
    prop_oneof![
        Just(Limits::default()),
        (0..300usize, 0..100usize).prop_map(|(max_message, fragment_cost)| Limits { max_message, fragment_cost }),
    ]
}

fn ascending(cuts: &[prop::sample::Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}

/// Every split in two, and byte by byte, gives `whole`; also when payload is received in the
/// assembly buffer.
fn assert_every_cut(role: Role, limits: Limits, bytes: &[u8], whole: &Outcome) -> Result<(), TestCaseError> {
    for cut in 0..=bytes.len() {
        prop_assert_eq!(&decode(role, limits, bytes, &[cut]), whole, "cut at {}", cut);
        let straight = |max| decode_as(role, limits, bytes, &[cut], move |_| Some(max));
        prop_assert_eq!(&straight(usize::MAX), whole, "straight behind {}", cut);
        prop_assert_eq!(&straight(3), whole, "straight behind {}, by 3 bytes", cut);
    }
    let every: Vec<usize> = (1..bytes.len()).collect();
    prop_assert_eq!(&decode(role, limits, bytes, &every), whole, "byte by byte");
    prop_assert_eq!(&decode_as(role, limits, bytes, &every, |_| Some(9)), whole, "straight, byte by byte");
    // Two of three pieces straight.
    let mixed = decode_as(role, limits, bytes, &every, |number| (number % 3 != 0).then_some(9));
    prop_assert_eq!(&mixed, whole, "mixed, byte by byte");
    Ok(())
}

proptest! {
    #[test]
    fn random_cuts_change_nothing(
        (role, frames) in stream(6, 70_000),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let bytes = encode(role, &frames);
        let whole = decode(role, Limits::default(), &bytes, &[]);
        prop_assert_eq!(&whole, &(expected(&frames), None));
        let cuts = ascending(&cuts, bytes.len());
        prop_assert_eq!(&decode(role, Limits::default(), &bytes, &cuts), &whole);
    }

    #[test]
    fn every_cut_of_a_short_stream_changes_nothing((role, frames) in stream(3, 140)) {
        let bytes = encode(role, &frames);
        assert_every_cut(role, Limits::default(), &bytes, &(expected(&frames), None))?;
    }

    #[test]
    fn every_cut_of_a_short_stream_with_a_wrong_byte_gives_the_same_events_and_error(
        (role, frames) in stream(3, 140),
        limits in limits(),
        wrong in vec((any::<prop::sample::Index>(), 1u8..), 0..3),
    ) {
        let mut bytes = encode(role, &frames);
        if !bytes.is_empty() {
            for (place, change) in wrong {
                let place = place.index(bytes.len());
                bytes[place] ^= change;
            }
        }
        let whole = decode(role, limits, &bytes, &[]);
        assert_every_cut(role, limits, &bytes, &whole)?;
    }

    #[test]
    fn random_cuts_of_a_long_stream_with_a_wrong_byte_give_the_same_events_and_error(
        (role, frames) in stream(5, 70_000),
        limits in limits(),
        place in any::<prop::sample::Index>(),
        change in 1u8..,
        cuts in vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut bytes = encode(role, &frames);
        if !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] ^= change;
        }
        let whole = decode(role, limits, &bytes, &[]);
        prop_assert_eq!(&decode(role, limits, &bytes, &ascending(&cuts, bytes.len())), &whole);
    }

    #[test]
    fn pieces_received_straight_into_messages_change_nothing(
        (role, frames) in stream(5, 70_000),
        limits in limits(),
        wrong in proptest::option::of((any::<prop::sample::Index>(), 1u8..)),
        cuts in vec(any::<prop::sample::Index>(), 0..12),
        straight in any::<u16>(),
        max in prop_oneof![Just(usize::MAX), 1..40_000usize, 1..20usize],
    ) {
        let mut bytes = encode(role, &frames);
        if let Some((place, change)) = wrong && !bytes.is_empty() {
            let place = place.index(bytes.len());
            bytes[place] ^= change;
        }
        let cuts = ascending(&cuts, bytes.len());
        let received = decode_as(role, limits, &bytes, &cuts, |number| (straight >> number & 1 == 1).then_some(max));
        prop_assert_eq!(&received, &decode(role, limits, &bytes, &[]));
        if wrong.is_none() && limits == Limits::default() {
            prop_assert_eq!(received, (expected(&frames), None));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_do_not_depend_on_cuts(
        server in any::<bool>(),
        limits in limits(),
        bytes in vec(prop_oneof![any::<u8>(), prop::sample::select(vec![0x81u8, 0x82, 0x01, 0x80, 0x88, 0x89, 0x85])], 0..60),
    ) {
        let role = if server { Role::Server } else { Role::Client };
        let whole = decode(role, limits, &bytes, &[]);
        assert_every_cut(role, limits, &bytes, &whole)?;
    }
}

#[test]
fn rfc6455_8_1_a_wrong_byte_at_any_place_of_a_text_received_straight_fails_as_early_as_elsewhere() {
    let text = "Grüße, 日本, 🦀: thirty bytes and more".as_bytes();
    for role in [Role::Server, Role::Client] {
        for place in 0..text.len() {
            let mut payload = text.to_vec();
            payload[place] = 0xff;
            let frames = [(false, OpCode::Text, 0..11), (true, OpCode::Continuation, 11..payload.len())];
            let frame = |(fin, opcode, range): &(bool, OpCode, Range<usize>)| FrameSpec {
                fin: *fin,
                opcode: *opcode,
                payload: payload[range.clone()].to_vec(),
                key: [1, 2, 3, 4],
            };
            let bytes = encode(role, &frames.each_ref().map(frame));
            let every: Vec<usize> = (1..bytes.len()).collect();
            // Truncated after any byte: the same byte triggers the error.
            for end in 0..=bytes.len() {
                let whole = decode(role, Limits::default(), &bytes[..end], &[]);
                let cuts = &every[..end.saturating_sub(1)];
                let straight = decode_as(role, Limits::default(), &bytes[..end], cuts, |_| Some(100));
                assert_eq!(straight, whole, "{role:?}, {place} wrong, {end} bytes");
            }
        }
    }
}
