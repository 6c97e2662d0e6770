//! The ledger of a population: its counts and histograms in one interval.
//!
//! A message belongs to the interval in which it was due, and its reply to the same, whenever it
//! arrives. Only the rate of replies is that of the interval in which they arrive. A thread fills
//! one ledger for each of its populations; ledgers of threads, and of successive intervals, add up.

use crate::errors::Errors;
use crate::histogram::Recorder;

/// The counts and histograms of one population in one interval.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) counts: Counts,
    /// From the time at which a message was due to its reply.
    pub(crate) response: Recorder,
    /// From the time at which a message was submitted to its reply. In a closed loop a message is
    /// due when it is submitted, so this is empty.
    pub(crate) service: Recorder,
    /// From the time at which a message was due to its submission. Empty in a closed loop.
    pub(crate) send_lag: Recorder,
    /// Between two messages that a connection has received without having asked for them.
    pub(crate) gaps: Recorder,
    /// From the publication of a message to its delivery: to each reader, to the first, to the
    /// median and to the last one.
    pub(crate) reach: Reach,
    pub(crate) errors: Errors,
}

/// The deliveries of published messages.
#[derive(Clone, Default)]
pub(crate) struct Reach {
    pub(crate) each: Recorder,
    pub(crate) first: Recorder,
    pub(crate) median: Recorder,
    pub(crate) last: Recorder,
}

/// Declares counts that add up.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)+) => {
        /// The counts of one population in one interval.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) struct Counts {
            $($(#[$doc])* pub(crate) $name: u64,)+
        }

        impl Counts {
            /// Adds the counts of another thread or interval.
            pub(crate) fn add(&mut self, other: &Self) {
                $(self.$name += other.$name;)+
            }
        }
    };
}

counts! {
    /// Messages that were due. In a closed loop: those that were sent.
    offered,
    /// Messages that were submitted.
    sent,
    /// Messages that were submitted in this interval, whenever they were due.
    submitted,
    /// Messages that were due and not submitted: their connection was not open or did not take
    /// them, or the generator was behind.
    unsent,
    /// Those of `unsent` that the generator had not come to at the end of the measured part.
    overdue,
    /// Messages that their connection did not take when they were due, because the server did not read
    /// the earlier ones: they are sent later or `blocked`. In a closed loop that sends as fast as the
    /// server reads: how often a connection took no more.
    held_back,
    /// Those of `unsent` that their connection did not take up to the end of the measured part.
    blocked,
    /// Messages of this interval that were answered correctly.
    received,
    /// Messages of this interval that were answered wrongly: another kind, length or content.
    corrupted,
    /// Messages of this interval that were not answered within the timeout, or at all.
    missing,
    /// Those of `missing` whose connection ended; of datagrams all of them.
    lost,
    /// Replies that arrived in this interval, whenever their message was due, and messages that
    /// were received without having been asked for.
    arrived,
    /// Second replies to a message.
    duplicated,
    /// Replies that a reply to a later message has overtaken.
    reordered,
    /// Replies after the timeout.
    late,
    /// Messages that reply to nothing, where replies are expected.
    unasked,
    /// Replies in several frames.
    fragmented,
    /// Messages whose sequence number a connection has not received, although it has received a
    /// higher one.
    skipped,
    /// Messages with a sequence number that were received without having been asked for.
    numbered,
    /// Copies of published messages that their publisher has received.
    own_copies,
    /// Deliveries whose time is in the histogram of all deliveries only.
    unrecorded,
    /// Pings of the server.
    pings,
    /// Bytes of payload that arrived in this interval.
    bytes_received,
    /// Bytes of payload that were submitted.
    bytes_sent,
    /// Connections that were opened.
    opened,
    /// Connections that ended although the plan did not end them.
    dropped,
    /// Connections that the plan has ended.
    ended,
}

impl Counts {
    /// Forgets what arrived: it arrived after the interval.
    pub(crate) fn forget_arrivals(&mut self) {
        (self.arrived, self.bytes_received, self.opened) = (0, 0, 0);
    }
}

impl Ledger {
    /// Adds the ledger of another thread or interval.
    pub(crate) fn merge(&mut self, mut other: Self) {
        self.counts.add(&other.counts);
        self.response.merge(&mut other.response);
        self.service.merge(&mut other.service);
        self.send_lag.merge(&mut other.send_lag);
        self.gaps.merge(&mut other.gaps);
        self.reach.each.merge(&mut other.reach.each);
        self.reach.first.merge(&mut other.reach.first);
        self.reach.median.merge(&mut other.reach.median);
        self.reach.last.merge(&mut other.reach.last);
        self.errors.merge(other.errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Enters a message that was answered after a time, or not within it.
    fn enter(ledger: &mut Ledger, nanos: u64, is_answered: bool) {
        ledger.counts.offered += 1;
        if is_answered {
            ledger.counts.received += 1;
            ledger.response.record(nanos);
        } else {
            ledger.counts.missing += 1;
            ledger.response.record_lower_bound(nanos);
            ledger.errors.count("reply_timeout", String::new);
        }
    }

    proptest! {
        // A histogram has 33 000 counters, which a build without optimization adds slowly.
        #![proptest_config(ProptestConfig::with_cases(40))]
        /// The ledgers of threads and intervals are the ledger of all messages, in whatever order
        /// they are added.
        #[test]
        fn the_sum_of_intervals_is_the_whole(
            messages in prop::collection::vec((0..6usize, 0..20_000_000_000u64, prop::bool::weighted(0.9)), 0..200),
            order in Just([0, 1, 2, 3, 4, 5]).prop_shuffle(),
        ) {
            let mut whole = Ledger::default();
            let mut parts: Vec<Ledger> = (0..6).map(|_| Ledger::default()).collect();
            for (part, nanos, is_answered) in messages {
                enter(&mut parts[part], nanos, is_answered);
                enter(&mut whole, nanos, is_answered);
            }
            let mut sum = Ledger::default();
            order.into_iter().for_each(|part| sum.merge(std::mem::take(&mut parts[part])));
            prop_assert_eq!(sum.counts, whole.counts);
            prop_assert_eq!(sum.response.quantiles(), whole.response.quantiles());
            prop_assert_eq!(sum.response.buckets(), whole.response.buckets());
            prop_assert_eq!(sum.errors.total(), whole.errors.total());
        }
    }

    #[test]
    fn ledgers_add_up() {
        let (mut one, mut other) = (Ledger::default(), Ledger::default());
        one.counts.sent = 3;
        other.counts.sent = 4;
        other.counts.dropped = 1;
        one.response.record(1_000);
        other.response.record(2_000);
        other.errors.count("reset", || "gone".into());
        one.merge(other);
        assert_eq!((one.counts.sent, one.counts.dropped, one.errors.total()), (7, 1, 1));
        assert_eq!(one.response.quantiles().map(|quantiles| quantiles.count), Some(2));
        assert_eq!(one.service.quantiles(), None);
    }
}
