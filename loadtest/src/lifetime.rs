//! How long a connection lives, a client thinks, and a failed client waits before it tries again.
//! Pure: the random numbers are an argument.

use crate::parse::product;
use crate::random;
use rand::Rng;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// The longest time: a year.
const MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// The largest σ of a lognormal distribution. With 4, one time in a hundred is above 10 000
/// medians.
const MAX_SIGMA: f64 = 4.0;
/// The units of times, in nanoseconds, from the largest to the smallest.
const UNITS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("µs", 1_000),
    ("ns", 1),
];

/// A distribution of times. As text: `5s`, `1s-10s`, `exp:30s`, `lognormal:30s:0.8`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Span {
    /// Always the same time.
    Fixed(Duration),
    /// Any time from the first to the second, with the same probability.
    Uniform(Duration, Duration),
    /// Exponential with this mean: the end comes at any time with the same probability, however
    /// long the time has lasted.
    Exponential(Duration),
    /// Lognormal: the logarithm of the time is normally distributed. Half of the times are above
    /// the median; a few are far above it.
    Lognormal {
        /// The median, from which both halves are equally likely.
        median: Duration,
        /// The standard deviation of the logarithm, above 0 and up to 4.
        sigma: f64,
    },
}

impl Span {
    /// No time.
    pub const ZERO: Self = Self::Fixed(Duration::ZERO);

    /// Checks what a text is checked for when it is read: a value can be made without one.
    ///
    /// # Errors
    /// As of [`from_str`](FromStr::from_str).
    pub fn check(&self) -> Result<(), SpanError> {
        let is_long = |time: &Duration| *time > MAX;
        match self {
            Self::Fixed(time) | Self::Exponential(time) | Self::Lognormal { median: time, .. } if is_long(time) => {
                Err(SpanError::Long(*time))
            }
            Self::Uniform(_, max) if is_long(max) => Err(SpanError::Long(*max)),
            Self::Uniform(min, max) if min > max => Err(SpanError::Order(self.to_string())),
            Self::Exponential(Duration::ZERO) => Err(SpanError::Zero(self.to_string(), "exp:30s")),
            Self::Lognormal { median: Duration::ZERO, .. } => {
                Err(SpanError::Zero(self.to_string(), "lognormal:30s:0.8"))
            }
            Self::Lognormal { sigma, .. } if !(*sigma > 0.0 && *sigma <= MAX_SIGMA) => {
                Err(SpanError::Sigma(self.to_string()))
            }
            _ => Ok(()),
        }
    }

    /// A random time, in nanoseconds.
    pub(crate) fn sample(&self, rng: &mut impl Rng) -> u64 {
        match *self {
            Self::Fixed(time) => nanos(time),
            Self::Uniform(min, max) => nanos(min) + random::up_to(rng, nanos(max) - nanos(min)),
            // The conversions saturate.
            Self::Exponential(mean) => (nanos(mean) as f64 * random::exponential(rng)) as u64,
            Self::Lognormal { median, sigma } => (nanos(median) as f64 * (sigma * random::normal(rng)).exp()) as u64,
        }
    }

    /// The mean of the times.
    #[cfg(test)]
    fn mean(&self) -> Duration {
        match *self {
            Self::Fixed(time) | Self::Exponential(time) => time,
            Self::Uniform(min, max) => (min + max) / 2,
            Self::Lognormal { median, sigma } => median.mul_f64((sigma * sigma / 2.0).exp()),
        }
    }
}

/// The reason why a text is not a distribution of times.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum SpanError {
    /// It is not a time.
    #[error("{0:?} is not a time: give one up to 365d, as 500ms, 1.5s or 2m")]
    Time(String),
    /// It is longer than a year.
    #[error("{0:?} is longer than a year: give a time up to 365d")]
    Long(Duration),
    /// The ends of a range are in the wrong order.
    #[error("the range {0:?} begins above its end: give the shorter time first, as 1s-10s")]
    Order(String),
    /// The mean, the median or the base is 0.
    #[error("{0:?} has a time of 0: give one above 0, as {1}")]
    Zero(String, &'static str),
    /// The σ of a lognormal distribution is missing or out of range.
    #[error("{0:?} has no σ above 0 and up to 4: give the median and σ, as lognormal:30s:0.8")]
    Sigma(String),
    /// The distribution is unknown.
    #[error("{0:?} is not a distribution: give a time (5s), a range (1s-10s), exp:30s or lognormal:30s:0.8")]
    Distribution(String),
    /// A back-off is not a range.
    #[error("{0:?} is not a back-off: give its base and its cap, as 100ms-30s")]
    Backoff(String),
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        match text.split_once(':') {
            None => match range(text)? {
                (min, None) => Ok(Self::Fixed(min)),
                (min, Some(max)) => Ok(Self::Uniform(min, max)),
            },
            Some(("exp", mean)) => match time(mean)? {
                Duration::ZERO => Err(SpanError::Zero(text.into(), "exp:30s")),
                mean => Ok(Self::Exponential(mean)),
            },
            Some(("lognormal", rest)) => {
                let sigma = |text: &str| text.parse().ok().filter(|sigma| *sigma > 0.0 && *sigma <= MAX_SIGMA);
                let (median, sigma) = rest
                    .split_once(':')
                    .and_then(|(median, end)| Some((median, sigma(end)?)))
                    .ok_or_else(|| SpanError::Sigma(text.into()))?;
                match time(median)? {
                    Duration::ZERO => Err(SpanError::Zero(text.into(), "lognormal:30s:0.8")),
                    median => Ok(Self::Lognormal { median, sigma }),
                }
            }
            Some(_) => Err(SpanError::Distribution(text.into())),
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(time) => write_time(f, *time),
            Self::Uniform(min, max) => write_range(f, *min, *max),
            Self::Exponential(mean) => {
                f.write_str("exp:")?;
                write_time(f, *mean)
            }
            Self::Lognormal { median, sigma } => {
                f.write_str("lognormal:")?;
                write_time(f, *median)?;
                write!(f, ":{sigma}")
            }
        }
    }
}

/// The wait before another attempt after failures: exponential with full jitter. It is distributed
/// uniformly from 0 to a ceiling, which begins at the base and doubles with each failure up to the
/// cap, so that clients that failed at the same time do not return at the same time. As text:
/// `100ms-30s`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Backoff {
    base: Duration,
    cap: Duration,
}

impl Backoff {
    /// Waits from `base` up to `cap`.
    pub(crate) const fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap }
    }

    /// The maximum wait after this many failures in a row, at least 1, in nanoseconds.
    pub(crate) fn ceiling(&self, failures: u32) -> u64 {
        let doubled = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
        nanos(self.base).saturating_mul(doubled).min(nanos(self.cap))
    }

    /// A random wait after this many failures in a row, in nanoseconds.
    pub(crate) fn sample(&self, failures: u32, rng: &mut impl Rng) -> u64 {
        random::up_to(rng, self.ceiling(failures))
    }
}

impl FromStr for Backoff {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        match range(text)? {
            (_, None) => Err(SpanError::Backoff(text.into())),
            (Duration::ZERO, _) => Err(SpanError::Zero(text.into(), "100ms-30s")),
            (base, Some(cap)) => Ok(Self { base, cap }),
        }
    }
}

impl fmt::Display for Backoff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_range(f, self.base, self.cap)
    }
}

/// A time, or two in ascending order with a hyphen between them.
fn range(text: &str) -> Result<(Duration, Option<Duration>), SpanError> {
    let Some((min, max)) = text.split_once('-') else { return Ok((time(text)?, None)) };
    let (min, max) = (time(min)?, time(max)?);
    if min > max { Err(SpanError::Order(text.into())) } else { Ok((min, Some(max))) }
}

/// A time of at most a year: `500ms`, `1.5s`, `2m`; a number without a unit is in seconds.
pub(crate) fn time(text: &str) -> Result<Duration, SpanError> {
    let error = || SpanError::Time(text.into());
    let digits = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = if unit.is_empty() { "s" } else { unit };
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(error)?;
    let nanos = product(number, *length);
    nanos.map(Duration::from_nanos).filter(|time| *time <= MAX).ok_or_else(error)
}

/// In the largest unit of which it is a whole number.
fn write_time(f: &mut fmt::Formatter<'_>, time: Duration) -> fmt::Result {
    let nanos = nanos(time);
    match UNITS.iter().find(|(_, unit)| nanos > 0 && nanos.is_multiple_of(*unit)) {
        Some((name, unit)) => write!(f, "{}{name}", nanos / unit),
        None => f.write_str("0s"),
    }
}

fn write_range(f: &mut fmt::Formatter<'_>, min: Duration, max: Duration) -> fmt::Result {
    write_time(f, min)?;
    f.write_str("-")?;
    write_time(f, max)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SAMPLES: u64 = 200_000;

    fn span(text: &str) -> Span {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn samples(span: Span, seed: u64) -> Vec<u64> {
        let mut rng = random::stream(seed, 0);
        let mut samples: Vec<u64> = (0..SAMPLES).map(|_| span.sample(&mut rng)).collect();
        samples.sort_unstable();
        samples
    }

    fn assert_close(found: f64, expected: f64, within: f64) {
        assert!((found / expected - 1.0).abs() < within, "{found} for {expected}");
    }

    #[test]
    fn texts_are_distributions() {
        let seconds = Duration::from_secs;
        assert_eq!(span("5s"), Span::Fixed(seconds(5)));
        assert_eq!(span("5"), Span::Fixed(seconds(5)));
        assert_eq!(span("0s"), Span::Fixed(seconds(0)));
        assert_eq!(span("1.5s-2m"), Span::Uniform(Duration::from_millis(1500), seconds(120)));
        assert_eq!(span("20us-20µs"), Span::Uniform(Duration::from_micros(20), Duration::from_micros(20)));
        assert_eq!(span("exp:1h"), Span::Exponential(seconds(3600)));
        assert_eq!(span("lognormal:1d:0.8"), Span::Lognormal { median: seconds(86_400), sigma: 0.8 });
    }

    #[test]
    fn other_texts_are_refused_with_a_remedy() {
        for (text, remedy) in [
            ("", "is not a time"),
            ("s", "is not a time"),
            ("5x", "500ms, 1.5s or 2m"),
            ("-5s", "is not a time"),
            ("1.s", "is not a time"),
            (".5s", "is not a time"),
            ("1.2.3s", "is not a time"),
            ("366d", "up to 365d"),
            ("99999999999999999999s", "up to 365d"),
            ("10s-1s", "give the shorter time first"),
            ("1s-2s-3s", "is not a time"),
            ("exp:0s", "above 0, as exp:30s"),
            ("exp:", "is not a time"),
            ("lognormal:30s", "give the median and σ"),
            ("lognormal:30s:0", "give the median and σ"),
            ("lognormal:30s:4.1", "up to 4"),
            ("lognormal:30s:NaN", "up to 4"),
            ("lognormal:0s:1", "above 0, as lognormal"),
            ("pareto:3s", "exp:30s or lognormal:30s:0.8"),
        ] {
            let error = text.parse::<Span>().expect_err(text).to_string();
            assert!(error.contains(remedy), "{text}: {error}");
        }
        for (text, remedy) in [("1s", "as 100ms-30s"), ("0s-1s", "as 100ms-30s"), ("2s-1s", "shorter time first")] {
            let error = text.parse::<Backoff>().expect_err(text).to_string();
            assert!(error.contains(remedy), "{text}: {error}");
        }
    }

    #[test]
    fn samples_have_the_mean_that_is_stated() {
        for text in ["5s", "0s", "1s-10s", "3s-3s", "exp:30s", "exp:1us", "lognormal:30s:0.8", "lognormal:10ms:0.1"] {
            let (span, mean) = (span(text), nanos(span(text).mean()) as f64);
            let sum: u64 = samples(span, 3).iter().sum();
            // Six standard errors of a distribution whose deviation is its mean.
            let error = 6.0 * mean / (SAMPLES as f64).sqrt();
            assert!((sum as f64 / SAMPLES as f64 - mean).abs() <= error + 1.0, "{text}");
        }
    }

    #[test]
    fn samples_are_distributed_as_the_name_says() {
        let at = |samples: &[u64], share: f64| samples[(share * SAMPLES as f64) as usize] as f64;
        let uniform = samples(span("1s-10s"), 1);
        assert!(uniform[0] >= 1_000_000_000 && uniform[uniform.len() - 1] <= 10_000_000_000);
        assert_close(at(&uniform, 0.1), 1.9e9, 0.02);
        assert_close(at(&uniform, 0.9), 9.1e9, 0.02);
        let exponential = samples(span("exp:10s"), 2);
        assert_close(at(&exponential, 0.5), 10e9 * 2f64.ln(), 0.02);
        assert_close(at(&exponential, 0.99), 10e9 * 100f64.ln(), 0.03);
        let lognormal = samples(span("lognormal:10s:1.5"), 3);
        assert_close(at(&lognormal, 0.5), 10e9, 0.03);
        // The 97.5th percentile of a normal distribution is 1.96 σ above its mean.
        assert_close(at(&lognormal, 0.975), 10e9 * (1.5 * 1.96f64).exp(), 0.05);
        assert_close(at(&lognormal, 0.025), 10e9 * (-1.5 * 1.96f64).exp(), 0.05);
    }

    #[test]
    fn a_seed_determines_the_samples() {
        for text in ["1s-10s", "exp:30s", "lognormal:30s:0.8"] {
            assert_eq!(samples(span(text), 1), samples(span(text), 1));
            assert_ne!(samples(span(text), 1), samples(span(text), 2));
        }
    }

    #[test]
    fn the_ceiling_of_a_backoff_doubles_up_to_the_cap() {
        let backoff: Backoff = "100ms-1s".parse().expect("a back-off");
        let millis = [1, 2, 3, 4, 5, 6, 64, 65, 66, u32::MAX].map(|failures| backoff.ceiling(failures) / 1_000_000);
        assert_eq!(millis, [100, 200, 400, 800, 1000, 1000, 1000, 1000, 1000, 1000]);
        let long: Backoff = "1d-365d".parse().expect("a back-off");
        assert_eq!((long.ceiling(u32::MAX), long.to_string()), (nanos(MAX), "1d-365d".into()));
    }

    #[test]
    fn a_backoff_is_anywhere_below_its_ceiling() {
        let backoff: Backoff = "100ms-30s".parse().expect("a back-off");
        let mut rng = random::stream(9, 0);
        for failures in [1, 3, 20] {
            let ceiling = backoff.ceiling(failures);
            let samples: Vec<u64> = (0..SAMPLES).map(|_| backoff.sample(failures, &mut rng)).collect();
            assert!(samples.iter().all(|wait| *wait <= ceiling));
            assert_close(samples.iter().sum::<u64>() as f64 / SAMPLES as f64, ceiling as f64 / 2.0, 0.01);
            // Full jitter: as many near 0 and near the ceiling as anywhere.
            for edge in [0, 9] {
                let share = samples.iter().filter(|wait| **wait * 10 / (ceiling + 1) == edge).count();
                assert_close(share as f64, SAMPLES as f64 / 10.0, 0.05);
            }
        }
    }

    fn any_time() -> impl Strategy<Value = Duration> {
        let whole = (0usize..UNITS.len(), 1u64..400).prop_map(|(unit, count)| count * UNITS[unit].1);
        prop_oneof![whole, 1..nanos(MAX)].prop_map(|nanos| Duration::from_nanos(nanos).min(MAX))
    }

    /// Any time that a value can have.
    fn any_duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            any_time(),
            Just(Duration::ZERO),
            Just(Duration::MAX),
            (any::<u64>(), 0..1_000_000_000u32).prop_map(|(seconds, nanos)| Duration::new(seconds, nanos)),
        ]
    }

    fn any_span() -> impl Strategy<Value = Span> {
        prop_oneof![
            any_time().prop_map(Span::Fixed),
            (any_time(), any_time()).prop_map(|(one, other)| Span::Uniform(one.min(other), one.max(other))),
            any_time().prop_map(Span::Exponential),
            (any_time(), 0.01..MAX_SIGMA).prop_map(|(median, sigma)| Span::Lognormal { median, sigma }),
        ]
    }

    proptest! {
        #[test]
        fn a_distribution_is_printed_as_it_is_written(span in any_span()) {
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn a_span_that_passes_its_check_has_samples(
            (one, other) in (any_duration(), any_duration()),
            sigma in any::<f64>(),
            seed: u64,
        ) {
            let lognormal = Span::Lognormal { median: one, sigma };
            for span in [Span::Fixed(one), Span::Uniform(one, other), Span::Exponential(one), lognormal] {
                if span.check().is_ok() {
                    span.sample(&mut random::stream(seed, 0));
                    prop_assert!(span.mean() > Duration::ZERO || one.is_zero());
                    prop_assert_eq!(span.to_string().parse(), Ok(span));
                }
            }
        }

        #[test]
        fn a_time_with_decimals_is_exact(nanos in 0..nanos(MAX)) {
            let text = format!("{}.{:09}s", nanos / 1_000_000_000, nanos % 1_000_000_000);
            prop_assert_eq!(time(&text), Ok(Duration::from_nanos(nanos)));
        }

        #[test]
        fn any_text_is_refused_or_valid(text in "[0-9.a-zµ:-]{0,20}", seed: u64) {
            if let Ok(span) = text.parse::<Span>() {
                prop_assert!(span.mean() <= Duration::from_secs(u64::MAX / 2));
                let sample = span.sample(&mut random::stream(seed, 0));
                match span {
                    Span::Fixed(time) => prop_assert_eq!(sample, nanos(time)),
                    Span::Uniform(min, max) => prop_assert!((nanos(min)..=nanos(max)).contains(&sample)),
                    Span::Exponential(_) | Span::Lognormal { .. } => {}
                }
            }
        }
    }
}
