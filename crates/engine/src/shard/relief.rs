//! The response of a shard to a shortage of memory.
//!
//! Above the high-water mark, receiving pauses on the connections that hold the most, so that the
//! others can complete their messages. At the limit, the connections that hold the most are closed
//! with 1013 until the sum is below that mark. Below the low-water mark receiving resumes, and new
//! handshakes, which are refused with 503 from the limit on, are accepted again.

use crate::api::handler::Handler;
use crate::shard::dispatch::Dispatch;
use crate::shard::memory::Pressure;
use ringway_io::{Driver, Slot};
use std::cmp::Reverse;

/// Responds to a shortage of memory, or to its end, at the end of a turn.
#[cold]
pub(crate) fn relieve<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    shard.core.memory.trim();
    let (memory, shortage) = (&shard.core.memory, &mut shard.core.shortage);
    match memory.pressure() {
        Pressure::Low if memory.held() < memory.low_water() => {
            if std::mem::take(&mut shortage.exhausted) {
                tracing::info!(
                    closed = shard.core.counters.memory_closes,
                    refused = shard.core.counters.memory_refusals,
                    "memory is available again; new handshakes are accepted"
                );
            }
            resume_paused(shard);
        }
        Pressure::Low => {}
        // Searching all sessions takes long on a shard with many of them.
        Pressure::High if shortage.looked == Some(shard.core.clock.tick()) => {}
        Pressure::High => pause_largest(shard),
        Pressure::Full => {
            if !std::mem::replace(&mut shortage.exhausted, true) {
                tracing::warn!(
                    held = memory.held(),
                    max = memory.max(),
                    "the connections of this shard have reached its memory limit (Limits::max_memory): new handshakes \
                     get 503, and those that hold the most are closed with 1013"
                );
            }
            close_largest(shard);
        }
    }
}

fn resume_paused<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    for slot in std::mem::take(&mut shard.core.shortage.paused) {
        if let Some(session) = shard.sessions.get_mut(slot) {
            session.link.resume_from_memory(shard.core);
        }
    }
}

/// The sessions that hold at least the mean of all that hold any memory, with the number of bytes.
fn large_holders<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) -> Vec<(usize, Slot)> {
    shard.core.shortage.looked = Some(shard.core.tick());
    let holders = || shard.sessions.iter().map(|session| (session.held(), session.link.slot()));
    let (sum, count) = holders().filter(|(held, _)| *held > 0).fold((0, 0), |(sum, n), (held, _)| (sum + held, n + 1));
    let mean = (sum / usize::max(count, 1)).max(1);
    holders().filter(|(held, _)| *held >= mean).collect()
}

fn pause_largest<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    for (_, slot) in large_holders(shard) {
        if let Some(session) = shard.sessions.get_mut(slot)
            && session.link.pause_for_memory(shard.core)
        {
            shard.core.counters.memory_pauses += 1;
            shard.core.shortage.paused.push(slot);
        }
    }
}

/// Closes the largest holders until the sum is below the high-water mark.
fn close_largest<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    let mut holders = large_holders(shard);
    holders.sort_unstable_by_key(|&(held, slot)| (Reverse(held), slot.index()));
    for (_, slot) in holders {
        if shard.core.memory.pressure() == Pressure::Low {
            break;
        }
        if let Some(session) = shard.sessions.get_mut(slot)
            && let Some(removal) = session.shed(shard.core)
        {
            shard.remove(slot, removal);
        }
    }
}
