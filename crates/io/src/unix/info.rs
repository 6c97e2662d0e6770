//! Queries about a connection of a Unix socket: getsockopt(2) with `SO_PEERCRED`, and ioctl(2) with
//! `SIOCOUTQ`.

use std::num::NonZero;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The process at the other end of a Unix socket (`SO_PEERCRED`, unix(7)). The kernel recorded them
/// when the peer called connect(2), or, for a server, listen(2).
///
/// ```
/// use ringway_io::PeerCredentials;
///
/// /// Whether the peer runs as root, or as the user with this number.
/// fn is_allowed(peer: Option<PeerCredentials>, user: u32) -> bool {
///     peer.is_some_and(|peer| peer.uid == 0 || peer.uid == user)
/// }
/// assert!(!is_allowed(None, 1000), "TCP has no credentials");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PeerCredentials {
    /// The process; `None` if it is not visible in the PID namespace of this process. The process
    /// may have ended since, and its number may be that of another one.
    pub pid: Option<NonZero<u32>>,
    /// Its effective user; 65534 (`/proc/sys/kernel/overflowuid`) if the user has no number in the
    /// user namespace of this process.
    pub uid: u32,
    /// Its effective group, as `uid`.
    pub gid: u32,
}

/// The credentials of the peer of a Unix socket; `None` for another kind of socket, or without a
/// connection.
pub(crate) fn peer_credentials(socket: BorrowedFd<'_>) -> Option<PeerCredentials> {
    const NOBODY: u32 = u32::MAX;
    let mut found = libc::ucred { pid: 0, uid: NOBODY, gid: NOBODY };
    let mut len = size_of::<libc::ucred>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `found`, which is that long and may hold any
    // bytes, and the number of bytes written to `len` (UNSAFE.md 9).
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut found).cast(), &raw mut len)
    };
    if result != 0 || len as usize != size_of::<libc::ucred>() || found.uid == NOBODY {
        return None;
    }
    let pid = u32::try_from(found.pid).ok().and_then(NonZero::new);
    Some(PeerCredentials { pid, uid: found.uid, gid: found.gid })
}

/// The memory of the bytes that were written to a Unix socket and not read by its peer. It counts
/// the kernel's buffers with their overhead, and a buffer until its last byte was read. Of a TCP
/// socket, the number of bytes that the peer has not acknowledged. `None` if the kernel cannot
/// report it.
pub(crate) fn queued(socket: BorrowedFd<'_>) -> Option<u32> {
    let mut memory: libc::c_int = 0;
    // SAFETY: the request writes an integer to the address that it is given (UNSAFE.md 9).
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut memory) };
    if result == 0 { u32::try_from(memory).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    #[test]
    fn the_credentials_of_a_peer_in_this_process_are_ours() {
        let (ours, _theirs) = UnixStream::pair().expect("two descriptors");
        let peer = peer_credentials(ours.as_fd()).expect("it has a peer");
        assert_eq!(peer.pid.map(NonZero::get), Some(std::process::id()));
        assert_eq!(peer.uid, rustix::process::geteuid().as_raw());
        assert_eq!(peer.gid, rustix::process::getegid().as_raw());
    }

    #[test]
    fn tcp_has_no_credentials() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        assert_eq!(peer_credentials(stream.as_fd()), None);
    }

    #[test]
    fn what_is_queued_is_gone_when_the_peer_has_read_it() {
        let (mut ours, mut theirs) = UnixStream::pair().expect("two descriptors");
        assert_eq!(queued(ours.as_fd()), Some(0));
        ours.write_all(&[1; 1000]).expect("there is room");
        assert!(queued(ours.as_fd()) >= Some(1000));
        theirs.read_exact(&mut [0; 1000]).expect("sent");
        assert_eq!(queued(ours.as_fd()), Some(0));
        assert_eq!(queued(std::fs::File::open("/dev/null").expect("it exists").as_fd()), None);
    }
}
