//! Every command and flag, and the text that explains it.

use crate::bench::cells::{Shape, cell};
use crate::bench::peers::{PeerSpec, peer};
use crate::values::{
    buffer_size, buffers, busy_poll, busy_poll_word, connections, cores, count, header, headers, listen,
    origin_to_allow, origin_to_send, pipeline, ring_entries, rounds, shards, sizes, some_size, some_time, subprotocol,
    time,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use ringway::placement::CoreList;
use ringway::{BusyPoll, HeaderName, HeaderValue};
use std::num::NonZero;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// WebSocket connections by the million: serve them, load servers with them, measure this machine.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, max_term_width = 110)]
#[command(
    after_help = "Exit codes: 0 good, 1 the run failed, 2 usage, 4 inconclusive, 130/143 interrupted by SIGINT/SIGTERM."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Serve WebSocket connections
    Serve(Serve),
    /// Load a WebSocket server: send messages, check the echoes, and tell how fast they were and who was the limit
    #[command(after_help = LOAD_HELP)]
    Load(Box<Load>),
    /// Measure what this machine can do: WebSocket echo beside raw TCP echo and other servers
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArguments),
    /// Serve raw TCP echo, the floor that `bench` measures against (RFC 862)
    #[command(hide = true)]
    Floor(Floor),
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs; the keys are stable
    Json,
}

/// What `serve` does with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum App {
    /// Send each message back
    Echo,
    /// Drop each message
    Sink,
}

/// How messages are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DeflateMode {
    /// Not at all
    Off,
    /// Each by itself: idle connections keep no memory for it
    Shared,
    /// With the help of those before it: smaller, and some 330 KiB for each active connection
    Takeover,
}

impl DeflateMode {
    pub(crate) fn config(self) -> Option<ringway::Deflate> {
        match self {
            Self::Off => None,
            Self::Shared => Some(ringway::Deflate::shared()),
            Self::Takeover => Some(ringway::Deflate::takeover()),
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address to listen on, as 0.0.0.0:80 for all of IPv4; may be given several times. `[::]:80` is all of IPv6, and only
    /// that: give both for both
    #[arg(short, long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9001", value_parser = listen)]
    pub(crate) listen: Vec<String>,
    /// Number of shards (threads with a ring of their own): a number, or auto for one per core, but no more than the
    /// cgroup's CPU quota is worth
    #[arg(long, value_name = "N", default_value = "auto", value_parser = shards)]
    pub(crate) shards: ringway::Shards,
    /// Cores to pin the shards to, in this order, as 0-3,8 [default: all that this process may run on, one hardware thread of
    /// each physical core first; none where the CPU quota is less than that]
    #[arg(long, value_name = "LIST", value_parser = cores)]
    pub(crate) cores: Option<CoreList>,
    /// What to do with messages
    #[arg(long, value_enum, default_value = "echo")]
    pub(crate) app: App,
    /// Largest message; a larger one is answered with close code 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = some_size)]
    pub(crate) max_message: usize,
    /// Longest time from the first byte of a message to its last
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = some_time)]
    pub(crate) message_timeout: Duration,
    /// Most connections of one shard; further ones wait until one closes
    #[arg(long, value_name = "N", default_value = "1m", value_parser = connections)]
    pub(crate) max_connections: u32,
    /// Bytes that may wait for a slow reader before nothing more is read from it
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = some_size)]
    pub(crate) max_buffered: usize,
    /// Bytes that the connections of one shard may hold together, at least --max-message [default: half of the memory of
    /// the machine or of the cgroup, divided by the number of shards]
    #[arg(long, value_name = "SIZE", value_parser = some_size)]
    pub(crate) max_memory: Option<usize>,
    /// Largest opening handshake
    #[arg(long, value_name = "SIZE", default_value = "16K", value_parser = some_size)]
    pub(crate) max_head: usize,
    /// Most headers in it, up to 128
    #[arg(long, value_name = "N", default_value = "100", value_parser = headers)]
    pub(crate) max_headers: usize,
    /// How long a peer may take for its opening handshake
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) handshake_timeout: Duration,
    /// Silence after which a connection is given up (a ping is sent at half of it); 0 for never
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time)]
    pub(crate) idle_timeout: Duration,
    /// How long a peer may take nothing of the output that waits for it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = some_time)]
    pub(crate) write_timeout: Duration,
    /// How long a closing connection may make no progress
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub(crate) close_timeout: Duration,
    /// Longest time that closing a connection takes in all, at least --close-timeout [default: 60s, or --close-timeout
    /// where that is longer]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) close_limit: Option<Duration>,
    /// How long stopping waits for connections to close
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) stop_timeout: Duration,
    /// Web origin that may connect, as `https://example.com`; may be given several times [default: any]
    #[arg(long, value_name = "ORIGIN", value_parser = origin_to_allow)]
    pub(crate) origin: Vec<String>,
    /// Let in only those that state a web origin, whichever it is: browsers
    #[arg(long, conflicts_with = "origin")]
    pub(crate) require_origin: bool,
    /// Subprotocol that is spoken; may be given several times
    #[arg(long, value_name = "NAME", value_parser = subprotocol)]
    pub(crate) subprotocol: Vec<String>,
    /// Entries of each shard's submission queue, a power of two from 8 to 32768
    #[arg(long, value_name = "N", default_value = "1024", value_parser = ring_entries)]
    pub(crate) ring_entries: u32,
    /// How long a shard watches for events before it sleeps: off, adaptive (up to 50 µs while that pays), or a time as 20us
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll)]
    pub(crate) busy_poll: BusyPoll,
    /// Compression of messages (permessage-deflate) for clients that offer it; without MODE: takeover
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, default_value = "off", default_missing_value = "takeover")]
    pub(crate) deflate: DeflateMode,
    /// Bytes of one receive buffer; a message that fits one is not copied
    #[arg(long, value_name = "SIZE", default_value = "128K", value_parser = buffer_size)]
    pub(crate) buffer_size: u32,
    /// Most receive buffers of one shard, a power of two
    #[arg(long, value_name = "N", default_value = "256", value_parser = buffers)]
    pub(crate) buffers: u16,
    /// Stop when standard input ends, as on SIGTERM
    #[arg(long)]
    pub(crate) stop_with_stdin: bool,
}

/// The raw TCP echo that `bench` measures against.
#[derive(Debug, Args)]
pub(crate) struct Floor {
    /// Address to listen on
    #[arg(short, long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", value_parser = listen)]
    pub(crate) listen: String,
    /// Echo on plain epoll instead of on the io_uring driver
    #[arg(long)]
    pub(crate) epoll: bool,
    /// Cores to run on, one thread each, as 0-3,8
    #[arg(long, value_name = "LIST", value_parser = cores)]
    pub(crate) cores: Option<CoreList>,
    /// Threads without a core of their own, where no cores are given
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "cores")]
    pub(crate) threads: NonZero<usize>,
    /// How long a thread on our driver watches for events before it sleeps
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll)]
    pub(crate) busy_poll: BusyPoll,
    /// Stop when standard input ends
    #[arg(long)]
    pub(crate) stop_with_stdin: bool,
}

impl Floor {
    /// The core of each thread.
    pub(crate) fn cores(&self) -> Vec<Option<usize>> {
        match &self.cores {
            Some(cores) => cores.as_slice().iter().copied().map(Some).collect(),
            None => vec![None; self.threads.get()],
        }
    }
}

/// How the result of `bench` is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// For people
    Text,
    /// For programs; the keys are stable
    Json,
    /// For documentation: one table for each quantity
    Markdown,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// A handful of cells with short windows: less exact, under 20 seconds
    #[arg(long)]
    pub(crate) quick: bool,
    /// Cells to measure, as 100x20x1,10x16Kx16: connections, size of the messages, messages in flight on each connection
    /// [default: 1, 10, 100 and 1000 connections with 20, 512, 16K and 64K and with 1 and 16 in flight, up to 256 MiB in
    /// flight]
    #[arg(long, value_name = "CELL,…", value_delimiter = ',', value_parser = cell)]
    pub(crate) cells: Vec<Shape>,
    /// Another WebSocket echo server to measure in the same rounds; may be given several times. COMMAND is run by a shell
    /// as one process (with all that it starts) on the cores of our server, and has {port} where the port of 127.0.0.1 goes
    #[arg(long, value_name = "NAME=COMMAND", value_parser = peer)]
    pub(crate) peer: Vec<PeerSpec>,
    /// How often each cell is measured; with fewer than 3 there are no ratios
    #[arg(long, value_name = "N", default_value = "5", value_parser = rounds)]
    pub(crate) rounds: usize,
    /// How long one server is measured in one round of one cell; longer where that much is in flight that it needs to be
    /// [default: 250ms, with --quick 100ms]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) window: Option<Duration>,
    /// How long our servers watch for events before they sleep: off, adaptive, or a time as 20us. The generator never does,
    /// so that its busy share tells whether it was the limit
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll_word)]
    pub(crate) busy_poll: String,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: BenchFormat,
    /// Write the result to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

/// What is said below the flags of `bench`.
const BENCH_HELP: &str = "\
Each cell has raw TCP echo on our io_uring driver, raw TCP echo on plain epoll, our WebSocket echo, and each peer, in rounds \
whose order changes. The floor is the faster of the two raw ones. A ratio is the median of the rounds' ratios: of rates where \
both servers were saturated (95 % busy), else of server CPU per message, and above 1 ours is better.

Exit codes: 0 good; 1 something failed; 2 usage; 4 a cell has no figures, because a peer failed in it, or because the machine \
is so busy that no message came back, which is measured again twice; 130/143 interrupted by SIGINT/SIGTERM. Whatever the \
code, what was measured is reported.";

/// What is said below the flags of `load`.
const LOAD_HELP: &str = "\
The loop is closed: each connection has --pipeline messages in flight, and sends the next one when an echo has come.

Exit codes: 0 good; 1 a connection did not open, or ended before we closed it, or an echo was wrong, unasked for, or \
missing; 2 usage; 4 messages were to flow, and none was measured; 130/143 interrupted by SIGINT/SIGTERM. Whatever the code, \
what was measured is reported.

A verdict of 'inconclusive' alone is no failure: the figures stand, and it only cannot be told which side was their limit.";

/// What `load` does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Loading {
    /// Send messages, and check that they come back
    Echo,
    /// Send messages as fast as the server reads them
    Send,
    /// Hold the connections open, and say nothing
    Idle,
}

/// How much of each echo `load` looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Verifying {
    /// Nothing: echoes are counted
    Off,
    /// Length of each, content of every 64th
    Sample,
    /// Length and content of each
    All,
}

#[derive(Debug, Args)]
pub(crate) struct Load {
    /// The server, as ws://127.0.0.1:9001/path
    pub(crate) url: String,
    /// Connections, over all threads, as 500 or 10k
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = connections)]
    pub(crate) connections: u32,
    /// Threads, each with a ring of its own [default: one per core of --cores, but no more than the cgroup's CPU quota is
    /// worth; never more than connections]
    #[arg(short, long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// Cores to pin the threads to, in this order, as 0-3,8 [default: all that this process may run on, the last one
    /// first, without those that the threads of a server on this machine are pinned to; none where the CPU quota is less
    /// than that]
    #[arg(long, value_name = "LIST", value_parser = cores)]
    pub(crate) cores: Option<CoreList>,
    /// How long to measure
    #[arg(short, long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) duration: Duration,
    /// Measure until this many messages were answered, instead of for a time
    #[arg(short = 'n', long, value_name = "N", value_parser = count, conflicts_with = "duration")]
    pub(crate) messages: Option<u64>,
    /// Messages in flight on each connection
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = pipeline)]
    pub(crate) pipeline: u32,
    /// How long messages flow before they are measured
    #[arg(short, long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub(crate) warmup: Duration,
    /// Size of the messages: a number of bytes, or a range as 20-1K of which each size is as likely
    #[arg(short, long, value_name = "N|A-B", default_value = "64", value_parser = sizes)]
    pub(crate) size: RangeInclusive<usize>,
    /// Send binary messages of random bytes [default: text of random printable ASCII]
    #[arg(short, long)]
    pub(crate) binary: bool,
    /// Connections to open per second, over all threads [default: as fast as the server takes them]
    #[arg(short = 'r', long, value_name = "N", value_parser = count)]
    pub(crate) connect_rate: Option<u64>,
    /// How long a connection may take to open
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) connect_timeout: Duration,
    /// Header of the opening handshake, as 'Name: value'; may be given several times
    #[arg(short = 'H', long, value_name = "HEADER", value_parser = header)]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,
    /// Origin to send, as browsers do
    #[arg(long, value_name = "ORIGIN", value_parser = origin_to_send)]
    pub(crate) origin: Option<String>,
    /// Subprotocol to offer; may be given several times
    #[arg(long, value_name = "NAME", value_parser = subprotocol)]
    pub(crate) subprotocol: Vec<String>,
    /// Compression of messages (permessage-deflate) to offer; without MODE: takeover
    #[arg(
        long,
        value_enum,
        value_name = "MODE",
        num_args = 0..=1,
        require_equals = true,
        default_value = "off",
        default_missing_value = "takeover"
    )]
    pub(crate) deflate: DeflateMode,
    /// How long a thread watches for events before it sleeps: off, adaptive (up to 50 µs while that pays), or a time as 20us
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll)]
    pub(crate) busy_poll: BusyPoll,
    /// What to do with the connections
    #[arg(long, value_enum, default_value = "echo")]
    pub(crate) mode: Loading,
    /// How much of each echo to look at
    #[arg(long, value_enum, default_value = "sample")]
    pub(crate) verify: Verifying,
    /// What contents and sizes of messages derive from, to have the same again; mask keys are always fresh
    #[arg(long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: Format,
    /// Write the result to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
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
    fn compression_is_off_unless_asked_for_and_bare_means_takeover() {
        let serve = |arguments: &[&str]| match Arguments::try_parse_from([&["ringway", "serve"], arguments].concat()) {
            Ok(Arguments { command: CliCommand::Serve(serve) }) => Some(serve.deflate),
            _ => None,
        };
        assert_eq!(serve(&[]), Some(DeflateMode::Off));
        assert_eq!(serve(&["--deflate"]), Some(DeflateMode::Takeover));
        assert_eq!(serve(&["--deflate", "shared"]), Some(DeflateMode::Shared));
        assert_eq!(serve(&["--deflate=off"]), Some(DeflateMode::Off));
        assert_eq!(serve(&["--deflate", "--shards=1"]), Some(DeflateMode::Takeover));
        assert_eq!(serve(&["--deflate", "best"]), None);
        let load = |arguments: &[&str]| match Arguments::try_parse_from([&["ringway", "load"], arguments].concat()) {
            Ok(Arguments { command: CliCommand::Load(load) }) => Some(load.deflate),
            _ => None,
        };
        assert_eq!(load(&["ws://x/"]), Some(DeflateMode::Off));
        assert_eq!(load(&["--deflate", "ws://x/"]), Some(DeflateMode::Takeover));
        assert_eq!(load(&["--deflate=shared", "ws://x/"]), Some(DeflateMode::Shared));
    }

    #[test]
    fn a_number_of_messages_takes_the_place_of_a_duration() {
        let load =
            |arguments: &[&str]| Arguments::try_parse_from([&["ringway", "load", "ws://x/"], arguments].concat());
        assert!(load(&["-c", "10k", "-n", "1m", "-p", "16", "-s", "20", "-b", "-w", "0"]).is_ok());
        assert!(load(&["-n", "5", "-d", "5s"]).is_err());
        assert!(load(&["-R", "5"]).is_err(), "the open loop is not there yet");
    }
}
