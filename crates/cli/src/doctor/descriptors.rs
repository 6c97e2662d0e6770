//! Open files: each connection takes a descriptor on each of its ends.

use super::finding::{Finding, Group, State, counted, grouped};
use super::goal::{Goal, MachineRole};
use super::process::{Limit, ProcessFacts};
use super::system::{Read, System};

/// The kernel's value for no limit.
const UNLIMITED: u64 = i64::MAX as u64;

#[derive(Clone, Debug)]
pub(crate) struct DescriptorFacts {
    process: Read<Limit>,
    may_raise: bool,
    nr_open: Read<u64>,
    file_max: Read<u64>,
    /// The open files of the system.
    open: Read<u64>,
}

impl DescriptorFacts {
    pub(crate) fn read(system: &System, process: &ProcessFacts) -> Self {
        Self {
            process: process.open_files.clone(),
            may_raise: process.may_raise_limits(),
            nr_open: system.sysctl("fs.nr_open"),
            file_max: system.sysctl("fs.file-max"),
            open: system.numbers::<1>("/proc/sys/fs/file-nr").map(|[open]| open),
        }
    }

    pub(crate) fn check(&self, goal: &Goal) -> Group {
        let findings = vec![self.soft(), self.hard(goal), self.nr_open(goal), self.file_max(goal)];
        Group { name: "open files", findings }
    }

    /// The descriptors of one process with the connections of the goal.
    fn needed(goal: &Goal) -> u64 {
        goal.connections().saturating_add(overhead(goal))
    }

    fn soft(&self) -> Finding {
        Finding::of("descriptors.soft", "soft limit", &self.process, |limit, finding| {
            let text = match (limit.soft == limit.hard, limit.hard) {
                (true, _) => "equal to the hard limit".to_owned(),
                (false, None) => "serve and load raise it themselves, without limit".to_owned(),
                (false, Some(hard)) => format!("serve and load raise it themselves, to {}", grouped(hard)),
            };
            finding
                .value(number(limit.soft))
                .allows(text)
                .detail("ulimit -n N raises it up to the hard limit; code that uses select(2) needs 1024 or less")
        })
    }

    fn hard(&self, goal: &Goal) -> Finding {
        Finding::of("descriptors.hard", "hard limit", &self.process, |limit, finding| {
            let finding = finding.value(number(limit.hard)).detail(
                "ulimit -Hn; RLIMIT_NOFILE of this process, which a service does not inherit: LimitNOFILE= of its unit applies",
            );
            let Some(hard) = limit.hard else { return finding.allows("no limit for one process") };
            let max = hard.saturating_sub(overhead(goal));
            let needed = Self::needed(goal);
            let finding = finding.allows(format!("{} of one process", connections(max))).connections(max);
            if hard >= needed {
                return finding;
            }
            let finding = finding.needed(grouped(needed)).state(goal.lacking());
            let is_bounded = self.nr_open.as_ref().is_ok_and(|max| *max < needed);
            let finding = match is_bounded {
                true => finding.command(format!("sysctl -w fs.nr_open={needed}   # first: no limit may be above it")),
                false => finding,
            };
            let finding = finding
                .unit("LimitNOFILE", needed.to_string())
                .command(format!("--ulimit nofile={needed}:{needed}   # of docker run"));
            if self.may_raise {
                finding.command(format!("prlimit --pid $$ --nofile={needed}:{needed}   # for this shell"))
            } else {
                finding.command(format!(
                    "prlimit --pid $$ --nofile={needed}:{needed}   # for this shell, with CAP_SYS_RESOURCE"
                ))
            }
        })
    }

    fn nr_open(&self, goal: &Goal) -> Finding {
        Finding::of("descriptors.nr_open", "nr_open", &self.nr_open, |max, finding| {
            let needed = Self::needed(goal);
            let finding = finding
                .value(grouped(*max))
                .allows(format!("{} at most", connections(max.saturating_sub(overhead(goal)))))
                .connections(max.saturating_sub(overhead(goal)))
                .detail("the maximum of LimitNOFILE= and of ulimit -Hn; sysctl -w fs.nr_open=N raises it");
            if *max >= needed {
                return finding;
            }
            finding.needed(grouped(needed)).state(goal.lacking()).sysctl("fs.nr_open", needed.to_string())
        })
    }

    fn file_max(&self, goal: &Goal) -> Finding {
        Finding::of("descriptors.file_max", "file-max", &self.file_max, |max, finding| {
            let finding = finding.detail(
                "files of all processes together, except those with CAP_SYS_ADMIN; sysctl -w fs.file-max=N raises it",
            );
            if *max >= UNLIMITED {
                return finding.value("unlimited").allows("no limit for all processes together");
            }
            let open = match &self.open {
                Ok(open) => *open,
                Err(why) => {
                    return finding.value(grouped(*max)).allows(why.clone()).state(State::Unknown);
                }
            };
            let ends = goal.role.ends();
            let free = max.saturating_sub(open).saturating_sub(overhead(goal) * ends) / ends;
            let needed = Self::needed(goal).saturating_mul(ends).saturating_add(open);
            let finding = finding
                .value(grouped(*max))
                .allows(format!("{} of all processes", connections(free)))
                .connections(free);
            if *max >= needed {
                return finding;
            }
            // Whatever is opened meanwhile needs descriptors too.
            let value = needed.saturating_add(needed / 20).min(UNLIMITED);
            finding.needed(grouped(needed)).state(goal.lacking()).sysctl("fs.file-max", value.to_string())
        })
    }
}

/// The descriptors of one process besides its connections: of a server with one listener, and of a
/// load.
fn overhead(goal: &Goal) -> u64 {
    let server = crate::serve::files_needed(1, usize::try_from(goal.shards).unwrap_or(usize::MAX));
    let client = ringway_loadtest::files_needed(0);
    match goal.role {
        MachineRole::Server => server,
        MachineRole::Client => client,
        MachineRole::Both => server.max(client),
    }
}

fn connections(number: u64) -> String {
    counted(number, "connection", "connections")
}

fn number(limit: Option<u64>) -> String {
    limit.map_or("unlimited".to_owned(), grouped)
}
