//! The memory available to this process, and the default of
//! [`Limits::max_memory`](crate::Limits::max_memory).

use super::cgroup::{Cgroups, Version};
use crate::config::MIN_MEMORY;
use std::fs;

/// The default budget of one of `shards` shards: half of the memory available to this process,
/// divided by the number of shards.
pub(super) fn default_budget(shards: usize) -> usize {
    budget(available(), shards)
}

fn budget(available: u64, shards: usize) -> usize {
    let bytes = available / 2 / shards.max(1) as u64;
    usize::try_from(bytes).unwrap_or(usize::MAX).max(MIN_MEMORY)
}

/// The memory available to this process in bytes: that of the machine, or the smallest limit of its
/// cgroups if that is less.
fn available() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let machine = total(&meminfo).unwrap_or_else(|| {
        // Without procfs.
        let info = rustix::system::sysinfo();
        info.totalram.saturating_mul(u64::from(info.mem_unit))
    });
    Cgroups::read().and_then(|cgroups| smallest(&cgroups)).map_or(machine, |limit| limit.min(machine))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

/// The smallest limit from the process's own cgroup up to the root. No limit is `max` in version 2,
/// which does not parse, and a number near 2⁶³ in version 1.
fn smallest(cgroups: &Cgroups<'_>) -> Option<u64> {
    let limits = cgroups.limits("memory", |version, file| {
        let name = match version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        };
        file(name)?.trim().parse::<u64>().ok()
    });
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:11 - cgroup cgroup rw,cpu,cpuacct\n\
                      33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
    const GIB: u64 = 1 << 30;

    fn limit(cgroups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<u64> {
        let read = |path: &Path| {
            let file = files.iter().find(|(name, _)| Path::new(name) == path);
            file.map(|(_, content)| format!("{content}\n"))
        };
        smallest(&Cgroups::new(cgroups, mounts, &read))
    }

    #[test]
    fn mem_total_is_read_in_kilobytes() {
        let meminfo = "MemTotal:       16384256 kB\nMemFree:          123456 kB\nMemAvailable:    8000000 kB\n";
        assert_eq!(total(meminfo), Some(16_384_256 * 1024));
        for nonsense in ["", "MemTotal:", "MemTotal: kB", "MemTotal: 5", "MemTotal: -5 kB", "MemFree: 5 kB"] {
            assert_eq!(total(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn max_means_no_limit_in_version_2() {
        let of = |content| limit("0::/web\n", V2, &[("/sys/fs/cgroup/web/memory.max", content)]);
        assert_eq!(of("max"), None);
        assert_eq!(of("536870912"), Some(512 << 20));
        for nonsense in ["", "-1", "512M"] {
            assert_eq!(of(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn version_1_limits_are_read_from_the_memory_controller() {
        let files = [
            ("/sys/fs/cgroup/memory/web/memory.limit_in_bytes", "1073741824"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712"),
            ("/sys/fs/cgroup/cpu,cpuacct/other/memory.limit_in_bytes", "5"),
        ];
        assert_eq!(limit("4:cpu,cpuacct:/other\n5:memory:/web\n", V1, &files), Some(GIB));
    }

    #[test]
    fn the_smallest_limit_up_to_the_root_applies() {
        let files = |a, b| {
            let files = [
                ("/sys/fs/cgroup/a/memory.max", a),
                ("/sys/fs/cgroup/a/b/memory.max", b),
                ("/sys/fs/cgroup/c/memory.max", "1"),
            ];
            limit("0::/a/b\n", V2, &files)
        };
        assert_eq!(files("1073741824", "2147483648"), Some(GIB));
        assert_eq!(files("2147483648", "1073741824"), Some(GIB));
        assert_eq!(files("max", "1073741824"), Some(GIB));
        assert_eq!(files("max", "max"), None);
        assert_eq!(limit("", V2, &[]), None);
    }

    #[test]
    fn the_default_budget_is_half_of_the_memory_divided_by_the_shards() {
        assert_eq!(budget(16 * GIB, 1), 8 << 30);
        assert_eq!(budget(16 * GIB, 8), 1 << 30);
        assert_eq!(budget(GIB, 3), (512 << 20) / 3);
        assert_eq!(budget(1 << 20, 64), MIN_MEMORY);
        assert!(available() >= 2 * MIN_MEMORY as u64, "this machine has memory");
    }
}
