//! The head of a published message.

use crate::message::{base64url, mix};

/// The length of the head: three units of 48 bits in base64url, which are valid in text and in
/// binary messages. They have the publisher (32 bits), the number (32), the time (48) and the check
/// (32), one after the other and big endian.
pub(crate) const HEAD: usize = 3 * base64url::LEN;

/// The bits of a time in the head: 78 hours in nanoseconds.
const TIME_BITS: u32 = 48;

const DUE_MASK: u64 = (1 << TIME_BITS) - 1;

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
        let (publisher, number) = (u64::from(self.publisher), u64::from(self.number));
        let due = self.due & DUE_MASK;
        let check = u64::from(self.check(key));
        // Of each word the lowest 48 bits are encoded.
        let units = [publisher << 16 | number >> 16, number << 32 | due >> 16, due << 32 | check];
        let mut text = [0; HEAD];
        let (characters, _) = text.as_chunks_mut();
        for (unit, characters) in units.into_iter().zip(characters) {
            *characters = base64url::encode(unit);
        }
        text
    }

    /// The head of a payload that is received at `now`, less than 39 hours after it was due. `None`
    /// if it was not published in the run of this key.
    pub(crate) fn read(key: u64, payload: &[u8], now: u64) -> Option<Self> {
        let (text, _) = payload.first_chunk::<HEAD>()?.as_chunks();
        let &[first, second, third] = text else { return None };
        let [first, second, third] =
            [base64url::decode(&first)?, base64url::decode(&second)?, base64url::decode(&third)?];
        let publisher = (first >> 16) as u32;
        let number = (first << 16) as u32 | (second >> 32) as u32;
        let due = (second << 16 | third >> 32) & DUE_MASK;
        // The difference to now, with its sign.
        let ago = (now.wrapping_sub(due) << (64 - TIME_BITS)) as i64 >> (64 - TIME_BITS);
        let head = Self { publisher, number, due: now.wrapping_add_signed(-ago) };
        (third as u32 == head.check(key)).then_some(head)
    }

    fn check(self, key: u64) -> u32 {
        let due = self.due & DUE_MASK;
        let sender = mix(self.publisher ^ key as u32, self.number ^ (key >> 32) as u32);
        mix(sender ^ (due >> 32) as u32, due as u32)
    }
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
            prop_assert!(text.iter().all(|character| base64url::ALPHABET.contains(character)));
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
            for character in base64url::ALPHABET.iter().chain(b"+/= ").filter(|character| **character != text[at]) {
                let mut damaged = text;
                damaged[at] = *character;
                assert_eq!(Head::read(1, &damaged, head.due), None, "{at}");
            }
        }
    }
}
