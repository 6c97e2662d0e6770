//! Passes completions to sessions, and events of sessions to the handler.

use crate::api::connection::Connection;
use crate::api::error::ConnectError;
use crate::api::handler::Handler;
use crate::api::id::ConnectionId;
use crate::api::message::Message;
use crate::api::request::{PeerAddress, Request};
use crate::api::response::{Response, Upgrade};
use crate::api::shard::{Command, Control, Shard, Surroundings};
use crate::config::OnPanic;
use crate::session::Session;
use crate::session::application::Application;
use crate::session::attempt::Attempt;
use crate::session::closing::Removal;
use crate::session::link::{Link, SessionPhase};
use crate::session::opening::RequestHandler;
use crate::shard::core::Core;
use crate::shard::drain::DrainReason;
use crate::shard::session_table::{Others, SessionTable};
use crate::shard::timers::TimerOwner;
use http::StatusCode;
use ringway_codec::Role;
use ringway_io::{Buffer, Cause, DatagramSocket, Driver, Listener, Output, PeerCredentials, Slot, Stats, TcpInfo};
use std::any::Any;
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// The parts of a shard, borrowed for one event on a connection.
pub(crate) struct Dispatch<'a, D, H: Handler> {
    pub(crate) handler: &'a mut H,
    pub(crate) sessions: &'a mut SessionTable<H::State>,
    pub(crate) core: &'a mut Core,
    pub(crate) control: &'a mut Control<H>,
    pub(crate) driver: &'a D,
}

/// The handler, and the parts of the shard that it can use beside the current connection.
struct Calls<'a, D, H: Handler> {
    handler: &'a mut H,
    reach: Reach<'a, D, H>,
}

/// A session, and separately the arguments of its methods.
type Resolved<'a, D, H> = (&'a mut Session<<H as Handler>::State>, &'a mut Core, Calls<'a, D, H>);

struct Reach<'a, D, H: Handler> {
    others: Others<'a, H::State>,
    control: &'a mut Control<H>,
    driver: &'a D,
}

impl<D: Driver, H: Handler> Dispatch<'_, D, H> {
    /// Resolves a session; it is held while the event is handled.
    #[inline]
    fn session(&mut self, slot: Slot) -> Option<Resolved<'_, D, H>> {
        let (session, others) = self.sessions.isolate(slot)?;
        let reach = Reach { others, control: self.control, driver: self.driver };
        Some((session, self.core, Calls { handler: self.handler, reach }))
    }

    /// Calls `call` with the handler and the shard. A panic of it is the caller's.
    pub(crate) fn lend<R>(&mut self, call: impl FnOnce(&mut H, &mut Shard<'_, H>) -> R) -> R {
        let others = self.sessions.all();
        let mut reach = Reach { others, control: self.control, driver: self.driver };
        let mut shard = Shard { core: self.core, current: None, surroundings: &mut reach };
        call(self.handler, &mut shard)
    }

    /// Calls the handler with the shard alone.
    pub(crate) fn with_shard(&mut self, call: impl FnOnce(&mut H, &mut Shard<'_, H>)) {
        let others = self.sessions.all();
        let mut reach = Reach { others, control: self.control, driver: self.driver };
        let handler = &mut *self.handler;
        let mut shard = Shard { core: self.core, current: None, surroundings: &mut reach };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| call(handler, &mut shard))) {
            handle_panic(panic, None, self.core);
        }
    }

    /// Asks the handler whether an outgoing connection is still wanted.
    pub(crate) fn wants_connection(&mut self, slot: Slot, state: &mut H::State) -> bool {
        let handler = &mut *self.handler;
        catch_unwind(AssertUnwindSafe(|| handler.connecting(state, ConnectionId(slot)))).unwrap_or_else(|panic| {
            handle_panic(panic, None, self.core);
            false
        })
    }

    /// Handles an outgoing connection that is being established.
    pub(crate) fn connecting(&mut self, slot: Slot, attempt: Attempt, state: H::State) {
        self.sessions.insert(Session::connecting(slot, attempt, state, self.core));
    }

    /// Handles an outgoing connection that is not attempted.
    pub(crate) fn unconnected(&mut self, state: H::State, error: &ConnectError) {
        self.with_shard(|handler, shard| handler.failed(shard, state, error));
    }

    /// Handles an established TCP connection of the client role.
    pub(crate) fn connected(&mut self, slot: Slot) {
        if self.core.tap.is_some()
            && let Some(session) = self.sessions.get_mut(slot)
        {
            let has_tls = session.link.has_tls_endpoint();
            self.tap_opened(slot, true, has_tls);
        }
        let Some((session, core, mut calls)) = self.session(slot) else { return };
        if let Some(removal) = session.connected(core, &mut calls) {
            self.remove(slot, removal);
        }
    }

    /// Handles the request of a handler to upgrade a connection that is held.
    pub(crate) fn request_upgrade(&mut self, slot: Slot) {
        if let Some(session) = self.sessions.get_mut(slot) {
            session.request_upgrade(self.core);
        }
    }

    /// Handles received bytes.
    #[inline]
    pub(crate) fn received(&mut self, slot: Slot, buffer: Buffer) {
        self.core.counters.received_bytes += buffer.len() as u64;
        let Some((session, core, mut calls)) = self.session(slot) else { return };
        if let Some(removal) = session.receive(buffer, core, &mut calls) {
            self.remove(slot, removal);
        }
    }

    /// Handles the completion of a send.
    #[inline]
    pub(crate) fn sent(&mut self, slot: Slot, output: Output, written: usize) {
        self.core.counters.sent_bytes += written as u64;
        match self.session(slot) {
            Some((session, core, mut calls)) => session.sent(output, written, core, &mut calls),
            None => self.released(output),
        }
    }

    /// Handles the output of a closed connection, which the driver returns.
    #[cold]
    pub(crate) fn released(&mut self, output: Output) {
        self.core.memory.reclaim(output);
    }

    /// Handles the end of the peer's input.
    pub(crate) fn ended(&mut self, slot: Slot, cause: Cause) {
        let Some(session) = self.sessions.get_mut(slot) else { return };
        if let Some(removal) = session.ended(cause, self.core) {
            self.remove(slot, removal);
        }
    }

    /// Handles the deferred answer of a handler.
    pub(crate) fn answer(&mut self, slot: Slot, upgrade: Upgrade<H::State>) {
        let Some((session, core, mut calls)) = self.session(slot) else { return };
        if let Some(removal) = session.answer(upgrade, core, &mut calls) {
            self.remove(slot, removal);
        }
    }

    /// Drops a connection that its handler has terminated.
    pub(crate) fn terminate(&mut self, slot: Slot) {
        self.remove(slot, Removal::Closed);
    }

    /// Drops a connection that is not open yet, without a call of the handler.
    pub(crate) fn abort(&mut self, slot: Slot) {
        let Some(mut session) = self.sessions.remove(slot) else { return };
        let peer_finished = session.link.has_peer_finished();
        session.link.state = None;
        session.release(self.core);
        self.tap_ended(slot, peer_finished, || "dropped by the application before it was open".to_owned());
    }

    /// Handles the timers that have fired, and the alarm.
    pub(crate) fn expire(&mut self, fired: &mut Vec<u32>) {
        self.core.expired(fired);
        if !fired.is_empty() {
            let due: Vec<_> = fired
                .drain(..)
                .filter_map(|index| self.sessions.at(index))
                .map(|session| (session.link.slot(), session.link.phase()))
                .collect();
            for (slot, phase) in due {
                // A session that was closed meanwhile, by the handler at the end of another, has
                // another timer now.
                if let Some(session) = self.sessions.get_mut(slot)
                    && session.link.phase() == phase
                    && let Some(removal) = session.timed_out(self.driver, self.core)
                {
                    self.remove(slot, removal);
                }
            }
        }
        self.end_lifetimes(fired);
        if self.control.alarm.is_some_and(|at| at <= self.core.now()) {
            self.control.alarm = None;
            self.with_shard(H::woken);
        }
    }

    /// Closes the connections whose lifetime is over.
    fn end_lifetimes(&mut self, fired: &mut Vec<u32>) {
        let Some(lifetimes) = &mut self.core.lifetimes else { return };
        lifetimes.expired(self.core.clock.effective(), fired);
        for index in fired.drain(..) {
            if let Some(slot) = self.sessions.at(index).map(|session| session.link.slot())
                && let Some(session) = self.sessions.get_mut(slot)
            {
                session.end_lifetime(self.core);
            }
        }
    }

    /// Handles the timers of handlers that have fired.
    pub(crate) fn expire_timers(&mut self, fired: &mut Vec<u32>) {
        for (owner, id) in self.core.timers.expired(self.core.now(), fired) {
            // A timer that was cancelled meanwhile, or whose connection has ended, is no longer
            // set.
            if !self.core.timers.clear(owner, id) {
                continue;
            }
            let TimerOwner::Connection(slot) = owner else {
                self.with_shard(|handler, shard| handler.shard_timer(shard, id));
                continue;
            };
            if let Some((session, core, mut calls)) = self.session(slot)
                && matches!(
                    session.link.phase(),
                    SessionPhase::Open
                        | SessionPhase::PlainStream
                        | SessionPhase::PlainDatagrams
                        | SessionPhase::Closing
                )
            {
                calls.call(&mut session.link, core, |handler, conn| handler.timer(conn, id));
            }
        }
    }

    /// Tells the handler that a subscriber has missed messages of a topic.
    pub(crate) fn lagged(&mut self, slot: Slot, topic: &str, missed: u64) {
        if let Some((session, core, mut calls)) = self.session(slot)
            && session.link.is_open()
        {
            calls.call(&mut session.link, core, |handler, conn| handler.lagged(conn, topic, missed));
        }
    }

    /// Calls `drained` for a connection whose message was handed back because memory was short.
    pub(crate) fn memory_available(&mut self, slot: Slot) {
        if let Some((session, core, mut calls)) = self.session(slot)
            && session.link.take_refusal()
        {
            calls.drained(&mut session.link, core);
        }
    }

    /// Ends a turn: flushes the marked sessions. The delivery of stashed input can mark further
    /// ones.
    pub(crate) fn flush(&mut self) {
        let mut at = 0;
        while let Some(&slot) = self.core.dirty.get(at) {
            at += 1;
            let Some((session, core, mut calls)) = self.session(slot) else { continue };
            if let Some(removal) = session.flush(core, &mut calls) {
                self.remove(slot, removal);
            }
        }
        self.core.dirty.clear();
    }

    /// Decodes input that waited for this turn, one budget for each connection, until its time is
    /// used up.
    pub(crate) fn decode_waiting(&mut self, mut time_is_up: impl FnMut() -> bool) {
        // Input that has to wait again waits for the next turn.
        for _ in 0..self.core.waiting.len() {
            let Some(slot) = self.core.waiting.pop_front() else { break };
            let Some((session, core, mut calls)) = self.session(slot) else { continue };
            if let Some(removal) = session.end_wait(core, &mut calls) {
                self.remove(slot, removal);
            }
            if time_is_up() {
                break;
            }
        }
    }

    /// Processes the handshakes of TLS that wait for their turn, until the time for them is used up.
    pub(crate) fn shake_hands(&mut self, mut time_is_up: impl FnMut() -> bool) {
        // A handshake that continues waits for the next turn.
        for _ in 0..self.core.tls.as_ref().map_or(0, |tls| tls.waiting()) {
            let Some(slot) = self.core.tls.as_mut().and_then(|tls| tls.next_waiting()) else { break };
            let Some((session, core, mut calls)) = self.session(slot) else { continue };
            if let Some(removal) = session.shake_hands(core, &mut calls) {
                self.remove(slot, removal);
            }
            if time_is_up() {
                break;
            }
        }
    }

    /// The connections that a drain has to close, in random order. Outgoing connections are closed
    /// at once: the rate protects the servers that clients connect to next.
    pub(crate) fn drain_candidates(&mut self, reason: DrainReason) -> Vec<Slot> {
        let is_client = |session: &&Session<H::State>| session.link.role() == Role::Client;
        let outgoing: Vec<Slot> = self.sessions.iter().filter(is_client).map(|session| session.link.slot()).collect();
        outgoing.into_iter().for_each(|slot| self.drain_one(slot, reason));
        let waiting = self.sessions.iter().filter(|session| session.awaits_drain(reason, self.core));
        let mut slots: Vec<Slot> = waiting.map(|session| session.link.slot()).collect();
        self.core.shuffle(&mut slots);
        slots
    }

    /// Begins to close one connection, or refuses its handshake.
    pub(crate) fn drain_one(&mut self, slot: Slot, reason: DrainReason) {
        if let Some(session) = self.sessions.get_mut(slot)
            && let Some(removal) = session.drain(reason, self.core)
        {
            self.remove(slot, removal);
        }
    }

    /// Removes all remaining sessions, at the deadline of the drain or at the end of the shard.
    pub(crate) fn remove_all(&mut self) {
        let slots: Vec<Slot> = self.sessions.slots().collect();
        for slot in slots {
            let is_attempt = self
                .sessions
                .get_mut(slot)
                .is_some_and(|session| session.link.role() == Role::Client && !session.link.has_opened());
            let removal = if is_attempt { Removal::Unconnected(ConnectError::Stopping) } else { Removal::Closed };
            self.remove(slot, removal);
        }
    }

    /// Removes a session from the shard, and calls the handler if the connection was reported to
    /// it.
    #[cold]
    pub(super) fn remove(&mut self, slot: Slot, removal: Removal) {
        let Some(mut session) = self.sessions.remove(slot) else { return };
        let removal = session.take_failure(self.core).map_or(removal, Removal::Unconnected);
        // A kept-alive connection has had a response.
        let is_opening = session.link.role() == Role::Server
            && matches!(session.link.phase(), SessionPhase::Handshaking | SessionPhase::Deferred)
            && self.core.http.answered(slot) == 0;
        let peer_finished = session.link.has_peer_finished();
        let unopened = (session.link.role() == Role::Server && !session.link.has_opened())
            .then(|| session.link.take_unopened().unwrap_or(self.core.unopened()));
        let (state, reason) = session.release(self.core);
        self.tap_ended(slot, peer_finished, || removal.text(reason.as_ref()));
        if let (Some(drain), Removal::Closed) = (&mut self.core.drain, &removal) {
            match &reason {
                Some(reason) => drain.ended(reason.is_clean()),
                None => drain.report.unopened += u64::from(is_opening),
            }
        }
        match (removal, reason) {
            (Removal::Unconnected(error), _) => {
                if let Some(state) = state {
                    self.unconnected(state, &error);
                }
            }
            (Removal::TryNext(attempt), _) => {
                if let Some(state) = state {
                    self.control.commands.push_back(Command::Connect(*attempt, state));
                }
            }
            (Removal::Closed, Some(reason)) => {
                if let Some(state) = state {
                    self.with_shard(|handler, shard| handler.closed(shard, state, &reason));
                }
            }
            (Removal::Closed, None) => {
                if let Some(cause) = unopened {
                    self.with_shard(|handler, shard| handler.unopened(shard, ConnectionId(slot), &cause));
                }
            }
        }
    }
}

impl<D: Driver, H: Handler> Calls<'_, D, H> {
    #[inline]
    fn call(&mut self, link: &mut Link<H::State>, core: &mut Core, call: impl FnOnce(&mut H, &mut Connection<'_, H>)) {
        let slot = link.slot();
        let (handler, reach) = (&mut *self.handler, &mut self.reach);
        let shard = Shard { core: &mut *core, current: Some(&mut *link), surroundings: reach };
        let mut connection = Connection::new(shard, slot);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| call(handler, &mut connection))) {
            handle_panic(panic, Some(slot), core);
            link.handler_panicked(core);
        }
    }
}

/// Handles a panic of the handler. The handler's own state may be inconsistent; that of the shard
/// is consistent, because the panic interrupts none of its methods.
#[cold]
fn handle_panic(panic: Box<dyn Any + Send>, slot: Option<Slot>, core: &mut Core) {
    core.counters.panics += 1;
    if core.config.on_panic == OnPanic::Stop {
        resume_unwind(panic);
    }
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("its payload is not text");
    match slot {
        Some(slot) => {
            tracing::error!(connection = ?slot, "the handler panicked; it is answered with 1011 or 500: {text}")
        }
        None => tracing::error!("the handler panicked in a call for no open connection: {text}"),
    }
}

impl<D: Driver, H: Handler> RequestHandler<H::State> for Calls<'_, D, H> {
    fn upgrade(&mut self, slot: Slot, request: &ringway_codec::Request<'_>, core: &mut Core) -> Upgrade<H::State> {
        let (tls, client) = (core.tls_session(slot), core.client_source(slot));
        let request = Request::new(request, ConnectionId(slot), &self.reach, tls, client);
        let handler = &mut *self.handler;
        catch_unwind(AssertUnwindSafe(|| handler.upgrade(&request))).unwrap_or_else(|panic| {
            handle_panic(panic, Some(slot), core);
            Upgrade::reject(StatusCode::INTERNAL_SERVER_ERROR, "internal error")
        })
    }

    fn request(&mut self, slot: Slot, request: &ringway_codec::Request<'_>, core: &mut Core) -> Response {
        let (tls, client) = (core.tls_session(slot), core.client_source(slot));
        let request = Request::new(request, ConnectionId(slot), &self.reach, tls, client);
        let handler = &mut *self.handler;
        catch_unwind(AssertUnwindSafe(|| handler.request(&request))).unwrap_or_else(|panic| {
            handle_panic(panic, Some(slot), core);
            Response::text(StatusCode::INTERNAL_SERVER_ERROR, "internal error").close()
        })
    }
}

impl<D: Driver, H: Handler> Application<H::State> for Calls<'_, D, H> {
    fn connected(&mut self, link: &mut Link<H::State>, core: &mut Core) -> bool {
        let id = ConnectionId(link.slot());
        let (handler, state) = (&mut *self.handler, &mut link.state);
        let mut shard = Shard { core: &mut *core, current: None, surroundings: &mut self.reach };
        let call = || state.iter_mut().for_each(|state| handler.connected(&mut shard, state, id));
        match catch_unwind(AssertUnwindSafe(call)) {
            Ok(()) => true,
            Err(panic) => {
                handle_panic(panic, None, core);
                false
            }
        }
    }

    fn open(&mut self, link: &mut Link<H::State>, core: &mut Core) {
        self.call(link, core, H::open);
    }

    #[inline]
    fn message(&mut self, link: &mut Link<H::State>, core: &mut Core, message: Message<'_>) {
        self.call(link, core, |handler, conn| handler.message(conn, message));
    }

    fn postpones_violation(&mut self, link: &mut Link<H::State>, core: &mut Core) -> bool {
        let mut postpones = false;
        self.call(link, core, |handler, conn| postpones = handler.postpones_violation(conn));
        postpones
    }

    fn ping(&mut self, link: &mut Link<H::State>, core: &mut Core, payload: &[u8]) {
        self.call(link, core, |handler, conn| handler.ping(conn, payload));
    }

    fn pong(&mut self, link: &mut Link<H::State>, core: &mut Core, payload: &[u8]) {
        self.call(link, core, |handler, conn| handler.pong(conn, payload));
    }

    fn drained(&mut self, link: &mut Link<H::State>, core: &mut Core) {
        self.call(link, core, H::drained);
    }
}

impl<D: Driver, H: Handler> PeerAddress for Reach<'_, D, H> {
    fn peer_address(&self, slot: Slot) -> Option<SocketAddr> {
        self.driver.peer_address(slot)
    }

    fn tcp_info(&self, slot: Slot) -> Option<TcpInfo> {
        self.driver.tcp_info(slot)
    }

    fn peer_credentials(&self, slot: Slot) -> Option<PeerCredentials> {
        self.driver.peer_credentials(slot)
    }
}

impl<D: Driver, H: Handler> Surroundings<H> for Reach<'_, D, H> {
    fn find(&mut self, slot: Slot) -> Option<&mut Link<H::State>> {
        self.others.get_mut(slot)
    }

    fn peek(&self, slot: Slot) -> Option<&Link<H::State>> {
        self.others.get(slot)
    }

    fn connection_count(&self) -> usize {
        self.others.live()
    }

    fn next_open(&self, from: u32) -> Option<Slot> {
        self.others.next(from, Link::is_open)
    }

    fn stats(&self) -> &Stats {
        self.driver.stats()
    }

    fn duplicate_listeners(&self) -> io::Result<Vec<(usize, Listener)>> {
        self.driver.duplicate_listeners()
    }

    fn has_listeners(&self) -> bool {
        self.driver.has_listeners() || self.driver.has_datagrams()
    }

    fn duplicate_datagrams(&self) -> io::Result<Vec<DatagramSocket>> {
        self.driver.duplicate_datagrams()
    }

    fn control(&self) -> &Control<H> {
        self.control
    }

    fn control_mut(&mut self) -> &mut Control<H> {
        self.control
    }
}
