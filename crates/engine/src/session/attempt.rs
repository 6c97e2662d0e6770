//! An attempt to connect to one address of a server.

use crate::api::endpoint::Endpoint;
use crate::api::error::ConnectError;
use crate::api::opening::{OpeningStage, OpeningTimes};
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
    /// The time at which the application has asked for the connection.
    began: Instant,
    /// The time at which the connection was established.
    connected: Option<Instant>,
    /// The time at which the TLS handshake was complete.
    secured: Option<Instant>,
}

impl Attempt {
    /// Begins the first attempt.
    pub(crate) fn first(endpoint: Arc<Endpoint>, core: &Core) -> Self {
        let deadline = core.clock.at(core.after(core.config.handshake_timeout));
        let began = core.current_time();
        Self { endpoint, address: 0, deadline, failure: None, began, connected: None, secured: None }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn address(&self) -> &Address {
        &self.endpoint.addresses()[self.address]
    }

    /// Ends the stage of connecting.
    pub(crate) fn connected(&mut self, core: &Core) {
        self.connected = Some(core.current_time());
    }

    /// Ends the stage of the TLS handshake.
    pub(crate) fn secured(&mut self, core: &Core) {
        self.secured = Some(core.current_time());
    }

    /// The stage that is in progress.
    pub(crate) fn stage(&self) -> OpeningStage {
        match (self.connected, self.secured) {
            (None, _) => OpeningStage::Connect,
            (Some(_), None) if self.endpoint.tls.is_some() => OpeningStage::Tls,
            (Some(_), _) => OpeningStage::Upgrade,
        }
    }

    /// The durations of the stages, if the last one ends now.
    pub(crate) fn times(&self, core: &Core) -> Option<OpeningTimes> {
        let connected = self.connected?;
        Some(OpeningTimes {
            connect: connected.saturating_duration_since(self.began),
            tls: self.secured.map(|secured| secured.saturating_duration_since(connected)),
            upgrade: core.current_time().saturating_duration_since(self.secured.unwrap_or(connected)),
        })
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
    pub(crate) fn next(mut self: Box<Self>, failure: ConnectError) -> Result<Box<Self>, ConnectError> {
        if self.address + 1 >= self.endpoint.addresses().len() {
            return Err(failure);
        }
        self.address += 1;
        self.failure = Some(failure);
        Ok(self)
    }

    /// The error of the connection if this attempt fails with `reason`: that of the previous
    /// attempt, if there was one.
    pub(crate) fn into_failure(self, reason: ConnectError) -> ConnectError {
        self.failure.unwrap_or(reason)
    }
}
