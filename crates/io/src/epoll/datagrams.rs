//! Datagrams on epoll: recvmsg(2) while the socket is readable, and sendmsg(2) at once.
//!
//! The registrations are level-triggered, because a turn receives a bounded number. The buffers are
//! others than those of connections: each holds the longest datagram.

use super::set::EpollSet;
use crate::datagram::{
    BUFFER_SIZE, BUFFERS, CONTROL_ROOM, MAX_NAME, parse_address, parse_control, write_address, write_control,
};
use crate::table::Operation;
use crate::{BufferConfig, Chunk, Completion, Datagram, DatagramSocket, Pool, Slot, Stats};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Bytes with the alignment of control messages.
#[repr(C, align(8))]
struct Aligned<const N: usize>([u8; N]);

/// The sockets for datagrams of one driver.
pub(crate) struct Datagrams {
    pool: Pool,
    /// With whether they are readable.
    sockets: Vec<(DatagramSocket, bool)>,
}

impl Datagrams {
    pub(crate) fn new() -> io::Result<Self> {
        let config = BufferConfig { size: BUFFER_SIZE, count: BUFFERS, ready: Some(BUFFERS), working_set: None };
        Ok(Self { pool: Pool::new(&config).map_err(io::Error::other)?, sockets: Vec::new() })
    }

    pub(crate) fn open(&mut self, set: &EpollSet, socket: DatagramSocket) -> io::Result<()> {
        let slot = Slot::new(self.sockets.len() as u32, 0);
        set.add(socket.as_fd(), Operation::ReceiveDatagrams, slot, EventFlags::IN)?;
        self.sockets.push((socket, false));
        Ok(())
    }

    /// A socket is readable.
    pub(crate) fn note(&mut self, number: u32) {
        if let Some((_, is_readable)) = self.sockets.get_mut(number as usize) {
            *is_readable = true;
        }
    }

    /// Receives what the sockets have, as far as there are buffers.
    pub(crate) fn receive(&mut self, stats: &mut Stats, completions: &mut Vec<Completion>) {
        let Self { pool, sockets } = self;
        for (number, (socket, is_readable)) in sockets.iter_mut().enumerate() {
            if !mem::take(is_readable) {
                continue;
            }
            // The event is repeated while there is more.
            for _ in 0..BUFFERS {
                match receive(socket.as_fd(), number, pool) {
                    Ok(Some(datagram)) => {
                        stats.datagrams_received += 1;
                        completions.push(Completion::Datagram(Box::new(datagram)));
                    }
                    Ok(None) | Err(Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
    }

    /// Sends a datagram. Returns whether the kernel has taken it.
    pub(crate) fn send(&mut self, datagram: Datagram) -> bool {
        let Some((socket, _)) = self.sockets.get(datagram.socket) else { return false };
        loop {
            match send(socket.as_fd(), &datagram) {
                Ok(()) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
    }

    /// Closes the sockets: they leave the epoll set with their last descriptor, or now, because
    /// another process may have one.
    pub(crate) fn stop(&mut self, set: &EpollSet) {
        for (socket, _) in self.sockets.drain(..) {
            // It fails only in a broken epoll set.
            let _ = set.delete(socket.as_fd());
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        !self.sockets.is_empty()
    }

    pub(crate) fn duplicate(&self) -> io::Result<Vec<DatagramSocket>> {
        self.sockets.iter().map(|(socket, _)| socket.duplicate()).collect()
    }
}

/// Receives one datagram. Does not wait. `None`: one of an address that is none of UDP.
fn receive(socket: BorrowedFd<'_>, number: usize, pool: &Pool) -> Result<Option<Datagram>, Errno> {
    let index = pool.take().ok_or(Errno::NOBUFS)?;
    let (start, size) = pool.address(index);
    let (mut name, mut control) = (Aligned([0; MAX_NAME]), Aligned([0; CONTROL_ROOM]));
    let mut vector = libc::iovec { iov_base: start.cast(), iov_len: size };
    // SAFETY: a msghdr consists of pointers and integers, for which zero is a value.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut name.0).cast();
    header.msg_namelen = MAX_NAME as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = (&raw mut control.0).cast();
    header.msg_controllen = CONTROL_ROOM as _;
    // SAFETY: the header has the addresses and lengths of local variables, and of the buffer, which
    // `take` has made this call the only user of.
    let received = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
    let Ok(len) = usize::try_from(received) else {
        let error = Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
        pool.put_back(index);
        return Err(error);
    };
    // SAFETY: the index was taken above and is not put back. The call has returned and has initialised
    // the first `len` bytes.
    let buffer = unsafe { pool.guard(index, len.min(size)) };
    let Some(peer) = parse_address(&name.0[..(header.msg_namelen as usize).min(MAX_NAME)]) else { return Ok(None) };
    let controlled = (header.msg_controllen as usize).min(CONTROL_ROOM);
    Ok(Some(Datagram {
        socket: number,
        peer,
        local: parse_control(&control.0[..controlled]),
        is_truncated: header.msg_flags & libc::MSG_TRUNC != 0,
        payload: Chunk::Buffer { range: 0..buffer.len() as u32, buffer },
    }))
}

/// Sends a datagram. Does not wait.
fn send(socket: BorrowedFd<'_>, datagram: &Datagram) -> Result<(), Errno> {
    let Datagram { peer, local, payload, .. } = datagram;
    let (mut name, mut control) = (Aligned([0; MAX_NAME]), Aligned([0; CONTROL_ROOM]));
    let named = write_address(*peer, &mut name.0);
    let controlled = write_control(*local, *peer, &mut control.0);
    let bytes = payload.as_slice();
    let mut vector = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: as in `receive`.
    let mut header: libc::msghdr = unsafe { mem::zeroed() };
    header.msg_name = (&raw mut name.0).cast();
    header.msg_namelen = named as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    if controlled > 0 {
        header.msg_control = (&raw mut control.0).cast();
        header.msg_controllen = controlled as _;
    }
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the header has the addresses and lengths of local variables and of the payload, which
    // the kernel reads during the call.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags) };
    match sent {
        0.. => Ok(()),
        _ => Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)),
    }
}
