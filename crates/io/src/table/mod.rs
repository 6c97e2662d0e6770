//! Per-slot state shared by all drivers: what is in flight on each slot, and what follows from each
//! completion.
//!
//! The drivers on io_uring, on epoll and on the simulated kernel differ only in their
//! [`KernelInterface`], so the simulation tests the code that serves real connections.

mod calls;
mod complete;
mod forward;
mod kernel;
mod listeners;
mod obstacle;
mod operation;
mod slot_state;
mod sockets;
mod working_set;

pub(crate) use forward::forward;
pub(crate) use kernel::KernelInterface;
#[cfg(any(test, feature = "sim"))]
pub(crate) use listeners::ACCEPT_PAUSE;
pub(crate) use obstacle::Obstacle;
pub(crate) use operation::{Cancellable, Operation, WAKER};
pub(crate) use sockets::RealDescriptors;
#[cfg(any(test, feature = "sim"))]
pub(crate) use sockets::SocketCalls;

use crate::pages::Pages;
use crate::{BufferConfig, Cause, Completion, Output, Slot, Stats};
use listeners::{Listeners, Queued};
use slot_state::{CLOSED, SlotFlag, SlotState};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;
use working_set::WorkingSet;

/// The maximum number of completions per turn. It bounds the delay of the replies, which are
/// submitted with the next turn.
///
/// A budget of bytes per connection is not needed here, because the kernel has one: a multishot
/// receive fills at most 32 buffers before it is queued behind the other work of the ring
/// (`MULTISHOT_MAX_RETRY`), and the driver on epoll receives once per connection and turn. Completions are handled in order. Connections without a buffer wait in
/// two queues: those that have received nothing since they were armed come first.
pub(crate) const BUDGET: usize = 1024;

/// The maximum number of connections that one turn accepts from the queues of listeners that are
/// drained. It bounds the delay of the open connections.
const MAX_QUEUED: usize = 64;

/// The slots of one driver.
pub(crate) struct SlotTable<K: KernelInterface> {
    pub(crate) kernel: K,
    connections: Pages<SlotState>,
    /// Free indices. The one that was freed last is reused first.
    free: Vec<u32>,
    /// The maximum number of slots in use.
    max_slots: u32,
    listeners: Listeners<K::Listener>,
    /// Outgoing connections whose socket could not be created. The next turn reports them.
    unconnected: Vec<(Slot, io::Error)>,
    /// The number of sends that have failed and are not reported yet.
    failed_sends: u32,
    /// The outputs of those whose slots were closed. The next turn reports them.
    released: Vec<Output>,
    /// Slots whose receive ended because no buffer was available, the longest waiting first.
    starved: VecDeque<Slot>,
    /// The same, of slots that had received nothing since they were armed.
    unserved: VecDeque<Slot>,
    /// Whether the last turn left completions in the kernel.
    unreaped: bool,
    /// Whether the last turn armed a receive again that had ended. It is submitted with the next
    /// turn.
    rearmed: bool,
    working_set: WorkingSet,
    /// The number of completed sends by slot index, for Unix sockets. It has no entries without
    /// them.
    unix_sends: Pages<u32>,
    /// Whether a poll of the waker is in flight.
    watching: bool,
    pub(crate) stats: Stats,
}

impl<K: KernelInterface> SlotTable<K> {
    pub(crate) fn new(kernel: K, buffers: &BufferConfig, max_slots: u32) -> Self {
        Self {
            kernel,
            connections: Pages::new(),
            free: Vec::new(),
            max_slots,
            listeners: Listeners::new(),
            unconnected: Vec::new(),
            failed_sends: 0,
            released: Vec::new(),
            starved: VecDeque::new(),
            unserved: VecDeque::new(),
            unreaped: false,
            rearmed: false,
            working_set: WorkingSet::new(buffers),
            unix_sends: Pages::new(),
            watching: false,
            stats: Stats::default(),
        }
    }

    /// The part of a turn before its system call. Shortens `timeout` to what is due earlier.
    #[inline]
    pub(crate) fn begin_turn(&mut self, timeout: &mut Option<Duration>, completions: &mut Vec<Completion>) {
        self.stats.turns += 1;
        self.rearmed = false;
        let known = completions.len();
        self.rearm_starved(timeout, completions);
        if !self.watching {
            self.watching = true;
            self.kernel.watch_waker();
        }
        if !self.is_full() {
            self.listeners.arm(&mut self.kernel, timeout);
        }
        if self.listeners.is_draining() {
            self.accept_queued(timeout, completions);
        }
        self.listeners.log_ends(&self.kernel, timeout);
        for (slot, error) in std::mem::take(&mut self.unconnected) {
            self.end(slot, Cause::Unconnected(error), completions);
        }
        completions.extend(self.released.drain(..).map(|output| Completion::Released { output }));
        if completions.len() > known {
            *timeout = Some(Duration::ZERO);
        }
    }

    /// Accepts connections in the queues of the listeners that are drained.
    #[cold]
    fn accept_queued(&mut self, timeout: &mut Option<Duration>, completions: &mut Vec<Completion>) {
        for _ in 0..MAX_QUEUED {
            // A freed slot is a completion, and so begins another turn.
            if self.is_full() || self.listeners.is_resting(&self.kernel, timeout) {
                return;
            }
            match self.listeners.next_queued(&mut self.kernel) {
                Queued::Accepted(listener, descriptor) => {
                    self.report_accepted(listener, descriptor, completions);
                    *timeout = Some(Duration::ZERO);
                }
                Queued::Failed(errno) => {
                    if let Some(obstacle) = Obstacle::of(errno) {
                        self.pause_accepting(obstacle);
                    }
                }
                Queued::None => {
                    if !self.listeners.is_open() {
                        // The driver's user waits for the end of listening, which is no completion.
                        *timeout = Some(Duration::ZERO);
                    }
                    return;
                }
            }
        }
    }

    /// The part of a turn after its completions.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        self.working_set.end_turn();
        self.unreaped = self.kernel.has_unreaped();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.stats.open >= u64::from(self.max_slots)
    }

    /// Whether no operation is in flight.
    pub(crate) fn is_idle(&self) -> bool {
        self.stats.open == 0 && self.listeners.is_idle() && !self.watching
    }

    /// Takes all open descriptors out of the table. For the teardown of a driver that cannot
    /// submit.
    pub(crate) fn take_descriptors(&mut self) -> impl Iterator<Item = RawFd> {
        self.connections.iter_mut().map(SlotState::take_fd).filter(|descriptor| *descriptor != CLOSED)
    }

    /// The state of a slot that its user has not closed.
    #[inline]
    fn current(&mut self, slot: Slot) -> Option<&mut SlotState> {
        let connection = self.connections.get_mut(slot.index() as usize)?;
        (connection.generation == slot.generation() && connection.is(SlotFlag::Owned)).then_some(connection)
    }

    #[inline]
    fn at(&mut self, slot: Slot) -> &mut SlotState {
        &mut self.connections[slot.index() as usize]
    }

    /// Takes a slot into use, with a descriptor that it owns from now on, or with `CLOSED`.
    fn adopt(&mut self, descriptor: RawFd) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            let index = self.connections.len();
            self.connections.grow(index + 1, SlotState::new);
            index as u32
        });
        let connection = &mut self.connections[index as usize];
        connection.fd = descriptor;
        connection.set(SlotFlag::Owned);
        if descriptor != CLOSED {
            connection.set(SlotFlag::ConnectStarted);
        }
        self.stats.open += 1;
        connection.slot(index)
    }

    #[inline]
    fn arm(&mut self, slot: Slot) {
        let connection = self.at(slot);
        connection.set(SlotFlag::Armed);
        connection.unset(SlotFlag::Served);
        connection.in_flight += 1;
        let descriptor = connection.fd;
        self.kernel.receive(descriptor, slot);
    }

    /// Arms a receive, unless others wait for a buffer: those come first.
    #[inline]
    fn arm_in_turn(&mut self, slot: Slot) {
        if self.starved.is_empty() && self.unserved.is_empty() {
            self.arm(slot);
        } else {
            self.wait_for_buffer(slot);
        }
    }

    /// Puts a slot into the queue of those that wait for a buffer.
    fn wait_for_buffer(&mut self, slot: Slot) {
        let connection = self.at(slot);
        connection.set(SlotFlag::Starved);
        let queue = if connection.is(SlotFlag::Served) { &mut self.starved } else { &mut self.unserved };
        queue.push_back(slot);
    }

    /// Cancels the receive in flight, unless a cancel is in flight already.
    fn disarm(&mut self, slot: Slot) {
        let connection = self.at(slot);
        if connection.is(SlotFlag::Armed) && !connection.is(SlotFlag::Cancelled) {
            connection.set(SlotFlag::Cancelled);
            self.cancel(Cancellable::Receive, slot);
        }
    }

    fn cancel(&mut self, target: Cancellable, slot: Slot) {
        self.at(slot).in_flight += 1;
        self.kernel.cancel(target, slot);
    }

    /// Sends FIN now.
    fn shut_down(&mut self, slot: Slot) {
        let connection = self.at(slot);
        connection.set(SlotFlag::FinSent);
        let descriptor = connection.fd;
        self.kernel.shut_down(descriptor);
    }

    /// Counts the last completion of an operation of the slot.
    #[inline]
    fn op_completed(&mut self, slot: Slot) {
        let connection = self.at(slot);
        connection.in_flight -= 1;
        if !connection.is(SlotFlag::Owned) {
            self.release(slot);
        }
    }

    /// Continues to release a slot: closes the descriptor when nothing else is in flight, and frees
    /// the slot after that.
    fn release(&mut self, slot: Slot) {
        let connection = self.at(slot);
        if connection.can_close() {
            let descriptor = connection.take_fd();
            connection.in_flight += 1;
            self.kernel.close(descriptor, slot);
        } else if connection.can_free() {
            connection.free(slot.index());
            self.free.push(slot.index());
            self.stats.open -= 1;
            self.listeners.slot_freed();
        }
    }

    /// Reports that the connection has ended: once, and once more when it breaks after the peer's
    /// FIN.
    fn end(&mut self, slot: Slot, cause: Cause, completions: &mut Vec<Completion>) {
        let Some(connection) = self.current(slot) else { return };
        let finished = matches!(cause, Cause::Finished);
        if connection.is(SlotFlag::Broken) || connection.is(SlotFlag::Ended) && finished {
            return;
        }
        connection.set(SlotFlag::Ended);
        if !finished {
            connection.set(SlotFlag::Broken);
        }
        completions.push(Completion::Ended { slot, cause });
    }

    /// Lends buffers to the kernel, and arms as many starved receives as there are buffers for.
    /// Those that have received nothing since they were last armed come first: an armed receive
    /// takes as many buffers as it has bytes for, so a fast sender would take all of them each
    /// time.
    #[inline]
    fn rearm_starved(&mut self, timeout: &mut Option<Duration>, completions: &mut Vec<Completion>) {
        let mut left = self.kernel.lend(self.working_set.target());
        if self.failed_sends > 0 {
            self.report_starved(left == 0, timeout, completions);
        }
        while left > 0
            && let Some(slot) = self.unserved.pop_front().or_else(|| self.starved.pop_front())
        {
            if let Some(connection) = self.current(slot) {
                connection.unset(SlotFlag::Starved);
                if connection.should_arm() {
                    self.arm(slot);
                    left -= 1;
                }
            }
        }
    }

    /// Reports the failed sends of slots that were paused while they waited for a buffer, and of all that
    /// wait although there is none: all buffers could belong to such sends. If others remain, another
    /// turn follows at once.
    #[cold]
    fn report_starved(
        &mut self,
        without_buffers: bool,
        timeout: &mut Option<Duration>,
        completions: &mut Vec<Completion>,
    ) {
        for slot in self.starved_sends() {
            if without_buffers || !self.at(slot).is(SlotFlag::WantsReceive) {
                self.report_failed_send(slot, completions);
            } else {
                *timeout = Some(Duration::ZERO);
            }
        }
    }

    /// The slots with a failed send that wait for a buffer.
    fn starved_sends(&self) -> Vec<Slot> {
        let waiting = self.unserved.iter().chain(&self.starved).copied();
        waiting.filter(|slot| self.open_connection(*slot).is_some_and(|state| state.is(SlotFlag::SendFailed))).collect()
    }

    /// Whether the next turn has something to do about a failed send, which no event announces.
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn has_starved_send(&self) -> bool {
        self.failed_sends > 0 && !self.starved_sends().is_empty()
    }
}

/// For the simulated driver.
#[cfg(any(test, feature = "sim"))]
impl<K: KernelInterface> SlotTable<K> {
    pub(crate) fn limit(&mut self, max_slots: u32) {
        self.max_slots = max_slots;
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.listeners.is_listening()
    }

    /// Whether a listener is drained.
    pub(crate) fn is_draining(&self) -> bool {
        self.listeners.is_draining()
    }

    /// The number of slots that wait for a buffer.
    pub(crate) fn starved(&self) -> usize {
        self.starved.len() + self.unserved.len()
    }

    /// The number of completions that the table has and the kernel has not.
    pub(crate) fn unreported(&self) -> usize {
        self.unconnected.len() + self.released.len() + self.failed_sends as usize
    }

    /// The current or next slot of an index, and whether it is in use or closing; `None` for an
    /// index that was never used.
    pub(crate) fn slot_at(&self, index: u32) -> Option<(Slot, bool)> {
        let connection = self.connections.get(index as usize)?;
        Some((connection.slot(index), !connection.can_free()))
    }
}

/// For tests.
#[cfg(test)]
impl<K: KernelInterface> SlotTable<K> {
    pub(crate) fn descriptor_of(&self, slot: Slot) -> RawFd {
        self.connections[slot.index() as usize].fd
    }

    pub(crate) fn in_flight(&self, slot: Slot) -> u16 {
        self.connections[slot.index() as usize].in_flight
    }

    pub(crate) fn is_accepting(&self) -> bool {
        !self.listeners.is_idle()
    }

    pub(crate) fn ready(&self) -> u16 {
        self.working_set.target()
    }
}
