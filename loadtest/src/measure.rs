//! Latencies: one histogram for each thread, merged at the end.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

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

/// How long a thread ran in a window, and how long it was runnable but not running.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Time on a core.
    pub(crate) cpu: Duration,
    /// Time spent runnable, waiting for a core.
    pub(crate) delay: Duration,
    /// The length of the window.
    pub(crate) wall: Duration,
}

impl Usage {
    /// The share of the window for which the thread ran.
    pub(crate) fn busy(&self) -> f64 {
        share(self.cpu, self.wall)
    }

    /// The share of the window for which the thread waited for a core.
    pub(crate) fn waiting(&self) -> f64 {
        share(self.delay, self.wall)
    }
}

fn share(part: Duration, of: Duration) -> f64 {
    if of.is_zero() { 0.0 } else { (part.as_secs_f64() / of.as_secs_f64()).min(1.0) }
}

/// The clocks of a thread at one point in time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) wall: std::time::Instant,
    pub(crate) cpu: Duration,
    pub(crate) delay: Duration,
}

impl Clocks {
    /// Reads the clocks of the calling thread, which takes two system calls and reads one file in
    /// `/proc`.
    pub(crate) fn of_this_thread() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self {
            wall: std::time::Instant::now(),
            cpu: Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec.unsigned_abs() as u32),
            delay: schedstat_delay(&schedstat),
        }
    }

    /// The use since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(begin.cpu),
            delay: self.delay.saturating_sub(begin.delay),
            wall: self.wall.saturating_duration_since(begin.wall),
        }
    }
}

/// The second number of a schedstat file: nanoseconds spent runnable but not running. Zero if the
/// kernel was built without it.
fn schedstat_delay(text: &str) -> Duration {
    Duration::from_nanos(text.split_whitespace().nth(1).and_then(|field| field.parse().ok()).unwrap_or(0))
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

    #[test]
    fn the_second_number_is_the_delay() {
        assert_eq!(schedstat_delay("123 456 7\n"), Duration::from_nanos(456));
        assert_eq!(schedstat_delay(""), Duration::ZERO);
    }

    #[test]
    fn a_thread_that_computes_is_busy() {
        let begin = Clocks::of_this_thread();
        while Clocks::of_this_thread().cpu < begin.cpu + Duration::from_millis(20) {}
        let usage = Clocks::of_this_thread().since(&begin);
        // These are two clocks of the kernel, which may differ by microseconds.
        let within = usage.wall >= usage.cpu * 9 / 10;
        assert!(usage.cpu >= Duration::from_millis(20) && within && usage.busy() > 0.0, "{usage:?}");
    }
}
