//! Why an outgoing connection failed.

use crate::api::opening::OpeningStage;
use crate::api::refused::RefusedUpgrade;
use crate::tls::TlsError;
use http::StatusCode;
use ringway_codec::{HandshakeError, TargetError};
use ringway_io::{Address, AddressError, SourceError};
use std::io;
use std::net::IpAddr;

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
    /// The TCP connection, or that of a Unix socket, could not be established.
    #[error("cannot connect: {0}")]
    Unreachable(io::Error),
    /// The connection could not be bound to one of the addresses of [`Endpoint::sources`], which
    /// the error names.
    ///
    /// [`Endpoint::sources`]: crate::Endpoint::sources
    #[error(transparent)]
    Source(#[from] SourceError),
    /// All local ports for connections from this source address to this address are in use
    /// (`EADDRNOTAVAIL`, connect(2)).
    #[error(
        "no local port is left for another connection from {0} to {1}; \
         use more source addresses, or widen net.ipv4.ip_local_port_range"
    )]
    NoPort(IpAddr, Address),
    /// The connection was lost during this stage.
    #[error("the connection was lost during {0}: {1}")]
    Lost(OpeningStage, io::Error),
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The peer's response does not complete the opening handshake (RFC 6455 section 4.1).
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The peer answered with another status than 101, on a connection to an endpoint with
    /// [`Endpoint::read_refusals`](crate::Endpoint::read_refusals); on others this is
    /// [`ConnectError::Handshake`].
    #[error("{0}")]
    Refused(Box<RefusedUpgrade>),
    /// The peer ended the connection during this stage.
    #[error("the peer ended the connection during {0}")]
    Ended(OpeningStage),
    /// The peer sent data before the request, on a connection that was held
    /// ([`Endpoint::hold_before_upgrade`](crate::Endpoint::hold_before_upgrade)).
    #[error("the peer sent data before the request")]
    Premature,
    /// The connection was in this stage after
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout), which is the time for all
    /// stages.
    #[error("{0} took too long")]
    Timeout(OpeningStage),
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

impl ConnectError {
    /// The stage of opening in which the connection failed. `None` if it was not attempted, or if
    /// this process ended it: at a limit, or because the shard is stopping.
    #[must_use]
    pub fn stage(&self) -> Option<OpeningStage> {
        match self {
            Self::Unreachable(_) | Self::Source(_) | Self::NoPort(..) => Some(OpeningStage::Connect),
            Self::Lost(stage, _) | Self::Ended(stage) | Self::Timeout(stage) => Some(*stage),
            Self::Tls(_) => Some(OpeningStage::Tls),
            Self::Handshake(_) | Self::Refused(_) | Self::Premature => Some(OpeningStage::Upgrade),
            Self::Url(_) | Self::Address(_) | Self::TlsConfig(_) | Self::Name(..) => None,
            Self::NoSlot | Self::Memory | Self::Stopping => None,
        }
    }
}

/// Why an accepted connection has ended before it was open. The text includes the cause.
///
/// ```
/// use ringway::{StatusCode, Unopened};
///
/// let cause = Unopened::Refused(StatusCode::BAD_REQUEST, "the Host header is missing".into());
/// assert_eq!(cause.to_string(), "the request was refused with 400: the Host header is missing");
/// ```
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unopened {
    /// The TLS handshake failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The request was refused with this status, for this reason: it was invalid, incomplete for too
    /// long (408), or came at a limit (503).
    #[error("the request was refused with {code}: {1}", code = .0.as_u16())]
    Refused(StatusCode, String),
    /// The handler has rejected the request with this status.
    #[error("the request was rejected with {code}", code = .0.as_u16())]
    Rejected(StatusCode),
    /// The connection was reset, or failed.
    #[error("the connection was lost during the opening handshake: {0}")]
    Lost(String),
    /// The connection has ended without a request for a WebSocket: the peer has left, or has made
    /// other HTTP requests.
    #[error("the connection ended before the peer requested a WebSocket")]
    Ended,
    /// The shard is stopping.
    #[error("the shard is stopping")]
    Stopping,
}
