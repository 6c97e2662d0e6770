//! Compresses messages (RFC 7692 section 7.2.1).

use std::fmt;

use flate2::{Compress, Compression, FlushCompress};

use super::{TAIL, WindowBits};

/// A compressor, with a window of the data that it has compressed before.
///
/// It belongs to one connection with context takeover, or is shared by any number of connections
/// without. It allocates [`heap_bytes`](Deflater::heap_bytes) once; short messages leave about 50
/// KiB of that untouched.
///
/// ```
/// use ringway_codec::{Deflater, MessageKind, WindowBits, encode_deflated};
///
/// let mut deflater = Deflater::new(6, WindowBits::MAX).expect("zlib compresses with 15 bits");
/// let mut frame = Vec::new();
/// encode_deflated(MessageKind::Binary, &[7; 1000], None, &mut deflater, true, &mut frame);
/// assert!(frame.len() < 30);
/// ```
pub struct Deflater {
    compress: Compress,
    window_bits: WindowBits,
    /// Whether the window contains an earlier message.
    remembers: bool,
}

impl Deflater {
    /// Creates a compressor of `level` 0 (no compression) to 9 (smallest and slowest); a larger
    /// level counts as 9. Returns `None` for a window that zlib cannot compress with, see
    /// [`WindowBits::is_deflatable`].
    #[must_use]
    pub fn new(level: u8, window_bits: WindowBits) -> Option<Self> {
        if !window_bits.is_deflatable() {
            return None;
        }
        let level = Compression::new(u32::from(level.min(9)));
        let compress = Compress::new_with_window_bits(level, false, window_bits.get());
        Some(Self { compress, window_bits, remembers: false })
    }

    /// The window that the receiver needs.
    #[must_use]
    pub fn window_bits(&self) -> WindowBits {
        self.window_bits
    }

    /// The heap bytes of a compressor with this window: 243 KiB plus four times the window, at any
    /// level (371 KiB at 15 bits).
    #[must_use]
    pub const fn heap_bytes(&self) -> usize {
        /// The state, the hash table and the pending output of zlib-rs.
        const FIXED: usize = 248_960;
        FIXED + (4 << self.window_bits.get())
    }

    /// Clears the window: the next message can be inflated without the earlier ones. A sender may
    /// do this at any time, whatever was negotiated. Costs a few microseconds, or nothing if the
    /// window is empty.
    pub fn restart(&mut self) {
        if std::mem::replace(&mut self.remembers, false) {
            self.compress.reset();
        }
    }

    /// Appends the compressed form of a message, which may refer to the window. With `keep`, the
    /// window keeps the message for the next one to refer to; without, it is cleared, which costs
    /// less than [`restart`](Self::restart).
    ///
    /// Incompressible data becomes at most an eighth and a few bytes longer.
    pub fn compress(&mut self, payload: &[u8], keep: bool, out: &mut Vec<u8>) {
        const SPACE: &str = "a compressor that is given space does not fail";
        /// A flush into less room than this is repeated when the room is full (manual of zlib,
        /// `deflate`).
        const MIN_ROOM: usize = 16;

        // A full flush clears the tables of matches; both end with the same empty block.
        let flush = if keep { FlushCompress::Sync } else { FlushCompress::Full };
        self.remembers = keep;
        let start = out.len();
        // The maximum that a short message needs; a long one is likely to become much shorter.
        let mut room =
            MIN_ROOM + if payload.len() < 4096 { payload.len() + payload.len() / 8 } else { payload.len() / 2 };
        let mut rest = payload;
        loop {
            // Not `compress_vec`: that clears all of the capacity first, of which there may be any
            // amount.
            let end = out.len();
            out.resize(end + room, 0);
            let (total_in, total_out) = (self.compress.total_in(), self.compress.total_out());
            self.compress.compress(rest, &mut out[end..], flush).expect(SPACE);
            // At most the length of `rest`, and at most `room`.
            rest = &rest[(self.compress.total_in() - total_in) as usize..];
            let written = (self.compress.total_out() - total_out) as usize;
            out.truncate(end + written);
            if rest.is_empty() && written < room {
                break;
            }
            // Enough to write zlib's pending output in a few turns.
            room = (2 * room).max(MIN_ROOM + rest.len() / 2);
        }
        let end = out.len();
        if out[start..].ends_with(&TAIL) {
            out.truncate(end - TAIL.len());
        }
        // Section 7.2.3.6: a flush with nothing to flush writes nothing, but the message needs its
        // empty block.
        if out.len() == start {
            out.push(0);
        }
    }
}

impl fmt::Debug for Deflater {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deflater").field("window_bits", &self.window_bits).field("remembers", &self.remembers).finish()
    }
}
