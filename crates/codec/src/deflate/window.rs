//! The size of an LZ77 window (RFC 7692 section 7.1.2).

use std::fmt;

/// The base-2 logarithm of an LZ77 window's size in bytes: 8 to 15, for windows of 256 bytes to 32
/// KiB.
///
/// ```
/// use ringway_codec::WindowBits;
///
/// assert_eq!(WindowBits::new(15), Some(WindowBits::MAX));
/// assert_eq!(WindowBits::new(16), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowBits(u8);

impl WindowBits {
    /// 8 bits: 256 bytes.
    pub const MIN: Self = Self(8);
    /// The smallest window that zlib compresses with, 9 bits: 512 bytes.
    pub const MIN_DEFLATED: Self = Self(9);
    /// 15 bits: 32 KiB. The default of RFC 7692.
    pub const MAX: Self = Self(15);

    /// Returns `None` unless `bits` is 8 to 15.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        match bits {
            8..=15 => Some(Self(bits)),
            _ => None,
        }
    }

    /// The number of bits.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// Whether zlib compresses with this window; it inflates with any.
    #[must_use]
    pub const fn is_deflatable(self) -> bool {
        self.0 >= Self::MIN_DEFLATED.0
    }

    /// Parses a decimal number from 8 to 15 without leading zeros or a sign (RFC 7692 section
    /// 7.1.2.1).
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text.as_bytes() {
            [digit @ b'8'..=b'9'] => Some(Self(digit - b'0')),
            [b'1', digit @ b'0'..=b'5'] => Some(Self(10 + digit - b'0')),
            _ => None,
        }
    }
}

impl Default for WindowBits {
    fn default() -> Self {
        Self::MAX
    }
}

impl fmt::Display for WindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for WindowBits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WindowBits({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc7692_7_1_2_1_a_window_is_a_plain_decimal_from_8_to_15() {
        for bits in 8..=15u8 {
            assert_eq!(WindowBits::parse(&bits.to_string()), WindowBits::new(bits));
            assert!(WindowBits::new(bits).is_some());
        }
        for bad in ["", "7", "16", "0", "08", "015", "+8", "-8", "8.0", "0xa", "1O", "10 ", " 10", "100", "１０"] {
            assert_eq!(WindowBits::parse(bad), None, "{bad:?}");
        }
        assert_eq!((WindowBits::new(7), WindowBits::new(16)), (None, None));
    }
}
