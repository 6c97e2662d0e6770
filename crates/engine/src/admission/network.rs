//! Networks in CIDR notation, and the set of them that is trusted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A network of IPv4 or IPv6, as `10.0.0.0/8`, `2001:db8::/32`, or a single address.
///
/// An IPv4 address within IPv6 (`::ffff:192.0.2.1`, as a socket for both shows it) belongs to the
/// networks of IPv4.
///
/// ```
/// use ringway::Network;
///
/// let network: Network = "10.0.0.0/8".parse()?;
/// assert!(network.contains("10.1.2.3".parse()?) && !network.contains("192.0.2.1".parse()?));
/// let error = "10.1.0.0/8".parse::<Network>().unwrap_err();
/// assert_eq!(error.to_string(), "\"10.1.0.0/8\" has bits beyond its prefix: write 10.0.0.0/8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Text that is not a network.
///
/// ```
/// use ringway::{Network, NetworkError};
///
/// let error: NetworkError = "10.0.0.0/33".parse::<Network>().unwrap_err();
/// assert_eq!(error.to_string(), "\"10.0.0.0/33\" is not a network: write it as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NetworkError {
    /// Not an address, or not followed by a prefix of its length.
    #[error("{0:?} is not a network: write it as 10.0.0.0/8, 2001:db8::/32 or 192.0.2.1")]
    Malformed(String),
    /// The address has bits that the prefix does not cover; with the network that it is in.
    #[error("{0:?} has bits beyond its prefix: write {1}")]
    HostBits(String, Network),
}

impl Network {
    /// Whether an address is in the network.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.address == masked(address.to_canonical(), self.prefix)
    }
}

/// The first `prefix` bits of an address.
fn masked(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(prefix)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(prefix)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let bits: u8 = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            None => bits,
            Some(prefix) if prefix.bytes().all(|byte| byte.is_ascii_digit()) => {
                prefix.parse().ok().filter(|prefix| *prefix <= bits).ok_or_else(malformed)?
            }
            Some(_) => return Err(malformed()),
        };
        let network = match address.to_canonical() {
            // An address of IPv4 within IPv6.
            IpAddr::V4(inner) if address.is_ipv6() => match prefix.checked_sub(96) {
                Some(prefix) => Self { address: inner.into(), prefix },
                None => return Err(malformed()),
            },
            address => Self { address, prefix },
        };
        let start = masked(network.address, network.prefix);
        if start == network.address {
            return Ok(network);
        }
        Err(NetworkError::HostBits(text.to_owned(), Self { address: start, ..network }))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// The peers that may name the address of a client.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trust {
    pub(crate) networks: Vec<Network>,
    /// Peers of Unix sockets, which have no address.
    pub(crate) unix: bool,
}

impl Trust {
    /// Whether an address is trusted.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(address))
    }

    /// Whether a peer is trusted; `None`: one of a Unix socket.
    pub(crate) fn trusts(&self, peer: Option<IpAddr>) -> bool {
        peer.map_or(self.unix, |address| self.contains(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(text: &str) -> Network {
        text.parse().unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn networks_contain_the_addresses_with_their_prefix() {
        for (text, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.0.2.1", "192.0.2.1", "192.0.2.2"),
            ("192.0.2.128/25", "192.0.2.200", "192.0.2.127"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "2001:db8::1", "192.0.2.1"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::10.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
        ] {
            let network = network(text);
            assert!(network.contains(inside.parse().expect("an address")), "{inside} in {network}");
            assert!(!network.contains(outside.parse().expect("an address")), "{outside} in {network}");
        }
    }

    #[test]
    fn malformed_networks_are_refused_with_the_form_to_use() {
        for text in [
            "",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/-1",
            "::/129",
            "10.0.0",
            "a/8",
            "::ffff:0:0/95",
        ] {
            let error = text.parse::<Network>().expect_err(text);
            assert!(error.to_string().contains("is not a network"), "{error}");
        }
        let error = "2001:db8::1/64".parse::<Network>().expect_err("bits beyond the prefix");
        assert_eq!(error.to_string(), "\"2001:db8::1/64\" has bits beyond its prefix: write 2001:db8::/64");
    }

    #[test]
    fn peers_of_unix_sockets_are_trusted_by_their_own_option() {
        let trust = Trust { networks: vec![network("127.0.0.0/8")], unix: false };
        assert!(trust.trusts(Some(Ipv4Addr::LOCALHOST.into())) && !trust.trusts(None));
        let trust = Trust { unix: true, ..Trust::default() };
        assert!(trust.trusts(None) && !trust.trusts(Some(Ipv4Addr::LOCALHOST.into())));
    }
}
