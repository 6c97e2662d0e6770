//! The arrivals of an open loop on one thread: each message is submitted when it is due, or as soon as
//! its connection takes it.

use super::context::{Context, Due};
use super::crew::{Crew, Kind};
use super::submission::Submission;
use super::{Conn, Worker};
use crate::pace::Pacer;
use crate::tally::Behind;
use ringway::Shard;

/// The maximum number of arrivals that are submitted in one turn, so that replies are received in
/// between. The others follow at once.
const ARRIVALS: u32 = 1024;

/// The clock is read once for this many arrivals that are due.
const CLOCK: u32 = 32;

impl Crew {
    /// Begins the arrivals of an open loop.
    pub(super) fn begin_arrivals(&mut self, cx: &mut Context) {
        self.schedule_arrival(cx);
    }

    /// The time of the next arrival.
    #[inline]
    fn next_arrival(&self) -> Option<u64> {
        self.pacer.as_ref().and_then(Pacer::next).map(|due| self.paced_from.saturating_add(due))
    }

    /// Schedules the next arrival. If it is due already, it is for the next turn.
    fn schedule_arrival(&self, cx: &mut Context) {
        if let Some(due) = self.next_arrival()
            && self.may_send(cx)
        {
            cx.agenda.push(due.max(cx.now + 1), Due::Arrival(self.index));
        }
    }

    /// Ends the arrivals at `end`. The ones before it that were not submitted, because the generator is
    /// behind or their connections took no more, enter at the time that they have waited so far.
    pub(super) fn end_arrivals(&mut self, cx: &Context, end: u64) {
        while let Some(intended) = self.next_arrival().filter(|intended| *intended < end && self.may_send(cx)) {
            if let Some(pacer) = &mut self.pacer {
                pacer.advance();
            }
            if !cx.counts(intended) {
                continue;
            }
            self.ledger.counts.offered += 1;
            self.ledger.counts.overdue += 1;
            self.enter_unsent(cx, intended);
            self.reserve();
        }
        for intended in self.held.take_all() {
            if cx.counts(intended) {
                self.ledger.counts.blocked += 1;
                self.enter_unsent(cx, intended);
            }
        }
    }

    /// Enters a message that was not submitted, at the time that it has waited so far.
    fn enter_unsent(&mut self, cx: &Context, intended: u64) {
        self.ledger.counts.unsent += 1;
        self.ledger.send_lag.record_lower_bound(cx.now - intended);
        if matches!(self.kind, Kind::Echo | Kind::Connect | Kind::Churn) {
            self.ledger.response.record_lower_bound(cx.now - intended);
        }
    }

    /// Submits the messages that a connection did not take before, in their order.
    pub(super) fn submit_held(
        &mut self,
        cx: &mut Context,
        conn: &mut Conn<'_>,
        submit: impl Fn(&mut Self, &mut Context, &mut Conn<'_>, u64) -> Submission,
    ) {
        let place = conn.state().place;
        while let Some(intended) = self.held.first(place) {
            // It was reserved when it was due.
            self.release();
            if submit(self, cx, conn, intended) != Submission::Sent {
                self.reserve();
                return;
            }
            self.held.take(place);
            if cx.counts(intended) {
                self.ledger.send_lag.record(cx.now - intended);
            }
        }
    }

    /// Enters the messages that wait for a connection that has ended: they are not sent.
    pub(super) fn lose_held(&mut self, cx: &Context, place: u32) {
        let lost = self.held.take_place(place);
        self.ledger.counts.unsent += lost.iter().filter(|intended| cx.counts(**intended)).count() as u64;
    }

    /// Takes the arrivals that are due, each for the connection whose turn it is. The turn of a
    /// connection that is not open is unsent: no other one takes it. If a connection takes no more,
    /// because the server does not read, its messages wait.
    pub(super) fn arrive(
        &mut self,
        cx: &mut Context,
        shard: &mut Shard<'_, Worker>,
        submit: impl Fn(&mut Self, &mut Context, &mut Conn<'_>, u64) -> Submission,
    ) {
        self.arrive_at(cx, shard, |crew, cx, shard, place, intended| {
            match crew.ids[place as usize].and_then(|id| shard.connection(id)) {
                Some(mut conn) if crew.held.first(place).is_none() => submit(crew, cx, &mut conn, intended),
                Some(_) => Submission::Full,
                None => Submission::Lost,
            }
        });
    }

    /// The same for places.
    pub(super) fn arrive_at(
        &mut self,
        cx: &mut Context,
        shard: &mut Shard<'_, Worker>,
        submit: impl Fn(&mut Self, &mut Context, &mut Shard<'_, Worker>, u32, u64) -> Submission,
    ) {
        for count in 1..=ARRIVALS {
            let Some(intended) = self.next_arrival() else { return };
            if !self.may_send(cx) || self.senders == 0 {
                return;
            }
            // It belongs to the next phase, which begins first.
            if intended >= cx.edge {
                break;
            }
            if intended > cx.now || count.is_multiple_of(CLOCK) {
                cx.read_clock();
                if intended > cx.now {
                    break;
                }
            }
            if let Some(pacer) = &mut self.pacer {
                pacer.advance();
            }
            let place = self.turn;
            self.turn = if place + 1 < self.senders { place + 1 } else { 0 };
            let submission = submit(self, cx, shard, place as u32, intended);
            if submission != Submission::Sent {
                self.reserve();
            }
            let is_held = submission == Submission::Full && self.held.add(place as u32, intended);
            if !cx.counts(intended) {
                continue;
            }
            self.ledger.counts.offered += 1;
            match submission {
                Submission::Sent => self.ledger.send_lag.record(cx.now - intended),
                Submission::Full => {
                    self.ledger.counts.held_back += 1;
                    if !is_held {
                        self.ledger.counts.blocked += 1;
                        self.enter_unsent(cx, intended);
                    }
                }
                Submission::Lost => self.ledger.counts.unsent += 1,
            }
        }
        self.schedule_arrival(cx);
    }

    /// The messages that are due and not answered. At the end of the measured part these include the
    /// ones that are entered as unsent.
    pub(super) fn behind(&mut self, cx: &Context) -> Behind {
        let due = match &mut self.pacer {
            Some(pacer) if cx.is_sending => pacer.due_by(cx.now.min(cx.interval.end).saturating_sub(self.paced_from)),
            _ => 0,
        };
        let held = self.held.total as u64 + self.ledger.counts.blocked;
        Behind { unsent: due + held + self.ledger.counts.overdue, unanswered: self.outstanding() }
    }
}
