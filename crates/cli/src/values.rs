//! Parsers of flag values: numbers, sizes and times with units, and other forms.

use crate::choices::TrustedPeers;
use ringway::placement::{CoreList, CoreSet};
use ringway::{BusyPoll, Cores, HeaderValue, NetworkError, Rate};
use ringway_loadtest::parse;
pub(crate) use ringway_loadtest::parse::{count, header, origin as origin_to_send, size, subprotocol, time};
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

/// Checks that this process may run on the cores of `--cores`.
pub(crate) fn check_cores(list: Option<&CoreList>) -> Result<(), String> {
    // A mask that cannot be read is an error of the run, which reports it.
    let (Some(list), Ok(set)) = (list, CoreSet::read()) else { return Ok(()) };
    check_cores_of(list, &set)
}

fn check_cores_of(list: &CoreList, set: &CoreSet) -> Result<(), String> {
    let allowed = set.cores();
    match list.as_slice().iter().find(|core| !allowed.as_slice().contains(core)) {
        Some(core) => Err(format!(
            "--cores {list}: core {core} is not among those this process may run on ({allowed}): name cores of these, \
             or change the affinity of the process (`taskset -p`, its cpuset)"
        )),
        None => Ok(()),
    }
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

/// A number of bytes that is not 0.
pub(crate) fn some_size(text: &str) -> Result<usize, String> {
    match size(text)? {
        0 => Err("give at least 1".into()),
        bytes => Ok(bytes),
    }
}

/// Busy polling: `off`, `adaptive`, or a time of at most a second, as `20us` or `1ms`.
pub(crate) fn busy_poll(text: &str) -> Result<BusyPoll, String> {
    const RANGE: RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_secs(1);
    match text {
        "off" => Ok(BusyPoll::Off),
        "adaptive" => Ok(BusyPoll::Adaptive),
        _ => {
            // Without a unit, the time would be in seconds.
            let has_unit = text.ends_with(|last: char| last.is_ascii_alphabetic());
            let time = time(text).ok().filter(|time| has_unit && RANGE.contains(time));
            let what = "give off, adaptive, or a time from 1us to 1s, as 20us or 1ms";
            time.map(BusyPoll::Fixed).ok_or_else(|| what.into())
        }
    }
}

/// A valid value of [`busy_poll`] as text, for a process that is started with it.
pub(crate) fn busy_poll_word(text: &str) -> Result<String, String> {
    busy_poll(text).map(|_| text.to_owned())
}

/// A time of at least a millisecond.
pub(crate) fn some_time(text: &str) -> Result<Duration, String> {
    match time(text)? {
        time if time < Duration::from_millis(1) => Err("give at least 1ms".into()),
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

/// The connections that a machine has to hold.
pub(crate) fn target(text: &str) -> Result<u64, String> {
    within(text, 1..=MAX_CONNECTIONS).map(u64::from)
}

/// Source addresses of outgoing connections.
pub(crate) fn addresses(text: &str) -> Result<u64, String> {
    within(text, 1..=65_536).map(u64::from)
}

/// A cookie: `NAME=VALUE`.
pub(crate) fn cookie(text: &str) -> Result<String, String> {
    parse::cookies([text]).map(|_| text.to_owned())
}

/// A bearer token.
pub(crate) fn bearer(text: &str) -> Result<HeaderValue, String> {
    parse::authorization_bearer(text)
}

/// A user and a password: `USER:PASSWORD`.
pub(crate) fn credentials(text: &str) -> Result<HeaderValue, String> {
    parse::authorization_basic(text)
}

/// The seed of a load.
pub(crate) fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("give a whole number from 0 to {}", u64::MAX))
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

/// The number of connections that a trace covers. Each can hold 64 KiB of heads that are incomplete.
pub(crate) fn traced_connections(text: &str) -> Result<u32, String> {
    within(text, 1..=1000)
}

/// Connections to close per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DrainRate(pub(crate) Option<u32>);

/// A rate of closing connections: a number, or `max` for no limit.
pub(crate) fn drain_rate(text: &str) -> Result<DrainRate, String> {
    match text {
        "max" => Ok(DrainRate(None)),
        _ => within(text, 1..=1_000_000).map(|rate| DrainRate(Some(rate))).map_err(|error| format!("{error}, or max")),
    }
}

/// Connections to open per second.
pub(crate) fn connect_rate(text: &str) -> Result<u64, String> {
    some_count(text)?;
    within(text, 1..=1_000_000_000).map(u64::from)
}

/// A number per second and a burst, as `20` or `20:100`. Without a burst, that of a second.
pub(crate) fn rate(text: &str) -> Result<Rate, String> {
    rate_of(text, "give a number per second from 1, and a burst, as 20 or 20:100", some_count)
}

/// The same in bytes, as `64K` or `64K:1M`.
pub(crate) fn byte_rate(text: &str) -> Result<Rate, String> {
    rate_of(text, "give a number of bytes per second from 1, and a burst, as 64K or 64K:1M", |part| {
        some_size(part).map(|bytes| bytes as u64)
    })
}

fn rate_of(text: &str, what: &str, number: impl Fn(&str) -> Result<u64, String>) -> Result<Rate, String> {
    let part = |part: &str| number(part).map_err(|_| what.to_owned());
    match text.split_once(':') {
        None => part(text).map(Rate::per_second),
        Some((per_second, burst)) => Ok(Rate::per_second(part(per_second)?).burst(part(burst)?)),
    }
}

/// Trusted peers: a network, or `unix`.
pub(crate) fn trusted(text: &str) -> Result<TrustedPeers, String> {
    match text {
        "unix" => Ok(TrustedPeers::Unix),
        _ => text.parse().map(TrustedPeers::Network).map_err(|error: NetworkError| error.to_string()),
    }
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
    use ringway::placement::Cpu;

    #[test]
    fn polling_is_off_adaptive_or_a_time() {
        assert_eq!((busy_poll("off"), busy_poll("adaptive")), (Ok(BusyPoll::Off), Ok(BusyPoll::Adaptive)));
        assert_eq!(busy_poll("20us"), Ok(BusyPoll::Fixed(Duration::from_micros(20))));
        assert!(["", "20", "0us", "2s", "on"].iter().all(|text| busy_poll(text).is_err()));
    }

    #[test]
    fn a_rate_has_a_burst_of_a_second_unless_it_is_given() {
        assert_eq!(rate("20"), Ok(Rate::per_second(20)));
        assert_eq!(rate("5k:20k"), Ok(Rate::per_second(5000).burst(20_000)));
        assert_eq!(byte_rate("64K:1M"), Ok(Rate::per_second(64 << 10).burst(1 << 20)));
        for wrong in ["", "0", "5:", ":5", "5:0", "5:5:5", "-1", "a"] {
            assert!(rate(wrong).is_err() && byte_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn trusted_peers_are_networks_or_those_of_unix_sockets() {
        assert_eq!(trusted("unix"), Ok(TrustedPeers::Unix));
        assert!(matches!(trusted("10.0.0.0/8"), Ok(TrustedPeers::Network(_))));
        assert!(trusted("10.0.0.1/8").is_err_and(|error| error.ends_with("write 10.0.0.0/8")));
    }

    #[test]
    fn cores_are_a_list_and_without_one_all_are_meant() {
        let list = cores("0-2,8").expect("a list");
        assert_eq!(cores_of(Some(&list)), Cores::List(vec![0, 1, 2, 8]));
        assert_eq!(cores_of(None), Cores::All);
    }

    #[test]
    fn a_core_outside_of_the_mask_is_named_with_its_flag() {
        let set = CoreSet::new(&[0, 1, 5].map(Cpu::new), None).expect("there are cores");
        let check = |text| check_cores_of(&cores(text).expect("a list"), &set);
        assert_eq!((check("0-1,5"), check_cores(None)), (Ok(()), Ok(())));
        let error = check("0,3-4").expect_err("3 is not in the mask");
        assert!(error.starts_with("--cores 0,3-4: core 3 is not") && error.contains("(0-1,5)"), "{error}");
        assert!(["", "1,1", "2-0", "a"].iter().all(|text| cores(text).is_err()));
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
        assert!(some_time("999us").is_err());
        assert!(some_size("0").is_err() && some_time("0").is_err() && shards("0").is_err());
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
