//! The response of a shard to a shortage of memory.
//!
//! Above the high-water mark, receiving pauses on the connections that hold the most, so that the
//! others can complete their messages; compressors that connections have of their own are freed, and
//! so are buffers that are kept for reuse ([`Memory::trim`](crate::shard::memory::Memory::trim)); and
//! a connection can queue an eighth of what is left of the limit, so that messages are handed back.
//! If messages were handed back, large holders whose peer has read nothing for a second are closed
//! with 1013. If the sum is still above that mark 10 s later, and at the limit, the slowest readers
//! among the large holders are closed until it is below, by the progress of their peers. From the
//! limit on, new handshakes are refused with 503 for a second at least. Receiving resumes, and
//! buffers are kept for reuse again, below the low-water mark; receiving also after a second below
//! the high-water mark.

use crate::api::handler::Handler;
use crate::session::Session;
use crate::shard::dispatch::Dispatch;
use crate::shard::memory::{PAUSE_TIME, Pressure, REFUSAL_TIME, RESUME_TIME, ReaderProgress, STALL_TIME};
use ringway_io::{Driver, Slot};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Responds to a shortage of memory, or to its end, at the end of a turn.
#[cold]
pub(crate) fn relieve<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    if shard.core.shortage.is_refusing && shard.core.memory.pressure() == Pressure::Low {
        end_refusal(shard);
    }
    let core = &mut *shard.core;
    let tick = core.tick();
    if !core.memory.is_retaining() {
        core.memory.end_trim();
    }
    match core.memory.pressure() {
        Pressure::Low if core.shortage.paused.is_empty() => core.shortage.progress = HashMap::new(),
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
                shard.core.shortage.search = Some((shard.core.current_time(), took));
            }
        }
    }
    accept_again(shard);
}

fn free_memory<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    shard.core.memory.trim();
    free_compressors(shard);
    note_progress(shard);
    match shard.core.memory.pressure() {
        Pressure::Low => {}
        Pressure::High => {
            let shortage = &shard.core.shortage;
            let overdue = !shortage.paused.is_empty() && shard.core.since(shortage.paused_since) >= PAUSE_TIME;
            let (closes, is_refusing) = (shard.core.config.on_memory_limit.closes(), shortage.is_refusing);
            if overdue && closes {
                close_slowest(shard, false);
            } else {
                pause_largest(shard);
                if is_refusing && closes {
                    close_slowest(shard, true);
                }
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
            closes = shard.core.config.on_memory_limit.closes(),
            "the connections of this shard have reached its memory limit (Limits::max_memory): new handshakes get \
             503, and the slowest readers among those that hold the most are closed with 1013, if the policy \
             (Config::on_memory_limit) is to close"
        );
    }
    if shard.core.config.on_memory_limit.closes() {
        close_slowest(shard, false);
    } else {
        pause_largest(shard);
    }
}

/// Notes what the peers of the large holders have acknowledged.
fn note_progress<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    let tick = shard.core.tick();
    let before = std::mem::take(&mut shard.core.shortage.progress);
    let note = |(_, slot): (usize, Slot)| {
        let acknowledged = Driver::acknowledged(shard.driver, slot)?;
        let mut progress =
            *before.get(&slot).unwrap_or(&ReaderProgress { first: (acknowledged, tick), latest: (acknowledged, tick) });
        if progress.latest.0 != acknowledged {
            progress.latest = (acknowledged, tick);
        }
        Some((slot, progress))
    };
    shard.core.shortage.progress = large_holders(shard).into_iter().filter_map(note).collect();
}

/// Calls `drained` for the connections whose messages were handed back, until memory is short again.
fn end_refusal<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    shard.core.shortage.is_refusing = false;
    for _ in 0..shard.core.shortage.refused.len() {
        if shard.core.memory.pressure() != Pressure::Low {
            shard.core.shortage.is_refusing = true;
            return;
        }
        let Some(slot) = shard.core.shortage.refused.pop_front() else { return };
        shard.memory_available(slot);
    }
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
    let by_handler = |session: &Session<H::State>| session.link.state.as_ref().map_or(0, |of| shard.handler.held(of));
    let weight = |session: &Session<H::State>| session.weight(shard.core) + by_handler(session);
    let holders = || shard.sessions.iter().map(|session| (weight(session), session.link.slot()));
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

/// The speed of a large holder's peer, the slowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Speed {
    /// It has acknowledged nothing of its output for [`STALL_TIME`]; by weight.
    Stalled(Reverse<usize>),
    /// It holds input, or it is not known yet; by weight.
    Unknown(Reverse<usize>),
    /// It makes progress; by the time until the output is read, at the rate so far.
    Reading(Reverse<u128>),
}

fn speed<D: Driver, H: Handler>(shard: &Dispatch<'_, D, H>, weight: usize, slot: Slot) -> Speed {
    let has_output = shard.sessions.get(slot).is_some_and(|session| session.link.buffered() > 0);
    let progress = shard.core.shortage.progress.get(&slot).filter(|_| has_output);
    let Some(&ReaderProgress { first, latest }) = progress else { return Speed::Unknown(Reverse(weight)) };
    if shard.core.since(latest.1) >= STALL_TIME {
        return Speed::Stalled(Reverse(weight));
    }
    match latest.0.saturating_sub(first.0) {
        0 => Speed::Unknown(Reverse(weight)),
        bytes => {
            let millis = shard.core.since(first.1).as_millis();
            Speed::Reading(Reverse(weight as u128 * millis / u128::from(bytes)))
        }
    }
}

/// Closes the slowest readers among the large holders until the sum is below the high-water mark.
/// Those that are ending already, and free their memory soon, come last. `stalled`: closes only
/// those without progress.
fn close_slowest<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>, stalled: bool) {
    let large = large_holders(shard).into_iter();
    let mut holders: Vec<(Speed, Slot)> = large.map(|(weight, slot)| (speed(shard, weight, slot), slot)).collect();
    holders.retain(|(speed, _)| !stalled || matches!(speed, Speed::Stalled(_)));
    holders.sort_unstable_by_key(|&(speed, slot)| (speed, slot.index()));
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
