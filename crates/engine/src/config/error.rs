//! Errors of options out of range.

use ringway_io::OptionError;
use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The range of times. Timers have a resolution of 10 ms, and sessions count idle time in 2³² such
/// ticks, 497 days.
const TIMES: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(365 * 24 * 60 * 60);

/// An option is out of range. Displayed as `deflate.window_bits is 16: give 9 to 15`.
///
/// ```
/// use ringway::Deflate;
///
/// let error = Deflate::shared().window_bits(16).unwrap_err();
/// assert_eq!((error.option, error.value.as_str(), &*error.range), ("deflate.window_bits", "16", "9 to 15"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{option} is {value}: give {range}")]
#[non_exhaustive]
pub struct ConfigError {
    /// The name of the option: `shards`, an option of [`Config`](crate::Config), or an option of
    /// another type with the prefix of that type (`limits.`, `admission.`, `deflate.`, `endpoint.`, `tls.`).
    pub option: &'static str,
    /// The rejected value.
    pub value: String,
    /// The allowed values.
    pub range: Cow<'static, str>,
}

impl ConfigError {
    pub(crate) fn new(option: &'static str, value: impl Into<String>, range: impl Into<Cow<'static, str>>) -> Self {
        Self { option, value: value.into(), range: range.into() }
    }
}

impl From<OptionError> for ConfigError {
    fn from(error: OptionError) -> Self {
        let OptionError { option, value, range, .. } = error;
        Self { option, value, range: range.into() }
    }
}

/// Checks that a number is within `range`.
pub(crate) fn check_range<T: PartialOrd + Display>(
    option: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(ConfigError::new(option, value.to_string(), format!("{} to {}", range.start(), range.end())))
}

/// Checks that a time is within the range of timers.
pub(crate) fn check_time(option: &'static str, time: Duration) -> Result<(), ConfigError> {
    if TIMES.contains(&time) {
        return Ok(());
    }
    Err(ConfigError::new(option, format!("{time:?}"), "1 ms to 365 days"))
}

/// Checks that all names of subprotocols are tokens (RFC 6455 section 4.1).
pub(crate) fn check_tokens(option: &'static str, names: &[String]) -> Result<(), ConfigError> {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    match names.iter().find(|name| name.is_empty() || !name.bytes().all(of_token)) {
        Some(name) => {
            Err(ConfigError::new(option, format!("{name:?}"), "names of letters, digits and !#$%&'*+-.^_`|~"))
        }
        None => Ok(()),
    }
}

/// Whether this is an origin as browsers send it (RFC 6454 section 6.2).
pub(crate) fn is_origin(text: &str) -> bool {
    let fits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    let parts = text.split_once("://");
    text == "null"
        || parts
            .is_some_and(|(scheme, host)| fits(scheme) && fits(host) && !host.contains(['/', '?', '#', '@', '*', ',']))
}
