//! Per-slot state shared by all drivers: what is in flight on each slot, and what follows from each
//! completion.
//!
//! The driver on io_uring and the simulated one share it; they differ in their [`KernelInterface`].
//! So what a seed does to the simulation it does to the code that serves connections.

mod calls;
mod complete;
mod kernel;
mod listeners;
mod obstacle;
mod operation;
mod slot_state;
mod working_set;

pub(crate) use kernel::KernelInterface;
#[cfg(any(test, feature = "sim"))]
pub(crate) use listeners::ACCEPT_PAUSE;
pub(crate) use operation::{Cancellable, Operation, WAKER};

use crate::pages::Pages;
use crate::{BufferConfig, Cause, Completion, Slot, Stats};
use listeners::Listeners;
use slot_state::{CLOSED, SlotFlag, SlotState};
use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;
use working_set::WorkingSet;

/// How many completions one turn hands out, so that a flood cannot keep replies from being
/// submitted.
///
/// There is no budget of bytes per connection on top of it: the kernel keeps one. A multishot
/// receive fills 32 buffers at most before it goes to the end of the ring's work
/// (`MULTISHOT_MAX_RETRY`), completions are worked off in the order in which they came, and whoever
/// finds no buffer waits in line with the others.
pub(crate) const BUDGET: usize = 1024;

/// The slots of one driver.
pub(crate) struct SlotTable<K: KernelInterface> {
    pub(crate) kernel: K,
    connections: Pages<SlotState>,
    /// Indices that are in nobody's use, the latest freed last.
    free: Vec<u32>,
    /// How many slots may be in use.
    max_slots: u32,
    listeners: Listeners<K::Listener>,
    /// Outgoing connections for which there was no socket: reported with the next turn.
    unconnected: Vec<(Slot, io::Error)>,
    /// Slots whose receive ended because there was no buffer, the longest waiting in front.
    starved: VecDeque<Slot>,
    /// Whether the last turn left completions in the kernel.
    unreaped: bool,
    /// Whether a receive that has ended in the last turn was armed again: the kernel learns of it
    /// with the next turn.
    rearmed: bool,
    working_set: WorkingSet,
    /// The waker is watched.
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
            starved: VecDeque::new(),
            unreaped: false,
            rearmed: false,
            working_set: WorkingSet::new(buffers),
            watching: false,
            stats: Stats::default(),
        }
    }

    /// What comes before the kernel is entered. What has to be done soon shortens `timeout`.
    #[inline]
    pub(crate) fn begin_turn(&mut self, timeout: &mut Option<Duration>, completions: &mut Vec<Completion>) {
        self.stats.turns += 1;
        self.rearmed = false;
        self.rearm_starved();
        if !self.watching {
            self.watching = true;
            self.kernel.watch_waker();
        }
        if !self.is_full() {
            self.listeners.arm(&mut self.kernel, timeout);
        }
        self.listeners.log_ends(&self.kernel, timeout);
        for (slot, error) in std::mem::take(&mut self.unconnected) {
            self.end(slot, Cause::Unconnected(error), completions);
            *timeout = Some(Duration::ZERO);
        }
    }

    /// What comes after the completions of a turn.
    #[inline]
    pub(crate) fn end_turn(&mut self) {
        self.working_set.end_turn();
        self.unreaped = self.kernel.has_unreaped();
    }

    pub(crate) fn is_full(&self) -> bool {
        self.stats.open >= u64::from(self.max_slots)
    }

    /// Whether the kernel has let go of everything that was asked of it.
    pub(crate) fn is_idle(&self) -> bool {
        self.stats.open == 0 && self.listeners.is_idle() && !self.watching
    }

    /// The descriptors that are open, none of which the table knows any more: for a kernel that
    /// takes no requests.
    pub(crate) fn take_descriptors(&mut self) -> impl Iterator<Item = RawFd> {
        self.connections.iter_mut().map(SlotState::take_fd).filter(|descriptor| *descriptor != CLOSED)
    }

    /// The connection of a slot that its user has not closed.
    #[inline]
    fn current(&mut self, slot: Slot) -> Option<&mut SlotState> {
        let connection = self.connections.get_mut(slot.index() as usize)?;
        (connection.generation == slot.generation() && connection.is(SlotFlag::Owned)).then_some(connection)
    }

    #[inline]
    fn at(&mut self, slot: Slot) -> &mut SlotState {
        &mut self.connections[slot.index() as usize]
    }

    /// Gives a slot to a descriptor, whose owner it becomes, or to nobody's yet.
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
        connection.in_flight += 1;
        let descriptor = connection.fd;
        self.kernel.receive(descriptor, slot);
    }

    /// Cancels the receive in flight, once.
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

    /// One operation of the slot has had its last completion.
    #[inline]
    fn op_completed(&mut self, slot: Slot) {
        let connection = self.at(slot);
        connection.in_flight -= 1;
        if !connection.is(SlotFlag::Owned) {
            self.release(slot);
        }
    }

    /// Continues to release a slot: closes the descriptor when nothing else is in flight, and frees
    /// the slot when that is done.
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

    /// Says that the connection has ended: once, and once more when it breaks after the peer's FIN.
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

    /// Lends the kernel buffers and re-arms as many starved receives as there are buffers for, the
    /// longest waiting first.
    #[inline]
    fn rearm_starved(&mut self) {
        let mut left = self.kernel.lend(self.working_set.target());
        while left > 0
            && let Some(slot) = self.starved.pop_front()
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
}

/// What the simulated driver looks at besides.
#[cfg(any(test, feature = "sim"))]
impl<K: KernelInterface> SlotTable<K> {
    pub(crate) fn limit(&mut self, max_slots: u32) {
        self.max_slots = max_slots;
    }

    pub(crate) fn is_listening(&self) -> bool {
        self.listeners.is_listening()
    }

    /// How many slots wait for a buffer.
    pub(crate) fn starved(&self) -> usize {
        self.starved.len()
    }

    /// How many completions the table has of its own.
    pub(crate) fn unreported(&self) -> usize {
        self.unconnected.len()
    }

    /// The slot of an index's present or next user, and whether there is a present one, closing
    /// included; nothing for an index that was never used.
    pub(crate) fn slot_at(&self, index: u32) -> Option<(Slot, bool)> {
        let connection = self.connections.get(index as usize)?;
        Some((connection.slot(index), !connection.can_free()))
    }
}

/// What tests look at.
#[cfg(test)]
impl<K: KernelInterface> SlotTable<K> {
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
