//! Topics of a shard: who has subscribed to what, and the published messages until every subscriber
//! has them in its outbox.
//!
//! # How a message reaches its subscribers
//!
//! A publish appends one entry to the shard's [`Log`], whatever the number of subscribers. At the
//! end of the turn a *sweep* begins with the entries of the log so far, the *segment*. It joins the
//! frames of each topic in the segment into one shared allocation for each compression class, and
//! passes a reference to that to the members of the topic: one access to the session and one
//! reference count for each member, however many messages the segment has. A sweep is resumed over
//! turns, and serves a bounded number of members in each, so that it neither fills the completion
//! queue nor delays other connections. Messages published meanwhile form the next segment.
//!
//! # Order
//!
//! Entries have consecutive numbers. A connection with subscriptions has a *cursor*: it has been
//! given all entries of its topics below it, and none from it on. Anything that must follow the
//! messages published before it brings the connection up to date first ([`delivery::catch_up`]): a direct
//! send, a subscription, its end, the close frame, and a publish of the connection itself, after
//! which the cursor also skips that entry. The sweep skips members whose cursor is at the end of the
//! segment, and gives others the part of the segment from their cursor on. So each message is given
//! to each subscriber once, and in the order of the calls.
//!
//! # Other shards
//!
//! See [`exchange`].

pub(crate) mod delivery;
pub(crate) mod exchange;
pub(crate) mod keys;
pub(crate) mod log;
pub(crate) mod parcel;
pub(crate) mod publisher;
pub(crate) mod registry;
pub(crate) mod sweep;

use crate::api::topic::{MAX_NAME, Published, TopicLimit, TopicPolicy};
use crate::config::Limits;
use exchange::Desk;
use keys::Lagging;
use log::Content;
use log::Log;
use parcel::Item;
use registry::Registry;
use ringway_codec::Prepared;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use sweep::{Portion, Segment};

/// The maximum payload of a published message, as that of a message that is sent.
const MAX_PAYLOAD: usize = 1 << 30;

/// The topics of one shard.
#[derive(Default)]
pub(crate) struct Topics {
    pub(crate) registry: Registry,
    pub(crate) log: Log,
    segment: Segment,
    portion: Portion,
    pub(crate) lagging: Lagging,
    /// The link to other shards; `None` if there are none.
    desk: Option<Desk>,
    /// Calls of the handler that are due at the end of the sweep.
    missed: VecDeque<Missed>,
    /// Topics that have gained their first subscriber or lost their last one since the last call of
    /// the handler, and whether they had any before.
    changed: HashMap<Arc<str>, bool>,
    /// The numbers of entries that are delivered to one connection, while they are.
    scratch: Vec<u64>,
}

/// Messages that a subscriber has missed.
pub(crate) struct Missed {
    /// The index of the subscriber's slot.
    pub(crate) index: u32,
    pub(crate) topic: Arc<str>,
    pub(crate) count: u64,
}

impl Topics {
    /// Joins the exchange of all shards.
    pub(crate) fn join(&mut self, desk: Desk) {
        self.registry.announce_to(desk.announcer());
        self.desk = Some(desk);
    }

    /// The number of bytes that the topics hold.
    pub(crate) fn held(&self) -> usize {
        self.published_bytes() + self.registry.bytes()
    }

    /// The bytes of the messages that wait for the sweep or for other shards, and of those that are
    /// kept as the latest of their keys.
    fn published_bytes(&self) -> usize {
        self.log.bytes() + self.registry.kept_bytes() + self.desk.as_ref().map_or(0, Desk::held)
    }

    /// Whether the next turn has work without an event.
    pub(crate) fn has_work(&self) -> bool {
        self.segment.is_active()
            || !self.log.is_empty()
            || self.lagging.has_ready()
            || !self.missed.is_empty()
            || !self.changed.is_empty()
            || self.has_mail()
    }

    /// Whether messages of other shards wait.
    pub(crate) fn has_mail(&self) -> bool {
        self.desk.as_ref().is_some_and(Desk::has_received)
    }

    /// Whether messages wait for another shard whose mailbox is full.
    pub(crate) fn waits_for_others(&self) -> bool {
        self.desk.as_ref().is_some_and(Desk::is_waiting)
    }

    /// The number of subscribers of a topic on this shard.
    pub(crate) fn subscribers(&self, name: &str) -> usize {
        self.registry.find(name).map_or(0, |topic| self.registry.topic(topic).members.len())
    }

    /// Subscribes a connection that is up to date. Returns whether it is new.
    pub(crate) fn subscribe(&mut self, index: u32, name: &str, limits: &Limits) -> Result<bool, TopicLimit> {
        check_name(name)?;
        let cursor = self.log.next();
        let topic = self.registry.intern(name, limits.max_topics)?;
        match self.registry.join(index, topic, limits.max_subscriptions, cursor) {
            Ok(false) => Ok(false),
            Ok(true) => {
                let topic = self.registry.topic(topic);
                if topic.members.len() == 1 {
                    self.changed.entry(Arc::clone(&topic.name)).or_insert(false);
                }
                Ok(true)
            }
            Err(limit) => {
                self.registry.release_unused(topic);
                Err(limit)
            }
        }
    }

    /// Ends a subscription of a connection that is up to date. Returns whether there was one.
    pub(crate) fn unsubscribe(&mut self, index: u32, name: &str) -> bool {
        let Some(topic) = self.registry.find(name) else { return false };
        if !self.registry.leave(index, topic) {
            return false;
        }
        self.left(index, topic);
        true
    }

    /// Ends all subscriptions of a connection.
    pub(crate) fn leave_all(&mut self, index: u32) {
        while let Some(topic) = self.registry.leave_last(index) {
            self.left(index, topic);
        }
    }

    fn left(&mut self, index: u32, topic: u32) {
        self.lagging.remove(index, topic);
        let state = self.registry.topic(topic);
        if state.members.is_empty() {
            self.changed.entry(Arc::clone(&state.name)).or_insert(true);
        }
        self.registry.release_unused(topic);
    }

    /// Sets the policy of a topic.
    pub(crate) fn set_policy(&mut self, name: &str, policy: TopicPolicy, limits: &Limits) -> Result<(), TopicLimit> {
        check_name(name)?;
        let topic = self.registry.intern(name, limits.max_topics)?;
        self.registry.set_policy(topic, policy);
        if policy != TopicPolicy::Latest {
            self.lagging.remove_topic(topic);
        }
        self.registry.release_unused(topic);
        Ok(())
    }

    /// Publishes a message of this shard, to all subscribers except for one that is up to date.
    pub(crate) fn publish(
        &mut self,
        name: &str,
        key: u64,
        prepared: &Prepared,
        except: Option<u32>,
        limits: &Limits,
    ) -> Result<Published, TopicLimit> {
        check_name(name)?;
        if prepared.payload().len() > MAX_PAYLOAD {
            return Err(TopicLimit::TooLarge(prepared.payload().len()));
        }
        let topic = self.registry.find(name);
        self.check_room(topic, key, prepared, limits)?;
        let shards = match &mut self.desk {
            None => 0,
            Some(desk) => {
                let known = topic.map(|topic| &self.registry.topic(topic).name);
                let is_keyed = is_keyed(&self.registry, topic);
                desk.forward(name, known, key, is_keyed, prepared, limits)
            }
        };
        let here = topic.map_or(0, |topic| self.append(topic, key, prepared, except));
        Ok(Published { here, shards })
    }

    /// Whether the entry of a message has room.
    fn check_room(&self, topic: Option<u32>, key: u64, prepared: &Prepared, limits: &Limits) -> Result<(), TopicLimit> {
        if !self.has_room(limits) {
            return Err(TopicLimit::Backlog(self.published_bytes()));
        }
        topic.map_or(Ok(()), |topic| self.check_key(topic, key, prepared, limits))
    }

    /// Whether the topic can keep a message as the latest of its key, if it keeps any.
    fn check_key(&self, topic: u32, key: u64, prepared: &Prepared, limits: &Limits) -> Result<(), TopicLimit> {
        let Some(keys) = &self.registry.topic(topic).keys else { return Ok(()) };
        if keys.contains(key) {
            return Ok(());
        }
        if keys.len() >= limits.max_topic_keys {
            return Err(TopicLimit::Keys(keys.len()));
        }
        // The other half is for messages that wait.
        if self.registry.kept_bytes() + prepared.as_frame().len() > limits.max_published / 2 {
            return Err(TopicLimit::Backlog(self.published_bytes()));
        }
        Ok(())
    }

    /// Whether one more message can wait.
    fn has_room(&self, limits: &Limits) -> bool {
        self.published_bytes() < limits.max_published
    }

    /// Appends a message to the log, if it has a receiver. Returns the number of receivers.
    fn append(&mut self, topic: u32, key: u64, prepared: &Prepared, except: Option<u32>) -> usize {
        let except = except.filter(|&index| self.registry.is_member(index, topic));
        let here = self.registry.topic(topic).members.len() - usize::from(except.is_some());
        let number = self.log.next();
        self.registry.keep(topic, key, number, prepared);
        // A message that is kept has a number of its own, so it needs an entry.
        if here > 0 || self.registry.topic(topic).keys.is_some() {
            self.log.push(topic, Content::Message { key, prepared: prepared.clone() });
            self.registry.note(topic, number);
            if let Some(index) = except {
                self.registry.set_cursor(index, number + 1);
            }
        }
        here
    }

    /// Handles the messages of other shards, as far as the log has room. Returns the number of
    /// messages.
    pub(crate) fn receive(&mut self, limits: &Limits) -> u64 {
        let Some(mut desk) = self.desk.take() else { return 0 };
        let mut count = 0;
        while self.log.bytes() < limits.max_published / 2 {
            let Some((item, is_forwarded)) = desk.next() else { break };
            count += 1;
            if is_forwarded && let Content::Message { key, prepared } = &item.content {
                let is_keyed = is_keyed(&self.registry, self.registry.find(&item.topic));
                desk.forward(&item.topic, Some(&item.topic), *key, is_keyed, prepared, limits);
            }
            self.deliver_here(item, limits);
        }
        self.desk = Some(desk);
        count
    }

    fn deliver_here(&mut self, item: Item, limits: &Limits) {
        let Some(topic) = self.registry.find(&item.topic) else { return };
        match item.content {
            Content::Message { key, prepared } => {
                // The log has room, whatever waits for other shards.
                if self.check_key(topic, key, &prepared, limits).is_ok() {
                    self.append(topic, key, &prepared, None);
                }
            }
            gap @ Content::Gap(_) => {
                if !self.registry.topic(topic).members.is_empty() {
                    let number = self.log.push(topic, gap);
                    self.registry.note(topic, number);
                }
            }
        }
    }

    /// Passes messages to other shards. Returns how often a mailbox was full, and how many messages
    /// were dropped because of that.
    pub(crate) fn post(&mut self) -> (u64, u64) {
        self.desk.as_mut().map_or((0, 0), Desk::post)
    }

    pub(crate) fn take_missed(&mut self) -> Option<Missed> {
        self.missed.pop_front()
    }

    /// Topics that have subscribers now and had none before, or the reverse.
    pub(crate) fn take_changed(&mut self) -> Vec<(Arc<str>, usize)> {
        if self.changed.is_empty() {
            return Vec::new();
        }
        let changed = std::mem::take(&mut self.changed);
        let counted = changed.into_iter().map(|(name, had)| {
            let count = self.subscribers(&name);
            (name, had, count)
        });
        counted.filter(|(_, had, count)| *had != (*count > 0)).map(|(name, _, count)| (name, count)).collect()
    }
}

/// Whether a topic keeps the latest message of each key.
fn is_keyed(registry: &Registry, topic: Option<u32>) -> bool {
    topic.is_some_and(|topic| registry.topic(topic).keys.is_some())
}

fn check_name(name: &str) -> Result<(), TopicLimit> {
    if (1..=MAX_NAME).contains(&name.len()) { Ok(()) } else { Err(TopicLimit::Name(name.len())) }
}
