//! Parsers of flag values: numbers, sizes and times with units, and other forms.

use ringway::placement::CoreList;
use ringway::{BusyPoll, Cores, HeaderName, HeaderValue};
use std::ops::RangeInclusive;
use std::time::Duration;

/// The maximum number of connections of a shard.
const MAX_CONNECTIONS: u32 = 1 << 30;

/// The maximum number of headers that the engine parses.
const MAX_HEADERS: u32 = 128;

/// The maximum number of threads of a server or of a load.
const MAX_THREADS: u32 = 1024;

pub(crate) fn shards(text: &str) -> Result<ringway::Shards, String> {
    if text == "auto" {
        return Ok(ringway::Shards::PerCore);
    }
    match text.parse() {
        Ok(count) if (1..=MAX_THREADS as usize).contains(&count) => Ok(ringway::Shards::Count(count)),
        _ => Err("give a number from 1 to 1024, or auto".into()),
    }
}

/// Cores in the kernel's list format: `0-3,8`.
pub(crate) fn cores(text: &str) -> Result<CoreList, String> {
    text.parse().map_err(|error: ringway::placement::CoreListError| error.to_string())
}

/// The choice of `--cores`: the named cores, or all if it is not given.
pub(crate) fn cores_of(list: Option<&CoreList>) -> Cores {
    list.map_or(Cores::All, |list| Cores::List(list.as_slice().to_vec()))
}

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
fn product(number: &str, factor: u64) -> Option<u64> {
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

/// Headers of the handshake itself, which the client writes, and headers that a handshake must not
/// have.
const HANDSHAKE: [&str; 4] = ["connection", "upgrade", "content-length", "transfer-encoding"];

/// A header to add to an opening handshake: `Name: value`.
pub(crate) fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("give a header as 'Name: value'")?;
    let name: HeaderName = name.trim().parse().map_err(|_| format!("{name:?} is not a valid header name"))?;
    let value = value.trim().parse().map_err(|_| format!("{:?} is not a valid header value", value.trim()))?;
    match name.as_str() {
        "sec-websocket-protocol" => Err("use --subprotocol to offer subprotocols".into()),
        own if HANDSHAKE.contains(&own) || own.starts_with("sec-websocket-") => {
            Err(format!("the opening handshake has its own {name}"))
        }
        _ => Ok((name, value)),
    }
}

/// The value of an Origin header to send.
pub(crate) fn origin_to_send(text: &str) -> Result<String, String> {
    text.parse::<HeaderValue>()
        .map(|_| text.to_owned())
        .map_err(|_| "it has characters that are not valid in a header".into())
}

/// An origin to accept (RFC 6454): scheme, host and port, without a path; or `null`, the origin of
/// sandboxed pages.
pub(crate) fn origin_to_allow(text: &str) -> Result<String, String> {
    if text == "null" {
        return Ok(text.to_owned());
    }
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let fits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits(scheme) || !fits(host) || host.contains(['@', '*', ',']) {
        return Err("give an origin, as https://example.com".into());
    }
    let origin = format!("{scheme}://{host}");
    if origin == text { Ok(origin) } else { Err(format!("write {origin}")) }
}

/// The name of a subprotocol: a token (RFC 6455 section 4.1).
pub(crate) fn subprotocol(text: &str) -> Result<String, String> {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !text.is_empty() && text.bytes().all(of_token) {
        return Ok(text.to_owned());
    }
    Err("give one name, of letters, digits and !#$%&'*+-.^_`|~".into())
}

/// A count: `500`, `10k`, `1m`.
pub(crate) fn count(text: &str) -> Result<u64, String> {
    scaled(text, &[("", 1), ("k", 1_000), ("m", 1_000_000)], "a number, as 500, 10k or 1m")
}

/// A time: `500ms`, `1.5s`, `2m`, `1h`; a number without a unit is in seconds.
pub(crate) fn time(text: &str) -> Result<Duration, String> {
    const SECOND: u64 = 1_000_000_000;
    let units = [
        ("us", 1_000),
        ("ms", 1_000_000),
        ("s", SECOND),
        ("", SECOND),
        ("m", 60 * SECOND),
        ("h", 3_600 * SECOND),
    ];
    scaled(text, &units, "a time, as 500ms, 1.5s or 2m").map(Duration::from_nanos)
}

/// A number of bytes that is not 0.
pub(crate) fn some_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("give at least 1".into()),
        bytes => Ok(bytes),
    }
}

/// Busy polling: `off`, `adaptive`, or a time of at most a second, as `20us` or `1ms`.
pub(crate) fn busy_poll(text: &str) -> Result<BusyPoll, String> {
    const MAX_MICROS: u64 = 1_000_000;
    match text {
        "off" => return Ok(BusyPoll::Off),
        "adaptive" => return Ok(BusyPoll::Adaptive),
        _ => {}
    }
    let what = "off, adaptive, or a time from 1us to 1s, as 20us or 1ms";
    match scaled(text, &[("us", 1), ("ms", 1_000), ("s", 1_000_000)], what)? {
        micros @ 1..=MAX_MICROS => Ok(BusyPoll::Fixed(Duration::from_micros(micros))),
        _ => Err(format!("give {what}")),
    }
}

/// A valid value of [`busy_poll`] as text, for a process that is started with it.
pub(crate) fn busy_poll_word(text: &str) -> Result<String, String> {
    busy_poll(text).map(|_| text.to_owned())
}

/// A time that is not 0.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        Duration::ZERO => Err("give at least 1ms".into()),
        time => Ok(time),
    }
}

/// A count that is not 0.
pub(crate) fn some_count(text: &str) -> Result<u64, String> {
    match count(text)? {
        0 => Err("give at least 1".into()),
        count => Ok(count),
    }
}

/// A cookie: `NAME=VALUE`.
pub(crate) fn cookie(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((name, _)) if !name.is_empty() && text.parse::<HeaderValue>().is_ok() => Ok(text.to_owned()),
        _ => Err("give a cookie as NAME=VALUE".into()),
    }
}

/// A user and a password: `USER:PASSWORD`.
pub(crate) fn credentials(text: &str) -> Result<String, String> {
    if text.contains(':') { Ok(text.to_owned()) } else { Err("give USER:PASSWORD".into()) }
}

/// Threads of a load.
pub(crate) fn threads(text: &str) -> Result<usize, String> {
    within(text, 1..=MAX_THREADS).map(|threads| threads as usize)
}

/// A count within a range.
fn within(text: &str, range: RangeInclusive<u32>) -> Result<u32, String> {
    let found = u32::try_from(count(text)?).ok().filter(|count| range.contains(count));
    found.ok_or_else(|| format!("give a number from {} to {}", range.start(), range.end()))
}

/// Connections of one shard, or of a load.
pub(crate) fn connections(text: &str) -> Result<u32, String> {
    within(text, 1..=MAX_CONNECTIONS)
}

/// Messages in flight on one connection.
pub(crate) fn pipeline(text: &str) -> Result<u32, String> {
    within(text, 1..=ringway_loadtest::MAX_IN_FLIGHT)
}

/// Handshakes in progress at a time.
pub(crate) fn connect_concurrency(text: &str) -> Result<u32, String> {
    within(text, 1..=ringway_loadtest::MAX_HANDSHAKES)
}

/// Rounds of a bench.
pub(crate) fn rounds(text: &str) -> Result<usize, String> {
    within(text, 1..=1000).map(|rounds| rounds as usize)
}

/// Headers of an opening handshake.
pub(crate) fn headers(text: &str) -> Result<usize, String> {
    within(text, 1..=MAX_HEADERS).map(|headers| headers as usize)
}

/// Bytes of a receive buffer.
pub(crate) fn buffer_size(text: &str) -> Result<u32, String> {
    match u32::try_from(size(text)?) {
        Ok(bytes @ 1_024..=1_048_576) => Ok(bytes),
        _ => Err("give a number of bytes from 1K to 1M".into()),
    }
}

/// Entries of a submission queue.
pub(crate) fn ring_entries(text: &str) -> Result<u32, String> {
    let entries = within(text, 8..=32_768).ok().filter(|entries| entries.is_power_of_two());
    entries.ok_or_else(|| "give a power of two from 8 to 32768".into())
}

/// Receive buffers of a shard.
pub(crate) fn buffers(text: &str) -> Result<u16, String> {
    match u16::try_from(count(text)?) {
        Ok(buffers @ 1..=32_768) if buffers.is_power_of_two() => Ok(buffers),
        _ => Err("give a power of two from 1 to 32768".into()),
    }
}

/// An address or a name with a port, to listen on. The name is resolved later.
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
        assert_eq!(time("20us"), Ok(Duration::from_micros(20)));
    }

    #[test]
    fn fractions_are_exact_or_refused() {
        assert_eq!(time("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(time("0.25m"), Ok(Duration::from_secs(15)));
        assert_eq!(time("1.5"), Ok(Duration::from_millis(1500)));
        assert_eq!((count("2.5k"), size("1.5K")), (Ok(2500), Ok(1536)));
        for text in ["1.", ".5", "1.5.5", "1e3", "-1.5", "+1.5", "0.0000000001s", "1.00000000000000000000s"] {
            assert!(time(text).is_err_and(|error| error.contains("1.5s")), "{text}");
        }
        assert!(count("1.5").is_err() && count("1.2345k").is_err() && size("0.3K").is_err());
    }

    #[test]
    fn polling_is_off_adaptive_or_a_time() {
        assert_eq!((busy_poll("off"), busy_poll("adaptive")), (Ok(BusyPoll::Off), Ok(BusyPoll::Adaptive)));
        assert_eq!(busy_poll("20us"), Ok(BusyPoll::Fixed(Duration::from_micros(20))));
        assert!(["", "20", "0us", "2s", "on"].iter().all(|text| busy_poll(text).is_err()));
    }

    #[test]
    fn cores_are_a_list_and_without_one_all_are_meant() {
        let list = cores("0-2,8").expect("a list");
        assert_eq!(cores_of(Some(&list)), Cores::List(vec![0, 1, 2, 8]));
        assert_eq!(cores_of(None), Cores::All);
        assert!(["", "1,1", "2-0", "a"].iter().all(|text| cores(text).is_err()));
    }

    #[test]
    fn headers_are_a_name_and_a_value() {
        let (name, value) = header("X-Key:  a:b ").expect("a header");
        assert_eq!((name.as_str(), value.to_str().ok()), ("x-key", Some("a:b")));
        assert!(["none", "a b: c", "a: b\u{1}c"].iter().all(|text| header(text).is_err()));
    }

    #[test]
    fn headers_of_the_handshake_itself_are_refused() {
        for name in [
            "Connection",
            "upgrade",
            "Sec-WebSocket-Key",
            "Sec-WebSocket-Version",
            "Sec-WebSocket-Extensions",
            "Sec-WebSocket-Protocol",
            "Sec-WebSocket-Accept",
            "Content-Length",
            "Transfer-Encoding",
        ] {
            assert!(header(&format!("{name}: 1")).is_err(), "{name}");
        }
        assert!(["Host: a", "Origin: b", "Authorization: c"].iter().all(|text| header(text).is_ok()));
    }

    #[test]
    fn an_origin_is_written_as_browsers_write_it() {
        for text in ["https://example.com", "http://localhost:8080", "http://[::1]:80", "null"] {
            assert_eq!(origin_to_allow(text).as_deref(), Ok(text));
        }
        for (text, instead) in [
            ("example.com", "https://example.com"),
            ("example.com:8443", "https://example.com:8443"),
            ("https://example.com/", "https://example.com"),
            ("http://example.com/page?a#b", "http://example.com"),
        ] {
            assert_eq!(origin_to_allow(text), Err(format!("write {instead}")));
        }
        assert!(
            ["", "https://", "://a", "https://a b", "*", "https://*.a"].iter().all(|t| origin_to_allow(t).is_err())
        );
        assert!(origin_to_send("https://example.com").is_ok() && origin_to_send("a\nb").is_err());
    }

    #[test]
    fn a_subprotocol_is_a_token() {
        assert_eq!(subprotocol("graphql-transport-ws").as_deref(), Ok("graphql-transport-ws"));
        assert!(["", "a b", "a,b", "a/b", "\u{e9}"].iter().all(|text| subprotocol(text).is_err()));
    }

    #[test]
    fn numbers_that_are_none_are_refused() {
        for text in ["", "k", "-1", "1.5x", "1x", "99999999999999999999g", "18446744073709551615k"] {
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
        assert_eq!((pipeline("65536"), headers("128"), ring_entries("8")), (Ok(65_536), Ok(128), Ok(8)));
        assert!(["0", "65537"].iter().all(|text| pipeline(text).is_err()));
        assert!(rounds("5") == Ok(5) && ["0", "1001"].iter().all(|text| rounds(text).is_err()));
        assert!(["0", "129"].iter().all(|text| headers(text).is_err()));
        assert!(["4", "1000", "65536"].iter().all(|text| ring_entries(text).is_err()));
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
