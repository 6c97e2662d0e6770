//! The listening sockets of a server, by address, and their distribution over the shards.

use crate::echo::options::EchoRates;
use ringway_io::{Address, BindError, DatagramSocket, InheritError, Listener};
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// The sockets of a server.
#[derive(Debug, Default)]
pub(crate) struct ServerSockets {
    pub(super) listeners: Vec<ListenerGroup>,
    /// The listeners of the echo service.
    pub(super) echo: Vec<ListenerGroup>,
    /// The sockets of the echo service on UDP, by address. Each has one at least.
    pub(super) datagrams: Vec<Vec<DatagramSocket>>,
    pub(super) echo_rates: EchoRates,
}

/// The sockets of one address. There is at least one.
#[derive(Debug)]
pub(crate) struct ListenerGroup(Vec<Listener>);

impl ListenerGroup {
    /// The groups of sockets that were inherited, in the order of their first sockets. Abstract or
    /// unnamed addresses that are equal form a group too.
    pub(super) fn by_address(listeners: impl IntoIterator<Item = Listener>) -> Vec<Self> {
        let mut groups: Vec<Self> = Vec::new();
        for listener in listeners {
            match groups.iter_mut().find(|group| group.address() == listener.address()) {
                Some(group) => group.0.push(listener),
                None => groups.push(listener.into()),
            }
        }
        groups
    }

    /// The groups of sockets that a service manager has passed. A former server may have passed the same
    /// sockets, or others of the same addresses, whose queues are served too.
    pub(super) fn merge(passed: Vec<Listener>, former: &mut Vec<Self>) -> Result<Vec<Self>, InheritError> {
        let inode = |listener: &Listener| {
            let descriptor = listener.as_fd().as_raw_fd();
            let failed = |error: rustix::io::Errno| InheritError::Other(descriptor, error.into());
            rustix::fs::fstat(listener).map(|of| of.st_ino).map_err(failed)
        };
        let known = passed.iter().map(inode).collect::<Result<Vec<_>, _>>()?;
        let mut groups = Self::by_address(passed);
        for group in &mut groups {
            let Some(at) = former.iter().position(|former| former.address() == group.address()) else { continue };
            for listener in former.swap_remove(at).0 {
                if !known.contains(&inode(&listener)?) {
                    group.0.push(listener);
                }
            }
        }
        Ok(groups)
    }

    /// Duplicates of all sockets.
    pub(super) fn duplicate(&self) -> io::Result<Self> {
        Ok(Self(self.0.iter().map(Listener::duplicate).collect::<Result<_, _>>()?))
    }

    pub(super) fn address(&self) -> &Address {
        self.0[0].address()
    }

    pub(super) fn accept_one_at_a_time(&mut self) {
        self.0.iter_mut().for_each(Listener::accept_one_at_a_time);
    }

    /// The sockets of each shard, at least one for each.
    ///
    /// If there are fewer sockets than shards, the others get siblings: sockets of their own where
    /// `SO_REUSEPORT` allows it, or duplicates, which share a queue. If there are more, the shards
    /// get several in turn, because the kernel goes on to fill the queue of each; with
    /// `SO_REUSEPORT` as many are added that each shard has the same number, and so the same share of
    /// the connections.
    fn distribute(self, shards: usize) -> Result<Vec<Vec<Listener>>, BindError> {
        let Self(mut sockets) = self;
        let given = sockets.len();
        let is_shared = sockets.iter().any(Listener::is_shared);
        let wanted = if is_shared { given.max(shards) } else { given.next_multiple_of(shards) };
        for at in given..wanted {
            let sibling = sockets[at % given].sibling()?;
            sockets.push(sibling);
        }
        let mut shares: Vec<Vec<Listener>> = (0..shards).map(|_| Vec::new()).collect();
        for (at, socket) in sockets.into_iter().enumerate() {
            shares[at % shards].push(socket);
        }
        Ok(shares)
    }
}

impl From<Listener> for ListenerGroup {
    fn from(listener: Listener) -> Self {
        Self(vec![listener])
    }
}

/// The sockets of each shard, each with the number of its group.
pub(super) fn distribute(groups: Vec<ListenerGroup>, shards: usize) -> Result<Vec<Vec<(usize, Listener)>>, BindError> {
    let mut shares: Vec<Vec<(usize, Listener)>> = (0..shards).map(|_| Vec::new()).collect();
    for (number, group) in groups.into_iter().enumerate() {
        for (share, sockets) in shares.iter_mut().zip(group.distribute(shards)?) {
            share.extend(sockets.into_iter().map(|socket| (number, socket)));
        }
    }
    Ok(shares)
}

/// The sockets for datagrams of each shard: those that are given in turn, and as many siblings that
/// each shard has the same number of each address.
pub(super) fn distribute_datagrams(
    groups: Vec<Vec<DatagramSocket>>,
    shards: usize,
) -> Result<Vec<Vec<DatagramSocket>>, BindError> {
    let mut shares: Vec<Vec<DatagramSocket>> = (0..shards).map(|_| Vec::new()).collect();
    for mut sockets in groups {
        for at in 0..sockets.len().next_multiple_of(shards) - sockets.len() {
            let sibling = sockets[at % sockets.len()].sibling()?;
            sockets.push(sibling);
        }
        for (at, socket) in sockets.into_iter().enumerate() {
            shares[at % shards].push(socket);
        }
    }
    Ok(shares)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    fn numbers(groups: Vec<ListenerGroup>, shards: usize) -> Vec<Vec<usize>> {
        let shares = distribute(groups, shards).expect("descriptors");
        shares.iter().map(|share| share.iter().map(|(number, _)| *number).collect()).collect()
    }

    fn reuse_port(count: usize) -> Vec<Listener> {
        let first = Listener::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let siblings: Vec<Listener> = (1..count).map(|_| first.sibling().expect("the port is ours")).collect();
        std::iter::once(first).chain(siblings).collect()
    }

    #[test]
    fn more_sockets_than_shards_are_given_to_the_shards_in_equal_numbers() {
        assert_eq!(numbers(ListenerGroup::by_address(reuse_port(5)), 2), [[0; 3], [0; 3]]);
    }

    #[test]
    fn fewer_sockets_than_shards_get_siblings() {
        let mut sockets = reuse_port(2);
        let foreign = TcpListener::bind("127.0.0.1:0").expect("a free port");
        sockets.push(Listener::inherit(foreign).expect("it listens"));
        assert_eq!(numbers(ListenerGroup::by_address(sockets), 3), [[0, 1], [0, 1], [0, 1]]);
    }

    #[test]
    fn more_shared_sockets_than_shards_are_given_to_the_shards_in_turn() {
        let foreign = reuse_port(3).into_iter().map(|own| {
            let socket = own.as_fd().try_clone_to_owned().expect("a descriptor");
            Listener::inherit(socket).expect("it listens")
        });
        assert_eq!(numbers(ListenerGroup::by_address(foreign), 2), [vec![0, 0], vec![0]]);
    }

    #[test]
    fn sockets_that_are_passed_twice_are_served_once_and_others_of_the_address_too() {
        let of = |own: &Listener| {
            let socket = own.as_fd().try_clone_to_owned().expect("a descriptor");
            Listener::inherit(socket).expect("it listens")
        };
        let (kept, other) = (reuse_port(2), reuse_port(1));
        let mut former = ListenerGroup::by_address(kept.iter().chain(&other).map(of));
        let merged = ListenerGroup::merge(vec![of(&kept[0])], &mut former).expect("descriptors");
        assert_eq!(merged.iter().map(|group| group.0.len()).collect::<Vec<_>>(), [2]);
        assert_eq!(former.iter().map(ListenerGroup::address).collect::<Vec<_>>(), [other[0].address()]);
    }
}
