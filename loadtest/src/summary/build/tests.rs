//! The rates of single populations and of mixes.

use super::*;
use crate::ledger::Counts;
use crate::pace::{Arrivals, Schedule};
use crate::plan::{Behaviour, Load, Population};
use crate::summary::part::Part;

/// Ten seconds of a population of this behaviour.
fn figures(behaviour: Behaviour, counts: Counts, rate: Option<f64>) -> PopulationFigures {
    let mut population = Population::new(behaviour);
    if let Some(rate) = rate {
        population.load = Load::Open { schedule: Schedule::constant(rate), arrivals: Arrivals::Uniform };
    }
    let mut part = Part::default();
    part.ledger.counts = counts;
    PopulationFigures::new(&population, &mut part, 0, Duration::from_secs(10), true)
}

fn total(populations: &[PopulationFigures]) -> MessageFigures {
    MessageFigures::total(&Counts::default(), Duration::from_secs(10), populations.iter().map(|one| &one.messages))
}

#[test]
fn the_rate_of_a_mix_is_the_sum_of_its_populations() {
    let sent = Counts { offered: 500, sent: 500, submitted: 510, ..Counts::default() };
    let echoed = Counts { offered: 1_000, sent: 1_000, submitted: 1_000, arrived: 1_000, ..Counts::default() };
    let pushed = Counts { arrived: 7_000, ..Counts::default() };
    let mix = [
        figures(Behaviour::Send, sent, None),
        figures(Behaviour::Echo, echoed, Some(200.0)),
        figures(Behaviour::Receive, pushed, None),
    ];
    let messages = total(&mix);
    assert_eq!((messages.per_second, messages.sent_per_second), (850.0, 150.0));
    assert_eq!(messages.achieved, Some(1.0), "only the open loop has a schedule");
    assert_eq!(completed_per_second(&mix), 150.0, "no message asked for the pushed ones");
    assert_eq!(completed_per_second(&mix[2..]), 700.0, "the plan sends none");
    assert_eq!((total(&mix[..1]).per_second, total(&mix[..1]).sent_per_second), (50.0, 50.0));
}

#[test]
fn a_number_of_messages_has_no_share_of_the_schedule() {
    let load = Load::Open { schedule: Schedule::constant(100.0), arrivals: Arrivals::Uniform };
    let population = Population { load, ..Population::default() };
    let counts = Counts { offered: 10, sent: 10, arrived: 10, ..Counts::default() };
    // The tenth message is due after 90 ms.
    let achieved = |is_timed| MessageFigures::new(&counts, Duration::from_millis(91), &population, is_timed).achieved;
    assert_eq!((achieved(true), achieved(false)), (Some(1.0), None));
}
