//! Restrictions of the machine: exit code 1, and one line with the error, the value and the remedy.

use ringway_tests::{Ended, ServerProcess, program, ringway, ringway_after, run};
use rustix::process::Signal;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::process::Command;

fn serve(arguments: &[&str]) -> Command {
    ringway(&[&["serve"], arguments].concat())
}

/// Checks that the line has all the words.
fn expect(ended: &Ended, words: &[&str]) {
    let line = ended.line(1);
    for word in words {
        assert!(line.contains(word), "expected {word:?} in {line:?}");
    }
}

#[test]
fn a_port_that_is_taken_is_named_with_the_remedy() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound");
    let ended = run(serve(&["--listen", &address.to_string()]));
    expect(&ended, &[&address.to_string(), "taken", "choose another port"]);
}

#[test]
fn a_port_of_another_ringway_is_taken_too() {
    let other = ServerProcess::with(&["--shards", "1"]);
    let address = other.address().to_string();
    expect(&run(serve(&["--listen", &address])), &[&address, "taken"]);
}

/// As for a user without capabilities and a port below 1024.
#[test]
fn a_privileged_port_is_named_with_the_remedy() {
    let ended = run_without(&[BIND], EACCES, serve(&["--listen", "127.0.0.1:80"]));
    expect(&ended, &["127.0.0.1:80", "no permission", "higher port", "CAP_NET_BIND_SERVICE"]);
}

#[test]
fn an_address_of_another_machine_is_named() {
    expect(&run(serve(&["--listen", "192.0.2.1:0"])), &["192.0.2.1", "no such address", "ip address"]);
}

#[test]
fn a_missing_core_is_named() {
    let ended = run(serve(&["--listen", "127.0.0.1:0", "--shards", "2", "--cores", "99999"]));
    assert_eq!((ended.status.code(), ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
    assert!(ended.stderr.contains("--cores 99999: core 99999 is not among those"), "{ended:?}");
}

#[test]
fn an_affinity_mask_that_cannot_be_read_is_named_with_the_remedy() {
    for command in [serve(&["--listen", "127.0.0.1:0"]), ringway(&["load", "ws://127.0.0.1:1/"])] {
        let ended = run_without(&AFFINITY[1..], EPERM, command);
        expect(&ended, &["which cores", "not permitted", "allow the system call sched_getaffinity"]);
    }
}

#[test]
fn a_thread_that_cannot_be_pinned_is_named_with_its_core() {
    let set = ringway::placement::CoreSet::read().expect("the mask can be read").cores();
    let core = set.as_slice()[0].to_string();
    for command in [
        serve(&["--listen", "127.0.0.1:0", "--cores", &core]),
        ringway(&["load", "ws://127.0.0.1:1/", "--cores", &core]),
        ringway(&["floor", "--cores", &core]),
    ] {
        let ended = run_without(&AFFINITY[..1], EPERM, command);
        expect(&ended, &[&format!("cannot pin a thread to core {core}"), "not permitted", "--cores"]);
    }
}

#[test]
fn too_low_a_limit_of_descriptors_is_reported() {
    let command = ringway_after("ulimit -n 20", &["serve", "--listen", "127.0.0.1:0"]);
    expect(&run(command), &["20 files", "ulimit -n", "; see `ringway doctor`"]);
}

#[test]
fn too_low_a_limit_of_descriptors_for_the_shards_is_reported() {
    let command = ringway_after("ulimit -n 70", &["serve", "--listen", "127.0.0.1:0", "--shards", "64"]);
    expect(&run(command), &["70 files", "ulimit -n"]);
}

/// As with the default profiles of container engines: the system calls fail with EPERM, or with
/// ENOSYS.
const REFUSALS: [u32; 2] = [EPERM, ENOSYS];

/// The words of the line that names the cause and the remedy.
const SECCOMP_WORDS: [&str; 4] = ["io_uring is unavailable", "a seccomp filter forbids it", "allow", "io_uring_setup"];

#[test]
fn io_uring_refused_by_seccomp_is_reported_as_such() {
    for errno in REFUSALS {
        for command in [
            serve(&["--listen", "127.0.0.1:0", "--driver", "uring"]),
            ringway(&["load", "ws://127.0.0.1:1/", "--driver", "uring"]),
        ] {
            let ended = run_without(&IO_URING, errno, command);
            expect(&ended, &SECCOMP_WORDS);
            expect(&ended, &["; see `ringway doctor`"]);
        }
    }
}

#[test]
fn where_io_uring_is_refused_serve_and_load_use_epoll_and_log_the_cause() {
    for errno in REFUSALS {
        let mut server = without(&IO_URING, errno, || ServerProcess::with(&["--shards", "1"]));
        assert!(server.announced.contains(&"driver       epoll".to_owned()), "{:?}", server.announced);
        expect_fallback(&server.warning());
        let url = format!("ws://{}/", server.address());
        let arguments = ["load", &url, "-c", "10", "-n", "2000", "-w", "0", "--verify", "all", "--format", "json"];
        let load = run_without(&IO_URING, errno, ringway(&arguments));
        assert_eq!(load.status.code(), Some(0), "{load:?}");
        let [warning] = load.stderr.lines().collect::<Vec<_>>()[..] else { panic!("one line: {load:?}") };
        expect_fallback(warning);
        let report: serde_json::Value = serde_json::from_str(&load.stdout).expect("JSON");
        assert!(report["messages"]["received"].as_u64() >= Some(2000), "{report}");
        server.signal(Signal::TERM);
        let (status, rest) = server.wait();
        assert_eq!((status.code(), rest.as_str()), (Some(0), ""), "the cause is logged once");
    }
}

fn expect_fallback(warning: &str) {
    for word in ["WARN", "using epoll, because"].iter().chain(&SECCOMP_WORDS) {
        assert!(warning.contains(word), "expected {word:?} in {warning:?}");
    }
}

#[test]
fn epoll_on_request_logs_nothing() {
    let server = ServerProcess::with(&["--shards", "1", "--driver", "epoll"]);
    assert!(server.announced.contains(&"driver       epoll".to_owned()), "{:?}", server.announced);
    server.signal(Signal::TERM);
    let (status, stderr) = server.wait();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn tokio_uring_serves_and_loads_and_reports_its_name() {
    let server = ServerProcess::with(&["--shards", "1", "--driver", "tokio-uring"]);
    assert!(server.announced.contains(&"driver       tokio-uring".to_owned()), "{:?}", server.announced);
    let url = format!("ws://{}/", server.address());
    let arguments = ["load", &url, "--driver", "tokio-uring", "-c", "10", "-n", "2000", "-w", "0", "--verify", "all"];
    let load = run(ringway(&[&arguments[..], &["--format", "json"]].concat()));
    assert_eq!(load.status.code(), Some(0), "{load:?}");
    let report: serde_json::Value = serde_json::from_str(&load.stdout).expect("JSON");
    assert!(report["messages"]["received"].as_u64() >= Some(2000), "{report}");
    assert_eq!(report["plan"]["driver"], "tokio-uring", "{report}");
    server.signal(Signal::TERM);
    let (status, stderr) = server.wait();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn where_io_uring_is_refused_tokio_uring_fails_with_the_cause() {
    for command in [
        serve(&["--listen", "127.0.0.1:0", "--driver", "tokio-uring"]),
        ringway(&["load", "ws://127.0.0.1:1/", "--driver", "tokio-uring"]),
    ] {
        expect(&run_without(&IO_URING, EPERM, command), &SECCOMP_WORDS);
    }
}

/// With this limit of locked memory in KiB, without the capability to exceed it.
fn with_locked_memory(kib: u32, arguments: &[&str]) -> Command {
    let mut drop_capability = "";
    if rustix::process::geteuid().is_root() {
        drop_capability = "setpriv --bounding-set=-ipc_lock ";
    }
    let mut command = Command::new("sh");
    let line = format!("ulimit -l {kib} && exec {drop_capability}\"$0\" \"$@\"");
    command.arg("-c").arg(line).arg(program()).args(arguments);
    command
}

/// The words of the line that names the limit and the remedy.
const LOCKED_MEMORY_WORDS: [&str; 3] = ["io_uring is unavailable", "too little memory may be locked", "ulimit -l"];

/// The self-test makes a small ring, which the limit allows. The ring of the first shard is refused,
/// or only that of the second.
#[test]
fn where_locked_memory_is_too_low_for_the_rings_auto_uses_epoll_and_uring_fails() {
    for (kib, shards) in [(64, "1"), (192, "2")] {
        let options = ["serve", "--listen", "127.0.0.1:0", "--shards", shards];
        let mut server = ServerProcess::start(with_locked_memory(kib, &options));
        if !server.announced.contains(&"driver       epoll".to_owned()) {
            assert!(is_before((6, 14)), "{:?}", server.announced);
            eprintln!("NOT TESTED: this kernel does not count the memory of rings");
            return;
        }
        let warning = server.warning();
        for word in ["WARN", "using epoll, because"].iter().chain(&LOCKED_MEMORY_WORDS) {
            assert!(warning.contains(word), "expected {word:?} in {warning:?}");
        }
        let url = format!("ws://{}/", server.address());
        let load = run(with_locked_memory(64, &["load", &url, "-c", "2", "-n", "200", "-w", "0"]));
        assert_eq!(load.status.code(), Some(0), "{load:?}");
        assert!(LOCKED_MEMORY_WORDS.iter().all(|word| load.stderr.contains(word)), "{load:?}");
        server.signal(Signal::TERM);
        let (status, rest) = server.wait();
        assert_eq!((status.code(), rest.as_str()), (Some(0), ""), "the cause is logged once");
        expect(&run(with_locked_memory(kib, &[&options[..], &["--driver", "uring"]].concat())), &LOCKED_MEMORY_WORDS);
    }
}

/// Whether the kernel is older than this version.
fn is_before(version: (u32, u32)) -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("procfs");
    let mut numbers = release.split(['.', '-']).map(|number| number.trim().parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < version
}

const EPERM: u32 = 1;
const EACCES: u32 = 13;
const ENOSYS: u32 = 38;

/// bind: the newer architectures share one table.
const BIND: i64 = if cfg!(target_arch = "x86_64") { 49 } else { 200 };

/// sched_setaffinity and sched_getaffinity: as with bind.
const AFFINITY: [i64; 2] = if cfg!(target_arch = "x86_64") { [203, 204] } else { [122, 123] };

/// io_uring_setup, io_uring_enter and io_uring_register: the same numbers on every architecture.
const IO_URING: [i64; 3] = [425, 426, 427];

/// Runs the command with a filter under which these system calls fail with `errno`.
fn run_without(calls: &[i64], errno: u32, command: Command) -> Ended {
    without(calls, errno, || run(command))
}

/// Runs `work`, and the processes that it starts, with a filter under which these system calls fail
/// with `errno`.
fn without<R: Send>(calls: &[i64], errno: u32, work: impl FnOnce() -> R + Send) -> R {
    // Built without the filter.
    program();
    let rules: BTreeMap<i64, Vec<seccompiler::SeccompRule>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = TargetArch::try_from(std::env::consts::ARCH).expect("the crate knows this architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let filter: BpfProgram = filter.and_then(TryInto::try_into).expect("the filter is in order");
    // A filter applies to one thread and its children, and cannot be removed.
    std::thread::scope(|scope| {
        let restricted = scope.spawn(move || {
            seccompiler::apply_filter(&filter).expect("any process may restrict itself");
            work()
        });
        restricted.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
