//! Whom a shard connects to in the client role.

use crate::api::error::ConnectError;
use http::HeaderMap;
use ringway_codec::Target;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};

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
    /// [`ConnectError::Url`] for a URL that could not be parsed, [`ConnectError::Scheme`] for `wss://`, [`ConnectError::Name`]
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
