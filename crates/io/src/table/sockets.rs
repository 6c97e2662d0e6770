//! The calls on a socket that take effect immediately, without a completion.

use crate::detached::DetachedSocket;
use crate::{Address, ConnectOptions, PeerCredentials, TcpInfo, outgoing, tcp_info, unix};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::Type;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

/// The immediate calls of a [`KernelInterface`](super::KernelInterface), on descriptors that the
/// table owns.
pub(crate) trait SocketCalls {
    /// Creates a descriptor for an outgoing connection. The table owns it until
    /// [`KernelInterface::close`](super::KernelInterface::close).
    fn socket(&mut self, peer: &Address, options: &ConnectOptions) -> io::Result<RawFd>;

    /// Ends the sending direction.
    fn shut_down(&mut self, descriptor: RawFd);

    /// The address of the peer.
    fn peer_address(&self, descriptor: RawFd) -> Option<SocketAddr>;

    /// The address of this end.
    fn local_address(&self, descriptor: RawFd) -> Option<SocketAddr>;

    /// The process at the other end of a Unix socket.
    fn peer_credentials(&self, descriptor: RawFd) -> Option<PeerCredentials>;

    /// The bytes that the peer has acknowledged; `None` when there is no connection. For TCP.
    fn acknowledged(&self, descriptor: RawFd) -> Option<u64>;

    /// The state of the connection; `None` when there is no connection. For TCP.
    fn tcp_info(&self, descriptor: RawFd) -> Option<TcpInfo>;

    /// The memory of what was sent and not read by the peer. For Unix sockets.
    fn queued(&self, descriptor: RawFd) -> Option<u32>;

    /// The bytes in the receive queue of the socket.
    fn unread(&self, descriptor: RawFd) -> usize;

    /// Whether nothing more arrives: a receive ends when it has read what is there.
    fn is_hung_up(&self, descriptor: RawFd) -> bool;
}

/// A kernel whose descriptors are those of this process, and not numbers of the simulation.
pub(crate) trait RealDescriptors {
    /// The type of the sockets of all connections.
    const SOCKET_TYPE: Type;

    /// Turns a descriptor that the table has given up into a socket for another driver. Nothing is in
    /// flight on it, and it is registered nowhere.
    fn give_up(descriptor: RawFd) -> DetachedSocket {
        // SAFETY: the table has given up the descriptor, which is open, and nothing else owns it
        // (UNSAFE.md 8).
        let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
        DetachedSocket::Open { descriptor, kind: Self::SOCKET_TYPE }
    }

    /// The descriptor of a socket of another driver, for the table. `None` for a socket of a
    /// simulation.
    fn take_over(socket: DetachedSocket) -> Option<RawFd> {
        match socket {
            DetachedSocket::Open { descriptor, kind } => {
                if kind != Self::SOCKET_TYPE {
                    // It does not fail on an open socket.
                    let nonblocking = Self::SOCKET_TYPE != Type::STREAM;
                    let _ = rustix::io::ioctl_fionbio(descriptor.as_fd(), nonblocking);
                }
                Some(descriptor.into_raw_fd())
            }
            #[cfg(any(test, feature = "sim"))]
            DetachedSocket::Simulated(_) => None,
        }
    }
}

impl<K: RealDescriptors> SocketCalls for K {
    fn socket(&mut self, peer: &Address, options: &ConnectOptions) -> io::Result<RawFd> {
        outgoing::socket(peer, K::SOCKET_TYPE, options)
    }

    fn shut_down(&mut self, descriptor: RawFd) {
        // It fails only when the connection is gone, which the receive reports.
        let _ = rustix::net::shutdown(borrow(&descriptor), rustix::net::Shutdown::Write);
    }

    fn peer_address(&self, descriptor: RawFd) -> Option<SocketAddr> {
        rustix::net::getpeername(borrow(&descriptor)).ok()??.try_into().ok()
    }

    fn local_address(&self, descriptor: RawFd) -> Option<SocketAddr> {
        rustix::net::getsockname(borrow(&descriptor)).ok()?.try_into().ok()
    }

    fn peer_credentials(&self, descriptor: RawFd) -> Option<PeerCredentials> {
        unix::peer_credentials(borrow(&descriptor))
    }

    fn acknowledged(&self, descriptor: RawFd) -> Option<u64> {
        tcp_info::acknowledged(borrow(&descriptor))
    }

    fn tcp_info(&self, descriptor: RawFd) -> Option<TcpInfo> {
        tcp_info::tcp_info(borrow(&descriptor))
    }

    fn queued(&self, descriptor: RawFd) -> Option<u32> {
        unix::queued(borrow(&descriptor))
    }

    fn unread(&self, descriptor: RawFd) -> usize {
        rustix::io::ioctl_fionread(borrow(&descriptor)).map_or(0, |len| len as usize)
    }

    fn is_hung_up(&self, descriptor: RawFd) -> bool {
        let descriptor = borrow(&descriptor);
        let mut polled = [PollFd::new(&descriptor, PollFlags::RDHUP)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Poll reports HUP without being asked.
        poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP)
    }
}

/// Borrows a descriptor of the table for one system call.
fn borrow(descriptor: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: the table passes a descriptor only while it owns it, so it is open. The borrow lasts
    // at most as long as the call to which the descriptor was passed (UNSAFE.md 8).
    unsafe { BorrowedFd::borrow_raw(*descriptor) }
}
