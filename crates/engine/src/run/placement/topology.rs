//! The order of cores: one hardware thread of each physical core first, then their siblings.

use super::list::CoreList;
use std::collections::HashMap;
use std::fs;

/// The system's description of one core.
///
/// ```
/// use ringway::placement::Cpu;
///
/// let mut cpu = Cpu::new(4);
/// cpu.siblings = Some("0,4".parse()?);
/// assert_eq!((cpu.id, cpu.package), (4, None));
/// # Ok::<(), ringway::placement::CoreListError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cpu {
    /// Its number.
    pub id: usize,
    /// The hardware threads of its physical core, itself included (`thread_siblings_list`).
    /// Contains online threads only.
    pub siblings: Option<CoreList>,
    /// The number of its physical core within its package (`core_id`).
    pub core: Option<usize>,
    /// The number of its package (`physical_package_id`).
    pub package: Option<usize>,
}

impl Cpu {
    /// Creates a core with this number, and an unknown topology.
    #[must_use]
    pub fn new(id: usize) -> Self {
        Self { id, ..Self::default() }
    }

    /// Reads `/sys/devices/system/cpu/cpuN/topology`. Missing files count as unknown.
    pub(super) fn read(id: usize) -> Self {
        let file = |name: &str| fs::read_to_string(format!("/sys/devices/system/cpu/cpu{id}/topology/{name}")).ok();
        // Numbers missing in the firmware are -1, which does not parse.
        let number = |name: &str| file(name)?.trim().parse().ok();
        Self {
            id,
            siblings: file("thread_siblings_list").and_then(|list| list.trim().parse().ok()),
            core: number("core_id"),
            package: number("physical_package_id"),
        }
    }

    fn physical(&self) -> Physical {
        let siblings = self.siblings.as_ref().map_or(&[][..], CoreList::as_slice);
        match (self.core, self.package) {
            _ if siblings.contains(&self.id) => Physical::FirstSibling(siblings.iter().copied().min()),
            (Some(core), Some(package)) => Physical::Numbered { package, core },
            _ => Physical::Own(self.id),
        }
    }
}

/// The identity of a physical core.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Physical {
    /// Its lowest hardware thread, whether or not it is in the affinity mask. Preferred, because
    /// some virtual machines give the same `core_id` to all cores.
    FirstSibling(Option<usize>),
    Numbered {
        package: usize,
        core: usize,
    },
    /// Without a known topology: a physical core of its own.
    Own(usize),
}

/// A core and its physical core, as an element of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HardwareThread {
    pub(super) id: usize,
    /// The lowest core of the order that is on the same physical core.
    pub(super) physical: usize,
}

/// Orders cores: by their rank within their physical core, then by package, then by number. Cores
/// with unknown topology are ordered by number.
pub(super) fn order(cpus: &[Cpu]) -> Vec<HardwareThread> {
    let mut cpus: Vec<&Cpu> = cpus.iter().collect();
    cpus.sort_unstable_by_key(|cpu| cpu.id);
    cpus.dedup_by_key(|cpu| cpu.id);
    let mut seen: HashMap<Physical, (usize, usize)> = HashMap::new();
    let mut ranked: Vec<_> = cpus
        .into_iter()
        .map(|cpu| {
            let (first, threads) = seen.entry(cpu.physical()).or_insert((cpu.id, 0));
            *threads += 1;
            ((*threads, cpu.package, cpu.id), HardwareThread { id: cpu.id, physical: *first })
        })
        .collect();
    ranked.sort_unstable_by_key(|(place, _)| *place);
    ranked.into_iter().map(|(_, core)| core).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Cores of a machine: number, siblings, core_id and package of each.
    pub(in crate::run::placement) fn machine(cpus: &[(usize, &str, usize, usize)]) -> Vec<Cpu> {
        let cpu = |(id, siblings, core, package): &(usize, &str, usize, usize)| Cpu {
            id: *id,
            siblings: siblings.parse().ok(),
            core: Some(*core),
            package: Some(*package),
        };
        cpus.iter().map(cpu).collect()
    }

    fn ids(cpus: &[Cpu]) -> Vec<usize> {
        order(cpus).iter().map(|core| core.id).collect()
    }

    #[test]
    fn siblings_come_after_all_physical_cores_however_they_are_numbered() {
        // Siblings with distant numbers, as Linux numbers them on most machines.
        let apart = machine(&[(0, "0,4", 0, 0), (1, "1,5", 1, 0), (2, "2,6", 2, 0), (3, "3,7", 3, 0)]);
        let apart = [apart, machine(&[(4, "0,4", 0, 0), (5, "1,5", 1, 0), (6, "2,6", 2, 0), (7, "3,7", 3, 0)])];
        assert_eq!(ids(&apart.concat()), [0, 1, 2, 3, 4, 5, 6, 7]);
        // Siblings with adjacent numbers, as virtual machines have them.
        let beside = machine(&[(0, "0-1", 0, 0), (1, "0-1", 0, 0), (2, "2-3", 1, 0), (3, "2-3", 1, 0)]);
        assert_eq!(ids(&beside), [0, 2, 1, 3]);
        assert_eq!(order(&beside).iter().map(|core| core.physical).collect::<Vec<_>>(), [0, 2, 0, 2]);
    }

    #[test]
    fn the_four_threads_of_a_core_have_four_ranks() {
        let power = machine(&[
            (0, "0-3", 0, 0),
            (1, "0-3", 0, 0),
            (2, "0-3", 0, 0),
            (3, "0-3", 0, 0),
            (4, "4-7", 8, 0),
            (5, "4-7", 8, 0),
            (6, "4-7", 8, 0),
            (7, "4-7", 8, 0),
        ]);
        assert_eq!(ids(&power), [0, 4, 1, 5, 2, 6, 3, 7]);
    }

    #[test]
    fn physical_cores_of_one_package_come_before_those_of_the_next() {
        // Even numbers are on one package, odd ones on the other, and core_id starts at 0 on each.
        let two = machine(&[
            (0, "0,4", 0, 0),
            (1, "1,5", 0, 1),
            (2, "2,6", 1, 0),
            (3, "3,7", 1, 1),
            (4, "0,4", 0, 0),
            (5, "1,5", 0, 1),
            (6, "2,6", 1, 0),
            (7, "3,7", 1, 1),
        ]);
        assert_eq!(ids(&two), [0, 2, 1, 3, 4, 6, 5, 7]);
    }

    #[test]
    fn without_sibling_lists_package_and_core_number_identify_siblings() {
        let numbered = |id, core, package| Cpu { id, siblings: None, core: Some(core), package: Some(package) };
        let cpus = [numbered(0, 0, 0), numbered(1, 0, 0), numbered(2, 1, 0), numbered(3, 0, 1)];
        assert_eq!(ids(&cpus), [0, 2, 3, 1]);
    }

    #[test]
    fn a_core_number_shared_by_all_cores_does_not_make_them_siblings() {
        assert_eq!(ids(&machine(&[(0, "0", 0, 0), (1, "1", 0, 0)])), [0, 1]);
    }

    #[test]
    fn cores_that_are_offline_or_not_allowed_have_no_rank() {
        // 1 and 4 are offline; 0 is online but not in the mask, so 5 is the first allowed core of
        // its physical core.
        let cpus = machine(&[(2, "2,6", 2, 0), (3, "3,7", 3, 0), (5, "5", 1, 0), (6, "2,6", 2, 0)]);
        assert_eq!(ids(&cpus), [2, 3, 5, 6]);
        let masked = machine(&[(1, "1,3", 1, 0), (2, "0,2", 0, 0), (3, "1,3", 1, 0)]);
        assert_eq!(ids(&masked), [1, 2, 3]);
    }

    #[test]
    fn without_sysfs_the_order_is_that_of_the_mask() {
        let cpus = [8, 1, 3].map(|id| Cpu { id, ..Cpu::default() });
        assert_eq!(ids(&cpus), [1, 3, 8]);
        assert!(order(&cpus).iter().all(|core| core.physical == core.id));
    }

    #[test]
    fn a_list_of_siblings_without_the_core_itself_is_ignored() {
        let cpus = [0, 1].map(|id| Cpu { id, siblings: "7".parse().ok(), ..Cpu::default() });
        assert!(order(&cpus).iter().all(|core| core.physical == core.id));
    }
}
