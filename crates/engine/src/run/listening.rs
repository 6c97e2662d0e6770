//! Listens on all addresses of a name.

use super::error::StartError;
use super::sockets::ListenerGroup;
use ringway_io::BindError;
use std::net::SocketAddr;

/// The maximum number of attempts to find a port that is free on all addresses.
const ATTEMPTS: usize = 16;

/// The listeners and errors for the addresses of a name.
#[derive(Debug, Default)]
pub(super) struct Listening {
    pub(super) listeners: Vec<ListenerGroup>,
    /// One for each address that cannot be listened on.
    pub(super) errors: Vec<BindError>,
}

impl Listening {
    /// The listeners, of which there is at least one. The addresses of `name` that cannot be listened
    /// on are logged.
    ///
    /// # Errors
    /// None of the addresses can be listened on.
    pub(super) fn any_of(self, name: &str) -> Result<Vec<ListenerGroup>, StartError> {
        let Self { listeners, mut errors } = self;
        if listeners.is_empty() {
            return Err(match errors.pop() {
                Some(error) if errors.is_empty() => error.into(),
                last => StartError::NoAddress(name.to_owned(), errors.into_iter().chain(last).collect()),
            });
        }
        for error in errors {
            tracing::warn!(name, "one address of the name is skipped: {error}");
        }
        Ok(listeners)
    }
}

/// Listens on each of `addresses`, through `bind`. An address that is named twice is listened on
/// once.
///
/// Addresses with port 0 get the same port: the system chooses one for the first of them, and the
/// others use it. If it is in use on another address, another port is tried. If no port is free on
/// all addresses, each gets its own.
pub(super) fn listen(
    addresses: &[SocketAddr],
    mut bind: impl FnMut(SocketAddr) -> Result<ListenerGroup, BindError>,
) -> Listening {
    for _ in 0..ATTEMPTS {
        if let Some(listening) = attempt(addresses, true, &mut bind) {
            return listening;
        }
    }
    attempt(addresses, false, &mut bind).unwrap_or_default()
}

/// Listens once on each address. With `same_port`, returns `None` if the port that the system chose
/// is in use on another address.
fn attempt(
    addresses: &[SocketAddr],
    same_port: bool,
    bind: &mut impl FnMut(SocketAddr) -> Result<ListenerGroup, BindError>,
) -> Option<Listening> {
    let mut listening = Listening::default();
    let mut chosen = None;
    for (at, address) in addresses.iter().enumerate() {
        if addresses[..at].contains(address) {
            continue;
        }
        let port = chosen.filter(|_| same_port && address.port() == 0);
        match bind(SocketAddr::new(address.ip(), port.unwrap_or(address.port()))) {
            Ok(listener) => {
                if address.port() == 0 {
                    chosen = listener.address().tcp().map(|address| address.port());
                }
                listening.listeners.push(listener);
            }
            Err(BindError::Taken(_)) if port.is_some() => return None,
            Err(error) => listening.errors.push(error),
        }
    }
    Some(listening)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_io::Listener;

    fn bind(address: SocketAddr) -> Result<ListenerGroup, BindError> {
        Listener::bind(address).map(ListenerGroup::from)
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().expect("an address")).collect()
    }

    fn ports(listening: &Listening) -> Vec<u16> {
        listening
            .listeners
            .iter()
            .filter_map(|listener| listener.address().tcp())
            .map(|address| address.port())
            .collect()
    }

    #[test]
    fn addresses_without_a_port_get_the_same_one() {
        let listening = listen(&addresses(&["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0"]), bind);
        let ports = ports(&listening);
        assert_eq!(ports.len(), 3, "{listening:?}");
        assert!(ports.iter().all(|port| *port == ports[0]), "{ports:?}");
    }

    #[test]
    fn another_port_is_chosen_when_the_first_is_in_use_on_another_address() {
        let mut refusals = 3;
        let listening = listen(&addresses(&["127.0.0.1:0", "127.0.0.2:0"]), |address| {
            if address.port() != 0 && refusals > 0 {
                refusals -= 1;
                return Err(BindError::Taken(address));
            }
            bind(address)
        });
        let ports = ports(&listening);
        assert_eq!((refusals, ports.len()), (0, 2));
        assert_eq!(ports[0], ports[1]);
    }

    #[test]
    fn addresses_without_a_common_free_port_get_ports_of_their_own() {
        let listening = listen(&addresses(&["127.0.0.1:0", "127.0.0.2:0"]), |address| match address.port() {
            0 => bind(address),
            _ => Err(BindError::Taken(address)),
        });
        assert_eq!(ports(&listening).len(), 2, "{listening:?}");
        assert!(listening.errors.is_empty());
    }

    #[test]
    fn the_port_comes_from_the_first_address_that_works() {
        let listening = listen(&addresses(&["240.0.0.1:0", "127.0.0.1:0", "127.0.0.2:0"]), bind);
        let ports = ports(&listening);
        assert_eq!((ports.len(), listening.errors.len()), (2, 1), "{listening:?}");
        assert_eq!(ports[0], ports[1]);
    }

    #[test]
    fn an_address_that_is_named_twice_is_listened_on_once() {
        let listening = listen(&addresses(&["127.0.0.1:0", "127.0.0.1:0"]), bind);
        assert_eq!((listening.listeners.len(), listening.errors.len()), (1, 0));
    }

    #[test]
    fn a_port_that_was_asked_for_and_is_in_use_is_an_error() {
        let holder = Listener::bind(addresses(&["127.0.0.1:0"])[0]).expect("a free port");
        let held = holder.address().tcp().expect("TCP");
        let listening = listen(&[held], bind);
        assert!(matches!(listening.errors[..], [BindError::Taken(address)] if address == held));
    }
}
