//! The response of a shard to a shortage of memory.
//!
//! Above the high-water mark, receiving pauses on the connections that hold the most, so that the
//! others can complete their messages; compressors that connections have of their own are freed. If
//! the sum is still above that mark 10 s later, and at the limit, the connections that hold the most
//! are closed with 1013 until it is below. From the limit on, new handshakes are refused with 503
//! for a second at least. Receiving resumes below the low-water mark, or after a second below the
//! high-water mark.

use crate::api::handler::Handler;
use crate::shard::dispatch::Dispatch;
use crate::shard::memory::{PAUSE_TIME, Pressure, REFUSAL_TIME, RESUME_TIME};
use ringway_io::{Driver, Slot};
use std::cmp::Reverse;
use std::time::{Duration, Instant};

/// Responds to a shortage of memory, or to its end, at the end of a turn.
#[cold]
pub(crate) fn relieve<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    let core = &mut *shard.core;
    let tick = core.tick();
    match core.memory.pressure() {
        Pressure::Low if core.shortage.paused.is_empty() => {}
        Pressure::Low => {
            let low_since = *core.shortage.low_since.get_or_insert(tick);
            if core.memory.held() < core.memory.low_water() || core.since(low_since) >= RESUME_TIME {
                resume_paused(shard);
            }
        }
        pressure => {
            core.shortage.low_since = None;
            // A search takes long on a shard with many sessions: at most a tenth of the time is
            // spent on it, and at the limit half.
            let pause = if pressure == Pressure::High { 10 } else { 1 };
            if core.shortage.search.is_none_or(|(at, took)| core.now().saturating_duration_since(at) >= took * pause) {
                let began = core.slices.reads_clock().then(Instant::now);
                free_memory(shard);
                let took = began.map_or(Duration::ZERO, |began| began.elapsed());
                shard.core.shortage.search = Some((shard.core.now(), took));
            }
        }
    }
    accept_again(shard);
}

fn free_memory<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    shard.core.memory.trim();
    free_compressors(shard);
    match shard.core.memory.pressure() {
        Pressure::Low => {}
        Pressure::High => {
            let shortage = &shard.core.shortage;
            let overdue = !shortage.paused.is_empty() && shard.core.since(shortage.paused_since) >= PAUSE_TIME;
            if overdue {
                close_largest(shard);
            } else {
                pause_largest(shard);
            }
        }
        Pressure::Full => refuse_and_close(shard),
    }
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
    close_largest(shard);
}

fn resume_paused<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    shard.core.shortage.low_since = None;
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
    let holders = || shard.sessions.iter().map(|session| (session.weight(shard.core), session.link.slot()));
    let add = |(sum, count), (weight, _)| (sum + weight, count + usize::from(weight > 0));
    let (sum, count) = holders().fold((0, 0), add);
    let mean = (sum / count.max(1)).max(1);
    holders().filter(|(weight, _)| *weight >= mean).collect()
}

fn pause_largest<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    let tick = shard.core.tick();
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
    if shard.core.compressors.is_none() {
        return;
    }
    for session in shard.sessions.iter_mut() {
        session.link.drop_compressor(shard.core);
    }
}

/// Closes the largest holders until the sum is below the high-water mark. Those that are ending
/// already, and free their memory soon, come last.
fn close_largest<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    let mut holders = large_holders(shard);
    holders.sort_unstable_by_key(|&(weight, slot)| (Reverse(weight), slot.index()));
    for ending in [false, true] {
        for &(_, slot) in &holders {
            if shard.core.memory.pressure() == Pressure::Low {
                return;
            }
            if let Some(session) = shard.sessions.get_mut(slot)
                && session.is_ending() == ending
                && let Some(removal) = session.shed(shard.core)
            {
                shard.remove(slot, removal);
            }
        }
    }
}
