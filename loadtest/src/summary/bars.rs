//! A histogram as bars of text.

use crate::histogram::Recorder;
use crate::units::{count, time};

/// The number of bars.
const BARS: usize = 10;

/// The width of the longest bar in characters.
const WIDTH: f64 = 40.0;

/// The number of latencies from which there are bars.
const MIN_COUNT: u64 = 10;

/// The bars of a histogram of nanoseconds, one in a line: the lower end of its range, the number of
/// latencies in it, and the bar. The ranges grow by a constant factor from the minimum to the 99.9th
/// percentile, because latencies span decades; the last one is open. Empty if there are few
/// latencies, or if all are about equal.
pub(super) fn bars(recorder: &mut Recorder) -> Vec<String> {
    let Some(quantiles) = recorder.quantiles().filter(|quantiles| quantiles.count >= MIN_COUNT) else {
        return Vec::new();
    };
    let (low, high) = ((quantiles.min * 1e3).max(1.0), (quantiles.p999 * 1e3).max(1.0));
    if high <= low * 1.01 {
        return Vec::new();
    }
    let factor = (high / low).powf(1.0 / BARS as f64);
    let edges: Vec<u64> = (0..=BARS).map(|bar| (low * factor.powi(bar as i32)) as u64).collect();
    // Differences of cumulative counts: an edge can be inside a bucket, which must count once.
    let mut before = 0;
    let counts = (1..=BARS).map(|bar| {
        let to = if bar == BARS { u64::MAX } else { edges[bar] };
        let up_to = recorder.count_between(0, to);
        up_to - std::mem::replace(&mut before, up_to)
    });
    let counts: Vec<u64> = counts.collect();
    let max = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let bars = counts.iter().enumerate().map(|(bar, number)| {
        let from = time(edges[bar] as f64 / 1e3);
        // A bar of less than half a character is shown as a dot, unless it is empty.
        let blocks = match ((*number as f64 / max * WIDTH).round() as usize, number) {
            (0, 0) => String::new(),
            (0, _) => "·".into(),
            (blocks, _) => "■".repeat(blocks),
        };
        let more = if bar + 1 == BARS { "+" } else { " " };
        format!("{from:>9}{more} {:>8}  {blocks}", count(*number as f64))
    });
    bars.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_latency_is_in_one_bar() {
        let mut recorder = Recorder::default();
        for nanos in 1..=10_000u64 {
            recorder.record(nanos * 1_000);
        }
        let bars = bars(&mut recorder);
        assert_eq!(bars.len(), BARS);
        let longest = bars.iter().map(|line| line.matches('■').count()).max();
        assert_eq!(longest, Some(WIDTH as usize));
        // Uniform latencies over four decades: 2.5 bars have 9 of 10 latencies.
        let short = bars.iter().filter(|line| line.ends_with('·')).count();
        assert!(short >= 3, "{bars:#?}");
    }

    #[test]
    fn equal_latencies_and_few_have_no_bars() {
        let mut recorder = Recorder::default();
        assert_eq!(bars(&mut recorder).len(), 0);
        (0..10).for_each(|_| recorder.record(5_000));
        assert_eq!(bars(&mut recorder).len(), 0);
        let mut few = Recorder::default();
        (1..10).for_each(|nanos| few.record(nanos * 1_000));
        assert_eq!(bars(&mut few).len(), 0);
        few.record(100_000);
        let ten = bars(&mut few);
        let counted = ten.iter().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum::<u64>();
        assert_eq!((ten.len(), counted), (BARS, 10), "each latency is in one bar: {ten:#?}");
    }
}
