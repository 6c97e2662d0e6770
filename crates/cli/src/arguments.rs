//! The commands and flags, and the help text of each.

use crate::bench::cells::{Shape, cell};
use crate::bench::fanout::shape::{FanoutShape, fanout_shape};
use crate::bench::peers::{PeerSpec, peer};
use crate::choices::{AcceptMode, BenchDriver, DeflateMode, DriverName, MemoryPolicy};
use crate::connect::arguments::Connect;
use crate::doctor::arguments::{DOCTOR_HELP, DoctorArguments};
use crate::listening::{ListenOptions, admin_address};
use crate::load::arguments::{Load, MAX_WIDTH, with_compact_help};
use crate::serve::admission::AdmissionOptions;
use crate::serve::apps::{App, AppParser};
use crate::serve::echo::EchoOptions;
use crate::serve::topics::TopicOptions;
use crate::tls::{BenchTls, ServeTls};
use crate::trace::options::TraceOptions;
use crate::values::{
    DrainRate, buffer_size, buffers, busy_poll, busy_poll_word, connections, cores, drain_rate, headers, listen,
    origin_to_allow, ring_entries, rounds, shards, size, some_size, some_time, subprotocol, time,
};
use crate::{connect, load};
use clap::{Args, Command, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use ringway::BusyPoll;
use ringway::placement::CoreList;
use std::num::NonZero;
use std::path::PathBuf;
use std::time::Duration;

/// Serve WebSocket connections, load-test and talk to WebSocket servers, and measure this machine.
#[derive(Debug, Parser)]
#[command(name = "ringway", version, max_term_width = MAX_WIDTH)]
#[command(
    after_help = "Exit codes: 0 success, 1 the run failed, 2 usage, 4 inconclusive, 130/143 interrupted by SIGINT/SIGTERM."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: CliCommand,
}

/// The program. `is_short`: the help of `load` and `connect` has the frequent flags only.
pub(crate) fn command(is_short: bool) -> Command {
    Arguments::command()
        .mut_subcommand("load", |load| with_compact_help(load, is_short, load::arguments::EXIT_CODES))
        .mut_subcommand("connect", |connect| with_compact_help(connect, is_short, connect::arguments::EXIT_CODES))
}

#[derive(Debug, Subcommand)]
pub(crate) enum CliCommand {
    /// Serve WebSocket connections
    Serve(Box<Serve>),
    /// Load-test a WebSocket server: rates, response times, errors, and which side was the limit
    Load(Box<Load>),
    /// Talk to a WebSocket server: a prompt at a terminal, and messages through pipes
    Connect(Box<Connect>),
    /// Measure this machine: WebSocket echo and fan-out next to raw TCP and other servers
    #[command(after_help = BENCH_HELP)]
    Bench(BenchArguments),
    /// Check this machine: how many connections it allows, which limit is the first, and how to raise it
    #[command(after_help = DOCTOR_HELP)]
    Doctor(DoctorArguments),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(CompletionsArguments),
    /// Print the manual page of the program, or write one page for each command
    Man(ManArguments),
    /// Serve raw TCP echo (RFC 862), the floor that `bench` compares with
    #[command(hide = true)]
    Floor(Floor),
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) listen: ListenOptions,
    /// Number of shards (threads, each with its own driver), or auto for one per core, limited to the
    /// whole CPUs of the cgroup's quota
    #[arg(long, value_name = "N", default_value = "auto", value_parser = shards)]
    pub(crate) shards: ringway::Shards,
    /// Cores to pin the shards to, in this order, as 0-3,8 [default: the affinity mask, one
    /// hardware thread of each physical core first; no pinning if the CPU quota is smaller than the
    /// mask]
    #[arg(long, value_name = "LIST", value_parser = cores)]
    pub(crate) cores: Option<CoreList>,
    /// Shard that serves a new connection
    #[arg(long, value_enum, default_value = "kernel")]
    pub(crate) accept: AcceptMode,
    /// Application to run; rates, times and sizes are examples
    #[arg(long, default_value = "echo", value_parser = AppParser)]
    pub(crate) app: App,
    /// Largest message, up to 1G; a larger one closes the connection with code 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = some_size)]
    pub(crate) max_message: usize,
    /// Maximum time from the first byte of a message to its last
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = some_time)]
    pub(crate) message_timeout: Duration,
    /// Maximum number of connections of one shard; further ones wait until one closes
    #[arg(long, value_name = "N", default_value = "1m", value_parser = connections)]
    pub(crate) max_connections: u32,
    /// High-water mark of the output queued for a slow reader: above it the server delivers none of
    /// its messages
    #[arg(long, value_name = "SIZE", default_value = "1M", value_parser = some_size)]
    pub(crate) max_buffered: usize,
    /// Low-water mark of that output, at which the server continues: less than --max-buffered
    /// [default: half of --max-buffered]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) low_water: Option<usize>,
    /// Maximum memory that the connections of one shard hold together, at least --max-message
    /// [default: half of the memory of the machine or of the cgroup, divided by the number of
    /// shards]
    #[arg(long, value_name = "SIZE", value_parser = some_size)]
    pub(crate) max_memory: Option<usize>,
    /// What happens when a shard has used up its memory
    #[arg(long, value_enum, default_value = "close-slowest")]
    pub(crate) on_memory_limit: MemoryPolicy,
    /// Maximum size of an opening handshake
    #[arg(long, value_name = "SIZE", default_value = "16K", value_parser = some_size)]
    pub(crate) max_head: usize,
    /// Maximum number of headers of an opening handshake, up to 128
    #[arg(long, value_name = "N", default_value = "100", value_parser = headers)]
    pub(crate) max_headers: usize,
    /// Maximum number of plain HTTP requests of a connection; the response to the last one closes it
    #[arg(long, value_name = "N", default_value = "1000", value_parser = connections)]
    pub(crate) max_requests: u32,
    /// Time within which a peer must complete its opening handshake
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) handshake_timeout: Duration,
    /// Time after a plain HTTP response in which the next request of the connection must begin
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = some_time)]
    pub(crate) keep_alive_timeout: Duration,
    /// Time in which nothing is received, after which a connection is closed (a ping is sent after
    /// half of it); 0 for never
    #[arg(long, value_name = "TIME", default_value = "120s", value_parser = time)]
    pub(crate) idle_timeout: Duration,
    /// Time after which a connection is closed if its peer takes none of the output queued for it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = some_time)]
    pub(crate) write_timeout: Duration,
    /// Time without progress after which a closing connection is dropped
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = some_time)]
    pub(crate) close_timeout: Duration,
    /// Maximum time that closing a connection takes in all, at least --close-timeout [default: 60s,
    /// or --close-timeout if that is longer]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) close_limit: Option<Duration>,
    /// Maximum time that a connection stays open; it is closed with code 1001 then [default: no
    /// limit]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) max_lifetime: Option<Duration>,
    /// Maximum time by which each lifetime is shortened at random, so that connections that open
    /// together do not end together [default: a tenth of --max-lifetime]
    #[arg(long, value_name = "TIME", value_parser = time, requires = "max_lifetime")]
    pub(crate) lifetime_jitter: Option<Duration>,
    /// Take over the listening sockets of the server that offers them at this Unix socket, which then
    /// closes its connections with 1012: those for the addresses of --listen and --admin, or without
    /// --listen all of them. Then offer them there to the next server
    #[arg(long, value_name = "PATH")]
    pub(crate) handover: Option<PathBuf>,
    /// Time in which the next server must be ready after it has got the sockets; otherwise this one
    /// goes on serving
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = some_time, requires = "handover")]
    pub(crate) handover_timeout: Duration,
    /// Time in which a server that stops still accepts connections, while /readyz says 503
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = time)]
    pub(crate) drain_delay: Duration,
    /// Connections that a server that stops begins to close per second, in random order, or max for
    /// all at once; raised to close all of them within --stop-timeout
    #[arg(long, value_name = "N", default_value = "1k", value_parser = drain_rate)]
    pub(crate) drain_rate: DrainRate,
    /// Time after --drain-delay that stopping waits for connections to close; the others are dropped
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    pub(crate) stop_timeout: Duration,
    /// Web origin to accept, as `https://example.com`; may be given several times [default: any]
    #[arg(long, value_name = "ORIGIN", value_parser = origin_to_allow)]
    pub(crate) origin: Vec<String>,
    /// Accept only requests with an Origin header, whatever its value: those of browsers
    #[arg(long, conflicts_with = "origin")]
    pub(crate) require_origin: bool,
    /// Subprotocol to accept; may be given several times
    #[arg(long, value_name = "NAME", value_parser = subprotocol)]
    pub(crate) subprotocol: Vec<String>,
    /// System interface for sockets; auto is io_uring, or epoll with a warning where io_uring is
    /// refused
    #[arg(long, value_enum, default_value = "auto")]
    pub(crate) driver: DriverName,
    /// Entries of each shard's submission queue, a power of two from 8 to 32768; without effect on
    /// epoll
    #[arg(long, value_name = "N", default_value = "1024", value_parser = ring_entries)]
    pub(crate) ring_entries: u32,
    /// How long a shard polls before it sleeps: off, adaptive (up to 50 µs while polling finds
    /// completions), or a time as 20us
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll)]
    pub(crate) busy_poll: BusyPoll,
    /// Compression of messages (permessage-deflate) for clients that offer it; without MODE:
    /// takeover
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, default_value = "off", default_missing_value = "takeover")]
    pub(crate) deflate: DeflateMode,
    /// Size of one receive buffer, from 1K to 1M; a message that fits is not copied
    #[arg(long, value_name = "SIZE", default_value = "128K", value_parser = buffer_size)]
    pub(crate) buffer_size: u32,
    /// Maximum number of receive buffers of one shard, a power of two from 1 to 32768
    #[arg(long, value_name = "N", default_value = "256", value_parser = buffers)]
    pub(crate) buffers: u16,
    /// Address of a listener for operators, with /metrics, /livez and /readyz; without TLS. The
    /// public addresses have /livez and /readyz too, and no /metrics
    #[arg(long, value_name = "ADDR:PORT|unix:PATH", value_parser = admin_address)]
    pub(crate) admin: Option<String>,
    /// Stop when standard input ends, as on SIGTERM
    #[arg(long)]
    pub(crate) stop_with_stdin: bool,
    #[command(flatten)]
    pub(crate) echo: EchoOptions,
    #[command(flatten)]
    pub(crate) admission: AdmissionOptions,
    #[command(flatten)]
    pub(crate) topics: TopicOptions,
    #[command(flatten)]
    pub(crate) trace: TraceOptions,
    #[command(flatten)]
    pub(crate) tls: ServeTls,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// Shell that reads the script
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// The text below the argument of `completions`.
const COMPLETIONS_HELP: &str = "\
The usual places: bash /usr/share/bash-completion/completions/ringway, zsh _ringway in a folder of $fpath, fish \
~/.config/fish/completions/ringway.fish.";

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Existing directory for the pages (ringway.1, ringway-serve.1, …) instead of standard output
    #[arg(long, value_name = "DIR")]
    pub(crate) directory: Option<PathBuf>,
}

/// The raw TCP echo, or the raw fan-out, that `bench` compares with.
#[derive(Debug, Args)]
pub(crate) struct Floor {
    /// Address to listen on
    #[arg(short, long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0", value_parser = listen)]
    pub(crate) listen: String,
    /// Driver of the echo
    #[arg(long, value_enum, default_value = "uring")]
    pub(crate) driver: BenchDriver,
    /// Use plain epoll instead of a driver
    #[arg(long)]
    pub(crate) epoll: bool,
    /// Send each WebSocket message to all connections instead, on plain epoll and one thread
    #[arg(long)]
    pub(crate) fanout: bool,
    /// Cores to run on, one thread each, as 0-3,8
    #[arg(long, value_name = "LIST", value_parser = cores)]
    pub(crate) cores: Option<CoreList>,
    /// Number of threads, not pinned, if no cores are given
    #[arg(long, value_name = "N", default_value = "1", conflicts_with = "cores")]
    pub(crate) threads: NonZero<usize>,
    /// How long a thread of a driver polls before it sleeps
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

/// The format of the result of `bench`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    /// Text for a terminal
    Text,
    /// JSON with stable keys
    Json,
    /// Tables for documentation, one for each quantity
    Markdown,
}

/// A part of the bench.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchPart {
    /// Messages, in the cells
    Cells,
    /// Published messages that the server sends to all
    Fanout,
    /// Opening and closing connections
    Connecting,
    /// The memory of idle connections
    Idle,
}

#[derive(Debug, Args)]
pub(crate) struct BenchArguments {
    /// Few cells with short windows: less exact, about 20 seconds
    #[arg(long)]
    pub(crate) quick: bool,
    /// Cells to measure, as 100x20x1,10x16Kx16: connections, size of the messages, messages in
    /// flight on each connection [default: 1, 10, 100 and 1000 connections with 20, 512, 16K and
    /// 64K and with 1 and 16 in flight, up to 256 MiB in flight]
    #[arg(long, value_name = "CELL,…", value_delimiter = ',', value_parser = cell)]
    pub(crate) cells: Vec<Shape>,
    /// Drivers of our servers, as uring,epoll,tokio-uring: raw and WebSocket echo are measured on each
    /// of them, and all ratios are to the first
    #[arg(long, value_enum, value_name = "DRIVER,…", value_delimiter = ',', default_value = "uring")]
    pub(crate) driver: Vec<BenchDriver>,
    /// Count the system calls of each server for each message of the cells, in a run of their own after
    /// the rounds: with perf, which needs root or CAP_PERFMON, or else with strace, which slows the
    /// server
    #[arg(long)]
    pub(crate) syscalls: bool,
    /// Another WebSocket echo server to measure in the same rounds; may be given several times. A
    /// shell runs COMMAND on the cores of our server, with {port} replaced by the port of 127.0.0.1
    /// to listen on
    #[arg(long, value_name = "NAME=COMMAND", value_parser = peer)]
    pub(crate) peer: Vec<PeerSpec>,
    /// Cells of fan-out to measure, as 1000x50x24,100x500x1K: subscribers, messages published per
    /// second, size of the messages, at least 24 [default: 100 subscribers with 500 messages a
    /// second, 1000 with 50 and 5000 with 10, of 24 and of 1K]
    #[arg(long, value_name = "CELL,…", value_delimiter = ',', value_parser = fanout_shape)]
    pub(crate) fanout: Vec<FanoutShape>,
    /// Another WebSocket server to measure in the rounds of fan-out, as --peer: it sends each message
    /// to all connections, its sender included
    #[arg(long, value_name = "NAME=COMMAND", value_parser = peer)]
    pub(crate) fanout_peer: Vec<PeerSpec>,
    /// Number of rounds of each cell; with fewer than 3 no ratios are reported
    #[arg(long, value_name = "N", default_value = "5", value_parser = rounds)]
    pub(crate) rounds: usize,
    /// Time for which each server is measured in each round of each cell; longer if very many bytes
    /// are in flight [default: 250ms, with --quick 100ms]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    pub(crate) window: Option<Duration>,
    /// How long our servers poll before they sleep: off, adaptive, or a time as 20us. The generator
    /// never polls, so that its busy share shows whether it was the limit
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll_word)]
    pub(crate) busy_poll: String,
    /// Parts of the bench to run [default: all]
    #[arg(long, value_enum, value_name = "PART,…", value_delimiter = ',')]
    pub(crate) parts: Vec<BenchPart>,
    #[command(flatten)]
    pub(crate) tls: BenchTls,
    /// How to print the result
    #[arg(long, value_enum, default_value = "text")]
    pub(crate) format: BenchFormat,
    /// Write the result to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

impl BenchArguments {
    /// Whether this part of the bench runs.
    pub(crate) fn has(&self, part: BenchPart) -> bool {
        self.parts.is_empty() || self.parts.contains(&part)
    }
}

/// The text below the flags of `bench`.
const BENCH_HELP: &str = "\
Each cell measures raw TCP echo on our driver, raw TCP echo on plain epoll, our WebSocket echo, both echoes on each further \
--driver, and each peer, in rounds whose order alternates. The floor is the faster of the first two raw echoes. A ratio is the median of the rounds' ratios: of \
rates if both servers were saturated (95 % busy), else of server CPU per message. Above 1, ours is better.

Fan-out has one publisher, at a given rate. Its contestants are raw sends on plain epoll, `ringway serve --app broadcast` (a \
send for each connection) and `broadcast:topic`, and each --fanout-peer. With --tls-cert it is not measured.

With --tls-cert, the contestants are our WebSocket echo without and with TLS, and each peer with TLS, which its command \
sets up: messages, full and resumed handshakes, and idle connections.

Exit codes: 0 success; 1 the run failed; 2 usage; 4 a cell has no figures, because a peer failed or because no message came \
back in three attempts on a busy machine; 130/143 interrupted by SIGINT/SIGTERM. In every case the measured part is reported.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flags_are_consistent() {
        for is_short in [false, true] {
            command(is_short).debug_assert();
        }
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
        let load = |arguments: &[&str]| load(arguments).ok().map(|load| load.deflate);
        assert_eq!(load(&["ws://x/"]), Some(None));
        assert_eq!(load(&["--deflate", "ws://x/"]), Some(Some(DeflateMode::Takeover)));
        assert_eq!(load(&["--deflate=shared", "ws://x/"]), Some(Some(DeflateMode::Shared)));
    }

    fn load(arguments: &[&str]) -> Result<Box<Load>, clap::Error> {
        let arguments = [&["ringway", "load"], arguments].concat();
        match Arguments::try_parse_from(arguments)?.command {
            CliCommand::Load(load) => Ok(load),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_number_of_messages_replaces_a_duration() {
        let load = |arguments: &[&str]| load(&[&["ws://x/"], arguments].concat());
        assert!(load(&["-c", "10k", "-n", "1m", "-p", "16", "-s", "20", "-b", "-w", "0"]).is_ok());
        assert!(load(&["-n", "5", "-d", "5s"]).is_err());
        assert!(load(&["-R", "5", "-n", "5"]).is_ok());
    }

    #[test]
    fn a_closed_and_an_open_loop_exclude_each_other() {
        let load = |arguments: &[&str]| load(&[&[":9001"], arguments].concat());
        for wrong in [&["-R", "5", "-p", "2"][..], &["--stage", "1s:5", "-p", "2"], &["--stage", "1s:5", "-d", "2s"]] {
            assert!(load(wrong).is_err(), "{wrong:?}");
        }
        let stages = load(&["-R", "5", "--stage", "1s:5", "--stage", "1.5s:10k"]).expect("a schedule");
        assert_eq!(stages.stage.len(), 2);
    }

    #[test]
    fn wrk_and_oha_have_the_same_short_flags() {
        let load = load(&["-z", "1.5s", "-c", "7", "-t", "2", "-H", "A: b", "-R", "5k", "-o", "x.json", ":9001"]);
        let load = load.expect("flags of wrk and oha");
        assert_eq!((load.duration, load.connections, load.threads), (Some(Duration::from_millis(1500)), 7, Some(2)));
        assert_eq!((load.offer.header.len(), load.rate.is_some(), load.output.is_some()), (1, true, true));
    }

    /// 50 lines of 100 columns are a screen.
    #[test]
    fn the_help_of_load_and_connect_fits_on_two_screens_and_the_short_one_on_one() {
        for (name, first_flag) in [("load", "--connections"), ("connect", "--one")] {
            let help = |is_short: bool| {
                let mut command = command(is_short).term_width(100);
                command.build();
                let command = command.find_subcommand_mut(name).expect("it exists");
                if is_short { command.render_help().to_string() } else { command.render_long_help().to_string() }
            };
            for (is_short, lines) in [(true, 50), (false, 100)] {
                let text = help(is_short);
                assert!(text.lines().count() <= lines, "{} lines:\n{text}", text.lines().count());
                assert!(text.find("Examples:") < text.find(first_flag), "the examples are first:\n{text}");
                assert!(text.lines().all(|line| line.chars().count() <= MAX_WIDTH), "{text}");
            }
            let all = help(false);
            let command = command(false);
            let command = command.find_subcommand(name).expect("it exists");
            for flag in command.get_arguments().filter_map(|flag| flag.get_long()) {
                assert!(all.contains(&format!("--{flag}")), "{flag} in:\n{all}");
            }
        }
    }
}
