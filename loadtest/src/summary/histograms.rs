//! The buckets of the histograms in the report.

use super::part::Part;
use crate::histogram::{Bucket, Recorder};
use serde::Serialize;

/// The buckets of one histogram.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistogramFigures {
    /// The position of its figures in the report, as a JSON pointer (RFC 6901).
    pub of: String,
    /// The buckets that are not empty, in ascending order. Their sum is the `count` of the figures.
    pub buckets: Vec<Bucket>,
}

/// The histograms of all figures below `at`, a JSON pointer: those of a population, or of all.
pub(super) fn of_part(at: &str, part: &mut Part) -> Vec<HistogramFigures> {
    let ledger = &mut part.ledger;
    let mut all: Vec<(&str, &mut Recorder)> = vec![
        ("latency_us/response", &mut ledger.response),
        ("latency_us/service", &mut ledger.service),
        ("latency_us/send_lag", &mut ledger.send_lag),
    ];
    all.extend(part.opening.recorders());
    if at.starts_with("/populations/") {
        all.extend([
            ("gaps_us", &mut ledger.gaps),
            ("reach/each_us", &mut ledger.reach.each),
            ("reach/first_us", &mut ledger.reach.first),
            ("reach/median_us", &mut ledger.reach.median),
            ("reach/last_us", &mut ledger.reach.last),
        ]);
    }
    let figures = all
        .into_iter()
        .map(|(name, recorder)| HistogramFigures { of: format!("{at}/{name}"), buckets: recorder.buckets() });
    figures.filter(|histogram| !histogram.buckets.is_empty()).collect()
}
