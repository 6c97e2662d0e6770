//! The facts about this process: its limits, capabilities, cores and system call filter.

use super::system::{Read, System, excerpt, field};
use ringway::placement::CoreList;

/// Capability 14 locks memory without a limit.
const CAP_IPC_LOCK: u32 = 14;

/// Capability 24 raises hard limits.
const CAP_SYS_RESOURCE: u32 = 24;

/// A soft and a hard limit; `None` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) soft: Option<u64>,
    pub(crate) hard: Option<u64>,
}

/// The process itself.
#[derive(Clone, Debug)]
pub(crate) struct ProcessFacts {
    pub(crate) open_files: Read<Limit>,
    pub(crate) locked_memory: Read<Limit>,
    capabilities: Read<u64>,
    /// The mode of seccomp: 0 none, 1 strict, 2 filter.
    pub(crate) seccomp: Read<u64>,
    /// The cores of the affinity mask.
    pub(crate) cores: Read<CoreList>,
    /// The time by which timers may be late, in nanoseconds.
    pub(crate) timer_slack: Read<u64>,
}

impl ProcessFacts {
    pub(crate) fn read(system: &System) -> Self {
        let status = system.text("/proc/self/status");
        let limits = system.text("/proc/self/limits");
        let of_status = |key: &str| -> Read<String> {
            let status = status.as_ref().map_err(Clone::clone)?;
            field(status, key).map(str::to_owned).ok_or_else(|| format!("/proc/self/status has no line {key}"))
        };
        Self {
            open_files: limit(&limits, "Max open files"),
            locked_memory: limit(&limits, "Max locked memory"),
            capabilities: of_status("CapEff").and_then(|text| {
                u64::from_str_radix(&text, 16).map_err(|_| format!("CapEff of /proc/self/status is {}", excerpt(&text)))
            }),
            seccomp: of_status("Seccomp").and_then(|text| {
                text.parse().map_err(|_| format!("Seccomp of /proc/self/status is {}", excerpt(&text)))
            }),
            cores: of_status("Cpus_allowed_list").and_then(|text| {
                text.parse().map_err(|_| format!("Cpus_allowed_list of /proc/self/status is {}", excerpt(&text)))
            }),
            timer_slack: system.number("/proc/self/timerslack_ns"),
        }
    }

    /// Whether memory that this process locks has no limit; `false` if it is unknown.
    pub(crate) fn may_lock_all(&self) -> bool {
        self.has(CAP_IPC_LOCK)
    }

    /// Whether this process may raise its hard limits; `false` if it is unknown.
    pub(crate) fn may_raise_limits(&self) -> bool {
        self.has(CAP_SYS_RESOURCE)
    }

    fn has(&self, capability: u32) -> bool {
        self.capabilities.as_ref().is_ok_and(|set| set & 1 << capability != 0)
    }
}

/// A line of `/proc/self/limits`: `Max open files  1024  524288  files`.
fn limit(limits: &Read<String>, name: &str) -> Read<Limit> {
    let limits = limits.as_ref().map_err(Clone::clone)?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name));
    let line = line.ok_or_else(|| format!("/proc/self/limits has no line “{name}”"))?;
    let number = |word: Option<&str>| match word {
        Some("unlimited") => Ok(None),
        Some(word) => word.parse().map(Some).map_err(|_| ()),
        None => Err(()),
    };
    let mut words = line.split_whitespace();
    match (number(words.next()), number(words.next())) {
        (Ok(soft), Ok(hard)) => Ok(Limit { soft, hard }),
        _ => Err(format!("/proc/self/limits has no two limits in “{name}”")),
    }
}
