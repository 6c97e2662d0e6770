//! Latencies: one histogram for each thread, merged at the end.

use hdrhistogram::Histogram;
use serde::Serialize;

/// The maximum latency of the histogram, in nanoseconds. Longer ones are recorded as this.
const MAX_NANOS: u64 = 60_000_000_000;

/// Records latencies in nanoseconds, with three significant digits, from 1 ns to 60 s.
///
/// Echoes that arrive in one buffer and were sent at the same time have the same latency. Runs of
/// equal latencies are recorded together, which makes recording cheap with many messages in flight.
pub(crate) struct Recorder {
    histogram: Histogram<u64>,
    latest: u64,
    repeated: u64,
    saturated: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_NANOS, 3).expect("the bounds are in order");
        Self { histogram, latest: 0, repeated: 0, saturated: 0 }
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

    /// Discards the recorded latencies.
    pub(crate) fn reset(&mut self) {
        self.histogram.reset();
        self.repeated = 0;
        self.saturated = 0;
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.repeated);
        if count > 0 {
            self.saturated += if self.latest > MAX_NANOS { count } else { 0 };
            self.histogram.saturating_record_n(self.latest, count);
        }
    }

    /// Adds the recordings of another thread.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.flush();
        other.flush();
        self.histogram.add(&other.histogram).expect("all recorders have the same bounds");
        self.saturated += other.saturated;
    }

    /// The number of latencies over 60 s, which are recorded as 60 s.
    pub(crate) fn saturated(&self) -> u64 {
        self.saturated
    }

    /// The figures; `None` if nothing was recorded.
    pub(crate) fn quantiles(&mut self) -> Option<Quantiles> {
        self.flush();
        let at = |quantile| micros(self.histogram.value_at_quantile(quantile));
        (!self.histogram.is_empty()).then(|| Quantiles {
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(self.histogram.max()),
            mean: (self.histogram.mean()).round() / 1000.0,
            count: self.histogram.len(),
        })
    }
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1000.0
}

/// The figures of a histogram, in microseconds. A quantile is the upper end of its bucket, so it is
/// never below the true value, and above it by at most 0.1 %.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The 99.9th percentile.
    pub p999: f64,
    /// The maximum.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// The number of latencies.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_never_below_the_truth_and_within_a_thousandth() {
        let mut recorder = Recorder::new();
        for nanos in 1..=1_000_000 {
            recorder.record(nanos);
        }
        let quantiles = recorder.quantiles().expect("recorded");
        for (found, truth) in [
            (quantiles.p50, 500.0),
            (quantiles.p90, 900.0),
            (quantiles.p99, 990.0),
            (quantiles.p999, 999.0),
            (quantiles.max, 1000.0),
        ] {
            assert!((truth..truth * 1.0011).contains(&found), "{found} for {truth}");
        }
        assert_eq!(quantiles.count, 1_000_000);
    }

    #[test]
    fn runs_of_equal_latencies_are_all_counted() {
        let mut recorder = Recorder::new();
        for nanos in [5_000, 5_000, 5_000, 7_000, 5_000] {
            recorder.record(nanos);
        }
        let quantiles = recorder.quantiles().expect("recorded");
        assert_eq!((quantiles.count, quantiles.p50), (5, 5.003));
        recorder.reset();
        assert_eq!(recorder.quantiles(), None);
    }

    #[test]
    fn what_is_over_a_minute_is_kept_and_counted() {
        let (mut recorder, mut other) = (Recorder::new(), Recorder::new());
        recorder.record(u64::MAX);
        other.record(MAX_NANOS);
        recorder.merge(other);
        assert_eq!(recorder.saturated(), 1);
        let quantiles = recorder.quantiles().expect("recorded");
        assert!(quantiles.count == 2 && quantiles.p50 >= 60e6, "{quantiles:?}");
    }

    #[test]
    fn a_latency_of_nothing_is_recorded() {
        let mut recorder = Recorder::new();
        recorder.record(0);
        assert_eq!(recorder.quantiles().map(|quantiles| quantiles.count), Some(1));
    }
}
