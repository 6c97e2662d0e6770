//! Receive: what the server sends without having been asked. And slow: the same at a given rate.

use super::context::{Context, Due};
use super::crew::Crew;
use super::{Conn, Worker};
use crate::message::mix;
use ringway::{ConnectionId, Message, Shard};

/// Handles a message: counts it, and the ones that its sequence number shows to be missing.
pub(super) fn message(crew: &mut Crew, cx: &Context, conn: &mut Conn<'_>, message: &Message<'_>) {
    let payload = message.payload();
    let ledger = &mut crew.ledger;
    ledger.counts.arrived += 1;
    ledger.counts.bytes_received += payload.len() as u64;
    ledger.counts.fragmented += u64::from(message.is_fragmented());
    let line = conn.state();
    if let Some(number) = pushed_number(payload) {
        let ahead = number.wrapping_sub(line.next);
        if line.mark == 0 {
            // The first one shows where the numbers begin.
        } else if ahead == u32::MAX {
            ledger.counts.duplicated += 1;
        } else if ahead > u32::MAX / 2 {
            ledger.counts.reordered += 1;
        } else {
            ledger.counts.skipped += u64::from(ahead);
        }
        if line.mark == 0 || ahead <= u32::MAX / 2 {
            line.next = number.wrapping_add(1);
        }
    }
    if line.mark != 0 {
        ledger.gaps.record(cx.now - line.mark);
    }
    line.mark = cx.now.max(1);
}

/// The number in a message of `ringway serve --app push`: 4 bytes, and a check of 4 bytes.
fn pushed_number(payload: &[u8]) -> Option<u32> {
    let (number, rest) = payload.split_first_chunk()?;
    let number = u32::from_le_bytes(*number);
    (rest.first_chunk() == Some(&mix(0, number).to_le_bytes())).then_some(number)
}

/// As [`message`], and pauses the connection until the message's share of the rate has passed.
pub(super) fn slow_message(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, received: &Message<'_>) {
    let bytes_per_second = crew.times.bytes_per_second.max(1);
    message(crew, cx, conn, received);
    let pause = (received.payload().len() as u128 * 1_000_000_000 / u128::from(bytes_per_second)) as u64;
    conn.pause();
    cx.agenda.push(cx.now.saturating_add(pause), Due::Connection(crew.index, conn.id()));
}

/// Handles the end of the pause of a slow connection.
pub(super) fn resume(shard: &mut Shard<'_, Worker>, id: ConnectionId) {
    if let Some(mut conn) = shard.connection(id) {
        conn.resume();
    }
}
