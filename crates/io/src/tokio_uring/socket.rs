//! Taking a connection over from a socket of tokio-uring.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use tokio_uring::net::TcpStream;

/// The connection of a TCP stream of tokio-uring, for [`Detached::from_socket`](crate::Detached).
/// tokio-uring 0.5 does not give up a descriptor: it is duplicated, and the stream is dropped.
///
/// The caller has no operation in flight on the stream, not even one whose future was dropped: it
/// would take bytes of the connection.
///
/// # Errors
/// When no descriptor is left.
pub fn into_socket(stream: TcpStream) -> io::Result<OwnedFd> {
    // SAFETY: the stream owns the descriptor, and lives until the end of this function, so that the
    // descriptor is open as long as it is borrowed (UNSAFE.md 8).
    let descriptor = unsafe { BorrowedFd::borrow_raw(stream.as_raw_fd()) };
    descriptor.try_clone_to_owned()
}
