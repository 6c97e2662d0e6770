//! Payload that is received directly into the buffer in which its message is assembled.

use super::partial::FrameProgress;
use super::{Decoder, DecoderState, Event, Located};
use crate::error::ProtocolError;
use crate::spill::SpillPool;

impl Decoder {
    /// Returns room for at most `max` bytes of the payload that comes next, in the buffer where the
    /// message is assembled. A reader that can choose the destination of its bytes saves a copy
    /// this way. Returns `None` when no payload comes next, when it is compressed or belongs to a
    /// control frame, and before [`next`](Decoder::next) has consumed the input that holds the
    /// frame's header: pass the bytes to [`next`](Decoder::next) then.
    ///
    /// The room never extends beyond the current frame (RFC 6455 section 5.2). It grows with the
    /// bytes received, not with the length in a header: it is the larger of 16 KiB and the received
    /// part of the message, or the former length of a pooled buffer. It contains bytes of former
    /// messages, possibly of other peers: write to it, do not read from it.
    ///
    /// Read into its beginning, then call [`payload_received`](Decoder::payload_received) with the
    /// number of bytes. The room may be left unused.
    ///
    /// Costs an allocation when the buffer has to grow, and clears room that was never written to.
    ///
    /// ```
    /// use ringway_codec::{Decoder, Event, Limits, ProtocolError, Role, SpillPool};
    /// use std::io::{self, Read};
    ///
    /// /// Reads once, into the assembly buffer where it has room, and shows the complete messages.
    /// fn read_once(
    ///     stream: &mut impl Read,
    ///     decoder: &mut Decoder,
    ///     pool: &mut SpillPool,
    ///     buffer: &mut [u8],
    ///     mut show: impl FnMut(Event<'_>),
    /// ) -> io::Result<usize> {
    ///     if let Some(room) = decoder.payload_room(64 << 10).filter(|room| room.len() >= 1024) {
    ///         let len = stream.read(room)?;
    ///         decoder.payload_received(pool, len).map_err(io::Error::other)?.map(show);
    ///         return Ok(len);
    ///     }
    ///     let len = stream.read(buffer)?;
    ///     let mut at = 0;
    ///     while let Some(event) = decoder.next(pool, &mut buffer[..len], &mut at).map_err(io::Error::other)? {
    ///         show(event);
    ///     }
    ///     Ok(len)
    /// }
    /// # let mut sent = Vec::new();
    /// # ringway_codec::encode_client(ringway_codec::OpCode::Text, &[b'a'; 5000], [1, 2, 3, 4], &mut sent);
    /// # let (mut stream, mut seen) = (&sent[..], 0);
    /// # let (mut decoder, mut pool) = (Decoder::new(Role::Server), SpillPool::new(Limits::default()));
    /// # let mut buffer = [0; 512];
    /// # while read_once(&mut stream, &mut decoder, &mut pool, &mut buffer, |event| {
    /// #     assert!(matches!(event, Event::Message(message) if message.payload() == [b'a'; 5000]));
    /// #     seen += 1;
    /// # })? > 0 {}
    /// # assert_eq!(seen, 1);
    /// # Ok::<(), io::Error>(())
    /// ```
    pub fn payload_room(&mut self, max: usize) -> Option<&mut [u8]> {
        let open = self.state == DecoderState::Open;
        self.partial.as_deref_mut().filter(|_| open)?.lend_room(max)
    }

    /// Accepts `len` bytes that were written to the beginning of
    /// [`payload_room`](Decoder::payload_room): unmasks them in place, validates text as
    /// [`next`](Decoder::next) does, and returns the message if they complete it. Otherwise
    /// continue with [`payload_room`](Decoder::payload_room), or with [`next`](Decoder::next) when
    /// there is no room.
    ///
    /// Limits, the order of events and the first error are those of [`next`](Decoder::next); the
    /// two may be mixed.
    ///
    /// # Errors
    ///
    /// [`ProtocolError::InvalidText`] as soon as the received bytes prove it (RFC 6455 section
    /// 8.1), or the error of a decoder that has failed.
    ///
    /// # Panics
    ///
    /// If `len` exceeds the room that was returned since the last call of this method or of
    /// [`next`](Decoder::next).
    pub fn payload_received(&mut self, pool: &mut SpillPool, len: usize) -> Result<Option<Event<'_>>, ProtocolError> {
        if let Some(error) = self.failure() {
            return Err(error);
        }
        let received = match self.partial.as_deref_mut() {
            Some(partial) => partial.received(len),
            None => {
                assert_eq!(len, 0, "payload_received needs room that payload_room has returned");
                return Ok(None);
            }
        };
        match received {
            Ok(FrameProgress::Message(message)) => self.event(Located::Spilled(message), &mut []).map(Some),
            Ok(_) => Ok(None),
            Err(error) => Err(self.fail(pool, error)),
        }
    }
}
