//! The options of message compression.

use super::error::{ConfigError, check_range};
use ringway_codec::{DeflatePolicy, WindowBits};

/// The options of message compression: permessage-deflate (RFC 7692).
///
/// The main choice is context takeover. With it, a message is compressed relative to the preceding
/// messages, which makes short, similar messages much smaller, and both sides keep a window for
/// each connection. Without it, all connections of a shard share one compressor and one inflater,
/// and an idle connection keeps nothing.
///
/// docs/tuning.md has measurements of the memory and the speed of both.
///
/// ```
/// use ringway::{Config, Deflate};
///
/// let deflate = Deflate::takeover().peer_takeover(false).window_bits(12)?;
/// let config = Config::default().deflate(Some(deflate));
/// # let _ = config;
/// # Ok::<(), ringway::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deflate {
    pub(crate) own_takeover: bool,
    pub(crate) peer_takeover: bool,
    pub(crate) window_bits: u8,
    pub(crate) peer_window_bits: u8,
    pub(crate) level: u8,
    pub(crate) threshold: usize,
    pub(crate) max_size: usize,
}

impl Deflate {
    /// Context takeover in both directions, if the peer allows it.
    #[must_use]
    pub const fn takeover() -> Self {
        Self {
            own_takeover: true,
            peer_takeover: true,
            window_bits: 15,
            peer_window_bits: 15,
            level: 1,
            threshold: 128,
            max_size: 1 << 20,
        }
    }

    /// No context takeover: one compressor for all connections of a shard.
    #[must_use]
    pub const fn shared() -> Self {
        Self { own_takeover: false, peer_takeover: false, ..Self::takeover() }
    }

    /// Whether this side keeps the context of sent messages, if the peer allows it. Costs 243 KiB
    /// plus four times the window for each connection, from its first compressed message until it
    /// has been silent for half of [`Config::idle_timeout`](crate::Config::idle_timeout); without
    /// that timeout, until the connection ends.
    #[must_use]
    pub const fn own_takeover(mut self, takeover: bool) -> Self {
        self.own_takeover = takeover;
        self
    }

    /// Whether the peer can keep the context of the messages it sends. Costs 46 KiB for each
    /// connection, from its first compressed message until it ends.
    #[must_use]
    pub const fn peer_takeover(mut self, takeover: bool) -> Self {
        self.peer_takeover = takeover;
        self
    }

    /// The largest window for compression, as a power of two: 9 (512 B) to 15 (32 KiB). Default 15.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn window_bits(mut self, bits: u8) -> Result<Self, ConfigError> {
        self.window_bits = bits;
        self.check_window_bits()?;
        Ok(self)
    }

    /// The largest window that the peer is asked to use for compression, 9 to 15. It saves memory
    /// of the peer only. Default 15.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn peer_window_bits(mut self, bits: u8) -> Result<Self, ConfigError> {
        self.peer_window_bits = bits;
        self.check_peer_window_bits()?;
        Ok(self)
    }

    /// The compression level, from 1 (fastest) to 9 (smallest). Default 1.
    ///
    /// # Errors
    /// A [`ConfigError`] for a number out of range.
    pub fn level(mut self, level: u8) -> Result<Self, ConfigError> {
        self.level = level;
        self.check_level()?;
        Ok(self)
    }

    /// The minimum length of compressed messages in bytes, unless
    /// [`Message::compress`](crate::Message::compress) decides. Shorter messages are sent
    /// uncompressed. Default 128.
    #[must_use]
    pub const fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// The maximum length of compressed messages in bytes, unless
    /// [`Message::compress`](crate::Message::compress) decides. Longer messages are sent
    /// uncompressed, because compression blocks the shard for about 2 to 5 ms for each MiB. Default
    /// 1 MiB.
    #[must_use]
    pub const fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = bytes;
        self
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        self.check_window_bits()?;
        self.check_peer_window_bits()?;
        self.check_level()?;
        if self.threshold > self.max_size {
            let range = format!("at most deflate.max_size, {}", self.max_size);
            return Err(ConfigError::new("deflate.threshold", self.threshold.to_string(), range));
        }
        Ok(())
    }

    fn check_window_bits(&self) -> Result<(), ConfigError> {
        check_range("deflate.window_bits", self.window_bits, 9..=15)
    }

    fn check_peer_window_bits(&self) -> Result<(), ConfigError> {
        check_range("deflate.peer_window_bits", self.peer_window_bits, 9..=15)
    }

    fn check_level(&self) -> Result<(), ConfigError> {
        check_range("deflate.level", self.level, 1..=9)
    }

    /// The policy of the codec. The ranges were checked when the shards started.
    pub(crate) fn policy(&self) -> DeflatePolicy {
        debug_assert_eq!(self.check(), Ok(()));
        let window = |bits: u8| WindowBits::new(bits).expect("the bits were checked to be 9 to 15 at the start");
        DeflatePolicy {
            takeover: self.own_takeover,
            peer_takeover: self.peer_takeover,
            window_bits: window(self.window_bits),
            peer_window_bits: window(self.peer_window_bits),
        }
    }
}
