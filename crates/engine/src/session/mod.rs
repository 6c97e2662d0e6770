//! One connection as a state machine: bytes and events go in; calls of the application and [`Action`]s come out.
//!
//! [`Session`] owns everything of its connection. It reads no clock and knows no driver: what it needs of its shard is
//! one argument, the [`Core`], and what happens on the connection is told to an [`Application`]. So it is tested with
//! bytes alone.

pub(crate) mod application;
pub(crate) mod attempt;
pub(crate) mod closing;
pub(crate) mod compression;
pub(crate) mod deadlines;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod input;
pub(crate) mod link;
pub(crate) mod opening;
pub(crate) mod outbox;

use crate::api::close::{CloseReason, Ending};
use crate::api::error::ConnectError;
use crate::api::message::Message;
use crate::api::response::{Answer, Upgrade};
use crate::shard::clock::TICK;
use crate::shard::core::{Action, Core};
use application::Application;
use attempt::Attempt;
use closing::{CloseMode, Removal};
use deadlines::PeerProbe;
use http::{HeaderMap, StatusCode};
use input::Input;
use link::{Link, SessionFlag, SessionPhase, StashedMessage};
use opening::{
    Agreed, Evaluation, Opening, ResponseBody, UpgradeRequest, encode_plain, encode_refusal, evaluate_request,
};
use ringway_codec::{CloseCode, ClosePayload, Decoder, DeflateParams, Event, OpCode, Refusal, Role, encode_close};
use ringway_io::{Buffer, Cause, Output, Slot};

/// One connection: 80 bytes and the handler's state.
///
/// The decoder is apart from the rest, because a message borrows it, or the input, while the handler uses the
/// connection.
///
/// Where a method returns a [`Removal`], the session is over: its owner takes it out of the shard and calls
/// [`release`](Session::release).
pub(crate) struct Session<S> {
    pub(crate) decoder: Decoder,
    pub(crate) link: Link<S>,
}

impl<S> Session<S> {
    /// A connection that was accepted.
    pub(crate) fn accepted(slot: Slot, core: &mut Core) -> Self {
        let mut session = Self::new(slot, Role::Server, None, core);
        session.link.mark(core);
        session
    }

    /// A connection of our own, which is being made.
    pub(crate) fn connecting(slot: Slot, attempt: Attempt, state: S, core: &mut Core) -> Self {
        let mut session = Self::new(slot, Role::Client, Some(state), core);
        core.set_timer(slot, attempt.connect_time(core));
        session.link.cold().opening = Opening::to(attempt);
        session
    }

    fn new(slot: Slot, role: Role, state: Option<S>, core: &mut Core) -> Self {
        core.set_timer(slot, core.config.handshake_timeout);
        Self { decoder: Decoder::new(role), link: Link::new(slot, role, state, core.tick()) }
    }

    /// The TCP connection is established (client role): sends the request.
    pub(crate) fn connected(&mut self, core: &mut Core) {
        let link = &mut self.link;
        link.phase = SessionPhase::Handshaking;
        link.last_active = core.tick();
        if let Some(time) = link.cold().opening.attempt().map(|attempt| attempt.time_left(core)) {
            core.set_timer(link.slot(), time);
        }
        let mut request = core.memory.take_output();
        link.cold().opening.encode_request(core, &mut request);
        link.write_raw(core, |out| out.extend_from_slice(&request));
        core.memory.give(request);
    }

    /// Bytes have come.
    #[inline]
    pub(crate) fn receive(
        &mut self,
        buffer: Buffer,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        self.link.last_active = core.tick();
        self.link.unset(SessionFlag::Pinged);
        self.accounted(core, |session, core| match session.link.phase {
            SessionPhase::Open | SessionPhase::Closing => {
                session.decode(Input::Buffer(buffer), 0, core, app);
                None
            }
            SessionPhase::Handshaking => session.handshake(Input::Buffer(buffer), core, app),
            // Receiving pauses with the deferral; this was on its way by then.
            SessionPhase::Deferred => {
                session.link.cold().opening.extend_rest(&buffer);
                None
            }
            // Nothing that comes now is of interest.
            SessionPhase::Connecting | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering => None,
        })
    }

    /// How many bytes of memory the session holds for what it has received: what an event on the connection can change,
    /// and nothing else can.
    #[inline]
    fn held_input(&self) -> usize {
        self.decoder.held_bytes() + self.link.held_input()
    }

    /// How many bytes of memory the session holds in all.
    pub(crate) fn held(&self) -> usize {
        self.decoder.held_bytes() + self.link.held()
    }

    /// Decodes `input` from `at` on, and delivers what is in it, as far as the connection's share of this turn goes.
    fn decode(&mut self, mut input: Input, mut at: usize, core: &mut Core, app: &mut impl Application<S>) {
        let Self { decoder, link } = self;
        if link.extend_stash(&input[at..]) {
            // Came before the driver stopped receiving.
            return;
        }
        if link.is_open() && link.is_backlogged(core) {
            return link.stash(None, input, at, core);
        }
        if !core.slices.begin(link.slot()) {
            return link.wait(input, at, core);
        }
        core.memory.pool.set_inflate_allowance(core.slices.inflate_allowance());
        let stop = loop {
            match decoder.next(&mut core.memory.pool, &mut input, &mut at) {
                Ok(None) => {
                    if decoder.is_suspended() {
                        core.slices.exhaust();
                        break DecodeStop::Share;
                    }
                    break DecodeStop::Consumed;
                }
                // After our close frame nothing is delivered (RFC 6455 section 5.5.1).
                Ok(Some(Event::Message(_) | Event::Ping(_) | Event::Pong(_))) if !link.is_open() => {
                    if !core.slices.spend(0, false) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Message(incoming))) => {
                    let (len, compressed) = (incoming.payload().len(), incoming.is_compressed());
                    if link.is_backlogged(core) || link.is_paused() {
                        let (kind, payload) = (incoming.kind(), incoming.payload().to_vec());
                        // The decoder would keep it until it goes on.
                        if let Some(spill) = decoder.take_spill() {
                            core.memory.give(spill);
                        }
                        break DecodeStop::Paused(Some(StashedMessage { kind, payload, compressed }));
                    }
                    app.message(link, core, Message::received(incoming));
                    link.outbox.commit_reply(&mut input, decoder, &mut core.memory);
                    if !core.slices.spend(len, compressed) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Ping(payload))) => {
                    link.send(OpCode::Pong, payload, core);
                    app.ping(link, core, payload);
                    if link.is_backlogged(core) {
                        break DecodeStop::Paused(None);
                    }
                    if !core.slices.spend(0, false) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Pong(payload))) => {
                    app.pong(link, core, payload);
                    if !core.slices.spend(0, false) {
                        break DecodeStop::Share;
                    }
                }
                Ok(Some(Event::Close(close))) => {
                    link.peer_closed(close, core);
                    break DecodeStop::Consumed;
                }
                Err(error) => {
                    link.violated(error, core);
                    break DecodeStop::Consumed;
                }
            }
        };
        core.slices.end(link.slot());
        let in_flight = link.is(SessionFlag::Sending);
        match stop {
            DecodeStop::Share if at < input.len() || decoder.is_suspended() => {
                link.outbox.copy_replies(&input, None, &mut core.memory);
                link.wait(input, at, core);
            }
            DecodeStop::Paused(message) => {
                link.outbox.copy_replies(&input, None, &mut core.memory);
                link.stash(message, input, at, core);
            }
            DecodeStop::Consumed | DecodeStop::Share => {
                link.outbox.finish_input(input, in_flight, &mut core.memory);
            }
        }
        if decoder.keeps_memory() || link.has_cold() {
            self.note_message(core);
        }
    }

    /// Remembers when the message that is being received began.
    fn note_message(&mut self, core: &Core) {
        let Self { decoder, link } = self;
        if !link.is_open() {
            return;
        }
        if !decoder.is_between_messages() {
            link.cold().deadlines.message_since.get_or_insert(core.tick());
        } else if let Some(cold) = &mut link.cold {
            cold.deadlines.message_since = None;
            link.tidy();
        }
    }

    /// A send is over.
    #[inline]
    pub(crate) fn sent(&mut self, output: Output, written: usize, core: &mut Core, app: &mut impl Application<S>) {
        let link = &mut self.link;
        link.unset(SessionFlag::Sending);
        link.outbox.complete(output, written, &mut core.memory);
        let mut busy = !link.outbox.is_empty() || !link.is_open();
        if link.is(SessionFlag::PausedByBacklog) && link.outbox.bytes() <= core.limits.max_buffered / 2 {
            link.unset(SessionFlag::PausedByBacklog);
            link.last_active = core.tick();
            busy = true;
        }
        if link.outbox.bytes() == 0 && link.is(SessionFlag::WantsDrained) && link.is_open() {
            link.unset(SessionFlag::WantsDrained);
            app.drained(link, core);
            busy = true;
        }
        if busy {
            link.mark(core);
        }
    }

    /// Nothing more will come from the peer, for this cause.
    pub(crate) fn ended(&mut self, cause: Cause, core: &mut Core) -> Option<Removal> {
        self.link.set(SessionFlag::PeerFinished);
        self.link.unset(SessionFlag::Receiving);
        self.accounted(core, |Self { link, .. }, core| match cause {
            Cause::Finished if link.has_stash() => None, // What came before it is delivered first.
            Cause::Finished => link.peer_finished(core),
            Cause::Reset => Some(link.broken(Ending::Reset)),
            Cause::Failed(error) => Some(link.broken(Ending::Failed(error))),
            Cause::Unconnected(error) => Some(link.unconnected(ConnectError::Unreachable(error))),
        })
    }

    /// Handles an event that may change what the session holds for what it has received, and charges the difference.
    #[inline]
    fn accounted<R>(&mut self, core: &mut Core, handle: impl FnOnce(&mut Self, &mut Core) -> R) -> R {
        let before = self.held_input();
        let result = handle(self, core);
        core.memory.recharge(before, self.held_input());
        result
    }

    /// The session's timer has fired.
    pub(crate) fn timed_out(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        self.accounted(core, |session, core| session.check_deadline(probe, core))
    }

    fn check_deadline(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        let slot = self.link.slot();
        match self.link.phase {
            // The rest of the head may have arrived while the shard was away.
            SessionPhase::Handshaking if self.link.is(SessionFlag::Receiving) && probe.may_have_unread(slot) => {
                core.set_timer(slot, TICK);
                None
            }
            SessionPhase::Connecting => Some(self.link.unconnected(ConnectError::Timeout)),
            SessionPhase::Handshaking if self.link.role() == Role::Client => {
                Some(Removal::Unconnected(ConnectError::Timeout))
            }
            SessionPhase::Handshaking | SessionPhase::Deferred => {
                let refusal = Refusal::new(StatusCode::REQUEST_TIMEOUT, "the opening handshake took too long");
                self.refuse(&refusal, core);
                None
            }
            SessionPhase::Open => self.link.check_deadlines(probe, core),
            SessionPhase::Closing | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering => {
                self.link.check_closing(probe, core).then_some(Removal::Closed)
            }
        }
    }

    /// The shard's memory has run out, and this session holds much of it: gives it back and ends the connection.
    pub(crate) fn shed(&mut self, core: &mut Core) -> Option<Removal> {
        /// Output up to this size may wait while the connection closes.
        const OUTPUT_MAX: usize = 64 * 1024;
        core.counters.memory_closes += 1;
        self.accounted(core, |session, core| {
            let Self { decoder, link } = session;
            match link.phase {
                SessionPhase::Handshaking | SessionPhase::Deferred if link.role() == Role::Server => {
                    link.cold().opening.release();
                    session.refuse(&memory_refusal(), core);
                    None
                }
                SessionPhase::Connecting | SessionPhase::Handshaking | SessionPhase::Deferred => {
                    Some(Removal::Unconnected(ConnectError::Memory))
                }
                SessionPhase::Open => {
                    decoder.release(&mut core.memory.pool);
                    link.drop_compressor(core);
                    let (text, ending) = ("the server is short of memory", Ending::MemoryLimit);
                    if link.outbox.held() <= OUTPUT_MAX {
                        link.fail(CloseCode::TRY_AGAIN, text, ending, core);
                        return None;
                    }
                    let reason = CloseReason { code: CloseCode::TRY_AGAIN, text: text.to_owned(), ending };
                    link.cold().reason = Some(reason);
                    Some(Removal::Closed)
                }
                SessionPhase::Closing | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering => {
                    Some(Removal::Closed)
                }
            }
        })
    }

    /// The next turn has come for input that had to wait.
    pub(crate) fn end_wait(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        if !self.link.is(SessionFlag::Waiting) {
            return None;
        }
        self.accounted(core, |session, core| {
            session.link.end_wait();
            session.link.mark(core);
            if session.link.is_paused() { None } else { session.deliver_stash(core, app) }
        })
    }

    /// The end of a turn: delivers what was stashed, if the connection is no longer paused, hands the output to the driver,
    /// and goes on with closing.
    #[inline]
    pub(crate) fn flush(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        self.link.unset(SessionFlag::Dirty);
        if self.link.has_stash() && !self.link.is_paused() && !self.link.is(SessionFlag::Waiting) {
            let removal = self.accounted(core, |session, core| session.deliver_stash(core, app));
            if removal.is_some() {
                return removal;
            }
        }
        let link = &mut self.link;
        let slot = link.slot();
        link.is_backlogged(core);
        if !link.is(SessionFlag::Sending)
            && let Some(output) = link.outbox.take()
        {
            link.set(SessionFlag::Sending);
            core.actions.push(Action::Send(slot, output));
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
                    link.phase = SessionPhase::Lingering;
                    core.actions.push(Action::Finish(slot));
                }
                // Its timer runs on.
                CloseMode::AwaitPeer if !peer_finished => {}
                _ => return Some(Removal::Closed),
            }
        }
        None
    }

    fn deliver_stash(&mut self, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        let link = &mut self.link;
        let stash = link.cold.as_mut().and_then(|cold| cold.stash.take())?;
        if let Some(StashedMessage { kind, payload, compressed }) = stash.message {
            if link.is_open() {
                app.message(link, core, Message::stashed(kind, &payload, compressed));
            }
            core.memory.give(payload);
        }
        if stash.at < stash.input.len() || self.decoder.is_suspended() {
            self.decode(stash.input, stash.at, core, app);
        }
        self.finish_stashed(core)
    }

    /// After stashed input has been delivered: the peer's FIN, if it came behind it.
    fn finish_stashed(&mut self, core: &mut Core) -> Option<Removal> {
        if self.link.is(SessionFlag::PeerFinished) && !self.link.has_stash() {
            return self.link.peer_finished(core);
        }
        None
    }

    /// The shard stops: begins to close an open connection with 1001, and gives up one that is not open yet.
    pub(crate) fn stop(&mut self, core: &mut Core) -> Option<Removal> {
        match self.link.phase {
            SessionPhase::Open => {
                let text = "the server is stopping";
                let payload = encode_close(CloseCode::GOING_AWAY, text).unwrap_or(ClosePayload::EMPTY);
                self.link.begin_close(CloseCode::GOING_AWAY, text, &payload, core);
                None
            }
            SessionPhase::Handshaking | SessionPhase::Connecting | SessionPhase::Deferred => {
                Some(match self.link.role() {
                    Role::Client => Removal::Unconnected(ConnectError::Stopping),
                    Role::Server => Removal::Closed,
                })
            }
            SessionPhase::Closing | SessionPhase::ShuttingDown(_) | SessionPhase::Lingering => None,
        }
    }

    /// Closes the slot, and gives back what the session holds of its shard. Returns the handler's state, with the reason if
    /// the connection was open.
    pub(crate) fn release(self, core: &mut Core) -> (Option<S>, Option<CloseReason>) {
        core.memory.discharge(self.held_input());
        let Self { mut decoder, mut link } = self;
        core.clear_timer(link.slot());
        core.timers.release(link.slot());
        core.actions.push(Action::Close(link.slot()));
        decoder.release(&mut core.memory.pool);
        link.drop_compressor(core);
        link.outbox.release(&mut core.memory);
        let reason = link.take_reason();
        (link.state, reason)
    }

    /// Bytes of an opening handshake have come.
    fn handshake(&mut self, input: Input, core: &mut Core, app: &mut impl Application<S>) -> Option<Removal> {
        let link = &mut self.link;
        let head = link.cold().opening.collect(input, core)?;
        match link.role() {
            Role::Server => {
                self.serve_handshake(head, core, app);
                None
            }
            Role::Client => match link.cold().opening.check_response(&head, core) {
                Ok(Some((agreed, deflate, len))) => {
                    self.open(agreed, deflate, head, len, core, app);
                    None
                }
                Ok(None) => {
                    link.cold().opening.keep(head);
                    None
                }
                Err(error) => Some(Removal::Unconnected(ConnectError::Handshake(error))),
            },
        }
    }

    fn serve_handshake(&mut self, head: Input, core: &mut Core, app: &mut impl Application<S>) {
        if core.shortage.exhausted {
            core.counters.memory_refusals += 1;
            return self.refuse(&memory_refusal(), core);
        }
        match evaluate_request(self.link.slot(), &head, core, app) {
            Evaluation::Incomplete => self.link.cold().opening.keep(head),
            Evaluation::Refused(refusal, body) => self.respond(core, |out| encode_refusal(&refusal, body, out)),
            Evaluation::Plain(response, body) => self.respond(core, |out| encode_plain(&response, body, out)),
            Evaluation::Upgrade(request, upgrade, len) => self.apply_upgrade(request, upgrade, head, len, core, app),
        }
    }

    /// The answer that the handler had deferred.
    pub(crate) fn answer(
        &mut self,
        upgrade: Upgrade<S>,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) -> Option<Removal> {
        // After the timeout the request has been refused already.
        if self.link.phase != SessionPhase::Deferred {
            return None;
        }
        self.accounted(core, |session, core| {
            let (request, rest) = session.link.cold().opening.take_deferred()?;
            session.apply_upgrade(request, upgrade, Input::Kept(rest), 0, core, app);
            session.finish_stashed(core)
        })
    }

    /// Carries out the handler's answer to a request; what came behind the request begins at `at` of `input`.
    fn apply_upgrade(
        &mut self,
        request: UpgradeRequest,
        upgrade: Upgrade<S>,
        input: Input,
        at: usize,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) {
        match upgrade.0 {
            Answer::Accept { state, subprotocol, headers } => {
                let subprotocol = request.choose(subprotocol.as_deref(), &core.config).map(str::to_owned);
                let encode = |out: &mut Vec<u8>| request.encode_accept(subprotocol.as_deref(), &headers, out);
                self.link.outbox.append(&mut core.memory, encode);
                self.link.state = Some(state);
                let agreed = Agreed { subprotocol, headers: HeaderMap::new() };
                self.open(agreed, request.deflate, input, at, core, app);
            }
            Answer::Reject(response) => self.respond(core, |out| encode_plain(&response, ResponseBody::Sent, out)),
            Answer::Defer => {
                self.link.phase = SessionPhase::Deferred;
                self.link.cold().opening.defer(request, &input[at..]);
                self.link.mark(core);
            }
        }
    }

    /// The opening handshake is done: messages flow, beginning with what is behind it in `input`.
    fn open(
        &mut self,
        agreed: Agreed,
        deflate: Option<DeflateParams>,
        input: Input,
        at: usize,
        core: &mut Core,
        app: &mut impl Application<S>,
    ) {
        let Self { decoder, link } = self;
        if let (Some(params), Some(compressors)) = (deflate, &core.compressors) {
            *decoder = Decoder::with_deflate(link.role(), &params);
            link.set_compression(compressors.agreed(link.role(), &params));
        }
        link.phase = SessionPhase::Open;
        link.set(SessionFlag::Opened);
        link.cold = None;
        link.set_check_timer(core);
        link.mark(core);
        if agreed.subprotocol.is_some() || !agreed.headers.is_empty() {
            link.cold().agreed = Some(Box::new(agreed));
        }
        app.open(link, core);
        if let Some(cold) = &mut link.cold {
            cold.agreed = None;
        }
        if at < input.len() {
            self.decode(input, at, core, app);
        }
    }

    /// Answers a request that is refused before its method is known, and closes.
    fn refuse(&mut self, refusal: &Refusal, core: &mut Core) {
        self.respond(core, |out| encode_refusal(refusal, ResponseBody::Sent, out));
    }

    /// Answers over plain HTTP, and closes.
    fn respond(&mut self, core: &mut Core, encode: impl FnOnce(&mut Vec<u8>)) {
        self.link.write_raw(core, encode);
        self.link.begin_shutdown(CloseMode::Linger, core);
    }
}

/// Why decoding an input stops.
enum DecodeStop {
    /// There is nothing more in it.
    Consumed,
    /// The connection has used up its share of the turn.
    Share,
    /// The connection is paused: at this message, or at the backlog of answers to pings.
    Paused(Option<StashedMessage>),
}

fn memory_refusal() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "the server is short of memory; try again later")
}

#[cfg(test)]
mod tests;
