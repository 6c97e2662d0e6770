//! A population in the report.

use super::connections::ConnectionFigures;
use super::messages::{LatencyFigures, MessageFigures};
use super::part::Part;
use crate::errors::Errors;
use crate::histogram::Quantiles;
use crate::ledger::Ledger;
use crate::opening::OpeningFigures;
use crate::plan::{Behaviour, Load, Population};
use crate::tally::Delivery;
use serde::Serialize;
use std::collections::BTreeMap;
use std::slice;
use std::time::Duration;

/// The figures of one population.
#[derive(Clone, Debug, Serialize)]
pub struct PopulationFigures {
    /// Its name.
    pub name: String,
    /// Its behaviour.
    pub behaviour: &'static str,
    /// `closed` or `open`.
    #[serde(rename = "loop")]
    pub load: &'static str,
    /// The messages in flight on each connection. `null` in an open loop.
    pub in_flight: Option<u32>,
    /// Connecting.
    pub connections: ConnectionFigures,
    /// The durations of the stages of connecting.
    pub opening_us: OpeningFigures,
    /// Messages of the measured part.
    pub messages: MessageFigures,
    /// Latencies.
    pub latency_us: LatencyFigures,
    /// Times between two messages that a connection has received without having asked for them.
    pub gaps_us: Option<Quantiles>,
    /// The deliveries of published messages. `null` unless the behaviour is `broadcast`.
    pub reach: Option<ReachFigures>,
    /// The errors of all phases, by kind.
    pub errors: BTreeMap<String, ErrorFigures>,
}

/// The deliveries of published messages.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReachFigures {
    /// The number of published messages that reached a reader.
    pub messages: u64,
    /// The number of readers.
    pub readers: u64,
    /// The share of the readers that a message has reached, on average.
    pub reached: f64,
    /// From the publication to each delivery.
    pub each_us: Option<Quantiles>,
    /// To the first delivery.
    pub first_us: Option<Quantiles>,
    /// To the delivery to half of the readers.
    pub median_us: Option<Quantiles>,
    /// To the last delivery.
    pub last_us: Option<Quantiles>,
}

/// The errors of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorFigures {
    /// Their number.
    pub count: u64,
    /// The texts of the first ones.
    pub samples: Vec<String>,
}

impl PopulationFigures {
    pub(super) fn new(population: &Population, part: &mut Part, deliveries: Vec<Delivery>, length: Duration) -> Self {
        let readers = part.connections.established;
        let reach = matches!(population.behaviour, Behaviour::Broadcast { .. }).then(|| {
            let (messages, deliveries) = join_deliveries(&mut part.ledger, deliveries);
            ReachFigures::new(&mut part.ledger, messages, deliveries, readers)
        });
        Self {
            name: population.name.clone(),
            behaviour: population.behaviour.name(),
            load: match population.load {
                Load::Closed { .. } => "closed",
                Load::Open { .. } => "open",
            },
            in_flight: population.load.in_flight(),
            connections: part.connections,
            opening_us: part.opening.times(),
            messages: MessageFigures::new(&part.ledger.counts, length, slice::from_ref(population)),
            latency_us: LatencyFigures::new(&mut part.ledger),
            gaps_us: part.ledger.gaps.quantiles(),
            reach,
            errors: error_figures(&part.ledger.errors),
        }
    }
}

impl ReachFigures {
    fn new(ledger: &mut Ledger, messages: u64, deliveries: u64, readers: u64) -> Self {
        let possible = messages * readers;
        Self {
            messages,
            readers,
            reached: if possible > 0 { deliveries as f64 / possible as f64 } else { 0.0 },
            each_us: ledger.reach.each.quantiles(),
            first_us: ledger.reach.first.quantiles(),
            median_us: ledger.reach.median.quantiles(),
            last_us: ledger.reach.last.quantiles(),
        }
    }
}

/// The errors by kind.
pub(super) fn error_figures(errors: &Errors) -> BTreeMap<String, ErrorFigures> {
    let figures = errors
        .iter()
        .map(|(kind, mishap)| (kind.to_owned(), ErrorFigures { count: mishap.count, samples: mishap.samples.clone() }));
    figures.collect()
}

/// Joins the deliveries of all threads, and records the first, the median and the last one of each
/// message. Returns the numbers of messages and of deliveries.
fn join_deliveries(ledger: &mut Ledger, deliveries: Vec<Delivery>) -> (u64, u64) {
    let mut messages: BTreeMap<(u32, u32), Vec<u64>> = BTreeMap::new();
    for delivery in deliveries {
        messages.entry((delivery.publisher, delivery.number)).or_default().extend(delivery.after);
    }
    let mut total = 0;
    for after in messages.values_mut() {
        after.sort_unstable();
        total += after.len() as u64;
        if let (Some(first), Some(last)) = (after.first(), after.last()) {
            ledger.reach.first.record(*first);
            ledger.reach.median.record(after[(after.len() - 1) / 2]);
            ledger.reach.last.record(*last);
        }
    }
    (messages.len() as u64, total)
}
