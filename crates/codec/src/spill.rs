//! Buffers for messages that span inputs or are compressed.

use crate::decoder::Partial;
use crate::deflate::Inflater;

/// Limits on the memory and work that a peer can cause.
///
/// ```
/// use ringway_codec::{Limits, SpillPool};
///
/// let pool = SpillPool::new(Limits { max_message: 64 * 1024, ..Limits::default() });
/// assert_eq!(pool.limits().fragment_cost, 64);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The largest message in bytes; default 16 MiB. A larger one is refused with close code 1009
    /// as soon as a header announces it, before its payload arrives.
    pub max_message: usize,
    /// The cost of each frame of a *fragmented* message, in bytes, which counts against
    /// [`max_message`](Limits::max_message) together with its payload; default 64. It bounds the
    /// work that endless empty fragments can cause. A message in one frame has no such cost.
    pub fragment_cost: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message: 16 * 1024 * 1024, fragment_cost: 64 }
    }
}

/// The number of free bytes in front of the payload of an assembled message: room for the longest
/// header of a server's frame, so that
/// [`Incoming::into_server_frame`](crate::Incoming::into_server_frame) needs no copy.
pub const SPILL_HEADROOM: usize = 10;

/// The maximum number of buffers that a pool retains.
const RETAINED_BUFFERS: usize = 64;
/// The maximum number of bytes that a pool retains by default.
const RETAINED_BYTES: usize = 16 * 1024 * 1024;
/// A buffer above this capacity is freed, because it would displace many common ones. A message of
/// 1 MiB, a common limit, fits with room for its header. A buffer that is not retained grows again
/// with each message, and growing copies as many bytes as the message has.
const RETAINED_CAPACITY: usize = 2 * 1024 * 1024;
/// The maximum number of unused decoder states (256 bytes each) that a pool retains.
const RETAINED_PARTIALS: usize = 256;
/// The maximum number of unused inflaters (about 46 KiB each) that a pool retains. Messages that
/// are not interleaved need one at a time.
const RETAINED_INFLATERS: usize = 4;

/// The assembly buffers of one shard (one core), shared by all its decoders: a connection between
/// messages owns none.
///
/// By default the pool retains at most 64 buffers of at most 2 MiB each, 4 inflaters and 256 unused
/// decoder states, 16 MiB in all, and frees the rest. Buffers are reused last in, first out,
/// because the last one is in the cache.
///
/// ```
/// use ringway_codec::{Decoder, Limits, Role, SpillPool};
///
/// // One pool for all connections of a thread.
/// let mut pool = SpillPool::new(Limits::default());
/// let mut decoders = [Decoder::new(Role::Server), Decoder::new(Role::Server)];
/// for decoder in &mut decoders {
///     assert!(decoder.next(&mut pool, b"\x81".to_vec().as_mut(), &mut 0)?.is_none());
/// }
/// # Ok::<(), ringway_codec::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct SpillPool {
    limits: Limits,
    allowance: Allowance,
    /// The number of data frames that the slow path may still process.
    fragments: u32,
    buffers: Vec<Vec<u8>>,
    /// The heap bytes of everything retained, without the lists that hold it.
    retained: usize,
    /// The maximum of `retained`.
    retention: usize,
    /// Frees a buffer that is not retained.
    free: fn(Vec<u8>),
    // Boxed because a decoder holds its state by one pointer: a move takes 8 bytes, not 256.
    #[expect(clippy::vec_box, reason = "the boxes themselves are reused")]
    partials: Vec<Box<Partial>>,
    #[expect(clippy::vec_box, reason = "the boxes themselves are reused")]
    inflaters: Vec<Box<Inflater>>,
}

impl SpillPool {
    /// Creates an empty pool that retains at most 16 MiB. Allocates nothing until a message needs
    /// it.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self::with_retention(limits, RETAINED_BYTES)
    }

    /// Creates an empty pool that retains at most `max_bytes`, plus at most 4 KiB of lists. With 0
    /// it retains nothing: every buffer is freed after its message.
    ///
    /// ```
    /// use ringway_codec::{Limits, SpillPool};
    ///
    /// let mut pool = SpillPool::with_retention(Limits::default(), 1000);
    /// pool.give(Vec::with_capacity(600));
    /// pool.give(Vec::with_capacity(600));
    /// assert!((600..1200).contains(&pool.retained_bytes()));
    /// pool.trim();
    /// assert_eq!(pool.retained_bytes(), 0);
    /// ```
    #[must_use]
    pub const fn with_retention(limits: Limits, max_bytes: usize) -> Self {
        Self {
            limits,
            allowance: Allowance::UNLIMITED,
            fragments: u32::MAX,
            buffers: Vec::new(),
            retained: 0,
            retention: max_bytes,
            free: drop,
            partials: Vec::new(),
            inflaters: Vec::new(),
        }
    }

    /// The limits that the decoders using this pool enforce.
    #[inline]
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Counts a data frame that was not a whole uncompressed message.
    pub(crate) fn count_fragment(&mut self) {
        if self.fragments != u32::MAX {
            self.fragments = self.fragments.saturating_sub(1);
        }
    }

    /// Sets the number of data frames that the decoders using this pool may process from now on, in
    /// total, if they are fragments, compressed, or split across inputs. `u32::MAX`, the default, is
    /// unlimited. A peer can send thousands of empty fragments in one input, which take time and
    /// yield no event.
    ///
    /// With no such frame left, [`Decoder::next`](crate::Decoder::next) returns `Ok(None)` before the
    /// input is consumed. Call it again with the rest.
    #[inline]
    pub fn set_fragment_allowance(&mut self, frames: u32) {
        self.fragments = frames;
    }

    /// The remaining [allowance](SpillPool::set_fragment_allowance) of frames.
    #[inline]
    #[must_use]
    pub const fn fragment_allowance(&self) -> u32 {
        self.fragments
    }

    /// Sets the number of bytes that the decoders using this pool may inflate from now on, in
    /// total. `usize::MAX`, the default, is unlimited.
    ///
    /// A compressed byte counts as eight inflated ones at least, because blocks without content
    /// take time too.
    ///
    /// A decoder that exhausts the allowance inside a compressed message is
    /// [suspended](crate::Decoder::is_suspended). The last step may exceed the allowance by less
    /// than 1 KiB, because inflating into less room is slow.
    ///
    /// An event loop that sets the allowance before each input bounds the work of one connection
    /// per turn: a few kilobytes of compressed data can inflate to the largest message.
    ///
    /// ```
    /// use ringway_codec::{
    ///     Decoder, DeflateParams, Deflater, Event, Limits, MessageKind, Role, SpillPool, WindowBits, encode_deflated,
    /// };
    ///
    /// let mut input = Vec::new();
    /// let mut deflater = Deflater::new(6, WindowBits::MAX).expect("zlib compresses with 15 bits");
    /// encode_deflated(MessageKind::Binary, &[0; 100_000], Some([1, 2, 3, 4]), &mut deflater, true, &mut input);
    ///
    /// let mut pool = SpillPool::new(Limits::default());
    /// let mut decoder = Decoder::with_deflate(Role::Server, &DeflateParams::default());
    /// let (mut at, mut turns) = (0, 1);
    /// pool.set_inflate_allowance(32 * 1024);
    /// loop {
    ///     match decoder.next(&mut pool, &mut input, &mut at)? {
    ///         Some(Event::Message(message)) => break assert_eq!(message.payload(), [0; 100_000]),
    ///         Some(event) => unreachable!("{event:?} was not sent"),
    ///         None => assert!(decoder.is_suspended()),
    ///     }
    ///     // Other connections are served here.
    ///     pool.set_inflate_allowance(32 * 1024);
    ///     turns += 1;
    /// }
    /// assert_eq!(turns, 4);
    /// # Ok::<(), ringway_codec::ProtocolError>(())
    /// ```
    #[inline]
    pub fn set_inflate_allowance(&mut self, bytes: usize) {
        self.allowance = Allowance(bytes);
    }

    /// The remaining [allowance](SpillPool::set_inflate_allowance) in bytes.
    #[inline]
    #[must_use]
    pub const fn inflate_allowance(&self) -> usize {
        self.allowance.0
    }

    pub(crate) const fn allowance(&mut self) -> &mut Allowance {
        &mut self.allowance
    }

    /// The heap bytes that the pool holds at the moment: buffers, inflaters and decoder states that
    /// no decoder uses. [`Decoder::held_bytes`](crate::Decoder::held_bytes) counts those in use.
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        let lists = self.buffers.capacity() * size_of::<Vec<u8>>()
            + self.partials.capacity() * size_of::<Box<Partial>>()
            + self.inflaters.capacity() * size_of::<Box<Inflater>>();
        self.retained + lists
    }

    /// Changes the maximum number of bytes that the pool retains. What it retains already stays until
    /// [`trim`](Self::trim) or until decoders take it.
    ///
    /// ```
    /// use ringway_codec::{Limits, SpillPool};
    ///
    /// let mut pool = SpillPool::new(Limits::default());
    /// pool.set_retention(0);
    /// pool.give(Vec::with_capacity(600));
    /// assert_eq!(pool.retained_bytes(), 0);
    /// ```
    pub const fn set_retention(&mut self, max_bytes: usize) {
        self.retention = max_bytes;
    }

    /// Sets the function that frees the buffers that the pool does not retain. The default is [`drop`],
    /// which leaves their memory to the allocator, and most allocators keep it for the next
    /// allocation. A process that is short of memory can return it to the system here.
    ///
    /// ```
    /// use ringway_codec::{Limits, SpillPool};
    ///
    /// let mut pool = SpillPool::new(Limits::default());
    /// pool.give(Vec::with_capacity(600));
    /// pool.set_free(|buffer| assert_eq!(buffer.capacity(), 600));
    /// pool.trim();
    /// ```
    pub const fn set_free(&mut self, free: fn(Vec<u8>)) {
        self.free = free;
    }

    /// Frees all memory that the pool retains, for a process that is short of memory. Memory in use
    /// by decoders is not affected, and is retained again when they return it.
    pub fn trim(&mut self) {
        std::mem::take(&mut self.buffers).into_iter().for_each(self.free);
        self.partials = Vec::new();
        self.inflaters = Vec::new();
        self.retained = 0;
    }

    /// Counts `bytes` as retained if the limit allows it, and returns whether it does.
    fn retain(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.retention.saturating_sub(self.retained);
        if fits {
            self.retained += bytes;
        }
        fits
    }

    /// Returns an empty buffer with the capacity of its last use.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let mut buffer = self.take_used();
        buffer.clear();
        buffer
    }

    /// Returns a buffer with its former content, which need not be cleared before it is
    /// overwritten.
    fn take_used(&mut self) -> Vec<u8> {
        let Some(buffer) = self.buffers.pop() else { return Vec::new() };
        self.retained -= buffer.capacity();
        buffer
    }

    /// Returns a buffer to the pool. It may have another origin. Its content stays in memory,
    /// inaccessible, until it is overwritten.
    pub fn give(&mut self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let is_common = (1..=RETAINED_CAPACITY).contains(&capacity);
        if is_common && self.buffers.len() < RETAINED_BUFFERS && self.retain(capacity) {
            self.buffers.push(buffer);
        } else if capacity > 0 {
            (self.free)(buffer);
        }
    }

    /// Returns an inflater in its initial state.
    pub(crate) fn take_inflater(&mut self) -> Box<Inflater> {
        let Some(inflater) = self.inflaters.pop() else { return Box::new(Inflater::new()) };
        self.retained -= Inflater::HEAP_BYTES;
        inflater
    }

    fn give_inflater(&mut self, mut inflater: Box<Inflater>) {
        if self.inflaters.len() < RETAINED_INFLATERS && self.retain(Inflater::HEAP_BYTES) {
            inflater.restart();
            self.inflaters.push(inflater);
        }
    }

    pub(crate) fn take_partial(&mut self) -> Box<Partial> {
        let Some(partial) = self.partials.pop() else { return Box::default() };
        self.retained -= size_of::<Partial>();
        partial
    }

    /// Returns a state to the pool, with its buffer and its inflater if it still has them.
    pub(crate) fn give_partial(&mut self, mut partial: Box<Partial>) {
        partial.reset(self);
        if let Some(inflater) = partial.inflater.take() {
            self.give_inflater(inflater);
        }
        if self.partials.len() < RETAINED_PARTIALS && self.retain(size_of::<Partial>()) {
            self.partials.push(partial);
        }
    }
}

/// The number of bytes that may be inflated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Allowance(usize);

impl Allowance {
    const UNLIMITED: Self = Self(usize::MAX);

    pub(crate) const fn is_spent(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn left(self) -> usize {
        self.0
    }

    pub(crate) fn spend(&mut self, bytes: usize) {
        if self.0 != usize::MAX {
            self.0 = self.0.saturating_sub(bytes);
        }
    }
}

/// The buffer in which a message is assembled: room for a reply's header, then the payload received
/// so far.
///
/// After them come initialized bytes of former messages, which are not accessible outside: room
/// that need not be cleared before it is written to.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    bytes: Vec<u8>,
    filled: usize,
}

impl Spill {
    /// Begins a message, in the buffer of the last one if that is still here.
    pub(crate) fn begin(&mut self, pool: &mut SpillPool) {
        if self.bytes.capacity() == 0 {
            self.bytes = pool.take_used();
        }
        if self.bytes.len() < SPILL_HEADROOM {
            self.bytes.resize(SPILL_HEADROOM, 0);
        }
        self.bytes[..SPILL_HEADROOM].fill(0);
        self.filled = SPILL_HEADROOM;
    }

    /// The room for a header and the payload received so far.
    pub(crate) fn content(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }

    /// The length of the content in bytes.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// The length that the content can have before the buffer grows.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for exactly `by` more bytes.
    pub(crate) fn grow(&mut self, by: usize) {
        self.bytes.truncate(self.filled);
        self.bytes.reserve_exact(by);
    }

    /// Calls `append` to append to the content.
    pub(crate) fn append<R>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.bytes.truncate(self.filled);
        let result = append(&mut self.bytes);
        self.filled = self.bytes.len();
        result
    }

    /// Calls `write` with the next `room` bytes, whose values are arbitrary; it returns how many of
    /// them become content.
    pub(crate) fn write<R>(&mut self, room: usize, write: impl FnOnce(&mut [u8]) -> (usize, R)) -> R {
        let (written, result) = write(self.room(room));
        debug_assert!(written <= room, "write stays within its room");
        self.filled += written.min(room);
        result
    }

    /// The number of initialized bytes after the content, which need not be cleared before they are
    /// written to.
    pub(crate) fn cleared(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// The next `len` bytes after the content, whose values are arbitrary.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.filled + len;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.filled..end]
    }

    /// Makes the next `len` bytes content, and returns them for writing.
    ///
    /// # Panics
    ///
    /// If fewer than `len` bytes are [`cleared`](Spill::cleared).
    pub(crate) fn extend(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled += len;
        &mut self.bytes[start..self.filled]
    }

    /// Moves the buffer out, cut to its content.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        std::mem::take(self).bytes
    }

    /// Returns the buffer to the pool.
    pub(crate) fn release(&mut self, pool: &mut SpillPool) {
        pool.give(std::mem::take(self).bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_buffer_given_back_is_taken_again_empty() {
        let mut pool = SpillPool::new(Limits::default());
        let mut buffer = pool.take();
        assert_eq!(buffer.capacity(), 0);
        buffer.extend_from_slice(&[1; 5000]);
        let address = buffer.as_ptr();
        pool.give(buffer);
        let buffer = pool.take();
        assert!(buffer.is_empty());
        assert_eq!(buffer.as_ptr(), address);
        assert_eq!(pool.retained, 0);
    }

    #[test]
    fn retained_memory_is_bounded() {
        let mut pool = SpillPool::new(Limits::default());
        pool.give(Vec::with_capacity(RETAINED_CAPACITY + 1));
        assert_eq!(pool.buffers.len(), 0);
        for _ in 0..20 {
            pool.give(Vec::with_capacity(RETAINED_CAPACITY));
        }
        assert!(pool.retained <= RETAINED_BYTES);
        let mut pool = SpillPool::new(Limits::default());
        for _ in 0..1000 {
            pool.give(Vec::with_capacity(16));
        }
        assert_eq!(pool.buffers.len(), RETAINED_BUFFERS);
        for _ in 0..1000 {
            let mut partial = Box::<Partial>::default();
            partial.inflater = Some(Box::new(Inflater::new()));
            pool.give_partial(partial);
        }
        assert_eq!((pool.partials.len(), pool.inflaters.len()), (RETAINED_PARTIALS, RETAINED_INFLATERS));
    }

    #[test]
    fn what_is_not_retained_is_freed_as_set() {
        thread_local! {
            static FREED: Cell<usize> = const { Cell::new(0) };
        }
        let mut pool = SpillPool::with_retention(Limits::default(), 1000);
        pool.set_free(|buffer| FREED.set(FREED.get() + buffer.capacity()));
        pool.give(Vec::new());
        pool.give(Vec::with_capacity(700));
        assert_eq!(FREED.get(), 0);
        pool.give(Vec::with_capacity(400));
        assert_eq!(FREED.get(), 400);
        let mut spill = Spill { bytes: Vec::with_capacity(5000), filled: 0 };
        spill.release(&mut pool);
        assert_eq!(FREED.get(), 5400);
        pool.trim();
        assert_eq!(FREED.get(), 6100);
    }

    #[test]
    fn a_pool_retains_at_most_its_limit() {
        for retention in [0, 1000, 100_000] {
            let mut pool = SpillPool::with_retention(Limits::default(), retention);
            for capacity in 1..100 {
                pool.give(Vec::with_capacity(capacity));
                pool.give_partial(Box::default());
                pool.give_inflater(Box::new(Inflater::new()));
            }
            assert!(pool.retained <= retention, "{} of {retention}", pool.retained);
            assert_eq!(pool.inflaters.len(), retention / Inflater::HEAP_BYTES);
            let lists = pool.retained_bytes() - pool.retained;
            assert!(lists <= 4096, "{lists} bytes of lists");
            while pool.take().capacity() > 0 {}
            while !pool.partials.is_empty() {
                let _ = pool.take_partial();
            }
            while !pool.inflaters.is_empty() {
                let _ = pool.take_inflater();
            }
            assert_eq!(pool.retained, 0);
        }
    }
}
