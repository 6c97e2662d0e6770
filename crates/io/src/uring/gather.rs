//! The message header of a vectored send.

use crate::{Chunk, Output};
use std::mem;

/// A `msghdr` and its vectors, which point into the chunks of one output.
pub(crate) struct Gather {
    /// Boxed, because the kernel may read it until the completion, and its owner may move.
    header: Box<libc::msghdr>,
    /// `header` points into it. It is not accessed after `new`.
    _vectors: Box<[libc::iovec]>,
}

impl Gather {
    /// A header over `chunks`. It is valid while their bytes neither move nor change. The bytes are
    /// on the heap or in the pool, so moving the chunks does not move them.
    pub(super) fn new(chunks: &[Chunk]) -> Self {
        Self::of(chunks.iter().take(Output::MAX_CHUNKS).map(Chunk::as_slice))
    }

    /// A header over the bytes of `chunks` from `start` to `end`, as [`Gather::new`].
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn between(chunks: &[Chunk], start: usize, end: usize) -> Self {
        let mut offset = 0;
        let parts = chunks.iter().take(Output::MAX_CHUNKS).map(|chunk| {
            let (bytes, before) = (chunk.as_slice(), offset);
            offset += bytes.len();
            let [start, end] = [start, end].map(|at| at.saturating_sub(before).min(bytes.len()));
            &bytes[start..end]
        });
        Self::of(parts.filter(|part| !part.is_empty()))
    }

    fn of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let vector = |part: &[u8]| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
        let mut vectors: Box<[libc::iovec]> = parts.map(vector).collect();
        // SAFETY: a msghdr consists of pointers and integers, for which zero is a value. Its fields
        // cannot be listed, because musl adds padding, which the kernel reads as part of a length.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        header.msg_iov = vectors.as_mut_ptr();
        // The type of the length depends on the C library; `MAX_CHUNKS` fits each.
        header.msg_iovlen = vectors.len() as _;
        Self { header, _vectors: vectors }
    }

    pub(crate) fn header(&self) -> *const libc::msghdr {
        &raw const *self.header
    }
}
