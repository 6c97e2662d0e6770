//! Compressed data to messages (RFC 7692 section 7.2.2).

use std::fmt;

use zlib_rs::{Inflate, InflateFlush, Status};

use super::{TAIL, WindowBits};
use crate::spill::{Allowance, Spill};

/// A decompressor, with the window of what it has inflated before: 46 KiB.
///
/// Its window is the largest one whatever was agreed on: zlib-rs allocates no smaller ones, and
/// then no result depends on how much of a message is inflated at once.
///
/// It is zlib-rs without flate2 around it, because only so can it be told to stop between two
/// blocks.
pub(crate) struct Inflater {
    inflate: Inflate,
    /// The data so far ended with a block that says that it is the last (section 7.2.3.4).
    ended: bool,
}

/// Why inflating does not go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stopped {
    /// The input is consumed.
    Starved,
    /// The room is full; there may be more.
    Full,
    /// The allowance is spent; there may be more.
    Suspended,
    /// The data is not what DEFLATE writes.
    Corrupt,
}

impl Inflater {
    /// How many heap bytes a boxed one is: its box, and the allocation of zlib-rs with window and
    /// tables.
    pub(crate) const HEAP_BYTES: usize = size_of::<Self>() + 47_552;

    pub(crate) fn new() -> Self {
        Self { inflate: Inflate::new(false, WindowBits::MAX.get()), ended: false }
    }

    /// Forgets everything.
    pub(crate) fn restart(&mut self) {
        self.inflate.reset(false);
        self.ended = false;
    }

    /// Inflates `input` behind the content of `out`, as far as its capacity and the allowance
    /// reach, and moves `input` on. Whatever the result is, what could be inflated in front of it
    /// is in `out`.
    ///
    /// Exceeds the allowance by less than `LEAST_ROOM`.
    pub(crate) fn inflate(&mut self, input: &mut &[u8], out: &mut Spill, allowance: &mut Allowance) -> Stopped {
        /// How many bytes each one is likely to become at the most. When it is more there is
        /// another turn.
        const RATIO: usize = 8;
        /// zlib-rs becomes slow when there is room for less than 260 bytes.
        const LEAST_ROOM: usize = 1024;

        loop {
            if allowance.is_spent() {
                return Stopped::Suspended;
            }
            if self.ended && !input.is_empty() {
                // Behind a last block comes a new stream, which knows nothing of the one before
                // (RFC 1951 section 3.2.3).
                self.restart();
            }
            let likely = input.len().saturating_mul(RATIO).min(allowance.left());
            let room = (out.capacity() - out.len()).min(likely.max(LEAST_ROOM));
            let (taken, written, result) = out.write(room, |room| {
                let (taken, written, result) = self.step(input, room, InflateFlush::NoFlush);
                (written, (taken, written, result))
            });
            *input = &input[taken..];
            allowance.spend(written);
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

    /// Takes the end of a message, the tail that its sender took off, and says whether the message
    /// ends there: between two blocks, the last of them empty. Else it is not whole, or more than
    /// that.
    ///
    /// A sender that writes a last block and forgets the empty one behind it ends its message at a
    /// byte all the same.
    pub(crate) fn end(&mut self) -> bool {
        /// Stands behind the tail to be left over. Without it nothing would tell the end of a block
        /// from the middle of one that has taken the tail for its own. It continues no block: as
        /// the end of a stored one's length it is wrong.
        const LEFT_OVER: u8 = 0xff;

        if self.ended {
            self.restart();
            return true;
        }
        let [a, b, c, d] = TAIL;
        // Stops behind the empty block, before it looks whether that was the last one.
        let (taken, written, result) = self.step(&[a, b, c, d, LEFT_OVER], &mut [0], InflateFlush::Block);
        result == Some(Status::Ok) && taken == TAIL.len() && written == 0
    }

    /// How much was taken and written, at most what there is; and what zlib says, `None` when the
    /// data is corrupt.
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
