//! The submission entries: one function per operation.

use crate::Slot;
use crate::table::{Cancellable, Operation, WAKER};
use io_uring::squeue::Entry;
use io_uring::{opcode, types};
use std::os::fd::RawFd;

/// The group of the buffer ring. Each io_uring has one.
pub(super) const BUFFER_GROUP: u16 = 0;

/// The opcodes that the restrictions of the ring allow.
pub(super) const ALLOWED: [u8; 9] = [
    opcode::AcceptMulti::CODE,
    opcode::Connect::CODE,
    opcode::RecvMulti::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::RecvMsgMulti::CODE,
    opcode::AsyncCancel::CODE,
    opcode::Close::CODE,
    opcode::PollAdd::CODE,
];

const MSG_NOSIGNAL: i32 = 0x4000;
const MSG_DONTWAIT: i32 = 0x40;
const MSG_WAITALL: i32 = 0x100;
const POLLIN: u32 = 1;

/// Accepts until cancelled (since 5.19). No address buffer is passed, because all completions would
/// share it.
pub(super) fn accept(listener: RawFd, slot: Slot) -> Entry {
    opcode::AcceptMulti::new(types::Fd(listener))
        .flags(rustix::net::SocketFlags::CLOEXEC.bits() as i32)
        .build()
        .user_data(Operation::Accept.user_data(slot))
}

/// Accepts one connection (since 5.5) from a queue that other rings use too. An accept waits at the
/// end of the queue's waiters, and the kernel wakes only the first of them. Several rings therefore
/// take turns: a multishot accept keeps its place, so one of them would get all connections.
pub(super) fn accept_one(listener: RawFd, slot: Slot) -> Entry {
    opcode::Accept::new(types::Fd(listener), std::ptr::null_mut(), std::ptr::null_mut())
        .flags(rustix::net::SocketFlags::CLOEXEC.bits() as i32)
        .build()
        .user_data(Operation::Accept.user_data(slot))
}

/// Connects. The address must not move or change until the completion.
pub(super) fn connect(fd: RawFd, slot: Slot, address: &socket2::SockAddr) -> Entry {
    opcode::Connect::new(types::Fd(fd), address.as_ptr().cast(), address.len())
        .build()
        .user_data(Operation::Connect.user_data(slot))
}

/// Receives into provided buffers until cancelled (since 6.0).
pub(super) fn receive(fd: RawFd, slot: Slot) -> Entry {
    opcode::RecvMulti::new(types::Fd(fd), BUFFER_GROUP).build().user_data(Operation::Receive.user_data(slot))
}

/// How much of an output one send writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SendMode {
    /// All of it: the kernel continues after a short write (`MSG_WAITALL`, since 5.19).
    All,
    /// As much as there is room for, once there is room.
    Part,
}

impl SendMode {
    fn flags(self) -> i32 {
        match self {
            Self::All => MSG_WAITALL | MSG_NOSIGNAL,
            Self::Part => MSG_NOSIGNAL,
        }
    }
}

/// Sends the bytes. They must not change until the completion.
pub(super) fn send(fd: RawFd, slot: Slot, bytes: &[u8], mode: SendMode) -> Entry {
    // A length above 4 GiB is truncated. The completion is then short, and the rest is sent
    // afterwards.
    let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    opcode::Send::new(types::Fd(fd), bytes.as_ptr(), len)
        .flags(mode.flags())
        .build()
        .user_data(Operation::Send.user_data(slot))
}

/// Sends the bytes that the message header points to. The header, its vectors and their bytes must
/// not move or change until the completion.
pub(super) fn send_gathered(fd: RawFd, slot: Slot, message: &super::gather::Gather, mode: SendMode) -> Entry {
    opcode::SendMsg::new(types::Fd(fd), message.header())
        .flags(mode.flags() as u32)
        .build()
        .user_data(Operation::Send.user_data(slot))
}

/// Cancels one operation of a slot by its `user_data`. A cancel by descriptor would scan all
/// requests.
pub(super) fn cancel(target: Cancellable, slot: Slot) -> Entry {
    opcode::AsyncCancel::new(target.user_data(slot)).build().user_data(Operation::Cancel(target).user_data(slot))
}

/// Closes the descriptor.
pub(super) fn close(fd: RawFd, slot: Slot) -> Entry {
    opcode::Close::new(types::Fd(fd)).build().user_data(Operation::Close.user_data(slot))
}

/// Polls the waker's eventfd until cancelled (since 5.13).
pub(super) fn watch_waker(fd: RawFd) -> Entry {
    opcode::PollAdd::new(types::Fd(fd), POLLIN).multi(true).build().user_data(Operation::Wake.user_data(WAKER))
}

/// Receives datagrams into provided buffers of a group until cancelled (since 6.0). The header must
/// not move or change until the last completion.
pub(super) fn receive_datagrams(fd: RawFd, number: usize, header: *const libc::msghdr, group: u16) -> Entry {
    opcode::RecvMsgMulti::new(types::Fd(fd), header, group)
        .build()
        .user_data(Operation::ReceiveDatagrams.user_data(Slot::new(number as u32, 0)))
}

/// Sends the datagram that the message header describes, unless the socket's send buffer is full
/// (EAGAIN). The header and what it points to must not move or change until the completion.
pub(super) fn send_datagram(fd: RawFd, ticket: u32, header: *const libc::msghdr) -> Entry {
    opcode::SendMsg::new(types::Fd(fd), header)
        .flags((MSG_NOSIGNAL | MSG_DONTWAIT) as u32)
        .build()
        .user_data(Operation::SendDatagram.user_data(Slot::new(ticket, 0)))
}
