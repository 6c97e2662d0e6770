//! The distribution of new connections over the shards.

/// Which shard serves a new connection.
///
/// ```
/// use ringway::{Accept, Config};
///
/// let config = Config::default().accept(Accept::Balanced);
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accept {
    /// The one that accepts it: the kernel distributes connections over the sockets of the shards by
    /// a hash of their addresses (`SO_REUSEPORT`), or wakes the shards that share a socket in turn.
    /// Costs nothing. With few connections their numbers differ: of 1000 over 4 shards, the fullest
    /// one has 264 on average, and the emptiest one 236.
    #[default]
    Kernel,
    /// The one with the fewest connections, in both roles. The shard that accepts a connection
    /// transfers it there if its own number is higher by more than a 64th of the other's; with up to
    /// 63 connections, if it is higher at all. Numbers that differ because connections have ended are
    /// made equal by new ones.
    ///
    /// A shard that drains, that refuses handshakes because it has used up its memory, or on which
    /// too many TLS handshakes wait, gets none. If 1024 connections are on their way to a shard, the
    /// connection stays where it was accepted. Of more than 64 shards, each accept compares 64.
    ///
    /// Costs some hundred nanoseconds for each connection, and some microseconds for one that is
    /// transferred, one `write(2)` included if the other shard is asleep. Nothing is received and no
    /// limit is applied before the transfer. Counted in
    /// [`Counters::transferred`](crate::Counters::transferred) and
    /// [`Counters::adopted`](crate::Counters::adopted).
    Balanced,
}
