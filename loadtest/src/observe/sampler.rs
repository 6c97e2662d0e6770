//! The thread that samples the CPU time of server and generator over exactly the measured window.
//!
//! The thread sleeps except at the two edges of the window, where it reads `/proc` for a fraction
//! of a millisecond. It runs on a core that neither side uses, if there is one.

use super::cores::{self, AllCores, CoreShares, KnownThread};
use super::lookup::Unknown;
use super::server::{ObservedServer, ServerThread, ServerUse};
use super::throttling::{self, Throttled};
use super::usage::Sample;
use super::window::at_edges;
use procfs::process::Process;
use ringway::placement::{self, CoreSet};
use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The share of the window from which samples are too late to be those of its edges.
const LATE: f64 = 0.01;

/// The maximum number of the server's threads that are reported one by one.
const SERVER_THREADS: usize = 32;

/// A thread of the generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GeneratorThread {
    /// The system's thread id.
    pub(crate) thread: i32,
    /// The core that it is pinned to.
    pub(crate) core: Option<usize>,
}

/// What is sampled.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) server: ObservedServer,
    pub(crate) generator: Vec<GeneratorThread>,
}

impl Measured {
    /// The cores of the generator's threads; empty if one is not pinned.
    fn generator_cores(&self) -> BTreeSet<usize> {
        self.generator.iter().map(|thread| thread.core).collect::<Option<_>>().unwrap_or_default()
    }

    /// The cores that the generator's threads may run on.
    fn generator_may_use(&self) -> BTreeSet<usize> {
        let pinned = self.generator_cores();
        if pinned.is_empty() { ObservedServer::of(vec![std::process::id()]).allowed_cores() } else { pinned }
    }

    /// The cores that the server's threads are pinned to, or those that it may run on.
    fn server_cores(&self) -> BTreeSet<usize> {
        let pinned = self.server.pinned_cores();
        if pinned.is_empty() { self.server.allowed_cores() } else { pinned }
    }

    /// Whether the server's threads may run on cores of the generator.
    fn shares_cores(&self) -> bool {
        let (generator, server) = (self.generator_cores(), self.server_cores());
        generator.is_empty() || server.is_empty() || !generator.is_disjoint(&server)
    }
}

/// The last core of `allowed` that neither side uses. A side whose cores are unknown (none) uses
/// any.
fn spare_core(allowed: &[usize], generator: &BTreeSet<usize>, server: &BTreeSet<usize>) -> Option<usize> {
    if generator.is_empty() {
        return None;
    }
    allowed.iter().rev().copied().find(|core| !generator.contains(core) && !server.contains(core))
}

/// Starts the thread. It returns the use of the window whose edges it receives: the beginning, and
/// then ends, of which the earliest counts. `None` if the sender is dropped before the window has
/// ended.
///
/// # Errors
/// If the thread cannot be started.
pub(crate) fn spawn(measured: Measured, edges: Receiver<Instant>) -> io::Result<JoinHandle<Option<WindowUse>>> {
    std::thread::Builder::new().name("sampler".into()).spawn(move || {
        let allowed = CoreSet::read().map(|set| set.cores().into_vec()).unwrap_or_default();
        let spare = spare_core(&allowed, &measured.generator_cores(), &measured.server_cores());
        let pinned = spare.filter(|core| placement::pin(*core).is_ok());
        let mut late = Duration::ZERO;
        let (begin, end) = at_edges(&edges, |due| {
            late = late.max(due.elapsed());
            Samples::take(&measured)
        })?;
        let mut used = end.since(&begin, &measured, pinned);
        if late > used.wall.mul_f64(LATE) {
            used.missing
                .push(format!("samples at the edges of the window: the thread that takes them was {late:.1?} late"));
        }
        Some(used)
    })
}

/// The samples at one edge of the window.
pub(crate) struct Samples {
    at: Instant,
    server: Result<Sample, Unknown>,
    generator: Sample,
    cores: Option<AllCores>,
    throttled: Option<Throttled>,
    /// Of each cgroup.
    server_throttled: Option<Vec<Throttled>>,
}

impl Samples {
    /// Reads all samples, on the calling thread.
    pub(crate) fn take(measured: &Measured) -> Self {
        // The threads first: the kernel counts their times in nanoseconds, the others in ticks.
        Self {
            at: Instant::now(),
            server: measured.server.sample(),
            generator: ObservedServer::of(vec![std::process::id()]).clocks(),
            cores: cores::read(),
            throttled: Process::myself().ok().and_then(|process| throttling::read(&process)),
            server_throttled: measured.server.throttled(),
        }
    }

    /// The use since `begin`. `sampler_core` is the core of the thread that took the samples, if
    /// neither side uses it.
    pub(crate) fn since(&self, begin: &Self, measured: &Measured, sampler_core: Option<usize>) -> WindowUse {
        let wall = self.at.saturating_duration_since(begin.at);
        let mut missing = Vec::new();
        if !self.has_generator(measured) {
            missing.push("the generator's own CPU time: /proc/self/task/*/schedstat cannot be read".to_owned());
        }
        let (server, server_threads) = match (&self.server, &begin.server) {
            (Ok(end), Ok(begin)) => (Ok(end.since(begin)), end.busiest_since(begin, SERVER_THREADS)),
            (Err(why), _) | (_, Err(why)) => (Err(why.clone()), Vec::new()),
        };
        if let Err(why) = &server {
            missing.push(format!("the server's CPU time: {why}"));
        }
        let shares_cores = server.is_ok().then(|| measured.shares_cores());
        let (generator_cores, server_cores) = self.core_shares(begin, measured, wall, &mut missing);
        let share = |throttled: Throttled| (throttled.time.as_secs_f64() / wall.as_secs_f64().max(1e-9)).min(1.0);
        let own = self.throttled.zip(begin.throttled).map(|(end, begin)| share(end.since(&begin)));
        let servers =
            self.server_throttled.as_ref().zip(begin.server_throttled.as_ref()).map(|(end, begin)| {
                end.iter().zip(begin).map(|(end, begin)| share(end.since(begin))).fold(0.0, f64::max)
            });
        if own.is_none() {
            missing.push("CPU throttling of the generator's cgroup: its cpu.stat cannot be read".to_owned());
        }
        if server.is_ok() && servers.is_none() {
            missing.push("CPU throttling of the server's cgroup: its cpu.stat cannot be read".to_owned());
        }
        if sampler_core.is_none() {
            missing.push(
                "a core for sampling: none is left, so the samples took a little time of the measured".to_owned(),
            );
        }
        WindowUse {
            wall,
            server,
            server_threads,
            generator_cores,
            server_cores,
            shares_cores,
            throttled: own,
            server_throttled: servers,
            missing,
        }
    }

    /// Whether the CPU time of each thread of the generator is known.
    fn has_generator(&self, measured: &Measured) -> bool {
        measured.generator.iter().all(|thread| self.generator.threads.contains_key(&thread.thread))
    }

    /// The shares on the cores of the generator and of the server.
    fn core_shares(
        &self,
        begin: &Self,
        measured: &Measured,
        wall: Duration,
        missing: &mut Vec<String>,
    ) -> (Option<CoreShares>, Option<CoreShares>) {
        let Some((begin_cores, end_cores)) = begin.cores.as_ref().zip(self.cores.as_ref()) else {
            missing.push("steal, softirqs and other processes on the cores: /proc/stat cannot be read".to_owned());
            return (None, None);
        };
        let mut pinned: HashMap<i32, usize> = measured.server.pinned_threads();
        pinned.extend(measured.generator.iter().filter_map(|thread| Some((thread.thread, thread.core?))));
        let known = |begin: &Sample, end: &Sample| -> HashMap<i32, KnownThread> {
            let threads = end.threads_since(begin);
            threads
                .map(|(thread, ran, _)| {
                    (thread, KnownThread { ran: Duration::from_nanos(ran), core: pinned.get(&thread).copied() })
                })
                .collect()
        };
        let mut threads = known(&begin.generator, &self.generator);
        if let Some((begin, end)) = begin.server.as_ref().ok().zip(self.server.as_ref().ok()) {
            threads.extend(known(begin, end));
        }
        let known: Vec<KnownThread> = threads.into_values().collect();
        let shares = |of: &BTreeSet<usize>| cores::shares(begin_cores, end_cores, of, wall, &known);
        // Threads whose CPU time is unknown would count as other processes.
        let generator = shares(&measured.generator_may_use()).filter(|_| self.has_generator(measured));
        let server = shares(&measured.server_cores()).filter(|_| self.server.is_ok());
        (generator, server)
    }
}

/// The use of the window.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WindowUse {
    pub(crate) wall: Duration,
    pub(crate) server: Result<ServerUse, Unknown>,
    /// The busiest threads of the server, in order.
    pub(crate) server_threads: Vec<ServerThread>,
    pub(crate) generator_cores: Option<CoreShares>,
    /// `None` if the server's threads are unknown.
    pub(crate) server_cores: Option<CoreShares>,
    /// Whether the server's threads may run on cores of the generator; `None` if they are unknown.
    pub(crate) shares_cores: Option<bool>,
    /// The share of the window for which the generator's cgroup was stopped for its CPU quota.
    pub(crate) throttled: Option<f64>,
    pub(crate) server_throttled: Option<f64>,
    /// A sentence for each source that could not be read.
    pub(crate) missing: Vec<String>,
}

#[cfg(test)]
pub(crate) mod tests;
