//! The cores of `ringway serve` and `ringway load`: alone, together on one machine, and with a
//! restricted mask or quota.

use ringway::placement::{CoreSet, pin};
use ringway_tests::{Ended, ServerProcess, WATCHDOG, finish, ringway, run, start};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

/// The cores that this process may run on, if there are at least two and no CPU quota prevents
/// pinning. Otherwise prints that the test is skipped, and returns `None`.
fn several_cores() -> Option<Vec<usize>> {
    let set = CoreSet::read().expect("the mask can be read");
    let cores = set.cores().into_vec();
    if let Some(quota) = set.quota_below() {
        eprintln!("NOT TESTED: nothing is pinned here, because the CPU quota is {quota}");
        return None;
    }
    if cores.len() == 1 {
        eprintln!("NOT TESTED: this process may run on one core only");
        return None;
    }
    Some(cores)
}

/// The affinity masks of the shards of process `pid`, in the kernel's format. Threads that exit
/// meanwhile are skipped.
fn masks(pid: u32) -> Vec<String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).expect("procfs, and it runs");
    let statuses = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok());
    let field = |status: &str, name: &str| {
        status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim().to_owned()))
    };
    let shard = |name: String| name.strip_prefix("ringway-").is_some_and(|index| index.parse::<u32>().is_ok());
    statuses
        .filter(|status| field(status, "Name").is_some_and(shard))
        .filter_map(|status| field(&status, "Cpus_allowed_list"))
        .collect()
}

/// The line of `serve` on its shards.
fn shards(serving: &ServerProcess) -> &str {
    let line = serving.announced.iter().find_map(|line| line.strip_prefix("shards"));
    line.unwrap_or_else(|| panic!("{:?}", serving.announced)).trim()
}

fn load(server: SocketAddr, arguments: &[&str]) -> Command {
    let url = format!("ws://{server}/");
    ringway(&[&["load", &url, "--connections=8", "--warmup=0", "--format=json", "--quiet"], arguments].concat())
}

/// The cores in the report of a load, one for each thread.
fn cores(ended: &Ended) -> Vec<usize> {
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let threads = report["generator"]["threads"].as_array().unwrap_or_else(|| panic!("{report}"));
    let core = |thread: &Value| thread["core"].as_u64().unwrap_or_else(|| panic!("{report}")) as usize;
    threads.iter().map(core).collect()
}

/// Runs `work` on a thread that is pinned to `core`, with its child processes.
fn confined<R: Send + 'static>(core: usize, work: impl FnOnce() -> R + Send + 'static) -> R {
    let thread = std::thread::spawn(move || {
        pin(core).expect("it is in the mask");
        work()
    });
    thread.join().expect("the assertions hold")
}

#[test]
fn a_server_and_a_load_of_one_thread_each_run_on_different_cores() {
    let Some(_) = several_cores() else { return };
    let serving = ServerProcess::with(&["--shards=1"]);
    let [server] = &masks(serving.pid())[..] else { panic!("{:?}", masks(serving.pid())) };
    assert_eq!(shards(&serving), format!("1, on core {server}"));
    let child = start(load(serving.address(), &["--threads=1", "--duration=1h"]));
    let (pid, deadline) = (child.id(), Instant::now() + WATCHDOG);
    // A thread is pinned first of all; until then it has the mask of its process.
    let generator = loop {
        match &masks(pid)[..] {
            [mask] if mask.parse::<usize>().is_ok() => break mask.clone(),
            masks => assert!(Instant::now() < deadline, "{masks:?}"),
        }
        std::thread::yield_now();
    };
    assert_ne!(*server, generator);
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let ended = finish(child);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(130), ""), "{ended:?}");
    assert_eq!(cores(&ended).iter().map(usize::to_string).collect::<Vec<_>>(), [generator]);
}

#[test]
fn a_load_avoids_the_cores_of_the_server() {
    let Some(all) = several_cores() else { return };
    for core in &all {
        let serving = ServerProcess::with(&[&format!("--cores={core}")]);
        let ended = run(load(serving.address(), &["--messages=100"]));
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        let used = cores(&ended);
        assert!(!used.is_empty() && !used.contains(core), "{used:?} beside a server on {core}");
    }
}

#[test]
fn a_load_that_shares_cores_prints_the_options_that_separate_both() {
    let Some(all) = several_cores() else { return };
    let serving = ServerProcess::with(&[]);
    assert_eq!(masks(serving.pid()).len(), all.len());
    let ended = run(load(serving.address(), &["--messages=100"]));
    assert_eq!((ended.status.code(), ended.stderr.lines().count()), (Some(0), 1), "{ended:?}");
    let option = |command: &str| {
        let (_, rest) = ended.stderr.split_once(command).unwrap_or_else(|| panic!("{command} in {ended:?}"));
        rest.split_once('`').expect("it ends").0.to_owned()
    };
    let (server, generator) = (option("`ringway serve "), option("`ringway load "));
    drop(serving);

    let serving = ServerProcess::with(&server.split(' ').collect::<Vec<_>>());
    let generator: Vec<&str> = generator.split(' ').collect();
    let ended = run(load(serving.address(), &[&["--messages=100"], &generator[..]].concat()));
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let (served, used) = (masks(serving.pid()), cores(&ended));
    assert_eq!(served.len() + used.len(), all.len(), "{served:?} and {used:?} of {all:?}");
    assert!(used.iter().all(|core| !served.contains(&core.to_string())), "{served:?} and {used:?}");
}

#[test]
fn printed_lists_of_cores_are_valid_arguments() {
    let Some(all) = several_cores() else { return };
    let serving = ServerProcess::with(&[]);
    let said = shards(&serving).to_owned();
    let (count, list) = said.split_once(", on cores ").unwrap_or_else(|| panic!("{said}"));
    assert_eq!(count, all.len().to_string());
    let named = ServerProcess::with(&["--cores", list]);
    assert_eq!(shards(&named), said);
    let ended = run(load(named.address(), &["--messages=100", "--cores", list]));
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "named cores need no warning: {ended:?}");
    let (mut used, mut expected) = (cores(&ended), all);
    used.sort_unstable();
    expected.sort_unstable();
    expected.truncate(8); // As many threads as connections.
    assert_eq!(used, expected);
}

#[test]
fn the_affinity_mask_is_the_set() {
    let Some(all) = several_cores() else { return };
    let (other, core) = (all[0], all[all.len() - 1]);
    confined(core, move || {
        let serving = ServerProcess::with(&[]);
        assert_eq!(shards(&serving), format!("1, on core {core}"));
        let ended = run(load(serving.address(), &["--messages=100"]));
        assert_eq!((ended.status.code(), cores(&ended)), (Some(0), vec![core]), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        assert!(ended.stderr.contains("the only core") && ended.stderr.contains("taskset"), "{ended:?}");

        let (other, mask) = (format!("--cores={other}"), format!("({core})"));
        let refused =
            [run(ringway(&["serve", "--listen=127.0.0.1:0", &other])), run(load(serving.address(), &[&other]))];
        for ended in refused {
            assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
            for word in [&other.replace("--cores=", "--cores "), &mask, "taskset -p"] {
                assert!(ended.stderr.contains(word), "{word:?} in {ended:?}");
            }
        }
    });
}

/// The mount point of the cgroups' CPU controller, or where it would be.
fn controller() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("procfs");
    let point = |line: &str| line.split(' ').nth(4).map(str::to_owned);
    let v1 = mounts.lines().find(|line| {
        line.split_once(" - cgroup ").is_some_and(|(_, rest)| rest.split([' ', ',']).any(|option| option == "cpu"))
    });
    v1.or_else(|| mounts.lines().find(|line| line.contains(" - cgroup2 "))).and_then(point)
}

/// Runs in a new mount namespace, in which another file system replaces the controller's. The quota
/// file is that of the root cgroup; the process's own cgroup has none.
#[test]
fn a_quota_below_the_set_is_the_number_of_shards_and_nothing_is_pinned() {
    let Some(all) = several_cores() else { return };
    let script = "mount -t tmpfs tmpfs \"$0\" && echo 150000 100000 > \"$0/cpu.max\" && \
                  echo 150000 > \"$0/cpu.cfs_quota_us\" && echo 100000 > \"$0/cpu.cfs_period_us\" && exec \"$@\"";
    let within = |mount: &str, command: &Command| {
        let mut within = Command::new("unshare");
        within.args(["--map-root-user", "--mount", "sh", "-c", script, mount]);
        within.arg(command.get_program()).args(command.get_args());
        within
    };
    let Some(mount) = controller() else {
        eprintln!("NOT TESTED: no CPU controller is mounted");
        return;
    };
    if !within(&mount, &Command::new("true")).status().is_ok_and(|status| status.success()) {
        eprintln!("NOT TESTED: this user may have no mount namespace of its own");
        return;
    }
    let serving = ServerProcess::start(within(&mount, &ringway(&["serve", "--listen=127.0.0.1:0"])));
    let said = format!("1, not pinned: the cgroup's CPU quota is 1.5 of {} cores", all.len());
    assert_eq!(shards(&serving), said);
    let [mask] = &masks(serving.pid())[..] else { panic!("{:?}", masks(serving.pid())) };
    let own = std::fs::read_to_string("/proc/self/status").expect("procfs");
    assert!(own.contains(&format!("Cpus_allowed_list:\t{mask}\n")), "{mask} in {own}");

    let url = format!("ws://{}/", serving.address());
    let text = run(within(&mount, &ringway(&["load", &url, "--messages=100", "--warmup=0"])));
    assert_eq!((text.status.code(), text.stderr.as_str()), (Some(0), ""), "{text:?}");
    assert_eq!(text.stdout.matches(&said).count(), 1, "it is said once: {text:?}");
    let ended = run(within(&mount, &load(serving.address(), &["--messages=100", "--threads=2"])));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"));
    let threads = report["generator"]["threads"].as_array().unwrap_or_else(|| panic!("{report}"));
    assert!(threads.len() == 2 && threads.iter().all(|thread| thread["core"].is_null()), "{report}");
    // Named cores are used whatever the quota is.
    let core = all[0];
    let named =
        ServerProcess::start(within(&mount, &ringway(&["serve", "--listen=127.0.0.1:0", &format!("--cores={core}")])));
    assert_eq!(shards(&named), format!("1, on core {core}"));
}
