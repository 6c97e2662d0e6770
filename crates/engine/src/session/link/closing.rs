//! How a connection is closed by either side (RFC 6455 section 7), and how it is lost.

use super::Link;
use super::phase::{SessionFlag, SessionPhase};
use crate::api::close::{CloseReason, Ending};
use crate::api::error::{ConnectError, Unopened};
use crate::metrics::PauseCause;
use crate::session::closing::{CloseMode, Removal};
use crate::session::deadlines::Deadlines;
use crate::session::opening::Agreed;
use crate::shard::core::Core;
use crate::topics::delivery::catch_up;
use ringway_codec::{CloseCode, ClosePayload, OpCode, ProtocolError, encode_close};
use std::io;
use std::time::Duration;

impl<S> Link<S> {
    /// Sends this side's close frame. The peer's is awaited for the close timeout.
    pub(crate) fn begin_close(&mut self, code: CloseCode, text: &str, payload: &ClosePayload, core: &mut Core) {
        catch_up(self, core);
        if !self.is_open() {
            return;
        }
        if let Some(kind) = self.phase.plain() {
            return self.close_plain(kind, code, text, core);
        }
        core.unsubscribe_all(self.slot);
        self.send_close(payload, core);
        self.set_phase(SessionPhase::Closing, core);
        let text = if code == CloseCode::NO_STATUS { String::new() } else { text.to_owned() };
        self.cold().reason = Some(CloseReason::new(code, text, Ending::Unanswered));
        // Stashed messages are no longer delivered, and the peer's close frame is behind them.
        self.end_pause(PauseCause::Handler, core);
        self.end_pause(PauseCause::Backlog, core);
        self.set_close_timer(core);
    }

    fn send_close(&mut self, payload: &ClosePayload, core: &mut Core) {
        let before = self.outbox.bytes();
        self.send(OpCode::Close, payload, core);
        let frame = self.outbox.bytes().saturating_sub(before);
        self.cold().close_frame = u8::try_from(frame).unwrap_or(u8::MAX);
    }

    /// The bytes of output that the driver has not sent, without this side's close frame. With TLS,
    /// those of the plaintext.
    pub(in crate::session) fn unsent(&self, core: &mut Core) -> usize {
        let frame = self.cold.as_ref().map_or(0, |cold| cold.close_frame);
        let stream = core.tls.as_mut().and_then(|tls| tls.get_mut(self.slot()));
        let overhead = stream.map_or(0, |stream| stream.overhead());
        self.outbox.bytes().saturating_sub(overhead).saturating_sub(usize::from(frame))
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
    pub(in crate::session) fn peer_closed(&mut self, close: Option<(CloseCode, &str)>, core: &mut Core) {
        if self.is_terminated() {
            return;
        }
        if self.phase == SessionPhase::Closing {
            if let Some(CloseReason { ending: ending @ Ending::Unanswered, .. }) = &mut self.cold().reason {
                *ending = Ending::Local;
            }
        } else {
            let (code, text) = close.unwrap_or((CloseCode::NO_STATUS, ""));
            self.cold().reason = Some(CloseReason::new(code, text, Ending::Peer));
            let answer = close.and_then(|(code, _)| encode_close(code, "").ok()).unwrap_or(ClosePayload::EMPTY);
            catch_up(self, core);
            if self.is_terminated() {
                return;
            }
            self.send_close(&answer, core);
        }
        let mode = if self.is(SessionFlag::Client) { CloseMode::AwaitPeer } else { CloseMode::Immediate };
        self.begin_shutdown(mode, core);
    }

    /// Handles a protocol violation of the peer: sends its close code (RFC 6455 section 7.1.7).
    pub(in crate::session) fn violated(&mut self, error: ProtocolError, core: &mut Core) {
        if self.is_terminated() {
            return;
        }
        core.meters.violations.violated(error.close_code());
        self.fail(error.close_code(), &error.to_string(), Ending::Violation(error), core);
    }

    /// Handles a protocol violation when the handler resumes the connection, which is paused until
    /// then, or after the close timeout.
    #[cold]
    pub(in crate::session) fn postpone_violation(&mut self, error: ProtocolError, core: &mut Core) {
        self.cold().violation = Some((error, core.tick()));
        core.set_timer(self.slot, core.config.close_timeout);
        self.pause(core);
        self.mark_dirty(core);
    }

    #[inline]
    pub(in crate::session) fn has_postponed_violation(&self) -> bool {
        self.cold.as_ref().is_some_and(|cold| cold.violation.is_some())
    }

    /// The time left for a postponed violation; `None` if there is none.
    pub(in crate::session) fn check_violation(&self, core: &Core) -> Option<Duration> {
        let (_, since) = self.cold.as_ref()?.violation.as_ref()?;
        Some(core.config.close_timeout.saturating_sub(core.since(*since)))
    }

    /// Handles a violation that was postponed, unless the connection is closing by now.
    #[cold]
    pub(in crate::session) fn end_postponement(&mut self, core: &mut Core) {
        if let Some((error, _)) = self.cold.as_mut().and_then(|cold| cold.violation.take()) {
            // The end of the peer's direction is awaited.
            self.end_pause(PauseCause::Handler, core);
            self.violated(error, core);
        }
    }

    /// Ends the connection from this side, without waiting for the peer's close frame (RFC 6455
    /// section 7.1.7).
    pub(in crate::session) fn fail(&mut self, code: CloseCode, text: &str, ending: Ending, core: &mut Core) {
        catch_up(self, core);
        if self.is_terminated() {
            return;
        }
        self.cold().reason = Some(CloseReason::new(code, text, ending));
        if self.phase == SessionPhase::Open {
            let payload = encode_close(code, text).unwrap_or(ClosePayload::EMPTY);
            self.send_close(&payload, core);
        }
        self.begin_shutdown(CloseMode::Linger, core);
    }

    /// Closes the connection with 1011 after a panic of the handler in a call for it.
    pub(crate) fn handler_panicked(&mut self, core: &mut Core) {
        if self.is_open() {
            let text = "internal error";
            let payload = encode_close(CloseCode::INTERNAL, text).unwrap_or(ClosePayload::EMPTY);
            self.begin_close(CloseCode::INTERNAL, text, &payload, core);
            self.cold().reason = Some(CloseReason::new(CloseCode::INTERNAL, text, Ending::Panicked));
        }
    }

    /// Whether the handler has terminated the connection during the decoding of an input.
    fn is_terminated(&self) -> bool {
        matches!(self.phase, SessionPhase::ShuttingDown(_))
    }

    /// Stops receiving, sends the queued output and closes, within the close timeout.
    pub(in crate::session) fn begin_shutdown(&mut self, mode: CloseMode, core: &mut Core) {
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
    pub(in crate::session) fn peer_finished(&mut self, core: &mut Core) -> Option<Removal> {
        match self.phase {
            // The peer may still read: queued output is sent first.
            SessionPhase::Open => {
                let ending = if self.is_truncated(core) { Ending::Truncated } else { Ending::Vanished };
                self.cold().reason = Some(CloseReason::abnormal(ending));
                self.begin_shutdown(CloseMode::Immediate, core);
            }
            SessionPhase::PlainStream | SessionPhase::PlainDatagrams => {
                self.cold().reason = Some(CloseReason::new(CloseCode::NO_STATUS, "", Ending::Peer));
                self.begin_shutdown(CloseMode::Immediate, core);
            }
            SessionPhase::Closing => self.begin_shutdown(CloseMode::Immediate, core),
            SessionPhase::ShuttingDown(_) => self.mark_dirty(core),
            // The peer may still read the deferred answer.
            SessionPhase::Deferred => {}
            SessionPhase::Held | SessionPhase::Handshaking if self.is(SessionFlag::Client) => {
                // The end of the connection can be that of a refusal's body.
                self.cold().opening.refusal_ended();
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
    pub(in crate::session) fn unreachable(&mut self, error: io::Error) -> Removal {
        let error = match self.cold().opening.attempt() {
            Some(attempt) => attempt.unreachable(error),
            None => ConnectError::Unreachable(error),
        };
        self.unconnected(error)
    }

    /// Handles an address that does not answer (client role): the next one is tried, if there is
    /// another.
    pub(in crate::session) fn unconnected(&mut self, error: ConnectError) -> Removal {
        match self.cold().opening.take_attempt().map(|attempt| attempt.next(error)) {
            Some(Ok(attempt)) => Removal::TryNext(attempt),
            Some(Err(error)) => Removal::Unconnected(error),
            None => Removal::Closed,
        }
    }

    /// Handles the loss of the connection.
    pub(in crate::session) fn broken(&mut self, ending: Ending) -> Removal {
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
            SessionPhase::Open | SessionPhase::PlainStream | SessionPhase::PlainDatagrams => {
                self.cold().reason = Some(CloseReason::abnormal(ending))
            }
            SessionPhase::Handshaking | SessionPhase::Deferred => {
                let text = match ending {
                    Ending::Failed(error) => error.to_string(),
                    Ending::Tls(error) => error,
                    _ => io::Error::from(io::ErrorKind::ConnectionReset).to_string(),
                };
                self.cold().opening.end(Unopened::Lost(text));
            }
            _ => {}
        }
        Removal::Closed
    }

    /// Takes the reason why an accepted connection has not opened.
    pub(crate) fn take_unopened(&mut self) -> Option<Unopened> {
        self.cold.as_mut()?.opening.take_unopened()
    }
}
