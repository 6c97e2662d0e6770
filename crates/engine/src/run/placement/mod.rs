//! Assigns threads to cores by one rule for servers, generators and benches.
//!
//! A core is a unit that the system numbers and schedules on, that is, a hardware thread; a
//! physical core has one or several of them.
//!
//! - The set of cores ([`CoreSet`]) is the affinity mask of the calling thread, in order: one core
//!   of each physical core, package by package, then their siblings.
//! - The default number of threads is the number of cores in the set, or the cgroup's CPU quota in
//!   cores if that is less, rounded down and at least one. Rounding up would start more threads
//!   than the quota has time for: once all are busy, the kernel stops all of them for the rest of
//!   each period (100 ms).
//! - With a quota below the size of the set no thread is pinned. Containers with quotas share the
//!   cores of a machine: with pinned threads, all of them would run on the first cores, while the
//!   scheduler moves unpinned threads to idle cores.
//! - A server takes cores from the start of the set, a generator from the end, so that they overlap
//!   last. A generator skips the cores that the server's threads are pinned to.
//! - Cores of a list ([`Cores::List`]) are used as they are named, regardless of the quota.

mod list;
mod topology;

pub use list::{CoreList, CoreListError};
pub use topology::Cpu;

use crate::config::{Cores, Shards};
use crate::run::cgroup::Cgroups;
use rustix::thread::{CpuSet, sched_getaffinity};
use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::num::NonZero;
use topology::HardwareThread;

/// Why threads could not be placed.
///
/// ```
/// use ringway::placement::{CoreSet, Cpu, PlacementError};
/// use ringway::{Cores, Shards};
///
/// let set = CoreSet::new(&[Cpu::new(0), Cpu::new(1)], None)?;
/// let error = set.server(&Cores::List(vec![7]), Shards::PerCore).unwrap_err();
/// assert!(matches!(error, PlacementError::NotAllowed { core: 7, .. }));
/// # Ok::<(), PlacementError>(())
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlacementError {
    /// The affinity mask could not be read.
    #[error(
        "cannot read which cores this process may run on: {0}; allow the system call sched_getaffinity, or set both \
         Cores::Unpinned and Shards::Count, which need no mask"
    )]
    Mask(io::Error),
    /// [`Cores::List`] is empty.
    #[error("Config::cores (--cores) is an empty list; name at least one core, or set Cores::All")]
    NoneNamed,
    /// [`Shards::Count`] is 0.
    #[error("the number of threads (Shards::Count) is 0; give 1 or more, or Shards::PerCore")]
    NoThreads,
    /// A named core is not in the affinity mask.
    #[error(
        "core {core} of --cores (Config::cores) is not among those this process may run on ({allowed}); name cores of \
         these, or change the affinity of the process (`taskset -p`, its cpuset)"
    )]
    NotAllowed {
        /// The core.
        core: usize,
        /// The affinity mask.
        allowed: CoreList,
    },
    /// A thread could not be pinned.
    #[error("cannot pin a thread to core {core}: {error}; name other cores (--cores, Config::cores)")]
    Pin {
        /// The core.
        core: usize,
        /// The kernel's error.
        error: io::Error,
    },
}

/// The cores that this process can run on, in the order in which they are assigned, and its CPU
/// quota.
///
/// ```
/// use ringway::placement::{CoreSet, Cpu};
/// use ringway::{Cores, Shards};
///
/// // A machine with four cores and no quota.
/// let cpus: Vec<Cpu> = (0..4).map(Cpu::new).collect();
/// let set = CoreSet::new(&cpus, None)?;
/// assert_eq!(set.server(&Cores::All, Shards::Count(2))?.to_string(), "2, on cores 0-1");
/// // With a quota of one and a half cores, one thread runs, and nothing is pinned.
/// let set = CoreSet::new(&cpus, Some(1.5))?;
/// let assignment = set.server(&Cores::All, Shards::PerCore)?;
/// assert_eq!(assignment.to_string(), "1, not pinned: the cgroup's CPU quota is 1.5 of 4 cores");
/// # Ok::<(), ringway::placement::PlacementError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct CoreSet {
    cores: Vec<HardwareThread>,
    quota: Option<f64>,
}

impl CoreSet {
    /// Reads the affinity mask of the calling thread, the topology of its cores from sysfs, and the
    /// quota of its cgroup (version 2: `cpu.max`, version 1: `cpu.cfs_quota_us`). Reads three small
    /// files for each core. A topology that cannot be read counts as unknown, and a quota as
    /// absent.
    ///
    /// # Errors
    /// [`PlacementError::Mask`] when the affinity mask cannot be read.
    pub fn read() -> Result<Self, PlacementError> {
        let mask = sched_getaffinity(None).map_err(|error| PlacementError::Mask(error.into()))?;
        let cpus: Vec<Cpu> = (0..CpuSet::MAX_CPU).filter(|core| mask.is_set(*core)).map(Cpu::read).collect();
        Self::new(&cpus, Cgroups::read().and_then(|cgroups| cgroups.cpu_quota()))
    }

    /// Creates a set of these cores, with a quota in cores (`Some(1.5)`: one and a half).
    ///
    /// # Errors
    /// [`PlacementError::Mask`] if `cpus` is empty.
    pub fn new(cpus: &[Cpu], quota: Option<f64>) -> Result<Self, PlacementError> {
        if cpus.is_empty() {
            return Err(PlacementError::Mask(io::Error::other("the affinity mask is empty")));
        }
        Ok(Self { cores: topology::order(cpus), quota })
    }

    /// The cores, in order.
    #[must_use]
    pub fn cores(&self) -> CoreList {
        self.cores.iter().map(|core| core.id).collect()
    }

    /// The quota, if it is below the number of cores; no thread is pinned then.
    #[must_use]
    pub fn quota_below(&self) -> Option<Quota> {
        let cores = self.cores.len();
        self.quota.filter(|quota| *quota < cores as f64).map(|limit| Quota { limit, cores })
    }

    /// The default number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.default_threads().get()
    }

    fn default_threads(&self) -> NonZero<usize> {
        // A conversion to an integer rounds down.
        let threads = self.quota_below().map_or(self.cores.len(), |quota| quota.limit as usize);
        NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN)
    }

    /// Places the shards of a server: from the start of the set, in turn if there are more shards
    /// than cores.
    ///
    /// # Errors
    /// [`PlacementError::NoneNamed`] or [`PlacementError::NotAllowed`] for a list that is empty or
    /// has cores outside of the set, [`PlacementError::NoThreads`] for a number of 0.
    pub fn server(&self, cores: &Cores, shards: Shards) -> Result<Assignment, PlacementError> {
        self.place(cores, shards, || self.cores.iter().map(|core| core.id).collect())
    }

    /// Places the threads of a generator: from the end of the set, without the cores in `taken`,
    /// which the server's threads are pinned to. Other hardware threads of the server's physical
    /// cores come last. If no core is left ([`CoreSet::is_left`]), all are used.
    ///
    /// # Errors    /// As [`CoreSet::server`].
    pub fn generator(
        &self,
        cores: &Cores,
        threads: Shards,
        taken: &BTreeSet<usize>,
    ) -> Result<Assignment, PlacementError> {
        let none_taken = BTreeSet::new();
        let taken = if self.is_left(taken) { taken } else { &none_taken };
        self.place(cores, threads, || {
            let served: BTreeSet<usize> =
                self.cores.iter().filter(|core| taken.contains(&core.id)).map(|core| core.physical).collect();
            let left = self.cores.iter().rev().filter(|core| !taken.contains(&core.id));
            let (beside, apart): (Vec<&HardwareThread>, Vec<&HardwareThread>) =
                left.partition(|core| served.contains(&core.physical));
            apart.into_iter().chain(beside).map(|core| core.id).collect()
        })
    }

    /// Whether the set has a core that is not in `taken`.
    #[must_use]
    pub fn is_left(&self, taken: &BTreeSet<usize>) -> bool {
        self.cores.iter().any(|core| !taken.contains(&core.id))
    }

    /// Divides the set between a server (the lower half) and a generator (the upper half) that are
    /// measured together.
    ///
    /// Physical cores are not divided unless there is only one; if their number is odd, the
    /// generator gets one more. A single core is shared by both. With a quota below the size of the
    /// set the threads are divided, and none is pinned.
    #[must_use]
    pub fn halves(&self) -> Halves {
        if let Some(quota) = self.quota_below() {
            let threads = self.threads();
            let server = threads / 2;
            let generator = threads - server.max(1);
            let unpinned = |threads| {
                let threads = NonZero::new(threads).unwrap_or(NonZero::<usize>::MIN);
                Assignment { quota: Some(quota), ..Assignment::unpinned(threads) }
            };
            return Halves { server: unpinned(server), generator: unpinned(generator) };
        }
        // The first hardware thread of each physical core precedes all siblings.
        let physical: Vec<usize> =
            self.cores.iter().filter(|core| core.id == core.physical).map(|core| core.id).collect();
        let all = || self.cores.iter();
        let (server, generator): (Vec<&HardwareThread>, Vec<&HardwareThread>) = match (physical.len(), self.cores.len())
        {
            (1, 1) => (all().collect(), all().collect()),
            (1, threads) => (all().take(threads / 2).collect(), all().skip(threads / 2).collect()),
            (count, _) => all().partition(|core| physical[..count / 2].contains(&core.physical)),
        };
        let pinned = |cores: Vec<&HardwareThread>| Assignment::pinned(cores.into_iter().map(|core| core.id));
        Halves { server: pinned(server), generator: pinned(generator.into_iter().rev().collect()) }
    }

    fn place(
        &self,
        cores: &Cores,
        threads: Shards,
        choose: impl FnOnce() -> Vec<usize>,
    ) -> Result<Assignment, PlacementError> {
        let given = match threads {
            Shards::PerCore => None,
            Shards::Count(count) => Some(NonZero::new(count).ok_or(PlacementError::NoThreads)?),
        };
        let in_turn = |cores: &[usize]| {
            let count = given.map_or(cores.len(), NonZero::get);
            Assignment::pinned(cores.iter().copied().cycle().take(count))
        };
        let unpinned = || Assignment::unpinned(given.unwrap_or_else(|| self.default_threads()));
        Ok(match (cores, self.quota_below()) {
            (Cores::List(list), _) => {
                self.check(list)?;
                in_turn(list)
            }
            (Cores::All, None) => in_turn(&choose()),
            (Cores::All, quota) => Assignment { quota, ..unpinned() },
            (Cores::Unpinned, _) => unpinned(),
        })
    }

    fn check(&self, list: &[usize]) -> Result<(), PlacementError> {
        if list.is_empty() {
            return Err(PlacementError::NoneNamed);
        }
        match list.iter().find(|core| self.cores.iter().all(|allowed| allowed.id != **core)) {
            Some(core) => Err(PlacementError::NotAllowed { core: *core, allowed: self.cores() }),
            None => Ok(()),
        }
    }
}

/// A CPU quota below the number of cores in the affinity mask. Displayed as `1.5 of 4 cores`.
///
/// ```
/// use ringway::placement::{CoreSet, Cpu};
///
/// let cpus: Vec<Cpu> = (0..4).map(Cpu::new).collect();
/// let quota = CoreSet::new(&cpus, Some(2.5))?.quota_below().expect("it is below four cores");
/// assert_eq!((quota.limit, quota.cores, quota.to_string()), (2.5, 4, "2.5 of 4 cores".to_owned()));
/// # Ok::<(), ringway::placement::PlacementError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Quota {
    /// The CPU time of the cgroup, in cores.
    pub limit: f64,
    /// The number of cores that the process can run on.
    pub cores: usize,
}

impl fmt::Display for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = format!("{:.2}", self.limit);
        write!(f, "{} of {} cores", limit.trim_end_matches('0').trim_end_matches('.'), self.cores)
    }
}

/// The cores of a group of threads. Displayed as `2, on cores 0-1` or `2, not pinned`.
///
/// ```
/// use ringway::placement::Assignment;
/// use std::num::NonZero;
///
/// let assignment = Assignment::unpinned(NonZero::new(2).expect("not 0"));
/// assert_eq!((assignment.threads(), assignment.cores()), (2, &[None, None][..]));
/// assert_eq!(assignment.to_string(), "2, not pinned");
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Assignment {
    cores: Vec<Option<usize>>,
    quota: Option<Quota>,
}

impl Assignment {
    /// Threads that the scheduler places.
    #[must_use]
    pub fn unpinned(threads: NonZero<usize>) -> Self {
        Self { cores: vec![None; threads.get()], quota: None }
    }

    fn pinned(cores: impl IntoIterator<Item = usize>) -> Self {
        Self { cores: cores.into_iter().map(Some).collect(), quota: None }
    }

    /// Places the shards of a server of this process: see [`CoreSet::server`]. Reads only what the
    /// result depends on.
    ///
    /// # Errors
    /// As [`CoreSet::read`] and [`CoreSet::server`].
    pub fn of_server(cores: &Cores, shards: Shards) -> Result<Self, PlacementError> {
        match (cores, shards) {
            (Cores::Unpinned, Shards::Count(count)) => {
                NonZero::new(count).map(Self::unpinned).ok_or(PlacementError::NoThreads)
            }
            _ => CoreSet::read()?.server(cores, shards),
        }
    }

    /// The core of each thread; `None` for one that is not pinned. At least one.
    #[must_use]
    pub fn cores(&self) -> &[Option<usize>] {
        &self.cores
    }

    /// The number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.cores.len()
    }

    /// The cores that threads are pinned to, each once and in order; `None` if no thread is pinned.
    #[must_use]
    pub fn list(&self) -> Option<CoreList> {
        let mut seen = BTreeSet::new();
        let cores: Option<Vec<usize>> = self.cores.iter().copied().collect();
        cores.map(|cores| cores.into_iter().filter(|core| seen.insert(*core)).collect())
    }

    /// The [`Cores`] that assign the same cores, together with `Shards::Count` of
    /// [`Assignment::threads`].
    #[must_use]
    pub fn to_config(&self) -> Cores {
        self.list().map_or(Cores::Unpinned, |list| Cores::List(list.into_vec()))
    }

    /// The quota, if it is the reason that no thread is pinned.
    #[must_use]
    pub fn quota(&self) -> Option<Quota> {
        self.quota
    }

    /// The same assignment, with at most this many threads, and at least one.
    #[must_use]
    pub fn at_most(mut self, threads: usize) -> Self {
        self.cores.truncate(threads.max(1));
        self
    }
}

impl fmt::Display for Assignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, ", self.threads())?;
        match (self.list(), self.quota) {
            (Some(list), _) if list.as_slice().len() == 1 => write!(f, "on core {list}"),
            (Some(list), _) => write!(f, "on cores {list}"),
            (None, Some(quota)) => write!(f, "not pinned: the cgroup's CPU quota is {quota}"),
            (None, None) => f.write_str("not pinned"),
        }
    }
}

/// A server and a generator that are measured together.
///
/// ```
/// use ringway::placement::{CoreSet, Cpu};
///
/// let cpus: Vec<Cpu> = (0..4).map(Cpu::new).collect();
/// let halves = CoreSet::new(&cpus, None)?.halves();
/// assert!(halves.are_apart());
/// assert_eq!(halves.server.to_string(), "2, on cores 0-1");
/// assert_eq!(halves.generator.to_string(), "2, on cores 2-3");
/// # Ok::<(), ringway::placement::PlacementError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Halves {
    /// The server's threads.
    pub server: Assignment,
    /// The generator's threads.
    pub generator: Assignment,
}

impl Halves {
    /// Whether both are pinned and no core is in both halves.
    #[must_use]
    pub fn are_apart(&self) -> bool {
        match (self.server.list(), self.generator.list()) {
            (Some(server), Some(generator)) => {
                server.as_slice().iter().all(|core| !generator.as_slice().contains(core))
            }
            _ => false,
        }
    }
}

/// Pins the calling thread to a core.
///
/// # Errors
/// [`PlacementError::Pin`] if the core does not exist, or the thread is not allowed to run on it.
pub fn pin(core: usize) -> Result<(), PlacementError> {
    if core >= CpuSet::MAX_CPU {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "there is no such core");
        return Err(PlacementError::Pin { core, error });
    }
    if core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        return Ok(());
    }
    Err(PlacementError::Pin { core, error: io::Error::last_os_error() })
}

#[cfg(test)]
mod tests;
