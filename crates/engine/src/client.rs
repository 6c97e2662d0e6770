//! The client role: whom a shard connects to, and the front for shards that only do that.

use crate::config::{Config, Limits, Shards};
use crate::handler::Handler;
use crate::running::{Plan, Running, StartError};
use http::HeaderMap;
use ringway_codec::{HandshakeError, Target, TargetError};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// A server to connect to: its address, and what the request says. Shared by all connections to it.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub(crate) target: Target,
    pub(crate) address: SocketAddr,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) origin: Option<String>,
    pub(crate) headers: HeaderMap,
}

impl Endpoint {
    /// The endpoint of a `ws://` URL. Looks the host's name up, which may take a while: not on a shard's thread.
    ///
    /// # Errors
    /// [`ConnectError::Url`] for a URL that is none, [`ConnectError::Scheme`] for `wss://`, [`ConnectError::Name`]
    /// when the host has no address.
    pub fn resolve(url: &str) -> Result<Self, ConnectError> {
        let target = Target::parse(url)?;
        if target.scheme == ringway_codec::Scheme::Wss {
            return Err(ConnectError::Scheme);
        }
        let name = |error| ConnectError::Name(target.host.clone(), error);
        let none = || io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let mut addresses = (target.host.as_str(), target.port).to_socket_addrs().map_err(name)?;
        let address = addresses.next().ok_or_else(none).map_err(name)?;
        Ok(Self { target, address, subprotocols: Vec::new(), origin: None, headers: HeaderMap::new() })
    }

    /// Offers subprotocols, the preferred one first.
    #[must_use]
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self
    }

    /// Sends an Origin, as browsers do.
    #[must_use]
    pub fn origin(mut self, origin: impl Into<String>) -> Self {
        self.origin = Some(origin.into());
        self
    }

    /// Sends further headers.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> Self {
        self.headers = headers;
        self
    }

    /// The address that is connected to.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the URL says.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }
}

/// Why a connection did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The URL is none of a WebSocket.
    #[error(transparent)]
    Url(#[from] TargetError),
    /// `wss://`: TLS is not spoken yet.
    #[error("wss:// is not supported yet: TLS is missing; use ws://")]
    Scheme,
    /// The host's name has no address.
    #[error("cannot find the address of {0:?}: {1}")]
    Name(String, #[source] io::Error),
    /// No TCP connection could be made.
    #[error("cannot connect: {0}")]
    Unreachable(#[source] io::Error),
    /// The peer answered, but not as the opening handshake has it.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// The peer ended the connection in the middle of the opening handshake.
    #[error("the peer ended the connection before its answer was complete")]
    Ended,
    /// The peer did not answer within [`Config::handshake_timeout`].
    #[error("the peer did not answer the opening handshake in time")]
    Timeout,
    /// The shard holds as many connections as it may.
    #[error("the shard holds as many connections as it may (Limits::max_connections)")]
    NoSlot,
    /// The shard is stopping.
    #[error("the shard is stopping")]
    Stopping,
}

/// Runs handlers that only open connections: a load generator, a crawler, a bridge.
#[derive(Debug, Default)]
pub struct Client {
    plan: Plan,
}

impl Client {
    /// A client with the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets how many shards there are.
    #[must_use]
    pub fn shards(mut self, shards: Shards) -> Self {
        self.plan.shards = shards;
        self
    }

    /// Sets the configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.plan.config = config;
        self
    }

    /// Sets what a peer may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.plan.limits = limits;
        self
    }

    /// Starts the shards. `make` is called on each shard's own thread with the shard's number. They run until they are
    /// told to stop, by [`Shard::stop`](crate::Shard::stop) or [`Running::stop`].
    ///
    /// # Errors
    /// A [`StartError`] when io_uring or a thread is not to be had.
    pub fn start<H, F>(self, make: F) -> Result<Running<H>, StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        self.plan.start(Vec::new(), Arc::new(make))
    }
}
