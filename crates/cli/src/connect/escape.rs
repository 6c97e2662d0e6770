//! Text of a peer for a terminal: what would control the terminal, or reorder what it shows, is
//! escaped.

use std::fmt::Write;

/// Whether a character is shown as an escape sequence of Rust: control characters, and those that
/// change the direction of text or are invisible separators of lines.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Appends text with all such characters escaped, except for tabs; `keeps_lines`: and except for line
/// feeds.
pub(super) fn escape_into(text: &str, keeps_lines: bool, out: &mut String) {
    for c in text.chars() {
        if c == '\t' || keeps_lines && c == '\n' || !is_unsafe(c) {
            out.push(c);
        } else {
            // Control characters below 256 in the form that people know.
            match c {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\0'..='\u{ff}' => drop(write!(out, "\\x{:02x}", u32::from(c))),
                _ => drop(write!(out, "\\u{{{:x}}}", u32::from(c))),
            }
        }
    }
}

/// One line of text, escaped.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    escape_into(text, false, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_controls_a_terminal_is_escaped() {
        for (text, shown) in [
            ("grüße\t✓ 日本", "grüße\t✓ 日本"),
            ("\u{1b}[2J\u{7}", "\\x1b[2J\\x07"),
            ("a\r\nb\u{7f}\u{9b}31m", "a\\r\\nb\\x7f\\x9b31m"),
            ("abc\u{202e}fed", "abc\\u{202e}fed"),
            ("\u{feff}\u{2028}", "\\u{feff}\\u{2028}"),
        ] {
            assert_eq!(escaped(text), shown);
        }
        let mut lines = String::new();
        escape_into("a\nb\rc", true, &mut lines);
        assert_eq!(lines, "a\nb\\rc");
    }

    #[test]
    fn no_control_character_of_any_kind_is_left() {
        let all: String = (0..0x3000).filter_map(char::from_u32).collect();
        let shown = escaped(&all);
        assert!(shown.chars().all(|c| c == '\t' || !is_unsafe(c)));
    }
}
