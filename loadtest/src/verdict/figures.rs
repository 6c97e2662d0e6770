//! The figures from which the verdict is derived.

use crate::observe::cores::CoreShares;
use crate::observe::sampler::WindowUse;
use crate::observe::server::{ServerThread, ServerUse};
use crate::observe::usage::Usage;
use serde::Serialize;
use std::time::Duration;

/// The numeric evidence: all figures of the measured part that the verdict is derived from. Shares
/// are from 0 to 1. A figure that could not be read is `null`, and `missing` has the reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Figures {
    /// The load.
    pub load: LoadFigures,
    /// Open connections.
    pub established: u64,
    /// Replies, and messages that the server's kernel took where none is expected. Messages that the
    /// server sends on its own, if the plan sends none.
    pub messages: u64,
    /// Their rate.
    pub messages_per_second: f64,
    /// The rate of payload bytes in one direction.
    pub bytes_per_second: f64,
    /// The mean response time, in microseconds; in a mix with open loops, that of these.
    pub response_mean_us: Option<f64>,
    /// The 99th percentile of the same response times, in microseconds.
    pub response_p99_us: Option<f64>,
    /// The threads of the generator.
    pub generator: Vec<ThreadFigures>,
    /// The generator's cores.
    pub generator_cores: Option<CoreShares>,
    /// The share for which the generator's cgroup was stopped because its CPU quota was used up.
    pub generator_throttled: Option<f64>,
    /// The server's process.
    pub server: Option<ServerUse>,
    /// The busiest threads of the server, in order, at most 32.
    pub server_threads: Vec<ServerThread>,
    /// The server's cores.
    pub server_cores: Option<CoreShares>,
    /// Whether the server's threads may run on cores of the generator.
    pub shares_cores: Option<bool>,
    /// The share for which the server's cgroup was stopped because its CPU quota was used up.
    pub server_throttled: Option<f64>,
    /// The network.
    pub path: PathFigures,
    /// Why figures are `null`: a sentence for each source.
    pub missing: Vec<String>,
    /// The length of the window, if it is too short for shares of CPU time.
    #[serde(skip)]
    pub(crate) too_short: Option<Duration>,
}

/// The shortest window whose CPU times show a limit: the kernel counts those of processes and cores
/// in steps of up to 10 ms.
const MIN_WINDOW: Duration = Duration::from_millis(100);

/// The load of the measured part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "loop", rename_all = "lowercase")]
#[non_exhaustive]
pub enum LoadFigures {
    /// The generator sends nothing.
    #[default]
    None,
    /// An answer causes the next message.
    Closed {
        /// Messages in flight over all connections.
        in_flight: u64,
    },
    /// Messages without answers, as fast as the server reads.
    Stream {
        /// How often a connection accepted no more output because the server did not read.
        held_back: u64,
    },
    /// Messages are due by a schedule.
    Open(OpenFigures),
}

/// The figures of the open loops. Closed loops of the same mix are not in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct OpenFigures {
    /// Messages that were due.
    pub offered: u64,
    /// The share of `offered` that was answered; of messages without replies, the share that was sent,
    /// and of a broadcast, that of the deliveries.
    pub answered_share: f64,
    /// The rate of replies in the measured part.
    pub replies_per_second: f64,
    /// The increase of the number of messages that are due and not answered.
    pub backlog_growth: i64,
    /// The part of it that was not sent.
    pub unsent_growth: i64,
    /// Messages that were due on connections that had ended.
    pub lost_turns: u64,
    /// Messages that were sent late because their connection accepted no more output.
    pub held_back: u64,
    /// The 99th percentile of the send lag, in microseconds.
    pub send_lag_p99_us: Option<f64>,
    /// What completes a message.
    #[serde(skip)]
    pub(crate) completion: Completion,
}

/// What completes a message of an open loop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Completion {
    /// Its reply.
    #[default]
    Answered,
    /// Its submission: it has no reply.
    Sent,
    /// Its deliveries to the readers.
    Delivered,
    /// Several of these, in a mix.
    Mixed,
}

/// A thread of the generator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ThreadFigures {
    /// The core that it is pinned to.
    pub core: Option<usize>,
    /// The share of work. Polling is not work.
    pub busy: f64,
    /// The share of polling before a sleep.
    pub polling: f64,
    /// The share of waiting for a core. `null` if the kernel does not have the figure.
    pub waiting: Option<f64>,
}

impl ThreadFigures {
    /// The figures of a thread that read its own clocks.
    pub(crate) fn new(usage: &Usage, core: Option<usize>) -> Self {
        Self { core, busy: usage.busy(), polling: usage.polling(), waiting: usage.waiting() }
    }
}

/// The network between generator and server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PathFigures {
    /// Whether the server is on this machine.
    pub is_local: bool,
    /// The shortest time in which a connection was established, in microseconds: one round trip of
    /// the network without the server's process.
    pub round_trip_us: Option<f64>,
    /// The speed of the network interface, in bits per second.
    pub link_bits_per_second: Option<f64>,
}

impl Figures {
    /// The rate of the due messages of an open loop; 0 if nothing was answered.
    pub(crate) fn offered_per_second(&self, open: &OpenFigures) -> f64 {
        // The length of the measured part is not a figure of its own.
        if self.messages > 0 { open.offered as f64 * self.messages_per_second / self.messages as f64 } else { 0.0 }
    }

    /// Takes the figures of the sampled window. The threads of the generator are not among them,
    /// because they read their own clocks, and the time for which they polled.
    pub(crate) fn observe(&mut self, window: WindowUse) {
        self.too_short = Some(window.wall).filter(|wall| *wall < MIN_WINDOW);
        self.generator_cores = window.generator_cores;
        self.generator_throttled = window.throttled;
        self.server = window.server.ok();
        self.server_threads = window.server_threads;
        self.server_cores = window.server_cores;
        self.shares_cores = window.shares_cores;
        self.server_throttled = window.server_throttled;
        self.missing.extend(window.missing);
        if self.generator.iter().any(|thread| thread.waiting.is_none()) {
            self.missing.push(
                "the time for which the generator's threads waited for a core: the kernel does not count it in \
                 /proc/thread-self/schedstat"
                    .to_owned(),
            );
        }
    }
}
