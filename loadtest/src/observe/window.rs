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

/// Waits for the two edges of a window, and calls `sample` with the time of each. The first instant
/// received is the beginning; of those after it, the earliest is the end, which may be received when
/// the window has begun. `None` if the sender is dropped before the window has begun, or without an
/// end.
pub(super) fn at_edges<T>(edges: &Receiver<Instant>, mut sample: impl FnMut(Instant) -> T) -> Option<(T, T)> {
    let begin = edges.recv().ok()?;
    let mut end = None;
    while let Some(received) = until(begin, edges)? {
        end = Some(end.map_or(received, |end: Instant| end.min(received)));
    }
    let first = sample(begin);
    let mut end = match end {
        Some(end) => end,
        None => edges.recv().ok()?,
    };
    while let Some(received) = until(end, edges)? {
        end = end.min(received);
    }
    Some((first, sample(end)))
}

/// Waits until `at` and returns `Some(None)`, or for what is received before. `None` if the sender is
/// dropped before `at`.
fn until(at: Instant, edges: &Receiver<Instant>) -> Option<Option<Instant>> {
    match edges.recv_timeout(at.saturating_duration_since(Instant::now())) {
        Ok(received) => Some(Some(received)),
        Err(RecvTimeoutError::Timeout) => Some(None),
        // A run drops the sender at its end, which may be observed before the timeout.
        Err(RecvTimeoutError::Disconnected) => (Instant::now() >= at).then_some(None),
    }
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

    const MS: Duration = Duration::from_millis(1);
    const HOUR: Duration = Duration::from_secs(3600);

    /// The samples of a window whose edges are sent before it begins.
    fn sampled(edges_after: &[Duration]) -> (Vec<Instant>, Option<(Instant, Instant)>) {
        let (sender, edges) = mpsc::channel();
        let now = Instant::now();
        let sent: Vec<Instant> = edges_after.iter().map(|after| now + *after).collect();
        sent.iter().for_each(|edge| sender.send(*edge).expect("it is received"));
        drop(sender);
        let sample = |due: Instant| {
            assert!(Instant::now() >= due, "too early");
            due
        };
        (sent, at_edges(&edges, sample))
    }

    #[test]
    fn each_edge_is_sampled_after_it_has_come() {
        let (sender, edges) = mpsc::channel();
        let begin = Instant::now();
        let end = begin + 10 * MS;
        sender.send(begin).expect("it is received");
        sender.send(end).expect("it is received");
        assert_eq!(at_edges(&edges, |due| (due, Instant::now() >= due)), Some(((begin, true), (end, true))));
    }

    #[test]
    fn the_earliest_end_counts() {
        let (sender, edges) = mpsc::channel();
        let begin = Instant::now();
        sender.send(begin).expect("it is received");
        sender.send(begin + HOUR).expect("it is received");
        let mut sampled = Vec::new();
        let early = begin + MS;
        let window = at_edges(&edges, |due| {
            sampled.push(due);
            // The run is stopped.
            let _ = sender.send(early);
        });
        assert_eq!((window, sampled), (Some(((), ())), vec![begin, early]));
    }

    #[test]
    fn an_end_that_is_not_known_at_the_beginning_is_waited_for() {
        let (sender, edges) = mpsc::channel();
        let begin = Instant::now();
        sender.send(begin).expect("it is received");
        let window = at_edges(&edges, |due| {
            sender.send(begin + MS).expect("it is received");
            due
        });
        assert_eq!(window, Some((begin, begin + MS)));
    }

    #[test]
    fn a_window_that_is_given_up_gives_nothing() {
        for edges in [&[][..], &[HOUR], &[HOUR, HOUR], &[Duration::ZERO], &[Duration::ZERO, HOUR]] {
            assert_eq!(sampled(edges).1, None, "{edges:?}");
        }
        let (sent, window) = sampled(&[Duration::ZERO, Duration::ZERO]);
        assert_eq!(window, Some((sent[0], sent[1])));
    }
}
