//! The memory that the connections of one shard hold together: shared buffers, and the number of
//! bytes charged to the shard's budget.
//!
//! Each holder charges memory when it is acquired and discharges it when it is released: outboxes
//! in `session/outbox.rs`, everything else of a session in `session/mod.rs`. The tests of the event
//! loop compare the number with the sum over all sessions after every run.

use crate::config::Limits;
use ringway_codec::SpillPool;
use ringway_io::{Chunk, Output, Slot};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The maximum capacity in bytes of the buffers retained for outboxes. Larger ones go to the pool
/// of assembly buffers, so that a short frame never occupies a large buffer.
const OUTPUT_CAPACITY: usize = 64 * 1024;

/// The maximum number of bytes of retained assembly buffers; never more than an eighth of the
/// budget.
const RETAINED: usize = 16 * 1024 * 1024;

/// The maximum number of retained outbox buffers; never more than a sixteenth of the budget.
const RETAINED_OUTPUTS: usize = 64;

/// The unit in bytes in which output is charged, so that a connection can count it in 32 bits.
pub(crate) const UNIT: usize = 64;

/// The degree to which the budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Below the high-water mark.
    Low,
    /// Above the high-water mark: nothing is received from the largest holders.
    High,
    /// At the limit: new handshakes are refused, and the largest holders are closed.
    Full,
}

/// The state of a memory shortage between two turns.
#[derive(Debug, Default)]
pub(crate) struct Shortage {
    /// The connections whose receiving is paused.
    pub(crate) paused: Vec<Slot>,
    /// The tick at which the first of them was paused.
    pub(crate) paused_since: u32,
    /// The tick since which the sum has been below the high-water mark, while connections are paused.
    pub(crate) low_since: Option<u32>,
    /// The connections without output to which a message was not queued. `drained` is called for them
    /// when memory is available again.
    pub(crate) refused: VecDeque<Slot>,
    /// Whether messages were handed back since memory became short.
    pub(crate) is_refusing: bool,
    /// The progress of the large holders since memory became short.
    pub(crate) progress: HashMap<Slot, ReaderProgress>,
    /// The time of the last search for large holders, and how long it took.
    pub(crate) search: Option<(Instant, Duration)>,
    /// The tick at which the limit was last reached, until new handshakes are accepted again.
    pub(crate) exhausted: Option<u32>,
}

/// What a large holder's peer has acknowledged while memory is short.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReaderProgress {
    /// The number of bytes at the first search, and the tick of it.
    pub(crate) first: (u64, u32),
    /// The latest number, and the tick since which it is the same.
    pub(crate) latest: (u64, u32),
}

/// The time without progress after which a reader counts as stalled while memory is short.
pub(crate) const STALL_TIME: Duration = Duration::from_secs(1);

/// The time between two searches while messages are handed back.
pub(crate) const SEARCH_TIME: Duration = Duration::from_millis(100);

/// The maximum time for which receiving is paused. The connections that hold the most are closed
/// then, because those that were not paused have not completed anything that frees memory.
pub(crate) const PAUSE_TIME: Duration = Duration::from_secs(10);

/// The time below the high-water mark after which receiving resumes.
pub(crate) const RESUME_TIME: Duration = Duration::from_secs(1);

/// The minimum time for which new handshakes are refused after the limit was reached.
pub(crate) const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// The buffers that the sessions of a shard share, and the number of bytes that the sessions hold.
pub(crate) struct Memory {
    /// Assembly buffers.
    pub(crate) pool: SpillPool,
    outputs: Vec<Vec<u8>>,
    /// Whether buffers are retained for reuse. Not from the high-water mark to the low-water mark:
    /// they would be resident besides the budget.
    is_retaining: bool,
    /// Frees a buffer while none are retained.
    free: fn(Vec<u8>),
    held: usize,
    /// `held` at the end of the last turn.
    held_before: usize,
    /// The sum of its changes from turn to turn since the allocator was purged.
    changed: usize,
    /// The bytes that wait for peers, in all outboxes.
    queued: usize,
    max: usize,
    /// Prepared frames that are queued, by address: the number of times that each is queued. All
    /// connections of a broadcast hold the same bytes, so each frame is charged once.
    shared: HashMap<usize, u32>,
    /// The bytes of those frames.
    shared_bytes: usize,
    /// The queued bytes of those frames, as often as each is queued.
    shared_references: usize,
}

impl Memory {
    pub(crate) fn new(limits: &Limits) -> Self {
        let max = limits.max_memory.unwrap_or(usize::MAX);
        let pool = SpillPool::with_retention(limits.codec(), retention(max));
        Self {
            pool,
            outputs: Vec::new(),
            is_retaining: true,
            free: ringway_io::free_to_system,
            held: 0,
            held_before: 0,
            changed: 0,
            queued: 0,
            max,
            shared: HashMap::new(),
            shared_bytes: 0,
            shared_references: 0,
        }
    }

    /// The number of bytes that the sessions hold.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// The number of bytes that wait for peers, including those of sends in flight.
    pub(crate) fn queued(&self) -> usize {
        self.queued
    }

    /// Counts bytes that an outbox takes.
    #[inline]
    pub(crate) fn enqueue(&mut self, bytes: usize) {
        self.queued += bytes;
    }

    /// Counts bytes that an outbox no longer has.
    #[inline]
    pub(crate) fn dequeue(&mut self, bytes: usize) {
        debug_assert!(self.queued >= bytes, "{bytes} bytes leave the outboxes, which have {}", self.queued);
        self.queued = self.queued.saturating_sub(bytes);
    }

    /// The bytes among them of prepared frames, which no session holds alone.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn shared(&self) -> usize {
        self.shared_bytes
    }

    /// The budget in bytes.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// The limit of what connections hold: 7/8 of the budget. The rest is for what the allocator adds,
    /// by sizes that it rounds up and by freed memory that it cannot return: up to 11 % in tests with
    /// 1000 peers that read nothing or end no message.
    fn limit(&self) -> usize {
        self.max - self.max / 8
    }

    /// The high-water mark, at which receiving from the largest holders pauses: 7/8 of the limit.
    pub(crate) fn high_water(&self) -> usize {
        self.limit() - self.limit() / 8
    }

    /// The low-water mark, at which receiving resumes: 3/4 of the limit.
    pub(crate) fn low_water(&self) -> usize {
        self.limit() - self.limit() / 4
    }

    /// Whether a connection can hold `bytes` of output. Above the high-water mark it can hold an
    /// eighth of what is left of the limit: a few connections cannot use up the rest, and a short
    /// message to a peer that reads has room.
    #[inline]
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.held < self.high_water() || bytes <= self.limit().saturating_sub(self.held) / 8
    }

    #[inline]
    pub(crate) fn pressure(&self) -> Pressure {
        if self.held < self.high_water() {
            Pressure::Low
        } else if self.held < self.limit() {
            Pressure::High
        } else {
            Pressure::Full
        }
    }

    #[inline]
    pub(crate) fn charge(&mut self, bytes: usize) {
        self.held += bytes;
    }

    #[inline]
    pub(crate) fn discharge(&mut self, bytes: usize) {
        debug_assert!(self.held >= bytes, "{bytes} bytes are discharged, but {} are charged", self.held);
        self.held = self.held.saturating_sub(bytes);
    }

    /// Changes the charge of a holder from `before` bytes to `after`.
    #[inline]
    pub(crate) fn recharge(&mut self, before: usize, after: usize) {
        if before != after {
            self.charge(after);
            self.discharge(before);
        }
    }

    /// Takes an empty buffer for output.
    pub(crate) fn take_output(&mut self) -> Vec<u8> {
        self.outputs.pop().unwrap_or_default()
    }

    /// Retains a buffer for reuse. While none are retained, the pool frees it.
    pub(crate) fn give(&mut self, mut buffer: Vec<u8>) {
        if !self.is_retaining || buffer.capacity() > OUTPUT_CAPACITY {
            self.pool.give(buffer);
        } else if self.outputs.len() < self.max_outputs() && buffer.capacity() > 0 {
            buffer.clear();
            self.outputs.push(buffer);
        }
    }

    fn max_outputs(&self) -> usize {
        (self.max / 16 / OUTPUT_CAPACITY).clamp(1, RETAINED_OUTPUTS)
    }

    /// Charges a queued chunk. Returns the bytes that only its connection holds with it.
    #[inline]
    pub(crate) fn charge_chunk(&mut self, chunk: &Chunk) -> usize {
        if let Chunk::Shared { bytes, range } = chunk {
            self.charge_shared(bytes, range.len());
        }
        let bytes = own_bytes(chunk);
        self.charge(bytes);
        bytes
    }

    /// Discharges a chunk that is no longer queued. Returns the bytes that only its connection held
    /// with it.
    #[inline]
    pub(crate) fn discharge_chunk(&mut self, chunk: &Chunk) -> usize {
        if let Chunk::Shared { bytes, range } = chunk {
            self.discharge_shared(bytes, range.len());
        }
        let bytes = own_bytes(chunk);
        self.discharge(bytes);
        bytes
    }

    /// Charges a frame once, and counts `queued` bytes of it.
    fn charge_shared(&mut self, frame: &Arc<[u8]>, queued: usize) {
        let count = self.shared.entry(frame.as_ptr().addr()).or_insert(0);
        *count += 1;
        self.shared_references += queued;
        if *count == 1 {
            self.shared_bytes += frame.len();
            self.charge(frame.len());
        }
    }

    fn discharge_shared(&mut self, frame: &Arc<[u8]>, queued: usize) {
        let address = frame.as_ptr().addr();
        let Some(count) = self.shared.get_mut(&address) else { return };
        *count -= 1;
        self.shared_references -= queued;
        if *count == 0 {
            self.shared.remove(&address);
            self.shared_bytes -= frame.len();
            self.discharge(frame.len());
        }
    }

    /// Counts `sent` bytes of a queued frame no longer.
    pub(crate) fn skip_shared(&mut self, sent: usize) {
        self.shared_references -= sent;
    }

    /// The part that one connection has in so many bytes of prepared frames: the average, by the
    /// number of connections that hold each frame.
    pub(crate) fn part_of_shared(&self, bytes: usize) -> usize {
        match self.shared_references {
            0 => 0,
            references => (bytes as u128 * self.shared_bytes as u128 / references as u128) as usize,
        }
    }

    /// Discharges an output that the driver no longer uses, and retains its buffers. Returns the
    /// bytes that only its connection held with it.
    #[inline]
    pub(crate) fn recycle(&mut self, output: Output) -> usize {
        match output {
            Output::One(chunk) => self.recycle_chunk(chunk),
            Output::Many(chunks) => chunks.into_iter().map(|chunk| self.recycle_chunk(chunk)).sum(),
        }
    }

    #[inline]
    pub(crate) fn recycle_chunk(&mut self, chunk: Chunk) -> usize {
        let bytes = self.discharge_chunk(&chunk);
        if let Chunk::Owned { bytes, .. } = chunk {
            self.give(bytes);
        }
        bytes
    }

    /// Recycles the buffers of an output whose connection is closed: only prepared frames are still
    /// charged.
    pub(crate) fn reclaim(&mut self, output: Output) {
        let mut reclaim = |chunk| match chunk {
            Chunk::Owned { bytes, .. } => self.give(bytes),
            Chunk::Shared { bytes, range } => self.discharge_shared(&bytes, range.len()),
            Chunk::Buffer { .. } => {}
        };
        match output {
            Output::One(chunk) => reclaim(chunk),
            Output::Many(chunks) => chunks.into_iter().for_each(reclaim),
        }
    }

    /// Whether buffers are retained for reuse, as usual.
    #[inline]
    pub(crate) fn is_retaining(&self) -> bool {
        self.is_retaining
    }

    /// Frees the buffers that are retained for reuse, and retains none from now on. What is freed from
    /// now on is not left to the allocator, which would keep it resident besides the budget.
    pub(crate) fn trim(&mut self) {
        self.pool.set_free(self.free);
        self.pool.set_retention(0);
        self.pool.trim();
        std::mem::take(&mut self.outputs).into_iter().for_each(self.free);
        self.is_retaining = false;
    }

    /// Ends a turn. Returns whether the allocator is to be purged: whether what connections hold, and
    /// what they have freed since the last purge, may exceed the high-water mark. From there to the
    /// limit there is room for what one turn frees.
    ///
    /// A buffer that grows frees about as much as it grows by, so every change of the sum counts as
    /// freed. Below half of that mark growing buffers cannot have freed the rest, and keeping freed
    /// memory makes allocations fast. At least 1/64 of the budget is freed between two purges.
    #[inline]
    pub(crate) fn end_turn(&mut self) -> bool {
        self.changed = self.changed.saturating_add(self.held.abs_diff(self.held_before));
        self.held_before = self.held;
        let mark = self.high_water();
        let is_due = self.held >= mark / 2 && self.changed >= mark.saturating_sub(self.held).max(self.max / 64);
        if is_due {
            self.changed = 0;
        }
        is_due
    }

    /// Retains buffers again, below the low-water mark.
    pub(crate) fn end_trim(&mut self) {
        if self.held < self.low_water() {
            self.pool.set_free(drop);
            self.pool.set_retention(retention(self.max));
            self.is_retaining = true;
        }
    }
}

/// The maximum number of bytes of retained assembly buffers.
fn retention(budget: usize) -> usize {
    RETAINED.min(budget / 8)
}

/// The memory that a connection holds with a chunk of its output, as a multiple of [`UNIT`]: not
/// the bytes to send, but the memory that is occupied until they are sent. Prepared frames are
/// charged separately.
#[inline]
fn own_bytes(chunk: &Chunk) -> usize {
    let bytes = match chunk {
        Chunk::Owned { bytes, .. } => bytes.capacity(),
        Chunk::Shared { .. } => 0,
        Chunk::Buffer { buffer, .. } => buffer.capacity(),
    };
    bytes.next_multiple_of(UNIT)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn memory(max: usize) -> Memory {
        Memory::new(&Limits { max_memory: Some(max), ..Limits::default() })
    }

    #[test]
    fn no_buffer_is_kept_for_reuse_from_a_trim_to_the_low_water_mark() {
        thread_local! {
            static FREED: Cell<usize> = const { Cell::new(0) };
        }
        let mut memory = memory(8 << 20);
        memory.free = |buffer| FREED.set(FREED.get() + buffer.capacity());
        let give = |memory: &mut Memory| {
            memory.give(Vec::with_capacity(1000));
            memory.give(Vec::with_capacity(OUTPUT_CAPACITY + 1));
            (memory.outputs.len(), memory.pool.retained_bytes() > OUTPUT_CAPACITY)
        };
        assert_eq!(give(&mut memory), (1, true));
        let low_water = memory.low_water();
        memory.charge(low_water + 1000);
        memory.trim();
        assert_eq!((give(&mut memory), memory.is_retaining()), ((0, false), false));
        assert_eq!(FREED.replace(0), (1000 + OUTPUT_CAPACITY + 1) * 2, "what was retained, and what came then");
        memory.discharge(1000);
        memory.end_trim();
        assert_eq!(give(&mut memory), (0, false), "at the low-water mark");
        assert!(FREED.replace(0) > 0);
        memory.discharge(1);
        memory.end_trim();
        assert_eq!(give(&mut memory), (1, true));
        for _ in 0..100 {
            give(&mut memory);
        }
        assert_eq!(memory.outputs.len(), 8, "a sixteenth of the budget");
        assert_eq!(FREED.get(), 0, "what is freed is the allocator's again");
    }

    #[test]
    fn the_pressure_rises_with_the_memory_held() {
        let mut memory = memory(1024);
        assert_eq!((memory.limit(), memory.high_water(), memory.low_water()), (896, 784, 672));
        let mut at = |held: usize| {
            let before = memory.held();
            memory.recharge(before, held);
            memory.pressure()
        };
        assert_eq!([0, 783, 784, 895, 896, 5000].map(&mut at), {
            use Pressure::{Full, High, Low};
            [Low, Low, High, High, Full, Full]
        });
        assert_eq!(at(0), Pressure::Low);
    }

    #[test]
    fn the_allocator_is_purged_before_freed_memory_exceeds_the_high_water_mark() {
        let mut memory = memory(64 << 10);
        assert_eq!(memory.high_water(), 49 << 10);
        // Holds so many KiB at the end of a turn.
        let mut hold = |kib: usize| {
            let before = memory.held();
            memory.recharge(before, kib << 10);
            memory.end_turn()
        };
        assert!(!hold(20) && !hold(0) && !hold(20) && !hold(24), "below half of the mark");
        assert!(hold(25), "the sum has changed by 65 KiB, and 24 are left");
        assert!(!hold(36), "11 KiB may be free, and 13 are left");
        assert!(hold(37));
        assert!(!hold(37) && !hold(37), "nothing is freed");
        assert!(hold(49));
        assert!(!hold(49) && hold(50) && hold(49) && hold(60), "from the mark on, each 64th of the budget");
        assert!(hold(40), "after closing");
        assert!(!hold(20));
    }

    #[test]
    fn a_frame_that_many_connections_send_is_charged_once() {
        let mut memory = memory(1 << 20);
        let frame: Arc<[u8]> = vec![7; 5000].into();
        let chunks: Vec<_> = (0..3).map(|_| Chunk::from(Arc::clone(&frame))).collect();
        for chunk in &chunks {
            assert_eq!((memory.charge_chunk(chunk), memory.held()), (0, 5000));
        }
        assert_eq!(memory.recycle(Output::Many(chunks)), 0);
        assert_eq!((memory.held(), memory.shared.len()), (0, 0));
    }

    #[test]
    fn a_short_frame_never_occupies_a_large_buffer() {
        let mut memory = memory(1 << 20);
        memory.give(Vec::with_capacity(OUTPUT_CAPACITY + 1));
        memory.give(Vec::with_capacity(100));
        assert_eq!(memory.take_output().capacity(), 100);
        assert_eq!(memory.take_output().capacity(), 0);
    }
}
