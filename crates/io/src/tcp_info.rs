//! Information about a TCP connection: getsockopt(2) with `TCP_INFO`.

use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The offset of `tcpi_bytes_acked` (since Linux 4.1) in the kernel's `struct tcp_info`, and its
/// end.
const BYTES_ACKED: usize = offset_of!(libc::tcp_info, tcpi_bytes_acked);
const END: usize = BYTES_ACKED + size_of::<u64>();

/// `TCP_CLOSE` and `TCP_SYN_SENT` of the kernel's `enum tcp_state` (include/net/tcp_states.h).
const SYN_SENT: u8 = 2;
const CLOSE: u8 = 7;

/// The number of bytes that the peer has acknowledged; `None` when the socket is not connected, or
/// is no TCP socket.
pub(crate) fn acknowledged(socket: BorrowedFd<'_>) -> Option<u64> {
    let mut info = [0_u8; END];
    let mut len = END as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which is that long and may hold any
    // bytes, and the number of bytes written to `len`.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    let state = info[offset_of!(libc::tcp_info, tcpi_state)];
    if result != 0 || (len as usize) < END || matches!(state, SYN_SENT | CLOSE) {
        return None;
    }
    info[BYTES_ACKED..].try_into().ok().map(u64::from_ne_bytes)
}
