//! What a tap reports.

use std::net::SocketAddr;
use std::time::SystemTime;

/// Something that has happened on a traced connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TapEvent {
    /// The number of the connection, from 1, in the order in which the traced connections were
    /// accepted or established.
    pub connection: u32,
    /// When the shard handled it. The clock is read once when the tap is created, and the time since
    /// then is added, so that the times of a shard never decrease.
    pub time: SystemTime,
    /// What has happened.
    pub kind: TapKind,
}

/// The kinds of [`TapEvent`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TapKind {
    /// The connection was accepted or established. The first event of each connection.
    Opened(TappedConnection),
    /// Bytes of one direction, without TLS.
    Bytes {
        /// Their direction.
        direction: TapDirection,
        /// The number of bytes of this direction before them. It exceeds the end of the bytes before
        /// if the queue was full in between: the bytes from there on are lost.
        offset: u64,
        /// The bytes, as on the wire: masked frames are masked, compressed messages compressed.
        bytes: Vec<u8>,
    },
    /// The connection has ended. The last event of each connection.
    Ended(TapEnd),
}

/// A connection that is traced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TappedConnection {
    /// Whether this side has opened the connection (client role).
    pub is_outgoing: bool,
    /// The address of this end; `None` for a Unix socket.
    pub local: Option<SocketAddr>,
    /// The address of the peer; `None` for a Unix socket. Behind the PROXY protocol, that of the
    /// proxy.
    pub remote: Option<SocketAddr>,
    /// Whether the connection has TLS.
    pub has_tls: bool,
}

/// The end of a traced connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TapEnd {
    /// The number of bytes received, with those that were lost.
    pub received: u64,
    /// The number of bytes passed to the kernel, with those that were lost.
    pub sent: u64,
    /// Whether the peer has ended its direction before the connection was closed.
    pub peer_finished: bool,
    /// The cause, as text: the [`CloseReason`](crate::CloseReason) of a connection that was open, or
    /// why it did not open.
    pub cause: String,
}

/// The direction of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TapDirection {
    /// From the peer to this side.
    Received,
    /// From this side to the peer.
    Sent,
}
