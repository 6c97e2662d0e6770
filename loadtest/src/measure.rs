//! Latencies: one histogram for each thread, merged at the end.

use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::Duration;

/// The longest latency that is told apart from longer ones, in nanoseconds: those count as this long.
const LONGEST: u64 = 60_000_000_000;

/// Records latencies in nanoseconds, with three significant digits, from 1 ns to 60 s.
///
/// Echoes that come in one buffer and were sent at one moment have one latency; runs of equal ones are recorded at once,
/// which makes recording nearly free when many messages are in flight.
pub(crate) struct Recorder {
    histogram: Histogram<u64>,
    latest: u64,
    repeated: u64,
    saturated: u64,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are in order");
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

    /// Forgets what was recorded.
    pub(crate) fn reset(&mut self) {
        self.histogram.reset();
        self.repeated = 0;
        self.saturated = 0;
    }

    fn flush(&mut self) {
        let count = std::mem::take(&mut self.repeated);
        if count > 0 {
            self.saturated += if self.latest > LONGEST { count } else { 0 };
            self.histogram.saturating_record_n(self.latest, count);
        }
    }

    /// What was recorded, by other threads too.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.flush();
        other.flush();
        self.histogram.add(&other.histogram).expect("all recorders have the same bounds");
        self.saturated += other.saturated;
    }

    /// How many latencies were over 60 s, and count as 60 s.
    pub(crate) fn saturated(&self) -> u64 {
        self.saturated
    }

    /// The figures; `None` when nothing was recorded.
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

/// What a histogram says, in microseconds. A quantile is the upper end of the histogram's step that it lies in, so it is
/// never below the true one, and above it by 0.1 % at most.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Quantiles {
    /// Half of all are this short.
    pub p50: f64,
    /// 90 % are.
    pub p90: f64,
    /// 99 % are.
    pub p99: f64,
    /// 99.9 % are.
    pub p999: f64,
    /// The longest.
    pub max: f64,
    /// The mean.
    pub mean: f64,
    /// How many there are.
    pub count: u64,
}

/// How much of the time a thread ran, and how much of it wanted to and was not let.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Usage {
    /// Time on a core.
    pub(crate) cpu: Duration,
    /// Time spent waiting for one, ready to run.
    pub(crate) delay: Duration,
    /// The length of the window.
    pub(crate) wall: Duration,
}

impl Usage {
    /// The share of the window that the thread ran.
    pub(crate) fn busy(&self) -> f64 {
        share(self.cpu, self.wall)
    }

    /// The share of the window that the thread waited for a core.
    pub(crate) fn waiting(&self) -> f64 {
        share(self.delay, self.wall)
    }
}

fn share(part: Duration, of: Duration) -> f64 {
    if of.is_zero() { 0.0 } else { (part.as_secs_f64() / of.as_secs_f64()).min(1.0) }
}

/// The clocks of a thread at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clocks {
    pub(crate) wall: std::time::Instant,
    pub(crate) cpu: Duration,
    pub(crate) delay: Duration,
}

impl Clocks {
    /// Those of the calling thread. Costs two system calls and the reading of one file in `/proc`.
    pub(crate) fn of_this_thread() -> Self {
        let cpu = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
        Self {
            wall: std::time::Instant::now(),
            cpu: Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec.unsigned_abs() as u32),
            delay: schedstat_delay(&schedstat),
        }
    }

    /// What happened since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> Usage {
        Usage {
            cpu: self.cpu.saturating_sub(begin.cpu),
            delay: self.delay.saturating_sub(begin.delay),
            wall: self.wall.saturating_duration_since(begin.wall),
        }
    }
}

/// The second number of a schedstat file: nanoseconds spent ready to run and not running. Zero where the kernel was
/// built without it.
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
        other.record(LONGEST);
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
        // Two clocks of the kernel, which need not agree to the microsecond.
        let within = usage.wall >= usage.cpu * 9 / 10;
        assert!(usage.cpu >= Duration::from_millis(20) && within && usage.busy() > 0.0, "{usage:?}");
    }
}
