//! How an event is told from another: the numbers that requests bear.

use crate::Slot;

/// What an event answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    Connect = 2,
    Receive = 3,
    Send = 4,
    Close = 5,
    Wake = 6,
    CancelAccept = 7,
    CancelConnect = 8,
    CancelReceive = 9,
    CancelSend = 10,
}

impl Operation {
    const ALL: [Self; 10] = [
        Self::Accept,
        Self::Connect,
        Self::Receive,
        Self::Send,
        Self::Close,
        Self::Wake,
        Self::CancelAccept,
        Self::CancelConnect,
        Self::CancelReceive,
        Self::CancelSend,
    ];

    /// The slot that operations of no connection bear.
    pub(super) const NOBODY: Slot = Slot::new(u32::MAX, 0);

    /// Generation (24 bits), operation (8 bits), index (32 bits), as in the io_uring driver.
    pub(super) fn user_data(self, slot: Slot) -> u64 {
        u64::from(slot.generation()) << 40 | (self as u64) << 32 | u64::from(slot.index())
    }

    pub(super) fn from_user_data(user_data: u64) -> Option<(Self, Slot)> {
        let operation = Self::ALL.into_iter().find(|operation| *operation as u8 == (user_data >> 32) as u8)?;
        Some((operation, Slot::new(user_data as u32, (user_data >> 40) as u32)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_survives_the_way_through_the_kernel() {
        for operation in Operation::ALL {
            for slot in [Slot::new(0, 0), Slot::new(9, (1 << 24) - 1), Operation::NOBODY] {
                assert_eq!(Operation::from_user_data(operation.user_data(slot)), Some((operation, slot)));
            }
        }
        assert_eq!(Operation::from_user_data(0), None);
    }
}
