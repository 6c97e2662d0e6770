//! The rate at which connections open, and the CPU time that the server takes to open, upgrade and
//! close one.

use super::Bench;
use super::contestants::{Contestant, EchoTarget, RunningContestants, order};
use super::progress::BenchProgress;
use super::rounds::{run_error, with_handshake};
use super::statistics::Spread;
use super::verdict::MIN_PAIRS;
use crate::exit::Failure;
use ringway_loadtest::{Behaviour, Plan, Population, RunLength, processes};
use serde::Serialize;
use std::time::Duration;

/// The time that the server has to finish closing before its CPU clock is read. It is asleep by
/// then, so the clock is exact.
const REST: Duration = Duration::from_millis(10);

/// The result of opening connections, for each contestant with a handshake.
#[derive(Debug, Serialize)]
pub(crate) struct Connecting {
    /// The number of connections that are opened and closed in one round.
    pub(crate) connections: u32,
    pub(crate) contestants: Vec<Handshakes>,
}

/// The result of one contestant.
#[derive(Debug, Serialize)]
pub(crate) struct Handshakes {
    pub(crate) contestant: String,
    /// Handshakes per second, from the first connect to the last handshake.
    pub(crate) per_second: Option<Spread>,
    /// CPU time of the server to open, upgrade and close one connection, in µs.
    pub(crate) server_cpu_us: Option<Spread>,
    /// The ratio of this contestant's CPU time to ours over paired rounds: above 1, ours is better.
    pub(crate) ringway_ratio: Option<Spread>,
    pub(crate) failure: Option<String>,
    pub(crate) rounds: Vec<Handshake>,
}

/// One round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Handshake {
    pub(super) per_second: f64,
    pub(super) server_cpu_us: f64,
}

impl Handshakes {
    fn new(contestant: String) -> Self {
        let (per_second, server_cpu_us, ringway_ratio, failure) = (None, None, None, None);
        Self { contestant, per_second, server_cpu_us, ringway_ratio, failure, rounds: Vec::new() }
    }

    /// Computes the figures from the rounds; `ours` is `None` for our own server.
    fn sum_up(&mut self, ours: Option<&[Handshake]>) {
        self.per_second = Spread::of(self.rounds.iter().map(|round| round.per_second));
        self.server_cpu_us = Spread::of(self.rounds.iter().map(|round| round.server_cpu_us));
        let pairs = ours.unwrap_or_default().iter().zip(&self.rounds);
        let ratios = pairs.map(|(ours, theirs)| theirs.server_cpu_us / ours.server_cpu_us);
        self.ringway_ratio = Spread::of(ratios).filter(|spread| spread.count >= MIN_PAIRS && spread.median.is_finite());
    }
}

/// Opens and closes connections, round by round. A signal ends the rounds early; the completed ones
/// are reported.
pub(crate) fn measure_connecting(
    bench: &Bench,
    contestants: &[Contestant],
    running: &mut RunningContestants<'_>,
    progress: &mut BenchProgress,
) -> Result<Option<Connecting>, Failure> {
    let indices = with_handshake(contestants);
    let (connections, first) = (bench.effort.connect, indices[0]);
    let mut found: Vec<Handshakes> =
        indices.iter().map(|index| Handshakes::new(contestants[*index].name.clone())).collect();
    for round in 0..bench.effort.rounds {
        for index in order(&indices, round) {
            let handshakes = &mut found[index - first];
            progress.step(|| format!("round {}, connecting: {}", round + 1, handshakes.contestant));
            if handshakes.failure.is_some() {
                continue;
            }
            let run = running.target(index).and_then(|target| handshake(bench, &target, connections));
            if bench.signals.caught().is_some() {
                return Ok(None);
            }
            match run.map_err(|why| running.explain(index, why)) {
                Ok(handshake) => handshakes.rounds.push(handshake),
                Err(why) if contestants[index].is_ours() => return Err(Failure(format!("connecting failed: {why}"))),
                Err(why) => {
                    handshakes.rounds.clear();
                    handshakes.failure = Some(why);
                }
            }
        }
    }
    let ours = found[0].rounds.clone();
    for (at, handshakes) in found.iter_mut().enumerate() {
        handshakes.sum_up((at > 0).then_some(&*ours));
    }
    Ok(Some(Connecting { connections, contestants: found }))
}

/// Opens and closes this many connections.
pub(super) fn handshake(bench: &Bench, target: &EchoTarget, connections: u32) -> Result<Handshake, String> {
    let before = processes::cpu_seconds(&processes::tree(target.pid));
    let idle = Population { connections, ..Population::new(Behaviour::Idle { ping: None }) };
    let plan = Plan { length: RunLength::Time(Duration::from_millis(1)), ..bench.plan(target, idle) };
    let report = ringway_loadtest::run(&plan, &mut |_| {}).map_err(|error| error.to_string())?;
    std::thread::sleep(REST);
    let cpu = processes::cpu_seconds(&processes::tree(target.pid)) - before;
    let opened = report.connections.established;
    match run_error(&report) {
        Some(why) => Err(why),
        None if opened < u64::from(connections) => Err(format!("only {opened} of {connections} opened")),
        None => Ok(Handshake {
            per_second: report.connections.per_second,
            server_cpu_us: cpu.max(0.0) * 1e6 / f64::from(connections),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(of: &[(f64, f64)]) -> Vec<Handshake> {
        of.iter()
            .map(|(per_second, server_cpu_us)| Handshake { per_second: *per_second, server_cpu_us: *server_cpu_us })
            .collect()
    }

    #[test]
    fn the_ratio_is_that_of_cpu_time_round_by_round() {
        let ours = rounds(&[(10.0, 50.0), (5.0, 100.0), (10.0, 50.0)]);
        let mut theirs = Handshakes::new("other".into());
        theirs.rounds = rounds(&[(5.0, 100.0), (2.0, 200.0), (5.0, 110.0)]);
        theirs.sum_up(Some(&ours));
        assert_eq!(theirs.ringway_ratio, Some(Spread { median: 2.0, min: 2.0, max: 2.2, count: 3 }));
        assert_eq!(theirs.per_second.map(|spread| spread.median), Some(5.0));
        theirs.rounds.pop();
        theirs.sum_up(Some(&ours));
        assert_eq!(theirs.ringway_ratio, None, "two pairs are too few");
        theirs.sum_up(None);
        assert_eq!(theirs.ringway_ratio, None, "ourselves");
    }
}
