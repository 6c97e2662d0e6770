//! The output of one connection of raw bytes: chunks in order, of which one send is in flight.

use crate::{Chunk, Driver, Output, Slot};
use std::collections::VecDeque;

/// Bytes up to this number are copied to the end of an owned chunk that has room: one more vector in
/// a gathering send costs more than the copy.
const COPY_MAX: usize = 1024;

/// An owned chunk below this size in bytes is appended to.
const COALESCE: usize = 16 * 1024;

/// The output of one connection: the queue of its chunks, and whether a send is in flight.
///
/// ```
/// use ringway_io::echo::EchoOutbox;
///
/// let mut outbox = EchoOutbox::default();
/// outbox.push(b"hello".to_vec().into());
/// assert_eq!((outbox.bytes(), outbox.is_sending()), (5, false));
/// ```
#[derive(Debug, Default)]
pub struct EchoOutbox {
    queue: VecDeque<Chunk>,
    /// Bytes queued and in flight.
    bytes: usize,
    /// The memory that they occupy.
    held: usize,
    sending: bool,
}

impl EchoOutbox {
    /// The number of bytes that wait for the peer, including those in flight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of bytes of memory that they occupy: whole receive buffers.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether a send is in flight.
    #[must_use]
    pub fn is_sending(&self) -> bool {
        self.sending
    }

    /// Appends a chunk.
    #[inline]
    pub fn push(&mut self, chunk: Chunk) {
        self.bytes += chunk.len();
        self.held += held(&chunk);
        self.queue.push_back(chunk);
    }

    /// Appends a copy of bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        match self.queue.back_mut() {
            Some(Chunk::Owned { bytes: last, .. }) if bytes.len() <= COPY_MAX && last.len() < COALESCE => {
                let before = last.capacity();
                last.extend_from_slice(bytes);
                self.held += last.capacity() - before;
                self.bytes += bytes.len();
            }
            _ => self.push(bytes.to_vec().into()),
        }
    }

    /// Sends what is queued, unless a send is in flight.
    #[inline]
    pub fn flush(&mut self, driver: &mut impl Driver, slot: Slot) {
        if let Some(output) = self.take() {
            driver.send(slot, output);
        }
    }

    /// Takes the output of the next send, unless one is in flight.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Output> {
        if self.sending {
            return None;
        }
        let output = match self.queue.len() {
            0 | 1 => Output::One(self.queue.pop_front()?),
            many => Output::Many(self.queue.drain(..many.min(Output::MAX_CHUNKS)).collect()),
        };
        self.sending = true;
        Some(output)
    }

    /// Handles the completion of a send: what was not written is queued first.
    #[inline]
    pub fn sent(&mut self, output: Output, written: usize) {
        self.sending = false;
        self.bytes -= written;
        if written < output.len() {
            return self.put_back(output, written);
        }
        self.held -= output.chunks().map(held).sum::<usize>();
    }

    #[cold]
    fn put_back(&mut self, output: Output, mut written: usize) {
        let chunks = match output {
            Output::One(chunk) => vec![chunk],
            Output::Many(chunks) => chunks,
        };
        let mut rest = Vec::with_capacity(chunks.len());
        for mut chunk in chunks {
            let len = chunk.len();
            if written >= len {
                written -= len;
                self.held -= held(&chunk);
                continue;
            }
            match &mut chunk {
                Chunk::Owned { start, .. } => *start += written as u32,
                Chunk::Shared { range, .. } | Chunk::Buffer { range, .. } => range.start += written as u32,
            }
            written = 0;
            rest.push(chunk);
        }
        rest.into_iter().rev().for_each(|chunk| self.queue.push_front(chunk));
    }

    /// Drops what is queued and not in flight.
    pub(super) fn discard(&mut self) {
        for chunk in self.queue.drain(..) {
            self.bytes -= chunk.len();
            self.held -= held(&chunk);
        }
    }
}

/// The memory that a chunk keeps from being used otherwise.
fn held(chunk: &Chunk) -> usize {
    match chunk {
        Chunk::Owned { bytes, .. } => bytes.capacity(),
        // The other holders of the memory have it all the same.
        Chunk::Shared { .. } => 0,
        Chunk::Buffer { buffer, .. } => buffer.capacity(),
    }
}
