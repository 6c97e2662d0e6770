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
    fragmented: bool,
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

    /// The length of the payload in bytes.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
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
    /// To be sent: the head, and the body. Two variants, because one with a kind would be larger.
    TextParts(&'a str, &'a str),
    BinaryParts(&'a [u8], &'a [u8]),
}

impl<'a> Message<'a> {
    /// A text message.
    #[must_use]
    pub fn text(text: &'a str) -> Self {
        Self::to_send(Body::Text(text))
    }

    /// A text message of bytes that are valid UTF-8. They are not validated: the caller guarantees
    /// it, where it has composed them from whole characters, for example. It saves the validation
    /// of bytes that are not a `str`, about 10 ns for a short message. A peer fails the connection
    /// with 1007 if they are not valid (RFC 6455 section 8.1).
    ///
    /// ```
    /// use ringway::Message;
    ///
    /// /// Writes a number in place, in the same buffer for each message.
    /// fn numbered(buffer: &mut [u8; 12], number: u8) -> Message<'_> {
    ///     buffer[8..].copy_from_slice(&[b' ', b'0' + number / 100, b'0' + number / 10 % 10, b'0' + number % 10]);
    ///     Message::text_bytes(buffer)
    /// }
    ///
    /// let mut buffer = *b"message     ";
    /// assert_eq!(numbered(&mut buffer, 42).as_text(), Some("message  042"));
    /// ```
    ///
    /// # Panics
    /// With debug assertions, if the bytes are not valid UTF-8.
    #[must_use]
    pub fn text_bytes(bytes: &'a [u8]) -> Self {
        debug_assert!(std::str::from_utf8(bytes).is_ok(), "the bytes of a text message are UTF-8");
        Self::of(MessageKind::Text, bytes)
    }

    /// A text message of two parts, which are sent as one frame: a short head that is different in
    /// each message, such as a number, and a body that many messages share. They need not be copied
    /// together first: encoding copies each part once, and masks it in the same pass.
    ///
    /// ```
    /// use ringway::{Connection, Handler, Message, Request, Upgrade};
    ///
    /// struct Numbering {
    ///     body: String,
    /// }
    ///
    /// impl Handler for Numbering {
    ///     /// The number of messages sent.
    ///     type State = u32;
    ///
    ///     fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u32> {
    ///         Upgrade::accept(0)
    ///     }
    ///
    ///     fn message(&mut self, conn: &mut Connection<'_, Self>, _: Message<'_>) {
    ///         *conn.state() += 1;
    ///         let head = format!("{:08}", conn.state());
    ///         let _ = conn.send(Message::text_parts(&head, &self.body));
    ///     }
    /// }
    /// # let _ = Numbering { body: String::new() };
    /// let message = Message::text_parts("00000001", "body");
    /// assert_eq!((message.head(), message.payload()), (&b"00000001"[..], &b"body"[..]));
    /// ```
    #[must_use]
    pub fn text_parts(head: &'a str, body: &'a str) -> Self {
        Self::to_send(Body::TextParts(head, body))
    }

    /// A binary message of two parts, as [`Message::text_parts`].
    #[must_use]
    pub fn binary_parts(head: &'a [u8], body: &'a [u8]) -> Self {
        Self::to_send(Body::BinaryParts(head, body))
    }

    /// A binary message.
    #[must_use]
    pub fn binary(bytes: &'a [u8]) -> Self {
        Self::of(MessageKind::Binary, bytes)
    }

    pub(crate) fn of(kind: MessageKind, bytes: &'a [u8]) -> Self {
        Self::to_send(Body::Borrowed(kind, bytes))
    }

    fn to_send(body: Body<'a>) -> Self {
        Self { body, compress: None, fragmented: false }
    }

    pub(crate) fn received(incoming: Incoming<'a>) -> Self {
        // A message that was received uncompressed is sent back uncompressed, and without a copy.
        let compress = if incoming.is_compressed() { None } else { Some(false) };
        let fragmented = incoming.is_fragmented();
        Self { body: Body::Received(incoming), compress, fragmented }
    }

    pub(crate) fn stashed(payload: &'a StashedPayload, compressed: bool, fragmented: bool) -> Self {
        let message = match payload {
            StashedPayload::Text(text) => Self::text(text),
            StashedPayload::Binary(bytes) => Self::binary(bytes),
        };
        Self { compress: if compressed { None } else { Some(false) }, fragmented, ..message }
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
            Body::Text(_) | Body::TextParts(..) => MessageKind::Text,
            Body::BinaryParts(..) => MessageKind::Binary,
            Body::Borrowed(kind, _) => *kind,
        }
    }

    /// Whether the message was received in several frames (RFC 6455 section 5.4). `false` for a
    /// message that was made to be sent: those are sent in one frame.
    #[must_use]
    pub fn is_fragmented(&self) -> bool {
        self.fragmented
    }

    /// The head of a message of two parts ([`Message::text_parts`]), which precedes its
    /// [`payload`](Message::payload). Empty for all others.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        match &self.body {
            Body::TextParts(head, _) => head.as_bytes(),
            Body::BinaryParts(head, _) => head,
            Body::Received(_) | Body::Text(_) | Body::Borrowed(..) => &[],
        }
    }

    /// Whether the message has two parts.
    pub(crate) fn has_parts(&self) -> bool {
        matches!(self.body, Body::TextParts(..) | Body::BinaryParts(..))
    }

    /// The number of bytes of the message, with its head.
    pub(crate) fn len(&self) -> usize {
        self.head().len() + self.payload().len()
    }

    /// The bytes of the message, without its [`head`](Message::head). The payload of a received
    /// text message is valid UTF-8.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.body {
            Body::Received(incoming) => incoming.payload(),
            Body::Text(text) | Body::TextParts(_, text) => text.as_bytes(),
            Body::Borrowed(_, bytes) | Body::BinaryParts(_, bytes) => bytes,
        }
    }

    /// The text of a text message, without its [`head`](Message::head). Costs nothing for a message
    /// that was received, and for one made with [`Message::text`]. One made with
    /// [`Message::text_bytes`], and a prepared message that was handed back, is validated.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match &self.body {
            Body::Received(incoming) => incoming.as_text(),
            Body::Text(text) | Body::TextParts(_, text) => Some(text),
            Body::Borrowed(MessageKind::Text, bytes) => std::str::from_utf8(bytes).ok(),
            Body::Borrowed(MessageKind::Binary, _) | Body::BinaryParts(..) => None,
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
        write!(f, "{:?} message of {} bytes", self.kind(), self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_costs_48_bytes() {
        assert_eq!(size_of::<Message<'_>>(), 48);
    }

    #[test]
    fn a_message_has_its_kind_and_text() {
        let text = Message::text("grüße");
        assert_eq!((text.kind(), text.as_text(), text.payload().len()), (MessageKind::Text, Some("grüße"), 7));
        let binary = Message::binary(b"abc");
        assert_eq!((binary.kind(), binary.as_text()), (MessageKind::Binary, None));
        let bytes = Message::text_bytes("grüße".as_bytes());
        assert_eq!((bytes.kind(), bytes.as_text(), bytes.payload().len()), (MessageKind::Text, Some("grüße"), 7));
        let parts = Message::text_parts("12 ", "grüße");
        assert_eq!((parts.kind(), parts.head(), parts.as_text()), (MessageKind::Text, &b"12 "[..], Some("grüße")));
        assert_eq!(format!("{parts:?}"), "Text message of 10 bytes");
        let parts = Message::binary_parts(b"12", b"\xff");
        assert_eq!((parts.kind(), parts.payload(), parts.as_text()), (MessageKind::Binary, &b"\xff"[..], None));
    }
}
