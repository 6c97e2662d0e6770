//! The message and byte rates of the connections of one shard.
//!
//! A connection that has used up its rate is not read until its buckets have a token again: TCP
//! flow control then holds the peer back. The state is beside the sessions, 64 bytes for each
//! connection, and exists only with a rate.

use super::rate::{Rate, TokenBucket, nanos_since};
use ringway_io::{Slot, TimerWheel};
use std::time::{Duration, Instant};

/// The resolution of the end of a pause.
const TICK: Duration = Duration::from_millis(1);

/// The buckets of all connections of a shard.
#[derive(Debug)]
pub(crate) struct Throttle {
    start: Instant,
    messages: Option<Rate>,
    bytes: Option<Rate>,
    /// By the index of the slot.
    connections: Vec<Option<ConnectionBuckets>>,
    /// The ends of the pauses.
    wheel: TimerWheel,
}

#[derive(Clone, Copy, Debug)]
struct ConnectionBuckets {
    slot: Slot,
    messages: Option<TokenBucket>,
    bytes: Option<TokenBucket>,
}

impl Throttle {
    /// `None` without a rate.
    pub(crate) fn new(messages: Option<Rate>, bytes: Option<Rate>, now: Instant) -> Option<Box<Self>> {
        (messages.is_some() || bytes.is_some()).then(|| {
            let (connections, wheel) = (Vec::new(), TimerWheel::new(now, TICK));
            Box::new(Self { start: now, messages, bytes, connections, wheel })
        })
    }

    /// The buckets of a connection, full on first use.
    fn buckets(&mut self, slot: Slot, now: u64) -> &mut ConnectionBuckets {
        let index = slot.index() as usize;
        if self.connections.len() <= index {
            self.connections.resize(index + 1, None);
        }
        let full = |rate: Option<Rate>| rate.map(|rate| TokenBucket::full(rate, now));
        let (messages, bytes) = (full(self.messages), full(self.bytes));
        self.connections[index].get_or_insert(ConnectionBuckets { slot, messages, bytes })
    }

    /// The number of messages that the connection can deliver now; 0 if one of its buckets is
    /// empty.
    pub(crate) fn allowance(&mut self, slot: Slot, now: Instant) -> u32 {
        let now = nanos_since(self.start, now);
        let (messages, bytes) = (self.messages, self.bytes);
        let buckets = self.buckets(slot, now);
        let left = |rate: Option<Rate>, bucket: &mut Option<TokenBucket>| match (rate, bucket) {
            (Some(rate), Some(bucket)) => bucket.available(rate, now),
            _ => u64::MAX,
        };
        if left(bytes, &mut buckets.bytes) == 0 {
            return 0;
        }
        u32::try_from(left(messages, &mut buckets.messages)).unwrap_or(u32::MAX)
    }

    /// Charges delivered messages and received bytes.
    pub(crate) fn spend(&mut self, slot: Slot, messages: u32, bytes: usize, now: Instant) {
        let now = nanos_since(self.start, now);
        let (message_rate, byte_rate) = (self.messages, self.bytes);
        let buckets = self.buckets(slot, now);
        if let (Some(rate), Some(bucket)) = (message_rate, &mut buckets.messages) {
            bucket.take(rate, messages.into(), now);
        }
        if let (Some(rate), Some(bucket)) = (byte_rate, &mut buckets.bytes) {
            bucket.take(rate, bytes as u64, now);
        }
    }

    /// Sets the end of a pause: when both buckets have a token.
    pub(crate) fn pause(&mut self, slot: Slot, now: Instant) {
        let nanos = nanos_since(self.start, now);
        let (messages, bytes) = (self.messages, self.bytes);
        let buckets = self.buckets(slot, nanos);
        let wait = |rate: Option<Rate>, bucket: &mut Option<TokenBucket>| match (rate, bucket) {
            (Some(rate), Some(bucket)) => bucket.wait(rate, nanos),
            _ => Duration::ZERO,
        };
        let wait = wait(messages, &mut buckets.messages).max(wait(bytes, &mut buckets.bytes));
        let end = now.checked_add(wait).unwrap_or(now);
        self.wheel.set(slot.index(), end);
    }

    /// How long until a pause ends; `None` if there is none.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.wheel.wait(now)
    }

    /// The connections whose pause is over.
    pub(crate) fn expired(&mut self, now: Instant, fired: &mut Vec<u32>) -> impl Iterator<Item = Slot> {
        self.wheel.expire(now, fired);
        let connections = &self.connections;
        fired.drain(..).filter_map(|index| connections.get(index as usize)?.as_ref()).map(|buckets| buckets.slot)
    }

    /// Removes the state of a connection that has ended.
    pub(crate) fn release(&mut self, slot: Slot) {
        if let Some(entry) = self.connections.get_mut(slot.index() as usize) {
            *entry = None;
            self.wheel.clear(slot.index());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: Slot = Slot::new(3, 1);

    fn throttle(messages: Option<Rate>, bytes: Option<Rate>, now: Instant) -> Box<Throttle> {
        Throttle::new(messages, bytes, now).expect("it has a rate")
    }

    #[test]
    fn without_a_rate_there_is_no_state() {
        assert!(Throttle::new(None, None, Instant::now()).is_none());
    }

    #[test]
    fn the_slower_rate_decides_when_a_pause_ends() {
        let start = Instant::now();
        let mut throttle = throttle(Some(Rate::per_second(10).burst(5)), Some(Rate::per_second(100)), start);
        assert_eq!(throttle.allowance(SLOT, start), 5);
        throttle.spend(SLOT, 5, 200, start);
        assert_eq!(throttle.allowance(SLOT, start), 0);
        throttle.pause(SLOT, start);
        let mut fired = Vec::new();
        // The wheel looks at a distant timer earlier.
        assert!(throttle.wait(start).is_some_and(|wait| wait <= Duration::from_millis(1010)));
        // 100 bytes of debt, and one more.
        assert_eq!(throttle.expired(start + Duration::from_millis(1009), &mut fired).count(), 0);
        let end = start + Duration::from_millis(1010);
        assert_eq!(throttle.expired(end, &mut fired).collect::<Vec<_>>(), [SLOT]);
        assert_eq!(throttle.allowance(SLOT, end), 5);
        assert_eq!(throttle.wait(end), None);
    }

    #[test]
    fn a_new_connection_in_a_used_slot_has_full_buckets() {
        let start = Instant::now();
        let mut throttle = throttle(Some(Rate::per_second(1)), None, start);
        throttle.spend(SLOT, 100, 1 << 30, start);
        throttle.pause(SLOT, start);
        throttle.release(SLOT);
        assert_eq!((throttle.wait(start), throttle.allowance(Slot::new(3, 2), start)), (None, 1));
    }
}
