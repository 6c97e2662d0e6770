//! The budget of work of one connection in one turn of its shard.
//!
//! Work is counted in units of roughly a twentieth of a nanosecond: a frame costs 256, four bytes
//! of payload one, an inflated byte four, a record of TLS 1024. The count limits a peer whose
//! frames are cheap to send and expensive to handle. The clock limits a peer whose messages take
//! the handler long: after a long turn it is read for each input, and within an input after 1, 2,
//! 4, 8, … messages. The rest of the input waits for the next turn.

use ringway_io::Slot;
use std::time::{Duration, Instant};

/// The units of one connection in one turn: 2048 empty frames, 2 MiB of plain payload, or 128 KiB
/// of inflated payload. In the fuzz targets, whose inputs are short, few.
const SLICE: u32 = if cfg!(feature = "fuzzing") { 16 * 1024 } else { 512 * 1024 };

/// The cost of a frame in units, without its payload.
const FRAME: u32 = 256;

/// The cost of opening a record of TLS in units, without its bytes.
const RECORD: u32 = 1024;

/// The number of bytes of input that cost one unit.
const BYTES_PER_UNIT: usize = 4;

/// The cost of an inflated byte in units. The decoder counts a compressed byte as eight of them at
/// least.
const INFLATED: usize = 4;

/// Up to this many units of one input are not recorded: 64 empty frames, or 64 KiB.
const RECORDED_UNITS: u32 = SLICE / 32;

/// Up to this much time of one input is not recorded.
const RECORDED_TIME: Duration = Duration::from_micros(20);

/// The maximum number of units between two readings of the clock.
const CHECK: u32 = 16 * 1024;

/// The maximum time of one connection in one turn. One message more can be handled.
const SLICE_TIME: Duration = Duration::from_millis(1);

/// A turn of this duration is long: the clock is read for each input in the turns after it.
const LONG_TURN: Duration = Duration::from_millis(2);

/// The number of turns after a long one in which the clock is read for each input.
const WATCHED_TURNS: u32 = 64;

/// The maximum time of a turn for input that has waited for it.
pub(crate) const WAITING_TIME: Duration = Duration::from_millis(2);

/// The work of a turn, by connection.
#[derive(Debug, Default)]
pub(crate) struct Slices {
    /// The current connection.
    current: Usage,
    /// The units of the connection when the clock is read next.
    check_at: u32,
    /// The number of units between the latest two readings.
    check: u32,
    /// When the work on the current input began, if the clock was read.
    began: Option<Instant>,
    /// The connections that have used a considerable part of their budget in this turn. They are
    /// few: each needs a large input for it, or a slow handler.
    used: Vec<(Slot, Usage)>,
    /// The number of turns in which the clock is read for each input.
    watched: u32,
    /// Whether the clock is read. A simulated shard has its own clock.
    real_time: bool,
    /// The number of frames that the current connection can still deliver, if its rate is limited.
    /// They are counted after each frame.
    frames_left: Option<u32>,
    /// The units of the connection when the clock is read next, while `check_at` counts frames.
    clock_at: u32,
}

/// The work of one connection in this turn.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    units: u32,
    time: Duration,
}

impl Usage {
    fn is_exhausted(self) -> bool {
        self.units >= SLICE || self.time >= SLICE_TIME
    }
}

impl Slices {
    pub(crate) fn measure_time(&mut self) {
        self.real_time = true;
    }

    /// Whether the clock is read.
    pub(crate) fn reads_clock(&self) -> bool {
        self.real_time
    }

    /// Begins a turn. `busy`: the duration of the previous one without its wait.
    pub(crate) fn begin_turn(&mut self, busy: Duration) {
        self.used.clear();
        self.watched = if busy >= LONG_TURN { WATCHED_TURNS } else { self.watched.saturating_sub(1) };
    }

    /// Begins the work on an input of a connection. Returns whether its budget has anything left in
    /// this turn.
    #[inline]
    pub(crate) fn begin(&mut self, slot: Slot) -> bool {
        self.current = Usage::default();
        if !self.used.is_empty() {
            self.current = self.used.iter().find(|(user, _)| *user == slot).map_or(Usage::default(), |(_, used)| *used);
        }
        let watched = self.watched > 0 && self.real_time;
        self.check = if watched { 1 } else { CHECK };
        self.check_at = self.current.units.saturating_add(self.check);
        self.began = watched.then(Instant::now);
        self.frames_left = None;
        !self.current.is_exhausted()
    }

    /// Limits the frames of the current connection until [`Slices::end`].
    pub(crate) fn limit_frames(&mut self, max: u32) {
        self.frames_left = Some(max);
        self.clock_at = self.check_at;
        self.check_at = 0;
    }

    /// The latest count was of a part of a frame.
    #[inline]
    pub(crate) fn uncount_frame(&mut self) {
        if let Some(left) = &mut self.frames_left {
            *left += 1;
        }
    }

    /// The number of frames that are left of the limit; `None` without one.
    pub(crate) fn frames_left(&self) -> Option<u32> {
        self.frames_left
    }

    /// The number of records of TLS of a connection that can be opened in this turn: half of its
    /// budget is left for their content.
    pub(crate) fn record_allowance(&self, slot: Slot) -> usize {
        let used = self.used.iter().find(|(user, _)| *user == slot).map_or(Usage::default(), |(_, used)| *used);
        match used.is_exhausted() {
            true => 0,
            false => ((SLICE - used.units) / (2 * RECORD)).max(1) as usize,
        }
    }

    /// Counts opened records.
    #[inline]
    pub(crate) fn spend_records(&mut self, slot: Slot, records: usize) {
        let units = u32::try_from(records).unwrap_or(u32::MAX).saturating_mul(RECORD);
        if units > RECORDED_UNITS {
            self.begin(slot);
            self.current.units = self.current.units.saturating_add(units);
            self.end(slot);
        }
    }

    /// The number of bytes that can be inflated within the budget.
    pub(crate) fn inflate_allowance(&self) -> usize {
        ((SLICE.saturating_sub(self.current.units)) as usize / INFLATED).max(1)
    }

    /// The number of fragments that can be decoded within the budget.
    pub(crate) fn fragment_allowance(&self) -> u32 {
        (SLICE.saturating_sub(self.current.units) / FRAME).max(1)
    }

    /// Counts one frame, the fragments before it, and the bytes of the input that they have used.
    /// Returns whether the connection can continue.
    #[inline]
    pub(crate) fn spend(&mut self, input: usize, inflated: usize, fragments: u32) -> bool {
        let bytes = (input / BYTES_PER_UNIT).saturating_add(inflated.saturating_mul(INFLATED));
        let units = u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(fragments.saturating_mul(FRAME));
        self.current.units = self.current.units.saturating_add(units.saturating_add(FRAME));
        self.current.units < self.check_at || self.check()
    }

    #[cold]
    fn check(&mut self) -> bool {
        if let Some(left) = &mut self.frames_left {
            *left = left.saturating_sub(1);
            if *left == 0 {
                return false;
            }
            if self.current.units < self.clock_at {
                return true;
            }
        }
        if self.real_time {
            let now = Instant::now();
            let began = *self.began.get_or_insert(now);
            // A message that costs little makes the next reading come later.
            self.check = self.check.saturating_mul(2).clamp(FRAME, CHECK);
            if self.current.time + now.saturating_duration_since(began) >= SLICE_TIME {
                return false;
            }
        }
        self.clock_at = self.current.units.saturating_add(self.check);
        self.check_at = if self.frames_left.is_some() { 0 } else { self.clock_at };
        self.current.units < SLICE
    }

    /// Uses up the units of the connection in this turn.
    pub(crate) fn exhaust(&mut self) {
        self.current.units = SLICE;
    }

    /// Ends the work on an input.
    #[inline]
    pub(crate) fn end(&mut self, slot: Slot) {
        if self.began.is_some() || self.current.units > RECORDED_UNITS {
            self.record(slot);
        }
    }

    #[cold]
    fn record(&mut self, slot: Slot) {
        let time = self.began.map_or(Duration::ZERO, |began| began.elapsed());
        self.current.time += time;
        if time < RECORDED_TIME && self.current.units <= RECORDED_UNITS {
            return;
        }
        match self.used.iter_mut().find(|(user, _)| *user == slot) {
            Some((_, used)) => *used = self.current,
            None => self.used.push((slot, self.current)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Slot = Slot::new(1, 0);
    const TWO: Slot = Slot::new(2, 0);

    /// The number of such frames that a connection can handle without interruption.
    fn frames(slices: &mut Slices, slot: Slot, input: usize, inflated: usize) -> u32 {
        let mut frames = 0;
        if slices.begin(slot) {
            frames = 1;
            while slices.spend(input, inflated, 0) {
                frames += 1;
            }
        }
        slices.end(slot);
        frames
    }

    fn spin(time: Duration) {
        let began = Instant::now();
        while began.elapsed() < time {}
    }

    #[test]
    fn frames_and_bytes_are_limited_for_each_connection_and_turn() {
        let mut slices = Slices::default();
        for (input, inflated, expected) in
            [(0, 0, 2048), (128 << 10, 0, 16), (100, 32 << 10, 4), (usize::MAX, 0, 1), (0, usize::MAX, 1)]
        {
            slices.begin_turn(Duration::ZERO);
            assert_eq!(frames(&mut slices, ONE, input, inflated), expected);
            assert_eq!(frames(&mut slices, ONE, input, inflated), 0, "its budget is used up");
            assert_eq!(frames(&mut slices, TWO, input, inflated), expected, "another connection has its own");
        }
    }

    #[test]
    fn work_in_parts_is_added_up() {
        let mut slices = Slices::default();
        let mut total = 0;
        while slices.begin(ONE) {
            (0..700).for_each(|_| {
                slices.spend(0, 0, 0);
            });
            slices.end(ONE);
            total += 700;
        }
        assert_eq!(total, 2100);
    }

    #[test]
    fn fragments_without_events_use_the_budget() {
        let mut slices = Slices::default();
        assert!(slices.begin(ONE));
        assert_eq!(slices.fragment_allowance(), 2048);
        slices.spend(0, 0, 3000);
        assert_eq!(slices.fragment_allowance(), 1);
        slices.end(ONE);
        assert!(!slices.begin(ONE));
    }

    #[test]
    fn a_slow_handler_is_limited_by_the_clock_from_the_second_turn_on() {
        let mut slices = Slices::default();
        slices.measure_time();
        // Inputs of one connection, each with 60 messages of 200 µs, and a cheap flood beside them.
        let turn = |slices: &mut Slices| {
            let mut handled = 0;
            for _ in 0..3 {
                frames(slices, TWO, 0, 0);
                let mut input = 60;
                let mut go_on = slices.begin(ONE);
                while go_on && input > 0 {
                    spin(SLICE_TIME / 5);
                    handled += 1;
                    input -= 1;
                    go_on = slices.spend(20, 0, 0);
                }
                slices.end(ONE);
            }
            handled
        };
        slices.begin_turn(Duration::ZERO);
        let first = turn(&mut slices);
        for _ in 0..10 {
            slices.begin_turn(SLICE_TIME * first / 5);
            let next = turn(&mut slices);
            assert!(next <= 8, "{next} messages of 200 µs in one turn");
        }
    }

    #[test]
    fn single_messages_of_a_slow_handler_are_added_up() {
        let mut slices = Slices::default();
        slices.measure_time();
        slices.begin_turn(LONG_TURN);
        let mut handled = 0;
        while slices.begin(ONE) {
            spin(SLICE_TIME / 4);
            slices.spend(20, 0, 0);
            slices.end(ONE);
            handled += 1;
            assert!(handled < 100);
        }
        assert!((1..=4).contains(&handled), "{handled}");
    }

    #[test]
    fn records_use_the_budget_in_halves() {
        let mut slices = Slices::default();
        assert_eq!(slices.record_allowance(ONE), 256);
        slices.spend_records(ONE, 16);
        assert_eq!(slices.record_allowance(ONE), 256, "few records are not recorded");
        slices.spend_records(ONE, 256);
        assert_eq!((slices.record_allowance(ONE), slices.record_allowance(TWO)), (128, 256));
        assert!(slices.begin(ONE));
        slices.exhaust();
        slices.end(ONE);
        assert_eq!(slices.record_allowance(ONE), 0);
        slices.begin_turn(Duration::ZERO);
        assert_eq!(slices.record_allowance(ONE), 256);
    }

    #[test]
    fn the_allowances_are_never_zero() {
        let mut slices = Slices::default();
        assert!(slices.begin(ONE));
        assert_eq!(slices.inflate_allowance(), 128 << 10);
        slices.spend(0, usize::MAX, 0);
        assert_eq!((slices.inflate_allowance(), slices.fragment_allowance()), (1, 1));
    }
}
