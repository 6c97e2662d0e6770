//! Messages that handlers receive and send.

use ringway_codec::{Incoming, MessageKind};
use std::fmt;

/// A complete message, received or to be sent.
///
/// A received message borrows its payload from the buffer that the kernel filled, or from the one
/// in which its parts were assembled. Copy what outlives the call.
///
/// ```
/// use ringway::{Message, MessageKind};
///
/// let message = Message::text("grüße").compress(false);
/// assert_eq!((message.kind(), message.as_text()), (MessageKind::Text, Some("grüße")));
/// assert_eq!(message.payload().len(), 7);
/// ```
pub struct Message<'a> {
    body: Body<'a>,
    compress: Option<bool>,
}

/// A received payload that is kept. Text stays text, so that it is validated only once.
#[derive(Debug)]
pub(crate) enum StashedPayload {
    Text(String),
    Binary(Vec<u8>),
}

impl StashedPayload {
    pub(crate) fn of(incoming: &Incoming<'_>) -> Self {
        match incoming.as_text() {
            Some(text) => Self::Text(text.to_owned()),
            None => Self::Binary(incoming.payload().to_vec()),
        }
    }

    /// The number of bytes of memory that it occupies.
    pub(crate) fn held(&self) -> usize {
        match self {
            Self::Text(text) => text.capacity(),
            Self::Binary(bytes) => bytes.capacity(),
        }
    }
}

pub(crate) enum Body<'a> {
    Received(Incoming<'a>),
    Text(&'a str),
    Borrowed(MessageKind, &'a [u8]),
}

impl<'a> Message<'a> {
    /// A text message.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self { body: Body::Text(text), compress: None }
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &'a [u8]) -> Self {
        Self::of(MessageKind::Binary, bytes)
    }

    pub(crate) fn of(kind: MessageKind, bytes: &'a [u8]) -> Self {
        Self { body: Body::Borrowed(kind, bytes), compress: None }
    }

    pub(crate) fn received(incoming: Incoming<'a>) -> Self {
        // A message that was received uncompressed is sent back uncompressed, and without a copy.
        let compress = if incoming.is_compressed() { None } else { Some(false) };
        Self { body: Body::Received(incoming), compress }
    }

    pub(crate) fn stashed(payload: &'a StashedPayload, compressed: bool) -> Self {
        let message = match payload {
            StashedPayload::Text(text) => Self::text(text),
            StashedPayload::Binary(bytes) => Self::binary(bytes),
        };
        Self { compress: if compressed { None } else { Some(false) }, ..message }
    }

    /// Decides whether the message is compressed, regardless of its length, on a connection that
    /// has negotiated compression ([`Config::deflate`](crate::Config::deflate)). Has no effect on
    /// other connections.
    ///
    /// Without this call a message is compressed if it has
    /// [`Deflate::threshold`](crate::Deflate::threshold) bytes or more; a received message that is
    /// sent back, only if it was also received compressed. Do not compress data that is already
    /// compressed, such as images, and do not compress a secret next to bytes that an attacker can
    /// choose: the length of the compressed message reveals how much the two have in common (RFC
    /// 7692 section 8).
    #[must_use]
    pub fn compress(mut self, compress: bool) -> Self {
        self.compress = Some(compress);
        self
    }

    /// Text or binary.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        match &self.body {
            Body::Received(incoming) => incoming.kind(),
            Body::Text(_) => MessageKind::Text,
            Body::Borrowed(kind, _) => *kind,
        }
    }

    /// The bytes of the message. The payload of a received text message is valid UTF-8.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            Body::Received(incoming) => incoming.payload(),
            Body::Text(text) => text.as_bytes(),
            Body::Borrowed(_, bytes) => bytes,
        }
    }

    /// The text of a text message. Costs nothing for a message that was received, and for one made
    /// with [`Message::text`]. A prepared message that was handed back is validated again.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Received(incoming) => incoming.as_text(),
            Body::Text(text) => Some(text),
            Body::Borrowed(MessageKind::Text, bytes) => std::str::from_utf8(bytes).ok(),
            Body::Borrowed(MessageKind::Binary, _) => None,
        }
    }

    /// The choice made by [`compress`](Message::compress); with `None` the length decides.
    pub(crate) fn is_to_be_compressed(&self) -> Option<bool> {
        self.compress
    }

    /// The content, and the choice made by [`compress`](Message::compress).
    pub(crate) fn into_parts(self) -> (Body<'a>, Option<bool>) {
        (self.body, self.compress)
    }
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} message of {} bytes", self.kind(), self.payload().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_has_its_kind_and_text() {
        let text = Message::text("grüße");
        assert_eq!((text.kind(), text.as_text(), text.payload().len()), (MessageKind::Text, Some("grüße"), 7));
        let binary = Message::binary(b"abc");
        assert_eq!((binary.kind(), binary.as_text()), (MessageKind::Binary, None));
    }
}
