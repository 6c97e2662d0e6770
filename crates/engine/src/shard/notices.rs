//! Log lines about peers, of which any number may misbehave at once.

use std::time::{Duration, Instant};

/// The minimum time between two lines.
const INTERVAL: Duration = Duration::from_secs(1);

/// Limits the log lines about peers to one in a second for each shard.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    last: Option<Instant>,
    /// The number of lines that were left out since the last one.
    omitted: u64,
}

impl Notices {
    /// Logs a warning, unless another one was logged in the last second.
    pub(crate) fn warn(&mut self, now: Instant, text: impl FnOnce() -> String) {
        match self.due(now) {
            None => {}
            Some(0) => tracing::warn!("{}", text()),
            Some(omitted) => tracing::warn!("{} ({omitted} similar warnings were left out)", text()),
        }
    }

    /// Whether a line is due: the number of lines left out before it.
    fn due(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.saturating_duration_since(last) < INTERVAL) {
            self.omitted += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.omitted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_within_a_second_are_counted_and_left_out() {
        let start = Instant::now();
        let mut notices = Notices::default();
        let due = [0, 1, 999, 1000, 1001, 5000].map(|millis| notices.due(start + Duration::from_millis(millis)));
        assert_eq!(due, [Some(0), None, None, Some(2), None, Some(1)]);
    }
}
