//! What the driver knows of one slot.

use crate::Slot;
use crate::slab::NOWHERE;
use std::os::fd::RawFd;

/// No descriptor.
const CLOSED: RawFd = -1;

/// One slot of the driver: 20 bytes, whether it is in use or not.
#[derive(Debug)]
pub(super) struct Connection {
    /// The descriptor; its owner is this entry until the close operation takes it.
    pub(super) fd: RawFd,
    pub(super) slot_generation: u32,
    /// Where what the kernel holds of ours lies: an output, or the address of a connect.
    pub(super) held: u32,
    /// Operations whose last completion has not come.
    pub(super) in_flight: u16,
    flags: u16,
}

/// One bit of a connection's state.
#[derive(Clone, Copy)]
pub(super) enum Flag {
    /// The engine has the slot: between accept or reserve, and close.
    Owned = 1,
    /// The engine wants bytes.
    Wanted = 2,
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
    Dialed = 2048,
}

impl Connection {
    pub(super) const fn new() -> Self {
        Self { fd: CLOSED, slot_generation: 0, held: NOWHERE, in_flight: 0, flags: 0 }
    }

    pub(super) fn slot(&self, index: u32) -> Slot {
        Slot::new(index, self.slot_generation)
    }

    pub(super) fn is(&self, flag: Flag) -> bool {
        self.flags & flag as u16 != 0
    }

    pub(super) fn set(&mut self, flag: Flag) {
        self.flags |= flag as u16;
    }

    pub(super) fn unset(&mut self, flag: Flag) {
        self.flags &= !(flag as u16);
    }

    /// Whether a receive should be put in flight now.
    pub(super) fn should_arm(&self) -> bool {
        const WITH: u16 = Flag::Owned as u16 | Flag::Wanted as u16;
        const WITHOUT: u16 = Flag::Armed as u16 | Flag::Starved as u16 | Flag::Ended as u16 | Flag::Connecting as u16;
        self.flags & (WITH | WITHOUT) == WITH && self.fd != CLOSED
    }

    /// Whether the receive in flight has lost its purpose.
    pub(super) fn should_disarm(&self) -> bool {
        self.is(Flag::Armed) && !(self.is(Flag::Owned) && self.is(Flag::Wanted))
    }

    /// Whether there is a connection that bytes can be sent on: neither none yet, nor one in the making.
    pub(super) fn is_connected(&self) -> bool {
        self.fd != CLOSED && !self.is(Flag::Connecting)
    }

    /// Whether the engine is done with the slot, and the kernel too, but for the descriptor.
    pub(super) fn can_close(&self) -> bool {
        !self.is(Flag::Owned) && self.in_flight == 0 && self.fd != CLOSED
    }

    /// Whether nothing of the slot's user is left.
    pub(super) fn can_free(&self) -> bool {
        !self.is(Flag::Owned) && self.in_flight == 0 && self.fd == CLOSED
    }

    /// Makes the slot ready for its next user.
    pub(super) fn free(&mut self, index: u32) -> Slot {
        let slot = self.slot(index).successor();
        self.slot_generation = slot.generation();
        self.flags = 0;
        self.held = NOWHERE;
        slot
    }

    /// Gives the descriptor to the close operation.
    pub(super) fn take_fd(&mut self) -> RawFd {
        std::mem::replace(&mut self.fd, CLOSED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_slot_costs_twenty_bytes() {
        assert!(size_of::<Connection>() <= 20);
    }

    #[test]
    fn a_slot_is_freed_only_with_nothing_in_flight() {
        let mut connection = Connection::new();
        connection.fd = 5;
        connection.set(Flag::Owned);
        connection.in_flight = 1;
        assert!(!connection.can_close());
        connection.unset(Flag::Owned);
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
