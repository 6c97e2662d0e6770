//! Broadcast: messages of a few connections that the server sends to all.
//!
//! Open loop: a message is due at its time, and the time to a delivery counts from then, also if the
//! message was submitted later. All connections are readers; a publisher's own copy does not count
//! ([`crate::broadcast`]).

use super::Conn;
use super::context::Context;
use super::crew::Crew;
use super::submission::Submission;
use crate::broadcast::{HEAD, Head};
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
