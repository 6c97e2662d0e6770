//! The time of a shard: real time, and the time that deadlines are measured by.
//!
//! While a shard does not poll its sockets, because the process was stopped, did not get its core,
//! or was busy in a handler, its peers cannot show activity. Deadlines are measured on a clock that
//! stops during such stalls.

use std::time::{Duration, Instant};

/// The resolution of the timers. Deadlines are seconds away.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// The minimum time without polling the sockets that counts as a stall. A shard whose turns are
/// shorter, though always busy, keeps its deadlines.
const STALL: Duration = Duration::from_millis(500);

/// The time of a shard.
#[derive(Debug)]
pub(crate) struct ShardClock {
    start: Instant,
    /// The start of this turn.
    now: Instant,
    /// The sum of all stalls.
    stalled: Duration,
    /// `now`, less the stalls, in ticks since the start, modulo 2³².
    tick: u32,
    /// The end of the timeout of the wait for the kernel; `None` if the wait has no timeout.
    wait_end: Option<Instant>,
    /// The start of the wait.
    wait_start: Instant,
    /// The duration of the previous turn without its wait.
    busy: Duration,
    /// The number of turns, modulo 2³².
    turn: u32,
}

impl ShardClock {
    pub(crate) fn new(now: Instant) -> Self {
        let (stalled, busy) = (Duration::ZERO, Duration::ZERO);
        Self { start: now, now, stalled, tick: 0, wait_end: None, wait_start: now, busy, turn: 0 }
    }

    /// Begins a wait for the kernel, from `now` on for at most `timeout`.
    pub(crate) fn begin_wait(&mut self, now: Instant, timeout: Option<Duration>) {
        self.wait_start = now;
        self.wait_end = timeout.and_then(|timeout| now.checked_add(timeout));
    }

    /// Ends the wait and begins a turn. Returns the stall since the last turn began, if there was
    /// one.
    pub(crate) fn begin_turn(&mut self, now: Instant) -> Option<Duration> {
        self.turn = self.turn.wrapping_add(1);
        self.busy = self.wait_start.saturating_duration_since(self.now);
        let overslept = self.wait_end.map_or(Duration::ZERO, |end| now.saturating_duration_since(end));
        let stall = Some(self.busy + overslept).filter(|stall| *stall >= STALL);
        self.stalled += stall.unwrap_or_default();
        self.now = now;
        self.tick = (self.effective().saturating_duration_since(self.start).as_millis() / TICK.as_millis()) as u32;
        stall
    }

    /// The start time of this turn.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The time from the start of the shard to the start of this turn.
    pub(crate) fn age(&self) -> Duration {
        self.now.saturating_duration_since(self.start)
    }

    /// The start time of this turn, less the stalls: deadlines are measured by it.
    pub(crate) fn effective(&self) -> Instant {
        self.at(self.now)
    }

    /// A time, less the stalls so far.
    pub(crate) fn at(&self, time: Instant) -> Instant {
        time.checked_sub(self.stalled).unwrap_or(self.start)
    }

    /// The duration of the previous turn without its wait.
    pub(crate) fn busy(&self) -> Duration {
        self.busy
    }

    /// The number of this turn, which wraps around.
    pub(crate) fn turn(&self) -> u32 {
        self.turn
    }

    /// The effective time in ticks, which wrap around.
    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        self.tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn waiting_does_not_count_as_a_stall_and_other_gaps_do() {
        let start = Instant::now();
        let mut clock = ShardClock::new(start);
        // A wait of exactly its timeout.
        clock.begin_wait(start, Some(1000 * MS));
        assert_eq!((clock.begin_turn(start + 1000 * MS), clock.tick()), (None, 100));
        // A wait without a timeout is never too long.
        clock.begin_wait(start + 1010 * MS, None);
        assert_eq!((clock.begin_turn(start + 9000 * MS), clock.tick()), (None, 900));
        // The process was stopped during a wait of 50 ms.
        clock.begin_wait(start + 9000 * MS, Some(50 * MS));
        assert_eq!((clock.begin_turn(start + 12_050 * MS), clock.tick()), (Some(3000 * MS), 905));
        // A handler took two seconds.
        clock.begin_wait(start + 14_050 * MS, None);
        assert_eq!((clock.begin_turn(start + 14_100 * MS), clock.tick()), (Some(2000 * MS), 910));
        assert_eq!(clock.now() - clock.effective(), 5000 * MS);
    }

    #[test]
    fn a_short_late_wakeup_does_not_count_as_a_stall() {
        let start = Instant::now();
        let mut clock = ShardClock::new(start);
        clock.begin_wait(start, Some(10 * MS));
        assert_eq!((clock.begin_turn(start + 70 * MS), clock.tick()), (None, 7));
    }
}
