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

/// The compression of the messages that were sent in the measured part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct CompressionFigures {
    /// Bytes of payload of the messages that were compressed. Short messages are not.
    pub payload_bytes: u64,
    /// Bytes of these messages after compression, with their frame headers.
    pub compressed_bytes: u64,
    /// `payload_bytes` divided by `compressed_bytes`. `null` if no message was compressed.
    pub ratio: Option<f64>,
}

impl CompressionFigures {
    pub(super) fn new(payload_bytes: u64, compressed_bytes: u64) -> Self {
        let ratio = (compressed_bytes > 0).then(|| payload_bytes as f64 / compressed_bytes as f64);
        Self { payload_bytes, compressed_bytes, ratio }
    }
}
