//! The evidence of the verdict, from what was measured.

use super::messages::per_second;
use super::part::Part;
use crate::conductor::Score;
use crate::fleet::connects_later;
use crate::histogram::Recorder;
use crate::ledger::Ledger;
use crate::observe::sampler::WindowUse;
use crate::plan::{Behaviour, Load, Plan, Population};
use crate::tally::Behind;
use crate::verdict::{self, Completion, Figures, LoadFigures, OpenFigures, PathFigures};

/// The messages of the open loops of a plan. Those of its closed loops keep up with any server, so
/// they show nothing of the open ones.
#[derive(Default)]
pub(super) struct OpenLoops {
    ledger: Ledger,
    /// The messages that were answered, or submitted where none is answered.
    done: u64,
    /// The replies of the measured part.
    replies: u64,
}

impl OpenLoops {
    /// Adds a population if its loop is open.
    pub(super) fn add(&mut self, population: &Population, part: &Part, readers: u64) {
        if !population.load.is_open() {
            return;
        }
        self.done += part.done(&population.behaviour, readers);
        let mut ledger = part.ledger.clone();
        if population.behaviour.is_answered() {
            self.replies += ledger.counts.arrived;
        } else {
            ledger.response = Recorder::default();
        }
        self.ledger.merge(ledger);
    }

    fn figures(mut self, plan: &Plan, score: &Score) -> OpenFigures {
        let counts = self.ledger.counts;
        let unanswered = counts.offered.saturating_sub(self.done);
        let growth = |figure: fn(Behind) -> u64| figure(score.behind.1) as i64 - figure(score.behind.0) as i64;
        OpenFigures {
            offered: counts.offered,
            answered_share: if counts.offered > 0 { 1.0 - unanswered as f64 / counts.offered as f64 } else { 0.0 },
            replies_per_second: per_second(self.replies, score.length),
            backlog_growth: growth(Behind::total),
            unsent_growth: growth(|behind| behind.unsent),
            lost_turns: counts.unsent.saturating_sub(counts.blocked + counts.overdue),
            held_back: counts.held_back,
            send_lag_p99_us: self.ledger.send_lag.quantiles().map(|lag| lag.p99),
            completion: completion(&plan.populations),
        }
    }
}

/// The figures from which the verdict is derived. `completed_per_second`: the rate of replies, and
/// of messages that were sent where none is expected.
pub(super) fn evidence(
    plan: &Plan,
    all: &Part,
    open: OpenLoops,
    completed_per_second: f64,
    score: &Score,
    window: Option<WindowUse>,
) -> Figures {
    let counts = &all.ledger.counts;
    let is_open = plan.populations.iter().any(|population| population.load.is_open());
    let mut response = if is_open { open.ledger.response.clone() } else { all.ledger.response.clone() };
    let response = response.quantiles();
    let in_flight = plan.populations.iter().zip(&score.established).map(|(one, open)| places(one, *open)).sum();
    let load = if is_open {
        LoadFigures::Open(open.figures(plan, score))
    } else if plan.populations.iter().any(|population| is_stream(&population.behaviour)) {
        LoadFigures::Stream { held_back: counts.held_back }
    } else if plan.populations.iter().any(|population| population.behaviour.sends()) {
        LoadFigures::Closed { in_flight }
    } else {
        LoadFigures::None
    };
    let mut figures = Figures {
        load,
        established: all.connections.established,
        messages: (completed_per_second * score.length.as_secs_f64()).round() as u64,
        messages_per_second: completed_per_second,
        bytes_per_second: per_second(counts.bytes_sent.max(counts.bytes_received), score.length),
        response_mean_us: response.map(|response| response.mean),
        response_p99_us: response.map(|response| response.p99),
        generator: score
            .usage
            .iter()
            .zip(&score.cores)
            .map(|(usage, core)| verdict::ThreadFigures::new(usage, *core))
            .collect(),
        path: PathFigures {
            round_trip_us: all.opening.times_of_connecting().map(|connect| connect.min),
            ..PathFigures::default()
        },
        ..Figures::default()
    };
    match window {
        Some(window) => figures.observe(window),
        None => figures.missing.push("all: nothing was measured".into()),
    }
    figures
}

/// Whether a closed loop sends without waiting for replies.
fn is_stream(behaviour: &Behaviour) -> bool {
    matches!(behaviour, Behaviour::Send | Behaviour::Replay { .. })
}

/// What completes the messages of the open loops.
fn completion(populations: &[Population]) -> Completion {
    let open = populations.iter().filter(|population| population.load.is_open());
    let kinds = open.map(|population| match population.behaviour {
        Behaviour::Send => Completion::Sent,
        Behaviour::Broadcast { .. } => Completion::Delivered,
        _ => Completion::Answered,
    });
    kinds.reduce(|one, other| if one == other { one } else { Completion::Mixed }).unwrap_or_default()
}

/// The messages that the closed loops of a population have in flight, at most.
fn places(population: &Population, established: u64) -> u64 {
    let Load::Closed { in_flight } = population.load else { return 0 };
    let behaviour = &population.behaviour;
    // These connections open while messages are sent.
    let connections = if connects_later(behaviour) { population.connections.into() } else { established };
    if behaviour.sends() { connections * u64::from(in_flight) } else { 0 }
}

#[cfg(test)]
mod tests;
