//! The content and the sizes of messages.
//!
//! [`Content`] describes them in a plan. The messages of a thread are functions of the seed, the
//! connection and their number, without a clock, a socket, or a file.
//!
//! # Marks
//!
//! Random messages of at least 8 bytes and JSON messages have a mark that identifies them, so that
//! a reply is matched by its content: the number of the message in its connection and a check of 32
//! bits in binary messages, or of 16 bits in text, which is written in base64url (RFC 4648 section
//! 5). Messages that the user gives are sent unchanged. The messages of a [`Template`] are matched
//! by number if it has a field for it; other replies are matched in order.

mod alphabet;
pub(crate) mod base64url;
mod compose;
mod file;
mod hash;
mod json;
mod literal;
pub(crate) mod mark;
mod random;
mod records;
mod script;
mod sizes;
mod source;
mod template;

pub use alphabet::Alphabet;
pub use file::FileError;
pub use literal::Literal;
pub use records::{Place, RecordFormat, RecordOrder, Records, RecordsError, RecordsProblem};
pub use script::{Script, ScriptError, ScriptProblem};
pub use sizes::{Sizes, SizesError};
pub(crate) use source::Source;
pub use template::{Template, TemplateError, TemplateProblem};

/// A check of 32 bits of two numbers.
pub(crate) fn mix(high: u32, low: u32) -> u32 {
    (hash::mix(u64::from(high) << 32 | u64::from(low)) >> 32) as u32
}

use crate::{MAX_SIZE, size};
use ringway::MessageKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The content of messages. Clones share what is large.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Content {
    /// Random bytes.
    Random {
        /// The sizes of the messages.
        sizes: Sizes,
        /// The symbols.
        alphabet: Alphabet,
    },
    /// JSON text that compresses as feeds do: keys and names that repeat, and numbers that drift. A
    /// message of 300 B compresses about 2 times with permessage-deflate, and about 5 times with
    /// context takeover.
    Json(Sizes),
    /// Text with fields, as text messages.
    Template(Arc<Template>),
    /// The records of a file.
    Records {
        /// The records.
        records: Arc<Records>,
        /// Their order.
        order: RecordOrder,
    },
    /// The messages of a recording, for [`Behaviour::Replay`](crate::Behaviour::Replay).
    Recording(Arc<Script>),
    /// One message.
    Literal(Literal),
}

impl Default for Content {
    /// Text of 64 bytes.
    fn default() -> Self {
        Self::Random { sizes: Sizes::fixed(64).expect("64 is below the maximum"), alphabet: Alphabet::Ascii }
    }
}

impl std::fmt::Display for Content {
    /// The kind and the size: `text of 64 B`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::units::size;
        let kind = match self.kind() {
            MessageKind::Text => "text",
            MessageKind::Binary => "binary",
        };
        match self {
            Self::Random { sizes, .. } => write!(f, "{kind} of {}", describe(sizes)),
            Self::Json(sizes) => write!(f, "JSON of {}", describe(sizes)),
            Self::Recording(script) => {
                let (count, largest) = (script.len(), size(self.max_len()));
                write!(f, "recording of {count} messages of up to {largest}")
            }
            _ => write!(f, "given {kind} of up to {}", size(self.max_len())),
        }
    }
}

/// Sizes in words: `64 B`, or as they are written.
fn describe(sizes: &Sizes) -> String {
    if sizes.min() == sizes.max() { crate::units::size(sizes.min()) } else { format!("{sizes} B") }
}

impl Content {
    /// The template in an argument, or in the file that is named after `@` in it, including a line
    /// feed at its end; in an argument, `@@` at the front stands for one `@`.
    ///
    /// # Errors
    /// A file that cannot be read, that is above [`MAX_SIZE`], or is not UTF-8; an invalid
    /// template.
    pub fn template(argument: &str) -> Result<Self, ContentError> {
        let template: Template = file::text(argument)?.parse()?;
        Ok(Self::Template(Arc::new(template)))
    }

    /// The records of a file; see [`Records::read`].
    ///
    /// # Errors
    /// As of [`Records::read`].
    pub fn records(
        path: &Path,
        format: RecordFormat,
        order: RecordOrder,
        kind: MessageKind,
    ) -> Result<Self, ContentError> {
        Ok(Self::Records { records: Arc::new(Records::read(path, format, kind)?), order })
    }

    /// The messages that a recording has as sent; see [`Script::read`].
    ///
    /// # Errors
    /// As of [`Script::read`].
    pub fn recording(path: &Path) -> Result<Self, ContentError> {
        Ok(Self::Recording(Arc::new(Script::read(path)?)))
    }

    /// The kind of the messages; binary for a recording with messages of both kinds.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match self {
            Self::Random { alphabet, .. } => alphabet.kind(),
            Self::Json(_) | Self::Template(_) => MessageKind::Text,
            Self::Records { records, .. } => records.kind(),
            Self::Recording(script) => script.kind().unwrap_or(MessageKind::Binary),
            Self::Literal(literal) => literal.kind(),
        }
    }

    /// The length of the longest message in bytes.
    #[must_use]
    pub fn max_len(&self) -> usize {
        match self {
            Self::Random { sizes, .. } | Self::Json(sizes) => sizes.max(),
            Self::Template(template) => template.len(),
            Self::Records { records, .. } => records.max_len(),
            Self::Recording(script) => script.max_len(),
            Self::Literal(literal) => literal.payload().len(),
        }
    }

    /// The length of the shortest message.
    #[must_use]
    pub fn min_len(&self) -> usize {
        match self {
            Self::Random { sizes, .. } | Self::Json(sizes) => sizes.min(),
            Self::Template(template) => template.len(),
            Self::Records { records, .. } => records.min_len(),
            Self::Recording(script) => script.min_len(),
            Self::Literal(literal) => literal.payload().len(),
        }
    }

    /// Checks what the parts of the content cannot check alone.
    ///
    /// # Errors
    /// JSON messages that are too short for their mark.
    pub fn check(&self) -> Result<(), ContentError> {
        match self {
            Self::Json(sizes) if sizes.min() < json::MIN_LEN => Err(ContentError::ShortJson(sizes.min())),
            _ => Ok(()),
        }
    }
}

/// The error of invalid content.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ContentError {
    /// A file cannot be read, or is too large.
    #[error(transparent)]
    File(#[from] FileError),
    /// A text message in a file that is not UTF-8.
    #[error(
        "{}: byte {offset} is not UTF-8: correct the file, or send it as a binary message (--message with --binary)",
        .path.display()
    )]
    NotText {
        /// The file.
        path: PathBuf,
        /// The offset of the first invalid byte.
        offset: usize,
    },
    /// A message that is too large.
    #[error("a message of {}: give one of at most {}", size(*.0), size(MAX_SIZE))]
    TooLarge(usize),
    /// Invalid records.
    #[error(transparent)]
    Records(#[from] RecordsError),
    /// An invalid recording.
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// An invalid template.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// JSON messages that are too short.
    #[error("JSON messages of {}: give sizes of at least {}", size(*.0), size(json::MIN_LEN))]
    ShortJson(usize),
}

/// The part of a reply that is compared with the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Kind and length. The mark of a reply that was matched by its number has been checked.
    Shape,
    /// Kind, length and mark: for replies that were matched in order.
    Mark,
    /// Kind and all bytes.
    All,
}

/// The first difference between a reply and the expected one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mismatch {
    /// Text instead of binary, or the reverse.
    Kind {
        /// The kind of the message.
        expected: MessageKind,
    },
    /// Another length.
    Length {
        /// The length of the message.
        expected: usize,
    },
    /// Other bytes.
    Content,
}
