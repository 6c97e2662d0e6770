//! A load generator for persistent WebSocket connections, on the client role of [`ringway`].
//!
//! A [`Plan`] says what to do, [`run`] does it, and a [`Report`] says what was found: for how many messages, how fast
//! they were answered, what went wrong, and who was the limit.
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
//! A run goes through [`RunPhase`]s: it connects, warms up, measures, waits for the last answers, and closes. The figures of
//! connecting are kept apart from those of messages.
//!
//! The loop is closed: each connection has a number of messages in flight, and sends the next one when an answer has
//! come. So a slow server is asked less often, and latencies are those at the pace that the server keeps.
//!
//! An answer that is wrong, or comes unasked, is an error and is not counted as an answer; one that does not come is
//! missing. Pings, pongs and closes are no answers.
#![warn(missing_docs)]
#![forbid(unsafe_code)]

mod errors;
mod fleet;
pub mod floor;
mod generator;
mod line;
mod measure;
mod payload;
mod phase;
mod place;
mod plan;
pub mod processes;
mod ramp;
mod report;
pub mod server;
mod tally;
mod units;
mod verdict;

pub use fleet::Progress;
pub use measure::Quantiles;
pub use phase::RunPhase;
pub use plan::{MAX_PIPELINE, MAX_SIZE, Mode, Plan, PlanError, RunLength, Stop, Verify};
pub use report::{
    ConnectionFigures, GeneratorFigures, LatencyFigures, MessageFigures, Report, SCHEMA_VERSION, ServerFigures,
};
pub use ringway::Cores;
pub use units::{bytes, count, size, time};
pub use verdict::{LimitedBy, Verdict};

use ringway::placement::PlacementError;
use ringway::{ConfigError, ConnectError, RunError, StartError};

/// Runs a plan on threads of its own, and waits for its end. `progress` is told about ten times a second how far it is.
///
/// # Errors
/// [`LoadError`] when nothing could be tried: the plan makes no sense, or this machine does not allow it. Everything that
/// goes wrong with the server is in the report, also when not one connection could be opened.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
    fleet::run(plan, progress)
}

/// Why a run has no report.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The URL is none that can be connected to.
    #[error(transparent)]
    Target(#[from] ConnectError),
    /// The process may not open enough files.
    #[error(
        "{connections} connections need {needed} open files, and this process may have {allowed}; \
         raise the limit (`ulimit -n {needed}`) or ask for fewer connections (-c)"
    )]
    OpenFiles {
        /// Connections of the plan.
        connections: u32,
        /// The limit.
        allowed: u64,
        /// What would do.
        needed: u64,
    },
    /// The engine does not take an option that the plan leads to.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The threads have no place to run.
    #[error(transparent)]
    Placement(#[from] PlacementError),
    /// The threads could not be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// One of the threads failed.
    #[error(transparent)]
    Run(#[from] RunError),
}
