//! The options of admission.

use super::network::{Network, Trust};
use super::rate::Rate;
use crate::config::error::{ConfigError, check_range};
use std::time::Duration;

/// The maximum number of trusted networks: each is compared with the peer of each connection.
const NETWORKS_MAX: usize = 1024;

/// The longest time of a `Retry-After` header.
const RETRY_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// What happens to connections that arrive faster than [`Admission::accept_rate`].
///
/// ```
/// use ringway::{Admission, OverRate, Rate};
///
/// let admission = Admission::new().accept_rate(Some(Rate::per_second(5000)))?.over_accept_rate(OverRate::Reject);
/// # let _ = admission;
/// # Ok::<(), ringway::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OverRate {
    /// They wait in the queue of the kernel, and are accepted when the rate allows it. A client sees
    /// a slow handshake. When the queue is full (sysctl `net.core.somaxconn`), the kernel drops
    /// their SYN, and clients send it again after a second.
    #[default]
    Pause,
    /// They are accepted and rejected ([`Admission::reject_with`]).
    Reject,
}

/// How a connection is rejected.
///
/// On a listener with TLS a connection is always closed, because a response would need a TLS
/// handshake, which is the expensive part of a connection. The same holds beyond 64 responses in
/// progress on a shard.
///
/// ```
/// use ringway::{Admission, RejectWith};
///
/// let admission = Admission::new().reject_with(RejectWith::Close);
/// # let _ = admission;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RejectWith {
    /// With status 503 and `Retry-After` (RFC 9110 section 15.6.4).
    #[default]
    Unavailable,
    /// With status 429 and `Retry-After` (RFC 6585 section 4).
    TooManyRequests,
    /// With a close, and no response: the cheapest way.
    Close,
}

/// Which connections a server takes. By default, all: [`Limits`](crate::Limits) bound what each of
/// them may use, and [`Limits::max_connections`](crate::Limits::max_connections) their number on a
/// shard.
///
/// The counts are of this process, over all of its shards. They are kept on the accept path only,
/// and an option that is not set costs nothing. The time of a limit is of the shard that accepts: a
/// lock or an atomic number for each connection.
///
/// ```
/// use ringway::{Admission, Config, Rate};
///
/// let admission = Admission::new()
///     .max_connections(Some(200_000))?
///     .max_handshakes(Some(10_000))?
///     .max_per_address(Some(100))?
///     .accept_rate(Some(Rate::per_second(5_000)))?;
/// let config = Config::default().admission(admission);
/// # let _ = config;
///
/// let error = Admission::new().max_handshakes(Some(0)).unwrap_err();
/// assert_eq!(error.to_string(), "admission.max_handshakes is 0: give 1 to 1073741824");
/// # Ok::<(), ringway::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Admission {
    pub(crate) max_connections: Option<u32>,
    pub(crate) max_handshakes: Option<u32>,
    pub(crate) max_per_address: Option<u32>,
    pub(crate) accept_rate: Option<Rate>,
    pub(crate) over_accept_rate: OverRate,
    pub(crate) reject_with: RejectWith,
    pub(crate) retry_after: Duration,
    pub(crate) trust: Trust,
    pub(crate) proxy_protocol: bool,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            max_connections: None,
            max_handshakes: None,
            max_per_address: None,
            accept_rate: None,
            over_accept_rate: OverRate::Pause,
            reject_with: RejectWith::Unavailable,
            retry_after: Duration::from_secs(5),
            trust: Trust::default(),
            proxy_protocol: false,
        }
    }
}

impl Admission {
    /// The defaults: no limit besides those of [`Limits`](crate::Limits), and no trusted peer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The maximum number of connections of the process, 1 to 2³⁰; a further one is rejected.
    /// Default `None`: only the limit of each shard,
    /// [`Limits::max_connections`](crate::Limits::max_connections), beyond which connections wait in
    /// the queue of the kernel.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_connections(mut self, connections: Option<u32>) -> Result<Self, ConfigError> {
        self.max_connections = connections;
        self.check_counts()?;
        Ok(self)
    }

    /// The maximum number of opening handshakes in progress in the process, 1 to 2³⁰: from the
    /// accept until the request is complete. Default `None`.
    ///
    /// At the limit, a shard rejects its oldest handshake in progress in favour of a new
    /// connection: a client that sends its request at once is served although any number of others
    /// keep theirs incomplete. A shard without a handshake in progress rejects the new connection.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_handshakes(mut self, handshakes: Option<u32>) -> Result<Self, ConfigError> {
        self.max_handshakes = handshakes;
        self.check_counts()?;
        Ok(self)
    }

    /// The maximum number of connections of one client, 1 to 2³⁰: of one IPv4 address, or of one /64
    /// network of IPv6; a further one is rejected. Default `None`. Costs one `getpeername(2)` for
    /// each connection, and some 20 bytes of memory for each client with a connection.
    ///
    /// The client is the one that the PROXY protocol names, where that is used. Otherwise the
    /// connections of trusted peers ([`Admission::trust`]), and of Unix sockets, are not counted: a
    /// proxy has many clients.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_per_address(mut self, connections: Option<u32>) -> Result<Self, ConfigError> {
        self.max_per_address = connections;
        self.check_counts()?;
        Ok(self)
    }

    /// The maximum rate at which connections are accepted in the process. Default `None`.
    ///
    /// # Errors
    /// A [`ConfigError`] for a rate out of range ([`Rate`]).
    pub fn accept_rate(mut self, rate: Option<Rate>) -> Result<Self, ConfigError> {
        self.accept_rate = rate;
        self.check_rate()?;
        Ok(self)
    }

    /// What happens to connections above [`Admission::accept_rate`]. Default: they wait in the queue
    /// of the kernel. A shard then accepts one connection in a turn of its loop.
    #[must_use]
    pub fn over_accept_rate(mut self, over: OverRate) -> Self {
        self.over_accept_rate = over;
        self
    }

    /// How connections are rejected. Default: with status 503.
    #[must_use]
    pub fn reject_with(mut self, reject_with: RejectWith) -> Self {
        self.reject_with = reject_with;
        self
    }

    /// The time in the `Retry-After` header of a rejection, in whole seconds, 1 s to 24 h. Default 5
    /// s. Clients that honour it come back together; a WebSocket in a browser does not see it.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn retry_after(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.retry_after = time;
        self.check_retry_after()?;
        Ok(self)
    }

    /// The networks of the proxies that may name the address of a client, 1024 at most. Default:
    /// none. Trust only proxies that set or remove what clients send, and no network that clients
    /// are in.
    ///
    /// # Errors
    /// A [`ConfigError`] for a list that is too long.
    ///
    /// ```
    /// use ringway::Admission;
    ///
    /// let admission = Admission::new().trust(["10.0.0.0/8".parse()?, "fd00::/8".parse()?])?;
    /// # let _ = admission;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn trust(mut self, networks: impl IntoIterator<Item = Network>) -> Result<Self, ConfigError> {
        self.trust.networks = networks.into_iter().collect();
        self.check_trust()?;
        Ok(self)
    }

    /// Whether the peers of Unix sockets are trusted, which have no address. Default: no. The mode of
    /// the socket's file decides who can connect ([`UnixSocket::mode`](crate::UnixSocket::mode)).
    #[must_use]
    pub fn trust_unix(mut self, trust: bool) -> Self {
        self.trust.unix = trust;
        self
    }

    /// Whether trusted peers ([`Admission::trust`]) begin each connection with a header of the PROXY
    /// protocol, version 1 or 2, before TLS and before HTTP. Default: no.
    ///
    /// The header is then required of trusted peers, and refused from all others. It has to arrive
    /// within [`Config::handshake_timeout`](crate::Config::handshake_timeout), and may have 4 328
    /// bytes. Fields behind its addresses are skipped. The client that it names counts for
    /// [`Admission::max_per_address`], and is returned by
    /// [`Request::client_addr`](crate::Request::client_addr); a connection of the proxy's own
    /// (`LOCAL`, `UNKNOWN`), such as a health check, is that of the proxy. Costs one
    /// `getpeername(2)`, and 32 bytes of memory for each connection.
    #[must_use]
    pub fn proxy_protocol(mut self, required: bool) -> Self {
        self.proxy_protocol = required;
        self
    }

    /// Checks the range of each option. Called when the shards start.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first option that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_counts()?;
        self.check_rate()?;
        self.check_retry_after()?;
        self.check_trust()?;
        if self.proxy_protocol && self.trust.networks.is_empty() && !self.trust.unix {
            let range = "false, or trust the proxies that send the header (admission.trust)";
            return Err(ConfigError::new("admission.proxy_protocol", "true", range));
        }
        Ok(())
    }

    fn check_counts(&self) -> Result<(), ConfigError> {
        for (option, value) in [
            ("admission.max_connections", self.max_connections),
            ("admission.max_handshakes", self.max_handshakes),
            ("admission.max_per_address", self.max_per_address),
        ] {
            value.map_or(Ok(()), |value| check_range(option, value, 1..=1 << 30))?;
        }
        Ok(())
    }

    fn check_rate(&self) -> Result<(), ConfigError> {
        self.accept_rate.map_or(Ok(()), |rate| rate.check("admission.accept_rate"))
    }

    fn check_retry_after(&self) -> Result<(), ConfigError> {
        if (Duration::from_secs(1)..=RETRY_MAX).contains(&self.retry_after) {
            return Ok(());
        }
        Err(ConfigError::new("admission.retry_after", format!("{:?}", self.retry_after), "1 s to 24 h"))
    }

    fn check_trust(&self) -> Result<(), ConfigError> {
        if self.trust.networks.len() > NETWORKS_MAX {
            let count = format!("a list of {} networks", self.trust.networks.len());
            return Err(ConfigError::new("admission.trust", count, format!("at most {NETWORKS_MAX}")));
        }
        Ok(())
    }

    /// Whether connections are looked at when they are accepted.
    pub(crate) fn is_active(&self) -> bool {
        self.max_connections.is_some()
            || self.max_handshakes.is_some()
            || self.max_per_address.is_some()
            || self.accept_rate.is_some()
            || self.proxy_protocol
    }

    /// Whether the address of a peer is needed when it is accepted.
    pub(crate) fn needs_address(&self) -> bool {
        self.max_per_address.is_some() || self.proxy_protocol
    }

    /// Whether connections wait in the queue of the kernel when they come too fast.
    pub(crate) fn paces_accepting(&self) -> bool {
        self.accept_rate.is_some() && self.over_accept_rate == OverRate::Pause
    }

    /// Trusts peers.
    #[cfg(test)]
    pub(crate) fn trusting(mut self, networks: &[&str]) -> Self {
        self.trust.networks = networks.iter().map(|network| network.parse::<Network>().expect("a network")).collect();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_refused() {
        let new = Admission::new;
        assert!(new().max_connections(Some(0)).is_err() && new().max_per_address(Some(u32::MAX)).is_err());
        assert!(new().accept_rate(Some(Rate::per_second(0))).is_err());
        assert!(new().retry_after(Duration::from_millis(999)).is_err());
        assert!(Admission { max_handshakes: Some(0), ..new() }.check().is_err());
        let error = new().retry_after(RETRY_MAX + Duration::from_secs(1)).expect_err("too long");
        assert_eq!(error.to_string(), "admission.retry_after is 86401s: give 1 s to 24 h");
    }

    #[test]
    fn the_proxy_protocol_needs_a_trusted_peer() {
        let admission = Admission::new().proxy_protocol(true);
        let error = admission.check().expect_err("nobody would send it");
        assert!(error.to_string().starts_with("admission.proxy_protocol is true: give false, or trust"), "{error}");
        assert!(admission.clone().trust_unix(true).check().is_ok());
        assert!(admission.trusting(&["10.0.0.0/8"]).check().is_ok());
    }

    #[test]
    fn nothing_is_looked_at_without_an_option() {
        assert!(!Admission::new().is_active() && !Admission::new().trusting(&["10.0.0.0/8"]).is_active());
        assert!(Admission { proxy_protocol: true, ..Admission::new() }.is_active());
    }
}
