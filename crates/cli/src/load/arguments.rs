//! The flags of `load`.

use crate::arguments::{DeflateMode, DriverName, Format};
use crate::load::mix::{Mix, parse_mix};
use crate::load::resolve::{sources, target};
use crate::load::traffic::{ArrivalsName, RateRange, Stage, VerifyName, behaviour, rate, share_of_errors, stage};
use crate::tls::LoadTls;
use crate::values::{
    busy_poll, connect_concurrency, connections, cores, count, header, origin_to_send, pipeline, some_time,
    subprotocol, time,
};
use clap::Args;
use ringway::placement::CoreList;
use ringway::{BusyPoll, HeaderName, HeaderValue};
use ringway_loadtest::{Behaviour, Sizes};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// The text above the flags.
pub(crate) const EXAMPLES: &str = "\
Examples:
  ringway load ws://127.0.0.1:9001               50 connections, 1 message in flight on each, for 10 s
  ringway load :9001 -c 1k -p 16 -d 30s          closed loop: 16 messages in flight on each of 1000
  ringway load :9001 -c 1k -R 50k                open loop: 50 000 messages/s, whether replies come or not
  ringway load :9001 -R 1k:100k -d 1m            a rate that rises over the duration
  ringway load wss://host/chat -n 10 -m hello    exactly ten messages
  ringway load :9001 --mode idle -c 100k -d 10m  hold connections open
  ringway load :9001 --mix echo:90,idle:9,churn:1 -c 10k
  ringway load --scenario chat.toml              several populations, from a file";

/// The text below the flags.
pub(crate) const EXIT_CODES: &str = "\
In a closed loop a slow server receives fewer messages, so latencies hold for the rate that it reaches.
In an open loop (-R, --stage) latency counts from the time at which a message was due.

Exit codes: 0 success, 1 more failures than --max-errors, 2 usage, 4 nothing was measured, 130/143 interrupted.
docs/benchmarking.md explains the figures, the verdicts and what to do about each.";

#[derive(Debug, Args)]
#[command(before_long_help = EXAMPLES, after_help = EXIT_CODES)]
pub(crate) struct Load {
    /// Servers: ws://HOST:PORT/PATH, wss://…, HOST:PORT, :PORT, unix:/run/app.sock:/path; =N is a weight
    #[arg(value_name = "URL[=WEIGHT]", required_unless_present = "scenario", value_parser = target)]
    pub(crate) urls: Vec<(String, u32)>,

    /// Connections over all threads, as 500 or 10k
    #[arg(short, long, value_name = "N", default_value = "50", value_parser = connections, help_heading = "Load")]
    pub(crate) connections: u32,
    /// Time to measure, as 500ms, 1.5s or 2m
    #[arg(short, long, short_alias = 'z', value_name = "TIME", default_value = "10s", value_parser = some_time, help_heading = "Load")]
    pub(crate) duration: Duration,
    /// Exactly this many messages instead of a time, without warm-up
    #[arg(short = 'n', long, value_name = "N", value_parser = count, conflicts_with = "duration", help_heading = "Load")]
    pub(crate) messages: Option<u64>,
    /// Closed loop: messages in flight on each connection [default: 1]
    #[arg(short, long, value_name = "N", value_parser = pipeline, conflicts_with_all = ["rate", "stage"], help_heading = "Load")]
    pub(crate) pipeline: Option<u32>,
    /// Open loop: messages per second in all; A:B changes from A to B over the duration
    #[arg(short = 'R', long, value_name = "N|A:B", value_parser = rate, help_heading = "Load")]
    pub(crate) rate: Option<RateRange>,
    /// Open loop: reach a rate within a time, as 30s:10k; repeatable; the duration is the sum
    #[arg(long, value_name = "TIME:N", value_parser = stage, conflicts_with_all = ["messages"], help_heading = "Load")]
    pub(crate) stage: Vec<Stage>,
    /// Distribution of the messages of an open loop over time
    #[arg(long, value_enum, default_value = "uniform", help_heading = "Load")]
    pub(crate) arrivals: ArrivalsName,
    /// Time to send before measuring [default: 1s; none with -n]
    #[arg(short, long, value_name = "TIME", value_parser = time, help_heading = "Load")]
    pub(crate) warmup: Option<Duration>,
    /// Time after which a message no longer waits for its reply
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time, help_heading = "Load")]
    pub(crate) timeout: Duration,

    /// What the connections do; some take a value, as request:1s, churn:30s, idle:20s, slow:64K
    #[arg(long, value_name = "MODE[:VALUE]", default_value = "echo", value_parser = behaviour, help_heading = "Traffic")]
    pub(crate) mode: Behaviour,
    /// Several of them, each with its share of the connections, as echo:90,idle:9,churn:1
    #[arg(long, value_name = "MODE:SHARE,…", value_parser = parse_mix, conflicts_with = "mode", help_heading = "Traffic")]
    pub(crate) mix: Option<Mix>,
    /// Populations from a TOML file; see docs/load.md
    #[arg(long, value_name = "FILE", conflicts_with_all = ["mix", "mode", "urls"], help_heading = "Traffic")]
    pub(crate) scenario: Option<PathBuf>,
    /// Sizes of messages: 512, a range 20-1K, or weights 20:70,1K:25,16K:5
    #[arg(short, long, value_name = "SIZES", default_value = "64", help_heading = "Traffic")]
    pub(crate) size: Sizes,
    /// Message to send, or @FILE; templates have {seq}, {conn}, {time}, {random:N}, {int:A-B}
    #[arg(short, long, value_name = "TEXT|@FILE", conflicts_with = "size", help_heading = "Traffic")]
    pub(crate) message: Option<String>,
    /// Messages from a file, one a line; with -b records with a length of 4 bytes in front
    #[arg(long, value_name = "FILE", conflicts_with_all = ["size", "message"], help_heading = "Traffic")]
    pub(crate) messages_from: Option<PathBuf>,
    /// Text of several scripts instead of ASCII
    #[arg(long, conflicts_with_all = ["binary", "message", "messages_from", "json"], help_heading = "Traffic")]
    pub(crate) unicode: bool,
    /// JSON that compresses as real feeds do
    #[arg(long, conflicts_with_all = ["binary", "message", "messages_from"], help_heading = "Traffic")]
    pub(crate) json: bool,
    /// Binary messages instead of text
    #[arg(short, long, help_heading = "Traffic")]
    pub(crate) binary: bool,
    /// Part of each reply to verify; sample: kind, length, sequence number, every 64th content
    #[arg(long, value_enum, default_value = "sample", help_heading = "Traffic")]
    pub(crate) verify: VerifyName,
    /// Seed of contents, sizes, arrivals and lifetimes, to repeat a run
    #[arg(long, value_name = "N", help_heading = "Traffic")]
    pub(crate) seed: Option<u64>,
    /// Compression to offer: shared, takeover or off; without MODE: takeover
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "off",
        default_missing_value = "takeover", hide_possible_values = true, help_heading = "Traffic")]
    pub(crate) deflate: DeflateMode,

    /// Connections to open per second [default: as fast as the server accepts them]
    #[arg(short = 'r', long, value_name = "N", value_parser = count, help_heading = "Connections")]
    pub(crate) connect_rate: Option<u64>,
    /// Handshakes in progress at a time [default: 64, or the server's backlog if it is smaller]
    #[arg(long, value_name = "N", value_parser = connect_concurrency, help_heading = "Connections")]
    pub(crate) connect_concurrency: Option<u32>,
    /// Time within which a connection must open
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time, help_heading = "Connections")]
    pub(crate) connect_timeout: Duration,
    /// Local addresses to connect from: a list, or a range as 127.0.0.2-127.0.0.9
    #[arg(long, value_name = "ADDR,…", value_delimiter = ',', value_parser = sources, help_heading = "Connections")]
    pub(crate) source_ip: Vec<Vec<IpAddr>>,
    /// Address of a host name, as curl has it: HOST:PORT:ADDR; repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR", value_parser = crate::load::resolve::parse, help_heading = "Connections")]
    pub(crate) resolve: Vec<(String, SocketAddr)>,
    /// Header of the handshake, as 'Name: value'; repeatable
    #[arg(short = 'H', long, value_name = "HEADER", value_parser = header, help_heading = "Connections")]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,
    /// Origin, as browsers send it
    #[arg(long, value_name = "ORIGIN", value_parser = origin_to_send, help_heading = "Connections")]
    pub(crate) origin: Option<String>,
    /// Subprotocol to offer; repeatable
    #[arg(long, value_name = "NAME", value_parser = subprotocol, help_heading = "Connections")]
    pub(crate) subprotocol: Vec<String>,
    /// Cookie to send; repeatable
    #[arg(long, value_name = "NAME=VALUE", help_heading = "Connections")]
    pub(crate) cookie: Vec<String>,
    /// Token to send as 'Authorization: Bearer'
    #[arg(long, value_name = "TOKEN", conflicts_with = "basic", help_heading = "Connections")]
    pub(crate) bearer: Option<String>,
    /// User and password to send as 'Authorization: Basic'
    #[arg(long, value_name = "USER:PASSWORD", help_heading = "Connections")]
    pub(crate) basic: Option<String>,

    /// Threads [default: one for each core of --cores; never more than connections]
    #[arg(short, long, value_name = "N", help_heading = "Generator")]
    pub(crate) threads: Option<usize>,
    /// Cores to pin the threads to, as 0-3,8 [default: those that the server leaves]
    #[arg(long, value_name = "LIST", value_parser = cores, help_heading = "Generator")]
    pub(crate) cores: Option<CoreList>,
    /// System interface for sockets: auto, uring or epoll
    #[arg(long, value_enum, default_value = "auto", hide_possible_values = true, help_heading = "Generator")]
    pub(crate) driver: DriverName,
    /// Polling before a thread sleeps: off, adaptive, or a time as 20us
    #[arg(long, value_name = "MODE", default_value = "adaptive", value_parser = busy_poll, help_heading = "Generator")]
    pub(crate) busy_poll: BusyPoll,

    /// Share of failed messages and connections up to which the run succeeds
    #[arg(long, value_name = "N%", default_value = "0", value_parser = share_of_errors, help_heading = "Result")]
    pub(crate) max_errors: f64,
    /// Print the whole distribution of latencies
    #[arg(long, help_heading = "Result")]
    pub(crate) latency: bool,
    /// Format of the result; docs/load.schema.json describes the JSON
    #[arg(long, value_enum, default_value = "text", help_heading = "Result")]
    pub(crate) format: Format,
    /// Add the buckets of the histograms to the JSON
    #[arg(long, help_heading = "Result")]
    pub(crate) buckets: bool,
    /// File for the result instead of standard output
    #[arg(short, long, value_name = "FILE", help_heading = "Result")]
    pub(crate) output: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) tls: LoadTls,
}
