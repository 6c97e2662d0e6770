//! Replay: the messages of a recording at its times, round after round, on each connection.
//!
//! All connections begin at once, with the warm-up. A message is submitted when it is due, whatever the
//! server sends. If a connection takes no more, because the server does not read, what becomes due
//! meanwhile follows as soon as there is room, in its order. The agenda has at most one entry for each
//! connection: its next message. At the speed `max`, the behaviour is that of [`send`].

use super::context::{Context, Due};
use super::crew::Crew;
use super::submission::Submission;
use super::{Conn, Worker, send};
use ringway::{ConnectionId, Shard};

/// The maximum number of messages that a connection submits in one turn. The others follow at once.
const MESSAGES: u32 = 1024;

/// Begins to send.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    for place in 0..crew.ids.len() {
        if let Some(id) = crew.ids[place] {
            resume(crew, cx, shard, id);
        }
    }
}

/// Sends what is due on a connection.
pub(super) fn resume(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    if let Some(mut conn) = shard.connection(id) {
        proceed(crew, cx, &mut conn);
    }
}

/// Continues on a connection whose output was sent.
pub(super) fn drained(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>) {
    let place = conn.state().place as usize;
    if let Some(replay) = &mut crew.replay
        && std::mem::take(&mut replay.positions[place].is_full)
    {
        proceed(crew, cx, conn);
    }
}

/// Sends what is due on a connection, and schedules the rest.
fn proceed(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>) {
    if let Some(due) = submit_due(crew, cx, conn) {
        cx.agenda.push(due.max(cx.now + 1), Due::Connection(crew.index, conn.id()));
    }
}

/// Sends what is due on a connection. Returns when the next message is; `None`: nothing follows until
/// the connection takes more.
fn submit_due(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>) -> Option<u64> {
    let place = conn.state().place as usize;
    for _ in 0..MESSAGES {
        let replay = crew.replay.as_ref()?;
        let position = replay.positions[place];
        let due = crew.paced_from.saturating_add(replay.rounds.due(position.next));
        if position.is_full || !crew.may_send(cx) {
            return None;
        }
        // What is due in the next phase follows when that has begun.
        if due > cx.now || due >= cx.edge {
            return Some(due);
        }
        let submission = send::submit(crew, cx, conn, due);
        let position = &mut crew.replay.as_mut()?.positions[place];
        if submission != Submission::Sent {
            position.is_full = submission == Submission::Full;
            crew.ledger.counts.held_back += u64::from(position.is_full);
            return None;
        }
        position.next += 1;
        crew.ledger.counts.offered += 1;
        crew.ledger.send_lag.record(cx.now - due);
    }
    Some(cx.now)
}

/// Ends the replay at `end`: what was due before it on an open connection and was not submitted is
/// unsent, because the connection took no more or the generator is behind.
pub(super) fn end(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>, end: u64) {
    for place in 0..crew.ids.len() {
        let Some(mut conn) = crew.ids[place].and_then(|id| shard.connection(id)) else { continue };
        submit_due(crew, cx, &mut conn);
        // A number of messages ends the run, not the recording.
        let Some(replay) = crew.replay.as_ref().filter(|_| crew.quota.is_none()) else { continue };
        let position = replay.positions[place];
        let due = replay.rounds.due_before(end.saturating_sub(crew.paced_from));
        let left = due.saturating_sub(position.next);
        let counts = &mut crew.ledger.counts;
        counts.offered += left;
        counts.unsent += left;
        *if position.is_full { &mut counts.blocked } else { &mut counts.overdue } += left;
    }
}
