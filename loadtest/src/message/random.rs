//! Random content: each message is a slice of one random block, in which its mark is written.
//! Nothing is generated, copied or allocated per message.
//!
//! The start of the slice depends on the connection and on the number of the message. The bytes
//! that the mark replaces are saved, and restored before the next message and before a comparison,
//! so an expected echo is compared with the block itself.
//!
//! Text in several scripts is cut at character boundaries. The parts of a character at the end of
//! the mark and at the end of the message are replaced by spaces, and restored with the mark.

use super::alphabet::{Alphabet, begins_character};
use super::mark::{self, Marks};
use super::{Depth, Mismatch, Sizes, hash};
use std::ops::Range;

/// The number of positions at which slices begin. The position repeats only after this many
/// messages of a connection. The block of small messages stays in the first-level cache.
const PLACES: u32 = 4096;

/// The distance between the positions of successive messages: odd, so that all positions are used,
/// and large, so that small successive messages do not overlap.
const STEP: u32 = 0x9e5;

/// The distance between the positions of successive connections.
const CONNECTION_STEP: u32 = 0x5a7;

/// The bytes of a character after its first one.
const MAX_REST: usize = 3;

/// What replaces the parts of a character.
const FILL: u8 = b' ';

/// Random messages.
pub(super) struct Random {
    block: Vec<u8>,
    sizes: Sizes,
    /// The size of all messages, if they have one: it needs no hash.
    size: Option<usize>,
    alphabet: Alphabet,
    /// The position of the latest mark, and the bytes that it replaces.
    mark: (usize, [u8; mark::LEN]),
    /// The same for the spaces of text in several scripts, each with its length.
    fills: [(Range<usize>, [u8; MAX_REST]); 2],
}

/// The parts of a message in the block. The parts of `start..end` outside of the body are the mark
/// and spaces.
#[derive(Clone, Debug)]
struct Span {
    start: usize,
    end: usize,
    body: Range<usize>,
}

impl Random {
    /// Messages of these sizes.
    pub(super) fn new(sizes: Sizes, alphabet: Alphabet, seed: u64) -> Self {
        // A start and an end can each be in the middle of a character.
        let block = alphabet.block(PLACES as usize + sizes.max() + 2 * (MAX_REST + 1), hash::mix(seed));
        let mut saved = [0; mark::LEN];
        saved.copy_from_slice(&block[..mark::LEN]);
        let size = (sizes.min() == sizes.max()).then_some(sizes.max());
        Self { block, sizes, size, alphabet, mark: (0, saved), fills: Default::default() }
    }

    /// The length of the message with this hash.
    #[inline]
    pub(super) fn len(&self, hash: u64) -> usize {
        self.size.unwrap_or_else(|| self.sizes.pick(hash))
    }

    /// Whether messages of this length have a mark.
    #[inline]
    pub(super) fn is_marked(len: usize) -> bool {
        len >= mark::LEN
    }

    /// The bytes of message `number` of a connection. Text is UTF-8.
    #[inline(always)]
    pub(super) fn message(&mut self, marks: Marks, connection: u32, number: u32) -> &[u8] {
        self.restore();
        let hash = marks.hash(connection, number);
        let span = self.span(connection, number, self.len(hash));
        if Self::is_marked(span.end - span.start) {
            let mark = Marks::encode(self.alphabet.kind(), number, hash);
            let place = &mut self.block[span.start..span.start + mark::LEN];
            self.mark.0 = span.start;
            self.mark.1.copy_from_slice(place);
            place.copy_from_slice(&mark);
        }
        if self.alphabet == Alphabet::Mixed {
            self.fill(&span);
        }
        &self.block[span.start..span.end]
    }

    /// Compares a payload with message `number` of a connection, except its kind.
    #[inline]
    pub(super) fn check(
        &mut self,
        marks: Marks,
        connection: u32,
        number: u32,
        payload: &[u8],
        depth: Depth,
    ) -> Result<(), Mismatch> {
        let expected = self.size.unwrap_or_else(|| self.sizes.pick(marks.hash(connection, number)));
        if payload.len() != expected {
            return Err(Mismatch::Length { expected });
        }
        if depth == Depth::Shape || self.is_equal(connection, number, marks.hash(connection, number), payload, depth) {
            return Ok(());
        }
        Err(Mismatch::Content)
    }

    /// Whether the mark is that of the message with this hash, and with [`Depth::All`] the rest.
    /// Not inline: most replies have been matched by their mark, and few are compared as a whole.
    #[inline(never)]
    fn is_equal(&mut self, connection: u32, number: u32, hash: u64, payload: &[u8], depth: Depth) -> bool {
        let mut rest = payload;
        if let Some((mark, behind)) = payload.split_first_chunk::<{ mark::LEN }>() {
            if *mark != Marks::encode(self.alphabet.kind(), number, hash) {
                return false;
            }
            rest = behind;
        }
        depth != Depth::All || self.is_body(connection, number, payload.len(), rest)
    }

    /// Whether `rest` is the message without its mark.
    fn is_body(&mut self, connection: u32, number: u32, len: usize, rest: &[u8]) -> bool {
        self.restore();
        let span = self.span(connection, number, len);
        let before = rest.len() - (span.end - span.body.start);
        let (front, rest) = rest.split_at(before);
        let (body, back) = rest.split_at(span.body.len());
        let is_fill = |bytes: &[u8]| bytes.iter().all(|byte| *byte == FILL);
        is_fill(front) && is_fill(back) && *body == self.block[span.body.clone()]
    }

    /// The position of message `number` of a connection, in the block without a mark.
    #[inline]
    fn span(&self, connection: u32, number: u32, len: usize) -> Span {
        let place = number.wrapping_mul(STEP).wrapping_add(connection.wrapping_mul(CONNECTION_STEP));
        let start = (place % PLACES) as usize;
        let front = if Self::is_marked(len) { mark::LEN } else { 0 };
        if self.alphabet != Alphabet::Mixed {
            return Span { start, end: start + len, body: start + front..start + len };
        }
        self.span_of_characters(start, front, len)
    }

    #[inline(never)]
    fn span_of_characters(&self, start: usize, front: usize, len: usize) -> Span {
        let start = self.next_character(start);
        let end = start + len;
        let body = self.next_character(start + front).min(end);
        Span { start, end, body: body..self.character(end).max(body) }
    }

    /// The start of the character at `at`.
    fn character(&self, mut at: usize) -> usize {
        while !begins_character(self.block[at]) {
            at -= 1;
        }
        at
    }

    /// The start of the first character at or after `at`.
    fn next_character(&self, mut at: usize) -> usize {
        while !begins_character(self.block[at]) {
            at += 1;
        }
        at
    }

    /// Replaces the parts of characters around the body by spaces.
    #[inline(never)]
    fn fill(&mut self, span: &Span) {
        let front = if Self::is_marked(span.end - span.start) { span.start + mark::LEN } else { span.start };
        for ((place, saved), range) in self.fills.iter_mut().zip([front..span.body.start, span.body.end..span.end]) {
            saved[..range.len()].copy_from_slice(&self.block[range.clone()]);
            self.block[range.clone()].fill(FILL);
            *place = range;
        }
    }

    /// Removes the latest mark and the latest spaces from the block.
    #[inline]
    fn restore(&mut self) {
        if self.alphabet == Alphabet::Mixed {
            self.restore_fills();
        }
        // Does nothing a second time: the saved bytes are those of the block.
        let (at, saved) = self.mark;
        self.block[at..at + mark::LEN].copy_from_slice(&saved);
    }

    #[inline(never)]
    fn restore_fills(&mut self) {
        for (place, saved) in &self.fills {
            self.block[place.clone()].copy_from_slice(&saved[..place.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const ALPHABETS: [Alphabet; 3] = [Alphabet::Ascii, Alphabet::Mixed, Alphabet::Binary];

    fn random(size: usize, alphabet: Alphabet) -> Random {
        Random::new(Sizes::fixed(size).unwrap(), alphabet, 4)
    }

    #[test]
    fn positions_repeat_after_all_places_only() {
        let mut random = random(mark::LEN - 1, Alphabet::Binary);
        let messages = (0..PLACES).map(|number| random.message(Marks::new(1), 77, number.wrapping_sub(5)).to_vec());
        assert_eq!(messages.collect::<HashSet<_>>().len(), PLACES as usize);
    }

    #[test]
    fn the_last_bytes_of_the_block_are_as_far_as_a_message_reaches() {
        for alphabet in ALPHABETS {
            for size in [0, 1, 7, 8, 9, 70_000] {
                let mut random = random(size, alphabet);
                for number in 0..PLACES {
                    assert_eq!(random.message(Marks::new(1), 0, number).len(), size);
                }
            }
        }
    }

    #[test]
    fn a_block_is_restored() {
        for alphabet in ALPHABETS {
            for size in [7, 8, 9, 10, 11, 12, 300] {
                let mut random = random(size, alphabet);
                let block = random.block.clone();
                for number in 0..PLACES {
                    random.message(Marks::new(1), 3, number);
                    random.restore();
                    assert!(random.block == block, "{alphabet:?}, {size} B, message {number}");
                }
            }
        }
    }
}
