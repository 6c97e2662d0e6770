//! An attempt to connect to one address of a server.

use crate::api::endpoint::Endpoint;
use crate::api::error::ConnectError;
use crate::api::opening::{OpeningStage, OpeningTimes};
use crate::api::plain::PlainKind;
use crate::shard::core::Core;
use ringway_io::{Address, ConnectOptions, SourceError};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// An attempt to connect to one address of an endpoint. The addresses are tried in turn (RFC 8305
/// sections 4 and 5, without parallel attempts), within one timeout for the whole opening
/// handshake.
#[derive(Debug)]
pub(crate) struct Attempt {
    endpoint: Arc<Endpoint>,
    /// The number of this connection among those of the endpoint.
    number: usize,
    /// The number of addresses that were tried before.
    failed: usize,
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
    /// The time, less stalls, from which on the request is held.
    held: Option<Instant>,
    /// The time at which a request that was held is sent.
    requested: Option<Instant>,
}

impl Attempt {
    /// Begins the first attempt.
    pub(crate) fn first(endpoint: Arc<Endpoint>, core: &Core) -> Self {
        let deadline = core.clock.at(core.after(core.config.handshake_timeout));
        let began = core.current_time();
        let number = endpoint.routes.next_connection();
        Self {
            endpoint,
            number,
            failed: 0,
            deadline,
            failure: None,
            began,
            connected: None,
            secured: None,
            held: None,
            requested: None,
        }
    }

    pub(crate) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub(crate) fn address(&self) -> &Address {
        self.endpoint.routes.address(self.number, self.failed)
    }

    /// The options of the connection to this address.
    pub(crate) fn options(&self) -> ConnectOptions {
        let source = self.endpoint.routes.source(self.number, self.failed);
        let options = ConnectOptions::default().source(source).receive_buffer(self.endpoint.receive_buffer);
        options.datagrams(self.endpoint.plain == Some(PlainKind::Datagrams))
    }

    /// The error of a connection that could not be established.
    pub(crate) fn unreachable(&self, error: io::Error) -> ConnectError {
        match (error.downcast::<SourceError>(), self.endpoint.routes.source(self.number, self.failed)) {
            (Ok(error), _) => ConnectError::Source(error),
            // The address was bound before, so only the port can be missing.
            (Err(error), Some(source)) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                ConnectError::NoPort(source, self.address().clone())
            }
            (Err(error), _) => ConnectError::Unreachable(error),
        }
    }

    /// Ends the stage of connecting.
    pub(crate) fn connected(&mut self, core: &Core) {
        self.connected = Some(core.current_time());
    }

    /// Ends the stage of the TLS handshake.
    pub(crate) fn secured(&mut self, core: &Core) {
        self.secured = Some(core.current_time());
    }

    /// Begins to hold the request. The time does not count towards the deadline.
    pub(crate) fn hold(&mut self, core: &Core) {
        self.held = Some(core.clock.effective());
    }

    /// Ends the hold.
    pub(crate) fn release(&mut self, core: &Core) {
        if let Some(since) = self.held.take() {
            self.deadline += core.clock.effective().saturating_duration_since(since);
            self.requested = Some(core.current_time());
        }
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
        let established = self.secured.unwrap_or(connected);
        Some(OpeningTimes {
            connect: connected.saturating_duration_since(self.began),
            tls: self.secured.map(|secured| secured.saturating_duration_since(connected)),
            held: self.requested.map(|requested| requested.saturating_duration_since(established)),
            upgrade: core.current_time().saturating_duration_since(self.requested.unwrap_or(established)),
        })
    }

    /// The time left for the whole handshake.
    pub(crate) fn time_left(&self, core: &Core) -> Duration {
        self.deadline.saturating_duration_since(core.clock.effective())
    }

    /// The time for the connection to this address: the time left, divided by the number of
    /// addresses left.
    pub(crate) fn connect_time(&self, core: &Core) -> Duration {
        let addresses = self.endpoint.addresses().len() - self.failed;
        self.time_left(core) / u32::try_from(addresses).unwrap_or(u32::MAX)
    }

    /// The attempt with the next address, or the error of this one if it was the last.
    pub(crate) fn next(mut self: Box<Self>, failure: ConnectError) -> Result<Box<Self>, ConnectError> {
        if self.failed + 1 >= self.endpoint.addresses().len() {
            return Err(failure);
        }
        self.failed += 1;
        self.failure = Some(failure);
        Ok(self)
    }

    /// The error of the connection if this attempt fails with `reason`: that of the previous
    /// attempt, if there was one.
    pub(crate) fn into_failure(self, reason: ConnectError) -> ConnectError {
        self.failure.unwrap_or(reason)
    }
}
