//! The values of the flags that describe traffic: modes, rates, stages.

use crate::values::{count, size, time};
use clap::ValueEnum;
use ringway_loadtest::{Arrivals, Behaviour, Schedule, Span, Verify};
use std::time::Duration;

/// The part of each reply to verify.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum VerifyName {
    /// None: replies are counted in order
    Off,
    /// Kind, length and sequence number of each, content of every 64th
    Sample,
    /// Kind, length and content of each
    All,
}

impl VerifyName {
    pub(crate) fn verify(self) -> Verify {
        match self {
            Self::Off => Verify::Off,
            Self::Sample => Verify::Sample,
            Self::All => Verify::All,
        }
    }
}

/// How the messages of an open loop are distributed over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ArrivalsName {
    /// At equal distances
    Uniform,
    /// At random, as of many independent users
    Poisson,
}

impl ArrivalsName {
    pub(crate) fn arrivals(self) -> Arrivals {
        match self {
            Self::Uniform => Arrivals::Uniform,
            Self::Poisson => Arrivals::Poisson,
        }
    }
}

/// The rates at the beginning and at the end of the duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RateRange {
    from: u64,
    to: u64,
}

/// A rate: `10k`, or a change as `1k:100k`.
pub(crate) fn rate(text: &str) -> Result<RateRange, String> {
    let (from, to) = text.split_once(':').unwrap_or((text, text));
    match (count(from)?, count(to)?) {
        (0, 0) => Err("give at least 1 message per second".into()),
        (from, to) => Ok(RateRange { from, to }),
    }
}

impl RateRange {
    /// The schedule of a run of this length with a warm-up at the first rate.
    pub(crate) fn schedule(self, warmup: Duration, duration: Duration) -> Schedule {
        let (from, to) = (self.from as f64, self.to as f64);
        if self.from == self.to {
            return Schedule::constant(from);
        }
        Schedule::stages(from, &[(warmup, from), (duration, to)])
    }
}

/// A rate to reach within a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stage {
    pub(crate) within: Duration,
    pub(crate) rate: u64,
}

/// A stage: `30s:10k`.
pub(crate) fn stage(text: &str) -> Result<Stage, String> {
    let (within, rate) = text.split_once(':').ok_or("give a time and a rate, as 30s:10k")?;
    Ok(Stage { within: time(within)?, rate: count(rate)? })
}

/// The schedule of stages, from rate 0 on or from `initial`.
pub(crate) fn schedule_of(stages: &[Stage], initial: Option<RateRange>) -> Schedule {
    let stages: Vec<(Duration, f64)> = stages.iter().map(|stage| (stage.within, stage.rate as f64)).collect();
    Schedule::stages(initial.map_or(0.0, |rate| rate.from as f64), &stages)
}

/// The default of the time between a reply and the next request.
const THINK: Duration = Duration::from_secs(1);

/// The default of the time for which a connection of churn is open.
const LIFETIME: Duration = Duration::from_secs(30);

/// The default of the bytes per second of slow connections.
const SLOW: u64 = 64 << 10;

const MODES: &str = "echo, request[:TIME], send, receive, idle[:TIME], connect, broadcast[:PUBLISHERS], \
                     churn[:TIME] or slow[:BYTES]";

/// A behaviour: `echo`, or one with a value as `request:1s-5s`.
pub(crate) fn behaviour(text: &str) -> Result<Behaviour, String> {
    let (name, value) = match text.split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let span = |default: Duration| match value {
        Some(value) => value.parse::<Span>().map_err(|error| error.to_string()),
        None => Ok(Span::Fixed(default)),
    };
    let behaviour = match name {
        "echo" => Behaviour::Echo,
        "request" => Behaviour::Request { think: span(THINK)? },
        "send" => Behaviour::Send,
        "receive" => Behaviour::Receive,
        "idle" => Behaviour::Idle { ping: value.map(time).transpose()? },
        "connect" => Behaviour::Connect,
        "broadcast" => Behaviour::Broadcast {
            publishers: value
                .map_or(Ok(1), |value| u32::try_from(count(value)?).map_err(|_| "too many publishers".to_owned()))?,
        },
        "churn" => Behaviour::Churn { lifetime: span(LIFETIME)?, pause: Span::ZERO },
        "slow" => Behaviour::Slow { bytes_per_second: value.map_or(Ok(SLOW), |value| size(value).map(|n| n as u64))? },
        _ => return Err(format!("give {MODES}")),
    };
    match (&behaviour, value) {
        (Behaviour::Echo | Behaviour::Send | Behaviour::Receive | Behaviour::Connect, Some(value)) => {
            Err(format!("{name} takes no value, and {value:?} is given"))
        }
        _ => Ok(behaviour),
    }
}

/// A share of failures: `0.1%`, or a number from 0 to 1.
pub(crate) fn share_of_errors(text: &str) -> Result<f64, String> {
    let (number, divisor) = text.strip_suffix('%').map_or((text, 1.0), |percent| (percent, 100.0));
    let share = number.trim().parse::<f64>().ok().map(|number| number / divisor);
    share.filter(|share| (0.0..=1.0).contains(share)).ok_or_else(|| "give a share from 0% to 100%, as 0.1%".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_one_number_or_two() {
        assert_eq!(rate("10k"), Ok(RateRange { from: 10_000, to: 10_000 }));
        assert_eq!(rate("1k:100k"), Ok(RateRange { from: 1_000, to: 100_000 }));
        assert_eq!(rate("0:5"), Ok(RateRange { from: 0, to: 5 }));
        assert!(rate("0").is_err() && rate("fast").is_err() && rate("1:2:3").is_err());
    }

    #[test]
    fn a_stage_is_a_time_and_a_rate() {
        assert_eq!(stage("30s:10k"), Ok(Stage { within: Duration::from_secs(30), rate: 10_000 }));
        assert!(stage("30s").is_err() && stage("10k:30s").is_err());
    }

    #[test]
    fn behaviours_have_values_of_their_own() {
        assert_eq!(behaviour("echo"), Ok(Behaviour::Echo));
        assert_eq!(behaviour("idle"), Ok(Behaviour::Idle { ping: None }));
        assert_eq!(behaviour("idle:20s"), Ok(Behaviour::Idle { ping: Some(Duration::from_secs(20)) }));
        assert_eq!(behaviour("broadcast:10"), Ok(Behaviour::Broadcast { publishers: 10 }));
        assert_eq!(behaviour("slow:1K"), Ok(Behaviour::Slow { bytes_per_second: 1024 }));
        assert_eq!(behaviour("echo:5"), Err("echo takes no value, and \"5\" is given".into()));
        assert!(behaviour("ping").is_err_and(|error| error.starts_with("give echo, ")));
    }
}
