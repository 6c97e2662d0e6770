//! What a handler can change of its connection while it holds a message: everything but the decoder.

use super::closing::{CloseMode, Removal};
use super::compression::Compression;
use super::opening::Opening;
use super::outbox::Outbox;
use crate::api::close::{CloseReason, Ending};
use crate::api::error::ConnectError;
use crate::api::message::{Body, Message};
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

/// One bit of a session's state.
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
    /// The handler is told when the outbox is empty.
    WantsDrained = 32,
    /// `open` was called.
    Opened = 64,
    /// The peer has ended its direction.
    PeerFinished = 128,
}

/// One connection without its decoder: 64 bytes and the handler's state. What only a few connections need for a while
/// is in `cold`.
pub(crate) struct Link<S> {
    pub(super) outbox: Outbox,
    pub(super) cold: Option<Box<Cold>>,
    slot: Slot,
    /// The tick at which the peer last showed that it is alive.
    pub(super) last_active: u32,
    flags: u8,
    pub(super) phase: SessionPhase,
    role: Role,
    pub(super) compression: Compression,
    pub(crate) state: S,
}

/// What a connection needs only while it opens, is paused, or ends; and what only one with a compressor of its own has.
#[derive(Default)]
pub(super) struct Cold {
    pub(super) opening: Opening,
    /// What arrived for a handler that wants no messages.
    pub(super) stash: Option<Stash>,
    pub(super) reason: Option<CloseReason>,
    /// The compressor of a connection with context takeover, from its first compressed message on.
    pub(super) deflater: Option<Box<Deflater>>,
}

/// Input that was stashed: a message that was decoded already, if any, and the bytes behind it.
#[derive(Default)]
pub(super) struct Stash {
    pub(super) message: Option<StashedMessage>,
    pub(super) bytes: Vec<u8>,
    /// Where in `bytes` the stashed part begins.
    pub(super) at: usize,
}

pub(super) struct StashedMessage {
    pub(super) kind: MessageKind,
    pub(super) payload: Vec<u8>,
    pub(super) compressed: bool,
}

impl<S> Link<S> {
    pub(super) fn new(slot: Slot, role: Role, state: S, tick: u32) -> Self {
        Self {
            outbox: Outbox::default(),
            cold: None,
            slot,
            last_active: tick,
            flags: 0,
            phase: if role == Role::Server { SessionPhase::Handshaking } else { SessionPhase::Connecting },
            role,
            compression: Compression::default(),
            state,
        }
    }

    #[inline]
    pub(crate) fn slot(&self) -> Slot {
        self.slot
    }

    pub(crate) fn role(&self) -> Role {
        self.role
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
        self.compression.is_on()
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
        self.flags & flag as u8 != 0
    }

    #[inline]
    pub(super) fn set(&mut self, flag: SessionFlag) {
        self.flags |= flag as u8;
    }

    #[inline]
    pub(super) fn unset(&mut self, flag: SessionFlag) {
        self.flags &= !(flag as u8);
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

    // Sending.

    /// Encodes an uncompressed frame at the end of the outbox.
    pub(crate) fn send(&mut self, opcode: OpCode, payload: &[u8], core: &mut Core) {
        let key = self.mask_key(core);
        self.outbox.append(&mut core.pool, |out| match key {
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
        let Some(compressors) = &mut core.compressors else { return };
        if self.compression.takeover() {
            let cold = self.cold.get_or_insert_default();
            let own = cold.deflater.get_or_insert_with(|| Box::new(compressors.own(self.compression)));
            self.outbox.append(&mut core.pool, |out| encode_deflated(kind, payload, key, own, true, out));
        } else {
            let shared = compressors.shared(self.compression);
            self.outbox.append(&mut core.pool, |out| encode_deflated(kind, payload, key, shared, false, out));
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
            None => self.outbox.push_shared(frame, &mut core.pool),
            Some(key) => self.outbox.append(&mut core.pool, |out| encode_masked(frame, key, out)),
        }
        self.mark(core);
    }

    /// The compressed form of a prepared frame, for this connection; `None` if it would not be shorter.
    fn deflated<'p>(&mut self, prepared: &'p Prepared, core: &mut Core) -> Option<&'p Arc<[u8]>> {
        let shared = core.compressors.as_mut()?.shared(self.compression);
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
                    && self.role == Role::Server
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
        self.outbox.append(&mut core.pool, write);
        self.mark(core);
    }

    /// Whether a message of this length is compressed, with what was said about it.
    #[inline]
    fn compresses(&self, len: usize, compress: Option<bool>, core: &Core) -> bool {
        let Some(compressors) = &core.compressors else { return false };
        self.compression.is_on() && compress.unwrap_or_else(|| compressors.is_worthwhile(len))
    }

    fn mask_key(&self, core: &mut Core) -> Option<[u8; 4]> {
        match self.role {
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

    /// Whether messages are stashed rather than delivered.
    #[inline]
    pub(super) fn is_paused(&self) -> bool {
        self.flags & (SessionFlag::PausedByHandler as u8 | SessionFlag::PausedByBacklog as u8) != 0
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

    pub(super) fn stash(&mut self, stash: Stash, core: &mut Core) {
        self.cold().stash = Some(stash);
        self.mark(core);
    }

    /// Whether the driver should receive. A connection that its handler has paused receives until there is a message to
    /// stash, so that pings and a close in front of it are still answered; one whose peer does not read receives nothing,
    /// because the answers to pings would wait as well.
    #[inline]
    pub(super) fn should_receive(&self) -> bool {
        !matches!(self.phase, SessionPhase::Connecting | SessionPhase::Deferred)
            && !self.is(SessionFlag::PeerFinished)
            && !self.is(SessionFlag::PausedByBacklog)
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
        core.set_timer(self.slot, core.config.close_timeout);
    }

    /// The peer's close frame: answered with its own code, unless it answers ours. Then both directions have sent their
    /// close frames.
    pub(super) fn peer_closed(&mut self, close: Option<(CloseCode, &str)>, core: &mut Core) {
        if self.phase == SessionPhase::Closing {
            if let Some(reason) = &mut self.cold().reason {
                reason.ending = Ending::Local;
            }
        } else {
            let (code, text) = close.unwrap_or((CloseCode::NO_STATUS, ""));
            self.cold().reason = Some(CloseReason { code, text: text.to_owned(), ending: Ending::Peer });
            let answer = close.and_then(|(code, _)| encode_close(code, "").ok()).unwrap_or(ClosePayload::EMPTY);
            self.send(OpCode::Close, &answer, core);
        }
        let mode = if self.role == Role::Client { CloseMode::AwaitPeer } else { CloseMode::Immediate };
        self.begin_shutdown(mode, core);
    }

    /// The peer broke the protocol: it is told with which code (RFC 6455 section 7.1.7).
    pub(super) fn violated(&mut self, error: ProtocolError, core: &mut Core) {
        let code = error.close_code();
        self.cold().reason = Some(CloseReason { code, text: error.to_string(), ending: Ending::Violation(error) });
        if self.is_open() {
            let payload = encode_close(code, &error.to_string()).unwrap_or(ClosePayload::EMPTY);
            self.send(OpCode::Close, &payload, core);
        }
        self.begin_shutdown(CloseMode::Linger, core);
    }

    /// Reads nothing more, sends what is queued and closes, within the close timeout.
    pub(super) fn begin_shutdown(&mut self, mode: CloseMode, core: &mut Core) {
        self.phase = SessionPhase::ShuttingDown(mode);
        if let Some(cold) = &mut self.cold {
            cold.stash = None;
        }
        core.set_timer(self.slot, core.config.close_timeout);
        self.mark(core);
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
            SessionPhase::Handshaking if self.role == Role::Client => {
                return Some(Removal::Unconnected(ConnectError::Ended));
            }
            SessionPhase::Handshaking | SessionPhase::Lingering | SessionPhase::Connecting => {
                return Some(Removal::Closed);
            }
        }
        None
    }

    /// The connection is lost.
    pub(super) fn broken(&mut self, ending: Ending) -> Removal {
        match self.phase {
            SessionPhase::Connecting | SessionPhase::Handshaking if self.role == Role::Client => {
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

    /// After half of the idle timeout without traffic, sends a ping; after all of it, gives the connection up.
    pub(super) fn check_idle(&mut self, core: &mut Core) -> Option<Removal> {
        let limit = core.config.idle_timeout?;
        // Of a peer that is not read because it does not read, bytes taken are the sign of life.
        let silence = if self.is(SessionFlag::Receiving) || self.is(SessionFlag::PausedByBacklog) {
            core.since(self.last_active)
        } else {
            // The handler has paused the connection.
            self.last_active = core.tick();
            Duration::ZERO
        };
        if silence >= limit {
            self.cold().reason = Some(CloseReason::abnormal(Ending::Idle));
            return Some(Removal::Closed);
        }
        if silence >= limit / 2 {
            // Idle connections keep no compressor: the next message begins without a context, as any message may.
            self.cold.take_if(|cold| cold.deflater.take().is_some() && cold.stash.is_none());
            self.send(OpCode::Ping, b"", core);
            core.set_timer(self.slot, limit - silence);
        } else {
            core.set_timer(self.slot, limit / 2 - silence);
        }
        None
    }

    /// Why the connection has ended, if the handler has to be told: if it was open.
    pub(super) fn take_reason(&mut self) -> Option<CloseReason> {
        self.is(SessionFlag::Opened).then(|| {
            let reason = self.cold.take().and_then(|cold| cold.reason);
            reason.unwrap_or_else(|| CloseReason::abnormal(Ending::Vanished))
        })
    }
}
