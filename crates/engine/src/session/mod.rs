//! One connection as a state machine: the inputs are bytes and events, the outputs are calls of the
//! application and [`Action`]s.
//!
//! [`Session`] owns the whole state of its connection. It reads no clock and calls no driver: the
//! shared state of its shard is one argument, the [`Core`], and events are reported to an
//! [`Application`]. Tests therefore drive it with bytes alone.

pub(crate) mod application;
pub(crate) mod attempt;
pub(crate) mod closing;
pub(crate) mod compression;
pub(crate) mod deadlines;
mod ending;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handshake;
mod input;
pub(crate) mod link;
pub(crate) mod opening;
pub(crate) mod outbox;
mod plain;
mod preamble;
mod requests;
mod secure;

use crate::admission::proxy::ProxyError;
use crate::api::close::Ending;
use crate::api::error::ConnectError;
use crate::api::message::{Message, StashedPayload};
use crate::api::opening::OpeningStage;
use crate::shard::clock::TICK;
use crate::shard::core::{Action, Core};
use application::Application;
use attempt::Attempt;
use closing::{CloseMode, Removal};
use deadlines::{Awaited, PeerProbe};
use input::Input;
use link::{Link, SessionFlag, SessionPhase, StashedMessage};
use opening::Opening;
use ringway_codec::{Decoder, Event, Role};
use ringway_io::{Buffer, Cause, Output, Slot};

/// One connection: 80 bytes and the handler's state.
///
/// The decoder is separate from the rest, because a message borrows it, or the input, while the
/// handler uses the connection.
///
/// A method that returns a [`Removal`] has ended the session: its owner removes it from the shard
/// and calls [`release`](Session::release).
pub(crate) struct Session<S> {
    pub(crate) decoder: Decoder,
    pub(crate) link: Link<S>,
}

impl<S> Session<S> {
    /// Creates the session of an accepted connection.
    pub(crate) fn accepted(slot: Slot, core: &mut Core) -> Self {
        let mut session = Self::new(slot, Role::Server, None, core);
        session.link.mark_dirty(core);
        session
    }

    /// Creates the session of an outgoing connection that is being established.
    pub(crate) fn connecting(slot: Slot, attempt: Attempt, state: S, core: &mut Core) -> Self {
        let mut session = Self::new(slot, Role::Client, Some(state), core);
        core.set_timer(slot, attempt.connect_time(core));
        session.link.cold().opening = Opening::to(attempt);
        session
    }

    fn new(slot: Slot, role: Role, state: Option<S>, core: &mut Core) -> Self {
        core.set_timer(slot, core.config.handshake_timeout);
        core.meters.created(slot.index(), core.now());
        Self { decoder: Decoder::new(role), link: Link::new(slot, role, state, core.tick()) }
    }

    /// Handles received bytes.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        buffer: Buffer,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        self.link.last_active = core.tick();
        self.link.unset(SessionFlag::Pinged);
        if core.tls.as_ref().is_some_and(|tls| tls.get(self.link.slot()).is_some()) {
            return self.receive_records(buffer, core, app);
        }
        self.receive_plain(Input::Buffer(buffer), 0, core, app)
    }

    /// Handles received plaintext: `input` from `at` on.
    #[inline]
    fn receive_plain(
        &mut self,
        input: Input,
        at: usize,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        // Before the decoder unmasks the bytes. The header of the PROXY protocol is not traced; what
        // is behind it comes here again.
        if core.tap.is_some() && self.link.phase != SessionPhase::Preamble {
            let slot = self.link.slot();
            core.with_tap(|tap, now| tap.received(slot, &input[at..], now));
        }
        self.accounted(core, |session, core| match session.link.phase {
            SessionPhase::Open | SessionPhase::Closing => {
                session.decode(input, at, core, app);
                None
            }
            SessionPhase::PlainStream | SessionPhase::PlainDatagrams => {
                session.deliver_plain(input, at, core, app);
                None
            }
            SessionPhase::Handshaking => session.handshake(input, at, core, app),
            // Nothing is before it: no layer of TLS.
            SessionPhase::Preamble => session.receive_preamble(input, core),
            // Receiving pauses with the deferral; these bytes were received before.
            SessionPhase::Deferred => {
                session.link.cold().opening.extend_rest(&input[at..]);
                None
            }
            SessionPhase::Held => Some(Removal::Unconnected(ConnectError::Premature)),
            // Input in these phases is ignored.
            SessionPhase::Connecting | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering => None,
        })
    }

    /// The number of bytes of memory that the session holds for its input. Only an event on the
    /// connection changes it.
    #[inline]
    fn held_input(&self) -> usize {
        self.decoder.held_bytes() + self.link.held_input()
    }

    /// The number of bytes of memory that the session holds in total.
    #[cfg(any(test, feature = "fuzzing"))]
    pub(crate) fn held(&self) -> usize {
        self.decoder.held_bytes() + self.link.held()
    }

    /// The number of bytes that the session keeps from being freed: those that it and its TLS layer
    /// hold, and the prepared frames in its outbox, which other sessions may hold too.
    pub(crate) fn weight(&self, core: &Core) -> usize {
        let layer = core.tls.as_ref().and_then(|tls| tls.get(self.link.slot()));
        self.decoder.held_bytes() + self.link.weight(&core.memory) + layer.map_or(0, |layer| layer.held())
    }

    /// Decodes `input` from `at` on and delivers its events, within the connection's budget for
    /// this turn.
    fn decode(&mut self, mut input: Input, mut at: usize, core: &mut Core, app: &mut impl Application<S>) {
        let Self { decoder, link } = self;
        if link.has_postponed_violation() {
            // Nothing behind a violation is decoded.
            return;
        }
        if link.extend_stash(&input[at..]) {
            // Received before the driver stopped receiving.
            return;
        }
        if link.is_open() && link.is_backlogged(core) && !link.has_control_room() {
            return link.stash(None, input, at, core);
        }
        if !core.slices.begin(link.slot()) {
            return link.stash_until_next_turn(input, at, core);
        }
        let start = at;
        let is_throttled = core.throttle.is_some() && link.is_open();
        if is_throttled {
            match core.message_allowance(link.slot()) {
                0 => return link.stash_until_rate_allows(input, at, core),
                messages => core.slices.limit_frames(messages),
            }
        }
        let mut meter = DecodeMeter::new(at, core);
        let stop = loop {
            let front = link.outbox.end_of_replies();
            match decoder.next_behind(&mut core.memory.pool, &mut input, &mut at, front) {
                Ok(None) => {
                    meter.charge(at, core);
                    core.slices.uncount_frame();
                    if decoder.is_suspended() || at < input.len() {
                        core.slices.exhaust();
                        break DecodeStop::Share;
                    }
                    break DecodeStop::Consumed;
                }
                // After this side's close frame nothing is delivered (RFC 6455 section 5.5.1).
                Ok(Some(Event::Message(_) | Event::Ping(_) | Event::Pong(_))) if !link.is_open() => {
                    if !meter.charge(at, core) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Message(incoming))) => {
                    if link.is_backlogged(core) || link.is_paused() {
                        let (compressed, fragmented) = (incoming.is_compressed(), incoming.is_fragmented());
                        let payload = StashedPayload::of(&incoming);
                        break DecodeStop::Paused(Some(StashedMessage { payload, compressed, fragmented }));
                    }
                    core.meters.received_size.record_size(incoming.payload().len());
                    app.message(link, core, Message::received(incoming));
                    link.outbox.commit_reply(&mut input, decoder, &mut core.memory);
                    if !meter.charge(at, core) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    let has_room = link.send_pong(payload, core);
                    app.ping(link, core, payload);
                    if !has_room {
                        break DecodeStop::Paused(None);
                    }
                    if !meter.charge(at, core) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Pong(payload))) => {
                    core.meters.pong_received(payload, core.now());
                    app.pong(link, core, payload);
                    if !meter.charge(at, core) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Close(close))) => {
                    link.peer_closed(close, core);
                    break DecodeStop::Consumed;
                }
                Err(error) => {
                    if link.is_open() && app.postpones_violation(link, core) {
                        link.postpone_violation(error, core);
                    } else {
                        link.violated(error, core);
                    }
                    break DecodeStop::Consumed;
                }
            }
        };
        let is_over_rate =
            is_throttled && { link.is_over_rate(at - start, matches!(stop, DecodeStop::Paused(Some(_))), core) };
        core.slices.end(link.slot());
        let in_flight = link.is(SessionFlag::Sending);
        if !matches!(stop, DecodeStop::Consumed) && !decoder.is_suspended() {
            // The decoder holds the buffer and the inflater of its last message until it is asked
            // for the next one, which may come much later.
            let rest = decoder.next(&mut core.memory.pool, &mut [], &mut 0);
            debug_assert!(matches!(rest, Ok(None)), "there is no input");
        }
        match stop {
            DecodeStop::Share if at < input.len() || decoder.is_suspended() => {
                link.outbox.copy_replies(&input, None, &mut core.memory);
                if is_over_rate {
                    link.stash_until_rate_allows(input, at, core);
                } else {
                    link.stash_until_next_turn(input, at, core);
                }
            }
            DecodeStop::Paused(message) => {
                link.outbox.copy_replies(&input, None, &mut core.memory);
                link.stash(message, input, at, core);
            }
            DecodeStop::Consumed | DecodeStop::Share => {
                link.outbox.finish_input(input, in_flight, &mut core.memory);
                if is_over_rate {
                    link.stash_until_rate_allows(Input::Kept(Vec::new()), 0, core);
                }
            }
        }
        if decoder.keeps_memory() || link.has_cold() {
            self.record_message_start(core);
        }
    }

    /// Records the start of the message that is being received.
    fn record_message_start(&mut self, core: &Core) {
        let Self { decoder, link } = self;
        if !link.is_open() {
            return;
        }
        if !decoder.is_between_messages() {
            link.cold().deadlines.message_since.get_or_insert(core.tick());
        } else if let Some(cold) = &mut link.cold {
            cold.deadlines.message_since = None;
            link.free_unused_cold();
        }
    }

    /// Handles the completion of a send.
    #[inline]
    pub(crate) fn sent(&mut self, output: Output, written: usize, core: &mut Core, app: &mut impl Application<S>) {
        let link = &mut self.link;
        link.unset(SessionFlag::Sending);
        let before = link.outbox.bytes();
        let records_wait = link.complete_output(output, written, core);
        let mut busy = records_wait || !link.outbox.is_empty() || !link.is_open();
        if link.is(SessionFlag::PausedByBacklog) && link.outbox.bytes() <= core.limits.low_mark() {
            link.end_backlog(core);
            busy = true;
        }
        if core.has_lagging && link.outbox.bytes() <= core.limits.low_mark() {
            core.has_topic_room(link.slot());
        }
        if link.is(SessionFlag::WantsDrained) && link.is_open() && link.has_drained(before, core) {
            link.unset(SessionFlag::WantsDrained);
            app.drained(link, core);
            busy = true;
        }
        if busy {
            link.mark_dirty(core);
            link.response_sent(core);
        }
    }

    /// Handles the end of the peer's input, for this cause.
    pub(crate) fn ended(&mut self, cause: Cause, core: &mut Core) -> Option<Removal> {
        self.link.set(SessionFlag::PeerFinished);
        self.link.unset(SessionFlag::Receiving);
        match cause {
            Cause::Finished => self.peer_finished(core),
            Cause::Reset => Some(self.link.broken(Ending::Reset)),
            Cause::Failed(error) => Some(self.link.broken(Ending::Failed(error))),
            Cause::Unconnected(error) => Some(self.link.unreachable(error)),
        }
    }

    /// Handles an event that can change the memory held for the input, and charges the difference.
    #[inline]
    fn accounted<R>(&mut self, core: &mut Core, handle: impl FnOnce(&mut Self, &mut Core) -> R) -> R {
        let before = self.held_input();
        let result = handle(self, core);
        core.memory.recharge(before, self.held_input());
        result
    }

    /// Handles the expiry of the session's timer.
    pub(crate) fn timed_out(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        self.accounted(core, |session, core| session.check_deadline(probe, core))
    }

    fn check_deadline(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        let slot = self.link.slot();
        // The connection, or the rest of the head, may have arrived during a stall of the shard.
        if matches!(self.link.phase, SessionPhase::Connecting | SessionPhase::Preamble | SessionPhase::Handshaking)
            && self.link.cold().deadlines.may_have_arrived(Awaited::Sign, slot, probe, core)
        {
            core.set_timer(slot, TICK);
            return None;
        }
        match self.link.phase {
            SessionPhase::Connecting => Some(self.link.unconnected(ConnectError::Timeout(OpeningStage::Connect))),
            SessionPhase::Handshaking if self.link.role() == Role::Client => {
                Some(Removal::Unconnected(ConnectError::Timeout(self.link.cold().opening.stage())))
            }
            SessionPhase::Preamble => {
                core.reject_proxy(slot, &ProxyError::Timeout);
                Some(Removal::Closed)
            }
            SessionPhase::Handshaking | SessionPhase::Deferred => self.check_request(probe, core),
            // Its timer was cleared.
            SessionPhase::Held => None,
            SessionPhase::Open => self.link.check_deadlines(probe, core),
            SessionPhase::PlainStream | SessionPhase::PlainDatagrams => self.link.check_plain(probe, core),
            SessionPhase::Closing | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering => {
                self.link.check_closing(probe, core).then_some(Removal::Closed)
            }
        }
    }

    /// Continues with input that waited for this turn.
    pub(crate) fn end_wait(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        if !self.link.is(SessionFlag::Waiting) {
            return None;
        }
        self.accounted(core, |session, core| {
            session.link.end_wait();
            session.link.mark_dirty(core);
        });
        if self.link.is_paused() { None } else { self.deliver_stash(core, app) }
    }

    /// Ends the turn: delivers stashed input if the connection is no longer paused, passes the
    /// output to the driver, and continues with closing.
    #[inline]
    pub(crate) fn flush(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        self.link.unset(SessionFlag::Dirty);
        if self.link.has_postponed_violation() && !self.link.is_paused() {
            self.link.end_postponement(core);
        }
        if self.link.has_stash() && !self.link.is_paused() && !self.link.is(SessionFlag::Waiting) {
            let removal = self.deliver_stash(core, app);
            if removal.is_some() {
                return removal;
            }
        }
        let link = &mut self.link;
        let slot = link.slot();
        // A closing connection answers nothing, and waits for the peer's close frame.
        if link.is_open() {
            link.is_backlogged(core);
        }
        if !link.is(SessionFlag::Sending) {
            match link.take_output(core) {
                Ok(None) => {}
                Ok(Some(output)) => {
                    link.set(SessionFlag::Sending);
                    core.actions.push(Action::Send(slot, output));
                }
                Err(removal) => return Some(removal),
            }
        }
        let should_receive = link.should_receive();
        if should_receive != link.is(SessionFlag::Receiving) {
            if should_receive {
                link.set(SessionFlag::Receiving);
                core.actions.push(Action::Receive(slot));
            } else {
                link.unset(SessionFlag::Receiving);
                core.actions.push(Action::Pause(slot));
            }
        }
        if let SessionPhase::ShuttingDown(mode) = link.phase
            && !link.is(SessionFlag::Sending)
        {
            let peer_finished = link.is(SessionFlag::PeerFinished);
            match mode {
                CloseMode::Linger if !peer_finished => {
                    link.set_phase(SessionPhase::Lingering, core);
                    core.actions.push(Action::Finish(slot));
                }
                // Its timer continues.
                CloseMode::AwaitPeer if !peer_finished => {}
                _ => return Some(Removal::Closed),
            }
        }
        None
    }

    /// Delivers stashed input, and what the TLS layer has kept behind it.
    fn deliver_stash(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        if self.link.phase == SessionPhase::Preamble {
            return self.deliver_behind_preamble(core, app);
        }
        let removal = self.accounted(core, |session, core| {
            let stash = session.link.cold.as_mut().and_then(|cold| cold.stash.take())?;
            if let Some(StashedMessage { payload, compressed, fragmented }) = stash.message
                && session.link.is_open()
            {
                core.meters.received_size.record_size(payload.len());
                app.message(&mut session.link, core, Message::stashed(&payload, compressed, fragmented));
            }
            if stash.at < stash.input.len() || session.decoder.is_suspended() {
                // A connection that is not open yet stashes requests only.
                match session.link.phase {
                    SessionPhase::Handshaking => session.serve_requests(stash.input, stash.at, core, app),
                    SessionPhase::PlainStream | SessionPhase::PlainDatagrams => {
                        session.deliver_plain(stash.input, stash.at, core, app);
                    }
                    _ => session.decode(stash.input, stash.at, core, app),
                }
            }
            session.finish_stashed(core)
        });
        if removal.is_some() || core.tls.is_none() { removal } else { self.open_kept(core, app) }
    }

    /// Handles the peer's FIN, if it followed stashed input that has been delivered.
    fn finish_stashed(&mut self, core: &mut Core) -> Option<Removal> {
        if self.link.is(SessionFlag::PeerFinished) && !self.link.has_stash() && !self.has_kept(core) {
            return self.link.peer_finished(core);
        }
        None
    }
}

/// The reason why decoding an input stops.
enum DecodeStop {
    /// The input is consumed.
    Consumed,
    /// The connection has used up its budget for the turn.
    Share,
    /// The connection is paused: at this message, or at the backlog of pongs.
    Paused(Option<StashedMessage>),
}

/// Charges the work of decoding to the connection's budget for this turn.
struct DecodeMeter {
    /// The end of the input that is charged.
    at: usize,
    /// The allowance of inflated bytes at that point.
    inflated: usize,
    /// The allowance of fragments at that point.
    fragments: u32,
}

impl DecodeMeter {
    fn new(at: usize, core: &mut Core) -> Self {
        let (inflated, fragments) = (core.slices.inflate_allowance(), core.slices.fragment_allowance());
        core.memory.pool.set_inflate_allowance(inflated);
        core.memory.pool.set_fragment_allowance(fragments);
        Self { at, inflated, fragments }
    }

    /// Charges the work since the last call, up to `at` in the input. Returns whether the connection
    /// can continue.
    #[inline]
    fn charge(&mut self, at: usize, core: &mut Core) -> bool {
        let pool = &core.memory.pool;
        let (inflated, fragments) = (pool.inflate_allowance(), pool.fragment_allowance());
        let work = (at - self.at, self.inflated - inflated, self.fragments - fragments);
        *self = Self { at, inflated, fragments };
        core.slices.spend(work.0, work.1, work.2)
    }
}

#[cfg(test)]
mod tests;
