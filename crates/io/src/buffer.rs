//! The receive buffers: a pool of buffers of equal size, and the guard of one buffer.

use crate::option::{OptionError, check_range};
use std::alloc::{self, Layout};
use std::cell::{Cell, RefCell};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

/// The alignment of the buffers: the smallest page size of the supported systems.
const PAGE: usize = 4096;

/// How many buffers are lent to the kernel at first, unless the configuration says otherwise.
const DEFAULT_READY: u16 = 16;

/// The minimum of the default of [`BufferConfig::working_set`] in bytes, on cores with as much L2
/// cache. With 256 KiB, half of an L2 cache of 512 KiB, a turn has fewer buffers for messages of 16
/// KiB and 64 KiB than the kernel runs receives in one system call, and receives without one are
/// armed again; docs/results/engine.md has the figures.
const MIN_WORKING_SET: u64 = 512 << 10;

/// The range of [`BufferConfig::ready`].
const READY: &str = "1 to the number of buffers (buffers.count)";

/// The receive buffers of a driver: how many there are, and how large they are.
///
/// A setter checks its own number. What depends on two numbers is checked by
/// [`BufferConfig::check`] and where the buffers are made, so the order of the setters does not
/// matter.
///
/// ```
/// use ringway_io::{BufferConfig, OptionError};
///
/// let buffers = BufferConfig::new().size(16 * 1024)?.count(64)?;
/// assert_eq!(buffers.check(), Ok(()));
/// # Ok::<(), OptionError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BufferConfig {
    pub(crate) size: u32,
    pub(crate) count: u16,
    pub(crate) ready: Option<u16>,
    pub(crate) working_set: Option<u32>,
}

impl Default for BufferConfig {
    fn default() -> Self {
        Self::new()
    }
}

impl BufferConfig {
    /// The defaults: 256 buffers of 128 KiB.
    #[must_use]
    pub const fn new() -> Self {
        Self { size: 128 * 1024, count: 256, ready: None, working_set: None }
    }

    /// Bytes of one buffer, 1 KiB to 1 MiB. A message that fits into one buffer is not copied on
    /// receipt. Default 128 KiB.
    ///
    /// # Errors
    /// An [`OptionError`] for a number out of range.
    pub fn size(mut self, bytes: u32) -> Result<Self, OptionError> {
        self.size = bytes;
        self.check_size().map(|()| self)
    }

    /// The number of buffers: a power of two up to 32 768. Memory is reserved for all of them and
    /// used only by those that were ever filled. Default 256.
    ///
    /// # Errors
    /// An [`OptionError`] for a number that is no power of two, or out of range.
    pub fn count(mut self, buffers: u16) -> Result<Self, OptionError> {
        self.count = buffers;
        self.check_count().map(|()| self)
    }

    /// How many of the buffers are lent to the kernel at first, at least one and at most
    /// [`BufferConfig::count`]. Default 16, or all of them where there are fewer.
    ///
    /// # Errors
    /// An [`OptionError`] for 0. That the number exceeds the count is found by
    /// [`BufferConfig::check`].
    pub fn ready(mut self, buffers: u16) -> Result<Self, OptionError> {
        check_range("buffers.ready", buffers, 1..=u16::MAX, READY)?;
        self.ready = Some(buffers);
        Ok(self)
    }

    /// The number of bytes that the buffers lent to the kernel may hold together, by the average
    /// that is received into one. Their number follows the traffic: it grows when the kernel runs
    /// out of buffers and shrinks afterwards, but not beyond this budget, so that received bytes
    /// stay in the cache. Default: half of the core's L2 cache; all of it, up to 512 KiB, if it is
    /// smaller than 1 MiB.
    ///
    /// # Errors
    /// An [`OptionError`] for 0.
    pub fn working_set(mut self, bytes: u32) -> Result<Self, OptionError> {
        self.working_set = Some(bytes);
        self.check_working_set().map(|()| self)
    }

    /// Checks all numbers, and how they fit together.
    ///
    /// # Errors
    /// An [`OptionError`] for the first one that is out of range.
    pub fn check(&self) -> Result<(), OptionError> {
        self.check_size()?;
        self.check_count()?;
        self.check_working_set()?;
        check_range("buffers.ready", self.ready.unwrap_or(1), 1..=self.count, READY)
    }

    fn check_size(&self) -> Result<(), OptionError> {
        check_range("buffers.size", self.size, 1024..=1024 * 1024, "1024 to 1048576 bytes")
    }

    fn check_count(&self) -> Result<(), OptionError> {
        if self.count.is_power_of_two() {
            return Ok(());
        }
        let range = "a power of two from 1 to 32768";
        Err(OptionError { option: "buffers.count", value: self.count.to_string(), range })
    }

    fn check_working_set(&self) -> Result<(), OptionError> {
        check_range("buffers.working_set", self.working_set.unwrap_or(1), 1..=u32::MAX, "1 byte or more")
    }

    /// How many buffers are lent to the kernel at first.
    pub(crate) fn first_ready(&self) -> u16 {
        self.ready.unwrap_or_else(|| self.count.min(DEFAULT_READY))
    }

    /// The budget of the working set in bytes.
    pub(crate) fn budget(&self) -> u32 {
        self.working_set.unwrap_or_else(|| default_working_set(crate::cache::l2_bytes()))
    }
}

/// The default of [`BufferConfig::working_set`] for a core with so many bytes of L2 cache.
fn default_working_set(l2: u64) -> u32 {
    u32::try_from((l2 / 2).max(l2.min(MIN_WORKING_SET))).unwrap_or(u32::MAX)
}

/// A pool of equal buffers for the receiving side of one driver. Belongs to one thread.
///
/// At any time, each buffer is in exactly one place: on the free list, lent to the kernel, or owned
/// by one [`Buffer`].
///
/// ```
/// use ringway_io::{BufferConfig, OptionError, Pool};
///
/// let pool = Pool::new(&BufferConfig::new().size(1024)?.count(2)?)?;
/// let buffer = pool.fill(b"received").unwrap();
/// assert_eq!((&*buffer, buffer.capacity(), pool.free()), (b"received".as_slice(), 1024, 1));
/// drop(buffer);
/// assert_eq!(pool.free(), 2);
/// # Ok::<(), OptionError>(())
/// ```
#[derive(Clone)]
pub struct Pool(Rc<PoolMemory>);

struct PoolMemory {
    base: NonNull<u8>,
    layout: Layout,
    size: usize,
    count: u16,
    /// Last in, first out: the buffer that was used last is most likely in the cache.
    free: RefCell<Vec<u16>>,
    /// The number of buffers that have a guard.
    guarded: Cell<u16>,
}

impl Pool {
    /// Reserves the memory. No page of it is touched.
    ///
    /// # Errors
    /// An [`OptionError`] for a number of `config` that is out of its range, and for more memory
    /// than the system reserves.
    pub fn new(config: &BufferConfig) -> Result<Self, OptionError> {
        config.check()?;
        let size = config.size as usize;
        let too_much = || OptionError {
            option: "buffers.count",
            value: format!("{} (of {size} bytes each)", config.count),
            range: "less: the system does not reserve that much memory",
        };
        let bytes = size.checked_mul(usize::from(config.count)).ok_or_else(too_much)?;
        let layout = Layout::from_size_align(bytes, PAGE).map_err(|_| too_much())?;
        // SAFETY: the layout's size is not zero: `check` has refused a count or a size of zero.
        let base = unsafe { alloc::alloc(layout) };
        let base = NonNull::new(base).ok_or_else(too_much)?;
        Ok(Self(Rc::new(PoolMemory {
            base,
            layout,
            size,
            count: config.count,
            free: RefCell::new((0..config.count).rev().collect()),
            guarded: Cell::new(0),
        })))
    }

    /// Takes a buffer off the free list. The caller returns it with [`Pool::put_back`] or
    /// [`Pool::guard`].
    pub(crate) fn take(&self) -> Option<u16> {
        self.0.free.borrow_mut().pop()
    }

    /// Returns a buffer that was taken to the free list.
    pub(crate) fn put_back(&self, index: u16) {
        debug_assert!(index < self.0.count);
        self.0.free.borrow_mut().push(index);
    }

    /// The address of buffer `index`, and its size.
    pub(crate) fn address(&self, index: u16) -> (*mut u8, usize) {
        assert!(index < self.0.count, "buffer {index} of {}", self.0.count);
        // SAFETY: `index < count`, so the offset lies within the allocation of `count * size`
        // bytes.
        let start = unsafe { self.0.base.as_ptr().add(usize::from(index) * self.0.size) };
        (start, self.0.size)
    }

    /// Makes the guard of a buffer that was taken and whose first `len` bytes have been written.
    ///
    /// # Safety
    /// `index` came from [`Pool::take`], has neither been put back nor guarded since, nothing else
    /// (the kernel included) reads or writes it any more, and its first `len` bytes, `len` ≤ the
    /// buffer size, are initialised.
    pub(crate) unsafe fn guard(&self, index: u16, len: usize) -> Buffer {
        debug_assert!(index < self.0.count && len <= self.0.size);
        self.0.guarded.set(self.0.guarded.get() + 1);
        Buffer { memory: Rc::clone(&self.0), index, len: len as u32 }
    }

    /// Copies `bytes` to a free buffer; `None` when there is none. For drivers without a kernel,
    /// and for tests.
    ///
    /// # Panics
    /// When `bytes` is longer than one buffer.
    pub fn fill(&self, bytes: &[u8]) -> Option<Buffer> {
        assert!(bytes.len() <= self.0.size, "{} bytes for a buffer of {}", bytes.len(), self.0.size);
        let index = self.take()?;
        let (start, _) = self.address(index);
        // SAFETY: `take` made this call the only user of the buffer at `start`, it is at least
        // `bytes.len()` long, and `bytes` cannot overlap it: no guard of it exists. After the copy
        // those bytes are initialised.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len());
            Some(self.guard(index, bytes.len()))
        }
    }

    /// Bytes of one buffer.
    #[must_use]
    pub fn buffer_size(&self) -> usize {
        self.0.size
    }

    /// The number of buffers that currently have a guard.
    #[must_use]
    pub fn guarded(&self) -> usize {
        usize::from(self.0.guarded.get())
    }

    /// The number of buffers without a guard: on the free list, or lent to the kernel.
    #[must_use]
    pub fn unguarded(&self) -> usize {
        usize::from(self.0.count - self.0.guarded.get())
    }

    /// The number of buffers currently on the free list.
    #[must_use]
    pub fn free(&self) -> usize {
        self.0.free.borrow().len()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("count", &self.0.count).field("guarded", &self.0.guarded).finish_non_exhaustive()
    }
}

impl Drop for PoolMemory {
    fn drop(&mut self) {
        // SAFETY: `base` was allocated with this very layout; guards hold the memory alive by
        // reference count, so none is left, and a driver keeps its pool until the kernel has given
        // every buffer back.
        unsafe { alloc::dealloc(self.base.as_ptr(), self.layout) }
    }
}

/// Received bytes: the guard of one buffer of the pool. Dropping it returns the buffer to the pool.
pub struct Buffer {
    memory: Rc<PoolMemory>,
    index: u16,
    len: u32,
}

impl Buffer {
    /// Whether keeping this buffer leaves less than a quarter of the buffers, or none, to receive
    /// into. The holder then copies what it needs and drops the buffer.
    ///
    /// With one buffer in the pool the answer is always yes.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        let left = self.memory.count - self.memory.guarded.get();
        left < (self.memory.count / 4).max(1)
    }

    /// Bytes of the whole buffer: the memory that its holder keeps from the pool, however few bytes
    /// were received.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.memory.size
    }

    /// Drops the received bytes from `len` on. Has no effect if there are at most `len`.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(u32::try_from(len).unwrap_or(u32::MAX));
    }

    fn start(&self) -> *mut u8 {
        // SAFETY: a guard's index is below the count, so the offset lies within the allocation.
        unsafe { self.memory.base.as_ptr().add(usize::from(self.index) * self.memory.size) }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the guard is the only user of its buffer, whose first `len` bytes are initialised
        // (`Pool::guard`).
        unsafe { std::slice::from_raw_parts(self.start(), self.len as usize) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`, and `&mut self` makes the borrow exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start(), self.len as usize) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.memory.guarded.set(self.memory.guarded.get() - 1);
        self.memory.free.borrow_mut().push(self.index);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("index", &self.index).field("len", &self.len).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn small() -> Pool {
        Pool::new(&BufferConfig { size: 1024, count: 4, ready: Some(1), working_set: None })
            .expect("the numbers are in range")
    }

    #[test]
    fn a_dropped_buffer_is_taken_next() {
        let pool = small();
        let first = pool.fill(b"first").expect("free");
        let kept = pool.fill(b"kept").expect("free");
        let index = first.index;
        drop(first);
        assert_eq!(pool.fill(b"again").expect("free").index, index);
        assert_eq!(&*kept, b"kept");
    }

    #[test]
    fn an_empty_pool_fills_no_buffer_and_dropped_buffers_return_to_it() {
        let pool = small();
        let all: Vec<Buffer> = (0..4).map(|n| pool.fill(&[n; 3]).expect("free")).collect();
        assert!(pool.fill(b"x").is_none());
        assert!(all[0].is_scarce());
        assert_eq!((pool.guarded(), pool.free()), (4, 0));
        for (n, buffer) in all.iter().enumerate() {
            assert_eq!(&**buffer, &[n as u8; 3]);
        }
        drop(all);
        assert_eq!((pool.guarded(), pool.free()), (0, 4));
    }

    #[test]
    fn holders_that_copy_scarce_buffers_leave_a_quarter_and_at_least_one() {
        for count in (0..=8).map(|shift| 1 << shift) {
            let pool =
                Pool::new(&BufferConfig { size: 1024, count, ready: Some(1), working_set: None }).expect("in range");
            let mut kept = Vec::new();
            for _ in 0..2 * count {
                let buffer = pool.fill(b"x").expect("one buffer is left");
                if !buffer.is_scarce() {
                    kept.push(buffer);
                }
            }
            assert_eq!(pool.free(), usize::from(count / 4).max(1), "of {count} buffers");
        }
    }

    #[test]
    fn a_truncated_buffer_has_fewer_bytes_and_never_more() {
        let pool = small();
        let mut buffer = pool.fill(b"abc").expect("free");
        for (len, left) in [(usize::MAX, &b"abc"[..]), (4, b"abc"), (2, b"ab"), (3, b"ab"), (0, b"")] {
            buffer.truncate(len);
            assert_eq!(&*buffer, left);
        }
    }

    #[test]
    fn a_buffer_holds_its_capacity_however_few_bytes_were_received() {
        let pool = small();
        let buffer = pool.fill(b"abc").expect("free");
        assert_eq!((buffer.len(), buffer.capacity()), (3, 1024));
    }

    #[test]
    fn a_buffer_outlives_its_pool() {
        let pool = small();
        let mut buffer = pool.fill(b"abc").expect("free");
        drop(pool);
        buffer[0] = b'x';
        assert_eq!(&*buffer, b"xbc");
    }

    #[test]
    fn numbers_are_accepted_within_their_range_only() {
        let refused = |result: Result<BufferConfig, OptionError>| result.expect_err("out of range").to_string();
        let new = BufferConfig::new;
        assert!(new().size(1024).is_ok() && new().size(1 << 20).is_ok());
        assert_eq!(refused(new().size(1023)), "buffers.size is 1023: give 1024 to 1048576 bytes");
        assert_eq!(refused(new().size((1 << 20) + 1)), "buffers.size is 1048577: give 1024 to 1048576 bytes");
        assert!(new().count(1).is_ok() && new().count(32_768).is_ok());
        for count in [0, 3, 1000, u16::MAX] {
            let text = format!("buffers.count is {count}: give a power of two from 1 to 32768");
            assert_eq!(refused(new().count(count)), text);
        }
        let text = "buffers.ready is 0: give 1 to the number of buffers (buffers.count)";
        assert_eq!(refused(new().ready(0)), text);
        assert_eq!(refused(new().working_set(0)), "buffers.working_set is 0: give 1 byte or more");
        assert!(new().working_set(1).is_ok() && new().working_set(u32::MAX).is_ok());
    }

    #[test]
    fn more_ready_buffers_than_there_are_is_refused_whatever_the_order_of_the_setters() -> Result<(), OptionError> {
        for config in [BufferConfig::new().ready(17)?.count(16)?, BufferConfig::new().count(16)?.ready(17)?] {
            let error = Pool::new(&config).expect_err("17 of 16");
            assert_eq!((error.option, error.value.as_str()), ("buffers.ready", "17"));
            assert_eq!(config.check(), Err(error));
        }
        assert_eq!(BufferConfig::new().ready(16)?.count(16)?.check(), Ok(()));
        Ok(())
    }

    #[test]
    fn the_default_working_set_fits_a_small_cache_and_half_of_a_large_one() -> Result<(), OptionError> {
        for (l2, working_set) in [(256, 256), (512, 512), (768, 512), (1024, 512), (2048, 1024)] {
            assert_eq!(default_working_set(l2 << 10), working_set << 10, "{l2} KiB");
        }
        assert_eq!(default_working_set(u64::MAX), u32::MAX);
        assert_eq!(BufferConfig::new().budget(), default_working_set(crate::cache::l2_bytes()));
        assert_eq!(BufferConfig::new().working_set(1)?.budget(), 1);
        Ok(())
    }

    #[test]
    fn the_default_number_of_ready_buffers_fits_every_count() -> Result<(), OptionError> {
        for (count, ready) in [(1, 1), (8, 8), (16, 16), (1024, 16)] {
            let config = BufferConfig::new().count(count)?;
            assert_eq!((config.check(), config.first_ready()), (Ok(()), ready));
        }
        Ok(())
    }
}
