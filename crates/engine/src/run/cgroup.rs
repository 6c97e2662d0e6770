//! The limits in the cgroups of a process: CPU quota, memory, and number of tasks.
//!
//! A limit of a cgroup applies to everything below it, so all limits from the process's own cgroup
//! up to the root apply. In a container that sees only a part of the hierarchy, only the limits in
//! that part are visible.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// The versions of the cgroup file system, which have different files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Version {
    /// One hierarchy for each controller, or for some of them together.
    V1,
    /// One hierarchy for all controllers.
    V2,
}

/// The contents of procfs and the cgroup file system that are used here.
///
/// ```
/// use ringway::cgroup::Cgroups;
///
/// if let Some(cgroups) = Cgroups::read() {
///     println!("CPUs: {:?}, bytes: {:?}", cgroups.cpu_quota(), cgroups.memory_limit());
/// }
/// ```
pub struct Cgroups<'a> {
    /// `/proc/self/cgroup`.
    cgroups: String,
    /// `/proc/self/mountinfo`.
    mounts: String,
    read: &'a dyn Fn(&Path) -> Option<String>,
}

impl Cgroups<'static> {
    /// Reads those of this process; `None` if procfs cannot be read.
    #[must_use]
    pub fn read() -> Option<Self> {
        let cgroups = fs::read_to_string("/proc/self/cgroup").ok()?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        Some(Self { cgroups, mounts, read: &|path| fs::read_to_string(path).ok() })
    }
}

impl Cgroups<'_> {
    /// Creates cgroups from the contents of `/proc/self/cgroup` and `/proc/self/mountinfo`, and a
    /// function that returns the content of another file.
    #[must_use]
    pub fn new<'a>(cgroups: &str, mounts: &str, read: &'a dyn Fn(&Path) -> Option<String>) -> Cgroups<'a> {
        Cgroups { cgroups: cgroups.to_owned(), mounts: mounts.to_owned(), read }
    }

    /// All limits that `limit` returns for the cgroups of `controller`, from the process's own
    /// cgroup up to the root. The second argument of `limit` reads a file of the cgroup. Machines
    /// can have both versions mounted, with the controller in either.
    pub fn limits<T>(
        &self,
        controller: &str,
        limit: impl Fn(Version, &dyn Fn(&str) -> Option<String>) -> Option<T>,
    ) -> Vec<T> {
        let mut limits = Vec::new();
        for version in [Version::V1, Version::V2] {
            let own = self.cgroups.lines().find_map(|line| version.path_in(line, controller));
            let Some((mount, inside)) = own.and_then(|own| self.locate(version, controller, own)) else { continue };
            for directory in inside.ancestors().map(|directory| mount.join(directory)) {
                let file = |name: &str| (self.read)(&directory.join(name));
                limits.extend(limit(version, &file));
            }
        }
        limits
    }

    /// The smallest CPU quota from the process's own cgroup up to the root, in cores: its CPU time
    /// regardless of the affinity mask. `None` if there is none.
    #[must_use]
    pub fn cpu_quota(&self) -> Option<f64> {
        let quotas = self.limits("cpu", |version, file| match version {
            Version::V1 => cores(file("cpu.cfs_quota_us")?.trim(), file("cpu.cfs_period_us")?.trim()),
            Version::V2 => {
                let text = file("cpu.max")?;
                let (quota, period) = text.trim().split_once(' ')?;
                cores(quota, period)
            }
        });
        quotas.into_iter().reduce(f64::min)
    }

    /// The smallest limit of memory from the process's own cgroup up to the root, in bytes. No
    /// limit is `None` in version 2, and a number near 2⁶³ in version 1.
    #[must_use]
    pub fn memory_limit(&self) -> Option<u64> {
        self.smallest("memory", |version| match version {
            Version::V1 => "memory.limit_in_bytes",
            Version::V2 => "memory.max",
        })
    }

    /// The smallest limit of tasks (processes and threads) from the process's own cgroup up to the
    /// root. `None` if there is none.
    #[must_use]
    pub fn task_limit(&self) -> Option<u64> {
        self.smallest("pids", |_| "pids.max")
    }

    /// The smallest number in a file. `max`, which means no limit, does not parse.
    fn smallest(&self, controller: &str, name: impl Fn(Version) -> &'static str) -> Option<u64> {
        let limits = self.limits(controller, |version, file| file(name(version))?.trim().parse::<u64>().ok());
        limits.into_iter().min()
    }

    /// The mount point of the hierarchy, and the path of the cgroup `own` relative to it. A cgroup
    /// outside of the mounted part counts as the root of the mount, which is above it.
    fn locate(&self, version: Version, controller: &str, own: &str) -> Option<(PathBuf, PathBuf)> {
        let mut outside = None;
        for line in self.mounts.lines() {
            // 41 31 0:38 /root/in/the/hierarchy /mount/point rw,… shared:7 - cgroup2 source rw,…
            let Some((place, rest)) = line.split_once(" - ") else { continue };
            let (mut place, mut rest) = (place.split(' ').skip(3), rest.split(' '));
            let (Some(root), Some(point)) = (place.next(), place.next()) else { continue };
            let (Some(kind), Some(options)) = (rest.next(), rest.nth(1)) else { continue };
            if !version.is_mounted_as(kind, options, controller) {
                continue;
            }
            let point = PathBuf::from(unescape(point));
            match Path::new(own).strip_prefix(unescape(root)) {
                Ok(inside) if !inside.components().any(|part| part == Component::ParentDir) => {
                    return Some((point, inside.into()));
                }
                _ => outside = outside.or(Some(point)),
            }
        }
        outside.map(|point| (point, PathBuf::new()))
    }
}

impl Version {
    /// The path in a line of `/proc/self/cgroup` (`4:cpu,cpuacct:/path`, `0::/path`), if the line
    /// is for `controller` in this version.
    fn path_in<'l>(self, line: &'l str, controller: &str) -> Option<&'l str> {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let ours = match self {
            Self::V1 => controllers.split(',').any(|name| name == controller),
            Self::V2 => number == "0" && controllers.is_empty(),
        };
        ours.then_some(path)
    }

    /// Whether a mount of this type with these options has `controller` in this version.
    fn is_mounted_as(self, kind: &str, options: &str, controller: &str) -> bool {
        match self {
            Self::V1 => kind == "cgroup" && options.split(',').any(|option| option == controller),
            Self::V2 => kind == "cgroup2",
        }
    }
}

/// Quota divided by period, in cores. `None` without a quota: `max` in version 2, -1 in version 1.
fn cores(quota: &str, period: &str) -> Option<f64> {
    let (quota, period): (u64, u64) = (quota.parse().ok()?, period.parse().ok()?);
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}

/// Decodes a path of mountinfo, in which spaces and backslashes are a backslash and three octal
/// digits.
fn unescape(path: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(path.to_owned(), |path, (escaped, plain)| path.replace(escaped, plain))
}

#[cfg(test)]
mod tests;
