//! What is handed to the kernel for sending, and comes back when it is sent.

use crate::Buffer;
use std::ops::Range;
use std::sync::Arc;

/// One run of bytes to send, with its owner.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes of the connection's own, from an offset on.
    Owned {
        /// The bytes' memory; the send leaves it untouched and hands it back for reuse.
        bytes: Vec<u8>,
        /// Where the bytes to send begin.
        start: usize,
    },
    /// Bytes that many connections send: a prepared frame.
    Shared(Arc<[u8]>),
    /// A part of a receive buffer: a reply written where its request lay.
    Buffer {
        /// The guard; the buffer returns to the pool when the output is dropped.
        buffer: Buffer,
        /// Which of its bytes to send.
        range: Range<usize>,
    },
}

impl Chunk {
    /// The bytes to send.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned { bytes, start } => &bytes[*start..],
            Self::Shared(bytes) => bytes,
            Self::Buffer { buffer, range } => &buffer[range.clone()],
        }
    }

    /// How many bytes there are to send.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Owned { bytes, start } => bytes.len() - start,
            Self::Shared(bytes) => bytes.len(),
            Self::Buffer { range, .. } => range.len(),
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<u8>> for Chunk {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Owned { bytes, start: 0 }
    }
}

/// The bytes of one send.
///
/// [`Output::One`] becomes a plain send; [`Output::Many`] a gathering one of at most [`Output::MOST_CHUNKS`] runs.
#[derive(Debug)]
pub enum Output {
    /// One run of bytes.
    One(Chunk),
    /// Several runs, sent in order.
    Many(Vec<Chunk>),
}

impl Output {
    /// How many runs one gathering send takes; more would need more than one page of vectors and saves nothing.
    pub const MOST_CHUNKS: usize = 64;

    /// How many bytes there are to send in all.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::One(chunk) => chunk.len(),
            Self::Many(chunks) => chunks.iter().map(Chunk::len).sum(),
        }
    }

    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The runs of bytes in the order in which they are sent.
    pub fn chunks(&self) -> impl Iterator<Item = &Chunk> {
        match self {
            Self::One(chunk) => std::slice::from_ref(chunk).iter(),
            Self::Many(chunks) => chunks.iter(),
        }
    }
}
