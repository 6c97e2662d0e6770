//! Information about a TCP connection: getsockopt(2) with `TCP_INFO`.

use crate::unix;
use std::mem::offset_of;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

/// The length of the part of the kernel's `struct tcp_info` that is read: up to `tcpi_bytes_acked`
/// (since Linux 4.1), the last one of the fields.
const LEN: usize = offset_of!(libc::tcp_info, tcpi_bytes_acked) + size_of::<u64>();

/// `TCP_CLOSE` and `TCP_SYN_SENT` of the kernel's `enum tcp_state` (include/net/tcp_states.h).
const SYN_SENT: u8 = 2;
const CLOSE: u8 = 7;

/// The kernel's view of a TCP connection (`TCP_INFO`, tcp(7)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpInfo {
    /// The smoothed round-trip time (RFC 6298), in microseconds.
    pub round_trip: Duration,
    /// Its mean deviation.
    pub round_trip_variation: Duration,
    /// The number of segments that were sent again since the start of the connection.
    pub retransmits: u32,
    /// The number of bytes in the kernel's send queue that the peer has not acknowledged
    /// (`SIOCOUTQ`, tcp(7)).
    pub unacknowledged: u32,
    /// The number of bytes that the peer has acknowledged since the connection was established
    /// (`tcpi_bytes_acked`, Linux 4.1).
    pub acknowledged: u64,
}

/// The fields of a connected TCP socket, as bytes.
fn read(socket: BorrowedFd<'_>) -> Option<[u8; LEN]> {
    let mut info = [0_u8; LEN];
    let mut len = LEN as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `info`, which is that long and may hold any
    // bytes, and the number of bytes written to `len`.
    let result = unsafe {
        libc::getsockopt(socket.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len)
    };
    let state = info[offset_of!(libc::tcp_info, tcpi_state)];
    (result == 0 && len as usize >= LEN && !matches!(state, SYN_SENT | CLOSE)).then_some(info)
}

/// A field of 32 bits.
fn number(info: &[u8; LEN], at: usize) -> u32 {
    info[at..].first_chunk().copied().map_or(0, u32::from_ne_bytes)
}

/// The number of bytes that the peer has acknowledged; `None` when the socket is not connected, or
/// is no TCP socket.
pub(crate) fn acknowledged(socket: BorrowedFd<'_>) -> Option<u64> {
    read(socket)?.last_chunk().copied().map(u64::from_ne_bytes)
}

/// The round-trip time and the retransmits; `None` as for [`acknowledged`].
pub(crate) fn tcp_info(socket: BorrowedFd<'_>) -> Option<TcpInfo> {
    let info = read(socket)?;
    let micros = |at| Duration::from_micros(number(&info, at).into());
    Some(TcpInfo {
        round_trip: micros(offset_of!(libc::tcp_info, tcpi_rtt)),
        round_trip_variation: micros(offset_of!(libc::tcp_info, tcpi_rttvar)),
        retransmits: number(&info, offset_of!(libc::tcp_info, tcpi_total_retrans)),
        unacknowledged: unix::queued(socket).unwrap_or(0),
        acknowledged: info.last_chunk().copied().map_or(0, u64::from_ne_bytes),
    })
}
