//! Inflates compressed messages (RFC 7692 section 7.2.2).

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{TAIL, WindowBits};
use crate::spill::{Allowance, Spill};

/// A decompressor, with a window of the data that it has inflated before: 46 KiB.
///
/// Its window has the maximum size whatever was negotiated: zlib-rs allocates no smaller ones, and
/// then no result depends on how much of a message is inflated at once.
///
/// It uses zlib-rs directly, because flate2 has no flush mode that stops between two blocks.
pub(crate) struct Inflater {
    inflate: Inflate,
    /// The data so far ended with a block that is marked as the last (section 7.2.3.4).
    ended: bool,
}

/// Why inflating has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The input is consumed.
    Starved,
    /// The room is full; there may be more.
    Full,
    /// The allowance is spent; there may be more.
    Suspended,
    /// The data is not valid DEFLATE.
    Corrupt,
}

impl Inflater {
    /// The heap bytes of a boxed inflater: its box, and the allocation of zlib-rs with window and
    /// tables.
    pub(crate) const HEAP_BYTES: usize = size_of::<Self>() + 47_552;

    pub(crate) fn new() -> Self {
        Self { inflate: Inflate::new(false, WindowBits::MAX.get()), ended: false }
    }

    /// Returns to the initial state.
    pub(crate) fn restart(&mut self) {
        self.inflate.reset(false);
        self.ended = false;
    }

    /// Appends inflated `input` to `out`, as far as its capacity and the allowance permit, and
    /// advances `input`. All data that was inflated before the result is in `out`.
    ///
    /// Exceeds the allowance by less than `MIN_ROOM`.
    pub(crate) fn inflate(&mut self, input: &mut &[u8], out: &mut Spill, allowance: &mut Allowance) -> Stopped {
        /// The probable maximum ratio of inflated to compressed bytes. A higher ratio takes another
        /// turn.
        const RATIO: usize = 8;
        /// zlib-rs becomes slow when there is room for less than 260 bytes.
        const MIN_ROOM: usize = 1024;
        /// What a compressed byte costs of the allowance at least: blocks without content take time
        /// too, and their tables more than the bytes of a usual message.
        const INPUT_COST: usize = 8;
        /// The input of a step is limited by the allowance, but never to less than this.
        const MIN_INPUT: usize = 64;

        loop {
            if allowance.is_spent() {
                return Stopped::Suspended;
            }
            if self.ended && !input.is_empty() {
                // After a last block comes a new stream, independent of the one before (RFC 1951
                // section 3.2.3).
                self.restart();
            }
            let feed = &input[..input.len().min((allowance.left() / INPUT_COST).max(MIN_INPUT))];
            let likely = input.len().saturating_mul(RATIO).min(allowance.left());
            let room = (out.capacity() - out.len()).min(likely.max(MIN_ROOM));
            let (taken, written, result) = out.write(room, |room| {
                let (taken, written, result) = self.step(feed, room, InflateFlush::NoFlush);
                (written, (taken, written, result))
            });
            *input = &input[taken..];
            allowance.spend(written.max(taken.saturating_mul(INPUT_COST)));
            let moved = taken > 0 || written > 0;
            match result {
                None => return Stopped::Corrupt,
                Some(Status::StreamEnd) => {
                    self.ended = true;
                    if input.is_empty() {
                        return Stopped::Starved;
                    }
                }
                Some(Status::Ok | Status::BufError) if out.len() == out.capacity() => return Stopped::Full,
                Some(Status::Ok | Status::BufError) if written == room => {}
                Some(Status::Ok | Status::BufError) if input.is_empty() => return Stopped::Starved,
                Some(Status::Ok | Status::BufError) if moved => {}
                Some(Status::Ok | Status::BufError) => return Stopped::Corrupt,
            }
        }
    }

    /// Ends a message: inflates the tail that its sender has removed, and returns whether the
    /// message ends there, between two blocks, the last of them empty. Otherwise the message is
    /// incomplete, or has bytes after its end.
    ///
    /// A sender that writes a last block without the empty one after it also ends its message at a
    /// byte.
    pub(crate) fn end(&mut self) -> bool {
        /// Follows the tail and must remain unconsumed. It distinguishes the end of a block from
        /// the middle of one that has consumed the tail as its own data. It continues no block: as
        /// part of the length of a stored block it is invalid.
        const SENTINEL: u8 = 0xff;

        if self.ended {
            self.restart();
            return true;
        }
        let [a, b, c, d] = TAIL;
        // Stops after the empty block, before zlib checks whether that was the last one.
        let (taken, written, result) = self.step(&[a, b, c, d, SENTINEL], &mut [0], InflateFlush::Block);
        result == Some(Status::Ok) && taken == TAIL.len() && written == 0
    }

    /// Returns the number of bytes consumed and written, and zlib's status; `None` when the data is
    /// corrupt.
    #[inline]
    fn step(&mut self, input: &[u8], room: &mut [u8], flush: InflateFlush) -> (usize, usize, Option<Status>) {
        let (total_in, total_out) = (self.inflate.total_in(), self.inflate.total_out());
        let result = self.inflate.decompress(input, room, flush);
        let taken = (self.inflate.total_in() - total_in) as usize;
        let written = (self.inflate.total_out() - total_out) as usize;
        (taken, written, result.ok())
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("ended", &self.ended).finish_non_exhaustive()
    }
}
