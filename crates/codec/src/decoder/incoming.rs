//! A received message, whose text is known to be UTF-8.
//!
//! This file contains the crate's only `unsafe` outside `mask`. It relies on invariant T1 of
//! UNSAFE.md: an [`Incoming`] that is text and has not been borrowed for writing is valid UTF-8. It
//! is constructed in two places, each from a value that only a successful validation returns:
//! [`Whole::check`] for a message in the input, `Partial::took` for an assembled one.

use std::ops::Range;

use super::partial::Assembled;
use super::{MessageKind, Place};
use crate::frame::server_header;
use crate::spill::SPILL_HEADROOM;
use crate::{mask, utf8};

/// A message in one frame that lies in the input, unmasked and validated: room for a header at
/// `start`, payload in `payload..end`.
///
/// It holds positions rather than a borrow, because the decoder uses the input again when there is
/// no message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whole {
    kind: MessageKind,
    start: usize,
    payload: usize,
    end: usize,
}

impl Whole {
    /// Unmasks the payload and validates it. Returns `None` for text that is not UTF-8.
    ///
    /// The payload of a masked frame moves towards the front of the input, so that the frame of a
    /// reply, whose header has no key, begins at `front`. It stays in place without a `front`, and
    /// with one behind the place of the reply.
    #[inline]
    pub(super) fn check(
        kind: MessageKind,
        input: &mut [u8],
        front: Option<usize>,
        start: usize,
        payload: Range<usize>,
        mask: Option<[u8; 4]>,
    ) -> Option<Self> {
        let Range { start: payload, end } = payload;
        let Some(key) = mask else {
            let valid = kind == MessageKind::Binary || utf8::is_valid(&input[payload..end]);
            return valid.then_some(Self { kind, start, payload, end });
        };
        let by = front.map_or(0, |front| (start + key.len()).saturating_sub(front));
        let (start, payload) = (start.min(front.unwrap_or(start)), payload - by);
        let bytes = &mut input[payload..end];
        let valid = match kind {
            MessageKind::Text => utf8::unmask_shifted(bytes, by, key),
            MessageKind::Binary => {
                mask::shift(bytes, by, key);
                true
            }
        };
        valid.then_some(Self { kind, start, payload, end: end - by })
    }

    /// Returns the message. `input` is the one that was checked, unchanged since: both happen in one
    /// call of [`Decoder::next_behind`](crate::Decoder::next_behind), which has it borrowed.
    #[inline]
    pub(super) fn incoming(self, input: &mut [u8]) -> Incoming<'_> {
        let Self { kind, start, payload, end } = self;
        let (frame, payload) = (&mut input[start..end], payload - start);
        Incoming { frame, payload, base: start, kind, place: Place::Input, received: 0, validated: true }
    }
}

/// The message was received compressed.
const COMPRESSED: u8 = 1;

/// The message was received in several frames.
const FRAGMENTED: u8 = 2;

/// A complete message, unmasked and validated, with room in front of it for the header of a reply.
///
/// ```
/// use ringway_codec::{Decoder, Event, Limits, OpCode, Role, SpillPool, encode_client};
///
/// let mut input = Vec::new();
/// encode_client(OpCode::Text, b"hello", [1, 2, 3, 4], &mut input);
/// let mut pool = SpillPool::new(Limits::default());
/// let mut decoder = Decoder::new(Role::Server);
/// let Some(Event::Message(mut message)) = decoder.next(&mut pool, &mut input, &mut 0)? else { unreachable!() };
/// assert_eq!(message.as_text(), Some("hello"));
/// message.payload_mut().make_ascii_uppercase();
/// let (_, range) = message.into_server_frame();
/// assert_eq!(&input[range], b"\x81\x05HELLO");
/// # Ok::<(), ringway_codec::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Incoming<'a> {
    /// The room for a header, then the payload.
    frame: &'a mut [u8],
    /// The offset of the payload in `frame`.
    payload: usize,
    /// The offset of `frame` in its place.
    base: usize,
    kind: MessageKind,
    place: Place,
    /// Bits: [`COMPRESSED`], [`FRAGMENTED`]. With a fifth byte, a move would take more
    /// instructions.
    received: u8,
    /// Whether the payload is unchanged since its validation: it has not been borrowed for writing.
    validated: bool,
}

impl<'a> Incoming<'a> {
    /// A message that was assembled in `spill`, after room for a header.
    pub(super) fn assembled(message: Assembled, spill: &'a mut [u8]) -> Self {
        Self {
            frame: spill,
            payload: SPILL_HEADROOM,
            base: 0,
            kind: message.kind(),
            place: Place::Spill,
            received: u8::from(message.is_compressed()) * COMPRESSED + u8::from(message.is_fragmented()) * FRAGMENTED,
            validated: true,
        }
    }

    /// Text or binary.
    #[inline]
    #[must_use]
    pub fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The bytes of the message. Those of a text message are valid UTF-8, unless they were changed
    /// through [`payload_mut`](Incoming::payload_mut).
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.frame[self.payload..]
    }

    /// The payload for writing, for a handler that answers by changing the message in place. The
    /// length is fixed. Text must remain valid UTF-8:
    /// [`into_server_frame`](Incoming::into_server_frame) does not validate it again.
    #[inline]
    #[must_use]
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.validated = false;
        &mut self.frame[self.payload..]
    }

    /// The text of a text message; `None` for a binary one.
    ///
    /// Costs nothing: the text was validated when it was received (RFC 6455 section 8.1). After
    /// [`payload_mut`](Incoming::payload_mut) it is validated again, and is `None` when it is no
    /// longer UTF-8.
    #[inline]
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self.kind {
            MessageKind::Text if self.validated => Some(self.validated_text()),
            MessageKind::Text => simdutf8::basic::from_utf8(self.payload()).ok(),
            MessageKind::Binary => None,
        }
    }

    #[inline]
    #[allow(unsafe_code, reason = "the text was validated when it was received; invariant T1 of UNSAFE.md")]
    fn validated_text(&self) -> &str {
        let payload = self.payload();
        debug_assert!(self.kind == MessageKind::Text && self.validated, "only text that was validated is given out");
        debug_assert!(std::str::from_utf8(payload).is_ok(), "text is validated before an Incoming is made of it");
        // SAFETY: T1: `Whole::check` or `Partial::took` has validated the whole payload before this
        // value was made, and since then nothing has borrowed it for writing: this value has it
        // borrowed mutably, and `payload_mut`, the one way to it, clears `validated`.
        unsafe { std::str::from_utf8_unchecked(payload) }
    }

    /// Whether the message was received compressed (RFC 7692 section 6).
    #[inline]
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.received & COMPRESSED != 0
    }

    /// Whether the message was received in several frames (RFC 6455 section 5.4). Costs nothing.
    #[inline]
    #[must_use]
    pub fn is_fragmented(&self) -> bool {
        self.received & FRAGMENTED != 0
    }

    /// The memory that contains the message.
    #[inline]
    #[must_use]
    pub fn place(&self) -> Place {
        self.place
    }

    /// The range of the payload in the input or in the spill buffer.
    #[inline]
    #[must_use]
    pub fn range(&self) -> Range<usize> {
        self.base + self.payload..self.base + self.frame.len()
    }

    /// Writes the header of an unmasked frame over the bytes in front of the payload, and returns
    /// the range of that frame: an echo without a copy. The payload does not move.
    ///
    /// The range is in the input for [`Place::Input`], in the buffer of
    /// [`take_spill`](crate::Decoder::take_spill) for [`Place::Spill`].
    #[inline]
    #[must_use = "the range says which bytes to send"]
    pub fn into_server_frame(self) -> (Place, Range<usize>) {
        let (header, len) = server_header(self.kind.into(), self.frame.len() - self.payload);
        // There is room: a received header has the shortest form too, so it is at least as long as
        // this one, which has no masking key; `Whole::check` keeps as much where it moves a payload.
        // A spill buffer has room for the longest header.
        let start = self.payload - len;
        self.frame[start..self.payload].copy_from_slice(&header[..len]);
        (self.place, self.base + start..self.base + self.frame.len())
    }
}

#[cfg(test)]
mod tests {
    use crate::{Decoder, Event, Limits, MessageKind, OpCode, Place, Role, SpillPool, encode_client, encode_server};

    /// Calls `each` with the messages of `stream`, split at `cut`.
    fn messages(role: Role, stream: &[u8], cut: usize, mut each: impl FnMut(super::Incoming<'_>)) -> usize {
        let (mut decoder, mut pool) = (Decoder::new(role), SpillPool::new(Limits::default()));
        let mut seen = 0;
        for piece in [&stream[..cut], &stream[cut..]] {
            let (mut input, mut at) = (piece.to_vec(), 0);
            while let Some(event) = decoder.next(&mut pool, &mut input, &mut at).unwrap() {
                let Event::Message(message) = event else { panic!("{event:?} was not sent") };
                each(message);
                seen += 1;
            }
        }
        seen
    }

    #[test]
    fn the_text_of_a_message_is_its_payload_in_either_place() {
        for text in ["", "a", "Grüße, 日本, 🦀", &"é".repeat(100)] {
            for role in [Role::Server, Role::Client] {
                let mut stream = Vec::new();
                match role {
                    Role::Server => encode_client(OpCode::Text, text.as_bytes(), [1, 2, 3, 4], &mut stream),
                    Role::Client => encode_server(OpCode::Text, text.as_bytes(), &mut stream),
                }
                for cut in 0..=stream.len() {
                    let seen = messages(role, &stream, cut, |message| {
                        let whole = cut == 0 || cut == stream.len();
                        assert_eq!(message.place(), if whole { Place::Input } else { Place::Spill });
                        assert_eq!(message.as_text(), Some(text));
                        assert_eq!(message.as_text().map(str::as_ptr), Some(message.payload().as_ptr()));
                    });
                    assert_eq!(seen, 1);
                }
            }
        }
    }

    #[test]
    fn a_message_is_fragmented_if_it_has_several_frames() {
        // Split anywhere: a message in several inputs has not several frames.
        let whole = [0x81, 2, b'h', b'i'];
        let fragments = [0x01, 1, b'h', 0x80, 1, b'i'];
        let empty_fragments = [0x01, 0, 0x89, 0, 0x00, 2, b'h', b'i', 0x80, 0];
        for (stream, fragmented) in [(&whole[..], false), (&fragments, true), (&empty_fragments, true)] {
            for cut in 0..=stream.len() {
                let (mut decoder, mut pool) = (Decoder::new(Role::Client), SpillPool::new(Limits::default()));
                let mut seen = 0;
                for piece in [&stream[..cut], &stream[cut..], &whole] {
                    let (mut input, mut at) = (piece.to_vec(), 0);
                    while let Some(event) = decoder.next(&mut pool, &mut input, &mut at).unwrap() {
                        let Event::Message(message) = event else { continue };
                        seen += 1;
                        assert_eq!(message.payload(), b"hi");
                        assert_eq!(message.is_fragmented(), fragmented && seen == 1, "{stream:?}, cut at {cut}");
                    }
                }
                assert_eq!(seen, 2);
            }
        }
    }

    #[test]
    fn text_that_was_lent_out_for_writing_is_validated_again() {
        let mut stream = Vec::new();
        encode_client(OpCode::Text, b"hello", [1, 2, 3, 4], &mut stream);
        for cut in [0, 3] {
            let seen = messages(Role::Server, &stream, cut, |mut message| {
                message.payload_mut()[0] = b'j';
                assert_eq!(message.as_text(), Some("jello"));
                message.payload_mut()[0] = 0xff;
                assert_eq!(message.as_text(), None);
                assert_eq!(message.kind(), MessageKind::Text);
                message.payload_mut().copy_from_slice(b"again");
                assert_eq!(message.as_text(), Some("again"));
            });
            assert_eq!(seen, 1);
        }
    }

    #[test]
    fn a_message_takes_40_bytes() {
        assert_eq!(size_of::<super::Incoming<'_>>(), 40);
    }

    #[test]
    fn a_binary_message_has_no_text() {
        let mut stream = Vec::new();
        encode_client(OpCode::Binary, b"hello", [1, 2, 3, 4], &mut stream);
        assert_eq!(messages(Role::Server, &stream, 0, |message| assert_eq!(message.as_text(), None)), 1);
    }
}
