//! The options of the operator ([`Config`]), and what a peer may use ([`Limits`]).
//!
//! Setters check the range of their own option. [`Config::check`] and [`Limits::check`] check all ranges, and the relations
//! between options; starting calls both.

mod deflate;
mod error;
mod limits;

pub use deflate::Deflate;
pub use error::ConfigError;
pub use limits::Limits;
pub(crate) use limits::MIN_MEMORY;

pub(crate) use error::check_tokens;
use error::{check_range, check_time};
use ringway_codec::OriginPolicy;
use ringway_io::{BufferConfig, BusyPoll};
use std::time::Duration;

/// How many shards (threads with a ring of their own) there are.
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
    /// One for each core of [`Cores`]. Where the CPU quota of the cgroup is less than the cores that this process may run
    /// on, as many as it is worth, rounded down and at least one; cores that are named ([`Cores::List`]) have one each all
    /// the same.
    #[default]
    PerCore,
    /// This many, 1 to 1024. With more shards than cores, cores are shared in turn.
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
    /// All that this process may run on (its affinity mask), one hardware thread of each physical core first. Nothing is
    /// pinned where the CPU quota of the cgroup is less than that.
    #[default]
    All,
    /// These, by the system's numbers, in this order. All have to be in the affinity mask, and there has to be one.
    List(Vec<usize>),
    /// None: the scheduler chooses the cores.
    Unpinned,
}

/// What a panic of a handler ends.
///
/// ```
/// use ringway::{Config, OnPanic};
///
/// let config = Config::default().on_panic(OnPanic::Stop);
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnPanic {
    /// The connection that the handler was called for: it is closed with 1011. The shard continues, with the same handler.
    #[default]
    Close,
    /// The shard, and all others with it.
    Stop,
}

/// The options of the operator of a server or client. The defaults are fit for the open internet.
///
/// A setter has the name of its option. Setters of options that have a range return an error for a value outside of it.
///
/// ```
/// use ringway::{Config, Deflate};
/// use std::time::Duration;
///
/// let config = Config::default()
///     .idle_timeout(Some(Duration::from_secs(30)))?
///     .subprotocols(["chat.v2", "chat.v1"])?
///     .deflate(Some(Deflate::shared().level(6)?));
/// # let _ = config;
///
/// let error = Config::default().ring_entries(4).unwrap_err();
/// assert_eq!(error.to_string(), "ring_entries is 4: give 8 to 32768");
/// # Ok::<(), ringway::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    pub(crate) cores: Cores,
    pub(crate) buffers: BufferConfig,
    pub(crate) busy_poll: BusyPoll,
    pub(crate) ring_entries: u32,
    pub(crate) handshake_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) close_limit: Duration,
    pub(crate) stop_timeout: Duration,
    pub(crate) origins: OriginPolicy,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) deflate: Option<Deflate>,
    pub(crate) on_panic: OnPanic,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cores: Cores::All,
            buffers: BufferConfig::default(),
            busy_poll: BusyPoll::default(),
            ring_entries: 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Some(Duration::from_secs(120)),
            write_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            close_limit: Duration::from_secs(60),
            stop_timeout: Duration::from_secs(10),
            origins: OriginPolicy::Any,
            subprotocols: Vec::new(),
            deflate: None,
            on_panic: OnPanic::Close,
        }
    }
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The cores that the shards are pinned to. Default: all. Whether the process may run on the cores of a list is checked
    /// when the shards start.
    ///
    /// # Errors
    /// A [`ConfigError`] for an empty list.
    pub fn cores(mut self, cores: Cores) -> Result<Self, ConfigError> {
        self.cores = cores;
        self.check_cores()?;
        Ok(self)
    }

    /// The receive buffers of each shard. Default: 256 of 128 KiB; a buffer that was never used takes address space only.
    #[must_use]
    pub fn buffers(mut self, buffers: BufferConfig) -> Self {
        self.buffers = buffers;
        self
    }

    /// How long a shard watches for events from user space before it sleeps. Default: adaptive.
    ///
    /// # Errors
    /// A [`ConfigError`] for a [`BusyPoll::Fixed`] that is not within 1 µs and 1 s.
    pub fn busy_poll(mut self, busy_poll: BusyPoll) -> Result<Self, ConfigError> {
        self.busy_poll = busy_poll;
        self.check_busy_poll()?;
        Ok(self)
    }

    /// Entries of each shard's submission queue, 8 to 32 768; the kernel rounds up to a power of two. Default 1024; each
    /// costs 64 bytes, and 64 for its completions.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn ring_entries(mut self, entries: u32) -> Result<Self, ConfigError> {
        self.ring_entries = entries;
        self.check_ring_entries()?;
        Ok(self)
    }

    /// The longest time from connecting to the end of the opening handshake, 1 ms to 365 days. Default 10 s. In the client
    /// role it includes the TCP connection.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn handshake_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.handshake_timeout = time;
        check_time("handshake_timeout", time)?;
        Ok(self)
    }

    /// The time without traffic after which a connection is closed, 1 ms to 365 days; after half of it a ping is sent.
    /// Default 120 s. `None`: never, and a connection whose peer has vanished stays open until something is sent on it.
    /// For a peer that does not read, and is therefore not read either, progress of what waits for it counts as traffic.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn idle_timeout(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        self.idle_timeout = time;
        time.map_or(Ok(()), |time| check_time("idle_timeout", time))?;
        Ok(self)
    }

    /// How long a peer may take nothing of the output that waits for it, 1 ms to 365 days. Default 60 s. Any progress
    /// restarts it, so a slow reader that keeps reading is not closed.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn write_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.write_timeout = time;
        check_time("write_timeout", time)?;
        Ok(self)
    }

    /// How long a closing connection may make no progress: the peer neither answers the close frame nor takes any of the
    /// output that waits for it. 1 ms to 365 days, and at most [`Config::close_limit`]. Default 5 s.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn close_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.close_timeout = time;
        check_time("close_timeout", time)?;
        Ok(self)
    }

    /// The longest time that closing a connection takes in all, whatever its progress; at least [`Config::close_timeout`],
    /// and 365 days at most. Default 60 s.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn close_limit(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.close_limit = time;
        check_time("close_limit", time)?;
        Ok(self)
    }

    /// How long stopping waits for the closing handshakes, up to 365 days. Default 10 s; with 0, connections are dropped at
    /// once.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn stop_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.stop_timeout = time;
        self.check_stop_timeout()?;
        Ok(self)
    }

    /// The web pages that may connect (RFC 6455 section 10.2). Default: all, and clients that are no browsers.
    #[must_use]
    pub fn origins(mut self, origins: OriginPolicy) -> Self {
        self.origins = origins;
        self
    }

    /// The subprotocols that are spoken. The client's first choice among them is taken; with none of them the connection
    /// opens without one (RFC 6455 section 4.2.2). Compared name by name at each handshake. Default: none.
    ///
    /// # Errors
    /// A [`ConfigError`] for a name that is not a token (RFC 6455 section 4.1).
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ConfigError> {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self.check_subprotocols()?;
        Ok(self)
    }

    /// Compression of messages, in both roles: a server agrees to it where a client offers it, a client offers it. Default:
    /// none, because it costs far more time and memory than sending does.
    #[must_use]
    pub fn deflate(mut self, deflate: Option<Deflate>) -> Self {
        self.deflate = deflate;
        self
    }

    /// What a panic of the handler ends. Default: the connection that it was called for.
    #[must_use]
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.on_panic = on_panic;
        self
    }

    /// Checks the range of each option, and that [`close_timeout`](Config::close_timeout) is no longer than
    /// [`close_limit`](Config::close_limit). Starting calls it.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first option that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_cores()?;
        self.check_busy_poll()?;
        self.check_ring_entries()?;
        check_time("handshake_timeout", self.handshake_timeout)?;
        self.idle_timeout.map_or(Ok(()), |time| check_time("idle_timeout", time))?;
        check_time("write_timeout", self.write_timeout)?;
        check_time("close_timeout", self.close_timeout)?;
        check_time("close_limit", self.close_limit)?;
        self.check_stop_timeout()?;
        self.check_subprotocols()?;
        self.deflate.map_or(Ok(()), |deflate| deflate.check())?;
        if self.close_limit < self.close_timeout {
            let range = format!("at least close_timeout, {:?}", self.close_timeout);
            return Err(ConfigError::new("close_limit", format!("{:?}", self.close_limit), range));
        }
        Ok(())
    }

    fn check_cores(&self) -> Result<(), ConfigError> {
        match &self.cores {
            Cores::List(list) if list.is_empty() => {
                Err(ConfigError::new("cores", "an empty list", "at least one core, or Cores::All"))
            }
            _ => Ok(()),
        }
    }

    fn check_busy_poll(&self) -> Result<(), ConfigError> {
        const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_micros(1)..=Duration::from_secs(1);
        match self.busy_poll {
            BusyPoll::Fixed(time) if !RANGE.contains(&time) => Err(ConfigError::new(
                "busy_poll",
                format!("{time:?}"),
                "1 µs to 1 s, BusyPoll::Adaptive or BusyPoll::Off",
            )),
            _ => Ok(()),
        }
    }

    fn check_ring_entries(&self) -> Result<(), ConfigError> {
        check_range("ring_entries", self.ring_entries, 8..=32_768)
    }

    fn check_stop_timeout(&self) -> Result<(), ConfigError> {
        if self.stop_timeout.is_zero() { Ok(()) } else { check_time("stop_timeout", self.stop_timeout) }
    }

    fn check_subprotocols(&self) -> Result<(), ConfigError> {
        check_tokens("subprotocols", &self.subprotocols)
    }
}

#[cfg(test)]
mod tests;
