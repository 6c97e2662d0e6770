//! The limits of output and input: the water marks, the pauses, and input that waits.

use super::phase::{SessionFlag, SessionPhase, pause_flag};
use super::{Link, Stash, StashedMessage};
use crate::metrics::PauseCause;
use crate::session::input::Input;
use crate::shard::core::Core;
use ringway_codec::OpCode;

/// With any of these flags nothing is received.
const NOT_RECEIVING: u16 = SessionFlag::PeerFinished as u16 | SessionFlag::PausedByMemory as u16;

/// The bytes of pongs that are queued above the high-water mark. Then nothing is received.
const CONTROL_ROOM: u32 = 4096;

impl<S> Link<S> {
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
    pub(in crate::session) fn has_drained(&self, before: usize, core: &Core) -> bool {
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

    /// Requests that `drained` is called, if output waits.
    pub(crate) fn want_drained(&mut self) {
        if self.is_open() && self.outbox.bytes() > 0 {
            self.set(SessionFlag::WantsDrained);
        }
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
    pub(in crate::session) fn begin_pause(&mut self, cause: PauseCause, core: &mut Core) -> bool {
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
    pub(in crate::session) fn end_pause(&mut self, cause: PauseCause, core: &mut Core) {
        let flag = pause_flag(cause);
        if self.is(flag) {
            self.unset(flag);
            core.meters.resumed(cause);
        }
    }

    /// Takes the connection out of the counts, at its end.
    pub(in crate::session) fn uncount(&mut self, core: &mut Core) {
        for cause in [PauseCause::Handler, PauseCause::Backlog, PauseCause::Memory] {
            self.end_pause(cause, core);
        }
        core.meters.left(self.phase.state());
    }

    /// Whether messages are stashed rather than delivered: the handler has paused the connection,
    /// or the peer does not read.
    #[inline]
    pub(in crate::session) fn is_paused(&self) -> bool {
        self.flags & (SessionFlag::PausedByHandler as u16 | SessionFlag::PausedByBacklog as u16) != 0
    }

    /// Whether more than `max_buffered` bytes are queued, or were and have not fallen to the
    /// low-water mark since: then messages are stashed.
    #[inline]
    pub(in crate::session) fn is_backlogged(&mut self, core: &mut Core) -> bool {
        if self.outbox.bytes() > core.limits.max_buffered && self.begin_pause(PauseCause::Backlog, core) {
            core.counters.backlog_pauses += 1;
        }
        self.is(SessionFlag::PausedByBacklog)
    }

    /// Whether pings of a backlogged peer can be answered: pongs of up to [`CONTROL_ROOM`] bytes
    /// have room above the high-water mark, so that a peer that does not read can still ping and
    /// close.
    #[inline]
    pub(in crate::session) fn has_control_room(&self) -> bool {
        self.cold.as_ref().is_none_or(|cold| cold.pongs < CONTROL_ROOM)
    }

    /// Answers a ping. Returns whether another one can be answered.
    #[inline]
    pub(in crate::session) fn send_pong(&mut self, payload: &[u8], core: &mut Core) -> bool {
        self.send(OpCode::Pong, payload, core);
        if !self.is_backlogged(core) {
            return true;
        }
        self.cold().pongs += (self.header_len(payload.len()) + payload.len()) as u32;
        self.has_control_room()
    }

    /// Continues the delivery of messages, after the output has fallen to the low-water mark.
    pub(in crate::session) fn end_backlog(&mut self, core: &mut Core) {
        self.end_pause(PauseCause::Backlog, core);
        self.last_active = core.tick();
        if let Some(cold) = &mut self.cold {
            cold.pongs = 0;
        }
    }

    #[inline]
    pub(in crate::session) fn has_stash(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.stash.is_some())
    }

    /// Appends `bytes` to the stash, if there is one. Returns whether there is.
    #[inline]
    pub(in crate::session) fn extend_stash(&mut self, bytes: &[u8]) -> bool {
        let Some(stash) = self.cold.as_mut().and_then(|cold| cold.stash.as_mut()) else { return false };
        stash.input.extend(&mut stash.at, bytes);
        true
    }

    /// Stashes input of a paused connection in owned memory, and releases the receive buffer.
    pub(in crate::session) fn stash(
        &mut self,
        message: Option<StashedMessage>,
        input: Input,
        at: usize,
        core: &mut Core,
    ) {
        let (bytes, at) = input.into_kept(at);
        self.cold().stash = Some(Stash { message, input: Input::Kept(bytes), at });
        self.mark_dirty(core);
    }

    /// Stashes input until the next turn, in its receive buffer unless few buffers are free.
    #[cold]
    pub(in crate::session) fn stash_until_next_turn(&mut self, mut input: Input, mut at: usize, core: &mut Core) {
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
    pub(in crate::session) fn is_over_rate(&self, bytes: usize, stashes_message: bool, core: &mut Core) -> bool {
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
    pub(in crate::session) fn stash_until_rate_allows(&mut self, input: Input, at: usize, core: &mut Core) {
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
    pub(in crate::session) fn end_wait(&mut self) {
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
    pub(in crate::session) fn should_receive(&self) -> bool {
        !matches!(self.phase, SessionPhase::Connecting | SessionPhase::Deferred)
            && self.flags & NOT_RECEIVING == 0
            && !self.has_stash()
            && !self.has_postponed_violation()
            && (!self.is(SessionFlag::PausedByBacklog) || self.has_control_room())
    }
}
