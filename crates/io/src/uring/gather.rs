//! The message header of a vectored send.

use crate::{Chunk, Output};
use std::ptr;

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
        let header = Box::new(libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: vectors.as_mut_ptr(),
            msg_iovlen: vectors.len(),
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        });
        Self { header, _vectors: vectors }
    }

    pub(super) fn header(&self) -> *const libc::msghdr {
        &raw const *self.header
    }
}
