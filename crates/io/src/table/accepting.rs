//! The listeners of one driver: armed, paused when there is no descriptor or slot left, and stopped.

use super::kernel::KernelInterface;
use super::operation::{NO_CONNECTION, Target};
use crate::Slot;
use std::io;
use std::time::Duration;

/// How long accepting rests when no slot of this driver frees: the descriptors may be another driver's.
pub(crate) const REST: Duration = Duration::from_secs(1);

/// Why accepting pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// As many slots are in use as may be.
    Full,
    /// The kernel says this.
    Errno(i32),
}

impl Obstacle {
    /// What an accept that failed with `errno` says of the next one; nothing when only this connection is concerned.
    pub(crate) fn of(errno: i32) -> Option<Self> {
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
struct Acceptor<L> {
    /// Gone once listening has stopped and no accept is in flight: one that is not submitted yet still names it.
    listener: Option<L>,
    stopped: bool,
    armed: bool,
    /// A cancel is in flight.
    cancelled: bool,
}

/// All listeners of one driver.
#[derive(Debug)]
pub(crate) struct Accepting<L> {
    all: Vec<Acceptor<L>>,
    /// Since when accepting pauses.
    paused: Option<Duration>,
    /// The obstacles that have been logged: each is logged once.
    said: Vec<Obstacle>,
}

impl<L> Accepting<L> {
    pub(crate) const fn new() -> Self {
        Self { all: Vec::new(), paused: None, said: Vec::new() }
    }

    fn slot(at: usize) -> Slot {
        Slot::new(NO_CONNECTION + at as u32, 0)
    }

    fn of(&mut self, slot: Slot) -> &mut Acceptor<L> {
        &mut self.all[(slot.index() - NO_CONNECTION) as usize]
    }

    pub(crate) fn add(&mut self, listener: L) {
        self.all.push(Acceptor { listener: Some(listener), stopped: false, armed: false, cancelled: false });
    }

    /// Whether there is a listener that has not been stopped.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_listening(&self) -> bool {
        self.all.iter().any(|acceptor| !acceptor.stopped)
    }

    /// Accepting rests until a slot frees or [`REST`] is over. Whether it did not rest before.
    pub(crate) fn pause<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, obstacle: Obstacle) -> bool {
        if !self.said.contains(&obstacle) {
            self.said.push(obstacle);
            obstacle.say();
        }
        let begins = self.paused.replace(kernel.now()).is_none();
        self.cancel(kernel);
        begins
    }

    pub(crate) fn slot_freed(&mut self) {
        self.paused = None;
    }

    /// The accept has had its last completion.
    pub(crate) fn disarmed(&mut self, slot: Slot) {
        let acceptor = self.of(slot);
        acceptor.armed = false;
        acceptor.cancelled = false;
        if acceptor.stopped {
            acceptor.listener = None;
        }
    }

    /// A cancel came too late: it has to be repeated while the accept goes on that should not.
    pub(crate) fn cancel_failed<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, slot: Slot) {
        let resting = self.paused.is_some();
        let acceptor = self.of(slot);
        acceptor.cancelled = acceptor.armed && (acceptor.stopped || resting);
        if acceptor.cancelled {
            kernel.cancel(Target::Accept, slot);
        }
    }

    /// Puts an accept in flight on each listener that has none. A pause shortens `timeout` to its end.
    pub(crate) fn arm<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, timeout: &mut Option<Duration>) {
        if let Some(since) = self.paused {
            let left = REST.saturating_sub(kernel.now().saturating_sub(since));
            if left > Duration::ZERO {
                *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
                return;
            }
            self.paused = None;
        }
        for (at, acceptor) in self.all.iter_mut().enumerate() {
            if let Some(listener) = &acceptor.listener
                && !acceptor.stopped
                && !acceptor.armed
            {
                acceptor.armed = true;
                kernel.accept(listener, Self::slot(at));
            }
        }
    }

    /// Cancels every accept in flight that is not cancelled yet.
    fn cancel<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K) {
        for (at, acceptor) in self.all.iter_mut().enumerate() {
            if acceptor.armed && !acceptor.cancelled {
                acceptor.cancelled = true;
                kernel.cancel(Target::Accept, Self::slot(at));
            }
        }
    }

    /// Closes the listeners that no accept is in flight on; the others follow with its last completion.
    pub(crate) fn stop<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K) {
        for acceptor in &mut self.all {
            acceptor.stopped = true;
            if !acceptor.armed {
                acceptor.listener = None;
            }
        }
        self.cancel(kernel);
    }

    /// Whether no accept is in flight.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.all.iter().all(|acceptor| !acceptor.armed)
    }
}
