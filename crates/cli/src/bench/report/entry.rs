//! The result of one contestant in one cell.

use crate::bench::cells::Shape;
use crate::bench::contestants::{Contestant, OURS, Protocol, RING};
use crate::bench::rounds::Cell;
use crate::bench::statistics::Spread;
use crate::bench::verdict::{Busy, Limit, Ratio, RoundSample, compare, rate_ratio};
use crate::choices::BenchDriver;
use serde::Serialize;

/// It has no figures if no message came back in any round, or if the contestant failed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    pub(crate) protocol: Protocol,
    pub(crate) contestant: String,
    /// The driver of a server of ours, in the form that `--driver` parses.
    pub(crate) driver: Option<&'static str>,
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) in_flight: usize,
    /// The medians over the rounds.
    pub(crate) messages_per_second: Option<f64>,
    pub(crate) server_cpu_us_per_message: Option<f64>,
    pub(crate) p50_us: Option<f64>,
    pub(crate) p99_us: Option<f64>,
    /// For our own contestants on the first driver, the ratio of the rate to that of raw echo on our driver over
    /// paired rounds, whichever side was the limit.
    pub(crate) ratio_to_floor: Option<f64>,
    pub(crate) messages_per_second_spread: Option<Spread>,
    pub(crate) server_cpu_us_per_message_spread: Option<Spread>,
    /// The server's system calls for each message, counted in a run of their own.
    pub(crate) syscalls_per_message: Option<f64>,
    pub(crate) server_busy_share: Option<f64>,
    pub(crate) generator_busy_share: Option<f64>,
    pub(crate) limited_by: Option<Limit>,
    /// Whether this is the floor of the cell, the faster of the two raw echoes.
    pub(crate) is_floor: bool,
    /// Whether this is our WebSocket server on the first driver, which all ratios are to.
    #[serde(skip)]
    pub(crate) is_reference: bool,
    /// The ratio of our WebSocket server to this contestant: above 1, ours is better. `None` for
    /// our own, and if the rounds do not support a ratio.
    pub(crate) ringway_ratio: Option<Ratio>,
    pub(crate) failure: Option<String>,
    /// `None` if no message came back.
    pub(crate) rounds: Vec<Option<RoundSample>>,
}

impl Entry {
    pub(crate) fn shape(&self) -> Shape {
        Shape { connections: self.connections, size: self.size, in_flight: self.in_flight }
    }

    pub(crate) fn is_gap(&self) -> bool {
        self.messages_per_second.is_none()
    }
}

/// The entries of one cell, in the order of the contestants.
pub(super) fn of(cell: &Cell, contestants: &[Contestant]) -> Vec<Entry> {
    let (floor, ours) = (cell.floor(), &cell.series[OURS].rounds);
    let entry = |(index, contestant): (usize, &Contestant)| {
        let series = &cell.series[index];
        let rounds = &series.rounds;
        let spread = |figure: fn(&RoundSample) -> f64| Spread::of(rounds.iter().flatten().map(figure));
        let median = |figure: fn(&RoundSample) -> f64| spread(figure).map(|spread| spread.median);
        let busy = Busy::of(rounds);
        Entry {
            protocol: contestant.protocol,
            contestant: contestant.name.clone(),
            driver: contestant.driver.map(BenchDriver::flag),
            size: cell.shape.size,
            connections: cell.shape.connections,
            in_flight: cell.shape.in_flight,
            messages_per_second: median(|sample| sample.messages_per_second),
            server_cpu_us_per_message: median(|sample| sample.server_cpu_us_per_message),
            p50_us: median(|sample| sample.p50_us),
            p99_us: median(|sample| sample.p99_us),
            ratio_to_floor: if matches!(index, RING | OURS) {
                rate_ratio(rounds, &cell.series[RING].rounds)
            } else {
                None
            },
            messages_per_second_spread: spread(|sample| sample.messages_per_second),
            server_cpu_us_per_message_spread: spread(|sample| sample.server_cpu_us_per_message),
            syscalls_per_message: series.syscalls,
            server_busy_share: busy.map(|busy| busy.server),
            generator_busy_share: busy.map(|busy| busy.generator),
            limited_by: busy.map(Busy::limit),
            is_floor: index == floor && !series.is_gap(),
            is_reference: index == OURS,
            ringway_ratio: if index == OURS { None } else { compare(ours, rounds) },
            failure: series.failure.clone(),
            rounds: rounds.clone(),
        }
    };
    contestants.iter().enumerate().map(entry).collect()
}
