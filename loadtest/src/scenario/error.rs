//! The error of an invalid scenario: where it is, what is written there, and what to write instead.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The maximum length of the line that an error repeats, in characters.
const MAX_EXCERPT: usize = 100;

/// The keys whose values are secret, which an error does not repeat.
const SECRETS: [&str; 2] = ["bearer", "basic"];

/// The error of a scenario. As text:
/// `chat.toml:12: connections = "some": give a whole number, as 500, 10k or 1m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    file: PathBuf,
    line: Option<usize>,
    excerpt: String,
    message: String,
}

impl ScenarioError {
    /// An error without a position in the file.
    pub(super) fn of_file(file: &Path, message: impl fmt::Display) -> Self {
        Self { file: file.to_owned(), line: None, excerpt: String::new(), message: one_line(&message.to_string()) }
    }

    /// An error at a range of bytes of the file's text.
    pub(super) fn at(file: &Path, text: &str, span: &Range<usize>, message: impl fmt::Display) -> Self {
        let number = text.bytes().take(span.start).filter(|byte| *byte == b'\n').count();
        let line = text.lines().nth(number).unwrap_or_default().trim();
        Self { line: Some(number + 1), excerpt: excerpt(line), ..Self::of_file(file, message) }
    }

    /// The number of the line, from 1, if the error has one.
    #[must_use]
    pub fn line(&self) -> Option<usize> {
        self.line
    }
}

/// The line as an error repeats it: without the values of secrets and without control characters.
fn excerpt(line: &str) -> String {
    let secret = SECRETS.iter().filter_map(|key| line.find(key).map(|at| at + key.len())).min();
    match secret {
        Some(end) => format!("{} = …", &line[..end]),
        None if line.chars().count() > MAX_EXCERPT => line.chars().take(MAX_EXCERPT).chain(['…']).collect(),
        None => line.chars().filter(|c| !c.is_control()).collect(),
    }
}

/// The text in one line.
fn one_line(text: &str) -> String {
    text.trim().replace('\n', ", ")
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        if !self.excerpt.is_empty() {
            write!(f, ": {}", self.excerpt)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl std::error::Error for ScenarioError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_file_line_and_text() {
        let text = "a = 1\n  b = \"x\"  \nc = 3";
        let at = |span| ScenarioError::at(Path::new("a.toml"), text, &span, "give another").to_string();
        assert_eq!(at(0..1), "a.toml:1: a = 1: give another");
        assert_eq!(at(12..15), "a.toml:2: b = \"x\": give another");
        assert_eq!(at(text.len()..text.len()), "a.toml:3: c = 3: give another");
        let error = ScenarioError::of_file(Path::new("a.toml"), "two\nlines\n");
        assert_eq!((error.to_string().as_str(), error.line()), ("a.toml: two, lines", None));
    }

    #[test]
    fn secrets_and_control_characters_are_not_repeated() {
        assert_eq!(excerpt("bearer = \"abc\""), "bearer = …");
        assert_eq!(excerpt("offer = { basic = \"a:b\" }"), "offer = { basic = …");
        assert_eq!(excerpt("name = \"\u{1b}[2J\""), "name = \"[2J\"");
        assert_eq!(excerpt(&"x".repeat(200)).chars().count(), MAX_EXCERPT + 1);
    }
}
