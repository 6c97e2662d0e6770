//! How connections end: the closing handshake (RFC 6455 section 7), violations, timeouts, and TCP.

use super::opening::Body;
use super::{Action, Hub, Peers, TICK};
use crate::client::ConnectError;
use crate::close::{CloseReason, Ending};
use crate::connection::Shard;
use crate::handler::Handler;
use crate::session::{Farewell, Flag, Phase, recycle_output};
use http::StatusCode;
use ringway_codec::{CloseCode, ClosePayload, OpCode, ProtocolError, Refusal, Role, encode_close};
use ringway_io::{Cause, Slot};
use std::time::Duration;

impl<H: Handler> Hub<H> {
    /// We close: our close frame goes out, and the peer's is awaited.
    pub(crate) fn begin_close(&mut self, slot: Slot, code: CloseCode, text: &str, payload: &ClosePayload) {
        self.send(slot, OpCode::Close, payload);
        let Some(session) = self.table.get_mut(slot) else { return };
        session.phase = Phase::Closing;
        let text = if code == CloseCode::NO_STATUS { String::new() } else { text.to_owned() };
        session.cold().reason = Some(CloseReason { code, text, ending: Ending::Unanswered });
        // What a pause holds back is of no use any more, and the peer's answer is behind it.
        session.unset(Flag::PausedByHandler);
        session.unset(Flag::PausedByBacklog);
        self.set_timer(slot, self.config.close_timeout);
    }

    /// The peer's close frame has come: the first one is answered with its own code, and either way all is said.
    pub(super) fn peer_closed(&mut self, slot: Slot, close: Option<(CloseCode, &str)>) {
        let Some(session) = self.table.get_mut(slot) else { return };
        if session.phase == Phase::Closing {
            if let Some(reason) = &mut session.cold().reason {
                reason.ending = Ending::Local;
            }
        } else {
            let (code, text) = close.unwrap_or((CloseCode::NO_STATUS, ""));
            let reason = CloseReason { code, text: text.to_owned(), ending: Ending::Peer };
            session.cold().reason = Some(reason);
            let answer = close.and_then(|(code, _)| encode_close(code, "").ok()).unwrap_or(ClosePayload::EMPTY);
            self.send(slot, OpCode::Close, &answer);
        }
        let farewell = if self.is_client(slot) { Farewell::Await } else { Farewell::Close };
        self.depart(slot, farewell);
    }

    /// The peer broke the protocol: it is told with which code, and left (RFC 6455 section 7.1.7).
    pub(super) fn violated(&mut self, slot: Slot, error: ProtocolError) {
        let Some(session) = self.table.get_mut(slot) else { return };
        let code = error.close_code();
        let was_open = session.phase == Phase::Open;
        session.cold().reason = Some(CloseReason { code, text: error.to_string(), ending: Ending::Violation(error) });
        if was_open {
            let payload = encode_close(code, &error.to_string()).unwrap_or(ClosePayload::EMPTY);
            self.send(slot, OpCode::Close, &payload);
        }
        self.depart(slot, Farewell::Linger);
    }

    /// Everything is said: what is queued goes out, and then comes the farewell, within the close timeout.
    pub(super) fn depart(&mut self, slot: Slot, farewell: Farewell) {
        let Some(session) = self.table.get_mut(slot) else { return };
        session.phase = Phase::Departing(farewell);
        if let Some(cold) = &mut session.cold {
            cold.stash = None;
        }
        self.set_timer(slot, self.config.close_timeout);
        self.mark(slot);
    }

    /// Nothing more will come from the peer.
    pub(crate) fn ended(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, cause: Cause) {
        let Some(session) = self.table.get_mut(slot) else { return };
        session.set(Flag::PeerFinished);
        session.unset(Flag::Receiving);
        match cause {
            Cause::Finished if session.has_stash() => {} // What came before it is delivered first.
            Cause::Finished => self.peer_finished(handler, peers, slot),
            Cause::Reset => self.broken(handler, peers, slot, Ending::Reset),
            Cause::Failed(error) => self.broken(handler, peers, slot, Ending::Failed(error)),
            Cause::Unconnected(error) => {
                self.fail_connect(handler, peers, slot, ConnectError::Unreachable(error));
            }
        }
    }

    /// After what was held back has been delivered: the end that was held back with it.
    pub(super) fn peer_finish_held_back(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        if self.table.get(slot).is_some_and(|session| session.is(Flag::PeerFinished) && !session.has_stash()) {
            self.peer_finished(handler, peers, slot);
        }
    }

    fn peer_finished(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        let Some(session) = self.table.get_mut(slot) else { return };
        match session.phase {
            // It may still read: what is queued goes out first.
            Phase::Open => {
                let reason = CloseReason { code: CloseCode::ABNORMAL, text: String::new(), ending: Ending::Vanished };
                session.cold().reason = Some(reason);
                self.depart(slot, Farewell::Close);
            }
            Phase::Closing => self.depart(slot, Farewell::Close),
            Phase::Departing(_) => self.mark(slot),
            // It may still read the answer that the handler owes it.
            Phase::Deferred => {}
            Phase::Lingering | Phase::Connecting => self.release(handler, peers, slot),
            Phase::Handshaking if session.role == Role::Client => {
                self.fail_connect(handler, peers, slot, ConnectError::Ended);
            }
            Phase::Handshaking => self.release(handler, peers, slot),
        }
    }

    fn broken(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, ending: Ending) {
        let Some(session) = self.table.get_mut(slot) else { return };
        match session.phase {
            Phase::Connecting | Phase::Handshaking if session.role == Role::Client => {
                let error = match ending {
                    Ending::Failed(error) => ConnectError::Unreachable(error),
                    _ => ConnectError::Unreachable(std::io::ErrorKind::ConnectionReset.into()),
                };
                return self.fail_connect(handler, peers, slot, error);
            }
            Phase::Open => {
                let reason = CloseReason { code: CloseCode::ABNORMAL, text: String::new(), ending };
                session.cold().reason = Some(reason);
            }
            _ => {}
        }
        self.release(handler, peers, slot);
    }

    /// A client's connection has not come about.
    pub(super) fn fail_connect(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, error: ConnectError) {
        if let Some(state) = self.remove(slot) {
            handler.failed(&mut Shard { hub: self, peers }, state.0, &error);
        }
    }

    /// The session's timer has come due.
    pub(super) fn timed_out(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        let Some(session) = self.table.get_mut(slot) else { return };
        match session.phase {
            Phase::Connecting | Phase::Handshaking if session.role == Role::Client => {
                self.fail_connect(handler, peers, slot, ConnectError::Timeout);
            }
            Phase::Connecting | Phase::Handshaking | Phase::Deferred => {
                let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the opening handshake took too long");
                self.refuse(slot, &refusal, Body::Sent);
            }
            Phase::Open => self.look_at_silence(handler, peers, slot),
            Phase::Closing | Phase::Departing(_) | Phase::Lingering => self.release(handler, peers, slot),
        }
    }

    /// Half of the idle timeout in silence: a ping. All of it: the end.
    fn look_at_silence(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        let (tick, Some(limit)) = (self.tick, self.config.idle_timeout) else { return };
        let Some(session) = self.table.get_mut(slot) else { return };
        // Of a peer that is not read because it does not read, bytes taken are the sign of life.
        let silence = if session.is(Flag::Receiving) || session.is(Flag::PausedByBacklog) {
            TICK * tick.wrapping_sub(session.last_active)
        } else {
            // It is the handler who does not listen.
            session.last_active = tick;
            Duration::ZERO
        };
        if silence >= limit {
            let reason = CloseReason { code: CloseCode::ABNORMAL, text: String::new(), ending: Ending::Idle };
            session.cold().reason = Some(reason);
            self.release(handler, peers, slot);
        } else if silence >= limit / 2 {
            // Idle connections keep no compressor: the next message begins without a context, as it may at any time.
            session.cold.take_if(|cold| cold.deflater.take().is_some() && cold.stash.is_none());
            self.send(slot, OpCode::Ping, b"");
            self.set_timer(slot, limit - silence);
        } else {
            self.set_timer(slot, limit / 2 - silence);
        }
    }

    /// The end of a session: the driver closes its slot, and the handler learns how it ended.
    pub(super) fn release(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        if let Some((state, Some(reason))) = self.remove(slot) {
            handler.closed(&mut Shard { hub: self, peers }, state, &reason);
        }
    }

    /// Takes the session out, and has the driver close its slot. With the reason, if the handler has to be told.
    fn remove(&mut self, slot: Slot) -> Option<(H::State, Option<CloseReason>)> {
        let mut session = self.table.remove(slot)?;
        self.wheel.clear(slot.index());
        self.actions.push(Action::Close(slot));
        session.decoder.release(&mut self.spill);
        if let Some(output) = session.queue.take() {
            recycle_output(output, &mut self.spill);
        }
        let reason = session.is(Flag::Opened).then(|| {
            session.cold.and_then(|cold| cold.reason).unwrap_or(CloseReason {
                code: CloseCode::ABNORMAL,
                text: String::new(),
                ending: Ending::Vanished,
            })
        });
        Some((session.state, reason))
    }

    /// The shard stops: every connection is told, and the rest is cut short.
    pub(crate) fn stop(&mut self, handler: &mut H, peers: Peers<'_>) {
        if std::mem::replace(&mut self.stopping, true) {
            return;
        }
        let slots: Vec<Slot> = self.table.slots().collect();
        for slot in slots {
            let Some(session) = self.table.get(slot) else { continue };
            match session.phase {
                Phase::Open => {
                    let text = "the server is stopping";
                    let payload = encode_close(CloseCode::GOING_AWAY, text).unwrap_or(ClosePayload::EMPTY);
                    self.begin_close(slot, CloseCode::GOING_AWAY, text, &payload);
                }
                Phase::Handshaking | Phase::Connecting | Phase::Deferred => {
                    if session.role == Role::Client {
                        self.fail_connect(handler, peers, slot, ConnectError::Stopping);
                    } else {
                        self.release(handler, peers, slot);
                    }
                }
                Phase::Closing | Phase::Departing(_) | Phase::Lingering => {}
            }
        }
    }

    /// Ends all sessions that are left, for a shard whose time to stop is over.
    pub(crate) fn release_all(&mut self, handler: &mut H, peers: Peers<'_>) {
        let slots: Vec<Slot> = self.table.slots().collect();
        for slot in slots {
            self.release(handler, peers, slot);
        }
    }

    /// Whether the shard is on its way to stop.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping
    }
}
