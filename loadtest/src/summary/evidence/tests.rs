//! The evidence of plans with one population, and of mixes. No figure is measured.

use super::*;
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
    evidence(plan, &Part::default(), 0, &MessageFigures::default(), &score(established), None).load
}

#[test]
fn places_in_flight_are_those_of_open_connections_and_of_places_that_connect_later() {
    let one = |behaviour, load| plan(vec![population(behaviour, 50, load)]);
    assert_eq!(in_flight(&one(Behaviour::Echo, closed(4)), &[40]), LoadFigures::Closed { in_flight: 160 });
    assert_eq!(in_flight(&one(Behaviour::Connect, closed(1)), &[0]), LoadFigures::Closed { in_flight: 50 });
    assert_eq!(in_flight(&one(Behaviour::Receive, closed(1)), &[50]), LoadFigures::None);
}
