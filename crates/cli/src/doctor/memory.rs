//! Memory: what connections take, and how the kernel hands it out.

use super::finding::{Finding, Group, State, bytes, counted, grouped};
use super::goal::{Goal, KERNEL_BYTES, MEMORY_SHARE};
use super::system::{Read, System, field};

/// `vm.overcommit_memory`: the kernel refuses reservations above a limit.
const STRICT: u64 = 2;

#[derive(Clone, Debug)]
pub(crate) struct MemoryFacts {
    total: Read<u64>,
    available: Read<u64>,
    swap_total: Read<u64>,
    swap_free: Read<u64>,
    committed: Read<u64>,
    commit_limit: Read<u64>,
    overcommit: Read<u64>,
    huge_pages: Read<String>,
}

impl MemoryFacts {
    pub(crate) fn read(system: &System) -> Self {
        let meminfo = system.text("/proc/meminfo");
        let of = |key: &str| kibibytes(&meminfo, key);
        Self {
            total: of("MemTotal"),
            available: of("MemAvailable"),
            swap_total: of("SwapTotal"),
            swap_free: of("SwapFree"),
            committed: of("Committed_AS"),
            commit_limit: of("CommitLimit"),
            overcommit: system.sysctl("vm.overcommit_memory"),
            huge_pages: system.chosen("/sys/kernel/mm/transparent_hugepage/enabled"),
        }
    }

    /// The bytes that are available now.
    pub(crate) fn available(&self) -> Option<u64> {
        self.available.as_ref().ok().copied()
    }

    pub(crate) fn check(&self, goal: &Goal) -> Group {
        let findings = vec![self.available_for(goal), self.swap(), self.overcommit(), self.huge_pages()];
        Group { name: "memory", findings }
    }

    fn available_for(&self, goal: &Goal) -> Finding {
        Finding::of("memory.available", "available", &self.available, |available, finding| {
            let holds = connections_in(*available, goal);
            let value = match &self.total {
                Ok(total) => format!("{} of {}", bytes(*available), bytes(*total)),
                Err(_) => bytes(*available),
            };
            let finding = finding
                .value(value)
                .allows(counted(holds, "idle connection", "idle connections"))
                .connections(holds)
                .detail(format!(
                    "in {MEMORY_SHARE} % of MemAvailable, each with {} of the kernel and {} of the program",
                    bytes(KERNEL_BYTES * goal.role.ends()),
                    bytes(goal.user_bytes())
                ));
            lacking_memory(finding, holds, goal)
        })
    }

    fn swap(&self) -> Finding {
        let both = self.swap_total.clone().and_then(|total| Ok((total, self.swap_free.clone()?)));
        Finding::of("memory.swap", "swap", &both, |(total, free), finding| {
            let used = total.saturating_sub(*free);
            let finding = finding.detail("SwapTotal and SwapFree of /proc/meminfo");
            match (total, used) {
                (0, _) => finding.value("none").allows("no pauses by reading from a disk"),
                (_, 0) => finding.value(bytes(*total)).allows("not in use"),
                _ => finding
                    .value(format!("{} of {} in use", bytes(used), bytes(*total)))
                    .allows("threads stop when they read from it")
                    .state(State::Note)
                    .command("MemorySwapMax=0   # in the unit of a service"),
            }
        })
    }

    fn overcommit(&self) -> Finding {
        Finding::of("memory.overcommit", "overcommit_memory", &self.overcommit, |mode, finding| {
            let finding = finding
                .value(mode.to_string())
                .detail("0: obvious excess is refused; 1: nothing is refused; 2: no more than CommitLimit is promised");
            match (*mode, &self.commit_limit, &self.committed) {
                (STRICT, Ok(limit), Ok(committed)) => finding
                    .allows(format!("{} until reservations fail", bytes(limit.saturating_sub(*committed))))
                    .state(State::Note)
                    .command("sysctl -w vm.overcommit_memory=0"),
                (STRICT, ..) => finding
                    .allows("reservations fail while memory is free")
                    .state(State::Note)
                    .command("sysctl -w vm.overcommit_memory=0"),
                _ => finding.allows("receive buffers can be reserved for all shards"),
            }
        })
    }

    fn huge_pages(&self) -> Finding {
        Finding::of("memory.huge_pages", "transparent huge pages", &self.huge_pages, |chosen, finding| {
            let finding = finding
                .value(chosen.clone())
                .detail("/sys/kernel/mm/transparent_hugepage/enabled; the program's allocator asks for none. echo madvise > that file lets receive buffers use them");
            match chosen.as_str() {
                "always" => finding
                    .allows("other allocators grow in steps of 2 MiB")
                    .state(State::Note)
                    .command("echo madvise > /sys/kernel/mm/transparent_hugepage/enabled"),
                "never" => finding.allows("receive buffers cannot use them"),
                _ => finding.allows("receive buffers can use them"),
            }
        })
    }
}

/// How many connections fit in this memory.
pub(crate) fn connections_in(bytes: u64, goal: &Goal) -> u64 {
    bytes / 100 * MEMORY_SHARE / goal.bytes_per_connection()
}

/// The memory that the connections of the goal need, in whole MiB.
pub(crate) fn bytes_for(goal: &Goal) -> u64 {
    let bytes =
        goal.connections().saturating_mul(goal.bytes_per_connection()).div_ceil(MEMORY_SHARE).saturating_mul(100);
    bytes.checked_next_multiple_of(1 << 20).unwrap_or(bytes)
}

/// The finding with what to do, if the memory holds fewer connections than the target.
pub(crate) fn lacking_memory(finding: Finding, holds: u64, goal: &Goal) -> Finding {
    let Some(target) = goal.target.filter(|target| holds < *target) else { return finding };
    let machines = target.div_ceil(holds.max(1));
    finding.needed(bytes(bytes_for(goal))).state(State::Short).command(format!(
        "it takes {} of memory, or {} machines like this one",
        bytes(bytes_for(goal)),
        grouped(machines)
    ))
}

/// A line of `/proc/meminfo` in bytes: `MemTotal:       16384256 kB`.
fn kibibytes(meminfo: &Read<String>, key: &str) -> Read<u64> {
    let meminfo = meminfo.as_ref().map_err(Clone::clone)?;
    let value = field(meminfo, key).ok_or_else(|| format!("/proc/meminfo has no line {key}"))?;
    let number = value.strip_suffix("kB").and_then(|number| number.trim().parse::<u64>().ok()?.checked_mul(1024));
    number.ok_or_else(|| format!("/proc/meminfo has no number of kB in {key}"))
}
