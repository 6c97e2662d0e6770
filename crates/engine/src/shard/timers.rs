//! The timers that handlers set, on their connections and on the shard: any number for each, and no
//! memory for a connection without any.
//!
//! All timers of a shard are entries of one slab; the index of an entry identifies the timer on the
//! wheel. The timers of one owner form a doubly linked list, whose head is in a table beside the
//! sessions, so that all of them are released when the connection ends.

use crate::api::id::TimerId;
use ringway_io::{Slot, TimerWheel};
use std::collections::HashMap;
use std::time::{Duration, Instant};

const NONE: u32 = u32::MAX;

/// The resolution. The deadlines of the engine have a coarser one ([`TICK`](super::clock::TICK)),
/// so that an idle shard wakes up less often.
const TIMER_TICK: Duration = Duration::from_millis(1);

/// The owner of a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TimerOwner {
    Connection(Slot),
    Shard,
}

/// The timers of a shard and of its connections.
pub(crate) struct UserTimers {
    wheel: TimerWheel,
    entries: Vec<TimerEntry>,
    /// The first free entry; the others follow by `next`.
    free: u32,
    /// The first timer of each owner that has one.
    heads: HashMap<TimerOwner, u32>,
}

/// A timer that is set, or a free entry.
struct TimerEntry {
    /// `None` for a free entry.
    owner: Option<TimerOwner>,
    /// The number that the handler has chosen.
    token: u64,
    /// The number of times the entry was freed: distinguishes a timer from earlier ones in the same
    /// entry.
    generation: u32,
    next: u32,
    previous: u32,
}

impl UserTimers {
    pub(crate) fn new(now: Instant) -> Self {
        Self { wheel: TimerWheel::new(now, TIMER_TICK), entries: Vec::new(), free: NONE, heads: HashMap::new() }
    }

    /// Sets a timer.
    pub(crate) fn set(&mut self, owner: TimerOwner, token: u64, now: Instant, deadline: Instant) -> TimerId {
        if self.heads.is_empty() {
            // Without timers the wheel is not advanced.
            self.wheel.expire(now, &mut Vec::new());
        }
        let head = self.heads.get(&owner).copied().unwrap_or(NONE);
        let index = if self.free == NONE {
            self.entries.push(TimerEntry { owner: None, token: 0, generation: 0, next: NONE, previous: NONE });
            u32::try_from(self.entries.len() - 1).expect("2³² timers of 48 bytes exceed the memory")
        } else {
            self.free
        };
        let entry = &mut self.entries[index as usize];
        self.free = entry.next;
        (entry.owner, entry.token, entry.next, entry.previous) = (Some(owner), token, head, NONE);
        let id = TimerId { index, generation: entry.generation, token };
        if head != NONE {
            self.entries[head as usize].previous = index;
        }
        self.heads.insert(owner, index);
        self.wheel.set(index, deadline);
        id
    }

    /// Removes a timer of `owner`. Returns whether it was set.
    pub(crate) fn clear(&mut self, owner: TimerOwner, id: TimerId) -> bool {
        let entry = self.entries.get(id.index as usize);
        let Some(entry) = entry.filter(|entry| entry.owner == Some(owner) && entry.generation == id.generation) else {
            return false;
        };
        let (next, previous) = (entry.next, entry.previous);
        if next != NONE {
            self.entries[next as usize].previous = previous;
        }
        if previous != NONE {
            self.entries[previous as usize].next = next;
        } else if next != NONE {
            self.heads.insert(owner, next);
        } else {
            self.heads.remove(&owner);
        }
        self.free(id.index);
        true
    }

    /// Removes all timers of a connection, when it ends.
    pub(crate) fn release(&mut self, connection: Slot) {
        if self.heads.is_empty() {
            return;
        }
        let owner = TimerOwner::Connection(connection);
        let mut index = self.heads.remove(&owner).unwrap_or(NONE);
        while index != NONE {
            let next = self.entries[index as usize].next;
            self.free(index);
            index = next;
        }
    }

    /// Frees the entry of a timer that is on no list.
    fn free(&mut self, index: u32) {
        self.wheel.clear(index);
        let entry = &mut self.entries[index as usize];
        entry.owner = None;
        entry.generation = entry.generation.wrapping_add(1);
        entry.next = self.free;
        self.free = index;
    }

    /// The timers that have fired. Each stays set until it is [cleared](UserTimers::clear), so that
    /// the call for one of them can cancel another one.
    pub(crate) fn expired(&mut self, now: Instant, fired: &mut Vec<u32>) -> Vec<(TimerOwner, TimerId)> {
        if self.heads.is_empty() {
            return Vec::new();
        }
        self.wheel.expire(now, fired);
        let timer = |index: u32| {
            let entry = &self.entries[index as usize];
            Some((entry.owner?, TimerId { index, generation: entry.generation, token: entry.token }))
        };
        fired.drain(..).filter_map(timer).collect()
    }

    /// The time from `now` until a timer can fire; `None` if none is set.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.wheel.wait(now)
    }

    /// The number of timers that are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.iter().filter(|entry| entry.owner.is_some()).count()
    }

    /// The number of owners that have timers.
    #[cfg(test)]
    pub(crate) fn owners(&self) -> usize {
        self.heads.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TICK: Duration = TIMER_TICK;

    fn slot(index: u32) -> Slot {
        Slot::new(index, 1)
    }

    /// The shard for 0, otherwise a connection.
    fn owner(index: u32) -> TimerOwner {
        if index == 0 { TimerOwner::Shard } else { TimerOwner::Connection(slot(index)) }
    }

    #[test]
    fn a_timer_costs_48_bytes_and_its_place_on_the_wheel() {
        assert!(size_of::<TimerEntry>() <= 32, "{}", size_of::<TimerEntry>());
    }

    #[test]
    fn a_reused_entry_has_a_new_timer_id() {
        let start = Instant::now();
        let mut timers = UserTimers::new(start);
        let old = timers.set(owner(1), 5, start, start + TICK);
        assert!(timers.clear(owner(1), old) && !timers.clear(owner(1), old));
        let new = timers.set(owner(1), 5, start, start + TICK);
        assert_eq!((new.index, timers.entries.len()), (old.index, 1));
        assert!(!timers.clear(owner(1), old), "it is the id of the former timer");
        assert!(!timers.clear(owner(2), new), "it is another connection's");
        assert!(timers.clear(owner(1), new));
        assert_eq!((timers.len(), timers.owners(), timers.wait(start)), (0, 0, None));
    }

    #[test]
    fn releasing_a_connection_removes_only_its_timers() {
        let start = Instant::now();
        let mut timers = UserTimers::new(start);
        let kept = timers.set(owner(2), 6, start, start + 3 * TICK);
        for n in 1..100 {
            timers.set(owner(1), 5, start, start + n * TICK);
        }
        timers.release(slot(1));
        timers.release(slot(3));
        assert_eq!((timers.len(), timers.owners()), (1, 1));
        assert_eq!(timers.expired(start + Duration::from_secs(9), &mut Vec::new()), [(owner(2), kept)]);
        for n in 1..100 {
            timers.set(owner(1), 5, start, start + n * TICK);
        }
        assert_eq!(timers.entries.len(), 100, "entries are reused");
    }

    #[derive(Clone, Debug)]
    enum TimerStep {
        Set(u32, u64),
        /// Clears the timer that was set with this index, as the given connection.
        Clear(usize, u32),
        Release(u32),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = TimerStep> {
        prop_oneof![
            4 => (0..4u32, 0..2000u64).prop_map(|(owner, after)| TimerStep::Set(owner, after)),
            2 => (0..40usize, 0..4u32).prop_map(|(timer, owner)| TimerStep::Clear(timer, owner)),
            1 => (0..4u32).prop_map(TimerStep::Release),
            2 => (0..500u64).prop_map(TimerStep::Pass),
        ]
    }

    proptest! {
        /// Compared with a table of deadlines in ticks.
        #[test]
        fn timers_fire_once_and_on_time_unless_cleared(steps in proptest::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let mut timers = UserTimers::new(start);
            let mut model: BTreeMap<usize, (u32, u64)> = BTreeMap::new();
            let mut ids = Vec::new();
            let mut now = 0;
            for step in steps {
                match step {
                    TimerStep::Set(owner, after) => {
                        let deadline = (now + after).max(now + 1);
                        model.insert(ids.len(), (owner, deadline));
                        let at = |millis| start + Duration::from_millis(millis);
                        ids.push(timers.set(self::owner(owner), ids.len() as u64, at(now), at(now + after)));
                    }
                    TimerStep::Clear(timer, owner) => {
                        if let Some(id) = ids.get(timer) {
                            let is_set = model.get(&timer).is_some_and(|(of, _)| *of == owner);
                            prop_assert_eq!(timers.clear(self::owner(owner), *id), is_set);
                            if is_set {
                                model.remove(&timer);
                            }
                        }
                    }
                    TimerStep::Release(owner) => {
                        // A shard has its timers until it ends.
                        if owner > 0 {
                            timers.release(slot(owner));
                            model.retain(|_, (of, _)| *of != owner);
                        }
                    }
                    TimerStep::Pass(millis) => {
                        now += millis;
                        let fired = timers.expired(start + Duration::from_millis(now), &mut Vec::new());
                        let mut fired: Vec<usize> = fired
                            .into_iter()
                            .map(|(owner, id)| {
                                assert!(timers.clear(owner, id), "it was set until now");
                                assert_eq!(ids[id.token as usize], id);
                                id.token as usize
                            })
                            .collect();
                        fired.sort_unstable();
                        let due: Vec<usize> =
                            model.iter().filter(|(_, (_, tick))| *tick <= now).map(|(timer, _)| *timer).collect();
                        prop_assert_eq!(&fired, &due);
                        model.retain(|timer, _| !due.contains(timer));
                    }
                }
                prop_assert_eq!(timers.len(), model.len());
            }
        }
    }
}
