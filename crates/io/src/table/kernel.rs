//! What the table asks of its kernel.

use super::operation::Cancellable;
use crate::{Output, Slot};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

/// A kernel as a [`SlotTable`](super::SlotTable) sees it: requests go in here, and what they have
/// come to is told to [`SlotTable::complete`](super::SlotTable::complete).
///
/// A request is recognised by its number, [`Operation::user_data`](super::Operation::user_data).
/// Static dispatch: a table is compiled for each kernel.
pub(crate) trait KernelInterface {
    /// What accepts are asked for on; it is dropped when no accept on it is in flight.
    type Listener;

    /// Accepts until cancelled.
    fn accept(&mut self, listener: &Self::Listener, slot: Slot);

    /// A descriptor for an outgoing connection; the table's until [`KernelInterface::close`].
    fn socket(&mut self, peer: SocketAddr) -> io::Result<RawFd>;

    /// Connects. The ticket is for [`KernelInterface::take_back`].
    fn connect(&mut self, descriptor: RawFd, slot: Slot, peer: SocketAddr) -> u32;

    /// Receives into provided buffers until cancelled.
    fn receive(&mut self, descriptor: RawFd, slot: Slot);

    /// Sends all of `output`, which it keeps untouched until [`KernelInterface::take_back`] is
    /// called with the ticket.
    fn send(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32;

    /// Gives back what was kept for a request that has completed: an output, if it was a send.
    fn take_back(&mut self, ticket: u32) -> Option<Output>;

    /// Cancels a request of the slot.
    fn cancel(&mut self, target: Cancellable, slot: Slot);

    /// Closes a descriptor that nothing is in flight on.
    fn close(&mut self, descriptor: RawFd, slot: Slot);

    /// Ends the sending direction, at once.
    fn shut_down(&mut self, descriptor: RawFd);

    /// The address of the peer.
    fn peer_address(&self, descriptor: RawFd) -> Option<SocketAddr>;

    /// The bytes that the peer has acknowledged; `None` when there is no connection.
    fn acknowledged(&self, descriptor: RawFd) -> Option<u64>;

    /// The bytes in the receive queue of the socket.
    fn unread(&self, descriptor: RawFd) -> usize;

    /// Whether completions, or work that leads to completions, are left behind.
    fn has_unreaped(&mut self) -> bool;

    /// Says when the waker is awake, until cancelled.
    fn watch_waker(&mut self);

    /// Whether a watch that has completed means that somebody has called the waker.
    fn take_wake(&mut self) -> bool;

    /// Lends receive buffers until `target` lie ready or none is left. How many lie ready.
    fn lend(&mut self, target: u16) -> u16;

    /// How much time has passed since the driver began.
    fn now(&self) -> Duration;

    /// Stops the program: the driver's user has broken a rule.
    #[cold]
    #[track_caller]
    fn violated(&self, rule: fmt::Arguments<'_>) -> ! {
        panic!("{rule}")
    }
}
