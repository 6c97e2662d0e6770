//! Broadcast: messages of a few connections that the server sends to all.
//!
//! Open loop: a message is due at its time, and the time to a delivery counts from then, also if the
//! message was submitted later. All connections are readers; a publisher's own copy does not count
//! ([`crate::broadcast`]), but if the server sends such copies, the run ends after the last of them.
//! On a topic, connections subscribe before ([`subscribing`]).

use super::Conn;
use super::context::Context;
use super::crew::Crew;
use super::submission::Submission;
use super::subscribing;
use crate::broadcast::{HEAD, Head, TopicEvent};
use crate::errors;
use crate::sequence::Arrival;
use ringway::{Message, MessageKind};

/// Publishes a message on a connection.
pub(super) fn publish(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, intended: u64) -> Submission {
    let Some(broadcast) = &mut crew.broadcast else { return Submission::Lost };
    let line = conn.state();
    let (publisher, number) = (line.salt, line.next);
    let head = Head { publisher, number, due: intended };
    let text = head.write(broadcast.key);
    let message = crew.source.message(publisher, number, cx.unix_time());
    let len = (broadcast.front.command + message.payload().len()) as u64;
    broadcast.shared.publish();
    // The head replaces the start of the message.
    let outcome = match message.as_text() {
        None => {
            let rest = message.payload().get(HEAD..).unwrap_or_default();
            conn.send(Message::binary_parts(broadcast.front.of_binary(&text), rest))
        }
        Some(body) => {
            let (front, rest) = broadcast.front.of_text(&text, body);
            conn.send(Message::text_parts(front, rest))
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
pub(super) fn message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    let mut payload = message.payload();
    if let Some(topic) = crew.broadcast.as_ref().and_then(|broadcast| broadcast.topic.as_ref()) {
        match topic.parse(payload) {
            TopicEvent::Delivery(published) => payload = published,
            event if subscribing::answer(crew, cx, conn, payload, event) => return,
            _ => {}
        }
    }
    let Some(broadcast) = &mut crew.broadcast else { return };
    let counts = &mut crew.ledger.counts;
    counts.arrived += 1;
    counts.bytes_received += message.payload().len() as u64;
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
        broadcast.own_copies[line.place as usize] += 1;
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

pub(super) fn name(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Text => "text",
        MessageKind::Binary => "binary",
    }
}
