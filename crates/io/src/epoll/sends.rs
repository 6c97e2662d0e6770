//! The sends whose outputs are with the driver: how much of each is written.

use super::transfer;
use crate::Output;
use crate::slab::Slab;
use rustix::io::Errno;
use std::os::fd::BorrowedFd;

/// A send that has not been taken back.
#[derive(Debug)]
pub(crate) struct HeldSend {
    pub(crate) output: Output,
    pub(crate) written: usize,
    /// The number of bytes to write. The rest of the output is left to another send.
    pub(crate) end: usize,
    /// Whether it completes with the first part that the socket takes.
    in_parts: bool,
}

impl HeldSend {
    pub(crate) fn new(output: Output, in_parts: bool) -> Self {
        let end = transfer::sendable(&output);
        Self { output, written: 0, end, in_parts }
    }

    /// The result of the send: the number of bytes written, at most 1 GiB.
    pub(crate) fn result(&self) -> i32 {
        i32::try_from(self.written).unwrap_or(i32::MAX)
    }

    /// A write has ended with this result. Returns the result of the send when it is complete or has
    /// failed.
    #[inline]
    pub(crate) fn wrote(&mut self, result: Result<usize, Errno>) -> Option<i32> {
        match result {
            Ok(count) => {
                self.written += count;
                // After a part, the socket is full, and its next space causes an event.
                (self.written == self.end || self.in_parts).then_some(self.result())
            }
            Err(Errno::AGAIN) => None,
            // The error is reported even after a part was written, because the socket has
            // forgotten it: a receive would report the end of the stream instead.
            Err(error) => Some(-error.raw_os_error()),
        }
    }
}

/// All sends that have not been taken back, by their ticket.
pub(super) struct Sends {
    held: Slab<HeldSend>,
}

impl Sends {
    pub(super) const fn new() -> Self {
        Self { held: Slab::new() }
    }

    /// Keeps `output` until it is taken back. Nothing is written yet.
    #[inline]
    pub(super) fn insert(&mut self, output: Output, in_parts: bool) -> u32 {
        self.held.insert(HeldSend::new(output, in_parts))
    }

    /// Writes what the socket takes of a send. Returns the result of the send when it is complete
    /// or has failed.
    pub(super) fn write(&mut self, socket: BorrowedFd<'_>, ticket: u32) -> Option<i32> {
        let send = self.held.get_mut(ticket)?;
        loop {
            match transfer::send(socket, &send.output, send.written, send.end) {
                Err(Errno::INTR) => {}
                result => return send.wrote(result),
            }
        }
    }

    /// The number of bytes of a send that are written, as [`Sends::write`] returns it.
    pub(super) fn written(&mut self, ticket: u32) -> i32 {
        self.held.get_mut(ticket).map_or(0, |send| send.result())
    }

    #[inline]
    pub(super) fn take_back(&mut self, ticket: u32) -> Option<Output> {
        self.held.remove(ticket).map(|send| send.output)
    }

    /// Whether every output was taken back.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.len() == 0
    }
}
