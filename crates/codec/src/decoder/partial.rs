//! The state that a decoder keeps between two inputs.

use super::MessageKind;
use crate::deflate::Inflater;
use crate::error::ProtocolError;
use crate::frame::{Header, OpCode};
use crate::mask;
use crate::spill::{Spill, SpillPool};
use crate::utf8::{InvalidUtf8, Utf8Stream};

/// The minimum room for payload, in bytes, whatever was received so far.
const MIN_ROOM: usize = 16 * 1024;

/// The state of a frame or message that was received in part. It is boxed and pooled, so that idle
/// connections do not pay for its size.
#[derive(Debug)]
pub(crate) struct Partial {
    pub(super) spill: Spill,
    /// The kind of the open message; `None` when there is none.
    pub(super) kind: Option<MessageKind>,
    /// Whether the open message is compressed.
    compressed: bool,
    /// Whether the allowance was spent inside the current frame's payload: the inflater may have
    /// output left.
    pub(super) suspended: bool,
    /// Inflates the open message, or holds the window for the next one.
    pub(crate) inflater: Option<Box<Inflater>>,
    /// Payload and fragment costs of the open message so far, in bytes, including the whole current
    /// frame.
    charged: u64,
    pub(super) utf8: Utf8Stream,
    /// The frame whose payload is being received.
    frame: Option<PartialFrame>,
    /// The length of the room that `lend_room` has returned, in bytes.
    lent: usize,
    head: [u8; Header::MAX_LEN],
    head_len: u8,
    control: [u8; 125],
    control_len: u8,
    /// The buffer that the last event borrows; the next call returns it to the pool.
    yielded: Yielded,
    pub(super) failure: Option<ProtocolError>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct PartialFrame {
    opcode: OpCode,
    pub(super) fin: bool,
    pub(super) key: Option<[u8; 4]>,
    /// The number of payload bytes received, modulo 4.
    pub(super) phase: usize,
    pub(super) remaining: u64,
    /// The number of payload bytes that are unmasked in the input but not yet inflated, because the
    /// decoder was suspended.
    pub(super) unmasked: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Yielded {
    Nothing,
    Spill,
}

/// The result of [`Partial::advance`].
#[derive(Debug, Clone, Copy)]
pub(super) enum FrameProgress {
    /// The input is consumed and the frame still incomplete, or inflating is suspended.
    Starved,
    /// A header is next.
    Header,
    /// The message is complete, in the spill buffer.
    Message(Assembled),
    /// A control frame is complete.
    Control(OpCode),
}

/// A complete message in the spill buffer, whose text is validated. Only [`Partial::took`]
/// constructs it; an [`Incoming`](super::Incoming) relies on that (T1 in UNSAFE.md).
#[derive(Debug, Clone, Copy)]
pub(super) struct Assembled {
    kind: MessageKind,
    compressed: bool,
    fragmented: bool,
}

impl Assembled {
    pub(super) fn kind(self) -> MessageKind {
        self.kind
    }

    /// Whether the message was received compressed.
    pub(super) fn is_compressed(self) -> bool {
        self.compressed
    }

    /// Whether the message was received in several frames.
    pub(super) fn is_fragmented(self) -> bool {
        self.fragmented
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self {
            spill: Spill::default(),
            kind: None,
            compressed: false,
            suspended: false,
            inflater: None,
            charged: 0,
            utf8: Utf8Stream::new(),
            frame: None,
            lent: 0,
            head: [0; Header::MAX_LEN],
            head_len: 0,
            control: [0; 125],
            control_len: 0,
            yielded: Yielded::Nothing,
            failure: None,
        }
    }
}

impl Partial {
    /// Whether no frame or message is open; a buffer of the last event may remain.
    pub(super) fn is_idle(&self) -> bool {
        self.kind.is_none() && self.frame.is_none() && self.head_len == 0
    }

    pub(super) fn kind(&self) -> Option<MessageKind> {
        self.kind
    }

    pub(super) fn charged(&self) -> u64 {
        self.charged
    }

    /// The heap bytes of this state, its box included.
    pub(super) fn heap_bytes(&self) -> usize {
        let inflater = if self.inflater.is_some() { Inflater::HEAP_BYTES } else { 0 };
        size_of::<Self>() + self.spill.capacity() + inflater
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.compressed
    }

    /// Clears everything but the inflater and returns the buffer to the pool.
    pub(crate) fn reset(&mut self, pool: &mut SpillPool) {
        self.spill.release(pool);
        self.kind = None;
        self.compressed = false;
        self.suspended = false;
        self.charged = 0;
        self.utf8 = Utf8Stream::new();
        self.frame = None;
        self.lent = 0;
        self.head_len = 0;
        self.control_len = 0;
        self.yielded = Yielded::Nothing;
        self.failure = None;
    }

    /// The buffer of the last message; `None` without one, or when it was taken.
    pub(super) fn take_yielded(&mut self) -> Option<Vec<u8>> {
        match std::mem::replace(&mut self.yielded, Yielded::Nothing) {
            Yielded::Nothing => None,
            Yielded::Spill => Some(self.spill.take()),
        }
    }

    pub(super) fn give_yielded(&mut self, pool: &mut SpillPool) {
        if std::mem::replace(&mut self.yielded, Yielded::Nothing) == Yielded::Spill {
            self.spill.release(pool);
        }
    }

    /// The header bytes received so far, and their number.
    pub(super) fn head(&self) -> ([u8; Header::MAX_LEN], usize) {
        (self.head, usize::from(self.head_len))
    }

    /// Whether earlier inputs began a header.
    pub(super) fn has_head(&self) -> bool {
        self.head_len != 0
    }

    pub(super) fn keep_head(&mut self, head: [u8; Header::MAX_LEN], len: usize) {
        self.head = head;
        self.head_len = len as u8;
    }

    /// The room for a header and the payload of the message. Nothing writes to it between its
    /// validation and the event.
    pub(super) fn spill(&mut self) -> &mut [u8] {
        self.spill.content()
    }

    /// The payload of the control frame.
    pub(super) fn control(&self) -> &[u8] {
        &self.control[..usize::from(self.control_len)]
    }

    pub(super) fn begin_control(&mut self, header: &Header) {
        self.control_len = 0;
        self.begin_frame(header);
    }

    /// Opens a message, in the buffer of the last one if that is still here.
    pub(super) fn begin_message(&mut self, opcode: OpCode, compressed: bool, pool: &mut SpillPool) {
        self.yielded = Yielded::Nothing;
        self.spill.begin(pool);
        if compressed && self.inflater.is_none() {
            self.inflater = Some(pool.take_inflater());
        }
        self.kind = Some(if opcode == OpCode::Text { MessageKind::Text } else { MessageKind::Binary });
        self.compressed = compressed;
        self.charged = 0;
        self.utf8 = Utf8Stream::new();
    }

    /// Begins a data frame of the open message.
    pub(super) fn begin_fragment(&mut self, header: &Header, cost: u64) {
        // The admitted total is at most the limit, a usize: no overflow.
        self.charged = self.charged.saturating_add(header.length).saturating_add(cost);
        self.begin_frame(header);
    }

    fn begin_frame(&mut self, header: &Header) {
        let Header { fin, opcode, mask: key, length, .. } = *header;
        self.frame = Some(PartialFrame { opcode, fin, key, phase: 0, remaining: length, unmasked: 0 });
    }

    /// Consumes the part of the current frame's payload that is in `input`.
    pub(super) fn advance(
        &mut self,
        input: &mut [u8],
        at: &mut usize,
        pool: &mut SpillPool,
    ) -> Result<FrameProgress, ProtocolError> {
        let Some(mut frame) = self.frame else { return Ok(FrameProgress::Header) };
        self.lent = 0;
        let rest = input.get_mut(*at..).unwrap_or_default();
        let mut take = usize::try_from(frame.remaining).map_or(rest.len(), |remaining| remaining.min(rest.len()));
        if frame.opcode.is_control() {
            self.take_control(&frame, &rest[..take]);
        } else if self.compressed {
            take = self.take_compressed(&mut frame, &mut rest[..take], pool)?;
        } else {
            self.take_data(&frame, &rest[..take])?;
        }
        *at += take;
        self.took(frame, take)
    }

    /// Room for the missing payload of an uncompressed data frame; `None` without such a frame.
    pub(super) fn lend_room(&mut self, max: usize) -> Option<&mut [u8]> {
        let frame = self.frame.filter(|frame| !frame.opcode.is_control() && !self.compressed)?;
        let wanted = usize::try_from(frame.remaining).map_or(max, |remaining| remaining.min(max));
        let new = self.spill.len().max(MIN_ROOM);
        let len = wanted.min(self.spill.cleared().max(new));
        self.make_room(&frame, len);
        self.lent = len;
        Some(self.spill.room(len))
    }

    /// Accepts the first `len` bytes of the room as payload.
    pub(super) fn received(&mut self, len: usize) -> Result<FrameProgress, ProtocolError> {
        let lent = std::mem::take(&mut self.lent);
        assert!(len <= lent, "{len} bytes were received in a room of {lent}");
        let Some(frame) = self.frame.filter(|_| len > 0) else { return Ok(FrameProgress::Starved) };
        let fresh = self.spill.extend(len);
        let valid = match (self.kind, frame.key) {
            (Some(MessageKind::Text), Some(key)) => self.utf8.unmask(fresh, key, frame.phase),
            (Some(MessageKind::Text), None) => self.utf8.push(fresh),
            (_, Some(key)) => {
                mask::apply(fresh, key, frame.phase);
                Ok(())
            }
            (_, None) => Ok(()),
        };
        valid.map_err(|_| ProtocolError::InvalidText)?;
        self.took(frame, len)
    }

    /// Counts bytes that were consumed of the current frame's payload, and ends the frame after the
    /// last.
    fn took(&mut self, mut frame: PartialFrame, len: usize) -> Result<FrameProgress, ProtocolError> {
        frame.phase = (frame.phase + len) % 4;
        frame.remaining -= len as u64;
        if frame.remaining > 0 || self.suspended {
            self.frame = Some(frame);
            return Ok(FrameProgress::Starved);
        }
        self.frame = None;
        if frame.opcode.is_control() {
            return Ok(FrameProgress::Control(frame.opcode));
        }
        match self.kind {
            Some(kind) if frame.fin => {
                if self.compressed {
                    self.end_compressed()?;
                }
                self.utf8.finish().map_err(|_| ProtocolError::InvalidText)?;
                self.kind = None;
                self.charged = 0;
                self.yielded = Yielded::Spill;
                let compressed = std::mem::take(&mut self.compressed);
                let fragmented = frame.opcode == OpCode::Continuation;
                Ok(FrameProgress::Message(Assembled { kind, compressed, fragmented }))
            }
            _ => Ok(FrameProgress::Header),
        }
    }

    /// `bytes` is at most the missing part of a payload of at most 125 bytes.
    fn take_control(&mut self, frame: &PartialFrame, bytes: &[u8]) {
        let start = usize::from(self.control_len);
        let end = start + bytes.len();
        let destination = &mut self.control[start..end];
        match frame.key {
            Some(key) => mask::copy(bytes, destination, key, frame.phase),
            None => destination.copy_from_slice(bytes),
        }
        self.control_len = end as u8;
    }

    /// Overwrites the initialized bytes of former messages first, and appends the rest. Room that
    /// was written to before need not be cleared, and stays available for
    /// [`lend_room`](Partial::lend_room).
    fn take_data(&mut self, frame: &PartialFrame, bytes: &[u8]) -> Result<(), ProtocolError> {
        self.make_room(frame, bytes.len());
        let (over, beyond) = bytes.split_at(bytes.len().min(self.spill.cleared()));
        self.overwrite(frame, over)
            .and_then(|()| self.append(frame, beyond, over.len()))
            .map_err(|_| ProtocolError::InvalidText)
    }

    fn overwrite(&mut self, frame: &PartialFrame, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        let fresh = self.spill.extend(bytes.len());
        let text = self.kind == Some(MessageKind::Text);
        match frame.key {
            Some(key) if text => return self.utf8.copy_unmasked(bytes, fresh, key, frame.phase),
            Some(key) => mask::copy(bytes, fresh, key, frame.phase),
            None => fresh.copy_from_slice(bytes),
        }
        if text { self.utf8.push(bytes) } else { Ok(()) }
    }

    fn append(&mut self, frame: &PartialFrame, bytes: &[u8], behind: usize) -> Result<(), InvalidUtf8> {
        if bytes.is_empty() {
            return Ok(());
        }
        let text = self.kind == Some(MessageKind::Text);
        let phase = frame.phase + behind;
        match frame.key {
            Some(key) if text => return self.spill.append(|spill| self.utf8.append_unmasked(spill, bytes, key, phase)),
            Some(key) => self.spill.append(|spill| mask::append(spill, bytes, key, phase)),
            None => self.spill.append(|spill| spill.extend_from_slice(bytes)),
        }
        if text { self.utf8.push(bytes) } else { Ok(()) }
    }

    /// Grows the buffer for `len` more bytes: to at most twice the bytes received, and in the last
    /// frame of a message not beyond its end.
    fn make_room(&mut self, frame: &PartialFrame, len: usize) {
        if self.spill.capacity() - self.spill.len() >= len {
            return;
        }
        if !frame.fin {
            self.spill.append(|spill| spill.reserve(len));
            return;
        }
        let missing = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
        self.spill.grow(missing.min(self.spill.len()).max(len));
    }
}
