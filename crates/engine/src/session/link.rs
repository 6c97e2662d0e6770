//! What a handler can change of its connection while it holds a message: everything but the decoder.

use super::closing::{CloseMode, Removal};
use super::compression::Compression;
use super::deadlines::{Deadlines, PeerProbe, check_period};
use super::input::Input;
use super::opening::{Agreed, Opening};
use super::outbox::Outbox;
use crate::api::close::{CloseReason, Ending};
use crate::api::error::ConnectError;
use crate::api::message::{Body, Message};
use crate::shard::clock::TICK;
use crate::shard::core::Core;
use ringway_codec::{
    CloseCode, ClosePayload, Deflater, MessageKind, OpCode, Prepared, ProtocolError, Role, encode_client, encode_close,
    encode_deflated, encode_masked, encode_server,
};
use ringway_io::Slot;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SessionPhase {
    /// The TCP connection is being made (client role).
    Connecting,
    /// The opening handshake is in progress.
    Handshaking,
    /// The handler has deferred its answer.
    Deferred,
    /// Messages flow.
    Open,
    /// Our close frame is sent; the peer's is awaited.
    Closing,
    /// Nothing more is read. Queued output is still sent, and then the connection is closed.
    ShuttingDown(CloseMode),
    /// Our direction is ended; what still arrives is dropped until the peer ends its own.
    Lingering,
}

/// One bit of a session's state. The four highest bits of the 16 are the connection's [`Compression`].
#[derive(Clone, Copy)]
pub(super) enum SessionFlag {
    /// On the list of sessions that are flushed at the end of the turn.
    Dirty = 1,
    /// A send is in flight.
    Sending = 2,
    /// The driver receives.
    Receiving = 4,
    /// The handler wants no messages.
    PausedByHandler = 8,
    /// Too much output waits: nothing is received before the peer has read half of it.
    PausedByBacklog = 16,
    /// The shard's memory is nearly used up, and this connection holds much of it: nothing is received.
    PausedByMemory = 32,
    /// The connection had used up its share of a turn: its input waits for the next one.
    Waiting = 64,
    /// The handler is told when the outbox is empty.
    WantsDrained = 128,
    /// `open` was called.
    Opened = 256,
    /// The peer has ended its direction.
    PeerFinished = 512,
    /// A ping was sent because the peer was silent, and nothing has come since.
    Pinged = 1024,
    /// The client role.
    Client = 2048,
}

/// With any of these nothing is received.
const NOT_RECEIVING: u16 =
    SessionFlag::PeerFinished as u16 | SessionFlag::PausedByBacklog as u16 | SessionFlag::PausedByMemory as u16;

/// Where the compression is among the flags.
const COMPRESSION_SHIFT: u32 = 12;

/// One connection without its decoder: 64 bytes, of which three are free for the handler's state. What only a few
/// connections need for a while is in `cold`.
pub(crate) struct Link<S> {
    pub(super) outbox: Outbox,
    pub(super) cold: Option<Box<Cold>>,
    slot: Slot,
    /// The tick at which the peer last showed that it is alive.
    pub(super) last_active: u32,
    flags: u16,
    pub(super) phase: SessionPhase,
    /// Made when the handler accepts the connection; in the client role, when it asks for it.
    pub(crate) state: Option<S>,
}

/// What a connection needs only while it opens, is paused, or ends; and what only one with a compressor of its own has.
#[derive(Default)]
pub(super) struct Cold {
    pub(super) opening: Opening,
    /// What arrived for a handler that wants no messages, or has to wait for the next turn.
    pub(super) stash: Option<Stash>,
    pub(super) reason: Option<CloseReason>,
    /// The compressor of a connection with context takeover, from its first compressed message on. It is charged when it
    /// is made, and discharged by [`Link::drop_compressor`].
    deflater: Option<Box<Deflater>>,
    pub(super) deadlines: Deadlines,
    /// What the opening handshake has agreed on, while the handler is told that the connection is open.
    pub(super) agreed: Option<Box<Agreed>>,
}

/// Input that was stashed: a message that was decoded already, if any, and the bytes behind it.
pub(super) struct Stash {
    pub(super) message: Option<StashedMessage>,
    pub(super) input: Input,
    /// Where in `input` the stashed part begins.
    pub(super) at: usize,
}

pub(super) struct StashedMessage {
    pub(super) kind: MessageKind,
    pub(super) payload: Vec<u8>,
    pub(super) compressed: bool,
}

impl Cold {
    /// How many bytes of memory are held for the handshake and the stash.
    fn held(&self) -> usize {
        let stash = self.stash.as_ref().map_or(0, |stash| {
            stash.input.held() + stash.message.as_ref().map_or(0, |message| message.payload.capacity())
        });
        self.opening.held() + stash
    }

    /// Whether an open connection has no use for this.
    fn is_empty(&self) -> bool {
        self.agreed.is_none()
            && self.stash.is_none()
            && self.reason.is_none()
            && self.deflater.is_none()
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

    /// Whether messages can be sent: no close frame has been sent yet.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.phase == SessionPhase::Open
    }

    /// Whether messages may be compressed.
    pub(crate) fn is_compressing(&self) -> bool {
        self.compression().is_on()
    }

    /// Whether the connection has a compressor of its own at this moment.
    #[cfg(test)]
    pub(crate) fn keeps_compressor(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.deflater.is_some())
    }

    /// How many bytes wait for the peer, those in flight included.
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

    /// Has the session flushed at the end of the turn.
    #[inline]
    pub(super) fn mark(&mut self, core: &mut Core) {
        if !self.is(SessionFlag::Dirty) {
            self.set(SessionFlag::Dirty);
            core.dirty.push(self.slot);
        }
    }

    // Memory.

    /// How many bytes of memory the connection holds for the handshake and the stash.
    #[inline]
    pub(super) fn held_input(&self) -> usize {
        self.cold.as_ref().map_or(0, |cold| cold.held())
    }

    /// How many bytes of memory the connection holds, without the decoder's.
    pub(super) fn held(&self) -> usize {
        let compressor = self.cold.as_ref().and_then(|cold| cold.deflater.as_ref()).map_or(0, |own| own.heap_bytes());
        self.outbox.held() + self.held_input() + compressor
    }

    /// Frees the connection's own compressor: the next message begins without a context, as any message may.
    pub(super) fn drop_compressor(&mut self, core: &mut Core) {
        if let Some(own) = self.cold.as_mut().and_then(|cold| cold.deflater.take()) {
            core.memory.discharge(own.heap_bytes());
        }
    }

    pub(super) fn has_cold(&self) -> bool {
        self.cold.is_some()
    }

    /// Frees what an open connection no longer needs.
    #[inline]
    pub(super) fn tidy(&mut self) {
        self.cold.take_if(|cold| cold.is_empty());
    }

    /// Nothing is received while the shard's memory is nearly used up. Returns whether that is new.
    pub(crate) fn pause_for_memory(&mut self, core: &mut Core) -> bool {
        let new = !self.is(SessionFlag::PausedByMemory);
        self.set(SessionFlag::PausedByMemory);
        self.mark(core);
        new
    }

    /// Memory is available again.
    pub(crate) fn resume_from_memory(&mut self, core: &mut Core) {
        self.unset(SessionFlag::PausedByMemory);
        self.last_active = core.tick();
        self.mark(core);
    }

    // Sending.

    /// Encodes an uncompressed frame at the end of the outbox.
    pub(crate) fn send(&mut self, opcode: OpCode, payload: &[u8], core: &mut Core) {
        let key = self.mask_key(core);
        self.outbox.append(&mut core.memory, |out| match key {
            None => encode_server(opcode, payload, out),
            Some(key) => encode_client(opcode, payload, key, out),
        });
        self.mark(core);
    }

    /// Encodes a message at the end of the outbox, compressed if `compress` says so, or if it is long enough.
    pub(crate) fn send_message(&mut self, kind: MessageKind, payload: &[u8], compress: Option<bool>, core: &mut Core) {
        if !self.compresses(payload.len(), compress, core) {
            return self.send(kind.into(), payload, core);
        }
        let key = self.mask_key(core);
        let compression = self.compression();
        let Some(compressors) = &mut core.compressors else { return };
        if compression.takeover() {
            let cold = self.cold.get_or_insert_default();
            let own = cold.deflater.get_or_insert_with(|| {
                let own = Box::new(compressors.own(compression));
                core.memory.charge(own.heap_bytes());
                own
            });
            self.outbox.append(&mut core.memory, |out| encode_deflated(kind, payload, key, own, true, out));
        } else {
            let shared = compressors.shared(compression);
            self.outbox.append(&mut core.memory, |out| encode_deflated(kind, payload, key, shared, false, out));
        }
        self.mark(core);
    }

    /// Puts a prepared frame at the end of the outbox.
    pub(crate) fn send_prepared(&mut self, prepared: &Prepared, core: &mut Core) {
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
        self.mark(core);
    }

    /// The compressed form of a prepared frame, for this connection; `None` if it would not be shorter.
    fn deflated<'p>(&mut self, prepared: &'p Prepared, core: &mut Core) -> Option<&'p Arc<[u8]>> {
        let shared = core.compressors.as_mut()?.shared(self.compression());
        let frame = prepared.deflated_frame(shared)?;
        // Once this frame is sent, the connection's own compressor no longer knows what the peer has seen last.
        if let Some(own) = self.cold.as_mut().and_then(|cold| cold.deflater.as_mut()) {
            own.restart();
        }
        Some(frame)
    }

    /// Puts a reply in the outbox. `in_place`: the message may lie in the input that is being decoded, so that its reply
    /// can be written there.
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
                    self.outbox.reply_in_place(incoming);
                    self.mark(core);
                } else {
                    self.send_message(incoming.kind(), incoming.payload(), compress, core);
                }
            }
            Body::Borrowed(kind, payload) => self.send_message(kind, payload, compress, core),
        }
    }

    /// Writes bytes that are no frames, those of an opening handshake, at the end of the outbox.
    pub(super) fn write_raw(&mut self, core: &mut Core, write: impl FnOnce(&mut Vec<u8>)) {
        self.outbox.append(&mut core.memory, write);
        self.mark(core);
    }

    /// Whether a message of this length is compressed, with what was said about it.
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

    /// Whether a message of `len` bytes may be queued; one of any size may when nothing waits. If not, the handler is told
    /// when the outbox is empty.
    pub(crate) fn has_room(&mut self, len: usize, core: &Core) -> bool {
        if !self.is_open() {
            return false;
        }
        let waiting = self.outbox.bytes();
        let room = waiting == 0 || waiting.saturating_add(len) <= core.limits.max_buffered;
        if !room {
            self.set(SessionFlag::WantsDrained);
        }
        room
    }

    /// How many bytes wait, if a send is in flight: what is sent now is queued behind it, and the handler is told when the
    /// outbox is empty.
    pub(crate) fn queued(&mut self) -> Option<usize> {
        self.is(SessionFlag::Sending).then(|| {
            self.set(SessionFlag::WantsDrained);
            self.outbox.bytes()
        })
    }

    /// Stops the delivery of messages.
    pub(crate) fn pause(&mut self) {
        // While it closes, the peer's close frame is behind whatever a pause would stash.
        if self.is_open() {
            self.set(SessionFlag::PausedByHandler);
        }
    }

    /// Delivers messages again, from the end of the turn on.
    pub(crate) fn resume(&mut self, core: &mut Core) {
        self.unset(SessionFlag::PausedByHandler);
        self.mark(core);
    }

    /// Whether messages are stashed rather than delivered: the handler wants none, or the peer does not read.
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.flags & (SessionFlag::PausedByHandler as u16 | SessionFlag::PausedByBacklog as u16) != 0
    }

    /// Whether more than `max_buffered` bytes wait; if so, nothing is received until the peer has read half of that.
    #[inline]
    pub(super) fn is_backlogged(&mut self, core: &Core) -> bool {
        if self.outbox.bytes() > core.limits.max_buffered {
            self.set(SessionFlag::PausedByBacklog);
        }
        self.is(SessionFlag::PausedByBacklog)
    }

    #[inline]
    pub(super) fn has_stash(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.stash.is_some())
    }

    /// Whether a stash is there; if so, `bytes` are appended to it.
    #[inline]
    pub(super) fn extend_stash(&mut self, bytes: &[u8]) -> bool {
        let Some(stash) = self.cold.as_mut().and_then(|cold| cold.stash.as_mut()) else { return false };
        stash.input.extend(&mut stash.at, bytes);
        true
    }

    /// Keeps what a paused connection does not take, without the receive buffer that it came in.
    pub(super) fn stash(&mut self, message: Option<StashedMessage>, input: Input, at: usize, core: &mut Core) {
        let (bytes, at) = input.into_kept(at);
        self.cold().stash = Some(Stash { message, input: Input::Kept(bytes), at });
        self.mark(core);
    }

    /// Keeps input that has to wait for the next turn, in the receive buffer that it came in unless few are left.
    #[cold]
    pub(super) fn wait(&mut self, mut input: Input, mut at: usize, core: &mut Core) {
        if matches!(&input, Input::Buffer(buffer) if buffer.is_scarce()) {
            let (bytes, start) = input.into_kept(at);
            (input, at) = (Input::Kept(bytes), start);
        }
        self.cold().stash = Some(Stash { message: None, input, at });
        self.set(SessionFlag::Waiting);
        core.waiting.push_back(self.slot);
        core.counters.yields += 1;
        self.mark(core);
    }

    /// The next turn has come for input that waits. If the connection is paused by now, the receive buffer is not kept.
    pub(super) fn end_wait(&mut self) {
        self.unset(SessionFlag::Waiting);
        if self.is_paused()
            && let Some(stash) = self.cold.as_mut().and_then(|cold| cold.stash.as_mut())
        {
            stash.input.extend(&mut stash.at, &[]);
        }
    }

    /// Whether the driver should receive. A connection that its handler has paused receives until there is a message to
    /// stash, so that pings and a close in front of it are still answered; one whose peer does not read receives nothing,
    /// because the answers to pings would wait as well.
    #[inline]
    pub(super) fn should_receive(&self) -> bool {
        !matches!(self.phase, SessionPhase::Connecting | SessionPhase::Deferred)
            && self.flags & NOT_RECEIVING == 0
            && !self.has_stash()
    }

    // Closing (RFC 6455 section 7).

    /// Sends our close frame. The peer's is awaited for the close timeout.
    pub(crate) fn begin_close(&mut self, code: CloseCode, text: &str, payload: &ClosePayload, core: &mut Core) {
        self.send(OpCode::Close, payload, core);
        self.phase = SessionPhase::Closing;
        let text = if code == CloseCode::NO_STATUS { String::new() } else { text.to_owned() };
        self.cold().reason = Some(CloseReason { code, text, ending: Ending::Unanswered });
        // Stashed messages are of no use any more, and the peer's answer is behind them.
        self.unset(SessionFlag::PausedByHandler);
        self.unset(SessionFlag::PausedByBacklog);
        self.set_close_timer(core);
    }

    /// The application drops the connection: nothing more is delivered, and its slot is closed between two calls of the
    /// handler.
    pub(crate) fn terminate(&mut self, core: &mut Core) {
        self.cold().reason = Some(CloseReason::abnormal(Ending::Terminated));
        // While input is decoded there is no stash, and the decoder's memory is charged afterwards.
        let before = self.held_input();
        self.begin_shutdown(CloseMode::Immediate, core);
        core.memory.recharge(before, self.held_input());
    }

    /// The peer's close frame: answered with its own code, unless it answers ours. Then both directions have sent their
    /// close frames.
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
            self.send(OpCode::Close, &answer, core);
        }
        let mode = if self.is(SessionFlag::Client) { CloseMode::AwaitPeer } else { CloseMode::Immediate };
        self.begin_shutdown(mode, core);
    }

    /// The peer broke the protocol: it is told with which code (RFC 6455 section 7.1.7).
    pub(super) fn violated(&mut self, error: ProtocolError, core: &mut Core) {
        if self.is_terminated() {
            return;
        }
        self.fail(error.close_code(), &error.to_string(), Ending::Violation(error), core);
    }

    /// Ends the connection from our side, without waiting for the peer's close frame (RFC 6455 section 7.1.7).
    pub(super) fn fail(&mut self, code: CloseCode, text: &str, ending: Ending, core: &mut Core) {
        self.cold().reason = Some(CloseReason { code, text: text.to_owned(), ending });
        if self.is_open() {
            let payload = encode_close(code, text).unwrap_or(ClosePayload::EMPTY);
            self.send(OpCode::Close, &payload, core);
        }
        self.begin_shutdown(CloseMode::Linger, core);
    }

    /// The handler has panicked while it was called for this connection, which is closed with 1011.
    pub(crate) fn handler_panicked(&mut self, core: &mut Core) {
        if self.is_open() {
            let text = "internal error";
            let payload = encode_close(CloseCode::INTERNAL, text).unwrap_or(ClosePayload::EMPTY);
            self.begin_close(CloseCode::INTERNAL, text, &payload, core);
            self.cold().reason =
                Some(CloseReason { code: CloseCode::INTERNAL, text: text.to_owned(), ending: Ending::Panicked });
        }
    }

    /// Whether the handler has terminated the connection, in the middle of the input that is being decoded.
    fn is_terminated(&self) -> bool {
        matches!(self.phase, SessionPhase::ShuttingDown(_))
    }

    /// Reads nothing more, sends what is queued and closes, within the close timeout.
    pub(super) fn begin_shutdown(&mut self, mode: CloseMode, core: &mut Core) {
        self.phase = SessionPhase::ShuttingDown(mode);
        if let Some(cold) = &mut self.cold {
            cold.stash = None;
        }
        core.timers.release(self.slot);
        self.set_close_timer(core);
        self.mark(core);
    }

    fn set_close_timer(&mut self, core: &mut Core) {
        let tick = core.tick();
        self.cold().deadlines = Deadlines::closing(tick);
        core.set_timer(self.slot, core.config.close_timeout / 4);
    }

    /// The peer has ended its direction, and what came before that is delivered.
    pub(super) fn peer_finished(&mut self, core: &mut Core) -> Option<Removal> {
        match self.phase {
            // It may still read: queued output is sent first.
            SessionPhase::Open => {
                self.cold().reason = Some(CloseReason::abnormal(Ending::Vanished));
                self.begin_shutdown(CloseMode::Immediate, core);
            }
            SessionPhase::Closing => self.begin_shutdown(CloseMode::Immediate, core),
            SessionPhase::ShuttingDown(_) => self.mark(core),
            // It may still read the answer that the handler has deferred.
            SessionPhase::Deferred => {}
            SessionPhase::Handshaking if self.is(SessionFlag::Client) => {
                return Some(Removal::Unconnected(ConnectError::Ended));
            }
            SessionPhase::Handshaking | SessionPhase::Lingering | SessionPhase::Connecting => {
                return Some(Removal::Closed);
            }
        }
        None
    }

    /// What the opening handshake has agreed on, while the handler is told that the connection is open.
    pub(crate) fn agreed(&self) -> Option<&Agreed> {
        self.cold.as_ref()?.agreed.as_deref()
    }

    /// The address that is tried does not answer (client role): the next one is tried, if there is another.
    pub(super) fn unconnected(&mut self, error: ConnectError) -> Removal {
        match self.cold().opening.take_attempt().map(|attempt| attempt.next(error)) {
            Some(Ok(attempt)) => Removal::TryNext(attempt),
            Some(Err(error)) => Removal::Unconnected(error),
            None => Removal::Closed,
        }
    }

    /// The connection is lost.
    pub(super) fn broken(&mut self, ending: Ending) -> Removal {
        match self.phase {
            SessionPhase::Connecting | SessionPhase::Handshaking if self.is(SessionFlag::Client) => {
                let error = match ending {
                    Ending::Failed(error) => error,
                    _ => io::ErrorKind::ConnectionReset.into(),
                };
                return Removal::Unconnected(ConnectError::Unreachable(error));
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

    /// Checks the deadlines of an open connection: of the output, of the message that is being received, and of the
    /// peer's signs of life. Sets the timer for the next check.
    pub(super) fn check_deadlines(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        let mut next = check_period(&core.config, &core.limits);
        if let Some(left) = self.check_output(probe, core) {
            if left.is_zero() {
                core.counters.write_timeouts += 1;
                return Some(self.broken(Ending::WriteTimeout));
            }
            // The peer's progress shows only if somebody looks.
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
        self.tidy();
        core.set_timer(self.slot, next);
        None
    }

    /// How much time is left for the peer to take some of the output; `None` if it has taken all.
    fn check_output(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        if self.outbox.bytes() == 0 {
            if let Some(cold) = &mut self.cold {
                cold.deadlines.no_output();
            }
            return None;
        }
        // When the connection is gone, that is about to be reported.
        let acknowledged = probe.acknowledged(self.slot)?;
        let stalled = self.cold().deadlines.stalled(acknowledged, core);
        Some(core.config.write_timeout.saturating_sub(stalled))
    }

    /// How much time is left for the message that is being received; `None` if there is none.
    fn check_message(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        let since = self.cold.as_ref()?.deadlines.message_since?;
        if !self.is(SessionFlag::Receiving) && !self.is(SessionFlag::PausedByMemory) {
            // The rest is not awaited: the connection is paused for another reason.
            self.cold().deadlines.message_since = Some(core.tick());
            return Some(core.limits.message_timeout);
        }
        let left = core.limits.message_timeout.saturating_sub(core.since(since));
        // The rest may have arrived while the shard was away.
        let late = left.is_zero() && self.is(SessionFlag::Receiving) && probe.may_have_unread(self.slot);
        Some(if late { TICK } else { left })
    }

    /// How much time is left until the peer is pinged or given up; `None` if it is judged by other deadlines, or by none.
    /// After half of the idle timeout without a sign of life, sends a ping. No peer is given up that was not pinged, or
    /// whose answer may have arrived.
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
                return Some(if probe.may_have_unread(self.slot) { TICK } else { Duration::ZERO });
            }
            // The handler has paused the connection, so the pong is not read: the peer's kernel has to acknowledge the ping.
            let before = self.cold().deadlines.pinged_at.take();
            if probe.acknowledged(self.slot) <= before {
                return Some(Duration::ZERO);
            }
            self.last_active = core.tick();
            self.unset(SessionFlag::Pinged);
            return Some(limit / 2);
        }
        if silence < limit / 2 {
            return Some(limit / 2 - silence);
        }
        if !self.is(SessionFlag::Pinged) {
            // Idle connections keep no compressor.
            self.drop_compressor(core);
            if !reading {
                self.cold().deadlines.pinged_at = Some(probe.acknowledged(self.slot).unwrap_or_default());
            }
            self.set(SessionFlag::Pinged);
            self.send(OpCode::Ping, b"", core);
            // However late the ping is, the peer has half of the idle timeout to answer.
            self.last_active = core.tick().wrapping_sub(core.ticks(limit / 2));
            return Some(limit / 2);
        }
        Some(limit - silence)
    }

    /// Whether a connection that closes is given up: it has made no progress for the close timeout, or has taken longer
    /// than a connection may in all. Sets the timer for the next check.
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

    /// Why the connection has ended, if the handler has to be told: if it was open.
    pub(super) fn take_reason(&mut self) -> Option<CloseReason> {
        self.is(SessionFlag::Opened).then(|| {
            let reason = self.cold.take().and_then(|cold| cold.reason);
            reason.unwrap_or_else(|| CloseReason::abnormal(Ending::Vanished))
        })
    }
}
