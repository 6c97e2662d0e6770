//! UTF-8 validation of text as it comes (RFC 6455 section 8.1, RFC 3629).

/// The bytes are not UTF-8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid UTF-8")]
pub struct InvalidUtf8;

/// Up to this length one pass that only looks for ASCII, or the standard library, beats the set-up of a vector kernel.
const SHORT: usize = 64;

/// Whether all of `bytes` is UTF-8. Near memory speed for long input; a few nanoseconds for short ASCII.
#[inline]
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    if bytes.len() <= SHORT {
        bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
    } else {
        simdutf8::basic::from_utf8(bytes).is_ok()
    }
}

/// A validator for text that comes in pieces, cut anywhere. Four bytes of state.
///
/// It fails at the first byte that cannot be part of any valid text, also inside an unfinished character: after `F4`
/// the byte `90` fails at once, because no character beyond U+10FFFF exists.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Stream {
    /// The bytes of a character that has begun; a valid prefix of one.
    carry: [u8; 3],
    carried: u8,
}

impl Utf8Stream {
    /// A validator at the start of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self { carry: [0; 3], carried: 0 }
    }

    /// Takes the next piece of the text.
    ///
    /// # Errors
    ///
    /// When a byte cannot continue the text so far. What further calls return after that is unspecified.
    #[inline]
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), InvalidUtf8> {
        if self.carried != 0 {
            bytes = self.complete(bytes)?;
        }
        if bytes.len() <= SHORT && bytes.is_ascii() {
            return Ok(());
        }
        let Err(error) = simdutf8::compat::from_utf8(bytes) else { return Ok(()) };
        if error.error_len().is_some() {
            return Err(InvalidUtf8);
        }
        // Without an error length what is left is the beginning of a character, hence at most 3 bytes.
        let rest = &bytes[error.valid_up_to()..];
        let carry = self.carry.get_mut(..rest.len()).ok_or(InvalidUtf8)?;
        carry.copy_from_slice(rest);
        self.carried = rest.len() as u8;
        Ok(())
    }

    /// Says whether the text may end here.
    ///
    /// # Errors
    ///
    /// When the last character is incomplete.
    #[inline]
    pub fn finish(&self) -> Result<(), InvalidUtf8> {
        if self.carried == 0 { Ok(()) } else { Err(InvalidUtf8) }
    }

    /// Feeds the carried character byte by byte until it is complete, and returns what follows it.
    #[cold]
    fn complete<'b>(&mut self, bytes: &'b [u8]) -> Result<&'b [u8], InvalidUtf8> {
        let mut character = [0; 4];
        let mut len = usize::from(self.carried);
        character[..len].copy_from_slice(&self.carry[..len]);
        for (taken, &byte) in bytes.iter().enumerate() {
            // A valid prefix has at most 3 bytes, so there is always room for one more.
            character[len] = byte;
            len += 1;
            match std::str::from_utf8(&character[..len]) {
                Ok(_) => {
                    self.carried = 0;
                    return Ok(&bytes[taken + 1..]);
                }
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => {
                    self.carry = [character[0], character[1], character[2]];
                    self.carried = len as u8;
                }
            }
        }
        Ok(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the standard library sees the first byte that cannot continue the text; `None` when there is none.
    fn first_bad_byte(bytes: &[u8]) -> Option<usize> {
        (0..bytes.len()).find(|&end| std::str::from_utf8(&bytes[..=end]).is_err_and(|e| e.error_len().is_some()))
    }

    fn check_bytewise(bytes: &[u8]) {
        let mut stream = Utf8Stream::new();
        let bad = bytes.iter().position(|&byte| stream.push(&[byte]).is_err());
        assert_eq!(bad, first_bad_byte(bytes), "{bytes:02x?}");
        if bad.is_none() {
            assert_eq!(stream.finish().is_ok(), std::str::from_utf8(bytes).is_ok(), "{bytes:02x?}");
        }
    }

    fn check_every_cut(bytes: &[u8]) {
        let valid = std::str::from_utf8(bytes).is_ok();
        assert_eq!(is_valid(bytes), valid);
        for first in 0..=bytes.len() {
            for second in first..=bytes.len() {
                let mut stream = Utf8Stream::new();
                let result = [&bytes[..first], &bytes[first..second], &bytes[second..]]
                    .into_iter()
                    .try_for_each(|piece| stream.push(piece))
                    .and_then(|()| stream.finish());
                assert_eq!(result.is_ok(), valid, "{bytes:02x?} cut at {first}, {second}");
            }
        }
    }

    /// One byte of each class that the well-formedness table of Unicode (table 3-7) tells apart, and the edges.
    const EDGES: [u8; 24] = [
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
        0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5,
    ];

    #[test]
    fn every_sequence_of_four_edge_bytes_fails_at_the_byte_that_the_standard_library_blames() {
        for a in EDGES {
            for b in EDGES {
                check_bytewise(&[a, b]);
                for c in EDGES {
                    check_bytewise(&[a, b, c]);
                    for d in EDGES {
                        check_bytewise(&[a, b, c, d]);
                    }
                }
            }
        }
    }

    #[test]
    fn every_pair_of_bytes_agrees_with_the_standard_library() {
        for a in 0..=255 {
            for b in 0..=255 {
                check_bytewise(&[a, b]);
                check_every_cut(&[a, b]);
            }
        }
    }

    #[test]
    fn every_cut_of_mixed_texts_agrees_with_the_standard_library() {
        let texts: [&[u8]; 9] = [
            "κόσμε €𝄞 aé".as_bytes(),
            "\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}".as_bytes(),
            b"ab\xed\xa0\x80cd",
            b"ab\xf4\x90\x80\x80cd",
            b"ab\xc0\xafcd",
            b"ab\xe2\x82",
            b"\xf0\x9f\x98",
            b"\xf0\x9f\x98\x80\x80",
            b"\xff",
        ];
        for text in texts {
            check_every_cut(text);
        }
        let long = format!("{}€{}𝄞{}", "a".repeat(70), "é".repeat(20), "z".repeat(64));
        check_every_cut(long.as_bytes());
    }

    #[test]
    fn rfc6455_8_1_a_byte_beyond_the_last_character_fails_inside_the_unfinished_one() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push(b"text\xf4"), Ok(()));
        assert_eq!(stream.push(b"\x90"), Err(InvalidUtf8));
    }

    #[test]
    fn text_that_ends_inside_a_character_is_refused_at_the_end() {
        let mut stream = Utf8Stream::new();
        assert_eq!(stream.push("€".as_bytes().split_last().unwrap().1), Ok(()));
        assert_eq!(stream.finish(), Err(InvalidUtf8));
    }

    #[test]
    fn the_state_is_small() {
        assert!(size_of::<Utf8Stream>() <= 8);
    }
}
