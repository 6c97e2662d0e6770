//! What a shard does when its connections hold nearly as much memory as they may.
//!
//! Above the high-water mark, the connections that hold the most are not read: the others can
//! finish what they have begun. At the limit, the connections that hold the most are closed with
//! 1013 until the sum is below that mark. Below the low-water mark reading resumes, and new
//! handshakes, which are refused with 503 from the limit on, are accepted again.

use crate::api::handler::Handler;
use crate::shard::core::Core;
use crate::shard::dispatch::Dispatch;
use crate::shard::memory::Pressure;
use ringway_io::{Driver, Slot};
use std::cmp::Reverse;

/// What is remembered between two turns.
#[derive(Debug, Default)]
pub(crate) struct Relief {
    /// The connections that are not read for want of memory.
    paused: Vec<Slot>,
    /// The tick of the last look for large holders.
    looked: Option<u32>,
    /// Whether memory has run out, and the sum has not been below the low-water mark since.
    exhausted: bool,
}

impl Relief {
    /// Whether opening handshakes are refused.
    #[inline]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.exhausted
    }
}

impl Core {
    /// Whether memory is short, or has been short until now.
    #[inline]
    pub(crate) fn needs_relief(&self) -> bool {
        self.memory.pressure() != Pressure::Low || self.relief.exhausted || !self.relief.paused.is_empty()
    }
}

impl<D: Driver, H: Handler> Dispatch<'_, D, H> {
    /// The end of a turn in which memory is short, or no longer is.
    #[cold]
    pub(crate) fn relieve(&mut self) {
        self.core.memory.trim();
        match self.core.memory.pressure() {
            Pressure::Low if self.core.memory.held() < self.core.memory.low_water() => {
                if std::mem::take(&mut self.core.relief.exhausted) {
                    tracing::info!(
                        closed = self.core.counters.memory_closes,
                        refused = self.core.counters.memory_refusals,
                        "memory is available again; new handshakes are accepted"
                    );
                }
                self.read_again();
            }
            Pressure::Low => {}
            // Looking at all sessions takes a while where there are many.
            Pressure::High if self.core.relief.looked == Some(self.core.tick()) => {}
            Pressure::High => self.pause_largest(),
            Pressure::Full => {
                if !std::mem::replace(&mut self.core.relief.exhausted, true) {
                    tracing::warn!(
                        held = self.core.memory.held(),
                        max = self.core.memory.max(),
                        "the connections of this shard hold all the memory they may (Limits::max_memory): new \
                         handshakes get 503, and those that hold the most are closed with 1013"
                    );
                }
                self.close_largest();
            }
        }
    }

    fn read_again(&mut self) {
        for slot in std::mem::take(&mut self.core.relief.paused) {
            if let Some(session) = self.sessions.get_mut(slot) {
                session.link.resume_from_memory(self.core);
            }
        }
    }

    /// The sessions that hold the mean or more of all that hold anything.
    fn large_holders(&mut self) -> Vec<(usize, Slot)> {
        self.core.relief.looked = Some(self.core.tick());
        let holders = || self.sessions.iter().map(|session| (session.held(), session.link.slot()));
        let (sum, count) =
            holders().filter(|(held, _)| *held > 0).fold((0, 0), |(sum, n), (held, _)| (sum + held, n + 1));
        let mean = (sum / usize::max(count, 1)).max(1);
        holders().filter(|(held, _)| *held >= mean).collect()
    }

    fn pause_largest(&mut self) {
        for (_, slot) in self.large_holders() {
            if let Some(session) = self.sessions.get_mut(slot)
                && session.link.pause_for_memory(self.core)
            {
                self.core.counters.memory_pauses += 1;
                self.core.relief.paused.push(slot);
            }
        }
    }

    /// Closes the largest holders until the sum is below the high-water mark.
    fn close_largest(&mut self) {
        let mut holders = self.large_holders();
        holders.sort_unstable_by_key(|&(held, slot)| (Reverse(held), slot.index()));
        for (_, slot) in holders {
            if self.core.memory.pressure() == Pressure::Low {
                break;
            }
            if let Some(session) = self.sessions.get_mut(slot)
                && let Some(removal) = session.shed(self.core)
            {
                self.remove(slot, removal);
            }
        }
    }
}
