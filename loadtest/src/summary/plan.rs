//! The plan of a run in its report: everything that is needed to repeat the run, except secrets.

use crate::lifetime::Span;
use crate::message::{Alphabet, RecordOrder};
use crate::message::{Content, Sizes};
use crate::pace::Arrivals;
use crate::plan::{Behaviour, Load, Plan, Population, RunLength, Target, Verify};
use crate::recording::Speed;
use ringway::placement::Assignment;
use ringway::{BusyPoll, Cores, Deflate, MessageKind};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

/// The length up to which a given text is in the report, in bytes.
const MAX_TEXT: usize = 4096;

/// The plan of a run. Of headers, cookies and credentials, it has the names of the headers only.
#[derive(Clone, Debug, Serialize)]
pub struct PlanFigures {
    /// The URLs and their weights.
    pub targets: Vec<TargetFigures>,
    /// The populations.
    pub populations: Vec<PlannedPopulation>,
    /// The number of threads.
    pub threads: usize,
    /// The cores that were requested.
    pub cores: PlannedCores,
    /// The polling before a sleep: `off`, `adaptive` or `fixed`.
    pub busy_poll: &'static str,
    /// The time of `fixed`, in microseconds.
    pub busy_poll_us: Option<f64>,
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
    /// The time within which a connection must open.
    pub connect_timeout_seconds: f64,
    /// The local addresses of connections. Empty: the system chooses.
    pub sources: Vec<IpAddr>,
    /// The subprotocols that are offered.
    pub subprotocols: Vec<String>,
    /// The compression that is offered: `takeover`, `shared`, or `custom` for other options of a
    /// plan in Rust. `null`: none.
    pub deflate: Option<&'static str>,
    /// The Origin header.
    pub origin: Option<String>,
    /// The names of the other additional headers, without their values.
    pub headers: Vec<String>,
    /// The server's process, if the plan names it.
    pub server_pid: Option<u32>,
    /// The share of failures up to which the run succeeds.
    pub max_errors: f64,
    /// Whether the report has the buckets of its histograms.
    pub buckets: bool,
}

/// A server.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TargetFigures {
    /// Its URL.
    pub url: String,
    /// Its share of the connections relative to the others.
    pub weight: u32,
    /// Its addresses, if the plan has them. Empty: those of the name in the URL.
    pub addresses: Vec<SocketAddr>,
}

/// The cores that a plan requests.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedCores {
    /// Those that the server leaves.
    All,
    /// None: the scheduler chooses.
    Unpinned,
    /// These.
    #[serde(untagged)]
    List(Vec<usize>),
}

/// A population of a plan.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedPopulation {
    /// Its name.
    pub name: String,
    /// The number of its connections.
    pub connections: u32,
    /// What the connections do.
    pub behaviour: PlannedBehaviour,
    /// When messages are sent. `null` if none are.
    pub load: Option<PlannedLoad>,
    /// What is sent. `null` if nothing is.
    pub message: Option<PlannedMessage>,
}

/// What the connections of a population do, with the values of the behaviour.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are those of `Behaviour`, whose documentation they share")]
pub enum PlannedBehaviour {
    Echo,
    Request { think: PlannedSpan },
    Send,
    Replay { speed: Option<f64> },
    Receive,
    Idle { ping_seconds: Option<f64> },
    Connect,
    Broadcast { publishers: u32, topic: Option<String> },
    Churn { lifetime: PlannedSpan, pause: PlannedSpan },
    Slow { bytes_per_second: u64 },
}

/// A distribution of times, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "distribution", rename_all = "lowercase")]
#[non_exhaustive]
#[expect(missing_docs, reason = "the variants are those of `Span`, whose documentation they share")]
pub enum PlannedSpan {
    Fixed { seconds: f64 },
    Uniform { min_seconds: f64, max_seconds: f64 },
    Exponential { mean_seconds: f64 },
    Lognormal { median_seconds: f64, sigma: f64 },
}

/// When the messages of a population are sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "loop", rename_all = "lowercase")]
#[non_exhaustive]
pub enum PlannedLoad {
    /// A reply causes the next message.
    Closed {
        /// The messages in flight on each connection. `null`: as many as the connection accepts,
        /// because messages are not answered.
        in_flight: Option<u32>,
    },
    /// Messages are due by a schedule.
    Open {
        /// `uniform` or `poisson`.
        arrivals: &'static str,
        /// The rate over time, of all connections of the population.
        stages: Vec<PlannedStage>,
    },
}

/// A part of a schedule, in which the rate is constant or changes linearly.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PlannedStage {
    /// Its start, in seconds since the warm-up began.
    pub start_seconds: f64,
    /// Its end. `null`: it holds until the end of the run.
    pub end_seconds: Option<f64>,
    /// The rate at its start, in messages per second.
    pub from_per_second: f64,
    /// The rate at its end.
    pub to_per_second: f64,
}

/// What the connections of a population send.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedMessage {
    /// The kind of the messages: `text` or `binary`.
    pub kind: &'static str,
    /// The length of the longest one, in bytes.
    pub max_bytes: usize,
    /// Where they come from.
    #[serde(flatten)]
    pub content: PlannedContent,
}

/// Where messages come from.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "content", rename_all = "lowercase")]
#[non_exhaustive]
pub enum PlannedContent {
    /// Random symbols.
    Random {
        /// `ascii`, `mixed` (several scripts) or `binary`.
        alphabet: &'static str,
        /// The sizes.
        sizes: Vec<PlannedSize>,
    },
    /// JSON text that compresses as feeds do.
    Json {
        /// The sizes.
        sizes: Vec<PlannedSize>,
    },
    /// Text with fields.
    Template {
        /// The template. `null` if it is longer than 4096 bytes.
        template: Option<String>,
    },
    /// The records of a file.
    Records {
        /// The number of records.
        records: usize,
        /// `round_robin` or `random`.
        order: &'static str,
    },
    /// The messages of a recording, in their order.
    Recording {
        /// Their number.
        messages: usize,
        /// The time from one round to the next, as it was recorded. `null`: the recording has no times.
        period_seconds: Option<f64>,
    },
    /// One message.
    Literal {
        /// The message. `null` if it is binary, or longer than 4096 bytes.
        text: Option<String>,
    },
}

/// A range of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PlannedSize {
    /// The smallest size, in bytes.
    pub min_bytes: usize,
    /// The largest size, in bytes.
    pub max_bytes: usize,
    /// The share of the range relative to the others.
    pub weight: u32,
}

impl PlanFigures {
    /// The plan with what the run has chosen.
    pub(super) fn new(plan: &Plan, seed: u64, handshakes: u32, driver: String, assignment: &Assignment) -> Self {
        let (duration_seconds, messages) = match plan.length {
            RunLength::Time(time) => (Some(time.as_secs_f64()), None),
            RunLength::Messages(messages) => (None, Some(messages)),
        };
        let (busy_poll, busy_poll_us) = match plan.busy_poll {
            BusyPoll::Off => ("off", None),
            BusyPoll::Fixed(time) => ("fixed", Some(time.as_secs_f64() * 1e6)),
            _ => ("adaptive", None),
        };
        let offer = &plan.offer;
        Self {
            targets: plan.targets.iter().map(TargetFigures::new).collect(),
            populations: plan.populations.iter().map(PlannedPopulation::new).collect(),
            threads: assignment.threads(),
            cores: match &plan.cores {
                Cores::List(cores) => PlannedCores::List(cores.clone()),
                Cores::Unpinned => PlannedCores::Unpinned,
                _ => PlannedCores::All,
            },
            busy_poll,
            busy_poll_us,
            driver,
            seed,
            duration_seconds,
            messages,
            warmup_seconds: plan.warmup().as_secs_f64(),
            timeout_seconds: plan.timeout.as_secs_f64(),
            verify: match plan.verify {
                Verify::Off => "off",
                Verify::Sample => "sample",
                Verify::All => "all",
            },
            handshakes,
            connect_rate: plan.connect.rate,
            connect_timeout_seconds: plan.connect.timeout.as_secs_f64(),
            sources: plan.connect.sources.clone(),
            subprotocols: offer.subprotocols.clone(),
            deflate: offer.deflate.map(|deflate| match deflate {
                _ if deflate == Deflate::takeover() => "takeover",
                _ if deflate == Deflate::shared() => "shared",
                _ => "custom",
            }),
            origin: offer.origin.clone(),
            // In the order of the alphabet, because that of a map is random.
            headers: offer.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect(),
            server_pid: plan.server_pid,
            max_errors: plan.max_errors,
            buckets: plan.buckets,
        }
    }
}

impl TargetFigures {
    fn new(target: &Target) -> Self {
        Self { url: target.url.clone(), weight: target.weight, addresses: target.addresses.clone() }
    }
}

impl PlannedPopulation {
    fn new(population: &Population) -> Self {
        let Population { name, connections, behaviour, load, message } = population;
        Self {
            name: name.clone(),
            connections: *connections,
            behaviour: PlannedBehaviour::new(behaviour),
            load: behaviour.sends().then(|| PlannedLoad::new(behaviour, load)),
            message: behaviour.sends().then(|| PlannedMessage::new(message)),
        }
    }
}

impl PlannedBehaviour {
    fn new(behaviour: &Behaviour) -> Self {
        match behaviour {
            Behaviour::Echo => Self::Echo,
            Behaviour::Request { think } => Self::Request { think: PlannedSpan::new(*think) },
            Behaviour::Send => Self::Send,
            Behaviour::Replay { speed: Speed::Times(times) } => Self::Replay { speed: Some(*times) },
            Behaviour::Replay { speed: Speed::Max } => Self::Replay { speed: None },
            Behaviour::Receive => Self::Receive,
            Behaviour::Idle { ping } => Self::Idle { ping_seconds: ping.map(|ping| ping.as_secs_f64()) },
            Behaviour::Connect => Self::Connect,
            Behaviour::Broadcast { publishers, topic } => {
                Self::Broadcast { publishers: *publishers, topic: topic.as_ref().map(|topic| topic.name().into()) }
            }
            Behaviour::Churn { lifetime, pause } => {
                Self::Churn { lifetime: PlannedSpan::new(*lifetime), pause: PlannedSpan::new(*pause) }
            }
            Behaviour::Slow { bytes_per_second } => Self::Slow { bytes_per_second: *bytes_per_second },
        }
    }
}

impl PlannedSpan {
    fn new(span: Span) -> Self {
        match span {
            Span::Fixed(time) => Self::Fixed { seconds: time.as_secs_f64() },
            Span::Uniform(min, max) => Self::Uniform { min_seconds: min.as_secs_f64(), max_seconds: max.as_secs_f64() },
            Span::Exponential(mean) => Self::Exponential { mean_seconds: mean.as_secs_f64() },
            Span::Lognormal { median, sigma } => Self::Lognormal { median_seconds: median.as_secs_f64(), sigma },
        }
    }
}

impl PlannedLoad {
    fn new(behaviour: &Behaviour, load: &Load) -> Self {
        match load {
            Load::Closed { in_flight } => Self::Closed {
                in_flight: match behaviour {
                    Behaviour::Send | Behaviour::Replay { .. } => None,
                    Behaviour::Request { .. } | Behaviour::Connect => Some(1),
                    _ => Some(*in_flight),
                },
            },
            Load::Open { schedule, arrivals } => {
                let seconds = |nanos: u64| nanos as f64 / 1e9;
                let stages = schedule.parts().map(|(start, end, from, to)| PlannedStage {
                    start_seconds: seconds(start),
                    end_seconds: end.map(seconds),
                    from_per_second: from,
                    to_per_second: to,
                });
                let arrivals = match arrivals {
                    Arrivals::Uniform => "uniform",
                    Arrivals::Poisson => "poisson",
                };
                Self::Open { arrivals, stages: stages.collect() }
            }
        }
    }
}

impl PlannedMessage {
    fn new(content: &Content) -> Self {
        let kind = match content.kind() {
            _ if matches!(content, Content::Recording(script) if script.kind().is_none()) => "mixed",
            MessageKind::Text => "text",
            MessageKind::Binary => "binary",
        };
        Self { kind, max_bytes: content.max_len(), content: PlannedContent::new(content) }
    }
}

impl PlannedContent {
    fn new(content: &Content) -> Self {
        let short = |text: &str| (text.len() <= MAX_TEXT).then(|| text.to_owned());
        match content {
            Content::Random { sizes, alphabet } => Self::Random {
                alphabet: match alphabet {
                    Alphabet::Ascii => "ascii",
                    Alphabet::Mixed => "mixed",
                    Alphabet::Binary => "binary",
                },
                sizes: sizes_of(sizes),
            },
            Content::Json(sizes) => Self::Json { sizes: sizes_of(sizes) },
            Content::Template(template) => Self::Template { template: short(template.source()) },
            Content::Records { records, order } => Self::Records {
                records: records.len(),
                order: match order {
                    RecordOrder::RoundRobin => "round_robin",
                    RecordOrder::Random => "random",
                },
            },
            Content::Recording(script) => Self::Recording {
                messages: script.len(),
                period_seconds: script.period().map(|period| period.as_secs_f64()),
            },
            Content::Literal(literal) => Self::Literal {
                text: (literal.kind() == MessageKind::Text)
                    .then(|| std::str::from_utf8(literal.payload()).ok().and_then(short))
                    .flatten(),
            },
        }
    }
}

fn sizes_of(sizes: &Sizes) -> Vec<PlannedSize> {
    let entries = sizes.entries().map(|(range, weight)| {
        let (min_bytes, max_bytes) = range.into_inner();
        PlannedSize { min_bytes, max_bytes, weight }
    });
    entries.collect()
}

#[cfg(test)]
mod tests;
