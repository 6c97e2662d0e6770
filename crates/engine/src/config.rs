//! The operator's options ([`Config`]), and the bounds on the resources of peers ([`Limits`]).
//!
//! Setters check the range of their own option. [`Config::check`] and [`Limits::check`] check all
//! ranges and the relations between options; starting calls both.

mod accept;
mod deflate;
pub(crate) mod error;
mod limits;
mod policies;
mod threads;

pub use accept::Accept;
pub use deflate::Deflate;
pub use error::ConfigError;
pub use limits::Limits;
pub(crate) use limits::MIN_MEMORY;
pub use policies::{OnMemoryLimit, OnPanic};
pub use threads::{Cores, DriverChoice, Shards};

use crate::admission::options::Admission;
use crate::tap::WireTap;
pub(crate) use error::check_tokens;
use error::{check_range, check_time, is_origin};
use ringway_codec::OriginPolicy;
use ringway_io::{BufferConfig, BusyPoll};
use std::time::Duration;

/// The options of the operator of a server or client. The defaults are safe on the open internet.
///
/// A setter has the name of its option. The setter of an option with a range returns an error for a
/// value outside of it.
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
    pub(crate) driver: DriverChoice,
    pub(crate) buffers: BufferConfig,
    pub(crate) busy_poll: BusyPoll,
    pub(crate) timer_slack: Option<Duration>,
    pub(crate) ring_entries: u32,
    pub(crate) handshake_timeout: Duration,
    pub(crate) keep_alive_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) close_limit: Duration,
    pub(crate) drain_delay: Duration,
    pub(crate) drain_rate: Option<u32>,
    pub(crate) stop_timeout: Duration,
    pub(crate) max_lifetime: Option<Duration>,
    pub(crate) lifetime_jitter: Option<Duration>,
    pub(crate) origins: OriginPolicy,
    pub(crate) subprotocols: Vec<String>,
    pub(crate) deflate: Option<Deflate>,
    pub(crate) on_panic: OnPanic,
    pub(crate) on_memory_limit: OnMemoryLimit,
    pub(crate) purge_allocator: Option<fn()>,
    pub(crate) accept: Accept,
    pub(crate) admission: Admission,
    pub(crate) connection_times: bool,
    pub(crate) tap: Option<WireTap>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            cores: Cores::All,
            driver: DriverChoice::Auto,
            buffers: BufferConfig::default(),
            busy_poll: BusyPoll::default(),
            timer_slack: None,
            ring_entries: 1024,
            handshake_timeout: Duration::from_secs(10),
            keep_alive_timeout: Duration::from_secs(15),
            idle_timeout: Some(Duration::from_secs(120)),
            write_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(5),
            close_limit: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain_rate: Some(1000),
            stop_timeout: Duration::from_secs(10),
            max_lifetime: None,
            lifetime_jitter: None,
            origins: OriginPolicy::Any,
            subprotocols: Vec::new(),
            deflate: None,
            on_panic: OnPanic::Close,
            on_memory_limit: OnMemoryLimit::CloseSlowest,
            purge_allocator: None,
            accept: Accept::Kernel,
            admission: Admission::default(),
            connection_times: false,
            tap: None,
        }
    }
}

impl Config {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The cores that the shards are pinned to. Default: all. Starting checks that the affinity
    /// mask of the process contains the cores of a list.
    ///
    /// # Errors
    /// A [`ConfigError`] for an empty list.
    pub fn cores(mut self, cores: Cores) -> Result<Self, ConfigError> {
        self.cores = cores;
        self.check_cores()?;
        Ok(self)
    }

    /// The system interface for sockets. Default: io_uring, and epoll where that is refused.
    /// [`Running::driver`](crate::Running::driver) has the driver in use.
    #[must_use]
    pub fn driver(mut self, driver: DriverChoice) -> Self {
        self.driver = driver;
        self
    }

    /// The receive buffers of each shard. Default: 256 of 128 KiB; a buffer that was never used
    /// takes only address space.
    #[must_use]
    pub fn buffers(mut self, buffers: BufferConfig) -> Self {
        self.buffers = buffers;
        self
    }

    /// How long a shard polls for events in user space before it sleeps. Default: adaptive.
    ///
    /// # Errors
    /// A [`ConfigError`] for a [`BusyPoll::Fixed`] outside of 1 µs to 1 s.
    pub fn busy_poll(mut self, busy_poll: BusyPoll) -> Result<Self, ConfigError> {
        self.busy_poll = busy_poll;
        self.check_busy_poll()?;
        Ok(self)
    }

    /// How long the kernel may delay the end of a shard's sleep, so that it coincides with that of
    /// another thread (`PR_SET_TIMERSLACK`, prctl(2)): 1 ns to 1 s. Default `None`: that of the
    /// thread that starts the shards, 50 µs unless it was changed.
    ///
    /// [`Shard::wake_at`](crate::Shard::wake_at) is late by this time and the time to wake the
    /// thread. With 1 ns only the latter is left. A shard that sleeps often wakes up more often
    /// then, because fewer of its timers expire together.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn timer_slack(mut self, slack: Option<Duration>) -> Result<Self, ConfigError> {
        self.timer_slack = slack;
        self.check_timer_slack()?;
        Ok(self)
    }

    /// Whether the durations of connections and of their opening handshakes are measured, for
    /// [`ShardMetrics`](crate::ShardMetrics). Default `false`; costs 4 bytes for each connection.
    #[must_use]
    pub fn connection_times(mut self, on: bool) -> Self {
        self.connection_times = on;
        self
    }

    /// The number of entries of each shard's submission queue, 8 to 32 768; the kernel rounds up to
    /// a power of two. Default 1024; each costs 64 bytes, and 64 for its completions. Without effect
    /// on epoll.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn ring_entries(mut self, entries: u32) -> Result<Self, ConfigError> {
        self.ring_entries = entries;
        self.check_ring_entries()?;
        Ok(self)
    }

    /// The maximum time from connecting to the end of the opening handshake, 1 ms to 365 days.
    /// Default 10 s. In the client role it includes the establishment of the connection. On a
    /// connection that has answered plain HTTP requests, the time of a further request is counted
    /// from its first byte.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn handshake_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.handshake_timeout = time;
        check_time("handshake_timeout", time)?;
        Ok(self)
    }

    /// The maximum time between the response to a plain HTTP request and the next request of the
    /// connection, 1 ms to 365 days. Default 15 s. It begins when the response is sent. Such a
    /// connection occupies a slot and a descriptor, and no buffer. With [`Limits::max_requests`] 1,
    /// no connection continues.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn keep_alive_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.keep_alive_timeout = time;
        check_time("keep_alive_timeout", time)?;
        Ok(self)
    }

    /// A connection from which nothing is received for this time, 1 ms to 365 days, is closed;
    /// after half of it a ping is sent. Default 120 s. With `None` an idle connection is never
    /// closed, and one whose peer has vanished stays open until something is sent on it. While
    /// output waits for a peer that does not read, progress of that output counts as received
    /// input.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn idle_timeout(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        self.idle_timeout = time;
        time.map_or(Ok(()), |time| check_time("idle_timeout", time))?;
        Ok(self)
    }

    /// The maximum time without progress of the output that waits for a peer, 1 ms to 365 days.
    /// Default 60 s. Any progress restarts it, so a slow reader that keeps reading is not closed.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn write_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.write_timeout = time;
        check_time("write_timeout", time)?;
        Ok(self)
    }

    /// The maximum time that a closing connection makes no progress: the peer neither answers the
    /// close frame nor reads any of the output that waits for it. 1 ms to 365 days, and at most
    /// [`Config::close_limit`]. Default 5 s.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn close_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.close_timeout = time;
        check_time("close_timeout", time)?;
        Ok(self)
    }

    /// The maximum time for closing a connection in total, regardless of its progress; at least
    /// [`Config::close_timeout`], and at most 365 days. Default 60 s.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn close_limit(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.close_limit = time;
        check_time("close_limit", time)?;
        Ok(self)
    }

    /// How long a server that stops still accepts connections, up to 365 days. Default 0. In this
    /// time [`Readiness`](crate::Readiness) is false, so that load balancers notice: give it the
    /// interval of their health checks times the number of failures that they wait for, and some
    /// seconds. A hand-over does not wait.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn drain_delay(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.drain_delay = time;
        self.check_drain_delay()?;
        Ok(self)
    }

    /// How many connections a draining server begins to close per second, in all shards together:
    /// 1 to 1 000 000, rounded up to a multiple of the number of shards. Their clients connect again
    /// elsewhere at this rate. Default 1000; `None`: all at once.
    ///
    /// The rate is raised as far as necessary to send all close frames, at a uniform rate, before
    /// [`Config::stop_timeout`] less [`Config::close_timeout`] (at most half of the former).
    /// Outgoing connections are closed at once.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn drain_rate(mut self, rate: Option<u32>) -> Result<Self, ConfigError> {
        self.drain_rate = rate;
        self.check_drain_rate()?;
        Ok(self)
    }

    /// The deadline of a drain: the maximum time from the end of [`Config::drain_delay`] until all
    /// connections have closed, up to 365 days. The others are dropped then. Default 10 s; with 0,
    /// connections are dropped at once.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn stop_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.stop_timeout = time;
        self.check_stop_timeout()?;
        Ok(self)
    }

    /// The maximum time that a connection stays open, 1 ms to 365 days: it is closed with 1001 then,
    /// so that its client connects again, to another server behind a load balancer for example.
    /// Each connection ends earlier by a random part of [`Config::lifetime_jitter`]. The time of
    /// stalls of the shard does not count. Default `None`: no limit. With a limit, each connection
    /// takes 16 bytes more. Counted in [`Counters::lifetime_closes`](crate::Counters).
    ///
    /// ```
    /// use ringway::Config;
    /// use std::time::Duration;
    ///
    /// // After 50 to 60 minutes: of 10 000 connections that open together, 17 end in each second.
    /// let config = Config::default()
    ///     .max_lifetime(Some(Duration::from_secs(3600)))?
    ///     .lifetime_jitter(Some(Duration::from_secs(600)))?;
    /// # let _ = config;
    /// # Ok::<(), ringway::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn max_lifetime(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        self.max_lifetime = time;
        time.map_or(Ok(()), |time| check_time("max_lifetime", time))?;
        Ok(self)
    }

    /// The maximum time by which the lifetime of a connection is shortened at random, so that
    /// connections that open together do not end together: 0 to [`Config::max_lifetime`]. Default
    /// `None`: a tenth of the maximum lifetime.
    ///
    /// # Errors
    /// A [`ConfigError`] for more than 365 days. The relation to `max_lifetime` is checked by
    /// [`Config::check`].
    pub fn lifetime_jitter(mut self, time: Option<Duration>) -> Result<Self, ConfigError> {
        self.lifetime_jitter = time;
        self.check_lifetime_jitter()?;
        Ok(self)
    }

    /// The web pages that can connect (RFC 6455 section 10.2). Default: all, and clients other than
    /// browsers.
    ///
    /// # Errors
    /// A [`ConfigError`] for an empty list, and for an entry that no browser sends as an origin:
    /// other than `scheme://host`, `scheme://host:port` or `null` (RFC 6454 section 6.2).
    pub fn origins(mut self, origins: OriginPolicy) -> Result<Self, ConfigError> {
        self.origins = origins;
        self.check_origins()?;
        Ok(self)
    }

    /// The supported subprotocols. The client's first choice among them is selected; with no match
    /// the connection opens without one (RFC 6455 section 4.2.2). Names are compared in order at
    /// each handshake. Default: none.
    ///
    /// # Errors
    /// A [`ConfigError`] for a name that is not a token (RFC 6455 section 4.1).
    pub fn subprotocols(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Result<Self, ConfigError> {
        self.subprotocols = names.into_iter().map(Into::into).collect();
        self.check_subprotocols()?;
        Ok(self)
    }

    /// Compression of messages, in both roles: a server accepts it if the client offers it, a
    /// client offers it. Default: none, because compression costs far more time and memory than
    /// sending.
    #[must_use]
    pub fn deflate(mut self, deflate: Option<Deflate>) -> Self {
        self.deflate = deflate;
        self
    }

    /// The consequence of a panic in the handler. Default: the connection that it was called for is
    /// closed.
    #[must_use]
    pub fn on_panic(mut self, on_panic: OnPanic) -> Self {
        self.on_panic = on_panic;
        self
    }

    /// Which connections a server takes: limits over all shards, rates, and trusted proxies. Default:
    /// all.
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Traces connections: what goes over them in both directions, without TLS. Default `None`: no
    /// connection is traced, which costs one branch per receive and one per send. See [`WireTap`]
    /// for the cost of one.
    #[must_use]
    pub fn tap(mut self, tap: Option<WireTap>) -> Self {
        self.tap = tap;
        self
    }

    /// Which shard serves a new connection. Default: the one whose socket the kernel has chosen.
    #[must_use]
    pub fn accept(mut self, accept: Accept) -> Self {
        self.accept = accept;
        self
    }

    /// What happens at the memory limit of a shard. Default: the slowest readers are closed.
    #[must_use]
    pub fn on_memory_limit(mut self, policy: OnMemoryLimit) -> Self {
        self.on_memory_limit = policy;
        self
    }

    /// A function that returns freed memory to the operating system. Default `None`.
    ///
    /// Many allocators keep what is freed: mimalloc for a second, so that the next allocation is
    /// fast. While memory is short, it is resident besides what other connections allocate: with
    /// 1000 peers that each send a part of a large message, up to 1.4 times the budget
    /// ([`Limits::max_memory`]), and with this function about the budget.
    ///
    /// Each shard calls it in its thread when its connections hold half of the high-water mark (49/64 of
    /// the budget) at least, and what they have freed since the last call may exceed the rest; between
    /// two calls they free 1/64 of the budget at least. For mimalloc it is `ringway_io::purge_mimalloc`,
    /// with the feature `mimalloc` of that crate; for the allocator of glibc a call of malloc_trim(3).
    ///
    /// ```
    /// use ringway::Config;
    ///
    /// fn purge() {
    ///     // Calls the allocator.
    /// }
    /// let config = Config::default().purge_allocator(Some(purge));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn purge_allocator(mut self, purge: Option<fn()>) -> Self {
        self.purge_allocator = purge;
        self
    }

    /// Checks the range of each option, that [`close_timeout`](Config::close_timeout) does not
    /// exceed [`close_limit`](Config::close_limit), and that
    /// [`lifetime_jitter`](Config::lifetime_jitter) does not exceed
    /// [`max_lifetime`](Config::max_lifetime). Called when the shards start.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first option that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_cores()?;
        self.check_busy_poll()?;
        self.check_timer_slack()?;
        self.check_ring_entries()?;
        check_time("handshake_timeout", self.handshake_timeout)?;
        check_time("keep_alive_timeout", self.keep_alive_timeout)?;
        self.idle_timeout.map_or(Ok(()), |time| check_time("idle_timeout", time))?;
        check_time("write_timeout", self.write_timeout)?;
        check_time("close_timeout", self.close_timeout)?;
        check_time("close_limit", self.close_limit)?;
        self.check_drain_delay()?;
        self.check_drain_rate()?;
        self.check_stop_timeout()?;
        self.max_lifetime.map_or(Ok(()), |time| check_time("max_lifetime", time))?;
        self.check_lifetime_jitter()?;
        self.check_origins()?;
        self.check_subprotocols()?;
        self.deflate.map_or(Ok(()), |deflate| deflate.check())?;
        self.admission.check()?;
        if self.close_limit < self.close_timeout {
            let range = format!("at least close_timeout, {:?}", self.close_timeout);
            return Err(ConfigError::new("close_limit", format!("{:?}", self.close_limit), range));
        }
        match (self.lifetime_jitter, self.max_lifetime) {
            (Some(jitter), Some(max)) if jitter > max => Err(ConfigError::new(
                "lifetime_jitter",
                format!("{jitter:?}"),
                format!("at most max_lifetime, {max:?}"),
            )),
            (Some(jitter), None) => {
                let range = "no jitter, or a max_lifetime that it applies to";
                Err(ConfigError::new("lifetime_jitter", format!("{jitter:?}"), range))
            }
            _ => Ok(()),
        }
    }

    /// Checks the options of a shard in the runtime of its caller, which decides how it waits.
    pub(crate) fn check_local(&self) -> Result<(), ConfigError> {
        if matches!(self.driver, DriverChoice::Uring | DriverChoice::Epoll) {
            let range = "DriverChoice::Auto: the runtime of the caller decides";
            return Err(ConfigError::new("driver", format!("{:?}", self.driver), range));
        }
        match self.busy_poll {
            BusyPoll::Adaptive | BusyPoll::Off => Ok(()),
            other => {
                let range = "BusyPoll::Adaptive or BusyPoll::Off: the runtime of the caller sleeps";
                Err(ConfigError::new("busy_poll", format!("{other:?}"), range))
            }
        }
    }

    /// The jitter of this maximum lifetime.
    pub(crate) fn jitter_of(&self, max: Duration) -> Duration {
        self.lifetime_jitter.unwrap_or(max / 10)
    }

    fn check_lifetime_jitter(&self) -> Result<(), ConfigError> {
        match self.lifetime_jitter {
            Some(jitter) if !jitter.is_zero() => check_time("lifetime_jitter", jitter),
            _ => Ok(()),
        }
    }

    fn check_origins(&self) -> Result<(), ConfigError> {
        let OriginPolicy::List(list) = &self.origins else { return Ok(()) };
        if list.is_empty() {
            return Err(ConfigError::new("origins", "an empty list", "at least one origin"));
        }
        match list.iter().find(|origin| !is_origin(origin)) {
            Some(origin) => Err(ConfigError::new(
                "origins",
                format!("{origin:?}"),
                "origins such as https://example.com, without a path, or null",
            )),
            None => Ok(()),
        }
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

    fn check_timer_slack(&self) -> Result<(), ConfigError> {
        const RANGE: std::ops::RangeInclusive<Duration> = Duration::from_nanos(1)..=Duration::from_secs(1);
        match self.timer_slack {
            Some(slack) if !RANGE.contains(&slack) => {
                Err(ConfigError::new("timer_slack", format!("{slack:?}"), "1 ns to 1 s"))
            }
            _ => Ok(()),
        }
    }

    fn check_ring_entries(&self) -> Result<(), ConfigError> {
        check_range("ring_entries", self.ring_entries, 8..=32_768)
    }

    fn check_drain_delay(&self) -> Result<(), ConfigError> {
        if self.drain_delay.is_zero() { Ok(()) } else { check_time("drain_delay", self.drain_delay) }
    }

    fn check_drain_rate(&self) -> Result<(), ConfigError> {
        self.drain_rate.map_or(Ok(()), |rate| check_range("drain_rate", rate, 1..=1_000_000))
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
