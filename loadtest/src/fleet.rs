//! The threads of a run, and the sequence of its phases.

use crate::LoadError;
use crate::errors::Errors;
use crate::generator::{Generator, Orders};
use crate::measure::Recorder;
use crate::observe::processes::Edges;
use crate::observe::sampler::{GeneratorThread, Measured, Samples, WindowUse};
use crate::observe::server::ObservedServer;
use crate::observe::usage::Usage;
use crate::opening::OpeningTally;
use crate::payload::Payload;
use crate::phase::{RunPhase, Timetable};
use crate::place::place;
use crate::plan::{MAX_IN_FLIGHT, Mode, Plan, RunLength};
use crate::report::{
    ConnectionFigures, GeneratorFigures, LatencyFigures, MessageFigures, Report, SCHEMA_VERSION, ServerFigures,
    describe,
};
use crate::tally::{Standing, Tally, ThreadEvent};
use crate::verdict::{Figures, LoadFigures, ThreadFigures, evaluate};
use rand::Rng;
use ringway::placement::Assignment;
use ringway::{Client, Config, ConnectError, Endpoint, Limits, Running, Shard, Shards};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// The interval at which the threads are queried and the caller is informed.
const TICK: Duration = Duration::from_millis(100);

/// The time to wait for answers if the run is stopped early.
const HURRY: Duration = Duration::from_secs(1);

/// The maximum size of a message from the server, unless the messages of the plan are larger.
const MAX_MESSAGE: usize = 16 << 20;

/// The time within which a server must answer a close frame.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Files that a process needs besides its connections: standard streams, and a ring and a waker for
/// each thread.
const SPARE_FILES: u64 = 64;

/// The progress of a run, reported about ten times a second.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The current phase.
    pub phase: RunPhase,
    /// The time since the phase began.
    pub elapsed: Duration,
    /// The length of the phase, if it ends by time.
    pub of: Option<Duration>,
    /// The number of messages that ends the phase, if there is one.
    pub of_messages: Option<u64>,
    /// Open connections.
    pub open: u64,
    /// Connections that failed to open.
    pub failed: u64,
    /// Messages answered ([`Mode::Send`]: sent) since the warm-up began.
    pub messages: u64,
    /// The current rate of these, per second.
    pub per_second: f64,
    /// Errors of all kinds.
    pub errors: u64,
}

/// A run in progress.
struct Fleet<'a> {
    plan: &'a Plan,
    report: &'a mut dyn FnMut(&Progress),
    running: Running<Generator>,
    events: Receiver<ThreadEvent>,
    epoch: Instant,
    phase: RunPhase,
    phase_began: Instant,
    phase_length: Option<Duration>,
    next_tick: Instant,
    standings: Vec<Standing>,
    /// The completed messages at the latest query, and its time.
    latest: (Instant, u64),
    /// The time of the latest change of the number of completed messages.
    moved: Instant,
    ramped: Vec<(usize, u64)>,
    /// The index and the system's id of each thread.
    threads: Vec<(usize, i32)>,
    drained: usize,
    tallies: Vec<Tally>,
}

/// Runs a plan.
pub(crate) fn run(plan: &Plan, report: &mut dyn FnMut(&Progress)) -> Result<Report, LoadError> {
    plan.check()?;
    check_files(plan)?;
    let mut endpoint = Endpoint::resolve(&plan.url)?;
    if let Some(tls) = &plan.tls {
        endpoint = endpoint.tls(tls).map_err(ConnectError::from)?;
    }
    let endpoint = endpoint.subprotocols(plan.subprotocols.iter().cloned())?.headers(plan.headers.clone());
    let endpoint = Arc::new(match &plan.origin {
        Some(origin) => endpoint.origin(origin.clone())?,
        None => endpoint,
    });
    let server = match (&plan.edges, plan.server_pid) {
        (Some(_), _) => ObservedServer::default(),
        (None, Some(pid)) => ObservedServer::known(pid),
        (None, None) => ObservedServer::find_any(endpoint.addresses()),
    };
    let assignment = place(plan, &server)?;
    let mut fleet = Fleet::start(plan, &assignment, endpoint, report)?;
    fleet.connect();
    let established: u64 = fleet.ramped.iter().map(|(_, established)| established).sum();
    fleet.threads.sort_unstable();
    let generator = fleet.threads.iter().map(|(index, thread)| GeneratorThread {
        thread: *thread,
        core: assignment.cores().get(*index).copied().flatten(),
    });
    let measured = Measured {
        generator: generator.collect(),
        server: server.without(fleet.threads.iter().map(|(_, thread)| *thread)),
    };
    let used = fleet.measure(&measured, established);
    let tallies = fleet.close()?;
    Ok(summarize(plan, &assignment, &measured.server, used, tallies))
}

/// Checks that the limit of open files allows this number of connections.
fn check_files(plan: &Plan) -> Result<(), LoadError> {
    let needed = u64::from(plan.connections) + SPARE_FILES;
    match rustix::process::getrlimit(rustix::process::Resource::Nofile).current {
        Some(allowed) if allowed < needed => {
            Err(LoadError::OpenFiles { connections: plan.connections, allowed, needed })
        }
        _ => Ok(()),
    }
}

impl<'a> Fleet<'a> {
    /// Starts the threads, which wait for work.
    fn start(
        plan: &'a Plan,
        assignment: &Assignment,
        endpoint: Arc<Endpoint>,
        report: &'a mut dyn FnMut(&Progress),
    ) -> Result<Self, LoadError> {
        let threads = assignment.threads();
        let epoch = Instant::now();
        let (sender, events) = mpsc::channel();
        let seed = plan.seed.unwrap_or_else(|| rand::make_rng::<rand::rngs::StdRng>().next_u64());
        let max_size = *plan.sizes.end();
        let limits = Limits::default()
            .max_message(MAX_MESSAGE.max(max_size))?
            .max_connections(Plan::share(plan.connections.into(), threads, 0) as u32 + 64)?
            .max_buffered(match plan.mode {
                // The plan bounds the bytes in flight.
                Mode::Echo => MAX_IN_FLIGHT,
                // An efficient size for one send.
                Mode::Send | Mode::Idle => (64 << 10).max(max_size),
            })?;
        let config = Config::default()
            .cores(assignment.to_config())?
            .busy_poll(plan.busy_poll)?
            .driver(plan.driver)
            .handshake_timeout(plan.connect_timeout)?
            // Missing answers show a dead server; pings would disturb the measurement.
            .idle_timeout(None)?
            .close_timeout(CLOSE_TIMEOUT)?
            .stop_timeout(HURRY)?
            .deflate(plan.deflate);
        let orders = {
            let plan = plan.clone();
            move |index| {
                let connections = Plan::share(plan.connections.into(), threads, index);
                let part = connections as f64 / f64::from(plan.connections);
                Orders {
                    index,
                    endpoint: Arc::clone(&endpoint),
                    epoch,
                    connections,
                    connect_rate: plan.connect_rate.map(|rate| rate * part),
                    connect_concurrency: plan.connect_concurrency.into(),
                    mode: plan.mode,
                    pipeline: plan.pipeline,
                    verify: plan.verify,
                    payload: Payload::new(&plan.sizes, plan.binary, seed.wrapping_add(index as u64)),
                    salt: (seed >> 32) as u32 ^ seed as u32 ^ (index as u32).rotate_left(16),
                    events: sender.clone(),
                }
            }
        };
        let client = Client::new().shards(Shards::Count(threads)).config(config).limits(limits);
        let running = client.start(move |index| Generator::new(orders(index)))?;
        Ok(Self {
            plan,
            report,
            running,
            events,
            epoch,
            phase: RunPhase::Connect,
            phase_began: epoch,
            phase_length: None,
            next_tick: epoch + TICK,
            standings: vec![Standing::default(); threads],
            latest: (epoch, 0),
            moved: epoch,
            ramped: Vec::new(),
            threads: Vec::new(),
            drained: 0,
            tallies: Vec::new(),
        })
    }

    /// Opens all connections, or determines that they cannot be opened.
    fn connect(&mut self) {
        self.enter(RunPhase::Connect, None);
        self.post_all(|generator, shard| generator.connect(shard));
        let threads = self.standings.len();
        self.wait(None, |fleet| fleet.ramped.len() == threads || fleet.plan.stop.is_set());
    }

    /// Sends messages, measures, and waits for outstanding answers. Returns the resource use of the
    /// measured part, unless the caller samples it.
    fn measure(&mut self, measured: &Measured, established: u64) -> Option<WindowUse> {
        let (time, messages) = match self.plan.length {
            RunLength::Time(time) => (Some(time), None),
            RunLength::Messages(messages) => (None, Some(messages)),
        };
        if self.plan.stop.is_set() || established == 0 {
            return None;
        }
        let timetable = Timetable::new(self.epoch.elapsed().as_nanos() as u64, self.plan.warmup, time);
        if let (Some(edges), Some(_)) = (&self.plan.edges, time) {
            // Sending fails if the receiver has been dropped.
            let _ = edges.send(Edges { begin: self.at(timetable.measure), end: self.at(timetable.drain) });
        }
        let mut left = messages.unwrap_or(0);
        let mut connections_left = established;
        for (index, established) in self.ramped.clone() {
            // Each thread's share of the messages is proportional to its connections; the last
            // thread takes the remainder.
            let part = if established == connections_left {
                left
            } else {
                (u128::from(left) * u128::from(established) / u128::from(connections_left.max(1))) as u64
            };
            left -= part;
            connections_left -= established;
            let quota = messages.map(|_| part);
            self.post(index, move |generator, shard| generator.begin(shard, timetable, quota));
        }
        let threads = self.standings.len();
        let over = move |fleet: &Self| fleet.drained == threads || fleet.plan.stop.is_set();
        self.enter(RunPhase::Settle, None);
        self.wait(Some(self.at(timetable.warm_up)), over);
        self.enter(RunPhase::WarmUp, Some(self.plan.warmup));
        self.wait(Some(self.at(timetable.measure)), over);
        self.enter(RunPhase::Measure, time);
        let begin = self.plan.edges.is_none().then(|| Samples::take(measured));
        self.moved = Instant::now();
        if time.is_some() {
            self.wait(Some(self.at(timetable.drain)), over);
        } else {
            let drain_timeout = self.plan.drain_timeout;
            self.wait(None, move |fleet| over(fleet) || fleet.moved.elapsed() > drain_timeout);
        }
        let used = begin.map(|begin| Samples::take(measured).since(&begin, measured, None));
        self.enter(RunPhase::Drain, None);
        if time.is_none() || self.plan.stop.is_set() {
            self.post_all(|generator, _| generator.end());
        }
        // A run by number of messages that has stalled has already waited.
        let drain_timeout = if self.plan.stop.is_set() || time.is_none() { HURRY } else { self.plan.drain_timeout };
        let drain_timeout = drain_timeout.min(self.plan.drain_timeout);
        self.wait(Some(Instant::now() + drain_timeout), |fleet| fleet.drained == threads);
        used
    }

    /// Closes all connections and ends the threads.
    fn close(mut self) -> Result<Vec<Tally>, LoadError> {
        self.enter(RunPhase::Close, None);
        self.post_all(|generator, shard| generator.close(shard));
        let threads = self.standings.len();
        // The engine closes connections that do not answer within its close timeout.
        self.wait(Some(Instant::now() + 2 * CLOSE_TIMEOUT), |fleet| fleet.tallies.len() == threads);
        self.running.stop();
        self.running.wait()?;
        Ok(self.tallies)
    }

    fn enter(&mut self, phase: RunPhase, length: Option<Duration>) {
        (self.phase, self.phase_began, self.phase_length) = (phase, Instant::now(), length);
    }

    fn at(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }

    /// Posts work to a thread. If its mailbox is full, waits: the thread empties it in each turn.
    fn post(
        &self,
        index: usize,
        work: impl FnOnce(&mut Generator, &mut Shard<'_, Generator>) + Send + Clone + 'static,
    ) {
        while self.running.handles()[index].post(work.clone()).is_err() {
            std::thread::yield_now();
        }
    }

    fn post_all(&self, work: impl FnOnce(&mut Generator, &mut Shard<'_, Generator>) + Send + Clone + 'static) {
        (0..self.standings.len()).for_each(|index| self.post(index, work.clone()));
    }

    /// Processes the events of the threads and reports progress, until `done` returns true or
    /// `until` has passed.
    fn wait(&mut self, until: Option<Instant>, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return;
            }
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                self.report_progress(now);
                self.post_all(|generator, _| generator.stand());
            }
            let next = until.map_or(self.next_tick, |until| until.min(self.next_tick));
            match self.events.recv_timeout(next.saturating_duration_since(now)) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Every thread has ended early. Stopping them returns the error.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, event: ThreadEvent) {
        match event {
            ThreadEvent::Ramped(ramp) => {
                self.standings[ramp.index].open = ramp.established;
                self.ramped.push((ramp.index, ramp.established));
                self.threads.push((ramp.index, ramp.thread));
            }
            ThreadEvent::Standing(index, standing) => {
                if standing.done != self.standings[index].done {
                    self.moved = Instant::now();
                }
                self.standings[index] = standing;
            }
            ThreadEvent::Drained => self.drained += 1,
            // A connection that opened while the others closed leads to a second tally.
            ThreadEvent::Closed(tally) => {
                if !self.tallies.iter().any(|known| known.index == tally.index) {
                    self.tallies.push(*tally);
                }
            }
        }
    }

    fn report_progress(&mut self, now: Instant) {
        let total = |figure: fn(&Standing) -> u64| self.standings.iter().map(figure).sum::<u64>();
        let messages = total(|standing| standing.done);
        let (before, messages_before) = std::mem::replace(&mut self.latest, (now, messages));
        let elapsed = now.saturating_duration_since(before).as_secs_f64();
        let progress = Progress {
            phase: self.phase,
            elapsed: now.saturating_duration_since(self.phase_began),
            of: self.phase_length,
            of_messages: match self.plan.length {
                RunLength::Messages(messages) if self.phase == RunPhase::Measure => Some(messages),
                _ => None,
            },
            open: total(|standing| standing.open),
            failed: total(|standing| standing.failed),
            messages,
            per_second: if elapsed > 0.0 { messages.saturating_sub(messages_before) as f64 / elapsed } else { 0.0 },
            errors: total(|standing| standing.errors),
        };
        (self.report)(&progress);
    }
}

/// Whether a valid URL is one of TLS.
fn is_secure(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("wss"))
}

/// Merges the tallies of the threads.
fn summarize(
    plan: &Plan,
    assignment: &Assignment,
    server: &ObservedServer,
    used: Option<WindowUse>,
    mut tallies: Vec<Tally>,
) -> Report {
    tallies.sort_by_key(|tally| tally.index);
    let threads = assignment.threads();
    let (mut opening, mut latency) = (OpeningTally::new(), Recorder::new());
    // A thread that measured nothing used no CPU time in the measured part.
    let (mut errors, mut usage) = (Errors::default(), vec![Usage::default(); threads]);
    let (mut established, mut failed, mut compressing) = (0, 0, 0);
    let (mut ramp_end, mut ramp_begin) = (0, u64::MAX);
    let mut messages = MessageFigures::default();
    let (mut window_messages, mut window_bytes, mut window) = (0, 0, Duration::ZERO);
    for tally in tallies {
        established += tally.established;
        failed += tally.failed;
        compressing += tally.compressing;
        opening.merge(tally.opening);
        errors.merge(tally.errors);
        if let Some((begin, end)) = tally.ramp {
            (ramp_begin, ramp_end) = (ramp_begin.min(begin), ramp_end.max(end));
        }
        if let Some(measured) = tally.measured {
            latency.merge(measured.latency);
            messages.sent += measured.sent;
            messages.received += measured.received;
            messages.missing += measured.missing;
            window_messages += measured.window.messages;
            window_bytes += measured.window.bytes;
            window = window.max(measured.window.length);
            usage[tally.index] = measured.window.usage;
        }
    }
    messages.offered = messages.sent;
    let per_second = |count: u64, time: Duration| if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() };
    messages.per_second = per_second(window_messages, window);
    messages.bytes_per_second = per_second(window_bytes, window);
    let connect_time = Duration::from_nanos(ramp_end.saturating_sub(ramp_begin));
    let response = if plan.mode == Mode::Echo { latency.quantiles() } else { None };
    let server_used = used.as_ref().and_then(|used| used.server.as_ref().ok()).copied();
    let mut figures = Figures {
        load: match plan.mode {
            Mode::Echo => LoadFigures::Closed { in_flight: established * u64::from(plan.pipeline) },
            Mode::Send => LoadFigures::Stream { held_back: 0 },
            Mode::Idle => LoadFigures::None,
        },
        established,
        messages: window_messages,
        messages_per_second: messages.per_second,
        bytes_per_second: messages.bytes_per_second,
        response_mean_us: response.map(|response| response.mean),
        response_p99_us: response.map(|response| response.p99),
        generator: usage.iter().zip(assignment.cores()).map(|(usage, core)| ThreadFigures::new(usage, *core)).collect(),
        ..Figures::default()
    };
    if let Some(used) = used {
        figures.observe(used);
    }
    let verdict = evaluate(figures);
    Report {
        schema_version: SCHEMA_VERSION,
        target: plan.url.clone(),
        mode: plan.mode,
        connections: ConnectionFigures {
            requested: plan.connections.into(),
            established,
            failed,
            failed_in: opening.failed_in(),
            per_second: per_second(established, connect_time),
        },
        opening_us: opening.times(),
        tls: is_secure(&plan.url).then(|| opening.tls()),
        messages,
        latency_us: LatencyFigures { response, service: response, send_lag: None },
        errors: errors.iter().map(|(kind, mishap)| (kind.to_owned(), mishap.count)).collect(),
        first_errors: errors.iter().map(|(kind, mishap)| (kind.to_owned(), mishap.first.clone())).collect(),
        generator: GeneratorFigures::new(&usage, assignment),
        server: server.pid().zip(server_used).map(|(pid, used)| ServerFigures {
            pid,
            cpu_seconds: used.cpu.as_secs_f64(),
            rss_bytes: used.rss,
            busiest_thread: used.busiest,
            cores_used: used.cores_used,
        }),
        verdict,
        measured: window,
        connect_time,
        saturated: latency.saturated(),
        compressing: plan.deflate.map(|_| compressing),
        interrupted: plan.stop.is_set(),
        load: describe(plan, threads),
        placement: assignment.to_string(),
    }
}
