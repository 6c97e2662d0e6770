//! The names of connections.

use ringway_io::Slot;
use std::fmt;

/// Names a connection of one shard, also after it is gone: another one never has the same name within 16 million
/// users of its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConnectionId(pub(crate) Slot);

impl fmt::Debug for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ConnectionId {
    /// A number that no other connection open on this shard has; numbers of closed connections are used again, so
    /// that a table indexed by it stays as small as the largest number of connections open at once.
    #[must_use]
    pub fn index(self) -> usize {
        self.0.index() as usize
    }
}
