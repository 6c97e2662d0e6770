//! The rounds of a bench with TLS: messages, handshakes, and idle connections.

use super::{Contestant, PEERS, PLAIN, TLS, TlsBench};
use crate::arguments::BenchPart;
use crate::bench::OVERHEAD;
use crate::bench::cells::Shape;
use crate::bench::connect::{self, Handshake};
use crate::bench::contestants::{Protocol, order};
use crate::bench::idle;
use crate::bench::progress::BenchProgress;
use crate::bench::rounds::{Cell, measure_one};
use crate::exit::Failure;

/// Connections that fill the generator's store of tickets before resumed handshakes are measured:
/// more than it has in progress at once, so that each handshake finds a ticket.
const TICKETS: u32 = 600;

/// The results so far.
pub(super) struct TlsFound {
    pub(super) cells: Vec<Cell>,
    pub(super) full: Vec<Held<Handshake>>,
    pub(super) resumed: Vec<Held<Handshake>>,
    /// Bytes per connection.
    pub(super) idle: Vec<Held<f64>>,
}

/// The rounds of one contestant in one part.
#[derive(Clone, Debug)]
pub(super) struct Held<T> {
    pub(super) rounds: Vec<T>,
    /// The reason why it failed. A contestant that has failed is not measured again in this part.
    pub(super) failure: Option<String>,
}

impl<T> Held<T> {
    fn take(&mut self, result: Result<T, String>) {
        match result {
            Ok(round) => self.rounds.push(round),
            Err(why) => {
                self.rounds.clear();
                self.failure = Some(why);
            }
        }
    }
}

impl TlsFound {
    pub(super) fn new(shapes: &[Shape], contestants: usize) -> Self {
        Self {
            cells: shapes.iter().map(|shape| Cell::new(*shape, contestants)).collect(),
            full: held(contestants),
            resumed: held(contestants),
            idle: held(contestants),
        }
    }
}

fn held<T>(contestants: usize) -> Vec<Held<T>> {
    (0..contestants).map(|_| Held { rounds: Vec::new(), failure: None }).collect()
}

/// Measures all parts that the command line asks for, until a signal arrives.
pub(super) fn measure(tls: &TlsBench<'_>, found: &mut TlsFound) -> Result<(), Failure> {
    let effort = &tls.bench.effort;
    let (all, rounds) = (tls.names.len(), effort.rounds);
    let part = |part, runs: usize| if tls.arguments.has(part) { runs } else { 0 };
    let steps = all * found.cells.len() * rounds
        + part(BenchPart::Connecting, (2 * all - 1) * rounds)
        + part(BenchPart::Idle, all * idle::ROUNDS);
    let mut progress = BenchProgress::new(steps, effort.warmup + effort.window + OVERHEAD);
    if !found.cells.is_empty() || tls.arguments.has(BenchPart::Connecting) {
        let mut running = Vec::new();
        for index in 0..all {
            let Some(contestant) = tls.start(index)? else { return Ok(()) };
            running.push(contestant);
        }
        measure_cells(tls, &running, &mut found.cells, &mut progress)?;
        if tls.arguments.has(BenchPart::Connecting) {
            for round in 0..rounds {
                handshakes(tls, &running, &FULL, &mut found.full, round, &mut progress)?;
                handshakes(tls, &running, &RESUMED, &mut found.resumed, round, &mut progress)?;
            }
        }
    }
    if tls.arguments.has(BenchPart::Idle) {
        idle_connections(tls, &mut found.idle, &mut progress)?;
    }
    Ok(())
}

/// The error of one of our own servers, which ends the bench.
fn check_ours<T>(tls: &TlsBench<'_>, index: usize, run: &Result<T, String>) -> Result<(), Failure> {
    match run {
        Err(why) if index < PEERS => Err(Failure(format!("{}: {why}", tls.names[index]))),
        _ => Ok(()),
    }
}

fn measure_cells(
    tls: &TlsBench<'_>,
    running: &[Contestant],
    cells: &mut [Cell],
    progress: &mut BenchProgress,
) -> Result<(), Failure> {
    let all: Vec<usize> = (0..running.len()).collect();
    for round in 0..tls.bench.effort.rounds {
        for cell in cells.iter_mut() {
            let mut runs = Vec::new();
            for index in order(&all, round) {
                progress.step(|| format!("round {}, {}: {}", round + 1, cell.shape, tls.names[index]));
                if cell.series[index].failure.is_some() {
                    continue;
                }
                let target = tls.target(index, &running[index], &tls.options.client);
                let run = measure_one(tls.bench, Protocol::Ws, cell.shape, &target);
                if tls.is_over() {
                    // An incomplete round has no pairs.
                    return Ok(());
                }
                check_ours(tls, index, &run)?;
                runs.push((index, run));
            }
            runs.into_iter().for_each(|(index, run)| cell.series[index].take(run));
        }
    }
    Ok(())
}

/// A kind of handshakes.
struct HandshakeKind {
    name: &'static str,
    /// The first contestant that makes them.
    first: usize,
    measure: fn(&TlsBench<'_>, usize, &Contestant) -> Result<Handshake, String>,
}

/// Full handshakes of all contestants; without TLS, opening alone.
const FULL: HandshakeKind = HandshakeKind {
    name: "full",
    first: PLAIN,
    measure: |tls, index, contestant| {
        let target = tls.target(index, contestant, &tls.options.client);
        connect::handshake(tls.bench, &target, tls.bench.effort.connect)
    },
};

/// Resumed handshakes of the contestants with TLS, each with tickets of its own.
const RESUMED: HandshakeKind = HandshakeKind {
    name: "resumed",
    first: TLS,
    measure: |tls, index, contestant| {
        let client = tls.options.client.clone().resumption(true);
        let target = tls.target(index, contestant, &client);
        connect::handshake(tls.bench, &target, TICKETS)?;
        connect::handshake(tls.bench, &target, tls.bench.effort.connect)
    },
};

/// One round of handshakes of a kind.
fn handshakes(
    tls: &TlsBench<'_>,
    running: &[Contestant],
    kind: &HandshakeKind,
    found: &mut [Held<Handshake>],
    round: usize,
    progress: &mut BenchProgress,
) -> Result<(), Failure> {
    let all: Vec<usize> = (kind.first..running.len()).collect();
    for index in order(&all, round) {
        progress.step(|| format!("round {}, {} handshakes: {}", round + 1, kind.name, tls.names[index]));
        if tls.is_over() || found[index].failure.is_some() {
            continue;
        }
        let run = (kind.measure)(tls, index, &running[index]);
        check_ours(tls, index, &run)?;
        found[index].take(run);
    }
    Ok(())
}

/// Measures the memory of idle connections, each time in a fresh process.
fn idle_connections(tls: &TlsBench<'_>, found: &mut [Held<f64>], progress: &mut BenchProgress) -> Result<(), Failure> {
    let levels = tls.bench.effort.idle;
    for round in 0..idle::ROUNDS {
        for (index, held) in found.iter_mut().enumerate() {
            progress.step(|| format!("round {}, {} idle connections: {}", round + 1, levels.high, tls.names[index]));
            if tls.is_over() || held.failure.is_some() {
                continue;
            }
            let Some(contestant) = tls.start(index)? else { return Ok(()) };
            let target = tls.target(index, &contestant, &tls.options.client);
            let run = idle::hold(tls.bench, &target, levels).map(|memory| levels.slope(memory));
            if tls.is_over() {
                return Ok(());
            }
            check_ours(tls, index, &run)?;
            held.take(run);
        }
    }
    Ok(())
}
