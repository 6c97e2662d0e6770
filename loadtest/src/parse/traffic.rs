//! Rates, stages and shares.

use super::{count, time};
use crate::pace::{Schedule, ScheduleError};
use std::time::Duration;

/// The rates at the beginning and at the end of the duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateRange {
    from: u64,
    to: u64,
}

/// A rate: `10k`, or a change as `1k:100k`.
///
/// # Errors
/// What to write instead.
pub fn rate(text: &str) -> Result<RateRange, String> {
    let (from, to) = text.split_once(':').unwrap_or((text, text));
    match (per_second(from)?, per_second(to)?) {
        (0, 0) => Err("give at least 1 message per second".into()),
        (from, to) => Ok(RateRange { from, to }),
    }
}

/// Messages per second.
fn per_second(text: &str) -> Result<u64, String> {
    let rate = count(text).map_err(|_| "give a whole number of messages per second, as 1, 500 or 10k")?;
    // The conversion is exact up to the limit, and checks only what the schedule itself checks.
    Schedule::new(rate as f64, &[]).map(|_| rate).map_err(|error| error.to_string())
}

impl RateRange {
    /// The schedule of a run of this length with a warm-up at the first rate. `part` is the share
    /// of the rate, from 0 to 1.
    ///
    /// # Errors
    /// As of [`Schedule::new`].
    pub fn schedule(self, warmup: Duration, duration: Duration, part: f64) -> Result<Schedule, ScheduleError> {
        let (from, to) = (self.from as f64 * part, self.to as f64 * part);
        if self.from == self.to {
            return Schedule::new(from, &[]);
        }
        Schedule::new(from, &[(warmup, from), (duration, to)])
    }

    /// The rate at the beginning.
    #[must_use]
    pub fn first(self) -> u64 {
        self.from
    }

    /// Whether the rate changes.
    #[must_use]
    pub fn is_ramp(self) -> bool {
        self.from != self.to
    }
}

/// A rate to reach within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The time.
    pub within: Duration,
    /// The rate at its end.
    pub rate: u64,
}

/// A stage: `30s:10k`.
///
/// # Errors
/// What to write instead.
pub fn stage(text: &str) -> Result<Stage, String> {
    let (within, rate) = text.split_once(':').ok_or("give a time and a rate, as 30s:10k")?;
    Ok(Stage { within: time(within)?, rate: per_second(rate)? })
}

/// The schedule of stages behind a warm-up at their first rate: rate 0, or `initial`. `part` is the
/// share of the rates, from 0 to 1.
///
/// # Errors
/// As of [`Schedule::new`].
pub fn schedule_of(stages: &[Stage], initial: u64, warmup: Duration, part: f64) -> Result<Schedule, ScheduleError> {
    let initial = initial as f64 * part;
    let stages = stages.iter().map(|stage| (stage.within, stage.rate as f64 * part));
    let stages: Vec<(Duration, f64)> = std::iter::once((warmup, initial)).chain(stages).collect();
    Schedule::new(initial, &stages)
}

/// A share of failures: `0.1%`, or a number from 0 to 1.
///
/// # Errors
/// What to write instead.
pub fn share_of_errors(text: &str) -> Result<f64, String> {
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / divisor);
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "give a share from 0% to 100%, as 0.1%".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_is_one_number_or_two() {
        assert_eq!(rate("10k"), Ok(RateRange { from: 10_000, to: 10_000 }));
        assert_eq!(rate("1k:100k"), Ok(RateRange { from: 1_000, to: 100_000 }));
        assert_eq!(rate("0:5"), Ok(RateRange { from: 0, to: 5 }));
        assert!(rate("0").is_err() && rate("1:2:3").is_err());
        for text in ["0.5", "fast", "1:0.5"] {
            assert_eq!(
                rate(text),
                Err("give a whole number of messages per second, as 1, 500 or 10k".into()),
                "{text}"
            );
        }
    }

    #[test]
    fn a_rate_above_one_in_a_nanosecond_is_refused() {
        assert!(rate("1000m").is_ok());
        for (text, error) in [("1001m", rate("1001m").err()), ("1s:1001m", stage("1s:1001m").err())] {
            let error = error.unwrap_or_else(|| panic!("{text} is refused"));
            assert_eq!(error, "a rate of 1001000000 per second: give one from 0 to 1000000000");
        }
    }

    #[test]
    fn a_stage_is_a_time_and_a_rate() {
        assert_eq!(stage("30s:10k"), Ok(Stage { within: Duration::from_secs(30), rate: 10_000 }));
        assert!(stage("30s").is_err() && stage("10k:30s").is_err());
    }

    #[test]
    fn a_warm_up_precedes_ramps_and_stages() {
        let ramp =
            rate("200:600").and_then(|rate| rate.schedule(SECOND, 2 * SECOND, 0.5).map_err(|error| error.to_string()));
        let stages =
            schedule_of(&[Stage { within: 2 * SECOND, rate: 300 }], 100, SECOND, 1.0).map_err(|e| e.to_string());
        for schedule in [ramp, stages] {
            let schedule = schedule.expect("a schedule");
            let at = [0, 999, 2_000, 3_000, 9_000].map(|millis: u64| schedule.rate_at(millis * 1_000_000));
            assert_eq!(at, [100.0, 100.0, 200.0, 300.0, 300.0]);
        }
    }

    #[test]
    fn a_share_is_a_percentage_or_a_number() {
        assert_eq!(
            (share_of_errors("0.1%"), share_of_errors("0.5"), share_of_errors("0")),
            (Ok(0.001), Ok(0.5), Ok(0.0))
        );
        assert!(["101%", "-1", "NaN", "x", ""].iter().all(|text| share_of_errors(text).is_err()));
    }
}
