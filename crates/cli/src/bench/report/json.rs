//! The report as JSON.

use super::BenchReport;

impl BenchReport {
    /// The stable keys, as one JSON object over several lines.
    pub(crate) fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}
