//! Messages from a file: one for each line, or for each record behind its length.

use super::file::{self, FileError};
use super::hash;
use crate::{MAX_SIZE, size};
use ringway::{Message, MessageKind};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The maximum length of a file.
const MAX_FILE: usize = 1 << 30;

/// The maximum number of records; each takes 4 bytes besides its content.
const MAX_RECORDS: usize = 1 << 26;

/// The length of the prefix of a record.
const PREFIX: usize = 4;

/// How a file is divided into records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordFormat {
    /// Lines that end with LF or CR LF, which are not part of the message. The last one needs no
    /// end. An empty line is an empty message.
    #[default]
    Lines,
    /// Records behind their length, an unsigned number of 32 bits, big endian.
    Prefixed,
}

/// The order in which the connections send the records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecordOrder {
    /// Connection `c` begins with record `c`, sends the records in their order, and continues with
    /// the first one after the last.
    #[default]
    RoundRobin,
    /// Each message is any record, drawn with replacement; the seed determines which.
    Random,
}

/// The records of a file, without what separates them.
pub struct Records {
    content: Content,
    /// The end of each record. Never empty.
    ends: Vec<u32>,
    max_len: usize,
}

enum Content {
    Text(String),
    Binary(Vec<u8>),
}

impl Records {
    /// Reads a file of at most 1 GiB.
    ///
    /// # Errors
    /// A file that cannot be read, is empty or too large, or that has a record above [`MAX_SIZE`];
    /// a text record that is not UTF-8.
    pub fn read(path: &Path, format: RecordFormat, kind: MessageKind) -> Result<Self, RecordsError> {
        let bytes = file::read(path, MAX_FILE).map_err(RecordsError::File)?;
        Self::parse(bytes, format, kind).map_err(|problem| RecordsError::Invalid { path: path.to_owned(), problem })
    }

    /// The records in the content of a file.
    ///
    /// # Errors
    /// As of [`read`](Self::read).
    pub fn parse(mut bytes: Vec<u8>, format: RecordFormat, kind: MessageKind) -> Result<Self, RecordsProblem> {
        if bytes.len() > MAX_FILE {
            return Err(RecordsProblem::TooLarge);
        }
        let mut ends = Vec::new();
        let (mut position, mut end, mut max_len) = (0, 0, 0);
        while position < bytes.len() {
            let place = Place::of(format, ends.len(), position);
            let (record, next) = match format {
                RecordFormat::Lines => line(&bytes, position),
                RecordFormat::Prefixed => prefixed(&bytes, position)?,
            };
            if record.len() > MAX_SIZE {
                return Err(RecordsProblem::RecordTooLarge(place, record.len()));
            }
            if ends.len() == MAX_RECORDS {
                return Err(RecordsProblem::TooMany);
            }
            if kind == MessageKind::Text && std::str::from_utf8(&bytes[record.clone()]).is_err() {
                return Err(RecordsProblem::NotText(place));
            }
            max_len = max_len.max(record.len());
            // The records move together, over what separates them.
            bytes.copy_within(record.clone(), end);
            end += record.len();
            // MAX_FILE fits in 32 bits.
            ends.push(end as u32);
            position = next;
        }
        if ends.is_empty() {
            return Err(RecordsProblem::Empty);
        }
        bytes.truncate(end);
        let content = match kind {
            MessageKind::Text => Content::Text(String::from_utf8(bytes).expect("each record is UTF-8")),
            MessageKind::Binary => Content::Binary(bytes),
        };
        Ok(Self { content, ends, max_len })
    }

    /// The number of records.
    #[expect(clippy::len_without_is_empty, reason = "there is always a record")]
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// The length of the longest record.
    #[must_use]
    pub fn max_len(&self) -> usize {
        self.max_len
    }

    /// The length of the shortest record.
    #[must_use]
    pub fn min_len(&self) -> usize {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| (end - start) as usize).min().unwrap_or(0)
    }

    /// The kind of the messages.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self.content {
            Content::Text(_) => MessageKind::Text,
            Content::Binary(_) => MessageKind::Binary,
        }
    }

    /// The bytes of message `number` of a connection.
    pub(super) fn payload(&self, order: RecordOrder, connection: u32, number: u32, hash: u64) -> &[u8] {
        let range = self.range(self.index(order, connection, number, hash));
        match &self.content {
            Content::Text(text) => &text.as_bytes()[range],
            Content::Binary(bytes) => &bytes[range],
        }
    }

    /// The same, to send it.
    pub(super) fn message(&self, order: RecordOrder, connection: u32, number: u32, hash: u64) -> Message<'_> {
        let range = self.range(self.index(order, connection, number, hash));
        match &self.content {
            Content::Text(text) => Message::text(&text[range]),
            Content::Binary(bytes) => Message::binary(&bytes[range]),
        }
    }

    /// The record that is message `number` of a connection.
    fn index(&self, order: RecordOrder, connection: u32, number: u32, hash: u64) -> usize {
        let count = self.len() as u64;
        match order {
            RecordOrder::RoundRobin => ((u64::from(connection) + u64::from(number)) % count) as usize,
            RecordOrder::Random => hash::below(hash, count) as usize,
        }
    }

    fn range(&self, index: usize) -> Range<usize> {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start as usize..self.ends[index] as usize
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} records, {:?}", self.len(), self.kind())
    }
}

/// The line at `start`, and the start of the next one.
fn line(bytes: &[u8], start: usize) -> (Range<usize>, usize) {
    let rest = &bytes[start..];
    let Some(len) = rest.iter().position(|byte| *byte == b'\n') else { return (start..bytes.len(), bytes.len()) };
    let content = rest[..len].strip_suffix(b"\r").unwrap_or(&rest[..len]);
    (start..start + content.len(), start + len + 1)
}

/// The record whose prefix is at `start`, and the start of the next prefix.
fn prefixed(bytes: &[u8], start: usize) -> Result<(Range<usize>, usize), RecordsProblem> {
    let rest = &bytes[start..];
    let Some((prefix, rest)) = rest.split_first_chunk::<PREFIX>() else {
        return Err(RecordsProblem::NoPrefix(start, rest.len()));
    };
    let len = u32::from_be_bytes(*prefix) as usize;
    if len > rest.len() {
        return Err(RecordsProblem::Incomplete { offset: start, len, left: rest.len() });
    }
    let content = start + PREFIX;
    Ok((content..content + len, content + len))
}

/// The place of a record in its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Place {
    /// A line, from 1.
    Line(usize),
    /// The offset of the record's prefix.
    Offset(usize),
}

impl Place {
    fn of(format: RecordFormat, record: usize, offset: usize) -> Self {
        match format {
            RecordFormat::Lines => Self::Line(record + 1),
            RecordFormat::Prefixed => Self::Offset(offset),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Offset(offset) => write!(f, "the record at offset {offset}"),
        }
    }
}

/// The error of a file with records.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The file cannot be read, or is too large.
    #[error(transparent)]
    File(FileError),
    /// The content of the file is invalid.
    #[error("{}: {problem}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is invalid.
        problem: RecordsProblem,
    },
}

/// What is invalid in a file with records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsProblem {
    /// No records.
    #[error("the file is empty: give one with at least one message")]
    Empty,
    /// A file above the limit.
    #[error("the file is larger than {}: give a smaller one", size(MAX_FILE))]
    TooLarge,
    /// Too many records.
    #[error("the file has more than {MAX_RECORDS} messages: give a part of it")]
    TooMany,
    /// A record above [`MAX_SIZE`].
    #[error("{} has {}: give messages of at most {}", .0, size(*.1), size(MAX_SIZE))]
    RecordTooLarge(Place, usize),
    /// A text message that is not UTF-8.
    #[error("{0} is not UTF-8: correct it, or send binary messages (--binary)")]
    NotText(Place),
    /// The file ends in a prefix.
    #[error("{1} bytes at offset {0} are too few for a length of {PREFIX} bytes: complete or remove them")]
    NoPrefix(usize, usize),
    /// The file ends in a record.
    #[error(
        "the record at offset {offset} has a length of {len} B (big endian), and the file ends {left} B behind it: \
         complete the file, or read it by lines"
    )]
    Incomplete {
        /// The offset of the prefix.
        offset: usize,
        /// The length in the prefix.
        len: usize,
        /// The bytes after the prefix.
        left: usize,
    },
}

#[cfg(test)]
mod tests;
