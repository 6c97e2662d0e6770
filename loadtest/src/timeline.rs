//! The course of a run: the figures of each second.

use crate::histogram::Recorder;
use crate::ledger::{Counts, Ledger};
use serde::Serialize;

/// The figures of one interval of the measured part, over all populations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct IntervalFigures {
    /// The end of the interval, in seconds since measuring began.
    pub at: f64,
    /// Messages that were due, per second.
    pub offered_per_second: f64,
    /// Messages that were submitted, per second.
    pub sent_per_second: f64,
    /// Replies, and other messages, that arrived, per second.
    pub arrived_per_second: f64,
    /// The median response time of the replies that arrived, in microseconds.
    pub p50: Option<f64>,
    /// The 99th percentile of it.
    pub p99: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// Errors of all kinds.
    pub errors: u64,
}

/// The intervals of the measured part. Threads end an interval at slightly different times; the
/// figures are those between the cuts of each.
#[derive(Default)]
pub(crate) struct Timeline {
    intervals: Vec<Interval>,
    /// By thread, the number of its intervals so far.
    of_thread: Vec<usize>,
}

#[derive(Default)]
struct Interval {
    /// The latest end, in nanoseconds.
    to: u64,
    counts: Counts,
    response: Recorder,
    errors: u64,
}

impl Timeline {
    /// Adds the ledgers of a thread up to a time since measuring began.
    pub(crate) fn add(&mut self, to: u64, thread: usize, ledgers: &[Box<Ledger>]) {
        if self.of_thread.len() <= thread {
            self.of_thread.resize(thread + 1, 0);
        }
        let number = self.of_thread[thread];
        self.of_thread[thread] += 1;
        if self.intervals.len() <= number {
            self.intervals.resize_with(number + 1, Interval::default);
        }
        let interval = &mut self.intervals[number];
        interval.to = interval.to.max(to);
        for ledger in ledgers {
            interval.counts.add(&ledger.counts);
            interval.response.merge(&mut ledger.response.clone());
            interval.errors += ledger.errors.total();
        }
    }

    /// The figures of all intervals.
    pub(crate) fn figures(&mut self) -> Vec<IntervalFigures> {
        let mut from = 0;
        let figures = self.intervals.iter_mut().map(|interval| {
            let seconds = interval.to.saturating_sub(from) as f64 / 1e9;
            from = interval.to;
            let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
            let quantiles = interval.response.quantiles();
            IntervalFigures {
                at: interval.to as f64 / 1e9,
                offered_per_second: rate(interval.counts.offered),
                sent_per_second: rate(interval.counts.submitted),
                arrived_per_second: rate(interval.counts.arrived),
                p50: quantiles.map(|quantiles| quantiles.p50),
                p99: quantiles.map(|quantiles| quantiles.p99),
                max: quantiles.map(|quantiles| quantiles.max),
                errors: interval.errors,
            }
        });
        figures.collect()
    }
}

/// The response times of the latest interval, for the live view.
#[derive(Default)]
pub(crate) struct Moment {
    response: Recorder,
    threads: Vec<bool>,
    shown: (Option<f64>, Option<f64>),
}

impl Moment {
    /// Adds the ledgers of the answered populations of a thread, all of one cut. The second cut of a
    /// thread begins a new interval.
    pub(crate) fn add<'a>(&mut self, thread: usize, ledgers: impl IntoIterator<Item = &'a mut Ledger>) {
        if self.threads.len() <= thread {
            self.threads.resize(thread + 1, false);
        }
        if self.threads[thread] {
            self.shown = self.latest();
            self.response.reset();
            self.threads.fill(false);
        }
        self.threads[thread] = true;
        for ledger in ledgers {
            self.response.merge(&mut ledger.response);
        }
    }

    fn latest(&mut self) -> (Option<f64>, Option<f64>) {
        self.response.quantiles().map_or((None, None), |quantiles| (Some(quantiles.p50), Some(quantiles.p99)))
    }

    /// The median and the 99th percentile of the latest interval with replies.
    pub(crate) fn quantiles(&mut self) -> (Option<f64>, Option<f64>) {
        match self.latest() {
            (None, None) => self.shown,
            latest => latest,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(sent: u64, nanos: u64) -> Box<Ledger> {
        let mut ledger = Box::<Ledger>::default();
        ledger.counts.submitted = sent;
        ledger.counts.arrived = sent;
        (0..sent).for_each(|_| ledger.response.record(nanos));
        ledger
    }

    #[test]
    fn an_interval_has_the_figures_of_all_threads() {
        let mut timeline = Timeline::default();
        timeline.add(1_000_000_000, 0, &[ledger(10, 1_000)]);
        timeline.add(1_000_000_000, 1, &[ledger(30, 2_000), ledger(5, 2_000)]);
        timeline.add(1_500_000_000, 1, &[ledger(7, 9_000)]);
        timeline.add(1_500_000_000, 0, &[ledger(0, 0)]);
        let figures = timeline.figures();
        assert_eq!(figures.len(), 2);
        assert_eq!((figures[0].at, figures[0].sent_per_second, figures[0].arrived_per_second), (1.0, 45.0, 45.0));
        assert_eq!((figures[1].at, figures[1].sent_per_second), (1.5, 14.0));
        assert!(figures[0].p50.is_some_and(|p50| (1.9..2.1).contains(&p50)), "{figures:?}");
    }

    #[test]
    fn the_live_view_has_the_latest_interval() {
        let mut moment = Moment::default();
        assert_eq!(moment.quantiles(), (None, None));
        let mut add = |thread, sent, nanos| {
            moment.add(thread, [&mut *ledger(sent, nanos)]);
            moment.quantiles().0.expect("there were replies")
        };
        add(0, 10, 1_000);
        assert!(add(1, 10, 1_000) < 2.0);
        assert!(add(0, 10, 5_000) > 4.0);
        assert!(add(0, 0, 0) > 4.0, "an interval without replies changes nothing");
    }

    #[test]
    fn the_live_view_has_all_populations_of_an_interval() {
        let mut moment = Moment::default();
        for thread in 0..2 {
            moment.add(thread, [&mut *ledger(90, 9_000), &mut *ledger(10, 1_000)]);
        }
        let (p50, p99) = moment.quantiles();
        assert!(p50.is_some_and(|p50| p50 > 8.0) && p99.is_some_and(|p99| p99 > 8.0), "{p50:?} {p99:?}");
        moment.add(0, [&mut *ledger(10, 9_000), &mut *ledger(90, 1_000)]);
        let (p50, p99) = moment.quantiles();
        assert!(p50.is_some_and(|p50| p50 < 2.0) && p99.is_some_and(|p99| p99 > 8.0), "{p50:?} {p99:?}");
    }
}
