//! Bytes as a table: offset, hexadecimal, and ASCII.

use std::fmt::Write;

/// The bytes of a line.
const WIDTH: usize = 16;

/// Appends at most `max` of the bytes, each line behind `indent`, and a note of those left out.
pub(super) fn hex_view(bytes: &[u8], max: usize, indent: &str, out: &mut String) {
    let shown = &bytes[..bytes.len().min(max)];
    for (index, line) in shown.chunks(WIDTH).enumerate() {
        let _ = write!(out, "{indent}{:08x} ", index * WIDTH);
        for at in 0..WIDTH {
            if at % 8 == 0 {
                out.push(' ');
            }
            match line.get(at) {
                Some(byte) => drop(write!(out, "{byte:02x} ")),
                None => out.push_str("   "),
            }
        }
        out.push('│');
        out.extend(line.iter().map(|byte| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '.' }));
        out.push_str("│\n");
    }
    let left_out = bytes.len() - shown.len();
    if left_out > 0 {
        let _ = writeln!(out, "{indent}… {left_out} of {} bytes are not shown", bytes.len());
    }
}

/// Bytes from text as people write them: hexadecimal digits in pairs, with spaces or colons between
/// them, and with `0x` in front if they like.
pub(super) fn parse_hex(text: &str) -> Result<Vec<u8>, String> {
    let text = text.trim();
    let text = text.strip_prefix("0x").unwrap_or(text);
    let mut bytes = Vec::with_capacity(text.len() / 2);
    for part in text.split([' ', ':', '\t']).filter(|part| !part.is_empty()) {
        if let Some(wrong) = part.chars().find(|c| !c.is_ascii_hexdigit()) {
            return Err(format!("{wrong:?} is no hexadecimal digit: give bytes as 48 65 6c or 48656c, or @FILE"));
        }
        if part.len() % 2 == 1 {
            return Err(format!("{part:?} has an odd number of digits: give two for each byte"));
        }
        // All are ASCII digits, so that no pair is split within a character.
        bytes.extend((0..part.len()).step_by(2).filter_map(|at| u8::from_str_radix(&part[at..at + 2], 16).ok()));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(bytes: &[u8], max: usize) -> String {
        let mut out = String::new();
        hex_view(bytes, max, "  ", &mut out);
        out
    }

    #[test]
    fn a_line_has_sixteen_bytes_and_their_text() {
        let bytes: Vec<u8> = (0x38..0x4b).collect();
        assert_eq!(
            view(&bytes, 100),
            "  00000000  38 39 3a 3b 3c 3d 3e 3f  40 41 42 43 44 45 46 47 │89:;<=>?@ABCDEFG│\n  \
             00000010  48 49 4a                                         │HIJ│\n"
        );
        assert_eq!(view(&[], 100), "");
        assert!(view(b"\x1b\xff\n ", 9).ends_with("│... │\n"));
    }

    #[test]
    fn what_is_left_out_is_counted() {
        let text = view(&[0; 100], 32);
        assert_eq!(text.lines().count(), 3);
        assert!(text.ends_with("  … 68 of 100 bytes are not shown\n"), "{text}");
    }

    #[test]
    fn hexadecimal_text_is_read_in_several_forms() {
        for text in ["48656c", "48 65 6c", "48:65:6C", " 0x48656c ", "4865 6c"] {
            assert_eq!(parse_hex(text).as_deref(), Ok(&b"Hel"[..]), "{text}");
        }
        assert_eq!(parse_hex("").as_deref(), Ok(&b""[..]));
        assert!(parse_hex("4").is_err_and(|error| error.contains("odd number")));
        assert!(parse_hex("hello").is_err_and(|error| error.starts_with("'h' is no hexadecimal digit")));
        assert!(parse_hex("ü0").is_err());
    }
}
