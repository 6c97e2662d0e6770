//! A load generator for persistent WebSocket connections, on the client role of [`ringway`].
//!
//! [`run`] executes a [`Plan`] and returns a [`Report`]: the number of messages, the latency of
//! their replies, the errors, and what was the limit.
//!
//! ```no_run
//! use ringway_loadtest::{RunLength, Plan};
//! use std::time::Duration;
//!
//! let plan = Plan { length: RunLength::Time(Duration::from_secs(3)), ..Plan::new("ws://127.0.0.1:9001/") };
//! let report = ringway_loadtest::run(&plan, &mut |_| {})?;
//! println!("{:.0} messages/s", report.messages.per_second);
//! # Ok::<(), ringway_loadtest::LoadError>(())
//! ```
//!
//! # What is measured
//!
//! A plan has populations ([`Population`]): connections that behave alike ([`Behaviour`]), with a
//! load ([`Load`]) and messages ([`Content`]). Each population has figures of its own, in a run of
//! several at the same time.
//!
//! A run goes through [`RunPhase`]s: it connects, pauses, warms up, measures, waits for
//! outstanding replies, and closes. A message belongs to the phase in which it was due, and its
//! reply to the same. The figures of connecting are separate from those of messages; its stages
//! (TCP, TLS, upgrade) have a histogram each. Their times include the work of the thread for the
//! other handshakes in progress ([`ConnectPlan::concurrency`]).
//!
//! - [`Load::Closed`]: each connection has a number of messages in flight, and sends the next one
//!   when a reply arrives. A slow server receives fewer messages, and latencies hold for the rate
//!   at which it answers.
//! - [`Load::Open`]: messages are due at the times of a [`Schedule`], and are sent then, whether
//!   replies are outstanding or not. The response time begins when a message was due, the service
//!   time when it was submitted, and the send lag is the difference.
//!
//! Replies are matched with their messages by a mark in the payload where its size allows,
//! otherwise in order. A wrong, second, late or unasked-for reply is an error and does not count as
//! the answer to another message. A message without a reply counts as missing, and enters the
//! histograms with the time that it has waited: a lower bound ([`Quantiles::is_lower_bound`]).
//! Pings, pongs and close frames are not replies.
//!
//! The [`Verdict`] states what limited the run, with the figures that show it.
//! `docs/benchmarking.md` in the repository defines all figures.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod agenda;
mod broadcast;
mod conductor;
mod errors;
mod fleet;
pub mod floor;
mod histogram;
mod ledger;
mod lifetime;
mod matching;
pub mod message;
mod observe;
mod opening;
mod pace;
pub mod parse;
mod place;
mod plan;
mod random;
pub mod recording;
mod run;
mod scenario;
mod sequence;
mod steps;
mod summary;
mod tally;
mod timeline;
mod units;
mod verdict;
mod worker;

pub use broadcast::Topic;
pub use conductor::Progress;
pub use fleet::files_needed;
pub use histogram::{Bucket, Quantiles};
pub use lifetime::{Span, SpanError};
pub use message::{Alphabet, Content, ContentError, Sizes, SizesError};
pub use observe::{
    Backlog, CoreShares, MachineFigures, RampFigures, ServerIdentity, SynRetry, TcpCounters, Unknown, describe_machine,
    processes, server,
};
pub use opening::{OpeningFigures, StageFailures, TlsFigures, TlsSessionFigures};
pub use pace::{Arrivals, MAX_RATE, Schedule, ScheduleError};
pub use plan::{
    Behaviour, ConnectPlan, HANDSHAKES, Load, MAX_HANDSHAKES, MAX_IN_FLIGHT, MAX_SIZE, Offer, Plan, PlanError,
    Population, RunLength, Stop, Target, Transport, Verify,
};
pub use ringway::Cores;
pub use scenario::{Scenario, ScenarioError};
pub use steps::RunPhase;
pub use summary::{
    CompressionFigures, ConnectionFigures, ErrorFigures, GeneratorFigures, GeneratorThreadFigures, HistogramFigures,
    LatencyFigures, MessageFigures, MessageShare, PlanFigures, PlannedBehaviour, PlannedContent, PlannedCores,
    PlannedLoad, PlannedMessage, PlannedPopulation, PlannedSize, PlannedSpan, PlannedStage, PopulationFigures,
    ReachFigures, Report, SCHEMA_VERSION, ServerFigures, TargetFigures,
};
pub use timeline::IntervalFigures;
pub use units::{bytes, count, size, time};
pub use verdict::{Figures, LimitedBy, LoadFigures, OpenFigures, PathFigures, ThreadFigures, Verdict};

use ringway::placement::PlacementError;
use ringway::{ConfigError, ConnectError, RunError, StartError};

/// Runs a plan on new threads and waits until it ends. `progress` is called about ten times a
/// second.
///
/// # Errors
/// [`LoadError`] if the run could not start: the plan is invalid, or this machine does not allow
/// it. Errors of the server are in the report, even if no connection could be opened.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
    run::run(plan, progress)
}

/// The reason why a run has no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The plan is invalid.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The URL is invalid or cannot be connected to.
    #[error(transparent)]
    Target(#[from] ConnectError),
    /// The limit of open files is too low.
    #[error(
        "{connections} connections need {needed} open files, and this process may have {allowed}; \
         raise the limit (`ulimit -n {needed}`) or ask for fewer connections (-c)"
    )]
    OpenFiles {
        /// The connections of the plan.
        connections: u32,
        /// The limit.
        allowed: u64,
        /// The limit that the plan needs.
        needed: u64,
    },
    /// The engine refuses an option that follows from the plan.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The threads could not be placed on cores.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The threads could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// One of the threads failed.
    #[error(transparent)]
    Run(#[from] RunError),
}
