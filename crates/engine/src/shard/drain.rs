//! The drain of a shard: the order in which it ends accepting and its connections.
//!
//! 1. Announced: [`Readiness`](crate::Readiness) is false, and connections are still accepted, for
//!    [`Config::drain_delay`](crate::Config::drain_delay).
//! 2. Clearing: the accepts are cancelled, and the connections in the queues of the listeners are
//!    accepted until they are empty. From here on requests for a WebSocket are answered with 503.
//! 3. Closing: open connections get a close frame, in random order, at a limited rate.
//! 4. At the deadline the others are dropped.
//!
//! A hand-over skips the first two stages: the queues belong to the successor, which accepts from
//! the same sockets, and opening handshakes that are in progress are completed.
//!
//! [`Drain`] has the stage and the schedule, and reads no clock. The event loop passes the time, and
//! carries out the steps.

use ringway_codec::CloseCode;
use ringway_io::Slot;
use std::fmt;
use std::time::{Duration, Instant};

/// The maximum time for accepting the connections in the queues, as a divisor of the time to the
/// deadline: under a flood the queues would never be empty.
const CLEARING_SHARE: u32 = 4;

/// The resolution of the schedule of close frames.
const STEP: Duration = Duration::from_millis(10);

/// How often the shard looks for connections that have opened since the last close frame.
const SCAN_INTERVAL: Duration = Duration::from_millis(250);

/// The maximum number of connections that are closed in one turn. It bounds the sends of a turn to
/// an eighth of the default completion queue, and the delay of the other connections.
const MAX_CLOSES: usize = 512;

/// Why connections are drained.
///
/// ```
/// use ringway::{CloseCode, DrainReason};
///
/// assert_eq!(DrainReason::Stop.close_code(), CloseCode::GOING_AWAY);
/// assert_eq!(DrainReason::HandOver.close_code().as_u16(), 1012);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DrainReason {
    /// The server ends: connections are closed with 1001.
    Stop,
    /// Another process has taken over the listening sockets: connections are closed with 1012, so
    /// that clients connect again.
    HandOver,
}

impl DrainReason {
    /// The code of the close frames (RFC 6455 section 7.4.1, and the IANA registry for 1012).
    #[must_use]
    pub fn close_code(self) -> CloseCode {
        match self {
            Self::Stop => CloseCode::GOING_AWAY,
            Self::HandOver => CloseCode::SERVICE_RESTART,
        }
    }

    /// The reason text of the close frames.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Stop => "the server is stopping",
            Self::HandOver => "the server restarts; connect again",
        }
    }
}

/// What a drain has done, from its beginning to the end of the shard. Displayed as `1000 closed, 2
/// lost, 1 aborted, 3 refused, 0 unopened in 1.25s`.
///
/// ```
/// use ringway::{DrainReport, ShardReport};
///
/// /// The number of connections that got no complete closing handshake.
/// fn unclean(reports: &[ShardReport]) -> u64 {
///     DrainReport::sum(reports.iter().filter_map(|report| report.drain)).map_or(0, |drain| drain.lost + drain.aborted)
/// }
/// # let _ = unclean;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DrainReport {
    /// Why the shard was drained.
    pub reason: DrainReason,
    /// Connections that ended with a complete closing handshake, whichever side began it.
    pub closed: u64,
    /// Connections that ended before the deadline without one: the peer was gone, or did not answer
    /// within [`Config::close_timeout`](crate::Config::close_timeout).
    pub lost: u64,
    /// Open or closing connections that were dropped at the deadline.
    pub aborted: u64,
    /// Accepted connections that were refused with 503.
    pub refused: u64,
    /// Accepted connections that ended before they were open and without a response: the peer was
    /// gone, or sent no request before the deadline.
    pub unopened: u64,
    /// The time from the beginning of the drain to the end of the shard.
    pub duration: Duration,
}

impl DrainReport {
    pub(crate) const fn new(reason: DrainReason) -> Self {
        Self { reason, closed: 0, lost: 0, aborted: 0, refused: 0, unopened: 0, duration: Duration::ZERO }
    }

    /// The sum over several shards, with the longest of their times; `None` without a report.
    #[must_use]
    pub fn sum(reports: impl IntoIterator<Item = Self>) -> Option<Self> {
        reports.into_iter().reduce(Self::merge)
    }

    fn merge(self, other: Self) -> Self {
        Self {
            reason: self.reason,
            closed: self.closed + other.closed,
            lost: self.lost + other.lost,
            aborted: self.aborted + other.aborted,
            refused: self.refused + other.refused,
            unopened: self.unopened + other.unopened,
            duration: self.duration.max(other.duration),
        }
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { closed, lost, aborted, refused, unopened, duration, .. } = self;
        let seconds = duration.as_secs_f64();
        write!(
            f,
            "{closed} closed, {lost} lost, {aborted} aborted, {refused} refused, {unopened} unopened in {seconds:.2}s"
        )
    }
}

/// The state of a drain that sessions and their dispatch use.
#[derive(Debug)]
pub(crate) struct DrainTally {
    pub(crate) report: DrainReport,
    /// Requests for a WebSocket are answered with 503.
    pub(crate) refuses: bool,
    /// The deadline is reached: what ends now is dropped.
    pub(crate) aborts: bool,
}

impl DrainTally {
    pub(crate) fn new(reason: DrainReason) -> Self {
        Self { report: DrainReport::new(reason), refuses: false, aborts: false }
    }

    /// Counts a connection that was open, and has ended.
    pub(crate) fn ended(&mut self, is_clean: bool) {
        let report = &mut self.report;
        let count = match (is_clean, self.aborts) {
            (true, _) => &mut report.closed,
            (false, true) => &mut report.aborted,
            (false, false) => &mut report.lost,
        };
        *count += 1;
    }
}

/// How many close frames are due: a pure function of the time since the first one.
///
/// All are due at the end of the window, whatever the rate; before it, they are due at the rate, or
/// at a uniform rate that reaches the end of the window, whichever is faster.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Close frames per second; `None`: all at once.
    rate: Option<u32>,
    window: Duration,
}

impl Pace {
    fn due(&self, elapsed: Duration, total: usize) -> usize {
        let Some(rate) = self.rate else { return total };
        let elapsed = elapsed + STEP;
        if elapsed >= self.window {
            return total;
        }
        let by_rate = (u128::from(rate) * elapsed.as_micros()).div_ceil(1_000_000);
        let by_window = (total as u128 * elapsed.as_micros()).div_ceil(self.window.as_micros().max(1));
        usize::try_from(by_rate.max(by_window)).unwrap_or(total).min(total)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DrainStage {
    Announced { until: Instant },
    Clearing { until: Instant },
    Closing { since: Instant, scanned: Instant },
}

/// What the event loop has to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DrainStep {
    /// Nothing before the time of [`Drain::wait`], or before an event.
    Wait,
    /// Cancel the accepts, and accept the queues until they are empty.
    ClearQueues,
    /// Stop listening: queues that are not empty are left to the successor, or reset.
    StopListening,
    /// Pass the connections to close to [`Drain::add`].
    Collect,
    /// Close the connections of [`Drain::next`].
    Close,
    /// Drop everything, and end.
    Abort,
}

/// The schedule of a drain. Times are those of the shard's clock without stalls, so that a process
/// that was stopped does not drop its connections when it continues.
#[derive(Debug)]
pub(crate) struct Drain {
    reason: DrainReason,
    stage: DrainStage,
    /// Of the closing; from the end of the delay on.
    deadline: Instant,
    pace: Pace,
    /// The connections that have not got their close frame yet, in random order.
    waiting: Vec<Slot>,
    /// The number of connections that have been passed to [`Drain::add`].
    total: usize,
    /// The number of connections that may still be closed in this turn.
    quota: usize,
}

/// The options of a drain.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DrainTimes {
    /// The time in which connections are still accepted.
    pub(crate) delay: Duration,
    /// The time after it.
    pub(crate) timeout: Duration,
    /// The time that a closing handshake may take.
    pub(crate) close_timeout: Duration,
    /// Close frames per second.
    pub(crate) rate: Option<u32>,
}

impl Drain {
    pub(crate) fn new(reason: DrainReason, now: Instant, times: DrainTimes) -> Self {
        let DrainTimes { delay, timeout, close_timeout, rate } = times;
        let until = later(now, delay);
        // The last close frames need time to be answered.
        let window = timeout - close_timeout.min(timeout / 2);
        Self {
            reason,
            stage: DrainStage::Announced { until },
            deadline: later(until, timeout),
            pace: Pace { rate, window },
            waiting: Vec::new(),
            total: 0,
            quota: MAX_CLOSES,
        }
    }

    pub(crate) fn reason(&self) -> DrainReason {
        self.reason
    }

    pub(crate) fn begin_turn(&mut self) {
        self.quota = MAX_CLOSES;
    }

    /// The next step. `has_listeners`: accepting has not ended yet.
    pub(crate) fn step(&mut self, now: Instant, has_listeners: bool) -> DrainStep {
        match self.stage {
            DrainStage::Announced { until } if now < until && has_listeners => DrainStep::Wait,
            DrainStage::Announced { .. } => {
                let left = self.deadline.saturating_duration_since(now);
                match self.reason {
                    DrainReason::Stop => {
                        self.stage = DrainStage::Clearing { until: later(now, left / CLEARING_SHARE) };
                        DrainStep::ClearQueues
                    }
                    DrainReason::HandOver => {
                        // The next step collects the connections.
                        self.stage = DrainStage::Clearing { until: now };
                        DrainStep::StopListening
                    }
                }
            }
            DrainStage::Clearing { until } if now < until && has_listeners => DrainStep::Wait,
            DrainStage::Clearing { .. } => {
                self.stage = DrainStage::Closing { since: now, scanned: now };
                DrainStep::Collect
            }
            DrainStage::Closing { .. } if now >= self.deadline => DrainStep::Abort,
            DrainStage::Closing { since, scanned } => {
                if self.waiting.is_empty() {
                    if now.saturating_duration_since(scanned) < SCAN_INTERVAL {
                        return DrainStep::Wait;
                    }
                    self.stage = DrainStage::Closing { since, scanned: now };
                    return DrainStep::Collect;
                }
                if self.is_due(now, since) && self.quota > 0 { DrainStep::Close } else { DrainStep::Wait }
            }
        }
    }

    /// Whether all stages before the closing are over.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.stage, DrainStage::Closing { .. })
    }

    /// Whether the deadline is reached.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.is_closing() && now >= self.deadline
    }

    /// Adds connections to close, in the order in which they are closed.
    pub(crate) fn add(&mut self, slots: Vec<Slot>) {
        self.total += slots.len();
        self.waiting.extend(slots);
    }

    /// The next connection that is due, as far as this turn may close more.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Slot> {
        let DrainStage::Closing { since, .. } = self.stage else { return None };
        if self.quota == 0 || !self.is_due(now, since) {
            return None;
        }
        self.quota -= 1;
        self.waiting.pop()
    }

    fn is_due(&self, now: Instant, since: Instant) -> bool {
        let due = self.pace.due(now.saturating_duration_since(since), self.total);
        self.total - self.waiting.len() < due
    }

    /// The time until the next step, without an event.
    pub(crate) fn wait(&self, now: Instant, is_done: bool) -> Duration {
        let left = |until: Instant| until.saturating_duration_since(now);
        match self.stage {
            DrainStage::Announced { until } | DrainStage::Clearing { until } => left(until),
            DrainStage::Closing { .. } if is_done => Duration::ZERO,
            DrainStage::Closing { since, scanned } => {
                let next = match self.waiting.is_empty() {
                    true => left(later(scanned, SCAN_INTERVAL)),
                    false if self.is_due(now, since) => Duration::ZERO,
                    false => STEP,
                };
                next.min(left(self.deadline))
            }
        }
    }
}

/// A time after another; at most a year, if the clock cannot represent it.
fn later(time: Instant, after: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    time.checked_add(after).unwrap_or(time + YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn slots(count: u32) -> Vec<Slot> {
        (0..count).map(|index| Slot::new(index, 0)).collect()
    }

    fn times(rate: Option<u32>) -> DrainTimes {
        DrainTimes { delay: 3 * SECOND, timeout: 10 * SECOND, close_timeout: 5 * SECOND, rate }
    }

    #[test]
    fn a_stop_announces_clears_the_queues_and_closes() {
        let start = Instant::now();
        let mut drain = Drain::new(DrainReason::Stop, start, times(Some(100)));
        assert_eq!(drain.step(start + 2 * SECOND, true), DrainStep::Wait);
        assert_eq!(drain.wait(start + 2 * SECOND, false), SECOND);
        let now = start + 3 * SECOND;
        assert_eq!(drain.step(now, true), DrainStep::ClearQueues);
        assert_eq!(drain.step(now, true), DrainStep::Wait, "the queues are not empty");
        assert_eq!(drain.step(now + SECOND, false), DrainStep::Collect);
        drain.add(slots(10));
        assert_eq!(drain.step(now + SECOND, false), DrainStep::Close);
        assert_eq!(drain.step(now + 10 * SECOND, false), DrainStep::Abort);
    }

    #[test]
    fn queues_that_never_empty_delay_the_closing_by_a_quarter_of_the_time() {
        let start = Instant::now();
        let mut drain = Drain::new(DrainReason::Stop, start, times(None));
        let now = start + 3 * SECOND;
        assert_eq!(drain.step(now, true), DrainStep::ClearQueues);
        assert_eq!(drain.step(now + SECOND * 5 / 2, true), DrainStep::Collect);
    }

    #[test]
    fn a_hand_over_stops_listening_at_once_and_leaves_the_queues() {
        let start = Instant::now();
        let mut drain = Drain::new(DrainReason::HandOver, start, DrainTimes { delay: Duration::ZERO, ..times(None) });
        assert_eq!(drain.step(start, true), DrainStep::StopListening);
        assert_eq!(drain.step(start, true), DrainStep::Collect);
    }

    #[test]
    fn close_frames_follow_the_rate_and_never_run_ahead_of_it() {
        let pace = Pace { rate: Some(1000), window: 100 * SECOND };
        let mut last = 0;
        for ms in 0..=10_000 {
            let due = pace.due(Duration::from_millis(ms), 5000);
            // A step ahead at most, and rounded up.
            assert!(due <= (ms as usize + 10).min(5000) && due >= last, "{ms} ms: {due}");
            last = due;
        }
        assert_eq!((pace.due(Duration::ZERO, 5000), last), (10, 5000));
    }

    #[test]
    fn the_rate_is_raised_so_that_all_close_frames_are_sent_within_the_window() {
        for (rate, total) in [(1, 1_000_000), (1000, 5001), (u32::MAX, 3)] {
            let pace = Pace { rate: Some(rate), window: 5 * SECOND };
            assert_eq!(pace.due(5 * SECOND, total), total);
            // Uniformly, not at the end.
            let half = pace.due(SECOND * 5 / 2, total);
            assert!(half >= total / 2, "{rate}: {half} of {total}");
        }
        let none = Pace { rate: Some(1), window: Duration::ZERO };
        assert_eq!(none.due(Duration::ZERO, 7), 7);
    }

    #[test]
    fn one_turn_closes_a_limited_number_and_the_next_follows_at_once() {
        let start = Instant::now();
        let mut drain = Drain::new(DrainReason::HandOver, start, DrainTimes { delay: Duration::ZERO, ..times(None) });
        drain.step(start, true);
        drain.step(start, false);
        drain.add(slots(1200));
        let mut turns = Vec::new();
        while drain.step(start, false) == DrainStep::Close {
            turns.push(std::iter::from_fn(|| drain.next(start)).count());
            assert_eq!(drain.step(start, false), DrainStep::Wait);
            if turns.len() < 3 {
                assert_eq!(drain.wait(start, false), Duration::ZERO);
            }
            drain.begin_turn();
        }
        assert_eq!(turns, [512, 512, 176]);
    }

    #[test]
    fn connections_that_open_later_are_collected_again() {
        let start = Instant::now();
        let mut drain = Drain::new(DrainReason::HandOver, start, DrainTimes { delay: Duration::ZERO, ..times(None) });
        drain.step(start, true);
        assert_eq!(drain.step(start, false), DrainStep::Collect);
        assert_eq!(drain.step(start, false), DrainStep::Wait);
        assert_eq!(drain.wait(start, false), SCAN_INTERVAL);
        assert_eq!(drain.step(start + SCAN_INTERVAL, false), DrainStep::Collect);
    }

    #[test]
    fn the_longest_times_do_not_overflow() {
        let start = Instant::now();
        let max =
            DrainTimes { delay: Duration::MAX, timeout: Duration::MAX, close_timeout: Duration::MAX, rate: Some(1) };
        let mut drain = Drain::new(DrainReason::Stop, start, max);
        assert_eq!(drain.step(start, true), DrainStep::Wait);
        assert_eq!(drain.step(start, false), DrainStep::ClearQueues, "without a listener there is nothing to announce");
    }

    #[test]
    fn a_report_adds_up_over_shards() {
        let one = DrainReport {
            closed: 1,
            lost: 2,
            aborted: 3,
            refused: 4,
            unopened: 5,
            duration: SECOND,
            ..DrainReport::new(DrainReason::Stop)
        };
        let two = DrainReport { duration: 2 * SECOND, ..one };
        assert_eq!(one.merge(two).to_string(), "2 closed, 4 lost, 6 aborted, 8 refused, 10 unopened in 2.00s");
    }
}
