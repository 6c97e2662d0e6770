//! The memory of an idle connection: the growth of a fresh server's memory between two numbers of
//! open connections, divided by their difference.

use super::Bench;
use super::child::BenchServer;
use super::connect;
use super::contestants::{self, EchoTarget};
use super::peers::{PeerProcess, PeerSpec};
use super::progress::BenchProgress;
use super::statistics::Spread;
use crate::exit::Failure;
use ringway_loadtest::{Behaviour, LoadError, Plan, Population, Report, RunLength, RunPhase, Stop, processes};
use serde::Serialize;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

/// How often the generator must report that all connections are open, before memory is read and
/// again afterwards. It queries its threads about ten times a second, and a report has the answers
/// to the previous query.
const STEADY: usize = 3;

/// The number of rounds of each contestant.
pub(crate) const ROUNDS: usize = 3;

/// The rate at which connections open while memory is measured, in connections per second: low
/// enough to avoid a burst.
const CONNECT_RATE: f64 = 10_000.0;

/// The run is stopped when memory has been read; it does not end before.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// The interval at which a waiting thread checks for a signal.
const LOOK: Duration = Duration::from_millis(100);

/// The result of holding idle connections.
#[derive(Debug, Serialize)]
pub(crate) struct IdleResult {
    /// The larger number of connections.
    pub(crate) connections: u32,
    /// The growth of our server's memory from the smaller number to the larger one, in bytes per
    /// connection.
    pub(crate) bytes_per_connection: Option<f64>,
    /// The smaller number of connections.
    pub(crate) connections_before: u32,
    /// The kind of memory that is counted.
    pub(crate) counted: &'static str,
    pub(crate) contestants: Vec<IdleEntry>,
}

/// The result of one contestant.
#[derive(Debug, Serialize)]
pub(crate) struct IdleEntry {
    pub(crate) contestant: String,
    /// The median over the rounds.
    pub(crate) bytes_per_connection: Option<f64>,
    pub(crate) bytes_per_connection_spread: Option<Spread>,
    pub(crate) failure: Option<String>,
    pub(crate) rounds: Vec<MemoryReading>,
}

/// The memory of one round, with the smaller and with the larger number of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct MemoryReading {
    pub(crate) bytes_before: u64,
    pub(crate) bytes: u64,
}

/// The two numbers of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Levels {
    pub(crate) low: u32,
    pub(crate) high: u32,
}

impl Levels {
    /// The intended numbers, or smaller ones in the same proportion if the limit of open files
    /// requires it.
    pub(crate) fn within(self, files: Option<u64>, spare: u64) -> Self {
        let max = files.map_or(u64::MAX, |files| files.saturating_sub(spare)).max(2);
        let high = u32::try_from(max).map_or(self.high, |max| self.high.min(max));
        let low = u64::from(high) * u64::from(self.low) / u64::from(self.high.max(1));
        Self { low: u32::try_from(low).unwrap_or(u32::MAX).clamp(1, high - 1), high }
    }

    /// The growth in bytes per connection.
    pub(super) fn slope(self, memory: MemoryReading) -> f64 {
        (memory.bytes as f64 - memory.bytes_before as f64) / f64::from(self.high - self.low)
    }
}

/// Connections that a generator holds open; it runs on a separate thread.
struct Hold<'scope> {
    run: ScopedJoinHandle<'scope, Result<Report, LoadError>>,
    /// Receives, with each report of the generator, whether all connections are open.
    open: Receiver<(RunPhase, u64)>,
    connections: u32,
    stop: Stop,
}

impl<'scope> Hold<'scope> {
    fn start<'a: 'scope>(scope: &'scope Scope<'scope, 'a>, plan: Plan) -> Self {
        let (sender, open) = mpsc::channel();
        let (connections, stop) = (plan.connections(), plan.stop.clone());
        let run = scope.spawn(move || {
            ringway_loadtest::run(&plan, &mut |progress| {
                // Sending fails once the receiver is dropped.
                let _ = sender.send((progress.phase, progress.open));
            })
        });
        Self { run, open, connections, stop }
    }

    /// Waits until the generator has reported several times that all connections are open. Fails if
    /// they are not.
    fn check(&self, signal: &Stop) -> Result<(), String> {
        while self.open.try_recv().is_ok() {}
        let mut steady = 0;
        while steady < STEADY {
            if signal.is_set() {
                return Err("interrupted".into());
            }
            match self.open.recv_timeout(LOOK) {
                Ok((RunPhase::Measure, open)) if open == u64::from(self.connections) => steady += 1,
                Ok((phase, open)) if phase >= RunPhase::Measure => {
                    return Err(format!("only {open} of {} idle connections are open", self.connections));
                }
                Ok(_) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err("the generator of the idle connections has stopped".into());
                }
            }
        }
        Ok(())
    }

    /// Closes the connections, and returns their error, if there is one.
    fn end(self) -> Option<String> {
        self.stop.now();
        match self.run.join() {
            Ok(Ok(report)) => report.errors.into_values().flat_map(|error| error.samples).next(),
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the generator panicked".into()),
        }
    }
}

/// Measures our server and each peer in rounds, each time in a fresh process. Returns `None` if a
/// signal interrupts it.
pub(crate) fn measure_idle(
    bench: &Bench,
    peers: &[PeerSpec],
    progress: &mut BenchProgress,
) -> Result<Option<IdleResult>, Failure> {
    let levels = bench.effort.idle;
    let drivers = &bench.drivers;
    let ours = drivers.iter().map(|driver| contestants::our_name(*driver, drivers));
    let mut contestants: Vec<IdleEntry> = ours.map(|name| IdleEntry::new(&name)).collect();
    contestants.extend(peers.iter().map(|spec| IdleEntry::new(&spec.name)));
    for round in 0..ROUNDS {
        for (at, held) in contestants.iter_mut().enumerate() {
            progress.step(|| format!("round {}, {} idle connections: {}", round + 1, levels.high, held.contestant));
            if held.failure.is_some() {
                continue;
            }
            let found = match drivers.get(at) {
                Some(driver) => {
                    let server = BenchServer::start(&["serve", "--driver", driver.flag()], bench)?;
                    hold(bench, &(&server).into(), levels)
                }
                None => match PeerProcess::start(&peers[at - drivers.len()], &bench.halves.server, &bench.signals.stop)
                {
                    Ok(Some(peer)) => hold(bench, &(&peer).into(), levels),
                    Ok(None) => return Ok(None),
                    Err(Failure(why)) => Err(why),
                },
            };
            if bench.signals.caught().is_some() {
                return Ok(None);
            }
            match found {
                Ok(memory) => held.rounds.push(memory),
                Err(why) if at < drivers.len() => {
                    return Err(Failure(format!("the idle connections could not be held: {why}")));
                }
                Err(why) => {
                    held.rounds.clear();
                    held.failure = Some(why);
                }
            }
        }
    }
    for held in &mut contestants {
        let slopes = Spread::of(held.rounds.iter().map(|memory| levels.slope(*memory)));
        held.bytes_per_connection = slopes.map(|slopes| slopes.median);
        held.bytes_per_connection_spread = slopes;
    }
    Ok(Some(IdleResult {
        connections: levels.high,
        bytes_per_connection: contestants[0].bytes_per_connection,
        connections_before: levels.low,
        counted: "Pss",
        contestants,
    }))
}

/// Holds the smaller number of connections, then the larger one, and reads the memory at each.
pub(super) fn hold(bench: &Bench, target: &EchoTarget, levels: Levels) -> Result<MemoryReading, String> {
    // A burst of handshakes makes a server touch buffers that idle connections do not need.
    connect::handshake(bench, target, (levels.low / 2).max(1))?;
    let plan = |connections| {
        let idle = Population { connections, ..Population::new(Behaviour::Idle { ping: None }) };
        let mut plan = Plan { length: RunLength::Time(LONG), stop: Stop::default(), ..bench.plan(target, idle) };
        plan.connect.rate = Some(CONNECT_RATE);
        plan
    };
    let read = || processes::memory(&processes::tree(target.pid)).map_err(|error| error.to_string());
    let signal = &bench.signals.stop;
    std::thread::scope(|scope| {
        let low = Hold::start(scope, plan(levels.low));
        let before = low.check(signal).and_then(|()| read());
        let high = before.is_ok().then(|| Hold::start(scope, plan(levels.high - levels.low)));
        let after = high.as_ref().map(|high| {
            high.check(signal)?;
            let bytes = read()?;
            // Connections that were open before and after the reading were open during it.
            low.check(signal)?;
            high.check(signal)?;
            Ok(bytes)
        });
        let ends: Vec<_> = [high, Some(low)].into_iter().flatten().map(Hold::end).collect();
        let why = ends.into_iter().flatten().next();
        let with_cause = |error: String| why.map_or(error.clone(), |why| format!("{error}: {why}"));
        match (before, after) {
            (Ok(bytes_before), Some(Ok(bytes))) => Ok(MemoryReading { bytes_before, bytes }),
            (Err(error), _) | (_, Some(Err(error))) => Err(with_cause(error)),
            (Ok(_), None) => Err(with_cause("no connection was held".into())),
        }
    })
}

impl IdleEntry {
    fn new(contestant: &str) -> Self {
        Self {
            contestant: contestant.into(),
            bytes_per_connection: None,
            bytes_per_connection_spread: None,
            failure: None,
            rounds: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_within_the_open_files_in_the_same_proportion() {
        let wanted = Levels { low: 2000, high: 12_000 };
        assert_eq!(wanted.within(None, 64), wanted);
        assert_eq!(wanted.within(Some(20_000), 64), wanted);
        assert_eq!(wanted.within(Some(1024), 64), Levels { low: 160, high: 960 });
        assert_eq!(wanted.within(Some(10), 64), Levels { low: 1, high: 2 });
    }

    #[test]
    fn the_slope_excludes_base_memory() {
        assert_eq!(
            Levels { low: 2000, high: 12_000 }.slope(MemoryReading { bytes_before: 5_000_000, bytes: 6_440_000 }),
            144.0
        );
    }
}
