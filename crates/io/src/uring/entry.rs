//! One function per operation: what the kernel is asked, and the number by which its answer is
//! recognised.

use crate::Slot;
use crate::table::{Cancellable, Operation, WAKER};
use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use std::os::fd::RawFd;

/// The buffer group of the one buffer ring that each io_uring has.
pub(super) const BUFFER_GROUP: u16 = 0;

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

const MSG_NOSIGNAL: i32 = 0x4000;
const MSG_WAITALL: i32 = 0x100;
const POLLIN: u32 = 1;

/// Accepts until told otherwise (since 5.19). Addresses are asked for later: all completions would
/// share one.
pub(super) fn accept(listener: RawFd, slot: Slot) -> Entry {
    opcode::AcceptMulti::new(types::Fd(listener))
        .flags(rustix::net::SocketFlags::CLOEXEC.bits() as i32)
        .build()
        .user_data(Operation::Accept.user_data(slot))
}

/// Connects. The address must stay where it is until the completion.
pub(super) fn connect(fd: RawFd, slot: Slot, address: &socket2::SockAddr) -> Entry {
    opcode::Connect::new(types::Fd(fd), address.as_ptr().cast(), address.len())
        .build()
        .user_data(Operation::Connect.user_data(slot))
}

/// Receives into ring buffers until told otherwise (since 6.0).
pub(super) fn receive(fd: RawFd, slot: Slot) -> Entry {
    opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build().user_data(Operation::Receive.user_data(slot))
}

/// Sends all of the bytes (`MSG_WAITALL`: the kernel goes on after a short write, since 5.19). They
/// must stay untouched until the completion.
pub(super) fn send(fd: RawFd, slot: Slot, bytes: &[u8]) -> Entry {
    // A length beyond 4 GiB is cut; the completion is short then, and the rest sent after it.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    opcode::Send::new(types::Fd(fd), bytes.as_ptr(), len)
        .flags(MSG_WAITALL | MSG_NOSIGNAL)
        .build()
        .user_data(Operation::Send.user_data(slot))
}

/// Sends all that the message header points to; the header, its vectors and their bytes must stay
/// until the completion.
pub(super) fn send_gathered(fd: RawFd, slot: Slot, message: &super::gather::Gather) -> Entry {
    opcode::SendMsg::new(types::Fd(fd), message.header())
        .flags((MSG_WAITALL | MSG_NOSIGNAL) as u32)
        .build()
        .user_data(Operation::Send.user_data(slot))
}

/// Cancels one operation of a slot, found by its `user_data`: cancelling by descriptor would scan
/// every request.
pub(super) fn cancel(target: Cancellable, slot: Slot) -> Entry {
    opcode::AsyncCancel::new(target.user_data(slot)).build().user_data(Operation::Cancel(target).user_data(slot))
}

/// Closes the descriptor.
pub(super) fn close(fd: RawFd, slot: Slot) -> Entry {
    opcode::Close::new(types::Fd(fd)).build().user_data(Operation::Close.user_data(slot))
}

/// Watches the waker's eventfd until told otherwise (since 5.13).
pub(super) fn watch_waker(fd: RawFd) -> Entry {
    opcode::PollAdd::new(types::Fd(fd), POLLIN).multi(true).build().user_data(Operation::Wake.user_data(WAKER))
}
