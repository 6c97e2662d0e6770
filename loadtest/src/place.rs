//! Places the generator's threads: on the last cores of the set, without those of a server on this
//! machine.

use crate::observe::server::ObservedServer;
use crate::plan::Plan;
use ringway::placement::{Assignment, CoreSet, PlacementError};
use ringway::{Cores, Shards};
use std::collections::BTreeSet;
use std::num::NonZero;

/// Places the threads of a plan against `server`, and warns if they share its cores. Cores that the
/// plan names are used whatever the server's cores are.
pub(crate) fn place(plan: &Plan, server: &ObservedServer) -> Result<Assignment, PlacementError> {
    if let (Cores::Unpinned, Some(threads)) = (&plan.cores, plan.threads.and_then(NonZero::new)) {
        return Ok(Assignment::unpinned(threads).at_most(plan.connections() as usize));
    }
    let set = CoreSet::read()?;
    let leaves_out = plan.cores == Cores::All && set.quota_below().is_none();
    let pinned = if leaves_out { server.pinned_cores() } else { BTreeSet::new() };
    if let Some(warning) = warn_of_sharing(&set, &pinned) {
        tracing::warn!("{warning}");
    }
    choose(plan, &set, &pinned)
}

fn choose(plan: &Plan, set: &CoreSet, pinned: &BTreeSet<usize>) -> Result<Assignment, PlacementError> {
    let threads = plan.threads.map_or(Shards::PerCore, Shards::Count);
    Ok(set.generator(&plan.cores, threads, pinned)?.at_most(plan.connections() as usize))
}

/// The warning if the server is pinned to all cores of the set.
fn warn_of_sharing(set: &CoreSet, pinned: &BTreeSet<usize>) -> Option<String> {
    if set.is_left(pinned) {
        return None;
    }
    let (cores, halves) = (set.cores(), set.halves());
    Some(match (halves.server.list(), halves.generator.list()) {
        (Some(server), Some(generator)) if halves.are_apart() => format!(
            "the server's threads are pinned to all cores that this process may run on ({cores}), so both share them; \
             `ringway serve --cores {server}` and `ringway load --cores {generator}` separate them"
        ),
        _ => format!(
            "the server's threads are pinned to the only core that this process may run on ({cores}), so both share it; \
             allow this process others (`taskset -c`)"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway::placement::Cpu;

    fn set(cores: usize) -> CoreSet {
        let cpus: Vec<Cpu> = (0..cores).map(Cpu::new).collect();
        CoreSet::new(&cpus, None).expect("there are cores")
    }

    /// A plan with this many connections.
    fn of(connections: u32) -> Plan {
        let mut plan = plan();
        plan.populations[0].connections = connections;
        plan
    }

    fn plan() -> Plan {
        Plan::new("ws://127.0.0.1:9/")
    }

    fn chosen(plan: &Plan, pinned: &[usize]) -> Vec<Option<usize>> {
        let pinned = pinned.iter().copied().collect();
        choose(plan, &set(4), &pinned).expect("there is a place").cores().to_vec()
    }

    #[test]
    fn there_is_one_thread_for_each_core_that_is_left_and_never_more_than_connections() {
        let some = |cores: &[usize]| cores.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(chosen(&plan(), &[]), some(&[3, 2, 1, 0]));
        assert_eq!(chosen(&plan(), &[0, 1]), some(&[3, 2]));
        assert_eq!(chosen(&plan(), &[0, 1, 2, 3]), some(&[3, 2, 1, 0]));
        assert_eq!(chosen(&of(1), &[0]), some(&[3]));
        assert_eq!(chosen(&Plan { threads: Some(8), ..of(3) }, &[0, 1]), some(&[3, 2, 3]));
        let named = Cores::List(vec![0, 1]);
        assert_eq!(chosen(&Plan { cores: named.clone(), ..plan() }, &[]), some(&[0, 1]));
        assert_eq!(chosen(&Plan { cores: named, ..of(1) }, &[]), some(&[0]));
        assert_eq!(chosen(&Plan { cores: Cores::Unpinned, ..of(3) }, &[]), [None; 3]);
    }

    #[test]
    fn sharing_is_said_with_the_two_options_that_end_it() {
        let said = |cores, pinned: &[usize]| warn_of_sharing(&set(cores), &pinned.iter().copied().collect());
        assert_eq!(said(2, &[]), None);
        assert_eq!(said(2, &[0]), None);
        assert_eq!(said(4, &[0, 1, 3]), None);
        let warning = said(4, &[0, 1, 2, 3]).expect("no core is left");
        for word in ["(0-3)", "`ringway serve --cores 0-1`", "`ringway load --cores 2-3`"] {
            assert!(warning.contains(word) && !warning.contains('\n'), "{word:?} in {warning}");
        }
        let warning = said(1, &[0]).expect("no core is left");
        assert!(warning.contains("the only core") && !warning.contains("--cores"), "{warning}");
    }
}
