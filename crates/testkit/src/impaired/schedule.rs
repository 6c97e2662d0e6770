//! The time at which each reply is due.

use super::Impairments;
use std::time::{Duration, Instant};

/// The due times of replies, from those of the receipt of their messages.
#[derive(Debug)]
pub(super) struct ReplySchedule {
    delay: Duration,
    rate: Option<u32>,
    /// The start of the current busy period, and the number of messages served in it or waiting.
    busy: Option<(Instant, u64)>,
}

impl ReplySchedule {
    pub(super) fn new(impairments: &Impairments) -> Self {
        Self { delay: impairments.delay, rate: impairments.rate, busy: None }
    }

    /// The time at which the reply to a message is due that was received at `received`. The calls
    /// are in the order of receipt; so are the due times.
    pub(super) fn due(&mut self, received: Instant) -> Instant {
        let Some(rate) = self.rate else { return received + self.delay };
        // Multiples from the start of the busy period: rounding does not accumulate.
        let end_of = |start: Instant, count: u64| {
            let nanos = u128::from(count) * 1_000_000_000 / u128::from(rate);
            start + Duration::from_nanos(nanos as u64)
        };
        let current = self.busy.filter(|(start, count)| end_of(*start, *count) > received);
        let (start, count) = current.unwrap_or((received, 0));
        self.busy = Some((start, count + 1));
        end_of(start, count + 1) + self.delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule(delay: Duration, rate: Option<u32>) -> ReplySchedule {
        ReplySchedule::new(&Impairments { delay, rate, ..Impairments::default() })
    }

    #[test]
    fn a_delay_is_added_to_the_time_of_receipt() {
        let (start, mut schedule) = (Instant::now(), schedule(5 * MS, None));
        for at in [0, 1, 1, 7] {
            assert_eq!(schedule.due(start + at * MS), start + (at + 5) * MS);
        }
    }

    #[test]
    fn an_idle_server_answers_after_one_service_time_and_a_busy_one_in_turn() {
        let (start, mut schedule) = (Instant::now(), schedule(5 * MS, Some(100)));
        let mut due = |at: u32| (schedule.due(start + at * MS) - start).as_millis();
        assert_eq!([due(0), due(0), due(4), due(29), due(30)], [15, 25, 35, 45, 55]);
        // Idle from 50 on.
        assert_eq!([due(50), due(100), due(101)], [65, 115, 125]);
    }

    #[test]
    fn a_busy_server_answers_at_exactly_its_rate() {
        let (start, mut schedule) = (Instant::now(), schedule(Duration::ZERO, Some(7_000)));
        let last = (0..7_000_000).map(|_| schedule.due(start)).last();
        assert_eq!(last, Some(start + Duration::from_secs(1000)));
    }
}
