//! The flags of `load`.

use crate::choices::{DeflateMode, DriverName, Format};
use crate::load::mix::{Mix, parse_mix};
use crate::load::traffic::{ArrivalsName, VerifyName};
use crate::offer::OfferOptions;
use crate::tls::LoadTls;
use crate::values::{
    busy_poll, connect_concurrency, connect_rate, connections, cores, pipeline, seed, some_count, some_time, threads,
    time,
};
use clap::{ArgAction, Args, Command};
use ringway::BusyPoll;
use ringway::placement::CoreList;
use ringway_loadtest::parse::{RateRange, Stage, rate, resolve, share_of_errors, sources, stage, target};
use ringway_loadtest::recording::Speed;
use ringway_loadtest::{Behaviour, Sizes, Topic};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The text above the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  ringway load ws://127.0.0.1:9001               50 connections, 1 in flight on each, for 10 s
  ringway load :9001 -c 1k -p 16 -d 30s          closed loop: 16 messages in flight on each of 1000
  ringway load :9001 -c 1k -R 50k                open loop: 50 000 messages/s, due at fixed times
  ringway load wss://host/chat -n 10 -m hello    exactly ten messages
  ringway load :9001 --mode idle -c 100k -d 10m  hold connections open
  ringway load :9001 -c 10k --mix echo:90,idle:9,churn:1
  ringway load --scenario chat.toml              several populations, from a file";

/// The text below the flags.
pub(crate) const EXIT_CODES: &str = "\
Closed loop: a slow server receives fewer messages; latencies hold for the rate that it reaches.
Open loop (-R, --stage): the response time of a message begins when it is due, not when it is sent.
Exit codes: 0 success; 1 more failures than --max-errors allows, or the run failed; 2 usage;
4 nothing was measured; 130/143 interrupted by SIGINT/SIGTERM, with a report of the measured part.
docs/benchmarking.md explains the figures, and each verdict with its remedy.";

/// The text below the frequent flags.
const MORE: &str = "\
Exit codes: 0 success, 1 failures, 2 usage, 4 nothing was measured. --help has all flags.";

/// The order of the parts of the help: the usage and the examples are above the flags.
pub(crate) const TEMPLATE: &str =
    "{about-with-newline}\n{usage-heading} {usage}\n\n{before-help}{all-args}{after-help}";

/// A command with a compact help: one line for most flags. Short help (`-h`) has the frequent flags,
/// long help (`--help`) all of them, and `exit_codes` below them.
pub(crate) fn with_compact_help(command: Command, is_short: bool, exit_codes: &'static str) -> Command {
    if is_short {
        return command;
    }
    // The long format of clap has three lines for each flag.
    let mut all = command.clone().bin_name(format!("ringway {}", command.get_name())).max_term_width(MAX_WIDTH);
    all = all.mut_args(|flag| flag.hide_short_help(false)).after_help(exit_codes);
    let help = all.render_help();
    command.override_help(help)
}

/// The maximum width of help.
pub(crate) const MAX_WIDTH: usize = 110;

/// The flags for what a scenario has for each of its populations. The other flags replace values of
/// the scenario.
const OF_ONE_POPULATION: [&str; 16] = [
    "connections",
    "pipeline",
    "rate",
    "stage",
    "arrivals",
    "mode",
    "topic",
    "mix",
    "size",
    "message",
    "messages_from",
    "replay",
    "speed",
    "unicode",
    "json",
    "binary",
];

/// The flags of what a recording has: messages, and their times.
const REPLACED_BY_REPLAY: [&str; 11] =
    ["pipeline", "rate", "stage", "mode", "mix", "size", "message", "messages_from", "unicode", "json", "binary"];

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = MORE, after_long_help = EXIT_CODES, help_template = TEMPLATE)]
#[command(disable_help_flag = true)]
pub(crate) struct Load {
    /// ws://HOST:PORT/PATH, wss://…, HOST:PORT, :PORT or unix:/run/app.sock:/PATH; tcp://HOST:PORT and
    /// udp://HOST:PORT for an echo service (RFC 862)
    #[arg(value_name = "URL[=WEIGHT]", required_unless_present = "scenario", value_parser = target)]
    pub(crate) urls: Vec<(String, u32)>,

    /// Connections over all threads, as 500 or 10k
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = connections, help_heading = "Load")]
    pub(crate) connections: u32,
    /// Time to measure, as 500ms, 1.5s or 2m [default: 10s]
    #[arg(short, long, visible_short_alias = 'z', value_name = "TIME", value_parser = some_time, help_heading = "Load")]
    pub(crate) duration: Option<Duration>,
    /// Exactly this many messages instead of a time, without warm-up
    #[arg(short = 'n', long, value_name = "N", value_parser = some_count, conflicts_with = "duration", help_heading = "Load")]
    pub(crate) messages: Option<u64>,
    /// Closed loop: messages in flight on each connection [default: 1]
    #[arg(short, long, value_name = "N", value_parser = pipeline, conflicts_with_all = ["rate", "stage"], help_heading = "Load")]
    pub(crate) pipeline: Option<u32>,
    /// Open loop: messages/s in all; A:B changes over the duration
    #[arg(short = 'R', long, value_name = "N|A:B", value_parser = rate, help_heading = "Load")]
    pub(crate) rate: Option<RateRange>,
    /// Open loop: reach a rate within a time, as 30s:10k; repeatable
    #[arg(long, value_name = "TIME:N", value_parser = stage, conflicts_with_all = ["messages", "duration"], help_heading = "Load")]
    pub(crate) stage: Vec<Stage>,
    /// Open loop: uniform, or poisson
    #[arg(
        long,
        value_enum,
        default_value = "uniform",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "Load"
    )]
    pub(crate) arrivals: ArrivalsName,
    /// Time to send before measuring [default: 1s; 0 with -n]
    #[arg(short, long, value_name = "TIME", value_parser = time, hide_short_help = true, help_heading = "Load")]
    pub(crate) warmup: Option<Duration>,
    /// Time that a message waits for its reply [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = some_time, hide_short_help = true, help_heading = "Load")]
    pub(crate) timeout: Option<Duration>,

    /// echo, request[:TIME], send, receive, idle[:TIME], connect, broadcast[:PUBLISHERS],
    /// churn[:TIME], slow[:BYTES]
    #[arg(long, value_name = "MODE[:VALUE]", default_value = "echo", help_heading = "Traffic")]
    pub(crate) mode: Behaviour,
    /// Topic of broadcast on `ringway serve --app topics`
    #[arg(long, value_name = "NAME", hide_short_help = true, help_heading = "Traffic")]
    pub(crate) topic: Option<Topic>,
    /// Several modes, each with a share of the connections
    #[arg(long, value_name = "MODE:SHARE,…", value_parser = parse_mix, conflicts_with = "mode", help_heading = "Traffic")]
    pub(crate) mix: Option<Mix>,
    /// Populations from a TOML file; docs/scenarios.md has the keys
    #[arg(long, value_name = "FILE", conflicts_with_all = OF_ONE_POPULATION, hide_short_help = true, help_heading = "Traffic")]
    pub(crate) scenario: Option<PathBuf>,
    /// Bytes: 512, a range 20-1K, or weights 20:70,1K:25,16K:5 [default: 64]
    #[arg(short, long, value_name = "SIZES", help_heading = "Traffic")]
    pub(crate) size: Option<Sizes>,
    /// Text with {seq}, {conn}, {time}, {random:N} or {int:A-B}, or a file
    #[arg(short, long, value_name = "TEXT|@FILE", conflicts_with = "size", help_heading = "Traffic")]
    pub(crate) message: Option<String>,
    /// One message a line; with -b, a length of 4 bytes before each
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "message"], hide_short_help = true, help_heading = "Traffic")]
    pub(crate) messages_from: Option<PathBuf>,
    /// Messages of a recording (connect --record), at its times
    #[arg(long, value_name = "FILE", conflicts_with_all = REPLACED_BY_REPLAY, hide_short_help = true, help_heading = "Traffic")]
    pub(crate) replay: Option<PathBuf>,
    /// Speed of the replay: a factor, as 10 or 0.5, or max [default: 1]
    #[arg(long, value_name = "FACTOR", requires = "replay", hide_short_help = true, help_heading = "Traffic")]
    pub(crate) speed: Option<Speed>,
    /// Text of several scripts instead of ASCII
    #[arg(long, conflicts_with_all = ["binary", "message", "messages_from", "json"], hide_short_help = true, help_heading = "Traffic")]
    pub(crate) unicode: bool,
    /// JSON that compresses as real feeds do
    #[arg(long, conflicts_with_all = ["binary", "message", "messages_from"], hide_short_help = true, help_heading = "Traffic")]
    pub(crate) json: bool,
    /// Binary messages instead of text
    #[arg(short, long, help_heading = "Traffic")]
    pub(crate) binary: bool,
    /// off; sample: number, kind, length and some contents; all [default: sample]
    #[arg(
        long,
        value_enum,
        value_name = "PART",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "Traffic"
    )]
    pub(crate) verify: Option<VerifyName>,
    /// Seed of contents, sizes, arrivals and lifetimes, to repeat a run
    #[arg(long, value_name = "N", value_parser = seed, hide_short_help = true, help_heading = "Traffic")]
    pub(crate) seed: Option<u64>,
    /// Offer compression: off, shared or takeover; bare: takeover [default: off]
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, require_equals = true,
        default_missing_value = "takeover", hide_possible_values = true, hide_short_help = true, help_heading = "Traffic")]
    pub(crate) deflate: Option<DeflateMode>,

    /// Connections to open per second [default: as the server accepts]
    #[arg(short = 'r', long, value_name = "N", value_parser = connect_rate, help_heading = "Connections")]
    pub(crate) connect_rate: Option<u64>,
    /// Handshakes in progress [default: the server's listen backlog, or 64 if unknown]
    #[arg(long, value_name = "N", value_parser = connect_concurrency, hide_short_help = true, help_heading = "Connections")]
    pub(crate) connect_concurrency: Option<u32>,
    /// Time within which a connection must open [default: 10s]
    #[arg(long, value_name = "TIME", value_parser = some_time, hide_short_help = true, help_heading = "Connections")]
    pub(crate) connect_timeout: Option<Duration>,
    /// Local addresses: a list, or a range as 127.0.0.2-127.0.0.9
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',', value_parser = sources, hide_short_help = true, help_heading = "Connections")]
    pub(crate) source_ip: Vec<Vec<IpAddr>>,
    /// Address of a host name, as in curl; repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR", value_parser = resolve, hide_short_help = true, help_heading = "Connections")]
    pub(crate) resolve: Vec<(String, SocketAddr)>,
    #[command(flatten)]
    pub(crate) offer: OfferOptions,

    /// Threads [default: one for each core, at most one a connection]
    #[arg(short, long, value_name = "N", value_parser = threads, help_heading = "Generator")]
    pub(crate) threads: Option<usize>,
    /// Cores to pin them to, as 0-3,8 [default: those without the server]
    #[arg(long, value_name = "LIST", value_parser = cores, hide_short_help = true, help_heading = "Generator")]
    pub(crate) cores: Option<CoreList>,
    /// System interface for sockets: auto, uring, epoll or tokio-uring
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "Generator"
    )]
    pub(crate) driver: DriverName,
    /// Polling before a sleep: off, adaptive, 20us
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll, hide_short_help = true, help_heading = "Generator")]
    pub(crate) busy_poll: BusyPoll,

    /// Share of messages and connections that may fail [default: 0%]
    #[arg(long, value_name = "N%", value_parser = share_of_errors, help_heading = "Result")]
    pub(crate) max_errors: Option<f64>,
    /// Print the whole distribution of response times
    #[arg(long, help_heading = "Result")]
    pub(crate) latency: bool,
    /// text or json; docs/load.schema.json describes the JSON
    #[arg(long, value_enum, default_value = "text", hide_possible_values = true, help_heading = "Result")]
    pub(crate) format: Format,
    /// Add the buckets of the histograms to the JSON
    #[arg(long, hide_short_help = true, help_heading = "Result")]
    pub(crate) buckets: bool,
    /// File for the result instead of standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Result")]
    pub(crate) output: Option<PathBuf>,
    /// No live view on standard error
    #[arg(short, long, help_heading = "Result")]
    pub(crate) quiet: bool,

    /// Print the frequent flags (-h) or all (--help)
    #[arg(short, long, action = ArgAction::Help, help_heading = "Result")]
    pub(crate) help: Option<bool>,

    #[command(flatten)]
    pub(crate) tls: LoadTls,
}
