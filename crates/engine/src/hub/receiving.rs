//! What comes in on an open connection.

use super::outgoing::Input;
use super::{Hub, Peers};
use crate::connection::Connection;
use crate::handler::Handler;
use crate::message::Message;
use crate::session::{Phase, Stash};
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
        let Some(session) = self.table.get_mut(slot) else { return };
        if let Some(stash) = session.cold.as_mut().and_then(|cold| cold.stash.as_mut()) {
            // Came before the driver stopped receiving.
            stash.rest.extend_from_slice(&input[at..]);
            return;
        }
        // The decoder leaves the session for the walk, so that the handler can use the rest of it meanwhile.
        let mut decoder = std::mem::replace(&mut session.decoder, Decoder::new(session.role));
        self.receiving = Some(slot);
        loop {
            match decoder.next(&mut self.spill, &mut input, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Message(incoming))) => {
                    let Some(session) = self.table.get_mut(slot) else { break };
                    if session.phase != Phase::Open {
                        continue; // After our close frame (RFC 6455 section 5.5.1).
                    }
                    if session.is_paused() {
                        let (kind, payload) = (incoming.kind(), incoming.payload().to_vec());
                        session.cold().stash = Some(Stash { kind, payload, rest: input[at..].to_vec() });
                        self.mark(slot);
                        break;
                    }
                    handler.message(&mut Connection::new(self, peers, slot), Message::received(incoming));
                    self.join_pieces(&mut input, &mut decoder);
                }
                Ok(Some(Event::Ping(payload))) => {
                    if self.table.get(slot).is_some_and(|session| session.phase == Phase::Open) {
                        self.send(slot, OpCode::Pong, payload);
                        handler.ping(&mut Connection::new(self, peers, slot), payload);
                    }
                }
                Ok(Some(Event::Pong(payload))) => {
                    if self.table.get(slot).is_some_and(|session| session.phase == Phase::Open) {
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
        self.attach_pieces(slot, input);
    }

    /// Delivers what was held back, now that the connection is no longer paused.
    pub(super) fn deliver_stash(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        let Some(session) = self.table.get_mut(slot) else { return };
        let Some(stash) = session.cold.as_mut().and_then(|cold| cold.stash.take()) else { return };
        if session.phase == Phase::Open {
            handler.message(&mut Connection::new(self, peers, slot), Message::of(stash.kind, &stash.payload));
        }
        self.spill.give(stash.payload);
        if !stash.rest.is_empty() {
            self.walk(handler, peers, slot, Input::Kept(stash.rest), 0);
        }
        self.peer_finish_held_back(handler, peers, slot);
    }
}
