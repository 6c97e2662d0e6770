//! When the messages of a recording are due, round after round.

use std::time::Duration;

/// The times of messages that repeat: each round has the same times, from its beginning.
#[derive(Clone, Debug)]
pub(crate) struct Rounds {
    /// In nanoseconds, ascending. Never empty.
    offsets: Vec<u64>,
    /// The length of a round, longer than the last offset.
    period: u64,
}

impl Rounds {
    /// The times of a recording that is replayed `speed` times as fast. `offsets` are ascending.
    pub(crate) fn new(offsets: impl Iterator<Item = Duration>, period: Duration, speed: f64) -> Self {
        // The conversion saturates: a time of 584 years is never reached.
        let scaled = |time: Duration| (time.as_nanos() as f64 / speed) as u64;
        let mut offsets: Vec<u64> = offsets.map(scaled).collect();
        if offsets.is_empty() {
            offsets.push(0);
        }
        let last = offsets.last().copied().unwrap_or(0);
        Self { period: scaled(period).max(last.saturating_add(1)), offsets }
    }

    /// When message `number` of all is due, in nanoseconds since the beginning of the first round.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let count = self.offsets.len() as u64;
        let begun = (number / count).saturating_mul(self.period);
        begun.saturating_add(self.offsets[(number % count) as usize])
    }

    /// The number of messages that are due before `elapsed`.
    pub(crate) fn due_before(&self, elapsed: u64) -> u64 {
        let (rounds, rest) = (elapsed / self.period, elapsed % self.period);
        let in_round = self.offsets.partition_point(|offset| *offset < rest) as u64;
        rounds.saturating_mul(self.offsets.len() as u64).saturating_add(in_round)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rounds(offsets: &[u64], period: u64, speed: f64) -> Rounds {
        Rounds::new(offsets.iter().copied().map(Duration::from_nanos), Duration::from_nanos(period), speed)
    }

    fn times(rounds: &Rounds) -> Vec<u64> {
        (0..6).map(|number| rounds.due(number)).collect()
    }

    #[test]
    fn each_round_has_the_recorded_gaps() {
        assert_eq!(times(&rounds(&[0, 300, 1_000], 1_500, 1.0)), [0, 300, 1_000, 1_500, 1_800, 2_500]);
    }

    #[test]
    fn the_speed_divides_all_gaps() {
        assert_eq!(times(&rounds(&[0, 300, 1_000], 1_500, 10.0)), [0, 30, 100, 150, 180, 250]);
        assert_eq!(times(&rounds(&[0, 300, 1_000], 1_500, 0.5)), [0, 600, 2_000, 3_000, 3_600, 5_000]);
        // A round is never empty.
        assert_eq!(times(&rounds(&[0], 1, 1e6)), [0, 1, 2, 3, 4, 5]);
    }

    proptest! {
        #[test]
        fn the_messages_before_a_time_are_those_that_are_due_before_it(
            mut offsets in proptest::collection::vec(0..1_000_000u64, 1..20),
            gap in 1..1_000u64,
            elapsed in 0..5_000_000u64,
            speed in 0.001..100.0f64,
        ) {
            offsets.sort_unstable();
            let rounds = rounds(&offsets, offsets[offsets.len() - 1] + gap, speed);
            let count = rounds.due_before(elapsed);
            prop_assert!(rounds.due(count) >= elapsed);
            prop_assert!(count == 0 || rounds.due(count - 1) < elapsed);
        }
    }
}
