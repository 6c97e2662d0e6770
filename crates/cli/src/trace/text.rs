//! Times and bytes as text. No control character of a peer reaches the terminal.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The maximum number of payload bytes that a line shows as text.
pub(super) const EXCERPT: usize = 64;

/// The maximum number of bytes that it shows in hexadecimal.
const HEX: usize = 32;

/// The time of day in UTC, to the microsecond: `17:30:00.123456Z`.
pub(super) fn clock(time: SystemTime) -> String {
    let since = since_epoch(time);
    let (seconds, micros) = (since.as_secs() % 86_400, since.subsec_micros());
    format!("{:02}:{:02}:{:02}.{micros:06}Z", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// The date in UTC: `2026-11-22`.
pub(super) fn date(time: SystemTime) -> String {
    // The calendar repeats after 400 years of 146 097 days. Years begin in March here, so that the
    // leap day is the last one.
    let days = since_epoch(time).as_secs() / 86_400 + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!("{:04}-{month:02}-{day:02}", era * 400 + year)
}

fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

/// The first bytes of something longer, in quotes and with escapes. `more`: the number of bytes that
/// follow.
pub(super) fn quoted(bytes: &[u8], more: u64) -> String {
    let mut text = String::from('"');
    escape(bytes, more > 0, &mut text);
    text.push('"');
    add_more(&mut text, more);
    text
}

/// The same in hexadecimal, without quotes.
pub(super) fn hex(bytes: &[u8], more: u64) -> String {
    let (bytes, rest) = bytes.split_at(bytes.len().min(HEX));
    let mut text = String::with_capacity(bytes.len() * 3);
    for (at, byte) in bytes.iter().enumerate() {
        let _ = write!(text, "{}{byte:02x}", if at == 0 { "" } else { " " });
    }
    add_more(&mut text, more + rest.len() as u64);
    text
}

/// A line of a head, with escapes.
pub(super) fn escaped(bytes: &[u8]) -> String {
    let mut text = String::new();
    escape(bytes, false, &mut text);
    // The quotes of a header field are its own.
    text.replace("\\\"", "\"").replace("\\'", "'")
}

fn add_more(text: &mut String, more: u64) {
    if more > 0 {
        let _ = write!(text, " +{more} bytes");
    }
}

/// Appends text with escapes. `is_cut`: it may end within a character, which is left out then.
fn escape(bytes: &[u8], is_cut: bool, out: &mut String) {
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        out.extend(chunk.valid().chars().flat_map(|character| {
            // Marks that combine with a letter are letters too, and are escaped otherwise.
            let escaped = character.escape_debug();
            let keeps = character.is_alphanumeric() || character == '\'';
            keeps.then_some(character).into_iter().chain(escaped.filter(move |_| !keeps))
        }));
        let is_incomplete = is_cut && chunks.peek().is_none() && chunk.invalid().len() < 4;
        if !is_incomplete {
            for byte in chunk.invalid() {
                let _ = write!(out, "\\x{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_utc() {
        let at = |seconds: u64, nanos: u32| UNIX_EPOCH + Duration::new(seconds, nanos);
        assert_eq!((date(at(0, 0)), clock(at(0, 0))), ("1970-01-01".into(), "00:00:00.000000Z".into()));
        let time = at(1_795_368_600, 123_456_789);
        assert_eq!((date(time), clock(time)), ("2026-11-22".into(), "17:30:00.123456Z".into()));
        for (days, expected) in [
            (58, "1970-02-28"),
            (59, "1970-03-01"),
            (789, "1972-02-29"),
            (11_016, "2000-02-29"),
            (11_322, "2000-12-31"),
            (11_323, "2001-01-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
        ] {
            assert_eq!(date(at(days * 86_400 + 86_399, 0)), expected);
        }
    }

    #[test]
    fn control_characters_are_escaped_and_text_is_not() {
        assert_eq!(quoted("Grüße, 世界 👋 'a' \"b\"".as_bytes(), 0), "\"Grüße, 世界 👋 'a' \\\"b\\\"\"");
        assert_eq!(quoted(b"\x1b[2J\r\n\0\x7f\xff\xc3(", 0), "\"\\u{1b}[2J\\r\\n\\0\\u{7f}\\xff\\xc3(\"");
        // It would reverse the rest of the line.
        assert_eq!(quoted("\u{202e}abc".as_bytes(), 0), "\"\\u{202e}abc\"");
        assert_eq!(escaped(b"Sec-WebSocket-Protocol: \"a\", 'b'\x07"), "Sec-WebSocket-Protocol: \"a\", 'b'\\u{7}");
    }

    #[test]
    fn a_character_that_is_cut_off_is_left_out() {
        let bytes = "a€".as_bytes();
        assert_eq!(quoted(&bytes[..3], 10), "\"a\" +10 bytes");
        assert_eq!(quoted(&bytes[..3], 0), "\"a\\xe2\\x82\"");
        assert_eq!(hex(&[0, 0xab], 5), "00 ab +5 bytes");
        assert_eq!(hex(&[], 0), "");
        assert!(hex(&[7; 40], 2).ends_with(" 07 +10 bytes") && hex(&[7; 32], 0).len() == 95);
    }
}
