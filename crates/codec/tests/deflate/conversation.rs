//! Random conversations of compressed and uncompressed messages, with the expected events.

use proptest::collection::vec;
use proptest::prelude::*;
use ringway_codec::{Deflater, MessageKind, OpCode};
use ringway_testkit::Frame;
use ringway_testkit::decoder::Seen;

use crate::bits;

/// A text of words that repeat, or noise.
pub(crate) fn payload(len: usize, mut seed: u64, noise: bool) -> Vec<u8> {
    let mut random = move || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize
    };
    if noise {
        return (0..len).map(|_| random() as u8).collect();
    }
    let words = ["price", "€", "volume ", "{\"id\":", "𝄞", "},", "0", "17", " the quick brown fox "];
    let mut text = String::new();
    while text.len() < len {
        text.push_str(words[random() % words.len()]);
    }
    let end = (0..=len).rev().find(|&at| text.is_char_boundary(at)).unwrap();
    text.truncate(end);
    text.into_bytes()
}

/// One message of a conversation.
#[derive(Debug, Clone)]
pub(crate) struct MessageSpec {
    pub len: usize,
    pub seed: u64,
    pub noise: bool,
    pub compressed: bool,
    pub fragments: Vec<prop::sample::Index>,
    pub ping: bool,
}

fn spec(longest: usize) -> impl Strategy<Value = MessageSpec> {
    let len = prop_oneof![2 => 0..200usize, 1 => 0..longest, 1 => prop::sample::select(vec![0usize, 1, 125, 126, 65535, 65536])];
    (
        len,
        any::<u64>(),
        any::<bool>(),
        prop::bool::weighted(0.8),
        vec(any::<prop::sample::Index>(), 0..4),
        any::<bool>(),
    )
        .prop_map(move |(len, seed, noise, compressed, fragments, ping)| MessageSpec {
            len: len.min(longest),
            seed,
            noise,
            compressed,
            fragments,
            ping,
        })
}

/// Takeover, window, level, and the messages.
pub(crate) fn conversation(longest: usize) -> impl Strategy<Value = (bool, u8, u8, Vec<MessageSpec>)> {
    (any::<bool>(), 9..=15u8, 0..=9u8, vec(spec(longest), 1..8))
}

/// The stream of a conversation to a server, and its expected events.
pub(crate) fn write(takeover: bool, window: u8, level: u8, specs: &[MessageSpec]) -> (Vec<u8>, Vec<Seen>) {
    let mut deflater = Deflater::new(level, bits(window)).unwrap();
    let (mut stream, mut seen) = (Vec::new(), Vec::new());
    for spec in specs {
        let payload = payload(spec.len, spec.seed, spec.noise);
        let kind = if spec.noise { MessageKind::Binary } else { MessageKind::Text };
        let mut compressed = payload.clone();
        if spec.compressed {
            compressed.clear();
            deflater.compress(&payload, takeover, &mut compressed);
        }
        let mut cuts: Vec<usize> =
            spec.fragments.iter().map(|cut| cut.index(compressed.len() + 1)).chain([0, compressed.len()]).collect();
        cuts.sort_unstable();
        for (i, pair) in cuts.windows(2).enumerate() {
            let opcode = if i == 0 { kind.into() } else { OpCode::Continuation };
            let fin = i + 2 == cuts.len();
            if spec.ping {
                stream.extend(Frame::ping(b"between").bytes());
                seen.push(Seen::Ping(b"between".to_vec()));
            }
            stream.extend(
                Frame::new(opcode as u8, &compressed[pair[0]..pair[1]])
                    .fin(fin)
                    .bits(if spec.compressed && i == 0 { 0x40 } else { 0 })
                    .bytes(),
            );
        }
        seen.push(Seen::Message(kind, payload));
    }
    (stream, seen)
}

pub(crate) fn ascending(cuts: &[prop::sample::Index], len: usize) -> Vec<usize> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
    cuts.sort_unstable();
    cuts
}
