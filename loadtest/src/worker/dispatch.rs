//! Which behaviour handles what happens to a population.

use super::context::Context;
use super::crew::{Crew, Kind};
use super::{Conn, Line, Worker, broadcast, churn, connect, echo, idle, receive, request, send};
use crate::errors;
use crate::steps::RunPhase;
use crate::tally::Delivery;
use ringway::{CloseReason, ConnectError, ConnectionId, Ending, Message, Shard};

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
            Kind::Idle => idle::begin(self, cx),
            Kind::Connect => connect::begin(self, cx, shard),
            Kind::Broadcast => self.begin_arrivals(cx),
            Kind::Receive | Kind::Slow => {}
        }
    }

    /// Begins the interval that is measured.
    pub(super) fn begin_interval(&mut self, shard: &mut Shard<'_, Worker>) {
        if self.kind == Kind::Send {
            send::begin_interval(self, shard);
        }
    }

    /// Ends it.
    pub(super) fn end_interval(&mut self, shard: &mut Shard<'_, Worker>) {
        if self.kind == Kind::Send {
            send::end_interval(self, shard);
        }
    }

    /// Sends pings behind the last messages, once. Returns whether it did.
    pub(super) fn set_barrier(&mut self, shard: &mut Shard<'_, Worker>) -> bool {
        self.kind == Kind::Send && send::set_barrier(self, shard)
    }

    /// Handles a received message.
    #[inline]
    pub(super) fn message(&mut self, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
        match self.kind {
            Kind::Echo => echo::message(self, cx, conn, message),
            _ => self.other_message(cx, conn, message),
        }
    }

    /// Handles a message of the behaviours that are not to be the fastest.
    #[inline(never)]
    fn other_message(&mut self, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
        match self.kind {
            Kind::Echo => echo::message(self, cx, conn, message),
            Kind::Churn => churn::message(self, cx, conn, message),
            Kind::Request => request::message(self, cx, conn, message),
            Kind::Send | Kind::Idle => send::message(self, message),
            Kind::Receive => receive::message(self, cx, conn, message),
            Kind::Slow => receive::slow_message(self, cx, conn, message),
            Kind::Connect => connect::message(self, cx, conn, message),
            Kind::Broadcast => broadcast::message(self, cx, message),
        }
    }

    pub(super) fn pong(&mut self, cx: &mut Context, payload: &[u8]) {
        match self.kind {
            Kind::Send => send::pong(self, cx, payload),
            Kind::Idle => idle::pong(self, cx, payload),
            _ => {}
        }
    }

    /// Handles an outbox that has room again.
    pub(super) fn outbox_drained(&mut self, cx: &mut Context, conn: &mut Conn<'_>) {
        if self.kind == Kind::Send {
            send::fill(self, cx, conn);
        }
    }

    pub(super) fn arrive_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
        match self.kind {
            Kind::Send => self.arrive(cx, shard, send::submit),
            Kind::Broadcast => self.arrive(cx, shard, broadcast::publish),
            Kind::Connect => connect::arrive(self, cx, shard),
            _ => self.arrive(cx, shard, Self::submit),
        }
    }

    pub(super) fn expire_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
        match self.kind {
            Kind::Request => request::expire(self, cx, shard, id),
            Kind::Connect => connect::expire(self, cx, shard, id),
            _ => echo::expire(self, cx, shard, id),
        }
    }

    pub(super) fn ping_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
        idle::ping(self, cx, shard);
    }

    pub(super) fn place_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>, place: u32) {
        churn::reconnect(self, cx, shard, place);
    }

    pub(super) fn connection_due(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
        match self.kind {
            Kind::Request => request::due(self, cx, shard, id),
            Kind::Churn => churn::end(cx, shard, id),
            Kind::Slow => receive::resume(shard, id),
            _ => {}
        }
    }

    /// Handles a connection that has opened.
    pub(super) fn opened(&mut self, cx: &mut Context, conn: &mut Conn<'_>, place: u32, phase: RunPhase) {
        self.open += 1;
        let opening = &mut self.opening;
        opening.concluded();
        opening.established += 1;
        opening.latest = cx.now;
        opening.compressing += u64::from(conn.is_compressing());
        if let Some(times) = conn.opening_times() {
            opening.tally.opened(&times, conn.tls().as_ref());
        }
        self.times.retries.succeeded();
        self.ledger.counts.opened += 1;
        if phase == RunPhase::Close {
            return;
        }
        self.ids[place as usize] = Some(conn.id());
        match self.kind {
            Kind::Connect => connect::opened(self, cx, conn),
            Kind::Churn if cx.is_sending => {
                churn::opened(self, cx, conn.id());
                for _ in 0..self.in_flight.unwrap_or(0) {
                    self.submit_next(cx, conn);
                }
            }
            _ => {}
        }
    }

    /// Handles a connection that did not open.
    pub(super) fn failed(&mut self, cx: &mut Context, place: u32, error: &ConnectError, phase: RunPhase) {
        self.opening.failed += 1;
        self.opening.tally.failed(error);
        self.ledger.errors.count(errors::of_connect(error), || error.to_string());
        if self.reconnects() && phase > RunPhase::Connect {
            let wait = self.times.retries.failed();
            churn::again(self, cx, place, wait);
        }
    }

    /// Handles the end of an open connection.
    pub(super) fn closed(&mut self, cx: &mut Context, line: &mut Line, reason: &CloseReason, phase: RunPhase) {
        self.open -= 1;
        if let Some(place) = self.ids.get_mut(line.place as usize) {
            *place = None;
        }
        self.lose(cx, line);
        let is_ours = phase == RunPhase::Close || self.reconnects() && matches!(reason.ending, Ending::Local);
        if let Some(kind) = errors::of_close(reason, is_ours) {
            self.ledger.counts.dropped += 1;
            self.ledger.errors.count(kind, || reason.to_string());
        } else {
            self.ledger.counts.ended += 1;
        }
        if phase == RunPhase::Close || !self.reconnects() {
            return;
        }
        let wait = match self.kind {
            Kind::Connect if self.pacer.is_some() => return,
            Kind::Connect => 0,
            _ => self.times.pause.sample(),
        };
        churn::again(self, cx, line.place, wait);
    }

    /// Takes the deliveries of what was published at least a timeout ago, or of everything.
    pub(super) fn take_deliveries(&mut self, before: u64) -> Vec<Delivery> {
        self.deliveries.take(before)
    }
}
