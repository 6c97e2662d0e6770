//! UTF-8 validation of text as it arrives (RFC 6455 section 8.1, RFC 3629), alone or combined with
//! unmasking.

mod short;

use crate::mask;

/// The bytes are not UTF-8.
///
/// ```
/// use ringway_codec::{InvalidUtf8, Utf8Stream};
///
/// assert_eq!(Utf8Stream::new().push(b"\xff"), Err(InvalidUtf8));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid UTF-8")]
pub struct InvalidUtf8;

/// Up to this length, a search for non-ASCII bytes is faster than the set-up of a vector kernel.
const SHORT: usize = 128;

/// From this length on, a vector kernel is faster than a loop over bytes.
const VECTOR: usize = 64;

/// Whether all of `bytes` is UTF-8. Near memory speed for long input; a few nanoseconds for short
/// ASCII.
#[inline]
#[must_use]
pub fn is_valid(bytes: &[u8]) -> bool {
    if bytes.len() <= SHORT {
        return bytes.is_ascii() || is_valid_beyond_ascii(bytes);
    }
    if begins_in_ascii(bytes) { is_valid_behind_ascii(bytes) } else { simdutf8::basic::from_utf8(bytes).is_ok() }
}

/// Whether to search a long text for an ASCII prefix: without one, the search would cost a text of
/// 512 B 5 %.
#[inline]
fn begins_in_ascii(bytes: &[u8]) -> bool {
    bytes.first_chunk::<16>().is_some_and(|front| u128::from_ne_bytes(*front) & HIGH == 0)
}

/// Finding an ASCII prefix is faster than validating it. Not inline, so that short texts do not pay
/// for it.
#[inline(never)]
fn is_valid_behind_ascii(bytes: &[u8]) -> bool {
    let rest = &bytes[mask::ascii_prefix(bytes)..];
    rest.is_empty() || is_valid_beyond_ascii(rest)
}

const HIGH: u128 = 0x8080_8080_8080_8080_8080_8080_8080_8080;

/// The same, for text that is probably not ASCII.
#[inline]
fn is_valid_beyond_ascii(bytes: &[u8]) -> bool {
    if bytes.len() < VECTOR { short::is_valid(bytes) } else { simdutf8::basic::from_utf8(bytes).is_ok() }
}

/// The length of text that is unmasked before it is validated: it must still be in the L1 cache
/// then. Smaller blocks cost non-ASCII text up to 10 %, because the validator starts again in each;
/// larger ones gain nothing. A multiple of 4, so that every block begins at the same phase of the
/// key. Small under Miri, where tests are slow.
const BLOCK: usize = if cfg!(miri) { 256 } else { 16 * 1024 };

/// Unmasks a whole text in place, and returns whether it is UTF-8. ASCII is recognized in the pass
/// that unmasks it; other text is validated block by block.
///
/// If it is not UTF-8, the unmasked part is unspecified.
#[inline]
#[must_use]
pub fn unmask(text: &mut [u8], key: [u8; 4]) -> bool {
    unmask_shifted(text, 0, key)
}

/// Unmasks the text `bytes[by..]` and moves it to the beginning of `bytes`, as [`mask::shift`], and
/// returns whether it is UTF-8, as [`unmask`].
///
/// # Panics
///
/// If `by` exceeds the length.
#[inline]
#[must_use]
pub fn unmask_shifted(bytes: &mut [u8], by: usize, key: [u8; 4]) -> bool {
    assert!(by <= bytes.len(), "utf8::unmask_shifted needs bytes to move");
    let len = bytes.len() - by;
    if len <= BLOCK {
        return mask::shift_seeing_ascii(bytes, by, key) || is_valid_beyond_ascii(&bytes[..len]);
    }
    unmask_long(bytes, by, key)
}

#[inline(never)]
fn unmask_long(bytes: &mut [u8], by: usize, key: [u8; 4]) -> bool {
    let len = bytes.len() - by;
    // All bytes before `valid` are UTF-8. It excludes the beginning of a character at the end of a
    // block.
    let mut valid = 0;
    let mut start = 0;
    while start < len {
        let end = len.min(start + BLOCK);
        if mask::shift_seeing_ascii(&mut bytes[start..end + by], by, key) {
            if valid != start {
                return false;
            }
            valid = end;
        } else {
            let whole = valid + whole_characters(&bytes[valid..end]);
            if !is_valid_beyond_ascii(&bytes[valid..whole]) {
                return false;
            }
            valid = whole;
        }
        start = end;
    }
    valid == len
}

/// The number of bytes before the character that the end of `bytes` splits; all of them if it
/// splits none, or if they end in bytes that begin no character.
fn whole_characters(bytes: &[u8]) -> usize {
    for (behind, &byte) in bytes.iter().rev().take(3).enumerate() {
        let needed = match byte {
            0x80..=0xbf => continue,
            0xf0.. => 4,
            0xe0.. => 3,
            0xc0.. => 2,
            _ => 1,
        };
        return if needed > behind + 1 { bytes.len() - behind - 1 } else { bytes.len() };
    }
    bytes.len()
}

/// A validator for text that arrives in pieces, split anywhere. Four bytes of state.
///
/// It fails at the first byte that cannot be part of any valid text, also inside an incomplete
/// character: after `F4` the byte `90` fails at once, because there is no character above U+10FFFF.
///
/// ```
/// use ringway_codec::Utf8Stream;
///
/// let mut stream = Utf8Stream::new();
/// stream.push(b"\xe2\x82")?;
/// assert!(stream.finish().is_err(), "the euro sign has three bytes");
/// stream.push(b"\xac")?;
/// stream.finish()?;
/// # Ok::<(), ringway_codec::InvalidUtf8>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8Stream {
    /// The bytes of a character that has begun; a valid prefix of one.
    carry: [u8; 3],
    carried: u8,
}

impl Utf8Stream {
    /// Creates a validator for the start of a text.
    #[must_use]
    pub const fn new() -> Self {
        Self { carry: [0; 3], carried: 0 }
    }

    /// Validates the next piece of the text.
    ///
    /// # Errors
    ///
    /// If a byte cannot continue the text so far. The results of further calls are unspecified.
    #[inline]
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        if self.carried != 0 {
            return self.push_beyond_ascii(bytes);
        }
        if bytes.len() <= SHORT {
            return if bytes.is_ascii() { Ok(()) } else { self.push_beyond_ascii(bytes) };
        }
        let ascii = if begins_in_ascii(bytes) { mask::ascii_prefix(bytes) } else { 0 };
        if ascii == bytes.len() { Ok(()) } else { self.push_beyond_ascii(&bytes[ascii..]) }
    }

    fn push_beyond_ascii(&mut self, mut bytes: &[u8]) -> Result<(), InvalidUtf8> {
        if self.carried != 0 {
            bytes = self.complete(bytes)?;
            if bytes.is_empty() {
                return Ok(());
            }
        }
        let (whole, rest) = bytes.split_at(whole_characters(bytes));
        if !is_valid_beyond_ascii(whole) {
            return Err(InvalidUtf8);
        }
        // The incomplete beginning of a character has an error without a length.
        if std::str::from_utf8(rest).is_err_and(|error| error.error_len().is_some()) {
            return Err(InvalidUtf8);
        }
        // An incomplete character lacks at least its last byte, so it has at most 3 bytes.
        self.carry[..rest.len()].copy_from_slice(rest);
        self.carried = rest.len() as u8;
        Ok(())
    }

    /// Validates the next piece of the text, which is masked, and unmasks it in place. As
    /// [`push`](Self::push) after [`mask::apply`], but ASCII is recognized in the same pass, and
    /// other text is validated block by block.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push). The unmasked part is unspecified then.
    #[inline]
    pub fn unmask(&mut self, text: &mut [u8], key: [u8; 4], phase: usize) -> Result<(), InvalidUtf8> {
        for block in text.chunks_mut(BLOCK) {
            let ascii = mask::apply_seeing_ascii(block, key, phase);
            self.push_seen(block, ascii)?;
        }
        Ok(())
    }

    /// Validates the next piece of the text, which is masked, and writes it unmasked to
    /// `destination`. As [`push`](Self::push) after [`mask::copy`], but ASCII is recognized in the
    /// same pass, and other text is validated block by block.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push). The written part is unspecified then.
    ///
    /// # Panics
    ///
    /// If the two lengths differ.
    #[inline]
    pub fn copy_unmasked(
        &mut self,
        source: &[u8],
        destination: &mut [u8],
        key: [u8; 4],
        phase: usize,
    ) -> Result<(), InvalidUtf8> {
        assert_eq!(source.len(), destination.len(), "copy_unmasked needs slices of one length");
        for (source, block) in source.chunks(BLOCK).zip(destination.chunks_mut(BLOCK)) {
            let ascii = mask::copy_seeing_ascii(source, block, key, phase);
            self.push_seen(block, ascii)?;
        }
        Ok(())
    }

    /// Validates the next piece, which is not empty. `ascii`: whether it is ASCII.
    #[inline]
    fn push_seen(&mut self, piece: &[u8], ascii: bool) -> Result<(), InvalidUtf8> {
        match ascii {
            false => self.push_beyond_ascii(piece),
            true if self.carried != 0 => Err(InvalidUtf8),
            true => Ok(()),
        }
    }

    /// Validates the next piece of the text, which is masked, and appends it unmasked to `out`. As
    /// [`push`](Self::push) after [`mask::append`], but ASCII is recognized in the same pass, and
    /// other text is validated block by block.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push). The appended part is unspecified then.
    #[inline]
    pub fn append_unmasked(
        &mut self,
        out: &mut Vec<u8>,
        source: &[u8],
        key: [u8; 4],
        phase: usize,
    ) -> Result<(), InvalidUtf8> {
        for block in source.chunks(BLOCK) {
            let start = out.len();
            let ascii = mask::append_seeing_ascii(out, block, key, phase);
            self.push_seen(&out[start..], ascii)?;
        }
        Ok(())
    }

    /// Checks whether the text may end here.
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

    /// Where the standard library sees the first byte that cannot continue the text; `None` when
    /// there is none.
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

    /// One byte of each class that the well-formedness table of Unicode (table 3-7) distinguishes,
    /// and the edges.
    const EDGES: [u8; 24] = [
        0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
        0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5,
    ];

    #[test]
    fn every_sequence_of_four_edge_bytes_fails_at_the_byte_that_the_standard_library_blames() {
        // Nothing here is unsafe, so Miri may take a sample.
        let edges: Vec<u8> = EDGES.into_iter().step_by(if cfg!(miri) { 5 } else { 1 }).collect();
        for &a in &edges {
            for &b in &edges {
                check_bytewise(&[a, b]);
                for &c in &edges {
                    check_bytewise(&[a, b, c]);
                    for &d in &edges {
                        check_bytewise(&[a, b, c, d]);
                    }
                }
            }
        }
    }

    #[test]
    fn every_pair_of_bytes_agrees_with_the_standard_library() {
        let step = if cfg!(miri) { 17 } else { 1 };
        for a in (0..=255).step_by(step) {
            for b in (0..=255).step_by(step) {
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
        // Under Miri its end alone: the number of cuts is the square of the length.
        check_every_cut(&long.as_bytes()[if cfg!(miri) { 104 } else { 0 }..]);
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

    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    fn masked(text: &[u8], phase: usize) -> Vec<u8> {
        text.iter().enumerate().map(|(i, byte)| byte ^ KEY[(i + phase) % 4]).collect()
    }

    /// Unmasking and checking in one must say what the standard library says, and leave the text
    /// behind.
    fn check_unmasking(text: &[u8], cut: usize) {
        let valid = std::str::from_utf8(text).is_ok();
        let mut whole = masked(text, 0);
        assert_eq!(unmask(&mut whole, KEY), valid, "{} bytes", text.len());
        assert!(!valid || whole == text);
        for by in [4, 8, BLOCK + 4] {
            let mut bytes = [&vec![0xee; by], &masked(text, 0)[..]].concat();
            assert_eq!(unmask_shifted(&mut bytes, by, KEY), valid, "{} bytes by {by}", text.len());
            assert!(!valid || bytes[..text.len()] == *text);
        }

        let pieces = [(masked(&text[..cut], 2), 2), (masked(&text[cut..], 7), 7)];
        type Way = fn(&mut Utf8Stream, &mut Vec<u8>, &[u8], usize) -> Result<(), InvalidUtf8>;
        let ways: [Way; 3] = [
            |stream, out, piece, phase| stream.append_unmasked(out, piece, KEY, phase),
            |stream, out, piece, phase| {
                let start = out.len();
                out.resize(start + piece.len(), 0xee);
                stream.copy_unmasked(piece, &mut out[start..], KEY, phase)
            },
            |stream, out, piece, phase| {
                let start = out.len();
                out.extend_from_slice(piece);
                stream.unmask(&mut out[start..], KEY, phase)
            },
        ];
        for way in ways {
            let (mut out, mut stream) = (b"before".to_vec(), Utf8Stream::new());
            let result = pieces
                .iter()
                .try_for_each(|(piece, phase)| way(&mut stream, &mut out, piece, *phase))
                .and_then(|()| stream.finish());
            assert_eq!(result.is_ok(), valid, "{} bytes cut at {cut}", text.len());
            assert!(!valid || out.strip_prefix(b"before") == Some(text));
        }
    }

    #[test]
    fn a_character_or_a_wrong_byte_at_any_place_around_the_border_of_a_block_is_seen() {
        let lengths =
            if cfg!(miri) { vec![BLOCK + 5] } else { vec![BLOCK, BLOCK + 1, BLOCK + 5, 2 * BLOCK, 3 * BLOCK] };
        let pieces: [&[u8]; 12] = [
            "é".as_bytes(),
            "€".as_bytes(),
            "𝄞".as_bytes(),
            "é€𝄞é".as_bytes(),
            b"\x80",
            b"\xff",
            b"\xf4\x90",
            b"\xf0\x9d\x84",
            b"\xe2\x82",
            b"\xc3",
            b"\xed\xa0\x80",
            b"\x80\x80\x80\x80",
        ];
        for len in lengths.into_iter().step_by(if cfg!(miri) { 3 } else { 1 }) {
            for piece in pieces {
                for before in (0..=5).step_by(if cfg!(miri) { 3 } else { 1 }) {
                    for border in [BLOCK, len] {
                        let mut text = vec![b'a'; len];
                        let start = border - before;
                        let end = len.min(start + piece.len());
                        text[start..end].copy_from_slice(&piece[..end - start]);
                        check_unmasking(&text, 0);
                        check_unmasking(&text, start + 1 - usize::from(start == len));
                        // And where no block is ASCII.
                        text[..2].copy_from_slice("é".as_bytes());
                        check_unmasking(&text, 1);
                    }
                }
            }
        }
    }

    #[test]
    fn long_texts_of_every_script_are_unmasked_and_found_good() {
        for pattern in ["a", "é", "€", "𝄞", "plain, then 𝄞 and é", "吾輩は猫である"] {
            for shift in 0..4 {
                let repeats = 5 * BLOCK / pattern.len();
                let text = format!("{}{}", "-".repeat(shift), pattern.repeat(repeats));
                check_unmasking(text.as_bytes(), shift + 1);
                check_unmasking(&text.as_bytes()[..text.len() - 1], shift + 1);
            }
        }
    }

    #[test]
    fn short_texts_are_unmasked_and_checked_at_every_cut() {
        let text =
            "It costs 3 €, 𝄞 — and über that not one ¢ more than that, says 猫; so it goes on, and on: ".repeat(3);
        for len in (0..text.len()).step_by(if cfg!(miri) { 23 } else { 1 }) {
            for cut in (0..=len).step_by(if cfg!(miri) { 61 } else { 1 }) {
                check_unmasking(&text.as_bytes()[..len], cut);
            }
        }
    }

    #[test]
    fn rfc6455_8_1_masked_text_fails_at_its_first_wrong_byte_too() {
        for tail in [&b"\x90"[..], b"a", b"\xf4", b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"] {
            let (mut out, mut stream) = (Vec::new(), Utf8Stream::new());
            assert_eq!(stream.append_unmasked(&mut out, &masked(b"text\xf4", 0), KEY, 0), Ok(()));
            assert_eq!(stream.append_unmasked(&mut out, &[], KEY, 5), Ok(()));
            assert_eq!(stream.append_unmasked(&mut out, &masked(tail, 5), KEY, 5), Err(InvalidUtf8));
        }
    }

    #[test]
    fn the_state_is_small() {
        assert!(size_of::<Utf8Stream>() <= 8);
    }
}
