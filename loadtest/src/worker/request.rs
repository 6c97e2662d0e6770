//! Request: a message, its reply, a pause, and again.

use super::context::{Context, Due};
use super::crew::Crew;
use super::{Conn, Worker};
use ringway::{ConnectionId, Message, Shard};

/// Begins to send: the first requests are spread over one think time.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context) {
    for id in crew.ids.iter().flatten() {
        let wait = crew.times.think.sample_part();
        cx.agenda.push(cx.now.saturating_add(wait), Due::Connection(crew.index, *id));
    }
}

/// Handles the end of a think time.
pub(super) fn due(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    if let Some(mut conn) = shard.connection(id) {
        cx.read_clock();
        crew.submit_next(cx, &mut conn);
    }
}

/// Handles a message: the reply to the request, whatever it says.
pub(super) fn message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    if crew.take_any_reply(cx, conn, message) {
        think(crew, cx, conn);
    }
}

fn think(crew: &mut Crew, cx: &mut Context, conn: &Conn<'_>) {
    cx.agenda.push(cx.now.saturating_add(crew.times.think.sample()), Due::Connection(crew.index, conn.id()));
}

/// Handles requests without a reply: the connection thinks, and sends the next one.
pub(super) fn expire(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    crew.expire(cx, shard, id, |crew, cx, conn, _| think(crew, cx, conn));
}
