//! Churn: echo on connections that end after a lifetime, and connect again.
//!
//! A connection that ends waits for its pause, and one that does not open for a back-off with jitter,
//! which grows with the failures of its place.

use super::context::{Context, Due};
use super::crew::{Crew, Kind};
use super::submission::Submission;
use super::{Conn, Worker, close, echo};
use ringway::{ConnectionId, Message, Shard};

/// Schedules the ends of the connections that are open, and further attempts of the others.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context) {
    for place in 0..crew.ids.len() {
        match crew.ids[place] {
            Some(id) => opened(crew, cx, id),
            None => failed(crew, cx, place as u32),
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
        close_if_answered(&mut conn);
    }
}

fn close_if_answered(conn: &mut Conn<'_>) {
    if conn.state().window.waiting() == 0 {
        close(conn);
    }
}

/// Sends a message of an open loop. A connection whose lifetime is over takes none.
pub(super) fn submit(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, intended: u64) -> Submission {
    if conn.state().mark == ENDING { Submission::Lost } else { crew.submit(cx, conn, intended) }
}

/// Handles a message: as of an echo, until the lifetime is over.
pub(super) fn message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    if conn.state().mark != ENDING {
        echo::message(crew, cx, conn, message);
    } else if crew.take_reply(cx, conn, message) {
        close_if_answered(conn);
    }
}

/// Handles the messages that have waited for too long.
pub(super) fn expire(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    crew.expire(cx, shard, id, |crew, cx, conn, expired| {
        if conn.state().mark == ENDING {
            close_if_answered(conn);
        } else if crew.in_flight.is_some() {
            (0..expired).for_each(|_| crew.submit_next(cx, conn));
        }
    });
}

/// Schedules the next attempt of a place whose connection has ended.
pub(super) fn again(crew: &Crew, cx: &mut Context, place: u32, wait: u64) {
    cx.agenda.push(cx.now.saturating_add(wait), Due::Place(crew.index, place));
}

/// Schedules the next attempt of a place whose connection did not open.
pub(super) fn failed(crew: &mut Crew, cx: &mut Context, place: u32) {
    let wait = crew.times.retries.failed(place);
    again(crew, cx, place, wait);
}

/// Connects a place again.
pub(super) fn reconnect(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, place: u32) {
    // The message of a connection is sent when it opens, so it is reserved before.
    let may_connect = if crew.kind == Kind::Connect { crew.may_send(cx) } else { cx.is_sending };
    if !may_connect {
        return;
    }
    if crew.opening.connect(crew.index, place, cx, shard) {
        if crew.kind == Kind::Connect {
            crew.reserve();
        }
    } else {
        // All permits are in use.
        again(crew, cx, place, super::opening::ASK_AGAIN);
    }
}
