//! Idle: connections that are held open, with a ping at an interval.
//!
//! One schedule serves all connections of a population: its rate is the number of connections
//! divided by the interval, and each ping goes to the next connection. So pings are spread evenly
//! over time, and a connection needs no timer.

use super::Worker;
use super::context::{Context, Due, nanos};
use super::crew::Crew;
use ringway::Shard;

/// The maximum number of pings in one turn.
const PINGS: usize = 1024;

/// Begins to send pings.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context) {
    if crew.times.ping.is_some() && !crew.ids.is_empty() {
        crew.paced_from = cx.now;
        cx.agenda.push(cx.now, Due::Ping(crew.index));
    }
}

/// Sends the pings that are due.
pub(super) fn ping(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    let Some(interval) = crew.times.ping.map(nanos).filter(|_| cx.is_sending) else { return };
    let places = crew.ids.len() as u128;
    for _ in 0..PINGS {
        // Ping `n` of all is due after `n` parts of the interval.
        let due = crew.paced_from + (u128::from(crew.pings) * u128::from(interval) / places) as u64;
        if due > cx.now {
            cx.agenda.push(due, Due::Ping(crew.index));
            return;
        }
        let place = (u128::from(crew.pings) % places) as usize;
        crew.pings += 1;
        if let Some(mut conn) = crew.ids[place].and_then(|id| shard.connection(id))
            && conn.ping(&cx.now.to_be_bytes()).is_ok()
        {
            crew.ledger.counts.offered += 1;
            crew.ledger.counts.sent += 1;
        }
    }
    cx.agenda.push(cx.now, Due::Ping(crew.index));
}

/// Handles a pong: the payload is the time of its ping.
pub(super) fn pong(crew: &mut Crew, cx: &mut Context, payload: &[u8]) {
    cx.read_clock();
    let Ok(sent) = payload.try_into().map(u64::from_be_bytes) else { return };
    if sent <= cx.now && cx.counts(sent) {
        crew.ledger.counts.received += 1;
        crew.ledger.counts.arrived += 1;
        crew.done += 1;
        crew.ledger.response.record(cx.now - sent);
    }
}
