//! The content of messages.
//!
//! A thread holds one block of random bytes, and each message is a slice of it. The start of the
//! slice depends on the connection and on the message's number, so the expected echo is computed
//! and not stored. An echo that is damaged, from another connection, or out of order differs from
//! the expected slice.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringway::{Message, MessageKind};
use std::ops::{Range, RangeInclusive};

/// The number of positions at which slices begin. The position repeats only after this many
/// messages of a connection. The block of small messages stays in the first-level cache.
const PLACES: u32 = 4096;

/// The distance between the positions of successive messages: odd, so that all positions are used,
/// and large, so that small successive messages do not overlap.
const STEP: u32 = 0x9e5;

/// The random block, and the sizes of its slices.
pub(crate) struct Payload {
    block: Block,
    min: u32,
    /// The number of sizes.
    spread: u32,
}

enum Block {
    Text(String),
    Binary(Vec<u8>),
}

impl Payload {
    /// A block of printable ASCII, or of any bytes with `binary`, for messages of these sizes.
    pub(crate) fn new(sizes: &RangeInclusive<usize>, binary: bool, seed: u64) -> Self {
        let mut bytes = vec![0; *sizes.end() + PLACES as usize];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        let block = if binary {
            Block::Binary(bytes)
        } else {
            // Space to tilde. The slight bias towards some of the 95 characters does not matter.
            Block::Text(bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect())
        };
        Self { block, min: *sizes.start() as u32, spread: (sizes.end() - sizes.start() + 1) as u32 }
    }

    /// The range in the block of message `number` of the connection with this salt.
    #[inline]
    pub(crate) fn span(&self, salt: u32, number: u32) -> Range<usize> {
        let start = number.wrapping_mul(STEP).wrapping_add(salt) % PLACES;
        let mut len = self.min;
        if self.spread > 1 {
            len += ((u64::from(mix(salt, number)) * u64::from(self.spread)) >> 32) as u32;
        }
        start as usize..start as usize + len as usize
    }

    /// The kind of the messages.
    #[inline]
    pub(crate) fn kind(&self) -> MessageKind {
        match self.block {
            Block::Text(_) => MessageKind::Text,
            Block::Binary(_) => MessageKind::Binary,
        }
    }

    /// The bytes of a message.
    #[inline]
    pub(crate) fn bytes(&self, span: Range<usize>) -> &[u8] {
        match &self.block {
            Block::Text(text) => &text.as_bytes()[span],
            Block::Binary(bytes) => &bytes[span],
        }
    }

    /// A message to send.
    #[inline]
    pub(crate) fn message(&self, span: Range<usize>) -> Message<'_> {
        match &self.block {
            Block::Text(text) => Message::text(&text[span]),
            Block::Binary(bytes) => Message::binary(&bytes[span]),
        }
    }
}

/// Hashes two numbers with the finalizer of SplitMix64.
#[inline]
pub(crate) fn mix(salt: u32, number: u32) -> u32 {
    let mut z = (u64::from(salt) << 32 | u64::from(number)).wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_place_comes_twice_among_4096_messages() {
        let payload = Payload::new(&(20..=20), false, 1);
        let starts: HashSet<usize> = (0..PLACES).map(|number| payload.span(77, number.wrapping_sub(5)).start).collect();
        assert_eq!(starts.len(), PLACES as usize);
    }

    #[test]
    fn neighbours_differ_in_content() {
        for binary in [false, true] {
            let payload = Payload::new(&(20..=20), binary, 2);
            for number in 0..10_000 {
                assert_ne!(payload.bytes(payload.span(5, number)), payload.bytes(payload.span(5, number + 1)));
                assert_ne!(payload.bytes(payload.span(5, number)), payload.bytes(payload.span(6, number)));
            }
        }
    }

    #[test]
    fn sizes_are_within_their_bounds_and_all_come() {
        let payload = Payload::new(&(10..=13), true, 3);
        let mut counts = [0u32; 4];
        for number in 0..40_000 {
            counts[payload.span(9, number).len() - 10] += 1;
        }
        assert!(counts.iter().all(|count| (9_000..11_000).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_last_byte_of_the_block_is_as_far_as_a_message_reaches() {
        for sizes in [0..=0, 1..=1, 0..=70_000, 65_536..=65_536] {
            let payload = Payload::new(&sizes, false, 4);
            for number in 0..PLACES {
                assert!(sizes.contains(&payload.bytes(payload.span(0, number)).len()));
            }
        }
    }

    #[test]
    fn text_is_printable_and_a_seed_gives_the_same_again() {
        let payload = Payload::new(&(5000..=5000), false, 6);
        let again = Payload::new(&(5000..=5000), false, 6);
        let bytes = payload.bytes(payload.span(0, 0));
        assert!(bytes.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(bytes, again.bytes(again.span(0, 0)));
        assert_eq!(payload.message(0..3).payload(), payload.bytes(0..3));
        let other = Payload::new(&(5000..=5000), false, 7);
        assert_ne!(bytes, other.bytes(other.span(0, 0)));
    }
}
