//! The deliveries of all threads, joined.

use super::{Delivered, MAX_MESSAGES, MAX_TIMES};
use crate::ledger::Ledger;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The messages of a population that have not reached all readers.
#[derive(Debug)]
pub(crate) struct Join {
    /// The number of readers of each message.
    readers: u64,
    /// The time within which a delivery counts, in nanoseconds.
    timeout: u64,
    messages: HashMap<(u32, u32), Delivered>,
    times: usize,
    /// By thread: everything up to this time was handed over.
    reported: Vec<u64>,
    /// Messages due before this time are closed.
    closed: u64,
    max_messages: usize,
    max_times: usize,
}

impl Join {
    pub(crate) fn new(threads: usize, timeout: u64) -> Self {
        Self {
            readers: 0,
            timeout,
            messages: HashMap::new(),
            times: 0,
            reported: vec![0; threads],
            closed: 0,
            max_messages: MAX_MESSAGES,
            max_times: MAX_TIMES,
        }
    }

    /// Sets the number of readers of each message: of the connections that are open when messages
    /// begin, all but the publisher.
    pub(crate) fn set_readers(&mut self, readers: u64) {
        self.readers = readers;
    }

    /// Adds what a thread has handed over, which is everything up to the time `to`. Messages that
    /// have reached all readers, or whose timeout has passed on all threads, enter the ledger.
    pub(crate) fn add(
        &mut self,
        thread: usize,
        to: u64,
        (delivered, unrecorded): (Vec<Delivered>, u64),
        ledger: &mut Ledger,
    ) {
        ledger.counts.unrecorded += unrecorded;
        for message in delivered {
            self.add_message(message, ledger);
        }
        self.reported[thread] = self.reported[thread].max(to);
        let over = self.reported.iter().min().map_or(0, |all| all.saturating_sub(self.timeout));
        if over > self.closed {
            self.closed = over;
            let timeout = self.timeout;
            self.close(over, ledger, |_| timeout);
        }
    }

    /// Enters the messages that are left at the end of the run.
    pub(crate) fn finish(&mut self, now: u64, ledger: &mut Ledger) {
        self.close(u64::MAX, ledger, |due| now.saturating_sub(due));
    }

    fn add_message(&mut self, message: Delivered, ledger: &mut Ledger) {
        let room = self.max_times - self.times;
        let is_full = self.messages.len() >= self.max_messages;
        let id = message.id;
        let joined = match self.messages.entry(id) {
            Entry::Occupied(known) => {
                let known = known.into_mut();
                let before = known.times.len();
                known.merge(message, room);
                self.times += known.times.len() - before;
                known
            }
            Entry::Vacant(_) if is_full => {
                ledger.counts.unrecorded += message.count;
                return;
            }
            Entry::Vacant(free) => {
                let mut message = message;
                message.times.truncate(room);
                self.times += message.times.len();
                free.insert(message)
            }
        };
        if joined.is_published
            && joined.count >= self.readers
            && let Some(complete) = self.messages.remove(&id)
        {
            self.times -= complete.times.len();
            record(complete, self.readers, 0, ledger);
        }
    }

    /// Enters the messages that were due before a time, although some readers do not have them.
    fn close(&mut self, before: u64, ledger: &mut Ledger, waited: impl Fn(u64) -> u64) {
        let over: Vec<_> = self.messages.extract_if(|_, message| message.due < before).collect();
        for (_, message) in over {
            self.times -= message.times.len();
            let waited = waited(message.due);
            record(message, self.readers, waited, ledger);
        }
    }
}

/// Enters a message. A reader that does not have it has waited for at least `waited`.
fn record(message: Delivered, readers: u64, waited: u64, ledger: &mut Ledger) {
    let Delivered { count, first, last, mut times, .. } = message;
    let undelivered = readers.saturating_sub(count);
    ledger.counts.missing += undelivered;
    let reach = &mut ledger.reach;
    if undelivered > 0 {
        reach.each.record_lower_bounds(waited, undelivered);
    }
    if readers == 0 {
        return;
    }
    match count {
        0 => reach.first.record_lower_bounds(waited, 1),
        _ => reach.first.record(first),
    }
    match undelivered {
        0 => reach.last.record(last),
        _ => reach.last.record_lower_bounds(waited, 1),
    }
    let middle = ((readers - 1) / 2) as usize;
    if times.len() as u64 != count {
        ledger.counts.unrecorded += count - times.len() as u64;
    } else if middle < times.len() {
        reach.median.record(*times.select_nth_unstable(middle).1);
    } else {
        reach.median.record_lower_bounds(waited, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::histogram::Recorder;

    const SECOND: u64 = 1_000_000_000;

    fn delivered(number: u32, is_published: bool, times: &[u64]) -> Delivered {
        Delivered {
            id: (1, number),
            due: u64::from(number) * SECOND,
            is_published,
            count: times.len() as u64,
            first: times.iter().copied().min().unwrap_or(u64::MAX),
            last: times.iter().copied().max().unwrap_or(0),
            times: times.to_vec(),
        }
    }

    fn join(readers: u64) -> (Join, Ledger) {
        let mut join = Join::new(2, 10 * SECOND);
        join.set_readers(readers);
        (join, Ledger::default())
    }

    /// The count, the number of lower bounds and the maximum in microseconds.
    fn figures(recorder: &mut Recorder) -> (u64, u64, f64) {
        recorder.quantiles().map_or((0, 0, 0.0), |figures| (figures.count, figures.lower_bounds, figures.max.round()))
    }

    #[test]
    fn a_message_enters_when_all_readers_have_it() {
        let (mut join, mut ledger) = join(4);
        join.add(0, SECOND, (vec![delivered(0, false, &[4_000, 1_000])], 0), &mut ledger);
        assert_eq!(figures(&mut ledger.reach.first).0, 0);
        join.add(1, SECOND, (vec![delivered(0, true, &[3_000, 2_000])], 0), &mut ledger);
        let reach = &mut ledger.reach;
        let all = [&mut reach.first, &mut reach.median, &mut reach.last].map(figures);
        assert_eq!(all, [(1, 0, 1.0), (1, 0, 2.0), (1, 0, 4.0)]);
        assert_eq!((ledger.counts.missing, join.messages.len(), join.times), (0, 0, 0));
    }

    #[test]
    fn a_message_that_does_not_reach_all_enters_when_no_thread_can_add_to_it() {
        let (mut join, mut ledger) = join(3);
        join.add(0, 20 * SECOND, (vec![delivered(1, true, &[5_000])], 0), &mut ledger);
        assert_eq!((ledger.counts.missing, join.messages.len()), (0, 1), "the other thread may know more");
        join.add(1, 11 * SECOND + 1, (vec![], 0), &mut ledger);
        assert_eq!((ledger.counts.missing, join.messages.len()), (2, 0));
        let reach = &mut ledger.reach;
        assert_eq!(figures(&mut reach.first), (1, 0, 5.0));
        for recorder in [&mut reach.median, &mut reach.last] {
            let (count, bounds, max) = figures(recorder);
            assert_eq!((count, bounds), (1, 1));
            assert!(max >= 1e7);
        }
        assert_eq!(figures(&mut reach.each).1, 2, "each reader that does not have it has waited");
    }

    #[test]
    fn a_message_that_reaches_nobody_enters_too() {
        let (mut join, mut ledger) = join(3);
        join.add(0, SECOND, (vec![delivered(0, true, &[])], 0), &mut ledger);
        join.finish(2 * SECOND, &mut ledger);
        assert_eq!((ledger.counts.missing, figures(&mut ledger.reach.first).1), (3, 1));
    }

    #[test]
    fn times_beyond_the_limit_are_counted_and_leave_the_first_and_the_last_delivery_exact() {
        let (mut join, mut ledger) = join(4);
        join.max_times = 3;
        join.add(0, SECOND, (vec![delivered(0, true, &[4_000, 1_000])], 7), &mut ledger);
        join.add(1, SECOND, (vec![delivered(0, false, &[3_000, 9_000])], 0), &mut ledger);
        let reach = &mut ledger.reach;
        let all = [&mut reach.first, &mut reach.median, &mut reach.last].map(figures);
        assert_eq!(all, [(1, 0, 1.0), (0, 0, 0.0), (1, 0, 9.0)]);
        assert_eq!((ledger.counts.unrecorded, join.times), (7 + 1, 0));
    }

    #[test]
    fn messages_beyond_the_limit_are_counted() {
        let (mut join, mut ledger) = join(4);
        join.max_messages = 1;
        join.add(0, SECOND, (vec![delivered(0, true, &[1]), delivered(1, true, &[1, 2])], 0), &mut ledger);
        assert!([1, 2].contains(&ledger.counts.unrecorded) && join.messages.len() == 1);
    }
}
