//! The budget of work of one connection in one turn of its shard.
//!
//! Work is counted in units of roughly a twentieth of a nanosecond: a frame costs 256, four bytes
//! of payload one, an inflated byte four. The count limits a peer whose frames are cheap to send
//! and expensive to handle. The clock limits a peer whose messages take the handler long: it is
//! read after every 16 Ki units, or more often if the units of the previous turn took longer than
//! expected. The rest of the input waits for the next turn.

use ringway_io::Slot;
use std::time::{Duration, Instant};

/// The units of one connection in one turn: 2048 empty frames, 2 MiB of plain payload, or 128 KiB
/// of inflated payload.
const SLICE: u32 = 512 * 1024;

/// The cost of a frame in units, without its payload.
const FRAME: u32 = 256;

/// The number of bytes of payload that cost one unit.
const BYTES_PER_UNIT: usize = 4;

/// The cost of an inflated byte in units. The decoder counts a compressed byte as eight of them at
/// least.
const INFLATED: usize = 4;

/// Up to this many units of one input are not recorded: 128 empty frames.
const RECORDED: u32 = SLICE / 16;

/// The maximum number of units between two readings of the clock.
const CHECK: u32 = 16 * 1024;

/// The maximum time of one connection in one turn, as far as the clock is read.
const SLICE_TIME: Duration = Duration::from_millis(1);

/// The maximum time of a turn for input that has waited for it.
pub(crate) const WAITING_TIME: Duration = Duration::from_millis(2);

/// The work of a turn, by connection.
#[derive(Debug)]
pub(crate) struct Slices {
    left: u32,
    /// The units that were left when the work of the connection began.
    begun_with: u32,
    /// The units of all connections in this turn.
    spent: u64,
    /// The number of units between two readings of the clock.
    check: u32,
    /// The clock is read when at most this many units are left.
    check_at: u32,
    /// When the clock was first read for the current connection.
    began: Option<Instant>,
    /// The connections that have used a considerable part of their units in this turn. They are
    /// few: each needs a large input for it.
    used: Vec<(Slot, u32)>,
    /// Whether the clock is read. A simulated shard has its own clock.
    real_time: bool,
}

impl Default for Slices {
    fn default() -> Self {
        Self {
            left: SLICE,
            begun_with: SLICE,
            spent: 0,
            check: CHECK,
            check_at: SLICE - CHECK,
            began: None,
            used: Vec::new(),
            real_time: false,
        }
    }
}

impl Slices {
    pub(crate) fn measure_time(&mut self) {
        self.real_time = true;
    }

    /// Begins a turn. `busy`: the duration of the previous one without its wait.
    pub(crate) fn begin_turn(&mut self, busy: Duration) {
        self.used.clear();
        // The clock is read about twice in the maximum time.
        let nanos_per_unit = busy.as_nanos() as u64 / self.spent.max(1);
        let check = (SLICE_TIME.as_nanos() as u64 / 2).checked_div(nanos_per_unit);
        self.check = check.map_or(CHECK, |check| check.clamp(1, CHECK.into()) as u32);
        self.spent = 0;
    }

    /// Begins the work of a connection. Returns whether it has units left in this turn.
    #[inline]
    pub(crate) fn begin(&mut self, slot: Slot) -> bool {
        self.left = SLICE;
        if !self.used.is_empty() {
            self.left -= self.used.iter().find(|(user, _)| *user == slot).map_or(0, |(_, used)| *used);
        }
        self.begun_with = self.left;
        self.check_at = self.left.saturating_sub(self.check);
        self.began = None;
        self.left > 0
    }

    /// The number of bytes that can be inflated with the units left.
    pub(crate) fn inflate_allowance(&self) -> usize {
        (self.left as usize / INFLATED).max(1)
    }

    /// Counts one frame, and the bytes of the input that it and the frames before it have used.
    /// Returns whether the connection can continue.
    #[inline]
    pub(crate) fn spend(&mut self, input: usize, inflated: usize) -> bool {
        let units = (input / BYTES_PER_UNIT).saturating_add(inflated.saturating_mul(INFLATED));
        self.left = self.left.saturating_sub(FRAME.saturating_add(u32::try_from(units).unwrap_or(u32::MAX)));
        self.left > self.check_at || self.check()
    }

    #[cold]
    fn check(&mut self) -> bool {
        self.check_at = self.left.saturating_sub(self.check);
        if self.left > 0 && self.real_time {
            let began = *self.began.get_or_insert_with(Instant::now);
            if began.elapsed() > SLICE_TIME {
                self.left = 0;
            }
        }
        self.left > 0
    }

    /// Counts data frames that yielded no event.
    #[inline]
    pub(crate) fn spend_fragments(&mut self, fragments: u32) {
        self.left = self.left.saturating_sub(fragments.saturating_mul(FRAME));
    }

    /// Uses up the units of the connection in this turn.
    pub(crate) fn exhaust(&mut self) {
        self.left = 0;
    }

    /// Ends the work of a connection for now.
    #[inline]
    pub(crate) fn end(&mut self, slot: Slot) {
        self.spent += u64::from(self.begun_with - self.left);
        if self.left < SLICE - RECORDED {
            self.record(slot);
        }
    }

    #[cold]
    fn record(&mut self, slot: Slot) {
        let used = SLICE - self.left;
        match self.used.iter_mut().find(|(user, _)| *user == slot) {
            Some((_, entry)) => *entry = used,
            None => self.used.push((slot, used)),
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
            while slices.spend(input, inflated) {
                frames += 1;
            }
        }
        slices.end(slot);
        frames
    }

    #[test]
    fn frames_and_bytes_are_limited_for_each_connection_and_turn() {
        let mut slices = Slices::default();
        for (input, inflated, expected) in
            [(0, 0, 2048), (128 << 10, 0, 16), (100, 32 << 10, 4), (usize::MAX, 0, 1), (0, usize::MAX, 1)]
        {
            slices.begin_turn(Duration::ZERO);
            assert_eq!(frames(&mut slices, ONE, input, inflated), expected);
            assert_eq!(frames(&mut slices, ONE, input, inflated), 0, "its units are used up");
            assert_eq!(frames(&mut slices, TWO, input, inflated), expected, "another connection has units left");
        }
    }

    #[test]
    fn work_in_parts_is_added_up() {
        let mut slices = Slices::default();
        let mut total = 0;
        while slices.begin(ONE) {
            (0..700).for_each(|_| {
                slices.spend(0, 0);
            });
            slices.end(ONE);
            total += 700;
        }
        assert_eq!(total, 2100);
    }

    #[test]
    fn the_clock_limits_a_slow_handler() {
        let mut slices = Slices::default();
        slices.measure_time();
        slices.begin(ONE);
        let mut frames = 1;
        while slices.spend(0, 0) {
            frames += 1;
            let began = Instant::now();
            while began.elapsed() < SLICE_TIME / 8 {}
        }
        assert!((64..=128).contains(&frames), "{frames}");
    }

    #[test]
    fn the_inflate_allowance_is_never_zero() {
        let mut slices = Slices::default();
        assert!(slices.begin(ONE));
        assert_eq!(slices.inflate_allowance(), 128 << 10);
        slices.spend(0, usize::MAX);
        assert_eq!(slices.inflate_allowance(), 1);
    }
}
