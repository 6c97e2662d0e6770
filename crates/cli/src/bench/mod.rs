//! `ringway bench`: measures WebSocket echo and fan-out next to raw TCP and other servers on this
//! machine.

pub(crate) mod cells;
mod child;
mod clock;
mod connect;
mod contestants;
pub(crate) mod fanout;
mod idle;
mod machine;
pub(crate) mod peers;
mod pinning;
mod progress;
mod report;
mod rounds;
mod statistics;
mod syscalls;
mod tls;
mod verdict;

use crate::arguments::{self, BenchFormat, BenchPart};
use crate::choices::BenchDriver;
use crate::exit::{ExitOutcome, Failure, usage};
use crate::limits;
use crate::output::ResultOutput;
use crate::signals::Signals;
use cells::Shape;
use connect::Connecting;
use contestants::{Contestant, EchoTarget, RunningContestants, contestants};
use fanout::{FanoutCell, FanoutShape};
use idle::{IdleResult, Levels};
use machine::Machine;
use progress::BenchProgress;
use report::{BenchReport, entries};
use ringway::BusyPoll;
use ringway::placement::{CoreSet, Halves};
use ringway_loadtest::{ConnectPlan, Offer, Plan, Population};
use rounds::Cell;
use std::time::{Duration, SystemTime};
use syscalls::Counting;

/// Descriptors that the generator needs besides its connections.
const SPARE_FILES: u64 = 64;

/// The approximate time that a run takes to connect and close, besides its window and warm-up.
const OVERHEAD: Duration = Duration::from_millis(120);

/// The warm-up is the window divided by this.
const WARMUP_PART: u32 = 5;

/// The durations, rounds and numbers of connections of the bench.
struct Effort {
    rounds: usize,
    warmup: Duration,
    window: Duration,
    /// The number of connections of one round of connecting.
    connect: u32,
    idle: Levels,
    /// The busy polling of our servers, in the form that `--busy-poll` parses.
    busy_poll: String,
}

/// The durations of the bench, the cores of servers and generator, and the signals that end it
/// early.
struct Bench {
    effort: Effort,
    /// The drivers of our servers, at least one.
    drivers: Vec<BenchDriver>,
    halves: Halves,
    signals: Signals,
}

/// The results at the end of the bench, or at its interruption.
#[derive(Default)]
struct Found {
    fanout: Vec<FanoutCell>,
    connect: Option<Connecting>,
    idle: Option<IdleResult>,
    syscalls: Option<Counting>,
}

impl Effort {
    fn new(arguments: &arguments::BenchArguments, files: Option<u64>) -> Self {
        let (window, connect, idle) = if arguments.quick {
            (Duration::from_millis(100), 500, Levels { low: 1000, high: 5000 })
        } else {
            (Duration::from_millis(250), 2000, Levels { low: 2000, high: 12_000 })
        };
        let window = arguments.window.unwrap_or(window);
        let max = files.map_or(u64::MAX, |files| files.saturating_sub(SPARE_FILES)).max(1);
        Self {
            rounds: arguments.rounds,
            warmup: window / WARMUP_PART,
            window,
            connect: u32::try_from(max).map_or(connect, |max| connect.min(max)),
            idle: idle.within(files, SPARE_FILES),
            busy_poll: arguments.busy_poll.clone(),
        }
    }
}

pub(crate) fn run(arguments: &arguments::BenchArguments) -> Result<ExitOutcome, Failure> {
    let started = clock::rfc3339(SystemTime::now());
    let files = limits::raise_open_files();
    let shapes = if !arguments.has(BenchPart::Cells) {
        Vec::new()
    } else if arguments.cells.is_empty() {
        cells::default_cells(arguments.quick)
    } else {
        arguments.cells.clone()
    };
    let fanout_shapes = if !arguments.has(BenchPart::Fanout) {
        Vec::new()
    } else if arguments.fanout.is_empty() {
        let max = files.map_or(u64::MAX, |files| files.saturating_sub(SPARE_FILES));
        let mut shapes = fanout::default_shapes(arguments.quick);
        shapes.retain(|shape| u64::from(shape.connections()) <= max);
        shapes
    } else {
        arguments.fanout.clone()
    };
    if let Some(wrong) = check_arguments(&shapes, &fanout_shapes, arguments, files) {
        return usage(&wrong);
    }
    let output = ResultOutput::open(arguments.output.as_deref())?;
    let set = CoreSet::read()?;
    let (effort, drivers) = (Effort::new(arguments, files), arguments.driver.clone());
    let bench = Bench { effort, drivers, halves: set.halves(), signals: Signals::watch()? };
    let (rounds, window) = (bench.effort.rounds, bench.effort.window.as_secs_f64());
    let machine = Machine::look(set.cores().as_slice().len(), &bench.halves, &bench.drivers, rounds, window)?;
    if let Some(options) = arguments.tls.options()? {
        return tls::run(&bench, arguments, &options, &shapes, machine, started, output);
    }
    let contestants = contestants(&bench.drivers, &arguments.peer);
    let mut cells: Vec<Cell> = shapes.iter().map(|shape| Cell::new(*shape, contestants.len())).collect();
    let of_fanout = |shape: &FanoutShape| FanoutCell::new(*shape, &arguments.fanout_peer);
    // From here on this thread, and those that it starts, run on the generator's cores only.
    pinning::pin_thread(&bench.halves.generator)?;
    let mut found = Found { fanout: fanout_shapes.iter().map(of_fanout).collect(), ..Found::default() };
    let result = bench.measure(arguments, &contestants, &mut cells, &mut found);
    // An error after a signal is not reported: the signal may have stopped the servers too.
    let interrupted = bench.signals.caught();
    let failure = result.err().filter(|_| interrupted.is_none());
    let cells = entries(&cells, &contestants);
    let fanout = fanout::entries(&found.fanout, &arguments.fanout_peer);
    if cells.is_empty()
        && fanout.is_empty()
        && let Some(failure) = failure
    {
        return Err(failure);
    }
    let names = contestants.iter().map(|contestant| contestant.name.clone()).collect();
    let report = BenchReport {
        schema_version: 1,
        version: env!("CARGO_PKG_VERSION"),
        started,
        machine,
        plan: report::BenchPlan {
            fanout: fanout_shapes,
            fanout_peers: arguments.fanout_peer.clone(),
            ..report::BenchPlan::new(&bench.effort, &shapes, names, &arguments.peer)
        },
        cells,
        fanout,
        connect: found.connect,
        idle: found.idle,
        syscalls: found.syscalls,
        interrupted: interrupted.is_some(),
    };
    output.write(&match arguments.format {
        BenchFormat::Text => report.to_text(),
        BenchFormat::Json => report.to_json()?,
        BenchFormat::Markdown => report.to_markdown(),
    })?;
    match (interrupted, failure) {
        (Some(signal), _) => Ok(ExitOutcome::Interrupted(signal)),
        (None, Some(failure)) => Err(failure),
        (None, None) if report.has_gaps() => Ok(ExitOutcome::Inconclusive),
        (None, None) => Ok(ExitOutcome::Good),
    }
}

/// Checks the command line for errors that no single flag has, and returns the first one.
fn check_arguments(
    shapes: &[Shape],
    fanout_shapes: &[FanoutShape],
    arguments: &arguments::BenchArguments,
    files: Option<u64>,
) -> Option<String> {
    if let Some(shape) = cells::duplicate(shapes) {
        return Some(format!("--cells has {shape} twice: give each cell once"));
    }
    if let Some(shape) = fanout::duplicate(fanout_shapes) {
        return Some(format!("--fanout has {shape} twice: give each cell once"));
    }
    let mut drivers = arguments.driver.clone();
    drivers.sort_by_key(|driver| driver.flag());
    if let Some(pair) = drivers.windows(2).find(|pair| pair[0] == pair[1]) {
        return Some(format!("--driver has {} twice: give each driver once", pair[0].flag()));
    }
    if arguments.tls.tls_cert.is_some() && (drivers.len() > 1 || arguments.syscalls) {
        return Some("with --tls-cert one driver is measured, and system calls are not counted: leave out --syscalls and further drivers".into());
    }
    for (flag, peers) in [("--peer", &arguments.peer), ("--fanout-peer", &arguments.fanout_peer)] {
        if let Some(name) = peers::duplicate(peers) {
            return Some(format!("{flag} has the name {name:?} twice: give each peer a name of its own"));
        }
    }
    let asks_for_fanout = arguments.parts.contains(&BenchPart::Fanout)
        || !arguments.fanout.is_empty()
        || !arguments.fanout_peer.is_empty();
    if asks_for_fanout && arguments.tls.tls_cert.is_some() {
        return Some("fan-out is measured without TLS: leave out its flags or --tls-cert".into());
    }
    let max = files.map_or(u64::MAX, |files| files.saturating_sub(SPARE_FILES));
    let too_many = |shape: &&Shape| !arguments.cells.is_empty() && shape.connections as u64 > max;
    let cell = shapes.iter().find(too_many).map(|shape| ("--cells", shape.to_string(), shape.connections as u64));
    let too_many = |shape: &&FanoutShape| u64::from(shape.connections()) > max;
    let fanout = fanout_shapes.iter().find(too_many);
    let fanout = fanout.map(|shape| ("--fanout", shape.to_string(), shape.connections().into()));
    cell.or(fanout).map(|(flag, shape, connections)| {
        format!(
            "{flag} has {shape}, and this process may hold {max} connections: \
             raise the limit of open files (`ulimit -n {}`, see `ringway doctor`) or give fewer connections",
            connections + SPARE_FILES
        )
    })
}

/// Handshakes of the generator in progress: fewer than the backlog of any listener.
const HANDSHAKES: u32 = 256;

impl Bench {
    /// Measures everything, until it completes, a signal arrives, or something fails.
    fn measure(
        &self,
        arguments: &arguments::BenchArguments,
        contestants: &[Contestant],
        cells: &mut [Cell],
        found: &mut Found,
    ) -> Result<(), Failure> {
        let stop = &self.signals.stop;
        let mut progress = self.progress(arguments, cells, contestants, found);
        if !cells.is_empty() || arguments.has(BenchPart::Connecting) {
            let Some(mut running) = RunningContestants::start(self, contestants, &arguments.peer)? else {
                return Ok(());
            };
            rounds::measure_cells(self, cells, contestants, &mut running, &mut progress)?;
            if !stop.is_set() && arguments.syscalls && !cells.is_empty() {
                found.syscalls = syscalls::count(self, cells, contestants, &mut running, &mut progress);
            }
            if !stop.is_set() && arguments.has(BenchPart::Connecting) {
                found.connect = connect::measure_connecting(self, contestants, &mut running, &mut progress)?;
            }
        }
        if !stop.is_set() && !found.fanout.is_empty() {
            fanout::measure_fanout(self, &arguments.fanout_peer, &mut found.fanout, &mut progress)?;
        }
        if !stop.is_set() && arguments.has(BenchPart::Idle) {
            found.idle = idle::measure_idle(self, &arguments.peer, &mut progress)?;
        }
        Ok(())
    }

    fn progress(
        &self,
        arguments: &arguments::BenchArguments,
        cells: &[Cell],
        contestants: &[Contestant],
        found: &Found,
    ) -> BenchProgress {
        let effort = &self.effort;
        let handshakes = rounds::with_handshake(contestants).len();
        let counted = if arguments.syscalls { cells.len() * contestants.len() } else { 0 };
        let part = |part, runs: usize| if arguments.has(part) { runs } else { 0 };
        let steps = effort.rounds * cells.len() * contestants.len()
            + fanout::steps(effort.rounds, found.fanout.len(), &arguments.fanout_peer)
            + counted
            + part(BenchPart::Connecting, effort.rounds * handshakes)
            + part(BenchPart::Idle, idle::ROUNDS * handshakes);
        let of = |cell: &Cell| cell.shape.warmup(effort.warmup) + cell.shape.window(effort.window) + OVERHEAD;
        let all = cells.iter().map(of).chain(found.fanout.iter().map(|cell| cell.duration(effort)));
        BenchProgress::new(steps, all.sum::<Duration>() / (cells.len() + found.fanout.len()).max(1) as u32)
    }

    /// A run of the generator against a contestant with a handshake.
    fn plan(&self, target: &EchoTarget, population: Population) -> Plan {
        let scheme = if target.tls.is_some() { "wss" } else { "ws" };
        Plan {
            populations: vec![population],
            offer: Offer { tls: target.tls.clone(), ..Offer::default() },
            connect: ConnectPlan { concurrency: Some(HANDSHAKES), ..ConnectPlan::default() },
            warmup: Some(Duration::ZERO),
            cores: self.halves.generator.to_config(),
            threads: Some(self.halves.generator.threads()),
            busy_poll: BusyPoll::Off,
            server_pid: Some(target.pid),
            stop: self.signals.stop.clone(),
            ..Plan::new(format!("{scheme}://{}/", target.address))
        }
    }
}
