//! The bytes of a send. They belong to the driver until the send completes.

use crate::Buffer;
use std::ops::Range;
use std::sync::Arc;

/// One contiguous run of bytes to send, with its memory.
///
/// The enum is exhaustive, because the memory of a chunk is reused after the send.
///
/// ```
/// use ringway_io::{Chunk, Output};
///
/// let header = Chunk::from(b"\x82\x05".to_vec());
/// let shared = Chunk::from(std::sync::Arc::<[u8]>::from(b"hello".as_slice()));
/// assert_eq!(Output::Many(vec![header, shared]).len(), 7);
/// ```
#[derive(Debug)]
pub enum Chunk {
    /// Memory of this connection, from an offset on.
    Owned {
        /// The memory. The send does not change it, and returns it for reuse.
        bytes: Vec<u8>,
        /// The offset of the first byte to send.
        start: u32,
    },
    /// A part of memory that several connections send from, such as a prepared frame.
    Shared {
        /// The memory. The driver drops its reference with the output.
        bytes: Arc<[u8]>,
        /// The range of bytes to send.
        range: Range<u32>,
    },
    /// A part of a receive buffer, such as a reply that was written over its request.
    Buffer {
        /// The guard. The buffer returns to the pool when the output is dropped.
        buffer: Buffer,
        /// The range of bytes to send.
        range: Range<u32>,
    },
}

impl Chunk {
    /// The bytes to send.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        match self {
            Self::Owned { bytes, start } => &bytes[*start as usize..],
            Self::Shared { bytes, range } => &bytes[range.start as usize..range.end as usize],
            Self::Buffer { buffer, range } => &buffer[range.start as usize..range.end as usize],
        }
    }

    /// The number of bytes to send.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Owned { bytes, start } => bytes.len() - *start as usize,
            Self::Shared { range, .. } | Self::Buffer { range, .. } => range.len(),
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

impl From<Arc<[u8]>> for Chunk {
    /// All of the memory, which must be shorter than 4 GiB.
    fn from(bytes: Arc<[u8]>) -> Self {
        let range = 0..bytes.len() as u32;
        Self::Shared { bytes, range }
    }
}

/// The bytes of one send.
///
/// [`Output::One`] is submitted as a send; [`Output::Many`] as a vectored send (`sendmsg`) of at
/// most [`Output::MAX_CHUNKS`] chunks. The enum is exhaustive, as [`Chunk`] is.
#[derive(Debug)]
pub enum Output {
    /// One chunk.
    One(Chunk),
    /// Several chunks, sent in order.
    Many(Vec<Chunk>),
}

impl Output {
    /// The maximum number of chunks in one vectored send. A send of more chunks is short.
    pub const MAX_CHUNKS: usize = 64;

    /// The total number of bytes to send.
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

    /// The chunks, in the order in which they are sent.
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
    fn a_chunk_begins_at_its_start() {
        let pool = Pool::new(&BufferConfig { size: 1024, count: 1, ready: Some(1), working_set: None })
            .expect("the numbers are in range");
        let buffer = pool.fill(b"0123456789").expect("free");
        let output = Output::Many(vec![
            Chunk::Owned { bytes: b"head".to_vec(), start: 2 },
            Chunk::from(Arc::<[u8]>::from(b"shared".as_slice())),
            Chunk::Shared { bytes: b"shared".as_slice().into(), range: 1..3 },
            Chunk::Buffer { buffer, range: 3..6 },
        ]);
        let sent: Vec<u8> = output.chunks().flat_map(Chunk::as_slice).copied().collect();
        assert_eq!(sent, b"adsharedha345");
        assert_eq!(output.len(), sent.len());
    }

    #[test]
    fn an_output_is_at_most_32_bytes() {
        assert!(size_of::<Option<Output>>() <= 32);
    }
}
