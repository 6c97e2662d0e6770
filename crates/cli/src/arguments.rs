//! Every command and flag, and the text that explains it.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::time::Duration;

/// WebSocket connections by the million: serve them, load servers with them, measure this machine.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, max_term_width = 110)]
#[command(after_help = "Exit codes: 0 good, 1 the run failed, 2 usage, 130/143 interrupted by SIGINT/SIGTERM.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve WebSocket connections
    Serve(Serve),
}

/// What `serve` does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    /// Send each message back
    Echo,
    /// Drop each message
    Sink,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on; may be given several times
    #[arg(short, long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9001")]
    pub(crate) listen: Vec<String>,
    /// Number of shards (threads with a ring of their own): a number, or auto for one per core
    #[arg(long, value_name = "N", default_value = "auto", value_parser = shards)]
    pub(crate) shards: ringway::Shards,
    /// Cores to pin the shards to, as 0,2,4 [default: all that this process may run on]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub(crate) cores: Vec<usize>,
    /// What to do with messages
    #[arg(long, value_enum, default_value = "echo")]
    pub(crate) app: App,
    /// Largest message; a larger one is answered with close code 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = size)]
    pub(crate) max_message: usize,
    /// Most connections of one shard; further ones wait until one closes
    #[arg(long, value_name = "N", default_value = "1m", value_parser = count)]
    pub(crate) max_connections: u64,
    /// Bytes that may wait for a slow reader before nothing more is read from it
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = size)]
    pub(crate) max_buffered: usize,
    /// Largest opening handshake
    #[arg(long, value_name = "SIZE", default_value = "16K", value_parser = size)]
    pub(crate) max_head: usize,
    /// How long a peer may take for its opening handshake
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) handshake_timeout: Duration,
    /// Silence after which a connection is given up (a ping is sent at half of it); 0 for never
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time)]
    pub(crate) idle_timeout: Duration,
    /// How long a peer may take to answer a close
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = time)]
    pub(crate) close_timeout: Duration,
    /// How long stopping waits for connections to close
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) stop_timeout: Duration,
    /// Web origin that may connect, as https://example.com; may be given several times [default: any]
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Vec<String>,
    /// Subprotocol that is spoken; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
    /// Bytes of one receive buffer; a message that fits one is not copied
    #[arg(long, value_name = "SIZE", default_value = "32K", value_parser = size)]
    pub(crate) buffer_size: usize,
    /// Most receive buffers of one shard, a power of two
    #[arg(long, value_name = "N", default_value = "1024", value_parser = count)]
    pub(crate) buffers: u64,
}

fn shards(text: &str) -> Result<ringway::Shards, String> {
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
fn size(text: &str) -> Result<usize, String> {
    let units = [("", 1), ("b", 1), ("k", 1 << 10), ("kib", 1 << 10), ("m", 1 << 20), ("mib", 1 << 20), ("g", 1 << 30), ("gib", 1 << 30)];
    let bytes = scaled(text, &units, "a number of bytes, as 512, 16K or 1M")?;
    usize::try_from(bytes).map_err(|_| "too large for this machine".into())
}

/// A count: `500`, `10k`, `1m`.
fn count(text: &str) -> Result<u64, String> {
    scaled(text, &[("", 1), ("k", 1_000), ("m", 1_000_000)], "a number, as 500, 10k or 1m")
}

/// A time: `500ms`, `10s`, `2m`, `1h`; a bare number is seconds.
fn time(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1), ("s", 1_000), ("", 1_000), ("m", 60_000), ("h", 3_600_000)];
    scaled(text, &units, "a time, as 500ms, 10s or 2m").map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_are_consistent() {
        Arguments::command().debug_assert();
    }

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
    fn numbers_that_are_none_are_refused() {
        for text in ["", "k", "-1", "1.5", "1x", "99999999999999999999g", "18446744073709551615k"] {
            assert!(size(text).is_err() && count(text).is_err() && time(text).is_err(), "{text}");
        }
        assert!(shards("0").is_err());
    }
}
