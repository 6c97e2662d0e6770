//! The result of a run.

mod bars;
mod build;
mod connections;
mod evidence;
mod hints;
mod histograms;
mod json;
mod messages;
mod part;
mod plan;
mod population;
mod text;
mod usage;

pub(crate) use build::{Outcome, build};
pub use connections::{CompressionFigures, ConnectionFigures};
pub use histograms::HistogramFigures;
pub use messages::{LatencyFigures, MessageFigures, MessageShare};
pub use plan::{
    PlanFigures, PlannedBehaviour, PlannedContent, PlannedCores, PlannedLoad, PlannedMessage, PlannedPopulation,
    PlannedSize, PlannedSpan, PlannedStage, TargetFigures,
};
pub use population::{ErrorFigures, PopulationFigures, ReachFigures};
pub use usage::{GeneratorFigures, GeneratorThreadFigures, ServerFigures};

use crate::errors::is_of_connection;
use crate::observe::{MachineFigures, RampFigures};
use crate::opening::{OpeningFigures, TlsFigures};
use crate::timeline::IntervalFigures;
use crate::verdict::{LimitedBy, Verdict};
use hints::hint;
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
    /// The compression of sent messages. `null` if none was offered.
    pub compression: Option<CompressionFigures>,
    /// Messages of the measured part, of all populations.
    pub messages: MessageFigures,
    /// Latencies, of all populations whose messages are answered.
    pub latency_us: LatencyFigures,
    /// The figures of each population.
    pub populations: Vec<PopulationFigures>,
    /// The buckets of all histograms. `null` unless they were requested ([`Plan::buckets`]).
    ///
    /// [`Plan::buckets`]: crate::Plan::buckets
    pub histograms: Option<Vec<HistogramFigures>>,
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

impl Report {
    /// Whether the run failed: more than the allowed share of messages and connections failed. A
    /// server that does not answer a close frame cleanly counts as an error, but not as a failure.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        let failures = self.failures();
        failures > 0 && failures as f64 > self.plan.max_errors * self.attempts().max(1) as f64
    }

    /// The number of failures: messages of the measured part that were not sent or not answered
    /// correctly, messages that the server should not have sent, and errors of connections in all
    /// phases. The turns of connections that the plan has ended are no failures.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let MessageFigures { missing, corrupted, unsent, duplicated, unasked, .. } = self.messages;
        let errors = self.errors.iter().filter(|(kind, _)| is_of_connection(kind));
        let errors: u64 = errors.map(|(_, error)| error.count).sum();
        missing + corrupted + unsent.saturating_sub(self.excused()) + duplicated + unasked + errors
    }

    /// The number of messages of the measured part and of connections that were tried. Of a published
    /// message, each delivery counts. Where the server decides when it sends, what arrived counts.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        let reach = self.populations.iter().filter_map(|population| population.reach.as_ref());
        let copies: u64 = reach.map(|reach| reach.messages * reach.readers.saturating_sub(1)).sum();
        let receivers = self.populations.iter().filter(|one| matches!(one.behaviour, "receive" | "slow"));
        let pushed: u64 = receivers.map(|population| population.messages.arrived).sum();
        let messages = self.messages.offered.saturating_sub(self.excused()) + copies + pushed;
        messages + self.connections.established + self.connections.failed
    }

    /// The number of messages that were due on connections of churn between two lifetimes.
    fn excused(&self) -> u64 {
        let churn = self.populations.iter().filter(|population| population.behaviour == "churn");
        let unsent = churn.map(|population| {
            let MessageFigures { unsent, held_back, overdue, .. } = population.messages;
            // A closed loop has no turns; there, `held_back` is another figure.
            unsent.saturating_sub(held_back + overdue)
        });
        unsent.sum()
    }

    /// The reason why no connection could be opened, as a sentence. `None` if one opened or none
    /// was tried.
    #[must_use]
    pub fn connect_failure(&self) -> Option<String> {
        let (kind, error) = self.errors.iter().max_by_key(|(_, error)| error.count)?;
        let first = error.samples.first().map_or("", String::as_str);
        let targets: Vec<&str> = self.plan.targets.iter().map(|target| target.url.as_str()).collect();
        let hint = hint(kind, &targets);
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
        json::to_string(self).expect("all keys are strings")
    }

    /// Which side was the limit.
    #[must_use]
    pub fn limited_by(&self) -> LimitedBy {
        self.verdict.limited_by
    }
}
