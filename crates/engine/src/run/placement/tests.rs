//! Tests of the rule, on given topologies.

use super::topology::tests::machine;
use super::*;

/// Physical cores of one hardware thread each.
fn plain(cores: usize, quota: Option<f64>) -> CoreSet {
    let cpus: Vec<Cpu> = (0..cores).map(|id| Cpu { id, ..Cpu::default() }).collect();
    CoreSet::new(&cpus, quota).expect("there are cores")
}

/// Four physical cores of two hardware threads: 0 and 4, 1 and 5, 2 and 6, 3 and 7.
fn threaded() -> CoreSet {
    let cpus: Vec<(usize, String, usize, usize)> =
        (0..8).map(|id| (id, format!("{},{}", id % 4, id % 4 + 4), id % 4, 0)).collect();
    let cpus: Vec<(usize, &str, usize, usize)> =
        cpus.iter().map(|(id, siblings, core, package)| (*id, &**siblings, *core, *package)).collect();
    CoreSet::new(&machine(&cpus), None).expect("there are cores")
}

fn threads(count: usize) -> NonZero<usize> {
    NonZero::new(count).expect("the tests pass no 0")
}

fn pinned(assignment: &Assignment) -> Vec<usize> {
    assignment.cores().iter().map(|core| core.expect("it is pinned")).collect()
}

fn server(set: &CoreSet, shards: Shards) -> Vec<usize> {
    pinned(&set.server(&Cores::All, shards).expect("they can be placed"))
}

fn generator(set: &CoreSet, threads: Shards, taken: &[usize]) -> Vec<usize> {
    let taken = taken.iter().copied().collect();
    pinned(&set.generator(&Cores::All, threads, &taken).expect("they can be placed"))
}

#[test]
fn a_server_takes_cores_from_the_start_and_a_generator_from_the_end() {
    let set = plain(4, None);
    assert_eq!(server(&set, Shards::PerCore), [0, 1, 2, 3]);
    assert_eq!(server(&set, Shards::Count(1)), [0]);
    assert_eq!(generator(&set, Shards::PerCore, &[]), [3, 2, 1, 0]);
    assert_eq!(generator(&set, Shards::Count(1), &[]), [3]);
    let set = threaded();
    assert_eq!(server(&set, Shards::Count(5)), [0, 1, 2, 3, 4]);
    assert_eq!(generator(&set, Shards::Count(2), &[]), [7, 6], "on two physical cores");
}

#[test]
fn with_two_physical_cores_one_shard_and_one_thread_do_not_share_one() {
    for set in [plain(2, None), plain(3, None), threaded()] {
        let (server, generator) = (server(&set, Shards::Count(1)), generator(&set, Shards::Count(1), &[]));
        let physical = |id: usize| set.cores.iter().find(|core| core.id == id).map(|core| core.physical);
        assert_ne!(physical(server[0]), physical(generator[0]));
    }
}

#[test]
fn more_threads_than_cores_share_them_in_turn() {
    let set = plain(2, None);
    assert_eq!(server(&set, Shards::Count(5)), [0, 1, 0, 1, 0]);
    assert_eq!(generator(&set, Shards::Count(3), &[0]), [1, 1, 1]);
    let none = set.server(&Cores::All, Shards::Count(0)).expect_err("there would be no thread");
    assert!(matches!(none, PlacementError::NoThreads), "{none}");
    let none = Assignment::of_server(&Cores::Unpinned, Shards::Count(0)).expect_err("there would be no thread");
    assert!(matches!(none, PlacementError::NoThreads), "{none}");
}

#[test]
fn a_generator_skips_the_cores_that_the_server_is_pinned_to() {
    let set = plain(4, None);
    assert_eq!(generator(&set, Shards::PerCore, &[0, 1]), [3, 2]);
    assert_eq!(generator(&set, Shards::PerCore, &[3]), [2, 1, 0]);
    assert_eq!(generator(&set, Shards::Count(1), &[3, 9]), [2], "core 9 is not in the set");
}

#[test]
fn siblings_of_the_servers_cores_come_last() {
    let set = threaded();
    assert_eq!(generator(&set, Shards::PerCore, &[0, 3]), [6, 5, 2, 1, 7, 4]);
    assert_eq!(generator(&set, Shards::Count(1), &[4]), [7]);
    assert_eq!(generator(&set, Shards::PerCore, &[0, 1, 2, 3]), [7, 6, 5, 4]);
}

#[test]
fn a_generator_without_free_cores_shares_those_of_the_server() {
    let set = plain(2, None);
    let taken = BTreeSet::from([0, 1]);
    assert!(!set.is_left(&taken) && set.is_left(&BTreeSet::from([1])));
    assert_eq!(generator(&set, Shards::PerCore, &[0, 1]), [1, 0]);
}

#[test]
fn the_default_number_of_threads_is_the_smaller_of_set_and_quota() {
    for (cores, quota, threads) in [
        (4, None, 4),
        (4, Some(8.0), 4),
        (4, Some(4.0), 4),
        (4, Some(3.99), 3),
        (4, Some(2.5), 2),
        (4, Some(1.0), 1),
        (4, Some(0.25), 1),
        (1, Some(0.5), 1),
    ] {
        let set = plain(cores, quota);
        assert_eq!(set.threads(), threads, "{cores} {quota:?}");
        for cores in [Cores::All, Cores::Unpinned] {
            let server = set.server(&cores, Shards::PerCore).expect("it has a place");
            let generator = set.generator(&cores, Shards::PerCore, &BTreeSet::new()).expect("it has a place");
            assert_eq!((server.threads(), generator.threads()), (threads, threads), "{cores:?} {quota:?}");
        }
    }
}

#[test]
fn with_a_quota_below_the_set_only_named_cores_are_pinned() {
    let set = plain(4, Some(2.5));
    for shards in [Shards::PerCore, Shards::Count(3)] {
        let server = set.server(&Cores::All, shards).expect("it has a place");
        assert!(server.cores().iter().all(Option::is_none) && server.quota().is_some(), "{server:?}");
        let generator = set.generator(&Cores::All, shards, &BTreeSet::from([0])).expect("it has a place");
        assert_eq!(generator, server);
        assert_eq!(server.to_config(), Cores::Unpinned);
    }
    let named = set.server(&Cores::List(vec![3, 1, 2]), Shards::PerCore).expect("it has a place");
    assert_eq!(pinned(&named), [3, 1, 2]);
    assert_eq!(named.quota(), None);
    assert!(plain(4, Some(4.0)).quota_below().is_none(), "all of the set can be used");
}

#[test]
fn named_cores_are_used_in_the_given_order() {
    let set = plain(4, None);
    let named = Cores::List(vec![2, 0]);
    for shards in [Shards::PerCore, Shards::Count(2)] {
        assert_eq!(pinned(&set.server(&named, shards).expect("they are allowed")), [2, 0]);
        let generator = set.generator(&named, shards, &BTreeSet::from([0, 2])).expect("they are allowed");
        assert_eq!(pinned(&generator), [2, 0], "named cores are used as given");
    }
    assert_eq!(pinned(&set.server(&named, Shards::Count(3)).expect("they are allowed")), [2, 0, 2]);
}

#[test]
fn the_error_for_cores_that_are_not_allowed_has_the_mask_and_the_remedy() {
    let cpus = [0, 1, 2, 5].map(|id| Cpu { id, ..Cpu::default() });
    let set = CoreSet::new(&cpus, None).expect("there are cores");
    let error = set.server(&Cores::List(vec![0, 3, 4]), Shards::PerCore).expect_err("3 is not there").to_string();
    for word in ["core 3 ", "--cores", "(0-2,5)", "name cores of these", "taskset"] {
        assert!(error.contains(word), "{word:?} in {error}");
    }
}

#[test]
fn an_empty_list_is_refused_and_names_the_option() {
    for shards in [Shards::PerCore, Shards::Count(2)] {
        let error = plain(2, None).server(&Cores::List(vec![]), shards).expect_err("nothing is named");
        assert!(matches!(error, PlacementError::NoneNamed) && error.to_string().contains("Config::cores"), "{error}");
        assert!(plain(2, None).generator(&Cores::List(vec![]), shards, &BTreeSet::new()).is_err());
    }
}

#[test]
fn an_empty_mask_is_an_error() {
    let error = CoreSet::new(&[], None).expect_err("there is nowhere to run");
    assert!(matches!(error, PlacementError::Mask(_)), "{error}");
}

#[test]
fn halves_divide_plain_cores_in_the_middle() {
    for (cores, server, generator) in
        [(2, &[0][..], &[1][..]), (3, &[0], &[2, 1]), (4, &[0, 1], &[3, 2]), (5, &[0, 1], &[4, 3, 2])]
    {
        let halves = plain(cores, None).halves();
        assert_eq!((&pinned(&halves.server)[..], &pinned(&halves.generator)[..]), (server, generator));
        assert!(halves.are_apart());
    }
}

#[test]
fn halves_do_not_divide_a_physical_core() {
    let halves = threaded().halves();
    assert_eq!(pinned(&halves.server), [0, 1, 4, 5]);
    assert_eq!(pinned(&halves.generator), [7, 6, 3, 2]);
    // A mask in which one physical core has both of its threads.
    let masked = machine(&[(1, "1,5", 1, 0), (2, "2,6", 2, 0), (5, "1,5", 1, 0)]);
    let halves = CoreSet::new(&masked, None).expect("there are cores").halves();
    assert_eq!((pinned(&halves.server), pinned(&halves.generator)), (vec![1, 5], vec![2]));
}

#[test]
fn two_packages_are_the_two_halves() {
    let two = machine(&[(0, "0", 0, 0), (1, "1", 0, 1), (2, "2", 1, 0), (3, "3", 1, 1)]);
    let halves = CoreSet::new(&two, None).expect("there are cores").halves();
    assert_eq!((pinned(&halves.server), pinned(&halves.generator)), (vec![0, 2], vec![3, 1]));
}

#[test]
fn a_single_physical_core_is_divided_and_a_single_core_is_shared() {
    let one = CoreSet::new(&machine(&[(0, "0-1", 0, 0), (1, "0-1", 0, 0)]), None).expect("there are cores").halves();
    assert_eq!((pinned(&one.server), pinned(&one.generator)), (vec![0], vec![1]));
    assert!(one.are_apart());
    let single = plain(1, None).halves();
    assert_eq!((pinned(&single.server), pinned(&single.generator)), (vec![0], vec![0]));
    assert!(!single.are_apart());
}

#[test]
fn halves_of_a_quota_are_not_pinned() {
    for (quota, server, generator) in [(0.5, 1, 1), (1.5, 1, 1), (2.0, 1, 1), (3.9, 1, 2), (6.0, 3, 3)] {
        let halves = plain(8, Some(quota)).halves();
        assert_eq!((halves.server.threads(), halves.generator.threads()), (server, generator), "{quota}");
        assert!(halves.server.list().is_none() && halves.generator.list().is_none() && !halves.are_apart());
    }
}

#[test]
fn an_assignment_is_displayed_with_its_threads_and_cores() {
    let set = plain(4, None);
    let of = |shards| set.server(&Cores::All, shards).expect("it has a place").to_string();
    assert_eq!(of(Shards::Count(1)), "1, on core 0");
    assert_eq!(of(Shards::Count(3)), "3, on cores 0-2");
    assert_eq!(of(Shards::Count(9)), "9, on cores 0-3");
    let named = set.server(&Cores::List(vec![3, 0]), Shards::PerCore).expect("it has a place");
    assert_eq!(named.to_string(), "2, on cores 0,3");
    assert_eq!(named.list().map(CoreList::into_vec), Some(vec![3, 0]));
    assert_eq!(Assignment::unpinned(threads(2)).to_string(), "2, not pinned");
    for (quota, said) in [(2.5, "2.5"), (2.0, "2"), (0.333, "0.33")] {
        let text = plain(4, Some(quota)).server(&Cores::All, Shards::Count(2)).expect("it has a place").to_string();
        assert_eq!(text, format!("2, not pinned: the cgroup's CPU quota is {said} of 4 cores"));
    }
}

#[test]
fn the_configuration_of_an_assignment_yields_the_same_assignment() {
    let set = plain(4, None);
    for threads in 1..7 {
        let first = set.generator(&Cores::All, Shards::Count(threads), &BTreeSet::from([1])).expect("it has a place");
        let again = set.server(&first.to_config(), Shards::Count(first.threads())).expect("it has a place");
        assert_eq!(first, again);
        assert_eq!(first.clone().at_most(2).threads(), threads.min(2));
    }
    assert_eq!(Assignment::unpinned(threads(3)).at_most(0).threads(), 1);
}

#[test]
fn this_machine_has_the_cores_of_the_mask_that_are_online() {
    let parse = |text: &str| text.trim().parse::<CoreList>().expect("a list of cores").into_vec();
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("procfs");
    let mask = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).expect("a line says it");
    let online = parse(&std::fs::read_to_string("/sys/devices/system/cpu/online").expect("sysfs"));
    let expected: CoreList = parse(mask).into_iter().filter(|core| online.contains(core)).collect();
    assert_eq!(CoreSet::read().expect("the mask can be read").cores().to_string(), expected.to_string());
}

/// Runs in its own thread, because the mask stays changed.
#[test]
fn a_pinned_thread_has_the_mask_of_its_core_and_a_failure_names_the_core() {
    let pinned = std::thread::spawn(|| {
        let last = *CoreSet::read().expect("the mask can be read").cores().as_slice().last().expect("it is not empty");
        pin(last).expect("the core is in the mask");
        assert_eq!(CoreSet::read().expect("the mask can be read").cores().as_slice(), [last]);
    });
    pinned.join().expect("the assertions hold");
    for core in [usize::MAX, CpuSet::MAX_CPU] {
        let error = pin(core).expect_err("there is no such core").to_string();
        assert!(error.contains(&format!("core {core}:")), "{error}");
    }
}

#[test]
fn a_pin_that_the_kernel_refuses_is_an_error_that_names_the_core() {
    let possible = std::fs::read_to_string("/sys/devices/system/cpu/possible").expect("sysfs");
    let possible: CoreList = possible.trim().parse().expect("a list of cores");
    let Some(core) = (0..CpuSet::MAX_CPU).rev().find(|core| !possible.as_slice().contains(core)) else {
        eprintln!("NOT TESTED: this machine has every core that can be named");
        return;
    };
    let error = pin(core).expect_err("there is no such core");
    assert!(error.to_string().contains(&format!("core {core}:")) && error.to_string().contains("--cores"), "{error}");
}
