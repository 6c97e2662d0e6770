//! The files of `--fix`: what raises the limits that are too low, and nothing else.

use crate::doctor::arguments::Fix;
use crate::doctor::finding::{Finding, Group, Raise, grouped};
use crate::doctor::goal::Goal;
use std::collections::BTreeMap;

/// The path of the file of sysctl.d.
const SYSCTL_FILE: &str = "/etc/sysctl.d/90-ringway.conf";

/// The path of the drop-in.
const UNIT_FILE: &str = "/etc/systemd/system/ringway.service.d/limits.conf";

/// The values to write, with the finding of each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fixes<'g> {
    pub(crate) sysctls: BTreeMap<&'static str, (&'g str, &'g Finding)>,
    pub(crate) directives: BTreeMap<&'static str, (&'g str, &'g Finding)>,
}

impl<'g> Fixes<'g> {
    pub(crate) fn of(groups: &'g [Group]) -> Self {
        let mut fixes = Self::default();
        for finding in groups.iter().flat_map(|group| &group.findings) {
            for raise in &finding.raises {
                match raise {
                    Raise::Sysctl { key, value } => fixes.sysctls.insert(key, (value, finding)),
                    Raise::Unit { directive, value } => fixes.directives.insert(directive, (value, finding)),
                };
            }
        }
        fixes
    }

    /// The text of the files.
    pub(crate) fn print(&self, which: Fix, goal: &Goal) -> String {
        match which {
            Fix::Sysctl => self.sysctl(goal),
            Fix::Systemd => self.unit(goal),
            Fix::All => format!("{}\n{}", self.sysctl(goal), self.unit(goal)),
        }
    }

    fn sysctl(&self, goal: &Goal) -> String {
        let mut text = format!("# {SYSCTL_FILE}\n# {}; `sysctl --system` applies it.\n", purpose(goal));
        if self.sysctls.is_empty() {
            text += "# No sysctl has to be raised.\n";
        }
        for (key, (value, finding)) in &self.sysctls {
            text += &format!("\n# now {}\n{key} = {value}\n", finding.value);
        }
        text
    }

    fn unit(&self, goal: &Goal) -> String {
        let mut text = format!(
            "# {UNIT_FILE}\n# {}; a restart after `systemctl daemon-reload` applies it.\n\n[Service]\n",
            purpose(goal)
        );
        if self.directives.is_empty() {
            text += "# No limit of this process has to be raised.\n";
        }
        for (directive, (value, finding)) in &self.directives {
            text += &format!("# now {}\n{directive}={value}\n", finding.value);
        }
        text
    }
}

/// What the values are for.
fn purpose(goal: &Goal) -> String {
    let connections = grouped(goal.connections());
    match goal.target {
        Some(_) => format!("For {connections} connections, role {}", goal.role.name()),
        None => {
            format!("For {connections} connections, which the memory of this machine holds, role {}", goal.role.name())
        }
    }
}
