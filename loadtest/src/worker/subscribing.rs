//! Subscribing to the topic of a broadcast. A connection counts as established when the server has
//! confirmed its subscription, so that messages begin when all readers have subscribed.

use super::Conn;
use super::context::{Context, Due};
use super::crew::Crew;
use crate::broadcast::TopicEvent;
use crate::errors;
use crate::steps::RunPhase;
use crate::units;
use ringway::{CloseCode, CloseReason, ConnectionId, Shard};

/// The maximum number of bytes of an answer in the text of an error.
const SHOWN: usize = 60;

/// Subscribes a connection that has opened, if it publishes to a topic. Returns whether it does.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>) -> bool {
    let Some(topic) = crew.broadcast.as_ref().and_then(|broadcast| broadcast.topic.as_ref()) else { return false };
    // A connection that has just opened takes a message; if it does not, no answer comes.
    let _ = conn.send(ringway::Message::text(&topic.subscribe()));
    conn.state().is_subscribing = true;
    cx.agenda.push(cx.now.saturating_add(cx.timeout), Due::Connection(crew.index, conn.id()));
    true
}

/// Handles a message of the server that is not a delivery. Returns whether it is one of the protocol.
pub(super) fn answer(
    crew: &mut Crew,
    cx: &mut Context,
    conn: &mut Conn<'_>,
    message: &[u8],
    event: TopicEvent<'_>,
) -> bool {
    match (event, conn.state().is_subscribing) {
        (TopicEvent::Subscribed, true) => {
            conn.state().is_subscribing = false;
            crew.established(cx);
            go_on(crew, cx);
        }
        (TopicEvent::Error(reason), true) => {
            refuse(crew, conn, errors::SUBSCRIBE_REFUSED, || format!("the server answered: err {reason}"));
        }
        (TopicEvent::Error(reason), false) => {
            crew.ledger.errors.count(errors::PUBLISH_REFUSED, || format!("the server answered: err {reason}"));
        }
        (TopicEvent::Other, true) => {
            let shown = String::from_utf8_lossy(&message[..message.len().min(SHOWN)]);
            refuse(crew, conn, errors::SUBSCRIBE_INVALID, || {
                format!("the server sent {} bytes before it confirmed the subscription: {shown:?}", message.len())
            });
        }
        (TopicEvent::Subscribed | TopicEvent::Other, false) | (TopicEvent::Delivery(_), _) => return false,
    }
    true
}

/// Closes a connection whose subscription was not confirmed in time.
pub(super) fn expire(crew: &mut Crew, cx: &Context, shard: &mut Shard<'_, super::Worker>, id: ConnectionId) {
    if let Some(mut conn) = shard.connection(id)
        && conn.state().is_subscribing
        && conn.is_open()
    {
        let time = units::time(cx.timeout as f64 / 1e3);
        refuse(crew, &mut conn, errors::SUBSCRIBE_TIMEOUT, || {
            format!("the server did not confirm the subscription within {time}")
        });
    }
}

/// Handles the end of a connection that has not subscribed: it counts as failed.
pub(super) fn lost(crew: &mut Crew, cx: &mut Context, reason: &CloseReason, phase: RunPhase) {
    // A connection that is abandoned by the generator has not failed.
    if phase == RunPhase::Close {
        return;
    }
    crew.opening.failed += 1;
    if let Some(kind) = errors::of_close(reason, false) {
        crew.ledger.errors.count(kind, || format!("{reason}, before it had subscribed"));
    }
    go_on(crew, cx);
}

/// Counts an error, and closes its connection.
fn refuse(crew: &mut Crew, conn: &mut Conn<'_>, kind: &'static str, says: impl FnOnce() -> String) {
    if conn.is_open() {
        crew.ledger.errors.count(kind, says);
        conn.close(CloseCode::NORMAL, "").expect("1000 is a code that may be sent");
    }
}

/// Continues with the run if this was the last connection in progress.
fn go_on(crew: &Crew, cx: &mut Context) {
    if crew.opening.has_settled() {
        cx.agenda.push(cx.now, Due::Connect(crew.index));
    }
}
