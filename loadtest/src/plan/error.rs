//! The errors of an invalid plan.

use super::Transport;
use super::{
    MAX_BYTES_IN_FLIGHT, MAX_CONNECTIONS, MAX_DATAGRAM, MAX_HANDSHAKES, MAX_IN_FLIGHT, MAX_POPULATIONS, MAX_SIZE,
    MAX_SOURCES, MAX_TARGETS, MAX_THREADS, MAX_TOTAL_IN_FLIGHT, MAX_TOTAL_SIZE, MAX_WEIGHT,
};
use crate::broadcast::{HEAD, MAX_PAIRS};
use crate::lifetime::SpanError;
use crate::units::{bytes, size};
use std::time::Duration;

/// The error of an invalid plan.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// An error of one of several populations.
    #[error("{name}: {error}")]
    Population {
        /// Its name.
        name: String,
        /// The error.
        error: Box<PlanError>,
    },
    /// No server.
    #[error("a load needs at least 1 server")]
    NoTargets,
    /// Too many servers.
    #[error("{0} servers: give at most {MAX_TARGETS}")]
    TooManyTargets(usize),
    /// A weight of a target out of range.
    #[error("the weight of {0} is {1}: give 1 to {MAX_WEIGHT}, or leave the server out")]
    Weight(String, u32),
    /// Targets with and without WebSockets.
    #[error("{0} and {1}: give servers of one kind, all tcp://, all udp://, or all WebSocket")]
    Transports(String, String),
    /// A behaviour that an echo service without WebSockets cannot serve.
    #[error("{transport} is for {modes}, and the mode is {mode}: an echo service does nothing else")]
    TransportMode {
        /// What connections speak.
        transport: Transport,
        /// The behaviours that are possible.
        modes: &'static str,
        /// The name of the behaviour.
        mode: &'static str,
    },
    /// An option of WebSocket connections.
    #[error("{transport} has no {what}: leave it out")]
    TransportOption {
        /// What connections speak.
        transport: Transport,
        /// The option.
        what: &'static str,
    },
    /// Messages without bytes on a stream.
    #[error("a message of no bytes has no echo on tcp://: give a size of at least 1")]
    EmptyMessages,
    /// Messages that do not fit into a datagram.
    #[error("{0} bytes do not fit into a datagram: give at most {MAX_DATAGRAM}")]
    Datagram(usize),
    /// No populations.
    #[error("a load needs at least 1 population")]
    NoPopulations,
    /// Too many populations.
    #[error("{0} populations: give at most {MAX_POPULATIONS}")]
    TooManyPopulations(usize),
    /// A name that cannot be shown.
    #[error("the population's name is {0:?}: give 1 to 64 characters, without control characters")]
    Name(String),
    /// Two populations of one name.
    #[error("two populations are named {0:?}: give each a name of its own")]
    SameName(String),
    /// No connections.
    #[error("{0}: a load needs at least 1 connection")]
    NoConnections(String),
    /// More connections than a run can have.
    #[error("{0} connections in all: give at most {MAX_CONNECTIONS}")]
    TooManyConnections(u64),
    /// A number of threads out of range.
    #[error("{0} threads: give 1 to {MAX_THREADS}")]
    Threads(usize),
    /// A number of messages in flight out of range.
    #[error("{0} messages in flight on each connection: give 1 to {MAX_IN_FLIGHT}")]
    InFlight(u32),
    /// Messages in flight on connections that have none, or one.
    #[error("{0} does not keep messages in flight: {1} (-p) does not apply to it; leave it out")]
    NoPipeline(&'static str, u32),
    /// Messages that are too large.
    #[error("messages of up to {}: give sizes up to {}", size(*.0), size(MAX_SIZE))]
    Size(usize),
    /// Messages that are too large in all.
    #[error(
        "the largest messages of all populations take {} together: give sizes that add up to at most {}",
        bytes(*.0 as f64), size(MAX_TOTAL_SIZE)
    )]
    TotalSize(usize),
    /// Content that is invalid by itself.
    #[error("{0}")]
    Content(String),
    /// More bytes in flight than one connection can have.
    #[error(
        "{in_flight} messages of up to {} in flight on each connection: give fewer or smaller ones, together below {}",
        size(*.largest), size(MAX_BYTES_IN_FLIGHT)
    )]
    BytesInFlight {
        /// The messages in flight.
        in_flight: u32,
        /// The length of the largest one.
        largest: usize,
    },
    /// More bytes in flight than a run can have.
    #[error(
        "the messages in flight on all connections take up to {}: give fewer connections, or fewer or smaller \
         messages, together below {}", bytes(*.0 as f64), size(MAX_TOTAL_IN_FLIGHT)
    )]
    TotalInFlight(usize),
    /// A schedule for connections that send nothing.
    #[error("{0} connections send no messages at times of their own: a rate does not apply to them")]
    NoSchedule(&'static str),
    /// A schedule beside that of a recording.
    #[error("replay has the times of its recording: leave the rate out, and give a speed (--speed)")]
    RecordedSchedule,
    /// A replay of something else.
    #[error("replay sends a recording: give one (--replay FILE, or `recording` in a scenario)")]
    NoRecording,
    /// A recording without times.
    #[error("the recording has no times: replay it without waiting (--speed max)")]
    NoTimes,
    /// A recording that is not replayed.
    #[error("{0} does not send recordings: use replay for it, or give another message")]
    GivenRecording(&'static str),
    /// A schedule without messages.
    #[error("the rate is 0 for the whole run: give a rate or a stage above 0")]
    NothingOffered,
    /// A behaviour that needs a schedule.
    #[error("{0} needs the rate at which messages are published (-R)")]
    NeedsSchedule(&'static str),
    /// Publishers out of range.
    #[error("{0} publishers of {1} connections: give 1 to {1}")]
    Publishers(u32, u32),
    /// Nobody but the publisher.
    #[error(
        "a broadcast of 1 connection has no readers, because a publisher's own copy does not count: give at least 2"
    )]
    NoReaders,
    /// More pairs of publishers and readers than are tracked.
    #[error(
        "{publishers} publishers and {connections} connections: give fewer, so that their product is at most \
         {MAX_PAIRS}; the order of messages is tracked for each pair"
    )]
    Pairs {
        /// The publishers.
        publishers: u32,
        /// The connections.
        connections: u32,
    },
    /// Published messages without room for their head.
    #[error("a broadcast of messages of {0} B: give at least {HEAD} B, which identify a message (-s)")]
    NoHead(usize),
    /// Published messages of given content.
    #[error(
        "a broadcast writes {HEAD} bytes that identify a message in front of it, so it takes random content only: \
         give a size (-s), with -b or --unicode if needed, instead of a message or a file"
    )]
    GivenContent,
    /// No bytes per second.
    #[error("slow connections need a rate of at least 1 byte per second")]
    NoBytes,
    /// A distribution of times that is invalid.
    #[error("{0}: {1}")]
    Span(&'static str, SpanError),
    /// A time out of range.
    #[error("{what} is {time:?}: give a time from {min:?} to 365 days")]
    Time {
        /// The time's name.
        what: &'static str,
        /// Its value.
        time: Duration,
        /// The smallest valid value.
        min: Duration,
    },
    /// A connect rate out of range.
    #[error("{0} connections per second: give a rate above 0 and up to 1000000000")]
    ConnectRate(f64),
    /// A number of handshakes in progress out of range.
    #[error("{0} handshakes in progress at a time: give 1 to {MAX_HANDSHAKES}")]
    Handshakes(u32),
    /// Too many local addresses.
    #[error("{0} local addresses: give at most {MAX_SOURCES}")]
    Sources(usize),
    /// A share of errors out of range.
    #[error("the share of errors up to which a run succeeds is {0}: give 0 to 1, which is 100 %")]
    MaxErrors(f64),
    /// No messages to measure.
    #[error("the number of messages must be above 0")]
    NoMessages,
    /// A run that sends no messages cannot end by a number of them.
    #[error("these connections send no messages: give a duration instead of a number of messages")]
    NothingToCount,
}
