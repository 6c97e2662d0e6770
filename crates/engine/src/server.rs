//! The server: addresses, a handler, and the shards that run it.

use crate::config::{Config, Limits, Shards};
use crate::handler::Handler;
use crate::running::{self, Plan, Running, StartError};
use ringway_io::Listener;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fmt::Display;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;

/// A WebSocket server that listens already, and accepts once it runs.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    plan: Plan,
}

impl Server {
    /// Listens on all addresses that `address` stands for. Port 0 lets the system choose.
    ///
    /// # Errors
    /// [`StartError::Address`] for what is no address, [`StartError::Bind`] for one that cannot be listened on.
    pub fn bind(address: impl ToSocketAddrs + Display) -> Result<Self, StartError> {
        Self { listeners: Vec::new(), plan: Plan::default() }.and_bind(address)
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

    /// Starts the shards and returns. `make` is called on each shard's own thread with the shard's number.
    ///
    /// # Errors
    /// A [`StartError`] when io_uring or a thread is not to be had.
    pub fn start<H, F>(self, make: F) -> Result<Running<H>, StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        self.plan.start(self.listeners, Arc::new(make))
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

impl<H: Handler> Running<H> {
    /// Has SIGINT and SIGTERM stop the shards, as [`Running::stop`] does; a second one ends the process as if nobody
    /// watched.
    ///
    /// # Errors
    /// [`StartError::Signals`] when the signals cannot be watched.
    pub fn stop_on_signals(&self) -> Result<(), StartError> {
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(StartError::Signals)?;
        let handles = self.handles().to_vec();
        let watch = move || {
            let mut first = true;
            for signal in signals.forever() {
                if std::mem::take(&mut first) {
                    running::stop(&handles);
                } else {
                    let _ = signal_hook::low_level::emulate_default_handler(signal);
                }
            }
        };
        std::thread::Builder::new().name("ringway-signals".into()).spawn(watch).map_err(StartError::Thread)?;
        Ok(())
    }
}
