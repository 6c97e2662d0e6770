//! Echo: messages whose replies are verified. Closed or open loop.

use super::context::Context;
use super::crew::Crew;
use super::{Conn, Worker};
use ringway::{ConnectionId, Message, Shard};

/// Begins to send.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    if crew.pacer.is_some() {
        crew.begin_arrivals(cx);
    } else {
        crew.fill(cx, shard);
    }
}

/// Handles a message: verifies it, and sends the next one of a closed loop.
#[inline]
pub(super) fn message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    if crew.take_reply(cx, conn, message) && crew.in_flight.is_some() {
        crew.submit_next(cx, conn);
    }
}

/// Handles the messages that have waited for too long: each frees its place in a closed loop.
pub(super) fn expire(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    crew.expire(cx, shard, id, |crew, cx, conn, expired| {
        if crew.in_flight.is_some() {
            (0..expired).for_each(|_| crew.submit_next(cx, conn));
        }
    });
}
