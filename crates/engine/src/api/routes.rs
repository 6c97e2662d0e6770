//! The addresses of a server and of this machine, and which of them each connection uses. Opens no
//! connection.

use crate::config::ConfigError;
use ringway_io::Address;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The addresses that the connections of an endpoint lead to, and come from.
#[derive(Debug)]
pub(crate) struct Routes {
    /// Those of the server, in the order in which they are tried; at least one.
    addresses: Vec<Address>,
    /// Those of this machine; empty if the kernel chooses. If there are any, each of `addresses`
    /// has one of its family.
    sources: Vec<IpAddr>,
    /// Whether each connection begins with another address.
    rotating: bool,
    /// The number of connections so far, of all shards.
    connections: AtomicUsize,
}

impl Routes {
    pub(crate) fn new(addresses: Vec<Address>) -> Self {
        Self { addresses, sources: Vec::new(), rotating: false, connections: AtomicUsize::new(0) }
    }

    /// The same options, for a server with other addresses.
    pub(crate) fn with_addresses(&self, addresses: Vec<Address>) -> Result<Self, ConfigError> {
        let connections = AtomicUsize::new(self.connections.load(Ordering::Relaxed));
        let mut routes = Self { addresses, sources: Vec::new(), rotating: self.rotating, connections };
        if !self.sources.is_empty() {
            routes.set_sources(self.sources.clone())?;
        }
        Ok(routes)
    }

    pub(crate) fn addresses(&self) -> &[Address] {
        &self.addresses
    }

    pub(crate) fn rotate(&mut self, rotating: bool) {
        self.rotating = rotating;
    }

    /// Sets the addresses of this machine, and drops those of the server that cannot be reached
    /// from any of them.
    pub(crate) fn set_sources(&mut self, sources: Vec<IpAddr>) -> Result<(), ConfigError> {
        const OPTION: &str = "endpoint.sources";
        if sources.is_empty() {
            return Err(ConfigError::new(OPTION, "an empty list", "at least one address of this machine"));
        }
        if let Some(unix) = self.addresses.iter().find(|address| address.unix().is_some()) {
            let range = format!("none for {unix}, because a Unix socket has no source address");
            return Err(ConfigError::new(OPTION, list(&sources), range));
        }
        if let Some(unusable) = sources.iter().find(|source| source.is_unspecified() || source.is_multicast()) {
            return Err(ConfigError::new(OPTION, unusable.to_string(), "addresses of this machine"));
        }
        if !self.addresses.iter().any(|address| sources.iter().any(|source| fits(*source, address))) {
            let family = if sources.iter().any(IpAddr::is_ipv4) { "IPv6" } else { "IPv4" };
            let range = format!("an {family} address as well, because the server's are {}", list(&self.addresses));
            return Err(ConfigError::new(OPTION, list(&sources), range));
        }
        self.addresses.retain(|address| sources.iter().any(|source| fits(*source, address)));
        self.sources = sources;
        Ok(())
    }

    /// The number of the next connection, for [`address`](Routes::address) and
    /// [`source`](Routes::source).
    pub(crate) fn next_connection(&self) -> usize {
        self.connections.fetch_add(1, Ordering::Relaxed)
    }

    /// The address that a connection tries after `failed` others.
    pub(crate) fn address(&self, connection: usize, failed: usize) -> &Address {
        let first = if self.rotating { connection % self.addresses.len() } else { 0 };
        &self.addresses[(first + failed) % self.addresses.len()]
    }

    /// The source address for that address: of those of its family, in turn. With rotation, each
    /// address is reached from each source: the source changes when all addresses have been used.
    pub(crate) fn source(&self, connection: usize, failed: usize) -> Option<IpAddr> {
        let address = self.address(connection, failed);
        let turn = if self.rotating { connection / self.addresses.len() } else { connection };
        let of_family = || self.sources.iter().filter(|source| fits(**source, address));
        of_family().nth(turn % of_family().count().max(1)).copied()
    }
}

impl Clone for Routes {
    fn clone(&self) -> Self {
        let Self { addresses, sources, rotating, connections } = self;
        let connections = AtomicUsize::new(connections.load(Ordering::Relaxed));
        Self { addresses: addresses.clone(), sources: sources.clone(), rotating: *rotating, connections }
    }
}

/// Whether both have the same family.
fn fits(source: IpAddr, address: &Address) -> bool {
    address.tcp().is_some_and(|address| address.is_ipv4() == source.is_ipv4())
}

fn list(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const V4: [&str; 2] = ["192.0.2.1:80", "192.0.2.2:80"];
    const V6: &str = "[2001:db8::1]:80";

    fn routes(addresses: &[&str]) -> Routes {
        Routes::new(addresses.iter().map(|address| address.parse().expect("an address")).collect())
    }

    fn sources(list: &[&str]) -> Vec<IpAddr> {
        list.iter().map(|address| address.parse().expect("an address")).collect()
    }

    /// The first choice of each of the next connections.
    fn pairs(routes: &Routes, count: usize) -> Vec<(String, Option<String>)> {
        let next = |_| {
            let number = routes.next_connection();
            (routes.address(number, 0).to_string(), routes.source(number, 0).map(|source| source.to_string()))
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn without_options_each_connection_begins_with_the_first_address() {
        let routes = routes(&[V4[0], V6, V4[1]]);
        assert_eq!(pairs(&routes, 3), vec![(V4[0].to_owned(), None); 3]);
        let tried: Vec<_> = (0..3).map(|failed| routes.address(7, failed).to_string()).collect();
        assert_eq!(tried, [V4[0], V6, V4[1]]);
    }

    #[test]
    fn with_rotation_each_connection_begins_with_the_next_address_and_tries_all() {
        let mut routes = routes(&[V4[0], V6, V4[1]]);
        routes.rotate(true);
        let first: Vec<_> = pairs(&routes, 6).into_iter().map(|(address, _)| address).collect();
        assert_eq!(first, [V4[0], V6, V4[1], V4[0], V6, V4[1]]);
        for connection in 0..6 {
            let tried: BTreeSet<_> = (0..3).map(|failed| routes.address(connection, failed).to_string()).collect();
            assert_eq!(tried.len(), 3);
        }
    }

    #[test]
    fn sources_are_used_in_turn() {
        let mut routes = routes(&[V4[0]]);
        routes.set_sources(sources(&["127.0.0.2", "127.0.0.3"])).expect("of the family");
        let used: Vec<_> = pairs(&routes, 4).into_iter().filter_map(|(_, source)| source).collect();
        assert_eq!(used, ["127.0.0.2", "127.0.0.3", "127.0.0.2", "127.0.0.3"]);
    }

    /// Otherwise two addresses and two sources would be two pairs of the four, with half of the
    /// ports.
    #[test]
    fn with_rotation_all_pairs_are_used_equally() {
        for (addresses, from) in [
            (&V4[..], &["127.0.0.2", "127.0.0.3"][..]),
            (&[V4[0], V6], &["127.0.0.2", "::1", "127.0.0.3"]),
            (&[V4[0], V6, V4[1]], &["127.0.0.2", "127.0.0.3", "127.0.0.4", "::1", "::2"]),
        ] {
            let mut routes = routes(addresses);
            routes.rotate(true);
            routes.set_sources(sources(from)).expect("of the families");
            let all = pairs(&routes, addresses.len() * 12);
            for (address, source) in &all {
                let source: IpAddr = source.as_ref().expect("there are sources").parse().expect("an address");
                assert!(fits(source, &address.parse().expect("an address")), "{address} from {source}");
            }
            let counts = |family: fn(&&&str) -> bool| {
                let pairs: BTreeSet<_> = all.iter().filter(|(address, _)| family(&&address.as_str())).collect();
                pairs.len()
            };
            let (v4, v6): (Vec<&str>, Vec<&str>) = addresses.iter().partition(|address| !address.starts_with('['));
            let (from_v4, from_v6): (Vec<&str>, Vec<&str>) = from.iter().partition(|source| !source.contains(':'));
            assert_eq!(counts(|address| !address.starts_with('[')), v4.len() * from_v4.len());
            assert_eq!(counts(|address| address.starts_with('[')), v6.len() * from_v6.len());
        }
    }

    #[test]
    fn addresses_without_a_source_are_not_used_and_a_list_that_leaves_none_is_refused() {
        let mut both = routes(&[V6, V4[0]]);
        both.set_sources(sources(&["127.0.0.2"])).expect("one fits");
        assert_eq!(both.addresses(), [V4[0].parse().expect("an address")]);

        let refused = |addresses: &[&str], from: &[&str]| {
            routes(addresses).set_sources(sources(from)).expect_err("it is refused").to_string()
        };
        assert_eq!(
            refused(&[V6], &["127.0.0.2", "127.0.0.3"]),
            "endpoint.sources is 127.0.0.2, 127.0.0.3: give an IPv6 address as well, because the server's are [2001:db8::1]:80"
        );
        assert_eq!(
            refused(&V4, &["::1"]),
            "endpoint.sources is ::1: give an IPv4 address as well, because the server's are 192.0.2.1:80, 192.0.2.2:80"
        );
        assert_eq!(refused(&V4, &[]), "endpoint.sources is an empty list: give at least one address of this machine");
        assert_eq!(refused(&V4, &["0.0.0.0"]), "endpoint.sources is 0.0.0.0: give addresses of this machine");
        assert_eq!(
            refused(&["unix:/run/app.sock"], &["127.0.0.1"]),
            "endpoint.sources is 127.0.0.1: give none for unix:/run/app.sock, because a Unix socket has no source address"
        );
    }
}
