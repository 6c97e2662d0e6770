//! The front for shards that only open connections.

use super::error::StartError;
use super::launch::Launch;
use super::running::Running;
use crate::api::handler::Handler;
use crate::config::{Config, Limits, Shards};
use std::sync::Arc;

/// Runs handlers that only open connections: a load generator, a crawler, a bridge.
#[derive(Debug, Default)]
pub struct Client {
    launch: Launch,
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

    /// Starts the shards. `make` is called on each shard's own thread with the shard's number. They run until they are
    /// told to stop, by [`Shard::stop`](crate::Shard::stop) or [`Running::stop`].
    ///
    /// # Errors
    /// A [`StartError`] when io_uring is unavailable or a thread cannot be started.
    pub fn start<H, F>(self, make: F) -> Result<Running<H>, StartError>
    where
        H: Handler,
        F: Fn(usize) -> H + Send + Sync + 'static,
    {
        self.launch.start(Vec::new(), Arc::new(make))
    }
}
