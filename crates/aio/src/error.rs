//! Errors, and how connections end.

use crate::Message;
use ringway::{CloseCode, CodeNotSendable, ConnectError, Ending, PingTooLong, StartError, Unopened};
use std::sync::Arc;
use std::{fmt, io};

/// How a connection ended. Displayed as `1001 "bye", closed by the peer`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CloseReason {
    /// The close code: the peer's if the peer closed, otherwise that of this side;
    /// [`CloseCode::ABNORMAL`] if no close frame was sent or received.
    pub code: CloseCode,
    /// The reason text of the close frame, received or sent; often empty.
    pub text: String,
    /// Whether both sides have sent a close frame (RFC 6455 section 7.1.4).
    pub is_clean: bool,
    /// Whether the peer began to close.
    pub by_peer: bool,
    line: Box<str>,
}

impl CloseReason {
    pub(crate) fn of(reason: &ringway::CloseReason) -> Self {
        Self {
            code: reason.code,
            text: reason.text.clone(),
            is_clean: reason.is_clean(),
            by_peer: matches!(reason.ending, Ending::Peer),
            line: reason.to_string().into(),
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line)
    }
}

/// Why an operation failed. The text includes the cause. Cheap to clone.
///
/// ```
/// use ringway_aio::Error;
///
/// tokio_uring::start(async {
///     let error = ringway_aio::connect("https://server.example/").await.expect_err("no WebSocket URL");
///     assert!(matches!(error, Error::Connect(_)));
///     assert_eq!(error.close_code(), None);
/// });
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The connection has ended without a complete closing handshake.
    #[error("the connection ended: {0}")]
    Ended(Arc<CloseReason>),
    /// Nothing can be sent: the connection is closing, or has been closed.
    #[error("the connection is closed for sending")]
    Closed,
    /// The message has more than 1 GiB.
    #[error("a message of {0} bytes is too large: send it in parts of at most 1 GiB")]
    TooLarge(usize),
    /// The connection could not be opened in the client role.
    #[error(transparent)]
    Connect(Arc<ConnectError>),
    /// The connection could not be opened in the server role.
    #[error(transparent)]
    Accept(#[from] Unopened),
    /// The close code must not be sent.
    #[error(transparent)]
    CloseCode(#[from] CodeNotSendable),
    /// The ping is too long.
    #[error(transparent)]
    Ping(#[from] PingTooLong),
    /// The runtime that the connection was opened in has ended.
    #[error("the runtime of the connection has ended")]
    RuntimeEnded,
    /// The shard of this runtime has stopped: no connection can be opened.
    #[error("the shard of this runtime has stopped")]
    Stopped,
    /// The connection was closed at once: this runtime has
    /// [`Limits::max_connections`](ringway::Limits::max_connections), or
    /// [`Config::admission`](ringway::Config::admission) allows no further one.
    #[error("the connection is refused: this runtime has reached a limit of connections")]
    Full,
    /// The call is not in a task of tokio-uring.
    #[error("this needs a runtime of tokio-uring: call it within tokio_uring::start")]
    NoRuntime,
    /// The options were set after the first connection of this runtime, or twice.
    #[error("the options of this runtime are set already: call configure before the first connection")]
    Configured,
    /// The shard could not start, or a TLS option is refused.
    #[error(transparent)]
    Start(Arc<StartError>),
    /// The driver failed; all connections of its runtime have ended.
    #[error("the driver failed: {0}")]
    Driver(Arc<io::Error>),
    /// A socket could not be used.
    #[error("{0}")]
    Socket(Arc<io::Error>),
}

impl Error {
    /// The close code of a connection that has ended; `None` for other errors.
    #[must_use]
    pub fn close_code(&self) -> Option<CloseCode> {
        match self {
            Self::Ended(reason) => Some(reason.code),
            _ => None,
        }
    }
}

impl From<ConnectError> for Error {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Arc::new(error))
    }
}

impl From<StartError> for Error {
    fn from(error: StartError) -> Self {
        Self::Start(Arc::new(error))
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        Self::Socket(Arc::new(error))
    }
}

/// Why [`WebSocket::try_send`](crate::WebSocket::try_send) did not send a message, which it hands
/// back.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TrySendError {
    /// Too much output waits for the peer, or memory is short.
    #[error("too much output waits for the peer")]
    Full(Message),
    /// The message can never be sent, for this reason.
    #[error("{1}")]
    Failed(Message, Error),
}

impl TrySendError {
    /// The message.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::Failed(message, _) => message,
        }
    }
}

/// What an [`Error`] keeps of an error that the engine lends.
pub(crate) fn copy(error: &ConnectError) -> ConnectError {
    let io = |error: &io::Error| match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => io::Error::new(error.kind(), error.to_string()),
    };
    match error {
        ConnectError::Unreachable(error) => ConnectError::Unreachable(io(error)),
        ConnectError::NoPort(source, address) => ConnectError::NoPort(*source, address.clone()),
        ConnectError::Lost(stage, error) => ConnectError::Lost(*stage, io(error)),
        ConnectError::Tls(text) => ConnectError::Tls(text.clone()),
        ConnectError::Handshake(error) => ConnectError::Handshake(error.clone()),
        ConnectError::Ended(stage) => ConnectError::Ended(*stage),
        ConnectError::Premature => ConnectError::Premature,
        ConnectError::Timeout(stage) => ConnectError::Timeout(*stage),
        ConnectError::NoSlot => ConnectError::NoSlot,
        ConnectError::Memory => ConnectError::Memory,
        ConnectError::Stopping => ConnectError::Stopping,
        other => ConnectError::Unreachable(io::Error::other(other.to_string())),
    }
}
