//! The result of a run.

mod bars;
mod build;
mod text;

pub(crate) use build::{Outcome, build};

use crate::errors::CLOSE_UNANSWERED;
use crate::histogram::Quantiles;
use crate::observe::{MachineFigures, RampFigures};
use crate::opening::{OpeningFigures, StageFailures, TlsFigures};
use crate::timeline::IntervalFigures;
use crate::verdict::{LimitedBy, Verdict};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::time::Duration;

/// The version of the JSON schema. Adding keys does not change it; removing a key or changing its
/// meaning does. `docs/load.schema.json` describes all keys.
pub const SCHEMA_VERSION: u32 = 2;

/// The result of a run. Serializes to the stable keys; the skipped fields are for the text and for
/// callers in Rust.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    pub schema_version: u32,
    /// The version of the generator.
    pub version: &'static str,
    /// When the run started: seconds since 1970-01-01T00:00:00Z.
    pub started_at: f64,
    /// The machine of the generator.
    pub machine: MachineFigures,
    /// The plan, with the seed.
    pub plan: PlanFigures,
    /// Connecting. It does not contribute to the other figures.
    pub connections: ConnectionFigures,
    /// The durations of the stages of connecting.
    pub opening_us: OpeningFigures,
    /// What the kernel of a server on this machine has counted during connecting.
    pub ramp: RampFigures,
    /// The TLS handshakes. `null` unless a URL is `wss://`.
    pub tls: Option<TlsFigures>,
    /// Messages of the measured part, of all populations.
    pub messages: MessageFigures,
    /// Latencies, of all populations whose messages are answered.
    pub latency_us: LatencyFigures,
    /// The figures of each population.
    pub populations: Vec<PopulationFigures>,
    /// The errors of all phases of the run, by kind.
    pub errors: BTreeMap<String, ErrorFigures>,
    /// The figures of each second of the measured part.
    pub timeline: Vec<IntervalFigures>,
    /// The resource use of the generator in the measured part.
    pub generator: GeneratorFigures,
    /// The resource use of the server in the measured part. `null` if its process is not known.
    pub server: Option<ServerFigures>,
    /// Which side was the limit, and the evidence.
    pub verdict: Verdict,
    /// Whether the run was ended early by [`Stop`](crate::Stop).
    pub interrupted: bool,
    /// The length of the measured part, to which rates and CPU times refer.
    #[serde(rename = "measured_seconds", serialize_with = "seconds")]
    pub measured: Duration,

    #[serde(skip)]
    pub(crate) text: text::Details,
}

fn seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// The plan of a run.
#[derive(Clone, Debug, Serialize)]
pub struct PlanFigures {
    /// The URLs and their weights.
    pub targets: Vec<TargetFigures>,
    /// The number of threads.
    pub threads: usize,
    /// The driver of the threads.
    pub driver: String,
    /// The seed. The same seed gives the same contents, sizes, arrivals and lifetimes.
    pub seed: u64,
    /// The time to measure. `null` if a number of messages ends the run.
    pub duration_seconds: Option<f64>,
    /// The number of messages that ends the run.
    pub messages: Option<u64>,
    /// The time to send before measuring.
    pub warmup_seconds: f64,
    /// The time after which a message no longer waits for its reply.
    pub timeout_seconds: f64,
    /// The part of each reply that is verified: `off`, `sample` or `all`.
    pub verify: &'static str,
    /// The maximum number of handshakes in progress.
    pub handshakes: u32,
    /// The connections to open per second. `null`: as fast as the server accepts them.
    pub connect_rate: Option<f64>,
    /// The share of failures up to which the run succeeds.
    pub max_errors: f64,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetFigures {
    /// Its URL.
    pub url: String,
    /// Its share of the connections relative to the others.
    pub weight: u32,
}

/// Connecting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ConnectionFigures {
    /// The number of the plan.
    pub requested: u64,
    /// The number that opened. Populations that connect again open more than requested.
    pub established: u64,
    /// The number that failed to open. Less than the rest if the run was stopped early, or if the
    /// server accepted none of the first few hundred.
    pub failed: u64,
    /// The number of these that failed in each stage.
    pub failed_in: StageFailures,
    /// The number that ended in the run although the plan did not end them.
    pub dropped: u64,
    /// The rate of opening, from the first call to the last open connection.
    pub per_second: f64,
    /// The number of connections with negotiated compression. `null` if none was offered.
    pub compressing: Option<u64>,
}

/// Messages of the measured part: those that were due in it. Replies count wherever they arrive, up
/// to the end of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MessageFigures {
    /// The number that was due. A closed loop has no schedule: the number sent.
    pub offered: u64,
    /// The number that was submitted.
    pub sent: u64,
    /// The number that was due on connections that were not open.
    pub unsent: u64,
    /// The number that was answered correctly.
    pub received: u64,
    /// The number that was answered wrongly.
    pub corrupted: u64,
    /// The number that was not answered.
    pub missing: u64,
    /// The number of these whose connection ended.
    pub lost: u64,
    /// The number of second replies.
    pub duplicated: u64,
    /// The number of replies that a reply to a later message has overtaken.
    pub reordered: u64,
    /// The number of replies after the timeout.
    pub late: u64,
    /// The number of messages that reply to nothing.
    pub unasked: u64,
    /// The number of replies in several frames.
    pub fragmented: u64,
    /// The number of messages whose sequence number a connection did not receive, although it
    /// received a higher one. Known for `numbered` messages only.
    pub skipped: u64,
    /// The number of messages that had a sequence number of `ringway serve --app push`.
    pub numbered: u64,
    /// The number of the server's pings.
    pub pings: u64,
    /// The rate of replies, or of sent messages where none is answered, within the measured part.
    pub per_second: f64,
    /// The rate of sent messages.
    pub sent_per_second: f64,
    /// Bytes of payload sent per second.
    pub bytes_sent_per_second: f64,
    /// Bytes of payload received per second.
    pub bytes_received_per_second: f64,
    /// `per_second` divided by the rate of the schedule. `null` in a closed loop.
    pub achieved: Option<f64>,
}

/// Latencies in microseconds. A message that was not answered enters at the time that it had waited:
/// quantiles from there on are lower bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencyFigures {
    /// From the time at which a message was due to its reply. In a closed loop it is due when it is
    /// sent.
    pub response: Option<Quantiles>,
    /// From the time at which it was submitted to its reply.
    pub service: Option<Quantiles>,
    /// From the time at which it was due to its submission. `null` in a closed loop.
    pub send_lag: Option<Quantiles>,
}

/// The figures of one population.
#[derive(Clone, Debug, Serialize)]
pub struct PopulationFigures {
    /// Its name.
    pub name: String,
    /// Its behaviour.
    pub behaviour: &'static str,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub load: &'static str,
    /// The messages in flight on each connection. `null` in an open loop.
    pub in_flight: Option<u32>,
    /// Connecting.
    pub connections: ConnectionFigures,
    /// The durations of the stages of connecting.
    pub opening_us: OpeningFigures,
    /// Connections that opened in the measured part, per second. 0 unless the behaviour opens
    /// connections while messages are sent.
    pub opened_per_second: f64,
    /// Messages of the measured part.
    pub messages: MessageFigures,
    /// Latencies. If the behaviour is `connect`, a message is due when its connection is, so
    /// `response` contains the opening, and `service` is the time of the first message alone.
    pub latency_us: LatencyFigures,
    /// Times between two messages that a connection has received without having asked for them.
    pub gaps_us: Option<Quantiles>,
    /// The deliveries of published messages. `null` unless the behaviour is `broadcast`.
    pub reach: Option<ReachFigures>,
    /// The errors of all phases, by kind.
    pub errors: BTreeMap<String, ErrorFigures>,
}

/// The deliveries of published messages. Times count from when a message was due. A delivery that
/// did not take place within the timeout is in `missing` of the messages, and enters at the time
/// waited. Duplicates and messages out of the order of their publisher are in `duplicated` and
/// `reordered`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReachFigures {
    /// The number of published messages.
    pub messages: u64,
    /// The number of readers of a message: all connections that were open when messages began, except
    /// its publisher.
    pub readers: u64,
    /// The share of the readers that a message has reached within the timeout, on average.
    pub reached: f64,
    /// The number of messages that the server has sent back to their publisher. Servers differ in
    /// this; it contributes to no other figure.
    pub own_copies: u64,
    /// The number of deliveries that were counted, and are in `each_us`, but for which there was no
    /// memory to join them: the median of their messages is not recorded.
    pub unrecorded: u64,
    /// To each delivery.
    pub each_us: Option<Quantiles>,
    /// To the first delivery.
    pub first_us: Option<Quantiles>,
    /// To the delivery to half of the readers.
    pub median_us: Option<Quantiles>,
    /// To the last delivery.
    pub last_us: Option<Quantiles>,
}

/// The errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorFigures {
    /// Their number.
    pub count: u64,
    /// The texts of the first ones.
    pub samples: Vec<String>,
}

/// The resource use of the generator.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GeneratorFigures {
    /// The figures of each thread.
    pub threads: Vec<ThreadFigures>,
    /// CPU time of all threads.
    pub cpu_seconds: f64,
    /// How late the threads woke up for messages that were due, at the 99th percentile: the
    /// uncertainty of latencies. `null` in a closed loop.
    pub uncertainty_us: Option<f64>,
}

/// The resource use of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ThreadFigures {
    /// The core; `null` if it was not pinned.
    pub core: Option<usize>,
    /// The share of the measured part for which it worked, from 0 to 1, without polling.
    pub busy: f64,
    /// The share for which it polled.
    pub polling: f64,
    /// The share for which it was runnable and waited for a core. `null` if the kernel does not say.
    pub run_delay: Option<f64>,
}

/// The resource use of the server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ServerFigures {
    /// Its process id; the lowest one if there are several.
    pub pid: u32,
    /// The name of the process.
    pub name: String,
    /// CPU time of all its threads.
    pub cpu_seconds: f64,
    /// CPU time per message, in microseconds. `null` if no message was answered.
    pub cpu_us_per_message: Option<f64>,
    /// Its memory at the end of the measured part.
    pub rss_bytes: u64,
    /// The share of the measured part for which its busiest thread ran, from 0 to 1.
    pub busiest_thread: f64,
    /// Its CPU time divided by the length of the measured part.
    pub cores_used: f64,
}

impl Report {
    /// Whether the run failed: more than the allowed share of messages and connections failed. A
    /// server that does not answer a close frame cleanly counts as an error, but not as a failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        let failures = self.failures();
        failures > 0 && failures as f64 > self.plan.max_errors * self.attempts().max(1) as f64
    }

    /// The number of failures: messages without a correct reply, and errors that belong to no
    /// message.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let errors = self.errors.iter().filter(|(kind, _)| *kind != CLOSE_UNANSWERED);
        let counted: u64 = errors.map(|(_, error)| error.count).sum();
        counted.max(self.messages.missing + self.messages.corrupted)
    }

    /// The number of messages and connections that were tried.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.messages.offered + self.connections.established + self.connections.failed
    }

    /// The reason why no connection could be opened, as a sentence. `None` if one opened or none
    /// was tried.
    #[must_use]
    pub fn connect_failure(&self) -> Option<String> {
        let (kind, error) = self.errors.iter().max_by_key(|(_, error)| error.count)?;
        let first = error.samples.first().map_or("", String::as_str);
        let targets: Vec<&str> = self.plan.targets.iter().map(|target| target.url.as_str()).collect();
        // The usual answer of an HTTP server to a request without TLS on a port with it.
        let hint = match kind == "handshake_status_400" && targets.iter().all(|url| url.starts_with("ws://")) {
            true => "; if this port expects TLS, use wss://",
            false => "",
        };
        (self.connections.established == 0).then(|| {
            format!(
                "none of {} connections to {} could be opened ({kind}): {first}{hint}",
                self.connections.requested,
                targets.join(", ")
            )
        })
    }

    /// Whether the result is inconclusive: messages were requested, but none was measured.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.text.has_traffic && self.messages.per_second == 0.0
    }

    /// The CPU time of the server per message. `None` if its process is not known or no message was
    /// answered.
    #[must_use]
    pub fn server_cpu_per_message(&self) -> Option<Duration> {
        let micros = self.server.as_ref()?.cpu_us_per_message?;
        Duration::try_from_secs_f64(micros / 1e6).ok()
    }

    /// The stable keys, as one JSON object over several lines.
    ///
    /// # Panics
    /// Never: all keys are strings.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).expect("all keys are strings")
    }

    /// Which side was the limit.
    #[must_use]
    pub fn limited_by(&self) -> LimitedBy {
        self.verdict.limited_by
    }
}
