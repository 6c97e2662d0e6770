//! What a decoder yields.

use crate::close::{self, CloseCode};
use crate::decoder::Incoming;
use crate::error::ProtocolError;
use crate::frame::OpCode;

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
