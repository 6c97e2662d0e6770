//! What comes in on an open connection.

use super::outgoing::Input;
use super::{Hub, Peers};
use crate::connection::Connection;
use crate::handler::Handler;
use crate::message::Message;
use crate::session::{Held, Phase, Stash};
use ringway_codec::{Decoder, Event, OpCode};
use ringway_io::{Buffer, Slot};

impl<H: Handler> Hub<H> {
    /// Bytes have come.
    #[inline]
    pub(crate) fn received(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, buffer: Buffer) {
        let tick = self.tick;
        let Some(session) = self.table.get_mut(slot) else { return };
        session.last_active = tick;
        match session.phase {
            Phase::Open | Phase::Closing => self.walk(handler, peers, slot, Input::Buffer(buffer), 0),
            Phase::Handshaking => self.handshake(handler, peers, slot, Input::Buffer(buffer)),
            // Reading pauses with the deferral; this was on its way by then.
            Phase::Deferred => session.cold().head.extend_from_slice(&buffer),
            // Nothing that comes now is of interest.
            Phase::Connecting | Phase::Departing(_) | Phase::Lingering => {}
        }
    }

    /// Walks `input` from `at` through the decoder to the handler.
    pub(super) fn walk(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, mut input: Input, mut at: usize) {
        let max = self.limits.max_buffered;
        let Some(session) = self.table.get_mut(slot) else { return };
        if let Some(stash) = session.cold.as_mut().and_then(|cold| cold.stash.as_mut()) {
            // Came before the driver stopped receiving.
            stash.bytes.extend_from_slice(&input[at..]);
            return;
        }
        if session.phase == Phase::Open && session.is_backlogged(max) {
            return self.hold_back(slot, None, input, at);
        }
        // The decoder leaves the session for the walk, so that the handler can use the rest of it meanwhile.
        let mut decoder = std::mem::replace(&mut session.decoder, Decoder::new(session.role));
        self.receiving = Some(slot);
        let mut held_back = None;
        loop {
            match decoder.next(&mut self.spill, &mut input, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Message(incoming))) => {
                    let Some(session) = self.table.get_mut(slot) else { break };
                    if session.phase != Phase::Open {
                        continue; // After our close frame (RFC 6455 section 5.5.1).
                    }
                    if session.is_backlogged(max) || session.is_paused() {
                        let (kind, payload) = (incoming.kind(), incoming.payload().to_vec());
                        held_back = Some(Some(Held { kind, payload, compressed: incoming.is_compressed() }));
                        // The decoder would keep it until it goes on.
                        if let Some(spill) = decoder.take_spill() {
                            self.spill.give(spill);
                        }
                        break;
                    }
                    handler.message(&mut Connection::new(self, peers, slot), Message::received(incoming));
                    self.join_pieces(&mut input, &mut decoder);
                }
                Ok(Some(Event::Ping(payload))) => {
                    if !self.is_open(slot) {
                        continue;
                    }
                    self.send(slot, OpCode::Pong, payload);
                    handler.ping(&mut Connection::new(self, peers, slot), payload);
                    if self.table.get_mut(slot).is_some_and(|session| session.is_backlogged(max)) {
                        held_back = Some(None);
                        break;
                    }
                }
                Ok(Some(Event::Pong(payload))) => {
                    if self.is_open(slot) {
                        handler.pong(&mut Connection::new(self, peers, slot), payload);
                    }
                }
                Ok(Some(Event::Close(close))) => {
                    self.peer_closed(slot, close);
                    break;
                }
                Err(error) => {
                    self.violated(slot, error);
                    break;
                }
            }
        }
        self.receiving = None;
        if let Some(session) = self.table.get_mut(slot) {
            session.decoder = decoder;
        }
        match held_back {
            None => self.attach_pieces(slot, input),
            Some(message) => {
                self.copy_pieces(slot, &input);
                self.hold_back(slot, message, input, at);
            }
        }
    }

    fn is_open(&self, slot: Slot) -> bool {
        self.table.get(slot).is_some_and(|session| session.phase == Phase::Open)
    }

    /// Keeps what the handler, or the peer's backlog, does not allow to be worked off now.
    fn hold_back(&mut self, slot: Slot, message: Option<Held>, input: Input, at: usize) {
        if let Some(session) = self.table.get_mut(slot) {
            let (bytes, at) = match input {
                Input::Buffer(buffer) => (buffer[at..].to_vec(), 0),
                Input::Kept(bytes) => (bytes, at),
            };
            session.cold().stash = Some(Stash { message, bytes, at });
            self.mark(slot);
        }
    }

    /// Works off what was held back, now that the connection is no longer paused.
    pub(super) fn deliver_stash(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        let Some(session) = self.table.get_mut(slot) else { return };
        let Some(stash) = session.cold.as_mut().and_then(|cold| cold.stash.take()) else { return };
        if let Some(Held { kind, payload, compressed }) = stash.message {
            if session.phase == Phase::Open {
                let message = Message::held_back(kind, &payload, compressed);
                handler.message(&mut Connection::new(self, peers, slot), message);
            }
            self.spill.give(payload);
        }
        if stash.at < stash.bytes.len() {
            self.walk(handler, peers, slot, Input::Kept(stash.bytes), stash.at);
        }
        self.peer_finish_held_back(handler, peers, slot);
    }
}
