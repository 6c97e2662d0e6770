//! Receive: what the server sends without having been asked. And slow: the same at a given rate.

use super::context::{Context, Due};
use super::crew::Crew;
use super::line::Line;
use super::{Conn, Worker};
use crate::errors;
use crate::message::mark::Marks;
use crate::sequence::Arrival;
use ringway::{ConnectionId, Message, MessageKind, Shard};

/// The seed and the connection of the marks of `ringway serve --app push`.
const PUSHED: (u64, u32) = (0, 0);

/// A slow connection that the server has left without data catches up with at most this much of its
/// schedule, in nanoseconds.
const CATCH_UP: u64 = 100_000_000;

/// Handles a message: counts it, and the ones that its sequence number shows to be missing.
pub(super) fn message(crew: &mut Crew, cx: &Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    count(crew, conn, message);
    let line = conn.state();
    if line.mark != 0 {
        crew.ledger.gaps.record(cx.now - line.mark);
    }
    line.mark = cx.now.max(1);
}

/// Counts a message, and evaluates its sequence number if it has one of `ringway serve --app push`.
fn count(crew: &mut Crew, conn: &mut Conn<'_>, message: &Message<'_>) {
    let payload = message.payload();
    let counts = &mut crew.ledger.counts;
    counts.arrived += 1;
    counts.bytes_received += payload.len() as u64;
    counts.fragmented += u64::from(message.is_fragmented());
    crew.done += 1;
    if message.kind() != MessageKind::Binary {
        return;
    }
    let Some(number) = Marks::new(PUSHED.0).read(MessageKind::Binary, PUSHED.1, payload) else { return };
    counts.numbered += 1;
    match conn.state().sequence.receive(number) {
        Arrival::Ahead { missing } => counts.skipped += missing,
        Arrival::Behind | Arrival::Stale => counts.reordered += 1,
        Arrival::Duplicate => {
            counts.duplicated += 1;
            let says = || format!("message {number} of the server was sent twice to a connection");
            crew.ledger.errors.count(errors::DUPLICATE, says);
        }
    }
}

/// Counts the numbers that a connection has not received, at its end.
pub(super) fn lose(crew: &mut Crew, line: &Line) {
    crew.ledger.counts.skipped += line.sequence.open_gaps();
}

/// Counts a message, and pauses the connection until the message's share of the rate has passed.
/// The shares of successive messages follow each other, so that a late resumption does not lower
/// the rate.
pub(super) fn slow_message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, received: &Message<'_>) {
    count(crew, conn, received);
    let bytes_per_second = crew.times.bytes_per_second.max(1);
    let share = (received.payload().len() as u128 * 1_000_000_000 / u128::from(bytes_per_second)) as u64;
    let line = conn.state();
    let until = line.mark.max(cx.now.saturating_sub(CATCH_UP)).saturating_add(share);
    line.mark = until;
    if until > cx.now {
        conn.pause();
        cx.agenda.push(until, Due::Connection(crew.index, conn.id()));
    }
}

/// Handles the end of the pause of a slow connection.
pub(super) fn resume(shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    if let Some(mut conn) = shard.connection(id) {
        conn.resume();
    }
}
