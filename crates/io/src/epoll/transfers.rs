//! How a [`Poller`](super::poller::Poller) moves the bytes of its connections: with one system call
//! for each transfer ([`Direct`]), or in batches.

use super::sends::Sends;
use super::transfer::{self, Reception};
use crate::{Output, Pool, Slot};
use std::os::fd::BorrowedFd;

/// How far a write has come.
pub(crate) enum Written {
    /// The send has ended with this result, in the terms of a completion.
    Done(i32),
    /// The socket is full. The send continues when it has room.
    Blocked,
    /// The write is in flight. [`Transfers::next`] reports its end.
    #[cfg(feature = "tokio-uring")]
    InFlight,
}

/// A transfer that was in flight, and has ended.
#[cfg(feature = "tokio-uring")]
pub(crate) enum Moved {
    Received { slot: Slot, reception: Reception },
    Written { slot: Slot, ticket: u32, written: Written },
}

/// The transfers of a poller, and the outputs whose sends have not been taken back.
pub(crate) trait Transfers {
    /// Receives into a buffer of the pool. `None` when the receive is in flight; the descriptor is
    /// then open until [`Transfers::next`] has reported its end.
    fn receive(&mut self, socket: BorrowedFd<'_>, slot: Slot, pool: &Pool) -> Option<Reception>;

    /// Keeps `output` until it is taken back. Nothing is written yet.
    fn insert(&mut self, output: Output, in_parts: bool) -> u32;

    /// Writes what the socket takes of a send. The descriptor is open as for a receive.
    fn write(&mut self, socket: BorrowedFd<'_>, slot: Slot, ticket: u32) -> Written;

    /// The number of bytes of a send that are written, as the result of a completion. For a send
    /// that is not in flight.
    fn written(&mut self, ticket: u32) -> i32;

    /// Returns the output of a send that is not in flight.
    fn take_back(&mut self, ticket: u32) -> Option<Output>;

    /// Whether transfers are collected, and begin with [`Transfers::run`].
    #[cfg(feature = "tokio-uring")]
    const BATCHED: bool = false;

    /// Begins the transfers that were collected, and completes those that can be.
    #[cfg(feature = "tokio-uring")]
    fn run(&mut self) {}

    /// The next transfer that has ended.
    #[cfg(feature = "tokio-uring")]
    fn next(&mut self) -> Option<Moved> {
        None
    }

    /// Whether transfers are collected or in flight, or their ends are not taken yet.
    fn has_work(&self) -> bool {
        false
    }

    /// Whether few writes are collected, and nothing else: then a turn without a look at the epoll set
    /// begins them. Their peers can only answer after that.
    fn is_reply(&self) -> bool {
        false
    }

    /// Whether the epoll set may have events. The answer saves a system call.
    fn may_have_events(&mut self) -> bool {
        true
    }

    /// The epoll set has no further events.
    fn drained(&mut self) {}

    /// There is something to do for the next turn.
    fn touched(&self) {}
}

/// Each transfer is one non-blocking system call, and has ended when it returns.
pub(crate) struct Direct {
    sends: Sends,
}

impl Direct {
    pub(super) const fn new() -> Self {
        Self { sends: Sends::new() }
    }

    /// Whether every output was taken back.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.sends.is_empty()
    }
}

impl Transfers for Direct {
    #[inline]
    fn receive(&mut self, socket: BorrowedFd<'_>, _slot: Slot, pool: &Pool) -> Option<Reception> {
        Some(transfer::receive(socket, pool))
    }

    #[inline]
    fn insert(&mut self, output: Output, in_parts: bool) -> u32 {
        self.sends.insert(output, in_parts)
    }

    #[inline]
    fn write(&mut self, socket: BorrowedFd<'_>, _slot: Slot, ticket: u32) -> Written {
        self.sends.write(socket, ticket).map_or(Written::Blocked, Written::Done)
    }

    fn written(&mut self, ticket: u32) -> i32 {
        self.sends.written(ticket)
    }

    #[inline]
    fn take_back(&mut self, ticket: u32) -> Option<Output> {
        self.sends.take_back(ticket)
    }
}
