//! What is handed to the kernel for sending, and comes back when it is sent.

use crate::Buffer;
use std::ops::Range;
use std::sync::Arc;

/// One run of bytes to send, with its owner.
///
/// The enum is exhaustive: who gets an output back takes its chunks apart to use their memory
/// again.
///
/// ```
/// use ringway_io::{Chunk, Output};
///
/// let header = Chunk::from(b"\x82\x05".to_vec());
/// let shared = Chunk::Shared(b"hello".as_slice().into());
/// assert_eq!(Output::Many(vec![header, shared]).len(), 7);
/// ```
#[derive(Debug)]
pub enum Chunk {
    /// Bytes of the connection's own, from an offset on.
    Owned {
        /// The bytes' memory; the send leaves it untouched and hands it back for reuse.
        bytes: Vec<u8>,
        /// Where the bytes to send begin.
        start: u32,
    },
    /// Bytes that many connections send: a prepared frame.
    Shared(Arc<[u8]>),
    /// A part of a receive buffer: a reply written where its request lay.
    Buffer {
        /// The guard; the buffer returns to the pool when the output is dropped.
        buffer: Buffer,
        /// Which of its bytes to send.
        range: Range<u32>,
    },
}

impl Chunk {
    /// The bytes to send.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned { bytes, start } => &bytes[*start as usize..],
            Self::Shared(bytes) => bytes,
            Self::Buffer { buffer, range } => &buffer[range.start as usize..range.end as usize],
        }
    }

    /// How many bytes there are to send.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Owned { bytes, start } => bytes.len() - *start as usize,
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
/// [`Output::One`] becomes a plain send; [`Output::Many`] a gathering one of at most
/// [`Output::MAX_CHUNKS`] runs. The enum is exhaustive, as [`Chunk`] is.
#[derive(Debug)]
pub enum Output {
    /// One run of bytes.
    One(Chunk),
    /// Several runs, sent in order.
    Many(Vec<Chunk>),
}

impl Output {
    /// How many runs one gathering send takes; more would need more than one page of vectors and
    /// saves nothing.
    pub const MAX_CHUNKS: usize = 64;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BufferConfig, Pool};

    #[test]
    fn a_chunk_is_the_bytes_from_its_start_on() {
        let pool = Pool::new(&BufferConfig { size: 1024, count: 1, ready: Some(1), working_set: None })
            .expect("the numbers are in range");
        let buffer = pool.fill(b"0123456789").expect("free");
        let output = Output::Many(vec![
            Chunk::Owned { bytes: b"head".to_vec(), start: 2 },
            Chunk::Shared(b"shared".as_slice().into()),
            Chunk::Buffer { buffer, range: 3..6 },
        ]);
        let sent: Vec<u8> = output.chunks().flat_map(Chunk::as_slice).copied().collect();
        assert_eq!(sent, b"adshared345");
        assert_eq!(output.len(), sent.len());
    }

    #[test]
    fn an_output_is_small_enough_to_be_moved_about() {
        assert!(size_of::<Option<Output>>() <= 32);
    }
}
