//! The server: addresses, a handler, and the shards that run it.

use super::error::StartError;
use super::launch::Launch;
use super::running::Running;
use crate::api::handler::Handler;
use crate::config::{Config, Limits, Shards};
use ringway_io::Listener;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// A WebSocket server that listens already, and accepts once it runs.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    launch: Launch,
}

impl Server {
    /// Listens on all addresses that `address` stands for. Port 0 lets the system choose.
    ///
    /// # Errors
    /// [`StartError::Address`] for an address that could not be parsed, [`StartError::Bind`] for one that cannot be listened on.
    pub fn bind(address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        Self { listeners: Vec::new(), launch: Launch::default() }.and_bind(address)
    }

    /// Listens on a further address.
    ///
    /// # Errors
    /// As [`Server::bind`].
    pub fn and_bind(mut self, address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        let fail = |error| StartError::Address(address.to_string(), error);
        let addresses: Vec<SocketAddr> = address.to_socket_addrs().map_err(fail)?.collect();
        if addresses.is_empty() {
            return Err(fail(io::Error::new(io::ErrorKind::NotFound, "the name has no address")));
        }
        for address in addresses {
            self.listeners.push(Listener::bind(address)?);
        }
        Ok(self)
    }

    /// Sets how many shards there are.
    #[must_use]
    pub fn shards(mut self, shards: Shards) -> Self {
        self.launch.shards = shards;
        self
    }

    /// Sets the configuration.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.launch.config = config;
        self
    }

    /// Sets what a peer may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.launch.limits = limits;
        self
    }

    /// Starts the shards and returns. `make` is called on each shard's own thread with the shard's number.
    ///
    /// # Errors
    /// A [`StartError`] when io_uring is unavailable or a thread cannot be started.
    pub fn start<H, F>(self, make: F) -> Result<Running<H>, StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        self.launch.start(self.listeners, Arc::new(make))
    }

    /// Runs until SIGINT or SIGTERM: connections are then closed with 1001, and waited for no longer than
    /// [`Config::stop_timeout`]. A second signal ends the process at once.
    ///
    /// # Errors
    /// As [`Server::start`] and [`Running::wait`].
    pub fn run<H, F>(self, make: F) -> Result<(), StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        let running = self.start(make)?;
        running.stop_on_signals()?;
        running.wait().map(drop)
    }
}
