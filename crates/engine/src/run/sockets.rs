//! The listening sockets of a server, by address, and their distribution over the shards.

use ringway_io::{Address, BindError, Listener};

/// The sockets of one address. There is at least one.
#[derive(Debug)]
pub(super) struct ListenerGroup(Vec<Listener>);

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
    /// get several in turn, because the kernel goes on to fill the queue of each.
    fn distribute(self, shards: usize) -> Result<Vec<Vec<Listener>>, BindError> {
        let Self(mut sockets) = self;
        let given = sockets.len();
        for shard in given..shards {
            let sibling = sockets[shard % given].sibling()?;
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
    fn more_sockets_than_shards_are_given_to_the_shards_in_turn() {
        assert_eq!(numbers(ListenerGroup::by_address(reuse_port(5)), 2), [vec![0, 0, 0], vec![0, 0]]);
    }

    #[test]
    fn fewer_sockets_than_shards_get_siblings() {
        let mut sockets = reuse_port(2);
        let foreign = TcpListener::bind("127.0.0.1:0").expect("a free port");
        sockets.push(Listener::inherit(foreign).expect("it listens"));
        assert_eq!(numbers(ListenerGroup::by_address(sockets), 3), [[0, 1], [0, 1], [0, 1]]);
    }
}
