//! The calls on a socket that take effect immediately, without a completion, and the sockets of
//! outgoing connections.

use crate::{Address, PeerCredentials, tcp_info, unix};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};

/// The immediate calls of a [`KernelInterface`](super::KernelInterface), on descriptors that the
/// table owns.
pub(crate) trait SocketCalls {
    /// Ends the sending direction.
    fn shut_down(&mut self, descriptor: RawFd);

    /// The address of the peer.
    fn peer_address(&self, descriptor: RawFd) -> Option<SocketAddr>;

    /// The process at the other end of a Unix socket.
    fn peer_credentials(&self, descriptor: RawFd) -> Option<PeerCredentials>;

    /// The bytes that the peer has acknowledged; `None` when there is no connection. For TCP.
    fn acknowledged(&self, descriptor: RawFd) -> Option<u64>;

    /// The memory of what was sent and not read by the peer. For Unix sockets.
    fn queued(&self, descriptor: RawFd) -> Option<u32>;

    /// The bytes in the receive queue of the socket.
    fn unread(&self, descriptor: RawFd) -> usize;
}

/// A kernel whose descriptors are those of this process, and not numbers of the simulation.
pub(crate) trait RealDescriptors {}

impl<K: RealDescriptors> SocketCalls for K {
    fn shut_down(&mut self, descriptor: RawFd) {
        // It fails only when the connection is gone, which the receive reports.
        let _ = rustix::net::shutdown(borrow(&descriptor), rustix::net::Shutdown::Write);
    }

    fn peer_address(&self, descriptor: RawFd) -> Option<SocketAddr> {
        rustix::net::getpeername(borrow(&descriptor)).ok()??.try_into().ok()
    }

    fn peer_credentials(&self, descriptor: RawFd) -> Option<PeerCredentials> {
        unix::peer_credentials(borrow(&descriptor))
    }

    fn acknowledged(&self, descriptor: RawFd) -> Option<u64> {
        tcp_info::acknowledged(borrow(&descriptor))
    }

    fn queued(&self, descriptor: RawFd) -> Option<u32> {
        unix::queued(borrow(&descriptor))
    }

    fn unread(&self, descriptor: RawFd) -> usize {
        rustix::io::ioctl_fionread(borrow(&descriptor)).map_or(0, |len| len as usize)
    }
}

/// A socket for an outgoing connection.
pub(crate) fn new_socket(peer: &Address, kind: Type) -> io::Result<RawFd> {
    let Address::Tcp(peer) = peer else {
        return Ok(Socket::new(Domain::UNIX, kind, None)?.into_raw_fd());
    };
    let socket = Socket::new(Domain::for_address(*peer), kind, Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket.into_raw_fd())
}

/// Borrows a descriptor of the table for one system call.
fn borrow(descriptor: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: the table passes a descriptor only while it owns it, so it is open. The borrow lasts
    // at most as long as the call to which the descriptor was passed (UNSAFE.md 8).
    unsafe { BorrowedFd::borrow_raw(*descriptor) }
}
