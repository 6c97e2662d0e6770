//! The buffer ring: the buffers that are lent to the kernel (since 5.19).

use crate::{Buffer, Pool};
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::alloc::{self, Layout};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

/// The kernel requires that the ring is aligned to a page.
const PAGE: usize = 4096;

/// The ring that is shared with the kernel, and the set of lent buffers.
pub(super) struct Provided {
    entries: NonNull<BufRingEntry>,
    layout: Layout,
    /// The number of entries, a power of two.
    count: u16,
    /// The next entry to write; the kernel sees it at the next `publish`.
    tail: u16,
    /// `lent[i]`: the kernel has buffer `i`. A completion that names a buffer that is not lent
    /// indicates a kernel or driver bug.
    lent: Box<[bool]>,
    ready: u16,
    pool: Pool,
}

impl Provided {
    /// Registers an empty ring of `count` entries with `ring`, as the group of this number.
    pub(super) fn register(ring: &IoUring, pool: Pool, count: u16, group: u16) -> io::Result<Self> {
        assert!(count.is_power_of_two(), "the pool's count is a power of two");
        let layout = Layout::array::<BufRingEntry>(usize::from(count))
            .and_then(|layout| layout.align_to(PAGE))
            .map_err(io::Error::other)?;
        // SAFETY: the layout's size is not zero: `count` is a power of two.
        let memory = unsafe { alloc::alloc_zeroed(layout) };
        let Some(entries) = NonNull::new(memory.cast()) else { alloc::handle_alloc_error(layout) };
        let provided =
            Self { entries, layout, count, tail: 0, lent: vec![false; usize::from(count)].into(), ready: 0, pool };
        // SAFETY: `entries` points to `count` zeroed entries, aligned to a page. They live as long
        // as `provided`, which its owner drops after the ring (UNSAFE.md 6).
        unsafe { ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, count, group, 0)? };
        Ok(provided)
    }

    /// The number of lent buffers.
    pub(super) fn ready(&self) -> u16 {
        self.ready
    }

    /// Lends buffers to the kernel until it has `target` of them or the pool is empty.
    pub(super) fn refill(&mut self, target: u16) {
        if self.ready >= target {
            return;
        }
        while self.ready < target.min(self.count) {
            let Some(index) = self.pool.take() else { break };
            let (address, size) = self.pool.address(index);
            self.lent[usize::from(index)] = true;
            self.ready += 1;
            // SAFETY: the offset is below `count`. The kernel reads an entry only once the tail has
            // passed it, and the tail has not: at most `count` buffers exist, so this entry has
            // been consumed. The fields are set one by one: the last two bytes of entry 0 are the
            // ring's tail, which a write of the whole entry would destroy.
            unsafe {
                let entry = self.entries.as_ptr().add(usize::from(self.tail & (self.count - 1)));
                (*entry).set_addr(address as u64);
                (*entry).set_len(size as u32);
                (*entry).set_bid(index);
            }
            self.tail = self.tail.wrapping_add(1);
        }
        self.publish();
    }

    fn publish(&self) {
        // SAFETY: `entries` is the address of the ring's first entry. The tail overlaps its
        // reserved field, is two bytes long and aligned, and is written only here and read by the
        // kernel, so atomic access is sound.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.entries.as_ptr()).cast_mut()) };
        // Release: the kernel must see the entries before the tail that passes them.
        tail.store(self.tail, Ordering::Release);
    }

    /// Takes buffer `index` back from the kernel, which has written `result` bytes to it. `None`
    /// when the kernel wrote nothing (the buffer is free again), or did not have the buffer.
    pub(super) fn claim(&mut self, index: u16, result: i32) -> Option<Buffer> {
        let lent = self.lent.get_mut(usize::from(index))?;
        if !std::mem::take(lent) {
            return None;
        }
        self.ready -= 1;
        match usize::try_from(result) {
            Ok(len) if len > 0 => {
                // SAFETY: the buffer was taken from the pool by `refill` and lent. The kernel has
                // returned it with a completion, so it does not write to it any more, and has
                // written `len` bytes, at most the size of the buffer.
                Some(unsafe { self.pool.guard(index, len.min(self.pool.buffer_size())) })
            }
            _ => {
                self.pool.put_back(index);
                None
            }
        }
    }

    /// Leaks the memory, for a kernel that may still write to it.
    pub(super) fn leak(&mut self) {
        std::mem::forget(self.pool.clone());
        self.layout = Layout::new::<()>();
    }
}

impl Drop for Provided {
    fn drop(&mut self) {
        if self.layout.size() > 0 {
            // SAFETY: allocated in `register` with this layout, and not leaked. The ring that used
            // the address is closed, because its owner drops it first.
            unsafe { alloc::dealloc(self.entries.as_ptr().cast(), self.layout) }
        }
    }
}
