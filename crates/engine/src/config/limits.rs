//! What a peer may make a shard hold and do.

use super::error::{ConfigError, check_range, check_time};
use std::time::Duration;

/// The range of a number of bytes that one connection may hold. Sums of two stay below 4 GiB.
const MAX_BYTES: usize = 1 << 30;

/// The smallest budget of a shard.
pub(crate) const MIN_MEMORY: usize = 1 << 20;

/// What a peer may make a shard hold and do.
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
    pub(crate) max_buffered: usize,
    pub(crate) max_connections: u32,
    /// In a shard that runs it is resolved.
    pub(crate) max_memory: Option<usize>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 16 << 20,
            message_timeout: Duration::from_secs(120),
            max_head: 16 << 10,
            max_headers: 100,
            max_buffered: 1 << 20,
            max_connections: 1 << 20,
            max_memory: None,
        }
    }
}

impl Limits {
    /// The defaults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The largest message in bytes, 1 to 1 GiB; a larger one is answered with close code 1009. It is also what one
    /// connection can make the shard hold while a message arrives in parts. Default 16 MiB.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_message(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_message = bytes;
        self.check_max_message()?;
        Ok(self)
    }

    /// The longest time from the first byte of a message to its last, 1 ms to 365 days. Default 120 s.
    ///
    /// # Errors
    /// A [`ConfigError`] for a time out of range.
    pub fn message_timeout(mut self, time: Duration) -> Result<Self, ConfigError> {
        self.message_timeout = time;
        self.check_message_timeout()?;
        Ok(self)
    }

    /// The largest opening handshake in bytes (request line and headers), 128 to 1 MiB; a larger one is answered with 414
    /// or 431. A connection whose head arrives in parts holds up to this much until the head is complete. Default 16 KiB.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_head(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_head = bytes;
        self.check_max_head()?;
        Ok(self)
    }

    /// The most headers of an opening handshake, 1 to 128; more are answered with 431. While a head is parsed each takes
    /// 32 bytes. Default 100.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_headers(mut self, headers: usize) -> Result<Self, ConfigError> {
        self.max_headers = headers;
        self.check_max_headers()?;
        Ok(self)
    }

    /// The high-water mark of the output of one connection in bytes, 1 to 1 GiB. Beyond it `send` hands messages back, and
    /// the connection is not read until the peer has taken half of it. One message more than that may wait, and what the
    /// kernel had received by then: at most the size of the socket's receive buffer. Default 1 MiB.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_buffered(mut self, bytes: usize) -> Result<Self, ConfigError> {
        self.max_buffered = bytes;
        self.check_max_buffered()?;
        Ok(self)
    }

    /// The most connections of one shard, 1 to 2³⁰; further ones wait in the kernel's backlog. Each costs about 120 bytes
    /// and the handler's state, and the kernel's memory for a socket. Default 1 048 576.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_connections(mut self, connections: u32) -> Result<Self, ConfigError> {
        self.max_connections = connections;
        self.check_max_connections()?;
        Ok(self)
    }

    /// The most bytes that the connections of one shard may hold together, at least 1 MiB and [`Limits::max_message`]:
    /// assembly buffers, queued output, stashed input, heads, compressors and inflaters.
    ///
    /// Default (`None`): half of the memory that this process may use, divided by the number of shards. This memory is
    /// that of the machine (`MemTotal` of `/proc/meminfo`), or the smallest limit of its cgroups where that is less
    /// (version 2: `memory.max`, version 1: `memory.limit_in_bytes`). It is read once, when the shards start.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn max_memory(mut self, bytes: Option<usize>) -> Result<Self, ConfigError> {
        self.max_memory = bytes;
        self.check_max_memory()?;
        Ok(self)
    }

    /// Checks the range of each limit, and that [`max_memory`](Limits::max_memory) is no less than
    /// [`max_message`](Limits::max_message). Starting calls it.
    ///
    /// # Errors
    /// A [`ConfigError`] for the first limit that is out of range.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_max_message()?;
        self.check_message_timeout()?;
        self.check_max_head()?;
        self.check_max_headers()?;
        self.check_max_buffered()?;
        self.check_max_connections()?;
        self.check_max_memory()?;
        match self.max_memory {
            Some(memory) if memory < self.max_message => {
                let range = format!("at least limits.max_message, {}", self.max_message);
                Err(ConfigError::new("limits.max_memory", memory.to_string(), range))
            }
            _ => Ok(()),
        }
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

    fn check_max_buffered(&self) -> Result<(), ConfigError> {
        check_range("limits.max_buffered", self.max_buffered, 1..=MAX_BYTES)
    }

    fn check_max_connections(&self) -> Result<(), ConfigError> {
        check_range("limits.max_connections", self.max_connections, 1..=1 << 30)
    }

    fn check_max_memory(&self) -> Result<(), ConfigError> {
        match self.max_memory {
            Some(bytes) if bytes < MIN_MEMORY => {
                Err(ConfigError::new("limits.max_memory", bytes.to_string(), format!("{MIN_MEMORY} or more")))
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn head(&self) -> ringway_codec::HeadLimits {
        ringway_codec::HeadLimits { max_bytes: self.max_head, max_headers: self.max_headers }
    }

    pub(crate) fn codec(&self) -> ringway_codec::Limits {
        ringway_codec::Limits { max_message: self.max_message, ..ringway_codec::Limits::default() }
    }
}
