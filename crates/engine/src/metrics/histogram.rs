//! A histogram with constant bounds, written by one thread.

use std::time::Duration;

/// The maximum number of buckets of a histogram, the unbounded one included.
pub(crate) const MAX_BUCKETS: usize = 14;

/// The words of a histogram: its buckets and its sum.
pub(crate) const WORDS: usize = MAX_BUCKETS + 1;

/// The bounds of a histogram, and the unit of its values.
#[derive(Debug, PartialEq)]
pub(crate) struct Scale {
    /// The inclusive upper bounds of all buckets except for the last, ascending.
    bounds: &'static [u64],
    /// The number of recorded units in an exported one: a second, or a byte.
    units: f64,
}

impl Scale {
    const fn new(bounds: &'static [u64], units: f64) -> Self {
        assert!(bounds.len() < MAX_BUCKETS, "the last bucket has no bound");
        Self { bounds, units }
    }
}

/// Sizes in bytes: powers of 4 from 64 B to 16 MiB. [`Histogram::record_size`] depends on them.
pub(crate) static SIZE: Scale =
    Scale::new(&[1 << 6, 1 << 8, 1 << 10, 1 << 12, 1 << 14, 1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24], 1.0);

/// Connections, in milliseconds: 1 s to a week.
pub(crate) static LIFETIME: Scale = Scale::new(
    &[
        1_000,
        10_000,
        60_000,
        300_000,
        900_000,
        3_600_000,
        4 * 3_600_000,
        12 * 3_600_000,
        24 * 3_600_000,
        3 * 24 * 3_600_000,
        7 * 24 * 3_600_000,
    ],
    1e3,
);

/// Opening handshakes, in milliseconds: 1 ms to 10 s.
pub(crate) static HANDSHAKE: Scale =
    Scale::new(&[1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000], 1e3);

/// Round trips of a ping, in microseconds: 100 µs to 5 s.
pub(crate) static ROUND_TRIP: Scale = Scale::new(
    &[100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 5_000_000],
    1e6,
);

/// Work of a shard, in microseconds: 10 µs to 1 s.
pub(crate) static WORK: Scale =
    Scale::new(&[10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 100_000, 1_000_000], 1e6);

/// How often values were recorded, by range, and their sum. Times are in seconds, sizes in bytes.
///
/// ```
/// use ringway::Histogram;
///
/// /// The share of values up to a bound of the histogram.
/// fn share_up_to(histogram: &Histogram, bound: f64) -> Option<f64> {
///     let (_, count) = histogram.cumulative().find(|(at, _)| *at == bound)?;
///     Some(count as f64 / histogram.count().max(1) as f64)
/// }
/// # let _ = share_up_to;
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Histogram {
    scale: &'static Scale,
    buckets: [u64; MAX_BUCKETS],
    /// In recorded units.
    sum: u64,
    /// Whether a value was recorded since the last [`Histogram::take_changed`].
    changed: bool,
}

impl Histogram {
    pub(crate) const fn new(scale: &'static Scale) -> Self {
        Self { scale, buckets: [0; MAX_BUCKETS], sum: 0, changed: false }
    }

    /// Records a value, in the unit of the scale.
    #[inline]
    pub(crate) fn record(&mut self, value: u64) {
        let at = self.scale.bounds.iter().position(|bound| value <= *bound).unwrap_or(self.scale.bounds.len());
        self.record_at(at, value);
    }

    /// Records a time on a scale of microseconds.
    #[inline]
    pub(crate) fn record_micros(&mut self, time: Duration) {
        self.record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Records a size on the scale [`SIZE`], without a search: this is done for each message.
    #[inline]
    pub(crate) fn record_size(&mut self, size: usize) {
        // The number of bits of `size - 1` is 6 at most in the first bucket, and grows by 2 with each.
        let bits = usize::BITS - size.saturating_sub(1).leading_zeros();
        let at = (bits.saturating_sub(5) / 2).min(10);
        self.record_at(at as usize, size as u64);
    }

    #[inline]
    fn record_at(&mut self, at: usize, value: u64) {
        if let Some(bucket) = self.buckets.get_mut(at) {
            *bucket += 1;
        }
        self.sum = self.sum.wrapping_add(value);
        self.changed = true;
    }

    /// Whether a value was recorded since the last call.
    #[inline]
    pub(crate) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(crate) fn words(&self) -> [u64; WORDS] {
        let mut words = [self.sum; WORDS];
        words[..MAX_BUCKETS].copy_from_slice(&self.buckets);
        words
    }

    pub(crate) fn from_words(scale: &'static Scale, words: [u64; WORDS]) -> Self {
        let mut buckets = [0; MAX_BUCKETS];
        buckets.copy_from_slice(&words[..MAX_BUCKETS]);
        Self { scale, buckets, sum: words[MAX_BUCKETS], changed: false }
    }

    /// The number of values.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// The sum of the values, in seconds or bytes.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum as f64 / self.scale.units
    }

    /// The upper bounds of the buckets in seconds or bytes, ascending, the last infinite, each with
    /// the number of values in its bucket alone.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = self.scale.bounds.iter().map(|bound| *bound as f64 / self.scale.units);
        bounds.chain([f64::INFINITY]).zip(self.buckets)
    }

    /// As [`buckets`](Histogram::buckets), each with the number of values up to its bound.
    pub fn cumulative(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        self.buckets().scan(0, |sum, (bound, count)| {
            *sum += count;
            Some((bound, *sum))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The index of the only bucket with a value.
    fn bucket(record: impl FnOnce(&mut Histogram), scale: &'static Scale) -> usize {
        let mut histogram = Histogram::new(scale);
        record(&mut histogram);
        assert_eq!(histogram.count(), 1);
        histogram.buckets.iter().position(|count| *count == 1).expect("one value")
    }

    #[test]
    fn sizes_are_recorded_without_a_search_as_with_one() {
        let around = (0..27).flat_map(|bit| (-1..=1).map(move |by| (1_i64 << bit) + by)).chain([0, 1 << 40]);
        for size in around {
            let size = usize::try_from(size).expect("not negative");
            let searched = bucket(|histogram| histogram.record(size as u64), &SIZE);
            assert_eq!(bucket(|histogram| histogram.record_size(size), &SIZE), searched, "{size}");
        }
    }

    #[test]
    fn bounds_ascend_and_are_inclusive() {
        for scale in [&SIZE, &LIFETIME, &HANDSHAKE, &ROUND_TRIP, &WORK] {
            assert!(scale.bounds.is_sorted_by(|a, b| a < b) && scale.bounds.len() < MAX_BUCKETS, "{scale:?}");
            for (at, bound) in scale.bounds.iter().enumerate() {
                assert_eq!(bucket(|histogram| histogram.record(*bound), scale), at);
                assert_eq!(bucket(|histogram| histogram.record(bound + 1), scale), at + 1);
            }
        }
    }

    #[test]
    fn a_histogram_of_words_is_the_same() {
        let mut histogram = Histogram::new(&WORK);
        [Duration::from_micros(7), Duration::from_millis(3), Duration::from_secs(9)]
            .into_iter()
            .for_each(|time| histogram.record_micros(time));
        assert!(histogram.take_changed() && !histogram.take_changed());
        let copy = Histogram::from_words(&WORK, histogram.words());
        assert_eq!(copy, histogram);
        assert_eq!((copy.count(), copy.sum()), (3, 9.003007));
        let cumulative: Vec<_> = copy.cumulative().filter(|(bound, _)| [1e-5, 0.005, 1.0].contains(bound)).collect();
        assert_eq!(cumulative, [(1e-5, 1), (0.005, 2), (1.0, 2)]);
        assert_eq!(copy.cumulative().last(), Some((f64::INFINITY, 3)));
    }
}
