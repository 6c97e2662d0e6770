//! The listeners of one driver: armed, paused when there is no descriptor or slot left, and stopped.

use super::operation::{self, Operation};
use crate::{Listener, Slot};
use io_uring::squeue::Entry;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// How long accepting rests when no slot of this driver frees: the descriptors may be another driver's.
const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Acceptor {
    /// Gone once listening has stopped.
    listener: Option<Listener>,
    armed: bool,
    cancelled: bool,
}

/// All listeners of one driver.
#[derive(Debug, Default)]
pub(super) struct Acceptors {
    all: Vec<Acceptor>,
    paused: Option<Instant>,
    said: bool,
    /// Outgoing connections for which there was no socket: reported with the next turn.
    pub(super) unconnected: Vec<(Slot, io::Error)>,
}

impl Acceptors {
    fn slot(at: usize) -> Slot {
        Slot::new(operation::NO_CONNECTION + at as u32, 0)
    }

    pub(super) fn add(&mut self, listener: Listener) {
        self.all.push(Acceptor { listener: Some(listener), armed: false, cancelled: false });
    }

    /// Accepting rests until a slot frees or [`REST`] is over. Says so once. Whether it did not rest before.
    pub(super) fn pause(&mut self, now: Instant, why: &str) -> bool {
        if !std::mem::replace(&mut self.said, true) {
            tracing::warn!("accepting pauses until a connection closes: {why}");
        }
        self.paused.replace(now).is_none()
    }

    pub(super) fn slot_freed(&mut self) {
        self.paused = None;
    }

    pub(super) fn disarmed(&mut self, slot: Slot) {
        let acceptor = &mut self.all[(slot.index() - operation::NO_CONNECTION) as usize];
        acceptor.armed = false;
        acceptor.cancelled = false;
    }

    /// What puts accepting in flight where it is not. A pause shortens `timeout` to its end.
    pub(super) fn arms(&mut self, timeout: &mut Option<Duration>) -> Vec<Entry> {
        if let Some(since) = self.paused {
            let left = REST.saturating_sub(since.elapsed());
            if left > Duration::ZERO {
                *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
                return Vec::new();
            }
            self.paused = None;
        }
        let mut entries = Vec::new();
        for (at, acceptor) in self.all.iter_mut().enumerate() {
            if let Some(listener) = &acceptor.listener
                && !acceptor.armed
            {
                acceptor.armed = true;
                entries.push(operation::accept(listener.as_fd().as_raw_fd(), Self::slot(at)));
            }
        }
        entries
    }

    /// What cancels every accept in flight that is not cancelled yet.
    pub(super) fn cancels(&mut self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (at, acceptor) in self.all.iter_mut().enumerate() {
            if acceptor.armed && !acceptor.cancelled {
                acceptor.cancelled = true;
                entries.push(operation::cancel(Operation::Accept, Self::slot(at)));
            }
        }
        entries
    }

    /// Closes the listeners. The kernel keeps each socket until its accept is cancelled.
    pub(super) fn stop(&mut self) {
        for acceptor in &mut self.all {
            acceptor.listener = None;
        }
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.all.iter().all(|acceptor| !acceptor.armed)
    }
}
