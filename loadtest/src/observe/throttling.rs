//! The time for which a cgroup was stopped because its CPU quota was used up (`cpu.stat`).

use procfs::process::{MountInfo, Process};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// The throttling of a cgroup since it was created.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Throttled {
    /// The time, summed over cores.
    pub(crate) time: Duration,
    /// The number of quota periods in which it happened.
    pub(crate) periods: u64,
}

impl Throttled {
    /// The throttling since `begin`.
    pub(crate) fn since(&self, begin: &Self) -> Self {
        Self { time: self.time.saturating_sub(begin.time), periods: self.periods.saturating_sub(begin.periods) }
    }
}

/// Reads the throttling of a process by its own cgroup or one above it, whichever is larger.
/// Cgroups above the root of this container are not visible. `None` if no `cpu.stat` can be read.
pub(crate) fn read(process: &Process) -> Option<Throttled> {
    let cgroups: Vec<(Vec<String>, String)> =
        process.cgroups().ok()?.into_iter().map(|cgroup| (cgroup.controllers, cgroup.pathname)).collect();
    let mounts: Vec<Mount> = Process::myself().ok()?.mountinfo().ok()?.into_iter().filter_map(Mount::new).collect();
    let stats = directories(&cgroups, &mounts).into_iter();
    stats.filter_map(|directory| Some(parse(&fs::read_to_string(directory.join("cpu.stat")).ok()?))).max()
}

/// The figures of a `cpu.stat`. A cgroup without the CPU controller has none and cannot be
/// throttled; version 1 counts in nanoseconds, version 2 in microseconds.
fn parse(stat: &str) -> Throttled {
    let mut throttled = Throttled::default();
    for (key, value) in stat.lines().filter_map(|line| line.split_once(' ')) {
        let Ok(value) = value.trim().parse() else { continue };
        match key {
            "nr_throttled" => throttled.periods = value,
            "throttled_time" => throttled.time = Duration::from_nanos(value),
            "throttled_usec" => throttled.time = Duration::from_micros(value),
            _ => {}
        }
    }
    throttled
}

/// A mount of a cgroup hierarchy that can have the CPU controller.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    unified: bool,
    root: String,
    point: PathBuf,
}

impl Mount {
    fn new(mount: MountInfo) -> Option<Self> {
        let unified = mount.fs_type == "cgroup2";
        let ours = unified || (mount.fs_type == "cgroup" && mount.super_options.contains_key("cpu"));
        ours.then_some(Self { unified, root: mount.root, point: mount.mount_point })
    }
}

/// The directories of a process's cgroups that can have the CPU controller, and of all above them.
/// Machines can have both versions mounted, with the controller in either.
fn directories(cgroups: &[(Vec<String>, String)], mounts: &[Mount]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for (controllers, own) in cgroups {
        let unified = controllers.iter().all(String::is_empty);
        if !unified && !controllers.iter().any(|name| name == "cpu") {
            continue;
        }
        for mount in mounts.iter().filter(|mount| mount.unified == unified) {
            // A cgroup outside of the mounted part is below a directory that is not visible.
            let Ok(inside) = Path::new(own).strip_prefix(&mount.root) else { continue };
            if inside.components().any(|part| part == Component::ParentDir) {
                continue;
            }
            found.extend(inside.ancestors().map(|directory| mount.point.join(directory)));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_versions_are_read() {
        let v1 = "nr_periods 90\nnr_throttled 7\nthrottled_time 1500000000\n";
        let v2 = "usage_usec 9\nuser_usec 5\nsystem_usec 4\nnr_periods 90\nnr_throttled 7\nthrottled_usec 1500000\nnr_bursts 0\n";
        let expected = Throttled { time: Duration::from_millis(1500), periods: 7 };
        assert_eq!((parse(v1), parse(v2)), (expected, expected));
        assert_eq!(parse("usage_usec 9\n"), Throttled::default());
        let begin = Throttled { time: Duration::from_secs(1), periods: 5 };
        assert_eq!(expected.since(&begin), Throttled { time: Duration::from_millis(500), periods: 2 });
    }

    #[test]
    fn the_cgroup_and_all_above_it_are_read() {
        let mount = |unified, root: &str, point: &str| Mount { unified, root: root.into(), point: point.into() };
        let cgroup = |controllers: &str, path: &str| (controllers.split(',').map(str::to_owned).collect(), path.into());
        let found = |cgroups: &[(Vec<String>, String)], mounts: &[Mount]| {
            directories(cgroups, mounts).iter().map(|path| path.display().to_string()).collect::<Vec<_>>()
        };
        let v2 = [mount(true, "/", "/sys/fs/cgroup")];
        assert_eq!(found(&[cgroup("", "/a/b")], &v2), ["/sys/fs/cgroup/a/b", "/sys/fs/cgroup/a", "/sys/fs/cgroup/"]);
        assert_eq!(found(&[cgroup("", "/../b")], &v2), [""; 0]);
        let v1 = [mount(false, "/docker/x", "/sys/fs/cgroup/cpu"), mount(true, "/", "/sys/fs/cgroup/unified")];
        let both = [cgroup("memory", "/m"), cgroup("cpu,cpuacct", "/docker/x"), cgroup("", "/")];
        assert_eq!(found(&both, &v1), ["/sys/fs/cgroup/cpu/", "/sys/fs/cgroup/unified/"]);
        assert_eq!(found(&[cgroup("cpu", "/elsewhere")], &v1), [""; 0]);
    }

    #[test]
    fn this_process_can_be_read_where_cgroups_are_mounted() {
        let me = Process::myself().expect("we run");
        let mounted = me.mountinfo().expect("ours").into_iter().any(|mount| Mount::new(mount).is_some());
        if !mounted {
            return eprintln!("NOT TESTED: no cgroup file system with the CPU controller is mounted");
        }
        assert!(read(&me).is_some());
    }
}
