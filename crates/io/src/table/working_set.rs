//! How many receive buffers lie ready for the kernel: enough for what arrives in a turn, few enough
//! to stay in the cache.
//!
//! The kernel takes the buffers of a ring first in, first out, so every ready buffer is written in
//! its turn. When the bytes that are received into all of them exceed the L2 cache, each receive
//! writes to cold memory. The number of ready buffers therefore follows two moving figures:
//!
//! - the *demand*: twice the largest number of buffers that recent turns filled. A shortage fills
//!   all that were ready, so the demand grows by doubling; it decays by 1/64 a turn.
//! - the *fill*: the average number of bytes received into a buffer. The budget in bytes divided by
//!   the fill caps the number: thousands of buffers for small messages, a handful for large ones.
//!   Beyond the cap a shortage is cheaper than a cold buffer: the receive that finds none is armed
//!   again when buffers return.

use crate::BufferConfig;

/// The fraction of a new sample in the average fill, and of a turn in the decay of the demand, as
/// shifts.
const FILL_SHIFT: u32 = 5;
const DECAY_SHIFT: u32 = 6;

/// The fewest buffers that lie ready, however large their content: a turn with fewer receives too
/// little for a system call.
const MIN_READY: u16 = 4;

/// Pure arithmetic: it is told what a turn received and says how many buffers should be ready for
/// the next one.
#[derive(Debug)]
pub(super) struct WorkingSet {
    /// The bytes that the ready buffers may hold.
    budget: u32,
    /// Buffers that exist.
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

    /// How many buffers should lie ready.
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

    /// A turn is over. Turns that received nothing count for nothing: an idle shard keeps its
    /// working set.
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
        // Within the count, so it fits.
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

    /// Turns in each of which `wanted` buffers of `len` bytes are asked for; a turn gets no more
    /// than lie ready.
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
        assert_eq!(turns(&mut set, 20, 1000, 30), 256, "as many as there are");
    }

    #[test]
    fn large_messages_get_what_fits_the_budget_however_many_wait() {
        let mut set = set(256);
        assert_eq!(turns(&mut set, 500, 100, 16 << 10), (BUDGET / (16 << 10)) as u16);
        assert_eq!(turns(&mut set, 500, 100, 128 << 10), MIN_READY);
    }

    #[test]
    fn a_burst_is_forgotten() {
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
    fn there_are_never_more_ready_than_there_are() {
        for count in [1, 2] {
            let mut set = set(count);
            assert_eq!(turns(&mut set, 100, 100, 30), count);
        }
    }
}
