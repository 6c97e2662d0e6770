//! The messages of one population in one thread.
//!
//! Each message is a function of the seed, the connection and its number in the connection, so the
//! expected echo is computed and not stored.

use super::compose::{Comparison, Sink, Writer};
use super::json::{self, Json};
use super::mark::Marks;
use super::random::Random;
use super::{Content, Literal, Mismatch, RecordOrder, Records, Sizes, Template};
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
    Composed {
        content: Composed,
        /// The latest message.
        message: Vec<u8>,
    },
    Records(Arc<Records>, RecordOrder),
    Literal(Literal),
}

impl Source {
    /// Messages of this content, which has been checked. The same seed gives the same messages.
    ///
    /// Allocates a block slightly longer than the longest message for random content, and about 600
    /// KiB for JSON; other content is shared.
    pub(crate) fn new(content: &Content, seed: u64) -> Self {
        let composed = |content| Prepared::Composed { content, message: Vec::new() };
        let prepared = match content {
            Content::Random { sizes, alphabet } => Prepared::Random(Random::new(sizes.clone(), *alphabet, seed)),
            Content::Json(sizes) => composed(Composed::Json(Json::new(sizes.max(), seed), sizes.clone())),
            Content::Template(template) => composed(Composed::Template(Arc::clone(template))),
            Content::Records { records, order } => Prepared::Records(Arc::clone(records), *order),
            Content::Literal(literal) => Prepared::Literal(literal.clone()),
        };
        Self { marks: Marks::new(seed), kind: content.kind(), content: prepared }
    }

    /// The kind of all messages.
    #[inline]
    pub(crate) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The length of message `number` of a connection.
    #[inline]
    pub(crate) fn len(&self, connection: u32, number: u32) -> usize {
        let hash = self.marks.hash(connection, number);
        match &self.content {
            Prepared::Random(random) => random.len(hash),
            Prepared::Composed { content, .. } => content.len(hash),
            Prepared::Records(records, order) => records.payload(*order, connection, number, hash).len(),
            Prepared::Literal(literal) => literal.payload().len(),
        }
    }

    /// Whether messages of this length identify themselves, so that their replies are matched by
    /// number. Others are matched in order: short random messages, and what the user gives without
    /// a number in it.
    #[inline]
    pub(crate) fn is_marked(&self, len: usize) -> bool {
        match &self.content {
            Prepared::Random(_) => Random::is_marked(len),
            Prepared::Composed { content, .. } => content.is_marked(),
            Prepared::Records(..) | Prepared::Literal(_) => false,
        }
    }

    /// The number in a reply on this connection. `None` if it has none, or a damaged one.
    ///
    /// The number in a template has no check: damage to a digit makes it another number.
    #[inline]
    pub(crate) fn number_of(&self, connection: u32, payload: &[u8]) -> Option<u32> {
        match &self.content {
            Prepared::Random(_) => self.marks.read(self.kind, connection, payload),
            Prepared::Composed { content, .. } => content.number_of(self.marks, connection, payload),
            Prepared::Records(..) | Prepared::Literal(_) => None,
        }
    }

    /// Message `number` of a connection. `at` is the time of sending in nanoseconds since the Unix
    /// epoch, for the times in templates; other content ignores it.
    ///
    /// Random messages, records and literals are not copied.
    #[inline]
    pub(crate) fn message(&mut self, connection: u32, number: u32, at: u64) -> Message<'_> {
        match &mut self.content {
            Prepared::Random(random) => of_bytes(self.kind, random.message(self.marks, connection, number)),
            Prepared::Composed { content, message } => {
                content.compose(self.marks, connection, number, &mut Writer::new(message, at));
                of_bytes(self.kind, message)
            }
            Prepared::Records(records, order) => {
                records.message(*order, connection, number, self.marks.hash(connection, number))
            }
            Prepared::Literal(literal) => literal.message(),
        }
    }

    /// Compares a reply with message `number` of a connection: the kind, the length and the mark,
    /// and all bytes with `thorough`, except the times in templates, which may be any number of
    /// their width. The expected message is not built.
    ///
    /// # Errors
    /// The first difference.
    #[inline]
    pub(crate) fn check(
        &mut self,
        connection: u32,
        number: u32,
        reply: &Message<'_>,
        thorough: bool,
    ) -> Result<(), Mismatch> {
        if reply.kind() != self.kind {
            return Err(Mismatch::Kind { expected: self.kind });
        }
        let payload = reply.payload();
        if let Prepared::Random(random) = &mut self.content {
            return random.check(self.marks, connection, number, payload, thorough);
        }
        let expected = self.len(connection, number);
        if payload.len() != expected {
            return Err(Mismatch::Length { expected });
        }
        let equal = match &self.content {
            Prepared::Composed { content, .. } if thorough => {
                let mut comparison = Comparison::new(payload);
                content.compose(self.marks, connection, number, &mut comparison);
                comparison.is_equal()
            }
            Prepared::Composed { content, .. } if content.is_marked() => {
                content.number_of(self.marks, connection, payload) == Some(number)
            }
            Prepared::Records(records, order) if thorough => {
                *payload == *records.payload(*order, connection, number, self.marks.hash(connection, number))
            }
            Prepared::Literal(literal) if thorough => *payload == *literal.payload(),
            _ => true,
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

/// A message of bytes that are UTF-8 by construction if they are text.
#[inline]
fn of_bytes(kind: MessageKind, bytes: &[u8]) -> Message<'_> {
    match kind {
        MessageKind::Binary => Message::binary(bytes),
        MessageKind::Text => Message::text(std::str::from_utf8(bytes).expect("text is composed of whole characters")),
    }
}

#[cfg(test)]
mod tests;
