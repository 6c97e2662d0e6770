//! What a shard does when a handler panics, and when its memory is used up.

/// The consequence of a panic in a handler.
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
    /// The connection that the handler was called for is closed with 1011. The shard continues with
    /// the same handler.
    #[default]
    Close,
    /// The shard ends, and all others with it.
    Stop,
}

/// What a shard does with connections that hold much of its memory budget
/// ([`Limits::max_memory`](crate::Limits::max_memory)) when it is used up.
///
/// ```
/// use ringway::{Config, OnMemoryLimit};
///
/// let config = Config::default().on_memory_limit(OnMemoryLimit::Pause);
/// # let _ = config;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnMemoryLimit {
    /// Closes the slowest readers with 1013, so that others are served: those that read nothing for
    /// a second, then those that need the longest for what waits for them. One for which more than
    /// 64 KiB are in flight is dropped without a close frame. Counted in
    /// [`Counters::memory_closes`](crate::Counters).
    #[default]
    CloseSlowest,
    /// Closes none for want of memory: messages are handed back, the largest holders are not read,
    /// and new handshakes get 503, until peers read or time out
    /// ([`Config::write_timeout`](crate::Config::write_timeout),
    /// [`Limits::message_timeout`](crate::Limits::message_timeout)).
    Pause,
}

impl OnMemoryLimit {
    pub(crate) fn closes(self) -> bool {
        self == Self::CloseSlowest
    }
}
