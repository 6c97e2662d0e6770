//! What is published, what arrives where, and when. Pure: the behaviour is in the worker.
//!
//! Each message has a head with its publisher, its number and the time at which it was due
//! ([`Head`]). A thread collects the deliveries to its readers ([`Deliveries`]) and hands them over
//! at each cut of the ledgers; the conductor joins those of all threads ([`Join`]), and records the
//! first, the median and the last delivery of a message when all readers have it, or when its
//! timeout has passed.
//!
//! A publisher is a reader of the messages of the others. Servers differ in whether they send a
//! message back to its publisher, so its own copy does not count as a delivery.

mod deliveries;
mod head;
mod join;
mod topic;

pub(crate) use deliveries::{Delivered, Deliveries};
pub(crate) use head::{HEAD, Head};
pub(crate) use join::Join;
pub use topic::Topic;
pub(crate) use topic::TopicEvent;

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// The maximum number of times of delivery that are held at a time, over all threads: 64 MiB. The
/// conductor holds as many. A time beyond it is not recorded: its message has no median.
const MAX_TIMES: usize = 8 << 20;

/// The maximum number of messages that are held at a time, over all threads. The deliveries of a
/// message beyond it are in the histogram of all deliveries only.
const MAX_MESSAGES: usize = 1 << 20;

/// The maximum product of the publishers and the connections of a population, whose order is
/// tracked for each pair in 12 bytes.
pub(crate) const MAX_PAIRS: u64 = 1 << 24;

/// What the threads of a population share.
#[derive(Debug)]
pub(crate) struct Publishing {
    /// The messages that were published since the beginning.
    published: AtomicU64,
    /// The threads that may publish more.
    threads: AtomicUsize,
}

impl Publishing {
    pub(crate) fn new(threads: usize) -> Self {
        Self { published: AtomicU64::new(0), threads: AtomicUsize::new(threads) }
    }

    /// Counts a message that is about to be sent.
    pub(crate) fn publish(&self) {
        self.published.fetch_add(1, Ordering::AcqRel);
    }

    /// Takes back the latest message of this thread, which was not sent.
    pub(crate) fn take_back(&self) {
        self.published.fetch_sub(1, Ordering::AcqRel);
    }

    /// Notes that a thread publishes no more.
    pub(crate) fn conclude(&self) {
        self.threads.fetch_sub(1, Ordering::AcqRel);
    }

    /// The number of published messages, when no thread publishes more.
    pub(crate) fn total(&self) -> Option<u64> {
        (self.threads.load(Ordering::Acquire) == 0).then(|| self.so_far())
    }

    pub(crate) fn so_far(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }
}
