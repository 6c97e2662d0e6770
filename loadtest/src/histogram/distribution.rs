//! The percentiles of a histogram in steps that become finer towards the maximum, as HdrHistogram
//! and wrk2 print them.

use super::{Quantiles, micros};
use hdrhistogram::Histogram;
use std::fmt;

/// The number of steps in which the distance to 100 % halves.
const STEPS: u32 = 5;

/// The percentiles of a histogram. Its text is the format of HdrHistogram's
/// `outputPercentileDistribution`, in milliseconds, which plotters of such histograms read. They
/// ignore lines that begin with `#`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Distribution {
    pub(crate) steps: Vec<Step>,
    figures: Quantiles,
    buckets: u8,
}

/// One step of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Step {
    /// The latency in microseconds.
    pub(crate) value: f64,
    /// The share of latencies up to the value, 0 to 1: the last one is 1.
    pub(crate) quantile: f64,
    /// Their number.
    pub(crate) count: u64,
}

impl Distribution {
    /// The distribution of a histogram with these figures.
    pub(super) fn of(histogram: &Histogram<u64>, figures: Quantiles) -> Self {
        let mut count = 0;
        let steps = histogram.iter_quantiles(STEPS).map(|at| {
            count += at.count_since_last_iteration();
            Step { value: micros(at.value_iterated_to()), quantile: at.quantile_iterated_to(), count }
        });
        Self { steps: steps.collect(), figures, buckets: histogram.buckets() }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SUB_BUCKETS: u32 = 2048;
        let Self { steps, figures, buckets } = self;
        let millis = |micros: f64| micros / 1000.0;
        writeln!(f, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
        for Step { value, quantile, count } in steps {
            write!(f, "{:12.3} {quantile:2.12} {count:10}", millis(*value))?;
            if *quantile < 1.0 {
                write!(f, " {:14.2}", 1.0 / (1.0 - quantile))?;
            }
            writeln!(f)?;
        }
        let (mean, stdev, max) = (millis(figures.mean), millis(figures.stdev), millis(figures.max));
        writeln!(f, "#[Mean    = {mean:12.3}, StdDeviation   = {stdev:12.3}]")?;
        writeln!(f, "#[Max     = {max:12.3}, Total count    = {:12}]", figures.count)?;
        writeln!(f, "#[Buckets = {buckets:12}, SubBuckets     = {SUB_BUCKETS:12}]")?;
        if let Some(from) = figures.lower_bound_from {
            let (from, count) = (millis(from), figures.lower_bounds);
            writeln!(f, "#[Values from {from:.3} are lower bounds; messages without an answer: {count}]")?;
        }
        Ok(())
    }
}
