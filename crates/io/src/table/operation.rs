//! The `user_data` of requests, by which their completions are identified.

use crate::Slot;

/// Slots from this index on identify listeners; the last one identifies the waker.
pub(crate) const FIRST_LISTENER: u32 = 1 << 31;

/// The slot of the waker's completions.
pub(crate) const WAKER: Slot = Slot::new(u32::MAX, 0);

/// The operation of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Accept,
    Connect,
    Receive,
    Send,
    Wake,
    Close,
    /// Receiving on a socket for datagrams. Its slot has the number of the socket.
    ReceiveDatagrams,
    /// Its slot has the ticket.
    SendDatagram,
    /// The cancel of another operation.
    Cancel(Cancellable),
}

/// An operation that can be cancelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cancellable {
    Accept,
    Connect,
    Receive,
    Send,
    Wake,
    ReceiveDatagrams,
}

impl Cancellable {
    pub(crate) const fn operation(self) -> Operation {
        match self {
            Self::Accept => Operation::Accept,
            Self::Connect => Operation::Connect,
            Self::Receive => Operation::Receive,
            Self::Send => Operation::Send,
            Self::Wake => Operation::Wake,
            Self::ReceiveDatagrams => Operation::ReceiveDatagrams,
        }
    }

    /// The `user_data` of the request to cancel.
    pub(crate) const fn user_data(self, slot: Slot) -> u64 {
        self.operation().user_data(slot)
    }
}

impl Operation {
    const fn code(self) -> u8 {
        match self {
            Self::Accept => 1,
            Self::Connect => 2,
            Self::Receive => 3,
            Self::Send => 4,
            Self::Wake => 5,
            Self::Close => 6,
            Self::ReceiveDatagrams => 7,
            Self::SendDatagram => 16,
            Self::Cancel(target) => 8 + target.operation().code(),
        }
    }

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Accept,
            2 => Self::Connect,
            3 => Self::Receive,
            4 => Self::Send,
            5 => Self::Wake,
            6 => Self::Close,
            7 => Self::ReceiveDatagrams,
            9 => Self::Cancel(Cancellable::Accept),
            10 => Self::Cancel(Cancellable::Connect),
            11 => Self::Cancel(Cancellable::Receive),
            12 => Self::Cancel(Cancellable::Send),
            13 => Self::Cancel(Cancellable::Wake),
            15 => Self::Cancel(Cancellable::ReceiveDatagrams),
            16 => Self::SendDatagram,
            _ => return None,
        })
    }

    /// The slot's generation (24 bits), the operation (8 bits), the slot's index (32 bits).
    #[inline]
    pub(crate) const fn user_data(self, slot: Slot) -> u64 {
        (slot.generation() as u64) << 40 | (self.code() as u64) << 32 | slot.index() as u64
    }

    /// The operation and the number of its slot, if it is one on datagrams.
    #[inline]
    pub(crate) const fn of_datagrams(user_data: u64) -> Option<(Self, u32)> {
        match Self::from_user_data(user_data) {
            Some((
                operation @ (Self::ReceiveDatagrams | Self::SendDatagram | Self::Cancel(Cancellable::ReceiveDatagrams)),
                slot,
            )) => Some((operation, slot.index())),
            _ => None,
        }
    }

    /// The inverse of [`Operation::user_data`]; `None` for a number that it does not return.
    #[inline]
    pub(crate) const fn from_user_data(user_data: u64) -> Option<(Self, Slot)> {
        match Self::from_code((user_data >> 32) as u8) {
            Some(operation) => Some((operation, Slot::new(user_data as u32, (user_data >> 40) as u32))),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_encodes_the_operation_and_the_slot() {
        let mut known = 0;
        for operation in (0..=u8::MAX).filter_map(Operation::from_code) {
            for slot in [Slot::new(0, 0), Slot::new(u32::MAX, 5), Slot::new(9, (1 << 24) - 1), WAKER] {
                assert_eq!(Operation::from_user_data(operation.user_data(slot)), Some((operation, slot)));
            }
            known += 1;
        }
        assert_eq!(known, 14);
        assert_eq!(Operation::from_user_data(0), None);
    }

    #[test]
    fn a_cancel_and_its_target_have_different_user_data() {
        let slot = Slot::new(3, 4);
        for target in
            [Cancellable::Accept, Cancellable::Connect, Cancellable::Receive, Cancellable::Send, Cancellable::Wake]
        {
            assert_eq!(Operation::from_user_data(target.user_data(slot)), Some((target.operation(), slot)));
            assert_ne!(target.user_data(slot), Operation::Cancel(target).user_data(slot));
        }
    }
}
