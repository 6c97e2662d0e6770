//! Timers by the thousand: a hierarchical wheel, one entry per connection.

use std::time::{Duration, Instant};

const LEVEL_BITS: u32 = 6;
const PLACES: usize = 1 << LEVEL_BITS;
const LEVELS: usize = 4;
/// The farthest deadline in ticks: what lies beyond is put here, and looked at again when it comes.
const HORIZON: u64 = 1 << (LEVEL_BITS * LEVELS as u32);
const NONE: u32 = u32::MAX;

/// One timer's place in the lists: 16 bytes.
#[derive(Clone, Copy, Debug)]
struct Node {
    next: u32,
    previous: u32,
    /// The deadline in ticks, modulo 2³².
    deadline: u32,
    /// Which list the timer is on (level × 64 + place), or [`UNLISTED`].
    list: u16,
}

const UNLISTED: u16 = u16::MAX;

/// A wheel of timers that are named by small numbers, at most one timer for each name.
///
/// Time is cut into ticks; a timer never fires early, and at most one tick late. Setting, moving and clearing a
/// timer are O(1), and so is finding the next deadline. It reads no clock: time is an argument.
#[derive(Debug)]
pub struct TimerWheel {
    start: Instant,
    tick: Duration,
    /// All timers up to this tick have fired.
    now: u64,
    nodes: Vec<Node>,
    heads: [[u32; PLACES]; LEVELS],
    /// Bit `p` of level `l`: list `p` of the level is not empty.
    occupied: [u64; LEVELS],
    armed: usize,
}

impl TimerWheel {
    /// A wheel that begins at `start` and resolves `tick` (at least 1 ms). The farthest deadline is 2²⁴ ticks ahead:
    /// 46 hours at 10 ms; a timer beyond it fires then.
    #[must_use]
    pub fn new(start: Instant, tick: Duration) -> Self {
        Self {
            start,
            tick: tick.max(Duration::from_millis(1)),
            now: 0,
            nodes: Vec::new(),
            heads: [[NONE; PLACES]; LEVELS],
            occupied: [0; LEVELS],
            armed: 0,
        }
    }

    /// Sets the timer `name` to fire at `deadline`, wherever it was before. A deadline that has passed fires at the
    /// next tick.
    pub fn set(&mut self, name: u32, deadline: Instant) {
        let after = deadline.saturating_duration_since(self.start);
        let ticks = after.as_nanos().div_ceil(self.tick.as_nanos());
        let ticks = u64::try_from(ticks).unwrap_or(u64::MAX).clamp(self.now + 1, self.now + HORIZON - 1);
        self.clear(name);
        if self.nodes.len() <= name as usize {
            let empty = Node { next: NONE, previous: NONE, deadline: 0, list: UNLISTED };
            self.nodes.resize(name as usize + 1, empty);
        }
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

    /// How long from `now` until [`TimerWheel::expire`] has something to do; `None` when no timer is set.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        let tick = self.next_stop()?;
        let tick = u32::try_from(tick).unwrap_or(u32::MAX);
        Some((self.start + self.tick * tick).saturating_duration_since(now))
    }

    /// Moves the wheel to `now` and appends the timers that have fired to `fired`; they are cleared by then.
    pub fn expire(&mut self, now: Instant, fired: &mut Vec<u32>) {
        let target = now.saturating_duration_since(self.start).as_nanos() / self.tick.as_nanos();
        let target = u64::try_from(target).unwrap_or(u64::MAX);
        while let Some(stop) = self.next_stop() {
            if stop > target {
                break;
            }
            self.now = stop;
            // From the top down: what moves down from a higher level may be due at this very tick.
            for level in (0..LEVELS).rev() {
                let shift = LEVEL_BITS * level as u32;
                if self.now & ((1 << shift) - 1) == 0 {
                    self.empty(level, (self.now >> shift) as usize % PLACES, fired);
                }
            }
        }
        self.now = self.now.max(target);
    }

    /// The next tick at which a list must be emptied: a timer's deadline at the lowest level, the beginning of a
    /// place's span at the others.
    fn next_stop(&self) -> Option<u64> {
        (0..LEVELS)
            .filter(|&level| self.occupied[level] != 0)
            .map(|level| {
                let shift = LEVEL_BITS * level as u32;
                let position = self.now >> shift;
                // The place of the present moment is the farthest one: what it held has been emptied.
                let ahead = self.occupied[level].rotate_right((position as u32 + 1) % 64).trailing_zeros();
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
            // Deadlines lie within 2²⁴ ticks of now, so their difference is right modulo 2³².
            let left = node.deadline.wrapping_sub(self.now as u32);
            if left == 0 {
                node.list = UNLISTED;
                self.armed -= 1;
                fired.push(name);
            } else {
                self.insert(name, self.now + u64::from(left));
            }
            name = next;
        }
    }

    /// Puts the timer on the list of the lowest level whose span reaches its deadline.
    fn insert(&mut self, name: u32, ticks: u64) {
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
        self.nodes[name as usize] = Node { next: head, previous: NONE, deadline: ticks as u32, list };
        self.occupied[level] |= 1 << place;
    }

    /// How many timers are set.
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

    #[derive(Clone, Debug)]
    enum Step {
        Set(u32, u64),
        Clear(u32),
        Pass(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let span = prop_oneof![0u64..200, 0u64..100_000, 0u64..200_000_000];
        prop_oneof![
            (0u32..20, span.clone()).prop_map(|(name, after)| Step::Set(name, after)),
            (0u32..20).prop_map(Step::Clear),
            span.prop_map(Step::Pass),
        ]
    }

    proptest! {
        /// The oracle is a sorted map of deadlines.
        #[test]
        fn the_wheel_agrees_with_a_sorted_map(steps in prop::collection::vec(step(), 1..200)) {
            let start = Instant::now();
            let mut wheel = TimerWheel::new(start, TICK);
            let mut oracle = BTreeMap::new();
            let mut now = 0u64;
            for step in steps {
                match step {
                    Step::Set(name, after) => {
                        wheel.set(name, start + Duration::from_millis(now + after));
                        let ticks = (now + after).div_ceil(10).clamp(now / 10 + 1, now / 10 + HORIZON - 1);
                        oracle.insert(name, ticks * 10);
                    }
                    Step::Clear(name) => {
                        wheel.clear(name);
                        oracle.remove(&name);
                    }
                    Step::Pass(by) => {
                        now += by;
                        let mut fired = Vec::new();
                        wheel.expire(start + Duration::from_millis(now), &mut fired);
                        fired.sort_unstable();
                        let due: Vec<u32> = oracle.iter().filter(|(_, at)| **at <= now).map(|(name, _)| *name).collect();
                        oracle.retain(|_, at| *at > now);
                        prop_assert_eq!(fired, due);
                    }
                }
                prop_assert_eq!(wheel.armed(), oracle.len());
                let wait = wheel.wait(start + Duration::from_millis(now));
                let next = oracle.values().min();
                // The wheel may ask to be looked at before the next deadline, never after it.
                prop_assert_eq!(wait.is_some(), next.is_some());
                if let (Some(wait), Some(next)) = (wait, next) {
                    prop_assert!(wait <= Duration::from_millis(next - now));
                }
            }
        }
    }
}
