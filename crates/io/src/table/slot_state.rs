//! What the table knows of one slot.

use crate::Slot;
use crate::slab::NOWHERE;
use std::os::fd::RawFd;

/// No descriptor.
pub(crate) const CLOSED: RawFd = -1;

/// One slot: 16 bytes, whether it is in use or not.
#[derive(Debug)]
pub(crate) struct SlotState {
    /// The descriptor; its owner is this entry until the close operation takes it.
    pub(crate) fd: RawFd,
    pub(crate) generation: u32,
    /// The ticket for what the kernel holds: an output, or the address of a connect.
    pub(crate) ticket: u32,
    /// Operations whose last completion has not come.
    pub(crate) in_flight: u16,
    flags: u16,
}

/// One bit of a connection's state.
#[derive(Clone, Copy)]
pub(crate) enum SlotFlag {
    /// The user has the slot: between accept or reserve, and close.
    Owned = 1,
    /// The user wants bytes.
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
    /// `Ended` has been reported with a cause that nothing can follow.
    Broken = 256,
    /// The end of the sending direction is asked for; it follows when what is in flight is through.
    FinAsked = 512,
    /// The sending direction has been ended.
    FinSent = 1024,
    /// The slot has, or had, its connection or its one attempt at one.
    ConnectStarted = 2048,
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

    /// Whether a receive should be put in flight now.
    #[inline]
    pub(crate) fn should_arm(&self) -> bool {
        const WITH: u16 = SlotFlag::Owned as u16 | SlotFlag::WantsReceive as u16;
        const WITHOUT: u16 =
            SlotFlag::Armed as u16 | SlotFlag::Starved as u16 | SlotFlag::Ended as u16 | SlotFlag::Connecting as u16;
        self.flags & (WITH | WITHOUT) == WITH && self.fd != CLOSED
    }

    /// Whether the receive in flight has lost its purpose.
    pub(crate) fn should_disarm(&self) -> bool {
        self.is(SlotFlag::Armed) && !(self.is(SlotFlag::Owned) && self.is(SlotFlag::WantsReceive))
    }

    /// Whether bytes can be sent: on a connection that stands, with no send in flight and no FIN
    /// behind it.
    #[inline]
    pub(crate) fn can_send(&self) -> bool {
        const WITHOUT: u16 = SlotFlag::Sending as u16 | SlotFlag::Connecting as u16 | SlotFlag::FinSent as u16;
        self.flags & WITHOUT == 0 && self.fd != CLOSED
    }

    /// Whether the user is done with the slot, and the kernel too, but for the descriptor.
    pub(crate) fn can_close(&self) -> bool {
        !self.is(SlotFlag::Owned) && self.in_flight == 0 && self.fd != CLOSED
    }

    /// Whether nothing of the slot's user is left.
    pub(crate) fn can_free(&self) -> bool {
        !self.is(SlotFlag::Owned) && self.in_flight == 0 && self.fd == CLOSED
    }

    /// Makes the slot ready for its next user.
    pub(crate) fn free(&mut self, index: u32) {
        *self = Self { generation: self.slot(index).successor().generation(), ..Self::new() };
    }

    /// Gives the descriptor to the close operation.
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
