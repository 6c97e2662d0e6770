//! The delivery of published messages to one connection.

use super::keys::Lag;
use super::log::Content;
use super::log::Log;
use super::registry::{Joined, Topic};
use super::{Missed, Topics};
use crate::api::topic::TopicPolicy;
use crate::session::compression::{Compression, Compressors};
use crate::shard::core::Core;
use ringway_codec::{Prepared, deflated_frame};
use std::ops::Range;
use std::sync::Arc;

/// A connection that receives published messages.
pub(crate) trait Recipient {
    /// The index of its slot.
    fn index(&self) -> u32;

    /// The compression of its output; `None` if each of its frames needs a mask of its own (client
    /// role).
    fn shared_compression(&self) -> Option<Compression>;

    /// The number of bytes that can be queued; `usize::MAX` if nothing is queued.
    fn room(&self, core: &Core) -> usize;

    /// Queues a part of frames that are encoded for the compression of the connection.
    fn push_frames(&mut self, frames: &Arc<[u8]>, range: Range<u32>, is_deflated: bool, core: &mut Core);

    /// Queues one message.
    fn push_prepared(&mut self, prepared: &Prepared, core: &mut Core);

    /// Closes the connection, because it reads too slowly.
    fn close_slow(&mut self, core: &mut Core);
}

/// What became of the messages for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// There were none, or all were dropped.
    Nothing,
    /// Some were queued.
    Queued,
    /// The connection reads too slowly, and is to be closed.
    TooSlow,
}

/// Gives a connection all messages of its topics that were published until now. Called before
/// everything that must follow them. Costs nothing while no message waits for the sweep.
#[inline]
pub(crate) fn catch_up(recipient: &mut impl Recipient, core: &mut Core) {
    if core.has_published {
        catch_up_to_end(recipient, core);
    }
}

#[cold]
fn catch_up_to_end(recipient: &mut impl Recipient, core: &mut Core) {
    deliver(recipient, core, |delivery| {
        let end = delivery.topics.log.next();
        delivery.until(end, None)
    });
}

/// Gives a member of a topic its part of the sweep's segment. Returns whether anything was queued.
pub(crate) fn deliver_segment(recipient: &mut impl Recipient, topic: u32, core: &mut Core) -> bool {
    deliver(recipient, core, |delivery| {
        let end = delivery.topics.segment.end();
        delivery.until(end, Some(topic))
    })
}

/// Gives a connection the latest messages that it waits for, as far as they have room.
pub(crate) fn deliver_latest(recipient: &mut impl Recipient, core: &mut Core) {
    catch_up(recipient, core);
    deliver(recipient, core, |delivery| delivery.latest());
}

/// Gives a new subscriber of a topic the latest message of each key, if the topic keeps them.
pub(crate) fn deliver_first(recipient: &mut impl Recipient, name: &str, core: &mut Core) {
    let index = recipient.index();
    let Some(topics) = &mut core.topics else { return };
    if let Some(topic) = topics.registry.find(name)
        && topics.registry.topic(topic).keys.is_some()
    {
        topics.lagging.insert(index, Lag { topic, from: 0 });
        deliver_latest(recipient, core);
    }
}

/// Calls `call` with the topics, which are taken out of the core meanwhile. Returns whether anything
/// was queued.
fn deliver<R: Recipient>(
    recipient: &mut R,
    core: &mut Core,
    call: impl FnOnce(&mut Delivery<'_, R>) -> Outcome,
) -> bool {
    let Some(mut topics) = core.topics.take() else { return false };
    let outcome = call(&mut Delivery { topics: &mut topics, recipient, core });
    core.topics = Some(topics);
    core.note_topics();
    if outcome == Outcome::TooSlow {
        recipient.close_slow(core);
    }
    outcome == Outcome::Queued
}

struct Delivery<'a, R> {
    topics: &'a mut Topics,
    recipient: &'a mut R,
    core: &'a mut Core,
}

impl<R: Recipient> Delivery<'_, R> {
    /// Delivers the entries from the connection's cursor to `end`. `current`: the topic of the sweep,
    /// if `end` is the end of its segment.
    fn until(&mut self, end: u64, current: Option<u32>) -> Outcome {
        let index = self.recipient.index();
        let topics = &mut *self.topics;
        let Some(subscriber) = topics.registry.subscriber_mut(index) else { return Outcome::Nothing };
        if subscriber.cursor >= end {
            return Outcome::Nothing;
        }
        let from = std::mem::replace(&mut subscriber.cursor, end).max(topics.log.first());
        let only = match current {
            Some(topic) if !topics.segment.has_several() => Some(topic),
            _ => {
                let mut hot = topics.registry.with_entries(index, from);
                let Some(first) = hot.next() else { return Outcome::Nothing };
                hot.next().is_none().then_some(first)
            }
        };
        if let (Some(topic), Some(_)) = (only, current)
            && self.joined(topic, from..end)
        {
            return Outcome::Queued;
        }
        self.one_by_one(from..end)
    }

    /// Delivers entries of the connection's only topic in the segment as a part of the joined frames.
    /// Returns `false` if that is impossible: the entries are to be delivered one by one.
    fn joined(&mut self, topic: u32, numbers: Range<u64>) -> bool {
        let Self { topics, recipient, core } = self;
        let Some(compression) = recipient.shared_compression() else { return false };
        if !topics.lagging.is_empty() && topics.lagging.contains(recipient.index(), topic) {
            return false;
        }
        let segment = topics.segment.end();
        let state = topics.registry.topic_mut(topic);
        let positions = state.positions(numbers);
        if positions.is_empty() {
            return false;
        }
        let class = compression.class();
        let known = state.joined.iter().position(|joined| joined.class == class);
        let Some(at) = known.or_else(|| {
            let joined = join(state, segment, &topics.log, compression, &mut core.compressors)?;
            state.joined.push(joined);
            Some(state.joined.len() - 1)
        }) else {
            return false;
        };
        let joined = &state.joined[at];
        let range = joined.range(positions.start);
        if recipient.room(core) < range.len() {
            return false;
        }
        recipient.push_frames(&joined.bytes, range, joined.is_deflated, core);
        core.counters.deliveries += positions.len() as u64;
        true
    }

    /// Delivers entries of all topics of the connection in order, each by itself, as far as they have
    /// room.
    fn one_by_one(&mut self, numbers: Range<u64>) -> Outcome {
        let Self { topics, recipient, core } = self;
        let Topics { registry, log, lagging, missed, scratch, .. } = &mut **topics;
        let index = recipient.index();
        scratch.clear();
        for topic in registry.with_entries(index, numbers.start) {
            let state = registry.topic(topic);
            let positions = state.positions(numbers.clone());
            if !lagging.is_empty() && lagging.contains(index, topic) {
                core.counters.dropped_latest += positions.len() as u64;
            } else {
                scratch.extend(state.entries.range(positions));
            }
        }
        scratch.sort_unstable();
        let mut outcome = Outcome::Nothing;
        for (at, &number) in scratch.iter().enumerate() {
            let Some(entry) = log.get(number) else { continue };
            let state = registry.topic(entry.topic);
            let count = match &entry.content {
                Content::Message { prepared, .. } if prepared.as_frame().len() <= recipient.room(core) => {
                    if state.policy == TopicPolicy::Latest && lagging.contains(index, entry.topic) {
                        core.counters.dropped_latest += 1;
                        continue;
                    }
                    recipient.push_prepared(prepared, core);
                    core.counters.deliveries += 1;
                    outcome = Outcome::Queued;
                    continue;
                }
                Content::Message { .. } => 1,
                Content::Gap(count) => *count,
            };
            match state.policy {
                TopicPolicy::Close => {
                    core.counters.dropped_close += (scratch.len() - at) as u64 - 1 + count;
                    return Outcome::TooSlow;
                }
                TopicPolicy::DropNewest => {
                    core.counters.dropped_newest += count;
                    match missed.back_mut() {
                        Some(last) if last.index == index && last.topic == state.name => last.count += count,
                        _ => missed.push_back(Missed { index, topic: Arc::clone(&state.name), count }),
                    }
                }
                TopicPolicy::Latest => {
                    core.counters.dropped_latest += count;
                    if matches!(entry.content, Content::Message { .. }) {
                        lagging.insert(index, Lag { topic: entry.topic, from: number });
                    }
                }
            }
        }
        outcome
    }

    /// Delivers the latest messages that the connection waits for.
    fn latest(&mut self) -> Outcome {
        let Self { topics, recipient, core } = self;
        let index = recipient.index();
        let mut outcome = Outcome::Nothing;
        for Lag { topic, mut from } in topics.lagging.take(index) {
            let Some(keys) = &topics.registry.topic(topic).keys else { continue };
            while let Some((number, prepared)) = keys.next(from) {
                if prepared.as_frame().len() > recipient.room(core) {
                    topics.lagging.insert(index, Lag { topic, from: number });
                    break;
                }
                recipient.push_prepared(prepared, core);
                core.counters.deliveries += 1;
                outcome = Outcome::Queued;
                from = number + 1;
            }
        }
        outcome
    }
}

/// Joins the frames of a topic below the number `end`, for connections of one compression class;
/// `None` if a gap is among them.
fn join(
    topic: &Topic,
    end: u64,
    log: &Log,
    compression: Compression,
    compressors: &mut Option<Box<Compressors>>,
) -> Option<Joined> {
    let positions = topic.positions(0..end);
    let mut frames = Vec::with_capacity(positions.len());
    let mut is_deflated = false;
    for &number in topic.entries.range(positions) {
        let Content::Message { prepared, .. } = &log.get(number)?.content else { return None };
        let deflated = match compressors {
            Some(compressors) if compression.is_on() => {
                let is_asked = prepared.is_to_be_compressed();
                let is_compressed = is_asked.unwrap_or_else(|| compressors.is_worthwhile(prepared.payload().len()));
                is_compressed.then(|| deflated_frame(prepared, compressors.shared(compression))).flatten()
            }
            _ => None,
        };
        is_deflated |= deflated.is_some();
        frames.push(deflated.unwrap_or_else(|| prepared.as_frame()));
    }
    let mut starts = Vec::with_capacity(frames.len());
    let mut len = 0;
    for frame in &frames {
        starts.push(len);
        len += frame.len() as u32;
    }
    let bytes = match frames[..] {
        [frame] => Arc::clone(frame),
        _ => frames.iter().flat_map(|frame| frame.iter().copied()).collect::<Vec<u8>>().into(),
    };
    Some(Joined { class: compression.class(), bytes, starts, is_deflated })
}
