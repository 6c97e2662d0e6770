//! The state of a connection that a handler can change while it holds a message: everything except
//! the decoder.

mod backpressure;
mod closing;
mod liveness;
mod phase;
mod recipient;
mod sending;

pub(super) use phase::SessionFlag;
pub(crate) use phase::SessionPhase;

use super::compression::Compression;
use super::deadlines::Deadlines;
use super::input::Input;
use super::opening::{Agreed, Opening};
use super::outbox::Outbox;
use crate::api::close::CloseReason;
use crate::api::message::StashedPayload;
use crate::metrics::PauseCause;
use crate::shard::core::Core;
use crate::shard::memory::Memory;
use ringway_codec::{Deflater, ProtocolError, Role};
use ringway_io::Slot;

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
    /// A violation of the protocol that is handled when the handler resumes the connection, or after
    /// the close timeout; and the tick at which it was postponed.
    pub(super) violation: Option<(ProtocolError, u32)>,
    /// The bytes of pongs queued since the connection was paused for its backlog.
    pongs: u32,
    /// The bytes of this side's close frame; 0 until it is queued.
    close_frame: u8,
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
            && self.violation.is_none()
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

    /// Whether the peer has ended its direction.
    pub(crate) fn has_peer_finished(&self) -> bool {
        self.is(SessionFlag::PeerFinished)
    }

    /// Whether an outgoing connection that opens has TLS.
    pub(crate) fn has_tls_endpoint(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.opening.has_tls())
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
        matches!(self.phase, SessionPhase::Open | SessionPhase::PlainStream | SessionPhase::PlainDatagrams)
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

    /// Whether `open` was called.
    pub(crate) fn has_opened(&self) -> bool {
        self.is(SessionFlag::Opened)
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
}
