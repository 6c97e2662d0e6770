//! One message that is sent unchanged, again and again.

use super::{ContentError, file};
use crate::MAX_SIZE;
use ringway::{Message, MessageKind};
use std::sync::Arc;

/// A message that is given by the user. Clones share it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal(Payload);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Payload {
    Text(Arc<str>),
    Binary(Arc<[u8]>),
}

impl Literal {
    /// A text message.
    ///
    /// # Errors
    /// A message above [`MAX_SIZE`].
    pub fn text(text: &str) -> Result<Self, ContentError> {
        check_size(text.len()).map(|()| Self(Payload::Text(text.into())))
    }

    /// A binary message.
    ///
    /// # Errors
    /// A message above [`MAX_SIZE`].
    pub fn binary(bytes: &[u8]) -> Result<Self, ContentError> {
        check_size(bytes.len()).map(|()| Self(Payload::Binary(bytes.into())))
    }

    /// The message that an argument stands for: with `@` at its front, the content of a file,
    /// including a line feed at its end; otherwise the argument itself, in which `@@` at the front
    /// stands for one `@`.
    ///
    /// # Errors
    /// A file that cannot be read, or that is larger than [`MAX_SIZE`]; a text message that is not
    /// UTF-8.
    pub fn from_argument(argument: &str, kind: MessageKind) -> Result<Self, ContentError> {
        match kind {
            MessageKind::Text => Self::text(&file::text(argument)?),
            MessageKind::Binary => Self::binary(&file::argument(argument, MAX_SIZE)?),
        }
    }

    /// The kind of the message.
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.message().kind()
    }

    /// The bytes of the message.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match &self.0 {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// The message to send.
    pub(super) fn message(&self) -> Message<'_> {
        match &self.0 {
            Payload::Text(text) => Message::text(text),
            Payload::Binary(bytes) => Message::binary(bytes),
        }
    }
}

fn check_size(len: usize) -> Result<(), ContentError> {
    if len > MAX_SIZE { Err(ContentError::TooLarge(len)) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_text_or_binary() {
        let text = Literal::from_argument("grüße", MessageKind::Text).unwrap();
        assert_eq!((text.kind(), text.payload()), (MessageKind::Text, "grüße".as_bytes()));
        assert_eq!(text, Literal::text("grüße").unwrap());
        let binary = Literal::from_argument("grüße", MessageKind::Binary).unwrap();
        assert_eq!((binary.kind(), binary.payload()), (MessageKind::Binary, "grüße".as_bytes()));
        assert_eq!(Literal::from_argument("", MessageKind::Text).unwrap().payload(), b"");
    }

    #[test]
    fn a_file_is_sent_as_it_is() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let literal = Literal::from_argument(&format!("@{path}"), MessageKind::Text).unwrap();
        assert_eq!(literal.payload(), std::fs::read(path).unwrap());
    }

    #[test]
    fn an_error_has_the_remedy() {
        // The file of this process begins with 0x7f 'E' 'L' 'F', and has other bytes later.
        let error = Literal::from_argument("@/proc/self/exe", MessageKind::Text).unwrap_err();
        let says = error.to_string();
        assert!(says.starts_with("/proc/self/exe: byte ") && says.contains("is not UTF-8"), "{says}");
        let error = Literal::binary(&vec![0; MAX_SIZE + 1]).unwrap_err().to_string();
        assert_eq!(error, "a message of 67108865 B: give one of at most 64 MiB");
    }
}
