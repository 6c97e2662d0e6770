//! The plan of a run.

use crate::observe::processes::Edges;
use crate::units::size;
use ringway::{BusyPoll, ClientTls, Cores, Deflate, DriverChoice, HeaderMap};
use serde::Serialize;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// The maximum size of a message in bytes. Each thread holds a block of random bytes slightly
/// longer than the largest message.
pub const MAX_SIZE: usize = 64 << 20;

/// The maximum number of messages in flight on one connection.
pub const MAX_PIPELINE: u32 = 65_536;

/// The maximum number of connections that one thread opens at a time: fewer than the backlog of any
/// listener.
pub const MAX_CONNECT_CONCURRENCY: u32 = 256;

/// The maximum number of bytes in flight on one connection, frame headers included. It bounds the
/// output queued for the server.
pub(crate) const MAX_IN_FLIGHT: usize = 1 << 30;

/// The longest header of a client's frame (RFC 6455 section 5.2).
const FRAME_HEADER: usize = 14;

/// The parameters of a run. Start from [`Plan::new`] and change fields:
///
/// ```
/// use ringway_loadtest::{RunLength, Plan};
///
/// let plan = Plan { connections: 100, length: RunLength::Messages(1_000_000), ..Plan::new("ws://127.0.0.1:9001/") };
/// assert!(plan.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server: a `ws://` or `wss://` URL.
    pub url: String,
    /// The TLS options of a `wss://` URL. Default: the certificate of the server is verified with the
    /// root certificates of the system.
    pub tls: Option<ClientTls>,
    /// The number of connections over all threads. Default 50.
    pub connections: u32,
    /// The number of threads, each with its own ring. Default: one for each core of `cores`; with
    /// [`Cores::All`] and a CPU quota below the size of the affinity mask, the quota in whole CPUs.
    /// There are never more threads than connections.
    pub threads: Option<usize>,
    /// The cores that the threads are pinned to. Default: the affinity mask from its end, without
    /// the cores to which a server on this machine has pinned its threads. If none is left, both
    /// share the cores, and a warning says how to separate them. With a CPU quota below the size of
    /// the mask, no thread is pinned.
    pub cores: Cores,
    /// The length of the measured part. Default 10 s.
    pub length: RunLength,
    /// The time to send messages before measuring. Default 1 s.
    pub warmup: Duration,
    /// The number of messages in flight on each connection. Default 1.
    pub pipeline: u32,
    /// The sizes of the messages in bytes, uniformly distributed. Default 64.
    pub sizes: RangeInclusive<usize>,
    /// Whether messages are binary. Otherwise they are text of random printable ASCII. Default:
    /// text.
    pub binary: bool,
    /// The traffic on the connections. Default: [`Mode::Echo`].
    pub mode: Mode,
    /// The part of each echo that is verified. Default: [`Verify::Sample`].
    pub verify: Verify,
    /// The seed of the contents and sizes of messages. The same seed gives the same messages; mask
    /// keys are always random (RFC 6455 section 5.3). Default: a random number.
    pub seed: Option<u64>,
    /// The connections to open per second over all threads. Default: as fast as the server accepts
    /// them, with at most 256 handshakes of each thread in progress.
    pub connect_rate: Option<f64>,
    /// The number of connections that each thread opens at a time, 1 to
    /// [`MAX_CONNECT_CONCURRENCY`], the default. With 1, no connection waits for the handshake of
    /// another, and with [`ClientTls::resumption`] each one can resume the session of the one
    /// before.
    pub connect_concurrency: u32,
    /// Additional headers of the opening handshake.
    pub headers: HeaderMap,
    /// The Origin header, as browsers send it.
    pub origin: Option<String>,
    /// The subprotocols to offer.
    pub subprotocols: Vec<String>,
    /// The compression to offer. If the server declines it, messages are sent uncompressed.
    /// Default: none.
    pub deflate: Option<Deflate>,
    /// The server's process, for its CPU time. Default: the process that listens on the target's
    /// port, if it is on this machine and its descriptors are readable.
    pub server_pid: Option<u32>,
    /// Receives the beginning and end of the measured part in advance, if it ends by time. The
    /// receiver samples the server's process itself
    /// ([`processes::watch`](crate::processes::watch)), so the run does not.
    pub edges: Option<Sender<Edges>>,
    /// The time to wait for answers after the last message. A run by number of messages also ends
    /// after this time without an answer. Default 5 s.
    pub drain_timeout: Duration,
    /// The time within which a connection must open. Default 10 s.
    pub connect_timeout: Duration,
    /// Ends the run early.
    pub stop: Stop,
    /// How long each thread polls before it sleeps. A polling thread counts as busy. Default:
    /// adaptive.
    pub busy_poll: BusyPoll,
    /// The driver of each thread. Default: io_uring, and epoll where that is refused.
    pub driver: DriverChoice,
}

impl Plan {
    /// A plan for `url` with the defaults.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            tls: None,
            connections: 50,
            threads: None,
            cores: Cores::All,
            length: RunLength::Time(Duration::from_secs(10)),
            warmup: Duration::from_secs(1),
            pipeline: 1,
            sizes: 64..=64,
            binary: false,
            mode: Mode::Echo,
            verify: Verify::Sample,
            seed: None,
            connect_rate: None,
            connect_concurrency: MAX_CONNECT_CONCURRENCY,
            headers: HeaderMap::new(),
            origin: None,
            subprotocols: Vec::new(),
            deflate: None,
            server_pid: None,
            edges: None,
            drain_timeout: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(10),
            stop: Stop::default(),
            busy_poll: BusyPoll::default(),
            driver: DriverChoice::default(),
        }
    }

    /// Checks the plan; [`run`](crate::run) does this first.
    ///
    /// # Errors
    /// [`PlanError`] for the first invalid field.
    pub fn check(&self) -> Result<(), PlanError> {
        if self.connections == 0 {
            return Err(PlanError::NoConnections);
        }
        if self.threads == Some(0) {
            return Err(PlanError::NoThreads);
        }
        if !(1..=MAX_PIPELINE).contains(&self.pipeline) {
            return Err(PlanError::Pipeline(self.pipeline));
        }
        if self.sizes.is_empty() || *self.sizes.end() > MAX_SIZE {
            return Err(PlanError::Sizes(*self.sizes.start(), *self.sizes.end()));
        }
        let in_flight = self.pipeline as usize * (*self.sizes.end() + FRAME_HEADER);
        if self.mode == Mode::Echo && in_flight > MAX_IN_FLIGHT {
            return Err(PlanError::InFlight(self.pipeline, *self.sizes.end()));
        }
        if self.connect_rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
            return Err(PlanError::ConnectRate);
        }
        if !(1..=MAX_CONNECT_CONCURRENCY).contains(&self.connect_concurrency) {
            return Err(PlanError::ConnectConcurrency(self.connect_concurrency));
        }
        if self.connect_timeout.is_zero() {
            return Err(PlanError::ConnectTimeout);
        }
        match self.length {
            RunLength::Time(time) if time.is_zero() => Err(PlanError::NoTime),
            RunLength::Messages(0) => Err(PlanError::NoMessages),
            RunLength::Messages(_) if self.mode == Mode::Idle => Err(PlanError::MessagesInIdle),
            _ => Ok(()),
        }
    }

    /// The share of thread `index` in `total` items; no two shares differ by more than one.
    pub(crate) fn share(total: u64, threads: usize, index: usize) -> u64 {
        let threads = threads as u64;
        total / threads + u64::from((index as u64) < total % threads)
    }
}

/// The length of the measured part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunLength {
    /// A time.
    Time(Duration),
    /// Until this many messages have been answered ([`Mode::Echo`]) or sent ([`Mode::Send`]).
    Messages(u64),
}

/// The traffic on the connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Mode {
    /// Send messages and verify the echoes.
    #[default]
    Echo,
    /// Send messages as fast as the server reads them; incoming messages are dropped.
    Send,
    /// Hold the connections open without traffic.
    Idle,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Echo => "echo",
            Self::Send => "send",
            Self::Idle => "idle",
        })
    }
}

/// The part of each echo that is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// None: echoes are only counted.
    Off,
    /// Kind and length of each, and the content of every 64th on each connection, the first one
    /// included.
    #[default]
    Sample,
    /// Kind, length and content of each.
    All,
}

/// Ends a run early, from any thread. Clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Ends the run. The part measured so far is reported.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run has been asked to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Arc<AtomicBool>> for Stop {
    /// Wraps a flag, such as one that a signal handler sets.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}

/// The error of an invalid plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// No connections.
    #[error("a load needs at least 1 connection")]
    NoConnections,
    /// No threads.
    #[error("a load needs at least 1 thread")]
    NoThreads,
    /// A number of messages in flight out of range.
    #[error("{0} messages in flight on each connection: give 1 to {MAX_PIPELINE}")]
    Pipeline(u32),
    /// Sizes out of range.
    #[error("messages of {} to {}: give sizes up to {}, the smaller one first", size(*.0), size(*.1), size(MAX_SIZE))]
    Sizes(usize, usize),
    /// More bytes in flight than one connection can have.
    #[error(
        "{} messages of up to {} in flight on each connection: give fewer or smaller ones, together below {}",
        .0, size(*.1), size(MAX_IN_FLIGHT)
    )]
    InFlight(u32, usize),
    /// A connect rate of zero or less.
    #[error("the rate of connecting must be above 0")]
    ConnectRate,
    /// A number of connections to open at a time out of range.
    #[error("{0} connections to open at a time: give 1 to {MAX_CONNECT_CONCURRENCY}")]
    ConnectConcurrency(u32),
    /// No time to connect in.
    #[error("the time that a connection may take to open must be above 0")]
    ConnectTimeout,
    /// No time to measure in.
    #[error("the duration must be above 0")]
    NoTime,
    /// No messages to measure.
    #[error("the number of messages must be above 0")]
    NoMessages,
    /// A run that sends no messages cannot end by a number of them.
    #[error("idle connections send no messages: give a duration instead of a number of messages")]
    MessagesInIdle,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> Plan {
        Plan::new("ws://127.0.0.1:9/")
    }

    #[test]
    fn the_defaults_are_a_plan() {
        assert_eq!(plan().check(), Ok(()));
    }

    #[test]
    fn an_invalid_plan_is_refused() {
        let messages = RunLength::Messages(1);
        let reversed = RangeInclusive::new(2, 1);
        for (plan, error) in [
            (Plan { connections: 0, ..plan() }, PlanError::NoConnections),
            (Plan { threads: Some(0), ..plan() }, PlanError::NoThreads),
            (Plan { pipeline: 0, ..plan() }, PlanError::Pipeline(0)),
            (Plan { pipeline: MAX_PIPELINE + 1, ..plan() }, PlanError::Pipeline(MAX_PIPELINE + 1)),
            (Plan { sizes: reversed, ..plan() }, PlanError::Sizes(2, 1)),
            (Plan { sizes: 0..=MAX_SIZE + 1, ..plan() }, PlanError::Sizes(0, MAX_SIZE + 1)),
            (Plan { pipeline: 16, sizes: 0..=MAX_SIZE, ..plan() }, PlanError::InFlight(16, MAX_SIZE)),
            (Plan { connect_rate: Some(0.0), ..plan() }, PlanError::ConnectRate),
            (Plan { connect_rate: Some(f64::NAN), ..plan() }, PlanError::ConnectRate),
            (Plan { connect_concurrency: 0, ..plan() }, PlanError::ConnectConcurrency(0)),
            (Plan { connect_concurrency: 257, ..plan() }, PlanError::ConnectConcurrency(257)),
            (Plan { connect_timeout: Duration::ZERO, ..plan() }, PlanError::ConnectTimeout),
            (Plan { length: RunLength::Time(Duration::ZERO), ..plan() }, PlanError::NoTime),
            (Plan { length: RunLength::Messages(0), ..plan() }, PlanError::NoMessages),
            (Plan { length: messages, mode: Mode::Idle, ..plan() }, PlanError::MessagesInIdle),
        ] {
            assert_eq!(plan.check(), Err(error));
        }
        assert_eq!(Plan { sizes: 0..=0, ..plan() }.check(), Ok(()), "empty messages are messages");
        assert_eq!(Plan { pipeline: 15, sizes: 0..=MAX_SIZE, ..plan() }.check(), Ok(()));
        let said = PlanError::Sizes(2048, MAX_SIZE + 1).to_string();
        assert_eq!(said, "messages of 2 KiB to 67108865 B: give sizes up to 64 MiB, the smaller one first");
    }

    #[test]
    fn shares_add_up_and_are_even() {
        for (total, threads) in [(10, 3), (3, 3), (2, 4), (0, 2), (1_000_001, 7)] {
            let shares: Vec<u64> = (0..threads).map(|index| Plan::share(total, threads, index)).collect();
            assert_eq!(shares.iter().sum::<u64>(), total);
            assert!(shares[0] - shares[threads - 1] <= 1);
        }
    }
}
