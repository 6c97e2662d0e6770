//! A server of a plan.

use ringway::{ConnectError, Endpoint};
use std::fmt;
use std::net::SocketAddr;

/// A server, and its share of the connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A `ws://`, `wss://` or `unix:` URL; or `tcp://HOST:PORT` and `udp://HOST:PORT` for an echo
    /// service without WebSockets (RFC 862).
    pub url: String,
    /// Its share of the connections relative to the other targets. At least 1, which is the
    /// default.
    pub weight: u32,
    /// Its addresses, instead of those that the name of the URL resolves to.
    pub addresses: Vec<SocketAddr>,
}

impl Target {
    /// The server of `url`, with weight 1.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), weight: 1, addresses: Vec::new() }
    }

    /// Checks the URL, without resolving its name.
    ///
    /// # Errors
    /// An invalid URL, and addresses for a Unix socket.
    pub(crate) fn check(&self) -> Result<(), ConnectError> {
        if self.transport() != Transport::WebSocket {
            let any = SocketAddr::from(([127, 0, 0, 1], 1));
            return Endpoint::plain_with_addresses(&self.url, [any]).map(drop);
        }
        if self.is_unix() {
            // It needs no look-up.
            return Endpoint::resolve(&self.url).map(drop);
        }
        let any = SocketAddr::from(([127, 0, 0, 1], 1));
        Endpoint::with_addresses(&self.url, [any]).map(drop)
    }

    /// What connections speak.
    #[must_use]
    pub fn transport(&self) -> Transport {
        match self.url.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase()).as_deref() {
            Some("tcp") => Transport::Tcp,
            Some("udp") => Transport::Udp,
            _ => Transport::WebSocket,
        }
    }

    /// Whether connections use TLS.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        self.url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("wss"))
    }

    /// Whether connections use a Unix socket.
    #[must_use]
    pub fn is_unix(&self) -> bool {
        self.url.starts_with("unix:")
    }
}

/// What connections speak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transport {
    /// WebSocket messages.
    #[default]
    WebSocket,
    /// The bytes of messages on TCP, to an echo service.
    Tcp,
    /// Datagrams, to an echo service.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WebSocket => "ws://",
            Self::Tcp => "tcp://",
            Self::Udp => "udp://",
        })
    }
}

/// The order of targets by weight: target `at(n)` of connection `n`. Each cycle of connections, as
/// long as the sum of the weights, has each target as often as its weight, spread evenly.
#[derive(Clone, Debug)]
pub(crate) struct Rotation(Vec<u16>);

impl Rotation {
    /// A cycle of at most this many connections; larger sums of weights are scaled down.
    const MAX: u64 = 4096;

    pub(crate) fn new(weights: impl Iterator<Item = u32>) -> Self {
        let weights: Vec<u64> = weights.map(|weight| weight.max(1).into()).collect();
        let total: u64 = weights.iter().sum();
        let scaled = |weight: u64| if total > Self::MAX { (weight * Self::MAX / total).max(1) } else { weight };
        let weights: Vec<u64> = weights.into_iter().map(scaled).collect();
        let total: u64 = weights.iter().sum();
        // The target that is furthest behind its share takes the next place.
        let mut behind = vec![0i64; weights.len()];
        let places = (0..total).map(|_| {
            behind.iter_mut().zip(&weights).for_each(|(behind, weight)| *behind += *weight as i64);
            let next = (0..behind.len()).max_by_key(|at| (behind[*at], usize::MAX - at)).unwrap_or(0);
            behind[next] -= total as i64;
            next as u16
        });
        Self(places.collect())
    }

    /// The index of the target of connection `number`.
    #[inline]
    pub(crate) fn at(&self, number: u64) -> usize {
        match self.0.len() {
            0 | 1 => 0,
            len => self.0[(number % len as u64) as usize].into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(weights: &[u32], connections: u64) -> Vec<u64> {
        let rotation = Rotation::new(weights.iter().copied());
        let mut counts = vec![0; weights.len()];
        (0..connections).for_each(|number| counts[rotation.at(number)] += 1);
        counts
    }

    #[test]
    fn each_cycle_has_each_target_as_often_as_its_weight() {
        assert_eq!(counts(&[1], 10), [10]);
        assert_eq!(counts(&[1, 1, 1], 9), [3, 3, 3]);
        assert_eq!(counts(&[5, 1, 2], 80), [50, 10, 20]);
        // In between, no target is ahead of its share by more than one.
        for connections in 0..80 {
            for (count, weight) in counts(&[5, 1, 2], connections).into_iter().zip([5.0, 1.0, 2.0]) {
                assert!((count as f64 - connections as f64 * weight / 8.0).abs() <= 1.0);
            }
        }
    }

    #[test]
    fn large_weights_keep_their_proportions() {
        let counts = counts(&[u32::MAX, u32::MAX / 4], 100_000);
        assert!((79_000..81_000).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn a_url_shows_its_transport() {
        assert!(Target::new("WSS://a/").is_secure() && !Target::new("ws://a/").is_secure());
        assert!(Target::new("unix:/run/a.sock:/").is_unix());
    }
}
