//! `ringway bench`: what this machine can do, as WebSocket echo against raw TCP echo on the same driver.

mod cell;
mod child;
mod report;

use crate::arguments::{self, Format};
use crate::exit::{Failure, Outcome};
use crate::limits;
use crate::live::LiveLine;
use crate::output::Output;
use crate::signals::Signals;
use cell::{Cell, Pair, Sample, Shape, shapes};
use child::Server;
use report::{Idle, Machine, Report};
use ringway_loadtest::floor::{self, FloorPlan};
use ringway_loadtest::{Cores, Length, Mode, Plan, Stop, Verify};
use std::fs;
use std::time::Duration;

/// How many idle connections are held; fewer where too few files may be open.
const IDLE: u32 = 10_000;
/// Descriptors that the generator needs besides its connections.
const SPARE_FILES: u64 = 64;
/// How often a window in which no message came back is taken again, and how much longer each time.
const AGAIN: u32 = 2;
const LONGER: u32 = 4;

/// How long and how often each shape is measured.
struct Effort {
    rounds: usize,
    warmup: Duration,
    measure: Duration,
}

/// Where the servers run, where the generator, and what may end the bench early.
struct Bench {
    effort: Effort,
    server_cores: Vec<usize>,
    generator_cores: Vec<usize>,
    signals: Signals,
}

pub(crate) fn run(arguments: &arguments::Bench) -> Result<Outcome, Failure> {
    let effort = if arguments.quick {
        Effort { rounds: 1, warmup: Duration::from_millis(100), measure: Duration::from_millis(250) }
    } else {
        Effort { rounds: 3, warmup: Duration::from_millis(200), measure: Duration::from_millis(1000) }
    };
    let output = Output::open(arguments.output.as_deref())?;
    let files = limits::raise_open_files();
    let (server_cores, generator_cores) = split_cores()?;
    let bench = Bench { effort, server_cores, generator_cores, signals: Signals::watch()? };
    let machine = bench.machine()?;
    let mut pairs: Vec<Pair> = shapes().into_iter().map(Pair::new).collect();
    let live = LiveLine::new();
    let idle = bench.measure_shapes(&mut pairs, &live).and_then(|()| bench.measure_idle(files, &live));
    drop(live);
    // What fails while a signal ends everything is no failure: the signal may have gone to the servers too.
    let interrupted = bench.signals.caught();
    let (idle, failure) = match idle {
        Ok(idle) => (idle, None),
        Err(failure) => (None, Some(failure).filter(|_| interrupted.is_none())),
    };
    let cells: Vec<Cell> = pairs.iter().filter(|pair| pair.is_measured()).flat_map(Pair::cells).collect();
    if cells.is_empty()
        && let Some(failure) = failure
    {
        return Err(failure);
    }
    let report = Report { schema_version: 1, machine, cells, idle, interrupted: interrupted.is_some() };
    output.write(&match arguments.format {
        Format::Text => report.to_text(),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    })?;
    match (interrupted, failure) {
        (Some(signal), _) => Ok(Outcome::Interrupted(signal)),
        (None, Some(failure)) => Err(failure),
        (None, None) if report.has_gaps() => Ok(Outcome::Inconclusive),
        (None, None) => Ok(Outcome::Good),
    }
}

/// Takes a window of this length; while no message comes back in it, once more and longer, [`AGAIN`] times at most.
fn insist<T>(
    window: Duration,
    stop: &Stop,
    mut take: impl FnMut(Duration) -> Result<Option<T>, Failure>,
) -> Result<Option<T>, Failure> {
    for attempt in 0..=AGAIN {
        let sample = take(window * LONGER.pow(attempt))?;
        if sample.is_some() || stop.is_set() {
            return Ok(sample);
        }
    }
    Ok(None)
}

/// The server's cores and the generator's: half each, and the one there is for both where there is only one.
fn split_cores() -> Result<(Vec<usize>, Vec<usize>), Failure> {
    let cores: Vec<usize> = core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect();
    match cores.len() {
        0 => Err(Failure("the system does not say which cores this process may run on".into())),
        1 => Ok((cores.clone(), cores)),
        count => Ok((cores[..count / 2].to_vec(), cores[count / 2..].to_vec())),
    }
}

/// A sample from messages per second and cores that the server used; `None` when no message came back.
fn sample(rate: f64, cpu: f64, p50_us: f64, p99_us: f64) -> Option<Sample> {
    let of_each = cpu * 1e6 / rate;
    (rate > 0.0).then_some(Sample { messages_per_second: rate, server_cpu_us_per_message: of_each, p50_us, p99_us })
}

impl Bench {
    /// All shapes, round by round, until a signal ends it.
    fn measure_shapes(&self, pairs: &mut [Pair], live: &LiveLine) -> Result<(), Failure> {
        let floor = Server::start(&["floor"], &self.server_cores)?;
        let echo = Server::start(&["serve"], &self.server_cores)?;
        let of = self.effort.rounds * pairs.len();
        for round in 0..self.effort.rounds {
            let done = round * pairs.len();
            for (at, pair) in pairs.iter_mut().enumerate() {
                live.show(|| format!("{} of {of}: {}", done + at + 1, pair.shape));
                // Whoever goes first in one round goes second in the next: the machine's mood has no favourite.
                let (tcp, ws) = if round % 2 == 0 {
                    let tcp = self.measure_floor(pair.shape, &floor)?;
                    (tcp, self.measure_echo(pair.shape, &echo)?)
                } else {
                    let ws = self.measure_echo(pair.shape, &echo)?;
                    (self.measure_floor(pair.shape, &floor)?, ws)
                };
                if self.signals.caught().is_some() {
                    return Ok(());
                }
                pair.tcp.push(tcp);
                pair.ws.push(ws);
            }
        }
        Ok(())
    }

    fn measure_floor(&self, shape: Shape, server: &Server) -> Result<Option<Sample>, Failure> {
        insist(self.effort.measure, &self.signals.stop, |duration| self.take_floor(shape, server, duration))
    }

    fn measure_echo(&self, shape: Shape, server: &Server) -> Result<Option<Sample>, Failure> {
        insist(self.effort.measure, &self.signals.stop, |duration| self.take_echo(shape, server, duration))
    }

    fn take_floor(&self, shape: Shape, server: &Server, duration: Duration) -> Result<Option<Sample>, Failure> {
        let plan = FloorPlan {
            address: server.address,
            connections: shape.connections,
            in_flight: shape.in_flight,
            size: shape.size,
            warmup: self.effort.warmup,
            duration,
            cores: self.generator_cores.clone(),
            stop: self.signals.stop.clone(),
        };
        let mut cpu = Vec::with_capacity(2);
        let report = floor::run(&plan, || cpu.push(ringway_loadtest::server::cpu_time(server.pid())))?;
        let [Ok(before), Ok(after)] = &cpu[..] else {
            return Err(Failure("cannot read the server's CPU time".into()));
        };
        let us = |quantile| report.latency.value_at_quantile(quantile) as f64 / 1e3;
        let rate = report.messages as f64 / duration.as_secs_f64();
        let cpu = after.saturating_sub(*before).as_secs_f64() / duration.as_secs_f64();
        Ok(sample(rate, cpu, us(0.5), us(0.99)))
    }

    fn take_echo(&self, shape: Shape, server: &Server, duration: Duration) -> Result<Option<Sample>, Failure> {
        let plan = Plan {
            connections: shape.connections as u32,
            pipeline: shape.in_flight as u32,
            sizes: shape.size..=shape.size,
            binary: true,
            warmup: self.effort.warmup,
            length: Length::Time(duration),
            verify: Verify::Sample,
            ..self.plan(server)
        };
        let report = ringway_loadtest::run(&plan, &mut |_| {})?;
        if let Some((kind, count)) = report.errors.iter().next() {
            let first = report.first_errors.get(kind).map_or("", String::as_str);
            return Err(Failure(format!("the WebSocket echo went wrong, {count} × {kind}: {first}")));
        }
        let Some(quantiles) = &report.latency_us.service else { return Ok(None) };
        let Some(server) = &report.server else { return Err(Failure("cannot read the server's CPU time".into())) };
        let cpu = server.cpu_seconds / report.measured.as_secs_f64();
        Ok(sample(report.messages.per_second, cpu, quantiles.p50, quantiles.p99))
    }

    fn plan(&self, server: &Server) -> Plan {
        Plan {
            cores: Cores::List(self.generator_cores.clone()),
            server_pid: Some(server.pid()),
            stop: self.signals.stop.clone(),
            ..Plan::new(format!("ws://{}/", server.address))
        }
    }

    /// Holds connections that say nothing, on a fresh server, and divides what its resident memory has grown by.
    /// `None` when a signal came first.
    fn measure_idle(&self, files: Option<u64>, live: &LiveLine) -> Result<Option<Idle>, Failure> {
        if self.signals.caught().is_some() {
            return Ok(None);
        }
        let most = files.map_or(u64::MAX, |files| files.saturating_sub(SPARE_FILES));
        let connections = IDLE.min(u32::try_from(most).unwrap_or(IDLE));
        live.show(|| format!("holding {connections} idle connections"));
        let server = Server::start(&["serve"], &self.server_cores)?;
        let before = ringway_loadtest::server::resident_bytes(server.pid())?;
        let plan = Plan {
            connections,
            mode: Mode::Idle,
            warmup: Duration::ZERO,
            length: Length::Time(Duration::from_millis(500)),
            ..self.plan(&server)
        };
        let report = ringway_loadtest::run(&plan, &mut |_| {})?;
        let held = report.connections.established;
        let Some(after) = report.server.filter(|_| held == u64::from(connections)) else {
            if self.signals.caught().is_some() {
                return Ok(None);
            }
            let first = report.first_errors.values().next().map_or("", String::as_str);
            return Err(Failure(format!("only {held} of {connections} idle connections could be held: {first}")));
        };
        Ok(Some(Idle {
            connections: connections as usize,
            bytes_per_connection: after.rss_bytes.saturating_sub(before) as f64 / f64::from(connections),
        }))
    }

    fn machine(&self) -> Result<Machine, Failure> {
        let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let cpu = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Ok(Machine {
            cpu: cpu.unwrap_or("unknown CPU").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            kernel: kernel.trim().to_owned(),
            driver: format!("io_uring ({})", ringway_io::uring::probe()?),
            server_cores: self.server_cores.clone(),
            generator_cores: self.generator_cores.clone(),
            rounds: self.effort.rounds,
            seconds_per_run: self.effort.measure.as_secs_f64(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lengths of the windows that are taken when the one at `good` brings something, and what comes of it.
    fn taken(good: usize, stop: &Stop) -> (Vec<u64>, Option<()>) {
        let mut windows = Vec::new();
        let sample = insist(Duration::from_millis(250), stop, |window| {
            windows.push(window.as_millis() as u64);
            Ok((windows.len() > good).then_some(()))
        });
        let sample = sample.unwrap_or_else(|failure| panic!("{failure:?}"));
        (windows, sample)
    }

    #[test]
    fn a_window_without_an_echo_is_taken_again_and_longer_and_not_for_ever() {
        let go_on = Stop::default();
        assert_eq!(taken(0, &go_on), (vec![250], Some(())));
        assert_eq!(taken(1, &go_on), (vec![250, 1000], Some(())));
        assert_eq!(taken(9, &go_on), (vec![250, 1000, 4000], None));
        let stop = Stop::default();
        stop.now();
        assert_eq!(taken(9, &stop), (vec![250], None), "a signal ends it");
    }
}
