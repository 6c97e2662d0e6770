//! The received messages of one stream that its task has not taken yet.

use crate::Message;
use std::collections::VecDeque;

/// The number of messages at which receiving pauses.
pub(crate) const MAX_MESSAGES: usize = 64;

/// The weight in bytes at which receiving pauses.
pub(crate) const MAX_BYTES: usize = 64 * 1024;

/// The messages, in order. The first one is stored inline, so that a stream whose task keeps up has
/// no queue on the heap.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    first: Option<Message>,
    #[expect(clippy::box_collection, reason = "each stream has this field, and few have a queue")]
    others: Option<Box<VecDeque<Message>>>,
    bytes: usize,
}

impl Inbox {
    pub(crate) fn push(&mut self, message: Message) {
        self.bytes += message.weight();
        if self.first.is_none() {
            debug_assert!(self.others.is_none(), "the first message leaves last");
            self.first = Some(message);
        } else {
            self.others.get_or_insert_default().push_back(message);
        }
    }

    /// Takes the next message. An empty inbox keeps no memory.
    pub(crate) fn pop(&mut self) -> Option<Message> {
        let message = self.first.take()?;
        self.bytes -= message.weight();
        if let Some(others) = &mut self.others {
            self.first = others.pop_front();
            self.others.take_if(|others| others.is_empty());
        }
        Some(message)
    }

    /// The weight of all messages in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.others.as_ref().map_or(0, |others| others.len())
    }

    /// Whether receiving pauses.
    pub(crate) fn is_full(&self) -> bool {
        self.len() >= MAX_MESSAGES || self.bytes >= MAX_BYTES
    }

    /// Whether receiving resumes: at half of both limits.
    pub(crate) fn has_room(&self) -> bool {
        self.len() <= MAX_MESSAGES / 2 && self.bytes <= MAX_BYTES / 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_leave_in_order_and_an_empty_inbox_keeps_no_memory() {
        let mut inbox = Inbox::default();
        for round in 0..3 {
            (0..10).for_each(|n| inbox.push(Message::text(format!("{round} {n}"))));
            assert_eq!(inbox.len(), 10);
            for n in 0..10 {
                assert_eq!(inbox.pop(), Some(Message::text(format!("{round} {n}"))));
            }
            assert_eq!((inbox.pop(), inbox.bytes(), inbox.others.is_none()), (None, 0, true));
        }
    }

    #[test]
    fn it_is_full_by_number_and_by_bytes_and_has_room_at_half_of_both() {
        let mut inbox = Inbox::default();
        while !inbox.is_full() {
            inbox.push(Message::text(""));
        }
        assert_eq!(inbox.len(), MAX_MESSAGES);
        while !inbox.has_room() {
            inbox.pop();
        }
        assert_eq!(inbox.len(), MAX_MESSAGES / 2);
        inbox.push(Message::binary(vec![0; MAX_BYTES]));
        assert!(inbox.is_full() && !inbox.has_room());
    }
}
