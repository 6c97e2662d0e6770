//! The events that a decoder yields.

use crate::close::{self, CloseCode};
use crate::decoder::Incoming;
use crate::error::ProtocolError;
use crate::frame::OpCode;

/// The kind of a message (RFC 6455 section 5.6).
///
/// Exhaustive: RFC 6455 section 5.6 defines these two.
///
/// ```
/// use ringway_codec::{MessageKind, OpCode};
///
/// assert_eq!(OpCode::from(MessageKind::Text), OpCode::Text);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageKind {
    /// UTF-8 text.
    Text,
    /// Arbitrary bytes.
    Binary,
}

impl From<MessageKind> for OpCode {
    /// The opcode of the first, or only, frame of such a message.
    #[inline]
    fn from(kind: MessageKind) -> Self {
        match kind {
            MessageKind::Text => Self::Text,
            MessageKind::Binary => Self::Binary,
        }
    }
}

/// A message or control frame from the peer.
///
/// Exhaustive: RFC 6455 defines these frames, and a receiver has to handle all of them.
///
/// ```
/// use ringway_codec::{Decoder, Event, Limits, OpCode, Role, SpillPool, encode_server};
///
/// let mut input = Vec::new();
/// encode_server(OpCode::Ping, b"?", &mut input);
/// let mut pool = SpillPool::new(Limits::default());
/// let mut decoder = Decoder::new(Role::Client);
/// let mut replies = Vec::new();
/// match decoder.next(&mut pool, &mut input, &mut 0)? {
///     Some(Event::Message(message)) => println!("{} bytes", message.payload().len()),
///     Some(Event::Ping(payload)) => encode_server(OpCode::Pong, payload, &mut replies),
///     Some(Event::Pong(_) | Event::Close(_)) | None => {}
/// }
/// assert_eq!(replies, b"\x8a\x01?");
/// # Ok::<(), ringway_codec::ProtocolError>(())
/// ```
#[derive(Debug)]
pub enum Event<'a> {
    /// A whole message.
    Message(Incoming<'a>),
    /// A ping, at most 125 bytes. The peer expects a pong with the same payload (RFC 6455 section
    /// 5.5.2).
    Ping(&'a [u8]),
    /// A pong, at most 125 bytes.
    Pong(&'a [u8]),
    /// The peer's close frame, with its code and reason if present. It is the last event of a
    /// connection.
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

/// The memory that contains a message.
///
/// Exhaustive: a caller that sends the bytes of a message has to locate them.
///
/// ```
/// use ringway_codec::{Decoder, Event, Limits, OpCode, Place, Role, SpillPool, encode_server};
///
/// let mut input = Vec::new();
/// encode_server(OpCode::Text, b"hello", &mut input);
/// let mut pool = SpillPool::new(Limits::default());
/// let mut decoder = Decoder::new(Role::Client);
/// let (first, second) = input.split_at_mut(4);
/// assert!(decoder.next(&mut pool, first, &mut 0)?.is_none());
/// let Some(Event::Message(message)) = decoder.next(&mut pool, second, &mut 0)? else { unreachable!() };
/// assert_eq!(message.place(), Place::Spill);
/// # Ok::<(), ringway_codec::ProtocolError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Place {
    /// The input that was given to [`Decoder::next`](crate::Decoder::next).
    Input,
    /// The buffer that [`Decoder::take_spill`](crate::Decoder::take_spill) moves out.
    Spill,
}
