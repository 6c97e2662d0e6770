//! The ways in which a connection ends.

use super::attempt::Attempt;
use crate::api::error::ConnectError;

/// How a connection is closed once its output has been sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CloseMode {
    /// At once: nothing can be on its way to us. The server after the closing handshake (RFC 6455 section 7.1.1).
    Immediate,
    /// Our direction first, and the rest when the peer has ended its own: closing with bytes unread sends a reset, and
    /// that destroys what the peer has not read yet, such as the close frame that says what was wrong.
    Linger,
    /// The peer closes: the client after the closing handshake.
    AwaitPeer,
}

/// Why a session is to be removed from its shard.
#[derive(Debug)]
pub(crate) enum Removal {
    /// The connection is over.
    Closed,
    /// It never opened (client role).
    Unconnected(ConnectError),
    /// Its address does not answer, and this is the attempt with the next one (client role).
    TryNext(Attempt),
}
