//! Random numbers as functions of a key: the same arguments give the same numbers on each call.

/// The increment of SplitMix64: 2^64 divided by the golden ratio, rounded to an odd number.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// The finalizer of SplitMix64 (Steele, Lea and Flood 2014): a bijection, in which each bit of the
/// argument changes about half of the bits of the result.
#[inline]
pub(super) const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The hash of message `number` of a connection. No two messages with one key have the same hash.
#[inline]
pub(super) const fn of_message(key: u64, connection: u32, number: u32) -> u64 {
    mix((((connection as u64) << 32) | number as u64) ^ key)
}

/// A number from 0 to `bound - 1`, uniform if `random` is, and 0 if `bound` is 0.
#[inline]
pub(super) const fn below(random: u64, bound: u64) -> u64 {
    ((random as u128 * bound as u128) >> 64) as u64
}

/// A sequence of random numbers: SplitMix64.
pub(super) struct Stream(u64);

impl Stream {
    /// The sequence of a seed.
    #[inline]
    pub(super) fn new(seed: u64) -> Self {
        Self(mix(seed))
    }

    /// The next number.
    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(GAMMA);
        mix(self.0)
    }

    /// The next number, from 0 to `bound - 1`.
    #[inline]
    pub(super) fn below(&mut self, bound: usize) -> usize {
        below(self.next(), bound as u64) as usize
    }

    /// One of the items.
    pub(super) fn choose<'a, T: ?Sized>(&mut self, items: &[&'a T]) -> &'a T {
        items[self.below(items.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_that_of_the_published_generator() {
        // The first outputs of SplitMix64 with the state 1234567 (Rosetta Code, "Pseudo-random
        // numbers/Splitmix64").
        let mut state = 1_234_567u64;
        let mut next = || {
            let output = mix(state);
            state = state.wrapping_add(GAMMA);
            output
        };
        assert_eq!([next(), next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn bounded_numbers_are_uniform() {
        let mut stream = Stream::new(5);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[stream.below(7)] += 1;
        }
        assert!(counts.iter().all(|count| (9_600..10_400).contains(count)), "{counts:?}");
        assert_eq!((below(u64::MAX, 0), below(u64::MAX, 1), below(u64::MAX, 10)), (0, 0, 9));
    }
}
