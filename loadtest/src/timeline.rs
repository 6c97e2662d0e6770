//! The course of a run: the figures of each second, or of longer intervals in a long run.

use crate::histogram::Recorder;
use crate::ledger::{Counts, Ledger};
use serde::Serialize;
use std::collections::VecDeque;
use std::mem;
use std::ops::Range;
use std::time::Duration;

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

/// The maximum number of intervals whose histograms are kept, because a thread has not ended them.
const MAX_OPEN: usize = 16;

/// Cuts of a thread in an hour.
const CUTS_PER_HOUR: u64 = 3600;

/// The intervals of the measured part. Threads end an interval at slightly different times; the
/// figures are those between the cuts of each.
///
/// Threads cut each second. An interval has one cut of each thread, and one more for each full hour
/// of the run. If the length of the run is known, all intervals have the same number of cuts, so
/// there are at most 3600; otherwise those of the second hour have two cuts, those of the third one
/// three, and so on. An interval is reduced to its figures when all threads have ended it, so a
/// histogram is kept for a few seconds only.
#[derive(Default)]
pub(crate) struct Timeline {
    figures: Vec<IntervalFigures>,
    /// The intervals that a thread has not ended, the oldest first.
    open: VecDeque<Interval>,
    /// By thread.
    threads: Vec<Progress>,
    /// The number of cuts in each interval; `None` if it depends on the time that has passed.
    cuts: Option<u64>,
    /// The number of cuts in all intervals so far.
    begun: u64,
    /// The end of the latest interval of `figures`, in nanoseconds.
    ended: u64,
}

/// The cuts of a thread.
#[derive(Clone, Copy, Default)]
struct Progress {
    cuts: u64,
    /// Whether no cut follows.
    is_over: bool,
}

#[derive(Default)]
struct Interval {
    /// The numbers of its cuts.
    cuts: Range<u64>,
    /// The latest end, in nanoseconds.
    to: u64,
    counts: Counts,
    response: Recorder,
    errors: u64,
}

impl Timeline {
    /// The timeline of a run of this length, if it is known, on this number of threads.
    pub(crate) fn new(length: Option<Duration>, threads: usize) -> Self {
        let cuts = length.map(|length| length.as_secs() / CUTS_PER_HOUR + 1);
        Self { cuts, threads: vec![Progress::default(); threads], ..Self::default() }
    }

    /// Adds a cut of a thread: the ledgers up to a time since measuring began, each with whether its
    /// population is answered. `is_last`: no other cut of this thread follows.
    pub(crate) fn add<'a>(
        &mut self,
        to: u64,
        thread: usize,
        is_last: bool,
        ledgers: impl IntoIterator<Item = (&'a mut Ledger, bool)>,
    ) {
        let progress = &mut self.threads[thread];
        let cut = progress.cuts;
        *progress = Progress { cuts: cut + 1, is_over: is_last };
        let interval = self.interval(cut);
        interval.to = interval.to.max(to);
        for (ledger, is_answered) in ledgers {
            interval.counts.add(&ledger.counts);
            interval.errors += ledger.errors.total();
            if is_answered {
                interval.response.merge(&mut ledger.response);
            }
        }
        let is_ended = |threads: &[Progress], end| threads.iter().all(|thread| thread.is_over || thread.cuts >= end);
        while self.open.len() > MAX_OPEN
            || self.open.front().is_some_and(|oldest| is_ended(&self.threads, oldest.cuts.end))
        {
            self.reduce();
        }
    }

    /// The interval of a cut. A cut that comes when its interval has been reduced belongs to the
    /// oldest one that has not.
    fn interval(&mut self, cut: u64) -> &mut Interval {
        while self.open.is_empty() || self.begun <= cut {
            let cuts = self.cuts.unwrap_or(self.begun / CUTS_PER_HOUR + 1);
            let end = self.begun + cuts;
            self.open.push_back(Interval { cuts: self.begun..end, ..Interval::default() });
            self.begun = end;
        }
        let at = self.open.partition_point(|interval| interval.cuts.end <= cut);
        &mut self.open[at]
    }

    /// Reduces the oldest interval to its figures.
    fn reduce(&mut self) {
        let Some(mut interval) = self.open.pop_front() else { return };
        let to = interval.to.max(self.ended);
        let seconds = (to - self.ended) as f64 / 1e9;
        self.ended = to;
        let rate = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
        let quantiles = interval.response.quantiles();
        self.figures.push(IntervalFigures {
            at: to as f64 / 1e9,
            offered_per_second: rate(interval.counts.offered),
            sent_per_second: rate(interval.counts.submitted),
            arrived_per_second: rate(interval.counts.arrived),
            p50: quantiles.map(|quantiles| quantiles.p50),
            p99: quantiles.map(|quantiles| quantiles.p99),
            max: quantiles.map(|quantiles| quantiles.max),
            errors: interval.errors,
        });
    }

    /// The figures of all intervals.
    pub(crate) fn figures(&mut self) -> Vec<IntervalFigures> {
        while !self.open.is_empty() {
            self.reduce();
        }
        mem::take(&mut self.figures)
    }
}

/// The response times of the latest interval, for the live view.
///
/// The view asks ten times a second, on a core that a thread of the generator may use: the quantiles
/// are computed once for each cut.
#[derive(Default)]
pub(crate) struct Moment {
    response: Recorder,
    threads: Vec<bool>,
    /// The quantiles of the latest interval with replies, without a cut that is unseen.
    shown: (Option<f64>, Option<f64>),
    /// Whether a cut was added since `shown` was computed.
    is_unseen: bool,
}

impl Moment {
    /// Adds the ledgers of the answered populations of a thread, all of one cut. The second cut of a
    /// thread begins a new interval.
    pub(crate) fn add<'a>(&mut self, thread: usize, ledgers: impl IntoIterator<Item = &'a mut Ledger>) {
        if self.threads.len() <= thread {
            self.threads.resize(thread + 1, false);
        }
        if self.threads[thread] {
            self.refresh();
            self.response.reset();
            self.threads.fill(false);
        }
        self.threads[thread] = true;
        for ledger in ledgers {
            self.response.merge(&mut ledger.response);
        }
        self.is_unseen = true;
    }

    fn refresh(&mut self) {
        if mem::take(&mut self.is_unseen)
            && let Some(quantiles) = self.response.quantiles()
        {
            self.shown = (Some(quantiles.p50), Some(quantiles.p99));
        }
    }

    /// The median and the 99th percentile of the latest interval with replies.
    pub(crate) fn quantiles(&mut self) -> (Option<f64>, Option<f64>) {
        self.refresh();
        self.shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = 1_000_000_000;

    /// A ledger of messages without response times.
    fn counted(sent: u64) -> Ledger {
        let mut ledger = Ledger::default();
        ledger.counts.submitted = sent;
        ledger.counts.arrived = sent;
        ledger
    }

    fn ledger(sent: u64, nanos: u64) -> Ledger {
        let mut ledger = counted(sent);
        (0..sent).for_each(|_| ledger.response.record(nanos));
        ledger
    }

    /// Adds a cut of answered populations.
    fn add(timeline: &mut Timeline, to: u64, thread: usize, is_last: bool, mut ledgers: Vec<Ledger>) {
        timeline.add(to, thread, is_last, ledgers.iter_mut().map(|ledger| (ledger, true)));
    }

    #[test]
    fn an_interval_has_the_figures_of_all_threads() {
        let mut timeline = Timeline::new(Some(Duration::from_millis(1500)), 2);
        add(&mut timeline, SECOND, 0, false, vec![ledger(10, 1_000)]);
        add(&mut timeline, SECOND, 1, false, vec![ledger(30, 2_000), ledger(5, 2_000)]);
        add(&mut timeline, SECOND * 3 / 2, 1, true, vec![ledger(7, 9_000)]);
        add(&mut timeline, SECOND * 3 / 2, 0, true, vec![ledger(0, 0)]);
        assert!(timeline.open.is_empty(), "all threads have ended both intervals");
        let figures = timeline.figures();
        assert_eq!(figures.len(), 2);
        assert_eq!((figures[0].at, figures[0].sent_per_second, figures[0].arrived_per_second), (1.0, 45.0, 45.0));
        assert_eq!((figures[1].at, figures[1].sent_per_second), (1.5, 14.0));
        assert!(figures[0].p50.is_some_and(|p50| (1.9..2.1).contains(&p50)), "{figures:?}");
    }

    #[test]
    fn populations_without_replies_have_no_response_times() {
        let mut timeline = Timeline::new(None, 1);
        timeline.add(SECOND, 0, true, [(&mut ledger(3, 1_000), true), (&mut ledger(9, 9_000), false)]);
        let figures = timeline.figures();
        assert_eq!(figures[0].sent_per_second, 12.0);
        assert!(figures[0].max.is_some_and(|max| max < 2.0), "{figures:?}");
    }

    #[test]
    fn histograms_of_intervals_that_have_ended_are_not_kept() {
        let mut timeline = Timeline::new(Some(Duration::from_secs(3599)), 3);
        // Thread 1 ends early. Thread 2 has no connection, and never cuts.
        add(&mut timeline, SECOND, 1, true, vec![counted(1)]);
        for second in 1..=100 {
            add(&mut timeline, second * SECOND, 0, false, vec![counted(1)]);
            assert!(timeline.open.len() <= MAX_OPEN, "{} at {second}", timeline.open.len());
        }
        add(&mut timeline, 101 * SECOND, 2, true, vec![counted(1)]);
        assert!(timeline.open.is_empty(), "{}", timeline.open.len());
        assert_eq!(timeline.figures().len(), 100);
    }

    /// The figures of a run that cuts each second.
    fn run_of(length: Option<Duration>, seconds: u64) -> Vec<IntervalFigures> {
        let mut timeline = Timeline::new(length, 1);
        for second in 1..=seconds {
            add(&mut timeline, second * SECOND, 0, false, vec![counted(1)]);
        }
        timeline.figures()
    }

    #[test]
    fn intervals_are_a_second_longer_for_each_hour() {
        let hours = |hours: u64| hours * CUTS_PER_HOUR;
        for (seconds, intervals, first) in
            [(10, 10, 1.0), (hours(1) - 1, 3599, 1.0), (hours(1), 1800, 2.0), (hours(24), 3456, 25.0)]
        {
            let figures = run_of(Some(Duration::from_secs(seconds)), seconds);
            assert_eq!((figures.len(), figures[0].at), (intervals, first), "{seconds}");
            assert!(figures.iter().all(|figures| figures.sent_per_second == 1.0), "{seconds}");
        }
        let figures = run_of(None, hours(3));
        assert_eq!(figures.len(), 3600 + 1800 + 1200);
        assert_eq!(
            (figures[3599].at, figures[3600].at, figures[5399].at, figures[5400].at),
            (3600.0, 3602.0, 7200.0, 7203.0)
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        /// Each message, error and response time is in one interval, whatever the order in which the
        /// cuts of different threads are added.
        #[test]
        fn intervals_have_all_messages_once(
            cuts in prop::collection::vec((0..3usize, 0..9u64, 1..1_000_000u64, 0..3u64), 1..60),
            is_known in any::<bool>(),
            over in 0..3usize,
        ) {
            let mut timeline = Timeline::new(is_known.then_some(Duration::from_secs(2 * CUTS_PER_HOUR)), 3);
            let mut of_thread = [0u64; 3];
            let (mut sent, mut failed, mut max) = (0, 0, 0);
            let last = cuts.iter().rposition(|cut| cut.0 == over);
            for (index, (thread, messages, nanos, errors)) in cuts.iter().copied().enumerate() {
                let mut ledger = ledger(messages, nanos);
                (0..errors).for_each(|_| ledger.errors.count("reset", String::new));
                of_thread[thread] += 1;
                sent += messages;
                failed += errors;
                max = if messages > 0 { nanos.max(max) } else { max };
                add(&mut timeline, of_thread[thread] * SECOND, thread, last == Some(index), vec![ledger]);
                prop_assert!(timeline.open.len() <= MAX_OPEN);
            }
            let figures = timeline.figures();
            let begins = std::iter::once(0.0).chain(figures.iter().map(|figures| figures.at));
            let lengths: Vec<f64> = begins.zip(&figures).map(|(begin, figures)| figures.at - begin).collect();
            prop_assert!(lengths.iter().all(|length| *length > 0.0), "{:?}", figures);
            let total: f64 = figures.iter().zip(&lengths).map(|(figures, length)| figures.sent_per_second * length).sum();
            prop_assert_eq!(total.round() as u64, sent);
            prop_assert_eq!(figures.iter().map(|figures| figures.errors).sum::<u64>(), failed);
            let longest = figures.iter().filter_map(|figures| figures.max).fold(0.0, f64::max);
            prop_assert!((max as f64 / 1e3..=max as f64 / 1e3 * 1.001).contains(&longest), "{} {}", longest, max);
            prop_assert_eq!(figures.last().map(|figures| figures.at), of_thread.iter().max().map(|cuts| *cuts as f64));
        }
    }

    #[test]
    fn the_live_view_has_the_latest_interval() {
        let mut moment = Moment::default();
        assert_eq!(moment.quantiles(), (None, None));
        let mut add = |thread, sent, nanos| {
            moment.add(thread, [&mut ledger(sent, nanos)]);
            moment.quantiles().0.expect("there were replies")
        };
        add(0, 10, 1_000);
        assert!(add(1, 10, 1_000) < 2.0);
        assert!(add(0, 10, 5_000) > 4.0);
        assert!(add(0, 0, 0) > 4.0, "an interval without replies changes nothing");
        assert!(add(0, 0, 0) > 4.0, "nor do several");
    }

    #[test]
    fn the_live_view_has_all_populations_of_an_interval() {
        let mut moment = Moment::default();
        for thread in 0..2 {
            moment.add(thread, [&mut ledger(90, 9_000), &mut ledger(10, 1_000)]);
        }
        let (p50, p99) = moment.quantiles();
        assert!(p50.is_some_and(|p50| p50 > 8.0) && p99.is_some_and(|p99| p99 > 8.0), "{p50:?} {p99:?}");
        moment.add(0, [&mut ledger(10, 9_000), &mut ledger(90, 1_000)]);
        let (p50, p99) = moment.quantiles();
        assert!(p50.is_some_and(|p50| p50 < 2.0) && p99.is_some_and(|p99| p99 > 8.0), "{p50:?} {p99:?}");
    }
}
