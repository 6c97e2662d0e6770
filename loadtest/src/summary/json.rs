//! The layout of the report as JSON: one key on a line, and an array within an array, such as a
//! bucket, on one line.

use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter};
use std::io::{self, Write};

/// The JSON of `value`.
///
/// # Errors
/// As of [`serde_json::to_string`].
pub(super) fn to_string(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    let layout = Layout { pretty: PrettyFormatter::new(), arrays: Vec::new(), inline: 0 };
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, layout))?;
    Ok(String::from_utf8(bytes).expect("JSON is UTF-8"))
}

struct Layout {
    pretty: PrettyFormatter<'static>,
    /// Whether each container around the current position is an array.
    arrays: Vec<bool>,
    /// The number of these that are on one line.
    inline: usize,
}

impl Layout {
    /// Enters a container, and returns whether it is on one line.
    fn enter(&mut self, is_array: bool) -> bool {
        let is_inline = self.inline > 0 || is_array && self.arrays.last() == Some(&true);
        self.arrays.push(is_array);
        self.inline += usize::from(is_inline);
        is_inline
    }

    /// Leaves a container, and returns whether it is on one line.
    fn leave(&mut self) -> bool {
        self.arrays.pop();
        let is_inline = self.inline > 0;
        self.inline = self.inline.saturating_sub(1);
        is_inline
    }
}

fn separate<W: ?Sized + Write>(writer: &mut W, is_first: bool) -> io::Result<()> {
    if is_first { Ok(()) } else { writer.write_all(b", ") }
}

impl Formatter for Layout {
    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.enter(true) { writer.write_all(b"[") } else { self.pretty.begin_array(writer) }
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.leave() { writer.write_all(b"]") } else { self.pretty.end_array(writer) }
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, is_first: bool) -> io::Result<()> {
        match self.inline {
            0 => self.pretty.begin_array_value(writer, is_first),
            _ => separate(writer, is_first),
        }
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.inline > 0 { Ok(()) } else { self.pretty.end_array_value(writer) }
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.enter(false) { writer.write_all(b"{") } else { self.pretty.begin_object(writer) }
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.leave() { writer.write_all(b"}") } else { self.pretty.end_object(writer) }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, is_first: bool) -> io::Result<()> {
        match self.inline {
            0 => self.pretty.begin_object_key(writer, is_first),
            _ => separate(writer, is_first),
        }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.pretty.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.inline > 0 { Ok(()) } else { self.pretty.end_object_value(writer) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn arrays_within_arrays_are_on_one_line() {
        let value = json!({ "a": [[1, 2.5], [[], { "b": [3], "c": null }]], "d": [], "e": { "f": [1] } });
        let text = to_string(&value).expect("all keys are strings");
        let expected = r#"{
  "a": [
    [1, 2.5],
    [[], {"b": [3], "c": null}]
  ],
  "d": [],
  "e": {
    "f": [
      1
    ]
  }
}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), value);
    }
}
