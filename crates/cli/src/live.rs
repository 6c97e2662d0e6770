//! The live view of a run on standard error: one line that is rewritten on a terminal, and a line
//! every few seconds elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::VecDeque;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// The interval of lines where standard error is not a terminal.
const INTERVAL: Duration = Duration::from_secs(5);

/// A line on standard error that shows the progress of a run and is erased when this is dropped. It
/// is shown only on a terminal, and has no colours, so NO_COLOR does not matter. A line that is
/// longer than the terminal is cut.
pub(crate) struct LiveLine(ProgressBar);

impl LiveLine {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
        Self(bar)
    }

    /// Shows the result of `text`, which is called only if the line is visible.
    pub(crate) fn show(&self, text: impl FnOnce() -> String) {
        if !self.0.is_hidden() {
            self.0.set_message(text());
            self.0.tick();
        }
    }
}

impl Drop for LiveLine {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The live view of a load.
pub(crate) enum LiveView {
    /// A line that is rewritten.
    Terminal(LiveLine),
    /// A line each [`INTERVAL`] from now on, so that a shorter run prints none.
    Lines {
        /// The time of the next one.
        next: Instant,
    },
    /// None.
    Quiet,
}

impl LiveView {
    /// The view for standard error.
    pub(crate) fn new(is_quiet: bool) -> Self {
        if is_quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            Self::Terminal(LiveLine::new())
        } else {
            Self::Lines { next: Instant::now() + INTERVAL }
        }
    }

    /// The time over which a rate is averaged.
    pub(crate) fn window(&self) -> Duration {
        match self {
            Self::Lines { .. } => INTERVAL,
            _ => Duration::from_secs(1),
        }
    }

    /// Shows the result of `text`, if it is time to.
    pub(crate) fn show(&mut self, text: impl FnOnce() -> String) {
        match self {
            Self::Terminal(line) => line.show(text),
            Self::Lines { next } => {
                let now = Instant::now();
                if now >= *next {
                    // A late line does not make the next ones late.
                    while *next <= now {
                        *next += INTERVAL;
                    }
                    // A closed standard error does not end the run.
                    let _ = writeln!(std::io::stderr().lock(), "{}", text());
                }
            }
            Self::Quiet => {}
        }
    }
}

/// The rate of a counter over the latest part of a run.
pub(crate) struct Rate {
    window: Duration,
    samples: VecDeque<(Instant, u64)>,
}

impl Rate {
    /// The rate over the latest `window`.
    pub(crate) fn over(window: Duration) -> Self {
        Self { window, samples: VecDeque::new() }
    }

    /// Takes the value of the counter, and returns its increase per second.
    pub(crate) fn take(&mut self, now: Instant, value: u64) -> f64 {
        self.samples.push_back((now, value));
        // The oldest sample is the latest one at the beginning of the window, or before.
        while self.samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= self.window) {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or((now, value));
        let seconds = now.duration_since(since).as_secs_f64();
        if seconds > 0.0 { value.saturating_sub(before) as f64 / seconds } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_its_window() {
        let start = Instant::now();
        let at = |tenths: u32| start + tenths * Duration::from_millis(100);
        let mut rate = Rate::over(Duration::from_secs(1));
        assert_eq!(rate.take(at(0), 0), 0.0);
        assert_eq!(rate.take(at(5), 500), 1000.0);
        assert_eq!(rate.take(at(10), 1000), 1000.0);
        assert_eq!(rate.take(at(20), 1000), 0.0, "the latest second");
        assert_eq!(rate.take(at(25), 1500), 1000.0 / 3.0, "from the sample before the window");
        assert!(rate.samples.len() <= 3);
    }

    #[test]
    fn lines_begin_after_an_interval_and_a_quiet_view_has_none() {
        let mut lines = LiveView::Lines { next: Instant::now() + INTERVAL };
        lines.show(|| panic!("it is not time"));
        LiveView::Quiet.show(|| panic!("it is quiet"));
        let mut shown = 0;
        let mut due = LiveView::Lines { next: Instant::now() };
        for _ in 0..2 {
            due.show(|| {
                shown += 1;
                "a line of the live view".into()
            });
        }
        assert_eq!(shown, 1);
    }
}
