//! io_uring: whether it works, with which features, and what refuses it.

use super::finding::{Finding, Group, State, bytes, counted, grouped};
use super::goal::Goal;
use super::kernel::KernelFacts;
use super::native::{Native, RingRefusal, RingSupport};
use super::process::ProcessFacts;
use super::system::{Read, System};
use ringway_io::uring::LikelyCause;

#[derive(Clone, Debug)]
pub(crate) struct RingFacts {
    support: Result<RingSupport, RingRefusal>,
    disabled: Read<u64>,
    group: Read<String>,
    seccomp: Read<u64>,
    epoll_watches: Read<u64>,
    locked: LockedFacts,
}

/// What matters for the limit of locked memory.
#[derive(Clone, Debug)]
struct LockedFacts {
    /// The soft limit; `None` is unlimited.
    limit: Read<Option<u64>>,
    may_lock_all: bool,
    /// Whether the kernel counts the memory of rings; `None` if it is unknown.
    is_counted: Option<bool>,
    per_shard: u64,
    by_probe: u64,
}

impl RingFacts {
    pub(crate) fn read(system: &System, native: &Native, kernel: &KernelFacts, process: &ProcessFacts) -> Self {
        let disabled = match kernel.is_since((6, 6)) {
            // There is no such sysctl, and io_uring is not disabled.
            Some(false) if !system.has("/proc/sys/kernel/io_uring_disabled") => Ok(0),
            _ => system.sysctl("kernel.io_uring_disabled"),
        };
        let is_old = kernel.is_since((5, 12)).map(|is_newer| !is_newer);
        let is_new = kernel.is_since((6, 14));
        Self {
            support: native.ring.clone(),
            disabled,
            group: system.line("/proc/sys/kernel/io_uring_group"),
            seccomp: process.seccomp.clone(),
            epoll_watches: system.sysctl("fs.epoll.max_user_watches"),
            locked: LockedFacts {
                limit: process.locked_memory.clone().map(|limit| limit.soft),
                may_lock_all: process.may_lock_all(),
                is_counted: is_old.zip(is_new).map(|(old, new)| old || new),
                per_shard: native.locked_per_shard,
                by_probe: native.locked_by_probe,
            },
        }
    }

    /// Whether connections are served by io_uring.
    pub(crate) fn is_available(&self) -> bool {
        self.support.is_ok()
    }

    pub(crate) fn check(&self, goal: &Goal) -> Group {
        let mut findings = vec![self.support(), self.sysctl(), self.seccomp(), self.locked.check(goal)];
        if !self.is_available() {
            findings.push(self.epoll_watches(goal));
        }
        Group { name: "io_uring", findings }
    }

    fn support(&self) -> Finding {
        let finding = Finding::good("ring.support", "support", "");
        let support = match &self.support {
            Ok(support) => support,
            Err(refusal) => {
                let (value, command) = remedy(refusal.cause);
                return finding
                    .value(value)
                    .allows(match refusal.cause {
                        LikelyCause::Unknown => refusal.text.as_str(),
                        _ => "epoll instead, with more CPU time per message",
                    })
                    .state(State::Short)
                    .command(command)
                    .detail(refusal.text.clone());
            }
        };
        let is_full = support.missing.is_empty() && support.is_restricted;
        let finding = finding.detail(format!("a ring was set up and has received from a socket: {}", support.features));
        if is_full {
            return finding.value("works").allows("--driver auto uses it, with every feature");
        }
        let mut missing = support.missing.join(", ");
        if !support.is_restricted {
            missing += if missing.is_empty() { "restrictions" } else { ", restrictions" };
        }
        finding
            .value(format!("works without {missing}"))
            .allows("this kernel does not know these")
            .state(State::Note)
            .command("boot a kernel of version 6.1 or newer")
    }

    fn sysctl(&self) -> Finding {
        Finding::of("ring.sysctl", "io_uring_disabled", &self.disabled, |disabled, finding| {
            let finding = finding
                .value(disabled.to_string())
                .detail("0: all may use io_uring; 1: the group of kernel.io_uring_group and CAP_SYS_ADMIN; 2: nobody");
            match disabled {
                0 => finding.allows("any process may use io_uring"),
                1 if self.is_available() => finding.allows(format!(
                    "this process may use io_uring; others need group {} or CAP_SYS_ADMIN",
                    self.group.as_deref().unwrap_or("(unknown)")
                )),
                1 => finding
                    .allows(match self.group.as_deref() {
                        Ok("-1") => "processes with CAP_SYS_ADMIN may use io_uring, and this one has it not".to_owned(),
                        Ok(group) => format!("group {group} may use io_uring, and this process is not in it"),
                        Err(why) => format!("a group may use io_uring: {why}"),
                    })
                    .state(State::Short)
                    .sysctl("kernel.io_uring_disabled", "0"),
                _ => finding
                    .allows("no process may use io_uring")
                    .state(State::Short)
                    .sysctl("kernel.io_uring_disabled", "0"),
            }
        })
    }

    fn seccomp(&self) -> Finding {
        Finding::of("ring.seccomp", "system call filter", &self.seccomp, |mode, finding| {
            let is_cause = matches!(&self.support, Err(refusal) if refusal.cause == LikelyCause::Seccomp);
            let finding = finding.detail("Seccomp of /proc/self/status: 0 none, 1 strict, 2 filter");
            match mode {
                0 => finding.value("none").allows("all system calls"),
                _ if is_cause => finding
                    .value("a seccomp filter")
                    .allows("refuses io_uring, as the default profile of container engines does")
                    .state(State::Short)
                    .command("--security-opt seccomp=deploy/container/seccomp.json   # of docker run"),
                _ if self.is_available() => finding.value("a seccomp filter").allows("allows io_uring"),
                _ => finding.value("a seccomp filter").allows("is not the cause of the refusal"),
            }
        })
    }

    fn epoll_watches(&self, goal: &Goal) -> Finding {
        Finding::of("ring.epoll_watches", "fs.epoll.max_user_watches", &self.epoll_watches, |max, finding| {
            let needed = goal.connections().saturating_mul(goal.role.ends());
            let finding = finding
                .value(grouped(*max))
                .allows(format!("{} on epoll", counted(*max, "connection of one user", "connections of one user")))
                .connections(*max / goal.role.ends())
                .detail("sockets in epoll sets, of all processes of a user; sysctl -w fs.epoll.max_user_watches=N raises it");
            if *max >= needed {
                return finding;
            }
            finding
                .needed(grouped(needed))
                .state(goal.lacking())
                .sysctl("fs.epoll.max_user_watches", needed.to_string())
        })
    }
}

impl LockedFacts {
    fn check(&self, goal: &Goal) -> Finding {
        Finding::of("ring.locked_memory", "locked memory", &self.limit, |limit, finding| {
            let shards = goal.threads().max(1);
            let needed = self.per_shard.saturating_mul(shards).saturating_add(self.by_probe);
            let rings = counted(shards, "ring", "rings");
            let finding = finding
                .detail(format!(
                    "ulimit -l; a shard locks {} for its queues and its buffer ring, counted for all processes of a user, \
                     by kernels before 5.12 and since 6.14, without CAP_IPC_LOCK; LimitMEMLOCK=N in the unit of a service raises it",
                    bytes(self.per_shard)
                ))
                .needed(bytes(needed))
                .value(limit.map_or("unlimited".to_owned(), bytes));
            match *limit {
                _ if self.may_lock_all => finding.allows("no limit with CAP_IPC_LOCK, as here"),
                Some(limit) if limit < needed && self.is_counted == Some(false) => {
                    finding.allows("this kernel does not count rings")
                }
                Some(limit) if limit < needed => finding
                    .allows(format!("{rings} need {}", bytes(needed)))
                    .state(State::Short)
                    .unit("LimitMEMLOCK", needed.to_string())
                    .command(format!("ulimit -l {}   # as root, in a shell", needed.div_ceil(1024))),
                _ => finding.allows(format!("{rings} need {}", bytes(needed))),
            }
        })
    }
}

/// What refuses io_uring, and what to do.
fn remedy(cause: LikelyCause) -> (String, String) {
    match cause {
        LikelyCause::Sysctl(value) => (
            format!("refused by sysctl kernel.io_uring_disabled = {value}"),
            "sysctl -w kernel.io_uring_disabled=0".to_owned(),
        ),
        LikelyCause::Seccomp => (
            "refused by a seccomp filter".to_owned(),
            "allow io_uring_setup, io_uring_enter and io_uring_register in the filter".to_owned(),
        ),
        LikelyCause::Kernel(major, minor) => {
            (format!("Linux {major}.{minor} is too old"), "boot a kernel of version 6.1 or newer".to_owned())
        }
        LikelyCause::LockedMemory => (
            "refused: too little memory may be locked".to_owned(),
            "raise the limit of locked memory, see there".to_owned(),
        ),
        LikelyCause::OpenFiles => {
            ("not tried: no descriptor is free".to_owned(), "raise the limit of open files".to_owned())
        }
        _ => (
            "refused for an unknown reason".to_owned(),
            "look for CONFIG_IO_URING=y in the configuration of the kernel".to_owned(),
        ),
    }
}
