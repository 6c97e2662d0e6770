//! The phases of a run, and when each begins.

use std::time::Duration;

/// Where a run stands. Only [`RunPhase::Measure`] enters the figures of messages; only [`RunPhase::Connect`] those of
/// connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RunPhase {
    /// Connections are being opened; nobody sends.
    Connect,
    /// All are open, or have failed. A short silence, in which the server ends what opening them has left to do.
    Settle,
    /// Messages flow, and are not measured yet.
    WarmUp,
    /// Messages flow, and are measured.
    Measure,
    /// No more are sent; the answers that are missing are waited for, and are measured too.
    Drain,
    /// Connections are being closed.
    Close,
}

impl RunPhase {
    /// What a person is told.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Settle => "settling",
            Self::WarmUp => "warming up",
            Self::Measure => "measuring",
            Self::Drain => "draining",
            Self::Close => "closing",
        }
    }
}

/// How long the silence after connecting is.
pub(crate) const SETTLE: Duration = Duration::from_millis(50);

/// When the phases from [`RunPhase::Settle`] to [`RunPhase::Measure`] end: the same on all threads, in nanoseconds since the
/// run's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timetable {
    pub(crate) warm_up: u64,
    pub(crate) measure: u64,
    /// `u64::MAX` when messages, not time, end the measuring.
    pub(crate) drain: u64,
}

impl Timetable {
    /// With the settling beginning at `now`.
    pub(crate) fn new(now: u64, warm_up: Duration, measure: Option<Duration>) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let start = now.saturating_add(nanos(SETTLE));
        let begin = start.saturating_add(nanos(warm_up));
        Self {
            warm_up: start,
            measure: begin,
            drain: measure.map_or(u64::MAX, |time| begin.saturating_add(nanos(time))),
        }
    }

    /// When `phase` ends, if time ends it.
    pub(crate) fn end_of(&self, phase: RunPhase) -> Option<u64> {
        let end = match phase {
            RunPhase::Settle => self.warm_up,
            RunPhase::WarmUp => self.measure,
            RunPhase::Measure => self.drain,
            RunPhase::Connect | RunPhase::Drain | RunPhase::Close => return None,
        };
        (end < u64::MAX).then_some(end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_one_another() {
        let second = Duration::from_secs(1);
        let table = Timetable::new(7, second, Some(3 * second));
        assert_eq!(table.end_of(RunPhase::Settle), Some(50_000_007));
        assert_eq!(table.end_of(RunPhase::WarmUp), Some(1_050_000_007));
        assert_eq!(table.end_of(RunPhase::Measure), Some(4_050_000_007));
        assert!(
            [RunPhase::Connect, RunPhase::Drain, RunPhase::Close].iter().all(|phase| table.end_of(*phase).is_none())
        );
    }

    #[test]
    fn without_a_time_measuring_has_no_end() {
        assert_eq!(Timetable::new(0, Duration::ZERO, None).end_of(RunPhase::Measure), None);
        let endless = Timetable::new(0, Duration::ZERO, Some(Duration::MAX));
        assert_eq!(endless.end_of(RunPhase::Measure), None);
    }
}
