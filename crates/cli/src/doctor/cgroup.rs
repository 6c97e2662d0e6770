//! The limits of the cgroups of this process, and its cores: what a container may use.

use super::finding::{Finding, Group, State, bytes, counted, grouped};
use super::goal::Goal;
use super::memory::{bytes_for, connections_in};
use super::process::ProcessFacts;
use super::system::{Read, System};
use ringway::cgroup::{Cgroups, Version};
use ringway::placement::CoreList;

/// Limits of memory from here on are those of version 1 for no limit.
const UNLIMITED: u64 = 1 << 60;

/// Tasks of a process besides its shards: the main thread, those of signals and of the operators'
/// listener, and helpers.
const SPARE_TASKS: u64 = 16;

#[derive(Clone, Debug)]
pub(crate) struct CgroupFacts {
    /// The path of the cgroup, and the version of its hierarchy.
    own: Read<(&'static str, String)>,
    memory: Read<Option<u64>>,
    quota: Read<Option<f64>>,
    tasks: Read<Option<u64>>,
    cores: Read<CoreList>,
    online: Read<CoreList>,
}

impl CgroupFacts {
    pub(crate) fn read(system: &System, process: &ProcessFacts) -> Self {
        let texts = system.text("/proc/self/cgroup").and_then(|own| Ok((own, system.text("/proc/self/mountinfo")?)));
        let read = |path: &std::path::Path| system.text(path).ok();
        let cgroups = texts.as_ref().map(|(own, mounts)| Cgroups::new(own, mounts, &read)).map_err(Clone::clone);
        let online = system
            .line("/sys/devices/system/cpu/online")
            .and_then(|text| text.parse().map_err(|error| format!("/sys/devices/system/cpu/online: {error}")));
        Self {
            own: texts.as_ref().map_err(Clone::clone).and_then(|(own, _)| own_path(own)),
            memory: limit(&cgroups, "memory", |cgroups| cgroups.memory_limit().filter(|limit| *limit < UNLIMITED)),
            quota: limit(&cgroups, "cpu", |cgroups| cgroups.cpu_quota()),
            tasks: limit(&cgroups, "pids", |cgroups| cgroups.task_limit()),
            cores: process.cores.clone(),
            online,
        }
    }

    /// The CPU quota in cores.
    pub(crate) fn quota(&self) -> Option<f64> {
        self.quota.as_ref().ok().copied().flatten()
    }

    /// The limit of memory in bytes.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.memory.as_ref().ok().copied().flatten()
    }

    pub(crate) fn check(&self, goal: &Goal) -> Group {
        let findings = vec![self.own(), self.memory_limit(goal), self.cpu_quota(goal), self.cpuset(), self.tasks(goal)];
        Group { name: "container limits", findings }
    }

    fn own(&self) -> Finding {
        Finding::of("cgroup.own", "cgroup", &self.own, |(version, path), finding| {
            finding
                .value(path.clone())
                .allows(*version)
                .detail("/proc/self/cgroup; limits of all cgroups above it apply too")
        })
    }

    fn memory_limit(&self, goal: &Goal) -> Finding {
        Finding::of("cgroup.memory", "memory limit", &self.memory, |limit, finding| {
            let finding =
                finding.detail("memory.max, in version 1 memory.limit_in_bytes; the kernel's memory of sockets counts. MemoryMax=N in a unit, or --memory N of docker run, raises it");
            let Some(limit) = *limit else { return finding.value("none").allows("all memory of the machine") };
            let holds = connections_in(limit, goal);
            let finding = finding
                .value(bytes(limit))
                .allows(counted(holds, "idle connection", "idle connections"))
                .connections(holds);
            if holds >= goal.connections() {
                return finding;
            }
            let needed = bytes_for(goal);
            finding
                .needed(bytes(needed))
                .state(goal.lacking())
                .unit("MemoryMax", needed.to_string())
                .command(format!("--memory {needed}   # of docker run"))
        })
    }

    fn cpu_quota(&self, goal: &Goal) -> Finding {
        Finding::of("cgroup.cpu", "CPU quota", &self.quota, |quota, finding| {
            let finding = finding.detail("cpu.max, in version 1 cpu.cfs_quota_us and cpu.cfs_period_us; CPUQuota=P% in a unit, or --cpus N of docker run, raises it");
            let Some(quota) = *quota else { return finding.value("none").allows("all the time of its cores") };
            let finding = finding.value(format!("{quota:.2} CPUs"));
            match &self.cores {
                Ok(cores) if quota < cores.as_slice().len() as f64 => finding
                    .allows(format!(
                        "{}, not pinned, that stop when it is used up",
                        counted(goal.shards, "shard", "shards")
                    ))
                    .state(State::Note)
                    .command("--cpuset-cpus instead of --cpus   # of docker run: shards are pinned to whole cores"),
                _ => finding.allows("as many CPUs as there are cores, or more"),
            }
        })
    }

    fn cpuset(&self) -> Finding {
        Finding::of("cgroup.cpuset", "cores of this process", &self.cores, |cores, finding| {
            let finding = finding.value(cores.to_string()).detail("Cpus_allowed_list: affinity mask and cpuset; taskset, AllowedCPUs= in a unit, or --cpuset-cpus of docker run, sets them");
            let own = cores.as_slice().len() as u64;
            match &self.online {
                Ok(online) if (online.as_slice().len() as u64) > own => finding.allows(format!(
                    "{} of the {} that are online",
                    counted(own, "core", "cores"),
                    grouped(online.as_slice().len() as u64)
                )),
                Ok(_) => finding.allows(format!("all that are online: {}", counted(own, "core", "cores"))),
                Err(why) => {
                    finding.allows(format!("{}; those online are unknown: {why}", counted(own, "core", "cores")))
                }
            }
        })
    }

    fn tasks(&self, goal: &Goal) -> Finding {
        Finding::of("cgroup.tasks", "task limit", &self.tasks, |limit, finding| {
            let needed = goal.threads().saturating_add(SPARE_TASKS * goal.role.ends());
            let finding = finding.detail(
                "pids.max: processes and threads; TasksMax=N in a unit, or --pids-limit N of docker run, raises it",
            );
            let Some(limit) = *limit else { return finding.value("none").allows("any number of threads") };
            let threads = counted(goal.threads(), "shard", "shards");
            let finding = finding.value(grouped(limit));
            if limit >= needed {
                return finding.allows(format!("enough for the threads of {threads}"));
            }
            finding
                .allows(format!("too few for the threads of {threads}"))
                .needed(grouped(needed))
                .state(State::Short)
                .unit("TasksMax", needed.to_string())
        })
    }
}

/// A limit of a controller. If there is none, the directory of the cgroup has to be readable: every
/// cgroup has the file of its processes.
fn limit<T>(
    cgroups: &Read<Cgroups<'_>>,
    controller: &str,
    value: impl FnOnce(&Cgroups<'_>) -> Option<T>,
) -> Read<Option<T>> {
    let cgroups = cgroups.as_ref().map_err(Clone::clone)?;
    let value = value(cgroups);
    if value.is_none() && cgroups.limits(controller, |_, file| file("cgroup.procs")).is_empty() {
        return Err(format!("no directory of the cgroup's {controller} controller can be read"));
    }
    Ok(value)
}

/// The path of the own cgroup, of version 1 that of the memory controller, and the version.
fn own_path(cgroups: &str) -> Read<(&'static str, String)> {
    let find = |version: Version| {
        cgroups.lines().find_map(|line| {
            let mut fields = line.splitn(3, ':');
            let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
            let is_own = match version {
                Version::V1 => controllers.split(',').any(|name| name == "memory"),
                _ => controllers.is_empty(),
            };
            is_own.then(|| path.to_owned())
        })
    };
    match (find(Version::V1), find(Version::V2)) {
        (Some(path), _) => Ok(("of version 1", path)),
        (None, Some(path)) => Ok(("of version 2", path)),
        (None, None) => Err("/proc/self/cgroup names no cgroup".to_owned()),
    }
}
