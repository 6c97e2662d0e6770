//! Which numbers of one sender a receiver has seen: gaps, order and duplicates. Pure.

/// The numbers of one sender that were received. Numbers begin at 0 and wrap to 0 after 2³².
///
/// The latest 64 numbers are known one by one. An older number counts as missing if it had not come
/// by then. The state is 12 bytes, so that it fits one for each connection or pair of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sequence {
    /// The number after the highest one received.
    next: u32,
    /// Bit `i`: the number `next - 1 - i` was received; the low and the high half.
    seen: [u32; 2],
}

/// What a received number shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// It is higher than all before.
    Ahead {
        /// Older numbers that count as missing from now on.
        missing: u64,
    },
    /// A higher one has come before it: it is out of order.
    Behind,
    /// It has come before.
    Duplicate,
    /// It is more than 63 below the highest one: out of order or a duplicate.
    Stale,
}

impl Default for Sequence {
    fn default() -> Self {
        // The numbers before 0 do not count as missing.
        Self { next: 0, seen: [u32::MAX; 2] }
    }
}

impl Sequence {
    /// Notes a received number.
    #[inline]
    pub(crate) fn receive(&mut self, number: u32) -> Arrival {
        let seen = self.seen();
        let ahead = number.wrapping_sub(self.next);
        if ahead < 1 << 31 {
            let steps = ahead + 1;
            // The numbers that leave the range of 64.
            let (missing, left) = match steps {
                1..=63 => (u64::from(steps) - u64::from((seen >> (64 - steps)).count_ones()), seen << steps),
                _ => (u64::from(seen.count_zeros()) + u64::from(steps - 64), 0),
            };
            self.set_seen(left | 1);
            self.next = number.wrapping_add(1);
            return Arrival::Ahead { missing };
        }
        let back = self.next.wrapping_sub(number) - 1;
        if back >= 64 {
            return Arrival::Stale;
        }
        let bit = 1 << back;
        if seen & bit != 0 {
            return Arrival::Duplicate;
        }
        self.set_seen(seen | bit);
        Arrival::Behind
    }

    /// The numbers below the highest one that did not come and do not count as missing yet.
    pub(crate) fn open_gaps(&self) -> u64 {
        self.seen().count_zeros().into()
    }

    #[inline]
    fn seen(&self) -> u64 {
        u64::from(self.seen[1]) << 32 | u64::from(self.seen[0])
    }

    #[inline]
    fn set_seen(&mut self, seen: u64) {
        self.seen = [seen as u32, (seen >> 32) as u32];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const IN_ORDER: Arrival = Arrival::Ahead { missing: 0 };

    #[test]
    fn numbers_in_order_have_no_gaps() {
        let mut sequence = Sequence::default();
        assert!((0..1000).all(|number| sequence.receive(number) == IN_ORDER));
        assert_eq!(sequence.open_gaps(), 0);
    }

    #[test]
    fn the_first_numbers_can_be_missing_too() {
        let mut sequence = Sequence::default();
        assert_eq!((sequence.receive(3), sequence.open_gaps()), (IN_ORDER, 3));
        let mut sequence = Sequence::default();
        assert_eq!(sequence.receive(100), Arrival::Ahead { missing: 37 });
        assert_eq!(sequence.open_gaps(), 63);
    }

    #[test]
    fn an_overtaken_number_is_out_of_order_once_and_then_a_duplicate() {
        let mut sequence = Sequence::default();
        let arrivals = [0, 2, 1, 1, 2, 3].map(|number| sequence.receive(number));
        let duplicate = Arrival::Duplicate;
        assert_eq!(arrivals, [IN_ORDER, IN_ORDER, Arrival::Behind, duplicate, duplicate, IN_ORDER]);
        assert_eq!(sequence.open_gaps(), 0);
    }

    #[test]
    fn numbers_wrap() {
        let mut sequence = Sequence { next: u32::MAX, ..Sequence::default() };
        assert_eq!([u32::MAX, 0, 1].map(|number| sequence.receive(number)), [IN_ORDER; 3]);
        assert_eq!((sequence.receive(u32::MAX), sequence.open_gaps()), (Arrival::Duplicate, 0));
    }

    proptest! {
        /// The oracle is the set of all numbers received. Steps are small, so that numbers are
        /// close to the limit of the range, and now and then large.
        #[test]
        fn the_sequence_agrees_with_a_set(steps in prop::collection::vec(prop_oneof![-80i64..90, -3i64..4], 1..300)) {
            let mut sequence = Sequence::default();
            let (mut received, mut highest, mut missing) = (HashSet::new(), -1i64, 0);
            for step in steps {
                let number = (highest + step).max(0);
                let expected_missing =
                    (highest - 63..=number - 64).filter(|gone| *gone >= 0 && !received.contains(gone)).count() as u64;
                let expected = if number > highest {
                    Arrival::Ahead { missing: expected_missing }
                } else if highest - number >= 64 {
                    Arrival::Stale
                } else if received.contains(&number) {
                    Arrival::Duplicate
                } else {
                    Arrival::Behind
                };
                prop_assert_eq!(sequence.receive(number as u32), expected);
                if let Arrival::Ahead { missing: more } = expected {
                    missing += more;
                }
                if expected != Arrival::Stale {
                    received.insert(number);
                }
                highest = highest.max(number);
                let all = (0..=highest).filter(|number| !received.contains(number)).count() as u64;
                prop_assert_eq!(missing + sequence.open_gaps(), all);
            }
        }
    }
}
