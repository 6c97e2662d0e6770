//! A population in the report.

use super::connections::ConnectionFigures;
use super::messages::{LatencyFigures, MessageFigures, per_second};
use super::part::Part;
use crate::errors::Errors;
use crate::histogram::Quantiles;
use crate::ledger::Ledger;
use crate::opening::OpeningFigures;
use crate::plan::{Behaviour, Load, Population};
use serde::Serialize;
use std::collections::BTreeMap;
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
    /// Connections that opened in the measured part, per second. 0 unless the behaviour opens
    /// connections while messages are sent.
    pub opened_per_second: f64,
    /// Messages of the measured part.
    pub messages: MessageFigures,
    /// Latencies. If the behaviour is `connect`, a message is due when its connection is, so
    /// `response` contains the opening, and `service` is the time of the first message alone.
    pub latency_us: LatencyFigures,
    /// Times between two messages that a connection has received without having asked for them.
    pub gaps_us: Option<Quantiles>,
    /// The deliveries of published messages. `null` unless the behaviour is `broadcast`.
    pub reach: Option<ReachFigures>,
    /// The errors of all phases, by kind.
    pub errors: BTreeMap<String, ErrorFigures>,
}

/// The deliveries of published messages. Times count from when a message was due. A delivery that
/// did not take place within the timeout is in `missing` of the messages, and enters at the time
/// waited. Duplicates and messages out of the order of their publisher are in `duplicated` and
/// `reordered`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ReachFigures {
    /// The number of published messages.
    pub messages: u64,
    /// The number of readers of a message: all connections that were open when messages began, except
    /// its publisher.
    pub readers: u64,
    /// The share of the readers that a message has reached within the timeout, on average.
    pub reached: f64,
    /// The number of messages that the server has sent back to their publisher. Servers differ in
    /// this. Of the other figures, only `arrived`, `bytes_received` and their rates include them.
    pub own_copies: u64,
    /// The number of deliveries that were counted, and are in `each_us`, but for which there was no
    /// memory to join them: the median of their messages is not recorded.
    pub unrecorded: u64,
    /// To each delivery.
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
    /// `readers`: the number of readers of a published message.
    pub(super) fn new(
        population: &Population,
        part: &mut Part,
        readers: u64,
        length: Duration,
        is_timed: bool,
    ) -> Self {
        let mut messages = MessageFigures::new(&part.ledger.counts, length, population, is_timed);
        let reach = matches!(population.behaviour, Behaviour::Broadcast { .. })
            .then(|| ReachFigures::new(&mut part.ledger, readers));
        if reach.is_some() {
            // The schedule is that of publishing, and the rate is that of deliveries.
            messages.achieved = (messages.offered > 0).then(|| messages.sent as f64 / messages.offered as f64);
        }
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
            opened_per_second: per_second(part.ledger.counts.opened, length),
            messages,
            latency_us: LatencyFigures::new(&mut part.ledger),
            gaps_us: part.ledger.gaps.quantiles(),
            reach,
            errors: error_figures(&part.ledger.errors),
        }
    }
}

impl ReachFigures {
    fn new(ledger: &mut Ledger, readers: u64) -> Self {
        let counts = ledger.counts;
        let possible = counts.sent * readers;
        Self {
            messages: counts.sent,
            readers,
            reached: if possible > 0 { counts.received as f64 / possible as f64 } else { 0.0 },
            own_copies: counts.own_copies,
            unrecorded: counts.unrecorded,
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
