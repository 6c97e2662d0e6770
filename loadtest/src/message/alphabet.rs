//! The bytes of random content.

use super::hash::Stream;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use ringway::MessageKind;

/// The symbols of random content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Alphabet {
    /// Text messages of printable ASCII.
    #[default]
    Ascii,
    /// Text messages of words in several scripts, with characters of one to four bytes.
    Mixed,
    /// Binary messages of any bytes.
    Binary,
}

impl Alphabet {
    /// The kind of the messages.
    #[must_use]
    pub fn kind(self) -> MessageKind {
        match self {
            Self::Ascii | Self::Mixed => MessageKind::Text,
            Self::Binary => MessageKind::Binary,
        }
    }

    /// At least `len` random bytes. UTF-8, if messages are text.
    pub(super) fn block(self, len: usize, seed: u64) -> Vec<u8> {
        if self == Self::Mixed {
            return words(len, seed);
        }
        let mut bytes = vec![0; len];
        StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        if self == Self::Ascii {
            // Space to tilde. The slight bias towards some of the 95 characters does not matter.
            bytes.iter_mut().for_each(|byte| *byte = b' ' + *byte % 95);
        }
        bytes
    }
}

/// Words of a language each, with and without spaces between words as the language has it.
const LANGUAGES: [(&str, &[&str]); 12] = [
    (" ", &["the", "server", "answers", "each", "message", "in", "order", "over", "one", "connection"]),
    (" ", &["größer", "über", "Straße", "schön", "für", "möglich", "Äpfel", "heißt"]),
    (" ", &["été", "où", "français", "naïve", "cœur", "déjà", "garçon", "forêt"]),
    (" ", &["źródło", "łódź", "przyjść", "żółw", "čeština", "příliš", "kůň", "ďábel"]),
    (" ", &["καλημέρα", "κόσμε", "θάλασσα", "γλώσσα", "φως", "ώρα"]),
    (" ", &["привет", "мир", "сообщение", "сервер", "ещё", "быстро"]),
    (" ", &["שלום", "עולם", "הודעה", "שרת", "מהיר"]),
    (" ", &["مرحبا", "العالم", "رسالة", "خادم", "سريع"]),
    (" ", &["नमस्ते", "दुनिया", "संदेश", "तेज़", "भाषा"]),
    ("", &["世界", "消息", "服务器", "你好", "速度", "今日は", "カタカナ", "ひらがな", "漢字"]),
    (" ", &["안녕하세요", "세계", "메시지", "서버", "빠른"]),
    ("", &["🙂", "🚀", "👍🏽", "👩‍💻", "🇪🇺", "❤️", "𝄞", "𠮷"]),
];

/// Text of at least `len` bytes: phrases of one to six words of one language.
fn words(len: usize, seed: u64) -> Vec<u8> {
    let mut stream = Stream::new(seed);
    let mut text = String::with_capacity(len + 128);
    while text.len() < len {
        let (space, words) = LANGUAGES[stream.below(LANGUAGES.len())];
        for _ in 0..=stream.below(6) {
            text.push_str(stream.choose(words));
            text.push_str(space);
        }
        if space.is_empty() {
            text.push(' ');
        }
    }
    text.into_bytes()
}

/// Whether a character of UTF-8 text begins at a byte with this value.
#[inline]
pub(super) fn begins_character(byte: u8) -> bool {
    byte & 0xc0 != 0x80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_is_printable_and_a_seed_gives_the_same_again() {
        let block = Alphabet::Ascii.block(100_000, 6);
        assert!(block.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(block.len(), 100_000);
        for alphabet in [Alphabet::Ascii, Alphabet::Mixed, Alphabet::Binary] {
            assert_eq!(alphabet.block(5000, 6), alphabet.block(5000, 6));
            assert_ne!(alphabet.block(5000, 6), alphabet.block(5000, 7));
        }
    }

    #[test]
    fn mixed_text_has_characters_of_all_lengths_and_many_scripts() {
        let block = Alphabet::Mixed.block(20_000, 1);
        assert!((20_000..20_200).contains(&block.len()));
        let text = String::from_utf8(block).unwrap();
        let mut lengths = [0; 5];
        text.chars().for_each(|c| lengths[c.len_utf8()] += 1);
        assert!(lengths[1..].iter().all(|count| *count > 100), "{lengths:?}");
        for (_, words) in LANGUAGES {
            assert!(words.iter().any(|word| text.contains(word)), "{words:?}");
        }
    }
}
