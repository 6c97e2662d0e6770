//! The received bytes that a session decodes.

use ringway_io::Buffer;
use std::ops::{Deref, DerefMut};

/// Received bytes, with their owner.
#[derive(Debug)]
pub(crate) enum Input {
    /// As the driver delivered them.
    Buffer(Buffer),
    /// A copy that was kept: bytes that followed a handshake, or that arrived while the connection was paused.
    Kept(Vec<u8>),
}

impl Input {
    /// The bytes from `at` on, in memory of their own, and where in it they begin.
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
