//! The state of one slot.

use crate::Slot;
use crate::slab::NOWHERE;
use std::os::fd::RawFd;

/// No descriptor.
pub(crate) const CLOSED: RawFd = -1;

/// The state of one slot, in use or not: 16 bytes.
#[derive(Debug)]
pub(crate) struct SlotState {
    /// The descriptor. This entry owns it until the close operation takes it.
    pub(crate) fd: RawFd,
    pub(crate) generation: u32,
    /// The ticket of the memory that the kernel uses: an output, or the address of a connect.
    pub(crate) ticket: u32,
    /// The number of operations whose last completion is outstanding.
    pub(crate) in_flight: u16,
    flags: u16,
}

/// One bit of a connection's state.
#[derive(Clone, Copy)]
pub(crate) enum SlotFlag {
    /// The user owns the slot: from accept or reserve until close.
    Owned = 1,
    /// The user has requested to receive.
    WantsReceive = 2,
    /// A receive is in flight.
    Armed = 4,
    /// The slot is on the starved list.
    Starved = 8,
    /// A cancel of the receive is in flight.
    Cancelled = 16,
    /// `Ended` has been reported: nothing more is received.
    Ended = 32,
    /// A send is in flight.
    Sending = 64,
    /// A connect is in flight.
    Connecting = 128,
    /// `Ended` has been reported with a cause other than `Finished`.
    Broken = 256,
    /// The user has ended the sending direction. FIN follows the send in flight.
    FinAsked = 512,
    /// FIN has been sent.
    FinSent = 1024,
    /// The slot was accepted, or `connect` was called.
    ConnectStarted = 2048,
    /// The receive in flight has received bytes.
    Served = 4096,
    /// The descriptor is a Unix socket.
    Unix = 8192,
    /// The descriptor is a UDP socket.
    Datagrams = 16384,
    /// The send has failed because the peer is gone. It is reported when what arrived before that was
    /// received. `Sending` and the ticket stay until then.
    SendFailed = 32768,
}

impl SlotState {
    pub(crate) const fn new() -> Self {
        Self { fd: CLOSED, generation: 0, ticket: NOWHERE, in_flight: 0, flags: 0 }
    }

    pub(crate) fn slot(&self, index: u32) -> Slot {
        Slot::new(index, self.generation)
    }

    #[inline]
    pub(crate) fn is(&self, flag: SlotFlag) -> bool {
        self.flags & flag as u16 != 0
    }

    #[inline]
    pub(crate) fn set(&mut self, flag: SlotFlag) {
        self.flags |= flag as u16;
    }

    #[inline]
    pub(crate) fn unset(&mut self, flag: SlotFlag) {
        self.flags &= !(flag as u16);
    }

    /// Whether a receive has to be armed.
    #[inline]
    pub(crate) fn should_arm(&self) -> bool {
        const WITH: u16 = SlotFlag::Owned as u16 | SlotFlag::WantsReceive as u16;
        const WITHOUT: u16 =
            SlotFlag::Armed as u16 | SlotFlag::Starved as u16 | SlotFlag::Ended as u16 | SlotFlag::Connecting as u16;
        self.flags & (WITH | WITHOUT) == WITH && self.fd != CLOSED
    }

    /// Whether the receive in flight has to be cancelled.
    pub(crate) fn should_disarm(&self) -> bool {
        self.is(SlotFlag::Armed) && !(self.is(SlotFlag::Owned) && self.is(SlotFlag::WantsReceive))
    }

    /// Whether a send can be submitted: on an established connection, with no send in flight,
    /// before FIN.
    #[inline]
    pub(crate) fn can_send(&self) -> bool {
        const WITHOUT: u16 = SlotFlag::Sending as u16 | SlotFlag::Connecting as u16 | SlotFlag::FinSent as u16;
        self.flags & WITHOUT == 0 && self.fd != CLOSED
    }

    /// Whether a receive is in flight, or waits for a buffer, that reports what has arrived on a broken
    /// connection, and then ends.
    pub(crate) fn reads_to_the_end(&self) -> bool {
        const WITH: u16 = SlotFlag::Owned as u16 | SlotFlag::WantsReceive as u16;
        const WITHOUT: u16 = SlotFlag::Ended as u16 | SlotFlag::Datagrams as u16;
        self.flags & (WITH | WITHOUT) == WITH && (self.is(SlotFlag::Armed) || self.is(SlotFlag::Starved))
    }

    /// Whether the connection can be given to another driver: it was accepted, and nothing was
    /// requested since.
    pub(crate) fn can_detach(&self) -> bool {
        let accepted = SlotFlag::Owned as u16 | SlotFlag::ConnectStarted as u16;
        self.flags & !(SlotFlag::Unix as u16) == accepted && self.in_flight == 0 && self.fd != CLOSED
    }

    /// Whether the descriptor can be closed: the user has closed the slot, and nothing is in
    /// flight.
    pub(crate) fn can_close(&self) -> bool {
        !self.is(SlotFlag::Owned) && self.in_flight == 0 && self.fd != CLOSED
    }

    /// Whether the slot can be freed: the descriptor is closed too.
    pub(crate) fn can_free(&self) -> bool {
        !self.is(SlotFlag::Owned) && self.in_flight == 0 && self.fd == CLOSED
    }

    /// Resets the slot for its next user.
    pub(crate) fn free(&mut self, index: u32) {
        *self = Self { generation: self.slot(index).successor().generation(), ..Self::new() };
    }

    /// Takes the descriptor out, for the close operation.
    pub(crate) fn take_fd(&mut self) -> RawFd {
        std::mem::replace(&mut self.fd, CLOSED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_slot_costs_sixteen_bytes() {
        assert_eq!(size_of::<SlotState>(), 16);
    }

    #[test]
    fn a_slot_is_freed_only_with_nothing_in_flight() {
        let mut connection = SlotState::new();
        connection.fd = 5;
        connection.set(SlotFlag::Owned);
        connection.in_flight = 1;
        assert!(!connection.can_close());
        connection.unset(SlotFlag::Owned);
        assert!(!connection.can_close());
        connection.in_flight = 0;
        assert!(connection.can_close() && !connection.can_free());
        assert_eq!(connection.take_fd(), 5);
        connection.in_flight = 1; // the close
        assert!(!connection.can_free());
        connection.in_flight = 0;
        assert!(connection.can_free());
    }
}
