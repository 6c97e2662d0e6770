//! How a connection ended.

use ringway_codec::{CloseCode, ProtocolError};
use std::fmt;
use std::io;

/// How an open connection ended. Displayed as `1001 "bye", closed by the peer`.
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
    /// The close code: the peer's if the peer closed, otherwise that of this side.
    /// [`CloseCode::NO_STATUS`] if the close frame had no code, [`CloseCode::ABNORMAL`] if no close
    /// frame was sent or received (RFC 6455 section 7.1.5).
    pub code: CloseCode,
    /// The reason text of the close frame, received or sent; often empty.
    pub text: String,
    /// The cause.
    pub ending: Ending,
    /// The bytes of output that the kernel had not taken when the connection ended, without this
    /// side's close frame: the end of what was sent. 0 if all of it was taken, which does not mean
    /// that the peer has read it. Of a send in flight, all bytes are counted. With TLS, the bytes
    /// are those of the plaintext, without its records.
    pub unsent: usize,
}

impl CloseReason {
    /// Creates a reason, for tests of a handler.
    #[must_use]
    pub fn new(code: CloseCode, text: impl Into<String>, ending: Ending) -> Self {
        Self { code, text: text.into(), ending, unsent: 0 }
    }

    /// Creates the reason of a connection that ended without a close frame.
    pub(crate) fn abnormal(ending: Ending) -> Self {
        Self::new(CloseCode::ABNORMAL, "", ending)
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
            Ending::WriteTimeout => f.write_str(", the peer did not read for too long"),
            Ending::MessageTimeout => f.write_str(", the peer took too long to send a message"),
            Ending::MemoryLimit => {
                f.write_str(", the shard reached its memory limit, and this connection was among the largest holders")
            }
            Ending::SlowReader => f.write_str(", the peer reads a topic too slowly"),
            Ending::Panicked => f.write_str(", the handler panicked"),
            Ending::Idle => f.write_str(", the peer was silent for too long"),
            Ending::Vanished => f.write_str(", the peer ended the connection without a close frame"),
            Ending::Reset => f.write_str(", the connection was reset"),
            Ending::Truncated => f.write_str(
                ", the peer ended the connection without a close frame or close_notify; data may be missing",
            ),
            Ending::Tls(error) => write!(f, ", TLS failed: {error}"),
            Ending::Terminated => f.write_str(", dropped by us"),
            Ending::Failed(error) => write!(f, ", the connection failed: {error}"),
        }
    }
}

/// Why a connection ended.
///
/// ```
/// use ringway::{CloseReason, Ending};
///
/// /// Whether to connect again.
/// fn reconnects(reason: &CloseReason) -> bool {
///     matches!(reason.ending, Ending::Vanished | Ending::Reset | Ending::Idle | Ending::Failed(_))
/// }
/// # let _ = reconnects;
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Ending {
    /// The peer sent a close frame, and this side answered it.
    Peer,
    /// This side sent a close frame, and the peer answered it.
    Local,
    /// This side sent a close frame, and the peer did not answer: within
    /// [`Config::close_timeout`](crate::Config::close_timeout) without progress, or within
    /// [`Config::close_limit`](crate::Config::close_limit) in total.
    Unanswered,
    /// The peer violated the protocol; this side sent the close code for the violation (RFC 6455
    /// section 7.1.7).
    Violation(ProtocolError),
    /// Nothing was received for [`Config::idle_timeout`](crate::Config::idle_timeout), not even the
    /// answer to a ping.
    Idle,
    /// The peer read none of the output that waited for it for
    /// [`Config::write_timeout`](crate::Config::write_timeout).
    WriteTimeout,
    /// A message was not complete within
    /// [`Limits::message_timeout`](crate::Limits::message_timeout) of its first byte; this side
    /// sent 1008.
    MessageTimeout,
    /// The connections of the shard reached [`Limits::max_memory`](crate::Limits::max_memory), and
    /// this connection was among the largest holders. It was closed with 1013, or dropped if much
    /// output waited for it.
    MemoryLimit,
    /// A topic had a message for which the connection had no room, because the peer reads too slowly
    /// ([`TopicPolicy::Close`](crate::TopicPolicy::Close)); this side sent 1013.
    SlowReader,
    /// The handler panicked in a call for this connection; this side sent 1011.
    Panicked,
    /// The peer ended the TCP connection without a close frame.
    Vanished,
    /// The peer ended the TCP connection without a close frame, and without the close_notify of TLS:
    /// the end of its data may be missing, by an error or an attack (RFC 8446 section 6.1).
    Truncated,
    /// The TLS layer failed, for example at a record that was changed on its way.
    Tls(String),
    /// The TCP connection was reset.
    Reset,
    /// [`Connection::terminate`](crate::Connection::terminate) dropped the connection.
    Terminated,
    /// The kernel reported another error.
    Failed(io::Error),
}
