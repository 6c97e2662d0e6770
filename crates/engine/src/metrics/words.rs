//! The counters as words, in the order in which they are published.

use super::Gauges;
use crate::shard::core::Counters;
use ringway_io::Stats;
use std::time::Duration;

/// Implements the conversion of a struct of integers to words and back. A field that is missing in
/// the list is an error of the compiler.
macro_rules! words {
    ($type:ty { $($field:ident),* $(,)? }) => {
        impl $type {
            pub(super) const WORDS: usize = [$(stringify!($field)),*].len();

            #[inline]
            pub(super) fn words(&self) -> [u64; Self::WORDS] {
                let Self { $($field),* } = *self;
                [$($field),*]
            }

            pub(super) fn from_words([$($field),*]: [u64; Self::WORDS]) -> Self {
                Self { $($field),* }
            }
        }
    };
}

words!(Counters {
    panics,
    idle,
    write_timeouts,
    message_timeouts,
    memory_pauses,
    memory_refusals,
    memory_closes,
    yields,
    tls_failures,
    stalls,
    deflate_input,
    deflate_output,
    received_bytes,
    sent_bytes,
    handshakes_accepted,
    handshakes_refused,
    handshakes_rejected,
    handshakes_timed_out,
    handshakes_tls,
    handshakes_aborted,
    rejected_limit,
    rejected_rate,
    rejected_handshakes,
    rejected_address,
    rejected_proxy,
    rate_pauses,
    rejected_draining,
    published,
    deliveries,
    dropped_newest,
    dropped_latest,
    dropped_close,
    dropped_mailbox,
    topic_closes,
    mailbox_full,
    mailbox_messages,
    handed_back,
    backlog_pauses,
    lifetime_closes,
    transferred,
    adopted,
    transfers_full,
    echo_opened,
    echo_closed,
    echo_received_bytes,
    echo_sent_bytes,
    echo_pauses,
    echo_datagrams,
    echo_datagram_bytes,
    echo_unsent,
    echo_ignored_truncated,
    echo_ignored_port,
    echo_ignored_group,
    echo_ignored_own,
    echo_ignored_address,
    echo_ignored_total,
    echo_ignored_repeat,
});

/// The number of words of [`Stats`].
pub(super) const DRIVER_WORDS: usize = 13;

#[inline]
pub(super) fn driver_words(stats: &Stats) -> [u64; DRIVER_WORDS] {
    [
        stats.open,
        stats.accepted,
        stats.turns,
        stats.completions,
        stats.stale,
        stats.starved,
        stats.overflows,
        stats.short_sends,
        stats.accept_pauses,
        stats.datagrams_received,
        stats.datagrams_sent,
        stats.datagrams_unsent,
        stats.polled.as_nanos() as u64,
    ]
}

pub(super) fn driver_from_words(words: [u64; DRIVER_WORDS]) -> Stats {
    let mut stats = Stats::default();
    let polled;
    [
        stats.open,
        stats.accepted,
        stats.turns,
        stats.completions,
        stats.stale,
        stats.starved,
        stats.overflows,
        stats.short_sends,
        stats.accept_pauses,
        stats.datagrams_received,
        stats.datagrams_sent,
        stats.datagrams_unsent,
        polled,
    ] = words;
    stats.polled = Duration::from_nanos(polled);
    stats
}

impl Gauges {
    pub(super) const WORDS: usize = 10;

    #[inline]
    pub(super) fn words(&self) -> [u64; Self::WORDS] {
        let Self { connections: [a, b, c], paused: [d, e, f], topics, subscriptions, draining, busy_nanos } = *self;
        [a, b, c, d, e, f, topics, subscriptions, u64::from(draining), busy_nanos]
    }

    pub(super) fn from_words(words: [u64; Self::WORDS]) -> Self {
        let [a, b, c, d, e, f, topics, subscriptions, draining, busy_nanos] = words;
        Self { connections: [a, b, c], paused: [d, e, f], topics, subscriptions, draining: draining != 0, busy_nanos }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_their_places() {
        let numbers = std::array::from_fn(|at| at as u64 + 1);
        assert_eq!(Counters::from_words(numbers).words(), numbers);
        let numbers = std::array::from_fn(|at| at as u64 + 1);
        assert_eq!(driver_words(&driver_from_words(numbers)), numbers);
        let mut numbers = std::array::from_fn(|at| at as u64 + 1);
        numbers[8] = 1;
        assert_eq!(Gauges::from_words(numbers).words(), numbers);
    }
}
