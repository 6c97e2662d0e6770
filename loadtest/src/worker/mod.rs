//! One thread of a run: a handler in the client role.
//!
//! A [`Worker`] has the connections of each population that belong to its thread ([`crew::Crew`]),
//! and one agenda of what is due. The behaviours are in one file each.

mod arrivals;
mod broadcast;
mod churn;
mod connect;
mod context;
mod crew;
mod dispatch;
mod echo;
mod idle;
mod line;
mod opening;
mod published;
mod receive;
mod recorded;
mod replay;
mod request;
mod send;
mod stream;
mod submission;
mod subscribing;
mod times;

pub(crate) use context::nanos;
pub(crate) use line::Line;
pub(crate) use opening::Permits;

use crate::broadcast::Publishing;
use crate::histogram::Recorder;
use crate::ledger::Ledger;
use crate::message::Source;
use crate::observe::usage::{Clocks, Usage};
use crate::pace::{Pacer, Rounds};
use crate::plan::{Behaviour, Rotation, Transport, Verify};
use crate::steps::{RunPhase, Timetable};
use crate::tally::{Behind, CrewTally, Cut, Ramped, Standing, Tally, ThreadEvent};
use context::{Context, Due};
use crew::Crew;
use opening::Next;
use ringway::{CloseCode, CloseReason, ConnectError, Connection, Endpoint, Handler, Message, Request, Shard, Upgrade};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

/// The number of connections closed in one turn.
const CLOSING: usize = 1024;

/// The maximum number of due items in one turn.
const DUE: usize = 4096;

/// A connection of a worker.
type Conn<'a> = Connection<'a, Worker>;

/// The parameters of a thread.
pub(crate) struct Orders {
    pub(crate) index: usize,
    pub(crate) threads: usize,
    /// The epoch of all threads.
    pub(crate) epoch: Instant,
    pub(crate) verify: Verify,
    pub(crate) timeout: Duration,
    pub(crate) crews: Vec<CrewOrders>,
    pub(crate) events: Sender<ThreadEvent>,
}

/// The parameters of the connections of one population on a thread.
pub(crate) struct CrewOrders {
    pub(crate) behaviour: Behaviour,
    pub(crate) source: Source,
    pub(crate) transport: Transport,
    pub(crate) endpoints: Arc<[Arc<Endpoint>]>,
    pub(crate) rotation: Rotation,
    pub(crate) permits: Arc<Permits>,
    pub(crate) connections: u64,
    /// Connections that this thread opens per second.
    pub(crate) connect_rate: Option<f64>,
    pub(crate) in_flight: Option<u32>,
    /// The arrivals of an open loop that belong to this thread.
    pub(crate) pacer: Option<Pacer>,
    /// The times of a replay.
    pub(crate) rounds: Option<Rounds>,
    pub(crate) seed: u64,
    /// The number of the first connection, and the distance to the next one: numbers are unique over
    /// all threads and populations.
    pub(crate) first_number: u32,
    pub(crate) stride: u32,
    /// What the threads of a broadcast share.
    pub(crate) publishing: Option<Arc<Publishing>>,
}

/// The load of one thread.
pub(crate) struct Worker {
    cx: Context,
    crews: Vec<Crew>,
    events: Sender<ThreadEvent>,
    phase: RunPhase,
    /// The clocks at the beginning of the current interval.
    begun: Clocks,
    /// Bytes of compressed messages, before and after: at the beginning of measuring, and from then
    /// to its end.
    deflated_before: (u64, u64),
    deflated: (u64, u64),
    /// How late the thread woke up for its alarms in the measured part.
    late: Recorder,
    is_ramped: bool,
    is_drained: bool,
    is_closed: bool,
}

impl Worker {
    pub(crate) fn new(orders: Orders) -> Self {
        let cx = Context::new(orders.index, orders.threads, orders.epoch, orders.verify, orders.timeout);
        let crews = orders
            .crews
            .into_iter()
            .enumerate()
            .map(|(index, orders)| Crew::new(index as u16, orders, cx.index, cx.threads));
        Self {
            crews: crews.collect(),
            cx,
            events: orders.events,
            phase: RunPhase::Connect,
            begun: Clocks::of_this_thread(Duration::ZERO),
            deflated_before: (0, 0),
            deflated: (0, 0),
            late: Recorder::default(),
            is_ramped: false,
            is_drained: false,
            is_closed: false,
        }
    }

    /// Begins to connect.
    pub(crate) fn connect(&mut self, shard: &mut Shard<'_, Self>) {
        self.cx.read_clock();
        for crew in &mut self.crews {
            crew.opening.began = self.cx.now;
            self.cx.agenda.push(self.cx.now, Due::Connect(crew.index));
        }
        self.work(shard);
    }

    /// Begins to send by the timetable, once all threads have connected. `quotas` are this thread's
    /// shares of the messages of each population, if their number ends the run.
    pub(crate) fn begin(&mut self, shard: &mut Shard<'_, Self>, timetable: Timetable, quotas: Option<Vec<u64>>) {
        self.phase = RunPhase::Pause;
        self.cx.timetable = Some(timetable);
        // A message of another thread can arrive before this one wakes up for the step.
        self.cx.edge = timetable.warm_up;
        for (crew, quota) in self.crews.iter_mut().zip(quotas.into_iter().flatten()) {
            crew.share = Some(quota);
        }
        self.cx.agenda.push(timetable.warm_up, Due::Step);
        self.work(shard);
    }

    /// Ends the measuring regardless of the timetable. If a number of messages was to end it, it
    /// ends with the latest reply or the latest end of waiting for one, so that a stall does not count.
    pub(crate) fn end(&mut self, shard: &mut Shard<'_, Self>) {
        self.cx.read_clock();
        let latest = self.crews.iter().filter(|crew| crew.quota.is_some()).map(|crew| crew.latest).max();
        self.end_measuring(shard, latest.unwrap_or(self.cx.now));
    }

    /// The same where the run is not stopped by its user: what is left of the number of messages is
    /// unsent.
    pub(crate) fn end_short(&mut self, shard: &mut Shard<'_, Self>) {
        if self.phase == RunPhase::Measure {
            for crew in &mut self.crews {
                let left = crew.quota.as_mut().map_or(0, std::mem::take);
                crew.ledger.counts.offered += left;
                crew.ledger.counts.unsent += left;
            }
        }
        self.end(shard);
    }

    /// Closes all connections; [`ThreadEvent::Closed`] follows when they are.
    pub(crate) fn close(&mut self, shard: &mut Shard<'_, Self>) {
        self.end(shard);
        for crew in &mut self.crews {
            crew.give_up(&self.cx, shard);
            crew.opening.give_up();
        }
        self.cut(self.cx.now, None);
        self.phase = RunPhase::Close;
        self.close_some(shard);
        self.check_closed();
    }

    /// Reports the current figures.
    pub(crate) fn stand(&mut self, shard: &mut Shard<'_, Self>) {
        self.cx.read_clock();
        // The last message of a broadcast can be that of another thread, which has not reached this
        // one.
        self.check_drained(shard);
        let mut standing = Standing::default();
        for crew in &mut self.crews {
            standing.open += crew.open;
            standing.failed += crew.opening.failed;
            standing.done += crew.done;
            standing.errors += crew.errors_before + crew.ledger.errors.total();
            standing.behind.add(crew.behind(&self.cx));
        }
        self.emit(ThreadEvent::Standing(self.cx.index, standing));
    }

    fn emit(&self, event: ThreadEvent) {
        // Sending fails if the run has been abandoned.
        let _ = self.events.send(event);
    }

    /// Does what is due, and sets the alarm for what follows.
    fn work(&mut self, shard: &mut Shard<'_, Self>) {
        self.cx.read_clock();
        // What becomes due meanwhile is for the next turn, after what was received.
        let now = self.cx.now;
        for _ in 0..DUE {
            let Some((_, due)) = self.cx.agenda.pop(now) else { break };
            self.handle(shard, due);
        }
        self.cx.set_alarm(shard);
    }

    fn handle(&mut self, shard: &mut Shard<'_, Self>, due: Due) {
        match due {
            Due::Step => self.pass_edges(shard),
            Due::Close => self.close_some(shard),
            Due::Connect(crew) => self.proceed(shard, crew),
            Due::Arrival(crew) => self.crews[usize::from(crew)].arrive_due(&mut self.cx, shard),
            Due::Expiry(crew, id) => self.crews[usize::from(crew)].expire_due(&mut self.cx, shard, id),
            Due::Pong(crew) => self.crews[usize::from(crew)].pong_due(&mut self.cx, shard),
            Due::Ping(crew) => self.crews[usize::from(crew)].ping_due(&mut self.cx, shard),
            Due::Place(crew, place) => self.crews[usize::from(crew)].place_due(&mut self.cx, shard, place),
            Due::Connection(crew, id) => self.crews[usize::from(crew)].connection_due(&mut self.cx, shard, id),
        }
    }

    /// Starts connections of a population. When those of all are open or have failed, reports it.
    fn proceed(&mut self, shard: &mut Shard<'_, Self>, index: u16) {
        let crew = &mut self.crews[usize::from(index)];
        match crew.opening.proceed(index, &mut self.cx, shard) {
            Next::At(due) => self.cx.agenda.push(due, Due::Connect(index)),
            Next::Wait => {}
            Next::Over => crew.is_ramped = true,
        }
        if !self.is_ramped && self.crews.iter().all(|crew| crew.is_ramped) {
            self.is_ramped = true;
            self.emit(ThreadEvent::Ramped(Ramped {
                index: self.cx.index,
                thread: rustix::thread::gettid().as_raw_nonzero().get(),
                established: self.crews.iter().map(|crew| crew.opening.established).collect(),
            }));
        }
    }

    /// Enters the phase that is due.
    #[cold]
    fn pass_edges(&mut self, shard: &mut Shard<'_, Self>) {
        let Some(timetable) = self.cx.timetable else { return };
        let (was_sending, before) = (self.cx.is_sending, self.cx.edge);
        while let Some(end) = timetable.end_of(self.phase).filter(|end| *end <= self.cx.now) {
            match self.phase {
                RunPhase::Pause => {
                    self.phase = RunPhase::WarmUp;
                    self.cx.interval = end..u64::MAX;
                    self.cx.is_sending = true;
                    for crew in &mut self.crews {
                        crew.paced_from = end;
                    }
                }
                RunPhase::WarmUp => self.begin_measuring(shard, end, timetable.drain),
                RunPhase::Measure => self.end_measuring(shard, end),
                RunPhase::Connect | RunPhase::Drain | RunPhase::Close => break,
            }
            self.cx.edge = timetable.end_of(self.phase).unwrap_or(u64::MAX);
        }
        if !was_sending && self.cx.is_sending {
            for crew in &mut self.crews {
                crew.begin(&mut self.cx, shard);
            }
        }
        if self.cx.edge != before && self.cx.edge != u64::MAX {
            self.cx.agenda.push(self.cx.edge, Due::Step);
        }
        self.check_drained(shard);
    }

    fn begin_measuring(&mut self, shard: &mut Shard<'_, Self>, from: u64, to: u64) {
        self.cut(from, None);
        self.phase = RunPhase::Measure;
        self.cx.interval = from..to;
        self.begun = Clocks::of_this_thread(shard.driver_stats().polled);
        self.deflated_before = deflated(shard);
        for crew in &mut self.crews {
            crew.quota = crew.share;
            crew.latest = from;
            crew.begin_interval(shard);
        }
    }

    /// Stops sending. `at` is the end of measuring.
    fn end_measuring(&mut self, shard: &mut Shard<'_, Self>, at: u64) {
        if self.phase == RunPhase::Measure {
            for crew in self.crews.iter_mut().filter(|crew| crew.pacer.is_some()) {
                crew.arrive_due(&mut self.cx, shard);
                crew.end_arrivals(&self.cx, at);
            }
            for crew in &mut self.crews {
                replay::end(crew, &mut self.cx, shard, at);
            }
            let usage = Clocks::of_this_thread(shard.driver_stats().polled).since(&self.begun);
            let (input, output) = deflated(shard);
            self.deflated = (input - self.deflated_before.0, output - self.deflated_before.1);
            // Nothing is sent from now on.
            self.cx.interval.end = self.cx.interval.end.min(self.cx.now + 1);
            for crew in &mut self.crews {
                crew.end_interval(shard);
            }
            self.cut(at, Some(usage));
        }
        if self.phase < RunPhase::Drain {
            self.phase = RunPhase::Drain;
        }
        self.cx.is_sending = false;
        self.crews.iter_mut().for_each(Crew::conclude);
        self.check_drained(shard);
    }

    /// Reports that nothing is left to measure. The last message of a run by number ends the
    /// measuring.
    fn check_drained(&mut self, shard: &mut Shard<'_, Self>) {
        if !matches!(self.phase, RunPhase::WarmUp | RunPhase::Measure | RunPhase::Drain) {
            return;
        }
        let is_empty = self.crews.iter().all(|crew| crew.open == 0 && !crew.reconnects());
        if self.phase != RunPhase::Drain {
            let is_sent = self.crews.iter().any(|crew| crew.quota.is_some())
                && self.crews.iter().all(|crew| crew.quota.is_none_or(|quota| quota == 0));
            let mut has_barrier = false;
            if is_sent {
                for crew in &mut self.crews {
                    crew.conclude();
                    has_barrier |= crew.set_barrier(shard);
                }
            }
            // The turns of connections that have ended are unsent, up to the end of the schedule.
            let has_schedule = self.crews.iter().any(|crew| crew.pacer.is_some());
            if is_sent && !has_barrier && self.crews.iter().all(Crew::is_answered) {
                self.end(shard);
            } else if is_empty && !has_schedule {
                self.end_short(shard);
            }
        } else if !self.is_drained && (is_empty || self.crews.iter().all(Crew::is_answered)) {
            self.is_drained = true;
            self.emit(ThreadEvent::Drained);
        }
    }

    /// Ends the interval of all ledgers now, for the time series and the live view.
    pub(crate) fn cut_now(&mut self) {
        if matches!(self.phase, RunPhase::WarmUp | RunPhase::Measure) {
            self.cx.read_clock();
            self.cut(self.cx.now, None);
        }
    }

    /// Ends the interval of all ledgers at `to`, and sends them to the conductor.
    fn cut(&mut self, to: u64, usage: Option<Usage>) {
        let ledgers = self.crews.iter_mut().map(|crew| {
            crew.errors_before += crew.ledger.errors.total();
            crew.cut(Box::<Ledger>::default())
        });
        let ledgers = ledgers.collect();
        let deliveries = self.crews.iter_mut().map(|crew| crew.take_deliveries()).collect();
        let mut behind = Behind::default();
        // In a closed loop, nothing is due before it is sent.
        let open_loops = self.crews.iter_mut().filter(|crew| crew.pacer.is_some());
        open_loops.for_each(|crew| behind.add(crew.behind(&self.cx)));
        let late = std::mem::take(&mut self.late);
        let cut = Cut { index: self.cx.index, phase: self.phase, to, ledgers, deliveries, behind, late, usage };
        self.emit(ThreadEvent::Cut(Box::new(cut)));
    }

    fn close_some(&mut self, shard: &mut Shard<'_, Self>) {
        let mut left = CLOSING;
        for crew in &mut self.crews {
            while left > 0
                && let Some(id) = crew.ids.pop()
            {
                if let Some(mut conn) = id.and_then(|id| shard.connection(id)) {
                    close(&mut conn);
                    left -= 1;
                }
            }
        }
        if left == 0 {
            self.cx.agenda.push(self.cx.now, Due::Close);
        }
        self.cx.set_alarm(shard);
    }

    /// Reports the end of the last connection.
    fn check_closed(&mut self) {
        if self.phase != RunPhase::Close || self.is_closed || self.crews.iter().any(|crew| crew.open > 0) {
            return;
        }
        self.is_closed = true;
        // The errors of closing.
        self.cut(self.cx.now, None);
        let crews = self.crews.iter_mut().map(|crew| {
            let opening = &mut crew.opening;
            CrewTally {
                established: opening.established,
                failed: opening.failed,
                compressing: opening.compressing,
                ramp: (opening.established > 0).then_some((opening.began, opening.latest)),
                opening: std::mem::take(&mut opening.tally),
            }
        });
        let tally = Tally { index: self.cx.index, crews: crews.collect(), deflated: self.deflated };
        self.emit(ThreadEvent::Closed(Box::new(tally)));
    }
}

/// The bytes of compressed messages of a shard, before and after compression.
fn deflated(shard: &Shard<'_, Worker>) -> (u64, u64) {
    let counters = shard.counters();
    (counters.deflate_input, counters.deflate_output)
}

/// Begins to close a connection whose work is done.
fn close(conn: &mut Conn<'_>) {
    conn.close(CloseCode::NORMAL, "").expect("1000 is a code that may be sent");
}

impl Handler for Worker {
    type State = Line;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Line> {
        // Clients receive no requests.
        Upgrade::accept(Line::connecting(0, 0, 0, 0))
    }

    fn open(&mut self, conn: &mut Conn<'_>) {
        self.cx.read_clock();
        let line = conn.state();
        let (index, place) = (line.crew, line.place);
        let crew = &mut self.crews[usize::from(index)];
        crew.opened(&mut self.cx, conn, place, self.phase);
        if self.phase == RunPhase::Close {
            return close(conn);
        }
        if self.phase == RunPhase::Connect {
            self.proceed(&mut conn.shard(), index);
        }
        self.cx.set_alarm(&mut conn.shard());
    }

    fn failed(&mut self, shard: &mut Shard<'_, Self>, line: Line, error: &ConnectError) {
        self.cx.read_clock();
        let crew = &mut self.crews[usize::from(line.crew)];
        crew.opening.concluded();
        // A connection that was abandoned by the generator has not failed.
        if !matches!(error, ConnectError::Stopping) {
            crew.failed(&mut self.cx, &line, error, self.phase);
            if self.phase == RunPhase::Connect {
                self.proceed(shard, line.crew);
            }
            self.check_drained(shard);
            self.cx.set_alarm(shard);
        }
    }

    #[inline]
    fn message(&mut self, conn: &mut Conn<'_>, message: Message<'_>) {
        if self.cx.begin_input(conn.shard().turn_time()) {
            self.pass_edges(&mut conn.shard());
        }
        let added = self.cx.agenda.added();
        let crew = &mut self.crews[usize::from(conn.state().crew)];
        crew.message(&mut self.cx, conn, &message);
        let is_answered = crew.outstanding == 0;
        if self.cx.agenda.added() != added {
            self.cx.set_alarm(&mut conn.shard());
        }
        if is_answered {
            self.check_drained(&mut conn.shard());
        }
    }

    fn ping(&mut self, conn: &mut Conn<'_>, _: &[u8]) {
        let index = usize::from(conn.state().crew);
        self.crews[index].ledger.counts.pings += 1;
    }

    fn pong(&mut self, conn: &mut Conn<'_>, payload: &[u8]) {
        let index = usize::from(conn.state().crew);
        self.crews[index].pong(&mut self.cx, conn, payload);
        self.check_drained(&mut conn.shard());
    }

    fn drained(&mut self, conn: &mut Conn<'_>) {
        let index = usize::from(conn.state().crew);
        self.cx.read_clock();
        self.crews[index].outbox_drained(&mut self.cx, conn);
        self.cx.set_alarm(&mut conn.shard());
        self.check_drained(&mut conn.shard());
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, mut line: Line, reason: &CloseReason) {
        self.cx.read_clock();
        let crew = &mut self.crews[usize::from(line.crew)];
        crew.closed(&mut self.cx, &mut line, reason, self.phase);
        self.check_closed();
        self.check_drained(shard);
        self.cx.set_alarm(shard);
    }

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        self.cx.read_clock();
        if let Some(due) = self.cx.alarm.take()
            && self.phase == RunPhase::Measure
        {
            self.late.record(self.cx.now.saturating_sub(due));
        }
        self.work(shard);
    }
}
