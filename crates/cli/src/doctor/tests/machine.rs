//! Machines made of files below a directory of the test.

use crate::doctor::facts::Facts;
use crate::doctor::finding::{Finding, Group};
use crate::doctor::goal::{Goal, MachineRole};
use crate::doctor::native::{Native, RingRefusal, RingSupport};
use crate::doctor::system::System;
use ringway_io::uring::LikelyCause;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

/// A machine.
#[derive(Clone)]
pub(super) struct Machine {
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) native: Native,
}

/// The files of a server with 4 cores and 16 GiB, without a container.
const SERVER: &[(&str, &str)] = &[
    ("/proc/sys/kernel/osrelease", "6.8.0-45-generic\n"),
    ("/proc/sys/net/ipv4/tcp_available_ulp", "espintcp mptcp tls\n"),
    ("/proc/self/timerslack_ns", "50000\n"),
    ("/proc/sys/kernel/io_uring_disabled", "0\n"),
    ("/proc/sys/kernel/io_uring_group", "-1\n"),
    (
        "/proc/self/status",
        "Name:\tringway\nCapEff:\t0000000000000000\nSeccomp:\t0\nCpus_allowed:\tf\nCpus_allowed_list:\t0-3\n",
    ),
    (
        "/proc/self/limits",
        "Limit                     Soft Limit           Hard Limit           Units     \n\
         Max cpu time              unlimited            unlimited            seconds   \n\
         Max open files            1024                 524288               files     \n\
         Max locked memory         8388608              8388608              bytes     \n",
    ),
    ("/proc/sys/fs/nr_open", "1048576\n"),
    ("/proc/sys/fs/file-max", "9223372036854775807\n"),
    ("/proc/sys/fs/file-nr", "2112\t0\t9223372036854775807\n"),
    ("/proc/sys/fs/epoll/max_user_watches", "3600000\n"),
    (
        "/proc/meminfo",
        "MemTotal:       16384256 kB\nMemFree:        12000000 kB\nMemAvailable:   14000000 kB\n\
         SwapTotal:             0 kB\nSwapFree:              0 kB\nCommitLimit:     8192128 kB\nCommitted_AS:    1000000 kB\n",
    ),
    ("/proc/sys/vm/overcommit_memory", "0\n"),
    ("/sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n"),
    ("/proc/self/cgroup", "0::/system.slice/ringway.service\n"),
    ("/proc/self/mountinfo", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"),
    ("/sys/fs/cgroup/system.slice/ringway.service/cgroup.procs", "1\n"),
    ("/sys/fs/cgroup/system.slice/ringway.service/memory.max", "max\n"),
    ("/sys/fs/cgroup/system.slice/ringway.service/cpu.max", "max 100000\n"),
    ("/sys/fs/cgroup/system.slice/ringway.service/pids.max", "18894\n"),
    ("/sys/devices/system/cpu/online", "0-3\n"),
    ("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n"),
    ("/proc/sys/net/ipv4/ip_local_reserved_ports", "\n"),
    ("/proc/sys/net/ipv4/tcp_tw_reuse", "2\n"),
    ("/proc/sys/net/core/somaxconn", "4096\n"),
    ("/proc/sys/net/ipv4/tcp_max_syn_backlog", "1024\n"),
    ("/proc/sys/net/ipv4/tcp_syncookies", "1\n"),
    ("/proc/sys/net/core/netdev_max_backlog", "1000\n"),
    ("/proc/net/softnet_stat", "0058e771 00000000 00000001\n003c6ff0 00000000 00000001\n"),
    ("/proc/sys/net/ipv4/tcp_migrate_req", "0\n"),
    ("/proc/sys/net/ipv4/tcp_mem", "188553\t251406\t377106\n"),
    ("/proc/sys/net/ipv4/tcp_rmem", "4096\t131072\t6291456\n"),
    ("/proc/sys/net/ipv4/tcp_wmem", "4096\t16384\t4194304\n"),
    ("/proc/sys/net/netfilter/nf_conntrack_max", "262144\n"),
    ("/proc/sys/net/netfilter/nf_conntrack_count", "88\n"),
    ("/proc/cpuinfo", "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nflags\t\t: fpu sse2 avx2 avx512f\n"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor", "performance\n"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_driver", "intel_pstate\n"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "2100000\n"),
    ("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq", "3500000\n"),
    ("/sys/devices/system/cpu/intel_pstate/no_turbo", "0\n"),
    ("/sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc\n"),
    ("/sys/class/dmi/id/sys_vendor", "Some Vendor\n"),
    ("/proc/stat", "cpu  100 0 50 850 0 0 0 0 0 0\ncpu0 100 0 50 850 0 0 0 0 0 0\n"),
    ("/sys/devices/system/node/online", "0\n"),
    ("/sys/class/net/lo/operstate", "unknown\n"),
    ("/sys/class/net/eth0/device/vendor", "0x8086\n"),
    ("/sys/class/net/eth0/operstate", "up\n"),
    ("/sys/class/net/eth0/speed", "10000\n"),
    ("/sys/class/net/eth0/napi_defer_hard_irqs", "0\n"),
    ("/sys/class/net/eth0/queues/rx-0/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/queues/rx-1/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/queues/rx-2/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/queues/rx-3/rps_cpus", "0\n"),
    ("/sys/class/net/eth0/device/msi_irqs/40", "msix\n"),
    ("/sys/class/net/eth0/device/msi_irqs/41", "msix\n"),
    ("/proc/irq/40/effective_affinity_list", "0\n"),
    ("/proc/irq/41/effective_affinity_list", "1\n"),
    ("/proc/sys/net/core/rps_sock_flow_entries", "0\n"),
    ("/proc/sys/net/core/busy_read", "0\n"),
    ("/proc/sys/net/core/busy_poll", "0\n"),
];

impl Machine {
    /// The server of [`SERVER`], on which io_uring works.
    pub(super) fn server() -> Self {
        let ring = RingSupport { features: "all".to_owned(), missing: Vec::new(), is_restricted: true };
        let native = Native {
            ring: Ok(ring),
            simd: "avx2",
            simd_width: 32,
            page_size: 4096,
            locked_per_shard: 35 * 4096,
            locked_by_probe: 3 * 4096,
        };
        let files = SERVER.iter().map(|(path, content)| ((*path).to_owned(), content.as_bytes().to_vec()));
        Self { files: files.collect(), native }
    }

    pub(super) fn with(mut self, path: &str, content: &str) -> Self {
        self.files.insert(path.to_owned(), content.as_bytes().to_vec());
        self
    }

    /// Without the file, or all files below a directory.
    pub(super) fn without(mut self, path: &str) -> Self {
        let before = self.files.len();
        self.files.retain(|name, _| name != path && !name.starts_with(&format!("{path}/")));
        assert!(self.files.len() < before, "{path} is not there");
        self
    }

    /// With a text in a file replaced by another.
    pub(super) fn replaced(mut self, path: &str, from: &str, to: &str) -> Self {
        let content = self.files.get_mut(path).unwrap_or_else(|| panic!("{path} is not there"));
        let text = String::from_utf8(content.clone()).expect("the file is text");
        assert!(text.contains(from), "{path} has no {from}");
        *content = text.replace(from, to).into_bytes();
        self
    }

    pub(super) fn refused(mut self, cause: LikelyCause) -> Self {
        self.native.ring = Err(RingRefusal { text: "io_uring is unavailable".to_owned(), cause });
        self
    }

    pub(super) fn facts(&self) -> Facts {
        let root = Root::new();
        for (path, content) in &self.files {
            let path = root.0.join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().expect("a file is in a directory")).expect("a directory");
            fs::write(path, content).expect("a file");
        }
        Facts::read(&System::below(&root.0), &self.native)
    }

    /// The findings for a target.
    pub(super) fn check(&self, target: Option<u64>, role: MachineRole, addresses: u64) -> (Goal, Vec<Group>) {
        let facts = self.facts();
        let goal = facts.goal_of(target, role, addresses);
        let groups = facts.check(&goal);
        (goal, groups)
    }

    /// The finding of one check, without a target.
    pub(super) fn finding(&self, id: &str) -> Finding {
        find(&self.check(None, MachineRole::Server, 1).1, id).clone()
    }

    /// The finding of one check of a server with this target.
    pub(super) fn finding_for(&self, target: u64, id: &str) -> Finding {
        find(&self.check(Some(target), MachineRole::Server, 1).1, id).clone()
    }
}

/// The finding with this name.
pub(super) fn find<'g>(groups: &'g [Group], id: &str) -> &'g Finding {
    let mut findings = groups.iter().flat_map(|group| &group.findings);
    findings.find(|finding| finding.id == id).unwrap_or_else(|| panic!("no finding {id}"))
}

/// A directory that is removed when it is dropped.
struct Root(PathBuf);

impl Root {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("ringway-doctor-{}-{number}", std::process::id()));
        fs::create_dir(&path).expect("a directory for the test");
        Self(path)
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).expect("it is there");
    }
}
