//! The arrivals of one thread.

use super::schedule::Schedule;
use crate::random::{self, Generator};

/// How arrivals are distributed over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Arrivals {
    /// At equal distances, as far as the rate is constant.
    #[default]
    Uniform,
    /// Independently of each other (a Poisson process): as of many clients that do not coordinate.
    /// Queues are longer than with uniform arrivals of the same rate.
    Poisson,
}

impl std::fmt::Display for Arrivals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Uniform => "uniform",
            Self::Poisson => "Poisson",
        })
    }
}

/// The arrivals of thread `index` of `threads`. Times are in nanoseconds since the schedule's
/// start.
///
/// Uniform: the thread takes every `threads`-th arrival of the whole schedule, beginning with
/// arrival `index`. Arrival k of the whole is due where the integral of the rate passes k; the
/// first one at once. So the threads are staggered, their union is the uniform schedule itself, and
/// the number of arrivals before any time t is exactly ⌈I(t)⌉ in sum. That of each thread differs
/// from its share by less than one.
///
/// Poisson: each thread has a process of its own, with its share of the rate. Their union is a
/// Poisson process with the whole rate. The seed determines all times.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    schedule: Schedule,
    process: Process,
}

#[derive(Clone, Debug)]
enum Process {
    Uniform(Comb),
    Poisson { threads: f64, current: Walk, ahead: Ahead },
}

/// Every `threads`-th arrival.
#[derive(Clone, Debug)]
struct Comb {
    index: u64,
    threads: u64,
    /// The number of arrivals that were taken.
    taken: u64,
    part: usize,
    time: Option<u64>,
}

/// A position in a Poisson process.
#[derive(Clone, Debug)]
struct Walk {
    rng: Generator,
    /// The position as a value of the schedule's integral: distances are exponentially distributed.
    offered: f64,
    part: usize,
    time: Option<u64>,
}

/// A second position, at the first arrival after a time: counts the arrivals that are due.
#[derive(Clone, Debug)]
struct Ahead {
    walk: Walk,
    /// The number of arrivals from the current position up to this one.
    count: u64,
    /// The time.
    until: u64,
}

impl Pacer {
    /// The arrivals of thread `index`, which is less than `threads`.
    pub(crate) fn new(schedule: Schedule, arrivals: Arrivals, index: usize, threads: usize, seed: u64) -> Self {
        debug_assert!(index < threads);
        let (index, threads) = (index as u64, threads as u64);
        let process = match arrivals {
            Arrivals::Uniform => {
                let mut comb = Comb { index, threads, taken: 0, part: 0, time: None };
                comb.seek(&schedule);
                Process::Uniform(comb)
            }
            Arrivals::Poisson => {
                let mut walk = Walk { rng: random::stream(seed, index), offered: 0.0, part: 0, time: None };
                walk.step(&schedule, threads as f64);
                let ahead = Ahead { walk: walk.clone(), count: 0, until: 0 };
                Process::Poisson { threads: threads as f64, current: walk, ahead }
            }
        };
        Self { schedule, process }
    }

    /// The time of the next arrival; `None` when the schedule has ended (its rate stays 0).
    #[inline]
    pub(crate) fn next(&self) -> Option<u64> {
        match &self.process {
            Process::Uniform(comb) => comb.time,
            Process::Poisson { current, .. } => current.time,
        }
    }

    /// Moves to the arrival after it.
    #[inline]
    pub(crate) fn advance(&mut self) {
        match &mut self.process {
            Process::Uniform(comb) => {
                comb.taken += u64::from(comb.time.is_some());
                comb.seek(&self.schedule);
            }
            Process::Poisson { threads, current, ahead } => {
                current.step(&self.schedule, *threads);
                ahead.count = ahead.count.saturating_sub(1);
            }
        }
    }

    /// The backlog: the number of arrivals due up to and including `now` that were not taken. With
    /// uniform arrivals it is calculated. Poisson arrivals are counted, each once while the times
    /// of the calls do not decrease.
    pub(crate) fn due_by(&mut self, now: u64) -> u64 {
        match &mut self.process {
            Process::Uniform(comb) => {
                let due = self.schedule.integral(now.saturating_add(1)).ceil() as u64;
                due.saturating_sub(comb.index).div_ceil(comb.threads).saturating_sub(comb.taken)
            }
            Process::Poisson { threads, current, ahead } => {
                if ahead.count == 0 || now < ahead.until {
                    (ahead.walk, ahead.count) = (current.clone(), 0);
                }
                ahead.until = now;
                while ahead.walk.time.is_some_and(|time| time <= now) {
                    ahead.walk.step(&self.schedule, *threads);
                    ahead.count += 1;
                }
                ahead.count
            }
        }
    }
}

impl Comb {
    #[inline]
    fn seek(&mut self, schedule: &Schedule) {
        let number = self.index + self.taken * self.threads;
        self.time = schedule.time_of(number as f64, &mut self.part);
    }
}

impl Walk {
    #[inline]
    fn step(&mut self, schedule: &Schedule, threads: f64) {
        self.offered += threads * random::exponential(&mut self.rng);
        self.time = schedule.time_of(self.offered, &mut self.part);
    }
}

#[cfg(test)]
mod tests {
    use super::super::schedule::tests::schedule;
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    const SECOND: u64 = 1_000_000_000;

    fn pacers(schedule: &Schedule, arrivals: Arrivals, threads: usize, seed: u64) -> Vec<Pacer> {
        (0..threads).map(|index| Pacer::new(schedule.clone(), arrivals, index, threads, seed)).collect()
    }

    /// The times of the arrivals up to `until`, at most `max`.
    fn take(pacer: &mut Pacer, until: u64, max: usize) -> Vec<u64> {
        let mut times = Vec::new();
        while let Some(time) = pacer.next().filter(|time| *time <= until && times.len() < max) {
            times.push(time);
            pacer.advance();
        }
        times
    }

    proptest! {
        #[test]
        fn the_count_of_uniform_arrivals_is_exact_at_any_time(
            schedule in schedule(),
            threads in 1usize..9,
            times in prop::collection::vec(0..200 * SECOND, 20),
        ) {
            let mut pacers = pacers(&schedule, Arrivals::Uniform, threads, 0);
            for time in times {
                let counts: Vec<u64> = pacers.iter_mut().map(|pacer| pacer.due_by(time)).collect();
                let offered = schedule.offered(0, time + 1);
                prop_assert_eq!(counts.iter().sum::<u64>(), offered.ceil() as u64);
                for count in counts {
                    prop_assert!((count as f64 - offered / threads as f64).abs() < 1.0 + 1e-6);
                }
            }
        }

        #[test]
        fn uniform_arrivals_of_all_threads_are_those_of_one(schedule in schedule(), threads in 1usize..9) {
            let mut together: Vec<u64> = pacers(&schedule, Arrivals::Uniform, threads, 0)
                .iter_mut()
                .flat_map(|pacer| take(pacer, u64::MAX, 50))
                .collect();
            together.sort_unstable();
            let alone = take(&mut Pacer::new(schedule, Arrivals::Uniform, 0, 1, 0), u64::MAX, 50 * threads);
            prop_assert_eq!(together, alone);
        }

        #[test]
        fn what_is_due_is_what_next_returns(
            schedule in schedule(),
            poisson: bool,
            seed: u64,
            steps in prop::collection::vec((0..SECOND / 1000, 0usize..30), 1..20),
            rate in 1000.0..100_000.0,
        ) {
            // A schedule with a rate from the start, so that something is due, and any other.
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Uniform };
            for schedule in [Schedule::constant(rate), schedule] {
                let mut pacer = Pacer::new(schedule, arrivals, 1, 3, seed);
                let mut now = 0;
                for (passed, taken) in &steps {
                    now += passed;
                    take(&mut pacer, now, *taken);
                    // In between, a time before that of the last call.
                    for at in [now, now / 2, now] {
                        if pacer.schedule.offered(0, at) < 5e3 {
                            let expected = take(&mut pacer.clone(), at, usize::MAX).len() as u64;
                            prop_assert_eq!(pacer.due_by(at), expected);
                        }
                    }
                }
            }
        }

        #[test]
        fn times_never_decrease(schedule in schedule(), poisson: bool, seed: u64) {
            let arrivals = if poisson { Arrivals::Poisson } else { Arrivals::Uniform };
            let times = take(&mut Pacer::new(schedule, arrivals, 0, 2, seed), u64::MAX, 1000);
            prop_assert!(times.is_sorted());
        }

        #[test]
        fn a_seed_determines_poisson_arrivals(schedule in schedule(), seed: u64) {
            let times = |seed, index| take(&mut Pacer::new(schedule.clone(), Arrivals::Poisson, index, 2, seed), u64::MAX, 100);
            prop_assert_eq!(times(seed, 0), times(seed, 0));
            if schedule.offered(0, 100 * SECOND) > 100.0 {
                prop_assert_ne!(times(seed, 0), times(seed.wrapping_add(1), 0));
                prop_assert_ne!(times(seed, 0), times(seed, 1));
            }
        }
    }

    #[test]
    fn ten_seconds_at_a_thousand_are_ten_thousand_arrivals() {
        for threads in [1, 2, 3, 7] {
            let mut pacers = pacers(&Schedule::constant(1000.0), Arrivals::Uniform, threads, 0);
            let counts: Vec<usize> =
                pacers.iter_mut().map(|pacer| take(pacer, 10 * SECOND - 1, usize::MAX).len()).collect();
            assert_eq!(counts.iter().sum::<usize>(), 10_000, "{counts:?}");
            assert!(counts.iter().all(|count| (10_000 / threads..=10_000 / threads + 1).contains(count)));
        }
    }

    #[test]
    fn threads_are_staggered() {
        let firsts = pacers(&Schedule::constant(1000.0), Arrivals::Uniform, 4, 0);
        let firsts: Vec<_> = firsts.iter().filter_map(Pacer::next).collect();
        assert_eq!(firsts, [0, 1_000_000, 2_000_000, 3_000_000]);
    }

    #[test]
    fn the_backlog_is_never_reduced_by_time() {
        let mut pacer = Pacer::new(Schedule::constant(1e6), Arrivals::Uniform, 0, 1, 0);
        // Nothing was taken for a day.
        assert_eq!(pacer.due_by(86_400 * SECOND - 1), 86_400_000_000);
        pacer.advance();
        assert_eq!(pacer.due_by(86_400 * SECOND - 1), 86_400_000_000 - 1);
        assert_eq!(pacer.next(), Some(1000), "the next arrival keeps its time");
    }

    #[test]
    fn a_schedule_ends() {
        let schedule = Schedule::stages(5.0, &[(Duration::from_secs(2), 5.0), (Duration::ZERO, 0.0)]);
        for arrivals in [Arrivals::Uniform, Arrivals::Poisson] {
            let mut pacer = Pacer::new(schedule.clone(), arrivals, 0, 1, 7);
            let times = take(&mut pacer, u64::MAX, usize::MAX);
            assert!(times.last() < Some(&(2 * SECOND)) && pacer.next().is_none());
            pacer.advance();
            assert_eq!((pacer.next(), pacer.due_by(u64::MAX)), (None, 0));
            assert!(arrivals == Arrivals::Poisson || times.len() == 10);
        }
    }

    #[test]
    fn the_mean_of_poisson_arrivals_is_within_a_hundredth() {
        const ARRIVALS: usize = 100_000;
        for (seed, threads) in [(1, 1), (2, 1), (3, 4), (4, 4)] {
            for mut pacer in pacers(&Schedule::constant(10_000.0), Arrivals::Poisson, threads, seed) {
                let times = take(&mut pacer, u64::MAX, ARRIVALS);
                let mean = times[ARRIVALS - 1] as f64 / ARRIVALS as f64;
                let expected = 1e9 / 10_000.0 * threads as f64;
                assert!((mean / expected - 1.0).abs() < 0.01, "seed {seed}: a mean gap of {mean} ns for {expected}");
            }
        }
    }

    #[test]
    fn poisson_arrivals_are_dispersed_as_a_poisson_process() {
        // Of three threads together, along a ramp: in windows with the same offered number, the
        // variance of the counts is their mean.
        let schedule = Schedule::ramp(1000.0, 9000.0, Duration::from_secs(100));
        let mut times: Vec<u64> = pacers(&schedule, Arrivals::Poisson, 3, 11)
            .iter_mut()
            .flat_map(|pacer| take(pacer, 100 * SECOND, usize::MAX))
            .collect();
        times.sort_unstable();
        const WINDOWS: usize = 5_000;
        let mut counts = [0f64; WINDOWS];
        for time in times {
            let place = schedule.offered(0, time) / schedule.offered(0, 100 * SECOND) * WINDOWS as f64;
            counts[(place as usize).min(WINDOWS - 1)] += 1.0;
        }
        let mean = counts.iter().sum::<f64>() / WINDOWS as f64;
        let variance = counts.iter().map(|count| (count - mean).powi(2)).sum::<f64>() / WINDOWS as f64;
        assert!((mean - 100.0).abs() < 1.0, "a mean of {mean}");
        // The standard error of the index is √(2 / 5000) = 0.02.
        assert!((variance / mean - 1.0).abs() < 0.1, "an index of dispersion of {}", variance / mean);
    }
}
