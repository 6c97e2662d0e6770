//! Returning memory to the operating system, which allocators keep for the next allocation.

use rustix::mm::{Advice, madvise};
use rustix::param::page_size;

/// The minimum capacity in bytes of a buffer whose pages are given back. With a smaller one the system
/// call costs more than the memory is worth.
const MIN_CAPACITY: usize = 32 * 1024;

/// The smallest huge page of Linux, on aarch64.
const HUGE_PAGE: usize = 64 * 1024;

/// Frees a buffer, and returns its memory to the operating system at once: of the pages that lie in
/// it completely, but for the first one or two.
///
/// Allocators keep freed memory resident for a while, and for longer if a block beside it is in use.
///
/// Costs a system call (`madvise`), if the buffer has at least 32 KiB; allocating this memory again
/// costs a fault for each page. If the system refuses, because the memory is locked or of huge pages,
/// the buffer is freed as usual.
pub fn free_to_system(mut buffer: Vec<u8>) {
    if buffer.capacity() < MIN_CAPACITY {
        return;
    }
    buffer.clear();
    let page = page_size();
    let spare = buffer.spare_capacity_mut();
    let address = spare.as_ptr().addr();
    // Not the first page: many allocators write to the beginning of a freed block.
    let mut first = address.next_multiple_of(page) + page;
    // The kernel refuses a range that begins within a huge page. If it begins with one, Linux 5.18 to
    // 6.0 give back the last huge page completely, beyond the end of the range.
    if first.is_multiple_of(HUGE_PAGE.max(2 * page)) {
        first += page;
    }
    let Some(pages) = spare.get_mut(first - address..) else { return };
    let len = pages.len() - pages.len() % page;
    // SAFETY: the range is of whole pages, and the buffer, which owns all of their bytes, is empty:
    // nobody reads them before they are written again. The pages are zero then, or as they were.
    let advised = unsafe { madvise(pages.as_mut_ptr().cast(), len, Advice::LinuxDontNeed) };
    if let Err(error) = advised {
        tracing::trace!(%error, len, "the memory of a freed buffer stays resident");
    }
}

/// Returns memory that was freed to the operating system, where the allocator is mimalloc.
///
/// mimalloc keeps freed memory resident for a second (`MIMALLOC_PURGE_DELAY`), so that the next
/// allocation is fast. This returns what the calling thread has freed, and what waits for its second
/// in the whole process, unless another thread does so at the moment. It frees nothing if the program
/// has another allocator.
///
/// Costs some 35 ms for each 512 MiB that are returned, and less than 1 ms if there is nothing to
/// return; the next allocations fault their pages in again.
#[cfg(feature = "mimalloc")]
pub fn purge_mimalloc() {
    // SAFETY: it takes no memory from the caller, may be called at any time from any thread, and
    // frees only what is not allocated.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
