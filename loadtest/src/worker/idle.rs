//! Idle: connections that are held open, with a ping at an interval.
//!
//! One schedule serves all connections of a population: its rate is the number of connections
//! divided by the interval, and each ping goes to the next connection. So pings are spread evenly
//! over time, and a connection needs no timer. A second position in the same schedule follows the
//! first one at the distance of the timeout: a connection that has not answered its ping by then is
//! dropped.

use super::Conn;
use super::Worker;
use super::context::{Context, Due, nanos};
use super::crew::Crew;
use super::line::Line;
use ringway::Shard;

/// The maximum number of pings in one turn.
const PINGS: usize = 1024;

/// The length of the payload of a ping: its time, and its number on the connection.
const PAYLOAD: usize = 12;

/// Begins to send pings.
pub(super) fn begin(crew: &mut Crew, cx: &mut Context) {
    if crew.times.ping.is_some() && !crew.ids.is_empty() {
        crew.paced_from = cx.now;
        cx.agenda.push(cx.now, Due::Ping(crew.index));
        cx.agenda.push(cx.now.saturating_add(cx.timeout), Due::Pong(crew.index));
    }
}

/// When ping `number` of all is due.
fn due(crew: &Crew, number: u64) -> u64 {
    let interval = crew.times.ping.map_or(0, nanos);
    crew.paced_from + (u128::from(number) * u128::from(interval) / crew.ids.len().max(1) as u128) as u64
}

/// The place of a ping, and its number there.
fn position(crew: &Crew, number: u64) -> (usize, u32) {
    let places = crew.ids.len().max(1) as u64;
    ((number % places) as usize, (number / places) as u32)
}

/// Sends the pings that are due.
pub(super) fn ping(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    if !cx.is_sending || crew.times.ping.is_none() {
        return;
    }
    for _ in 0..PINGS {
        let due = due(crew, crew.pings);
        if due > cx.now {
            cx.agenda.push(due, Due::Ping(crew.index));
            return;
        }
        let (place, number) = position(crew, crew.pings);
        crew.pings += 1;
        let Some(mut conn) = crew.ids[place].and_then(|id| shard.connection(id)) else { continue };
        let mut payload = [0; PAYLOAD];
        payload[..8].copy_from_slice(&cx.now.to_be_bytes());
        payload[8..].copy_from_slice(&number.to_be_bytes());
        if conn.is_open() && conn.ping(&payload).is_ok() {
            conn.state().next = number + 1;
            crew.outstanding += 1;
            let is_counted = u64::from(cx.counts(cx.now));
            crew.ledger.counts.offered += is_counted;
            crew.ledger.counts.sent += is_counted;
        }
    }
    // The others are for the next turn.
    cx.agenda.push(cx.now + 1, Due::Ping(crew.index));
}

/// Handles a pong. One that answers the latest of several pings answers all of them (RFC 6455
/// section 5.5.3).
pub(super) fn pong(crew: &mut Crew, cx: &mut Context, conn: &mut Conn<'_>, payload: &[u8]) {
    cx.read_clock();
    let Ok(payload) = <&[u8; PAYLOAD]>::try_from(payload) else { return };
    let (sent, number) = payload.split_at(8);
    let (Ok(sent), Ok(number)) = (sent.try_into().map(u64::from_be_bytes), number.try_into().map(u32::from_be_bytes))
    else {
        return;
    };
    let line = conn.state();
    let answered = u64::from(number) + 1;
    if answered <= line.mark || number >= line.next || sent > cx.now {
        return;
    }
    let pings = answered - line.mark;
    line.mark = answered;
    crew.outstanding -= pings;
    crew.done += pings;
    if cx.counts(sent) {
        crew.ledger.counts.received += pings;
        crew.ledger.counts.arrived += pings;
        crew.ledger.response.record(cx.now - sent);
    }
}

/// Drops the connections that have not answered their ping within the timeout.
pub(super) fn expire(crew: &mut Crew, cx: &mut Context, shard: &mut Shard<'_, Worker>) {
    loop {
        let over = due(crew, crew.checked).saturating_add(cx.timeout);
        if over > cx.now {
            return cx.agenda.push(over, Due::Pong(crew.index));
        }
        if crew.checked >= crew.pings {
            // The pings of this time were not sent: the run drains.
            return;
        }
        let (place, number) = position(crew, crew.checked);
        crew.checked += 1;
        if let Some(mut conn) = crew.ids[place].and_then(|id| shard.connection(id))
            && conn.state().mark <= u64::from(number)
            && conn.state().next > number
        {
            conn.terminate();
        }
    }
}

/// Enters the pings of a connection that were not answered, at its end or at that of the run.
pub(super) fn lose(crew: &mut Crew, cx: &Context, line: &mut Line, has_ended: bool) {
    let (first, end) = (line.mark, u64::from(line.next));
    line.mark = end;
    for number in first..end {
        crew.outstanding -= 1;
        let sent = due(crew, number * crew.ids.len() as u64 + u64::from(line.place));
        if cx.counts(sent) {
            crew.ledger.counts.missing += 1;
            crew.ledger.counts.lost += u64::from(has_ended);
            crew.ledger.response.record_lower_bound(cx.now.saturating_sub(sent));
        }
    }
}
