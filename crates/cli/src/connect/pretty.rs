//! JSON with line breaks and indentation. Only white space between the tokens changes: numbers and
//! strings stay as they were sent, and the members in their order.

use serde::de::IgnoredAny;

/// Indents a JSON object or array; `None` for other text.
pub(super) fn pretty_json(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.starts_with(['{', '[']) || serde_json::from_str::<IgnoredAny>(text).is_err() {
        return None;
    }
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                out.push(c);
                while let Some(c) = chars.next() {
                    out.push(c);
                    match c {
                        '\\' => out.extend(chars.next()),
                        '"' => break,
                        _ => {}
                    }
                }
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                match chars.next_if(|c| matches!(c, '}' | ']')) {
                    Some(end) => out.push(end),
                    None => {
                        depth += 1;
                        line_break(depth, &mut out);
                    }
                }
            }
            // The text is valid, so that each closing bracket has an opening one.
            '}' | ']' => {
                depth -= 1;
                line_break(depth, &mut out);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line_break(depth, &mut out);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    Some(out)
}

fn line_break(depth: usize, out: &mut String) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_changes() {
        let text = r#" {"b":[1,2.50,{"x\"}":"a b,c:[{"}],"a":{ },"c":[ ],"n":12345678901234567890.10, "t":true} "#;
        let pretty = pretty_json(text).expect("JSON");
        let expected = "{\n  \"b\": [\n    1,\n    2.50,\n    {\n      \"x\\\"}\": \"a b,c:[{\"\n    }\n  ],\n  \"a\": {},\n  \
                        \"c\": [],\n  \"n\": 12345678901234567890.10,\n  \"t\": true\n}";
        assert_eq!(pretty, expected);
        assert_eq!(pretty_json(&pretty).as_deref(), Some(expected), "it is stable");
    }

    #[test]
    fn other_text_is_left_alone() {
        for text in ["", "hello", "1", "\"text\"", "{\"a\":}", "[1", "{} x"] {
            assert_eq!(pretty_json(text), None, "{text}");
        }
        assert_eq!(pretty_json(&"[".repeat(100_000)), None, "the depth is limited");
    }
}
