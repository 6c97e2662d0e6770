//! The three formats of a report.

use super::{BenchPlan, BenchReport, entries};
use crate::bench::Effort;
use crate::bench::cells::Shape;
use crate::bench::connect::Connecting;
use crate::bench::contestants::{EPOLL, OURS, RING, contestants};
use crate::bench::idle::{IdleEntry, IdleResult, Levels};
use crate::bench::machine::{Cache, Machine};
use crate::bench::peers::peer;
use crate::bench::rounds::Cell;
use crate::bench::statistics::Spread;
use crate::bench::verdict::RoundSample;
use crate::choices::BenchDriver;
use serde_json::Value;
use std::time::Duration;

fn sample(rate: f64, busy: f64) -> Option<RoundSample> {
    Some(RoundSample {
        messages_per_second: rate,
        server_cpu_us_per_message: busy * 1e6 / rate,
        p50_us: 80.0,
        p99_us: 1500.0,
        server_busy_share: busy,
        generator_busy_share: 0.8,
        server_waiting_share: 0.0,
    })
}

/// One cell of five rounds: raw echo on epoll is the floor, ours reaches 0.95 of it, the peer was
/// not saturated.
fn report(generator_cores: Vec<usize>) -> BenchReport {
    let peers = [peer("other=./other {port}").expect("well-formed")];
    let contestants = contestants(&[BenchDriver::Uring], &peers);
    let shape = Shape { connections: 100, size: 16 << 10, in_flight: 1 };
    let mut cell = Cell::new(shape, contestants.len());
    for round in 0..5 {
        let rate = 100_000.0 + 1000.0 * f64::from(round);
        cell.series[RING].rounds.push(sample(0.99 * rate, 1.0));
        cell.series[EPOLL].rounds.push(sample(rate, 1.0));
        cell.series[OURS].rounds.push(sample(0.95 * rate, 1.0));
        cell.series[OURS + 1].rounds.push(sample(0.5 * rate, 0.8));
    }
    let effort = Effort {
        rounds: 5,
        warmup: Duration::from_millis(50),
        window: Duration::from_millis(250),
        connect: 2000,
        idle: Levels { low: 2000, high: 12_000 },
        busy_poll: "adaptive".into(),
    };
    let held = |contestant: &str, bytes| IdleEntry {
        contestant: contestant.into(),
        bytes_per_connection: Some(bytes),
        bytes_per_connection_spread: Spread::of([bytes - 2.0, bytes, bytes + 2.0]),
        failure: None,
        rounds: Vec::new(),
    };
    BenchReport {
        schema_version: 1,
        version: "0.1.0",
        started: "2026-01-31T12:00:00Z".into(),
        machine: Machine {
            cpu: "CPU".into(),
            cores: 2,
            kernel: "6.1".into(),
            driver: "io_uring".into(),
            server_cores: vec![0],
            generator_cores,
            rounds: 5,
            seconds_per_run: 0.25,
            caches: vec![Cache { level: 2, kind: "Unified".into(), bytes: 1 << 20, cores: "0".into() }],
            governor: Some("performance".into()),
            hypervisor: true,
            vendor: Some("Vendor".into()),
        },
        plan: BenchPlan::new(&effort, &[shape], vec!["ringway".into()], &peers),
        cells: entries(&[cell], &contestants),
        fanout: Vec::new(),
        connect: Some(Connecting { connections: 2000, contestants: Vec::new() }),
        idle: Some(IdleResult {
            connections: 12_000,
            bytes_per_connection: Some(144.0),
            connections_before: 2000,
            counted: "Pss",
            contestants: vec![held("ringway", 144.0), held("other", 9000.4)],
        }),
        syscalls: None,
        interrupted: false,
    }
}

fn json(report: &BenchReport) -> Value {
    serde_json::from_str(&report.to_json().expect("plain data")).expect("it is JSON")
}

#[test]
fn the_keys_of_the_first_version_are_there_and_mean_the_same() {
    let json = json(&report(vec![1]));
    assert_eq!((&json["schema_version"], &json["interrupted"]), (&1.into(), &false.into()));
    for key in ["cpu", "cores", "kernel", "driver", "server_cores", "generator_cores", "rounds", "seconds_per_run"] {
        assert!(!json["machine"][key].is_null(), "machine.{key}");
    }
    let (tcp, ws) = (&json["cells"][0], &json["cells"][2]);
    assert_eq!((&tcp["protocol"], &ws["protocol"]), (&"tcp".into(), &"ws".into()));
    assert_eq!((&ws["size"], &ws["connections"], &ws["in_flight"]), (&16384.into(), &100.into(), &1.into()));
    assert_eq!(ws["messages_per_second"], 0.95 * 102_000.0);
    for key in ["server_cpu_us_per_message", "p50_us", "p99_us"] {
        assert!(ws[key].is_number(), "{key}");
    }
    assert_eq!(tcp["ratio_to_floor"], 1.0);
    let to_ring = ws["ratio_to_floor"].as_f64().expect("a ratio");
    assert!((to_ring - 0.95 / 0.99).abs() < 1e-9, "to raw echo on our driver: {to_ring}");
    assert_eq!((&json["idle"]["connections"], &json["idle"]["bytes_per_connection"]), (&12_000.into(), &144.0.into()));
}

#[test]
fn json_has_rounds_plan_and_ratio_basis() {
    let json = json(&report(vec![1]));
    let (epoll, ws, peer) = (&json["cells"][1], &json["cells"][2], &json["cells"][3]);
    assert_eq!((&epoll["protocol"], &peer["protocol"]), (&"tcp-epoll".into(), &"ws-peer".into()));
    assert_eq!((&epoll["is_floor"], &json["cells"][0]["is_floor"]), (&true.into(), &false.into()));
    assert_eq!(epoll["ringway_ratio"]["by"], "rate");
    assert_eq!((&epoll["ringway_ratio"]["median"], &epoll["ringway_ratio"]["count"]), (&0.95.into(), &5.into()));
    assert_eq!((&peer["limited_by"], &peer["ringway_ratio"]["by"]), (&"neither".into(), &"cpu".into()));
    let by_cpu = peer["ringway_ratio"]["median"].as_f64().expect("a ratio");
    assert!((by_cpu - 0.8 / 0.5 * 0.95).abs() < 1e-9, "{by_cpu}");
    assert!(ws["ringway_ratio"].is_null());
    assert_eq!(ws["rounds"].as_array().map(Vec::len), Some(5));
    assert_eq!((&json["plan"]["cells"][0], &json["plan"]["peers"][0]["name"]), (&"100x16Kx1".into(), &"other".into()));
    assert_eq!((&json["version"], &json["started"]), (&"0.1.0".into(), &"2026-01-31T12:00:00Z".into()));
    assert_eq!((&json["machine"]["hypervisor"], &json["machine"]["caches"][0]["level"]), (&true.into(), &2.into()));
}

#[test]
fn the_text_has_a_line_for_each_contestant_and_says_when_a_core_is_shared() {
    let text = report(vec![1]).to_text();
    let line = |name: &str| text.lines().find(|line| line.contains(name)).unwrap_or_else(|| panic!("{name}: {text}"));
    assert!(line("raw epoll *").ends_with("0.95  0.95–0.95  rate"), "{text}");
    assert!(line("other").ends_with("1.52  1.52–1.52  cpu") && line("other").contains("neither"), "{text}");
    assert!(line("raw io_uring").trim_start().starts_with("100 × 16 KiB × 1          raw io_uring "), "{text}");
    assert!(text.contains("100/80 %  server") && text.contains("1.50 ms"), "{text}");
    assert!(
        text.contains("idle, ringway: 144 (142–146) bytes") && text.contains("idle, other: 9000 (8998–9002) bytes"),
        "{text}"
    );
    assert!(text.contains("1 MiB L2 · Linux 6.1 · governor performance · virtual machine (Vendor)"), "{text}");
    assert!(!text.contains("share core") && !text.contains("without figures"));
    assert!(report(vec![0]).to_text().contains("share core 0"));
}

#[test]
fn markdown_has_a_table_for_each_quantity() {
    let markdown = report(vec![1]).to_markdown();
    let rows: Vec<&str> = markdown.lines().filter(|line| line.starts_with("| 100 × 16 KiB × 1 |")).collect();
    assert_eq!(rows.len(), 5, "{markdown}");
    assert!(rows[0].contains("| 102.0 k (100.0 k–104.0 k) \\* |"), "{}", rows[0]);
    assert_eq!(
        rows[2], "| 100 × 16 KiB × 1 | 0.96 (0.96–0.96) rate | 0.95 (0.95–0.95) rate | 1.52 (1.52–1.52) cpu |",
        "ringway itself has no column"
    );
    assert!(rows[3].contains("80 % / 80 %, neither") && rows[4].contains("80 µs / 1.50 ms"), "{markdown}");
    assert!(markdown.contains("| other | 9000 (8998–9002) |"), "{markdown}");
}

#[test]
fn a_machine_that_does_other_things_too_is_said_to() {
    let mut report = report(vec![1]);
    let warning = "other processes ran on the servers' cores";
    assert!(!report.to_text().contains(warning) && !report.to_markdown().contains(warning));
    for sample in report.cells[2].rounds.iter_mut().flatten() {
        sample.server_waiting_share = 0.5;
    }
    assert!(report.to_text().contains(warning) && report.to_markdown().contains(warning), "{}", report.to_text());
}

#[test]
fn a_cell_without_figures_is_a_gap_with_its_reason_and_no_number() {
    let mut report = report(vec![1]);
    assert!(!report.has_gaps());
    let mut cell = Cell::new(report.cells[0].shape(), OURS + 2);
    cell.series[RING].rounds = vec![sample(1000.0, 1.0); 5];
    cell.series[OURS].rounds = vec![None; 5];
    cell.series[OURS + 1].failure = Some("1 × vanished: the connection ended".into());
    report.cells = entries(&[cell], &contestants(&[BenchDriver::Uring], &report.plan.peers));
    assert!(report.has_gaps());
    for written in [report.to_text(), report.to_markdown()] {
        assert!(written.contains("ringway, 100 × 16 KiB × 1: no message came back"), "{written}");
        assert!(written.contains("other, 100 × 16 KiB × 1: 1 × vanished: the connection ended"), "{written}");
    }
    let json = json(&report);
    assert!(json["cells"][2]["p50_us"].is_null() && json["cells"][0]["p50_us"] == 80.0);
    assert_eq!(json["cells"][3]["failure"], "1 × vanished: the connection ended");
}
