//! One TCP connection of the simulated network.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A connection, shared by its peer and the driver's side, which another driver can adopt.
#[derive(Clone)]
pub(super) struct SharedConnection(Arc<Mutex<SimConnection>>);

impl SharedConnection {
    pub(super) fn new(connection: SimConnection) -> Self {
        Self(Arc::new(Mutex::new(connection)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, SimConnection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for SharedConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedConnection").field(&self.lock().address).finish()
    }
}

/// The driver's side of a connection that belongs to no driver. Dropping it closes that side.
pub(crate) struct SimEnd(Option<SharedConnection>);

impl SimEnd {
    pub(super) fn new(connection: SharedConnection) -> Self {
        Self(Some(connection))
    }

    /// The connection, for the driver that adopts it; `None` when it was taken before.
    pub(super) fn take(mut self) -> Option<SharedConnection> {
        self.0.take()
    }
}

impl Drop for SimEnd {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            connection.lock().close();
        }
    }
}

/// The state of both directions between the driver and one peer. The driver's side has a
/// descriptor.
#[derive(Debug)]
pub(super) struct SimConnection {
    /// The peer's address.
    pub(super) address: SocketAddr,
    /// The source address that the driver has requested.
    pub(super) source: Option<IpAddr>,
    /// Whether the TCP handshake is complete.
    pub(super) established: bool,
    /// The bytes that the peer has written and no receive has delivered.
    pub(super) inbound: VecDeque<u8>,
    /// Whether the peer has sent FIN after `inbound`.
    pub(super) inbound_finished: bool,
    /// The bytes that were sent to the peer and that it has not read.
    pub(super) outbound: VecDeque<u8>,
    /// The number of bytes that the peer has read.
    pub(super) read: u64,
    /// Whether the driver has sent FIN after `outbound`.
    pub(super) outbound_finished: bool,
    /// The capacity of `outbound`, at which sends stall.
    pub(super) window: usize,
    /// The errno of a connection that is gone. Receives report it after `inbound`.
    pub(super) error: Option<i32>,
    /// Whether the peer has seen or sent RST.
    pub(super) reset: bool,
    /// Whether the driver has closed its side.
    pub(super) closed: bool,
}

impl SimConnection {
    pub(super) fn new(address: SocketAddr, window: usize) -> Self {
        Self {
            address,
            source: None,
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

    /// Aborts the connection for both sides. Bytes that have arrived can still be read, as on
    /// Linux.
    pub(super) fn abort(&mut self, errno: i32) {
        self.error.get_or_insert(errno);
        self.reset = true;
    }

    /// The number of bytes that a send can write.
    pub(super) fn room(&self) -> usize {
        self.window.saturating_sub(self.outbound.len())
    }

    /// Whether sends fail instead of waiting for room.
    pub(super) fn cannot_send(&self) -> bool {
        self.error.is_some() || self.outbound_finished || !self.established
    }

    /// Whether a receive would complete.
    pub(super) fn is_readable(&self) -> bool {
        !self.inbound.is_empty() || self.inbound_finished || self.error.is_some()
    }

    /// Closes the driver's side: FIN, or RST when received bytes were not read (RFC 2525 section
    /// 2.17).
    pub(super) fn close(&mut self) {
        self.closed = true;
        if self.inbound.is_empty() && self.error.is_none() {
            self.outbound_finished = true;
        } else {
            self.reset = true;
        }
    }

    /// Writes bytes of the peer. A closed side answers them with RST.
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
    fn closing_with_unread_bytes_sends_rst_and_otherwise_fin() {
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
    fn bytes_that_arrived_before_a_reset_can_be_read() {
        let mut connection = connection();
        connection.write(b"x");
        connection.abort(libc::ECONNRESET);
        connection.write(b"y");
        assert_eq!(connection.inbound, [b'x']);
        assert!(connection.is_readable() && connection.cannot_send());
    }
}
