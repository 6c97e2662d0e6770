//! `ringway bench`: what this machine can do, as WebSocket echo against raw TCP echo on the same driver.

mod cell;
mod child;
mod report;

use crate::arguments::{self, Format};
use crate::exit::{Failure, Outcome};
use crate::limits;
use crate::live::LiveLine;
use crate::signals::Signals;
use cell::{Pair, Sample, Shape, shapes};
use child::Server;
use report::{Idle, Machine, Report};
use ringway_loadtest::floor::{self, FloorPlan};
use ringway_loadtest::{Cores, Length, Mode, Plan, Verify};
use std::io::Write;
use std::time::Duration;
use std::{fs, io};

/// How many idle connections are held; fewer where too few files may be open.
const IDLE: u32 = 10_000;
/// Descriptors that the generator needs besides its connections.
const SPARE_FILES: u64 = 64;

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
    let files = limits::raise_open_files();
    let (server_cores, generator_cores) = split_cores()?;
    let bench = Bench { effort, server_cores, generator_cores, signals: Signals::watch()? };
    let live = LiveLine::new();
    let pairs = bench.measure_shapes(&live)?;
    let idle = match bench.signals.caught() {
        Some(_) => None,
        None => Some(bench.measure_idle(files, &live)?),
    };
    drop(live);
    let report = Report {
        schema_version: 1,
        machine: bench.machine()?,
        cells: pairs.iter().filter(|pair| pair.is_measured()).flat_map(Pair::cells).collect(),
        idle,
    };
    let text = match arguments.format {
        Format::Text => report.to_text(),
        Format::Json => serde_json::to_string_pretty(&report)? + "\n",
    };
    match &arguments.output {
        Some(path) => {
            fs::write(path, text).map_err(|error| Failure(format!("cannot write {}: {error}", path.display())))?;
        }
        None => io::stdout().write_all(text.as_bytes())?,
    }
    Ok(bench.signals.caught().map_or(Outcome::Good, Outcome::Interrupted))
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

impl Bench {
    /// All shapes, round by round, until a signal ends it.
    fn measure_shapes(&self, live: &LiveLine) -> Result<Vec<Pair>, Failure> {
        let floor = Server::start(&["floor"], &self.server_cores)?;
        let echo = Server::start(&["serve"], &self.server_cores)?;
        let mut pairs: Vec<Pair> = shapes().into_iter().map(Pair::new).collect();
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
                    return Ok(pairs);
                }
                pair.tcp.push(tcp);
                pair.ws.push(ws);
            }
        }
        Ok(pairs)
    }

    fn measure_floor(&self, shape: Shape, server: &Server) -> Result<Sample, Failure> {
        let plan = FloorPlan {
            address: server.address,
            connections: shape.connections,
            in_flight: shape.in_flight,
            size: shape.size,
            warmup: self.effort.warmup,
            duration: self.effort.measure,
            cores: self.generator_cores.clone(),
        };
        let mut cpu = Vec::with_capacity(2);
        let report = floor::run(&plan, || cpu.push(ringway_loadtest::server::cpu_time(server.pid())))?;
        let [Ok(before), Ok(after)] = &cpu[..] else {
            return Err(Failure("cannot read the server's CPU time".into()));
        };
        let us = |quantile| report.latency.value_at_quantile(quantile) as f64 / 1e3;
        let rate = report.messages as f64 / self.effort.measure.as_secs_f64();
        let cpu = after.saturating_sub(*before).as_secs_f64() / self.effort.measure.as_secs_f64();
        self.sample(rate, cpu, us(0.5), us(0.99))
    }

    fn measure_echo(&self, shape: Shape, server: &Server) -> Result<Sample, Failure> {
        let plan = Plan {
            connections: shape.connections as u32,
            pipeline: shape.in_flight as u32,
            sizes: shape.size..=shape.size,
            binary: true,
            warmup: self.effort.warmup,
            length: Length::Time(self.effort.measure),
            verify: Verify::Sample,
            ..self.plan(server)
        };
        let report = ringway_loadtest::run(&plan, &mut |_| {})?;
        if let Some((kind, count)) = report.errors.iter().next() {
            return Err(Failure(format!("the echo went wrong {count} times: {kind}")));
        }
        let (Some(quantiles), Some(server)) = (&report.latency_us.service, &report.server) else {
            return self.sample(0.0, 0.0, 0.0, 0.0);
        };
        let cpu = server.cpu_seconds / report.measured.as_secs_f64();
        self.sample(report.messages.per_second, cpu, quantiles.p50, quantiles.p99)
    }

    fn plan(&self, server: &Server) -> Plan {
        Plan {
            cores: Cores::List(self.generator_cores.clone()),
            server_pid: Some(server.pid()),
            stop: self.signals.stop.clone(),
            ..Plan::new(format!("ws://{}/", server.address))
        }
    }

    /// A sample from messages per second and cores that the server used. One that a signal has cut short is not used.
    fn sample(&self, rate: f64, cpu: f64, p50_us: f64, p99_us: f64) -> Result<Sample, Failure> {
        if rate <= 0.0 && self.signals.caught().is_none() {
            return Err(Failure("no message came back while measuring: the machine is too busy for this bench".into()));
        }
        let server_cpu_us_per_message = cpu * 1e6 / rate;
        Ok(Sample { messages_per_second: rate, server_cpu_us_per_message, p50_us, p99_us })
    }

    /// Holds connections that say nothing, on a fresh server, and divides what its resident memory has grown by.
    fn measure_idle(&self, files: Option<u64>, live: &LiveLine) -> Result<Idle, Failure> {
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
            return Err(Failure(format!("{held} of {connections} idle connections stood: {:?}", report.errors)));
        };
        Ok(Idle {
            connections: connections as usize,
            bytes_per_connection: after.rss_bytes.saturating_sub(before) as f64 / f64::from(connections),
        })
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
