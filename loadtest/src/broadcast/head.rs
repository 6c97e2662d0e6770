//! The head of a published message.

use crate::message::mix;

/// The length of the head: 18 bytes in base64url (RFC 4648 section 5), so that it is valid in text
/// and in binary messages.
pub(crate) const HEAD: usize = 24;

const BYTES: usize = HEAD / 4 * 3;

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The bits of a time in the head: 78 hours in nanoseconds.
const TIME_BITS: u32 = 48;

/// The identity of a published message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The number of the publisher's connection, unique over all threads and populations.
    pub(crate) publisher: u32,
    /// The number of the message among those of its publisher, from 0.
    pub(crate) number: u32,
    /// When it was due, in nanoseconds since the epoch.
    pub(crate) due: u64,
}

impl Head {
    /// The head as text. `key` is that of the run.
    pub(crate) fn write(self, key: u64) -> [u8; HEAD] {
        let mut bytes = [0; BYTES];
        bytes[..4].copy_from_slice(&self.publisher.to_be_bytes());
        bytes[4..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..14].copy_from_slice(&self.due.to_be_bytes()[2..]);
        bytes[14..].copy_from_slice(&self.check(key).to_be_bytes());
        let mut text = [0; HEAD];
        for (group, characters) in bytes.chunks_exact(3).zip(text.chunks_exact_mut(4)) {
            let bits = u32::from_be_bytes([0, group[0], group[1], group[2]]);
            for (at, character) in characters.iter_mut().enumerate() {
                *character = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
            }
        }
        text
    }

    /// The head of a payload that is received at `now`, less than 39 hours after it was due. `None`
    /// if it was not published in the run of this key.
    pub(crate) fn read(key: u64, payload: &[u8], now: u64) -> Option<Self> {
        let text: &[u8; HEAD] = payload.first_chunk()?;
        let mut bytes = [0; BYTES];
        for (characters, group) in text.chunks_exact(4).zip(bytes.chunks_exact_mut(3)) {
            let bits = characters.iter().try_fold(0, |bits: u32, character| Some(bits << 6 | value(*character)?))?;
            group.copy_from_slice(&bits.to_be_bytes()[1..]);
        }
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
        let due = u64::from(word(8)) << 16 | u64::from(word(12) >> 16);
        // The difference to now, with its sign.
        let ago = (now.wrapping_sub(due) << (64 - TIME_BITS)) as i64 >> (64 - TIME_BITS);
        let head = Self { publisher: word(0), number: word(4), due: now.wrapping_add_signed(-ago) };
        (word(14) == head.check(key)).then_some(head)
    }

    fn check(self, key: u64) -> u32 {
        let due = self.due & ((1 << TIME_BITS) - 1);
        let sender = mix(self.publisher ^ key as u32, self.number ^ (key >> 32) as u32);
        mix(sender ^ (due >> 32) as u32, due as u32)
    }
}

fn value(character: u8) -> Option<u32> {
    let value = match character {
        b'A'..=b'Z' => character - b'A',
        b'a'..=b'z' => character - b'a' + 26,
        b'0'..=b'9' => character - b'0' + 52,
        b'-' => 62,
        b'_' => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HOUR: u64 = 3_600_000_000_000;

    proptest! {
        #[test]
        fn a_head_is_read_as_it_was_written(
            publisher: u32, number: u32, due in 0..10_000 * HOUR, ago in 0..38 * HOUR, key: u64, rest: Vec<u8>,
        ) {
            let head = Head { publisher, number, due };
            let text = head.write(key);
            prop_assert!(text.iter().all(|character| ALPHABET.contains(character)));
            let payload = [&text[..], &rest].concat();
            prop_assert_eq!(Head::read(key, &payload, due + ago), Some(head));
            prop_assert_eq!(Head::read(key, &payload[..HEAD - 1], due), None);
        }
    }

    #[test]
    fn damage_and_other_runs_are_recognized() {
        let head = Head { publisher: 7, number: 8, due: 123_456_789 };
        let text = head.write(1);
        assert_eq!(Head::read(2, &text, head.due), None);
        for at in 0..HEAD {
            for character in ALPHABET.iter().chain(b"+/= ").filter(|character| **character != text[at]) {
                let mut damaged = text;
                damaged[at] = *character;
                assert_eq!(Head::read(1, &damaged, head.due), None, "{at}");
            }
        }
    }
}
