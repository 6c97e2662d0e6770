//! One TCP connection of the simulated network: both directions, and how each may end.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// What lies between the driver and one peer. The driver's side of it is reached through a
/// descriptor.
#[derive(Debug)]
pub(super) struct SimConnection {
    /// The peer's address.
    pub(super) address: SocketAddr,
    /// Whether the handshake is over.
    pub(super) established: bool,
    /// What the peer has written and the driver's kernel has not delivered.
    pub(super) inbound: VecDeque<u8>,
    /// The peer has sent FIN, behind `inbound`.
    pub(super) inbound_finished: bool,
    /// What was sent to the peer and is not read.
    pub(super) outbound: VecDeque<u8>,
    /// How many bytes of `outbound` the peer has read so far.
    pub(super) read: u64,
    /// The driver has sent FIN, behind `outbound`.
    pub(super) outbound_finished: bool,
    /// How many bytes `outbound` holds before sends stall.
    pub(super) window: usize,
    /// The connection is gone, for this errno, which operations meet behind `inbound`.
    pub(super) error: Option<i32>,
    /// The peer has seen RST, or has sent it.
    pub(super) reset: bool,
    /// The driver has closed its side.
    pub(super) closed: bool,
}

impl SimConnection {
    pub(super) fn new(address: SocketAddr, window: usize) -> Self {
        Self {
            address,
            established: false,
            inbound: VecDeque::new(),
            inbound_finished: false,
            outbound: VecDeque::new(),
            read: 0,
            outbound_finished: false,
            window,
            error: None,
            reset: false,
            closed: false,
        }
    }

    /// Ends the connection for both sides. What has arrived on either side can still be read, as on
    /// Linux.
    pub(super) fn abort(&mut self, errno: i32) {
        self.error.get_or_insert(errno);
        self.reset = true;
    }

    /// How many more bytes a send may write.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.outbound.len())
    }

    /// Whether nothing can be sent any more, however long one waits.
    pub(super) fn cannot_send(&self) -> bool {
        self.error.is_some() || self.outbound_finished || !self.established
    }

    /// Whether a receive would complete.
    pub(super) fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.inbound_finished || self.error.is_some()
    }

    /// The driver's side closes: FIN, or RST when bytes that have come were never received (RFC
    /// 2525, 2.17).
    pub(super) fn close(&mut self) {
        self.closed = true;
        if self.inbound.is_empty() && self.error.is_none() {
            self.outbound_finished = true;
        } else {
            self.reset = true;
        }
    }

    /// Bytes from the peer. A side that is closed answers them with RST.
    pub(super) fn write(&mut self, bytes: &[u8]) {
        if self.closed {
            self.reset = true;
        } else if !self.reset {
            self.inbound.extend(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> SimConnection {
        SimConnection { established: true, ..SimConnection::new(([192, 0, 2, 1], 1).into(), 10) }
    }

    #[test]
    fn closing_with_unread_bytes_resets_and_without_finishes() {
        let (mut clean, mut unread) = (connection(), connection());
        clean.close();
        assert!(clean.outbound_finished && !clean.reset);
        unread.write(b"x");
        unread.close();
        assert!(!unread.outbound_finished && unread.reset);
    }

    #[test]
    fn bytes_to_a_closed_side_are_answered_with_a_reset() {
        let mut connection = connection();
        connection.close();
        connection.write(b"x");
        assert!(connection.reset && connection.inbound.is_empty());
    }

    #[test]
    fn what_arrived_before_a_reset_is_still_there() {
        let mut connection = connection();
        connection.write(b"x");
        connection.abort(libc::ECONNRESET);
        connection.write(b"y");
        assert_eq!(connection.inbound, [b'x']);
        assert!(connection.is_readable() && connection.cannot_send());
    }
}
