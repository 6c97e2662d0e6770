//! Connect: a connection, one message and its reply, the end, and again.
//!
//! Closed loop: each place connects again when its connection has ended. Open loop: connections
//! begin at their times, each on a free place; one that finds none is unsent, and so is one that
//! does not open. The response time is that from the time at which the connection was due to the
//! reply, the service time that from the message to the reply.
//!
//! The number of places limits the connections at a time, so handshakes need no permits.

use super::churn;
use super::context::Context;
use super::crew::Crew;
use super::submission::Submission;
use super::{Conn, Worker, close};
use ringway::{ConnectionId, Message, Shard};

/// Begins to connect.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    if crew.pacer.is_some() {
        crew.free = (0..crew.ids.len() as u32).collect();
        return crew.begin_arrivals(cx);
    }
    for place in 0..crew.ids.len() as u32 {
        churn::reconnect(crew, cx, shard, place);
    }
}

/// Handles the connections that are due.
pub(super) fn arrive(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    crew.arrive_at(cx, shard, |crew, cx, shard, _, intended| {
        let Some(place) = crew.free.pop() else { return Submission::Lost };
        crew.opening.connect_due(crew.index, place, intended, shard);
        crew.reserve();
        crew.connecting += u64::from(cx.counts(intended));
        Submission::Sent
    });
}

/// Handles a connection that has opened: sends its message, also after the end of the interval if
/// it was due in it.
pub(super) fn opened(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, due: u64) {
    let is_open_loop = crew.pacer.is_some();
    let is_counted = cx.counts(due);
    if is_open_loop && is_counted {
        crew.connecting = crew.connecting.saturating_sub(1);
    }
    let is_sent = (cx.is_sending || is_open_loop && is_counted) && crew.submit(cx, conn, due) == Submission::Sent;
    if !is_sent {
        crew.ledger.counts.unsent += u64::from(is_open_loop && is_counted);
        close(conn);
    } else if !is_open_loop && is_counted {
        crew.ledger.counts.offered += 1;
    }
}

/// Handles a connection that was due at this time and did not open. Returns whether its place
/// connects again.
pub(super) fn failed(crew: &mut Crew, cx: &Context, place: u32, due: u64) -> bool {
    if crew.pacer.is_none() {
        crew.release();
        return true;
    }
    crew.free.push(place);
    if cx.counts(due) && crew.connecting > 0 {
        crew.connecting -= 1;
        crew.ledger.counts.unsent += 1;
    }
    false
}

/// Enters the connections that are in progress at the end of the run.
pub(super) fn give_up(crew: &mut Crew) {
    crew.ledger.counts.unsent += std::mem::take(&mut crew.connecting);
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
