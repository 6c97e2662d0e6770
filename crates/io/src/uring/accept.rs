//! The listeners of one driver: armed, paused when there is no descriptor or slot left, and stopped.

use super::operation::{self, Operation};
use crate::{Listener, Slot};
use io_uring::squeue::Entry;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

/// How long accepting rests when no slot of this driver frees: the descriptors may be another driver's.
const REST: Duration = Duration::from_secs(1);

/// Why accepting pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Obstacle {
    /// As many slots are in use as may be.
    Full,
    /// The kernel says this.
    Errno(i32),
}

impl Obstacle {
    /// What an accept that failed with `errno` says of the next one; nothing when only this connection is concerned.
    pub(super) fn of(errno: i32) -> Option<Self> {
        match errno {
            // Cancelled by ourselves, or interrupted.
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => None,
            // The connection was gone before it was accepted, or its network was: accept(2) tells to try again.
            libc::ECONNABORTED
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENETUNREACH
            | libc::ENONET
            | libc::EHOSTDOWN
            | libc::EHOSTUNREACH
            | libc::ENOPROTOOPT => None,
            errno => Some(Self::Errno(errno)),
        }
    }

    fn say(self) {
        let until = "accepting pauses until a connection closes, a second at most:";
        match self {
            Self::Full => {
                tracing::warn!("{until} as many connections are open as may be (raise the limit of connections)");
            }
            Self::Errno(libc::EMFILE) => {
                tracing::warn!("{until} the process may open no more files (raise `ulimit -n`)");
            }
            Self::Errno(libc::ENFILE) => {
                tracing::warn!("{until} the system may open no more files (raise sysctl fs.file-max)");
            }
            Self::Errno(libc::ENOMEM | libc::ENOBUFS) => {
                tracing::warn!("{until} the kernel has no memory for another socket");
            }
            Self::Errno(errno) => {
                tracing::error!(error = %io::Error::from_raw_os_error(errno), "{until} the kernel refuses");
            }
        }
    }
}

#[derive(Debug)]
struct Acceptor {
    /// Gone once listening has stopped and no accept is in flight: one that is not submitted yet still names it.
    listener: Option<Listener>,
    stopped: bool,
    armed: bool,
    cancelled: bool,
}

/// All listeners of one driver.
#[derive(Debug, Default)]
pub(super) struct Acceptors {
    all: Vec<Acceptor>,
    paused: Option<Instant>,
    /// The obstacles that have been logged: each is logged once.
    said: Vec<Obstacle>,
    /// Outgoing connections for which there was no socket: reported with the next turn.
    pub(super) unconnected: Vec<(Slot, io::Error)>,
}

impl Acceptors {
    fn slot(at: usize) -> Slot {
        Slot::new(operation::NO_CONNECTION + at as u32, 0)
    }

    fn of(&mut self, slot: Slot) -> &mut Acceptor {
        &mut self.all[(slot.index() - operation::NO_CONNECTION) as usize]
    }

    pub(super) fn add(&mut self, listener: Listener) {
        self.all.push(Acceptor { listener: Some(listener), stopped: false, armed: false, cancelled: false });
    }

    /// Accepting rests until a slot frees or [`REST`] is over. Whether it did not rest before.
    pub(super) fn pause(&mut self, now: Instant, obstacle: Obstacle) -> bool {
        if !self.said.contains(&obstacle) {
            self.said.push(obstacle);
            obstacle.say();
        }
        self.paused.replace(now).is_none()
    }

    pub(super) fn slot_freed(&mut self) {
        self.paused = None;
    }

    /// The accept has had its last completion.
    pub(super) fn disarmed(&mut self, slot: Slot) {
        let acceptor = self.of(slot);
        acceptor.armed = false;
        acceptor.cancelled = false;
        if acceptor.stopped {
            acceptor.listener = None;
        }
    }

    /// A cancel has failed: whether another is needed.
    pub(super) fn cancel_failed(&mut self, slot: Slot) -> bool {
        let resting = self.paused.is_some();
        let acceptor = self.of(slot);
        acceptor.cancelled = acceptor.armed && (acceptor.stopped || resting);
        acceptor.cancelled
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
                && !acceptor.stopped
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

    /// Closes the listeners that no accept is in flight on; the others follow with its last completion.
    pub(super) fn stop(&mut self) {
        for acceptor in &mut self.all {
            acceptor.stopped = true;
            if !acceptor.armed {
                acceptor.listener = None;
            }
        }
    }

    pub(super) fn is_at_rest(&self) -> bool {
        self.all.iter().all(|acceptor| !acceptor.armed)
    }
}
