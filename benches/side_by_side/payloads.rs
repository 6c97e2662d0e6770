//! Payloads at known addresses, and candidates that process them or copy them.

use super::Candidate;
use std::hint::black_box;
use std::ops::Range;

/// A key of zeros, so that text stays text when it is unmasked repeatedly. No implementation has a
/// special case for it.
const KEY: [u8; 4] = [0; 4];

/// A copy of the same size: the speed of memory.
pub const MEMCPY: &str = "memcpy";

/// The key of all candidates, opaque to the compiler.
pub fn key() -> [u8; 4] {
    black_box(KEY)
}

/// Bytes at a known offset of a memory page. A load that follows a store to the same offset of
/// another page waits for it, so the addresses from the allocator would determine the speed of a
/// copy.
struct Placed {
    memory: Vec<u8>,
    range: Range<usize>,
}

impl Placed {
    const PAGE: usize = 4096;

    /// The offset of read-only bytes.
    const SOURCE: usize = 0;
    /// The offset of written bytes.
    const DESTINATION: usize = 2048;

    /// A payload after its header, as in a receive buffer that begins at `place`.
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

/// Copies of a payload, used in turn. A single one would be read again while its stores are still
/// pending, which does not happen to received payloads.
struct Rotating {
    copies: Vec<Placed>,
    at: usize,
}

impl Rotating {
    /// As many as fit in the cache.
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

/// A candidate that processes a payload in place.
pub fn in_place(name: &'static str, payload: &[u8], work: impl Fn(&mut [u8]) + 'static) -> Candidate {
    let mut payloads = Rotating::new(payload);
    Candidate::new(name, move || work(payloads.next()))
}

/// A candidate that writes a payload to a destination.
pub fn copying(name: &'static str, payload: &[u8], work: impl Fn(&[u8], &mut [u8]) + 'static) -> Candidate {
    let source = Placed::new(payload, Placed::SOURCE);
    let mut destinations = Rotating::new(payload);
    Candidate::new(name, move || work(source.bytes(), destinations.next()))
}

/// A candidate that appends a payload to an empty vector with sufficient capacity.
pub fn appending(name: &'static str, payload: &[u8], work: impl Fn(&[u8], &mut Vec<u8>) + 'static) -> Candidate {
    let source = Placed::new(payload, Placed::SOURCE);
    // The allocator chooses the address of a vector; padding in front moves the appended bytes to
    // the intended offset.
    let mut out: Vec<u8> = Vec::with_capacity(payload.len() + 2 * Placed::PAGE);
    let front = out.as_ptr().align_offset(Placed::PAGE) + Placed::DESTINATION;
    out.resize(front, 0);
    Candidate::new(name, move || {
        out.truncate(front);
        work(source.bytes(), black_box(&mut out));
    })
}

/// The candidate that copies the payload.
pub fn memcpy(payload: &[u8]) -> Candidate {
    copying(MEMCPY, payload, |source, destination| destination.copy_from_slice(source))
}
