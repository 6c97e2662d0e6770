//! The message header of a vectored send.

use crate::{Chunk, Output};
use std::mem;

/// A `msghdr` and its vectors, which point into the chunks of one output.
pub(super) struct Gather {
    /// Boxed, because the kernel may read it until the completion, and its owner may move.
    header: Box<libc::msghdr>,
    /// `header` points into it. It is not accessed after `new`.
    _vectors: Box<[libc::iovec]>,
}

impl Gather {
    /// A header over `chunks`. It is valid while their bytes neither move nor change. The bytes are
    /// on the heap or in the pool, so moving the chunks does not move them.
    pub(super) fn new(chunks: &[Chunk]) -> Self {
        let mut vectors: Box<[libc::iovec]> = chunks
            .iter()
            .take(Output::MAX_CHUNKS)
            .map(|chunk| {
                let bytes = chunk.as_slice();
                libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
            })
            .collect();
        // SAFETY: a msghdr consists of pointers and integers, for which zero is a value. Its fields
        // cannot be listed, because musl adds padding, which the kernel reads as part of a length.
        let mut header: Box<libc::msghdr> = Box::new(unsafe { mem::zeroed() });
        header.msg_iov = vectors.as_mut_ptr();
        // The type of the length depends on the C library; `MAX_CHUNKS` fits each.
        header.msg_iovlen = vectors.len() as _;
        Self { header, _vectors: vectors }
    }

    pub(super) fn header(&self) -> *const libc::msghdr {
        &raw const *self.header
    }
}
