//! The messages of one population in one thread.
//!
//! Each message is a function of the seed, the connection and its number in the connection, so the
//! expected echo is computed and not stored.

use super::compose::{Comparison, Sink, Writer};
use super::json::{self, Json};
use super::mark::Marks;
use super::random::Random;
use super::{Content, Depth, Literal, Mismatch, RecordOrder, Records, Script, Sizes, Template};
use ringway::{Message, MessageKind};
use std::sync::Arc;

/// Where messages come from.
///
/// A connection is identified by a number. Where the numbers of connections are unique over all
/// threads, a connection does not accept the marks of another one.
pub(crate) struct Source {
    marks: Marks,
    kind: MessageKind,
    content: Prepared,
}

/// Content with what is generated once.
enum Prepared {
    Random(Random),
    Other(Other),
}

impl Source {
    /// Messages of this content, which has been checked. The same seed gives the same messages.
    ///
    /// Allocates a block slightly longer than the longest message for random content, and about 600
    /// KiB for JSON; other content is shared.
    pub(crate) fn new(content: &Content, seed: u64) -> Self {
        let other = match content {
            Content::Random { sizes, alphabet } => {
                let content = Prepared::Random(Random::new(sizes.clone(), *alphabet, seed));
                return Self { marks: Marks::new(seed), kind: alphabet.kind(), content };
            }
            Content::Json(sizes) => Other::composed(Composed::Json(Json::new(sizes.max(), seed), sizes.clone())),
            Content::Template(template) => Other::composed(Composed::Template(Arc::clone(template))),
            Content::Records { records, order } => Other::Records(Arc::clone(records), *order),
            Content::Recording(script) => Other::Script(Arc::clone(script)),
            Content::Literal(literal) => Other::Literal(literal.clone()),
        };
        Self { marks: Marks::new(seed), kind: content.kind(), content: Prepared::Other(other) }
    }

    /// The kind of all messages. The replies to a recording, which can have both, are not verified.
    pub(crate) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The length of message `number` of a connection.
    #[inline]
    pub(crate) fn len(&self, connection: u32, number: u32) -> usize {
        match &self.content {
            Prepared::Random(random) => random.len(self.marks.hash(connection, number)),
            Prepared::Other(other) => other.len(self.marks, connection, number),
        }
    }

    /// Whether messages of this length identify themselves, so that their replies are matched by
    /// number. Others are matched in order: short random messages, and what the user gives without
    /// a number in it.
    #[inline]
    pub(crate) fn is_marked(&self, len: usize) -> bool {
        match &self.content {
            Prepared::Random(_) => Random::is_marked(len),
            Prepared::Other(other) => other.is_marked(),
        }
    }

    /// The number in a reply on this connection. `None` if it has none, or a damaged one.
    ///
    /// The number in a template has no check: damage to a digit makes it another number.
    #[inline]
    pub(crate) fn number_of(&self, connection: u32, payload: &[u8]) -> Option<u32> {
        match &self.content {
            Prepared::Random(_) => self.marks.read(self.kind, connection, payload),
            Prepared::Other(other) => other.number_of(self.marks, connection, payload),
        }
    }

    /// Message `number` of a connection. `at` is the time of sending in nanoseconds since the Unix
    /// epoch, for the times in templates; other content ignores it.
    ///
    /// Random messages, records and literals are not copied.
    // A call returns the message in memory, which costs as much as a random message does.
    #[inline(always)]
    pub(crate) fn message(&mut self, connection: u32, number: u32, at: u64) -> Message<'_> {
        match &mut self.content {
            Prepared::Random(random) => of_bytes(self.kind, random.message(self.marks, connection, number)),
            Prepared::Other(other) => other.message(self.marks, connection, number, at),
        }
    }

    /// Compares a reply with message `number` of a connection. The expected message is not built.
    /// The times in templates may be any number of their width.
    ///
    /// # Errors
    /// The first difference.
    #[inline]
    pub(crate) fn check(
        &mut self,
        connection: u32,
        number: u32,
        reply: &Message<'_>,
        depth: Depth,
    ) -> Result<(), Mismatch> {
        if reply.kind() != self.kind {
            return Err(Mismatch::Kind { expected: self.kind });
        }
        match &mut self.content {
            Prepared::Random(random) => random.check(self.marks, connection, number, reply.payload(), depth),
            Prepared::Other(other) => other.check(self.marks, connection, number, reply.payload(), depth),
        }
    }
}

/// Content that is not random. Its methods are not inline, so that a generator of random messages
/// is short code.
enum Other {
    Composed {
        content: Composed,
        /// The latest message.
        message: Vec<u8>,
    },
    Records(Arc<Records>, RecordOrder),
    Script(Arc<Script>),
    Literal(Literal),
}

impl Other {
    fn composed(content: Composed) -> Self {
        Self::Composed { content, message: Vec::new() }
    }

    #[inline(never)]
    fn len(&self, marks: Marks, connection: u32, number: u32) -> usize {
        let hash = marks.hash(connection, number);
        match self {
            Self::Composed { content, .. } => content.len(hash),
            Self::Records(records, order) => records.payload(*order, connection, number, hash).len(),
            Self::Script(script) => script.payload(number).len(),
            Self::Literal(literal) => literal.payload().len(),
        }
    }

    fn is_marked(&self) -> bool {
        match self {
            Self::Composed { content, .. } => content.is_marked(),
            Self::Records(..) | Self::Script(_) | Self::Literal(_) => false,
        }
    }

    #[inline(never)]
    fn number_of(&self, marks: Marks, connection: u32, payload: &[u8]) -> Option<u32> {
        match self {
            Self::Composed { content, .. } => content.number_of(marks, connection, payload),
            Self::Records(..) | Self::Script(_) | Self::Literal(_) => None,
        }
    }

    #[inline(never)]
    fn message(&mut self, marks: Marks, connection: u32, number: u32, at: u64) -> Message<'_> {
        match self {
            Self::Composed { content, message } => {
                content.compose(marks, connection, number, &mut Writer::new(message, at));
                of_bytes(MessageKind::Text, message)
            }
            Self::Records(records, order) => {
                records.message(*order, connection, number, marks.hash(connection, number))
            }
            Self::Script(script) => script.message(number),
            Self::Literal(literal) => literal.message(),
        }
    }

    #[inline(never)]
    fn check(&self, marks: Marks, connection: u32, number: u32, payload: &[u8], depth: Depth) -> Result<(), Mismatch> {
        let expected = self.len(marks, connection, number);
        if payload.len() != expected {
            return Err(Mismatch::Length { expected });
        }
        let equal = match (self, depth) {
            (_, Depth::Shape) => true,
            (Self::Composed { content, .. }, Depth::Mark) => {
                !content.is_marked() || content.number_of(marks, connection, payload) == Some(number)
            }
            (Self::Composed { content, .. }, Depth::All) => {
                let mut comparison = Comparison::new(payload);
                content.compose(marks, connection, number, &mut comparison);
                comparison.is_equal()
            }
            (Self::Records(..) | Self::Script(_) | Self::Literal(_), Depth::Mark) => true,
            (Self::Records(records, order), Depth::All) => {
                *payload == *records.payload(*order, connection, number, marks.hash(connection, number))
            }
            (Self::Script(script), Depth::All) => *payload == *script.payload(number),
            (Self::Literal(literal), Depth::All) => *payload == *literal.payload(),
        };
        if equal { Ok(()) } else { Err(Mismatch::Content) }
    }
}

/// Content whose messages are composed of parts.
enum Composed {
    Json(Json, Sizes),
    Template(Arc<Template>),
}

impl Composed {
    fn len(&self, hash: u64) -> usize {
        match self {
            Self::Json(_, sizes) => sizes.pick(hash),
            Self::Template(template) => template.len(),
        }
    }

    fn is_marked(&self) -> bool {
        match self {
            Self::Json(..) => true,
            Self::Template(template) => template.has_number(),
        }
    }

    fn number_of(&self, marks: Marks, connection: u32, payload: &[u8]) -> Option<u32> {
        match self {
            Self::Json(..) => marks.read(MessageKind::Text, connection, payload.get(json::MARK_AT..)?),
            Self::Template(template) => template.number_of(payload),
        }
    }

    fn compose(&self, marks: Marks, connection: u32, number: u32, sink: &mut impl Sink) {
        let hash = marks.hash(connection, number);
        match self {
            Self::Json(json, sizes) => {
                let mark = Marks::encode(MessageKind::Text, number, hash);
                json.compose(&mark, (connection, number), hash, sizes.pick(hash), sink);
            }
            Self::Template(template) => template.compose(connection, number, hash, sink),
        }
    }
}

/// A message of bytes that are UTF-8 by construction if they are text: text is composed of whole
/// characters.
#[inline]
fn of_bytes(kind: MessageKind, bytes: &[u8]) -> Message<'_> {
    match kind {
        MessageKind::Binary => Message::binary(bytes),
        MessageKind::Text => Message::text_bytes(bytes),
    }
}

#[cfg(test)]
mod tests;
