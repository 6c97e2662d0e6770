//! Compressed data to messages (RFC 7692 section 7.2.2).

use std::fmt;

use flate2::{Decompress, FlushDecompress, Status};

use super::TAIL;
use crate::spill::Spill;

/// A decompressor, with the window of what it has inflated before: 42 KiB.
///
/// Its window is the largest one whatever was agreed on: zlib-rs allocates no smaller ones, and then no result depends on
/// how much of a message is inflated at once.
pub(crate) struct Inflater {
    decompress: Decompress,
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
    /// The data is not what DEFLATE writes.
    Corrupt,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { decompress: Decompress::new(false), ended: false }
    }

    /// Forgets everything.
    pub(crate) fn restart(&mut self) {
        self.decompress.reset(false);
        self.ended = false;
    }

    /// Inflates `input` behind the content of `out`, as far as its capacity reaches, and moves `input` on. Whatever the
    /// result is, what could be inflated in front of it is in `out`. `tailed` says that `input` ends with the tail already.
    pub(crate) fn inflate(&mut self, input: &mut &[u8], tailed: bool, out: &mut Spill) -> Stopped {
        /// How many bytes each one is likely to become at the most, and what the end of a message may still hold. When it is
        /// more there is another turn.
        const RATIO: usize = 8;
        const LEAST_ROOM: usize = 1024;

        loop {
            if self.ended && tailed && *input == TAIL {
                // As with `tail`: it does not go behind a last block.
                *input = &[];
                return Stopped::Starved;
            }
            if self.ended && !input.is_empty() {
                // Behind a last block comes a new stream, which knows nothing of the one before (RFC 1951 section 3.2.3).
                self.restart();
            }
            let room = (out.capacity() - out.len()).min(LEAST_ROOM.max(input.len().saturating_mul(RATIO)));
            let (total_in, total_out) = (self.decompress.total_in(), self.decompress.total_out());
            let (written, result) = out.write(room, |room| {
                let result = self.decompress.decompress(input, room, FlushDecompress::None);
                let written = (self.decompress.total_out() - total_out) as usize;
                (written, (written, result))
            });
            // At most the length of `input`.
            let taken = (self.decompress.total_in() - total_in) as usize;
            *input = &input[taken..];
            let moved = taken > 0 || written > 0;
            match result {
                Err(_) => return Stopped::Corrupt,
                Ok(Status::StreamEnd) => {
                    self.ended = true;
                    if input.is_empty() {
                        return Stopped::Starved;
                    }
                }
                Ok(Status::Ok | Status::BufError) if out.len() == out.capacity() => return Stopped::Full,
                Ok(Status::Ok | Status::BufError) if written == room => {}
                Ok(Status::Ok | Status::BufError) if input.is_empty() => return Stopped::Starved,
                Ok(Status::Ok | Status::BufError) if moved => {}
                Ok(Status::Ok | Status::BufError) => return Stopped::Corrupt,
            }
        }
    }

    /// What is to be inflated at the end of a message: the tail that its sender took off. Not behind a last block: a
    /// sender that writes one and forgets the empty block behind it ends its message at a byte all the same.
    pub(crate) fn tail(&self) -> &'static [u8] {
        if self.ended { &[] } else { &TAIL }
    }
}

impl fmt::Debug for Inflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inflater").field("ended", &self.ended).finish_non_exhaustive()
    }
}
