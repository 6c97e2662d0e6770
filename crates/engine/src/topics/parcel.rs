//! The messages that one shard passes to another one, and keeps while its mailbox is full.

use super::log::{Content, ENTRY};
use std::collections::HashMap;
use std::sync::Arc;

/// A message for one topic.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) topic: Arc<str>,
    pub(crate) content: Content,
}

impl Item {
    /// The bytes that it occupies while it waits.
    pub(crate) fn bytes(&self) -> usize {
        ENTRY + self.content.frame_len()
    }
}

/// The messages of one turn.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) items: Vec<Item>,
    /// The receiver passes them to other shards as well: they come from a thread without a shard.
    pub(crate) is_forwarded: bool,
}

impl Parcel {
    pub(crate) fn bytes(&self) -> usize {
        self.items.iter().map(Item::bytes).sum()
    }
}

/// Messages in the order in which they are to be delivered.
#[derive(Default)]
pub(crate) struct Outgoing {
    /// `None` where a later message of the same key has replaced one.
    items: Vec<Option<Item>>,
    /// The number of replaced messages in `items`.
    replaced: usize,
    bytes: usize,
    /// Its mailbox was full.
    pub(crate) is_waiting: bool,
    /// Exists from the first message beyond the limit until the messages are taken.
    places: Option<Box<Places>>,
}

/// Positions in the list of messages. A message beyond the limit costs one look-up in it, however
/// many messages wait.
#[derive(Default)]
struct Places {
    messages: HashMap<(Arc<str>, u64), usize>,
    gaps: HashMap<Arc<str>, usize>,
}

impl Places {
    fn of(items: &[Option<Item>]) -> Self {
        let mut places = Self::default();
        for (position, item) in items.iter().enumerate() {
            if let Some(item) = item {
                places.note(item, position);
            }
        }
        places
    }

    fn note(&mut self, item: &Item, position: usize) {
        let topic = Arc::clone(&item.topic);
        match item.content {
            Content::Message { key, .. } => self.messages.insert((topic, key), position),
            Content::Gap(_) => self.gaps.insert(topic, position),
        };
    }
}

impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The bytes of the messages.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a message.
    pub(crate) fn push(&mut self, item: Item) {
        self.bytes += item.bytes();
        if let Some(places) = &mut self.places {
            places.note(&item, self.items.len());
        }
        self.items.push(Some(item));
    }

    /// Adds a message beyond the limit. If its topic is keyed and it is at most `allowance` bytes
    /// longer than the message of its key that it replaces, if any, it is kept. Otherwise it is
    /// dropped, and counted in the gap of its topic. Returns whether a message was replaced or dropped.
    pub(crate) fn push_limited(&mut self, item: Item, is_keyed: bool, allowance: usize) -> bool {
        let items = &self.items;
        let places = self.places.get_or_insert_with(|| Box::new(Places::of(items)));
        if is_keyed && let Content::Message { key, .. } = item.content {
            let position = places.messages.get(&(Arc::clone(&item.topic), key)).copied();
            let former = position.and_then(|position| self.items[position].as_ref()).map_or(0, Item::bytes);
            if item.bytes() <= former + allowance {
                if let Some(position) = position {
                    self.items[position] = None;
                    self.replaced += 1;
                    self.bytes -= former;
                }
                // The order is that of the last updates.
                self.push(item);
                self.remove_replaced();
                return position.is_some();
            }
        }
        let gap = places.gaps.get(&item.topic).and_then(|&position| self.items[position].as_mut());
        if let Some(Item { content: Content::Gap(count), .. }) = gap {
            *count += 1;
        } else {
            self.push(Item { content: Content::Gap(1), ..item });
        }
        true
    }

    /// Keeps the list at most twice as long as the number of its messages.
    fn remove_replaced(&mut self) {
        if self.replaced > self.items.len() / 2 {
            self.items.retain(Option::is_some);
            self.replaced = 0;
            self.places = None;
        }
    }

    /// Takes all messages.
    pub(crate) fn take(&mut self) -> Vec<Item> {
        let items = std::mem::take(&mut self.items).into_iter().flatten().collect();
        *self = Self { is_waiting: self.is_waiting, ..Self::default() };
        items
    }

    /// Returns messages that were taken and could not be delivered.
    pub(crate) fn put_back(&mut self, items: Vec<Item>) {
        debug_assert!(self.is_empty(), "nothing was added since");
        self.is_waiting = true;
        items.into_iter().for_each(|item| self.push(item));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_codec::Prepared;

    fn message(topic: &str, key: u64, text: &str) -> Item {
        Item { topic: topic.into(), content: Content::Message { key, prepared: Prepared::text(text) } }
    }

    /// Messages as texts, gaps as their counts; checks the byte count.
    fn shown(outgoing: &mut Outgoing) -> Vec<String> {
        let bytes = outgoing.bytes();
        let items = outgoing.take();
        assert_eq!(bytes, items.iter().map(Item::bytes).sum::<usize>());
        assert!(outgoing.is_empty() && outgoing.bytes() == 0);
        let show = |item: &Item| match &item.content {
            Content::Message { prepared, .. } => String::from_utf8(prepared.payload().to_vec()).expect("a text"),
            Content::Gap(count) => count.to_string(),
        };
        items.iter().map(show).collect()
    }

    #[test]
    fn beyond_the_limit_the_messages_of_a_topic_without_keys_become_one_gap() {
        let mut outgoing = Outgoing::default();
        outgoing.push(message("a", 0, "first"));
        for _ in 0..3 {
            assert!(outgoing.push_limited(message("a", 0, "lost"), false, 1000));
            assert!(outgoing.push_limited(message("b", 0, "lost"), false, 1000));
        }
        assert_eq!(shown(&mut outgoing), ["first", "3", "3"]);
    }

    #[test]
    fn beyond_the_limit_a_key_keeps_its_latest_message_in_the_order_of_updates() {
        let mut outgoing = Outgoing::default();
        for key in 1..=3 {
            outgoing.push(message("a", key, &format!("old {key}")));
        }
        assert!(outgoing.push_limited(message("a", 1, "new 1"), true, 0));
        assert!(outgoing.push_limited(message("a", 3, "new 3"), true, 0));
        assert!(outgoing.push_limited(message("a", 1, "1"), true, 0));
        assert_eq!(shown(&mut outgoing), ["old 2", "new 3", "1"]);
    }

    #[test]
    fn beyond_the_limit_a_new_key_has_the_allowance_and_no_more() {
        let mut outgoing = Outgoing::default();
        outgoing.push(message("a", 1, "one"));
        let len = message("a", 2, "two").bytes();
        assert!(!outgoing.push_limited(message("a", 2, "two"), true, len), "nothing is replaced or dropped");
        assert!(outgoing.push_limited(message("a", 3, "two"), true, len - 1));
        assert!(outgoing.push_limited(message("a", 1, "longer"), true, 2), "three bytes more");
        assert_eq!(shown(&mut outgoing), ["one", "two", "2"]);
    }

    #[test]
    fn updates_without_end_leave_a_list_in_proportion_to_the_keys() {
        let mut outgoing = Outgoing::default();
        for update in 0..10_000 {
            outgoing.push_limited(message("a", update % 7, &update.to_string()), true, 1000);
            assert!(outgoing.items.len() <= 15, "{} at {update}", outgoing.items.len());
        }
        assert_eq!(shown(&mut outgoing), (9993..10_000).map(|update| update.to_string()).collect::<Vec<_>>());
    }

    #[test]
    fn messages_that_return_are_found_again() {
        let mut outgoing = Outgoing::default();
        outgoing.push(message("a", 1, "one"));
        outgoing.push_limited(message("b", 0, "lost"), false, 0);
        let items = outgoing.take();
        outgoing.put_back(items);
        assert!(outgoing.is_waiting);
        assert!(outgoing.push_limited(message("b", 0, "lost"), false, 0));
        assert!(outgoing.push_limited(message("a", 1, "new"), true, 0));
        assert_eq!(shown(&mut outgoing), ["2", "new"]);
    }
}
