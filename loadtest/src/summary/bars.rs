//! A histogram as bars of text.

use crate::histogram::Recorder;
use crate::units::{count, time};
use std::fmt::Write;

/// The number of bars.
const BARS: usize = 10;

/// The width of the longest bar in characters.
const WIDTH: f64 = 40.0;

/// The bars of a histogram of nanoseconds, one in a line, each with `indent` in front. The ranges grow
/// by a constant factor from the minimum to the 99.9th percentile, because latencies span decades;
/// the last one is open. Empty if there is nothing to show.
pub(super) fn bars(recorder: &mut Recorder, indent: &str) -> String {
    let Some(quantiles) = recorder.quantiles() else { return String::new() };
    let (low, high) = ((quantiles.min * 1e3).max(1.0), (quantiles.p999 * 1e3).max(1.0));
    if high <= low * 1.01 {
        return String::new();
    }
    let factor = (high / low).powf(1.0 / BARS as f64);
    let edges: Vec<u64> = (0..=BARS).map(|bar| (low * factor.powi(bar as i32)) as u64).collect();
    let counts: Vec<u64> = (0..BARS)
        .map(|bar| {
            let from = if bar == 0 { 0 } else { edges[bar] };
            let to = if bar + 1 == BARS { u64::MAX } else { edges[bar + 1] - 1 };
            recorder.count_between(from, to)
        })
        .collect();
    let most = counts.iter().copied().max().unwrap_or(0).max(1) as f64;
    let mut text = String::new();
    for (bar, number) in counts.iter().enumerate() {
        let from = time(edges[bar] as f64 / 1e3);
        let length = *number as f64 / most * WIDTH;
        // A bar of less than half a character is shown as a dot, unless it is empty.
        let blocks = match (length.round() as usize, number) {
            (0, 0) => String::new(),
            (0, _) => "·".into(),
            (blocks, _) => "■".repeat(blocks),
        };
        let more = if bar + 1 == BARS { "+" } else { " " };
        let _ = writeln!(text, "{indent}{from:>9}{more} {:>8}  {blocks}", count(*number as f64));
    }
    text
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
        let text = bars(&mut recorder, "  ");
        assert_eq!(text.lines().count(), BARS);
        let longest = text.lines().map(|line| line.matches('■').count()).max();
        assert_eq!(longest, Some(WIDTH as usize));
        assert!(text.lines().all(|line| line.starts_with("  ")));
    }

    #[test]
    fn equal_latencies_and_none_have_no_bars() {
        let mut recorder = Recorder::default();
        assert_eq!(bars(&mut recorder, ""), "");
        (0..10).for_each(|_| recorder.record(5_000));
        assert_eq!(bars(&mut recorder, ""), "");
    }
}
