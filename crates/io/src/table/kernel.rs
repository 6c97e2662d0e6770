//! The kernel operations that a [`SlotTable`](super::SlotTable) needs.

use super::operation::Cancellable;
use super::sockets::SocketCalls;
use crate::detached::DetachedSocket;
use crate::{Address, Listener, Output, Slot};
use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::time::Duration;

/// A kernel that takes requests. Their completions are passed to
/// [`SlotTable::complete`](super::SlotTable::complete).
///
/// A request is identified by its [`Operation::user_data`](super::Operation::user_data). Dispatch
/// is static: the table is compiled for each kernel.
pub(crate) trait KernelInterface: SocketCalls {
    /// A listener. It is dropped when no accept on it is in flight.
    type Listener;

    /// Whether connections of this listener are those of a Unix socket.
    fn is_unix(listener: &Self::Listener) -> bool;

    /// Another listener on the same socket.
    fn duplicate(listener: &Self::Listener) -> io::Result<Listener>;

    /// Whether the connections in the queue of this listener are left to another process.
    fn leaves_queue(listener: &Self::Listener) -> bool;

    /// Accepts until cancelled. It may also end with each connection.
    fn accept(&mut self, listener: &Self::Listener, slot: Slot);

    /// Accepts one connection at once; `None` if the queue is empty. For a listener without an
    /// accept in flight. An error is a positive errno.
    fn accept_queued(&mut self, listener: &Self::Listener) -> Result<Option<RawFd>, i32>;

    /// Gives up a descriptor on which nothing is in flight. The table has given it up before.
    fn detach(&mut self, descriptor: RawFd, slot: Slot) -> DetachedSocket;

    /// Takes over the socket of another driver; the table owns the descriptor. `None` for a socket of
    /// the other kind, simulated or not.
    fn attach(&mut self, socket: DetachedSocket) -> Option<RawFd>;

    /// Connects. Returns a ticket for [`KernelInterface::take_back`].
    fn connect(&mut self, descriptor: RawFd, slot: Slot, peer: &Address) -> u32;

    /// Receives into provided buffers until cancelled.
    fn receive(&mut self, descriptor: RawFd, slot: Slot);

    /// Sends all of `output`, and keeps it unchanged until [`KernelInterface::take_back`] is called
    /// with the ticket.
    fn send(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32;

    /// As [`KernelInterface::send`], but completes after each part that the kernel takes, so that a
    /// long send shows its progress in completions. For Unix sockets.
    fn send_in_parts(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32;

    /// Returns the output of a send that has completed; for a connect, frees its address.
    fn take_back(&mut self, ticket: u32) -> Option<Output>;

    /// Cancels a request of the slot.
    fn cancel(&mut self, target: Cancellable, slot: Slot);

    /// Closes a descriptor on which nothing is in flight.
    fn close(&mut self, descriptor: RawFd, slot: Slot);

    /// Whether completions, or deferred work that leads to completions, are pending.
    fn has_unreaped(&mut self) -> bool;

    /// Reports wakes of the waker until cancelled.
    fn watch_waker(&mut self);

    /// Takes the pending wakes; whether there were any.
    fn take_wake(&mut self) -> bool;

    /// Lends receive buffers to the kernel until it has `target` of them or none is left. Returns
    /// how many it has.
    fn lend(&mut self, target: u16) -> u16;

    /// The time since the driver was made.
    fn now(&self) -> Duration;

    /// Panics: the driver's user has violated the contract of [`Driver`](crate::Driver).
    #[cold]
    #[track_caller]
    fn violated(&self, rule: fmt::Arguments<'_>) -> ! {
        panic!("{rule}")
    }
}
