//! Broadcast: messages of a few connections that the server sends to all.
//!
//! Open loop: a message is due at its time, and the time to a delivery counts from then, also if the
//! message was submitted later. All connections are readers; a publisher's own copy does not count
//! ([`crate::broadcast`]).

use super::Conn;
use super::arrivals::Submission;
use super::context::Context;
use super::crew::Crew;
use super::line::Line;
use crate::broadcast::{Deliveries, HEAD, Head, Publishing};
use crate::errors;
use crate::sequence::{Arrival, Sequence};
use ringway::{Message, MessageKind};
use std::sync::Arc;

/// The messages of a population on one thread.
pub(super) struct Broadcast {
    /// What the threads have in common.
    shared: Arc<Publishing>,
    /// Identifies the messages of this run.
    key: u64,
    /// The number of the first connection of the population, over all threads. The publishers are
    /// the first connections.
    first: u32,
    publishers: u32,
    /// For each place and each publisher, the messages that the place has received.
    received: Box<[Sequence]>,
    pub(super) deliveries: Deliveries,
    /// Messages that the open connections have received from others.
    delivered: u64,
    /// Messages that the open connections have published.
    published: u64,
    /// This thread publishes no more.
    has_concluded: bool,
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

/// Publishes a message on a connection.
pub(super) fn publish(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, intended: u64) -> Submission {
    let Some(broadcast) = &mut crew.broadcast else { return Submission::Lost };
    let line = conn.state();
    let (publisher, number) = (line.salt, line.next);
    let head = Head { publisher, number, due: intended };
    let text = head.write(broadcast.key);
    let message = crew.source.message(publisher, number, cx.unix_time());
    let len = message.payload().len() as u64;
    // The head replaces the front of the message. A character that it would cut is replaced whole.
    let mut front = [b'.'; HEAD + 3];
    front[..HEAD].copy_from_slice(&text);
    broadcast.shared.publish();
    let outcome = match message.as_text() {
        None => conn.send(Message::binary_parts(&text, message.payload().get(HEAD..).unwrap_or_default())),
        Some(body) => {
            let at = (HEAD..).find(|at| body.is_char_boundary(*at) || *at > body.len()).unwrap_or(HEAD);
            let front = std::str::from_utf8(&front[..at]).expect("the head and the dots are ASCII");
            conn.send(Message::text_parts(front, body.get(at..).unwrap_or_default()))
        }
    };
    if !outcome.is_accepted() {
        broadcast.shared.take_back();
        return Submission::of(&outcome);
    }
    broadcast.published += 1;
    if cx.counts(intended) {
        broadcast.deliveries.publish(head);
        crew.ledger.counts.sent += 1;
    }
    crew.ledger.counts.bytes_sent += len;
    conn.state().next = number.wrapping_add(1);
    crew.ledger.counts.submitted += 1;
    crew.done += 1;
    crew.latest = cx.now;
    crew.reserve();
    Submission::Sent
}

/// Handles a message that the server has distributed.
pub(super) fn message(crew: &mut Crew, cx: &Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    let Some(broadcast) = &mut crew.broadcast else { return };
    let payload = message.payload();
    let counts = &mut crew.ledger.counts;
    counts.arrived += 1;
    counts.bytes_received += payload.len() as u64;
    counts.fragmented += u64::from(message.is_fragmented());
    let Some(head) = Head::read(broadcast.key, payload, cx.now) else {
        let (kind, len) = (message.kind(), payload.len());
        counts.unasked += 1;
        return crew
            .ledger
            .errors
            .count(errors::UNASKED, || format!("a message ({}, {len} bytes) is none that was published", name(kind)));
    };
    let publisher = head.publisher.wrapping_sub(broadcast.first);
    if publisher >= broadcast.publishers {
        // It is of another population of this run.
        return;
    }
    let line = conn.state();
    let is_counted = cx.counts(head.due);
    let pair = line.place as usize * broadcast.publishers as usize + publisher as usize;
    match broadcast.received[pair].receive(head.number) {
        Arrival::Ahead { .. } => {}
        Arrival::Behind => counts.reordered += u64::from(is_counted),
        Arrival::Stale => {
            counts.reordered += u64::from(is_counted);
            return;
        }
        Arrival::Duplicate => {
            if is_counted {
                counts.duplicated += 1;
                crew.ledger.errors.count(errors::DUPLICATE, || {
                    format!("message {} of publisher {publisher} was sent twice to a connection", head.number)
                });
            }
            return;
        }
    }
    if head.publisher == line.salt {
        counts.own_copies += u64::from(is_counted);
        return;
    }
    line.mark += 1;
    broadcast.delivered += 1;
    if !is_counted {
        return;
    }
    let after = cx.now.saturating_sub(head.due);
    if after > cx.timeout {
        counts.late += 1;
        return crew.ledger.errors.count(errors::LATE, || {
            format!("message {} of publisher {publisher} was delivered after its timeout", head.number)
        });
    }
    counts.received += 1;
    crew.ledger.reach.each.record(after);
    broadcast.deliveries.deliver(head, after);
    crew.latest = cx.now;
}

fn name(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    }
}
