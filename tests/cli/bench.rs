//! `ringway bench`: what it prints, and how it ends. What it measures is no matter of tests.

use crate::program::{finish, ringway, run, start};
use ringway_tests::WATCHDOG;
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::time::Instant;

#[test]
fn help_says_what_each_exit_code_is_for() {
    let help = run(ringway(&["bench", "--help"]));
    assert_eq!(help.status.code(), Some(0), "{help:?}");
    let words = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Exit codes: 0 good; 1 something failed") && words.contains("130/143"), "{words}");
}

/// A whole bench is minutes longer than a test may take.
#[test]
fn a_file_that_cannot_be_written_is_named_before_anything_is_measured() {
    let ended = run(ringway(&["bench", "-o", "/nowhere/result.json"]));
    assert!(ended.line(1).contains("/nowhere/result.json"), "{ended:?}");
}

/// The processes that process `parent` has started, with how many descriptors each has.
fn children(parent: u32) -> Vec<(u32, usize)> {
    let pids = std::fs::read_dir("/proc").expect("procfs");
    let pids = pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|id| id.trim() == parent.to_string()))
    };
    let files = |pid: u32| std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    pids.filter(is_child).map(|pid| (pid, files(pid))).collect()
}

/// Interrupts a bench when it has measured its first shape, and returns its exit code and its report.
fn interrupt(how: impl Fn(Pid)) -> (Option<i32>, Value) {
    let mut command = ringway(&["bench", "--format", "json"]);
    // As a shell gives one to each command line.
    command.process_group(0);
    let child = start(command);
    let (pid, deadline) = (Pid::from_child(&child), Instant::now() + WATCHDOG);
    let servers = loop {
        let servers = children(child.id());
        // The second shape is the first with as many connections, to both.
        if servers.len() == 2 && servers.iter().any(|(_, files)| *files >= 100) {
            break servers;
        }
        assert!(Instant::now() < deadline, "it does not get that far: {servers:?}");
        std::thread::yield_now();
    };
    how(pid);
    let ended = finish(child);
    assert_eq!(ended.stderr, "");
    for (server, _) in servers {
        let server = Pid::from_raw(server as i32).expect("it is not 0");
        assert!(test_kill_process(server).is_err(), "its server {server:?} goes on");
    }
    let report = serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stdout));
    (ended.status.code(), report)
}

fn expect_a_part(report: &Value) {
    assert_eq!((&report["schema_version"], &report["interrupted"]), (&1.into(), &true.into()));
    assert!(report["idle"].is_null() && report["machine"]["kernel"].is_string(), "{report}");
    let cells = report["cells"].as_array().expect("a list");
    let protocols: Vec<&Value> = cells.iter().take(2).map(|cell| &cell["protocol"]).collect();
    assert_eq!(protocols, ["tcp", "ws"], "{report}");
    assert!(cells[0]["messages_per_second"].is_number() && cells.len() < 36, "{report}");
}

/// A terminal sends SIGINT to the whole group of what runs in front.
#[test]
fn ctrl_c_ends_it_with_a_report_of_what_was_measured() {
    let (code, report) = interrupt(|pid| kill_process_group(pid, Signal::INT).expect("it runs"));
    assert_eq!(code, Some(130));
    expect_a_part(&report);
}

#[test]
fn a_signal_to_it_alone_ends_it_just_so() {
    let (code, report) = interrupt(|pid| kill_process(pid, Signal::TERM).expect("it runs"));
    assert_eq!(code, Some(143));
    expect_a_part(&report);
}
