//! The plan of a run: who connects where, what they send and when, and for how long.

mod check;
mod error;
mod population;
mod target;

pub use error::PlanError;
pub use population::{Behaviour, Load, Population};
pub(crate) use target::Rotation;
pub use target::{Target, Transport};

pub use crate::observe::listening::HANDSHAKES;
use crate::processes::Edges;
use ringway::{BusyPoll, ClientTls, Cores, Deflate, DriverChoice, HeaderMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// The maximum size of a message in bytes. Each thread holds a block of random bytes slightly
/// longer than the largest message.
pub const MAX_SIZE: usize = 64 << 20;

/// The maximum number of messages in flight on one connection.
pub const MAX_IN_FLIGHT: u32 = 65_536;

/// The maximum number of handshakes in progress at a time, over all threads.
pub const MAX_HANDSHAKES: u32 = 65_536;

/// The maximum number of bytes in flight on one connection, frame headers included. It bounds the
/// output queued for the server.
pub(crate) const MAX_BYTES_IN_FLIGHT: usize = 1 << 30;

/// The maximum number of servers of a plan.
const MAX_TARGETS: usize = 1024;

/// The longest payload of a datagram on IPv4 (RFC 768, RFC 791).
pub(crate) const MAX_DATAGRAM: usize = 65_507;

/// The maximum weight of a server.
const MAX_WEIGHT: u32 = 1_000_000;

/// The maximum number of populations of a plan.
const MAX_POPULATIONS: usize = 64;

/// The maximum number of connections of a plan: that of one shard.
pub(crate) const MAX_CONNECTIONS: u32 = (1 << 30) - 64;

/// The maximum number of threads.
const MAX_THREADS: usize = 1024;

/// The maximum number of local addresses.
const MAX_SOURCES: usize = 65_536;

/// The maximum length of a time: a year, as in the engine.
const MAX_TIME: Duration = Duration::from_secs(365 * 86_400);

/// The maximum sum of the largest messages of all populations. Each thread holds a block of random
/// bytes slightly longer than the largest message of each population.
const MAX_TOTAL_SIZE: usize = 1 << 30;

/// The maximum number of bytes that the messages in flight of all closed loops can take, with their
/// headers and the record of each. What an open loop has in flight depends on the server; the
/// memory budget of the engine limits it.
const MAX_TOTAL_IN_FLIGHT: usize = 64 << 30;

/// The longest header of a client's frame (RFC 6455 section 5.2).
pub(crate) const FRAME_HEADER: usize = 14;

/// The parameters of a run. Start from [`Plan::new`] and change fields:
///
/// ```
/// use ringway_loadtest::{Load, Plan, RunLength};
///
/// let mut plan = Plan::new("ws://127.0.0.1:9001/");
/// plan.length = RunLength::Messages(1_000_000);
/// let echo = &mut plan.populations[0];
/// echo.connections = 100;
/// echo.load = Load::Closed { in_flight: 16 };
/// assert!(plan.check().is_ok());
/// ```
#[derive(Clone, Debug)]
pub struct Plan {
    /// The servers. A connection goes to one of them, round robin by weight. Default: the one of
    /// [`Plan::new`].
    pub targets: Vec<Target>,
    /// Those who connect. Default: 50 connections that send messages of 64 bytes and verify the
    /// echoes, one in flight.
    pub populations: Vec<Population>,
    /// The length of the measured part. Default 10 s.
    pub length: RunLength,
    /// The time to send messages before measuring. Default 1 s; none if a number of messages ends
    /// the run.
    pub warmup: Option<Duration>,
    /// Opening connections.
    pub connect: ConnectPlan,
    /// What each connection offers.
    pub offer: Offer,
    /// The part of each reply that is verified. Default: [`Verify::Sample`].
    pub verify: Verify,
    /// The time after which a message without a reply no longer waits for it. Default 10 s.
    pub timeout: Duration,
    /// The seed of the contents and sizes of messages, of arrivals and of lifetimes. The same seed
    /// gives the same plan; mask keys are always random (RFC 6455 section 5.3). Default: a random
    /// number, which the report has.
    pub seed: Option<u64>,
    /// The number of threads, each with its own ring. Default: one for each core of `cores`; with
    /// [`Cores::All`] and a CPU quota below the size of the affinity mask, the quota in whole CPUs.
    /// There are never more threads than connections.
    pub threads: Option<usize>,
    /// The cores that the threads are pinned to. Default: the affinity mask from its end, without
    /// the cores to which a server on this machine has pinned its threads. If none is left, both
    /// share the cores, and a warning says how to separate them. With a CPU quota below the size of
    /// the mask, no thread is pinned.
    pub cores: Cores,
    /// How long each thread polls before it sleeps. Time spent polling does not count as busy.
    /// Default: adaptive.
    pub busy_poll: BusyPoll,
    /// The driver of each thread. Default: io_uring, and epoll where that is refused.
    pub driver: DriverChoice,
    /// The server's process, for its CPU time. Default: the process that listens on the target's
    /// port, if it is on this machine and its descriptors are readable.
    pub server_pid: Option<u32>,
    /// Receives the beginning and end of the measured part in advance, if it ends by time. The
    /// receiver samples the server's process itself
    /// ([`processes::watch`](crate::processes::watch)), so the run does not.
    pub edges: Option<Sender<Edges>>,
    /// The share of failed messages and connections up to which the run counts as a success, from 0
    /// to 1. Default 0.
    pub max_errors: f64,
    /// Whether the report has the buckets of its histograms. Default: no.
    pub buckets: bool,
    /// Ends the run early.
    pub stop: Stop,
}

/// Opening connections.
#[derive(Clone, Debug)]
pub struct ConnectPlan {
    /// The connections to open per second over all threads. Default: as fast as the server accepts
    /// them.
    pub rate: Option<f64>,
    /// The maximum number of handshakes in progress, over all threads, 1 to [`MAX_HANDSHAKES`].
    /// Default: the limit of the accept queue of the server (its `listen` backlog), or
    /// [`HANDSHAKES`] if that is unknown. If the kernel refuses sock_diag(7) for a server on this
    /// machine, it is at most `net.core.somaxconn` as well. With 1, no connection waits for the
    /// handshake of another, and with [`ClientTls::resumption`] each one can resume the session of
    /// the one before.
    pub concurrency: Option<u32>,
    /// The time within which a connection must open. Default 10 s.
    pub timeout: Duration,
    /// The local addresses that connections are bound to, round robin. Default: the system's
    /// choice.
    pub sources: Vec<IpAddr>,
}

/// What each connection offers in its handshakes.
#[derive(Clone, Debug, Default)]
pub struct Offer {
    /// The TLS options of `wss://` URLs. Default: the certificate of the server is verified with
    /// the root certificates of the system.
    pub tls: Option<ClientTls>,
    /// Additional headers of the opening handshake.
    pub headers: HeaderMap,
    /// The Origin header, as browsers send it.
    pub origin: Option<String>,
    /// The subprotocols.
    pub subprotocols: Vec<String>,
    /// The compression. If the server declines it, messages are sent uncompressed.
    pub deflate: Option<Deflate>,
}

impl Plan {
    /// A plan for the server of `url` with the defaults.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            targets: vec![Target::new(url)],
            populations: vec![Population::default()],
            length: RunLength::Time(Duration::from_secs(10)),
            warmup: None,
            connect: ConnectPlan::default(),
            offer: Offer::default(),
            verify: Verify::Sample,
            timeout: Duration::from_secs(10),
            seed: None,
            threads: None,
            cores: Cores::All,
            busy_poll: BusyPoll::default(),
            driver: DriverChoice::default(),
            server_pid: None,
            edges: None,
            max_errors: 0.0,
            buckets: false,
            stop: Stop::default(),
        }
    }

    /// The number of connections of all populations.
    #[must_use]
    pub fn connections(&self) -> u32 {
        self.populations.iter().fold(0, |sum, population| sum.saturating_add(population.connections))
    }

    /// What connections speak; the same for all targets.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.targets.first().map_or(Transport::default(), Target::transport)
    }

    /// The time to send messages before measuring.
    #[must_use]
    pub fn warmup(&self) -> Duration {
        self.warmup.unwrap_or(match self.length {
            RunLength::Time(_) => Duration::from_secs(1),
            RunLength::Messages(_) => Duration::ZERO,
        })
    }

    /// Checks the plan; [`run`](crate::run) does this first.
    ///
    /// # Errors
    /// [`PlanError`] for the first invalid field.
    pub fn check(&self) -> Result<(), PlanError> {
        check::check(self)
    }

    /// The share of thread `index` in `total` items; no two shares differ by more than one.
    pub(crate) fn share(total: u64, threads: usize, index: usize) -> u64 {
        let threads = threads as u64;
        total / threads + u64::from((index as u64) < total % threads)
    }
}

impl Default for ConnectPlan {
    fn default() -> Self {
        Self { rate: None, concurrency: None, timeout: Duration::from_secs(10), sources: Vec::new() }
    }
}

/// The length of the measured part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunLength {
    /// A time.
    Time(Duration),
    /// Until this many messages have been sent, over all populations that send, and answered where
    /// they are answered.
    Messages(u64),
}

/// The part of each reply that is verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verify {
    /// None: replies are matched by order and counted.
    Off,
    /// The kind, the length and the sequence number of each, and the content of every 64th on each
    /// connection, the first one included.
    #[default]
    Sample,
    /// The kind, the length and the content of each.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_are_even() {
        for (total, threads) in [(10, 3), (3, 3), (2, 4), (0, 2), (1_000_001, 7)] {
            let shares: Vec<u64> = (0..threads).map(|index| Plan::share(total, threads, index)).collect();
            assert_eq!(shares.iter().sum::<u64>(), total);
            assert!(shares[0] - shares[threads - 1] <= 1);
        }
    }

    #[test]
    fn a_number_of_messages_has_no_warm_up_unless_one_is_asked_for() {
        let mut plan = Plan::new("ws://127.0.0.1:9/");
        assert_eq!(plan.warmup(), Duration::from_secs(1));
        plan.length = RunLength::Messages(10);
        assert_eq!(plan.warmup(), Duration::ZERO);
        plan.warmup = Some(Duration::from_secs(3));
        assert_eq!(plan.warmup(), Duration::from_secs(3));
    }
}
