//! How long a thread polls for events before it sleeps.
//!
//! A sleep and a wake-up cost a few microseconds of CPU time on this side, as much in the peer that
//! causes the wake-up (`sock_def_readable`), and 20 to 50 µs of latency on a virtual machine, where
//! an idle core exits to the hypervisor. Polling for a short time avoids this cost when the next
//! event is near. On io_uring it reads `IORING_SQ_TASKRUN` and the completion queue in user space;
//! on epoll it calls epoll_wait(2) with a timeout of zero.
//!
//! A fixed time is also polled at the end of a wait with a timeout, because the thread would wake
//! up late from a sleep until then.
//!
//! The adaptive policy polls for up to 50 µs before a sleep, where that is likely to pay:
//!
//! - The waits of late were shorter than 200 µs on average, so an idle shard does not poll. The
//!   limit is above the window, because a wait that ends with a sleep includes the cost of waking
//!   up. Where both sides of a round trip sleep it takes 60 to 90 µs on a virtual machine; where
//!   this side polls, the same event comes after 20 to 40 µs. So only a poll can tell.
//! - More than half of the polls see an event. Each miss doubles the number of sleeps without a
//!   poll, up to 1024, and each hit halves it. Where threads outnumber cores the event cannot occur
//!   during a poll, because the thread that causes it waits for this core: there each poll misses.
//!   A poll that lasts until the timeout of the wait avoids a sleep too, but does not show that the
//!   core is free. It is a miss if the thread was preempted meanwhile, and 1024 such polls in
//!   succession without a miss count as a hit.
//! - The shard works for less than half of the time. Otherwise a sleep costs it little, and the
//!   events that arrive during the sleep are handled in one turn.

use crate::BusyPoll;
use std::time::Duration;

/// The time of a poll of the adaptive policy.
const WINDOW: Duration = Duration::from_micros(50);

/// The average wait in nanoseconds up to which the adaptive policy polls, and the longest time that
/// an average counts for a single wait.
const MAX_AVERAGE_WAIT: u64 = 200_000;
const MAX_WAIT: u64 = 1_000_000;

/// The maximum number of sleeps without a poll, as a power of two.
const MAX_BACKOFF: u32 = 10;

/// The number of polls until a timeout, without a miss, that count as a hit. A thread that waits
/// for this core gets it after 3 ms or so: within fewer polls than these.
const STEADY: u32 = 1024;

/// The policy and its state. It reads no clock: times are arguments.
#[derive(Debug)]
pub(crate) struct PollWindow {
    policy: BusyPoll,
    /// The number of polls that missed, less those that hit.
    misses: u32,
    /// The number of sleeps to come without a poll.
    skip: u32,
    /// The number of polls until a timeout since the last miss, up to [`STEADY`].
    steady: u32,
    /// Moving averages of the time between two waits and of the time of a wait, in nanoseconds.
    work: u64,
    wait: u64,
    /// The time of all polls.
    polled: Duration,
}

impl PollWindow {
    pub(crate) fn new(policy: BusyPoll) -> Self {
        Self { policy, misses: 0, skip: 0, steady: 0, work: 0, wait: MAX_WAIT, polled: Duration::ZERO }
    }

    /// How long to poll before the next sleep, given the time of `work` since the last wait. Zero
    /// is no poll.
    #[inline]
    pub(crate) fn next(&mut self, work: Duration) -> Duration {
        average(&mut self.work, work);
        match self.policy {
            BusyPoll::Off => Duration::ZERO,
            BusyPoll::Fixed(time) => time,
            BusyPoll::Adaptive if self.work > self.wait || self.wait > MAX_AVERAGE_WAIT => Duration::ZERO,
            BusyPoll::Adaptive if self.skip > 0 => {
                self.skip -= 1;
                Duration::ZERO
            }
            BusyPoll::Adaptive => WINDOW,
        }
    }

    /// How much of a wait that ends after `left` is polled at its end, after the sleep. Zero is no
    /// poll.
    #[inline]
    pub(crate) fn last(&self, left: Duration) -> Duration {
        match self.policy {
            BusyPoll::Fixed(time) => time.min(left),
            BusyPoll::Off | BusyPoll::Adaptive => Duration::ZERO,
        }
    }

    /// Whether the policy is off, so that no times need to be measured.
    #[inline]
    pub(crate) fn is_off(&self) -> bool {
        self.policy == BusyPoll::Off
    }

    /// The time of all polls so far, including that for which the thread was preempted during a
    /// poll, up to the time that the policy gives to one poll.
    #[inline]
    pub(crate) fn polled(&self) -> Duration {
        self.polled
    }

    /// An event was seen `after` the beginning of the poll. When that is long, the thread was
    /// preempted during the poll, which counts as a miss.
    #[inline]
    pub(crate) fn hit(&mut self, after: Duration) {
        self.count_polled(after);
        average(&mut self.wait, after);
        if after <= 2 * WINDOW {
            self.count(self.misses.saturating_sub(1));
        } else {
            self.missed();
        }
    }

    /// The timeout of the wait was over `after` the beginning of the poll, which saw no event.
    #[inline]
    pub(crate) fn timed_out(&mut self, after: Duration) {
        self.count_polled(after);
        average(&mut self.wait, after);
        if after > 2 * WINDOW {
            return self.missed();
        }
        self.steady += 1;
        let is_hit = self.steady == STEADY;
        if is_hit {
            self.steady = 0;
        }
        self.count(self.misses.saturating_sub(is_hit.into()));
    }

    /// The end of a wait with a timeout was polled for this time, after a sleep.
    #[inline]
    pub(crate) fn polled_last(&mut self, time: Duration) {
        self.count_polled(time);
    }

    /// The thread slept, and woke up `total` after the beginning of the wait. A poll of `polled`
    /// preceded the sleep and missed; zero if there was none.
    #[inline]
    pub(crate) fn slept(&mut self, polled: Duration, total: Duration) {
        average(&mut self.wait, total);
        if !polled.is_zero() {
            self.count_polled(polled);
            self.missed();
        }
    }

    fn count_polled(&mut self, time: Duration) {
        self.polled += time.min(match self.policy {
            BusyPoll::Off => Duration::ZERO,
            BusyPoll::Fixed(limit) => limit,
            BusyPoll::Adaptive => WINDOW,
        });
    }

    fn missed(&mut self) {
        self.steady = 0;
        self.count((self.misses + 1).min(MAX_BACKOFF));
    }

    fn count(&mut self, misses: u32) {
        self.misses = misses;
        // A single miss does not skip a poll.
        self.skip = (1u32 << misses).saturating_sub(2);
    }
}

/// Moves an average by an eighth towards a time.
fn average(average: &mut u64, time: Duration) {
    let nanos = (time.as_nanos() as u64).min(MAX_WAIT);
    *average = *average - *average / 8 + nanos / 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    /// Simulates `count` waits with an event `after` the beginning of each. Returns the polled time
    /// and the number of hits.
    fn waits(window: &mut PollWindow, count: u32, after: Duration) -> (Duration, u32) {
        waits_after(window, count, micros(5), after)
    }

    /// The same with `work` between the waits.
    fn waits_after(window: &mut PollWindow, count: u32, work: Duration, after: Duration) -> (Duration, u32) {
        let (mut polled, mut hits) = (Duration::ZERO, 0);
        for _ in 0..count {
            let poll = window.next(work);
            if after <= poll {
                window.hit(after);
                hits += 1;
                polled += after;
            } else {
                window.slept(poll, after);
                polled += poll;
            }
        }
        (polled, hits)
    }

    #[test]
    fn near_events_are_polled_for_after_a_few_sleeps() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        waits(&mut window, 30, micros(20));
        let (_, hits) = waits(&mut window, 1000, micros(20));
        assert_eq!(hits, 1000);
    }

    /// An event causes the next one: it comes 30 µs after the beginning of a poll, but 80 µs after
    /// that of a sleep, which adds the time of waking up on both sides.
    #[test]
    fn a_round_trip_that_is_long_only_because_both_sides_sleep_is_polled_for() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        let mut hits = 0;
        for _ in 0..1000 {
            if window.next(micros(10)).is_zero() {
                window.slept(Duration::ZERO, micros(80));
            } else {
                window.hit(micros(30));
                hits += 1;
            }
        }
        assert!(hits > 950, "{hits}");
    }

    /// Events 100 µs apart do not depend on the poll. Were each waited for, the core would be busy
    /// for half of the time.
    #[test]
    fn polls_become_rare_when_most_miss() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        let (polled, hits) = waits(&mut window, 100_000, micros(100));
        assert_eq!(hits, 0);
        assert!(polled < micros(100_000) / 10, "{polled:?}: less than 0.1 µs a wait");

        // Two of five polls hit, then three of five.
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        let mut hits_of = |of_five: u32, polls: &mut u32| {
            for n in 0..20_000 {
                let poll = window.next(micros(5));
                *polls += u32::from(!poll.is_zero());
                if !poll.is_zero() && *polls % 5 < of_five {
                    window.hit(micros(20));
                } else {
                    window.slept(poll, micros(70 + n % 3));
                }
            }
        };
        let (mut few, mut many) = (0, 0);
        hits_of(2, &mut few);
        hits_of(3, &mut many);
        assert!(few < 400 && many > 5_000, "{few} and {many} polls of 20 000 waits");
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
    fn polls_become_rare_when_the_peer_needs_the_core() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        let (mut polled, waits) = (Duration::ZERO, 100_000);
        for _ in 0..waits {
            // The peer takes 15 µs, and runs only during the sleep.
            let poll = window.next(micros(5));
            polled += poll;
            window.slept(poll, poll + micros(15));
        }
        assert!(polled < micros(waits) / 10, "{polled:?}: less than 0.1 µs a wait");
        assert!(polled > Duration::ZERO, "it polls now and then, in case the peer moves to another core");
    }

    #[test]
    fn a_shard_that_works_most_of_the_time_does_not_poll() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        waits_after(&mut window, 100, micros(30), micros(10));
        assert_eq!(waits_after(&mut window, 1000, micros(30), micros(10)), (Duration::ZERO, 0));
        // It polls again when its load falls.
        waits_after(&mut window, 100, micros(5), micros(20));
        assert_eq!(waits_after(&mut window, 100, micros(5), micros(20)).1, 100);
    }

    #[test]
    fn a_poll_that_was_preempted_is_a_miss() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        waits(&mut window, 30, micros(20));
        window.hit(micros(3_000));
        window.hit(micros(3_000));
        assert_eq!(window.next(micros(5)), Duration::ZERO);
    }

    /// Simulates waits with a timeout of 20 µs and no event. Each poll lasts until the timeout, and
    /// in one of `slice` the thread is preempted. Returns the number of polls.
    fn timeouts(window: &mut PollWindow, count: u32, slice: u32) -> u32 {
        let mut polls = 0;
        for _ in 0..count {
            if window.next(micros(5)).is_zero() {
                window.slept(Duration::ZERO, micros(80));
            } else {
                polls += 1;
                window.timed_out(if polls % slice == 0 { micros(1_000) } else { micros(20) });
            }
        }
        polls
    }

    #[test]
    fn timeouts_are_polled_for_unless_another_thread_needs_the_core() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        timeouts(&mut window, 30, u32::MAX);
        assert_eq!(timeouts(&mut window, 10_000, u32::MAX), 10_000);
        // A few preemptions, as of other work on the machine.
        assert!(timeouts(&mut window, 1_000_000, 5_000) > 900_000);
        // Another thread takes the core at the end of each of its slices.
        timeouts(&mut window, 10_000, 60);
        let polls = timeouts(&mut window, 100_000, 60);
        assert!(polls < 1_000, "{polls} polls");
        // It ends.
        timeouts(&mut window, 3_000_000, u32::MAX);
        assert_eq!(timeouts(&mut window, 10_000, u32::MAX), 10_000);
    }

    #[test]
    fn only_a_fixed_time_is_polled_before_a_timeout() {
        let last = |policy, left| PollWindow::new(policy).last(micros(left));
        assert_eq!(last(BusyPoll::Fixed(micros(30)), 1000), micros(30));
        assert_eq!(last(BusyPoll::Fixed(micros(30)), 20), micros(20));
        assert_eq!((last(BusyPoll::Off, 1000), last(BusyPoll::Adaptive, 10)), (Duration::ZERO, Duration::ZERO));
    }

    #[test]
    fn the_time_of_hits_and_misses_is_counted_without_that_of_sleep_and_preemption() {
        let mut window = PollWindow::new(BusyPoll::Adaptive);
        let (polled, hits) = waits(&mut window, 30, micros(20));
        assert!(hits > 0);
        assert_eq!(window.polled(), polled);
        // A miss counts its poll, not its sleep, and a preempted poll at most its window.
        window.slept(micros(50), micros(900));
        window.slept(Duration::ZERO, micros(900));
        window.hit(micros(3_000));
        assert_eq!(window.polled(), polled + 2 * WINDOW);
        // A fixed time is polled at both ends of a wait.
        let mut fixed = PollWindow::new(BusyPoll::Fixed(micros(30)));
        fixed.polled_last(micros(20));
        fixed.polled_last(micros(3_000));
        fixed.slept(micros(30), micros(900));
        assert_eq!(fixed.polled(), micros(80));
        let mut off = PollWindow::new(BusyPoll::Off);
        off.slept(Duration::ZERO, micros(900));
        assert_eq!(off.polled(), Duration::ZERO);
    }

    #[test]
    fn off_never_polls_and_a_fixed_time_always_does() {
        assert_eq!(waits(&mut PollWindow::new(BusyPoll::Off), 100, micros(1)), (Duration::ZERO, 0));
        let mut fixed = PollWindow::new(BusyPoll::Fixed(micros(30)));
        assert_eq!(waits(&mut fixed, 10, micros(10_000)), (micros(300), 0));
    }
}
