//! The compression of outgoing messages (RFC 7692).

use crate::config::Deflate;
use ringway_codec::{DeflateOffer, DeflateParams, DeflatePolicy, Deflater, Role, WindowBits};

/// The negotiated compression of outgoing messages, in four bits. 0 is no compression; otherwise
/// the lower three are the window bits less 8, 1 to 7, and the highest is [`TAKEOVER`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compression(u8);

const TAKEOVER: u8 = 8;

impl Compression {
    /// Whether messages can be compressed.
    pub(crate) fn is_on(self) -> bool {
        self.0 != 0
    }

    /// Whether the connection has its own compressor.
    pub(crate) fn takeover(self) -> bool {
        self.0 & TAKEOVER != 0
    }

    fn window_bits(self) -> WindowBits {
        WindowBits::new((self.0 & !TAKEOVER) + 8).unwrap_or_default()
    }

    /// The class of connections that can send the same compressed frames of messages without a
    /// context, 0 to 7: 0 without compression.
    pub(crate) fn class(self) -> u8 {
        self.0 & !TAKEOVER
    }

    /// The four bits.
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// The reverse of [`bits`](Compression::bits).
    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits)
    }
}

/// The compression of a shard: its configuration, and the compressors shared by connections without
/// a context.
pub(crate) struct Compressors {
    wanted: Deflate,
    policy: DeflatePolicy,
    /// The offers of the client role.
    offers: Vec<DeflateOffer>,
    /// By window bits; created at first use.
    shared: [Option<Deflater>; WindowBits::MAX.get() as usize + 1],
}

impl Compressors {
    pub(crate) fn new(wanted: Deflate) -> Self {
        let policy = wanted.policy();
        Self { wanted, policy, offers: policy.offers(), shared: [const { None }; _] }
    }

    pub(crate) fn policy(&self) -> &DeflatePolicy {
        &self.policy
    }

    pub(crate) fn offers(&self) -> &[DeflateOffer] {
        &self.offers
    }

    /// The compression of outgoing messages for a connection that has negotiated `params`. A server
    /// can select a window that is too small for the compressor; the client then sends everything
    /// uncompressed.
    pub(crate) fn agreed(&self, role: Role, params: &DeflateParams) -> Compression {
        let outgoing = params.outgoing(role);
        if !outgoing.window_bits.is_deflatable() {
            return Compression::default();
        }
        let bits = outgoing.window_bits.min(self.policy.window_bits);
        let takeover = if outgoing.takeover && self.policy.takeover { TAKEOVER } else { 0 };
        Compression((bits.get().clamp(9, 15) - 8) | takeover)
    }

    /// Whether a message of this length is compressed by default.
    pub(crate) fn is_worthwhile(&self, len: usize) -> bool {
        (self.wanted.threshold..=self.wanted.max_size).contains(&len)
    }

    /// The compressor for messages without a context.
    pub(crate) fn shared(&mut self, compression: Compression) -> &mut Deflater {
        let bits = compression.window_bits();
        let level = self.wanted.level;
        self.shared[usize::from(bits.get())].get_or_insert_with(|| deflater(level, bits))
    }

    /// Creates a compressor for one connection.
    pub(crate) fn own(&self, compression: Compression) -> Deflater {
        deflater(self.wanted.level, compression.window_bits())
    }
}

fn deflater(level: u8, bits: WindowBits) -> Deflater {
    Deflater::new(level, bits).expect("only windows that the compressor supports are negotiated")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(wanted: Deflate, role: Role, window: u8, no_takeover: bool) -> (bool, bool, u8) {
        let params = DeflateParams {
            server_no_context_takeover: no_takeover,
            client_no_context_takeover: no_takeover,
            server_max_window_bits: WindowBits::new(window),
            client_max_window_bits: WindowBits::new(window),
        };
        let compression = Compressors::new(wanted).agreed(role, &params);
        (compression.is_on(), compression.takeover(), compression.window_bits().get())
    }

    #[test]
    fn the_smaller_window_and_the_stricter_takeover_apply() {
        let small = Deflate { window_bits: 11, ..Deflate::takeover() };
        for role in [Role::Server, Role::Client] {
            assert_eq!(agreed(Deflate::takeover(), role, 12, false), (true, true, 12));
            assert_eq!(agreed(small, role, 12, false), (true, true, 11));
            assert_eq!(agreed(small, role, 12, true), (true, false, 11));
            assert_eq!(agreed(Deflate::shared(), role, 15, false), (true, false, 15));
        }
    }

    #[test]
    fn with_a_window_of_256_bytes_nothing_is_compressed() {
        assert!(!agreed(Deflate::takeover(), Role::Client, 8, false).0);
    }

    #[test]
    fn the_compression_of_a_connection_takes_four_bits() {
        for wanted in [Deflate::takeover(), Deflate::shared()] {
            for window in 9..=15 {
                let params =
                    DeflateParams { server_max_window_bits: WindowBits::new(window), ..DeflateParams::default() };
                let compression = Compressors::new(wanted).agreed(Role::Server, &params);
                assert!(compression.bits() < 16);
                assert_eq!(Compression::from_bits(compression.bits()), compression);
            }
        }
    }
}
