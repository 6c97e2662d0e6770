//! Connections in the report.

use crate::opening::StageFailures;
use serde::Serialize;

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
