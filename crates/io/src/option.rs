//! Options that are out of their range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use thiserror::Error;

/// An option has a value out of its range.
///
/// ```
/// use ringway_io::BufferConfig;
///
/// let error = BufferConfig::new().size(12).unwrap_err();
/// assert_eq!(error.to_string(), "buffers.size is 12: give 1024 to 1048576 bytes");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{option} is {value}: give {range}")]
#[non_exhaustive]
pub struct OptionError {
    /// The name of the option. Those of [`BufferConfig`](crate::BufferConfig) have the prefix
    /// `buffers.`.
    pub option: &'static str,
    /// The value that it has.
    pub value: String,
    /// The values that it can have, with their unit.
    pub range: &'static str,
}

/// Checks that a number is within `range`, which `text` describes.
pub(crate) fn check_range<T: PartialOrd + Display>(
    option: &'static str,
    value: T,
    range: RangeInclusive<T>,
    text: &'static str,
) -> Result<(), OptionError> {
    if range.contains(&value) {
        return Ok(());
    }
    Err(OptionError { option, value: value.to_string(), range: text })
}
