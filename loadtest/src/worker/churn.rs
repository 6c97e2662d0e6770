//! Churn: echo on connections that end after a lifetime, and connect again.

use super::context::{Context, Due};
use super::crew::Crew;
use super::{Conn, Worker, close, echo};
use ringway::{ConnectionId, Message, Shard};

/// Schedules the ends of the connections that are open.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context) {
    for place in 0..crew.ids.len() {
        if let Some(id) = crew.ids[place] {
            opened(crew, cx, id);
        }
    }
}

/// Schedules the end of a connection that has opened.
pub(super) fn opened(crew: &mut Crew, cx: &mut Context, id: ConnectionId) {
    let lifetime = crew.times.lifetime.sample();
    cx.agenda.push(cx.now.saturating_add(lifetime), Due::Connection(crew.index, id));
}

/// The mark of a connection whose lifetime is over.
const ENDING: u64 = u64::MAX;

/// Ends a connection whose lifetime is over, after the replies to its messages.
pub(super) fn end(cx: &Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    if cx.is_sending
        && let Some(mut conn) = shard.connection(id)
    {
        conn.state().mark = ENDING;
        if conn.state().window.waiting() == 0 {
            close(&mut conn);
        }
    }
}

/// Handles a message: as of an echo, until the lifetime is over.
pub(super) fn message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    if conn.state().mark != ENDING {
        echo::message(crew, cx, conn, message);
    } else if crew.take_reply(cx, conn, message) && conn.state().window.waiting() == 0 {
        close(conn);
    }
}

/// Schedules the next attempt of a place whose connection has ended, or did not open.
pub(super) fn again(crew: &Crew, cx: &mut Context, place: u32, wait: u64) {
    cx.agenda.push(cx.now.saturating_add(wait), Due::Place(crew.index, place));
}

/// Connects a place again.
pub(super) fn reconnect(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, place: u32) {
    if cx.is_sending && !crew.opening.connect(crew.index, place, cx, shard) {
        // All permits are in use.
        again(crew, cx, place, super::opening::ASK_AGAIN);
    }
}
