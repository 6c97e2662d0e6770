//! The load of one thread: a handler in the client role.
//!
//! Closed loop: each connection keeps its number of messages in flight, and sends the next one when
//! an answer arrives.
//!
//! The clock is read once for all echoes that one connection receives in one turn, when the first
//! of them is processed; the messages sent in response have the same timestamp. The reading is
//! later than the arrival, and earlier than the actual send at the end of the turn. A reported
//! latency is therefore never too short; it is too long by at most two turns of the generator. A
//! busy generator is reported: see [`verdict`](crate::verdict).

use crate::errors::{self, Errors};
use crate::line::Line;
use crate::measure::Recorder;
use crate::observe::usage::Clocks;
use crate::opening::OpeningTally;
use crate::payload::{Payload, mix};
use crate::phase::{RunPhase, Timetable};
use crate::plan::{Mode, Verify};
use crate::ramp::{Next, Ramp};
use crate::tally::{Measured, MeasuredWindow, Ramped, Standing, Tally, ThreadEvent};
use ringway::{
    CloseCode, CloseReason, ConnectError, Connection, ConnectionId, Endpoint, Handler, Message, Request, Shard, Upgrade,
};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// [`Verify::Sample`] compares one of this many messages.
const SAMPLE: u32 = 64;

/// The number of connections closed in one turn.
const CLOSING: usize = 1024;

/// The parameters of a thread.
pub(crate) struct Orders {
    pub(crate) index: usize,
    pub(crate) endpoint: Arc<Endpoint>,
    /// The epoch of all threads.
    pub(crate) epoch: Instant,
    pub(crate) connections: u64,
    /// Connections that this thread opens per second.
    pub(crate) connect_rate: Option<f64>,
    /// Connections that this thread opens at a time.
    pub(crate) connect_concurrency: u64,
    pub(crate) mode: Mode,
    pub(crate) pipeline: u32,
    pub(crate) verify: Verify,
    pub(crate) payload: Payload,
    /// Distinguishes the connections of different threads.
    pub(crate) salt: u32,
    pub(crate) events: Sender<ThreadEvent>,
}

/// The load of one thread.
pub(crate) struct Generator {
    orders: Orders,
    phase: RunPhase,
    timetable: Option<Timetable>,
    /// This thread's share of the measured messages, if their number ends the run.
    quota: Option<u64>,
    /// The end of the phase, in nanoseconds since the epoch.
    edge: u64,
    /// The number of messages left to send. Zero while no messages are to be sent.
    budget: u64,
    /// The turn and the connection of the answers that are being processed.
    current: Option<(Instant, ConnectionId)>,
    /// The latest reading of the clock, in nanoseconds since the epoch.
    now: u64,
    /// The time of the latest answer.
    latest: u64,

    ids: Vec<ConnectionId>,
    open: u64,
    /// Connections with negotiated compression.
    compressing: u64,
    ramp: Ramp,
    opening: OpeningTally,
    errors: Errors,
    counts: Counts,
    /// Unanswered messages.
    outstanding: u64,
    /// Messages completed before measuring began.
    done_before: u64,
    latency: Recorder,
    begun: Option<Clocks>,
    window: Option<MeasuredWindow>,
    missing: u64,
    told_drained: bool,
}

/// Counts of messages since the warm-up began; reset when measuring begins.
#[derive(Clone, Copy, Default)]
struct Counts {
    sent: u64,
    /// Answered correctly.
    received: u64,
    /// Answered wrongly.
    wrong: u64,
    /// Those whose connection ended before their answer arrived.
    lost: u64,
    /// Payload bytes received; sent, if messages are not answered.
    bytes: u64,
}

impl Generator {
    pub(crate) fn new(orders: Orders) -> Self {
        Self {
            phase: RunPhase::Connect,
            timetable: None,
            quota: None,
            edge: u64::MAX,
            budget: 0,
            current: None,
            now: 0,
            latest: 0,
            ids: Vec::new(),
            open: 0,
            compressing: 0,
            ramp: Ramp::new(orders.connections, orders.connect_rate, orders.connect_concurrency, orders.epoch),
            opening: OpeningTally::new(),
            errors: Errors::default(),
            counts: Counts::default(),
            outstanding: 0,
            done_before: 0,
            latency: Recorder::new(),
            begun: None,
            window: None,
            missing: 0,
            told_drained: false,
            orders,
        }
    }

    /// Begins to connect.
    pub(crate) fn connect(&mut self, shard: &mut Shard<'_, Self>) {
        self.ramp.began = Instant::now();
        self.ids.reserve(self.orders.connections as usize);
        self.connect_more(shard);
    }

    /// Begins to send by the timetable, once all threads have connected. `quota` is this thread's
    /// share of the messages, if their number ends the run.
    pub(crate) fn begin(&mut self, shard: &mut Shard<'_, Self>, timetable: Timetable, quota: Option<u64>) {
        self.phase = RunPhase::Settle;
        self.timetable = Some(timetable);
        self.quota = quota;
        self.progress(shard);
    }

    /// Ends the measuring regardless of the timetable. If a number of messages was to end it, it
    /// ends with the latest answer, so that a stall does not count.
    pub(crate) fn end(&mut self) {
        self.clock();
        self.end_measuring(if self.quota.is_some() { self.latest } else { self.now });
    }

    /// Closes all connections; [`ThreadEvent::Closed`] follows when they are.
    pub(crate) fn close(&mut self, shard: &mut Shard<'_, Self>) {
        self.end();
        self.missing = self.counts.lost + self.outstanding;
        self.phase = RunPhase::Close;
        self.ramp.give_up();
        if self.open == 0 {
            self.emit_closed();
        }
        self.close_some(shard);
    }

    /// Reports the current figures.
    pub(crate) fn stand(&self) {
        let standing = Standing {
            open: self.open,
            failed: self.ramp.failed,
            done: self.done_before + self.done(),
            errors: self.errors.total(),
        };
        self.emit(ThreadEvent::Standing(self.orders.index, standing));
    }

    fn done(&self) -> u64 {
        match self.orders.mode {
            Mode::Send => self.counts.sent,
            Mode::Echo | Mode::Idle => self.counts.received + self.counts.wrong,
        }
    }

    fn emit(&self, event: ThreadEvent) {
        // Sending fails if the run has been abandoned.
        let _ = self.orders.events.send(event);
    }

    /// Reads the clock.
    fn clock(&mut self) {
        self.now = self.orders.epoch.elapsed().as_nanos() as u64;
    }

    /// Starts as many connections as are due. Returns whether all are open or have failed.
    fn connect_more(&mut self, shard: &mut Shard<'_, Self>) -> bool {
        loop {
            self.clock();
            match self.ramp.next(self.orders.epoch + Duration::from_nanos(self.now)) {
                Next::Connect => {
                    let salt = mix(self.orders.salt, self.ramp.started as u32);
                    self.ramp.started += 1;
                    shard.connect(&self.orders.endpoint, Line::connecting(salt));
                }
                Next::At(due) => {
                    shard.wake_at(due);
                    return false;
                }
                Next::Wait => return false,
                Next::Over => return true,
            }
        }
    }

    /// Handles a connection that has opened or failed.
    fn continue_ramp(&mut self, shard: &mut Shard<'_, Self>) {
        if self.phase == RunPhase::Connect && self.connect_more(shard) {
            self.emit(ThreadEvent::Ramped(Ramped {
                index: self.orders.index,
                thread: rustix::thread::gettid().as_raw_nonzero().get(),
                established: self.ramp.established,
            }));
        }
    }

    /// Enters the phase that is due, begins to send if it is time, and schedules a wake-up for the
    /// next phase.
    fn progress(&mut self, shard: &mut Shard<'_, Self>) {
        self.clock();
        let was_silent = self.phase < RunPhase::WarmUp;
        self.pass_edges();
        if self.open == 0 {
            self.nothing_left();
        } else if was_silent && self.phase >= RunPhase::WarmUp {
            self.begin_sending(shard);
            if self.outstanding == 0 {
                self.nothing_left();
            }
        }
        if let Some(edge) = self.timetable.and_then(|timetable| timetable.end_of(self.phase)) {
            shard.wake_at(self.orders.epoch + Duration::from_nanos(edge));
        }
    }

    #[cold]
    fn pass_edges(&mut self) {
        let Some(timetable) = self.timetable else { return };
        while let Some(end) = timetable.end_of(self.phase).filter(|end| *end <= self.now) {
            match self.phase {
                RunPhase::Settle => {
                    self.phase = RunPhase::WarmUp;
                    self.budget = if self.orders.mode == Mode::Idle { 0 } else { u64::MAX };
                }
                RunPhase::WarmUp => self.begin_measuring(),
                RunPhase::Measure => self.end_measuring(end),
                RunPhase::Connect | RunPhase::Drain | RunPhase::Close => break,
            }
        }
        self.edge = timetable.end_of(self.phase).unwrap_or(u64::MAX);
    }

    fn begin_measuring(&mut self) {
        self.phase = RunPhase::Measure;
        self.done_before = self.done();
        self.counts = Counts { sent: self.outstanding, ..Counts::default() };
        self.latency.reset();
        self.latest = self.now;
        if let Some(quota) = self.quota {
            self.budget = quota.saturating_sub(self.outstanding);
        }
        self.begun = Some(Clocks::of_this_thread(Duration::ZERO));
    }

    /// Stops sending. `at` is the end of measuring.
    fn end_measuring(&mut self, at: u64) {
        self.budget = 0;
        if let (RunPhase::Measure, Some(begun), Some(timetable)) = (self.phase, self.begun, self.timetable) {
            self.window = Some(MeasuredWindow {
                messages: if self.orders.mode == Mode::Send { self.counts.sent } else { self.counts.received },
                bytes: self.counts.bytes,
                length: Duration::from_nanos(at.saturating_sub(timetable.measure)),
                usage: Clocks::of_this_thread(Duration::ZERO).since(&begun),
            });
        }
        if self.phase < RunPhase::Drain {
            self.phase = RunPhase::Drain;
            self.edge = u64::MAX;
        }
        if self.outstanding == 0 {
            self.emit_drained();
        }
    }

    /// Handles the moment at which no message is in flight or no connection is left.
    #[cold]
    fn nothing_left(&mut self) {
        match self.phase {
            RunPhase::Settle | RunPhase::WarmUp | RunPhase::Measure if self.open == 0 => self.end_measuring(self.now),
            RunPhase::Measure if self.quota.is_some() && self.budget == 0 => self.end_measuring(self.now),
            RunPhase::Drain => self.emit_drained(),
            _ => {}
        }
    }

    fn emit_drained(&mut self) {
        if !std::mem::replace(&mut self.told_drained, true) {
            self.emit(ThreadEvent::Drained);
        }
    }

    fn begin_sending(&mut self, shard: &mut Shard<'_, Self>) {
        let ids = std::mem::take(&mut self.ids);
        match self.orders.mode {
            Mode::Idle => {}
            Mode::Send => {
                for id in &ids {
                    if let Some(mut conn) = shard.connection(*id) {
                        self.fill(&mut conn);
                    }
                }
            }
            Mode::Echo => {
                // Round-robin, so that few messages are spread over all connections.
                for _ in 0..self.orders.pipeline {
                    for id in &ids {
                        if self.budget > 0
                            && let Some(mut conn) = shard.connection(*id)
                        {
                            self.send(&mut conn);
                        }
                    }
                }
            }
        }
        self.ids = ids;
    }

    /// Sends the connection's next message.
    #[inline]
    fn send(&mut self, conn: &mut Connection<'_, Self>) {
        let line = conn.state();
        let number = line.sent;
        *line.stamp(number) = self.now;
        line.sent = number.wrapping_add(1);
        let span = self.orders.payload.span(line.salt, number);
        if !conn.send(self.orders.payload.message(span)).is_accepted() {
            // The connection is closing.
            conn.state().sent = number;
            return;
        }
        self.budget -= 1;
        self.counts.sent += 1;
        self.outstanding += 1;
    }

    /// Sends until the outbox is full; [`Handler::drained`] calls again.
    fn fill(&mut self, conn: &mut Connection<'_, Self>) {
        while self.budget > 0 {
            let line = conn.state();
            let span = self.orders.payload.span(line.salt, line.sent);
            let len = span.len() as u64;
            if !conn.send(self.orders.payload.message(span)).is_accepted() {
                return;
            }
            let line = conn.state();
            line.sent = line.sent.wrapping_add(1);
            self.budget -= 1;
            self.counts.sent += 1;
            self.counts.bytes += len;
        }
        self.nothing_left();
    }

    /// Handles the first data of a connection in this turn.
    fn look_at_the_clock(&mut self) {
        self.clock();
        self.latest = self.now;
        if self.now >= self.edge {
            self.pass_edges();
        }
    }

    /// Returns the error of an echo, if there is one.
    #[inline]
    fn check(&self, salt: u32, number: u32, message: &Message<'_>) -> Option<&'static str> {
        let verify = self.orders.verify;
        if verify == Verify::Off {
            return None;
        }
        let payload = &self.orders.payload;
        let span = payload.span(salt, number);
        if message.kind() != payload.kind() {
            return Some(errors::WRONG_KIND);
        }
        if message.payload().len() != span.len() {
            return Some(errors::WRONG_LENGTH);
        }
        let compare = verify == Verify::All || number.is_multiple_of(SAMPLE);
        (compare && message.payload() != payload.bytes(span)).then_some(errors::WRONG_CONTENT)
    }

    #[cold]
    fn count_wrong(&mut self, kind: &'static str, number: u32, message: &Message<'_>) {
        self.counts.wrong += 1;
        let (is, len) = (message.kind(), message.payload().len());
        self.errors.count(kind, || {
            format!("message {number} of a connection was answered by another one ({is:?}, {len} bytes)")
        });
    }

    fn close_some(&mut self, shard: &mut Shard<'_, Self>) {
        let from = self.ids.len().saturating_sub(CLOSING);
        for id in self.ids.split_off(from) {
            if let Some(mut conn) = shard.connection(id) {
                close(&mut conn);
            }
        }
        if !self.ids.is_empty() {
            let now = shard.turn_time();
            shard.wake_at(now);
        }
    }

    fn emit_closed(&mut self) {
        let take = |recorder: &mut Recorder| std::mem::replace(recorder, Recorder::new());
        let began = self.ramp.began.saturating_duration_since(self.orders.epoch).as_nanos() as u64;
        let measured = self.window.map(|window| Measured {
            latency: take(&mut self.latency),
            sent: self.counts.sent,
            received: self.counts.received,
            missing: self.missing,
            window,
        });
        let tally = Tally {
            index: self.orders.index,
            established: self.ramp.established,
            failed: self.ramp.failed,
            compressing: self.compressing,
            opening: std::mem::replace(&mut self.opening, OpeningTally::new()),
            ramp: (self.ramp.established > 0).then_some((began, self.ramp.latest)),
            errors: std::mem::take(&mut self.errors),
            measured,
        };
        self.emit(ThreadEvent::Closed(Box::new(tally)));
    }
}

/// Begins to close a connection whose work is done.
fn close(conn: &mut Connection<'_, Generator>) {
    conn.close(CloseCode::NORMAL, "").expect("1000 is a code that may be sent");
}

impl Handler for Generator {
    type State = Line;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Line> {
        Upgrade::accept(Line::default())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.clock();
        self.open += 1;
        self.ramp.established += 1;
        self.compressing += u64::from(conn.is_compressing());
        self.ramp.latest = self.now;
        let in_flight = if self.orders.mode == Mode::Echo { self.orders.pipeline } else { 1 };
        conn.state().open(in_flight as usize);
        if let Some(times) = conn.opening_times() {
            self.opening.opened(&times, conn.tls().as_ref());
        }
        if self.phase == RunPhase::Close {
            return close(conn);
        }
        self.ids.push(conn.id());
        self.continue_ramp(&mut conn.shard());
    }

    fn failed(&mut self, shard: &mut Shard<'_, Self>, _: Line, error: &ConnectError) {
        // A connection that was abandoned by the generator has not failed.
        if !matches!(error, ConnectError::Stopping) {
            self.ramp.failed += 1;
            self.opening.failed(error);
            self.errors.count(errors::of_connect(error), || error.to_string());
            self.continue_ramp(shard);
        }
    }

    #[inline]
    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        if self.orders.mode != Mode::Echo {
            return;
        }
        let current = Some((conn.shard().turn_time(), conn.id()));
        if current != self.current {
            self.current = current;
            self.look_at_the_clock();
        }
        let line = conn.state();
        let number = line.answered;
        if number == line.sent {
            return self.errors.count(errors::UNEXPECTED, || "received a message that is not an answer".into());
        }
        line.answered = number.wrapping_add(1);
        let (salt, sent) = (line.salt, *line.stamp(number));
        self.outstanding -= 1;
        if let Some(kind) = self.check(salt, number, &message) {
            self.count_wrong(kind, number, &message);
        } else {
            self.counts.received += 1;
            self.counts.bytes += message.payload().len() as u64;
            self.latency.record(self.now - sent);
        }
        if self.budget > 0 {
            self.send(conn);
        }
        if self.outstanding == 0 {
            self.nothing_left();
        }
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        if self.orders.mode == Mode::Send && self.budget > 0 {
            self.look_at_the_clock();
            self.fill(conn);
        }
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, line: Line, reason: &CloseReason) {
        self.clock();
        self.open -= 1;
        if self.orders.mode == Mode::Echo {
            self.outstanding -= line.in_flight();
            self.counts.lost += line.in_flight();
        }
        if let Some(kind) = errors::of_close(reason, self.phase == RunPhase::Close) {
            self.errors.count(kind, || reason.to_string());
        }
        if self.phase == RunPhase::Close {
            if self.open == 0 {
                self.emit_closed();
            }
        } else if self.open == 0 || self.outstanding == 0 {
            self.nothing_left();
        }
    }

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        match self.phase {
            RunPhase::Connect => self.continue_ramp(shard),
            RunPhase::Close => self.close_some(shard),
            _ => self.progress(shard),
        }
    }
}
