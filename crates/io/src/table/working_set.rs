//! The number of receive buffers that are lent to the kernel: enough for the bytes of a turn, and
//! few enough that most of what they hold stays in the cache.
//!
//! The kernel takes the buffers of a ring first in, first out, so every lent buffer is written in
//! turn. When the bytes received into all of them exceed the L2 cache, each receive writes to cold
//! memory. The number of lent buffers therefore depends on two moving averages:
//!
//! - the *demand*: twice the largest number of buffers that recent turns filled. In a shortage all
//!   lent buffers are filled, so the demand doubles; it decays by 1/64 per turn.
//! - the *fill*: the average number of bytes received into a buffer. The budget in bytes divided by
//!   the fill caps the number: thousands of buffers for small messages, a handful for large ones.
//!   Beyond the cap a shortage is cheaper than a cold buffer: a receive without a buffer is armed
//!   again when buffers return.

use crate::BufferConfig;

/// The fraction of a new sample in the average fill, and of a turn in the decay of the demand, as
/// shifts.
const FILL_SHIFT: u32 = 5;
const DECAY_SHIFT: u32 = 6;

/// The minimum number of lent buffers. With fewer, a turn receives too little per system call.
const MIN_READY: u16 = 4;

/// Computes the number of buffers for the next turn from what was received. Performs no I/O.
#[derive(Debug)]
pub(super) struct WorkingSet {
    /// The bytes that the lent buffers may hold together.
    budget: u32,
    /// The number of buffers in the pool.
    count: u16,
    /// Average bytes received into a buffer, times `1 << FILL_SHIFT`.
    fill: u32,
    /// Buffers filled in this turn.
    filled: u16,
    /// Decaying maximum of `filled`, times `1 << DECAY_SHIFT`.
    peak: u32,
    target: u16,
}

impl WorkingSet {
    pub(super) fn new(buffers: &BufferConfig) -> Self {
        let target = buffers.first_ready();
        let (budget, peak) = (buffers.budget(), u32::from(target / 2) << DECAY_SHIFT);
        Self { budget, count: buffers.count, fill: 0, filled: 0, peak, target }
    }

    /// The number of buffers to lend.
    pub(super) fn target(&self) -> u16 {
        self.target
    }

    /// The kernel has filled a buffer with `len` bytes.
    #[inline]
    pub(super) fn received(&mut self, len: usize) {
        self.filled = self.filled.saturating_add(1);
        // A buffer is at most 1 MiB, so the average fits with its fraction.
        self.fill = self.fill - (self.fill >> FILL_SHIFT) + len as u32;
    }

    /// Ends a turn. Turns that received nothing are not counted, so an idle shard keeps its working
    /// set.
    #[inline]
    pub(super) fn end_turn(&mut self) {
        let filled = std::mem::take(&mut self.filled);
        if filled == 0 {
            return;
        }
        self.peak = (u32::from(filled) << DECAY_SHIFT).max(self.peak - (self.peak >> DECAY_SHIFT));
        let demand = (self.peak >> DECAY_SHIFT) * 2;
        let average = (self.fill >> FILL_SHIFT).max(1);
        let cap = (self.budget / average).max(u32::from(MIN_READY));
        // At most the count, so it fits into 16 bits.
        self.target = demand.clamp(u32::from(MIN_READY), cap).min(u32::from(self.count)) as u16;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: u32 = 512 << 10;

    fn set(count: u16) -> WorkingSet {
        WorkingSet::new(&BufferConfig { size: 128 << 10, count, ready: Some(1), working_set: Some(BUDGET) })
    }

    /// Turns that would fill `wanted` buffers with `len` bytes each. A turn fills at most the lent
    /// ones.
    fn turns(set: &mut WorkingSet, turns: usize, wanted: u16, len: usize) -> u16 {
        for _ in 0..turns {
            (0..wanted.min(set.target())).for_each(|_| set.received(len));
            set.end_turn();
        }
        set.target()
    }

    #[test]
    fn many_small_messages_get_twice_the_buffers_that_a_turn_fills() {
        let mut set = set(256);
        assert_eq!(turns(&mut set, 20, 40, 30), 80);
        assert_eq!(turns(&mut set, 20, 1000, 30), 256, "all of them");
    }

    #[test]
    fn large_messages_get_as_many_buffers_as_fit_the_budget() {
        let mut set = set(256);
        assert_eq!(turns(&mut set, 500, 100, 16 << 10), (BUDGET / (16 << 10)) as u16);
        assert_eq!(turns(&mut set, 500, 100, 128 << 10), MIN_READY);
    }

    #[test]
    fn the_number_shrinks_after_a_burst() {
        let mut set = set(256);
        turns(&mut set, 50, 200, 30);
        assert_eq!(turns(&mut set, 500, 1, 30), MIN_READY);
    }

    #[test]
    fn turns_that_receive_nothing_change_nothing() {
        let mut set = set(256);
        let target = turns(&mut set, 50, 20, 30);
        assert_eq!(turns(&mut set, 10_000, 0, 0), target);
    }

    #[test]
    fn small_messages_after_large_ones_grow_the_set_within_some_turns() {
        let mut set = set(256);
        turns(&mut set, 500, 100, 128 << 10);
        assert!(turns(&mut set, 60, 40, 30) >= 40);
    }

    #[test]
    fn the_number_never_exceeds_the_count() {
        for count in [1, 2] {
            let mut set = set(count);
            assert_eq!(turns(&mut set, 100, 100, 30), count);
        }
    }
}
