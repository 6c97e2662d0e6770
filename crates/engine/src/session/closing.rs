//! How connections are closed and removed.

use super::attempt::Attempt;
use crate::api::close::CloseReason;
use crate::api::error::ConnectError;

/// How a connection is closed after its output has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// At once: no more bytes can arrive. Used by the server after the closing handshake (RFC 6455
    /// section 7.1.1).
    Immediate,
    /// First this side's direction, then the connection when the peer has ended its own direction.
    /// Closing with bytes unread sends a reset, which can destroy data that the peer has not read
    /// yet, such as a close frame that reports a violation.
    Linger,
    /// The peer closes first. Used by the client after the closing handshake.
    AwaitPeer,
}

/// Why a session is removed from its shard.
#[derive(Debug)]
pub(crate) enum Removal {
    /// The connection has ended.
    Closed,
    /// The connection never opened (client role).
    Unconnected(ConnectError),
    /// The address does not answer; contains the attempt with the next one (client role).
    TryNext(Box<Attempt>),
}

impl Removal {
    /// Why the connection has ended, as text. `reason`: that of a connection that was open.
    pub(crate) fn text(&self, reason: Option<&CloseReason>) -> String {
        match (self, reason) {
            (_, Some(reason)) => reason.to_string(),
            (Self::Unconnected(error), None) => error.to_string(),
            (Self::TryNext(_), None) => "the next address is tried".to_owned(),
            (Self::Closed, None) => "it was not open as a WebSocket".to_owned(),
        }
    }
}
