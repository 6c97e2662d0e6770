//! Bounds on the resources that a peer can use.

use super::error::{ConfigError, check_range, check_time};
use crate::admission::rate::Rate;
use std::time::Duration;

/// The maximum number of bytes that one connection can hold. The sum of two is below 4 GiB.
const MAX_BYTES: usize = 1 << 30;

/// The minimum memory budget of a shard.
pub(crate) const MIN_MEMORY: usize = 1 << 20;

/// Bounds on the resources that a peer can use.
///
/// ```
/// use ringway::Limits;
///
/// let limits = Limits::default().max_message(64 << 10)?.max_memory(Some(256 << 20))?;
/// # let _ = limits;
///
/// let error = Limits::default().max_headers(200).unwrap_err();
/// assert_eq!(error.to_string(), "limits.max_headers is 200: give 1 to 128");
/// # Ok::<(), ringway::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    pub(crate) max_message: usize,
    pub(crate) message_timeout: Duration,
    pub(crate) max_head: usize,
    pub(crate) max_headers: usize,
    pub(crate) max_requests: u32,
    pub(crate) max_buffered: usize,
    pub(crate) low_water: Option<usize>,
    pub(crate) max_connections: u32,
    pub(crate) max_subscriptions: usize,
    pub(crate) max_topics: usize,
    pub(crate) max_topic_keys: usize,
    pub(crate) max_published: usize,
    /// Always `Some` in a running shard.
    pub(crate) max_memory: Option<usize>,
    pub(crate) message_rate: Option<Rate>,
    pub(crate) byte_rate: Option<Rate>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            message_timeout: Duration::from_secs(120),
            max_head: 16 << 10,
            max_headers: 100,
            max_requests: 1000,
            max_buffered: 1 << 20,
            low_water: None,
            max_connections: 1 << 20,
            max_subscriptions: 1024,
            max_topics: 100_000,
            max_topic_keys: 65_536,
            max_published: 16 << 20,
            max_memory: None,
            message_rate: None,
            byte_rate: None,
        }
    }
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The maximum length of a message in bytes, 1 to 1 GiB; a longer one is answered with close
    /// code 1009. Also the maximum memory of one connection for a message that arrives in parts.
    /// Default 16 MiB.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_message(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_message = bytes;
        self.check_max_message()?;
        Ok(self)
    }

    /// The maximum time from the first byte of a message to the last, 1 ms to 365 days. Default 120
    /// s.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn message_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.message_timeout = time;
        self.check_message_timeout()?;
        Ok(self)
    }

    /// The maximum length of an opening handshake in bytes (request line and headers), 128 to 1
    /// MiB; a longer one is answered with 414 or 431. A connection whose head arrives in parts
    /// holds up to this much until the head is complete. Default 16 KiB.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_head(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_head = bytes;
        self.check_max_head()?;
        Ok(self)
    }

    /// The maximum number of headers of an opening handshake, 1 to 128; more are answered with 431.
    /// Parsing a head takes 32 bytes of stack for each. Default 100.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_headers(mut self, headers: usize) -> Result<Self, ConfigError> {
        self.max_headers = headers;
        self.check_max_headers()?;
        Ok(self)
    }

    /// The maximum number of plain HTTP requests of one connection, 1 to 2³⁰; the response to the
    /// last one ends it. A request for a WebSocket does not count. Default 1000.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_requests(mut self, requests: u32) -> Result<Self, ConfigError> {
        self.max_requests = requests;
        self.check_max_requests()?;
        Ok(self)
    }

    /// The high-water mark of the output of one connection in bytes, 1 to 1 GiB. Above it `send`
    /// hands messages back, and no message of the peer is delivered until the output has fallen to
    /// the low-water mark ([`Limits::low_water`]). Pings and a close in front of the next message
    /// are still answered, until 4 KiB of pongs are queued above the mark. The output can exceed
    /// the mark by one message, and by the replies to the input that the kernel has already
    /// received: at most the size of the socket's receive buffer. Default 1 MiB.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_buffered(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_buffered = bytes;
        self.check_max_buffered()?;
        Ok(self)
    }

    /// The low-water mark of the output of one connection in bytes: less than
    /// [`Limits::max_buffered`], which is the high-water mark. When the output that waits for the
    /// peer falls to it, delivery continues if it was paused, and
    /// [`Handler::drained`](crate::Handler::drained) is called if a message was queued or handed
    /// back. 0: only when no output waits. A higher mark keeps more output ready for the kernel, a
    /// lower one costs fewer calls. Default `None`: half of `max_buffered`.
    ///
    /// ```
    /// use ringway::Limits;
    ///
    /// let limits = Limits::default().max_buffered(256 << 10)?.low_water(Some(32 << 10))?;
    /// limits.check()?;
    ///
    /// let error = limits.max_buffered(16 << 10)?.check().unwrap_err();
    /// assert_eq!(error.to_string(), "limits.low_water is 32768: give less than limits.max_buffered, 16384");
    /// # Ok::<(), ringway::ConfigError>(())
    /// ```
    ///
    /// # Errors
    /// A [`ConfigError`] for 1 GiB or more. The relation to `max_buffered` is checked by
    /// [`Limits::check`].
    pub fn low_water(mut self, bytes: Option<usize>) -> Result<Self, ConfigError> {
        self.low_water = bytes;
        self.check_low_water()?;
        Ok(self)
    }

    /// The maximum number of connections of one shard, 1 to 2³⁰; further ones wait in the kernel's
    /// backlog. Each costs about 120 bytes, the handler's state, and the kernel's memory of a
    /// socket. Default 1 048 576.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_connections(mut self, connections: u32) -> Result<Self, ConfigError> {
        self.max_connections = connections;
        self.check_max_connections()?;
        Ok(self)
    }

    /// The maximum number of topics that one connection has subscribed to, 1 to 2²⁰. Each
    /// subscription costs about 20 bytes, and a comparison when the connection subscribes to another
    /// topic. Default 1024.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_subscriptions(mut self, topics: usize) -> Result<Self, ConfigError> {
        self.max_subscriptions = topics;
        self.check_max_subscriptions()?;
        Ok(self)
    }

    /// The maximum number of topics of one shard, 1 to 2³⁰: those that have subscribers on it, and
    /// those with a policy of their own. Each costs about 300 bytes. Default 100 000.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_topics(mut self, topics: usize) -> Result<Self, ConfigError> {
        self.max_topics = topics;
        self.check_max_topics()?;
        Ok(self)
    }

    /// The maximum number of keys of one topic with
    /// [`TopicPolicy::Latest`](crate::TopicPolicy::Latest), 1 to 2³⁰. Default 65 536.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_topic_keys(mut self, keys: usize) -> Result<Self, ConfigError> {
        self.max_topic_keys = keys;
        self.check_max_topic_keys()?;
        Ok(self)
    }

    /// The maximum number of bytes of published messages that one shard holds until they are passed
    /// to their subscribers or to other shards, and as the latest of their keys: 64 KiB to 1 GiB;
    /// one message can exceed it. The latest messages use at most half of it. The mailbox of each
    /// shard has the same limit. Default 16 MiB.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_published(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_published = bytes;
        self.check_max_published()?;
        Ok(self)
    }

    /// The maximum number of bytes that the connections of one shard hold together: assembly
    /// buffers, queued output, stashed input, heads, compressors and inflaters; and topics, their
    /// subscriptions and messages. At least 1 MiB and [`Limits::max_message`].
    ///
    /// Default (`None`): half of the memory available to this process, divided by the number of
    /// shards. The available memory is that of the machine (`MemTotal` of `/proc/meminfo`), or the
    /// smallest limit of the process's cgroups if that is less (version 2: `memory.max`, version 1:
    /// `memory.limit_in_bytes`). It is read once, when the shards start. A default below
    /// `max_message` is used with a warning.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_memory(mut self, bytes: Option<usize>) -> Result<Self, ConfigError> {
        self.max_memory = bytes;
        self.check_max_memory()?;
        Ok(self)
    }

    /// The maximum rate of messages that one connection delivers; pings and pongs count too, and the
    /// fragments of a message as one. Default `None`.
    ///
    /// A connection that has used up its rate is not read until the rate allows another message, so
    /// that TCP flow control holds its peer back; pings and a close frame behind the last message
    /// wait as well. Nothing is lost, and the connection is not closed. With a rate, each connection
    /// takes 80 bytes more, and each message some nanoseconds; without one, neither.
    ///
    /// # Errors
    /// A [`ConfigError`] for a rate out of range ([`Rate`]).
    ///
    /// ```
    /// use ringway::{Limits, Rate};
    ///
    /// // 20 messages at once, and 5 in a second on average.
    /// let limits = Limits::default().message_rate(Some(Rate::per_second(5).burst(20)))?;
    /// # let _ = limits;
    /// # Ok::<(), ringway::ConfigError>(())
    /// ```
    pub fn message_rate(mut self, rate: Option<Rate>) -> Result<Self, ConfigError> {
        self.message_rate = rate;
        self.check_rates()?;
        Ok(self)
    }

    /// The maximum rate of bytes that one connection delivers, after the opening handshake: frames
    /// with their headers, before inflating and without TLS. Default `None`.
    ///
    /// The effect is that of [`Limits::message_rate`]. A receive buffer
    /// ([`Config::buffers`](crate::Config::buffers)) may exceed the rate; the pause after it is longer
    /// by as much, so that the average holds.
    ///
    /// # Errors
    /// A [`ConfigError`] for a rate out of range ([`Rate`]).
    pub fn byte_rate(mut self, rate: Option<Rate>) -> Result<Self, ConfigError> {
        self.byte_rate = rate;
        self.check_rates()?;
        Ok(self)
    }

    /// Checks the range of each limit, that [`max_memory`](Limits::max_memory) is at least
    /// [`max_message`](Limits::max_message), and that [`low_water`](Limits::low_water) is less than
    /// [`max_buffered`](Limits::max_buffered). Called when the shards start.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first limit that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_max_message()?;
        self.check_message_timeout()?;
        self.check_max_head()?;
        self.check_max_headers()?;
        self.check_max_requests()?;
        self.check_max_buffered()?;
        self.check_max_connections()?;
        self.check_max_subscriptions()?;
        self.check_max_topics()?;
        self.check_max_topic_keys()?;
        self.check_max_published()?;
        self.check_max_memory()?;
        self.check_rates()?;
        self.check_low_water()?;
        if let Some(low) = self.low_water.filter(|low| *low >= self.max_buffered) {
            let range = format!("less than limits.max_buffered, {}", self.max_buffered);
            return Err(ConfigError::new("limits.low_water", low.to_string(), range));
        }
        match self.max_memory {
            Some(memory) if memory < self.max_message => {
                let range = format!("at least limits.max_message, {}", self.max_message);
                Err(ConfigError::new("limits.max_memory", memory.to_string(), range))
            }
            _ => Ok(()),
        }
    }

    fn check_rates(&self) -> Result<(), ConfigError> {
        self.message_rate.map_or(Ok(()), |rate| rate.check("limits.message_rate"))?;
        self.byte_rate.map_or(Ok(()), |rate| rate.check("limits.byte_rate"))
    }

    fn check_max_message(&self) -> Result<(), ConfigError> {
        check_range("limits.max_message", self.max_message, 1..=MAX_BYTES)
    }

    fn check_message_timeout(&self) -> Result<(), ConfigError> {
        check_time("limits.message_timeout", self.message_timeout)
    }

    fn check_max_head(&self) -> Result<(), ConfigError> {
        check_range("limits.max_head", self.max_head, 128..=1 << 20)
    }

    fn check_max_headers(&self) -> Result<(), ConfigError> {
        check_range("limits.max_headers", self.max_headers, 1..=128)
    }

    fn check_max_requests(&self) -> Result<(), ConfigError> {
        check_range("limits.max_requests", self.max_requests, 1..=1 << 30)
    }

    fn check_max_buffered(&self) -> Result<(), ConfigError> {
        check_range("limits.max_buffered", self.max_buffered, 1..=MAX_BYTES)
    }

    fn check_low_water(&self) -> Result<(), ConfigError> {
        self.low_water.map_or(Ok(()), |low| check_range("limits.low_water", low, 0..=MAX_BYTES - 1))
    }

    fn check_max_connections(&self) -> Result<(), ConfigError> {
        check_range("limits.max_connections", self.max_connections, 1..=1 << 30)
    }

    fn check_max_subscriptions(&self) -> Result<(), ConfigError> {
        check_range("limits.max_subscriptions", self.max_subscriptions, 1..=1 << 20)
    }

    fn check_max_topics(&self) -> Result<(), ConfigError> {
        check_range("limits.max_topics", self.max_topics, 1..=1 << 30)
    }

    fn check_max_topic_keys(&self) -> Result<(), ConfigError> {
        check_range("limits.max_topic_keys", self.max_topic_keys, 1..=1 << 30)
    }

    fn check_max_published(&self) -> Result<(), ConfigError> {
        check_range("limits.max_published", self.max_published, 64 << 10..=MAX_BYTES)
    }

    fn check_max_memory(&self) -> Result<(), ConfigError> {
        match self.max_memory {
            Some(bytes) if bytes < MIN_MEMORY => {
                Err(ConfigError::new("limits.max_memory", bytes.to_string(), format!("{MIN_MEMORY} or more")))
            }
            _ => Ok(()),
        }
    }

    /// The low-water mark of the output of one connection.
    #[inline]
    pub(crate) fn low_mark(&self) -> usize {
        self.low_water.unwrap_or(self.max_buffered / 2)
    }

    pub(crate) fn head(&self) -> ringway_codec::HeadLimits {
        ringway_codec::HeadLimits { max_bytes: self.max_head, max_headers: self.max_headers }
    }

    pub(crate) fn codec(&self) -> ringway_codec::Limits {
        ringway_codec::Limits { max_message: self.max_message, ..ringway_codec::Limits::default() }
    }
}
