//! The measured window, and a thread that waits for its edges.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

/// The beginning and end of the measured part of a run, by its timetable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edges {
    /// The beginning.
    pub begin: Instant,
    /// The end.
    pub end: Instant,
}

/// Waits for the edges of a window, and calls `sample` with the time of each. `None` if the sender
/// of the edges is dropped before the end of the window.
pub(super) fn at_edges<T>(edges: &Receiver<Edges>, mut sample: impl FnMut(Instant) -> T) -> Option<(T, T)> {
    let window = edges.recv().ok()?;
    sleep_until(window.begin, edges)?;
    let begin = sample(window.begin);
    sleep_until(window.end, edges)?;
    Some((begin, sample(window.end)))
}

/// Sleeps until `at`; `None` if the sender is dropped before that.
pub(super) fn sleep_until(at: Instant, sender: &Receiver<Edges>) -> Option<()> {
    loop {
        match sender.recv_timeout(at.saturating_duration_since(Instant::now())) {
            Err(RecvTimeoutError::Timeout) => return Some(()),
            // A run drops the sender at its end, which may be observed before the timeout.
            Err(RecvTimeoutError::Disconnected) => return (Instant::now() >= at).then_some(()),
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[test]
    fn each_edge_is_sampled_after_it_has_come() {
        let (sender, edges) = mpsc::channel();
        let begin = Instant::now();
        let window = Edges { begin, end: begin + Duration::from_millis(10) };
        sender.send(window).expect("it is received");
        let sample = |due| (due, Instant::now() >= due);
        assert_eq!(at_edges(&edges, sample), Some(((window.begin, true), (window.end, true))));
    }

    #[test]
    fn a_window_that_is_given_up_gives_nothing() {
        let (sender, edges) = mpsc::channel();
        let hour = Instant::now() + Duration::from_secs(3600);
        sender.send(Edges { begin: hour, end: hour }).expect("it is received");
        drop(sender);
        assert_eq!(at_edges(&edges, |_| ()), None);
    }
}
