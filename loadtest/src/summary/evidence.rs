//! The evidence of the verdict, from what was measured.

use super::messages::MessageFigures;
use super::part::Part;
use crate::conductor::Score;
use crate::observe::sampler::WindowUse;
use crate::plan::{Behaviour, Plan};
use crate::verdict::{self, Figures, LoadFigures, OpenFigures, PathFigures};

/// The figures from which the verdict is derived.
///
/// `backlog_unknown`: why the backlog of the server's listener is unknown.
pub(super) fn evidence(
    plan: &Plan,
    all: &Part,
    messages: &MessageFigures,
    score: &Score,
    window: Option<WindowUse>,
    is_local: bool,
    backlog_unknown: Option<String>,
) -> Figures {
    let counts = &all.ledger.counts;
    let mut response = all.ledger.response.clone();
    let response = response.quantiles();
    let in_flight =
        plan.populations.iter().zip(&score.established).filter(|(population, _)| population.behaviour.sends());
    let in_flight =
        in_flight.map(|(population, open)| open * u64::from(population.load.in_flight().unwrap_or(0))).sum();
    let load = if plan.populations.iter().any(|population| population.load.is_open()) {
        let unanswered = counts.offered.saturating_sub(counts.received + counts.corrupted);
        let mut lag = all.ledger.send_lag.clone();
        LoadFigures::Open(OpenFigures {
            offered: counts.offered,
            achieved: if counts.offered > 0 { 1.0 - unanswered as f64 / counts.offered as f64 } else { 0.0 },
            backlog_growth: score.backlog.1 as i64 - score.backlog.0 as i64,
            unsent_growth: score.unsent_growth,
            lost_turns: counts.unsent,
            held_back: 0,
            send_lag_p99_us: lag.quantiles().map(|lag| lag.p99),
        })
    } else if plan.populations.iter().any(|population| population.behaviour == Behaviour::Send) {
        LoadFigures::Stream { held_back: score.held_back }
    } else if plan.populations.iter().any(|population| population.behaviour.sends()) {
        LoadFigures::Closed { in_flight }
    } else {
        LoadFigures::None
    };
    let mut figures = Figures {
        load,
        established: all.connections.established,
        messages: (messages.per_second * score.length.as_secs_f64()).round() as u64,
        messages_per_second: messages.per_second,
        bytes_per_second: messages.bytes_sent_per_second.max(messages.bytes_received_per_second),
        response_mean_us: response.map(|response| response.mean),
        response_p99_us: response.map(|response| response.p99),
        generator: score
            .usage
            .iter()
            .zip(&score.cores)
            .map(|(usage, core)| verdict::ThreadFigures::new(usage, *core))
            .collect(),
        path: PathFigures {
            is_local,
            round_trip_us: all.opening.times_of_connecting().map(|connect| connect.min),
            link_bits_per_second: None,
        },
        ..Figures::default()
    };
    match window {
        Some(window) => figures.observe(window),
        None => figures.missing.push("all: nothing was measured".into()),
    }
    figures.missing.extend(backlog_unknown);
    figures
}
