//! The names of topics, their members, and the subscriptions of each connection.
//!
//! A subscription is 16 bytes: 8 in the list of the topic's members, and 8 in the list of the
//! connection's subscriptions. Each has the other's position, so that both are removed in constant
//! time. The lists grow by a quarter, so that they have at most a quarter of unused memory.

use super::exchange::Announcer;
use super::keys::Keys;
use crate::api::topic::{TopicLimit, TopicPolicy};
use ringway_codec::Prepared;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

/// The memory of a topic in bytes, with its name: an average.
const TOPIC: usize = 320;

/// The memory of a subscription in bytes, with unused memory of the lists.
const SUBSCRIPTION: usize = 24;

/// The topics and subscribers of a shard.
#[derive(Default)]
pub(crate) struct Registry {
    names: HashMap<Arc<str>, u32>,
    topics: Vec<Option<Topic>>,
    /// The number of the last entry of each topic, dense: a connection looks up those of all its
    /// topics.
    last: Vec<u64>,
    free: Vec<u32>,
    /// By the index of the slot; connections without subscriptions have none.
    subscribers: Vec<Option<Box<Subscriber>>>,
    subscriptions: usize,
    kept_bytes: usize,
    announcer: Option<Announcer>,
}

/// A topic that has members, a policy, or entries in the log.
pub(crate) struct Topic {
    pub(crate) name: Arc<str>,
    pub(crate) members: Vec<Member>,
    /// The numbers of its entries in the log, in order.
    pub(crate) entries: VecDeque<u64>,
    pub(crate) policy: TopicPolicy,
    /// With [`TopicPolicy::Latest`].
    pub(crate) keys: Option<Box<Keys>>,
    /// Its frames in the segment of the current sweep, by compression class.
    pub(crate) joined: Vec<Joined>,
}

/// One connection that has subscribed to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The index of its slot.
    pub(crate) index: u32,
    /// The position in the list of its subscriptions.
    pub(crate) back: u32,
}

/// A connection with subscriptions.
pub(crate) struct Subscriber {
    /// It has been given all entries of its topics below this number, and none from it on.
    pub(crate) cursor: u64,
    pub(crate) subscriptions: Vec<Subscription>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subscription {
    pub(crate) topic: u32,
    /// The position in the list of the topic's members.
    place: u32,
}

/// The frames of a topic in a segment, for the connections of one compression class.
pub(crate) struct Joined {
    pub(crate) class: u8,
    pub(crate) bytes: Arc<[u8]>,
    /// The offset of each frame.
    pub(crate) starts: Vec<u32>,
    /// Whether any of the frames is compressed.
    pub(crate) is_deflated: bool,
}

impl Joined {
    /// The bytes from the frame `from` on.
    pub(crate) fn range(&self, from: usize) -> Range<u32> {
        let end = self.bytes.len() as u32;
        self.starts.get(from).copied().unwrap_or(end)..end
    }
}

impl Topic {
    /// The positions among its entries with numbers in `numbers`.
    pub(crate) fn positions(&self, numbers: Range<u64>) -> Range<usize> {
        let at = |number| self.entries.partition_point(|&entry| entry < number);
        at(numbers.start)..at(numbers.end)
    }
}

impl Registry {
    /// Announces the topics that have subscribers to other shards from now on.
    pub(crate) fn announce_to(&mut self, announcer: Announcer) {
        debug_assert!(self.names.is_empty(), "shards join before they have topics");
        self.announcer = Some(announcer);
    }

    pub(crate) fn find(&self, name: &str) -> Option<u32> {
        self.names.get(name).copied()
    }

    /// The number of topics.
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.subscriptions
    }

    /// The number of bytes that topics and subscriptions occupy, without their messages.
    pub(crate) fn bytes(&self) -> usize {
        self.names.len() * TOPIC + self.subscriptions * SUBSCRIPTION
    }

    /// The bytes of the messages that are kept as the latest of their keys.
    pub(crate) fn kept_bytes(&self) -> usize {
        self.kept_bytes
    }

    /// The topic with this number, which a caller has from this registry.
    #[track_caller]
    pub(crate) fn topic(&self, topic: u32) -> &Topic {
        self.topics[topic as usize].as_ref().expect("a topic is released only when nothing refers to it")
    }

    #[track_caller]
    pub(crate) fn topic_mut(&mut self, topic: u32) -> &mut Topic {
        self.topics[topic as usize].as_mut().expect("a topic is released only when nothing refers to it")
    }

    /// The topic with this name, new if there is none.
    pub(crate) fn intern(&mut self, name: &str, max: usize) -> Result<u32, TopicLimit> {
        if let Some(topic) = self.find(name) {
            return Ok(topic);
        }
        if self.names.len() >= max {
            return Err(TopicLimit::Topics(self.names.len()));
        }
        let name: Arc<str> = name.into();
        let topic = Topic {
            name: Arc::clone(&name),
            members: Vec::new(),
            entries: VecDeque::new(),
            policy: TopicPolicy::default(),
            keys: None,
            joined: Vec::new(),
        };
        let number = match self.free.pop() {
            Some(number) => {
                self.topics[number as usize] = Some(topic);
                number
            }
            None => {
                self.topics.push(Some(topic));
                self.last.push(0);
                self.topics.len() as u32 - 1
            }
        };
        self.names.insert(name, number);
        Ok(number)
    }

    /// Releases a topic that has no members, no policy, and no entries in the log.
    pub(crate) fn release_unused(&mut self, topic: u32) {
        let Some(state) = &self.topics[topic as usize] else { return };
        if state.members.is_empty() && state.entries.is_empty() && state.policy == TopicPolicy::default() {
            self.names.remove(&state.name);
            self.topics[topic as usize] = None;
            self.last[topic as usize] = 0;
            self.free.push(topic);
        }
    }

    pub(crate) fn subscriber(&self, index: u32) -> Option<&Subscriber> {
        self.subscribers.get(index as usize)?.as_deref()
    }

    pub(crate) fn subscriber_mut(&mut self, index: u32) -> Option<&mut Subscriber> {
        self.subscribers.get_mut(index as usize)?.as_deref_mut()
    }

    pub(crate) fn set_cursor(&mut self, index: u32, cursor: u64) {
        if let Some(subscriber) = self.subscriber_mut(index) {
            subscriber.cursor = cursor;
        }
    }

    pub(crate) fn is_member(&self, index: u32, topic: u32) -> bool {
        self.place(index, topic).is_some()
    }

    /// The position of a topic in the list of a connection's subscriptions.
    fn place(&self, index: u32, topic: u32) -> Option<usize> {
        self.subscriber(index)?.subscriptions.iter().position(|subscription| subscription.topic == topic)
    }

    /// Adds a subscription. `cursor`: of a connection without subscriptions. Returns whether it is
    /// new.
    pub(crate) fn join(&mut self, index: u32, topic: u32, max: usize, cursor: u64) -> Result<bool, TopicLimit> {
        if self.is_member(index, topic) {
            return Ok(false);
        }
        if self.subscribers.len() <= index as usize {
            self.subscribers.resize_with(index as usize + 1, || None);
        }
        let place = self.topic(topic).members.len() as u32;
        let new = || Box::new(Subscriber { cursor, subscriptions: Vec::new() });
        let list = &mut self.subscribers[index as usize].get_or_insert_with(new).subscriptions;
        if list.len() >= max {
            let count = list.len();
            self.forget_idle(index);
            return Err(TopicLimit::Subscriptions(count));
        }
        let back = list.len() as u32;
        push_slowly(list, Subscription { topic, place });
        push_slowly(&mut self.topic_mut(topic).members, Member { index, back });
        self.subscriptions += 1;
        if place == 0 && self.topic(topic).keys.is_none() {
            self.announce(topic, true);
        }
        Ok(true)
    }

    /// Removes a subscription. Returns whether there was one.
    pub(crate) fn leave(&mut self, index: u32, topic: u32) -> bool {
        match self.place(index, topic) {
            Some(back) => {
                self.remove(index, back);
                true
            }
            None => false,
        }
    }

    /// Removes the last subscription of a connection, and returns its topic.
    pub(crate) fn leave_last(&mut self, index: u32) -> Option<u32> {
        let back = self.subscriber(index)?.subscriptions.len().checked_sub(1)?;
        Some(self.remove(index, back))
    }

    fn remove(&mut self, index: u32, back: usize) -> u32 {
        let list = match self.subscribers[index as usize].as_deref_mut() {
            Some(subscriber) => &mut subscriber.subscriptions,
            None => unreachable!("the caller has found the subscription"),
        };
        let Subscription { topic, place } = list.swap_remove(back);
        if let Some(&Subscription { topic, place }) = list.get(back) {
            self.topic_mut(topic).members[place as usize].back = back as u32;
        }
        let members = &mut self.topic_mut(topic).members;
        members.swap_remove(place as usize);
        if members.capacity() > 4 * members.len() + 8 {
            members.shrink_to(2 * members.len());
        }
        let is_empty = members.is_empty();
        if let Some(&Member { index, back }) = members.get(place as usize)
            && let Some(subscriber) = self.subscriber_mut(index)
        {
            subscriber.subscriptions[back as usize].place = place;
        }
        self.subscriptions -= 1;
        self.forget_idle(index);
        if is_empty && self.topic(topic).keys.is_none() {
            self.announce(topic, false);
        }
        topic
    }

    /// Frees the memory of a connection without subscriptions.
    fn forget_idle(&mut self, index: u32) {
        self.subscribers[index as usize].take_if(|subscriber| subscriber.subscriptions.is_empty());
    }

    /// Announces whether this shard needs the messages of a topic: it has members, or keeps keys.
    fn announce(&self, topic: u32, is_needed: bool) {
        if let Some(announcer) = &self.announcer {
            announcer.announce(&self.topic(topic).name, is_needed);
        }
    }

    pub(crate) fn set_policy(&mut self, topic: u32, policy: TopicPolicy) {
        let state = self.topic_mut(topic);
        state.policy = policy;
        let keeps = policy == TopicPolicy::Latest;
        if keeps == state.keys.is_some() {
            return;
        }
        let has_members = !state.members.is_empty();
        let former = std::mem::replace(&mut state.keys, keeps.then(Box::default));
        self.kept_bytes -= former.map_or(0, |keys| keys.bytes());
        if !has_members {
            self.announce(topic, keeps);
        }
    }

    /// Keeps a message as the latest of its key, if the topic keeps any.
    pub(crate) fn keep(&mut self, topic: u32, key: u64, number: u64, prepared: &Prepared) {
        if let Some(keys) = &mut self.topic_mut(topic).keys {
            let before = keys.bytes();
            keys.update(key, number, prepared);
            let after = keys.bytes();
            self.kept_bytes = self.kept_bytes - before + after;
        }
    }

    /// Notes an entry of the log.
    pub(crate) fn note(&mut self, topic: u32, number: u64) {
        self.topic_mut(topic).entries.push_back(number);
        self.last[topic as usize] = number;
    }

    /// The topics of a connection that have entries from `from` on, which is not below the first
    /// entry of the log.
    pub(crate) fn with_entries(&self, index: u32, from: u64) -> impl Iterator<Item = u32> {
        let subscriptions = self.subscriber(index).map_or(&[][..], |subscriber| &subscriber.subscriptions);
        subscriptions
            .iter()
            .map(|subscription| subscription.topic)
            .filter(move |&topic| self.last[topic as usize] >= from)
    }
}

/// Appends to a list that grows by a quarter.
fn push_slowly<T>(list: &mut Vec<T>, item: T) {
    if list.len() == list.capacity() {
        list.reserve_exact((list.len() / 4).max(4));
    }
    list.push(item);
}

#[cfg(test)]
mod tests;
