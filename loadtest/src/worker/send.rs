//! Send: messages without replies, as fast as the server reads them or at the rate of an open loop.
//!
//! A message counts as sent when the kernel of the server has taken it: what waits in this process,
//! or in the send queue of this machine's kernel, at the edge of an interval does not. With TLS or
//! compression, the lengths of what waits are those of other bytes, and a part of the send in flight
//! counts twice, so the edges are off by a share of the queue. After the last message, a ping on each
//! connection and its pong show that the server has read what was sent.

use super::context::{Context, Due};
use super::crew::Crew;
use super::submission::Submission;
use super::{Conn, Worker};
use crate::errors;
use ringway::{ConnectionId, Message, Shard};
use std::mem;

/// The payload of the pings behind the last messages.
const BARRIER: &[u8] = b"end of load";

/// Notes how much the peer has acknowledged of the opening handshake.
pub(super) fn opened(conn: &mut Conn<'_>) {
    let acknowledged = conn.tcp_info().map_or(0, |info| info.acknowledged);
    conn.state().mark = acknowledged;
}

/// Begins to send.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    if crew.pacer.is_some() {
        return crew.begin_arrivals(cx);
    }
    for place in 0..crew.ids.len() {
        if let Some(mut conn) = crew.ids[place].and_then(|id| shard.connection(id)) {
            fill(crew, cx, &mut conn);
        }
    }
}

/// The bytes that wait on each connection in a closed loop: an efficient size for one send.
const WAITING: usize = 64 << 10;

/// Sends until enough waits on a connection. If some of it waits behind earlier output, the engine
/// says when all of it was sent. Otherwise the connection is filled again in the next turn.
pub(super) fn fill(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>) {
    let is_behind = conn.buffered_amount() > 0;
    while crew.pacer.is_none() && crew.may_send(cx) {
        if submit(crew, cx, conn, cx.now) != Submission::Sent {
            crew.ledger.counts.held_back += 1;
            return;
        }
        crew.ledger.counts.offered += 1;
        if conn.buffered_amount() >= WAITING {
            crew.ledger.counts.held_back += u64::from(is_behind);
            if !is_behind {
                cx.agenda.push(cx.now + 1, Due::Connection(crew.index, conn.id()));
            }
            return;
        }
    }
}

/// Fills a connection again.
pub(super) fn resume(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    if let Some(mut conn) = shard.connection(id) {
        fill(crew, cx, &mut conn);
    }
}

/// Sends one message.
pub(super) fn submit(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, _intended: u64) -> Submission {
    let line = conn.state();
    let (salt, number) = (line.salt, line.next);
    let message = crew.source.message(salt, number, cx.unix_time());
    let bytes = message.payload().len() as u64;
    let outcome = conn.send(message);
    if !outcome.is_accepted() {
        return Submission::of(&outcome);
    }
    let line = conn.state();
    line.next = number.wrapping_add(1);
    line.mark += bytes + header(bytes as usize) as u64;
    crew.ledger.counts.sent += 1;
    crew.ledger.counts.submitted += 1;
    crew.ledger.counts.bytes_sent += bytes;
    crew.done += 1;
    crew.latest = cx.now;
    crew.reserve();
    Submission::Sent
}

/// Counts a message of the server.
pub(super) fn message(crew: &mut Crew, message: &Message<'_>) {
    crew.ledger.counts.arrived += 1;
    crew.ledger.counts.bytes_received += message.payload().len() as u64;
}

/// What waits from before the interval is sent in it.
pub(super) fn begin_interval(crew: &mut Crew, shard: &mut Shard<'_, Worker>) {
    let (messages, bytes) = queued(crew, shard);
    crew.ledger.counts.sent += messages;
    crew.ledger.counts.bytes_sent += bytes;
}

/// What waits at the end of the interval is not sent in it.
pub(super) fn end_interval(crew: &mut Crew, shard: &mut Shard<'_, Worker>) {
    let (messages, bytes) = queued(crew, shard);
    let counts = &mut crew.ledger.counts;
    counts.sent = counts.sent.saturating_sub(messages);
    counts.bytes_sent = counts.bytes_sent.saturating_sub(bytes);
    set_barrier(crew, shard);
}

/// The length of the header of a client's frame (RFC 6455 section 5.2).
fn header(len: usize) -> usize {
    match len {
        0..=125 => 6,
        126..=0xffff => 8,
        _ => 14,
    }
}

/// The number of messages and bytes of payload that the kernel of the server has not taken.
fn queued(crew: &Crew, shard: &mut Shard<'_, Worker>) -> (u64, u64) {
    let (mut messages, mut bytes) = (0, 0);
    for id in crew.ids.iter().flatten() {
        let Some(mut conn) = shard.connection(*id) else { continue };
        let is_plain = !conn.is_compressing() && conn.tls().is_none();
        let info = conn.tcp_info();
        let submitted = conn.state().mark;
        let mut left = match info {
            Some(info) if is_plain => submitted.saturating_sub(info.acknowledged) as usize,
            Some(info) => conn.buffered_amount() + info.unacknowledged as usize,
            None => conn.buffered_amount(),
        };
        let line = conn.state();
        let mut number = line.next;
        // The latest messages are the ones that wait, the first of them perhaps in part.
        while left > 0 && number != 0 {
            number = number.wrapping_sub(1);
            let len = crew.source.len(line.salt, number);
            left = left.saturating_sub(len + header(len));
            messages += 1;
            bytes += len as u64;
        }
    }
    (messages, bytes)
}

/// Sends a ping behind the last message of each connection, once. Returns whether it did.
pub(super) fn set_barrier(crew: &mut Crew, shard: &mut Shard<'_, Worker>) -> bool {
    if mem::replace(&mut crew.has_barrier, true) {
        return false;
    }
    for id in crew.ids.iter().flatten() {
        if shard.connection(*id).is_some_and(|mut conn| conn.ping(BARRIER).is_ok()) {
            crew.outstanding += 1;
        }
    }
    true
}

/// Handles a pong: the server has read what was sent before its ping.
pub(super) fn pong(crew: &mut Crew, cx: &mut Context, payload: &[u8]) {
    if payload == BARRIER {
        cx.read_clock();
        crew.latest = cx.now;
        crew.outstanding = crew.outstanding.saturating_sub(1);
    }
}

/// Handles pings without a pong at the end of the run.
pub(super) fn give_up(crew: &mut Crew) {
    let unanswered = mem::take(&mut crew.outstanding);
    if unanswered > 0 {
        for _ in 0..unanswered {
            crew.ledger.errors.count(errors::NO_PONG, || {
                "the server did not answer the ping behind the last message: it is unknown whether it has read them"
                    .into()
            });
        }
    }
}
