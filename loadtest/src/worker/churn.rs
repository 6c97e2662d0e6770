//! Churn: echo on connections that end after a lifetime, and connect again.

use super::context::{Context, Due};
use super::crew::Crew;
use super::{Worker, close};
use ringway::{ConnectionId, Shard};

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

/// Ends a connection whose lifetime is over.
pub(super) fn end(cx: &Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    if cx.is_sending
        && let Some(mut conn) = shard.connection(id)
    {
        close(&mut conn);
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
