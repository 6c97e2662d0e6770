//! An attempt to connect to one address of a server.

use crate::api::endpoint::Endpoint;
use crate::api::error::ConnectError;
use crate::shard::core::Core;
use ringway_io::Address;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An attempt to connect to one address of an endpoint. The addresses are tried in turn (RFC 8305
/// sections 4 and 5, without parallel attempts), within one timeout for the whole opening
/// handshake.
#[derive(Debug)]
pub(crate) struct Attempt {
    endpoint: Arc<Endpoint>,
    /// The index of the address that is tried.
    address: usize,
    /// The deadline of the handshake, for all addresses together.
    deadline: Instant,
    /// The error of the previous address.
    failure: Option<ConnectError>,
}

impl Attempt {
    /// Begins the first attempt.
    pub(crate) fn first(endpoint: Arc<Endpoint>, core: &Core) -> Self {
        Self { endpoint, address: 0, deadline: core.clock.at(core.after(core.config.handshake_timeout)), failure: None }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn address(&self) -> &Address {
        &self.endpoint.addresses()[self.address]
    }

    /// The time left for the whole handshake.
    pub(crate) fn time_left(&self, core: &Core) -> Duration {
        self.deadline.saturating_duration_since(core.clock.effective())
    }

    /// The time for the connection to this address: the time left, divided by the number of
    /// addresses left.
    pub(crate) fn connect_time(&self, core: &Core) -> Duration {
        let addresses = self.endpoint.addresses().len() - self.address;
        self.time_left(core) / u32::try_from(addresses).unwrap_or(u32::MAX)
    }

    /// The attempt with the next address, or the error of this one if it was the last.
    pub(crate) fn next(self, failure: ConnectError) -> Result<Self, ConnectError> {
        let address = self.address + 1;
        if address >= self.endpoint.addresses().len() {
            return Err(failure);
        }
        Ok(Self { address, failure: Some(failure), ..self })
    }

    /// The error of the connection if this attempt fails with `reason`: that of the previous
    /// attempt, if there was one.
    pub(crate) fn into_failure(self, reason: ConnectError) -> ConnectError {
        self.failure.unwrap_or(reason)
    }
}
