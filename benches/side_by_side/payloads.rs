//! Payloads at known places of memory, and contestants who do something with them, beside a copy of as many bytes.

use super::Candidate;
use std::hint::black_box;
use std::ops::Range;

/// A key that changes nothing, so that what is unmasked again and again stays text. Nobody looks whether it does.
const KEY: [u8; 4] = [0; 4];

/// A copy of as many bytes: the speed of memory.
pub const MEMCPY: &str = "memcpy";

/// The key of all contestants, of which the compiler knows nothing.
pub fn key() -> [u8; 4] {
    black_box(KEY)
}

/// Bytes at a known place of a memory page: a load that follows a store to the same place of another page waits for it, so
/// where the allocator puts source and destination would decide how fast a copy is.
struct Placed {
    memory: Vec<u8>,
    range: Range<usize>,
}

impl Placed {
    const PAGE: usize = 4096;

    /// What is read alone lies here.
    const SOURCE: usize = 0;
    /// What is written lies from here on.
    const DESTINATION: usize = 2048;

    /// A payload behind its header, as in a receive buffer, which begins at `place`.
    fn new(payload: &[u8], place: usize) -> Self {
        let header = match payload.len() {
            0..126 => 6,
            126..0x1_0000 => 8,
            _ => 14,
        };
        let mut memory = vec![0; payload.len() + 3 * Self::PAGE];
        let start = memory.as_ptr().align_offset(Self::PAGE) + place % Self::PAGE + header;
        let range = start..start + payload.len();
        memory[range.clone()].copy_from_slice(payload);
        Self { memory, range }
    }

    #[inline(always)]
    fn bytes(&self) -> &[u8] {
        black_box(&self.memory[self.range.clone()])
    }

    #[inline(always)]
    fn bytes_mut(&mut self) -> &mut [u8] {
        black_box(&mut self.memory[self.range.clone()])
    }
}

/// Copies of a payload, lent in turn. One alone, masked again at once, would be read while it is still on its way to the
/// cache, which no received payload is.
struct Rotating {
    copies: Vec<Placed>,
    at: usize,
}

impl Rotating {
    /// As many as lie in the cache beside each other.
    fn new(payload: &[u8]) -> Self {
        let count = if payload.len() <= 2048 { 8 } else { 1 };
        Self { copies: (0..count).map(|i| Placed::new(payload, Placed::DESTINATION + i * 192)).collect(), at: 0 }
    }

    #[inline(always)]
    fn next(&mut self) -> &mut [u8] {
        self.at = (self.at + 1) % self.copies.len();
        self.copies[self.at].bytes_mut()
    }
}

/// A contestant who does something to a payload in place.
pub fn in_place(name: &'static str, payload: &[u8], work: impl Fn(&mut [u8]) + 'static) -> Candidate {
    let mut payloads = Rotating::new(payload);
    Candidate::new(name, move || work(payloads.next()))
}

/// A contestant who makes a destination of a payload.
pub fn copying(name: &'static str, payload: &[u8], work: impl Fn(&[u8], &mut [u8]) + 'static) -> Candidate {
    let source = Placed::new(payload, Placed::SOURCE);
    let mut destinations = Rotating::new(payload);
    Candidate::new(name, move || work(source.bytes(), destinations.next()))
}

/// A contestant who appends a payload to what is empty and has room.
pub fn appending(name: &'static str, payload: &[u8], work: impl Fn(&[u8], &mut Vec<u8>) + 'static) -> Candidate {
    let source = Placed::new(payload, Placed::SOURCE);
    // A vector lies where the allocator wants it; bytes in front of what is appended put that where it belongs.
    let mut out: Vec<u8> = Vec::with_capacity(payload.len() + 2 * Placed::PAGE);
    let front = out.as_ptr().align_offset(Placed::PAGE) + Placed::DESTINATION;
    out.resize(front, 0);
    Candidate::new(name, move || {
        out.truncate(front);
        work(source.bytes(), black_box(&mut out));
    })
}

/// The one who copies the payload.
pub fn memcpy(payload: &[u8]) -> Candidate {
    copying(MEMCPY, payload, |source, destination| destination.copy_from_slice(source))
}
