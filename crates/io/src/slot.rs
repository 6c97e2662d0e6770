//! Slots identify connections in calls and completions.

use std::fmt;

/// How many bits of the generation fit into `user_data` (see `table::operation`).
const GENERATION_BITS: u32 = 24;

/// Identifies one connection of one driver.
///
/// The index is reused after the connection is closed. The generation distinguishes the connections
/// that use an index one after another, so that a late completion for an earlier one is recognised
/// as stale.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    index: u32,
    generation: u32,
}

impl Slot {
    /// The slot with this index and generation. Only the low 24 bits of the generation are used.
    #[must_use]
    pub const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation: generation & ((1 << GENERATION_BITS) - 1) }
    }

    /// The index of the connection in a table. Indices are dense: each is below the largest number
    /// of slots that were in use at once.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How often the index was reused, modulo 2²⁴.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }

    /// The slot that uses the index next.
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
