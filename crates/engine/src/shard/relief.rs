//! The response of a shard to a shortage of memory.
//!
//! Above the high-water mark, receiving pauses on the connections that hold the most, so that the
//! others can complete their messages; compressors that connections have of their own are freed. If
//! that has not helped after a while, and at the limit, the connections that hold the most are
//! closed with 1013. From the limit on, new handshakes are refused with 503, for a second at least
//! and until the sum is below the high-water mark. Below the low-water mark receiving resumes.

use crate::api::handler::Handler;
use crate::shard::dispatch::Dispatch;
use crate::shard::memory::{PAUSE_TIME, Pressure, REFUSAL_TIME};
use ringway_io::{Driver, Slot};
use std::cmp::Reverse;

/// Responds to a shortage of memory, or to its end, at the end of a turn.
#[cold]
pub(crate) fn relieve<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    shard.core.memory.trim();
    if shard.core.memory.pressure() == Pressure::Full {
        free_compressors(shard);
    }
    match shard.core.memory.pressure() {
        Pressure::Low => {}
        Pressure::High => pause_largest(shard),
        Pressure::Full => refuse_and_close(shard),
    }
    let core = &*shard.core;
    if !core.shortage.paused.is_empty() && core.since(core.shortage.paused_since) >= PAUSE_TIME {
        close_largest(shard, shard.core.memory.low_water());
    }
    if shard.core.memory.held() < shard.core.memory.low_water() {
        receive_again(shard);
    }
    accept_again(shard);
}

fn refuse_and_close<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    let tick = shard.core.tick();
    if shard.core.shortage.exhausted.replace(tick).is_none() {
        tracing::warn!(
            held = shard.core.memory.held(),
            max = shard.core.memory.max(),
            "the connections of this shard have reached its memory limit (Limits::max_memory): new handshakes get \
             503, and those that hold the most are closed with 1013"
        );
    }
    close_largest(shard, shard.core.memory.high_water());
}

fn receive_again<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    for slot in std::mem::take(&mut shard.core.shortage.paused) {
        if let Some(session) = shard.sessions.get_mut(slot) {
            session.link.resume_from_memory(shard.core);
        }
    }
}

fn accept_again<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    let core = &mut *shard.core;
    let Some(since) = core.shortage.exhausted else { return };
    if core.memory.pressure() == Pressure::Low && core.since(since) >= REFUSAL_TIME {
        core.shortage.exhausted = None;
        tracing::info!(
            closed = core.counters.memory_closes,
            refused = core.counters.memory_refusals,
            "memory is available again; new handshakes are accepted"
        );
    }
}

/// The sessions of at least the mean weight of all that have any, with their weights.
fn large_holders<D: Driver, H: Handler>(shard: &Dispatch<'_, D, H>) -> Vec<(usize, Slot)> {
    let holders = || shard.sessions.iter().map(|session| (session.weight(), session.link.slot()));
    let (sum, count) =
        holders().filter(|(weight, _)| *weight > 0).fold((0, 0), |(sum, n), (weight, _)| (sum + weight, n + 1));
    let mean = (sum / usize::max(count, 1)).max(1);
    holders().filter(|(weight, _)| *weight >= mean).collect()
}

fn pause_largest<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    // Searching all sessions takes long on a shard with many of them.
    let tick = shard.core.tick();
    if shard.core.shortage.searched.replace(tick) == Some(tick) {
        return;
    }
    free_compressors(shard);
    if shard.core.memory.pressure() == Pressure::Low {
        return;
    }
    for (_, slot) in large_holders(shard) {
        if let Some(session) = shard.sessions.get_mut(slot)
            && session.link.pause_for_memory(shard.core)
        {
            shard.core.counters.memory_pauses += 1;
            if shard.core.shortage.paused.is_empty() {
                shard.core.shortage.paused_since = tick;
            }
            shard.core.shortage.paused.push(slot);
        }
    }
}

/// Frees the compressors that connections have of their own. Their next messages are compressed
/// without a context.
fn free_compressors<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    for session in shard.sessions.iter_mut() {
        session.link.drop_compressor(shard.core);
    }
}

/// Closes the largest holders until the sum is below `mark`.
fn close_largest<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>, mark: usize) {
    let mut holders = large_holders(shard);
    holders.sort_unstable_by_key(|&(weight, slot)| (Reverse(weight), slot.index()));
    for (_, slot) in holders {
        if shard.core.memory.held() < mark {
            break;
        }
        if let Some(session) = shard.sessions.get_mut(slot)
            && let Some(removal) = session.shed(shard.core)
        {
            shard.remove(slot, removal);
        }
    }
}
