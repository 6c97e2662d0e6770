//! What flags take: numbers, sizes and times with their units, and what else has a form of its own.

use ringway::{HeaderName, HeaderValue};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The most connections that a shard can tell apart.
const MOST_CONNECTIONS: u32 = 1 << 30;

pub(crate) fn shards(text: &str) -> Result<ringway::Shards, String> {
    if text == "auto" {
        return Ok(ringway::Shards::PerCore);
    }
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(ringway::Shards::Count(count)),
        _ => Err("give a number from 1 to 1024, or auto".into()),
    }
}

/// A number with a factor: `split` cuts the digits from the unit.
fn scaled(text: &str, units: &[(&str, u64)], what: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text[digits.len()..].to_ascii_lowercase();
    let factor = units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
    let value = factor.and_then(|factor| digits.parse::<u64>().ok()?.checked_mul(factor));
    value.ok_or_else(|| format!("give {what}"))
}

/// A number of bytes: `512`, `16K`, `16KiB`, `1M`; units are powers of 1024.
pub(crate) fn size(text: &str) -> Result<usize, String> {
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

/// Sizes: `512`, or `20-1K` with both ends included.
pub(crate) fn sizes(text: &str) -> Result<RangeInclusive<usize>, String> {
    let (least, most) = text.split_once('-').unwrap_or((text, text));
    let sizes = size(least)?..=size(most)?;
    if sizes.is_empty() { Err("give the smaller size first".into()) } else { Ok(sizes) }
}

/// A header line: `Name: value`.
pub(crate) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("give a header as 'Name: value'")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is no header name"))?;
    let value = value.trim().parse().map_err(|_| format!("{:?} is no header value", value.trim()))?;
    Ok((name, value))
}

/// A count: `500`, `10k`, `1m`.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    scaled(text, &[("", 1), ("k", 1_000), ("m", 1_000_000)], "a number, as 500, 10k or 1m")
}

/// A time: `500ms`, `10s`, `2m`, `1h`; a bare number is seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("", 1_000), ("m", 60_000), ("h", 3_600_000)];
    scaled(text, &units, "a time, as 500ms, 10s or 2m").map(Duration::from_millis)
}

/// A number of bytes that is not 0.
pub(crate) fn some_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("give at least 1".into()),
        bytes => Ok(bytes),
    }
}

/// A time that is not 0.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("give at least 1ms".into()),
        time => Ok(time),
    }
}

/// Connections of one shard.
pub(crate) fn connections(text: &str) -> Result<u32, String> {
    match u32::try_from(count(text)?) {
        Ok(connections @ 1..=MOST_CONNECTIONS) => Ok(connections),
        _ => Err(format!("give a number from 1 to {MOST_CONNECTIONS}")),
    }
}

/// Bytes of a receive buffer.
pub(crate) fn buffer_size(text: &str) -> Result<u32, String> {
    match u32::try_from(size(text)?) {
        Ok(bytes @ 1_024..=1_048_576) => Ok(bytes),
        _ => Err("give a number of bytes from 1K to 1M".into()),
    }
}

/// Receive buffers of a shard.
pub(crate) fn buffers(text: &str) -> Result<u16, String> {
    match u16::try_from(count(text)?) {
        Ok(buffers @ 1..=32_768) if buffers.is_power_of_two() => Ok(buffers),
        _ => Err("give a power of two from 1 to 32768".into()),
    }
}

/// What can be listened on: an address or a name, and a port. Whether the name has an address is seen later.
pub(crate) fn listen(text: &str) -> Result<String, String> {
    let port = text.rsplit_once(':').filter(|(host, port)| {
        let bracketed = host.starts_with('[') && host.ends_with(']');
        !host.is_empty() && (bracketed || !host.contains([':', '[', ']'])) && port.parse::<u16>().is_ok()
    });
    port.map(|_| text.to_owned()).ok_or_else(|| "give an address and a port, as 127.0.0.1:9001 or [::1]:9001".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_take_their_units() {
        assert_eq!(size("16M"), Ok(16 << 20));
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(count("10k"), Ok(10_000));
        assert_eq!(count("1m"), Ok(1_000_000));
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("2m"), Ok(Duration::from_secs(120)));
    }

    #[test]
    fn sizes_are_one_or_a_range() {
        assert_eq!(sizes("64"), Ok(64..=64));
        assert_eq!(sizes("20-1K"), Ok(20..=1024));
        assert!(["", "-", "5-", "-5", "9-8", "1-2-3"].iter().all(|text| sizes(text).is_err()));
    }

    #[test]
    fn headers_are_a_name_and_a_value() {
        let (name, value) = header("X-Key:  a:b ").expect("a header");
        assert_eq!((name.as_str(), value.to_str().ok()), ("x-key", Some("a:b")));
        assert!(["none", "a b: c", "a: b\u{1}c"].iter().all(|text| header(text).is_err()));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for text in ["", "k", "-1", "1.5", "1x", "99999999999999999999g", "18446744073709551615k"] {
            assert!(size(text).is_err() && count(text).is_err() && time(text).is_err(), "{text}");
        }
        assert!(shards("0").is_err());
    }

    #[test]
    fn ranges_are_kept() {
        assert_eq!((buffers("1024"), buffer_size("32K"), connections("1m")), (Ok(1024), Ok(32_768), Ok(1_000_000)));
        assert!(["0", "1000", "65536", "100k"].iter().all(|text| buffers(text).is_err()));
        assert!(["10", "2M"].iter().all(|text| buffer_size(text).is_err()));
        assert!(["0", "5000m"].iter().all(|text| connections(text).is_err()));
        assert!(some_size("0").is_err() && some_time("0").is_err());
    }

    #[test]
    fn an_address_has_a_port() {
        for text in ["127.0.0.1:0", "[::1]:80", "localhost:65535"] {
            assert_eq!(listen(text).as_deref(), Ok(text));
        }
        for text in ["nonsense", "127.0.0.1", "127.0.0.1:99999", "[::1", "::1:80", ":80"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }
}
