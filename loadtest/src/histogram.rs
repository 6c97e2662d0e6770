//! Histograms of latencies: one for each thread and population, merged at the end.

mod distribution;
#[cfg(test)]
mod tests;

use distribution::Distribution;
use hdrhistogram::Histogram;
use serde::Serialize;

/// The maximum latency of the histogram, in nanoseconds: an hour. Longer ones are recorded as this.
const MAX_NANOS: u64 = 3_600_000_000_000;

/// Records latencies in nanoseconds, with three significant digits, from 1 ns to an hour, in 270
/// KB.
///
/// Echoes that arrive in one buffer and were sent at the same time have the same latency. Runs of
/// equal latencies are recorded together, which makes recording cheap with many messages in flight.
///
/// Of a message that was not answered, a lower bound of the latency is known: the time waited. It
/// is recorded too, because to leave it out would make the figures too small. A quantile below all
/// lower bounds is exact; the others are lower bounds themselves, and are marked as such.
#[derive(Clone)]
pub(crate) struct Recorder {
    /// `None`: nothing was recorded. Many recorders of a run record nothing.
    histogram: Option<Box<Histogram<u64>>>,
    latest: u64,
    repeated: u64,
    saturated: u64,
    lower_bounds: u64,
    /// The smallest lower bound; `u64::MAX` if there is none.
    smallest_bound: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self { histogram: None, latest: 0, repeated: 0, saturated: 0, lower_bounds: 0, smallest_bound: u64::MAX }
    }

    fn histogram(&mut self) -> &mut Histogram<u64> {
        self.histogram.get_or_insert_with(|| {
            Box::new(Histogram::new_with_bounds(1, MAX_NANOS, 3).expect("the bounds are in order"))
        })
    }

    /// Records one latency.
    #[inline]
    pub(crate) fn record(&mut self, nanos: u64) {
        if nanos != self.latest {
            self.flush();
            self.latest = nanos;
        }
        self.repeated += 1;
    }

    /// Records a message that is not answered after this time: its latency is at least this.
    pub(crate) fn record_lower_bound(&mut self, nanos: u64) {
        self.record_lower_bounds(nanos, 1);
    }

    /// Records this many of them.
    pub(crate) fn record_lower_bounds(&mut self, nanos: u64, count: u64) {
        self.add(nanos, count);
        self.lower_bounds += count;
        self.smallest_bound = self.smallest_bound.min(nanos);
    }

    /// Discards the recorded latencies.
    pub(crate) fn reset(&mut self) {
        if let Some(histogram) = &mut self.histogram {
            histogram.reset();
        }
        (self.repeated, self.saturated) = (0, 0);
        (self.lower_bounds, self.smallest_bound) = (0, u64::MAX);
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.repeated);
        if count > 0 {
            self.add(self.latest, count);
        }
    }

    fn add(&mut self, nanos: u64, count: u64) {
        if nanos > MAX_NANOS {
            self.saturated += count;
            self.smallest_bound = self.smallest_bound.min(MAX_NANOS);
        }
        self.histogram().saturating_record_n(nanos.min(MAX_NANOS), count);
    }

    /// Adds the recordings of another thread.
    pub(crate) fn merge(&mut self, other: &mut Self) {
        self.flush();
        other.flush();
        if let Some(histogram) = &other.histogram {
            self.histogram().add(&**histogram).expect("all recorders have the same bounds");
        }
        self.saturated += other.saturated;
        self.lower_bounds += other.lower_bounds;
        self.smallest_bound = self.smallest_bound.min(other.smallest_bound);
    }

    /// The number of latencies in a range, as far as the resolution allows.
    pub(crate) fn count_between(&mut self, from: u64, to: u64) -> u64 {
        self.flush();
        self.histogram.as_ref().map_or(0, |histogram| histogram.count_between(from, to.min(MAX_NANOS)))
    }

    /// The figures; `None` if nothing was recorded.
    pub(crate) fn quantiles(&mut self) -> Option<Quantiles> {
        self.flush();
        let lower_bound_from = self.lower_bound_from();
        let histogram = self.histogram.as_ref().filter(|histogram| !histogram.is_empty())?;
        let at = |quantile| micros(histogram.value_at_quantile(quantile));
        Some(Quantiles {
            min: micros(histogram.min()),
            p50: at(0.5),
            p75: at(0.75),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            p9999: at(0.9999),
            max: micros(histogram.max()),
            mean: histogram.mean().round() / 1000.0,
            stdev: histogram.stdev().round() / 1000.0,
            count: histogram.len(),
            lower_bounds: self.lower_bounds,
            saturated: self.saturated,
            lower_bound_from,
        })
    }

    /// The buckets that are not empty, in ascending order. Those of all recorders have the same
    /// bounds, so histograms of several runs are merged by adding the counts of equal buckets.
    pub(crate) fn buckets(&mut self) -> Vec<Bucket> {
        self.flush();
        let Some(histogram) = &self.histogram else { return Vec::new() };
        let recorded = histogram.iter_recorded().map(|at| {
            let value = at.value_iterated_to();
            let (lower, upper) = (histogram.lowest_equivalent(value), histogram.highest_equivalent(value));
            Bucket(micros(lower), micros(upper), at.count_at_value())
        });
        recorded.collect()
    }

    /// The whole distribution; `None` if nothing was recorded.
    pub(crate) fn distribution(&mut self) -> Option<Distribution> {
        let quantiles = self.quantiles()?;
        Some(Distribution::of(self.histogram.as_ref()?, quantiles))
    }

    /// The lower end of the bucket of the smallest lower bound.
    fn lower_bound_from(&self) -> Option<f64> {
        let is_any = self.smallest_bound != u64::MAX;
        let histogram = self.histogram.as_ref().filter(|_| is_any)?;
        Some(micros(histogram.lowest_equivalent(self.smallest_bound)))
    }
}

impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// A bucket of a histogram: its lower and upper bound in microseconds, which are whole nanoseconds
/// and belong to it, and the number of latencies in it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket(pub f64, pub f64, pub u64);

/// The figures of a histogram, in microseconds. A quantile is the upper end of its bucket, so it is
/// never below the true value, and above it by at most 0.1 %. If some messages were not answered,
/// [`Quantiles::is_lower_bound`] says which figures are lower bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// The minimum; at most 0.1 % below the true value.
    pub min: f64,
    /// The median.
    pub p50: f64,
    /// The 75th percentile.
    pub p75: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 95th percentile.
    pub p95: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The 99.99th percentile.
    pub p9999: f64,
    /// The maximum.
    pub max: f64,
    /// The mean: a lower bound if there is any.
    pub mean: f64,
    /// The standard deviation. If there are lower bounds, it holds for them and not for the
    /// latencies.
    pub stdev: f64,
    /// The number of latencies, lower bounds included.
    pub count: u64,
    /// The number of messages that were not answered, whose latency is at least the time waited.
    pub lower_bounds: u64,
    /// The number of latencies above an hour, the histogram's maximum. They are recorded as an
    /// hour, which is a lower bound.
    pub saturated: u64,
    /// Quantiles, minima and maxima from this value on are lower bounds; `None`: all are exact.
    pub lower_bound_from: Option<f64>,
}

impl Quantiles {
    /// Whether the true value of a quantile, of the minimum or of the maximum may be larger than
    /// this figure, because messages that count were not answered, or took longer than the
    /// histogram's maximum. Such a figure is printed with ≥.
    #[must_use]
    pub fn is_lower_bound(&self, figure: f64) -> bool {
        self.lower_bound_from.is_some_and(|from| figure >= from)
    }
}
