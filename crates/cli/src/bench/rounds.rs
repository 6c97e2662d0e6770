//! The rounds of the cells: measures each contestant in each shape, once per round.

use super::Bench;
use super::cells::Shape;
use super::contestants::{Contestant, EPOLL, EchoTarget, Protocol, RING, RunningContestants, order};
use super::progress::BenchProgress;
use super::verdict::{RoundSample, rate_ratio};
use crate::exit::Failure;
use ringway_loadtest::floor::{self, FloorPlan};
use ringway_loadtest::processes::Edges;
use ringway_loadtest::server::ServerUse;
use ringway_loadtest::{Alphabet, Content, Load, Plan, Population, Report, RunLength, Sizes, Stop, Verify, processes};
use std::sync::mpsc;
use std::time::Duration;

/// How often a window in which no message came back is repeated, and the factor by which it is
/// longer each time.
const MAX_REPEATS: u32 = 2;
const LONGER: u32 = 4;

/// A shape with the samples of all contestants. Samples with the same index are of the same round.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    pub(crate) shape: Shape,
    pub(crate) series: Vec<Series>,
}

/// The rounds of one contestant in one shape.
#[derive(Clone, Debug, Default)]
pub(crate) struct Series {
    /// `None` for a round in which no message came back.
    pub(crate) rounds: Vec<Option<RoundSample>>,
    /// The system calls for each message, if they were counted.
    pub(crate) syscalls: Option<f64>,
    /// The reason why it failed. A contestant that has failed is not measured again in this shape.
    pub(crate) failure: Option<String>,
}

impl Series {
    /// Adds the result of one run.
    pub(super) fn take(&mut self, run: Result<Option<RoundSample>, String>) {
        match run {
            Ok(sample) => self.rounds.push(sample),
            Err(why) => {
                // The figures of a server that has failed are not reported.
                self.rounds.clear();
                self.syscalls = None;
                self.failure = Some(why);
            }
        }
    }

    /// Whether it has no figures.
    pub(crate) fn is_gap(&self) -> bool {
        !self.rounds.iter().any(Option::is_some)
    }
}

impl Cell {
    pub(crate) fn new(shape: Shape, contestants: usize) -> Self {
        Self { shape, series: vec![Series::default(); contestants] }
    }

    /// Whether there is at least one round to report.
    pub(crate) fn is_measured(&self) -> bool {
        self.series.iter().any(|series| !series.rounds.is_empty() || series.failure.is_some())
    }

    /// The faster of the two raw echoes, by the median of the paired rounds' ratios of rates.
    pub(crate) fn floor(&self) -> usize {
        let epoll_is_faster = rate_ratio(&self.series[EPOLL].rounds, &self.series[RING].rounds)
            .map_or_else(|| self.series[RING].is_gap() && !self.series[EPOLL].is_gap(), |ratio| ratio > 1.0);
        if epoll_is_faster { EPOLL } else { RING }
    }
}

/// Measures a window of this length. While no message comes back in it, repeats it with a longer
/// one, at most [`MAX_REPEATS`] times.
pub(super) fn insist<T, E>(
    window: Duration,
    stop: &Stop,
    mut take: impl FnMut(Duration) -> Result<Option<T>, E>,
) -> Result<Option<T>, E> {
    for attempt in 0..=MAX_REPEATS {
        let sample = take(window * LONGER.pow(attempt))?;
        if sample.is_some() || stop.is_set() {
            return Ok(sample);
        }
    }
    Ok(None)
}

/// The error of a run, if there is one.
pub(crate) fn run_error(report: &Report) -> Option<String> {
    if let Some((kind, error)) =
        report.errors.iter().find(|(kind, _)| report.is_failure() && **kind != CLOSE_UNANSWERED)
    {
        let first = error.samples.first().map_or("", String::as_str);
        return Some(format!("{} × {kind}: {first}", error.count));
    }
    let missing = report.messages.missing;
    (missing > 0).then(|| format!("{missing} messages were not answered"))
}

/// The kind of error that the bench ignores: it occurs after measuring.
const CLOSE_UNANSWERED: &str = "close_unanswered";

/// Measures all cells, round by round, until a signal arrives.
pub(crate) fn measure_cells(
    bench: &Bench,
    cells: &mut [Cell],
    contestants: &[Contestant],
    running: &mut RunningContestants<'_>,
    progress: &mut BenchProgress,
) -> Result<(), Failure> {
    let all: Vec<usize> = (0..contestants.len()).collect();
    for round in 0..bench.effort.rounds {
        for cell in cells.iter_mut() {
            let mut runs = Vec::new();
            for index in order(&all, round) {
                let contestant = &contestants[index];
                progress.step(|| format!("round {}, {}: {}", round + 1, cell.shape, contestant.name));
                if cell.series[index].failure.is_some() {
                    continue;
                }
                let run = running
                    .target(index)
                    .and_then(|target| measure_one(bench, contestant.protocol, cell.shape, &target))
                    .map_err(|why| running.explain(index, why));
                if bench.signals.caught().is_some() {
                    // An incomplete round has no pairs.
                    return Ok(());
                }
                if let (Err(why), true) = (&run, contestant.is_ours()) {
                    return Err(Failure(format!("{} failed, {}: {why}", contestant.name, cell.shape)));
                }
                runs.push((index, run));
            }
            runs.into_iter().for_each(|(index, run)| cell.series[index].take(run));
        }
    }
    Ok(())
}

/// Runs one contestant once.
pub(super) fn measure_one(
    bench: &Bench,
    protocol: Protocol,
    shape: Shape,
    target: &EchoTarget,
) -> Result<Option<RoundSample>, String> {
    insist(shape.window(bench.effort.window), &bench.signals.stop, |window| {
        take(bench, protocol, shape, target, window, None)
    })
}

/// What else is done in a window, on a thread of its own.
pub(super) type InWindow<'a> = Option<&'a (dyn Fn(Edges) + Sync)>;

/// Measures one window.
pub(super) fn take(
    bench: &Bench,
    protocol: Protocol,
    shape: Shape,
    target: &EchoTarget,
    window: Duration,
    meanwhile: InWindow<'_>,
) -> Result<Option<RoundSample>, String> {
    if protocol.is_raw() {
        take_raw(bench, shape, target, window, meanwhile)
    } else {
        take_echo(bench, shape, target, window, meanwhile)
    }
}

fn take_raw(
    bench: &Bench,
    shape: Shape,
    target: &EchoTarget,
    window: Duration,
    meanwhile: InWindow<'_>,
) -> Result<Option<RoundSample>, String> {
    let (report, used) = sampled_while(target.pid, meanwhile, |edges| {
        floor::run(&FloorPlan {
            address: target.address,
            connections: shape.connections,
            in_flight: shape.in_flight,
            size: shape.size,
            warmup: shape.warmup(bench.effort.warmup),
            duration: window,
            cores: bench.halves.generator.cores().to_vec(),
            stop: bench.signals.stop.clone(),
            edges: Some(edges),
        })
    });
    let report = report.map_err(|error| error.to_string())?;
    let us = |quantile| report.latency.value_at_quantile(quantile) as f64 / 1e3;
    let rate = report.messages as f64 / window.as_secs_f64();
    sample(bench, rate, used, &report.busy, us(0.5), us(0.99))
}

fn take_echo(
    bench: &Bench,
    shape: Shape,
    target: &EchoTarget,
    window: Duration,
    meanwhile: InWindow<'_>,
) -> Result<Option<RoundSample>, String> {
    let (report, used) = sampled_while(target.pid, meanwhile, |edges| {
        let population = Population {
            connections: shape.connections as u32,
            load: Load::Closed { in_flight: shape.in_flight as u32 },
            message: Content::Random {
                sizes: Sizes::fixed(shape.size).expect("the shape was checked"),
                alphabet: Alphabet::Binary,
            },
            ..Population::default()
        };
        let plan = Plan {
            warmup: Some(shape.warmup(bench.effort.warmup)),
            length: RunLength::Time(window),
            verify: Verify::Sample,
            edges: Some(edges),
            ..bench.plan(target, population)
        };
        ringway_loadtest::run(&plan, &mut |_| {})
    });
    let report = report.map_err(|error| error.to_string())?;
    if let Some(why) = run_error(&report) {
        return Err(why);
    }
    let Some(quantiles) = &report.latency_us.service else { return Ok(None) };
    let busy: Vec<f64> = report.generator.threads.iter().map(|thread| thread.busy).collect();
    sample(bench, report.messages.per_second, used, &busy, quantiles.p50, quantiles.p99)
}

/// The sample of a window; `None` if no message came back.
fn sample(
    bench: &Bench,
    rate: f64,
    used: Option<ServerUse>,
    generator: &[f64],
    p50_us: f64,
    p99_us: f64,
) -> Result<Option<RoundSample>, String> {
    let used = match used {
        Some(used) => used,
        None if bench.signals.stop.is_set() => return Ok(None),
        None => return Err("the server's CPU time cannot be read".into()),
    };
    let all_cores = used.cores_used / bench.halves.server.threads() as f64;
    Ok((rate > 0.0).then(|| RoundSample {
        messages_per_second: rate,
        server_cpu_us_per_message: used.cores_used * 1e6 / rate,
        p50_us,
        p99_us,
        server_busy_share: used.busiest.max(all_cores.min(1.0)),
        generator_busy_share: generator.iter().copied().fold(0.0, f64::max),
        server_waiting_share: used.waiting,
    }))
}

/// Runs a generator while a thread samples the server at both ends of its window. That thread
/// inherits the cores of the caller, which are the generator's.
pub(super) fn sampled<R>(pid: u32, run: impl FnOnce(mpsc::Sender<Edges>) -> R) -> (R, Option<ServerUse>) {
    sampled_while(pid, None, run)
}

fn sampled_while<R>(
    pid: u32,
    meanwhile: InWindow<'_>,
    run: impl FnOnce(mpsc::Sender<Edges>) -> R,
) -> (R, Option<ServerUse>) {
    let (mut sender, edges) = mpsc::channel();
    std::thread::scope(|scope| {
        let watching = scope.spawn(move || processes::watch(pid, &edges));
        if let Some(meanwhile) = meanwhile {
            let (first, edges_after) = mpsc::channel();
            let next = std::mem::replace(&mut sender, first);
            scope.spawn(move || {
                let Ok(edges) = edges_after.recv() else { return };
                // Sending fails if the other thread has ended.
                let _ = next.send(edges);
                meanwhile(edges);
                // An earlier end; the other thread watches until the generator has ended.
                edges_after.into_iter().for_each(|edges| {
                    let _ = next.send(edges);
                });
            });
        }
        let report = run(sender);
        (report, watching.join().ok().flatten())
    })
}

/// The indices of the contestants with a handshake, which are adjacent: our WebSocket servers and the
/// peers.
pub(crate) fn with_handshake(contestants: &[Contestant]) -> Vec<usize> {
    (0..contestants.len()).filter(|index| !contestants[*index].protocol.is_raw()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the windows that are measured if the one at `good` has a result, and that
    /// result.
    fn measured(good: usize, stop: &Stop) -> (Vec<u64>, Option<()>) {
        let mut windows = Vec::new();
        let sample = insist(Duration::from_millis(250), stop, |window| {
            windows.push(window.as_millis() as u64);
            Ok::<_, String>((windows.len() > good).then_some(()))
        });
        (windows, sample.expect("it does not fail"))
    }

    #[test]
    fn a_window_without_an_echo_is_repeated_and_longer_and_a_limited_number_of_times() {
        let go_on = Stop::default();
        assert_eq!(measured(0, &go_on), (vec![250], Some(())));
        assert_eq!(measured(1, &go_on), (vec![250, 1000], Some(())));
        assert_eq!(measured(9, &go_on), (vec![250, 1000, 4000], None));
        let stop = Stop::default();
        stop.now();
        assert_eq!(measured(9, &stop), (vec![250], None), "a signal ends it");
    }

    fn sample(rate: f64) -> Option<RoundSample> {
        Some(RoundSample {
            messages_per_second: rate,
            server_cpu_us_per_message: 1.0,
            p50_us: 1.0,
            p99_us: 1.0,
            server_busy_share: 1.0,
            generator_busy_share: 1.0,
            server_waiting_share: 0.0,
        })
    }

    #[test]
    fn the_floor_is_the_faster_raw_echo_round_by_round() {
        let mut cell = Cell::new(Shape { connections: 1, size: 1, in_flight: 1 }, 3);
        // The median of epoll is higher, but it was slower in most rounds.
        cell.series[RING].rounds = [100.0, 50.0, 30.0].map(sample).to_vec();
        cell.series[EPOLL].rounds = [99.0, 98.0, 29.0].map(sample).to_vec();
        assert_eq!(cell.floor(), RING);
        cell.series[EPOLL].rounds = [99.0, 51.0, 31.0].map(sample).to_vec();
        assert_eq!(cell.floor(), EPOLL);
        cell.series[RING].rounds = vec![None; 3];
        assert_eq!(cell.floor(), EPOLL, "the only one there is");
        cell.series[EPOLL].rounds = vec![None; 3];
        assert_eq!(cell.floor(), RING);
    }

    #[test]
    fn one_failure_takes_the_figures_of_the_cell() {
        let mut series = Series::default();
        series.take(Ok(sample(1.0)));
        assert!(!series.is_gap());
        series.take(Err("it closed the connection".into()));
        assert!(series.is_gap() && series.rounds.is_empty());
        assert_eq!(series.failure.as_deref(), Some("it closed the connection"));
    }
}
