//! The phases of a run, and when each begins.

use std::time::Duration;

/// The phase of a run. Only [`RunPhase::Measure`] contributes to the figures of messages, and only
/// [`RunPhase::Connect`] to those of connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum RunPhase {
    /// Connections open; no messages are sent.
    Connect,
    /// All connections are open or have failed. A short pause, in which the server completes the
    /// work of opening them.
    Pause,
    /// Messages are sent but not measured.
    WarmUp,
    /// Messages are sent and measured.
    Measure,
    /// No more messages are sent; outstanding answers are awaited and measured.
    Drain,
    /// Connections close.
    Close,
}

impl RunPhase {
    /// The name shown to the user.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connecting",
            Self::Pause => "pausing",
            Self::WarmUp => "warming up",
            Self::Measure => "measuring",
            Self::Drain => "draining",
            Self::Close => "closing",
        }
    }
}

/// The length of the pause after connecting.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// The ends of the phases from [`RunPhase::Pause`] to [`RunPhase::Measure`]: the same on all
/// threads, in nanoseconds since the run's epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timetable {
    pub(crate) warm_up: u64,
    pub(crate) measure: u64,
    /// `u64::MAX` if a number of messages, not time, ends the measuring.
    pub(crate) drain: u64,
}

impl Timetable {
    /// A timetable whose pause begins at `now`.
    pub(crate) fn new(now: u64, warm_up: Duration, measure: Option<Duration>) -> Self {
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let start = now.saturating_add(nanos(PAUSE));
        let begin = start.saturating_add(nanos(warm_up));
        Self {
            warm_up: start,
            measure: begin,
            drain: measure.map_or(u64::MAX, |time| begin.saturating_add(nanos(time))),
        }
    }

    /// The end of `phase`, if it ends by time.
    pub(crate) fn end_of(&self, phase: RunPhase) -> Option<u64> {
        let end = match phase {
            RunPhase::Pause => self.warm_up,
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
        assert_eq!(table.end_of(RunPhase::Pause), Some(50_000_007));
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
