//! Templates: text with fields that differ between messages.
//!
//! Each field has a fixed width, so all messages of a template have the same length.

mod field;

use super::compose::{Sink, put_number};
use super::hash::Stream;
use crate::{MAX_SIZE, size};
use field::Field;
use std::ops::Range;
use std::str::FromStr;

/// The width of `{seq}` and `{conn}`: the digits of the largest number of 32 bits.
const NUMBER_WIDTH: usize = 10;

/// Text with fields in braces:
///
/// | field | content | width |
/// |---|---|---|
/// | `{seq}` | the number of the message in its connection, from 0 | 10 |
/// | `{conn}` | the number of the connection, from 0 | 10 |
/// | `{time}`, `{time:us}`, `{time:ns}` | the time of sending: milliseconds, microseconds or nanoseconds since the Unix epoch | 13, 16, 19 |
/// | `{random:N}` | random characters of `A-Za-z0-9-_` | N |
/// | `{int:A-B}` | a random whole number from A to B | the digits of B |
/// | `{uuid}` | a random UUID (RFC 9562 version 4) | 36 |
///
/// Numbers are padded with spaces before them, which JSON allows; with zeros in `{seq:0}` and
/// `{conn:0}`, and in `{int:A-B}` if A is written with them, as in `{int:001-500}`.
///
/// `{{` stands for one opening brace. A brace that is not followed by a letter begins no field, and
/// a closing brace outside of a field is text, so JSON is written as it is:
///
/// ```
/// use ringway_loadtest::message::Template;
///
/// let template: Template = r#"{"op":"set","id":{seq},"key":"{random:8}","ts":{time}}"#.parse()?;
/// assert_eq!(template.len(), 64);
/// assert!(template.has_number());
/// let error = "{sequence}".parse::<Template>().unwrap_err();
/// assert_eq!((error.line, error.column), (1, 1));
/// # Ok::<(), ringway_loadtest::message::TemplateError>(())
/// ```
///
/// The random fields depend on the seed, the connection and the number of the message, so the
/// expected echo is computed. The time is not kept; in an echo it may be any number of its width.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The template as it was given.
    source: String,
    /// The text between the fields.
    text: String,
    parts: Vec<Part>,
    len: usize,
    /// The position of the first `{seq}` in a message.
    number: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    /// A range of the text.
    Text(Range<usize>),
    Field(Field),
}

impl Template {
    /// The length of each message in bytes.
    #[expect(clippy::len_without_is_empty, reason = "the messages have a length, not the template")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The template as it was given.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    /// Whether messages have their number (`{seq}`), so that replies are matched by it.
    #[must_use]
    pub fn has_number(&self) -> bool {
        self.number.is_some()
    }

    /// The number in a message of this template.
    pub(super) fn number_of(&self, payload: &[u8]) -> Option<u32> {
        let at = self.number?;
        let field = payload.get(at..at + NUMBER_WIDTH)?;
        let digits = std::str::from_utf8(field).ok()?.trim_start_matches(' ');
        // Without the sign that a number may have.
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
    }

    /// Passes the parts of a message to `sink`. `hash` is the source of random fields.
    pub(super) fn compose(&self, connection: u32, number: u32, hash: u64, sink: &mut impl Sink) {
        let mut random = Stream::new(hash);
        for part in &self.parts {
            match part {
                Part::Text(range) => sink.put(&self.text.as_bytes()[range.clone()]),
                Part::Field(field) => field.compose(connection, number, &mut random, sink),
            }
        }
    }

    fn push_text(&mut self, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        self.len += text.len();
        match self.parts.last_mut() {
            Some(Part::Text(range)) => range.end = self.text.len(),
            _ if text.is_empty() => {}
            _ => self.parts.push(Part::Text(start..self.text.len())),
        }
    }

    fn push_field(&mut self, field: Field) {
        if matches!(field, Field::Number { .. }) {
            self.number.get_or_insert(self.len);
        }
        self.len = self.len.saturating_add(field.width());
        self.parts.push(Part::Field(field));
    }
}

impl FromStr for Template {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, TemplateError> {
        let source = text.to_owned();
        let mut template = Self { source, text: String::new(), parts: Vec::new(), len: 0, number: None };
        let mut rest = text;
        while let Some(brace) = rest.find('{') {
            template.push_text(&rest[..brace]);
            rest = &rest[brace..];
            let error = |problem| TemplateError::at(text, text.len() - rest.len(), problem);
            let inner = &rest[1..];
            if inner.starts_with(|c: char| c.is_ascii_alphabetic()) {
                let end = inner.find('}').ok_or_else(|| error(TemplateProblem::Open))?;
                let field = inner[..end].parse().map_err(error)?;
                template.push_field(field);
                rest = &inner[end + 1..];
            } else {
                template.push_text("{");
                rest = inner.strip_prefix('{').unwrap_or(inner);
            }
            if template.len > MAX_SIZE {
                return Err(error(TemplateProblem::TooLarge));
            }
        }
        template.push_text(rest);
        if template.len > MAX_SIZE {
            return Err(TemplateError::at(text, text.len(), TemplateProblem::TooLarge));
        }
        Ok(template)
    }
}

/// The error of an invalid template, and its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("template, line {line}, character {column}: {problem}")]
#[non_exhaustive]
pub struct TemplateError {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
    /// What is invalid.
    pub problem: TemplateProblem,
}

impl TemplateError {
    fn at(text: &str, offset: usize, problem: TemplateProblem) -> Self {
        let before = &text[..offset];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.matches('\n').count() + 1;
        Self { line, column: before[line_start..].chars().count() + 1, problem }
    }
}

/// What is invalid in a template.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateProblem {
    /// A field without its end.
    #[error("a field begins and has no closing brace: add it, or write {{{{ for a brace")]
    Open,
    /// An unknown name.
    #[error(
        "{{{0}}} is not a field: give {{seq}}, {{conn}}, {{time}}, {{random:N}}, {{int:A-B}} or {{uuid}}, or write \
         {{{{ for a brace"
    )]
    Unknown(String),
    /// A field with text after the colon that it does not have.
    #[error("{{{0}}} has no such form: give {1}")]
    Form(String, &'static str),
    /// A message that is too large.
    #[error("messages are larger than {}: shorten the text or the fields", size(MAX_SIZE))]
    TooLarge,
}

#[cfg(test)]
mod tests;
