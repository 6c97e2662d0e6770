//! Slots: the names that completions bear.

use std::fmt;

/// How many bits of a generation a completion carries (see `uring::operation`).
const GENERATION_BITS: u32 = 24;

/// Names one connection of one driver.
///
/// The index is reused after the connection is gone; the generation tells its users apart, so that
/// a completion that comes late for a former user is recognised as stale and dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// The slot of `index` in its `generation`, of which the low 24 bits count.
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation: generation & ((1 << GENERATION_BITS) - 1) }
    }

    /// Where in a table the connection's state lies. Indices are dense: the lowest free one is not
    /// guaranteed, but no index is larger than the largest number of connections that were open at
    /// once.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// Which user of the index this is, modulo 2²⁴.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The name of the index's next user.
    #[must_use]
    pub(crate) const fn successor(self) -> Self {
        Self::new(self.index, self.generation.wrapping_add(1))
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.index, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_successor_differs_until_the_generation_wraps() {
        let first = Slot::new(7, 0);
        assert_ne!(first, first.successor());
        assert_eq!(first.successor().index(), 7);
        assert_eq!(Slot::new(7, (1 << GENERATION_BITS) - 1).successor(), first);
    }
}
