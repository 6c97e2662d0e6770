//! What a decoder yields.

use std::ops::Range;

use crate::close::{self, CloseCode};
use crate::error::ProtocolError;
use crate::frame::{OpCode, server_header};

/// The kind of a message (RFC 6455 section 5.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

impl MessageKind {
    /// The opcode of this kind's first, or only, frame.
    #[inline]
    #[must_use]
    pub const fn opcode(self) -> OpCode {
        match self {
            Self::Text => OpCode::Text,
            Self::Binary => OpCode::Binary,
        }
    }
}

impl From<MessageKind> for OpCode {
    #[inline]
    fn from(kind: MessageKind) -> Self {
        kind.opcode()
    }
}

/// Something that a peer sent.
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole message.
    Message(Incoming<'a>),
    /// A ping, at most 125 bytes. The peer expects a pong with the same payload (RFC 6455 section 5.5.2).
    Ping(&'a [u8]),
    /// A pong, at most 125 bytes.
    Pong(&'a [u8]),
    /// The peer's close frame: its code and reason, if it has them. The last event of a connection.
    Close(Option<(CloseCode, &'a str)>),
}

impl<'a> Event<'a> {
    pub(super) fn control(opcode: OpCode, payload: &'a [u8]) -> Result<Self, ProtocolError> {
        match opcode {
            OpCode::Ping => Ok(Self::Ping(payload)),
            OpCode::Pong => Ok(Self::Pong(payload)),
            _ => close::parse(payload).map(Self::Close),
        }
    }
}

/// Which bytes hold a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The input that was given to [`Decoder::next`](crate::Decoder::next).
    Input,
    /// The buffer that [`Decoder::take_spill`](crate::Decoder::take_spill) moves out.
    Spill,
}

/// A whole message, unmasked and checked, with room in front of it for the header of a reply.
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The room in front, then the payload.
    frame: &'a mut [u8],
    /// Where in `frame` the payload begins.
    payload: usize,
    /// Where in its place `frame` begins.
    base: usize,
    kind: MessageKind,
    place: Place,
    compressed: bool,
}

impl<'a> Incoming<'a> {
    /// `frame[..payload]` must have room for the header of an unmasked frame with this payload.
    #[inline]
    pub(super) fn new(kind: MessageKind, place: Place, frame: &'a mut [u8], payload: usize, base: usize) -> Self {
        Self { frame, payload, base, kind, place, compressed: false }
    }

    pub(super) fn came_compressed(self, compressed: bool) -> Self {
        Self { compressed, ..self }
    }

    /// Text or binary.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The message's bytes. Those of a text message are valid UTF-8.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.payload..]
    }

    /// The payload for writing, for a handler that answers by changing the message in place. The length stays, and
    /// text must stay valid UTF-8: nothing checks it again.
    #[inline]
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.frame[self.payload..]
    }

    /// The text of a text message; `None` for a binary one.
    ///
    /// Validates the payload a second time, because skipping that would take unsafe code, which this crate has for masking alone:
    /// near memory speed, but not free. Use [`payload`](Incoming::payload) when bytes do.
    #[inline]
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text => simdutf8::basic::from_utf8(self.payload()).ok(),
            MessageKind::Binary => None,
        }
    }

    /// Whether its sender had compressed it (RFC 7692 section 6).
    #[inline]
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Where the message lies.
    #[inline]
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// Where the payload lies: offsets in the input, or in the spill buffer.
    #[inline]
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.base + self.payload..self.base + self.frame.len()
    }

    /// Turns the message into its own echo: writes the header of an unmasked frame over the bytes in front of the
    /// payload, and says which bytes of the place now hold that whole frame. The payload does not move.
    ///
    /// The range is in the input for [`Place::Input`], in the buffer of [`take_spill`](crate::Decoder::take_spill) for
    /// [`Place::Spill`].
    #[inline]
    #[must_use = "the range says which bytes to send"]
    pub fn into_server_frame(self) -> (Place, Range<usize>) {
        let (header, len) = server_header(self.kind.opcode(), self.frame.len() - self.payload);
        // There is room: a received header has the shortest form too, so it is at least as long as this one, which has
        // no masking key; in a spill buffer the room is for the longest one.
        let start = self.payload - len;
        self.frame[start..self.payload].copy_from_slice(&header[..len]);
        (self.place, self.base + start..self.base + self.frame.len())
    }
}
