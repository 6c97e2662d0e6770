//! The report of `bench`: the model that the text, JSON and Markdown writers share.

mod entry;
mod figures;
mod json;
mod markdown;
mod table;
mod text;

use super::cells::{MAX_BYTES_IN_FLIGHT, Shape};
use super::connect::Connecting;
use super::contestants::Protocol;
use super::fanout::{FanoutEntry, FanoutShape};
use super::idle::IdleResult;
use super::machine::Machine;
use super::peers::PeerSpec;
use super::syscalls::Counting;
use super::verdict::{SATURATED, is_disturbed};
use super::{Effort, rounds::Cell};
pub(crate) use entry::Entry;
pub(in crate::bench) use figures::{cpu, figure, middle_and_ends, percent, rate, ratio, time, whole};
use serde::Serialize;
pub(in crate::bench) use table::{ReportTable, TableFormat};

/// The whole report. Its keys are stable; `schema_version` changes when a key is removed or changes
/// its meaning.
#[derive(Debug, Serialize)]
pub(crate) struct BenchReport {
    pub(crate) schema_version: u32,
    /// The version of this program.
    pub(crate) version: &'static str,
    /// The time at which the bench began, in UTC (RFC 3339).
    pub(crate) started: String,
    pub(crate) machine: Machine,
    pub(crate) plan: BenchPlan,
    /// The contestants of each cell in turn, always in the same order.
    pub(crate) cells: Vec<Entry>,
    /// The contestants of each cell of fan-out in turn, always in the same order. Empty if the bench
    /// ended before this part, or does not have it.
    pub(crate) fanout: Vec<FanoutEntry>,
    /// `None` if the bench ended before this part.
    pub(crate) connect: Option<Connecting>,
    /// `None` if the bench ended before this part.
    pub(crate) idle: Option<IdleResult>,
    /// How the system calls of the cells were counted, or why they were not. `None` without
    /// `--syscalls`, or if the bench ended before that.
    pub(crate) syscalls: Option<Counting>,
    /// Whether a signal ended the bench early: then cells are missing or have fewer rounds.
    pub(crate) interrupted: bool,
}

/// The plan of the bench.
#[derive(Debug, Serialize)]
pub(crate) struct BenchPlan {
    pub(crate) rounds: usize,
    pub(crate) warmup_seconds: f64,
    /// The minimum; cells with many bytes in flight have longer windows.
    pub(crate) window_seconds: f64,
    /// In the form that `--cells` parses.
    pub(crate) cells: Vec<Shape>,
    pub(crate) contestants: Vec<String>,
    pub(crate) peers: Vec<PeerSpec>,
    /// In the form that `--fanout` parses.
    pub(crate) fanout: Vec<FanoutShape>,
    pub(crate) fanout_peers: Vec<PeerSpec>,
    pub(crate) max_bytes_in_flight: usize,
    /// The busy share from which a side counts as saturated.
    pub(crate) saturated_share: f64,
    /// The number of connections of one round of connecting.
    pub(crate) connect_connections: u32,
    /// The two numbers of idle connections.
    pub(crate) idle_connections: [u32; 2],
    /// The busy polling of our servers, in the form that `--busy-poll` parses.
    pub(crate) busy_poll: String,
}

impl BenchPlan {
    pub(crate) fn new(effort: &Effort, cells: &[Shape], contestants: Vec<String>, peers: &[PeerSpec]) -> Self {
        Self {
            busy_poll: effort.busy_poll.clone(),
            rounds: effort.rounds,
            warmup_seconds: effort.warmup.as_secs_f64(),
            window_seconds: effort.window.as_secs_f64(),
            cells: cells.to_vec(),
            contestants,
            peers: peers.to_vec(),
            fanout: Vec::new(),
            fanout_peers: Vec::new(),
            max_bytes_in_flight: MAX_BYTES_IN_FLIGHT,
            saturated_share: SATURATED,
            connect_connections: effort.connect,
            idle_connections: [effort.idle.low, effort.idle.high],
        }
    }
}

impl BenchReport {
    /// The entries, grouped by cell.
    fn by_cell(&self) -> impl Iterator<Item = &[Entry]> {
        self.cells.chunk_by(|one, next| one.shape() == next.shape())
    }

    /// Whether a contestant has no figures in some part.
    pub(crate) fn has_gaps(&self) -> bool {
        let connect = self.connect.iter().flat_map(|connect| &connect.contestants).map(|found| &found.failure);
        let idle = self.idle.iter().flat_map(|idle| &idle.contestants).map(|found| &found.failure);
        let fanout = self.fanout.iter().any(|entry| entry.gap().is_some());
        fanout || self.cells.iter().any(Entry::is_gap) || connect.chain(idle).any(Option::is_some)
    }

    /// A warning if one of our own servers, which have one thread per core, had to wait for its
    /// core.
    fn disturbance(&self) -> Option<String> {
        let ours = || self.cells.iter().filter(|entry| entry.protocol != Protocol::WsPeer && !entry.is_gap());
        let disturbed = ours().filter(|entry| is_disturbed(&entry.rounds)).count();
        (disturbed > 0 && !self.machine.is_shared()).then(|| {
            format!(
                "other processes ran on the servers' cores in {disturbed} of {} series: rates are lower than they would be",
                ours().count()
            )
        })
    }

    /// A line with the reason of each gap.
    fn gaps(&self) -> Vec<String> {
        let silent = "no message came back while measuring: this machine is too busy";
        let reason = |entry: &Entry| entry.failure.clone().unwrap_or_else(|| silent.into());
        let cells = self.cells.iter().filter(|entry| entry.is_gap());
        let cells = cells.map(|entry| format!("{}, {}: {}", entry.contestant, entry.shape(), reason(entry)));
        let connect = self.connect.iter().flat_map(|connect| &connect.contestants);
        let connect =
            connect.filter_map(|found| Some(format!("{}, connecting: {}", found.contestant, found.failure.as_ref()?)));
        let idle = self.idle.iter().flat_map(|idle| &idle.contestants);
        let idle = idle.filter_map(|found| Some(format!("{}, idle: {}", found.contestant, found.failure.as_ref()?)));
        let fanout = self.fanout.iter().filter_map(FanoutEntry::gap);
        cells.chain(fanout).chain(connect).chain(idle).collect()
    }
}

/// The entries of all cells with at least one round.
pub(crate) fn entries(cells: &[Cell], contestants: &[super::contestants::Contestant]) -> Vec<Entry> {
    cells.iter().filter(|cell| cell.is_measured()).flat_map(|cell| entry::of(cell, contestants)).collect()
}

#[cfg(test)]
mod tests;
