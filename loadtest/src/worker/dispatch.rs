//! Which behaviour handles what happens to a population.

use super::context::Context;
use super::crew::{Crew, Kind};
use super::line::millis;
use super::{Conn, Line, Worker, broadcast, churn, connect, echo, idle, receive, replay, request, send, subscribing};
use crate::broadcast::Delivered;
use crate::errors;
use crate::plan::Transport;
use crate::steps::RunPhase;
use crate::units;
use ringway::{CloseReason, ConnectError, ConnectionId, Ending, Message, Shard};
use std::mem;

impl Crew {
    /// Begins to send.
    pub(super) fn begin(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
        match self.kind {
            Kind::Echo => echo::begin(self, cx, shard),
            Kind::Churn => {
                churn::begin(self, cx);
                echo::begin(self, cx, shard);
            }
            Kind::Request => request::begin(self, cx),
            Kind::Send => send::begin(self, cx, shard),
            Kind::Replay => replay::begin(self, cx, shard),
            Kind::Idle => idle::begin(self, cx),
            Kind::Connect => connect::begin(self, cx, shard),
            Kind::Broadcast => self.begin_arrivals(cx),
            Kind::Receive | Kind::Slow => {}
        }
    }

    /// Begins the interval that is measured.
    pub(super) fn begin_interval(&mut self, shard: &mut Shard<'_, Worker>) {
        if matches!(self.kind, Kind::Send | Kind::Replay) {
            send::begin_interval(self, shard);
        }
    }

    /// Ends it.
    pub(super) fn end_interval(&mut self, shard: &mut Shard<'_, Worker>) {
        if matches!(self.kind, Kind::Send | Kind::Replay) {
            send::end_interval(self, shard);
        }
    }

    /// Sends pings behind the last messages, once. Returns whether it did.
    pub(super) fn set_barrier(&mut self, shard: &mut Shard<'_, Worker>) -> bool {
        matches!(self.kind, Kind::Send | Kind::Replay) && send::set_barrier(self, shard)
    }

    /// Handles a received message.
    #[inline]
    pub(super) fn message(&mut self, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
        match self.kind {
            _ if self.transport != Transport::WebSocket => self.plain_input(cx, conn, message.payload()),
            Kind::Echo => echo::message(self, cx, conn, message),
            _ => self.other_message(cx, conn, message),
        }
    }

    /// Handles a message of the behaviours that are not to be the fastest.
    #[inline(never)]
    pub(super) fn other_message(&mut self, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
        match self.kind {
            Kind::Echo => echo::message(self, cx, conn, message),
            Kind::Churn => churn::message(self, cx, conn, message),
            Kind::Request => request::message(self, cx, conn, message),
            Kind::Send | Kind::Replay | Kind::Idle => send::message(self, message),
            Kind::Receive => receive::message(self, cx, conn, message),
            Kind::Slow => receive::slow_message(self, cx, conn, message),
            Kind::Connect => connect::message(self, cx, conn, message),
            Kind::Broadcast => broadcast::message(self, cx, conn, message),
        }
    }

    pub(super) fn pong(&mut self, cx: &mut Context, conn: &mut Conn<'_>, payload: &[u8]) {
        match self.kind {
            Kind::Send | Kind::Replay => send::pong(self, cx, payload),
            Kind::Idle => idle::pong(self, cx, conn, payload),
            _ => {}
        }
    }

    /// Handles an outbox that has room again.
    pub(super) fn outbox_drained(&mut self, cx: &mut Context, conn: &mut Conn<'_>) {
        match self.kind {
            Kind::Send if self.pacer.is_some() => self.submit_held(cx, conn, send::submit),
            Kind::Send => send::fill(self, cx, conn),
            Kind::Replay => replay::drained(self, cx, conn),
            Kind::Broadcast => self.submit_held(cx, conn, broadcast::publish),
            Kind::Churn => self.submit_held(cx, conn, churn::submit),
            _ => self.submit_held(cx, conn, Self::submit),
        }
    }

    pub(super) fn arrive_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
        match self.kind {
            Kind::Send => self.arrive(cx, shard, send::submit),
            Kind::Broadcast => self.arrive(cx, shard, broadcast::publish),
            Kind::Connect => connect::arrive(self, cx, shard),
            Kind::Churn => self.arrive(cx, shard, churn::submit),
            _ => self.arrive(cx, shard, Self::submit),
        }
    }

    pub(super) fn expire_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
        match self.kind {
            Kind::Request => request::expire(self, cx, shard, id),
            Kind::Connect => connect::expire(self, cx, shard, id),
            Kind::Churn => churn::expire(self, cx, shard, id),
            _ => echo::expire(self, cx, shard, id),
        }
    }

    pub(super) fn ping_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
        idle::ping(self, cx, shard);
    }

    pub(super) fn pong_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
        idle::expire(self, cx, shard);
    }

    pub(super) fn place_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>, place: u32) {
        churn::reconnect(self, cx, shard, place);
    }

    pub(super) fn connection_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
        match self.kind {
            Kind::Request => request::due(self, cx, shard, id),
            Kind::Churn => churn::end(cx, shard, id),
            Kind::Replay => replay::resume(self, cx, shard, id),
            Kind::Send => send::resume(self, cx, shard, id),
            Kind::Slow => receive::resume(shard, id),
            Kind::Broadcast => subscribing::expire(self, cx, shard, id),
            _ => {}
        }
    }

    /// Handles a connection that has opened.
    pub(super) fn opened(&mut self, cx: &mut Context, conn: &mut Conn<'_>, place: u32, phase: RunPhase) {
        self.open += 1;
        let opening = &mut self.opening;
        opening.concluded();
        opening.compressing += u64::from(conn.is_compressing());
        if let Some(times) = conn.opening_times() {
            opening.tally.opened(&times, conn.tls().as_ref(), self.transport == Transport::WebSocket);
        }
        self.times.retries.succeeded(place);
        if phase == RunPhase::Close {
            return self.established(cx);
        }
        self.ids[place as usize] = Some(conn.id());
        let line = conn.state();
        line.opened = millis(cx.now);
        let due = mem::take(&mut line.mark);
        if subscribing::begin(self, cx, conn) {
            return;
        }
        self.established(cx);
        match self.kind {
            Kind::Connect => connect::opened(self, cx, conn, due),
            Kind::Send | Kind::Replay => send::opened(conn),
            Kind::Churn if cx.is_sending => {
                churn::opened(self, cx, conn.id());
                for _ in 0..self.in_flight.unwrap_or(0) {
                    self.submit_next(cx, conn);
                }
            }
            _ => {}
        }
    }

    /// Counts a connection that has opened and, if it publishes to a topic, subscribed.
    pub(super) fn established(&mut self, cx: &Context) {
        self.opening.established += 1;
        self.opening.latest = cx.now;
        self.ledger.counts.opened += 1;
    }

    /// Handles a connection that did not open.
    pub(super) fn failed(&mut self, cx: &mut Context, line: &Line, error: &ConnectError, phase: RunPhase) {
        self.opening.failed += 1;
        self.opening.tally.failed(error);
        self.ledger.errors.count(errors::of_connect(error), || error.to_string());
        let is_tried_again = match self.kind {
            _ if matches!(phase, RunPhase::Connect | RunPhase::Close) => false,
            Kind::Churn => true,
            Kind::Connect => connect::failed(self, cx, line.place, line.mark),
            _ => false,
        };
        if is_tried_again {
            churn::failed(self, cx, line.place);
        }
    }

    /// Handles the end of an open connection.
    pub(super) fn closed(&mut self, cx: &mut Context, line: &mut Line, reason: &CloseReason, phase: RunPhase) {
        self.open -= 1;
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.lose(line);
        }
        if let Some(place) = self.ids.get_mut(line.place as usize) {
            *place = None;
        }
        self.partials.remove(&line.place);
        if line.is_subscribing {
            return subscribing::lost(self, cx, reason, phase);
        }
        match self.kind {
            Kind::Idle => idle::lose(self, cx, line, true),
            Kind::Receive | Kind::Slow if phase != RunPhase::Close => receive::lose(self, line),
            _ => self.lose(cx, line),
        }
        let is_ours = phase == RunPhase::Close || self.reconnects() && matches!(reason.ending, Ending::Local);
        if let Some(kind) = errors::of_close(reason, is_ours) {
            self.ledger.counts.dropped += 1;
            let (age, timeout) = (line.age(cx.now), cx.timeout);
            self.ledger.errors.count(kind, || {
                let age = units::time(age.as_secs_f64() * 1e6);
                match kind {
                    errors::NO_PONG_IN_TIME => {
                        let timeout = units::time(timeout as f64 / 1e3);
                        format!("no pong within {timeout}: dropped by us, {age} after it opened")
                    }
                    _ => format!("{reason}, {age} after it opened"),
                }
            });
        } else {
            self.ledger.counts.ended += 1;
        }
        if phase == RunPhase::Close || !self.reconnects() {
            return;
        }
        let wait = match self.kind {
            Kind::Connect if self.pacer.is_some() => return self.free.push(line.place),
            Kind::Connect => 0,
            _ => self.times.pause.sample(),
        };
        churn::again(self, cx, line.place, wait);
    }

    /// Takes the deliveries since the latest cut.
    pub(super) fn take_deliveries(&mut self) -> (Vec<Delivered>, u64) {
        self.broadcast.as_mut().map_or((Vec::new(), 0), |broadcast| broadcast.deliveries.take())
    }

    /// Notes that nothing more is sent.
    pub(super) fn conclude(&mut self) {
        if let Some(broadcast) = &mut self.broadcast {
            broadcast.conclude();
        }
    }

    /// Whether no message waits for its reply, or for its delivery on this thread.
    #[inline]
    pub(super) fn is_answered(&self) -> bool {
        let is_connecting = self.kind == Kind::Connect && self.opening.is_busy();
        self.outstanding == 0
            && !is_connecting
            && self.broadcast.as_ref().is_none_or(|broadcast| broadcast.is_delivered(self.open))
    }

    /// The messages that wait for their reply or for their delivery.
    pub(super) fn outstanding(&self) -> u64 {
        self.broadcast.as_ref().map_or(self.outstanding, |broadcast| broadcast.outstanding(self.open))
    }

    /// Enters the messages that wait at the end of the run.
    pub(super) fn give_up(&mut self, cx: &Context, shard: &mut Shard<'_, Worker>) {
        match self.kind {
            Kind::Send | Kind::Replay => return send::give_up(self),
            Kind::Connect => connect::give_up(self),
            Kind::Receive | Kind::Slow => {}
            _ if self.outstanding == 0 => return,
            _ => {}
        }
        for place in 0..self.ids.len() {
            let Some(mut conn) = self.ids[place].and_then(|id| shard.connection(id)) else { continue };
            match self.kind {
                Kind::Receive | Kind::Slow => receive::lose(self, conn.state()),
                Kind::Idle => idle::lose(self, cx, conn.state(), false),
                _ => {
                    let mut window = mem::take(&mut conn.state().window);
                    window.drain(|_, sent| self.miss(cx, sent));
                    conn.state().window = window;
                }
            }
        }
    }
}
