//! The published messages of a broadcast on one thread, and their deliveries.

use super::line::Line;
use crate::broadcast::{Deliveries, Publishing};
use crate::sequence::Sequence;
use std::sync::Arc;

/// The messages of a population on one thread.
pub(super) struct Broadcast {
    /// What the threads have in common.
    pub(super) shared: Arc<Publishing>,
    /// Identifies the messages of this run.
    pub(super) key: u64,
    /// The number of the first connection of the population, over all threads. The publishers are
    /// the first connections.
    pub(super) first: u32,
    pub(super) publishers: u32,
    /// For each place and each publisher, the messages that the place has received.
    pub(super) received: Box<[Sequence]>,
    pub(super) deliveries: Deliveries,
    /// Messages that the open connections have received from others.
    pub(super) delivered: u64,
    /// Messages that the open connections have published.
    pub(super) published: u64,
    /// This thread publishes no more.
    pub(super) has_concluded: bool,
}

impl Broadcast {
    pub(super) fn new(
        shared: Arc<Publishing>,
        key: u64,
        first: u32,
        publishers: u32,
        places: usize,
        threads: usize,
    ) -> Self {
        Self {
            shared,
            key,
            first,
            publishers,
            received: vec![Sequence::default(); places * publishers as usize].into(),
            deliveries: Deliveries::new(threads),
            delivered: 0,
            published: 0,
            has_concluded: false,
        }
    }

    /// Notes that this thread publishes no more.
    pub(super) fn conclude(&mut self) {
        if !std::mem::replace(&mut self.has_concluded, true) {
            self.shared.conclude();
        }
    }

    /// The deliveries to the open connections of this thread that have not taken place.
    fn undelivered(&self, open: u64, published: u64) -> u64 {
        (published * open).saturating_sub(self.delivered + self.published)
    }

    /// Whether every message of all threads has reached the open connections of this thread.
    pub(super) fn is_delivered(&self, open: u64) -> bool {
        self.shared.total().is_some_and(|published| self.undelivered(open, published) == 0)
    }

    /// The deliveries that have not taken place, as messages to all readers of this thread.
    pub(super) fn outstanding(&self, open: u64) -> u64 {
        self.undelivered(open, self.shared.so_far()).checked_div(open).unwrap_or(0)
    }

    /// Notes that a connection has ended.
    pub(super) fn lose(&mut self, line: &Line) {
        self.delivered -= line.mark;
        self.published -= u64::from(line.next);
    }
}
