//! The listeners in the epoll set. They are level-triggered, because a turn may leave connections
//! in the queue of a listener.

use super::set::EpollSet;
use crate::table::Operation;
use crate::{Listener, Slot};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

/// The maximum number of connections that one turn accepts. It bounds the delay of the replies to
/// open connections.
const MAX_ACCEPTS: u32 = 64;

/// An accept that is requested.
#[derive(Debug)]
struct Accept {
    slot: Slot,
    listener: RawFd,
    /// Whether other drivers accept from the same queue.
    shared: bool,
    ready: bool,
}

/// The accepts that are requested.
#[derive(Debug)]
pub(super) struct Accepts {
    all: Vec<Accept>,
    /// How many connections this turn may still accept.
    left: u32,
    /// Where the search for the next listener begins: behind the listener that was served last.
    start: usize,
}

impl Accepts {
    pub(super) const fn new() -> Self {
        Self { all: Vec::new(), left: 0, start: 0 }
    }

    /// Begins to accept on a listener.
    pub(super) fn arm(&mut self, set: &EpollSet, listener: &Listener, slot: Slot) -> Result<(), Errno> {
        let (socket, shared) = (listener.as_fd(), listener.is_single());
        rustix::io::ioctl_fionbio(socket, true)?;
        register(set, socket, shared, slot)?;
        self.all.push(Accept { slot, listener: socket.as_raw_fd(), shared, ready: false });
        Ok(())
    }

    /// Whether other drivers accept from the queue of this request.
    pub(super) fn is_shared(&self, slot: Slot) -> bool {
        self.all.iter().any(|accept| accept.slot == slot && accept.shared)
    }

    /// Gives the next connection of a shared queue to another driver, if one waits.
    pub(super) fn pass_on(&mut self, set: &EpollSet, listener: BorrowedFd<'_>, slot: Slot) -> Result<(), Errno> {
        self.emptied(slot);
        set.delete(listener)?;
        register(set, listener, true, slot)
    }

    /// The descriptor of the listener of a request; the request ends. `None` when there is none.
    pub(super) fn disarm(&mut self, slot: Slot) -> Option<RawFd> {
        let at = self.all.iter().position(|accept| accept.slot == slot)?;
        Some(self.all.swap_remove(at).listener)
    }

    /// Whether connections may wait in the queue of a listener.
    #[cfg(feature = "tokio-uring")]
    pub(super) fn has_ready(&self) -> bool {
        self.all.iter().any(|accept| accept.ready)
    }

    pub(super) fn begin_turn(&mut self) {
        self.left = MAX_ACCEPTS;
    }

    /// Connections wait in the queue of a listener.
    pub(super) fn note(&mut self, slot: Slot) {
        for accept in self.all.iter_mut().filter(|accept| accept.slot == slot) {
            accept.ready = true;
        }
    }

    /// A listener with connections in its queue, and the slot of its request; `None` at the end of
    /// the turn's share.
    ///
    /// The listeners alternate, one connection at a time, so that a listener whose queue is never
    /// empty does not use up the share of each turn.
    pub(super) fn next(&mut self) -> Option<(Slot, RawFd)> {
        let count = self.all.len();
        let mut indices = (self.start..).map(|index| index % count).take(count);
        let index = indices.find(|index| self.all[*index].ready)?;
        self.left = self.left.checked_sub(1)?;
        self.start = (index + 1) % count;
        let ready = &self.all[index];
        Some((ready.slot, ready.listener))
    }

    /// The queue of a listener is empty.
    pub(super) fn emptied(&mut self, slot: Slot) {
        for accept in self.all.iter_mut().filter(|accept| accept.slot == slot) {
            accept.ready = false;
        }
    }
}

/// Adds a listener to the epoll set.
///
/// A connection in a shared queue wakes one of the epoll sets that wait for it, the one that was
/// added first (`EPOLLEXCLUSIVE`, since 4.5). A driver adds its listener again after each
/// connection, so that the drivers take turns.
fn register(set: &EpollSet, listener: BorrowedFd<'_>, shared: bool, slot: Slot) -> Result<(), Errno> {
    let events = if shared { EventFlags::IN | EventFlags::EXCLUSIVE } else { EventFlags::IN };
    set.add(listener, Operation::Accept, slot, events)
}

/// Accepts one connection. Does not wait. The table owns the descriptor.
pub(super) fn accept(listener: BorrowedFd<'_>) -> Result<RawFd, Errno> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::accept_with(listener, flags).map(IntoRawFd::into_raw_fd)
}
