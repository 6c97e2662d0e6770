//! The report of a bench with TLS.

use super::parts::{Held, TlsFound};
use super::{PLAIN, TLS};
use crate::bench::BenchReport;
use crate::bench::connect::Handshake;
use crate::bench::report::{ReportTable, TableFormat};
use crate::bench::report::{cpu, figure, middle_and_ends, percent, rate, whole};
use crate::bench::rounds::Cell;
use crate::bench::statistics::Spread;
use crate::bench::verdict::{Busy, MIN_PAIRS, RoundSample, both_ratios};
use serde::Serialize;

/// The explanation of the ratios.
const LEGEND: &str = "\
Figures are medians of the rounds, with the smallest and the largest. A ratio is the median of the ratios of paired rounds,
of ringway-tls to ringway, and of ringway-tls to each other server: above 1, ringway-tls is better. CPU: that of the server.
";

/// The report. Its keys are stable; `schema_version` changes when a key is removed or changes its
/// meaning.
#[derive(Serialize)]
pub(super) struct TlsReport {
    /// The machine and the plan; its cells are empty.
    #[serde(flatten)]
    base: BenchReport,
    tls: TlsFigures,
}

#[derive(Serialize)]
struct TlsFigures {
    /// The highest version that the generator offered.
    version: &'static str,
    cells: Vec<CellEntry>,
    full_handshakes: Vec<HandshakeEntry>,
    resumed_handshakes: Vec<HandshakeEntry>,
    idle: Vec<IdleMemory>,
}

/// The ratios of ringway-tls to another server.
#[derive(Clone, Copy, Serialize)]
struct Ratios {
    /// Of messages or handshakes per second, ours to theirs.
    rate: Spread,
    /// Of server CPU time for each, theirs to ours.
    cpu: Spread,
}

/// One contestant in one cell.
#[derive(Serialize)]
struct CellEntry {
    cell: String,
    contestant: String,
    messages_per_second: Option<Spread>,
    server_cpu_us_per_message: Option<Spread>,
    server_busy_share: Option<f64>,
    generator_busy_share: Option<f64>,
    /// Of ringway-tls to this one.
    ringway_tls_ratio: Option<Ratios>,
    failure: Option<String>,
    rounds: Vec<Option<RoundSample>>,
}

/// The handshakes of one contestant.
#[derive(Serialize)]
struct HandshakeEntry {
    contestant: String,
    per_second: Option<Spread>,
    /// To open, upgrade and close one connection.
    server_cpu_us: Option<Spread>,
    /// Of ringway-tls to this one.
    ringway_tls_ratio: Option<Ratios>,
    failure: Option<String>,
    rounds: Vec<Handshake>,
}

/// The memory of one contestant.
#[derive(Serialize)]
struct IdleMemory {
    contestant: String,
    bytes_per_connection: Option<Spread>,
    failure: Option<String>,
    rounds: Vec<f64>,
}

impl TlsReport {
    pub(super) fn new(base: BenchReport, version: &'static str, names: &[String], found: TlsFound) -> Self {
        let tls = TlsFigures {
            version,
            cells: found.cells.iter().flat_map(|cell| cell_entries(cell, names)).collect(),
            full_handshakes: handshake_entries(&found.full, names),
            resumed_handshakes: handshake_entries(&found.resumed, names),
            idle: idle_entries(found.idle, names),
        };
        Self { base, tls }
    }

    /// Whether a contestant has no figures in some part.
    pub(super) fn has_gaps(&self) -> bool {
        !self.gaps().is_empty()
    }

    fn gaps(&self) -> Vec<String> {
        let tls = &self.tls;
        let silent = || "no message came back while measuring: this machine is too busy".to_owned();
        let cells = tls.cells.iter().filter(|entry| entry.messages_per_second.is_none()).map(|entry| {
            let why = entry.failure.clone().unwrap_or_else(silent);
            format!("{}, {}: {why}", entry.contestant, entry.cell)
        });
        let handshakes = tls.full_handshakes.iter().chain(&tls.resumed_handshakes);
        let handshakes = handshakes.map(|entry| (&entry.contestant, "handshakes", &entry.failure));
        let idle = tls.idle.iter().map(|entry| (&entry.contestant, "idle", &entry.failure));
        let others = handshakes.chain(idle).filter_map(|(name, part, failure)| {
            let why = failure.as_ref()?;
            Some(format!("{name}, {part}: {why}"))
        });
        cells.chain(others).collect()
    }

    pub(super) fn to_json(&self) -> Result<String, serde_json::Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    pub(super) fn to_text(&self) -> String {
        self.write(TableFormat::Text)
    }

    pub(super) fn to_markdown(&self) -> String {
        self.write(TableFormat::Markdown)
    }

    fn write(&self, format: TableFormat) -> String {
        let bullet = if format == TableFormat::Markdown { "- " } else { "" };
        let mut out = String::new();
        self.base.head().lines().for_each(|line| out += &format!("{bullet}{line}\n"));
        out += &format!("{bullet}TLS {}\n\n{LEGEND}", self.tls.version);
        let tls = &self.tls;
        if !tls.cells.is_empty() {
            out += "\nmessages (connections × size × in flight)\n\n";
            out += &cell_table(&tls.cells).format(format);
        }
        for (title, entries) in
            [("full handshakes", &tls.full_handshakes), ("resumed handshakes", &tls.resumed_handshakes)]
        {
            if entries.iter().any(|entry| entry.per_second.is_some()) {
                let connections = self.base.plan.connect_connections;
                out += &format!("\n{title}: {connections} connections opened, upgraded and closed\n\n");
                out += &handshake_table(entries).format(format);
            }
        }
        if tls.idle.iter().any(|entry| entry.bytes_per_connection.is_some()) {
            let [low, high] = self.base.plan.idle_connections;
            out += &format!("\nidle connections: growth of the server's memory (Pss) from {low} to {high}\n\n");
            out += &idle_table(&tls.idle).format(format);
        }
        let gaps = self.gaps();
        if !gaps.is_empty() {
            out += "\n-: without figures\n\n";
            gaps.iter().for_each(|gap| out += &format!("{bullet}{}\n", gap.replace('\n', " ")));
        }
        if self.base.interrupted {
            out += "\ninterrupted: the figures are those of a part of the bench\n";
        }
        out
    }
}

fn cell_entries(cell: &Cell, names: &[String]) -> Vec<CellEntry> {
    let ours = &cell.series[TLS].rounds;
    let entry = |(index, name): (usize, &String)| {
        let series = &cell.series[index];
        let spread = |figure: fn(&RoundSample) -> f64| Spread::of(series.rounds.iter().flatten().map(figure));
        let busy = Busy::of(&series.rounds);
        CellEntry {
            cell: cell.shape.to_string(),
            contestant: name.clone(),
            messages_per_second: spread(|sample| sample.messages_per_second),
            server_cpu_us_per_message: spread(|sample| sample.server_cpu_us_per_message),
            server_busy_share: busy.map(|busy| busy.server),
            generator_busy_share: busy.map(|busy| busy.generator),
            ringway_tls_ratio: (index != TLS)
                .then(|| both_ratios(ours, &series.rounds))
                .flatten()
                .map(|[rate, cpu]| Ratios { rate, cpu }),
            failure: series.failure.clone(),
            rounds: series.rounds.clone(),
        }
    };
    names.iter().enumerate().map(entry).collect()
}

fn handshake_entries(found: &[Held<Handshake>], names: &[String]) -> Vec<HandshakeEntry> {
    let ours = &found[TLS].rounds;
    let entry = |(index, held): (usize, &Held<Handshake>)| {
        let rounds = &held.rounds;
        HandshakeEntry {
            contestant: names[index].clone(),
            per_second: Spread::of(rounds.iter().map(|round| round.per_second)),
            server_cpu_us: Spread::of(rounds.iter().map(|round| round.server_cpu_us)),
            ringway_tls_ratio: if index == TLS { None } else { handshake_ratios(ours, rounds) },
            failure: held.failure.clone(),
            rounds: rounds.clone(),
        }
    };
    // Without TLS nothing is resumed.
    let is_measured = |entry: &HandshakeEntry| entry.contestant != names[PLAIN] || entry.per_second.is_some();
    found.iter().enumerate().map(entry).filter(is_measured).collect()
}

fn handshake_ratios(ours: &[Handshake], theirs: &[Handshake]) -> Option<Ratios> {
    let pairs = || ours.iter().zip(theirs);
    if pairs().count() < MIN_PAIRS {
        return None;
    }
    Some(Ratios {
        rate: Spread::of(pairs().map(|(ours, theirs)| ours.per_second / theirs.per_second))?,
        cpu: Spread::of(pairs().map(|(ours, theirs)| theirs.server_cpu_us / ours.server_cpu_us))?,
    })
}

fn idle_entries(found: Vec<Held<f64>>, names: &[String]) -> Vec<IdleMemory> {
    let entry = |(held, name): (Held<f64>, &String)| IdleMemory {
        contestant: name.clone(),
        bytes_per_connection: Spread::of(held.rounds.iter().copied()),
        failure: held.failure,
        rounds: held.rounds,
    };
    found.into_iter().zip(names).map(entry).collect()
}

/// The two fields of the ratios to a contestant, which ringway-tls itself does not have.
fn ratio_fields(contestant: &str, ratios: Option<&Ratios>) -> [String; 2] {
    if contestant == super::OURS[TLS] {
        return Default::default();
    }
    [
        figure(ratios, |ratios| middle_and_ends(&ratios.rate, cpu)),
        figure(ratios, |ratios| middle_and_ends(&ratios.cpu, cpu)),
    ]
}

fn cell_table(entries: &[CellEntry]) -> ReportTable {
    let titles =
        ["cell", "server", "messages/s", "CPU µs", "busy: server, generator", "ratio of rates", "ratio of CPU"];
    let mut table = ReportTable::new(&titles, &[0, 1]);
    let mut last = "";
    for entry in entries {
        let cell = if entry.cell == last { "" } else { &*entry.cell };
        last = &entry.cell;
        let [by_rate, by_cpu] = ratio_fields(&entry.contestant, entry.ringway_tls_ratio.as_ref());
        table.row(vec![
            cell.into(),
            entry.contestant.clone(),
            figure(entry.messages_per_second.as_ref(), |spread| middle_and_ends(spread, rate)),
            figure(entry.server_cpu_us_per_message.as_ref(), |spread| middle_and_ends(spread, cpu)),
            figure(entry.server_busy_share.zip(entry.generator_busy_share), |(server, generator)| {
                format!("{}, {}", percent(server), percent(generator))
            }),
            by_rate,
            by_cpu,
        ]);
    }
    table
}

fn handshake_table(entries: &[HandshakeEntry]) -> ReportTable {
    let titles = ["server", "handshakes/s", "CPU µs each", "ratio of rates", "ratio of CPU"];
    let mut table = ReportTable::new(&titles, &[0]);
    for entry in entries {
        let [by_rate, by_cpu] = ratio_fields(&entry.contestant, entry.ringway_tls_ratio.as_ref());
        table.row(vec![
            entry.contestant.clone(),
            figure(entry.per_second.as_ref(), |spread| middle_and_ends(spread, rate)),
            figure(entry.server_cpu_us.as_ref(), |spread| middle_and_ends(spread, cpu)),
            by_rate,
            by_cpu,
        ]);
    }
    table
}

fn idle_table(entries: &[IdleMemory]) -> ReportTable {
    let mut table = ReportTable::new(&["server", "bytes for each connection"], &[0]);
    for entry in entries {
        let bytes = figure(entry.bytes_per_connection.as_ref(), |spread| middle_and_ends(spread, whole));
        table.row(vec![entry.contestant.clone(), bytes]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::cells::Shape;

    fn sample(rate: f64, cpu: f64) -> Option<RoundSample> {
        Some(RoundSample {
            messages_per_second: rate,
            server_cpu_us_per_message: cpu,
            p50_us: 1.0,
            p99_us: 2.0,
            server_busy_share: 0.5,
            generator_busy_share: 1.0,
            server_waiting_share: 0.0,
        })
    }

    fn names() -> Vec<String> {
        ["ringway", "ringway-tls", "other"].map(str::to_owned).to_vec()
    }

    #[test]
    fn ratios_are_those_of_our_server_with_tls_and_of_paired_rounds() {
        let mut cell = Cell::new(Shape { connections: 1, size: 20, in_flight: 1 }, 3);
        for machine in [1.0, 0.5, 0.8] {
            cell.series[PLAIN].rounds.push(sample(100.0 * machine, 4.0));
            cell.series[TLS].rounds.push(sample(90.0 * machine, 5.0));
            cell.series[2].rounds.push(sample(60.0 * machine, 10.0));
        }
        let entries = cell_entries(&cell, &names());
        let medians = |at: usize| entries[at].ringway_tls_ratio.map(|ratios| (ratios.rate.median, ratios.cpu.median));
        assert_eq!((medians(PLAIN), medians(TLS), medians(2)), (Some((0.9, 0.8)), None, Some((1.5, 2.0))));
        let table = cell_table(&entries).format(TableFormat::Markdown);
        let rows: Vec<&str> = table.lines().skip(2).collect();
        assert!(rows[0].starts_with("| 1 × 20 B × 1 | ringway | 80 (50–100) |"), "{table}");
        assert!(rows[0].ends_with("| 50 %, 100 % | 0.90 (0.90–0.90) | 0.80 (0.80–0.80) |"), "{table}");
        assert!(rows[1].starts_with("|  | ringway-tls |") && rows[1].ends_with("|  |  |"), "{table}");
    }

    #[test]
    fn handshakes_are_compared_by_rate_and_by_cpu_time() {
        let rounds = |per_second, server_cpu_us| vec![Handshake { per_second, server_cpu_us }; MIN_PAIRS];
        let held = |rounds| Held { rounds, failure: None };
        let found = [held(rounds(9000.0, 30.0)), held(rounds(4000.0, 150.0)), held(rounds(2000.0, 300.0))];
        let entries = handshake_entries(&found, &names());
        let ratios = entries[2].ringway_tls_ratio.map(|ratios| (ratios.rate.median, ratios.cpu.median));
        assert_eq!(ratios, Some((2.0, 2.0)));
        let found = [held(Vec::new()), held(rounds(4000.0, 150.0)), held(Vec::new())];
        let entries = handshake_entries(&found, &names());
        assert_eq!(entries.iter().map(|entry| &*entry.contestant).collect::<Vec<_>>(), ["ringway-tls", "other"]);
        assert!(entries[1].ringway_tls_ratio.is_none(), "there are no pairs");
    }
}
