//! How a connection ended.

use ringway_codec::{CloseCode, ProtocolError};
use std::fmt;
use std::io;

/// How a connection that was open has ended. Displayed as `1001 "bye", closed by the peer`.
///
/// ```
/// use ringway::{CloseCode, CloseReason, Ending};
///
/// let reason = CloseReason::new(CloseCode::GOING_AWAY, "bye", Ending::Peer);
/// assert!(reason.is_clean());
/// assert_eq!(reason.to_string(), "1001 \"bye\", closed by the peer");
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct CloseReason {
    /// The code that says why: the peer's where it closed, ours where we did. [`CloseCode::NO_STATUS`] when a close
    /// frame came without one, [`CloseCode::ABNORMAL`] when none came at all (RFC 6455 section 7.1.5).
    pub code: CloseCode,
    /// The text that came with it, or that we sent; often empty.
    pub text: String,
    /// Who or what ended it.
    pub ending: Ending,
}

impl CloseReason {
    /// A reason, for tests of a handler.
    #[must_use]
    pub fn new(code: CloseCode, text: impl Into<String>, ending: Ending) -> Self {
        Self { code, text: text.into(), ending }
    }

    /// Of a connection that ended without a close frame.
    pub(crate) fn abnormal(ending: Ending) -> Self {
        Self { code: CloseCode::ABNORMAL, text: String::new(), ending }
    }

    /// Whether both sides have sent a close frame (RFC 6455 section 7.1.4).
    #[must_use]
    pub fn is_clean(&self) -> bool {
        matches!(self.ending, Ending::Peer | Ending::Local)
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code.as_u16())?;
        if !self.text.is_empty() {
            write!(f, " {:?}", self.text)?;
        }
        match &self.ending {
            Ending::Peer => f.write_str(", closed by the peer"),
            Ending::Local => f.write_str(", closed by us"),
            Ending::Unanswered => f.write_str(", closed by us, and the peer did not answer in time"),
            Ending::Violation(error) => write!(f, ", the peer broke the protocol: {error}"),
            Ending::WriteTimeout => f.write_str(", the peer has read nothing for too long"),
            Ending::MessageTimeout => f.write_str(", the peer took too long to send a message"),
            Ending::MemoryLimit => f.write_str(", the shard's memory had run out and this connection held much of it"),
            Ending::Panicked => f.write_str(", the handler panicked"),
            Ending::Idle => f.write_str(", the peer was silent for too long"),
            Ending::Vanished => f.write_str(", the peer ended the connection without a close frame"),
            Ending::Reset => f.write_str(", the connection was reset"),
            Ending::Terminated => f.write_str(", dropped by us"),
            Ending::Failed(error) => write!(f, ", the connection failed: {error}"),
        }
    }
}

/// Who or what ended a connection.
///
/// ```
/// use ringway::{CloseReason, Ending};
///
/// /// Whether it is worth connecting again.
/// fn reconnects(reason: &CloseReason) -> bool {
///     matches!(reason.ending, Ending::Vanished | Ending::Reset | Ending::Idle | Ending::Failed(_))
/// }
/// # let _ = reconnects;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Ending {
    /// The peer sent a close frame, and we answered it.
    Peer,
    /// We sent a close frame, and the peer answered it.
    Local,
    /// We sent a close frame, and the peer did not answer within [`Config::close_timeout`](crate::Config::close_timeout).
    Unanswered,
    /// The peer broke the protocol; we sent the close code that says so.
    Violation(ProtocolError),
    /// Nothing came for [`Config::idle_timeout`](crate::Config::idle_timeout), not even an answer to a ping.
    Idle,
    /// The peer took nothing of what waited for it for [`Config::write_timeout`](crate::Config::write_timeout).
    WriteTimeout,
    /// A message was not complete within [`Limits::message_timeout`](crate::Limits::message_timeout) of its first byte; we
    /// sent 1008.
    MessageTimeout,
    /// The connections of the shard held as much memory as they may ([`Limits::max_memory`](crate::Limits::max_memory)),
    /// and this one was among those that held the most. It was closed with 1013, or dropped if much output waited for it.
    MemoryLimit,
    /// The handler panicked while it was called for this connection; we sent 1011.
    Panicked,
    /// The peer ended the TCP connection without a close frame.
    Vanished,
    /// The TCP connection was reset.
    Reset,
    /// [`Connection::terminate`](crate::Connection::terminate) has dropped the connection.
    Terminated,
    /// The kernel reports anything else.
    Failed(io::Error),
}
