//! The sweep, which passes published messages to the subscribers at the end of each turn, and the
//! calls of the handler that follow from it.

use super::Topics;
use super::delivery::{deliver_latest, deliver_segment};
use crate::api::handler::Handler;
use crate::shard::dispatch::Dispatch;
use crate::shard::notices::NoticeKind;
use ringway_io::Driver;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// The maximum number of members that a sweep visits in one turn. Members that need nothing cost no
/// send.
const VISITS: usize = 2048;

/// The duration of a turn with a part of a sweep that [`Portion`] aims at. A connection that is not
/// a subscriber waits for up to two such turns. Of 5000 subscribers of 100 bytes, an unrelated
/// connection has a p99 of 3 to 4 ms at 1 ms, of 4 to 5 ms at 1.5 ms, and of 7 to 8 ms with constant
/// portions of 256 sends; shorter turns deliver up to a tenth less.
const TURN: Duration = Duration::from_micros(1250);

/// The maximum size in bytes of a segment of several messages. The outboxes can drain between two
/// segments.
const SEGMENT: usize = 256 * 1024;

/// The part of the log that is being swept: all entries below a number.
#[derive(Default)]
pub(crate) struct Segment {
    end: u64,
    /// Its topics that are not finished, in the order of their first messages.
    topics: VecDeque<u32>,
    /// Members of the first topic from this position on are done. The sweep goes from the last
    /// member to the first: one that leaves is replaced by the last one, which is then visited
    /// again at worst, and never skipped.
    position: usize,
    /// Whether it has more than one topic.
    has_several: bool,
    is_active: bool,
    /// When the sweep began.
    began: Option<Instant>,
}

impl Segment {
    /// The number after its last entry.
    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn has_several(&self) -> bool {
        self.has_several
    }

    pub(crate) fn is_active(&self) -> bool {
        self.is_active
    }
}

/// How many sends a sweep submits in one turn: as many as the machine makes in [`TURN`].
///
/// A send takes from one to more than ten microseconds, by kernel, network and load, so a constant
/// would delay other connections on a slow machine, and cost turns on a fast one.
pub(crate) struct Portion {
    sends: usize,
    /// When the previous turn of the sweep in progress began.
    previous: Option<Instant>,
}

impl Default for Portion {
    fn default() -> Self {
        Self { sends: Self::FIRST, previous: None }
    }
}

impl Portion {
    const FIRST: usize = 64;
    /// A sweep goes on, however slow the machine is.
    const MIN: usize = 16;

    /// A turn of a sweep begins. `max`: the maximum that the completion queue has room for. Returns
    /// the number of sends.
    fn begin(&mut self, now: Instant, max: usize) -> usize {
        if let Some(previous) = self.previous.replace(now) {
            let took = now.saturating_duration_since(previous);
            if took > TURN {
                // By half at most: one long turn can have another cause.
                let fitting = self.sends as u128 * TURN.as_nanos() / took.as_nanos();
                self.sends = (fitting as usize).max(self.sends / 2).max(Self::MIN);
            } else if took > Duration::ZERO && took < TURN / 2 {
                self.sends += self.sends / 4;
            }
        }
        self.sends = self.sends.min(max);
        self.sends
    }

    /// The sweep has ended: the next turn is not one of it.
    fn end(&mut self) {
        self.previous = None;
    }
}

impl Topics {
    /// Begins a sweep of the entries in the log, if none is in progress.
    fn begin_sweep(&mut self, max_bytes: usize, now: impl FnOnce() -> Instant) {
        if self.segment.is_active || self.log.is_empty() {
            return;
        }
        let end = self.log.segment_end(max_bytes.min(SEGMENT));
        let mut topics = std::mem::take(&mut self.segment.topics);
        for number in self.log.first()..end {
            if let Some(entry) = self.log.get(number)
                && self.registry.topic(entry.topic).entries.front() == Some(&number)
            {
                topics.push_back(entry.topic);
            }
        }
        let has_several = topics.len() > 1;
        self.segment = Segment { end, topics, position: usize::MAX, has_several, is_active: true, began: Some(now()) };
    }

    /// When the sweep began that has ended since the last call.
    fn take_ended(&mut self) -> Option<Instant> {
        if self.segment.is_active { None } else { self.segment.began.take() }
    }

    /// The next member to visit, and the topic that it is visited for.
    fn next_member(&mut self) -> Option<(u32, u32)> {
        while let Some(&topic) = self.segment.topics.front() {
            let members = &self.registry.topic(topic).members;
            if let Some(position) = self.segment.position.min(members.len()).checked_sub(1) {
                self.segment.position = position;
                return Some((members[position].index, topic));
            }
            let state = self.registry.topic_mut(topic);
            state.joined.clear();
            let swept = state.positions(0..self.segment.end);
            state.entries.drain(swept);
            self.segment.topics.pop_front();
            self.segment.position = usize::MAX;
            self.registry.release_unused(topic);
        }
        if self.segment.is_active {
            self.log.drop_before(self.segment.end);
            self.segment.is_active = false;
        }
        None
    }
}

/// The maximum number of sends of a sweep in one turn: half of the completion queue, which has four
/// times the number of submission entries. An overflow would end all multishot receives.
fn max_sends(ring_entries: u32) -> usize {
    ring_entries as usize * 2
}

/// Passes published messages to subscribers, and to other shards.
pub(crate) fn sweep<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    if !shard.core.topics.as_ref().is_some_and(|topics| topics.has_work() || topics.waits_for_others()) {
        return;
    }
    let clock = shard.core.clock_reading();
    let (full, dropped) = shard.core.with_topics(|topics, limits| {
        topics.begin_sweep(limits.low_mark(), clock);
        topics.post()
    });
    shard.core.counters.mailbox_full += full;
    shard.core.counters.dropped_mailbox += dropped;
    if full > 0 || dropped > 0 {
        let now = shard.core.now();
        shard.core.notices.warn_of_shard(now, NoticeKind::MailboxFull, || {
            format!(
                "the mailbox of another shard is full: published messages wait for it (limits.max_published), and \
                 {dropped} are dropped"
            )
        });
    }
    while let Some(index) = shard.core.topics.as_mut().and_then(|topics| topics.lagging.take_ready()) {
        if let Some(session) = shard.sessions.at_mut(index) {
            deliver_latest(&mut session.link, shard.core);
        }
    }
    let (now, max) = (shard.core.current_time(), max_sends(shard.core.config.ring_entries));
    let max_sends = shard.core.with_topics(|topics, _| match topics.segment.is_active {
        true => topics.portion.begin(now, max),
        false => 0,
    });
    let mut sends = 0;
    for _ in 0..VISITS {
        let Some((index, topic)) = shard.core.with_topics(|topics, _| topics.next_member()) else { break };
        if let Some(session) = shard.sessions.at_mut(index)
            && deliver_segment(&mut session.link, topic, shard.core)
        {
            sends += 1;
            if sends >= max_sends {
                break;
            }
        }
    }
    let ended = shard.core.topics.as_mut().and_then(|topics| topics.take_ended());
    if let Some(began) = ended {
        shard.core.with_topics(|topics, _| topics.portion.end());
        let took = shard.core.current_time().saturating_duration_since(began);
        shard.core.meters.fanout_duration.record_micros(took);
    }
    notify(shard);
}

/// Calls the handler for subscribers that have missed messages, and for topics that have subscribers
/// now or no longer.
fn notify<D: Driver, H: Handler>(shard: &mut Dispatch<'_, D, H>) {
    while let Some(missed) = shard.core.topics.as_mut().and_then(|topics| topics.take_missed()) {
        if let Some(slot) = shard.sessions.at(missed.index).map(|session| session.link.slot()) {
            shard.lagged(slot, &missed.topic, missed.count);
        }
    }
    let changed = shard.core.topics.as_mut().map(|topics| topics.take_changed()).unwrap_or_default();
    for (topic, subscribers) in changed {
        shard.with_shard(|handler, shard| handler.topic_changed(shard, &topic, subscribers));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number of sends after turns in which each send takes `each`, and the rest `rest`.
    fn settled(portion: &mut Portion, each: Duration, rest: Duration) -> usize {
        let mut now = Instant::now();
        let mut sends = portion.begin(now, 2048);
        for _ in 0..100 {
            now += each * sends as u32 + rest;
            sends = portion.begin(now, 2048);
        }
        portion.end();
        sends
    }

    #[test]
    fn a_portion_takes_about_a_millisecond_on_any_machine() {
        let mut portion = Portion::default();
        let micros = Duration::from_micros;
        for each in [1, 3, 13, 40, 2, 100] {
            let sends = settled(&mut portion, micros(each), Duration::ZERO);
            let expected = 500 / each as usize..=1250 / each as usize;
            assert!(expected.contains(&sends) || sends == Portion::MIN, "{sends} sends of {each} µs");
        }
        assert_eq!(settled(&mut portion, micros(0), micros(1)), 2048, "the completion queue limits it");
        assert_eq!(settled(&mut portion, micros(1), micros(5000)), Portion::MIN);
    }

    #[test]
    fn a_pause_between_sweeps_and_one_long_turn_change_little() {
        let mut portion = Portion::default();
        let before = settled(&mut portion, Duration::from_micros(4), Duration::ZERO);
        let now = Instant::now() + Duration::from_secs(10);
        assert_eq!(portion.begin(now, 2048), before);
        assert_eq!(portion.begin(now + Duration::from_secs(1), 2048), before / 2);
        // A simulated clock that stands still says nothing.
        assert_eq!(portion.begin(now + Duration::from_secs(1), 2048), before / 2);
    }
}
