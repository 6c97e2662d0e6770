//! Messages in the report: their numbers, rates and latencies.

use crate::histogram::Quantiles;
use crate::ledger::{Counts, Ledger};
use crate::plan::{Behaviour, Population};
use serde::Serialize;
use std::time::Duration;

/// Messages of the measured part: those that were due in it. Replies count wherever they arrive, up
/// to the end of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MessageFigures {
    /// The number that was due. A closed loop has no schedule: the number sent.
    pub offered: u64,
    /// The number that was submitted.
    pub sent: u64,
    /// The number that was due and not submitted: on connections that were not open, `blocked` and
    /// `overdue`.
    pub unsent: u64,
    /// The number that its connection did not take when it was due, because the server did not read:
    /// sent later or `blocked`. In a closed loop that sends as fast as the server reads: how often a
    /// connection took no more.
    pub held_back: u64,
    /// The number of `unsent` ones that their connection did not take up to the end of the measured
    /// part.
    pub blocked: u64,
    /// The number of `unsent` ones that the generator had not come to at the end of the measured part.
    pub overdue: u64,
    /// The number that was answered correctly.
    pub received: u64,
    /// The number that was answered wrongly.
    pub corrupted: u64,
    /// The number that was not answered.
    pub missing: u64,
    /// The number of these whose connection ended; of datagrams all of them.
    pub lost: u64,
    /// The number of second replies.
    pub duplicated: u64,
    /// The number of replies that a reply to a later message has overtaken.
    pub reordered: u64,
    /// The number of replies after the timeout.
    pub late: u64,
    /// The number of messages that reply to nothing.
    pub unasked: u64,
    /// The number of replies in several frames.
    pub fragmented: u64,
    /// The number of messages whose sequence number a connection did not receive, although it
    /// received a higher one. Known for `numbered` messages only.
    pub skipped: u64,
    /// The number of messages that had a sequence number of `ringway serve --app push`.
    pub numbered: u64,
    /// The number of the server's pings.
    pub pings: u64,
    /// The number of replies, and of other messages, that arrived within the measured part.
    pub arrived: u64,
    /// Bytes of payload sent within the measured part.
    pub bytes_sent: u64,
    /// Bytes of payload received within the measured part.
    pub bytes_received: u64,
    /// The rate within the measured part of messages that arrived, or, of a population that sends
    /// without replies, of those that were sent. The sum over the populations.
    pub per_second: f64,
    /// The rate of submitted messages, whenever they were due.
    pub sent_per_second: f64,
    /// Bytes of payload sent per second.
    pub bytes_sent_per_second: f64,
    /// Bytes of payload received per second.
    pub bytes_received_per_second: f64,
    /// `per_second` divided by the rate of the schedule. `null` in a closed loop, and if the
    /// measured part has a number of messages.
    pub achieved: Option<f64>,
}

/// Latencies in microseconds. A message that was not answered enters at the time that it had waited:
/// quantiles from there on are lower bounds.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LatencyFigures {
    /// From the time at which a message was due to its reply. In a closed loop it is due when it is
    /// sent.
    pub response: Option<Quantiles>,
    /// From the time at which it was submitted to its reply.
    pub service: Option<Quantiles>,
    /// From the time at which it was due to its submission. `null` in a closed loop, except of
    /// a replay with times.
    pub send_lag: Option<Quantiles>,
}

/// The messages of a part of the generator, such as a thread. The sum over all parts is the figure
/// of the same name in [`MessageFigures`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MessageShare {
    /// The number that was due.
    pub offered: u64,
    /// The number that was submitted.
    pub sent: u64,
    /// The number that was answered correctly.
    pub received: u64,
    /// The number that was not answered. The missing deliveries of a broadcast belong to no thread.
    pub missing: u64,
    /// The number of replies, and of other messages, that arrived within the measured part.
    pub arrived: u64,
    /// Bytes of payload sent within the measured part.
    pub bytes_sent: u64,
    /// Bytes of payload received within the measured part.
    pub bytes_received: u64,
}

impl MessageFigures {
    /// The figures of a population. `is_timed`: the measured part has a length in time. One of a number
    /// of messages ends with the last reply, so its rate is not a share of that of the schedule.
    pub(super) fn new(counts: &Counts, length: Duration, population: &Population, is_timed: bool) -> Self {
        let (done, submitted) = match population.behaviour {
            Behaviour::Send | Behaviour::Replay { .. } => (counts.sent, counts.sent),
            _ => (counts.arrived, counts.submitted),
        };
        let (rate, offered) = (per_second(done, length), per_second(counts.offered, length));
        Self {
            per_second: rate,
            sent_per_second: per_second(submitted, length),
            achieved: (population.load.is_open() && is_timed && offered > 0.0).then(|| rate / offered),
            ..Self::of(counts, length)
        }
    }

    /// The figures of several populations together. `counts`: their sum.
    pub(super) fn total<'a>(
        counts: &Counts,
        length: Duration,
        populations: impl Iterator<Item = &'a Self> + Clone,
    ) -> Self {
        let each = || populations.clone();
        // The mean of the shares of the schedules, weighted by the messages that were due.
        let open = each().filter_map(|messages| Some((messages.achieved?, messages.offered as f64)));
        let (sum, offered) = open.fold((0.0, 0.0), |sum, (share, offered)| (sum.0 + share * offered, sum.1 + offered));
        Self {
            per_second: each().map(|messages| messages.per_second).sum(),
            sent_per_second: each().map(|messages| messages.sent_per_second).sum(),
            achieved: (offered > 0.0).then(|| sum / offered),
            ..Self::of(counts, length)
        }
    }

    /// The counts, and the rates of bytes.
    fn of(counts: &Counts, length: Duration) -> Self {
        Self {
            offered: counts.offered,
            sent: counts.sent,
            unsent: counts.unsent,
            held_back: counts.held_back,
            blocked: counts.blocked,
            overdue: counts.overdue,
            received: counts.received,
            corrupted: counts.corrupted,
            missing: counts.missing,
            lost: counts.lost,
            duplicated: counts.duplicated,
            reordered: counts.reordered,
            late: counts.late,
            unasked: counts.unasked,
            fragmented: counts.fragmented,
            skipped: counts.skipped,
            numbered: counts.numbered,
            pings: counts.pings,
            arrived: counts.arrived,
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
            bytes_sent_per_second: per_second(counts.bytes_sent, length),
            bytes_received_per_second: per_second(counts.bytes_received, length),
            ..Self::default()
        }
    }
}

impl MessageShare {
    pub(super) fn new(counts: &Counts) -> Self {
        Self {
            offered: counts.offered,
            sent: counts.sent,
            received: counts.received,
            missing: counts.missing,
            arrived: counts.arrived,
            bytes_sent: counts.bytes_sent,
            bytes_received: counts.bytes_received,
        }
    }
}

impl LatencyFigures {
    pub(super) fn new(ledger: &mut Ledger) -> Self {
        Self {
            response: ledger.response.quantiles(),
            service: ledger.service.quantiles(),
            send_lag: ledger.send_lag.quantiles(),
        }
    }
}

/// A rate; 0 if there was no time.
pub(super) fn per_second(count: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}
