//! Numbers, sizes and times with units.

use std::time::Duration;

/// A number with a unit, which is a factor.
fn scaled(text: &str, units: &[(&str, u64)], what: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    let value = factor.filter(|_| is_number).and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    value.ok_or_else(|| format!("give {what}"))
}

/// A count: `500`, `10k`, `1m`.
///
/// # Errors
/// What to write instead.
pub fn count(text: &str) -> Result<u64, String> {
    scaled(text, &[("", 1), ("k", 1_000), ("m", 1_000_000)], "a number, as 500, 10k or 1m")
}

/// A number of bytes: `512`, `16K`, `16KiB`, `1M`; units are powers of 1024.
///
/// # Errors
/// What to write instead.
pub fn size(text: &str) -> Result<usize, String> {
    let units = [
        ("", 1),
        ("b", 1),
        ("k", 1 << 10),
        ("kib", 1 << 10),
        ("m", 1 << 20),
        ("mib", 1 << 20),
        ("g", 1 << 30),
        ("gib", 1 << 30),
    ];
    let bytes = scaled(text, &units, "a number of bytes, as 512, 16K or 1M")?;
    usize::try_from(bytes).map_err(|_| "too large for this machine".into())
}

/// A time of at most 365 days: `500ms`, `1.5s`, `2m`, `1h`; a number without a unit is in seconds.
///
/// # Errors
/// What to write instead.
pub fn time(text: &str) -> Result<Duration, String> {
    crate::lifetime::time(text).map_err(|_| "give a time up to 365d, as 500ms, 1.5s or 2m".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_units() {
        assert_eq!((size("16M"), size("64KiB"), size("0")), (Ok(16 << 20), Ok(64 << 10), Ok(0)));
        assert_eq!((count("10k"), count("1m"), count("7")), (Ok(10_000), Ok(1_000_000), Ok(7)));
        assert_eq!((time("1.5s"), time("2m")), (Ok(Duration::from_millis(1500)), Ok(Duration::from_secs(120))));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for text in ["", "k", "-1", "+1", "1x", "99999999999999999999g", "18446744073709551615k"] {
            assert!(size(text).is_err() && count(text).is_err() && time(text).is_err(), "{text}");
        }
        assert_eq!(time("366d"), Err("give a time up to 365d, as 500ms, 1.5s or 2m".into()));
    }
}
