//! Buffers for messages that do not lie whole in one input, or come compressed.

use crate::decoder::Partial;
use crate::deflate::Inflater;

/// What a peer may make us hold.
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
    /// as soon as a header announces it, before its payload has come.
    pub max_message: usize,
    /// What each frame of a *fragmented* message counts against
    /// [`max_message`](Limits::max_message) besides its payload, in bytes; default 64. It bounds
    /// the work that endless empty fragments can cause. A message in one frame pays nothing.
    pub fragment_cost: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_message: 16 * 1024 * 1024, fragment_cost: 64 }
    }
}

/// How many bytes a spilled message leaves free in front of its payload: room for the longest
/// header of a server's frame, so that
/// [`Incoming::into_server_frame`](crate::Incoming::into_server_frame) needs no copy.
pub const SPILL_HEADROOM: usize = 10;

/// How many buffers a pool retains at most.
const RETAINED_BUFFERS: usize = 64;
/// How many bytes a pool retains at most unless it is told otherwise.
const RETAINED_BYTES: usize = 16 * 1024 * 1024;
/// A buffer above this capacity is freed rather than retained: it would crowd out many common ones.
/// A message of 1 MiB, a common limit, fits with its header room: a buffer that is not retained
/// grows anew with each message, and growing copies as many bytes as the message has.
const RETAINED_CAPACITY: usize = 2 * 1024 * 1024;
/// How many unused decoder states (about 250 bytes each) a pool retains at most.
const RETAINED_PARTIALS: usize = 256;
/// How many unused inflaters (about 46 KiB each) a pool retains at most. Messages that come whole
/// need one at a time.
const RETAINED_INFLATERS: usize = 4;

/// The assembly buffers of one shard (one core): shared by all its decoders, so that connections
/// between messages own none.
///
/// Retains at most 64 buffers of at most 2 MiB each, 4 inflaters for connections that keep none of
/// their own and 256 unused decoder states, 16 MiB in all; frees the rest. The last buffer given is
/// the first taken, because it is the one in the cache.
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
    buffers: Vec<Vec<u8>>,
    /// The heap bytes of all that is retained, without the lists that hold it.
    retained: usize,
    /// The maximum of `retained`.
    retention: usize,
    // Boxed because a decoder holds its state by one pointer: taking and giving moves 8 bytes, not
    // 250.
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is reused")]
    partials: Vec<Box<Partial>>,
    #[expect(clippy::vec_box, reason = "the boxes themselves are what is reused")]
    inflaters: Vec<Box<Inflater>>,
}

impl SpillPool {
    /// An empty pool that retains at most 16 MiB. Allocates nothing until a message needs it.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self::with_retention(limits, RETAINED_BYTES)
    }

    /// An empty pool that retains at most `max_bytes`, besides the lists of what it retains (at
    /// most 4 KiB). With 0 it retains nothing: every buffer is freed when its message is done with.
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
            buffers: Vec::new(),
            retained: 0,
            retention: max_bytes,
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

    /// Sets how many bytes the decoders using this pool may inflate from now on, all together.
    /// `usize::MAX`, the default, is unlimited.
    ///
    /// A decoder that has spent it inside a compressed message is
    /// [suspended](crate::Decoder::is_suspended). The last step may exceed the allowance by less
    /// than 1 KiB, because inflating into less room at a time is slow.
    ///
    /// An event loop that sets it before each input bounds the work which one connection causes in
    /// a turn: a few kilobytes of compressed data can inflate to the largest message.
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

    /// How many bytes of the [allowance](SpillPool::set_inflate_allowance) are left.
    #[inline]
    #[must_use]
    pub const fn inflate_allowance(&self) -> usize {
        self.allowance.0
    }

    pub(crate) const fn allowance(&mut self) -> &mut Allowance {
        &mut self.allowance
    }

    /// How many heap bytes the pool itself holds at the moment: buffers, inflaters and decoder
    /// states that no decoder uses. What a decoder uses is in its
    /// [`held_bytes`](crate::Decoder::held_bytes).
    #[must_use]
    pub fn retained_bytes(&self) -> usize {
        let lists = self.buffers.capacity() * size_of::<Vec<u8>>()
            + self.partials.capacity() * size_of::<Box<Partial>>()
            + self.inflaters.capacity() * size_of::<Box<Inflater>>();
        self.retained + lists
    }

    /// Frees all memory that the pool retains, for a process that runs short of it. What decoders
    /// use stays, and is retained again when they give it back.
    pub fn trim(&mut self) {
        self.buffers = Vec::new();
        self.partials = Vec::new();
        self.inflaters = Vec::new();
        self.retained = 0;
    }

    /// Whether `bytes` more may be retained; counts them if so.
    fn retain(&mut self, bytes: usize) -> bool {
        let fits = bytes <= self.retention - self.retained;
        if fits {
            self.retained += bytes;
        }
        fits
    }

    /// An empty buffer, with whatever capacity it kept from its last use.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let mut buffer = self.take_used();
        buffer.clear();
        buffer
    }

    /// A buffer as it was given back: for one who would otherwise have to clear the room that he
    /// writes to.
    fn take_used(&mut self) -> Vec<u8> {
        let Some(buffer) = self.buffers.pop() else { return Vec::new() };
        self.retained -= buffer.capacity();
        buffer
    }

    /// Gives a buffer back. It need not have come from this pool. Its content stays in it, unseen,
    /// until it is written over.
    pub fn give(&mut self, buffer: Vec<u8>) {
        let capacity = buffer.capacity();
        let is_common = (1..=RETAINED_CAPACITY).contains(&capacity);
        if is_common && self.buffers.len() < RETAINED_BUFFERS && self.retain(capacity) {
            self.buffers.push(buffer);
        }
    }

    /// An inflater that has seen nothing yet.
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

    /// Takes the state back, with its buffer and its inflater if it still has them.
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

/// How many bytes may be inflated.
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

/// The buffer in which a message is put together: room for a reply's header, then the payload that
/// has come.
///
/// What lies behind them are bytes of former messages, which nobody sees: room that need not be
/// cleared to be written to.
#[derive(Debug, Default)]
pub(crate) struct Spill {
    bytes: Vec<u8>,
    filled: usize,
}

impl Spill {
    /// Begins a message, in the buffer of the last one if that is still there.
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

    /// The room and what has come.
    pub(crate) fn content(&mut self) -> &mut [u8] {
        &mut self.bytes[..self.filled]
    }

    /// How many bytes the room and what has come are.
    pub(crate) fn len(&self) -> usize {
        self.filled
    }

    /// How many bytes it holds before it has to grow.
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Makes room for so many more bytes exactly.
    pub(crate) fn grow(&mut self, by: usize) {
        self.bytes.truncate(self.filled);
        self.bytes.reserve_exact(by);
    }

    /// Has `append` append to the content.
    pub(crate) fn append<R>(&mut self, append: impl FnOnce(&mut Vec<u8>) -> R) -> R {
        self.bytes.truncate(self.filled);
        let result = append(&mut self.bytes);
        self.filled = self.bytes.len();
        result
    }

    /// Has `write` write to the next `room` bytes, whose content is arbitrary, and say how many
    /// became content.
    pub(crate) fn write<R>(&mut self, room: usize, write: impl FnOnce(&mut [u8]) -> (usize, R)) -> R {
        let (written, result) = write(self.room(room));
        debug_assert!(written <= room, "no more is written than there is room");
        self.filled += written.min(room);
        result
    }

    /// How many bytes behind the content can be written to without clearing them first.
    pub(crate) fn cleared(&self) -> usize {
        self.bytes.len() - self.filled
    }

    /// The next `len` bytes behind the content, which are arbitrary.
    pub(crate) fn room(&mut self, len: usize) -> &mut [u8] {
        let end = self.filled + len;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        &mut self.bytes[self.filled..end]
    }

    /// Makes the next `len` bytes content, and returns them to be written to or changed.
    ///
    /// # Panics
    ///
    /// When they are not [`cleared`](Spill::cleared).
    pub(crate) fn extend(&mut self, len: usize) -> &mut [u8] {
        let start = self.filled;
        self.filled += len;
        &mut self.bytes[start..self.filled]
    }

    /// Moves the buffer out, with the content alone in it.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        self.bytes.truncate(self.filled);
        std::mem::take(self).bytes
    }

    /// Gives the buffer back.
    pub(crate) fn release(&mut self, pool: &mut SpillPool) {
        pool.give(std::mem::take(self).bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn what_a_pool_retains_is_bounded() {
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
    fn a_pool_retains_no_more_than_it_is_told_to() {
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
