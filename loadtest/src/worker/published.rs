//! The published messages of a broadcast on one thread, and their deliveries.

use super::line::Line;
use crate::broadcast::{Deliveries, HEAD, Publishing, Topic};
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
    /// The topic; `None`: the server sends each message to all connections.
    pub(super) topic: Option<Topic>,
    /// What a message begins with.
    pub(super) front: Front,
    /// For each place and each publisher, the messages that the place has received.
    pub(super) received: Box<[Sequence]>,
    pub(super) deliveries: Deliveries,
    /// Messages that the open connections have received from others.
    pub(super) delivered: u64,
    /// Messages that the open connections have published.
    pub(super) published: u64,
    /// By place of a publisher: those of them that the server has sent back to it.
    pub(super) own_copies: Box<[u64]>,
    /// This thread publishes no more.
    pub(super) has_concluded: bool,
}

impl Broadcast {
    pub(super) fn new(
        shared: Arc<Publishing>,
        key: u64,
        first: u32,
        (publishers, topic): (u32, Option<Topic>),
        (places, senders): (usize, usize),
        threads: usize,
    ) -> Self {
        Self {
            shared,
            key,
            first,
            publishers,
            front: Front::new(topic.as_ref()),
            topic,
            received: vec![Sequence::default(); places * publishers as usize].into(),
            deliveries: Deliveries::new(threads),
            delivered: 0,
            published: 0,
            own_copies: vec![0; senders].into(),
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

    /// Whether every message of all threads has reached the open connections of this thread, and its
    /// publishers too, if the server sends them copies.
    pub(super) fn is_delivered(&self, open: u64) -> bool {
        self.shared.total().is_some_and(|published| self.undelivered(open, published) == 0) && self.is_sent_back()
    }

    /// Whether the publishers of this thread have all of their own copies, if the server sends any.
    fn is_sent_back(&self) -> bool {
        let own_copies: u64 = self.own_copies.iter().sum();
        own_copies == 0 || own_copies >= self.published
    }

    /// The deliveries that have not taken place, as messages to all readers of this thread.
    pub(super) fn outstanding(&self, open: u64) -> u64 {
        self.undelivered(open, self.shared.so_far()).checked_div(open).unwrap_or(0)
    }

    /// Notes that a connection has ended.
    pub(super) fn lose(&mut self, line: &Line) {
        self.delivered -= line.mark;
        self.published -= u64::from(line.next);
        if let Some(own_copies) = self.own_copies.get_mut(line.place as usize) {
            *own_copies = 0;
        }
    }
}

/// The front of a message as it is sent: the command with the topic, if there is one, and the head.
/// One buffer, of which a message changes the head alone.
pub(super) struct Front {
    bytes: Vec<u8>,
    /// The length of the command.
    pub(super) command: usize,
}

impl Front {
    /// The most bytes of the body that the head can cut off from their character.
    const CUT: usize = 3;

    fn new(topic: Option<&Topic>) -> Self {
        let mut bytes = topic.map(Topic::publish).unwrap_or_default().into_bytes();
        let command = bytes.len();
        bytes.resize(command + HEAD + Self::CUT, b'.');
        Self { bytes, command }
    }

    /// The front of a binary message.
    pub(super) fn of_binary(&mut self, head: &[u8; HEAD]) -> &[u8] {
        self.bytes[self.command..][..HEAD].copy_from_slice(head);
        &self.bytes[..self.command + HEAD]
    }

    /// The front of a text message and its rest. The front replaces the start of the message; a
    /// character that it would cut is replaced whole.
    pub(super) fn of_text<'a>(&'a mut self, head: &[u8; HEAD], body: &'a str) -> (&'a str, &'a str) {
        self.bytes[self.command..][..HEAD].copy_from_slice(head);
        let at = (HEAD..).find(|at| body.is_char_boundary(*at) || *at > body.len()).unwrap_or(HEAD);
        let front = std::str::from_utf8(&self.bytes[..self.command + at]);
        let front = front.expect("the command is a string, and the head and the dots are ASCII");
        (front, body.get(at..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADS: [[u8; HEAD]; 2] = [[b'a'; HEAD], [b'b'; HEAD]];

    #[test]
    fn a_front_has_the_topic_and_the_head_of_the_latest_message() {
        let topic = "caf\u{e9}".parse().expect("a name");
        let mut front = Front::new(Some(&topic));
        for head in HEADS {
            let text = std::str::from_utf8(&head).expect("ASCII");
            assert_eq!(front.of_binary(&head), format!("pub caf\u{e9}\n{text}").as_bytes());
            let body = format!("{}rest", ".".repeat(HEAD));
            assert_eq!(front.of_text(&head, &body), (&*format!("pub caf\u{e9}\n{text}"), "rest"));
        }
        assert_eq!(front.command, "pub caf\u{e9}\n".len());
    }

    #[test]
    fn a_character_that_the_head_would_cut_is_replaced_whole() {
        let mut front = Front::new(None);
        for cut in 1..=3 {
            // The head ends behind this many bytes of a character of four.
            let body = format!("{}\u{1f980}rest", ".".repeat(HEAD - cut));
            let (start, rest) = front.of_text(&HEADS[0], &body);
            assert_eq!((start.len(), rest), (HEAD + 4 - cut, "rest"));
            assert!(start.ends_with(&".".repeat(4 - cut)));
        }
        assert_eq!(front.of_text(&HEADS[0], &".".repeat(HEAD)).1, "");
    }
}
