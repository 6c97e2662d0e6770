//! The listeners of one driver: armed, paused when there is no descriptor or slot left, drained, and
//! stopped.

use super::kernel::KernelInterface;
use super::obstacle::{Obstacle, ObstacleLog};
use super::operation::{Cancellable, FIRST_LISTENER};
use crate::Slot;
use std::mem;
use std::os::fd::RawFd;
use std::time::Duration;

/// How long accepting pauses when no slot of this driver is freed. The descriptors may belong to
/// another driver.
pub(crate) const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What a listener does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ListenerStage {
    Accepting,
    /// It arms no further accept. When the one in flight has ended, the connections in its queue are
    /// accepted, and then it is closed.
    Draining,
    Stopped,
}

/// The next connection of the listeners that are drained.
pub(super) enum Queued {
    /// A connection, and its listener.
    Accepted(Slot, RawFd),
    /// The connection could not be accepted; the errno.
    Failed(i32),
    /// No queue has one, or an accept is in flight on each listener.
    None,
}

#[derive(Debug)]
struct ListenerState<L> {
    /// `None` after listening has stopped and the last accept has completed. An accept that is not
    /// submitted yet still uses the descriptor.
    listener: Option<L>,
    /// Its connections are those of a Unix socket.
    unix: bool,
    stage: ListenerStage,
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
        let (stage, listener) = (ListenerStage::Accepting, Some(listener));
        self.all.push(ListenerState { listener, unix, stage, armed: false, cancelled: false });
    }

    /// Whether the connections of a listener are those of a Unix socket.
    pub(crate) fn is_unix(&mut self, slot: Slot) -> bool {
        self.of(slot).unix
    }

    /// Whether there is a listener that has not been stopped.
    pub(crate) fn is_listening(&self) -> bool {
        self.all.iter().any(|acceptor| acceptor.stage != ListenerStage::Stopped)
    }

    /// Whether there is a listener that is not closed.
    pub(crate) fn is_open(&self) -> bool {
        self.all.iter().any(|acceptor| acceptor.listener.is_some())
    }

    /// The listeners that are neither drained nor stopped, with their numbers.
    pub(crate) fn accepting(&self) -> impl Iterator<Item = (usize, &L)> {
        let accepting = |acceptor: &&ListenerState<L>| acceptor.stage == ListenerStage::Accepting;
        self.all.iter().enumerate().filter_map(move |(number, acceptor)| {
            Some(acceptor).filter(accepting).and_then(|acceptor| Some((number, acceptor.listener.as_ref()?)))
        })
    }

    /// Whether there is a listener to drain.
    pub(crate) fn is_draining(&self) -> bool {
        self.all.iter().any(|acceptor| acceptor.stage == ListenerStage::Draining && acceptor.listener.is_some())
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
        if acceptor.stage == ListenerStage::Stopped {
            acceptor.listener = None;
        }
    }

    /// A cancel came too late. It is repeated while the accept is in flight and should not be.
    pub(crate) fn cancel_failed<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, slot: Slot) {
        let resting = self.paused.is_some() || self.held;
        let acceptor = self.of(slot);
        acceptor.cancelled = acceptor.armed && (acceptor.stage != ListenerStage::Accepting || resting);
        if acceptor.cancelled {
            kernel.cancel(Cancellable::Accept, slot);
        }
    }

    /// Submits an accept for each listener that has none in flight. During a pause, shortens
    /// `timeout` to its end.
    pub(crate) fn arm<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K, timeout: &mut Option<Duration>) {
        if self.is_resting(kernel, timeout) {
            return;
        }
        if !self.episodes.is_empty() {
            self.episodes.resume(kernel.now());
        }
        for (at, acceptor) in self.all.iter_mut().enumerate() {
            if let Some(listener) = &acceptor.listener
                && acceptor.stage == ListenerStage::Accepting
                && !acceptor.armed
            {
                acceptor.armed = true;
                kernel.accept(listener, Self::slot(at));
            }
        }
    }

    /// Whether accepting is paused. Shortens `timeout` to the end of the pause.
    pub(super) fn is_resting<K: KernelInterface<Listener = L>>(
        &mut self,
        kernel: &K,
        timeout: &mut Option<Duration>,
    ) -> bool {
        if self.held {
            return true;
        }
        let Some(since) = self.paused else { return false };
        let left = ACCEPT_PAUSE.saturating_sub(kernel.now().saturating_sub(since));
        if left.is_zero() {
            self.paused = None;
            return false;
        }
        *timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
        true
    }

    /// Begins to drain the listeners: cancels their accepts. Those whose queue is left to another
    /// process are stopped.
    pub(crate) fn drain<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K) {
        for acceptor in self.all.iter_mut().filter(|acceptor| acceptor.stage == ListenerStage::Accepting) {
            let leaves = acceptor.listener.as_ref().is_some_and(K::leaves_queue);
            acceptor.stage = if leaves { ListenerStage::Stopped } else { ListenerStage::Draining };
            if leaves && !acceptor.armed {
                acceptor.listener = None;
            }
        }
        self.cancel(kernel);
    }

    /// Accepts the next connection in the queues of the listeners that are drained, and closes those
    /// whose queue is empty.
    pub(super) fn next_queued<K: KernelInterface<Listener = L>>(&mut self, kernel: &mut K) -> Queued {
        for (at, acceptor) in self.all.iter_mut().enumerate() {
            if acceptor.stage != ListenerStage::Draining || acceptor.armed {
                continue;
            }
            let Some(listener) = &acceptor.listener else { continue };
            match kernel.accept_queued(listener) {
                Ok(Some(descriptor)) => return Queued::Accepted(Self::slot(at), descriptor),
                Ok(None) => {
                    acceptor.stage = ListenerStage::Stopped;
                    acceptor.listener = None;
                }
                Err(errno) => return Queued::Failed(errno),
            }
        }
        Queued::None
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
            acceptor.stage = ListenerStage::Stopped;
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
