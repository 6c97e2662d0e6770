//! What a run is to do.

use crate::processes::Edges;
use crate::units::size;
use ringway::{BusyPoll, Cores, Deflate, HeaderMap};
use serde::Serialize;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// The largest message that can be asked for, in bytes. Every thread holds a block of random bytes that is this long
/// and a little longer.
pub const MAX_SIZE: usize = 64 << 20;

/// The most messages that one connection can have in flight.
pub const MAX_PIPELINE: u32 = 65_536;

/// The most bytes that one connection can have in flight, frame headers included: those that wait for the server at once.
pub(crate) const MAX_IN_FLIGHT: usize = 1 << 30;

/// The longest header of a client's frame (RFC 6455 section 5.2).
const FRAME_HEADER: usize = 14;

/// Everything that makes up a run. Start from [`Plan::new`] and set what should be different:
///
/// ```
/// use ringway_loadtest::{RunLength, Plan};
///
/// let plan = Plan { connections: 100, length: RunLength::Messages(1_000_000), ..Plan::new("ws://127.0.0.1:9001/") };
/// assert!(plan.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    /// The server: a `ws://` URL.
    pub url: String,
    /// How many connections are held open, over all threads. Default 50.
    pub connections: u32,
    /// How many threads drive them, each with a ring of its own. Default: one for each core of `cores`; with
    /// [`Cores::All`] and a CPU quota below the cores that this process may run on, as many as it is worth. There are never
    /// more threads than connections.
    pub threads: Option<usize>,
    /// The cores that the threads are pinned to. Default: all that this process may run on, from the last one on, without
    /// those that threads of a server on this machine are pinned to. Where none is left both share them, and a warning
    /// says how to separate them. With a CPU quota below the cores nothing is pinned.
    pub cores: Cores,
    /// How long the measured part of the run is. Default 10 s.
    pub length: RunLength,
    /// How long messages flow before they are measured. Default 1 s.
    pub warmup: Duration,
    /// How many messages each connection has in flight. Default 1.
    pub pipeline: u32,
    /// The sizes of the messages in bytes, each as likely as any other. Default 64.
    pub sizes: RangeInclusive<usize>,
    /// Whether messages are binary; else they are text, of random printable ASCII. Default: text.
    pub binary: bool,
    /// What the connections do. Default: [`Mode::Echo`].
    pub mode: Mode,
    /// How much of each echo is looked at. Default: [`Verify::Sample`].
    pub verify: Verify,
    /// What contents and sizes of the messages derive from. The same number gives the same messages; mask keys are
    /// always fresh (RFC 6455 section 5.3). Default: a random number.
    pub seed: Option<u64>,
    /// How many connections are opened a second, over all threads. Default: as fast as the server takes them, with at
    /// most 256 handshakes of one thread under way.
    pub connect_rate: Option<f64>,
    /// Further headers of the opening handshake.
    pub headers: HeaderMap,
    /// The Origin header, as browsers send it.
    pub origin: Option<String>,
    /// The subprotocols that are offered.
    pub subprotocols: Vec<String>,
    /// The compression that is offered. A server that declines it is loaded without. Default: none.
    pub deflate: Option<Deflate>,
    /// The server's process, for its CPU time. Default: the one that listens on the target's port, if it is on this
    /// machine and we may look into it.
    pub server_pid: Option<u32>,
    /// Is told when the measured part will begin and end, before it does, if time ends it. Whoever is told samples the
    /// server's process by itself ([`processes::watch`](crate::processes::watch)), so the run does not.
    pub edges: Option<Sender<Edges>>,
    /// How long answers are waited for after the last message was sent. It also ends a run by number of messages in
    /// which no answer comes any more. Default 5 s.
    pub drain_timeout: Duration,
    /// How long a connection may take to open. Default 10 s.
    pub connect_timeout: Duration,
    /// Ends the run early.
    pub stop: Stop,
    /// How long each thread watches for events before it sleeps. A thread that polls counts as busy. Default: adaptive.
    pub busy_poll: BusyPoll,
}

impl Plan {
    /// A run against `url` with the defaults.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
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
        }
    }

    /// Says whether the plan makes sense; [`run`](crate::run) asks this first.
    ///
    /// # Errors
    /// [`PlanError`] for the first thing that does not.
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

    /// How many of `total` things fall to one of `threads` threads; no two differ by more than one.
    pub(crate) fn share(total: u64, threads: usize, index: usize) -> u64 {
        let threads = threads as u64;
        total / threads + u64::from((index as u64) < total % threads)
    }
}

/// How long the measured part of a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunLength {
    /// This long.
    Time(Duration),
    /// Until this many messages have been answered ([`Mode::Echo`]) or sent ([`Mode::Send`]).
    Messages(u64),
}

/// What the connections do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Send messages, and check that they come back.
    #[default]
    Echo,
    /// Send messages as fast as the server reads them; what comes back is dropped.
    Send,
    /// Be there, and say nothing.
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

/// How much of each echo is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: echoes are counted.
    Off,
    /// Kind and length of each, and the content of every 64th on each connection, the first one included.
    #[default]
    Sample,
    /// Kind, length and content of each.
    All,
}

/// Ends a run early, from any thread. Clones are one and the same.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Has the run end: what was measured by then is reported.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run was told to end.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl From<Arc<AtomicBool>> for Stop {
    /// Watches a flag, such as one that a signal sets.
    fn from(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }
}

/// What is wrong with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No connections.
    #[error("a load needs at least 1 connection")]
    NoConnections,
    /// No threads.
    #[error("a load needs at least 1 thread")]
    NoThreads,
    /// A number in flight that cannot be.
    #[error("{0} messages in flight on each connection: give 1 to {MAX_PIPELINE}")]
    Pipeline(u32),
    /// Sizes that cannot be.
    #[error("messages of {} to {}: give sizes up to {}, the smaller one first", size(*.0), size(*.1), size(MAX_SIZE))]
    Sizes(usize, usize),
    /// More bytes in flight than one connection can have.
    #[error(
        "{} messages of up to {} in flight on each connection: give fewer or smaller ones, together below {}",
        .0, size(*.1), size(MAX_IN_FLIGHT)
    )]
    InFlight(u32, usize),
    /// A rate that is none.
    #[error("the rate of connecting must be above 0")]
    ConnectRate,
    /// No time to connect in.
    #[error("the time that a connection may take to open must be above 0")]
    ConnectTimeout,
    /// No time to measure in.
    #[error("the duration must be above 0")]
    NoTime,
    /// No messages to measure.
    #[error("the number of messages must be above 0")]
    NoMessages,
    /// A run that sends no messages cannot end after some.
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
    fn what_makes_no_sense_is_refused() {
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
