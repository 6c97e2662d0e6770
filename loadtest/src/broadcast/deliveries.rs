//! The deliveries on one thread.

use super::{Head, MAX_MESSAGES, MAX_TIMES};
use std::collections::HashMap;
use std::mem;

/// The deliveries of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivered {
    /// The publisher and the number.
    pub(super) id: (u32, u32),
    /// When it was due, in nanoseconds since the epoch.
    pub(super) due: u64,
    /// Whether the thread of the publisher is among those that report.
    pub(super) is_published: bool,
    /// The number of deliveries.
    pub(super) count: u64,
    /// The time from when it was due to the first delivery, and to the last one.
    pub(super) first: u64,
    pub(super) last: u64,
    /// The times to all deliveries, as far as they are recorded.
    pub(super) times: Vec<u64>,
}

impl Delivered {
    fn of(head: Head) -> Self {
        Self {
            id: (head.publisher, head.number),
            due: head.due,
            is_published: false,
            count: 0,
            first: u64::MAX,
            last: 0,
            times: Vec::new(),
        }
    }

    /// Adds the deliveries of another thread; of their times, those for which there is room.
    pub(super) fn merge(&mut self, other: Self, room: usize) {
        self.is_published |= other.is_published;
        self.count += other.count;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.times.extend(other.times.into_iter().take(room));
    }
}

/// The deliveries on one thread that were not handed over yet.
#[derive(Debug)]
pub(crate) struct Deliveries {
    messages: HashMap<(u32, u32), Delivered>,
    times: usize,
    max_messages: usize,
    max_times: usize,
    /// Deliveries of messages that are not held.
    unrecorded: u64,
}

impl Deliveries {
    /// Those of one of this many threads.
    pub(crate) fn new(threads: usize) -> Self {
        Self::with_limits(MAX_MESSAGES / threads, MAX_TIMES / threads)
    }

    fn with_limits(max_messages: usize, max_times: usize) -> Self {
        Self { messages: HashMap::new(), times: 0, max_messages, max_times, unrecorded: 0 }
    }

    fn entry(&mut self, head: Head) -> Option<&mut Delivered> {
        let id = (head.publisher, head.number);
        if self.messages.len() >= self.max_messages && !self.messages.contains_key(&id) {
            return None;
        }
        Some(self.messages.entry(id).or_insert_with(|| Delivered::of(head)))
    }

    /// Notes that a publisher of this thread has sent a message.
    pub(crate) fn publish(&mut self, head: Head) {
        if let Some(message) = self.entry(head) {
            message.is_published = true;
        }
    }

    /// Notes a delivery to a reader of this thread, this long after the message was due.
    pub(crate) fn deliver(&mut self, head: Head, after: u64) {
        let has_room = self.times < self.max_times;
        let Some(message) = self.entry(head) else {
            self.unrecorded += 1;
            return;
        };
        message.count += 1;
        message.first = message.first.min(after);
        message.last = message.last.max(after);
        if has_room {
            message.times.push(after);
            self.times += 1;
        }
    }

    /// Hands everything over. The second figure is the number of deliveries that are not in it.
    pub(crate) fn take(&mut self) -> (Vec<Delivered>, u64) {
        self.times = 0;
        (mem::take(&mut self.messages).into_values().collect(), mem::take(&mut self.unrecorded))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(number: u32) -> Head {
        Head { publisher: 1, number, due: 100 }
    }

    #[test]
    fn deliveries_are_handed_over_once() {
        let mut deliveries = Deliveries::new(2);
        deliveries.publish(head(5));
        deliveries.deliver(head(5), 30);
        deliveries.deliver(head(5), 20);
        let (taken, unrecorded) = deliveries.take();
        let times = vec![30, 20];
        let one = Delivered { id: (1, 5), due: 100, is_published: true, count: 2, first: 20, last: 30, times };
        assert_eq!((taken, unrecorded), (vec![one], 0));
        assert_eq!(deliveries.take(), (vec![], 0));
    }

    #[test]
    fn memory_is_bounded_and_what_is_left_out_is_counted() {
        let mut deliveries = Deliveries::with_limits(2, 3);
        for number in 0..4 {
            (0..5).for_each(|after| deliveries.deliver(head(number), after));
        }
        let (mut taken, unrecorded) = deliveries.take();
        taken.sort_by_key(|message| message.id);
        let counts: Vec<_> = taken.iter().map(|message| (message.count, message.last, message.times.len())).collect();
        assert_eq!((counts, unrecorded), (vec![(5, 4, 3), (5, 4, 0)], 10));
        deliveries.deliver(head(9), 1);
        assert_eq!(deliveries.take().0[0].times, [1], "there is room again");
    }
}
