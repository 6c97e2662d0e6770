//! The entries and the table of fan-out.

use super::report::{entries, table};
use super::*;
use crate::bench::peers::peer;
use crate::bench::report::TableFormat;

fn sample(rate: f64, cpu: f64, missed: u64) -> Option<FanoutSample> {
    Some(FanoutSample {
        deliveries_per_second: rate,
        server_cpu_us_per_delivery: cpu,
        p50_us: 250.0,
        p99_us: 2500.0,
        missed,
        due: 10_000,
        server_busy_share: rate * cpu / 1e6,
        generator_busy_share: 0.3,
        server_waiting_share: 0.0,
    })
}

const SHAPE: FanoutShape = FanoutShape { subscribers: 1000, rate: 50, size: 1024 };

fn cell(peers: &[PeerSpec]) -> FanoutCell {
    let mut cell = FanoutCell::new(SHAPE, peers);
    for round in 0..3 {
        cell.series[..RINGWAY].iter_mut().for_each(|series| series.take(Ok(sample(50_000.0, 2.0, 0))));
        cell.series[RINGWAY].take(Ok(sample(50_000.0, 2.5, 0)));
        cell.series[RINGWAY + 1].take(Ok(sample(40_000.0, 5.0, round)));
        cell.series[RINGWAY + 2].take(Err("1 × vanished: the connection ended".into()));
    }
    cell
}

#[test]
fn each_contestant_has_a_ratio_of_cpu_time_to_ours_and_a_failure_has_no_figures() {
    let peers = ["bun=x {port}", "other=x {port}"].map(|text| peer(text).expect("well-formed"));
    let unmeasured = FanoutCell::new(FanoutShape { rate: 1, ..SHAPE }, &peers);
    let entries = entries(&[cell(&peers), unmeasured], &peers);
    assert_eq!(entries.len(), RINGWAY + 3, "a cell without a round has no entries");
    let ratio = |at: usize| entries[at].ringway_ratio.map(|ratio| ratio.spread.median);
    assert_eq!((ratio(0), ratio(RINGWAY), ratio(RINGWAY + 1)), (Some(0.8), None, Some(2.0)));
    assert_eq!(entries[RINGWAY + 1].missed_share, Some(3.0 / 30_000.0));
    assert!(entries[..RINGWAY + 2].iter().all(|entry| entry.gap().is_none()));
    let gap = entries[RINGWAY + 2].gap().expect("it failed");
    assert_eq!(gap, "other, fan-out 1000 × 50/s × 1 KiB: 1 × vanished: the connection ended");
    let json = serde_json::to_value(&entries).expect("plain data");
    assert_eq!(json[RINGWAY + 1]["ringway_ratio"]["by"], "cpu");
    assert_eq!(
        (&json[RINGWAY + 1]["deliveries_per_second"]["median"], &json[RINGWAY + 2]["p99_us"]),
        (&40_000.0.into(), &().into())
    );
}

#[test]
fn the_table_has_a_row_for_each_contestant() {
    let peers = ["bun=x {port}", "other=x {port}"].map(|text| peer(text).expect("well-formed"));
    let entries = entries(&[cell(&peers)], &peers);
    let markdown = table(&entries, TableFormat::Markdown);
    let row = "| 1000 × 50/s × 1 KiB | bun | 40.0 k (40.0 k–40.0 k) | 5.00 (5.00–5.00) | 250 µs | 2.50 ms | 0.01 % | \
               20 % / 30 % | neither | 2.00 (2.00–2.00) cpu |";
    assert!(markdown.lines().any(|line| line == row), "{markdown}");
    assert!(markdown.contains("| other | - | - | - | - | - | - | - | - |"), "{markdown}");
    let text = table(&entries, TableFormat::Text);
    assert_eq!(text.matches("1000 × 50/s × 1 KiB").count(), 1, "{text}");
    assert!(table(&[], TableFormat::Text).is_empty());
}

#[test]
fn a_server_of_ours_that_waits_for_its_core_is_said_to() {
    let peers = ["bun=x {port}", "other=x {port}"].map(|text| peer(text).expect("well-formed"));
    let warns = |cell: FanoutCell| table(&entries(&[cell], &peers), TableFormat::Text).contains("other processes ran");
    let mut disturbed = cell(&peers);
    assert!(!warns(disturbed.clone()));
    let wait = |cell: &mut FanoutCell, index: usize| {
        cell.series[index].rounds.iter_mut().flatten().for_each(|sample| sample.server_waiting_share = 0.5);
    };
    wait(&mut disturbed, RINGWAY + 1);
    assert!(!warns(disturbed.clone()), "a peer may have more threads than cores");
    wait(&mut disturbed, RINGWAY);
    assert!(warns(disturbed));
}
