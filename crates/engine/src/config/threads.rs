//! The threads of the shards: how many, on which cores, and with which driver.

use super::error::{ConfigError, check_range};

/// The number of shards (threads with a driver of their own).
///
/// ```
/// use ringway::{Client, Shards};
///
/// let client = Client::new().shards(Shards::Count(2));
/// # let _ = client;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Shards {
    /// One for each core of [`Cores`]. If the CPU quota of the cgroup is less than the number of
    /// cores that this process can run on, the quota in cores, rounded down and at least one; a
    /// list of cores ([`Cores::List`]) always gets one shard for each core.
    #[default]
    PerCore,
    /// This number, 1 to 1024. If there are more shards than cores, they are assigned to the cores
    /// in turn.
    Count(usize),
}

impl Shards {
    pub(crate) fn check(self) -> Result<(), ConfigError> {
        match self {
            Self::PerCore => Ok(()),
            Self::Count(count) => check_range("shards", count, 1..=1024),
        }
    }
}

/// The cores that the shards are pinned to. [`placement`](crate::placement) states the whole rule.
///
/// ```
/// use ringway::{Config, Cores};
///
/// let config = Config::default().cores(Cores::List(vec![0, 2]))?;
/// # let _ = config;
/// # Ok::<(), ringway::ConfigError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cores {
    /// All cores of the affinity mask of this process, one hardware thread of each physical core
    /// first. If the CPU quota of the cgroup is less than their number, no shard is pinned.
    #[default]
    All,
    /// These cores, by the system's numbers, in this order: at least one, and all in the affinity
    /// mask.
    List(Vec<usize>),
    /// No shard is pinned: the scheduler chooses the cores.
    Unpinned,
}

/// The system interface that the shards use for their sockets.
///
/// ```
/// use ringway::{Config, DriverChoice};
///
/// let config = Config::default().driver(DriverChoice::Epoll);
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum DriverChoice {
    /// io_uring; epoll where the system refuses io_uring, as the default seccomp profile of
    /// container engines does, where the kernel is too old, or where too little memory may be locked
    /// for the rings of all shards. A warning in the log then states the cause and the remedy.
    #[default]
    Auto,
    /// io_uring. Where the system refuses it, starting fails.
    Uring,
    /// epoll, on any kernel.
    Epoll,
    /// The library tokio-uring, from Linux 5.11 on, with the feature `tokio-uring`. It submits the
    /// receives and the sends of a turn together, as [`DriverChoice::Uring`] does, but waits in epoll,
    /// and needs neither buffer rings nor multishot operations. Where the system refuses io_uring,
    /// starting fails.
    #[cfg(feature = "tokio-uring")]
    TokioUring,
}
