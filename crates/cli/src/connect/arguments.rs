//! The flags of `connect`.

use crate::choices::{DeflateMode, DriverName};
use crate::load::arguments::TEMPLATE;
use crate::offer::OfferOptions;
use crate::tls::LoadTls;
use crate::values::{some_count, some_size, some_time, time};
use clap::{ArgAction, Args};
use ringway_loadtest::parse::{resolve, url};
use ringway_loadtest::recording::Speed;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The text above the flags.
const EXAMPLES: &str = "\
Examples:
  ringway connect wss://host/chat                a prompt: a line that is typed is sent; /help
  echo hello | ringway connect :9001 -1          send one line, print one answer, exit
  ringway connect :9001 < in.txt > out.txt       lines in, lines out
  ringway connect wss://host/feed -n 10          print ten messages, exit
  ringway connect :9001 --jsonl < in.jsonl       one JSON object a message, in and out";

/// The text below all flags.
pub(crate) const EXIT_CODES: &str = "\
Without a terminal on standard input and output, and with -1, -n, --binary or --jsonl, standard output has
messages only, and notes go to standard error.
Exit codes: 0 the conversation has ended as it should; 1 it could not begin, broke off, ended with an error
code, before -n messages, or with messages that were not sent, or a file is incomplete; 2 usage;
129/130/131/143 ended by SIGHUP, SIGINT, SIGQUIT or SIGTERM.
docs/connect.md explains the prompt, the formats and the exit codes.";

/// The text below the frequent flags.
const MORE: &str = "\
Exit codes: 0 as it should, 1 failures, 2 usage, 129 and above signals. --help has all flags.";

#[derive(Debug, Args)]
#[command(before_help = EXAMPLES, after_help = MORE, after_long_help = EXIT_CODES, help_template = TEMPLATE)]
#[command(disable_help_flag = true)]
pub(crate) struct Connect {
    /// ws://HOST:PORT/PATH, wss://…, HOST:PORT, :PORT or unix:/run/app.sock:/PATH
    #[arg(value_name = "URL", value_parser = url)]
    pub(crate) url: String,

    /// Send one line, print one message, and exit
    #[arg(short = '1', long, conflicts_with = "number", help_heading = "Pipes")]
    pub(crate) one: bool,
    /// Exit after this many received messages
    #[arg(short, long, value_name = "N", value_parser = some_count, help_heading = "Pipes")]
    pub(crate) number: Option<u64>,
    /// Binary messages with a length of 4 bytes before each, big endian, in and out
    #[arg(short, long, conflicts_with = "jsonl", help_heading = "Pipes")]
    pub(crate) binary: bool,
    /// One JSON object a message, in and out
    #[arg(long, help_heading = "Pipes")]
    pub(crate) jsonl: bool,
    /// At the end of standard input, close when nothing is received for this time
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time, help_heading = "Pipes")]
    pub(crate) linger: Duration,

    /// Write what is sent and received to a file, one JSON object a line
    #[arg(long, value_name = "FILE", help_heading = "Recordings")]
    pub(crate) record: Option<PathBuf>,
    /// Send what a recording has as sent, instead of standard input
    #[arg(long, value_name = "FILE", conflicts_with = "one", help_heading = "Recordings")]
    pub(crate) replay: Option<PathBuf>,
    /// Speed of the replay: a factor, as 10 or 0.5, or max
    #[arg(
        long,
        value_name = "FACTOR",
        default_value = "1",
        requires = "replay",
        hide_short_help = true,
        help_heading = "Recordings"
    )]
    pub(crate) speed: Speed,

    /// Indent JSON at the prompt, as /json on does
    #[arg(long, help_heading = "Prompt")]
    pub(crate) pretty: bool,
    /// Show the headers of the response, and pongs to the pings of --ping-interval
    #[arg(short, long, help_heading = "Prompt")]
    pub(crate) verbose: bool,

    /// Print each frame on the wire in both directions, and the opening handshake, also under TLS: at
    /// the prompt, or on standard error
    #[arg(long, help_heading = "Tracing")]
    pub(crate) trace: bool,
    /// Record the same to a capture file for Wireshark, up to 1 GiB
    #[arg(long, value_name = "FILE", help_heading = "Tracing")]
    pub(crate) pcap: Option<PathBuf>,

    /// Connect again when the connection is lost or refused, at most N times in a row
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "10",
        value_parser = some_count, help_heading = "Connections")]
    pub(crate) reconnect: Option<u64>,
    /// Time within which the connection must open
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time, hide_short_help = true, help_heading = "Connections")]
    pub(crate) connect_timeout: Duration,
    /// Silence of the server after which a ping is sent; after twice this time the connection is
    /// lost; 0 for never
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time, hide_short_help = true, help_heading = "Connections")]
    pub(crate) ping_interval: Duration,
    /// Largest message to receive, up to 1G; a larger one closes the connection with code 1009
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = some_size, hide_short_help = true, help_heading = "Connections")]
    pub(crate) max_message: usize,
    /// Offer compression: off, shared or takeover; bare: takeover
    #[arg(long, value_enum, value_name = "MODE", num_args = 0..=1, require_equals = true, default_value = "off",
        default_missing_value = "takeover", hide_possible_values = true, help_heading = "Connections")]
    pub(crate) deflate: DeflateMode,
    /// Address of a host name, as in curl; repeatable
    #[arg(long, value_name = "HOST:PORT:ADDR", value_parser = resolve, hide_short_help = true, help_heading = "Connections")]
    pub(crate) resolve: Vec<(String, SocketAddr)>,
    /// System interface for sockets: auto, uring, epoll or tokio-uring
    #[arg(
        long,
        value_enum,
        default_value = "auto",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "Connections"
    )]
    pub(crate) driver: DriverName,

    /// Print the frequent flags (-h) or all (--help)
    #[arg(short, long, action = ArgAction::Help, help_heading = "Prompt")]
    pub(crate) help: Option<bool>,

    #[command(flatten)]
    pub(crate) offer: OfferOptions,
    #[command(flatten)]
    pub(crate) tls: LoadTls,
}
