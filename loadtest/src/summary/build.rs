//! From what was measured to the report. Pure.

use super::text::Details;
use super::{
    ConnectionFigures, ErrorFigures, GeneratorFigures, LatencyFigures, MessageFigures, PlanFigures, PopulationFigures,
    ReachFigures, Report, SCHEMA_VERSION, ServerFigures, TargetFigures, ThreadFigures,
};
use crate::conductor::Score;
use crate::errors::Errors;
use crate::histogram::Recorder;
use crate::ledger::{Counts, Ledger};
use crate::observe::sampler::WindowUse;
use crate::observe::server::ServerUse;
use crate::observe::usage::Usage;
use crate::observe::{MachineFigures, RampFigures, ServerIdentity};
use crate::opening::OpeningTally;
use crate::plan::{Behaviour, Load, Plan, Population, RunLength, Verify};
use crate::tally::CrewTally;
use crate::verdict::{self, Figures, LoadFigures, OpenFigures, PathFigures};
use ringway::placement::Assignment;
use std::collections::BTreeMap;
use std::mem;
use std::time::Duration;

/// What a run has found out, beside the plan.
pub(crate) struct Outcome<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) seed: u64,
    pub(crate) started_at: f64,
    pub(crate) handshakes: u32,
    pub(crate) driver: String,
    pub(crate) assignment: &'a Assignment,
    pub(crate) machine: MachineFigures,
    pub(crate) ramp: RampFigures,
    pub(crate) score: Score,
    pub(crate) server: Option<(ServerIdentity, ServerUse)>,
    /// What was sampled in the measured part; `None` if nothing was measured.
    pub(crate) window: Option<WindowUse>,
    /// Whether the server is on this machine.
    pub(crate) is_local: bool,
    /// Why the backlog of the server's listener is unknown.
    pub(crate) backlog_unknown: Option<String>,
}

/// The figures of a population before they are divided by time.
struct Part {
    ledger: Ledger,
    connections: ConnectionFigures,
    opening: OpeningTally,
    /// The start of the first connect and the end of the last one, in nanoseconds.
    ramp: Option<(u64, u64)>,
}

/// Makes the report.
pub(crate) fn build(outcome: Outcome<'_>) -> Report {
    let Outcome { plan, mut score, .. } = outcome;
    let length = score.length;
    let mut all = Part::default();
    let mut populations = Vec::new();
    let parts = parts(plan, &mut score);
    let mut answered = 0;
    for ((index, population), mut part) in plan.populations.iter().enumerate().zip(parts) {
        let readers = score.established.get(index).map_or(0, |open| open.saturating_sub(1));
        populations.push(figures(population, &mut part, readers, length));
        let counts = &part.ledger.counts;
        answered += match population.behaviour {
            // Of a broadcast, the deliveries to all readers are one answer.
            Behaviour::Broadcast { .. } => counts.received.checked_div(readers).unwrap_or(0),
            _ => counts.received + counts.corrupted,
        };
        all.merge(part, population.behaviour.is_answered());
    }
    let ramp_time = all.ramp_time();
    let mut messages = messages(
        &all.ledger.counts,
        length,
        plan.populations.iter().any(|one| one.load.is_open()),
        plan.populations.iter().all(|one| one.behaviour == Behaviour::Send),
    );
    messages.achieved = achieved(&populations);
    let cpu = score.usage.iter().map(|usage| usage.cpu).sum::<Duration>();
    let uncertainty = all.ledger.send_lag.quantiles().map(|lag| lag.p99);
    let verdict =
        verdict::evaluate(evidence(plan, &all, answered, &messages, &score, outcome.window, outcome.is_local));
    Report {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION"),
        started_at: outcome.started_at,
        machine: outcome.machine,
        plan: plan_figures(plan, outcome.seed, outcome.handshakes, outcome.driver, outcome.assignment),
        connections: all.connections,
        opening_us: all.opening.times(),
        ramp: outcome.ramp,
        tls: plan.targets.iter().any(|target| target.is_secure()).then(|| all.opening.tls()),
        latency_us: latency(&mut all.ledger),
        messages,
        populations,
        errors: errors(&all.ledger.errors),
        timeline: score.timeline.figures(),
        generator: GeneratorFigures {
            threads: score
                .usage
                .iter()
                .zip(outcome.assignment.cores())
                .map(|(usage, core)| thread(usage, *core))
                .collect(),
            cpu_seconds: cpu.as_secs_f64(),
            uncertainty_us: uncertainty,
        },
        server: outcome.server.map(|(identity, used)| server(identity, &used, messages.per_second, length)),
        verdict,
        interrupted: plan.stop.is_set(),
        measured: length,
        text: Details::new(plan, outcome.assignment, ramp_time, all.ledger.response),
    }
}

/// The figures from which the verdict is derived.
fn evidence(
    plan: &Plan,
    all: &Part,
    answered: u64,
    messages: &MessageFigures,
    score: &Score,
    window: Option<WindowUse>,
    is_local: bool,
) -> Figures {
    let counts = &all.ledger.counts;
    let mut response = all.ledger.response.clone();
    let response = response.quantiles();
    let in_flight =
        plan.populations.iter().zip(&score.established).filter(|(population, _)| population.behaviour.sends());
    let in_flight =
        in_flight.map(|(population, open)| open * u64::from(population.load.in_flight().unwrap_or(0))).sum();
    let load = if plan.populations.iter().any(|population| population.load.is_open()) {
        let unanswered = counts.offered.saturating_sub(answered);
        let mut lag = all.ledger.send_lag.clone();
        LoadFigures::Open(OpenFigures {
            offered: counts.offered,
            achieved: if counts.offered > 0 { 1.0 - unanswered as f64 / counts.offered as f64 } else { 0.0 },
            backlog_growth: score.backlog.1 as i64 - score.backlog.0 as i64,
            unsent_growth: score.unsent_growth,
            lost_turns: counts.unsent,
            held_back: 0,
            send_lag_p99_us: lag.quantiles().map(|lag| lag.p99),
        })
    } else if plan.populations.iter().any(|population| population.behaviour == Behaviour::Send) {
        LoadFigures::Stream { held_back: score.held_back }
    } else if plan.populations.iter().any(|population| population.behaviour.sends()) {
        LoadFigures::Closed { in_flight }
    } else {
        LoadFigures::None
    };
    let mut figures = Figures {
        load,
        established: all.connections.established,
        messages: (messages.per_second * score.length.as_secs_f64()).round() as u64,
        messages_per_second: messages.per_second,
        bytes_per_second: messages.bytes_sent_per_second.max(messages.bytes_received_per_second),
        response_mean_us: response.map(|response| response.mean),
        response_p99_us: response.map(|response| response.p99),
        generator: score
            .usage
            .iter()
            .zip(&score.cores)
            .map(|(usage, core)| verdict::ThreadFigures::new(usage, *core))
            .collect(),
        path: PathFigures {
            is_local,
            round_trip_us: all.opening.times_of_connecting().map(|connect| connect.min),
            link_bits_per_second: None,
        },
        ..Figures::default()
    };
    match window {
        Some(window) => figures.observe(window),
        None => figures.missing.push("all: nothing was measured".into()),
    }
    figures
}

/// The parts of the populations: their ledgers and their connections on all threads.
fn parts(plan: &Plan, score: &mut Score) -> Vec<Part> {
    let (before, measured, after) =
        (mem::take(&mut score.before), mem::take(&mut score.measured), mem::take(&mut score.after));
    let ledgers = before.into_iter().zip(measured).zip(after).map(|((before, mut measured), after)| {
        // Errors of all phases count, messages only of the measured part.
        let dropped = before.counts.dropped + after.counts.dropped;
        measured.errors.merge(before.errors);
        measured.errors.merge(after.errors);
        measured.counts.dropped += dropped;
        measured
    });
    let mut parts: Vec<Part> = ledgers
        .zip(&plan.populations)
        .map(|(ledger, population)| Part {
            connections: ConnectionFigures {
                requested: population.connections.into(),
                dropped: ledger.counts.dropped,
                compressing: plan.offer.deflate.map(|_| 0),
                ..ConnectionFigures::default()
            },
            ledger,
            opening: OpeningTally::default(),
            ramp: None,
        })
        .collect();
    for tally in mem::take(&mut score.tallies) {
        for (part, crew) in parts.iter_mut().zip(tally.crews) {
            part.add(crew);
        }
    }
    for part in &mut parts {
        part.connections.per_second = per_second(part.connections.established, part.ramp_time());
        part.connections.failed_in = part.opening.failed_in();
    }
    parts
}

impl Default for Part {
    fn default() -> Self {
        Self {
            ledger: Ledger::default(),
            connections: ConnectionFigures::default(),
            opening: OpeningTally::default(),
            ramp: None,
        }
    }
}

impl Part {
    /// Adds the connections of one thread.
    fn add(&mut self, crew: CrewTally) {
        self.connections.established += crew.established;
        self.connections.failed += crew.failed;
        if let Some(compressing) = &mut self.connections.compressing {
            *compressing += crew.compressing;
        }
        self.opening.merge(crew.opening);
        self.ramp = join(self.ramp, crew.ramp);
    }

    /// Adds another population. Only messages that are answered have latencies.
    fn merge(&mut self, other: Self, is_answered: bool) {
        let (mine, theirs) = (&mut self.connections, &other.connections);
        mine.requested += theirs.requested;
        mine.established += theirs.established;
        mine.failed += theirs.failed;
        mine.dropped += theirs.dropped;
        mine.compressing = match (mine.compressing, theirs.compressing) {
            (Some(mine), Some(theirs)) => Some(mine + theirs),
            (mine, theirs) => mine.or(theirs),
        };
        self.opening.merge(other.opening);
        self.ramp = join(self.ramp, other.ramp);
        let mut ledger = other.ledger;
        if !is_answered {
            (ledger.response, ledger.service) = (Recorder::default(), Recorder::default());
        }
        self.ledger.merge(ledger);
        self.connections.failed_in = self.opening.failed_in();
        self.connections.per_second = per_second(self.connections.established, self.ramp_time());
    }

    fn ramp_time(&self) -> Duration {
        self.ramp.map_or(Duration::ZERO, |(begin, end)| Duration::from_nanos(end.saturating_sub(begin)))
    }
}

fn join(one: Option<(u64, u64)>, other: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        _ => one.or(other),
    }
}

fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}

/// `sends_only`: messages are not answered, and nothing else is expected.
fn messages(counts: &Counts, length: Duration, is_open: bool, sends_only: bool) -> MessageFigures {
    let done = if sends_only { counts.sent } else { counts.arrived };
    let rate = per_second(done, length);
    let offered = per_second(counts.offered, length);
    MessageFigures {
        offered: counts.offered,
        sent: counts.sent,
        unsent: counts.unsent,
        received: counts.received,
        corrupted: counts.corrupted,
        missing: counts.missing,
        lost: counts.lost,
        duplicated: counts.duplicated,
        reordered: counts.reordered,
        late: counts.late,
        unasked: counts.unasked,
        fragmented: counts.fragmented,
        skipped: counts.skipped,
        numbered: counts.numbered,
        pings: counts.pings,
        per_second: rate,
        sent_per_second: per_second(counts.sent, length),
        bytes_sent_per_second: per_second(counts.bytes_sent, length),
        bytes_received_per_second: per_second(counts.bytes_received, length),
        achieved: (is_open && offered > 0.0).then(|| rate / offered),
    }
}

/// The mean of the shares of the schedules, weighted by the messages that were due.
fn achieved(populations: &[PopulationFigures]) -> Option<f64> {
    let open = populations.iter().filter_map(|one| Some((one.messages.achieved?, one.messages.offered as f64)));
    let (sum, offered) = open.fold((0.0, 0.0), |sum, (share, offered)| (sum.0 + share * offered, sum.1 + offered));
    (offered > 0.0).then(|| sum / offered)
}

fn latency(ledger: &mut Ledger) -> LatencyFigures {
    let response = ledger.response.quantiles();
    LatencyFigures {
        // In a closed loop both are the same.
        service: ledger.service.quantiles().or(response),
        response,
        send_lag: ledger.send_lag.quantiles(),
    }
}

fn errors(errors: &Errors) -> BTreeMap<String, ErrorFigures> {
    let figures = errors
        .iter()
        .map(|(kind, mishap)| (kind.to_owned(), ErrorFigures { count: mishap.count, samples: mishap.samples.clone() }));
    figures.collect()
}

fn figures(population: &Population, part: &mut Part, readers: u64, length: Duration) -> PopulationFigures {
    let reach = matches!(population.behaviour, Behaviour::Broadcast { .. }).then(|| {
        let counts = part.ledger.counts;
        let possible = counts.sent * readers;
        ReachFigures {
            messages: counts.sent,
            readers,
            reached: if possible > 0 { counts.received as f64 / possible as f64 } else { 0.0 },
            own_copies: counts.own_copies,
            unrecorded: counts.unrecorded,
            each_us: part.ledger.reach.each.quantiles(),
            first_us: part.ledger.reach.first.quantiles(),
            median_us: part.ledger.reach.median.quantiles(),
            last_us: part.ledger.reach.last.quantiles(),
        }
    });
    let is_open = population.load.is_open();
    let mut messages = messages(&part.ledger.counts, length, is_open, population.behaviour == Behaviour::Send);
    if reach.is_some() {
        // The schedule is that of publishing, and the rate is that of deliveries.
        messages.achieved = (messages.offered > 0).then(|| messages.sent as f64 / messages.offered as f64);
    }
    PopulationFigures {
        name: population.name.clone(),
        behaviour: population.behaviour.name(),
        load: match population.load {
            Load::Closed { .. } => "closed",
            Load::Open { .. } => "open",
        },
        in_flight: population.load.in_flight(),
        connections: part.connections,
        opening_us: part.opening.times(),
        opened_per_second: per_second(part.ledger.counts.opened, length),
        messages,
        latency_us: latency(&mut part.ledger),
        gaps_us: part.ledger.gaps.quantiles(),
        reach,
        errors: errors(&part.ledger.errors),
    }
}

fn thread(usage: &Usage, core: Option<usize>) -> ThreadFigures {
    ThreadFigures { core, busy: usage.busy(), polling: usage.polling(), run_delay: Some(usage.waiting()) }
}

fn server(identity: ServerIdentity, used: &ServerUse, per_second: f64, length: Duration) -> ServerFigures {
    let messages = per_second * length.as_secs_f64();
    ServerFigures {
        pid: identity.pid,
        name: identity.name,
        cpu_seconds: used.cpu.as_secs_f64(),
        cpu_us_per_message: (messages >= 1.0).then(|| used.cpu.as_secs_f64() * 1e6 / messages),
        rss_bytes: used.rss,
        busiest_thread: used.busiest,
        cores_used: used.cores_used,
    }
}

fn plan_figures(plan: &Plan, seed: u64, handshakes: u32, driver: String, assignment: &Assignment) -> PlanFigures {
    let (duration_seconds, messages) = match plan.length {
        RunLength::Time(time) => (Some(time.as_secs_f64()), None),
        RunLength::Messages(messages) => (None, Some(messages)),
    };
    PlanFigures {
        targets: plan
            .targets
            .iter()
            .map(|target| TargetFigures { url: target.url.clone(), weight: target.weight })
            .collect(),
        threads: assignment.threads(),
        driver,
        seed,
        duration_seconds,
        messages,
        warmup_seconds: plan.warmup().as_secs_f64(),
        timeout_seconds: plan.timeout.as_secs_f64(),
        verify: match plan.verify {
            Verify::Off => "off",
            Verify::Sample => "sample",
            Verify::All => "all",
        },
        handshakes,
        connect_rate: plan.connect.rate,
        max_errors: plan.max_errors,
    }
}
