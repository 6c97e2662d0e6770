//! The numbers of running shards, as a Rust program reads them.

use super::codes::{CLOSE_LABELS, ClosedBy, STATUS_LABELS};
use super::histogram::Histogram;
use crate::shard::core::Counters;
use ringway_io::Stats;
use std::time::Duration;

/// The numbers of all shards at one time: see [`MetricsReader`](crate::MetricsReader).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Metrics {
    /// The numbers of each shard, in the order of their numbers.
    pub shards: Vec<ShardMetrics>,
}

impl Metrics {
    /// Whether a shard is draining or stopping.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.shards.iter().any(|shard| shard.draining)
    }

    /// The sum of a number over all shards.
    ///
    /// ```
    /// use ringway::Metrics;
    ///
    /// fn received(metrics: &Metrics) -> u64 {
    ///     metrics.sum(|shard| shard.messages_received())
    /// }
    /// # let _ = received;
    /// ```
    #[must_use]
    pub fn sum(&self, number: impl Fn(&ShardMetrics) -> u64) -> u64 {
        self.shards.iter().map(number).sum()
    }
}

/// The numbers of one shard as of the end of its last turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShardMetrics {
    /// The number of the shard.
    pub shard: usize,
    /// Its counters.
    pub counters: Counters,
    /// The counters of its driver.
    pub driver: Stats,
    /// Its connections, by state, in both roles.
    pub connections: ConnectionCounts,
    /// The connections on which receiving is paused.
    pub paused: PausedCounts,
    /// Topics: those with subscribers, and those with a policy of their own or kept messages.
    pub topics: u64,
    /// Subscriptions: pairs of a connection and a topic.
    pub subscriptions: u64,
    /// Whether the shard is draining or stopping.
    pub draining: bool,
    /// The CPU time of its thread without the time of polling ([`Stats::polled`]), read ten times a
    /// second at most. It includes the work of the kernel on its behalf.
    pub busy: Duration,
    /// Bytes that wait for peers, including those of sends in flight.
    pub queue_bytes: u64,
    /// Bytes of the memory budget that are in use.
    pub budget_used_bytes: u64,
    /// The memory budget, [`Limits::max_memory`](crate::Limits::max_memory), in bytes.
    pub budget_bytes: u64,
    /// Receive buffers that no connection holds.
    pub buffers_free: u64,
    /// Items of work that [`ShardHandle::post`](crate::ShardHandle::post) has posted and that the shard
    /// has not taken yet, as of now.
    pub mailbox_messages: u64,
    /// The payload of delivered messages in bytes, after inflation.
    pub received_size: Histogram,
    /// The payload of sent messages in bytes, before compression, without published ones.
    pub sent_size: Histogram,
    /// The time from the opening handshake to the end of a connection, in both roles. Empty without
    /// [`Config::connection_times`](crate::Config::connection_times).
    pub connection_duration: Histogram,
    /// The time from the accept to the response that accepts the upgrade. Empty without
    /// [`Config::connection_times`](crate::Config::connection_times).
    pub handshake_duration: Histogram,
    /// The time from a ping that the shard has sent because a peer was idle, to its pong.
    pub ping_rtt: Histogram,
    /// The time of a sweep, which gives the messages published in a turn to all subscribers of the
    /// shard: from its start to its end, over several turns if there are many.
    pub fanout_duration: Histogram,
    /// The duration of turns, without the wait for the kernel.
    pub turn_duration: Histogram,
    pub(crate) closes: Closes,
    pub(crate) violations: [u64; CLOSE_LABELS.len()],
    pub(crate) responses: [u64; STATUS_LABELS.len()],
}

impl ShardMetrics {
    /// The number of messages that were delivered to the handler.
    #[must_use]
    pub fn messages_received(&self) -> u64 {
        self.received_size.count()
    }

    /// The number of messages that were queued for peers, including deliveries of published ones.
    #[must_use]
    pub fn messages_sent(&self) -> u64 {
        self.sent_size.count() + self.counters.deliveries
    }

    /// The connections that were open and have ended: the close code, the side that ended them, and
    /// the number, without those that are zero. Codes of 3000 and above are counted in two ranges,
    /// and unknown codes together.
    pub fn closes(&self) -> impl Iterator<Item = (&'static str, ClosedBy, u64)> + '_ {
        let sides = ClosedBy::ALL.into_iter().zip(self.closes.0.chunks(CLOSE_LABELS.len()));
        let counts = sides.flat_map(|(by, counts)| CLOSE_LABELS.into_iter().zip(counts).map(move |at| (at, by)));
        counts.map(|((code, count), by)| (code, by, *count)).filter(|(.., count)| *count > 0)
    }

    /// The violations of the protocol, by the close code that answers them, without those that are
    /// zero.
    pub fn protocol_errors(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CLOSE_LABELS.into_iter().zip(self.violations).filter(|(_, count)| *count > 0)
    }

    /// The responses of HTTP, those to upgrades included, by status, without those that are zero.
    /// Less common codes are counted by their class.
    pub fn http_responses(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        STATUS_LABELS.into_iter().zip(self.responses).filter(|(_, count)| *count > 0)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Closes(pub(crate) [u64; CLOSE_LABELS.len() * ClosedBy::ALL.len()]);

/// Connections by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConnectionCounts {
    /// Until the end of the opening handshake.
    pub opening: u64,
    /// Messages are exchanged.
    pub open: u64,
    /// From the first close frame, or the response that refuses the upgrade, to the end.
    pub closing: u64,
}

/// Connections on which receiving is paused. One connection can be paused by several causes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PausedCounts {
    /// The handler has paused them ([`Connection::pause`](crate::Connection::pause)).
    pub by_handler: u64,
    /// Their peers do not read ([`Limits::max_buffered`](crate::Limits::max_buffered)).
    pub by_backlog: u64,
    /// The shard is near its memory limit, and they are among the largest holders.
    pub by_memory: u64,
}
