//! `ringway bench`: its output and exit codes. The measured figures are not tested.

use ringway_tests::{WATCHDOG, finish, guarded, program, ringway, run, start};
use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Instant;

#[test]
fn help_explains_each_exit_code() {
    let help = run(ringway(&["bench", "--help"]));
    assert_eq!(help.status.code(), Some(0), "{help:?}");
    let words = help.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("Exit codes: 0 success; 1 the run failed") && words.contains("130/143"), "{words}");
}

/// A whole bench takes minutes.
#[test]
fn a_file_that_cannot_be_written_is_named_before_measuring() {
    let ended = run(ringway(&["bench", "-o", "/nowhere/result.json"]));
    assert!(ended.line(1).contains("/nowhere/result.json"), "{ended:?}");
}

/// The child processes of `parent`, with the number of descriptors of each.
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

/// `parent` and all its descendants.
fn family(parent: u32) -> HashSet<u32> {
    let mut found = HashSet::from([parent]);
    let mut next = vec![parent];
    while let Some(pid) = next.pop() {
        let new = children(pid).into_iter().map(|(child, _)| child).filter(|child| found.insert(*child));
        next.extend(new);
    }
    found
}

fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A process that has exited and was not waited for is a zombie.
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// A value of `--peer` in which `name` runs `command` of this program.
fn peer_of_ours(name: &str, command: &str) -> String {
    format!("{name}='{}' {command} --listen 127.0.0.1:{{port}}", program().display())
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// The cells of a contestant.
fn cells_of<'a>(report: &'a Value, contestant: &str) -> Vec<&'a Value> {
    let cells = report["cells"].as_array().expect("a list");
    cells.iter().filter(|cell| cell["contestant"] == contestant).collect()
}

#[test]
fn invalid_arguments_are_usage_errors_with_a_remedy() {
    for (arguments, says) in [
        (&["--cells", "100x20"][..], "100x20x1"),
        (&["--cells", "1x0x1"], "size \"0\""),
        (&["--cells", "1000x64Kx16"], "256 MiB"),
        (&["--cells", "1x1x1,1x1x1"], "give each cell once"),
        (&["--cells", "500mx1x1"], "256 MiB"),
        (&["--cells", "100mx1x1"], "ulimit -n"),
        (&["--peer", "./other {port}"], "NAME=COMMAND"),
        (&["--peer", "other=./other"], "{port}"),
        (&["--peer", "ringway=./other {port}"], "the report uses the name"),
        (&["--peer", "a=x {port}", "--peer", "a=y {port}"], "twice"),
        (&["--fanout", "100x20"], "1000x50x24"),
        (&["--fanout", "100x20x20"], "size \"20\": give 24 bytes"),
        (&["--fanout", "100kx1000x24"], "give fewer subscribers"),
        (&["--fanout", "9x9x24,9x9x24"], "--fanout has 9 × 9/s × 24 B twice"),
        (&["--fanout", "100mx1x24"], "give fewer subscribers"),
        (&["--fanout", "20mx1x24"], "ulimit -n"),
        (&["--fanout-peer", "other=./other"], "{port}"),
        (&["--fanout-peer", "a=x {port}", "--fanout-peer", "a=y {port}"], "--fanout-peer has the name \"a\" twice"),
        (&["--parts", "fanout", "--tls-cert", "c.pem", "--tls-key", "k.pem"], "without TLS"),
        (&["--driver", "uring,epoll,uring"], "--driver has uring twice"),
        (&["--driver", "kqueue"], "tokio-uring"),
        (&["--driver", "uring,epoll", "--tls-cert", "c.pem", "--tls-key", "k.pem"], "one driver is measured"),
        (&["--rounds", "0"], "from 1 to 1000"),
        (&["--window", "0"], "at least 1ms"),
    ] {
        let ended = run(ringway(&[&["bench"], arguments].concat()));
        assert_eq!(ended.status.code(), Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(says) && ended.stdout.is_empty(), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn a_peer_that_does_not_start_is_one_line_with_its_last_output() {
    let ended = run(ringway(&["bench", "--peer", "other=echo 'no licence for port {port}' >&2; exit 7"]));
    let line = ended.line(1);
    assert!(line.contains("peer \"other\" did not start") && line.contains("no licence for port "), "{line}");
    assert!(line.contains("exited with code 7"), "{line}");
}

/// One peer is this program; the other one does not speak WebSocket.
#[test]
fn peers_are_measured_in_the_same_rounds_and_a_failure_is_a_gap_with_its_reason() {
    let (same, raw) = (peer_of_ours("same", "serve --shards 1"), peer_of_ours("no-websocket", "floor"));
    let cells = ["--quick", "--cells", "2x20x1,10x1Kx4", "--rounds", "3", "--window", "30ms"];
    let peers = ["--peer", &same, "--peer", &raw, "--format", "json"];
    let ended = run(ringway(&[&["bench"][..], &cells, &peers].concat()));
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(4), ""), "there is a gap: {ended:?}");
    let report = json(&ended.stdout);
    assert_eq!(report["plan"]["cells"], json(r#"["2x20x1", "10x1Kx4"]"#));
    for contestant in ["raw io_uring", "raw epoll", "ringway", "same"] {
        let cells = cells_of(&report, contestant);
        assert_eq!(cells.len(), 2, "{contestant}");
        for cell in cells {
            assert!(cell["failure"].is_null(), "{cell}");
            assert_eq!(cell["rounds"].as_array().map(Vec::len), Some(3), "{cell}");
            let is_measured = cell["messages_per_second"].as_f64().is_some_and(|rate| rate > 0.0);
            assert!(is_measured && cell["server_cpu_us_per_message"].is_number(), "{cell}");
            assert_eq!(cell["ringway_ratio"].is_null(), contestant == "ringway", "{cell}");
        }
    }
    for cell in cells_of(&report, "no-websocket") {
        assert!(cell["failure"].as_str().is_some_and(|why| why.contains("handshake")), "{cell}");
        assert!(cell["messages_per_second"].is_null() && cell["ringway_ratio"].is_null(), "{cell}");
    }
    for part in ["connect", "idle"] {
        let found = |at: usize| &report[part]["contestants"][at];
        assert_eq!((&found(0)["contestant"], &found(1)["contestant"]), (&"ringway".into(), &"same".into()));
        assert!(found(0)["failure"].is_null() && found(1)["failure"].is_null(), "{}", report[part]);
        assert!(found(2)["failure"].is_string(), "{}", report[part]);
    }
    let handshakes = report["connect"]["contestants"][1]["per_second"]["median"].as_f64();
    assert!(handshakes.is_some_and(|rate| rate > 0.0), "{}", report["connect"]);
    let bytes = |at: usize| report["idle"]["contestants"][at]["bytes_per_connection"].as_f64().expect("a slope");
    assert!(bytes(0) > 0.0 && bytes(1) > 0.0, "{}", report["idle"]);
}

/// One peer sends each message to all, the other one only to its sender.
#[test]
fn fan_out_is_measured_beside_raw_sends_and_peers_and_counts_what_is_missed() {
    let same = peer_of_ours("same", "serve --shards 1 --app broadcast");
    let (echo, raw) = (peer_of_ours("echo", "serve --shards 1"), peer_of_ours("no-websocket", "floor"));
    let cells = ["--parts", "fanout", "--fanout", "5x200x24,20x100x1K", "--rounds", "3", "--window", "50ms"];
    let peers = ["--fanout-peer", &same, "--fanout-peer", &echo, "--fanout-peer", &raw, "--format", "json"];
    let ended = run(ringway(&[&["bench"][..], &cells, &peers].concat()));
    assert_eq!((ended.status.code(), &*ended.stderr), (Some(4), ""), "there is a gap: {ended:?}");
    let report = json(&ended.stdout);
    assert_eq!(report["plan"]["fanout"], json(r#"["5x200x24", "20x100x1024"]"#));
    assert!(report["cells"] == json("[]") && report["connect"].is_null() && report["idle"].is_null(), "{report}");
    let of = |contestant: &str| -> Vec<Value> {
        let entries = report["fanout"].as_array().expect("a list");
        entries.iter().filter(|entry| entry["contestant"] == contestant).cloned().collect()
    };
    for contestant in ["raw epoll", "ringway", "same"] {
        let entries = of(contestant);
        assert_eq!(entries.len(), 2, "{contestant}");
        for entry in entries {
            assert_eq!(entry["rounds"].as_array().map(Vec::len), Some(3), "{entry}");
            assert_eq!((&entry["failure"], &entry["missed_share"]), (&Value::Null, &0.0.into()), "{entry}");
            let is_measured = entry["deliveries_per_second"]["median"].as_f64().is_some_and(|rate| rate > 0.0);
            assert!(is_measured && entry["server_cpu_us_per_delivery"]["median"].is_number(), "{entry}");
            assert_eq!(entry["ringway_ratio"].is_null(), contestant == "ringway", "{entry}");
        }
    }
    // An echo server reaches its sender only.
    for entry in of("echo") {
        let is_missed = entry["missed_share"].as_f64().is_none_or(|share| share == 1.0);
        assert!(is_missed, "{entry}");
    }
    for entry in of("no-websocket") {
        assert!(entry["failure"].as_str().is_some_and(|why| why.contains("handshake")), "{entry}");
        assert!(entry["deliveries_per_second"].is_null() && entry["ringway_ratio"].is_null(), "{entry}");
    }
}

/// A running bench that has measured its first cell, of 1 connection, and is at the second one, of
/// 100.
fn under_way(command: &[&str]) -> std::process::Child {
    let cells = ["bench", "--cells", "1x20x1,100x20x1", "--rounds", "1000", "--window", "30ms"];
    let mut command = ringway(&[&cells[..], command].concat());
    // As a shell does for each command line.
    command.process_group(0);
    let child = start(command);
    let deadline = Instant::now() + WATCHDOG;
    while !children(child.id()).iter().any(|(_, files)| *files >= 100) {
        assert!(Instant::now() < deadline, "the bench does not reach its second cell: {:?}", children(child.id()));
        std::thread::yield_now();
    }
    child
}

/// The floor on plain epoll, as `bench` runs it.
#[test]
fn the_floor_on_epoll_echoes_and_stops_with_its_standard_input() {
    let mut command = ringway(&["floor", "--epoll", "--listen", "127.0.0.1:0", "--stop-with-stdin"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line).expect("UTF-8");
    let address = line.trim().strip_prefix("listening on tcp://").unwrap_or_else(|| panic!("{line:?}"));
    let mut client = TcpStream::connect(address).expect("it listens");
    client.write_all(b"hello").expect("it reads");
    let mut echo = [0; 5];
    client.read_exact(&mut echo).expect("it echoes");
    assert_eq!(&echo, b"hello");
    drop(child.stdin.take());
    let status = guarded(Pid::from_child(&child), || child.wait()).expect("it is our child");
    assert_eq!(status.code(), Some(0));
}

/// Waits until none of these processes is running.
fn wait_for_the_end_of(processes: &HashSet<u32>) {
    let deadline = Instant::now() + WATCHDOG;
    while let Some(pid) = processes.iter().find(|pid| is_running(**pid)) {
        assert!(Instant::now() < deadline, "process {pid} is still running");
        std::thread::yield_now();
    }
}

/// Interrupts a bench when it has measured its first cell, and returns its exit code and its
/// report.
fn interrupt(how: impl Fn(Pid)) -> (Option<i32>, Value) {
    let child = under_way(&["--format", "json"]);
    let servers = children(child.id());
    how(Pid::from_child(&child));
    let ended = finish(child);
    assert_eq!(ended.stderr, "");
    for (server, _) in servers {
        let server = Pid::from_raw(server as i32).expect("it is not 0");
        assert!(test_kill_process(server).is_err(), "its server {server:?} is still running");
    }
    (ended.status.code(), json(&ended.stdout))
}

fn expect_a_part(report: &Value) {
    assert_eq!((&report["schema_version"], &report["interrupted"]), (&1.into(), &true.into()));
    assert!(report["idle"].is_null() && report["machine"]["kernel"].is_string(), "{report}");
    let cells = report["cells"].as_array().expect("a list");
    let protocols: Vec<&Value> = cells.iter().take(3).map(|cell| &cell["protocol"]).collect();
    assert_eq!(protocols, ["tcp", "tcp-epoll", "ws"], "{report}");
    let rounds = cells[0]["rounds"].as_array().map_or(0, Vec::len);
    assert!(cells[0]["messages_per_second"].is_number() && (1..1000).contains(&rounds), "{report}");
}

/// Each of our servers runs on its driver, and says so in the report.
#[test]
fn several_drivers_are_measured_in_the_same_rounds_with_their_system_calls() {
    let drivers = ["--driver", "uring,epoll,tokio-uring", "--syscalls", "--format", "json"];
    let cells = ["--parts", "cells", "--cells", "1x20x1", "--rounds", "3", "--window", "30ms", "--busy-poll", "off"];
    let ended = run(ringway(&[&["bench"][..], &cells, &drivers].concat()));
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let report = json(&ended.stdout);
    let drivers: Vec<(&str, Option<&str>)> = [
        ("raw io_uring", Some("uring")),
        ("raw epoll", None),
        ("ringway, uring", Some("uring")),
        ("ringway, epoll", Some("epoll")),
        ("ringway, tokio-uring", Some("tokio-uring")),
        ("raw epoll driver", Some("epoll")),
        ("raw tokio-uring", Some("tokio-uring")),
    ]
    .into();
    let counting = &report["syscalls"];
    if counting["counted_by"].is_null() {
        assert!(counting["reason"].is_string(), "{report}");
        eprintln!("NOT TESTED: system calls cannot be counted here: {}", counting["reason"]);
    }
    for (contestant, driver) in drivers {
        let [cell] = &cells_of(&report, contestant)[..] else { panic!("{contestant}: {report}") };
        assert_eq!(cell["driver"].as_str(), driver, "{cell}");
        assert!(cell["messages_per_second"].as_f64().is_some_and(|rate| rate > 0.0), "{cell}");
        if !counting["counted_by"].is_null() {
            // A server that handles each message by itself makes at least one call for it.
            let calls = cell["syscalls_per_message"].as_f64().unwrap_or_else(|| panic!("{counting}: {cell}"));
            assert!((1.0..20.0).contains(&calls), "{cell}");
        }
    }
}

/// Without perf and strace there are no figures, and the report says why.
#[test]
fn system_calls_that_cannot_be_counted_are_not_reported() {
    let mut command = ringway(&["bench", "--parts", "cells", "--cells", "1x20x1", "--rounds", "1", "--window", "30ms"]);
    command.args(["--driver", "tokio-uring", "--syscalls"]).env("PATH", "/nowhere");
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let line = ended.stdout.lines().find(|line| line.starts_with("system calls for each message")).expect("a line");
    for word in ["not counted", "perf: No such file", "strace: No such file", "as root"] {
        assert!(line.contains(word), "{line}");
    }
    assert!(ended.stdout.contains("\ntokio-uring\n") && ended.stdout.contains("raw tokio-uring"), "{ended:?}");
}

/// A terminal sends SIGINT to the whole foreground process group.
#[test]
fn ctrl_c_ends_it_with_a_report_of_the_measured_part() {
    let (code, report) = interrupt(|pid| kill_process_group(pid, Signal::INT).expect("it runs"));
    assert_eq!(code, Some(130));
    expect_a_part(&report);
}

#[test]
fn a_signal_to_the_process_alone_ends_it_with_a_report() {
    let (code, report) = interrupt(|pid| kill_process(pid, Signal::TERM).expect("it runs"));
    assert_eq!(code, Some(143));
    expect_a_part(&report);
}

#[test]
fn no_process_outlives_the_bench() {
    for signal in [Signal::KILL, Signal::TERM] {
        // A peer that starts another process in the same group and exits before it.
        let same = peer_of_ours("same", "serve --shards 1") + " & sleep 1000";
        let child = under_way(&["--peer", &same]);
        let mut family = family(child.id());
        family.remove(&child.id());
        assert!(family.len() >= 6, "three servers, a shell, and two of the peer: {family:?}");
        kill_process(Pid::from_child(&child), signal).expect("it runs");
        finish(child);
        wait_for_the_end_of(&family);
    }
}
