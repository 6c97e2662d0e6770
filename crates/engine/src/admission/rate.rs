//! Rates, and the token buckets that enforce them.

use crate::config::error::ConfigError;
use std::time::{Duration, Instant};

const SECOND: u128 = 1_000_000_000;

/// The maximum of a rate and of a burst.
const MAX: u64 = 1_000_000_000_000;

/// A rate, and the burst that may exceed it: a token bucket of `burst` tokens that is refilled with
/// `per_second` tokens in a second.
///
/// ```
/// use ringway::Rate;
///
/// // 100 in a second on average; the first 500, and 500 after a pause of 5 s, at once.
/// let rate = Rate::per_second(100).burst(500);
/// assert_eq!(rate.to_string(), "100/s, bursts of 500");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    per_second: u64,
    burst: u64,
}

impl Rate {
    /// A rate of 1 to 10¹² in a second, with a burst of the same number: what a second allows may
    /// come at once. The option that takes the rate checks the range.
    #[must_use]
    pub const fn per_second(per_second: u64) -> Self {
        Self { per_second, burst: per_second }
    }

    /// The number that may come at once after a pause, 1 to 10¹².
    #[must_use]
    pub const fn burst(self, burst: u64) -> Self {
        Self { burst, ..self }
    }

    /// The number that may come at once.
    pub(crate) const fn capacity(self) -> u64 {
        self.burst
    }

    pub(crate) fn check(self, option: &'static str) -> Result<(), ConfigError> {
        if (1..=MAX).contains(&self.per_second) && (1..=MAX).contains(&self.burst) {
            return Ok(());
        }
        Err(ConfigError::new(option, self.to_string(), format!("a rate and a burst from 1 to {MAX}")))
    }

    /// The time in which `tokens` are refilled, rounded up, in nanoseconds.
    pub(crate) fn time(self, tokens: u64) -> u64 {
        let nanos = (u128::from(tokens) * SECOND).div_ceil(u128::from(self.per_second.max(1)));
        u64::try_from(nanos).unwrap_or(u64::MAX)
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/s, bursts of {}", self.per_second, self.burst)
    }
}

/// A token bucket: 16 bytes. Times are nanoseconds since a start that its owner knows; time that
/// runs backwards refills nothing.
///
/// Taking always succeeds, and can leave a debt, which is refilled first: the average rate holds
/// although a single step takes more than is left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket {
    /// Negative: a debt.
    level: i64,
    /// The time up to which the bucket was refilled.
    at: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub(crate) fn full(rate: Rate, now: u64) -> Self {
        Self { level: i64::try_from(rate.burst).unwrap_or(i64::MAX), at: now }
    }

    fn refill(&mut self, rate: Rate, now: u64) {
        let full = i64::try_from(rate.burst).unwrap_or(i64::MAX);
        let elapsed = u128::from(now.saturating_sub(self.at));
        let tokens = elapsed * u128::from(rate.per_second) / SECOND;
        let missing = u128::from(full.saturating_sub(self.level).unsigned_abs());
        if tokens >= missing {
            *self = Self { level: full, at: now.max(self.at) };
        } else if let Ok(tokens) = u64::try_from(tokens)
            && tokens > 0
        {
            // The fraction of a token stays in the time. Fewer than are missing, so it fits.
            self.level = self.level.saturating_add_unsigned(tokens);
            self.at += rate.time(tokens);
        }
    }

    /// Takes tokens, if need be as a debt.
    pub(crate) fn take(&mut self, rate: Rate, tokens: u64, now: u64) {
        self.refill(rate, now);
        self.level = self.level.saturating_sub_unsigned(tokens);
    }

    /// Takes one token if there is one. Returns whether there was.
    pub(crate) fn try_take(&mut self, rate: Rate, now: u64) -> bool {
        let available = self.available(rate, now) > 0;
        if available {
            self.level -= 1;
        }
        available
    }

    /// The number of tokens in the bucket.
    pub(crate) fn available(&mut self, rate: Rate, now: u64) -> u64 {
        self.refill(rate, now);
        u64::try_from(self.level).unwrap_or(0)
    }

    /// The time until there is a token.
    pub(crate) fn wait(&mut self, rate: Rate, now: u64) -> Duration {
        self.refill(rate, now);
        if self.level > 0 {
            return Duration::ZERO;
        }
        let nanos = rate.time(self.level.unsigned_abs() + 1).saturating_sub(now.saturating_sub(self.at));
        // A refill of nothing would follow a wait that is rounded down to nothing.
        Duration::from_nanos(nanos.max(1))
    }
}

/// The time since `start` in nanoseconds.
pub(crate) fn nanos_since(start: Instant, now: Instant) -> u64 {
    u64::try_from(now.saturating_duration_since(start).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_burst_is_free_and_then_the_rate_holds() {
        let rate = Rate::per_second(10).burst(3);
        let mut bucket = TokenBucket::full(rate, 0);
        let taken: Vec<bool> = (0..5).map(|_| bucket.try_take(rate, 0)).collect();
        assert_eq!(taken, [true, true, true, false, false]);
        assert_eq!(bucket.wait(rate, 0), Duration::from_millis(100));
        assert!(!bucket.try_take(rate, SECOND / 10 - 1) && bucket.try_take(rate, SECOND / 10));
        assert_eq!(bucket.available(rate, 100 * SECOND), 3, "a pause saves up no more than the burst");
    }

    #[test]
    fn a_debt_is_refilled_before_anything_is_taken() {
        let rate = Rate::per_second(100).burst(1);
        let mut bucket = TokenBucket::full(rate, 0);
        bucket.take(rate, 51, 0);
        assert_eq!((bucket.available(rate, 0), bucket.wait(rate, 0)), (0, Duration::from_millis(510)));
        assert_eq!(bucket.available(rate, 509 * SECOND / 1000), 0);
        assert_eq!(bucket.available(rate, 510 * SECOND / 1000), 1);
    }

    #[test]
    fn the_average_never_exceeds_the_rate() {
        for (per_second, burst, step) in [(1, 1, 7_919), (3, 10, 1_000_003), (1_000, 5, 333), (7_777_777, 100, 61)] {
            let rate = Rate::per_second(per_second).burst(burst);
            let (mut bucket, mut now, mut taken) = (TokenBucket::full(rate, 0), 0, 0);
            for _ in 0..20_000 {
                taken += u64::from(bucket.try_take(rate, now));
                now += step;
            }
            let allowed = burst + (u128::from(now) * u128::from(per_second) / super::SECOND) as u64;
            assert!(taken <= allowed, "{taken} of {allowed} at {rate}");
            assert!(taken + 1 + allowed / 50 >= allowed.min(20_000), "{taken} of {allowed} at {rate}");
        }
    }

    #[test]
    fn a_wait_ends_with_a_token_and_not_before() {
        for (per_second, burst) in [(1, 1), (3, 2), (999_999_937, 1), (1_000_000_000_000, 7)] {
            let rate = Rate::per_second(per_second).burst(burst);
            let mut bucket = TokenBucket::full(rate, 5);
            bucket.take(rate, burst + 12, 5);
            let wait = u64::try_from(bucket.wait(rate, 5).as_nanos()).expect("short");
            let mut early = bucket;
            assert_eq!(early.available(rate, 5 + wait.saturating_sub(2)), 0, "{rate}");
            assert!(bucket.available(rate, 5 + wait) > 0, "{rate}");
        }
    }

    #[test]
    fn time_that_runs_backwards_refills_nothing() {
        let rate = Rate::per_second(1).burst(1);
        let mut bucket = TokenBucket::full(rate, 10 * SECOND);
        assert!(bucket.try_take(rate, 10 * SECOND) && !bucket.try_take(rate, 0));
        assert!(!bucket.try_take(rate, 10 * SECOND) && bucket.try_take(rate, 11 * SECOND));
    }

    #[test]
    fn rates_out_of_range_are_refused() {
        for rate in [Rate::per_second(0), Rate::per_second(1).burst(0), Rate::per_second(MAX + 1)] {
            assert!(rate.check("limits.message_rate").is_err(), "{rate}");
        }
        assert!(Rate::per_second(MAX).check("limits.message_rate").is_ok());
    }
}
