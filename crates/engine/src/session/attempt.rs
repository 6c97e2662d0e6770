//! One attempt to connect to a server that may have several addresses.

use crate::api::endpoint::Endpoint;
use crate::api::error::ConnectError;
use crate::shard::core::Core;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An attempt to connect to one address of an endpoint. The addresses are tried one after another
/// (RFC 8305 sections 4 and 5, without attempts in parallel), in the time that the opening handshake
/// has in all.
#[derive(Debug)]
pub(crate) struct Attempt {
    endpoint: Arc<Endpoint>,
    /// Which of its addresses is tried.
    address: usize,
    /// When the handshake has to be complete, whichever address answers.
    deadline: Instant,
    /// Why the address before this one failed.
    failure: Option<ConnectError>,
}

impl Attempt {
    /// The first attempt, which begins now.
    pub(crate) fn first(endpoint: Arc<Endpoint>, core: &Core) -> Self {
        Self { endpoint, address: 0, deadline: core.after(core.config.handshake_timeout), failure: None }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.endpoint.addresses()[self.address]
    }

    /// How much time is left for the whole handshake.
    pub(crate) fn time_left(&self, core: &Core) -> Duration {
        self.deadline.saturating_duration_since(core.now())
    }

    /// How long the TCP connection to this address may take: an equal share of the time for each
    /// address that is left.
    pub(crate) fn connect_time(&self, core: &Core) -> Duration {
        let addresses = self.endpoint.addresses().len() - self.address;
        self.time_left(core) / u32::try_from(addresses).unwrap_or(u32::MAX)
    }

    /// The attempt to connect to the next address, or the failure of this one if it was the last.
    pub(crate) fn next(self, failure: ConnectError) -> Result<Self, ConnectError> {
        let address = self.address + 1;
        if address >= self.endpoint.addresses().len() {
            return Err(failure);
        }
        Ok(Self { address, failure: Some(failure), ..self })
    }

    /// Why the connection fails if this attempt cannot be made for the reason given: why the one
    /// before it failed, if there was one.
    pub(crate) fn into_failure(self, reason: ConnectError) -> ConnectError {
        self.failure.unwrap_or(reason)
    }
}
