//! The mark of a message: 8 bytes of its payload that identify it, so that a reply is matched by
//! content and not by its position.
//!
//! A mark has the number of the message in its connection, and a check that depends on the number,
//! the connection and the seed of the run. A mark that was damaged, or that belongs to a message of
//! another connection, is not accepted, except with probability 2⁻³² (binary) or 2⁻¹⁶ (text).
//!
//! - Binary: the number, then 32 bits of check, both big endian.
//! - Text: the number and 16 bits of check as 48 bits, big endian, in base64url (RFC 4648 section
//!   5). These characters need no escape in JSON.

use super::{base64url, hash};
use ringway::MessageKind;

/// The length of a mark in bytes, for both kinds of messages.
pub(crate) const LEN: usize = base64url::LEN;

/// Writes and reads the marks of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks {
    key: u64,
}

impl Marks {
    /// The marks of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        Self { key: hash::mix(seed) }
    }

    /// The hash of a message, for its mark and for all that is random in it.
    #[inline]
    pub(super) fn hash(self, connection: u32, number: u32) -> u64 {
        hash::of_message(self.key, connection, number)
    }

    /// The mark of message `number` of a connection.
    #[cfg(test)]
    pub(crate) fn write(self, kind: MessageKind, connection: u32, number: u32) -> [u8; LEN] {
        Self::encode(kind, number, self.hash(connection, number))
    }

    /// The mark of the message with this hash.
    #[inline]
    pub(super) fn encode(kind: MessageKind, number: u32, hash: u64) -> [u8; LEN] {
        match kind {
            MessageKind::Binary => (u64::from(number) << 32 | hash >> 32).to_be_bytes(),
            MessageKind::Text => base64url::encode(u64::from(number) << 16 | hash >> 48),
        }
    }

    /// The number in the mark at the front of `bytes`. `None` if this is not a mark of the
    /// connection, or if the bytes are too short.
    #[inline]
    pub(crate) fn read(self, kind: MessageKind, connection: u32, bytes: &[u8]) -> Option<u32> {
        let mark = bytes.first_chunk::<LEN>()?;
        let (number, check, shift) = match kind {
            MessageKind::Binary => {
                let bits = u64::from_be_bytes(*mark);
                ((bits >> 32) as u32, bits & 0xffff_ffff, 32)
            }
            MessageKind::Text => {
                let bits = base64url::decode(mark)?;
                ((bits >> 16) as u32, bits & 0xffff, 48)
            }
        };
        (self.hash(connection, number) >> shift == check).then_some(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = MessageKind> {
        prop_oneof![Just(MessageKind::Text), Just(MessageKind::Binary)]
    }

    proptest! {
        #[test]
        fn a_mark_is_read_as_it_was_written(
            seed: u64, connection: u32, number: u32, kind in kinds(), rest: Vec<u8>,
        ) {
            let marks = Marks::new(seed);
            let mut bytes = marks.write(kind, connection, number).to_vec();
            prop_assert!(kind == MessageKind::Binary || bytes.iter().all(|byte| base64url::ALPHABET.contains(byte)));
            bytes.extend(rest);
            prop_assert_eq!(marks.read(kind, connection, &bytes), Some(number));
        }

        #[test]
        fn what_is_too_short_has_no_mark(bytes in proptest::collection::vec(any::<u8>(), 0..LEN), kind in kinds()) {
            prop_assert_eq!(Marks::new(1).read(kind, 0, &bytes), None);
        }
    }

    #[test]
    fn a_damaged_mark_is_not_accepted() {
        let marks = Marks::new(3);
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let mut accepted = 0;
            for number in 0..1000u32 {
                let mark = marks.write(kind, 5, number * 4_000_037);
                for bit in 0..64 {
                    let mut damaged = mark;
                    damaged[bit / 8] ^= 1 << (bit % 8);
                    accepted += u32::from(marks.read(kind, 5, &damaged).is_some());
                }
            }
            // 64 000 cases, of which 2⁻¹⁶ are expected to be accepted as text, or fewer.
            assert!(accepted <= 6, "{kind:?}: {accepted}");
        }
    }

    #[test]
    fn marks_of_other_connections_and_seeds_are_not_accepted() {
        for kind in [MessageKind::Text, MessageKind::Binary] {
            let mut accepted = 0;
            for number in 0..50_000 {
                let mark = Marks::new(3).write(kind, 5, number);
                accepted += u32::from(Marks::new(3).read(kind, 6, &mark).is_some());
                accepted += u32::from(Marks::new(4).read(kind, 5, &mark).is_some());
            }
            assert!(accepted <= 8, "{kind:?}: {accepted}");
        }
    }

    #[test]
    fn a_text_mark_is_base64url_of_the_number_and_the_check() {
        // `printf '\x01\x02\x03\x04\xfe\xff' | basenc --base64url` prints AQIDBP7_.
        assert_eq!(&Marks::encode(MessageKind::Text, 0x0102_0304, 0xfeff << 48), b"AQIDBP7_");
        let binary = Marks::encode(MessageKind::Binary, 0x0102_0304, 0x0506_0708 << 32);
        assert_eq!(binary, [1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
