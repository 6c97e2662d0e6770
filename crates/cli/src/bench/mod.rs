//! `ringway bench`: what this machine can do, as WebSocket echo against raw TCP echo on the same driver.

mod cell;
mod child;
mod report;

use crate::arguments::{Bench, Format};
use crate::exit::{Failure, Outcome};
use crate::limits;
use cell::{Pair, Sample, Shape, shapes};
use child::Server;
use report::{Idle, Machine, Report};
use ringway_loadtest::floor::{self, FloorPlan};
use ringway_loadtest::{Cores, Length, Mode, Plan, Verify};
use std::io::{IsTerminal, Write};
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

pub(crate) fn run(arguments: &Bench) -> Result<Outcome, Failure> {
    let effort = if arguments.quick {
        Effort { rounds: 1, warmup: Duration::from_millis(100), measure: Duration::from_millis(250) }
    } else {
        Effort { rounds: 3, warmup: Duration::from_millis(200), measure: Duration::from_millis(1000) }
    };
    let files = limits::raise_open_files();
    let (server_cores, generator_cores) = split_cores()?;
    let live = Live::new();
    let floor = Server::start(&["floor"], &server_cores)?;
    let echo = Server::start(&["serve"], &server_cores)?;
    let mut pairs: Vec<Pair> =
        shapes().into_iter().map(|shape| Pair { shape, tcp: Vec::new(), ws: Vec::new() }).collect();
    let runs = effort.rounds * pairs.len();
    for round in 0..effort.rounds {
        for (at, pair) in pairs.iter_mut().enumerate() {
            let shape = pair.shape;
            live.say(&format!(
                "run {} of {runs}: {} B, {} connections, {} in flight",
                round * 18 + at + 1,
                shape.size,
                shape.connections,
                shape.in_flight
            ));
            // Whoever goes first in one round goes second in the next: the machine's mood has no favourite.
            if round % 2 == 0 {
                pair.tcp.push(measure_floor(shape, &effort, &floor, &generator_cores)?);
                pair.ws.push(measure_echo(shape, &effort, &echo, &generator_cores)?);
            } else {
                pair.ws.push(measure_echo(shape, &effort, &echo, &generator_cores)?);
                pair.tcp.push(measure_floor(shape, &effort, &floor, &generator_cores)?);
            }
        }
    }
    drop((floor, echo));
    let connections =
        files.map_or(IDLE, |files| IDLE.min(u32::try_from(files.saturating_sub(SPARE_FILES)).unwrap_or(IDLE)));
    live.say(&format!("holding {connections} idle connections"));
    let idle = measure_idle(connections, &server_cores, &generator_cores)?;
    live.clear();
    let report = Report {
        schema_version: 1,
        machine: machine(&effort, server_cores, generator_cores)?,
        cells: pairs.iter().flat_map(Pair::cells).collect(),
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
    Ok(Outcome::Good)
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

fn measure_floor(shape: Shape, effort: &Effort, server: &Server, cores: &[usize]) -> Result<Sample, Failure> {
    let plan = FloorPlan {
        address: server.address,
        connections: shape.connections,
        in_flight: shape.in_flight,
        size: shape.size,
        warmup: effort.warmup,
        duration: effort.measure,
        cores: cores.to_vec(),
    };
    let mut cpu = Vec::with_capacity(2);
    let report = floor::run(&plan, || cpu.push(ringway_loadtest::server::cpu_time(server.pid())))?;
    let [Ok(before), Ok(after)] = &cpu[..] else { return Err(Failure("cannot read the server's CPU time".into())) };
    let us = |quantile| report.latency.value_at_quantile(quantile) as f64 / 1e3;
    sample(report.messages, effort.measure, after.saturating_sub(*before), us(0.5), us(0.99))
}

fn measure_echo(shape: Shape, effort: &Effort, server: &Server, cores: &[usize]) -> Result<Sample, Failure> {
    let plan = Plan {
        connections: shape.connections as u32,
        pipeline: shape.in_flight as u32,
        sizes: shape.size..=shape.size,
        binary: true,
        warmup: effort.warmup,
        length: Length::Time(effort.measure),
        verify: Verify::Sample,
        ..plan(server, cores)
    };
    let report = ringway_loadtest::run(&plan, &mut |_| {})?;
    if let Some((kind, count)) = report.errors.iter().next() {
        return Err(Failure(format!("the echo went wrong {count} times: {kind}")));
    }
    let (Some(quantiles), Some(server)) = (&report.latency_us.service, &report.server) else {
        return Err(Failure("the run gave no figures".into()));
    };
    let cpu = Duration::from_secs_f64(server.cpu_seconds);
    sample(quantiles.count, report.measured, cpu, quantiles.p50, quantiles.p99)
}

fn plan(server: &Server, cores: &[usize]) -> Plan {
    Plan {
        cores: Cores::List(cores.to_vec()),
        server_pid: Some(server.pid()),
        ..Plan::new(format!("ws://{}/", server.address))
    }
}

fn sample(messages: u64, elapsed: Duration, cpu: Duration, p50_us: f64, p99_us: f64) -> Result<Sample, Failure> {
    if messages == 0 {
        return Err(Failure("no message came back while measuring: the machine is too busy for this bench".into()));
    }
    Ok(Sample {
        messages_per_second: messages as f64 / elapsed.as_secs_f64(),
        server_cpu_us_per_message: cpu.as_secs_f64() * 1e6 / messages as f64,
        p50_us,
        p99_us,
    })
}

/// Holds connections that say nothing, on a fresh server, and divides what its resident memory has grown by.
fn measure_idle(connections: u32, server_cores: &[usize], generator_cores: &[usize]) -> Result<Idle, Failure> {
    let server = Server::start(&["serve"], server_cores)?;
    let before = ringway_loadtest::server::resident_bytes(server.pid())?;
    let plan = Plan {
        connections,
        mode: Mode::Idle,
        warmup: Duration::ZERO,
        length: Length::Time(Duration::from_millis(500)),
        ..plan(&server, generator_cores)
    };
    let report = ringway_loadtest::run(&plan, &mut |_| {})?;
    let held = report.connections.established;
    if held < u64::from(connections) {
        return Err(Failure(format!("only {held} of {connections} idle connections stood: {:?}", report.errors)));
    }
    let after = report.server.map(|server| server.rss_bytes).unwrap_or(before);
    Ok(Idle {
        connections: connections as usize,
        bytes_per_connection: after.saturating_sub(before) as f64 / f64::from(connections),
    })
}

fn machine(effort: &Effort, server_cores: Vec<usize>, generator_cores: Vec<usize>) -> Result<Machine, Failure> {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ").map(|(_, name)| name));
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    Ok(Machine {
        cpu: cpu.unwrap_or("unknown CPU").to_owned(),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        kernel: kernel.trim().to_owned(),
        driver: format!("io_uring ({})", ringway_io::uring::probe()?),
        server_cores,
        generator_cores,
        rounds: effort.rounds,
        seconds_per_run: effort.measure.as_secs_f64(),
    })
}

/// The line that says what is being done, for a person who waits.
struct Live(bool);

impl Live {
    fn new() -> Self {
        Self(io::stderr().is_terminal())
    }

    fn say(&self, text: &str) {
        if self.0 {
            eprint!("\r\x1b[K{text}");
        }
    }

    fn clear(&self) {
        if self.0 {
            eprint!("\r\x1b[K");
        }
    }
}
