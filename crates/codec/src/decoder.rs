//! Decodes received bytes into messages (RFC 6455 sections 5 and 6.2).
//!
//! A message that is contained in one input takes the fast path in [`Decoder::next_behind`]: parse
//! the header, unmask, validate, yield. Everything else takes the slow path: a header or payload
//! that is cut by the end of an input, fragments, control frames. The state of the slow path is a
//! `Partial`, which exists only while there is state to keep.

mod direct;
mod event;
mod incoming;
mod inflating;
mod partial;

pub use event::{Event, MessageKind, Place};
pub use incoming::Incoming;
pub(crate) use partial::Partial;

use crate::close;
use crate::deflate::DeflateParams;
use crate::error::ProtocolError;
use crate::frame::{FirstByte, Header, OpCode};
use crate::spill::{Limits, SpillPool};
use crate::{Role, mask};
use incoming::Whole;
use inflating::{Inflation, max_compressed};
use partial::{Assembled, FrameProgress};

/// The receiving half of one connection: 16 bytes, and no heap memory between messages. If the peer
/// compresses with context takeover, the decoder keeps about 46 KiB from the first compressed
/// message on.
///
/// Call [`next`](Decoder::next) with each input until it returns `Ok(None)`. The events do not
/// depend on where the byte stream is split into inputs.
///
/// ```
/// use ringway_codec::{Decoder, Event, Limits, OpCode, Role, SpillPool, encode_client};
///
/// let mut input = Vec::new();
/// encode_client(OpCode::Text, b"one", [1, 2, 3, 4], &mut input);
/// encode_client(OpCode::Binary, b"two", [5, 6, 7, 8], &mut input);
/// let mut pool = SpillPool::new(Limits::default());
/// let mut decoder = Decoder::new(Role::Server);
/// let (mut at, mut messages) = (0, 0);
/// while let Some(event) = decoder.next(&mut pool, &mut input, &mut at)? {
///     messages += usize::from(matches!(event, Event::Message(_)));
/// }
/// assert_eq!((messages, at), (2, input.len()));
/// # Ok::<(), ringway_codec::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    partial: Option<Box<Partial>>,
    role: Role,
    state: DecoderState,
    inflation: Inflation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DecoderState {
    Open,
    /// The peer's close frame has been yielded, or the decoder was released: further input is
    /// ignored.
    Closed,
    /// The error is in the `Partial`.
    Failed,
}

/// An event as positions in the input, without borrows, so that the search can continue after a
/// call that finds none.
#[derive(Debug, Clone, Copy)]
enum Located {
    Message(Whole),
    /// A message in the spill buffer.
    Spilled(Assembled),
    /// A control frame whose payload is `input[start..end]`.
    Control(OpCode, usize, usize),
    /// A control frame whose payload was collected in the `Partial`.
    Held(OpCode),
}

impl Decoder {
    /// Creates a decoder for the start of a connection, right after the handshake.
    #[must_use]
    pub const fn new(role: Role) -> Self {
        Self { partial: None, role, state: DecoderState::Open, inflation: Inflation::Refused }
    }

    /// Creates a decoder for a connection whose handshake has negotiated compression.
    #[must_use]
    pub fn with_deflate(role: Role, params: &DeflateParams) -> Self {
        Self { inflation: params.incoming(role).into(), ..Self::new(role) }
    }

    /// Walks `input` from `*at`, returns the next event and advances `*at` past it; `Ok(None)` when
    /// the input is consumed, or when the decoder [is suspended](Decoder::is_suspended).
    ///
    /// The payload of a frame is unmasked in place: pass the same `input` and `at` until
    /// `Ok(None)`. The event borrows the decoder and the input; control frames between the
    /// fragments of a message are yielded before the message. After [`Event::Close`] further input
    /// is consumed and ignored (RFC 6455 section 1.4).
    ///
    /// A suspended decoder has consumed the input up to `*at`, which may be its end. The next call
    /// continues with the bytes from there on, which may have been moved and may be followed by
    /// more; with an empty input when all are consumed. Each call with an allowance makes progress;
    /// a call without one returns `Ok(None)` at once. The events do not depend on the allowances.
    ///
    /// `pool` must be the same, or one with the same limits, for the whole connection.
    ///
    /// A message that is contained in one input costs no allocation and no copy. Any other message
    /// is copied once, into a buffer that grows with the bytes received (to at most twice as many),
    /// not with the length in a header.
    ///
    /// # Errors
    ///
    /// The first [`ProtocolError`] of the peer, as soon as the received bytes prove it. The decoder
    /// stays failed: every further call returns the same error.
    #[inline]
    pub fn next<'a>(
        &'a mut self,
        pool: &mut SpillPool,
        input: &'a mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        self.next_behind(pool, input, at, None)
    }

    /// As [`next`](Decoder::next), and may move a message towards the front of the input, so that the
    /// frame of a reply ([`into_server_frame`](Incoming::into_server_frame)) begins at `front`, the
    /// end of the reply before it. Replies to consecutive messages can then be sent as one range
    /// without a copy: the payload is unmasked to its new place, in one pass.
    ///
    /// `front` is a position in this `input`; `None` moves nothing. The bytes from there to the new
    /// `*at` may be overwritten; those before it stay. In the server role a message in the input moves
    /// if the decoder [keeps no memory](Decoder::keeps_memory) and the reply would otherwise be behind
    /// `front`; compare the range of the reply with `front`.
    ///
    /// ```
    /// use ringway_codec::{Decoder, Event, Limits, OpCode, Place, Role, SpillPool, encode_client};
    ///
    /// let mut input = Vec::new();
    /// encode_client(OpCode::Text, b"one", [1, 2, 3, 4], &mut input);
    /// encode_client(OpCode::Text, b"two", [5, 6, 7, 8], &mut input);
    /// let mut pool = SpillPool::new(Limits::default());
    /// let (mut decoder, mut at, mut front) = (Decoder::new(Role::Server), 0, 0);
    /// while let Some(event) = decoder.next_behind(&mut pool, &mut input, &mut at, Some(front))? {
    ///     let Event::Message(message) = event else { continue };
    ///     let (place, range) = message.into_server_frame();
    ///     // An assembled message is not in the input.
    ///     if place == Place::Input && range.start == front {
    ///         front = range.end;
    ///     }
    /// }
    /// assert_eq!(input[..front], *b"\x81\x03one\x81\x03two");
    /// # Ok::<(), ringway_codec::ProtocolError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`next`](Decoder::next).
    #[inline]
    pub fn next_behind<'a>(
        &'a mut self,
        pool: &mut SpillPool,
        input: &'a mut [u8],
        at: &mut usize,
        front: Option<usize>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if self.partial.is_none() {
            if *at >= input.len() {
                return Ok(None);
            }
            if let Some(whole) = self.next_whole(pool, input, at, front)? {
                return Ok(Some(Event::Message(whole.incoming(input))));
            }
        }
        self.next_slow(pool, input, at)
    }

    fn failure(&self) -> Option<ProtocolError> {
        self.partial.as_ref().filter(|_| self.state == DecoderState::Failed).and_then(|partial| partial.failure)
    }

    /// Whether the peer is between two messages: every part of a message or frame received so far
    /// has been yielded.
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        self.partial.as_ref().is_none_or(|partial| partial.is_idle())
    }

    /// Whether the decoder has stopped inside a compressed message because the [allowance of
    /// inflated bytes](SpillPool::set_inflate_allowance) is spent. Call [`next`](Decoder::next)
    /// again with an allowance, even when the input is consumed: the inflater may have output left.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.partial.as_ref().is_some_and(|partial| partial.suspended)
    }

    /// Whether the decoder holds heap memory: inside a message, and, with the peer's context
    /// takeover, from its first compressed message on.
    #[must_use]
    pub fn keeps_memory(&self) -> bool {
        self.partial.is_some()
    }

    /// The heap bytes that the decoder holds at the moment: the assembly buffer, the inflater and
    /// the state of the slow path. 0 exactly when it [keeps no memory](Decoder::keeps_memory).
    /// Takes constant time.
    ///
    /// Does not count a buffer that [`take_spill`](Decoder::take_spill) has moved out. Buffers that
    /// went back to the pool are in [`SpillPool::retained_bytes`].
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.partial.as_ref().map_or(0, |partial| partial.heap_bytes())
    }

    /// Moves out the buffer of a message whose [`place`](Incoming::place) was [`Place::Spill`], so
    /// that a reply can send that buffer. The payload begins at
    /// [`SPILL_HEADROOM`](crate::SPILL_HEADROOM). Without this call the buffer goes back to the
    /// pool at the next call of [`next`](Decoder::next).
    pub fn take_spill(&mut self) -> Option<Vec<u8>> {
        self.partial.as_deref_mut().and_then(Partial::take_yielded)
    }

    /// Returns all memory to the pool when the connection ends, also inside a message. The decoder
    /// ignores all further input.
    pub fn release(&mut self, pool: &mut SpillPool) {
        self.state = DecoderState::Closed;
        if let Some(partial) = self.partial.take() {
            pool.give_partial(partial);
        }
    }

    /// The message that is contained in the input at `*at`, unmasked and validated; `None` when the
    /// slow path is needed. For `front` see [`next_behind`](Decoder::next_behind).
    #[inline]
    fn next_whole(
        &mut self,
        pool: &mut SpillPool,
        input: &mut [u8],
        at: &mut usize,
        front: Option<usize>,
    ) -> Result<Option<Whole>, ProtocolError> {
        let rest = input.get(*at..).unwrap_or_default();
        // An error takes the slow path too, which finds it again, in the order of the bytes.
        let Ok(Some((header, len))) = Header::parse(rest) else { return Ok(None) };
        let kind = match header.opcode {
            OpCode::Text => MessageKind::Text,
            OpCode::Binary => MessageKind::Binary,
            _ => return Ok(None),
        };
        let admitted = header.fin
            && !header.rsv1
            && header.mask.is_some() == (self.role == Role::Server)
            && header.length <= pool.limits().max_message as u64
            && header.length <= (rest.len() - len) as u64
            && self.state == DecoderState::Open;
        if !admitted {
            return Ok(None);
        }
        let start = *at;
        let payload = start + len;
        let end = payload + header.length as usize;
        let Some(whole) = Whole::check(kind, input, front, start, payload..end, header.mask) else {
            return Err(self.fail(pool, ProtocolError::InvalidText));
        };
        *at = end;
        Ok(Some(whole))
    }

    #[cold]
    #[inline(never)]
    fn next_slow<'a>(
        &'a mut self,
        pool: &mut SpillPool,
        input: &'a mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        match self.state {
            DecoderState::Open => {}
            DecoderState::Closed => {
                self.release(pool);
                *at = input.len();
                return Ok(None);
            }
            DecoderState::Failed => {
                if let Some(error) = self.failure() {
                    return Err(error);
                }
            }
        }
        // Without a `Partial`, `next_behind` has already looked for a whole message here.
        let mut looked = self.partial.is_none();
        let compressed = compressed_at(input, *at);
        if !looked && !compressed && *at < input.len() && self.is_between_messages() {
            looked = true;
            if let Some(whole) = self.next_whole(pool, input, at, None)? {
                self.tidy(pool, false);
                return Ok(Some(Event::Message(whole.incoming(input))));
            }
        }
        self.tidy(pool, looked || compressed);
        let located = match self.locate(pool, input, at, looked) {
            Ok(Some(located)) => located,
            Ok(None) => {
                // The buffer that `tidy` has kept for a message whose header is still incomplete.
                if let Some(partial) = self.partial.as_deref_mut() {
                    partial.give_yielded(pool);
                }
                return Ok(None);
            }
            Err(error) => return Err(self.fail(pool, error)),
        };
        self.event(located, input).map(Some)
    }

    /// Returns the buffer of the last event, and the state that an idle connection does not need,
    /// to the pool. Keeps them when the next message would take them again at once: a compressed
    /// one, or one that is not contained in one input.
    fn tidy(&mut self, pool: &mut SpillPool, taken_again: bool) {
        let Some(partial) = self.partial.as_deref_mut() else { return };
        let idle = partial.is_idle();
        let takeover = self.inflation == Inflation::Takeover;
        if idle && taken_again {
            if !takeover && let Some(inflater) = &mut partial.inflater {
                inflater.restart();
            }
            return;
        }
        partial.give_yielded(pool);
        let keeps_window = takeover && partial.inflater.is_some();
        if idle
            && !keeps_window
            && let Some(partial) = self.partial.take()
        {
            pool.give_partial(partial);
        }
    }

    /// Advances through the input to the next event. `looked`: there is no whole uncompressed
    /// message at `*at`.
    fn locate(
        &mut self,
        pool: &mut SpillPool,
        input: &mut [u8],
        at: &mut usize,
        mut looked: bool,
    ) -> Result<Option<Located>, ProtocolError> {
        loop {
            if let Some(partial) = self.partial.as_deref_mut().filter(|partial| !partial.is_idle()) {
                match partial.advance(input, at, pool)? {
                    FrameProgress::Starved => return Ok(None),
                    FrameProgress::Message(message) => return Ok(Some(Located::Spilled(message))),
                    FrameProgress::Control(opcode) => {
                        if opcode == OpCode::Close {
                            close::parse(partial.control())?;
                            self.state = DecoderState::Closed;
                        }
                        return Ok(Some(Located::Held(opcode)));
                    }
                    FrameProgress::Header => {}
                }
            } else if !std::mem::take(&mut looked)
                && !compressed_at(input, *at)
                && let Some(whole) = self.next_whole(pool, input, at, None)?
            {
                return Ok(Some(Located::Message(whole)));
            }
            if pool.fragment_allowance() == 0 && *at < input.len() {
                return Ok(None);
            }
            let Some(header) = self.take_header(pool, input, at)? else { return Ok(None) };
            if header.opcode.is_control() {
                // At most 125 bytes, so the conversion cannot truncate.
                let end = *at + header.length as usize;
                if end <= input.len() {
                    return self.control_in_place(header, input, at, end).map(Some);
                }
                self.partial(pool).begin_control(&header);
            } else {
                self.admit_length(pool.limits(), &header)?;
                if self.partial.as_ref().is_none_or(|partial| partial.kind().is_none()) {
                    let partial = self.partial.get_or_insert_with(|| pool.take_partial());
                    partial.begin_message(header.opcode, header.rsv1, pool);
                }
                pool.count_fragment();
                let fragment_cost = pool.limits().fragment_cost as u64;
                self.partial(pool).begin_fragment(&header, fragment_cost);
            }
        }
    }

    /// Unmasks a control frame that is contained in the input.
    fn control_in_place(
        &mut self,
        header: Header,
        input: &mut [u8],
        at: &mut usize,
        end: usize,
    ) -> Result<Located, ProtocolError> {
        let start = *at;
        let payload = &mut input[start..end];
        if let Some(key) = header.mask {
            mask::apply(payload, key, 0);
        }
        if header.opcode == OpCode::Close {
            close::parse(payload)?;
            self.state = DecoderState::Closed;
        }
        *at = end;
        Ok(Located::Control(header.opcode, start, end))
    }

    /// Returns the header at `*at`, or completes the one that earlier inputs began. Keeps the bytes
    /// of an incomplete header.
    fn take_header(
        &mut self,
        pool: &mut SpillPool,
        input: &[u8],
        at: &mut usize,
    ) -> Result<Option<Header>, ProtocolError> {
        let rest = input.get(*at..).unwrap_or_default();
        let begun = self.partial.as_ref().is_some_and(|partial| partial.has_head());
        // Most headers are contained in one input and need not be assembled.
        if !begun && let Some((header, len)) = self.parse_header(rest)? {
            *at += len;
            return Ok(Some(header));
        }
        let (mut bytes, kept) = self.partial.as_ref().map_or(([0; Header::MAX_LEN], 0), |partial| partial.head());
        let fresh = rest.len().min(Header::MAX_LEN - kept);
        bytes[kept..kept + fresh].copy_from_slice(&rest[..fresh]);
        let known = kept + fresh;
        if let Some((header, len)) = self.parse_header(&bytes[..known])? {
            if let Some(partial) = self.partial.as_deref_mut() {
                partial.keep_head([0; Header::MAX_LEN], 0);
            }
            // The bytes of earlier inputs were not a complete header, so `len` exceeds `kept`.
            *at += len - kept;
            return Ok(Some(header));
        }
        *at += fresh;
        if known > 0 {
            self.partial(pool).keep_head(bytes, known);
        }
        Ok(None)
    }

    /// [`Header::parse`] and the checks that depend on the connection, in the order of the bytes:
    /// the error must be the same whether they arrive one by one or all at once.
    fn parse_header(&self, bytes: &[u8]) -> Result<Option<(Header, usize)>, ProtocolError> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let FirstByte { rsv1, opcode, .. } = FirstByte::parse(first)?;
        // RSV1 on the first frame of a message marks all of it as compressed (RFC 7692 section
        // 6.1).
        let compressed = self.inflation != Inflation::Refused && matches!(opcode, OpCode::Text | OpCode::Binary);
        if rsv1 && !compressed {
            return Err(ProtocolError::UnexpectedRsv1);
        }
        let open = self.partial.as_ref().is_some_and(|partial| partial.kind().is_some());
        match opcode {
            OpCode::Continuation if !open => return Err(ProtocolError::UnexpectedContinuation),
            OpCode::Text | OpCode::Binary if open => return Err(ProtocolError::ExpectedContinuation),
            _ => {}
        }
        if let Some(second) = bytes.get(1) {
            match (self.role, second & 0x80 != 0) {
                (Role::Server, false) => return Err(ProtocolError::UnmaskedFrame),
                (Role::Client, true) => return Err(ProtocolError::MaskedFrame),
                _ => {}
            }
        }
        Header::parse(bytes)
    }

    /// Refuses a data frame that would take its message over the limit, before any of its payload
    /// is read.
    fn admit_length(&self, limits: &Limits, header: &Header) -> Result<(), ProtocolError> {
        let (open, charged) =
            self.partial.as_ref().map_or((false, 0), |partial| (partial.kind().is_some(), partial.charged()));
        let compressed = header.rsv1 || open && self.partial.as_ref().is_some_and(|partial| partial.is_compressed());
        let most = if compressed { max_compressed(limits) } else { limits.max_message as u64 };
        let fragment = if open || !header.fin { limits.fragment_cost as u64 } else { 0 };
        let total = charged.saturating_add(header.length).saturating_add(fragment);
        if total > most {
            return Err(ProtocolError::TooBig { limit: limits.max_message });
        }
        Ok(())
    }

    fn event<'a>(&'a mut self, located: Located, input: &'a mut [u8]) -> Result<Event<'a>, ProtocolError> {
        const HELD: &str = "the event was located in the partial's content";
        match located {
            Located::Message(whole) => Ok(Event::Message(whole.incoming(input))),
            Located::Spilled(message) => {
                let partial = self.partial.as_deref_mut().expect(HELD);
                Ok(Event::Message(Incoming::assembled(message, partial.spill())))
            }
            Located::Control(opcode, start, end) => Event::control(opcode, &input[start..end]),
            Located::Held(opcode) => Event::control(opcode, self.partial.as_deref().expect(HELD).control()),
        }
    }

    fn partial(&mut self, pool: &mut SpillPool) -> &mut Partial {
        self.partial.get_or_insert_with(|| pool.take_partial())
    }

    #[cold]
    fn fail(&mut self, pool: &mut SpillPool, error: ProtocolError) -> ProtocolError {
        let partial = self.partial(pool);
        partial.reset(pool);
        partial.failure = Some(error);
        self.state = DecoderState::Failed;
        error
    }
}

/// Whether the first byte of the frame at `at` has RSV1 set, which marks a compressed message.
fn compressed_at(input: &[u8], at: usize) -> bool {
    input.get(at).is_some_and(|&first| first & FirstByte::RSV1 != 0)
}

#[cfg(test)]
mod tests;
