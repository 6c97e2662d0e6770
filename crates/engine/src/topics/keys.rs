//! The latest message of each key of a topic, and the subscribers that wait for them.

use super::log::ENTRY;
use ringway_codec::Prepared;
use std::collections::{BTreeMap, HashMap};

/// The latest messages of a topic, in the order of their updates.
#[derive(Default)]
pub(crate) struct Keys {
    /// The number of the latest entry of each key.
    numbers: HashMap<u64, u64>,
    by_number: BTreeMap<u64, (u64, Prepared)>,
    bytes: usize,
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }

    pub(crate) fn contains(&self, key: u64) -> bool {
        self.numbers.contains_key(&key)
    }

    /// The number of bytes that the messages occupy.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn update(&mut self, key: u64, number: u64, prepared: &Prepared) {
        let cost = |prepared: &Prepared| ENTRY + prepared.as_frame().len();
        if let Some(former) = self.numbers.insert(key, number)
            && let Some((_, former)) = self.by_number.remove(&former)
        {
            self.bytes -= cost(&former);
        }
        self.bytes += cost(prepared);
        let former = self.by_number.insert(number, (key, prepared.clone()));
        debug_assert!(former.is_none(), "each message has a number of its own");
    }

    /// The first message with a number of at least `from`, and its number.
    pub(crate) fn next(&self, from: u64) -> Option<(u64, &Prepared)> {
        self.by_number.range(from..).next().map(|(number, (_, prepared))| (*number, prepared))
    }
}

/// The subscribers that wait for the latest messages of a topic, because their outboxes had no room.
#[derive(Default)]
pub(crate) struct Lagging {
    /// By the index of the slot.
    by_subscriber: HashMap<u32, Vec<Lag>>,
    /// Subscribers whose outboxes have room again.
    ready: Vec<u32>,
}

/// The wait of a subscriber for one topic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lag {
    pub(crate) topic: u32,
    /// It has been given all messages below this number.
    pub(crate) from: u64,
}

impl Lagging {
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_subscriber.is_empty()
    }

    pub(crate) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    pub(crate) fn contains(&self, index: u32, topic: u32) -> bool {
        self.by_subscriber.get(&index).is_some_and(|lags| lags.iter().any(|lag| lag.topic == topic))
    }

    /// Adds a wait, unless there is one for the topic.
    pub(crate) fn insert(&mut self, index: u32, lag: Lag) {
        if !self.contains(index, lag.topic) {
            self.by_subscriber.entry(index).or_default().push(lag);
        }
    }

    pub(crate) fn remove(&mut self, index: u32, topic: u32) {
        if let Some(lags) = self.by_subscriber.get_mut(&index) {
            lags.retain(|lag| lag.topic != topic);
            if lags.is_empty() {
                self.by_subscriber.remove(&index);
            }
        }
    }

    pub(crate) fn remove_topic(&mut self, topic: u32) {
        self.by_subscriber.retain(|_, lags| {
            lags.retain(|lag| lag.topic != topic);
            !lags.is_empty()
        });
    }

    /// Takes the waits of a subscriber.
    pub(crate) fn take(&mut self, index: u32) -> Vec<Lag> {
        self.by_subscriber.remove(&index).unwrap_or_default()
    }

    /// Notes that the outbox of a connection has room again.
    pub(crate) fn has_room(&mut self, index: u32) {
        if self.by_subscriber.contains_key(&index) {
            self.ready.push(index);
        }
    }

    pub(crate) fn take_ready(&mut self) -> Option<u32> {
        self.ready.pop()
    }
}
