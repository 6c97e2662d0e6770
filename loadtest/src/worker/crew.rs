//! The connections of one population on one thread: what all behaviours have in common.

use super::context::{Context, Due};
use super::line::Line;
use super::opening::Opening;
use super::published::Broadcast;
use super::recorded::Replay;
use super::submission::{Held, Submission};
use super::times::{Retries, Sampler};
use super::{Conn, CrewOrders, Worker};
use crate::errors;
use crate::ledger::Ledger;
use crate::lifetime::{Backoff, Span};
use crate::matching::{Reply, Sent};
use crate::message::{Depth, Mismatch, Source};
use crate::pace::Pacer;
use crate::plan::{Behaviour, Plan, Transport, Verify};
use crate::recording::Speed;
use ringway::{ConnectionId, Message, Shard};
use std::collections::HashMap;
use std::mem;
use std::time::Duration;

/// The waits after connections that did not open.
const BACKOFF: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));

/// [`Verify::Sample`] compares the content of one of this many messages.
const SAMPLE: u32 = 64;

/// The connections of one population on one thread.
pub(super) struct Crew {
    pub(super) index: u16,
    pub(super) kind: Kind,
    pub(super) source: Source,
    pub(super) transport: Transport,
    /// The beginnings of messages of streams, by place.
    pub(super) partials: HashMap<u32, Vec<u8>>,
    /// The number of the message that is being handled, where it is known before it is read.
    pub(super) known: Option<u32>,
    /// The messages in flight on each connection; `None`: an open loop.
    pub(super) in_flight: Option<u32>,
    /// The arrivals of an open loop.
    pub(super) pacer: Option<Pacer>,
    /// The times of a replay.
    pub(super) replay: Option<Replay>,
    /// When the schedule of the arrivals, of a replay, or of pings, begins: at the same time on all threads, however
    /// late this one is, so that the number of arrivals between two edges is exact.
    pub(super) paced_from: u64,
    /// The place of the next arrival.
    pub(super) turn: usize,
    /// The number of places that send: the first ones.
    pub(super) senders: usize,
    /// The connections by place; `None`: not open.
    pub(super) ids: Vec<Option<ConnectionId>>,
    pub(super) open: u64,
    /// Messages, or pings, that wait for a reply.
    pub(super) outstanding: u64,
    /// This thread's share of the messages, if their number ends the run, and what is left of it
    /// since measuring began.
    pub(super) share: Option<u64>,
    pub(super) quota: Option<u64>,
    /// Messages that their connections did not take yet.
    pub(super) held: Held,
    pub(super) opening: Opening,
    pub(super) is_ramped: bool,
    pub(super) ledger: Box<Ledger>,
    /// Messages that were answered since the beginning, or sent, if messages are not answered.
    pub(super) done: u64,
    /// The errors of earlier intervals.
    pub(super) errors_before: u64,
    /// The time of the latest reply.
    pub(super) latest: u64,
    pub(super) times: Times,
    /// The pings that were due, and those of them whose pong was looked for.
    pub(super) pings: u64,
    pub(super) checked: u64,
    /// The places without a connection, in an open loop of connections.
    pub(super) free: Vec<u32>,
    /// Connections in progress that were due in the interval of an open loop.
    pub(super) connecting: u64,
    /// Pings were sent behind the last messages.
    pub(super) has_barrier: bool,
    /// `None` unless the behaviour is broadcast.
    pub(super) broadcast: Option<Broadcast>,
}

/// The behaviour of a population, without its parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Echo,
    Request,
    Send,
    Replay,
    Receive,
    Idle,
    Connect,
    Broadcast,
    Churn,
    Slow,
}

/// The times of a behaviour.
pub(super) struct Times {
    pub(super) think: Sampler,
    pub(super) lifetime: Sampler,
    pub(super) pause: Sampler,
    pub(super) retries: Retries,
    pub(super) ping: Option<Duration>,
    pub(super) bytes_per_second: u64,
}

impl Crew {
    pub(super) fn new(index: u16, orders: CrewOrders, thread: usize, threads: usize) -> Self {
        let places = orders.connections as usize;
        let seed = orders.seed;
        let stream = (u64::from(index) << 32) + ((thread as u64) << 3);
        let (mut think, mut lifetime, mut pause) = (Span::ZERO, Span::ZERO, Span::ZERO);
        let (mut ping, mut bytes_per_second, mut senders) = (None, 0, places);
        let (mut publishers, mut topic) = (0, None);
        let kind = match &orders.behaviour {
            Behaviour::Echo => Kind::Echo,
            Behaviour::Request { think: of } => {
                think = *of;
                Kind::Request
            }
            Behaviour::Send | Behaviour::Replay { speed: Speed::Max } => Kind::Send,
            Behaviour::Replay { speed: Speed::Times(_) } => Kind::Replay,
            Behaviour::Receive => Kind::Receive,
            Behaviour::Idle { ping: of } => {
                ping = *of;
                Kind::Idle
            }
            Behaviour::Connect => Kind::Connect,
            Behaviour::Broadcast { publishers: of, topic: on } => {
                (publishers, topic) = (*of, on.clone());
                senders = Plan::share(publishers.into(), threads, thread) as usize;
                Kind::Broadcast
            }
            Behaviour::Churn { lifetime: of, pause: then } => {
                (lifetime, pause) = (*of, *then);
                Kind::Churn
            }
            Behaviour::Slow { bytes_per_second: of } => {
                bytes_per_second = *of;
                Kind::Slow
            }
        };
        // The connections of this behaviour are its load: it opens them while messages are sent.
        let first = if kind == Kind::Connect { 0 } else { orders.connections };
        let opening = Opening::new(&orders, first, kind != Kind::Connect);
        let broadcast = orders.publishing.map(|shared| {
            let first = orders.first_number - thread as u32;
            Broadcast::new(shared, seed, first, (publishers, topic), (places, senders), threads)
        });
        let reconnects = matches!(kind, Kind::Churn | Kind::Connect);
        Self {
            index,
            kind,
            source: orders.source,
            transport: orders.transport,
            partials: HashMap::new(),
            known: None,
            in_flight: orders.in_flight,
            pacer: orders.pacer,
            replay: orders.rounds.map(|rounds| Replay::new(rounds, places)),
            paced_from: 0,
            turn: 0,
            senders: senders.min(places),
            ids: vec![None; places],
            open: 0,
            outstanding: 0,
            share: None,
            quota: None,
            held: Held::default(),
            opening,
            is_ramped: false,
            ledger: Box::default(),
            done: 0,
            errors_before: 0,
            latest: 0,
            times: Times {
                think: Sampler::new(think, seed, stream),
                lifetime: Sampler::new(lifetime, seed, stream + 1),
                pause: Sampler::new(pause, seed, stream + 2),
                retries: Retries::new(BACKOFF, if reconnects { places } else { 0 }, seed, stream + 3),
                ping,
                bytes_per_second,
            },
            pings: 0,
            checked: 0,
            free: Vec::new(),
            connecting: 0,
            has_barrier: false,
            broadcast,
        }
    }

    /// Whether messages are submitted later than they are due, so that their service time is another
    /// one than their response time.
    #[inline]
    pub(super) fn has_service_times(&self) -> bool {
        self.in_flight.is_none() || self.kind == Kind::Connect
    }

    /// Whether places connect again after their connection has ended.
    pub(super) fn reconnects(&self) -> bool {
        matches!(self.kind, Kind::Churn | Kind::Connect)
    }

    /// Whether a message may be sent now.
    #[inline]
    pub(super) fn may_send(&self, cx: &Context) -> bool {
        cx.is_sending && self.quota != Some(0)
    }

    /// Sends the next message of a connection, which was due at `intended`.
    #[inline]
    pub(super) fn submit(&mut self, cx: &mut Context, conn: &mut Conn<'_>, intended: u64) -> Submission {
        let line = conn.state();
        let is_watched = line.is_watched;
        let number = line.window.push(Sent { intended, submitted: cx.now });
        let message = self.source.message(line.salt, number, cx.unix_time());
        let bytes = message.payload().len() as u64;
        let outcome = conn.send(message);
        if !outcome.is_accepted() {
            let submission = Submission::of(&outcome);
            conn.state().window.take_back();
            return submission;
        }
        if cx.counts(intended) {
            self.ledger.counts.sent += 1;
        }
        self.ledger.counts.submitted += 1;
        self.ledger.counts.bytes_sent += bytes;
        self.outstanding += 1;
        if !is_watched {
            self.watch(cx, conn);
        }
        // That of a connection is reserved when it begins to open.
        if self.kind != Kind::Connect {
            self.reserve();
        }
        Submission::Sent
    }

    /// Takes a message from those that end the run.
    #[inline]
    pub(super) fn reserve(&mut self) {
        if let Some(quota) = &mut self.quota {
            *quota -= 1;
        }
    }

    /// Gives it back: it was not sent.
    pub(super) fn release(&mut self) {
        if let Some(quota) = &mut self.quota {
            *quota += 1;
        }
    }

    /// Sends the next message of a closed loop, if there is one.
    #[inline]
    pub(super) fn submit_next(&mut self, cx: &mut Context, conn: &mut Conn<'_>) {
        if self.may_send(cx) && self.submit(cx, conn, cx.now) == Submission::Sent && cx.counts(cx.now) {
            self.ledger.counts.offered += 1;
        }
    }

    /// Fills the closed loops of all connections: one message on each, then a second one, so that few
    /// messages are spread over all.
    pub(super) fn fill(&mut self, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
        for round in 0..self.in_flight.unwrap_or(0) {
            for place in 0..self.ids.len() {
                if !self.may_send(cx) {
                    return;
                }
                if let Some(mut conn) = self.ids[place].and_then(|id| shard.connection(id))
                    && conn.state().window.waiting() <= round
                {
                    self.submit_next(cx, &mut conn);
                }
            }
        }
    }

    /// Matches a received message, verifies it, and enters it in the ledger. Returns whether a
    /// message no longer waits for its reply.
    #[inline]
    pub(super) fn take_reply(&mut self, cx: &Context, conn: &mut Conn<'_>, message: &Message<'_>) -> bool {
        let payload = message.payload();
        let counts = &mut self.ledger.counts;
        counts.arrived += 1;
        counts.bytes_received += payload.len() as u64;
        counts.fragmented += u64::from(message.is_fragmented());
        let line = conn.state();
        let salt = line.salt;
        let is_marked = cx.verify != Verify::Off && self.source.is_marked(payload.len());
        let known = self.known.take();
        let number = if is_marked { self.source.number_of(salt, payload) } else { None };
        let reply = match known.or(number) {
            Some(number) => line.window.answered_by_number(number),
            // Too short for a mark, or the mark is damaged.
            None if cx.verify == Verify::Off || may_answer_in_order(&self.source, line, message) => {
                line.window.answered_in_order(cx.now)
            }
            None => Reply::Unasked,
        };
        let Reply::Answer { sent, number: answered, overtaken } = reply else {
            self.take_stray(&reply, message);
            return false;
        };
        self.outstanding -= 1;
        self.done += 1;
        self.latest = cx.now;
        if overtaken {
            self.ledger.counts.reordered += 1;
        }
        let mismatch = match cx.verify {
            Verify::Off => None,
            verify => {
                let depth = match (verify == Verify::All || answered.is_multiple_of(SAMPLE), number) {
                    (true, _) => Depth::All,
                    (false, Some(_)) => Depth::Shape,
                    (false, None) => Depth::Mark,
                };
                self.source.check(salt, answered, message, depth).err()
            }
        };
        if let Some(mismatch) = mismatch {
            self.count_mismatch(mismatch, answered, message);
        }
        if cx.counts(sent.intended) {
            if mismatch.is_some() {
                self.ledger.counts.corrupted += 1;
            } else {
                self.ledger.counts.received += 1;
                self.record(cx, sent);
            }
        }
        true
    }

    /// As [`take_reply`](Self::take_reply), for a reply that is any one message.
    pub(super) fn take_any_reply(&mut self, cx: &Context, conn: &mut Conn<'_>, message: &Message<'_>) -> bool {
        let counts = &mut self.ledger.counts;
        counts.arrived += 1;
        counts.bytes_received += message.payload().len() as u64;
        counts.fragmented += u64::from(message.is_fragmented());
        let reply = conn.state().window.answered_in_order(cx.now);
        let Reply::Answer { sent, .. } = reply else {
            self.take_stray(&reply, message);
            return false;
        };
        self.outstanding -= 1;
        self.done += 1;
        self.latest = cx.now;
        if cx.counts(sent.intended) {
            self.ledger.counts.received += 1;
            self.record(cx, sent);
        }
        true
    }

    /// Records the latencies of a message that was answered now.
    #[inline]
    pub(super) fn record(&mut self, cx: &Context, sent: Sent) {
        self.ledger.response.record(cx.now - sent.intended);
        if self.has_service_times() {
            self.ledger.service.record(cx.now - sent.submitted);
        }
    }

    /// Counts a message that answers nothing.
    #[cold]
    fn take_stray(&mut self, reply: &Reply, message: &Message<'_>) {
        let len = message.payload().len();
        let ledger = &mut self.ledger;
        match reply {
            Reply::Duplicate { number } | Reply::Stale { number } => {
                ledger.counts.duplicated += 1;
                ledger
                    .errors
                    .count(errors::DUPLICATE, || format!("message {number} of a connection was answered again"));
            }
            Reply::Late { number, .. } => {
                ledger.counts.late += 1;
                ledger
                    .errors
                    .count(errors::LATE, || format!("message {number} of a connection was answered after its timeout"));
            }
            _ => {
                ledger.counts.unasked += 1;
                ledger.errors.count(errors::UNASKED, || format!("a message of {len} bytes answers none that was sent"));
            }
        }
    }

    #[cold]
    fn count_mismatch(&mut self, mismatch: Mismatch, number: u32, message: &Message<'_>) {
        let kind = match mismatch {
            Mismatch::Kind { .. } => errors::WRONG_KIND,
            Mismatch::Length { .. } => errors::WRONG_LENGTH,
            Mismatch::Content => errors::WRONG_CONTENT,
        };
        let (is, len) = (message.kind(), message.payload().len());
        self.ledger.errors.count(kind, || {
            format!("message {number} of a connection was answered by another one ({is:?}, {len} bytes)")
        });
    }

    /// Schedules a look at a connection, at the end of the timeout of its oldest message.
    ///
    /// While messages wait, there is one look for each connection and timeout, so that the agenda is
    /// not used for each message, and that connections on which nothing waits cost nothing.
    #[cold]
    fn watch(&self, cx: &mut Context, conn: &mut Conn<'_>) {
        let id = conn.id();
        let line = conn.state();
        line.is_watched = match line.window.oldest() {
            Some(sent) => {
                let due = sent.submitted.saturating_add(cx.timeout).saturating_add(1);
                cx.agenda.push(due, Due::Expiry(self.index, id));
                true
            }
            None => false,
        };
    }

    /// Ends the waiting of the messages of a connection that have waited for longer than the timeout.
    /// `resume` continues with a connection whose message no longer waits.
    pub(super) fn expire(
        &mut self,
        cx: &mut Context,
        shard: &mut Shard<'_, Worker>,
        id: ConnectionId,
        resume: impl FnOnce(&mut Self, &mut Context, &mut Conn<'_>, u32),
    ) {
        let Some(mut conn) = shard.connection(id) else { return };
        let before = cx.now.saturating_sub(cx.timeout);
        let mut expired = 0;
        let mut window = mem::take(&mut conn.state().window);
        window.expire(before, |number, sent| {
            expired += 1;
            self.latest = cx.now;
            self.miss(cx, sent);
            self.ledger.errors.count(errors::TIMEOUT, || format!("message {number} of a connection was not answered"));
        });
        conn.state().window = window;
        self.watch(cx, &mut conn);
        if expired > 0 {
            resume(self, cx, &mut conn, expired);
        }
    }

    /// Enters a message that is not answered, at the time that it has waited so far.
    pub(super) fn miss(&mut self, cx: &Context, sent: Sent) {
        self.outstanding -= 1;
        if cx.counts(sent.intended) {
            self.ledger.counts.missing += 1;
            // The network, or the server, has lost the datagram or its echo.
            self.ledger.counts.lost += u64::from(self.transport == Transport::Udp);
            self.ledger.response.record_lower_bound(cx.now - sent.intended);
            if self.has_service_times() {
                self.ledger.service.record_lower_bound(cx.now - sent.submitted);
            }
        }
    }

    /// Enters the messages of a connection that has ended.
    pub(super) fn lose(&mut self, cx: &Context, line: &mut Line) {
        let mut window = mem::take(&mut line.window);
        window.drain(|_, sent| {
            if cx.counts(sent.intended) && self.transport != Transport::Udp {
                self.ledger.counts.lost += 1;
            }
            self.miss(cx, sent);
        });
        self.lose_held(cx, line.place);
    }

    /// The ledger of the interval that ends now; an empty one replaces it.
    pub(super) fn cut(&mut self, empty: Box<Ledger>) -> Box<Ledger> {
        mem::replace(&mut self.ledger, empty)
    }
}

/// Whether a reply without a valid mark may be the answer to the oldest message that waits: that
/// message has no mark either, or the reply has its kind and length, so that the mark was damaged.
/// Any other reply answers nothing: matched in order, it would take the place of the true answer.
#[inline(never)]
fn may_answer_in_order(source: &Source, line: &Line, message: &Message<'_>) -> bool {
    let Some(number) = line.window.oldest_number() else { return true };
    let expected = source.len(line.salt, number);
    !source.is_marked(expected) || expected == message.payload().len() && source.kind() == message.kind()
}
