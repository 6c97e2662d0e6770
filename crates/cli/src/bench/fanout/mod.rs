//! Fan-out: one connection publishes at a given rate, and the server sends each message to all.
//!
//! The contestants are raw sends on plain epoll (`ringway floor --fanout`), our server with a send for
//! each connection (`serve --app broadcast`) and on a topic (`broadcast:topic`), and each
//! `--fanout-peer`. All of them send a message to its publisher too. The load is an open loop: a latency counts from the time
//! at which a message was due.

mod report;
pub(crate) mod shape;

pub(super) use report::table;
pub(crate) use report::{FanoutEntry, entries};
pub(crate) use shape::{FanoutShape, default_shapes, duplicate};

use super::child::BenchServer;
use super::contestants::{EchoTarget, order};
use super::peers::{PeerProcess, PeerSpec};
use super::progress::BenchProgress;
use super::rounds::{insist, sampled};
use super::statistics::Spread;
use super::verdict::RoundSample;
use super::{Bench, Effort, OVERHEAD};
use crate::exit::Failure;
use ringway_loadtest::server::ServerUse;
use ringway_loadtest::{
    Alphabet, Arrivals, Behaviour, Content, Load, Plan, Population, Report, RunLength, Schedule, Sizes,
};
use serde::Serialize;
use std::time::Duration;

/// Our contestants: their names and their commands. Peers follow them.
const OURS: [(&str, &[&str]); 3] = [
    ("raw epoll", &["floor", "--fanout"]),
    ("ringway sends", &["serve", "--app", "broadcast"]),
    ("ringway", &["serve", "--app", "broadcast:topic"]),
];

/// The index of the contestant that the ratios compare with the others.
const RINGWAY: usize = OURS.len() - 1;

/// A delivery that takes longer is missed.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The result of one run of one contestant.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct FanoutSample {
    /// Within the window, those to the publisher included.
    pub(crate) deliveries_per_second: f64,
    pub(crate) server_cpu_us_per_delivery: f64,
    /// From the time at which a message was due to its delivery. A missed one counts with the time
    /// waited.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// The number of deliveries that did not take place within the timeout.
    pub(crate) missed: u64,
    /// The number of deliveries that were due, without those to the publisher.
    pub(crate) due: u64,
    pub(crate) server_busy_share: f64,
    pub(crate) generator_busy_share: f64,
    pub(crate) server_waiting_share: f64,
}

/// A shape with the samples of all contestants, by contestant and round.
#[derive(Clone, Debug)]
pub(crate) struct FanoutCell {
    shape: FanoutShape,
    series: Vec<FanoutSeries>,
}

/// The rounds of one contestant in one shape.
#[derive(Clone, Debug, Default)]
struct FanoutSeries {
    /// `None` for a round in which nothing was delivered.
    rounds: Vec<Option<FanoutSample>>,
    /// The reason why it failed. A contestant that has failed is not measured again in this shape.
    failure: Option<String>,
}

/// The process of a contestant.
enum FanoutServer {
    Ours(BenchServer),
    Peer(PeerProcess),
}

impl FanoutServer {
    fn target(&self) -> EchoTarget {
        match self {
            Self::Ours(server) => server.into(),
            Self::Peer(peer) => peer.into(),
        }
    }

    /// The reason of a failure, with the last output of a peer that has exited.
    fn explain(this: &mut Option<Self>, why: String) -> String {
        match this.take_if(|server| matches!(server, Self::Peer(peer) if peer.has_ended())) {
            Some(Self::Peer(peer)) => format!("{why}; {}", peer.last_words()),
            _ => why,
        }
    }
}

impl FanoutCell {
    pub(crate) fn new(shape: FanoutShape, peers: &[PeerSpec]) -> Self {
        Self { shape, series: vec![FanoutSeries::default(); OURS.len() + peers.len()] }
    }

    /// The expected time of one run.
    pub(super) fn duration(&self, effort: &Effort) -> Duration {
        self.shape.warmup(effort.warmup) + self.shape.window(effort.window) + OVERHEAD
    }
}

/// The names of all contestants, by index.
fn names(peers: &[PeerSpec]) -> Vec<String> {
    let ours = OURS.iter().map(|(name, _)| (*name).to_owned());
    ours.chain(peers.iter().map(|peer| peer.name.clone())).collect()
}

/// The number of runs of this part, for the progress.
pub(super) fn steps(rounds: usize, cells: usize, peers: &[PeerSpec]) -> usize {
    rounds * cells * (OURS.len() + peers.len())
}

/// Measures all cells, round by round, until a signal arrives.
pub(super) fn measure_fanout(
    bench: &Bench,
    peers: &[PeerSpec],
    cells: &mut [FanoutCell],
    progress: &mut BenchProgress,
) -> Result<(), Failure> {
    let names = names(peers);
    let mut servers = Vec::new();
    for (_, command) in OURS {
        servers.push(Some(FanoutServer::Ours(BenchServer::start(command, bench)?)));
    }
    for spec in peers {
        let Some(peer) = PeerProcess::start(spec, &bench.halves.server, &bench.signals.stop)? else { return Ok(()) };
        servers.push(Some(FanoutServer::Peer(peer)));
    }
    let all: Vec<usize> = (0..names.len()).collect();
    for round in 0..bench.effort.rounds {
        for cell in cells.iter_mut() {
            let mut runs = Vec::new();
            for index in order(&all, round) {
                progress.step(|| format!("round {}, fan-out {}: {}", round + 1, cell.shape, names[index]));
                if cell.series[index].failure.is_some() {
                    continue;
                }
                let run = match servers[index].as_ref().map(FanoutServer::target) {
                    Some(target) => measure_one(bench, cell.shape, &target),
                    None => Err("it has exited".into()),
                };
                if bench.signals.caught().is_some() {
                    // An incomplete round has no pairs.
                    return Ok(());
                }
                let run = run.map_err(|why| FanoutServer::explain(&mut servers[index], why));
                if let (Err(why), true) = (&run, index < OURS.len()) {
                    return Err(Failure(format!("{} failed, fan-out {}: {why}", names[index], cell.shape)));
                }
                runs.push((index, run));
            }
            runs.into_iter().for_each(|(index, run)| cell.series[index].take(run));
        }
    }
    Ok(())
}

impl FanoutSeries {
    fn take(&mut self, run: Result<Option<FanoutSample>, String>) {
        match run {
            Ok(sample) => self.rounds.push(sample),
            Err(why) => {
                // The figures of a server that has failed are not reported.
                self.rounds.clear();
                self.failure = Some(why);
            }
        }
    }

    fn spread(&self, figure: fn(&FanoutSample) -> f64) -> Option<Spread> {
        Spread::of(self.rounds.iter().flatten().map(figure))
    }

    /// The rounds as those of messages, each of which is a delivery.
    fn as_rounds(&self) -> Vec<Option<RoundSample>> {
        let round = |sample: &FanoutSample| RoundSample {
            messages_per_second: sample.deliveries_per_second,
            server_cpu_us_per_message: sample.server_cpu_us_per_delivery,
            p50_us: sample.p50_us,
            p99_us: sample.p99_us,
            server_busy_share: sample.server_busy_share,
            generator_busy_share: sample.generator_busy_share,
            server_waiting_share: sample.server_waiting_share,
        };
        self.rounds.iter().map(|sample| sample.as_ref().map(round)).collect()
    }
}

/// Runs one contestant once.
fn measure_one(bench: &Bench, shape: FanoutShape, target: &EchoTarget) -> Result<Option<FanoutSample>, String> {
    insist(shape.window(bench.effort.window), &bench.signals.stop, |window| {
        let (report, used) = sampled(target.pid, |edges| {
            let population = Population {
                connections: shape.connections(),
                load: Load::Open { schedule: Schedule::constant(shape.rate.into()), arrivals: Arrivals::Uniform },
                message: Content::Random {
                    sizes: Sizes::fixed(shape.size).expect("the shape was checked"),
                    alphabet: Alphabet::Binary,
                },
                ..Population::new(Behaviour::Broadcast { publishers: 1, topic: None })
            };
            let plan = Plan {
                warmup: Some(shape.warmup(bench.effort.warmup)),
                length: RunLength::Time(window),
                timeout: TIMEOUT,
                edges: Some(edges),
                ..bench.plan(target, population)
            };
            ringway_loadtest::run(&plan, &mut |_| {})
        });
        let report = report.map_err(|error| error.to_string())?;
        sample(bench, shape, &report, used)
    })
}

/// The kinds of errors that are figures of this part, or occur after measuring.
const COUNTED: [&str; 3] = ["late_reply", "reply_timeout", "close_unanswered"];

/// The sample of a run; `None` if nothing was delivered.
fn sample(
    bench: &Bench,
    shape: FanoutShape,
    report: &Report,
    used: Option<ServerUse>,
) -> Result<Option<FanoutSample>, String> {
    if let Some((kind, error)) = report.errors.iter().find(|(kind, _)| !COUNTED.contains(&kind.as_str())) {
        let first = error.samples.first().map_or("", String::as_str);
        return Err(format!("{} × {kind}: {first}", error.count));
    }
    let opened = report.connections.established;
    if opened < u64::from(shape.connections()) {
        return Err(format!("only {opened} of {} connections opened", shape.connections()));
    }
    let used = match used {
        Some(used) => used,
        None if bench.signals.stop.is_set() => return Ok(None),
        None => return Err("the server's CPU time cannot be read".into()),
    };
    let messages = &report.messages;
    let reach = report.populations.first().and_then(|population| population.reach.as_ref());
    let Some((reach, each)) = reach.and_then(|reach| Some((reach, reach.each_us.as_ref()?))) else { return Ok(None) };
    let rate = messages.per_second;
    let all_cores = used.cores_used / bench.halves.server.threads() as f64;
    Ok((rate > 0.0).then(|| FanoutSample {
        deliveries_per_second: rate,
        server_cpu_us_per_delivery: used.cores_used * 1e6 / rate,
        p50_us: each.p50,
        p99_us: each.p99,
        missed: messages.missing + messages.unsent * reach.readers,
        due: messages.offered * reach.readers,
        server_busy_share: used.busiest.max(all_cores.min(1.0)),
        generator_busy_share: report.generator.threads.iter().map(|thread| thread.busy).fold(0.0, f64::max),
        server_waiting_share: used.waiting,
    }))
}

#[cfg(test)]
mod tests;
