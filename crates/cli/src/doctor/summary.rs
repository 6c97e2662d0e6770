//! The first sentence of the report: how many connections, and what limits them.

use super::finding::{Finding, Group, State, counted, grouped};
use super::goal::{Goal, MachineRole, rounded};

/// The counts of the states, and the first limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Summary<'g> {
    pub(crate) short: Vec<&'g Finding>,
    pub(crate) notes: usize,
    pub(crate) unknown: usize,
    pub(crate) good: usize,
    /// The lowest limit of the number of connections.
    pub(crate) first: Option<FirstLimit<'g>>,
}

/// The lowest limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FirstLimit<'g> {
    pub(crate) group: &'static str,
    pub(crate) finding: &'g Finding,
    pub(crate) connections: u64,
}

impl<'g> Summary<'g> {
    pub(crate) fn of(groups: &'g [Group]) -> Self {
        let all = || groups.iter().flat_map(|group| &group.findings);
        let count = |state: State| all().filter(|finding| finding.state == state).count();
        Self {
            short: all().filter(|finding| finding.state == State::Short).collect(),
            notes: count(State::Note),
            unknown: count(State::Unknown),
            good: count(State::Good),
            first: groups
                .iter()
                .flat_map(|group| group.findings.iter().map(move |finding| (group.name, finding)))
                .filter_map(|(group, finding)| Some(FirstLimit { group, finding, connections: finding.connections? }))
                .min_by_key(|first| first.connections),
        }
    }

    pub(crate) fn is_short(&self) -> bool {
        !self.short.is_empty()
    }

    /// The sentence.
    pub(crate) fn headline(&self, goal: &Goal) -> String {
        let verb = match goal.role {
            MachineRole::Server => "serve",
            MachineRole::Client => "open",
            MachineRole::Both => "hold both ends of",
        };
        let limit = self.first.as_ref().map(|first| {
            let max = first.connections;
            let about = if max < 1000 { grouped(max) } else { format!("about {}", grouped(rounded(max, 3))) };
            (about, format!("{}, {}", first.group, first.finding.title), &first.finding.value)
        });
        match (goal.target, limit) {
            (Some(target), _) if !self.is_short() => {
                let checked = if self.unknown == 0 { "" } else { ", as far as its limits are known" };
                format!("This machine is ready to {verb} {}{checked}.", counted(target, "connection", "connections"))
            }
            (Some(target), _) => format!(
                "This machine is not ready to {verb} {}: {} short.",
                counted(target, "connection", "connections"),
                counted(self.short.len() as u64, "check is", "checks are")
            ),
            (None, Some((about, title, value))) => {
                format!("This machine can {verb} {about} connections; the first limit: {title} ({value}).")
            }
            (None, None) => "No limit of this machine on the number of connections could be read.".to_owned(),
        }
    }
}
