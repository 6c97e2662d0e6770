//! The phase of a connection, and its flags.

use crate::api::plain::PlainKind;
use crate::metrics::{ConnectionState, PauseCause};
use crate::session::closing::CloseMode;

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionPhase {
    /// The TCP connection is being established (client role).
    Connecting,
    /// The connection is established, and waits for the handler to request the upgrade (client
    /// role).
    Held,
    /// A header of the PROXY protocol is awaited (server role).
    Preamble,
    /// The opening handshake is in progress. In the server role, plain requests may precede it.
    Handshaking,
    /// The handler has deferred its answer.
    Deferred,
    /// Messages are exchanged.
    Open,
    /// Bytes of TCP are exchanged without the protocol of WebSockets (client role). A variant without
    /// a value, as the next one, so that a phase is one byte.
    PlainStream,
    /// The same with datagrams.
    PlainDatagrams,
    /// This side's close frame is sent; the peer's is awaited.
    Closing,
    /// Nothing more is received. Queued output is still sent, and then the connection is closed.
    ShuttingDown(CloseMode),
    /// This side has ended its direction; input is dropped until the peer ends its own.
    Lingering,
}

impl SessionPhase {
    /// The phase of an open connection of this kind.
    pub(crate) fn of_plain(kind: PlainKind) -> Self {
        match kind {
            PlainKind::Stream => Self::PlainStream,
            PlainKind::Datagrams => Self::PlainDatagrams,
        }
    }

    /// The kind of an open connection without the protocol of WebSockets.
    #[inline]
    pub(crate) fn plain(self) -> Option<PlainKind> {
        match self {
            Self::PlainStream => Some(PlainKind::Stream),
            Self::PlainDatagrams => Some(PlainKind::Datagrams),
            _ => None,
        }
    }

    /// The state as metrics count it.
    pub(crate) fn state(self) -> ConnectionState {
        match self {
            Self::Connecting | Self::Held | Self::Preamble | Self::Handshaking | Self::Deferred => {
                ConnectionState::Opening
            }
            Self::Open | Self::PlainStream | Self::PlainDatagrams => ConnectionState::Open,
            Self::Closing | Self::ShuttingDown(_) | Self::Lingering => ConnectionState::Closing,
        }
    }
}

/// One bit of a session's state. The four highest bits of the 16 are the connection's
/// [`Compression`].
#[derive(Clone, Copy)]
pub(in crate::session) enum SessionFlag {
    /// On the list of sessions that are flushed at the end of the turn.
    Dirty = 1,
    /// A send is in flight.
    Sending = 2,
    /// A receive is requested from the driver.
    Receiving = 4,
    /// The handler has paused the connection.
    PausedByHandler = 8,
    /// More output is queued than the high-water mark: no message is delivered before it has fallen
    /// to the low-water mark.
    PausedByBacklog = 16,
    /// The shard is near its memory limit, and this connection is among the largest holders:
    /// nothing is received.
    PausedByMemory = 32,
    /// The connection has used up its budget for a turn: its input waits for the next one.
    Waiting = 64,
    /// `drained` is called when the output falls to the low-water mark, or is empty.
    WantsDrained = 128,
    /// `open` was called.
    Opened = 256,
    /// The peer has ended its direction.
    PeerFinished = 512,
    /// A ping was sent because the peer was idle, and nothing was received since.
    Pinged = 1024,
    /// The client role.
    Client = 2048,
}

/// The flag of a cause.
pub(super) fn pause_flag(cause: PauseCause) -> SessionFlag {
    match cause {
        PauseCause::Handler => SessionFlag::PausedByHandler,
        PauseCause::Backlog => SessionFlag::PausedByBacklog,
        PauseCause::Memory => SessionFlag::PausedByMemory,
    }
}
