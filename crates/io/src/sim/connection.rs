//! What the simulated driver knows of one slot.

use super::kernel::Descriptor;
use crate::{Output, Slot};
use std::rc::Rc;

/// How far the end of the sending direction is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Fin {
    #[default]
    Open,
    /// Asked for while a send was in flight; it follows once all is sent.
    Asked,
    Sent,
}

/// One slot of the driver, in use or not.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) generation: u32,
    pub(super) descriptor: Option<Descriptor>,
    /// Operations whose last completion has not come.
    pub(super) in_flight: u16,
    /// The user has the slot: between accept or reserve, and close.
    pub(super) owned: bool,
    /// The user wants bytes.
    pub(super) wanted: bool,
    /// A receive is in flight.
    pub(super) armed: bool,
    /// A cancel of the receive is in flight.
    pub(super) cancelled: bool,
    /// The slot is on the starved list.
    pub(super) starved: bool,
    /// A connect is in flight.
    pub(super) connecting: bool,
    /// `Ended` has been reported.
    pub(super) ended: bool,
    /// `Ended` has been reported with a cause that nothing can follow.
    pub(super) broken: bool,
    pub(super) fin: Fin,
    /// What is being sent. The kernel has the other reference.
    pub(super) output: Option<Rc<Output>>,
}

impl Connection {
    pub(super) fn slot(&self, index: u32) -> Slot {
        Slot::new(index, self.generation)
    }

    /// Whether a receive should be put in flight now.
    pub(super) fn should_arm(&self) -> bool {
        self.owned
            && self.wanted
            && !self.armed
            && !self.starved
            && !self.connecting
            && !self.ended
            && self.descriptor.is_some()
    }

    /// Whether the user is done with the slot, and the kernel too, but for the descriptor.
    pub(super) fn can_close(&self) -> bool {
        !self.owned && self.in_flight == 0 && self.descriptor.is_some()
    }

    /// Whether nothing of the slot's user is left.
    pub(super) fn can_free(&self) -> bool {
        !self.owned && self.in_flight == 0 && self.descriptor.is_none()
    }

    /// Makes the slot ready for its next user.
    pub(super) fn free(&mut self, index: u32) {
        *self = Self { generation: self.slot(index).successor().generation(), ..Self::default() };
    }
}
