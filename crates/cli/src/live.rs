//! The live line of a run.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line on standard error that shows the progress of a run and is erased when this is dropped. It
/// is shown only on a terminal, and has no colours, so NO_COLOR does not matter.
pub(crate) struct LiveLine(ProgressBar);

impl LiveLine {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        bar.set_style(ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner()));
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
