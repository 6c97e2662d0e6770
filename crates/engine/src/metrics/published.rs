//! The copy of a shard's numbers that other threads read.

use super::Meters;
use super::codes::{CLOSE_LABELS, ClosedBy, STATUS_LABELS};
use super::histogram::{self, Histogram, Scale};
use super::snapshot::{Closes, ConnectionCounts, PausedCounts, ShardMetrics};
use super::words::{DRIVER_WORDS, driver_from_words, driver_words};
use super::{ConnectionState, Gauges, PauseCause};
use crate::shard::core::{Core, Counters};
use ringway_io::Stats;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// The scales of the histograms, in the order of [`histograms`].
static SCALES: [&Scale; 7] = [
    &histogram::SIZE,
    &histogram::SIZE,
    &histogram::LIFETIME,
    &histogram::HANDSHAKE,
    &histogram::ROUND_TRIP,
    &histogram::WORK,
    &histogram::WORK,
];

fn histograms(meters: &mut Meters) -> [&mut Histogram; 7] {
    [
        &mut meters.received_size,
        &mut meters.sent_size,
        &mut meters.connection_duration,
        &mut meters.handshake_duration,
        &mut meters.ping_rtt,
        &mut meters.fanout_duration,
        &mut meters.turn_duration,
    ]
}

type Words<const N: usize> = [AtomicU64; N];

const fn zeros<const N: usize>() -> Words<N> {
    [const { AtomicU64::new(0) }; N]
}

/// The numbers of one shard as of the end of its last turn. The shard alone writes them. The
/// alignment of two cache lines, which are fetched together, keeps other writers off them.
///
/// Each number is consistent by itself. A reader can see a part of the numbers before and another
/// part after a turn.
#[derive(Debug)]
#[repr(align(128))]
pub(crate) struct Published {
    counters: Words<{ Counters::WORDS }>,
    driver: Words<DRIVER_WORDS>,
    gauges: Words<{ Gauges::WORDS }>,
    sizes: Words<4>,
    histograms: [Words<{ histogram::WORDS }>; SCALES.len()],
    closes: Words<{ CLOSE_LABELS.len() * ClosedBy::ALL.len() }>,
    violations: Words<{ CLOSE_LABELS.len() }>,
    responses: Words<{ STATUS_LABELS.len() }>,
}

impl Published {
    pub(crate) const fn new() -> Self {
        Self {
            counters: zeros(),
            driver: zeros(),
            gauges: zeros(),
            sizes: zeros(),
            histograms: [const { zeros() }; SCALES.len()],
            closes: zeros(),
            violations: zeros(),
            responses: zeros(),
        }
    }

    /// Copies the numbers of a shard.
    pub(crate) fn publish(&self, core: &mut Core, stats: &Stats, free_buffers: usize) {
        if let Some(topics) = &core.topics {
            let gauges = &mut core.meters.gauges;
            gauges.topics = topics.registry.len() as u64;
            gauges.subscriptions = topics.registry.subscriptions() as u64;
        }
        store(&self.counters, &core.counters.words());
        store(&self.driver, &driver_words(stats));
        store(&self.gauges, &core.meters.gauges.words());
        let sizes = [core.memory.queued(), core.memory.held(), core.memory.max(), free_buffers];
        store(&self.sizes, &sizes.map(|size| size as u64));
        let meters = &mut core.meters;
        for (histogram, words) in histograms(meters).into_iter().zip(&self.histograms) {
            if histogram.take_changed() {
                store(words, &histogram.words());
            }
        }
        if meters.closes.take_changed() {
            store(&self.closes, &meters.closes.counts);
        }
        if meters.violations.take_changed() {
            store(&self.violations, &meters.violations.counts);
        }
        if meters.responses.take_changed() {
            store(&self.responses, &meters.responses.counts);
        }
    }

    /// Reads the numbers, from any thread.
    pub(crate) fn read(&self, shard: usize) -> ShardMetrics {
        let gauges = Gauges::from_words(load(&self.gauges));
        let [queue_bytes, budget_used_bytes, budget_bytes, buffers_free] = load(&self.sizes);
        let mut words = self.histograms.iter().zip(SCALES).map(|(words, scale)| {
            let words = load(words);
            Histogram::from_words(scale, words)
        });
        let mut next = || words.next().unwrap_or(Histogram::new(&histogram::SIZE));
        let connections = |state: ConnectionState| gauges.connections[state as usize];
        let paused = |cause: PauseCause| gauges.paused[cause as usize];
        ShardMetrics {
            shard,
            counters: Counters::from_words(load(&self.counters)),
            driver: driver_from_words(load(&self.driver)),
            connections: ConnectionCounts {
                opening: connections(ConnectionState::Opening),
                open: connections(ConnectionState::Open),
                closing: connections(ConnectionState::Closing),
            },
            paused: PausedCounts {
                by_handler: paused(PauseCause::Handler),
                by_backlog: paused(PauseCause::Backlog),
                by_memory: paused(PauseCause::Memory),
            },
            topics: gauges.topics,
            subscriptions: gauges.subscriptions,
            draining: gauges.draining,
            busy: Duration::from_nanos(gauges.busy_nanos),
            queue_bytes,
            budget_used_bytes,
            budget_bytes,
            buffers_free,
            mailbox_messages: 0,
            received_size: next(),
            sent_size: next(),
            connection_duration: next(),
            handshake_duration: next(),
            ping_rtt: next(),
            fanout_duration: next(),
            turn_duration: next(),
            closes: Closes(load(&self.closes)),
            violations: load(&self.violations),
            responses: load(&self.responses),
        }
    }
}

#[inline]
fn store<const N: usize>(to: &Words<N>, from: &[u64; N]) {
    to.iter().zip(from).for_each(|(to, from)| to.store(*from, Relaxed));
}

fn load<const N: usize>(from: &Words<N>) -> [u64; N] {
    std::array::from_fn(|at| from[at].load(Relaxed))
}
