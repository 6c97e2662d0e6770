//! Connect: a connection, one message and its reply, the end, and again.
//!
//! Closed loop: each place connects again when its connection has ended. Open loop: connections
//! begin at their times, each on a free place; one that finds none is unsent.

use super::churn;
use super::context::Context;
use super::crew::Crew;
use super::{Conn, Worker, close};
use ringway::{ConnectionId, Message, Shard};

/// Begins to connect.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    if crew.pacer.is_some() {
        return crew.begin_arrivals(cx);
    }
    for place in 0..crew.ids.len() as u32 {
        churn::reconnect(crew, cx, shard, place);
    }
}

/// Handles the connections that are due.
pub(super) fn arrive(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    crew.arrive_at(cx, shard, |crew, _, shard, place, intended| {
        crew.ids[place as usize].is_none() && crew.opening.connect_due(crew.index, place, intended, shard)
    });
}

/// Handles a connection that has opened: sends its message. The response time is that from the time
/// at which the connection was due, the service time that of the message.
pub(super) fn opened(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, due: u64) {
    if !(cx.is_sending && crew.submit(cx, conn, due)) {
        close(conn);
    }
}

/// Handles the reply.
pub(super) fn message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    if crew.take_reply(cx, conn, message) {
        close(conn);
    }
}

/// Ends connections whose reply does not come.
pub(super) fn expire(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    crew.expire(cx, shard, id, |_, _, conn, _| close(conn));
}
