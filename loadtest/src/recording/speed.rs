//! How fast a recording is replayed.

use std::fmt;
use std::str::FromStr;

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Speed {
    /// So many times as fast as it was recorded.
    Times(f64),
    /// Without waiting.
    Max,
}

impl Default for Speed {
    /// As it was recorded.
    fn default() -> Self {
        Self::Times(1.0)
    }
}

impl FromStr for Speed {
    type Err = String;

    /// A factor from 0.001 to 1 000 000, or `max`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "max" => Ok(Self::Max),
            _ => match text.parse() {
                Ok(times) if (0.001..=1e6).contains(&times) => Ok(Self::Times(times)),
                _ => Err("give a factor from 0.001 to 1000000, or max".into()),
            },
        }
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Times(times) => write!(f, "{times}"),
            Self::Max => f.write_str("max"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_factor_or_max() {
        for (text, speed) in [("10", Speed::Times(10.0)), ("0.5", Speed::Times(0.5)), ("max", Speed::Max)] {
            assert_eq!(text.parse(), Ok(speed));
            assert_eq!(speed.to_string(), text);
        }
        for wrong in ["", "0", "-1", "inf", "nan", "1e7", "fast"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
    }
}
