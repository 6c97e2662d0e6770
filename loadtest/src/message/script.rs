//! The messages that a recording has as sent, with their times.

use super::file::{self, FileError};
use crate::recording::{Record, RecordContent, RecordDirection};
use crate::{MAX_SIZE, size};
use ringway::{Message, MessageKind};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The maximum length of a file.
const MAX_FILE: usize = 256 << 20;

/// The maximum number of messages; each takes 8 bytes on each thread, besides its content.
const MAX_MESSAGES: usize = 1 << 20;

/// The shortest time from the last message of a round to the first one of the next.
const MIN_GAP: Duration = Duration::from_millis(1);

/// The messages that a recording has as sent, with their times. Pings, pongs, close frames and what
/// was received are not part of it.
pub struct Script {
    bytes: Vec<u8>,
    messages: Vec<Entry>,
    /// The time from the first message of a round to that of the next one. `None`: the recording has no
    /// times.
    period: Option<Duration>,
}

struct Entry {
    kind: MessageKind,
    /// From the first message.
    offset: Duration,
    range: Range<usize>,
}

impl Script {
    /// Reads a recording of at most 256 MiB.
    ///
    /// # Errors
    /// A file that cannot be read or is too large, a line that is not of a recording, no message that
    /// was sent, more than 1 048 576 of them, and one above [`MAX_SIZE`].
    pub fn read(path: &Path) -> Result<Self, ScriptError> {
        let bytes = file::read(path, MAX_FILE).map_err(ScriptError::File)?;
        Self::parse(&bytes).map_err(|problem| ScriptError::Invalid { path: path.to_owned(), problem })
    }

    /// The messages in the content of a file.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn parse(content: &[u8]) -> Result<Self, ScriptProblem> {
        let mut bytes = Vec::new();
        let mut messages: Vec<Entry> = Vec::new();
        let (mut first, mut end) = (None, Duration::ZERO);
        // The last line needs no end.
        let content = content.strip_suffix(b"\n").unwrap_or(content);
        let lines = content.split(|byte| *byte == b'\n').enumerate().filter(|_| !content.is_empty());
        for (index, line) in lines {
            let wrong = |error: String| ScriptProblem::Line(index + 1, error);
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = std::str::from_utf8(line).map_err(|_| wrong("the line is not UTF-8".into()))?;
            let record = Record::parse(line).map_err(wrong)?;
            if let (Some(first), Some(time)) = (first, record.time) {
                end = end.max(time.saturating_sub(first));
            }
            let (kind, payload) = match record.content {
                _ if record.direction != RecordDirection::Sent => continue,
                RecordContent::Text(text) => (MessageKind::Text, text.into_bytes()),
                RecordContent::Binary(bytes) => (MessageKind::Binary, bytes),
                _ => continue,
            };
            if payload.len() > MAX_SIZE {
                return Err(ScriptProblem::MessageTooLarge(index + 1, payload.len()));
            }
            if messages.len() == MAX_MESSAGES {
                return Err(ScriptProblem::TooMany);
            }
            // One without a time is sent with the one before it, and so is one whose clock went back.
            let before = messages.last().map_or(Duration::ZERO, |entry| entry.offset);
            let offset = record.time.map_or(before, |time| time.saturating_sub(*first.get_or_insert(time)).max(before));
            let start = bytes.len();
            bytes.extend(payload);
            messages.push(Entry { kind, offset, range: start..bytes.len() });
        }
        let Some(last) = messages.last() else { return Err(ScriptProblem::Empty) };
        let mean = last.offset / (messages.len() as u32 - 1).max(1);
        let period = first.map(|_| last.offset + (end.saturating_sub(last.offset)).max(mean).max(MIN_GAP));
        Ok(Self { bytes, messages, period })
    }

    /// The number of messages.
    #[expect(clippy::len_without_is_empty, reason = "there is always a message")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// The times of the messages, from that of the first one.
    pub fn offsets(&self) -> impl Iterator<Item = Duration> {
        self.messages.iter().map(|entry| entry.offset)
    }

    /// The time from the first message of a round to that of the next one: up to the end of the
    /// recording, but at least the mean time between its messages and 1 ms after the last one. `None`:
    /// the recording has no times.
    #[must_use]
    pub fn period(&self) -> Option<Duration> {
        self.period
    }

    /// The kind of the messages; `None`: of both.
    #[must_use]
    pub fn kind(&self) -> Option<MessageKind> {
        let kind = self.messages[0].kind;
        self.messages.iter().all(|entry| entry.kind == kind).then_some(kind)
    }

    /// The length of the longest message.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.messages.iter().map(|entry| entry.range.len()).max().unwrap_or(0)
    }

    /// The length of the shortest message.
    #[must_use]
    pub fn min_len(&self) -> usize {
        self.messages.iter().map(|entry| entry.range.len()).min().unwrap_or(0)
    }

    /// The bytes of message `number` of a connection.
    pub(super) fn payload(&self, number: u32) -> &[u8] {
        &self.bytes[self.entry(number).range.clone()]
    }

    /// The same, to send it.
    pub(super) fn message(&self, number: u32) -> Message<'_> {
        match self.entry(number).kind {
            // Checked when it was read.
            MessageKind::Text => Message::text_bytes(self.payload(number)),
            MessageKind::Binary => Message::binary(self.payload(number)),
        }
    }

    fn entry(&self, number: u32) -> &Entry {
        &self.messages[number as usize % self.messages.len()]
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} recorded messages, {:?}", self.len(), self.period)
    }
}

/// The error of a recording to send.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptError {
    /// The file cannot be read, or is too large.
    #[error(transparent)]
    File(FileError),
    /// The content of the file is invalid.
    #[error("{}: {problem}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is invalid.
        problem: ScriptProblem,
    },
}

/// What is invalid in a recording to send.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ScriptProblem {
    /// A line, from 1, that is not of a recording.
    #[error("line {0}: {1}: give a recording of `ringway connect --record`")]
    Line(usize, String),
    /// A message above [`MAX_SIZE`].
    #[error("line {} has a message of {}: give messages of at most {}", .0, size(*.1), size(MAX_SIZE))]
    MessageTooLarge(usize, usize),
    /// Too many messages.
    #[error("the recording has more than {MAX_MESSAGES} sent messages: give a part of it")]
    TooMany,
    /// No messages.
    #[error("the recording has no message that was sent: give one with at least one text or binary message")]
    Empty,
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIXED: &str = concat!(
        r#"{"time":100,"direction":"received","type":"text","data":"welcome"}"#,
        "\n",
        r#"{"time":100.5,"direction":"sent","type":"text","data":"a"}"#,
        "\r\n",
        r#"{"time":100.6,"direction":"sent","type":"ping"}"#,
        "\n",
        r#"{"time":101.5,"direction":"sent","type":"binary","base64":"AP8B"}"#,
        "\n",
        r#"{"direction":"sent","type":"text","data":""}"#,
        "\n",
        r#"{"time":105.5,"direction":"sent","type":"close","code":1000,"reason":""}"#,
        "\n",
    );

    fn period(lines: &[&str]) -> Option<Duration> {
        Script::parse(lines.join("\n").as_bytes()).expect("a recording").period()
    }

    #[test]
    fn a_script_has_the_sent_messages_in_their_order_and_begins_again() {
        let script = Script::parse(MIXED.as_bytes()).expect("a recording");
        let payloads: Vec<&[u8]> = (0..5).map(|number| script.payload(number)).collect();
        assert_eq!(payloads, [&b"a"[..], &[0, 255, 1], b"", b"a", &[0, 255, 1]]);
        let kinds: Vec<MessageKind> = (0..3).map(|number| script.message(number).kind()).collect();
        assert_eq!(kinds, [MessageKind::Text, MessageKind::Binary, MessageKind::Text]);
        assert_eq!((script.len(), script.min_len(), script.max_len(), script.kind()), (3, 0, 3, None));
        let second = Duration::from_secs(1);
        assert_eq!(script.offsets().collect::<Vec<_>>(), [Duration::ZERO, second, second]);
        // The close was four seconds after the last message.
        assert_eq!(script.period(), Some(5 * second));
    }

    #[test]
    fn the_gap_between_rounds_is_never_empty() {
        let at = |time: &str| format!(r#"{{"time":{time},"type":"text","data":"x"}}"#);
        let (zero, two, ten) = (at("10"), at("12"), at("20"));
        assert_eq!(period(&[&zero]), Some(Duration::from_millis(1)));
        assert_eq!(period(&[&zero, &zero]), Some(Duration::from_millis(1)));
        assert_eq!(period(&[&zero, &two, &ten]), Some(Duration::from_secs(15)));
        // A clock that went back.
        assert_eq!(period(&[&ten, &zero]), Some(Duration::from_millis(1)));
        assert_eq!(period(&[r#"{"type":"text","data":"x"}"#]), None);
    }

    #[test]
    fn an_error_has_the_line_and_the_remedy() {
        let error = |text: &str| Script::parse(text.as_bytes()).expect_err("invalid").to_string();
        assert!(error("").starts_with("the recording has no message that was sent: give one with"));
        assert_eq!(error(r#"{"direction":"received","type":"text","data":"x"}"#), error(""));
        let wrong = error(&format!("{MIXED}hello\n"));
        assert!(wrong.starts_with("line 7: expected value at column 1: give a recording of"), "{wrong}");
        let binary = Script::parse(b"\xff\n").expect_err("not text").to_string();
        assert!(binary.starts_with("line 1: the line is not UTF-8"), "{binary}");
        let missing = Script::read(Path::new("/nonexistent/a.jsonl")).expect_err("no file").to_string();
        assert!(missing.starts_with("/nonexistent/a.jsonl: No such file"), "{missing}");
    }
}
