//! The part of a population in a run: its ledger and its connections, over all threads.

use super::connections::ConnectionFigures;
use super::messages::per_second;
use crate::conductor::Score;
use crate::histogram::Recorder;
use crate::ledger::Ledger;
use crate::opening::OpeningTally;
use crate::plan::{Behaviour, Plan};
use crate::tally::CrewTally;
use std::mem;
use std::time::Duration;

/// The figures of a population before they are divided by time.
#[derive(Default)]
pub(super) struct Part {
    pub(super) ledger: Ledger,
    pub(super) connections: ConnectionFigures,
    pub(super) opening: OpeningTally,
    /// The start of the first connect and the end of the last one, in nanoseconds.
    ramp: Option<(u64, u64)>,
}

/// The parts of the populations: their ledgers and their connections on all threads.
pub(super) fn parts(plan: &Plan, score: &mut Score) -> Vec<Part> {
    let (before, measured, after) =
        (mem::take(&mut score.before), mem::take(&mut score.measured), mem::take(&mut score.after));
    let ledgers = before.into_iter().zip(measured).zip(after).map(|((before, mut measured), after)| {
        // Errors of all phases count, messages only of the measured part.
        let dropped = before.counts.dropped + after.counts.dropped;
        measured.errors.merge(before.errors);
        measured.errors.merge(after.errors);
        measured.counts.dropped += dropped;
        // A closed loop submits a message when it is due, and records one of the two times.
        if measured.service.quantiles().is_none() {
            measured.service = measured.response.clone();
        }
        measured
    });
    let mut parts: Vec<Part> = ledgers
        .zip(&plan.populations)
        .map(|(ledger, population)| Part {
            connections: ConnectionFigures {
                requested: population.connections.into(),
                dropped: ledger.counts.dropped,
                compressing: plan.offer.deflate.map(|_| 0),
                ..ConnectionFigures::default()
            },
            ledger,
            opening: OpeningTally::default(),
            ramp: None,
        })
        .collect();
    for tally in mem::take(&mut score.tallies) {
        for (part, crew) in parts.iter_mut().zip(tally.crews) {
            part.add(crew);
        }
    }
    for part in &mut parts {
        part.connections.per_second = per_second(part.connections.established, part.ramp_time());
        part.connections.failed_in = part.opening.failed_in();
    }
    parts
}

impl Part {
    /// The messages that were answered, or submitted if none is answered.
    pub(super) fn done(&self, behaviour: &Behaviour, readers: u64) -> u64 {
        let counts = &self.ledger.counts;
        match behaviour {
            // Of a broadcast, the deliveries to all readers are one answer.
            Behaviour::Broadcast { .. } => counts.received.checked_div(readers).unwrap_or(0),
            _ if behaviour.is_answered() => counts.received + counts.corrupted,
            _ => counts.sent,
        }
    }

    /// Adds the connections of one thread.
    fn add(&mut self, crew: CrewTally) {
        self.connections.established += crew.established;
        self.connections.failed += crew.failed;
        if let Some(compressing) = &mut self.connections.compressing {
            *compressing += crew.compressing;
        }
        self.opening.merge(crew.opening);
        self.ramp = join(self.ramp, crew.ramp);
    }

    /// Adds another population. Only messages that are answered have latencies.
    pub(super) fn merge(&mut self, other: Self, is_answered: bool) {
        let (mine, theirs) = (&mut self.connections, &other.connections);
        mine.requested += theirs.requested;
        mine.established += theirs.established;
        mine.failed += theirs.failed;
        mine.dropped += theirs.dropped;
        mine.compressing = match (mine.compressing, theirs.compressing) {
            (Some(mine), Some(theirs)) => Some(mine + theirs),
            (mine, theirs) => mine.or(theirs),
        };
        self.opening.merge(other.opening);
        self.ramp = join(self.ramp, other.ramp);
        let mut ledger = other.ledger;
        if !is_answered {
            (ledger.response, ledger.service) = (Recorder::default(), Recorder::default());
        }
        self.ledger.merge(ledger);
        self.connections.failed_in = self.opening.failed_in();
        self.connections.per_second = per_second(self.connections.established, self.ramp_time());
    }

    pub(super) fn ramp_time(&self) -> Duration {
        self.ramp.map_or(Duration::ZERO, |(begin, end)| Duration::from_nanos(end.saturating_sub(begin)))
    }
}

fn join(one: Option<(u64, u64)>, other: Option<(u64, u64)>) -> Option<(u64, u64)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        _ => one.or(other),
    }
}
