//! The delays between attempts to connect again.

use rand::rngs::StdRng;
use rand::{RngExt, make_rng};
use std::time::Duration;

/// The first delay, which doubles with each attempt, and the longest one.
const MIN_DELAY: Duration = Duration::from_millis(250);
const MAX_DELAY: Duration = Duration::from_secs(30);

/// Counts attempts in a row, up to a maximum. Each delay is at random between half of its maximum and
/// all of it, so that the clients of a server that has restarted do not all come at the same time.
pub(super) struct Backoff {
    max: u64,
    attempts: u64,
    random: StdRng,
}

impl Backoff {
    pub(super) fn new(max: u64) -> Self {
        Self { max, attempts: 0, random: make_rng() }
    }

    /// A connection was opened: the next attempt is the first one again.
    pub(super) fn reset(&mut self) {
        self.attempts = 0;
    }

    /// The number of the next attempt, from 1, and the delay before it.
    pub(super) fn next(&mut self) -> Option<(u64, Duration)> {
        if self.attempts >= self.max {
            return None;
        }
        self.attempts += 1;
        // 2 to the 7th is above the quotient of the two delays.
        let doubled = MIN_DELAY * (1 << (self.attempts - 1).min(7));
        Some((self.attempts, doubled.min(MAX_DELAY).mul_f64(self.random.random_range(0.5..=1.0))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_a_maximum_and_their_number_is_limited() {
        let mut backoff = Backoff::new(12);
        let delays: Vec<_> = std::iter::from_fn(|| backoff.next()).collect();
        assert_eq!(delays.len(), 12);
        for (index, (attempt, delay)) in delays.iter().enumerate() {
            let max = (MIN_DELAY * (1 << index.min(10))).min(MAX_DELAY);
            assert_eq!(*attempt, index as u64 + 1);
            assert!((max / 2..=max).contains(delay), "{attempt}: {delay:?}");
        }
        backoff.reset();
        assert_eq!(backoff.next().map(|(attempt, _)| attempt), Some(1));
        assert!(Backoff::new(0).next().is_none());
    }
}
