//! The report of fan-out: an entry for each contestant in each cell, and their table.

use super::{FanoutCell, FanoutSample, FanoutShape, RINGWAY, names};
use crate::bench::peers::PeerSpec;
use crate::bench::report::{ReportTable, TableFormat, cpu, figure, middle_and_ends, percent, rate, ratio, time};
use crate::bench::statistics::{Spread, median};
use crate::bench::verdict::{Busy, DISTURBED, Limit, Ratio, compare};
use serde::Serialize;

/// The result of one contestant in one cell. It has no figures if nothing was delivered in any
/// round, or if the contestant failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct FanoutEntry {
    pub(crate) contestant: String,
    pub(crate) subscribers: u32,
    /// Messages published per second.
    pub(crate) rate: u32,
    pub(crate) size: usize,
    /// Over the rounds, as the other figures.
    pub(crate) deliveries_per_second: Option<Spread>,
    pub(crate) server_cpu_us_per_delivery: Option<Spread>,
    pub(crate) p50_us: Option<Spread>,
    pub(crate) p99_us: Option<Spread>,
    /// The share of the deliveries of all rounds that did not take place in time.
    pub(crate) missed_share: Option<f64>,
    pub(crate) server_busy_share: Option<f64>,
    pub(crate) generator_busy_share: Option<f64>,
    pub(crate) limited_by: Option<Limit>,
    /// The ratio of our server to this contestant: above 1, ours is better. `None` for our own, and
    /// if the rounds do not support a ratio.
    pub(crate) ringway_ratio: Option<Ratio>,
    pub(crate) failure: Option<String>,
    /// `None` if nothing was delivered.
    pub(crate) rounds: Vec<Option<FanoutSample>>,
}

impl FanoutEntry {
    fn shape(&self) -> FanoutShape {
        FanoutShape { subscribers: self.subscribers, rate: self.rate, size: self.size }
    }

    /// The reason why it has no figures.
    pub(crate) fn gap(&self) -> Option<String> {
        let silent = || "nothing was delivered while measuring: this machine is too busy".to_owned();
        self.deliveries_per_second.is_none().then(|| {
            let why = self.failure.clone().unwrap_or_else(silent);
            format!("{}, fan-out {}: {why}", self.contestant, self.shape())
        })
    }
}

/// A warning if one of our own servers, which have one thread per core, had to wait for its core.
fn disturbance(entries: &[FanoutEntry]) -> Option<String> {
    let is_ours = |entry: &&FanoutEntry| names(&[]).contains(&entry.contestant) && entry.gap().is_none();
    let ours: Vec<&FanoutEntry> = entries.iter().filter(is_ours).collect();
    let waiting = |entry: &&&FanoutEntry| {
        let shares = entry.rounds.iter().flatten().map(|sample| sample.server_waiting_share);
        median(shares).is_some_and(|share| share >= DISTURBED)
    };
    let disturbed = ours.iter().filter(waiting).count();
    (disturbed > 0).then(|| {
        format!(
            "other processes ran on the servers' cores in {disturbed} of {} series of fan-out: latencies and CPU times \
             are higher than they would be\n",
            ours.len()
        )
    })
}

/// The entries of all cells with at least one round, in the order of the contestants.
pub(crate) fn entries(cells: &[FanoutCell], peers: &[PeerSpec]) -> Vec<FanoutEntry> {
    let names = names(peers);
    let is_measured =
        |cell: &&FanoutCell| cell.series.iter().any(|series| !series.rounds.is_empty() || series.failure.is_some());
    let of_cell = |cell: &FanoutCell| -> Vec<FanoutEntry> {
        let ours = cell.series[RINGWAY].as_rounds();
        let entry = |(index, name): (usize, &String)| {
            let series = &cell.series[index];
            let (rounds, measured) = (series.as_rounds(), || series.rounds.iter().flatten());
            let busy = Busy::of(&rounds);
            let due: u64 = measured().map(|sample| sample.due).sum();
            let missed: u64 = measured().map(|sample| sample.missed).sum();
            FanoutEntry {
                contestant: name.clone(),
                subscribers: cell.shape.subscribers,
                rate: cell.shape.rate,
                size: cell.shape.size,
                deliveries_per_second: series.spread(|sample| sample.deliveries_per_second),
                server_cpu_us_per_delivery: series.spread(|sample| sample.server_cpu_us_per_delivery),
                p50_us: series.spread(|sample| sample.p50_us),
                p99_us: series.spread(|sample| sample.p99_us),
                missed_share: (due > 0).then(|| missed as f64 / due as f64),
                server_busy_share: busy.map(|busy| busy.server),
                generator_busy_share: busy.map(|busy| busy.generator),
                limited_by: busy.map(Busy::limit),
                ringway_ratio: if index == RINGWAY { None } else { compare(&ours, &rounds) },
                failure: series.failure.clone(),
                rounds: series.rounds.clone(),
            }
        };
        names.iter().enumerate().map(entry).collect()
    };
    cells.iter().filter(is_measured).flat_map(of_cell).collect()
}

/// The explanation of the table.
const LEGEND: &str = "\
Fan-out is subscribers × messages published per second × size; the server sends each message to its publisher too.
Medians of the rounds. deliveries/s: within the window. CPU µs: the server's time per delivery. p50 and p99: from the
time at which a message was due to its delivery. missed: the share of the deliveries that took more than 2 s or did not
take place. ringway's ratio: the median of the ratios of paired rounds, above 1 where ringway is better, by rate where
both servers were saturated, else by the server's CPU time per delivery.
";

/// The table of all cells with its explanation; empty if there are none.
pub(in crate::bench) fn table(entries: &[FanoutEntry], format: TableFormat) -> String {
    if entries.is_empty() {
        return String::new();
    }
    let titles =
        ["fan-out", "server", "deliveries/s", "CPU µs", "p50", "p99", "missed", "busy s/g", "limit", "ringway's ratio"];
    let mut table = ReportTable::new(&titles, &[0, 1, 8]);
    for cell in entries.chunk_by(|one, next| one.shape() == next.shape()) {
        for (at, entry) in cell.iter().enumerate() {
            let is_first = at == 0 || format == TableFormat::Markdown;
            let is_ours = entry.contestant == names(&[])[RINGWAY];
            table.row(vec![
                if is_first { entry.shape().to_string() } else { String::new() },
                entry.contestant.clone(),
                figure(entry.deliveries_per_second.as_ref(), |spread| middle_and_ends(spread, rate)),
                figure(entry.server_cpu_us_per_delivery.as_ref(), |spread| middle_and_ends(spread, cpu)),
                figure(entry.p50_us, |spread| time(spread.median)),
                figure(entry.p99_us, |spread| time(spread.median)),
                figure(entry.missed_share, share),
                figure(entry.server_busy_share.zip(entry.generator_busy_share), |(server, generator)| {
                    format!("{} / {}", percent(server), percent(generator))
                }),
                figure(entry.limited_by, |limit| limit.to_string()),
                if is_ours { String::new() } else { figure(entry.ringway_ratio.as_ref(), ratio) },
            ]);
        }
    }
    let warning = disturbance(entries).map_or(String::new(), |warning| format!("\n{warning}"));
    format!("\n{LEGEND}\n{}{warning}", table.format(format))
}

/// A small share in percent; one that is not 0 is not written as 0.
fn share(share: f64) -> String {
    if share > 0.0 && share < 0.0001 { "<0.01 %".into() } else { format!("{:.2} %", share * 100.0) }
}
