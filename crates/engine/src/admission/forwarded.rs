//! The address of a client in `X-Forwarded-For`.
//!
//! Each proxy appends the address of its peer, so only the end of the list that trusted proxies have
//! written is true. `Forwarded` (RFC 7239) is not read: a proxy that sets one of both headers often
//! passes the other one on as the client has sent it.

use super::network::Trust;
use std::net::{IpAddr, SocketAddr};

/// What names the client of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientSource<'a> {
    /// The client that the PROXY protocol has named, which replaces the peer.
    pub(crate) proxied: Option<IpAddr>,
    pub(crate) trust: &'a Trust,
}

/// The address of the client: the rightmost one that is not trusted, from the peer on to the left.
/// `values` are those of all `X-Forwarded-For` headers in the order of receipt.
///
/// Where an address cannot be read, and at the left end of the list, the last trusted one counts.
pub(crate) fn client_of<'a>(
    peer: Option<IpAddr>,
    values: impl Iterator<Item = &'a [u8]>,
    trust: &Trust,
) -> Option<IpAddr> {
    if !trust.trusts(peer) {
        return peer;
    }
    let mut client = peer;
    let values: Vec<&[u8]> = values.collect();
    let elements = values.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
    for element in elements {
        let text = element.trim_ascii();
        // An empty element of a list has no meaning (RFC 9110 section 5.6.1).
        if text.is_empty() {
            continue;
        }
        let Some(address) = std::str::from_utf8(text).ok().and_then(address) else { return client };
        client = Some(address);
        if !trust.contains(address) {
            return client;
        }
    }
    client
}

/// An address, with or without a port or brackets.
fn address(text: &str) -> Option<IpAddr> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    let address = match inner {
        Some(inner) => inner.parse().ok().map(IpAddr::V6),
        None => text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip())),
    };
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn client(peer: &str, values: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:a::/48"].map(|network| network.parse().expect("a network"));
        let trust = Trust { networks: networks.to_vec(), unix: true };
        let peer = (peer != "unix").then(|| ip(peer));
        let client = client_of(peer, values.iter().map(|value| value.as_bytes()), &trust);
        client.map_or_else(|| "none".to_owned(), |client| client.to_string())
    }

    #[test]
    fn the_header_of_an_untrusted_peer_is_ignored() {
        for values in [&["203.0.113.7"][..], &["10.0.0.1"], &["203.0.113.7, 10.0.0.1"], &[]] {
            assert_eq!(client("198.51.100.1", values), "198.51.100.1");
            assert_eq!(client("2001:db8:b::1", values), "2001:db8:b::1");
        }
    }

    #[test]
    fn the_rightmost_untrusted_address_is_the_client() {
        for (values, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            // What the client has sent itself is to the left.
            (&["192.0.2.66, 203.0.113.7"], "203.0.113.7"),
            (&["192.0.2.66,203.0.113.7,10.2.2.2"], "203.0.113.7"),
            (&["192.0.2.66", "203.0.113.7", "10.2.2.2, 10.3.3.3"], "203.0.113.7"),
            (&["10.9.9.9, 203.0.113.7, 10.2.2.2"], "203.0.113.7"),
            (&["203.0.113.7", "2001:db8:a::5"], "203.0.113.7"),
            (&["2001:db8:c::7"], "2001:db8:c::7"),
            // With ports, brackets, and addresses within IPv6.
            (&["203.0.113.7:4711, 10.1.1.1:80"], "203.0.113.7"),
            (&["[2001:db8:c::7]:4711, [2001:db8:a::1]"], "2001:db8:c::7"),
            (&["203.0.113.7, ::ffff:10.1.1.1"], "203.0.113.7"),
            (&[" 203.0.113.7 ,, ,\t10.1.1.1 , "], "203.0.113.7"),
            // A client in the network of the proxies: the leftmost address.
            (&["10.5.5.5, 10.1.1.1"], "10.5.5.5"),
            (&[], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", values), expected, "{values:?}");
        }
    }

    #[test]
    fn at_an_element_that_is_no_address_the_proxy_that_wrote_it_counts() {
        for (values, expected) in [
            (&["unknown"][..], "10.0.0.1"),
            (&["203.0.113.7, unknown, 10.2.2.2"], "10.2.2.2"),
            (&["203.0.113.7, _hidden"], "10.0.0.1"),
            (&["203.0.113.7, 203.0.113.8 10.1.1.1"], "10.0.0.1"),
            (&["203.0.113.7, 10.1.1"], "10.0.0.1"),
            (&["203.0.113.7, [10.1.1.1]"], "10.0.0.1"),
            (&["203.0.113.7, \"10.1.1.1\""], "10.0.0.1"),
            (&["203.0.113.7; 10.1.1.1"], "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", values), expected, "{values:?}");
        }
        let trust = Trust { networks: vec!["10.0.0.0/8".parse().expect("a network")], unix: false };
        let values = [&b"203.0.113.7"[..], b"\xff\xfe"];
        assert_eq!(client_of(Some(ip("10.0.0.1")), values.into_iter(), &trust), Some(ip("10.0.0.1")));
    }

    #[test]
    fn a_trusted_unix_peer_names_the_client() {
        assert_eq!(client("unix", &["192.0.2.66, 203.0.113.7"]), "203.0.113.7");
        assert_eq!(client("unix", &[]), "none");
        let untrusting = Trust::default();
        assert_eq!(client_of(None, [&b"203.0.113.7"[..]].into_iter(), &untrusting), None);
    }
}
