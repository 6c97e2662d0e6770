//! What is due next in one thread. Pure: no clock.
//!
//! The entries due within the current 4 ms are in a binary heap, which orders them to the
//! nanosecond. Later ones are in a wheel of slots of 4 ms, unordered; a slot moves to the heap when
//! its time comes. An entry beyond the last slot shares a slot with earlier ones, and stays there
//! until its lap.
//!
//! The choice was measured: the CPU time to take the first entry and to add another one, on an EPYC
//! with 1 MiB of L2 cache, in nanoseconds.
//!
//! | entries, spread over | this | `BinaryHeap` | heap of 4 children | hierarchical wheel of lists |
//! |---|---|---|---|---|
//! | 10, 1 ms | 29 | 22 | 19 | 28 |
//! | 1 000, 1 s | 30 | 39 | 65 | 29 |
//! | 50 000, 1 s | 64 | 101 | 124 | 73 |
//! | 1 000 000, 30 s | 83 | 873 | 451 | 497 |
//!
//! A heap of a million entries misses the cache at most of its levels. A hierarchical wheel moves
//! all entries of a slot of an upper level at once, up to a million, and delays the messages due
//! meanwhile. `ringway_io::TimerWheel` has ticks of at least 1 ms, one timer per name, and no order
//! within a tick. Slots of 1 to 16 ms, and 1024 to 4096 of them, differ by less than the noise.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

/// The length of a slot: 2²² ns, 4.2 ms.
const SLOT_BITS: u32 = 22;
/// The number of slots. A lap takes 4.3 s.
const SLOTS: usize = 1024;
const WORDS: usize = SLOTS / 64;

/// A queue of items by time, in nanoseconds. Items with the same time leave in the order in which
/// they came. Entries cannot be removed; an item that may become obsolete carries a generation, and
/// is ignored when it leaves.
///
/// It occupies 25 KB, and 24 to 48 bytes for each entry with an item of 8 bytes.
#[derive(Debug)]
pub(crate) struct Agenda<T> {
    /// The entries in slots up to `loaded`.
    near: BinaryHeap<Entry<T>>,
    /// The other entries, by the number of their slot modulo [`SLOTS`].
    slots: Box<[Vec<Entry<T>>]>,
    /// Bit s of the words: slot s is not empty.
    occupied: [u64; WORDS],
    /// The number of the slot up to which entries are in `near`.
    loaded: u64,
    /// The number of entries that were ever added.
    added: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    time: u64,
    order: u64,
    item: T,
}

impl<T: Copy> Agenda<T> {
    pub(crate) fn new() -> Self {
        Self {
            near: BinaryHeap::new(),
            slots: std::iter::repeat_with(Vec::new).take(SLOTS).collect(),
            occupied: [0; WORDS],
            loaded: 0,
            added: 0,
        }
    }

    /// Adds an item. It is due at once if its time has passed.
    #[inline]
    pub(crate) fn push(&mut self, time: u64, item: T) {
        let entry = Entry { time, order: self.added, item };
        self.added += 1;
        let slot = time >> SLOT_BITS;
        if slot <= self.loaded {
            self.near.push(entry);
        } else {
            let place = slot as usize % SLOTS;
            self.slots[place].push(entry);
            self.occupied[place / 64] |= 1 << (place % 64);
        }
    }

    /// Removes the first item, if it is due at `now`. Returns its time too. `now` must not
    /// decrease.
    #[inline]
    pub(crate) fn pop(&mut self, now: u64) -> Option<(u64, T)> {
        let slot = now >> SLOT_BITS;
        if slot > self.loaded {
            self.load(slot);
        }
        if self.near.peek()?.time > now {
            return None;
        }
        let entry = self.near.pop()?;
        Some((entry.time, entry.item))
    }

    /// The time of the next call of [`Agenda::pop`]: that of the first item if it is within 4 ms,
    /// otherwise an earlier one. After `pop(now)` has returned `None`, it is later than `now`.
    /// `None`: there are no items.
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        match self.near.peek() {
            Some(entry) => Some(entry.time),
            None => self.occupied_after(self.loaded).map(|slot| slot << SLOT_BITS),
        }
    }

    /// The number of items that were ever added: while it does not change, neither does
    /// [`Agenda::next`], except by [`Agenda::pop`].
    #[inline]
    pub(crate) fn added(&self) -> u64 {
        self.added
    }

    /// The number of items.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.near.len() + self.slots.iter().map(Vec::len).sum::<usize>()
    }

    /// Moves the entries of all slots up to this one to the heap.
    #[cold]
    fn load(&mut self, last: u64) {
        let Self { near, slots, occupied, .. } = self;
        let mut load = |place: usize| {
            let entries = &mut slots[place];
            near.extend(entries.extract_if(.., |entry| entry.time >> SLOT_BITS <= last));
            if entries.is_empty() {
                occupied[place / 64] &= !(1 << (place % 64));
            }
        };
        if last - self.loaded >= SLOTS as u64 {
            (0..SLOTS).for_each(load);
        } else {
            (self.loaded + 1..=last).for_each(|slot| load(slot as usize % SLOTS));
        }
        self.loaded = last;
    }

    /// The first slot after this one that is not empty, if its entries are those of this lap.
    fn occupied_after(&self, slot: u64) -> Option<u64> {
        let first = (slot + 1) as usize % SLOTS;
        // The word of the first place is examined twice: from its bit, and at the end up to it.
        (0..=WORDS).find_map(|step| {
            let word = (first / 64 + step) % WORDS;
            let mask = match step {
                0 => !0 << (first % 64),
                WORDS => !(!0 << (first % 64)),
                _ => !0,
            };
            let bits = self.occupied[word] & mask;
            let place = word * 64 + bits.trailing_zeros() as usize;
            (bits != 0).then(|| slot + 1 + ((place + SLOTS - first) % SLOTS) as u64)
        })
    }
}

/// The first entry is the greatest, because a [`BinaryHeap`] returns the greatest.
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.time, other.order).cmp(&(self.time, self.order))
    }
}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Entry<T> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const SLOT: u64 = 1 << SLOT_BITS;
    const LAP: u64 = SLOT * SLOTS as u64;

    #[test]
    fn items_leave_in_the_order_of_their_times() {
        let mut agenda = Agenda::new();
        for (time, item) in [(3 * LAP + 5, 'e'), (SLOT + 1, 'c'), (7, 'b'), (0, 'a'), (SLOT + 2, 'd')] {
            agenda.push(time, item);
        }
        let mut left = Vec::new();
        while let Some(next) = agenda.next() {
            left.extend(agenda.pop(next));
        }
        assert_eq!(left, [(0, 'a'), (7, 'b'), (SLOT + 1, 'c'), (SLOT + 2, 'd'), (3 * LAP + 5, 'e')]);
        assert_eq!((agenda.len(), agenda.next()), (0, None));
    }

    #[test]
    fn items_of_the_same_time_leave_in_the_order_in_which_they_came() {
        for time in [5, 100 * SLOT, 2 * LAP] {
            let mut agenda = Agenda::new();
            (0..1000).for_each(|item| agenda.push(time, item));
            let left: Vec<u32> = std::iter::from_fn(|| agenda.pop(time)).map(|(_, item)| item).collect();
            assert!(left.iter().copied().eq(0..1000));
        }
    }

    #[test]
    fn nothing_leaves_early() {
        let mut agenda = Agenda::new();
        agenda.push(1_000_000, ());
        assert_eq!(agenda.pop(999_999), None);
        assert_eq!(agenda.next(), Some(1_000_000));
        assert_eq!(agenda.pop(1_000_000), Some((1_000_000, ())));
    }

    #[test]
    fn an_item_far_ahead_is_looked_at_once_per_lap() {
        let mut agenda = Agenda::new();
        let hour = 3_600_000_000_000;
        agenda.push(hour, ());
        let mut looks = 0;
        let found = loop {
            let now = agenda.next().expect("there is an item");
            looks += 1;
            if let Some((time, ())) = agenda.pop(now) {
                assert_eq!((now, time), (hour, hour));
                break time;
            }
        };
        assert_eq!(found, hour);
        assert!(looks <= hour / LAP + 2, "{looks} looks");
    }

    #[derive(Clone, Debug)]
    enum Step {
        /// Adds an item this long after the current time, or before it.
        Push(u64, bool),
        /// Time passes, and up to so many items are taken.
        Pass(u64, usize),
        /// Time passes until the agenda asks to be called.
        Wait,
    }

    fn span() -> impl Strategy<Value = u64> {
        let edge = |of: u64| (0u64..5, of - 2..of + 3).prop_map(|(laps, at)| laps * LAP + at);
        prop_oneof![4 => 0..1000u64, 4 => 0..5 * SLOT, 4 => 0..2 * LAP, 2 => edge(SLOT), 2 => edge(LAP), 1 => 0..20 * LAP]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (span(), prop::bool::weighted(0.1)).prop_map(|(span, before)| Step::Push(span, before)),
            2 => (span(), 0usize..10).prop_map(|(span, max)| Step::Pass(span, max)),
            2 => Just(Step::Wait),
        ]
    }

    proptest! {
        /// The oracle is a sorted map.
        #[test]
        fn the_agenda_agrees_with_a_sorted_map(begin in 0..3 * LAP, steps in prop::collection::vec(step(), 1..300)) {
            let mut agenda = Agenda::new();
            let mut oracle = BTreeMap::new();
            let mut now = begin;
            for (item, step) in steps.into_iter().enumerate() {
                let max = match step {
                    Step::Push(span, before) => {
                        let time = if before { now.saturating_sub(span) } else { now + span };
                        agenda.push(time, item);
                        oracle.insert((time, item), ());
                        0
                    }
                    Step::Pass(span, max) => {
                        now += span;
                        max
                    }
                    Step::Wait => {
                        now = now.max(agenda.next().unwrap_or(now));
                        usize::MAX
                    }
                };
                for _ in 0..max {
                    let first = oracle.first_key_value().map(|(key, ())| *key).filter(|(time, _)| *time <= now);
                    prop_assert_eq!(agenda.pop(now), first);
                    let Some(first) = first else {
                        prop_assert!(agenda.next().is_none_or(|next| next > now), "the agenda spins");
                        break;
                    };
                    oracle.remove(&first);
                }
                let first = oracle.first_key_value().map(|((time, _), ())| *time);
                prop_assert_eq!(agenda.next().is_some(), first.is_some());
                prop_assert!(agenda.next() <= first, "the agenda would be called too late");
                prop_assert_eq!(agenda.len(), oracle.len());
            }
        }
    }
}
