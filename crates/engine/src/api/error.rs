//! Why an outgoing connection failed.

use crate::tls::TlsError;
use ringway_codec::{HandshakeError, TargetError};
use ringway_io::AddressError;
use std::io;

/// Why an outgoing connection failed. The text includes the cause.
///
/// ```
/// use ringway::{ConnectError, Endpoint};
///
/// let error = Endpoint::resolve("https://chat.example/").unwrap_err();
/// assert!(matches!(error, ConnectError::Url(_)));
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The URL is not a WebSocket URL.
    #[error(transparent)]
    Url(#[from] TargetError),
    /// The address of a Unix socket is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// The TLS options do not fit the URL, or the system's root certificates could not be read.
    #[error(transparent)]
    TlsConfig(#[from] TlsError),
    /// The host name has no address.
    #[error("cannot resolve {0:?}: {1}")]
    Name(String, io::Error),
    /// The connection could not be established, or was lost during the opening handshake.
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The peer's response does not complete the opening handshake (RFC 6455 section 4.1).
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The peer ended the connection during the opening handshake.
    #[error("the peer ended the connection before its response was complete")]
    Ended,
    /// The peer did not answer within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    #[error("the peer did not answer the opening handshake in time")]
    Timeout,
    /// The shard has reached [`Limits::max_connections`](crate::Limits::max_connections).
    #[error("the shard has reached its limit of connections (Limits::max_connections)")]
    NoSlot,
    /// The shard has reached [`Limits::max_memory`](crate::Limits::max_memory).
    #[error("the connections of the shard have reached its memory limit (Limits::max_memory)")]
    Memory,
    /// The shard is stopping.
    #[error("the shard is stopping")]
    Stopping,
}
