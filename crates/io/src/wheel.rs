//! A hierarchical timer wheel with one timer per connection.

use crate::pages::Pages;
use std::time::{Duration, Instant};

const LEVEL_BITS: u32 = 6;
const PLACES: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 4;
/// The number of ticks that the lists cover. A timer beyond them is on the last list, and is
/// inserted again when that list is due.
const SPAN: u64 = 1 << (LEVEL_BITS * LEVELS as u32);
/// How many ticks ahead a deadline can be: a node stores it modulo 2⁴⁸.
const MAX_AHEAD: u64 = (1 << 48) - 1;
/// The last tick, 292 million years at 1 ms. The bound keeps sums of ticks from overflowing.
const MAX_TICK: u64 = u64::MAX / 2;
const NONE: u32 = u32::MAX;
const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// The list entry of one timer: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    previous: u32,
    /// The deadline in ticks, modulo 2⁴⁸: its lower 32 bits, and the 16 above them.
    deadline_low: u32,
    deadline_high: u16,
    /// Which list the timer is on (level × 64 + place), or [`UNLISTED`].
    list: u16,
}

const UNLISTED: u16 = u16::MAX;

impl Node {
    const EMPTY: Self = Self { next: NONE, previous: NONE, deadline_low: 0, deadline_high: 0, list: UNLISTED };

    /// How many ticks after `now` the deadline is.
    fn left(&self, now: u64) -> u64 {
        let deadline = u64::from(self.deadline_high) << 32 | u64::from(self.deadline_low);
        // Deadlines are at most 2⁴⁸ - 1 ticks ahead, so their difference is right modulo 2⁴⁸.
        deadline.wrapping_sub(now) & MAX_AHEAD
    }
}

/// A wheel of timers that are identified by small numbers, with at most one timer per number.
///
/// Time is divided into ticks. A timer never fires early, and at most one tick late. Setting,
/// moving and clearing a timer are O(1), and so is finding the next deadline. The wheel reads no
/// clock: time is an argument.
///
/// ```
/// use ringway_io::TimerWheel;
/// use std::time::{Duration, Instant};
///
/// let start = Instant::now();
/// let mut wheel = TimerWheel::new(start, Duration::from_millis(10));
/// wheel.set(7, start + Duration::from_millis(25));
/// assert_eq!(wheel.wait(start), Some(Duration::from_millis(30)));
///
/// let mut fired = Vec::new();
/// wheel.expire(start + Duration::from_millis(30), &mut fired);
/// assert_eq!(fired, [7]);
/// ```
#[derive(Debug)]
pub struct TimerWheel {
    start: Instant,
    tick: Duration,
    /// All timers up to this tick have fired.
    now: u64,
    nodes: Pages<Node>,
    heads: [[u32; PLACES]; LEVELS],
    /// Bit `p` of level `l`: list `p` of the level is not empty.
    occupied: [u64; LEVELS],
    armed: usize,
}

impl TimerWheel {
    /// A wheel that begins at `start`, with ticks of length `tick` (at least 1 ms). Deadlines are
    /// at most 2⁴⁸ - 1 ticks ahead, 8 900 years at 1 ms; a later deadline is set to that. A timer
    /// more than 2²⁴ ticks ahead, 46 hours at 10 ms, is inserted again once per 2²⁴ ticks.
    #[must_use]
    pub fn new(start: Instant, tick: Duration) -> Self {
        Self {
            start,
            tick: tick.max(Duration::from_millis(1)),
            now: 0,
            nodes: Pages::new(),
            heads: [[NONE; PLACES]; LEVELS],
            occupied: [0; LEVELS],
            armed: 0,
        }
    }

    /// Sets the timer `name` to fire at `deadline`; if it is set already, moves it. A timer with a
    /// deadline in the past fires at the next tick.
    pub fn set(&mut self, name: u32, deadline: Instant) {
        let after = deadline.saturating_duration_since(self.start);
        let ticks = after.as_nanos().div_ceil(self.tick.as_nanos());
        let ticks = u64::try_from(ticks).unwrap_or(MAX_TICK).clamp(self.now + 1, self.now + MAX_AHEAD);
        self.clear(name);
        self.nodes.grow(name as usize + 1, || Node::EMPTY);
        self.insert(name, ticks);
        self.armed += 1;
    }

    /// Clears the timer `name`, if it is set.
    pub fn clear(&mut self, name: u32) {
        let Some(&node) = self.nodes.get(name as usize) else { return };
        if node.list == UNLISTED {
            return;
        }
        self.armed -= 1;
        let (level, place) = (usize::from(node.list) / PLACES, usize::from(node.list) % PLACES);
        match node.previous {
            NONE => self.heads[level][place] = node.next,
            previous => self.nodes[previous as usize].next = node.next,
        }
        if node.next != NONE {
            self.nodes[node.next as usize].previous = node.previous;
        }
        if self.heads[level][place] == NONE {
            self.occupied[level] &= !(1 << place);
        }
        self.nodes[name as usize].list = UNLISTED;
    }

    /// The time from `now` until [`TimerWheel::expire`] has to be called; `None` when no timer is
    /// set.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let stop = self.tick.as_nanos().saturating_mul(u128::from(self.next_stop()?));
        let stop = match u64::try_from(stop / NANOS_PER_SECOND) {
            Ok(seconds) => Duration::new(seconds, (stop % NANOS_PER_SECOND) as u32),
            Err(_) => Duration::MAX,
        };
        Some(stop.saturating_sub(now.saturating_duration_since(self.start)))
    }

    /// Advances the wheel to `now`, clears the timers that fire, and appends them to `fired`.
    pub fn expire(&mut self, now: Instant, fired: &mut Vec<u32>) {
        let target = now.saturating_duration_since(self.start).as_nanos() / self.tick.as_nanos();
        let target = u64::try_from(target).unwrap_or(MAX_TICK).min(MAX_TICK);
        while let Some(stop) = self.next_stop() {
            if stop > target {
                break;
            }
            self.now = stop;
            // From the top down: a timer that moves down from a higher level may be due at this
            // tick.
            for level in (0..LEVELS).rev() {
                let shift = LEVEL_BITS * level as u32;
                if self.now & ((1 << shift) - 1) == 0 {
                    self.empty(level, (self.now >> shift) as usize % PLACES, fired);
                }
            }
        }
        self.now = self.now.max(target);
    }

    /// The next tick at which a list is due: the deadline of its timers at the lowest level, the
    /// beginning of the span of the list at the others.
    fn next_stop(&self) -> Option<u64> {
        (0..LEVELS)
            .filter(|&level| self.occupied[level] != 0)
            .map(|level| {
                let shift = LEVEL_BITS * level as u32;
                let position = self.now >> shift;
                // The list of the current tick was emptied, so it stands for the farthest span.
                let ahead = self.occupied[level].rotate_right((position + 1) as u32 % 64).trailing_zeros();
                (position + 1 + u64::from(ahead)) << shift
            })
            .min()
    }

    fn empty(&mut self, level: usize, place: usize, fired: &mut Vec<u32>) {
        let mut name = std::mem::replace(&mut self.heads[level][place], NONE);
        self.occupied[level] &= !(1 << place);
        while name != NONE {
            let node = &mut self.nodes[name as usize];
            let next = node.next;
            let left = node.left(self.now);
            if left == 0 {
                node.list = UNLISTED;
                self.armed -= 1;
                fired.push(name);
            } else {
                self.insert(name, self.now + left);
            }
            name = next;
        }
    }

    /// Adds the timer to the list of the lowest level that covers its deadline, or to the last
    /// list.
    fn insert(&mut self, name: u32, deadline: u64) {
        let ticks = deadline.min(self.now + SPAN - 1);
        let mut level = 0;
        while level + 1 < LEVELS {
            let shift = LEVEL_BITS * level as u32;
            if (ticks >> shift) - (self.now >> shift) < PLACES as u64 {
                break;
            }
            level += 1;
        }
        let place = (ticks >> (LEVEL_BITS * level as u32)) as usize % PLACES;
        let head = std::mem::replace(&mut self.heads[level][place], name);
        if head != NONE {
            self.nodes[head as usize].previous = name;
        }
        let list = (level * PLACES + place) as u16;
        let (deadline_low, deadline_high) = (deadline as u32, (deadline >> 32) as u16);
        self.nodes[name as usize] = Node { next: head, previous: NONE, deadline_low, deadline_high, list };
        self.occupied[level] |= 1 << place;
    }

    /// The number of timers that are set.
    #[must_use]
    pub fn armed(&self) -> usize {
        self.armed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn a_timer_fires_once_and_never_early() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, TICK);
        let mut fired = Vec::new();
        wheel.set(3, start + Duration::from_millis(25));
        assert_eq!(wheel.wait(start), Some(Duration::from_millis(30)));
        wheel.expire(start + Duration::from_millis(29), &mut fired);
        assert!(fired.is_empty());
        wheel.expire(start + Duration::from_millis(30), &mut fired);
        assert_eq!(fired, [3]);
        assert_eq!((wheel.armed(), wheel.wait(start)), (0, None));
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_tick() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, TICK);
        let mut fired = Vec::new();
        wheel.expire(start + Duration::from_secs(5), &mut fired);
        wheel.set(0, start);
        wheel.expire(start + Duration::from_secs(5) + TICK, &mut fired);
        assert_eq!(fired, [0]);
    }

    #[test]
    fn a_timer_costs_16_bytes() {
        assert_eq!(size_of::<Node>(), 16);
    }

    /// Expires the wheel whenever it is due, until a timer fires. Returns the number of calls, and
    /// when the timer fired.
    fn drive(wheel: &mut TimerWheel, mut now: Instant) -> (u32, Instant) {
        let mut fired = Vec::new();
        for looks in 1.. {
            let wait = wheel.wait(now).expect("a timer is set");
            assert!(!wait.is_zero(), "the wheel spins: no timer has fired, and it is due at once");
            now += wait;
            wheel.expire(now, &mut fired);
            if !fired.is_empty() {
                return (looks, now);
            }
        }
        unreachable!("the loop returns when a timer fires");
    }

    #[test]
    fn the_wheel_does_not_spin_after_2_to_the_32_ticks() {
        let start = Instant::now();
        // 497 days at 10 ms, and far more.
        for ticks in [(1 << 32) - 100, 1 << 32, (1 << 32) + 100, 1 << 40] {
            let now = start + Duration::from_millis(10 * ticks);
            let mut wheel = TimerWheel::new(start, TICK);
            wheel.expire(now, &mut Vec::new());
            wheel.set(0, now + Duration::from_secs(30));
            let (looks, fired) = drive(&mut wheel, now);
            assert_eq!(fired - now, Duration::from_secs(30), "after {ticks} ticks");
            assert!(looks <= LEVELS as u32, "{looks} calls after {ticks} ticks");
        }
    }

    #[test]
    fn a_deadline_beyond_the_span_of_the_lists_is_kept() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, TICK);
        let year = Duration::from_secs(365 * 24 * 60 * 60);
        wheel.set(0, start + year);
        let (looks, fired) = drive(&mut wheel, start);
        assert_eq!(fired - start, year);
        assert!(looks <= 200, "{looks} calls; one in 46 hours is enough");
    }

    #[test]
    fn a_timer_that_is_set_after_a_long_stop_does_not_fire_early() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, TICK);
        let mut fired = Vec::new();
        wheel.set(0, start + Duration::from_secs(30));
        // The process was stopped for a week, and sets another timer before it expires the wheel.
        let now = start + Duration::from_secs(7 * 24 * 60 * 60);
        wheel.set(1, now + Duration::from_secs(30));
        assert_eq!(wheel.wait(now), Some(Duration::ZERO));
        wheel.expire(now, &mut fired);
        assert_eq!(fired, [0]);
        assert_eq!(drive(&mut wheel, now).1 - now, Duration::from_secs(30));
    }

    #[test]
    fn deadlines_beyond_the_range_of_the_clock_are_accepted() {
        let start = Instant::now();
        let mut wheel = TimerWheel::new(start, Duration::from_secs(u64::MAX));
        wheel.set(0, start + Duration::from_secs(1));
        assert_eq!(wheel.wait(start), Some(Duration::from_secs(u64::MAX)));
        let late = start + Duration::from_secs(1 << 62);
        let mut wheel = TimerWheel::new(start, TICK);
        wheel.set(0, late);
        wheel.expire(start, &mut Vec::new());
        assert_eq!(wheel.armed(), 1);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Clear(u32),
        /// Time passes, and the wheel is expired.
        Pass(u64),
        /// Time passes without a call: the process is stopped, or busy.
        Stop(u64),
    }

    const DAY: u64 = 24 * 60 * 60 * 1000;

    /// Spans in milliseconds: from less than a tick to years, and edges of the wheel's levels.
    fn span() -> impl Strategy<Value = u64> {
        let edge =
            (prop::sample::select(vec![6, 12, 18, 24, 32]), 0u64..41).prop_map(|(bits, at)| (10 << bits) - 20 + at);
        prop_oneof![
            8 => 0u64..200,
            8 => 0u64..100_000,
            4 => 0u64..200_000_000,
            4 => edge,
            2 => 0..30 * DAY,
            1 => 0..3_000 * DAY,
        ]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0u32..20, span()).prop_map(|(name, after)| Step::Set(name, after)),
            1 => (0u32..20).prop_map(Step::Clear),
            2 => span().prop_map(Step::Pass),
            1 => span().prop_map(Step::Stop),
        ]
    }

    /// The age of the wheel at the beginning, in milliseconds: 0, about 2³² ticks, or more ticks
    /// than a node stores.
    fn age() -> impl Strategy<Value = u64> {
        let around = |bits: u32| (10u64 << bits) - DAY..(10u64 << bits) + DAY;
        prop_oneof![Just(0), 0..1_000 * DAY, around(32), around(48), 0u64..1 << 60]
    }

    proptest! {
        /// The oracle is a sorted map of deadlines, in ticks of 10 ms.
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(age in age(), steps in prop::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let mut wheel = TimerWheel::new(start, TICK);
            let mut oracle = BTreeMap::new();
            let mut now = age;
            // The tick of the last call of `expire`.
            let mut seen = now / 10;
            wheel.expire(start + Duration::from_millis(now), &mut Vec::new());
            for step in steps {
                match step {
                    Step::Set(name, after) => {
                        wheel.set(name, start + Duration::from_millis(now + after));
                        oracle.insert(name, (now + after).div_ceil(10).max(seen + 1));
                    }
                    Step::Clear(name) => {
                        wheel.clear(name);
                        oracle.remove(&name);
                    }
                    Step::Stop(span) => now += span,
                    Step::Pass(span) => {
                        now += span;
                        seen = now / 10;
                        let mut fired = Vec::new();
                        wheel.expire(start + Duration::from_millis(now), &mut fired);
                        fired.sort_unstable();
                        let due: Vec<u32> = oracle.iter().filter(|(_, at)| **at <= seen).map(|(name, _)| *name).collect();
                        oracle.retain(|_, at| *at > seen);
                        prop_assert_eq!(fired, due);
                    }
                }
                prop_assert_eq!(wheel.armed(), oracle.len());
                let wait = wheel.wait(start + Duration::from_millis(now));
                let next = oracle.values().min();
                prop_assert_eq!(wait.is_some(), next.is_some());
                if let (Some(wait), Some(next)) = (wait, next) {
                    // The wheel may be due before the next deadline, never after it.
                    prop_assert!(wait <= Duration::from_millis((next * 10).saturating_sub(now)));
                    // It is due at once only when a tick has passed since the last call.
                    prop_assert!(!wait.is_zero() || now / 10 > seen);
                }
            }
        }
    }
}
