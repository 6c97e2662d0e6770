//! The rate of arrivals over time, its integral, and the inverse of the integral.

use std::time::Duration;

/// The maximum rate, in arrivals per second: one in a nanosecond.
pub const MAX_RATE: f64 = 1e9;

/// The maximum number of stages of a schedule.
const MAX_STAGES: usize = 1024;

/// The maximum length of all stages: two years.
const MAX_LENGTH: Duration = Duration::from_secs(2 * 365 * 86_400);

/// The error of an invalid schedule.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ScheduleError {
    /// A rate that is negative, not finite, or above [`MAX_RATE`].
    #[error("a rate of {0} per second: give one from 0 to {MAX_RATE}")]
    Rate(f64),
    /// Too many stages.
    #[error("{0} stages: give at most {MAX_STAGES}")]
    Stages(usize),
    /// Stages that are too long.
    #[error("the stages take more than 730 days in all: give shorter ones")]
    Length,
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The rate of arrivals over time: parts one after another, each at a constant rate or at one that
/// changes linearly. Times are in nanoseconds since the schedule's start.
///
/// The integral of the rate from the start to a time, I(t), is the number of arrivals offered until
/// then. Arrival x (a whole number with uniform arrivals) is due at the latest t with I(t) ≤ x. I
/// is computed in `f64`, never decreases, and depends on t alone; the time of an arrival is its
/// exact inverse. So the number of whole x due before t is exactly ⌈I(t)⌉, at any time and after
/// any number of arrivals. I differs from the real integral by about 10⁻¹⁶ of its value at the end
/// of the part: by 10⁻⁴ of an arrival with 10¹² arrivals. With a whole constant rate, times are
/// exact to 1 ns over a day.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Not empty, in order, without gaps. The last part has a constant rate and no end.
    parts: Box<[Part]>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Part {
    start: u64,
    end: u64,
    /// The rates at its start and at its end, in arrivals per second.
    from: f64,
    to: f64,
    /// Half of the change of the rate per second.
    half_slope: f64,
    /// The integral at its start and at its end.
    before: f64,
    after: f64,
}

impl std::fmt::Display for Schedule {
    /// The rates: `10 k/s`, or `1 k/s to 10 k/s in 30 s, 10 k/s`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use crate::units::{count, time};
        for (index, part) in self.parts.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let length = time(part.end.saturating_sub(part.start) as f64 / 1e3);
            match (part.from == part.to, index + 1 == self.parts.len()) {
                (true, true) => write!(f, "{comma}{}/s", count(part.to))?,
                (true, false) => write!(f, "{comma}{}/s for {length}", count(part.to))?,
                (false, _) => write!(f, "{comma}{}/s to {}/s in {length}", count(part.from), count(part.to))?,
            }
        }
        Ok(())
    }
}

impl Schedule {
    /// A constant number of arrivals per second.
    ///
    /// # Panics
    /// If the rate is negative, not finite, or above [`MAX_RATE`]; so do the other constructors.
    pub fn constant(rate: f64) -> Self {
        Self::stages(rate, &[])
    }

    /// A rate that changes linearly within `over`; then `to` holds.
    pub fn ramp(from: f64, to: f64, over: Duration) -> Self {
        Self::stages(from, &[(over, to)])
    }

    /// Stages one after another, in each of which the rate changes linearly from that of the stage
    /// before to its own. The last rate holds. A stage of no length changes the rate at once.
    ///
    /// # Panics
    /// If [`new`](Self::new) fails.
    pub fn stages(initial: f64, stages: &[(Duration, f64)]) -> Self {
        Self::new(initial, stages).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The same for rates that may be invalid.
    ///
    /// # Errors
    /// A rate that is negative, not finite, or above [`MAX_RATE`]; more than 1024 stages, or than
    /// two years of them.
    pub fn new(initial: f64, stages: &[(Duration, f64)]) -> Result<Self, ScheduleError> {
        // A rate that is not a number is in no range.
        let is_valid = |rate: &f64| (0.0..=MAX_RATE).contains(rate);
        let mut rates = std::iter::once(initial).chain(stages.iter().map(|stage| stage.1));
        if let Some(rate) = rates.find(|rate| !is_valid(rate)) {
            return Err(ScheduleError::Rate(rate));
        }
        if stages.len() > MAX_STAGES {
            return Err(ScheduleError::Stages(stages.len()));
        }
        let length = stages.iter().try_fold(Duration::ZERO, |sum, stage| sum.checked_add(stage.0));
        if length.is_none_or(|length| length > MAX_LENGTH) {
            return Err(ScheduleError::Length);
        }
        let mut parts = Vec::with_capacity(stages.len() + 1);
        let (mut start, mut rate, mut before) = (0u64, initial, 0.0);
        for (length, target) in stages {
            // Two years fit.
            let end = start + length.as_nanos() as u64;
            if end > start {
                let part = Part::new(start, end, rate, *target, before);
                (start, before) = (end, part.after);
                parts.push(part);
            }
            rate = *target;
        }
        parts.push(Part::new(start, u64::MAX, rate, rate, before));
        Ok(Self { parts: parts.into() })
    }

    /// The number of arrivals offered between two times.
    pub fn offered(&self, from: u64, to: u64) -> f64 {
        self.integral(to) - self.integral(from)
    }

    /// The rate at a time, in arrivals per second.
    pub fn rate_at(&self, at: u64) -> f64 {
        self.part_at(at).rate_at(at)
    }

    /// The parts in their order: the start and the end in nanoseconds, the last one without an end,
    /// and the rates at both.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (u64, Option<u64>, f64, f64)> + '_ {
        self.parts.iter().map(|part| (part.start, Some(part.end).filter(|end| *end < u64::MAX), part.from, part.to))
    }

    /// The number of arrivals offered before a time. Never decreases.
    pub(super) fn integral(&self, at: u64) -> f64 {
        self.part_at(at).integral(at)
    }

    fn part_at(&self, at: u64) -> &Part {
        let after = self.parts.partition_point(|part| part.start <= at);
        // The first part starts at 0.
        &self.parts[after - 1]
    }

    /// The latest time at which the integral is at most `offered`; `None` if it never exceeds that.
    /// `part` is the position of the search, which moves forwards: later calls must not ask for
    /// less.
    #[inline]
    pub(super) fn time_of(&self, offered: f64, part: &mut usize) -> Option<u64> {
        while offered >= self.parts[*part].after {
            if *part + 1 == self.parts.len() {
                return None;
            }
            *part += 1;
        }
        Some(self.parts[*part].time_of(offered))
    }
}

impl Part {
    fn new(start: u64, end: u64, from: f64, to: f64, before: f64) -> Self {
        let length = seconds(end - start);
        let half_slope = if from == to { 0.0 } else { (to - from) / 2.0 / length };
        let mut part = Self { start, end, from, to, half_slope, before, after: f64::INFINITY };
        part.after = if half_slope < 0.0 { before + length * (from + to) / 2.0 } else { part.integral(end) };
        part
    }

    fn rate_at(&self, at: u64) -> f64 {
        self.from + 2.0 * self.half_slope * seconds(at - self.start)
    }

    /// The integral at a time from the start to the end of this part. Each expression rounds a
    /// product and a sum of terms that never decrease, so that the result never decreases either.
    #[inline]
    fn integral(&self, at: u64) -> f64 {
        if self.half_slope == 0.0 {
            // Whole seconds apart from the rest: exact for whole rates.
            let nanos = at - self.start;
            let whole = self.from * (nanos / NANOS_PER_SECOND) as f64;
            let rest = self.from * (nanos % NANOS_PER_SECOND) as f64 / NANOS_PER_SECOND as f64;
            self.before + (whole + rest)
        } else if self.half_slope > 0.0 {
            let since = seconds(at - self.start);
            (self.before + since * (self.from + self.half_slope * since)).min(self.after)
        } else if at == self.start {
            self.before
        } else {
            // From the end, where the terms have the same sign.
            let left = seconds(self.end - at);
            (self.after - left * (self.to - self.half_slope * left)).max(self.before)
        }
    }

    /// The time in this part of an arrival that is within it: `before <= offered < after`.
    #[inline]
    fn time_of(&self, offered: f64) -> u64 {
        // The root of the quadratic, in the form without cancellation. The conversion saturates.
        let nanos = |seconds: f64| (seconds * NANOS_PER_SECOND as f64) as u64;
        let root =
            |area: f64, rate: f64| 2.0 * area / (rate + (rate * rate + 4.0 * self.half_slope.abs() * area).sqrt());
        let estimate = if self.half_slope == 0.0 {
            self.start.saturating_add(nanos((offered - self.before) / self.from))
        } else if self.half_slope > 0.0 {
            self.start.saturating_add(nanos(root(offered - self.before, self.from)))
        } else {
            self.end.saturating_sub(nanos(root(self.after - offered, self.to)).saturating_add(1))
        };
        let time = estimate.clamp(self.start, self.end - 1);
        if self.integral(time) <= offered && offered < self.integral(time + 1) {
            return time;
        }
        self.search(offered, time)
    }

    /// Finds the time near an estimate, which rounding makes inexact: by 1 ns in most cases, by
    /// more where the rate is close to 0.
    #[cold]
    fn search(&self, offered: f64, estimate: u64) -> u64 {
        let (mut low, mut high) = (estimate, estimate + 1);
        let mut step = 1u64;
        while low > self.start && self.integral(low) > offered {
            high = low;
            low = low.saturating_sub(step).max(self.start);
            step = step.saturating_mul(2);
        }
        while high < self.end && self.integral(high) <= offered {
            low = high;
            high = high.saturating_add(step).min(self.end);
            step = step.saturating_mul(2);
        }
        // The integral is at most `offered` at `low`, and more at `high`.
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if self.integral(middle) <= offered {
                low = middle;
            } else {
                high = middle;
            }
        }
        low
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / NANOS_PER_SECOND as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: u64 = NANOS_PER_SECOND;
    const DAY: u64 = 86_400 * SECOND;

    fn rate() -> impl Strategy<Value = f64> {
        prop_oneof![
            2 => Just(0.0),
            4 => (1u32..10_000_000).prop_map(f64::from),
            4 => 0.001..1e7,
            1 => 1e7..MAX_RATE,
        ]
    }

    fn tiny_rate() -> impl Strategy<Value = f64> {
        prop_oneof![1 => Just(0.0), 3 => (1..1e-9f64.to_bits()).prop_map(f64::from_bits)]
    }

    /// Schedules of up to five stages, with stages of no length, of no rate, and of a day.
    pub(crate) fn schedule() -> impl Strategy<Value = Schedule> {
        let length = prop_oneof![
            1 => Just(0),
            6 => 1..60 * SECOND,
            2 => (1u64..100).prop_map(|seconds| seconds * SECOND),
            1 => 1..DAY,
        ];
        (rate(), prop::collection::vec((length.prop_map(Duration::from_nanos), rate()), 0..5))
            .prop_map(|(initial, stages)| Schedule::stages(initial, &stages))
    }

    /// Runs of successive nanoseconds: around the edges of the parts, and at random times.
    fn times(schedule: &Schedule, random: &[u64]) -> Vec<u64> {
        let edges = schedule.parts.iter().map(|part| part.start.saturating_sub(3));
        let mut times: Vec<u64> = edges.chain(random.iter().copied()).flat_map(|time| time..time + 6).collect();
        times.sort_unstable();
        times
    }

    proptest! {
        #[test]
        fn the_integral_never_decreases(
            schedule in schedule(),
            random in prop::collection::vec(0..2 * DAY, 50),
        ) {
            let mut latest = 0.0;
            for at in times(&schedule, &random) {
                let now = schedule.integral(at);
                prop_assert!(now >= latest, "{now} after {latest} at {at}");
                latest = now;
            }
        }

        #[test]
        fn the_integral_is_the_area_under_the_rate(
            schedule in schedule(),
            from in 0..100 * SECOND,
            length in 1..100 * SECOND,
        ) {
            // The rate is linear between these times, so the trapezoid is exact.
            let to = from + length;
            let mut corners = vec![from, to];
            corners.extend(schedule.parts.iter().map(|part| part.start).filter(|start| (from..to).contains(start)));
            corners.sort_unstable();
            let area: f64 = corners
                .windows(2)
                .map(|pair| {
                    // Within the part: its rate at its end may differ from that of the next one at
                    // the same time.
                    let part = schedule.part_at(pair[0]);
                    let rates = part.rate_at(pair[0]) + part.rate_at(pair[1]);
                    seconds(pair[1] - pair[0]) * rates / 2.0
                })
                .sum();
            let offered = schedule.offered(from, to);
            let within = 1e-9 * schedule.integral(to) + 1e-6;
            prop_assert!((offered - area).abs() <= within, "{offered} for {area}");
        }

        #[test]
        fn the_time_of_an_arrival_is_the_inverse_of_the_integral(
            schedule in schedule(),
            places in prop::collection::vec(0.0..1.0, 30),
            until in 1..2 * DAY,
        ) {
            let total = schedule.integral(until);
            let mut wanted: Vec<f64> = places.iter().map(|place| (place * total).floor()).collect();
            wanted.sort_by(f64::total_cmp);
            let mut part = 0;
            for offered in wanted {
                match schedule.time_of(offered, &mut part) {
                    None => prop_assert!(schedule.integral(u64::MAX) <= offered),
                    Some(time) => {
                        prop_assert!(schedule.integral(time) <= offered);
                        prop_assert!(schedule.integral(time + 1) > offered);
                    }
                }
            }
        }

        /// Rates from the smallest positive number on, whose squares and areas are rounded to 0.
        #[test]
        fn a_rate_close_to_0_has_the_times_of_its_integral(
            initial in tiny_rate(),
            stages in prop::collection::vec((1..DAY, tiny_rate()), 0..5),
            places in prop::collection::vec(0.0..1.0, 5),
        ) {
            let stages: Vec<_> = stages.into_iter().map(|(nanos, rate)| (Duration::from_nanos(nanos), rate)).collect();
            let schedule = Schedule::stages(initial, &stages);
            for place in [0.0].into_iter().chain(places) {
                let offered = place * schedule.integral(2 * DAY);
                match schedule.time_of(offered, &mut 0) {
                    None => prop_assert!(schedule.integral(u64::MAX) <= offered),
                    Some(time) => {
                        prop_assert!(schedule.integral(time) <= offered);
                        prop_assert!(schedule.integral(time + 1) > offered);
                    }
                }
            }
        }

        #[test]
        fn any_estimate_leads_to_the_time(
            schedule in schedule(),
            place in 0.0..1.0f64,
            estimate in prop_oneof![-100i64..100, any::<i64>()],
        ) {
            let last = schedule.parts.len() - 1;
            let offered = (place * (schedule.parts[last].before + 1000.0)).floor();
            let mut part = 0;
            if let Some(time) = schedule.time_of(offered, &mut part) {
                let part = &schedule.parts[part];
                let estimate = time.saturating_add_signed(estimate).clamp(part.start, part.end - 1);
                prop_assert_eq!(part.search(offered, estimate), time);
            }
        }

        #[test]
        fn a_whole_rate_is_exact_to_a_nanosecond_over_a_day(rate in 1u64..=10_000_000, place in 0.0..1.0) {
            // The oracle calculates with integers.
            let number = (place * (rate * 86_400) as f64) as u64;
            let exact = u128::from(number) * u128::from(SECOND) / u128::from(rate);
            let found = Schedule::constant(rate as f64).time_of(number as f64, &mut 0);
            let found = found.expect("the rate is not 0");
            prop_assert!(u128::from(found).abs_diff(exact) <= 1, "{found} for {exact}");
        }
    }

    #[test]
    fn ten_million_arrivals_per_second_do_not_drift_in_a_day() {
        let schedule = Schedule::constant(1e7);
        for seconds in [1, 59, 3600, 86_399, 86_400] {
            let at = schedule.time_of((10_000_000 * seconds) as f64, &mut 0);
            assert_eq!(at, Some(seconds * SECOND));
            assert_eq!(schedule.integral(seconds * SECOND), (10_000_000 * seconds) as f64);
        }
    }

    #[test]
    fn a_ramp_offers_the_mean_of_its_rates() {
        let schedule = Schedule::ramp(100.0, 300.0, Duration::from_secs(10));
        assert_eq!(schedule.offered(0, 10 * SECOND), 2000.0);
        assert_eq!(schedule.offered(10 * SECOND, 11 * SECOND), 300.0);
        assert_eq!([0, 5, 10, 20].map(|at| schedule.rate_at(at * SECOND)), [100.0, 200.0, 300.0, 300.0]);
        // 100 t + 10 t² = 750 at t = 5.
        assert_eq!(schedule.time_of(750.0, &mut 0), Some(5 * SECOND));
        let down = Schedule::ramp(300.0, 100.0, Duration::from_secs(10));
        assert_eq!(down.time_of(1250.0, &mut 0), Some(5 * SECOND));
        assert_eq!(down.rate_at(5 * SECOND), 200.0);
    }

    #[test]
    fn a_schedule_that_ends_at_no_rate_has_a_last_arrival() {
        let schedule = Schedule::stages(10.0, &[(Duration::from_secs(2), 10.0), (Duration::from_secs(2), 0.0)]);
        assert_eq!(schedule.integral(u64::MAX), 30.0);
        assert!(schedule.time_of(29.0, &mut 0).is_some_and(|time| time < 4 * SECOND));
        assert_eq!(schedule.time_of(30.0, &mut 0), None);
        assert_eq!(Schedule::constant(0.0).time_of(0.0, &mut 0), None);
    }

    #[test]
    fn no_arrival_is_due_while_the_rate_is_0() {
        let (second, jump) = (Duration::from_secs(1), Duration::ZERO);
        let stages = [(second, 0.0), (jump, 5.0), (second, 5.0), (jump, 0.0), (second, 0.0), (jump, 5.0)];
        let schedule = Schedule::stages(0.0, &stages);
        let mut part = 0;
        let times: Vec<_> = (0..7).map(|number| schedule.time_of(f64::from(number), &mut part)).collect();
        let expected = [1000, 1200, 1400, 1600, 1800, 3000, 3200].map(|millis| Some(millis * 1_000_000));
        assert_eq!(times, expected);
    }

    #[test]
    fn an_invalid_rate_is_refused() {
        for rate in [-1.0, f64::NAN, f64::INFINITY, 2.0 * MAX_RATE] {
            assert!(std::panic::catch_unwind(|| Schedule::constant(rate)).is_err(), "{rate}");
            let error = Schedule::new(1.0, &[(Duration::from_secs(1), rate)]).expect_err("the rate is invalid");
            assert_eq!(error.to_string(), format!("a rate of {rate} per second: give one from 0 to 1000000000"));
        }
        let stages = [(Duration::from_secs(1), 1.0); MAX_STAGES + 1];
        assert_eq!(Schedule::new(1.0, &stages), Err(ScheduleError::Stages(MAX_STAGES + 1)));
        for stages in [&[(MAX_LENGTH, 1.0), (Duration::from_nanos(1), 1.0)][..], &[(Duration::MAX, 1.0); 2]] {
            assert_eq!(Schedule::new(1.0, stages), Err(ScheduleError::Length));
        }
    }
}
