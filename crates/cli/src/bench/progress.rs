//! The progress of the bench, and its remaining time.

use crate::live::LiveLine;
use std::time::{Duration, Instant};

/// Counts steps of about the same duration and shows them on the live line.
pub(crate) struct BenchProgress {
    live: LiveLine,
    began: Instant,
    done: usize,
    of: usize,
    /// The expected duration of a step, used until steps have completed.
    expected: Duration,
}

impl BenchProgress {
    pub(crate) fn new(of: usize, expected: Duration) -> Self {
        Self { live: LiveLine::new(), began: Instant::now(), done: 0, of, expected }
    }

    /// Begins the next step.
    pub(crate) fn step(&mut self, what: impl FnOnce() -> String) {
        let left = left(self.began.elapsed(), self.done, self.of, self.expected);
        self.done += 1;
        self.live.show(|| format!("{} of {}, about {} left: {}", self.done, self.of, minutes(left), what()));
    }
}

/// Estimates the remaining time from the completed steps, or from the expected duration while few
/// have completed.
fn left(elapsed: Duration, done: usize, of: usize, expected: Duration) -> Duration {
    let each = if done < 10 { expected } else { elapsed / done as u32 };
    each * of.saturating_sub(done) as u32
}

fn minutes(time: Duration) -> String {
    format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_time_is_estimated_from_progress() {
        let second = Duration::from_secs(1);
        assert_eq!(left(Duration::ZERO, 0, 100, second), 100 * second);
        assert_eq!(left(20 * second, 10, 100, second), 180 * second);
        assert_eq!(left(20 * second, 10, 5, second), Duration::ZERO);
        assert_eq!(minutes(Duration::from_secs(130)), "2:10");
    }
}
