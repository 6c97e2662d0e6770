//! One function per operation: what the kernel is asked, and how its answer is recognised.

use crate::Slot;
use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use std::os::fd::RawFd;

/// The buffer group of the one buffer ring that each io_uring has.
pub(super) const BUFFER_GROUP: u16 = 0;

/// Slots from this index on name no connection: the listeners, and last of all the waker.
pub(super) const NO_CONNECTION: u32 = 1 << 31;

/// The slot that the waker's completions bear.
pub(super) const WAKER: Slot = Slot::new(u32::MAX, 0);

const MSG_NOSIGNAL: i32 = 0x4000;
const MSG_WAITALL: i32 = 0x100;
const POLLIN: u32 = 1;

/// What a completion answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Operation {
    Accept = 1,
    Connect = 2,
    Receive = 3,
    Send = 4,
    Close = 5,
    Wake = 6,
    // One for each that can be cancelled: what a cancel's answer means depends on its target.
    CancelAccept = 7,
    CancelConnect = 8,
    CancelReceive = 9,
    CancelSend = 10,
    CancelWake = 11,
}

impl Operation {
    /// The operations that the ring's restrictions let through, by their codes in the kernel.
    pub(super) const ALLOWED: [u8; 8] = [
        opcode::AcceptMulti::CODE,
        opcode::Connect::CODE,
        opcode::RecvMulti::CODE,
        opcode::Send::CODE,
        opcode::SendMsg::CODE,
        opcode::AsyncCancel::CODE,
        opcode::Close::CODE,
        opcode::PollAdd::CODE,
    ];

    const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::Accept,
            2 => Self::Connect,
            3 => Self::Receive,
            4 => Self::Send,
            5 => Self::Close,
            6 => Self::Wake,
            7 => Self::CancelAccept,
            8 => Self::CancelConnect,
            9 => Self::CancelReceive,
            10 => Self::CancelSend,
            11 => Self::CancelWake,
            _ => return None,
        })
    }

    /// What cancels it.
    const fn cancel(self) -> Self {
        match self {
            Self::Accept | Self::CancelAccept => Self::CancelAccept,
            Self::Connect | Self::CancelConnect => Self::CancelConnect,
            Self::Send | Self::CancelSend => Self::CancelSend,
            Self::Wake | Self::CancelWake => Self::CancelWake,
            // A close cannot be cancelled, and nobody tries.
            Self::Receive | Self::CancelReceive | Self::Close => Self::CancelReceive,
        }
    }
}

/// `user_data`: the slot's generation (24 bits), the operation (8 bits), the slot's index (32 bits).
pub(super) const fn user_data(operation: Operation, slot: Slot) -> u64 {
    (slot.generation() as u64) << 40 | (operation as u64) << 32 | slot.index() as u64
}

/// The reverse of [`user_data`]; `None` for a number that this driver never gave out.
pub(super) const fn from_user_data(user_data: u64) -> Option<(Operation, Slot)> {
    match Operation::from_code((user_data >> 32) as u8) {
        Some(operation) => Some((operation, Slot::new(user_data as u32, (user_data >> 40) as u32))),
        None => None,
    }
}

/// Accepts until told otherwise (since 5.19). Addresses are asked for later: all completions would share one.
pub(super) fn accept(listener: RawFd, slot: Slot) -> Entry {
    opcode::AcceptMulti::new(types::Fd(listener))
        .flags(rustix::net::SocketFlags::CLOEXEC.bits() as i32)
        .build()
        .user_data(user_data(Operation::Accept, slot))
}

/// Connects. The address must stay where it is until the completion.
pub(super) fn connect(fd: RawFd, slot: Slot, address: &socket2::SockAddr) -> Entry {
    opcode::Connect::new(types::Fd(fd), address.as_ptr().cast(), address.len())
        .build()
        .user_data(user_data(Operation::Connect, slot))
}

/// Receives into ring buffers until told otherwise (since 6.0).
pub(super) fn receive(fd: RawFd, slot: Slot) -> Entry {
    opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build().user_data(user_data(Operation::Receive, slot))
}

/// Sends all of the bytes (`MSG_WAITALL`: the kernel goes on after a short write, since 5.19). They must stay
/// untouched until the completion.
pub(super) fn send(fd: RawFd, slot: Slot, bytes: &[u8]) -> Entry {
    // A length beyond 4 GiB is cut; the completion is short then, and the rest sent after it.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    opcode::Send::new(types::Fd(fd), bytes.as_ptr(), len)
        .flags(MSG_WAITALL | MSG_NOSIGNAL)
        .build()
        .user_data(user_data(Operation::Send, slot))
}

/// Sends all that the message header points to; the header, its vectors and their bytes must stay until the completion.
pub(super) fn send_gathered(fd: RawFd, slot: Slot, message: &super::gather::Gather) -> Entry {
    opcode::SendMsg::new(types::Fd(fd), message.header())
        .flags((MSG_WAITALL | MSG_NOSIGNAL) as u32)
        .build()
        .user_data(user_data(Operation::Send, slot))
}

/// Cancels one operation of a slot, found by its `user_data`: cancelling by descriptor would scan every request.
pub(super) fn cancel(operation: Operation, slot: Slot) -> Entry {
    opcode::AsyncCancel::new(user_data(operation, slot)).build().user_data(user_data(operation.cancel(), slot))
}

/// Closes the descriptor.
pub(super) fn close(fd: RawFd, slot: Slot) -> Entry {
    opcode::Close::new(types::Fd(fd)).build().user_data(user_data(Operation::Close, slot))
}

/// Watches the waker's eventfd until told otherwise (since 5.13).
pub(super) fn watch_waker(fd: RawFd) -> Entry {
    opcode::PollAdd::new(types::Fd(fd), POLLIN).multi(true).build().user_data(user_data(Operation::Wake, WAKER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_survives_the_way_through_the_kernel() {
        for operation in [Operation::Accept, Operation::Receive, Operation::Wake] {
            for slot in [Slot::new(0, 0), Slot::new(u32::MAX, 5), Slot::new(9, (1 << 24) - 1)] {
                assert_eq!(from_user_data(user_data(operation, slot)), Some((operation, slot)));
            }
        }
        assert_eq!(from_user_data(0), None);
    }
}
