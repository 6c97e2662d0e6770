//! How long a thread watches its ring from user space before it sleeps.
//!
//! Going to sleep and being woken costs a few microseconds of CPU time on this side, as much on the
//! peer that wakes us (`sock_def_readable`), and 20 to 50 µs of latency on a virtual machine, where
//! an idle core leaves to the hypervisor. A short watch of `IORING_SQ_TASKRUN` and of the
//! completion queue avoids that where the next event is near.
//!
//! The adaptive window follows the kernel's haltpoll governor: a sleep that turns out shorter than
//! the longest window makes the window grow, a longer one makes it shrink to nothing, so an idle
//! shard does not poll. Two rules are added:
//!
//! - Where threads outnumber cores the event cannot come while we poll, because the thread that
//!   causes it waits for this core. The sleep is short and the poll is in vain, again and again.
//!   Each poll in a row that misses therefore doubles the number of sleeps that are not polled for,
//!   up to 1024; a hit ends this.
//! - A shard that works for more than half of the time does not poll. Its peers are the limit, or
//!   soon it is; a sleep costs it little, and what arrives meanwhile is handled in one turn.

use crate::BusyPoll;
use std::time::Duration;

/// The first window, and the longest, in nanoseconds.
const FIRST: u64 = 8_000;
const LONGEST: u64 = 50_000;

/// The longest pause between two polls, in sleeps, as a power of two.
const MAX_BACKOFF: u32 = 10;

/// The policy and its state. Pure: times are arguments.
#[derive(Debug)]
pub(super) struct PollWindow {
    policy: BusyPoll,
    /// The adaptive window in nanoseconds; 0: no polling.
    nanos: u64,
    /// Polls in a row that missed.
    misses: u32,
    /// Sleeps that are not polled for.
    skip: u32,
    /// Moving averages of the time between two waits and of the length of a wait, in nanoseconds.
    work: u64,
    wait: u64,
}

impl PollWindow {
    pub(super) fn new(policy: BusyPoll) -> Self {
        Self { policy, nanos: 0, misses: 0, skip: 0, work: 0, wait: 0 }
    }

    /// How long to poll before the sleep that is due now, after `work` since the last wait; zero:
    /// not at all.
    #[inline]
    pub(super) fn next(&mut self, work: Duration) -> Duration {
        average(&mut self.work, work);
        match self.policy {
            BusyPoll::Off => Duration::ZERO,
            BusyPoll::Fixed(time) => time,
            BusyPoll::Adaptive if self.work > self.wait => Duration::ZERO,
            BusyPoll::Adaptive if self.skip > 0 => {
                self.skip -= 1;
                Duration::ZERO
            }
            BusyPoll::Adaptive => Duration::from_nanos(self.nanos),
        }
    }

    /// Whether there is nothing to ask and nothing to tell.
    #[inline]
    pub(super) fn is_off(&self) -> bool {
        self.policy == BusyPoll::Off
    }

    /// Something came `after` the poll began. A thread that lost its core meanwhile has not seen it
    /// in time.
    #[inline]
    pub(super) fn hit(&mut self, after: Duration) {
        average(&mut self.wait, after);
        if after.as_nanos() as u64 <= 2 * LONGEST {
            self.misses = 0;
        } else {
            self.missed();
        }
    }

    /// The thread slept, `total` after it began to wait, with a poll that missed or (`polled`
    /// false) without one.
    #[inline]
    pub(super) fn slept(&mut self, polled: bool, total: Duration) {
        average(&mut self.wait, total);
        let total = total.as_nanos() as u64;
        if polled {
            self.missed();
        }
        self.nanos = if total <= LONGEST {
            (self.nanos * 2).clamp(FIRST, LONGEST)
        } else if self.nanos > FIRST {
            self.nanos / 2
        } else {
            0
        };
    }

    fn missed(&mut self) {
        self.misses = (self.misses + 1).min(MAX_BACKOFF);
        // The first miss is what makes the window grow.
        self.skip = (1 << self.misses) - 2;
    }
}

/// Moves an average by an eighth towards a time of at most a millisecond: longer ones say no more.
fn average(average: &mut u64, time: Duration) {
    let nanos = time.as_nanos().min(1_000_000) as u64;
    *average = *average - *average / 8 + nanos / 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// Lets an event come `after` each wait begins, `count` times. Returns the polled time and how
    /// many polls hit.
    fn waits(window: &mut PollWindow, count: u32, after: Duration) -> (Duration, u32) {
        waits_after(window, count, micros(5), after)
    }

    /// The same, with work in between.
    fn waits_after(window: &mut PollWindow, count: u32, work: Duration, after: Duration) -> (Duration, u32) {
        let (mut polled, mut hits) = (Duration::ZERO, 0);
        for _ in 0..count {
            let poll = window.next(work);
            if after <= poll {
                window.hit(after);
                hits += 1;
                polled += after;
            } else {
                window.slept(poll > Duration::ZERO, after);
                polled += poll;
            }
        }
        (polled, hits)
    }

    #[test]
    fn events_that_come_soon_are_polled_for_after_a_few_sleeps() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        waits(&mut window, 30, micros(20));
        let (_, hits) = waits(&mut window, 1000, micros(20));
        assert_eq!(hits, 1000);
    }

    #[test]
    fn an_idle_shard_does_not_poll() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        waits(&mut window, 100, micros(20));
        let (polled, _) = waits(&mut window, 100, micros(10_000));
        assert!(polled <= micros(100), "{polled:?}");
        assert_eq!(waits(&mut window, 1000, micros(10_000)), (Duration::ZERO, 0));
    }

    #[test]
    fn polls_that_only_keep_the_peer_from_the_core_become_rare() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        let (mut polled, waits) = (Duration::ZERO, 100_000);
        for _ in 0..waits {
            // The peer takes 15 µs, and runs only while we sleep.
            let poll = window.next(micros(5));
            polled += poll;
            window.slept(poll > Duration::ZERO, poll + micros(15));
        }
        assert!(polled < micros(waits) / 10, "{polled:?}: less than 0.1 µs a wait");
        assert!(polled > Duration::ZERO, "it tries now and then, should the peer move away");
    }

    #[test]
    fn a_shard_that_works_most_of_the_time_does_not_poll() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        waits_after(&mut window, 100, micros(30), micros(10));
        assert_eq!(waits_after(&mut window, 1000, micros(30), micros(10)), (Duration::ZERO, 0));
        // It begins to when its load falls.
        waits_after(&mut window, 100, micros(5), micros(20));
        assert_eq!(waits_after(&mut window, 100, micros(5), micros(20)).1, 100);
    }

    #[test]
    fn losing_the_core_during_a_poll_is_no_hit() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        waits(&mut window, 30, micros(20));
        window.hit(micros(3_000));
        window.hit(micros(3_000));
        assert_eq!(window.next(micros(5)), Duration::ZERO);
    }

    #[test]
    fn off_never_polls_and_a_fixed_time_always_does() {
        assert_eq!(waits(&mut PollWindow::new(BusyPoll::Off), 100, micros(1)), (Duration::ZERO, 0));
        let mut fixed = PollWindow::new(BusyPoll::Fixed(micros(30)));
        assert_eq!(waits(&mut fixed, 10, micros(10_000)), (micros(300), 0));
    }
}
