//! The memory available to this process, and the default of
//! [`Limits::max_memory`](crate::Limits::max_memory).

use super::cgroup::Cgroups;
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
    Cgroups::read().and_then(|cgroups| cgroups.memory_limit()).map_or(machine, |limit| limit.min(machine))
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    #[test]
    fn mem_total_is_read_in_kilobytes() {
        let meminfo = "MemTotal:       16384256 kB\nMemFree:          123456 kB\nMemAvailable:    8000000 kB\n";
        assert_eq!(total(meminfo), Some(16_384_256 * 1024));
        for nonsense in ["", "MemTotal:", "MemTotal: kB", "MemTotal: 5", "MemTotal: -5 kB", "MemFree: 5 kB"] {
            assert_eq!(total(nonsense), None, "{nonsense:?}");
        }
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
