//! The end of a session that its shard decides: for want of memory, in a drain, and at the end of its
//! lifetime.

use super::Session;
use super::closing::{CloseMode, Removal};
use super::link::{SessionFlag, SessionPhase};
use super::opening::drain_refusal;
use crate::api::close::{CloseReason, Ending};
use crate::api::error::ConnectError;
use crate::metrics::codes::ClosedBy;
use crate::shard::core::{Action, Core};
use crate::shard::drain::DrainReason;
use crate::shard::notices::NoticeKind;
use ringway_codec::{CloseCode, ClosePayload, Role, encode_close};

impl<S> Session<S> {
    /// Frees the memory of this session and ends the connection, because the shard is at its memory
    /// limit and this session is among the largest holders.
    pub(crate) fn shed(&mut self, core: &mut Core) -> Option<Removal> {
        /// The maximum output in bytes that is kept for a closing connection.
        const OUTPUT_MAX: usize = 64 * 1024;
        core.counters.memory_closes += 1;
        core.notices.warn(core.clock.now(), NoticeKind::MemoryClose, self.link.slot(), || {
            "a connection is closed to free memory: it is one of those that hold much and read slowly \
             (limits.max_memory)"
                .to_owned()
        });
        self.accounted(core, |session, core| {
            let Self { decoder, link } = session;
            match link.phase {
                SessionPhase::Handshaking | SessionPhase::Deferred if link.role() == Role::Server => {
                    session.shed_request(core)
                }
                SessionPhase::Connecting | SessionPhase::Held | SessionPhase::Handshaking | SessionPhase::Deferred => {
                    Some(Removal::Unconnected(ConnectError::Memory))
                }
                SessionPhase::Open => {
                    decoder.release(&mut core.memory.pool);
                    link.drop_compressor(core);
                    let (text, ending) = ("the server is short of memory", Ending::MemoryLimit);
                    if link.is(SessionFlag::Sending) && core.tls.is_none() {
                        // What is queued behind a send begins with a frame: the close frame can
                        // take its place.
                        link.outbox.discard(&mut core.memory);
                    }
                    if link.outbox.weight(&core.memory) <= OUTPUT_MAX {
                        link.fail(CloseCode::TRY_AGAIN, text, ending, core);
                        return None;
                    }
                    // No close frame can follow the output, so none is sent.
                    link.cold().reason = Some(CloseReason::abnormal(ending));
                    Some(Removal::Closed)
                }
                SessionPhase::PlainStream | SessionPhase::PlainDatagrams => {
                    link.cold().reason = Some(CloseReason::abnormal(Ending::MemoryLimit));
                    Some(Removal::Closed)
                }
                SessionPhase::Preamble
                | SessionPhase::Closing
                | SessionPhase::ShuttingDown(_)
                | SessionPhase::Lingering => Some(Removal::Closed),
            }
        })
    }

    /// Whether the session is ending already, and frees its memory soon.
    pub(crate) fn is_ending(&self) -> bool {
        matches!(self.link.phase, SessionPhase::Closing | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering)
    }

    /// Whether [`Session::drain`] has an effect. In a hand-over, an opening handshake is completed
    /// before.
    pub(crate) fn awaits_drain(&self, reason: DrainReason, core: &Core) -> bool {
        match self.link.phase {
            SessionPhase::Open | SessionPhase::PlainStream | SessionPhase::PlainDatagrams => true,
            SessionPhase::Preamble | SessionPhase::Handshaking | SessionPhase::Deferred => {
                reason != DrainReason::HandOver || self.link.is_between_requests(core)
            }
            _ => false,
        }
    }

    /// Handles the drain of the shard: begins to close an open connection, and refuses a request
    /// that is not answered yet, or not complete. An attempt of the client role ends.
    pub(crate) fn drain(&mut self, reason: DrainReason, core: &mut Core) -> Option<Removal> {
        match self.link.phase {
            SessionPhase::Open | SessionPhase::PlainStream | SessionPhase::PlainDatagrams => {
                let (code, text) = (reason.close_code(), reason.text());
                let payload = encode_close(code, text).unwrap_or(ClosePayload::EMPTY);
                self.link.begin_close(code, text, &payload, core);
                None
            }
            // No request is in progress; responses that wait are sent first.
            SessionPhase::Handshaking if self.link.is_between_requests(core) => {
                if self.link.outbox.bytes() == 0 {
                    return Some(Removal::Closed);
                }
                self.accounted(core, |session, core| session.link.begin_shutdown(CloseMode::Linger, core));
                None
            }
            SessionPhase::Connecting | SessionPhase::Held | SessionPhase::Handshaking | SessionPhase::Deferred
                if self.link.role() == Role::Client =>
            {
                Some(Removal::Unconnected(ConnectError::Stopping))
            }
            SessionPhase::Handshaking | SessionPhase::Deferred if self.awaits_drain(reason, core) => {
                core.count_drain_refusal();
                self.accounted(core, |session, core| {
                    session.link.cold().opening.release();
                    session.refuse(&drain_refusal(), core);
                });
                None
            }
            // Nobody waits for a response yet.
            SessionPhase::Preamble if self.awaits_drain(reason, core) => {
                core.count_drain_refusal();
                Some(Removal::Closed)
            }
            SessionPhase::Connecting
            | SessionPhase::Held
            | SessionPhase::Preamble
            | SessionPhase::Handshaking
            | SessionPhase::Deferred => None,
            SessionPhase::Closing | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering => None,
        }
    }

    /// Begins to close an open connection whose lifetime is over.
    pub(crate) fn end_lifetime(&mut self, core: &mut Core) {
        if self.link.is_open() {
            core.counters.lifetime_closes += 1;
            let text = "the maximum lifetime of the connection is over";
            let payload = encode_close(CloseCode::GOING_AWAY, text).unwrap_or(ClosePayload::EMPTY);
            self.link.begin_close(CloseCode::GOING_AWAY, text, &payload, core);
        }
    }

    /// Closes the slot and returns the resources of the shard. Returns the handler's state, and the
    /// reason if the connection was open.
    pub(crate) fn release(self, core: &mut Core) -> (Option<S>, Option<CloseReason>) {
        // A client that has read a page leaves without a handshake.
        let is_handshaking = matches!(self.link.phase, SessionPhase::Handshaking | SessionPhase::Deferred);
        if self.link.role() == Role::Server && is_handshaking && !self.link.is_between_requests(core) {
            core.counters.handshakes_aborted += 1;
        }
        core.memory.discharge(self.held_input());
        let unsent = self.link.unsent(core);
        if let Some(tls) = &mut core.tls {
            core.memory.discharge(tls.remove(self.link.slot()));
        }
        let Self { mut decoder, mut link } = self;
        core.clear_timer(link.slot());
        core.forget_lifetime(link.slot());
        core.timers.release(link.slot());
        core.http.forget(link.slot());
        core.unsubscribe_all(link.slot());
        if let Some(throttle) = &mut core.throttle {
            throttle.release(link.slot());
        }
        if let Some(tickets) = &mut core.tickets {
            tickets.release(link.slot());
        }
        core.actions.push(Action::Close(link.slot()));
        decoder.release(&mut core.memory.pool);
        link.drop_compressor(core);
        link.outbox.release(&mut core.memory);
        link.uncount(core);
        let mut reason = link.take_reason();
        if let Some(reason) = &mut reason {
            reason.unsent = unsent;
            core.meters.closes.closed(reason.code, ClosedBy::of(&reason.ending));
            core.meters.ended(link.slot().index(), core.now());
        }
        (link.state, reason)
    }
}
