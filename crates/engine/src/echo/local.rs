//! The addresses of this machine.

use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// The age from which on the addresses are read again. They change while a server runs.
const MAX_AGE: Duration = Duration::from_secs(1);

/// Reads the addresses of all interfaces (getifaddrs(3)).
pub(crate) fn read_addresses() -> io::Result<Vec<IpAddr>> {
    let mut addresses = Vec::new();
    for interface in nix::ifaddrs::getifaddrs().map_err(io::Error::from)? {
        let Some(address) = interface.address else { continue };
        if let Some(v4) = address.as_sockaddr_in() {
            addresses.push(IpAddr::V4(v4.ip()));
        } else if let Some(v6) = address.as_sockaddr_in6() {
            addresses.push(IpAddr::V6(v6.ip()));
        }
    }
    Ok(addresses)
}

/// The addresses of this machine, as of a second ago at most.
#[derive(Debug)]
pub(crate) struct LocalAddresses {
    read: fn() -> io::Result<Vec<IpAddr>>,
    addresses: Vec<IpAddr>,
    at: Instant,
    /// Why they could not be read the last time.
    failure: Option<io::Error>,
}

impl LocalAddresses {
    /// Reads them for the first time.
    ///
    /// # Errors
    /// They cannot be read.
    pub(crate) fn new(read: fn() -> io::Result<Vec<IpAddr>>, now: Instant) -> io::Result<Self> {
        Ok(Self { addresses: read()?, read, at: now, failure: None })
    }

    /// Whether this machine has an address. While the addresses cannot be read, it has every one:
    /// the caller then refuses rather than answers itself.
    pub(crate) fn has(&mut self, address: IpAddr, now: Instant) -> bool {
        if now.saturating_duration_since(self.at) >= MAX_AGE {
            self.at = now;
            match (self.read)() {
                Ok(addresses) => (self.addresses, self.failure) = (addresses, None),
                Err(error) => {
                    if self.failure.is_none() {
                        tracing::error!(
                            "the addresses of this machine cannot be read, so the echo service answers no datagram \
                             from its own port: {error}"
                        );
                    }
                    self.failure = Some(error);
                }
            }
        }
        self.failure.is_some() || address.is_loopback() || self.addresses.contains(&address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_address_is_among_those_of_this_machine() {
        let addresses = read_addresses().expect("it has interfaces");
        assert!(addresses.contains(&IpAddr::from([127, 0, 0, 1])), "{addresses:?}");
    }

    #[test]
    fn addresses_that_cannot_be_read_are_reported_at_the_start_and_refused_later() {
        let start = Instant::now();
        let fail: fn() -> io::Result<Vec<IpAddr>> = || Err(io::ErrorKind::PermissionDenied.into());
        assert!(LocalAddresses::new(fail, start).is_err());
        let one: fn() -> io::Result<Vec<IpAddr>> = || Ok(vec![IpAddr::from([10, 0, 0, 1])]);
        let mut local = LocalAddresses::new(one, start).expect("they are read");
        let (ours, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!(local.has(ours, start) && !local.has(other, start) && local.has(IpAddr::from([127, 9, 9, 9]), start));
        local.read = fail;
        assert!(!local.has(other, start + MAX_AGE / 2), "they were read a moment ago");
        assert!(local.has(other, start + MAX_AGE), "it is not known any more");
        local.read = one;
        assert!(!local.has(other, start + 2 * MAX_AGE));
    }
}
