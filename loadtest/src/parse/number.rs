//! Numbers, sizes and times with units.

use std::time::Duration;

/// A number with a unit, which is a factor. A number with a fraction is accepted if the product is
/// whole: `1.5k` is 1500.
fn scaled(text: &str, units: &[(&str, u64)], what: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let value = factor.and_then(|factor| product(digits, factor));
    value.ok_or_else(|| format!("give {what}"))
}

/// A decimal number multiplied by a factor; `None` unless the result is whole and below 2^64.
pub(crate) fn product(number: &str, factor: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 18 {
        return None;
    }
    // Below 10^18 × 2^64, which a u128 holds.
    let (part, divisor) = (u128::from(fraction.parse::<u64>().ok()?), 10u128.pow(fraction.len() as u32));
    let part = part * u128::from(factor);
    let part = part.is_multiple_of(divisor).then_some(part / divisor)?;
    let whole = u128::from(whole.parse::<u64>().ok()?) * u128::from(factor);
    u64::try_from(whole + part).ok()
}

/// A whole count: `500`, `10k`, `1.5k`, `1m`.
///
/// # Errors
/// What to write instead.
pub fn count(text: &str) -> Result<u64, String> {
    scaled(text, &[("", 1), ("k", 1_000), ("m", 1_000_000)], "a whole number, as 500, 10k or 1m")
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
    crate::lifetime::time(text).map_err(|_| "give a time, as 500ms, 1.5s or 2m, up to 365d".into())
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
    fn fractions_are_exact_or_refused() {
        assert_eq!((time("0.25m"), time("1.5")), (Ok(Duration::from_secs(15)), Ok(Duration::from_millis(1500))));
        assert_eq!((count("2.5k"), size("1.5K")), (Ok(2500), Ok(1536)));
        for text in ["1.", ".5", "1.5.5", "1e3", "-1.5", "+1.5", "0.0000000001s", "1.00000000000000000000s"] {
            assert!(time(text).is_err_and(|error| error.contains("1.5s")), "{text}");
        }
        assert!(count("1.5").is_err() && count("1.2345k").is_err() && size("0.3K").is_err());
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for text in ["", "k", "-1", "+1", "1x", "99999999999999999999g", "18446744073709551615k"] {
            assert!(size(text).is_err() && count(text).is_err() && time(text).is_err(), "{text}");
        }
        assert_eq!(time("366d"), Err("give a time, as 500ms, 1.5s or 2m, up to 365d".into()));
    }
}
