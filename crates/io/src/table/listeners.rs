//! The listeners of one driver: armed, paused when there is no descriptor or slot left, and
//! stopped.

use super::kernel::KernelInterface;
use super::obstacle::{Obstacle, ObstacleLog};
use super::operation::{Cancellable, FIRST_LISTENER};
use crate::Slot;
use std::mem;
use std::time::Duration;

/// How long accepting pauses when no slot of this driver is freed. The descriptors may belong to
/// another driver.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct ListenerState<L> {
    /// `None` after listening has stopped and the last accept has completed. An accept that is not
    /// submitted yet still uses the descriptor.
    listener: Option<L>,
    /// Its connections are those of a Unix socket.
    unix: bool,
    stopped: bool,
    armed: bool,
    /// A cancel is in flight.
    cancelled: bool,
}

/// All listeners of one driver.
#[derive(Debug)]
pub(crate) struct Listeners<L> {
    all: Vec<ListenerState<L>>,
    /// When the current pause of accepting began.
    paused: Option<Duration>,
    /// The driver's user has paused accepting.
    held: bool,
    episodes: ObstacleLog,
}

impl<L> Listeners<L> {
    pub(crate) const fn new() -> Self {
        Self { all: Vec::new(), paused: None, held: false, episodes: ObstacleLog::new() }
    }

    fn slot(at: usize) -> Slot {
        Slot::new(FIRST_LISTENER + at as u32, 0)
    }

    /// The number of the listener, from 0 in the order in which listeners are added.
    pub(crate) fn number(slot: Slot) -> usize {
        (slot.index() - FIRST_LISTENER) as usize
    }

    fn of(&mut self, slot: Slot) -> &mut ListenerState<L> {
        &mut self.all[Self::number(slot)]
    }

    pub(crate) fn add(&mut self, listener: L, unix: bool) {
        self.all.push(ListenerState { listener: Some(listener), unix, stopped: false, armed: false, cancelled: false });
    }

    /// Whether the connections of a listener are those of a Unix socket.
    pub(crate) fn is_unix(&mut self, slot: Slot) -> bool {
        self.of(slot).unix
    }

    /// Whether there is a listener that has not been stopped.
    pub(crate) fn is_listening(&self) -> bool {
        self.all.iter().any(|acceptor| !acceptor.stopped)
    }

    /// Pauses accepting: for [`Obstacle::Load`] until [`Listeners::release`], for other obstacles
    /// until a slot is freed or [`ACCEPT_PAUSE`] is over. Returns whether a pause begins.
    pub(crate) fn pause<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, obstacle: Obstacle) -> bool {
        let now = kernel.now();
        if self.is_listening() {
            self.episodes.stop(obstacle, now);
        }
        let begins = match obstacle {
            Obstacle::Load => !mem::replace(&mut self.held, true),
            _ => self.paused.replace(now).is_none(),
        };
        self.cancel(kernel);
        begins
    }

    /// Ends the pause of [`Obstacle::Load`].
    pub(crate) fn release(&mut self) {
        self.held = false;
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

    /// A cancel came too late. It is repeated while the accept is in flight and should not be.
    pub(crate) fn cancel_failed<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, slot: Slot) {
        let resting = self.paused.is_some() || self.held;
        let acceptor = self.of(slot);
        acceptor.cancelled = acceptor.armed && (acceptor.stopped || resting);
        if acceptor.cancelled {
            kernel.cancel(Cancellable::Accept, slot);
        }
    }

    /// Submits an accept for each listener that has none in flight. During a pause, shortens
    /// `timeout` to its end.
    pub(crate) fn arm<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, timeout: &mut Option<Duration>) {
        if self.held {
            return;
        }
        if let Some(since) = self.paused {
            let left = ACCEPT_PAUSE.saturating_sub(kernel.now().saturating_sub(since));
            if left > Duration::ZERO {
                *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
                return;
            }
            self.paused = None;
        }
        if !self.episodes.is_empty() {
            self.episodes.resume(kernel.now());
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

    /// Logs the episodes that are over. Shortens `timeout` to the end of the next one.
    #[inline]
    pub(crate) fn log_ends<K: KernelInterface<Listener = L>>(&mut self, kernel: &K, timeout: &mut Option<Duration>) {
        if !self.episodes.is_empty()
            && let Some(left) = self.episodes.expire(kernel.now())
        {
            *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        }
    }

    /// Cancels every accept in flight that has no cancel in flight.
    fn cancel<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K) {
        for (at, acceptor) in self.all.iter_mut().enumerate() {
            if acceptor.armed && !acceptor.cancelled {
                acceptor.cancelled = true;
                kernel.cancel(Cancellable::Accept, Self::slot(at));
            }
        }
    }

    /// Closes the listeners without an accept in flight. The others are closed by its last
    /// completion.
    pub(crate) fn stop<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K) {
        for acceptor in &mut self.all {
            acceptor.stopped = true;
            if !acceptor.armed {
                acceptor.listener = None;
            }
        }
        // Without a listener, no connection waits.
        self.episodes = ObstacleLog::new();
        self.cancel(kernel);
    }

    /// Whether no accept is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.all.iter().all(|acceptor| !acceptor.armed)
    }
}
