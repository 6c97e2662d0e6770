//! System calls for each message: another program counts those of a server while it echoes, in a run
//! of its own, because counting slows the server.
//!
//! perf counts with a tracepoint of the kernel (`raw_syscalls:sys_enter`), which takes some 100 ns a
//! call, in the middle of the window. strace stops the server at each call, which takes some 10 µs:
//! turns then serve more messages where several connections are active, so that its figures are lower
//! bounds there. It runs from before the connections open until they are closed, and the calls within
//! the window count.

use super::Bench;
use super::contestants::{Contestant, RunningContestants};
use super::progress::BenchProgress;
use super::rounds::{self, Cell};
use ringway_loadtest::processes::{self, Edges};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// The windows that are tried, one after the other, while the counter does not end within the window.
const WINDOWS: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// The parts of a window, of 10, before the counter starts and for which it counts. The rest is for
/// its start and its end.
const BEFORE: u32 = 1;
const COUNTED: u32 = 5;

/// The event of perf.
const EVENT: &str = "raw_syscalls:sys_enter";

/// How the system calls were counted, or why they were not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Counting {
    /// `perf` or `strace`; `None` if they were not counted.
    pub(crate) counted_by: Option<&'static str>,
    /// Why they were not counted, or only in a part of the cells.
    pub(crate) reason: Option<String>,
}

impl Counting {
    /// What the figures are, or why there are none.
    pub(crate) fn explain(&self) -> String {
        let how = match self.counted_by {
            Some("perf") => "counted by perf".to_owned(),
            Some(_) => "counted by strace, which slows the server: with several connections they are lower bounds, \
                        because a turn then serves more messages (as root or with CAP_PERFMON, perf counts)"
                .to_owned(),
            None => "not counted".to_owned(),
        };
        match &self.reason {
            Some(reason) => format!("{how}: {reason}"),
            None => how,
        }
    }
}

/// A program that counts system calls of other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Perf,
    Strace,
}

/// Why a window has no count.
enum Uncounted {
    /// The counter has not ended within the window.
    Late,
    /// The counter has failed.
    Failed(String),
}

impl Counter {
    fn name(self) -> &'static str {
        match self {
            Self::Perf => "perf",
            Self::Strace => "strace",
        }
    }

    /// The first counter that works here, tried on a process of its own.
    fn find() -> Result<Self, String> {
        let tries = |mut command: Command| match command.stdin(Stdio::null()).output() {
            Ok(output) if output.status.success() => Ok(()),
            Ok(output) => Err(first_line(&output.stderr)),
            Err(error) => Err(error.to_string()),
        };
        let mut perf = Command::new("perf");
        perf.args(["stat", "-e", EVENT, "--", "true"]);
        let Err(of_perf) = tries(perf) else { return Ok(Self::Perf) };
        let mut strace = Command::new("strace");
        strace.args(["-f", "--", "true"]);
        let Err(of_strace) = tries(strace) else { return Ok(Self::Strace) };
        Err(format!(
            "perf: {of_perf}; strace: {of_strace}; install perf and run as root or with CAP_PERFMON, or install strace"
        ))
    }

    /// Runs a generator, and counts the system calls of a server within its window. Returns what the
    /// generator returns, and the calls per second.
    fn count<R>(self, pid: u32, run: impl FnOnce(&(dyn Fn(Edges) + Sync)) -> R) -> (R, Result<f64, Uncounted>) {
        let pids: Vec<String> = processes::tree(pid).iter().map(ToString::to_string).collect();
        match self {
            Self::Perf => {
                let rate = Mutex::new(Err(Uncounted::Late));
                let ran = run(&|window| *lock(&rate) = rate_by_perf(&pids, window));
                (ran, rate.into_inner().unwrap_or_else(PoisonError::into_inner))
            }
            Self::Strace => {
                let tracer = match Tracer::start(&pids) {
                    Ok(tracer) => tracer,
                    Err(why) => return (run(&|_| {}), Err(Uncounted::Failed(why))),
                };
                let window = Mutex::new(None);
                let ran = run(&|edges| *lock(&window) = Some((edges, Instant::now(), SystemTime::now())));
                let times = tracer.stop();
                let window = window.into_inner().unwrap_or_else(PoisonError::into_inner);
                (ran, times.map_err(Uncounted::Failed).and_then(|times| rate_within(&times, window)))
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn sleep_until(time: Instant) {
    thread::sleep(time.saturating_duration_since(Instant::now()));
}

fn first_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it has failed").to_owned()
}

/// The calls per second in the middle of a window.
fn rate_by_perf(pids: &[String], window: Edges) -> Result<f64, Uncounted> {
    let part = window.end.saturating_duration_since(window.begin) / 10;
    sleep_until(window.begin + part * BEFORE);
    let time = part * COUNTED;
    let output = Command::new("perf")
        .args(["stat", "-e", EVENT, "-p", &pids.join(","), "--timeout", &time.as_millis().to_string()])
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| Uncounted::Failed(format!("perf: {error}")))?;
    if Instant::now() > window.end {
        return Err(Uncounted::Late);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    of_perf(&text).ok_or_else(|| Uncounted::Failed(format!("perf: {}", first_line(&output.stderr))))
}

/// The calls per second in the output of `perf stat`: the count of the event, and the time. (The event
/// `duration_time` has the sum of the times of all threads.)
fn of_perf(text: &str) -> Option<f64> {
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_suffix(name))?;
        line.trim().replace(',', "").parse::<f64>().ok()
    };
    let seconds = value("seconds time elapsed").filter(|seconds| *seconds > 0.0)?;
    Some(value(EVENT)? / seconds)
}

/// A run of strace, which reports each system call with the time of its beginning.
struct Tracer {
    child: Child,
    times: JoinHandle<Vec<f64>>,
}

impl Tracer {
    /// Attaches to these processes.
    fn start(pids: &[String]) -> Result<Self, String> {
        let mut command = Command::new("strace");
        command.args(["-f", "-ttt", "-s", "0"]);
        for pid in pids {
            command.args(["-p", pid]);
        }
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        let mut child = spawned.map_err(|error| format!("strace: {error}"))?;
        let mut stderr = BufReader::new(child.stderr.take().ok_or("strace: it has no output")?);
        let mut first = String::new();
        // It reports that it has attached, or why it cannot.
        let attached = stderr.read_line(&mut first).is_ok() && first.contains("attached");
        let times = thread::spawn(move || {
            let lines = stderr.split(b'\n').map_while(Result::ok);
            lines.filter_map(|line| of_strace(&String::from_utf8_lossy(&line))).collect()
        });
        let tracer = Self { child, times };
        if attached {
            return Ok(tracer);
        }
        let _ = tracer.stop();
        Err(first_line(first.as_bytes()))
    }

    /// Detaches. Returns the times of all calls, in seconds of Unix time.
    fn stop(mut self) -> Result<Vec<f64>, String> {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // It fails if strace has ended.
            let _ = kill_process(pid, Signal::INT);
        }
        self.child.wait().map_err(|error| format!("strace: {error}"))?;
        self.times.join().map_err(|_| "the thread that reads strace has panicked".into())
    }
}

/// The time of a call in a line of `strace -f -ttt`; `None` for other lines, and for the end of a call
/// that another thread has interrupted.
fn of_strace(line: &str) -> Option<f64> {
    let rest = line.strip_prefix("[pid").and_then(|rest| rest.split_once(']')).map_or(line, |(_, rest)| rest);
    let (time, call) = rest.trim_start().split_once(' ')?;
    let is_call = call.starts_with(|first: char| first.is_ascii_lowercase() || first == '_') && call.contains('(');
    time.parse().ok().filter(|_| is_call)
}

/// The calls per second within a window, of which an instant and its Unix time are known.
fn rate_within(times: &[f64], window: Option<(Edges, Instant, SystemTime)>) -> Result<f64, Uncounted> {
    let Some((Edges { begin, end }, instant, time)) = window else { return Err(Uncounted::Late) };
    let time = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let unix = |at: Instant| match at.checked_duration_since(instant) {
        Some(after) => time + after.as_secs_f64(),
        None => time - instant.duration_since(at).as_secs_f64(),
    };
    let count = times.iter().filter(|time| (unix(begin)..unix(end)).contains(*time)).count();
    Ok(count as f64 / (end - begin).as_secs_f64())
}

/// Counts for each contestant in each cell, until a signal arrives.
pub(super) fn count(
    bench: &Bench,
    cells: &mut [Cell],
    contestants: &[Contestant],
    running: &mut RunningContestants<'_>,
    progress: &mut BenchProgress,
) -> Option<Counting> {
    let counter = match Counter::find() {
        Ok(counter) => counter,
        Err(reason) => return Some(Counting { counted_by: None, reason: Some(reason) }),
    };
    let mut reasons = Vec::new();
    for cell in cells {
        for (index, contestant) in contestants.iter().enumerate() {
            progress.step(|| format!("system calls, {}: {}", cell.shape, contestant.name));
            if cell.series[index].failure.is_some() {
                continue;
            }
            let target = running.target(index);
            let found = target.and_then(|target| {
                for window in WINDOWS {
                    let (sample, calls) = counter.count(target.pid, |meanwhile| {
                        rounds::take(bench, contestant.protocol, cell.shape, &target, window, Some(meanwhile))
                    });
                    match (calls, sample?) {
                        (Ok(calls), Some(sample)) => return Ok(Some(calls / sample.messages_per_second)),
                        (Err(Uncounted::Failed(why)), _) => return Err(why),
                        _ if bench.signals.stop.is_set() => return Ok(None),
                        _ => {}
                    }
                }
                Err("the machine is too busy: the counter did not end within the window".into())
            });
            if bench.signals.caught().is_some() {
                return None;
            }
            match found {
                Ok(calls) => cell.series[index].syscalls = calls,
                Err(why) => reasons.push(format!("{}, {}: {why}", contestant.name, cell.shape)),
            }
        }
    }
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    Some(Counting { counted_by: Some(counter.name()), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_of_perf_is_that_of_the_time_for_which_it_has_counted() {
        let output = |count: &str| {
            format!(
                "\n Performance counter stats for process id '7':\n\n {count:>14}      {EVENT}            \n\n       \
                 0.500000000 seconds time elapsed\n\n"
            )
        };
        for count in ["5000", "5,000"] {
            assert_eq!(of_perf(&output(count)), Some(10_000.0));
        }
        assert_eq!(of_perf(&output("<not counted>")), None);
        assert_eq!(of_perf("event syntax error"), None);
    }

    #[test]
    fn each_call_of_strace_counts_once() {
        for line in [
            "1700000000.250000 recvfrom(9, \"\"..., 20, 0, NULL, NULL) = 20",
            "[pid  4711] 1700000000.250000 io_uring_enter(5, 1, 1, IORING_ENTER_GETEVENTS <unfinished ...>",
        ] {
            assert_eq!(of_strace(line), Some(1_700_000_000.25), "{line}");
        }
        for line in [
            "strace: Process 4711 attached",
            "[pid  4711] 1700000000.250000 <... io_uring_enter resumed>) = 1",
            "[pid  4711] 1700000000.250000 --- SIGINT {si_signo=SIGINT} ---",
            "strace: attach: ptrace(PTRACE_SEIZE, 7): Operation not permitted",
        ] {
            assert_eq!(of_strace(line), None, "{line}");
        }
    }

    #[test]
    fn calls_outside_of_the_window_do_not_count() {
        let (now, unix) = (Instant::now(), SystemTime::UNIX_EPOCH + Duration::from_secs(1000));
        let window = Edges { begin: now - Duration::from_secs(1), end: now + Duration::from_secs(1) };
        let times = [998.5, 999.0, 999.5, 1000.5, 1001.5];
        assert!(matches!(rate_within(&times, Some((window, now, unix))), Ok(rate) if rate == 1.5));
        assert!(matches!(rate_within(&times, None), Err(Uncounted::Late)));
    }

    #[test]
    fn what_was_not_counted_is_said_and_why() {
        let none = Counting { counted_by: None, reason: Some("perf: no; strace: no".into()) };
        assert_eq!(none.explain(), "not counted: perf: no; strace: no");
        assert_eq!(Counting { counted_by: Some("perf"), reason: None }.explain(), "counted by perf");
    }
}
