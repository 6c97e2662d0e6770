//! From what was measured to the report. Pure.

use super::connections::CompressionFigures;
use super::evidence::{OpenLoops, evidence};
use super::messages::{LatencyFigures, MessageFigures};
use super::part::{Part, parts};
use super::plan::PlanFigures;
use super::population::{PopulationFigures, error_figures};
use super::text::Details;
use super::usage::{GeneratorFigures, GeneratorThreadFigures, ServerFigures};
use super::{Report, SCHEMA_VERSION, histograms};
use crate::conductor::Score;
use crate::observe::listening::syn_retries;
use crate::observe::sampler::WindowUse;
use crate::observe::server::ServerUse;
use crate::observe::{MachineFigures, RampFigures, ServerIdentity};
use crate::plan::{Plan, RunLength};
use crate::verdict;
use ringway::placement::Assignment;
use std::time::Duration;

/// What a run has found out, beside the plan.
pub(crate) struct Outcome<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) seed: u64,
    pub(crate) started_at: f64,
    pub(crate) handshakes: u32,
    pub(crate) driver: String,
    pub(crate) assignment: &'a Assignment,
    pub(crate) machine: MachineFigures,
    pub(crate) ramp: RampFigures,
    pub(crate) score: Score,
    pub(crate) server: Option<(ServerIdentity, ServerUse)>,
    /// What was sampled in the measured part; `None` if nothing was measured.
    pub(crate) window: Option<WindowUse>,
    /// Whether the server is on this machine.
    pub(crate) is_local: bool,
    /// The speed of the network to a server on another machine.
    pub(crate) link_bits_per_second: Option<f64>,
    /// A sentence for each source outside of the window that could not be read.
    pub(crate) missing: Vec<String>,
}

/// Makes the report.
pub(crate) fn build(outcome: Outcome<'_>) -> Report {
    let Outcome { plan, mut score, .. } = outcome;
    let length = score.length;
    let mut all = Part::default();
    let mut populations = Vec::new();
    let mut buckets = plan.buckets.then(Vec::new);
    let deflated = score.tallies.iter().map(|tally| tally.deflated);
    let deflated = deflated.fold((0, 0), |sum, of_thread| (sum.0 + of_thread.0, sum.1 + of_thread.1));
    let parts = parts(plan, &mut score);
    let is_timed = matches!(plan.length, RunLength::Time(_));
    let mut open = OpenLoops::default();
    for ((index, population), mut part) in plan.populations.iter().enumerate().zip(parts) {
        let readers = score.established.get(index).map_or(0, |open| open.saturating_sub(1));
        open.add(population, &part, readers);
        let figures = PopulationFigures::new(population, &mut part, readers, length, is_timed);
        if let Some(buckets) = &mut buckets {
            buckets.extend(histograms::of_part(&format!("/populations/{}", populations.len()), &mut part));
        }
        populations.push(figures);
        all.merge(part, population.behaviour.is_answered());
    }
    if let Some(buckets) = &mut buckets {
        buckets.extend(histograms::of_part("", &mut all));
    }
    let ramp_time = all.ramp_time();
    let messages = MessageFigures::total(&all.ledger.counts, length, populations.iter().map(|one| &one.messages));
    let completed = completed_per_second(&populations);
    let cpu = score.usage.iter().map(|usage| usage.cpu).sum::<Duration>();
    let has_schedule = plan.populations.iter().any(|population| population.load.is_open());
    let uncertainty = score.late.quantiles().filter(|_| has_schedule).map(|late| late.p99);
    let mut evidence = evidence(plan, &all, open, completed, &score, outcome.window);
    evidence.path.is_local = outcome.is_local;
    evidence.path.link_bits_per_second = outcome.link_bits_per_second;
    evidence.missing.extend(outcome.missing);
    let mut ramp = outcome.ramp;
    ramp.syn_retries = syn_retries(|range| all.opening.connected_within(range));
    Report {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION"),
        started_at: outcome.started_at,
        machine: outcome.machine,
        plan: PlanFigures::new(plan, outcome.seed, outcome.handshakes, outcome.driver, outcome.assignment),
        connections: all.connections,
        opening_us: all.opening.times(),
        ramp,
        tls: plan.targets.iter().any(|target| target.is_secure()).then(|| all.opening.tls()),
        compression: plan.offer.deflate.map(|_| CompressionFigures::new(deflated.0, deflated.1)),
        latency_us: LatencyFigures::new(&mut all.ledger),
        messages,
        populations,
        histograms: buckets,
        errors: error_figures(&all.ledger.errors),
        timeline: score.timeline.figures(),
        generator: GeneratorFigures {
            threads: score
                .usage
                .iter()
                .zip(outcome.assignment.cores())
                .zip(&score.shares)
                .map(|((usage, core), shares)| GeneratorThreadFigures::new(usage, *core, &plan.populations, shares))
                .collect(),
            cpu_seconds: cpu.as_secs_f64(),
            uncertainty_us: uncertainty,
        },
        server: outcome.server.map(|(identity, used)| ServerFigures::new(identity, &used, completed, length)),
        verdict: verdict::evaluate(evidence),
        interrupted: plan.stop.is_set(),
        measured: length,
        text: Details::new(plan, outcome.assignment, ramp_time, all.ledger.response, completed),
    }
}

/// The rate of replies, and of messages that were sent where none is expected. Messages that no
/// message asked for contribute only if the plan sends none.
fn completed_per_second(populations: &[PopulationFigures]) -> f64 {
    let rate = |is_pushed: fn(&PopulationFigures) -> bool| -> f64 {
        let those = populations.iter().filter(|population| !is_pushed(population));
        those.map(|population| population.messages.per_second).sum()
    };
    let is_pushed = |population: &PopulationFigures| matches!(population.behaviour, "receive" | "slow" | "idle");
    if populations.iter().all(is_pushed) { rate(|_| false) } else { rate(is_pushed) }
}

#[cfg(test)]
mod tests;
