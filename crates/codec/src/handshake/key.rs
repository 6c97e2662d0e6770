//! `Sec-WebSocket-Key` and `Sec-WebSocket-Accept`, the server's proof that it read the key (RFC
//! 6455 sections 4.1 and 4.2.2).

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};

/// Accepts keys whose unused last bits are not zero: they decode to 16 bytes as well, and some
/// clients with a constant key send them.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&alphabet::STANDARD, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

/// The constant that RFC 6455 section 1.3 appends to the key.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A client's key: validated base64 of exactly 16 bytes.
///
/// ```
/// use ringway_codec::Key;
///
/// // The example of RFC 6455 section 1.3.
/// let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").expect("16 bytes in base64");
/// assert_eq!(&key.accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 24]);

impl Key {
    /// Parses the value of a `Sec-WebSocket-Key` header; `None` unless it is the base64 of exactly
    /// 16 bytes.
    #[must_use]
    pub fn parse(value: &[u8]) -> Option<Self> {
        let encoded: [u8; 24] = value.try_into().ok()?;
        // The base64 decoder also needs room for the bytes of the padding.
        let mut nonce = [0; 18];
        let len = LENIENT.decode_slice(encoded, &mut nonce).ok()?;
        (len == 16).then_some(Self(encoded))
    }

    /// Creates the key of this nonce, for a client. The nonce must be random (RFC 6455 section
    /// 4.1).
    #[must_use]
    pub fn from_nonce(nonce: [u8; 16]) -> Self {
        let mut encoded = [0; 24];
        STANDARD.encode_slice(nonce, &mut encoded).expect("base64 of 16 bytes is 24 bytes");
        Self(encoded)
    }

    /// The value of the header.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 24] {
        &self.0
    }

    /// The value of `Sec-WebSocket-Accept` that proves the server read this key: one SHA-1 of 60
    /// bytes.
    #[must_use]
    pub fn accept(&self) -> [u8; 28] {
        let mut sha1 = sha1_smol::Sha1::new();
        sha1.update(&self.0);
        sha1.update(GUID);
        let mut encoded = [0; 28];
        STANDARD.encode_slice(sha1.digest().bytes(), &mut encoded).expect("base64 of 20 bytes is 28 bytes");
        encoded
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_1_3_the_example_of_the_standard() {
        let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").unwrap();
        assert_eq!(&key.accept(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn a_nonce_becomes_the_key_that_decodes_to_it() {
        let key = Key::from_nonce(*b"the sample nonce");
        assert_eq!(key.as_bytes(), b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(Key::parse(key.as_bytes()), Some(key));
    }

    #[test]
    fn rfc6455_4_2_1_keys_that_do_not_decode_to_16_bytes_are_refused() {
        let bad: [&[u8]; 7] = [
            b"",
            b"dGhlIHNhbXBsZSBub25jZQ",
            b"dGhlIHNhbXBsZSBub25jZQ=",
            b"dGhlIHNhbXBsZSBub25jZWE=",
            b"dGhlIHNhbXBsZSBub25jZWFh",
            b"dGhlIHNhbXBsZSBub25j!Q==",
            b"dGhlIHNhbXBsZSBub25jZQ== ",
        ];
        for value in bad {
            assert_eq!(Key::parse(value), None, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_key_with_stray_last_bits_still_carries_16_bytes() {
        assert!(Key::parse(b"dGhlIHNhbXBsZSBub25jZR==").is_some());
    }
}
