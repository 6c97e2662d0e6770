//! The evidence of plans with one population, and of mixes. No figure is measured.

use super::*;
use crate::lifetime::Span;
use crate::pace::{Arrivals, Schedule};
use crate::verdict::{LimitedBy, evaluate};
use std::time::Duration;

fn population(behaviour: Behaviour, connections: u32, load: Load) -> Population {
    Population { name: behaviour.to_string(), connections, load, ..Population::new(behaviour) }
}

fn closed(in_flight: u32) -> Load {
    Load::Closed { in_flight }
}

fn plan(populations: Vec<Population>) -> Plan {
    Plan { populations, ..Plan::new("ws://127.0.0.1:9/") }
}

/// A run of ten seconds.
fn score(established: &[u64]) -> Score {
    Score { length: Duration::from_secs(10), established: established.to_vec(), ..Score::default() }
}

fn in_flight(plan: &Plan, established: &[u64]) -> LoadFigures {
    evidence(plan, &Part::default(), OpenLoops::default(), 0.0, &score(established), None).load
}

#[test]
fn places_in_flight_are_those_of_open_connections_and_of_places_that_connect_later() {
    let one = |behaviour, load| plan(vec![population(behaviour, 50, load)]);
    assert_eq!(in_flight(&one(Behaviour::Echo, closed(4)), &[40]), LoadFigures::Closed { in_flight: 160 });
    assert_eq!(in_flight(&one(Behaviour::Connect, closed(1)), &[0]), LoadFigures::Closed { in_flight: 50 });
    assert_eq!(in_flight(&one(Behaviour::Receive, closed(1)), &[50]), LoadFigures::None);
}

/// A part of `offered` messages, of which `received` were answered after `nanos`.
fn part(offered: u64, received: u64, nanos: u64) -> Part {
    let mut part = Part::default();
    part.connections.established = 50;
    let counts = &mut part.ledger.counts;
    (counts.offered, counts.sent, counts.received, counts.arrived) = (offered, offered, received, received);
    counts.missing = offered - received;
    part.ledger.response.record(nanos);
    part
}

/// The evidence of a mix with these parts, and a backlog at both ends of the measured part.
fn mixed(plan: &Plan, parts: Vec<Part>, behind: (u64, u64)) -> Figures {
    let (mut all, mut open) = (Part::default(), OpenLoops::default());
    let mut score = score(&vec![50; parts.len()]);
    score.behind = (Behind { unsent: 0, unanswered: behind.0 }, Behind { unsent: 0, unanswered: behind.1 });
    for (population, part) in plan.populations.iter().zip(parts) {
        open.add(population, &part, 49);
        all.merge(part, population.behaviour.is_answered());
    }
    evidence(plan, &all, open, 10_000.0, &score, None)
}

fn scheduled() -> Load {
    Load::Open { schedule: Schedule::constant(100.0), arrivals: Arrivals::Uniform }
}

#[test]
fn a_closed_loop_does_not_hide_an_overloaded_open_one() {
    let plan = plan(vec![
        population(Behaviour::Echo, 50, closed(1)),
        population(
            Behaviour::Churn { lifetime: Span::Fixed(Duration::MAX), pause: Span::Fixed(Duration::ZERO) },
            50,
            scheduled(),
        ),
    ]);
    let figures = mixed(&plan, vec![part(100_000, 100_000, 100_000), part(1_000, 500, 4_000_000)], (50, 550));
    let LoadFigures::Open(open) = figures.load else { panic!("{:?}", figures.load) };
    assert_eq!((open.offered, open.answered_share, open.backlog_growth), (1_000, 0.5, 500));
    assert_eq!(open.replies_per_second, 50.0);
    let mean = figures.response_mean_us.expect("it is answered");
    assert!((3_900.0..4_100.0).contains(&mean), "only the messages of the open loop: {mean}");
    let verdict = evaluate(figures);
    assert_ne!(verdict.limited_by, LimitedBy::Rate, "{:?}", verdict.evidence);
}
