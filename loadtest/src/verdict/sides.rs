//! Whether the generator and the server had a reserve of CPU time, and what took time from them.
//!
//! Both bounds matter. A side is *saturated* if it certainly wanted a core all the time: the time
//! that its busiest thread worked and waited for a core is almost all of the window. It *has
//! reserve* if it certainly did not: even with the steal and the softirqs of its cores, of which
//! some kernels count a part as time of the thread, the sum leaves a fifth of the window. Between
//! the two, its CPU time shows nothing.

use super::figures::Figures;
use crate::observe::cores::CoreShares;
use crate::observe::server::ServerUse;

/// The share from which a side is saturated.
const SATURATED: f64 = 0.95;

/// The share up to which a side has reserve.
const RESERVE: f64 = 0.80;

/// The share of waiting, steal or other processes from which a side counts as disturbed.
const DISTURBED: f64 = 0.10;

/// The share of CPU throttling from which a side counts as disturbed. A throttled cgroup stops for
/// up to 100 ms at a time.
const THROTTLED: f64 = 0.05;

/// The share of waiting for a core from which a generator counts as starved.
pub(super) const STARVED: f64 = 0.25;

/// What took CPU time from a side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Loss {
    pub(super) cause: Cause,
    /// A sentence with the figure.
    pub(super) sentence: String,
    pub(super) remedy: &'static str,
}

/// The cause of a loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// Steal, throttling, or other processes.
    Surroundings,
    /// The side's own threads compete for its cores.
    Itself,
    /// A thread waited for a core, and it is unknown which threads had it.
    Unknown,
}

/// One side.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Side {
    /// The share for which its busiest thread worked.
    pub(super) busy: f64,
    /// The largest share for which a thread waited for a core.
    pub(super) waiting: f64,
    pub(super) is_saturated: bool,
    pub(super) has_reserve: bool,
    /// Whether it has reserve apart from the time that it waited for a core.
    pub(super) works_little: bool,
    /// What took time from it, the largest share first.
    pub(super) losses: Vec<Loss>,
}

impl Side {
    /// The generator.
    pub(super) fn generator(seen: &Figures) -> Self {
        let max = |figure: fn(&super::ThreadFigures) -> f64| seen.generator.iter().map(figure).fold(0.0, f64::max);
        let (busy, waiting) = (max(|thread| thread.busy), max(|thread| thread.waiting.unwrap_or(0.0)));
        let demand = max(|thread| thread.busy + thread.waiting.unwrap_or(0.0));
        let cores = seen.generator_cores.unwrap_or_default();
        let mut losses = shared_losses("generator", &cores, seen.generator_throttled.unwrap_or(0.0));
        if waiting >= DISTURBED {
            losses.push((waiting, generator_waited(seen, waiting, &cores)));
        }
        let side = Self::new(busy, waiting, demand, &cores, seen.generator_throttled, losses);
        // Without the figures of the threads and of their cores, no reserve is shown.
        let is_known = seen.generator_cores.is_some()
            && !seen.generator.is_empty()
            && seen.generator.iter().all(|thread| thread.waiting.is_some());
        Self { has_reserve: side.has_reserve && is_known, works_little: side.works_little && is_known, ..side }
    }

    /// The server; `None` if its CPU time is unknown.
    pub(super) fn server(seen: &Figures) -> Option<Self> {
        let server = seen.server?;
        let all = if server.cores > 0 { server.cores_used / server.cores as f64 } else { 0.0 };
        let cores = seen.server_cores.unwrap_or_default();
        let mut losses = shared_losses("server", &cores, seen.server_throttled.unwrap_or(0.0));
        if server.waiting >= DISTURBED && all < SATURATED {
            losses.push((server.waiting, server_waited(seen, &server)));
        }
        let demand = server.demand.max(all);
        let busy = server.busiest.max(all.min(1.0));
        let side = Self::new(busy, server.waiting, demand, &cores, seen.server_throttled, losses);
        let is_known = seen.server_cores.is_some();
        Some(Self { has_reserve: side.has_reserve && is_known, works_little: side.works_little && is_known, ..side })
    }

    fn new(
        busy: f64,
        waiting: f64,
        demand: f64,
        cores: &CoreShares,
        throttled: Option<f64>,
        mut losses: Vec<(f64, Loss)>,
    ) -> Self {
        losses.sort_by(|(one, _), (other, _)| other.total_cmp(one));
        let beside = cores.stolen + cores.softirq + throttled.unwrap_or(0.0);
        let most = demand + beside;
        let taken = cores.stolen.max(throttled.unwrap_or(0.0)) >= DISTURBED;
        Self {
            busy,
            waiting,
            is_saturated: demand >= SATURATED || (most >= SATURATED && taken),
            has_reserve: most <= RESERVE,
            works_little: busy + beside <= RESERVE,
            losses: losses.into_iter().map(|(_, loss)| loss).collect(),
        }
    }

    /// Whether its busiest thread, or all its cores, worked all the time.
    pub(super) fn is_full(&self) -> bool {
        self.busy >= SATURATED
    }

    /// The largest loss with this cause.
    pub(super) fn loss(&self, cause: Cause) -> Option<&Loss> {
        self.losses.iter().find(|loss| loss.cause == cause)
    }
}

/// Steal and throttling.
fn shared_losses(side: &str, cores: &CoreShares, throttled: f64) -> Vec<(f64, Loss)> {
    let mut losses = Vec::new();
    if cores.stolen >= DISTURBED {
        let loss = Loss {
            cause: Cause::Surroundings,
            sentence: format!("the hypervisor took {} of a core of the {side} (steal)", percent(cores.stolen)),
            remedy: "run on a machine with dedicated cores",
        };
        losses.push((cores.stolen, loss));
    }
    if throttled >= THROTTLED {
        let loss = Loss {
            cause: Cause::Surroundings,
            sentence: format!("the CPU quota of the {side}'s cgroup stopped it for {} of the time", percent(throttled)),
            remedy: "raise the quota (cpu.max; the CPU limit of the container)",
        };
        losses.push((throttled, loss));
    }
    losses
}

/// The loss of a generator that waited for a core. Its threads have one core each, so unless two
/// share one, any other thread on that core is not its own.
fn generator_waited(seen: &Figures, waiting: f64, cores: &CoreShares) -> Loss {
    let mut pinned: Vec<usize> = seen.generator.iter().filter_map(|thread| thread.core).collect();
    let threads = pinned.len();
    pinned.sort_unstable();
    pinned.dedup();
    let waited = format!("the generator waited for a core {} of the time", percent(waiting));
    if cores.others >= DISTURBED {
        // The threads of an unknown server are not known to be its own.
        let others = if seen.server.is_some() { "other processes" } else { "the server or other processes" };
        return Loss {
            cause: Cause::Surroundings,
            sentence: format!("{waited}: {others} used {} of its cores", percent(cores.others)),
            remedy: "stop the other processes, or use other cores (--cores)",
        };
    }
    if pinned.len() < threads {
        return Loss {
            cause: Cause::Itself,
            sentence: format!("{waited}: {threads} threads share {} cores", pinned.len()),
            remedy: "use as many threads as cores (--threads), or more cores (--cores)",
        };
    }
    Loss {
        cause: Cause::Surroundings,
        sentence: format!("{waited}: the server or other processes run on its cores"),
        remedy: "separate generator, server and other processes (--cores)",
    }
}

/// The loss of a server that waited for a core.
fn server_waited(seen: &Figures, server: &ServerUse) -> Loss {
    let waited = format!("a thread of the server waited for a core {} of the time", percent(server.waiting));
    // Threads compete with each other only if others than the busiest one work.
    let has_other_threads = server.cores_used - server.busiest >= DISTURBED;
    let separate = "separate generator, server and other processes (--cores)";
    let loss = |cause, why: String, remedy| Loss { cause, sentence: format!("{waited}{why}"), remedy };
    match (seen.server_cores, seen.shares_cores) {
        (Some(cores), _) if cores.others >= DISTURBED => loss(
            Cause::Surroundings,
            format!(": other processes used {} of its cores", percent(cores.others)),
            separate,
        ),
        (Some(_), Some(false)) if has_other_threads => loss(
            Cause::Itself,
            ": its own threads compete for its cores".to_owned(),
            "give the server more cores, or fewer threads",
        ),
        (_, Some(true)) => loss(Cause::Surroundings, ": it shares cores with the generator".to_owned(), separate),
        _ => loss(Cause::Unknown, ", and which threads had its cores is unknown".to_owned(), separate),
    }
}

pub(super) fn percent(share: f64) -> String {
    format!("{:.0} %", share * 100.0)
}
