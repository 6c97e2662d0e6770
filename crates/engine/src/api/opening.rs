//! The stages of opening an outgoing connection, and their durations.

use std::fmt;
use std::time::Duration;

/// A stage of opening an outgoing connection.
///
/// ```
/// use ringway::{ConnectError, OpeningStage};
///
/// let error = ConnectError::Timeout(OpeningStage::Tls);
/// assert_eq!(error.stage(), Some(OpeningStage::Tls));
/// assert_eq!(error.to_string(), "the TLS handshake took too long");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum OpeningStage {
    /// The TCP connection, or that of a Unix socket, is being established.
    Connect,
    /// The TLS handshake (RFC 8446 section 4), with a `wss://` URL only.
    Tls,
    /// The opening handshake of the WebSocket connection (RFC 6455 section 4).
    Upgrade,
}

impl fmt::Display for OpeningStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::Tls => "the TLS handshake",
            Self::Upgrade => "the opening handshake",
        })
    }
}

/// The durations of the stages in which an outgoing connection has opened. Each stage begins when
/// the one before it ends.
///
/// They include the time until the shard processes the completion of a stage: on a shard that opens
/// many connections at a time, that is also the time of its work for the others.
///
/// ```
/// use ringway::{Connection, Handler, Message, Request, Upgrade};
///
/// struct Probe;
///
/// impl Handler for Probe {
///     type State = ();
///
///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
///         Upgrade::accept(())
///     }
///
///     fn open(&mut self, conn: &mut Connection<'_, Self>) {
///         if let Some(times) = conn.opening_times() {
///             println!("connected in {:?}, open after {:?}", times.connect(), times.total());
///         }
///     }
///
///     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// }
/// # let _ = Probe;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningTimes {
    pub(crate) connect: Duration,
    pub(crate) tls: Option<Duration>,
    pub(crate) held: Option<Duration>,
    pub(crate) upgrade: Duration,
}

impl OpeningTimes {
    /// From the call of [`Shard::connect`](crate::Shard::connect) until the TCP connection, or that
    /// of a Unix socket, was established. It contains the time of the addresses that were tried
    /// before, and not the look-up of the name.
    #[must_use]
    pub fn connect(&self) -> Duration {
        self.connect
    }

    /// From the established connection until the end of the TLS handshake: one round trip with TLS
    /// 1.3, two with a full handshake of TLS 1.2, and the cryptography of both sides. `None`
    /// without TLS.
    #[must_use]
    pub fn tls(&self) -> Option<Duration> {
        self.tls
    }

    /// From the established connection, with TLS if there is any, until the request of the opening
    /// handshake was sent. `None` unless the connection was held
    /// ([`Endpoint::hold_before_upgrade`](crate::Endpoint::hold_before_upgrade)).
    #[must_use]
    pub fn held(&self) -> Option<Duration> {
        self.held
    }

    /// From the request of the opening handshake until its response was received.
    #[must_use]
    pub fn upgrade(&self) -> Duration {
        self.upgrade
    }

    /// From the call of [`Shard::connect`](crate::Shard::connect) until the connection was open,
    /// without the time for which it was held: the sum of all stages.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.connect + self.tls.unwrap_or_default() + self.upgrade
    }
}
