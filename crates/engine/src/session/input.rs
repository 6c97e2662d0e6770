//! The received bytes that a session decodes.

use crate::shard::memory::Memory;
use ringway_io::Buffer;
use std::ops::{Deref, DerefMut};

/// Received bytes and their owner.
#[derive(Debug)]
pub(crate) enum Input {
    /// In the driver's receive buffer.
    Buffer(Buffer),
    /// A copy: bytes that followed a handshake, or were received while the connection was paused.
    Kept(Vec<u8>),
}

impl Input {
    /// The number of bytes of memory that it occupies.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Buffer(buffer) => buffer.capacity(),
            Self::Kept(bytes) => bytes.capacity(),
        }
    }

    /// Retains the memory of input that is used up.
    #[inline]
    pub(crate) fn recycle(self, memory: &mut Memory) {
        if let Self::Kept(bytes) = self {
            memory.give(bytes);
        }
    }

    /// Appends bytes, and releases a receive buffer. The bytes before `at` are dropped; `at`
    /// becomes the position of the first remaining byte.
    pub(crate) fn extend(&mut self, at: &mut usize, bytes: &[u8]) {
        let input = std::mem::replace(self, Self::Kept(Vec::new()));
        let (mut kept, start) = input.into_kept(*at);
        kept.extend_from_slice(bytes);
        (*self, *at) = (Self::Kept(kept), start);
    }

    /// The bytes from `at` on in owned memory, and the position where they start.
    pub(crate) fn into_kept(self, at: usize) -> (Vec<u8>, usize) {
        match self {
            Self::Buffer(buffer) => (buffer[at..].to_vec(), 0),
            Self::Kept(bytes) => (bytes, at),
        }
    }
}

impl Deref for Input {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Kept(bytes) => bytes,
        }
    }
}

impl DerefMut for Input {
    #[inline]
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Kept(bytes) => bytes,
        }
    }
}
