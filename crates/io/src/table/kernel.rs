//! The kernel operations that a [`SlotTable`](super::SlotTable) needs.

use super::operation::Cancellable;
use crate::{Address, ConnectOptions, Output, PeerCredentials, Slot, TcpInfo};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::Duration;

/// A kernel that takes requests. Their completions are passed to
/// [`SlotTable::complete`](super::SlotTable::complete).
///
/// A request is identified by its [`Operation::user_data`](super::Operation::user_data). Dispatch
/// is static: the table is compiled for each kernel.
pub(crate) trait KernelInterface {
    /// A listener. It is dropped when no accept on it is in flight.
    type Listener;

    /// Whether connections of this listener are those of a Unix socket.
    fn is_unix(listener: &Self::Listener) -> bool;

    /// Accepts until cancelled. It may also end with each connection.
    fn accept(&mut self, listener: &Self::Listener, slot: Slot);

    /// Creates a descriptor for an outgoing connection. The table owns it until
    /// [`KernelInterface::close`].
    fn socket(&mut self, peer: &Address, options: &ConnectOptions) -> io::Result<RawFd>;

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

    /// Ends the sending direction immediately.
    fn shut_down(&mut self, descriptor: RawFd);

    /// The address of the peer.
    fn peer_address(&self, descriptor: RawFd) -> Option<SocketAddr>;

    /// The process at the other end of a Unix socket.
    fn peer_credentials(&self, descriptor: RawFd) -> Option<PeerCredentials>;

    /// The bytes that the peer has acknowledged; `None` when there is no connection. For TCP.
    fn acknowledged(&self, descriptor: RawFd) -> Option<u64>;

    /// The state of the connection; `None` when there is no connection. For TCP.
    fn tcp_info(&self, descriptor: RawFd) -> Option<TcpInfo>;

    /// The memory of what was sent and not read by the peer. For Unix sockets.
    fn queued(&self, descriptor: RawFd) -> Option<u32>;

    /// The bytes in the receive queue of the socket.
    fn unread(&self, descriptor: RawFd) -> usize;

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
