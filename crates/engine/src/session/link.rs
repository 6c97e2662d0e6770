//! The state of a connection that a handler can change while it holds a message: everything except
//! the decoder.

use super::closing::{CloseMode, Removal};
use super::compression::Compression;
use super::deadlines::{Awaited, Deadlines, PeerProbe, check_period};
use super::input::Input;
use super::opening::{Agreed, Opening};
use super::outbox::Outbox;
use crate::api::close::{CloseReason, Ending};
use crate::api::error::ConnectError;
use crate::api::message::{Body, Message, StashedPayload};
use crate::metrics::{ConnectionState, PauseCause};
use crate::shard::clock::TICK;
use crate::shard::core::Core;
use crate::shard::memory::{Memory, Pressure};
use crate::shard::notices::NoticeKind;
use crate::topics::delivery::{Recipient, catch_up};
use ringway_codec::{
    CloseCode, ClosePayload, Deflater, MessageKind, OpCode, Prepared, ProtocolError, Role, deflated_frame,
    encode_client, encode_close, encode_deflated, encode_masked, encode_parts, encode_server,
};
use ringway_io::Slot;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

/// The phase of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionPhase {
    /// The TCP connection is being established (client role).
    Connecting,
    /// The connection is established, and waits for the handler to request the upgrade (client
    /// role).
    Held,
    /// A header of the PROXY protocol is awaited (server role).
    Preamble,
    /// The opening handshake is in progress. In the server role, plain requests may precede it.
    Handshaking,
    /// The handler has deferred its answer.
    Deferred,
    /// Messages are exchanged.
    Open,
    /// This side's close frame is sent; the peer's is awaited.
    Closing,
    /// Nothing more is received. Queued output is still sent, and then the connection is closed.
    ShuttingDown(CloseMode),
    /// This side has ended its direction; input is dropped until the peer ends its own.
    Lingering,
}

impl SessionPhase {
    /// The state as metrics count it.
    pub(crate) fn state(self) -> ConnectionState {
        match self {
            Self::Connecting | Self::Held | Self::Preamble | Self::Handshaking | Self::Deferred => {
                ConnectionState::Opening
            }
            Self::Open => ConnectionState::Open,
            Self::Closing | Self::ShuttingDown(_) | Self::Lingering => ConnectionState::Closing,
        }
    }
}

/// One bit of a session's state. The four highest bits of the 16 are the connection's
/// [`Compression`].
#[derive(Clone, Copy)]
pub(super) enum SessionFlag {
    /// On the list of sessions that are flushed at the end of the turn.
    Dirty = 1,
    /// A send is in flight.
    Sending = 2,
    /// A receive is requested from the driver.
    Receiving = 4,
    /// The handler has paused the connection.
    PausedByHandler = 8,
    /// More output is queued than the high-water mark: no message is delivered before it has fallen
    /// to the low-water mark.
    PausedByBacklog = 16,
    /// The shard is near its memory limit, and this connection is among the largest holders:
    /// nothing is received.
    PausedByMemory = 32,
    /// The connection has used up its budget for a turn: its input waits for the next one.
    Waiting = 64,
    /// `drained` is called when the output falls to the low-water mark, or is empty.
    WantsDrained = 128,
    /// `open` was called.
    Opened = 256,
    /// The peer has ended its direction.
    PeerFinished = 512,
    /// A ping was sent because the peer was idle, and nothing was received since.
    Pinged = 1024,
    /// The client role.
    Client = 2048,
}

/// With any of these flags nothing is received.
const NOT_RECEIVING: u16 = SessionFlag::PeerFinished as u16 | SessionFlag::PausedByMemory as u16;

/// The bytes of pongs that are queued above the high-water mark. Then nothing is received.
const CONTROL_ROOM: u32 = 4096;

/// The flag of a cause.
fn pause_flag(cause: PauseCause) -> SessionFlag {
    match cause {
        PauseCause::Handler => SessionFlag::PausedByHandler,
        PauseCause::Backlog => SessionFlag::PausedByBacklog,
        PauseCause::Memory => SessionFlag::PausedByMemory,
    }
}

/// The position of the compression in the flags.
const COMPRESSION_SHIFT: u32 = 12;

/// One connection without its decoder: 64 bytes, of which three are free for the handler's state.
/// State that only a few connections need for a while is in `cold`.
pub(crate) struct Link<S> {
    pub(super) outbox: Outbox,
    pub(super) cold: Option<Box<Cold>>,
    slot: Slot,
    /// The tick at which the peer was last active.
    pub(super) last_active: u32,
    flags: u16,
    pub(super) phase: SessionPhase,
    /// Set when the handler accepts the connection; in the client role, when it requests the
    /// connection.
    pub(crate) state: Option<S>,
}

/// State that a connection needs only while it opens, is paused, or ends; and its own compressor.
#[derive(Default)]
pub(super) struct Cold {
    pub(super) opening: Opening,
    /// Input received while the connection is paused, or that waits for the next turn.
    pub(super) stash: Option<Stash>,
    pub(super) reason: Option<CloseReason>,
    /// The compressor of a connection with context takeover, from its first compressed message on.
    /// It is charged when it is created, and discharged by [`Link::drop_compressor`].
    deflater: Option<Box<Deflater>>,
    pub(super) deadlines: Deadlines,
    /// The results of the opening handshake, during the call of `open`.
    pub(super) agreed: Option<Box<Agreed>>,
    /// The bytes of pongs queued since the connection was paused for its backlog.
    pongs: u32,
}

/// Stashed input: a decoded message, if any, and the bytes after it.
pub(super) struct Stash {
    pub(super) message: Option<StashedMessage>,
    pub(super) input: Input,
    /// The position in `input` at which the stashed part starts.
    pub(super) at: usize,
}

pub(super) struct StashedMessage {
    pub(super) payload: StashedPayload,
    pub(super) compressed: bool,
    pub(super) fragmented: bool,
}

impl Cold {
    /// The number of bytes of memory held for the handshake and the stash.
    fn held(&self) -> usize {
        let stash = self
            .stash
            .as_ref()
            .map_or(0, |stash| stash.input.held() + stash.message.as_ref().map_or(0, |message| message.payload.held()));
        self.opening.held() + stash
    }

    /// Whether an open connection needs none of this state.
    fn is_empty(&self) -> bool {
        self.agreed.is_none()
            && self.stash.is_none()
            && self.reason.is_none()
            && self.deflater.is_none()
            && self.pongs == 0
            && self.deadlines.is_idle()
    }
}

impl<S> Link<S> {
    pub(super) fn new(slot: Slot, role: Role, state: Option<S>, tick: u32) -> Self {
        let (flags, phase) = match role {
            Role::Server => (0, SessionPhase::Handshaking),
            Role::Client => (SessionFlag::Client as u16, SessionPhase::Connecting),
        };
        Self { outbox: Outbox::default(), cold: None, slot, last_active: tick, flags, phase, state }
    }

    #[inline]
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn role(&self) -> Role {
        if self.is(SessionFlag::Client) { Role::Client } else { Role::Server }
    }

    fn compression(&self) -> Compression {
        Compression::from_bits((self.flags >> COMPRESSION_SHIFT) as u8)
    }

    pub(super) fn set_compression(&mut self, compression: Compression) {
        let others = self.flags & ((1 << COMPRESSION_SHIFT) - 1);
        self.flags = others | u16::from(compression.bits()) << COMPRESSION_SHIFT;
    }

    pub(crate) fn phase(&self) -> SessionPhase {
        self.phase
    }

    /// Changes the phase, and counts the connection by its new state.
    #[inline]
    pub(super) fn set_phase(&mut self, phase: SessionPhase, core: &mut Core) {
        let (from, to) = (self.phase.state(), phase.state());
        if from != to {
            core.meters.moved(from, to);
        }
        self.phase = phase;
    }

    /// Whether messages can be sent: no close frame has been sent yet.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.phase == SessionPhase::Open
    }

    /// Whether messages can be compressed.
    pub(crate) fn is_compressing(&self) -> bool {
        self.compression().is_on()
    }

    /// Whether the connection has its own compressor now.
    #[cfg(test)]
    pub(crate) fn keeps_compressor(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.deflater.is_some())
    }

    /// The number of bytes that wait for the peer, including those in flight.
    pub(crate) fn buffered(&self) -> usize {
        self.outbox.bytes()
    }

    #[inline]
    pub(super) fn is(&self, flag: SessionFlag) -> bool {
        self.flags & flag as u16 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: SessionFlag) {
        self.flags |= flag as u16;
    }

    #[inline]
    pub(super) fn unset(&mut self, flag: SessionFlag) {
        self.flags &= !(flag as u16);
    }

    pub(super) fn cold(&mut self) -> &mut Cold {
        self.cold.get_or_insert_default()
    }

    /// Adds the session to those that are flushed at the end of the turn.
    #[inline]
    pub(super) fn mark_dirty(&mut self, core: &mut Core) {
        if !self.is(SessionFlag::Dirty) {
            self.set(SessionFlag::Dirty);
            core.dirty.push(self.slot);
        }
    }

    // Memory.

    /// The number of bytes of memory that the connection holds for the handshake and the stash.
    #[inline]
    pub(super) fn held_input(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.held())
    }

    /// The number of bytes of memory that the connection holds, without those of the decoder.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(super) fn held(&self) -> usize {
        self.outbox.held() + self.held_input() + self.held_by_compressor()
    }

    /// The same, with the prepared frames in the outbox.
    pub(super) fn weight(&self, memory: &Memory) -> usize {
        self.outbox.weight(memory) + self.held_input() + self.held_by_compressor()
    }

    fn held_by_compressor(&self) -> usize {
        self.cold.as_ref().and_then(|cold| cold.deflater.as_ref()).map_or(0, |own| own.heap_bytes())
    }

    /// Frees the connection's own compressor: the next message starts without a context, which is
    /// always allowed.
    pub(crate) fn drop_compressor(&mut self, core: &mut Core) {
        if let Some(own) = self.cold.as_mut().and_then(|cold| cold.deflater.take()) {
            core.memory.discharge(own.heap_bytes());
        }
    }

    pub(super) fn has_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// Frees state that an open connection no longer needs.
    #[inline]
    pub(super) fn free_unused_cold(&mut self) {
        self.cold.take_if(|cold| cold.is_empty());
    }

    /// Pauses receiving, near the memory limit of the shard. Returns whether it was not paused for
    /// memory before.
    pub(crate) fn pause_for_memory(&mut self, core: &mut Core) -> bool {
        let new = self.begin_pause(PauseCause::Memory, core);
        self.mark_dirty(core);
        new
    }

    /// Resumes receiving after a pause for memory.
    pub(crate) fn resume_from_memory(&mut self, core: &mut Core) {
        self.end_pause(PauseCause::Memory, core);
        self.last_active = core.tick();
        self.mark_dirty(core);
    }

    // Sending.

    /// Appends an uncompressed frame to the outbox.
    pub(crate) fn send(&mut self, opcode: OpCode, payload: &[u8], core: &mut Core) {
        let key = self.mask_key(core);
        self.outbox.append(&mut core.memory, |out| match key {
            None => encode_server(opcode, payload, out),
            Some(key) => encode_client(opcode, payload, key, out),
        });
        self.mark_dirty(core);
    }

    /// Appends a message to the outbox, compressed if `compress` requests it, or by default if it
    /// is long enough.
    pub(crate) fn send_message(&mut self, kind: MessageKind, payload: &[u8], compress: Option<bool>, core: &mut Core) {
        core.meters.sent_size.record_size(payload.len());
        if !self.compresses(payload.len(), compress, core) {
            return self.send(kind.into(), payload, core);
        }
        let key = self.mask_key(core);
        let compression = self.compression();
        let Some(compressors) = &mut core.compressors else { return };
        // While memory is short, no connection gets a compressor of its own.
        let keeps_own = self.cold.as_ref().is_some_and(|cold| cold.deflater.is_some());
        if compression.takeover() && (keeps_own || core.memory.pressure() == Pressure::Low) {
            let cold = self.cold.get_or_insert_default();
            let own = cold.deflater.get_or_insert_with(|| {
                let own = Box::new(compressors.own(compression));
                core.memory.charge(own.heap_bytes());
                own
            });
            self.outbox.append(&mut core.memory, |out| {
                let before = out.len();
                encode_deflated(kind, payload, key, own, true, out);
                core.counters.deflate_output += (out.len() - before) as u64;
            });
        } else {
            let shared = compressors.shared(compression);
            self.outbox.append(&mut core.memory, |out| {
                let before = out.len();
                encode_deflated(kind, payload, key, shared, false, out);
                core.counters.deflate_output += (out.len() - before) as u64;
            });
        }
        core.counters.deflate_input += payload.len() as u64;
        self.mark_dirty(core);
    }

    /// Appends a message of two parts to the outbox, as [`send_message`](Link::send_message) does.
    pub(crate) fn send_parts(
        &mut self,
        kind: MessageKind,
        head: &[u8],
        body: &[u8],
        compress: Option<bool>,
        core: &mut Core,
    ) {
        if self.compresses(head.len() + body.len(), compress, core) {
            // Its input is one slice. The copy takes far less time than the compression.
            let mut whole = core.memory.take_output();
            whole.extend_from_slice(head);
            whole.extend_from_slice(body);
            self.send_message(kind, &whole, compress, core);
            return core.memory.give(whole);
        }
        core.meters.sent_size.record_size(head.len() + body.len());
        let key = self.mask_key(core);
        self.outbox.append(&mut core.memory, |out| encode_parts(kind.into(), head, body, key, out));
        self.mark_dirty(core);
    }

    /// Appends a prepared frame to the outbox.
    pub(crate) fn send_prepared(&mut self, prepared: &Prepared, core: &mut Core) {
        core.meters.sent_size.record_size(prepared.payload().len());
        self.queue_prepared(prepared, core);
    }

    /// Appends a prepared frame to the outbox. A delivery of a topic is counted by its caller.
    fn queue_prepared(&mut self, prepared: &Prepared, core: &mut Core) {
        let frame = if self.compresses(prepared.payload().len(), prepared.is_to_be_compressed(), core) {
            self.deflated(prepared, core)
        } else {
            None
        };
        let frame = frame.unwrap_or_else(|| prepared.as_frame());
        match self.mask_key(core) {
            None => self.outbox.push_shared(frame, &mut core.memory),
            Some(key) => self.outbox.append(&mut core.memory, |out| encode_masked(frame, key, out)),
        }
        self.mark_dirty(core);
    }

    /// The compressed form of a prepared frame for this connection; `None` if it would not be
    /// shorter.
    fn deflated<'p>(&mut self, prepared: &'p Prepared, core: &mut Core) -> Option<&'p Arc<[u8]>> {
        let shared = core.compressors.as_mut()?.shared(self.compression());
        let frame = deflated_frame(prepared, shared)?;
        // The frame bypasses the connection's own compressor, whose context then differs from the
        // peer's.
        if let Some(own) = self.cold.as_mut().and_then(|cold| cold.deflater.as_mut()) {
            own.restart();
        }
        Some(frame)
    }

    /// Appends a reply to the outbox. `in_place`: the message may be contained in the input that is
    /// being decoded, so that its reply can be written there.
    #[inline]
    pub(crate) fn reply(&mut self, message: Message<'_>, in_place: bool, core: &mut Core) {
        let (body, compress) = message.into_parts();
        match body {
            Body::Received(incoming) => {
                let len = incoming.payload().len();
                if in_place
                    && !self.is(SessionFlag::Client)
                    && !self.compresses(len, compress, core)
                    && self.outbox.takes_in_place(len)
                {
                    core.meters.sent_size.record_size(len);
                    self.outbox.reply_in_place(incoming, &mut core.memory);
                    self.mark_dirty(core);
                } else {
                    self.send_message(incoming.kind(), incoming.payload(), compress, core);
                }
            }
            Body::Text(text) => self.send_message(MessageKind::Text, text.as_bytes(), compress, core),
            Body::Borrowed(kind, payload) => self.send_message(kind, payload, compress, core),
            Body::TextParts(head, body) => {
                self.send_parts(MessageKind::Text, head.as_bytes(), body.as_bytes(), compress, core);
            }
            Body::BinaryParts(head, body) => self.send_parts(MessageKind::Binary, head, body, compress, core),
        }
    }

    /// Appends bytes of an opening handshake to the outbox.
    pub(super) fn write_raw(&mut self, core: &mut Core, write: impl FnOnce(&mut Vec<u8>)) {
        self.outbox.append(&mut core.memory, write);
        self.mark_dirty(core);
    }

    /// Whether a message of this length is compressed, given its own setting.
    #[inline]
    fn compresses(&self, len: usize, compress: Option<bool>, core: &Core) -> bool {
        let Some(compressors) = &core.compressors else { return false };
        self.compression().is_on() && compress.unwrap_or_else(|| compressors.is_worthwhile(len))
    }

    fn mask_key(&self, core: &mut Core) -> Option<[u8; 4]> {
        match self.role() {
            Role::Server => None,
            Role::Client => Some(core.mask_key()),
        }
    }

    // Backpressure.

    /// Whether a message of `len` bytes can be queued; a message of any size can if nothing is
    /// queued, unless memory is short. If not, `drained` is called later
    /// ([`has_drained`](Link::has_drained)). `shared`: other connections may hold the same bytes.
    pub(crate) fn has_room(&mut self, len: usize, shared: bool, core: &mut Core) -> bool {
        if !self.is_open() {
            return false;
        }
        let waiting = self.outbox.bytes();
        let frame = len.saturating_add(self.header_len(len));
        let room = waiting == 0 || waiting.saturating_add(frame) <= core.limits.max_buffered;
        if room && core.memory.has_room(self.outbox.held().saturating_add(if shared { 0 } else { frame })) {
            return true;
        }
        if room {
            core.shortage.is_refusing = true;
            if waiting == 0 && !self.is(SessionFlag::WantsDrained) {
                // No send completes that could call `drained`.
                core.shortage.refused.push_back(self.slot);
            }
        }
        self.set(SessionFlag::WantsDrained);
        core.counters.handed_back += 1;
        false
    }

    /// Whether `drained` is called now, because memory is available again: it is wanted, and no send
    /// is pending whose completion calls it. It is no longer wanted then.
    pub(crate) fn take_refusal(&mut self) -> bool {
        let due = self.is_open() && self.is(SessionFlag::WantsDrained) && self.outbox.bytes() == 0;
        if due {
            self.unset(SessionFlag::WantsDrained);
        }
        due
    }

    /// The length of the header of a frame with `len` bytes of payload (RFC 6455 section 5.2).
    fn header_len(&self, len: usize) -> usize {
        let mask = if self.is(SessionFlag::Client) { 4 } else { 0 };
        mask + match len {
            0..=125 => 2,
            126..=0xffff => 4,
            _ => 10,
        }
    }

    /// Whether a send that has completed calls for `drained`, if that is wanted: it has brought the
    /// output from above the low-water mark, `before` bytes, to the mark or below, or nothing is
    /// left. Output that never exceeds the mark has drained when nothing is left.
    #[inline]
    pub(super) fn has_drained(&self, before: usize, core: &Core) -> bool {
        let (left, low) = (self.outbox.bytes(), core.limits.low_mark());
        left == 0 || (before > low && left <= low)
    }

    /// The number of queued bytes, if a send is in flight: further output is queued behind it, and
    /// `drained` is called later ([`has_drained`](Link::has_drained)).
    pub(crate) fn queued(&mut self) -> Option<usize> {
        self.is(SessionFlag::Sending).then(|| {
            self.set(SessionFlag::WantsDrained);
            self.outbox.bytes()
        })
    }

    /// Stops the delivery of messages.
    pub(crate) fn pause(&mut self, core: &mut Core) {
        // During closing, the peer's close frame would be behind the input that a pause stashes.
        if self.is_open() {
            self.begin_pause(PauseCause::Handler, core);
        }
    }

    /// Resumes the delivery of messages, at the end of the turn.
    pub(crate) fn resume(&mut self, core: &mut Core) {
        self.end_pause(PauseCause::Handler, core);
        self.mark_dirty(core);
    }

    /// Pauses for a cause, and counts it. Returns whether it was not paused for it before.
    pub(super) fn begin_pause(&mut self, cause: PauseCause, core: &mut Core) -> bool {
        let flag = pause_flag(cause);
        let new = !self.is(flag);
        if new {
            self.set(flag);
            core.meters.paused(cause);
        }
        new
    }

    /// Whether receiving is paused for a cause.
    #[cfg(test)]
    pub(crate) fn is_paused_by(&self, cause: PauseCause) -> bool {
        self.is(pause_flag(cause))
    }

    /// Ends the pause for a cause, if there is one.
    pub(super) fn end_pause(&mut self, cause: PauseCause, core: &mut Core) {
        let flag = pause_flag(cause);
        if self.is(flag) {
            self.unset(flag);
            core.meters.resumed(cause);
        }
    }

    /// Takes the connection out of the counts, at its end.
    pub(super) fn uncount(&mut self, core: &mut Core) {
        for cause in [PauseCause::Handler, PauseCause::Backlog, PauseCause::Memory] {
            self.end_pause(cause, core);
        }
        core.meters.left(self.phase.state());
    }

    /// Whether messages are stashed rather than delivered: the handler has paused the connection,
    /// or the peer does not read.
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.flags & (SessionFlag::PausedByHandler as u16 | SessionFlag::PausedByBacklog as u16) != 0
    }

    /// Whether more than `max_buffered` bytes are queued, or were and have not fallen to the
    /// low-water mark since: then messages are stashed.
    #[inline]
    pub(super) fn is_backlogged(&mut self, core: &mut Core) -> bool {
        if self.outbox.bytes() > core.limits.max_buffered && self.begin_pause(PauseCause::Backlog, core) {
            core.counters.backlog_pauses += 1;
        }
        self.is(SessionFlag::PausedByBacklog)
    }

    /// Whether pings of a backlogged peer can be answered: pongs of up to [`CONTROL_ROOM`] bytes
    /// have room above the high-water mark, so that a peer that does not read can still ping and
    /// close.
    #[inline]
    pub(super) fn has_control_room(&self) -> bool {
        self.cold.as_ref().is_none_or(|cold| cold.pongs < CONTROL_ROOM)
    }

    /// Answers a ping. Returns whether another one can be answered.
    #[inline]
    pub(super) fn send_pong(&mut self, payload: &[u8], core: &mut Core) -> bool {
        self.send(OpCode::Pong, payload, core);
        if !self.is_backlogged(core) {
            return true;
        }
        self.cold().pongs += (self.header_len(payload.len()) + payload.len()) as u32;
        self.has_control_room()
    }

    /// Continues the delivery of messages, after the output has fallen to the low-water mark.
    pub(super) fn end_backlog(&mut self, core: &mut Core) {
        self.end_pause(PauseCause::Backlog, core);
        self.last_active = core.tick();
        if let Some(cold) = &mut self.cold {
            cold.pongs = 0;
        }
    }

    #[inline]
    pub(super) fn has_stash(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.stash.is_some())
    }

    /// Appends `bytes` to the stash, if there is one. Returns whether there is.
    #[inline]
    pub(super) fn extend_stash(&mut self, bytes: &[u8]) -> bool {
        let Some(stash) = self.cold.as_mut().and_then(|cold| cold.stash.as_mut()) else { return false };
        stash.input.extend(&mut stash.at, bytes);
        true
    }

    /// Stashes input of a paused connection in owned memory, and releases the receive buffer.
    pub(super) fn stash(&mut self, message: Option<StashedMessage>, input: Input, at: usize, core: &mut Core) {
        let (bytes, at) = input.into_kept(at);
        self.cold().stash = Some(Stash { message, input: Input::Kept(bytes), at });
        self.mark_dirty(core);
    }

    /// Stashes input until the next turn, in its receive buffer unless few buffers are free.
    #[cold]
    pub(super) fn stash_until_next_turn(&mut self, mut input: Input, mut at: usize, core: &mut Core) {
        if matches!(&input, Input::Buffer(buffer) if buffer.is_scarce()) {
            let (bytes, start) = input.into_kept(at);
            (input, at) = (Input::Kept(bytes), start);
        }
        self.cold().stash = Some(Stash { message: None, input, at });
        self.set(SessionFlag::Waiting);
        core.waiting.push_back(self.slot);
        core.counters.yields += 1;
        self.mark_dirty(core);
    }

    /// Charges delivered messages and received bytes to the rates of the connection. Returns whether
    /// it has used them up.
    #[cold]
    pub(super) fn is_over_rate(&self, bytes: usize, stashes_message: bool, core: &mut Core) -> bool {
        let now = core.now();
        let Some(throttle) = &mut core.throttle else { return false };
        let allowed = throttle.allowance(self.slot, now);
        let left = core.slices.frames_left().unwrap_or(allowed);
        // A stashed message is delivered later, without being counted then.
        let messages = allowed - left.min(allowed) + u32::from(stashes_message);
        throttle.spend(self.slot, messages, bytes, now);
        self.is_open() && throttle.allowance(self.slot, now) == 0
    }

    /// Stashes input until the rates of the connection allow another message, and releases the
    /// receive buffer.
    #[cold]
    pub(super) fn stash_until_rate_allows(&mut self, input: Input, at: usize, core: &mut Core) {
        let (bytes, at) = input.into_kept(at);
        self.cold().stash = Some(Stash { message: None, input: Input::Kept(bytes), at });
        self.set(SessionFlag::Waiting);
        core.counters.rate_pauses += 1;
        let now = core.now();
        if let Some(throttle) = &mut core.throttle {
            throttle.pause(self.slot, now);
        }
        self.mark_dirty(core);
    }

    /// Ends the wait of stashed input for the next turn. If the connection is paused by now, the
    /// receive buffer is released.
    pub(super) fn end_wait(&mut self) {
        self.unset(SessionFlag::Waiting);
        if self.is_paused()
            && let Some(stash) = self.cold.as_mut().and_then(|cold| cold.stash.as_mut())
        {
            stash.input.extend(&mut stash.at, &[]);
        }
    }

    /// Whether the driver should receive. A connection paused by its handler, or whose peer does
    /// not read, receives until there is a message to stash, so that pings and a close in front of
    /// it are still answered. If there is no room for pongs, it receives nothing.
    #[inline]
    pub(super) fn should_receive(&self) -> bool {
        !matches!(self.phase, SessionPhase::Connecting | SessionPhase::Deferred)
            && self.flags & NOT_RECEIVING == 0
            && !self.has_stash()
            && (!self.is(SessionFlag::PausedByBacklog) || self.has_control_room())
    }

    // Closing (RFC 6455 section 7).

    /// Sends this side's close frame. The peer's is awaited for the close timeout.
    pub(crate) fn begin_close(&mut self, code: CloseCode, text: &str, payload: &ClosePayload, core: &mut Core) {
        catch_up(self, core);
        if !self.is_open() {
            return;
        }
        core.unsubscribe_all(self.slot);
        self.send(OpCode::Close, payload, core);
        self.set_phase(SessionPhase::Closing, core);
        let text = if code == CloseCode::NO_STATUS { String::new() } else { text.to_owned() };
        self.cold().reason = Some(CloseReason { code, text, ending: Ending::Unanswered });
        // Stashed messages are no longer delivered, and the peer's close frame is behind them.
        self.end_pause(PauseCause::Handler, core);
        self.end_pause(PauseCause::Backlog, core);
        self.set_close_timer(core);
    }

    /// Drops the connection for the application: nothing more is delivered, and the slot is closed
    /// between two calls of the handler.
    pub(crate) fn terminate(&mut self, core: &mut Core) {
        self.cold().reason = Some(CloseReason::abnormal(Ending::Terminated));
        // During decoding there is no stash, and the decoder's memory is charged afterwards.
        let before = self.held_input();
        self.begin_shutdown(CloseMode::Immediate, core);
        core.memory.recharge(before, self.held_input());
    }

    /// Handles the peer's close frame: answers with the same code, unless the frame is itself an
    /// answer. Afterwards both directions have sent their close frames.
    pub(super) fn peer_closed(&mut self, close: Option<(CloseCode, &str)>, core: &mut Core) {
        if self.is_terminated() {
            return;
        }
        if self.phase == SessionPhase::Closing {
            if let Some(CloseReason { ending: ending @ Ending::Unanswered, .. }) = &mut self.cold().reason {
                *ending = Ending::Local;
            }
        } else {
            let (code, text) = close.unwrap_or((CloseCode::NO_STATUS, ""));
            self.cold().reason = Some(CloseReason { code, text: text.to_owned(), ending: Ending::Peer });
            let answer = close.and_then(|(code, _)| encode_close(code, "").ok()).unwrap_or(ClosePayload::EMPTY);
            catch_up(self, core);
            if self.is_terminated() {
                return;
            }
            self.send(OpCode::Close, &answer, core);
        }
        let mode = if self.is(SessionFlag::Client) { CloseMode::AwaitPeer } else { CloseMode::Immediate };
        self.begin_shutdown(mode, core);
    }

    /// Handles a protocol violation of the peer: sends its close code (RFC 6455 section 7.1.7).
    pub(super) fn violated(&mut self, error: ProtocolError, core: &mut Core) {
        if self.is_terminated() {
            return;
        }
        core.meters.violations.violated(error.close_code());
        self.fail(error.close_code(), &error.to_string(), Ending::Violation(error), core);
    }

    /// Ends the connection from this side, without waiting for the peer's close frame (RFC 6455
    /// section 7.1.7).
    pub(super) fn fail(&mut self, code: CloseCode, text: &str, ending: Ending, core: &mut Core) {
        catch_up(self, core);
        if self.is_terminated() {
            return;
        }
        self.cold().reason = Some(CloseReason { code, text: text.to_owned(), ending });
        if self.is_open() {
            let payload = encode_close(code, text).unwrap_or(ClosePayload::EMPTY);
            self.send(OpCode::Close, &payload, core);
        }
        self.begin_shutdown(CloseMode::Linger, core);
    }

    /// Closes the connection with 1011 after a panic of the handler in a call for it.
    pub(crate) fn handler_panicked(&mut self, core: &mut Core) {
        if self.is_open() {
            let text = "internal error";
            let payload = encode_close(CloseCode::INTERNAL, text).unwrap_or(ClosePayload::EMPTY);
            self.begin_close(CloseCode::INTERNAL, text, &payload, core);
            self.cold().reason =
                Some(CloseReason { code: CloseCode::INTERNAL, text: text.to_owned(), ending: Ending::Panicked });
        }
    }

    /// Whether the handler has terminated the connection during the decoding of an input.
    fn is_terminated(&self) -> bool {
        matches!(self.phase, SessionPhase::ShuttingDown(_))
    }

    /// Stops receiving, sends the queued output and closes, within the close timeout.
    pub(super) fn begin_shutdown(&mut self, mode: CloseMode, core: &mut Core) {
        self.set_phase(SessionPhase::ShuttingDown(mode), core);
        if let Some(cold) = &mut self.cold {
            cold.stash = None;
        }
        core.timers.release(self.slot);
        core.handshake_ended(self.slot);
        core.unsubscribe_all(self.slot);
        self.set_close_timer(core);
        self.mark_dirty(core);
    }

    fn set_close_timer(&mut self, core: &mut Core) {
        let tick = core.tick();
        self.cold().deadlines = Deadlines::closing(tick);
        core.set_timer(self.slot, core.config.close_timeout / 4);
    }

    /// Handles the peer's FIN, after the input before it has been delivered.
    pub(super) fn peer_finished(&mut self, core: &mut Core) -> Option<Removal> {
        match self.phase {
            // The peer may still read: queued output is sent first.
            SessionPhase::Open => {
                let ending = if self.is_truncated(core) { Ending::Truncated } else { Ending::Vanished };
                self.cold().reason = Some(CloseReason::abnormal(ending));
                self.begin_shutdown(CloseMode::Immediate, core);
            }
            SessionPhase::Closing => self.begin_shutdown(CloseMode::Immediate, core),
            SessionPhase::ShuttingDown(_) => self.mark_dirty(core),
            // The peer may still read the deferred answer.
            SessionPhase::Deferred => {}
            SessionPhase::Held | SessionPhase::Handshaking if self.is(SessionFlag::Client) => {
                return Some(Removal::Unconnected(ConnectError::Ended(self.cold().opening.stage())));
            }
            // The peer may still read the responses to its last requests.
            SessionPhase::Handshaking if self.outbox.bytes() > 0 => self.begin_shutdown(CloseMode::Immediate, core),
            SessionPhase::Connecting
            | SessionPhase::Held
            | SessionPhase::Preamble
            | SessionPhase::Handshaking
            | SessionPhase::Lingering => return Some(Removal::Closed),
        }
        None
    }

    /// The results of the opening handshake, during the call of `open`.
    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.cold.as_ref()?.agreed.as_deref()
    }

    /// Handles an address that cannot be connected to (client role).
    pub(super) fn unreachable(&mut self, error: io::Error) -> Removal {
        let error = match self.cold().opening.attempt() {
            Some(attempt) => attempt.unreachable(error),
            None => ConnectError::Unreachable(error),
        };
        self.unconnected(error)
    }

    /// Handles an address that does not answer (client role): the next one is tried, if there is
    /// another.
    pub(super) fn unconnected(&mut self, error: ConnectError) -> Removal {
        match self.cold().opening.take_attempt().map(|attempt| attempt.next(error)) {
            Some(Ok(attempt)) => Removal::TryNext(attempt),
            Some(Err(error)) => Removal::Unconnected(error),
            None => Removal::Closed,
        }
    }

    /// Handles the loss of the connection.
    pub(super) fn broken(&mut self, ending: Ending) -> Removal {
        match self.phase {
            SessionPhase::Connecting | SessionPhase::Held | SessionPhase::Handshaking
                if self.is(SessionFlag::Client) =>
            {
                let error = match ending {
                    Ending::Failed(error) => error,
                    _ => io::ErrorKind::ConnectionReset.into(),
                };
                return Removal::Unconnected(ConnectError::Lost(self.cold().opening.stage(), error));
            }
            SessionPhase::Open => self.cold().reason = Some(CloseReason::abnormal(ending)),
            _ => {}
        }
        Removal::Closed
    }

    // Deadlines.

    /// Sets the timer of a connection that has opened.
    pub(super) fn set_check_timer(&self, core: &mut Core) {
        let period = check_period(&core.config, &core.limits);
        core.set_timer(self.slot, period);
    }

    /// Checks the deadlines of an open connection: of the output, of the message that is being
    /// received, and of the peer's activity. Sets the timer for the next check.
    pub(super) fn check_deadlines(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        let mut next = check_period(&core.config, &core.limits);
        if let Some(left) = self.check_output(probe, core) {
            if left.is_zero() {
                core.counters.write_timeouts += 1;
                core.notices.warn(core.clock.now(), NoticeKind::WriteTimeout, self.slot, || {
                    let timeout = core.config.write_timeout;
                    format!("a connection is dropped: its peer took nothing for {timeout:?} (config.write_timeout)")
                });
                return Some(self.broken(Ending::WriteTimeout));
            }
            // Progress of the output is detected only by checks.
            next = next.min(left).min(core.config.write_timeout / 4);
        }
        if let Some(left) = self.check_message(probe, core) {
            if left.is_zero() {
                core.counters.message_timeouts += 1;
                let text = "the message took too long";
                self.fail(CloseCode::POLICY, text, Ending::MessageTimeout, core);
                return None;
            }
            next = next.min(left);
        }
        if let Some(left) = self.check_signs_of_life(probe, core) {
            if left.is_zero() {
                core.counters.idle += 1;
                return Some(self.broken(Ending::Idle));
            }
            next = next.min(left);
        }
        self.free_unused_cold();
        core.set_timer(self.slot, next);
        None
    }

    /// The time left for the peer to acknowledge some of the output; `None` if no output is
    /// pending.
    pub(super) fn check_output(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        if self.outbox.bytes() == 0 {
            if let Some(cold) = &mut self.cold {
                cold.deadlines.no_output();
            }
            return None;
        }
        // If the connection is gone, the driver is about to report its end.
        let acknowledged = probe.acknowledged(self.slot)?;
        let stalled = self.cold().deadlines.stalled(acknowledged, core);
        Some(core.config.write_timeout.saturating_sub(stalled))
    }

    /// The time left for the message that is being received; `None` if there is none.
    fn check_message(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        let since = self.cold.as_ref()?.deadlines.message_since?;
        if (self.is(SessionFlag::PausedByHandler) || self.is(SessionFlag::Waiting)) && !self.is(SessionFlag::Receiving)
        {
            // This side keeps the rest from being received, so the time does not count.
            self.cold().deadlines.message_since = Some(core.tick());
            return Some(core.limits.message_timeout);
        }
        let left = core.limits.message_timeout.saturating_sub(core.since(since));
        let (slot, receiving) = (self.slot, self.is(SessionFlag::Receiving));
        let deadlines = &mut self.cold().deadlines;
        if !left.is_zero() {
            deadlines.in_time(Awaited::Message);
            return Some(left);
        }
        // The rest may have arrived during a stall of the shard.
        let late = receiving && deadlines.may_have_arrived(Awaited::Message, slot, probe, core);
        Some(if late { TICK } else { Duration::ZERO })
    }

    /// The time left until the peer is pinged or times out; `None` if another deadline applies, or
    /// none. After half of the idle timeout without activity, sends a ping. A peer times out only
    /// after a ping, and only if no answer to it can have arrived.
    fn check_signs_of_life(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        let limit = core.config.idle_timeout?;
        if self.is(SessionFlag::PausedByBacklog)
            || self.is(SessionFlag::PausedByMemory)
            || self.is(SessionFlag::Waiting)
        {
            self.last_active = core.tick();
            self.unset(SessionFlag::Pinged);
            return None;
        }
        let reading = self.is(SessionFlag::Receiving);
        let silence = core.since(self.last_active);
        if silence >= limit && self.is(SessionFlag::Pinged) {
            if reading {
                let slot = self.slot;
                let late = self.cold().deadlines.may_have_arrived(Awaited::Sign, slot, probe, core);
                return Some(if late { TICK } else { Duration::ZERO });
            }
            // The handler has paused the connection, so the pong is not read: the peer's kernel has
            // to acknowledge the ping.
            let before = self.cold().deadlines.pinged_at.take();
            if probe.acknowledged(self.slot) <= before {
                return Some(Duration::ZERO);
            }
            self.last_active = core.tick();
            self.unset(SessionFlag::Pinged);
            return Some(limit / 2);
        }
        if silence < limit / 2 {
            if let Some(cold) = &mut self.cold {
                cold.deadlines.in_time(Awaited::Sign);
            }
            return Some(limit / 2 - silence);
        }
        if !self.is(SessionFlag::Pinged) {
            // Idle connections keep no compressor.
            self.drop_compressor(core);
            if !reading {
                self.cold().deadlines.pinged_at = Some(probe.acknowledged(self.slot).unwrap_or_default());
            }
            self.set(SessionFlag::Pinged);
            let payload = core.meters.ping_payload(core.now());
            self.send(OpCode::Ping, &payload, core);
            // Even after a late ping, the peer has half of the idle timeout to answer.
            self.last_active = core.tick().wrapping_sub(core.ticks(limit / 2));
            return Some(limit / 2);
        }
        Some(limit - silence)
    }

    /// Whether a closing connection has timed out: it has made no progress for the close timeout,
    /// or has reached the close limit. Sets the timer for the next check.
    pub(super) fn check_closing(&mut self, probe: &impl PeerProbe, core: &mut Core) -> bool {
        let pending =
            if self.outbox.bytes() == 0 { None } else { Some(probe.acknowledged(self.slot).unwrap_or_default()) };
        let deadlines = &mut self.cold().deadlines;
        let in_all = core.config.close_limit.saturating_sub(deadlines.closing_for(core));
        let timeout = core.config.close_timeout;
        let left = timeout.saturating_sub(deadlines.closing_stalled(pending, core)).min(in_all);
        core.set_timer(self.slot, left.min(timeout / 4));
        left.is_zero()
    }

    /// Takes the reason of the end, if the connection was open and `closed` has to be called.
    pub(super) fn take_reason(&mut self) -> Option<CloseReason> {
        self.is(SessionFlag::Opened).then(|| {
            let reason = self.cold.take().and_then(|cold| cold.reason);
            reason.unwrap_or_else(|| CloseReason::abnormal(Ending::Vanished))
        })
    }
}

impl<S> Recipient for Link<S> {
    fn index(&self) -> u32 {
        self.slot.index()
    }

    fn shared_compression(&self) -> Option<Compression> {
        (!self.is(SessionFlag::Client)).then(|| self.compression())
    }

    fn room(&self, core: &Core) -> usize {
        match self.outbox.bytes() {
            0 => usize::MAX,
            waiting => core.limits.max_buffered.saturating_sub(waiting),
        }
    }

    fn push_frames(&mut self, frames: &Arc<[u8]>, range: Range<u32>, is_deflated: bool, core: &mut Core) {
        // As in `deflated`.
        if is_deflated && let Some(own) = self.cold.as_mut().and_then(|cold| cold.deflater.as_mut()) {
            own.restart();
        }
        self.outbox.push_range(frames, range, &mut core.memory);
        self.mark_dirty(core);
    }

    fn push_prepared(&mut self, prepared: &Prepared, core: &mut Core) {
        self.queue_prepared(prepared, core);
    }

    fn close_slow(&mut self, core: &mut Core) {
        core.counters.topic_closes += 1;
        core.notices.warn(core.clock.now(), NoticeKind::SlowSubscriber, self.slot, || {
            let max = core.limits.max_buffered;
            format!(
                "a connection is closed with 1013: it reads too slowly for its topics, and over {max} bytes would \
                 wait for it (limits.max_buffered)"
            )
        });
        // As in `terminate`.
        let before = self.held_input();
        self.fail(CloseCode::TRY_AGAIN, "the client reads too slowly", Ending::SlowReader, core);
        core.memory.recharge(before, self.held_input());
    }
}
