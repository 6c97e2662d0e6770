//! Random times of a behaviour, each with its own sequence of random numbers.

use crate::lifetime::{Backoff, Span};
use crate::random::{self, Generator};

/// Samples of a distribution of times.
pub(super) struct Sampler {
    span: Span,
    rng: Generator,
}

impl Sampler {
    pub(super) fn new(span: Span, seed: u64, index: u64) -> Self {
        Self { span, rng: random::stream(seed, index) }
    }

    /// A random time in nanoseconds.
    pub(super) fn sample(&mut self) -> u64 {
        self.span.sample(&mut self.rng)
    }

    /// A random part of a random time, in nanoseconds: what is left of a time that has begun before.
    pub(super) fn sample_part(&mut self) -> u64 {
        let whole = self.sample();
        (whole as f64 * random::unit(&mut self.rng)) as u64
    }
}

/// The waits after failures.
pub(super) struct Retries {
    backoff: Backoff,
    /// By place, the failures since the latest success.
    failures: Box<[u8]>,
    rng: Generator,
}

impl Retries {
    pub(super) fn new(backoff: Backoff, places: usize, seed: u64, index: u64) -> Self {
        Self { backoff, failures: vec![0; places].into(), rng: random::stream(seed, index) }
    }

    /// The wait after another failure of a place, in nanoseconds.
    pub(super) fn failed(&mut self, place: u32) -> u64 {
        let failures = &mut self.failures[place as usize];
        *failures = failures.saturating_add(1);
        self.backoff.sample((*failures).into(), &mut self.rng)
    }

    pub(super) fn succeeded(&mut self, place: u32) {
        if let Some(failures) = self.failures.get_mut(place as usize) {
            *failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const MS: u64 = 1_000_000;

    fn retries(seed: u64) -> Retries {
        Retries::new(Backoff::new(Duration::from_millis(100), Duration::from_secs(10)), 2, seed, 3)
    }

    #[test]
    fn each_place_has_its_own_ceiling_and_a_success_resets_it() {
        let mut retries = retries(1);
        for failures in 0..200 {
            let ceiling = (100 << failures.min(10)).min(10_000) * MS;
            assert!(retries.failed(0) <= ceiling, "after {failures} failures");
        }
        assert!(retries.failed(1) <= 100 * MS, "the failures of another place do not count");
        retries.succeeded(0);
        assert!(retries.failed(0) <= 100 * MS);
    }

    #[test]
    fn a_seed_determines_the_waits() {
        let waits = |seed| {
            let mut retries = retries(seed);
            std::array::from_fn::<u64, 6, _>(|_| retries.failed(0) / MS)
        };
        assert_eq!(waits(1), waits(1));
        assert_ne!(waits(1), waits(2));
        // `tests/churn.rs` expects these waits in a run.
        assert_eq!(waits(1), [61, 98, 180, 302, 666, 1122]);
    }

    #[test]
    fn a_part_of_a_time_is_shorter_than_the_time() {
        let mut sampler = Sampler::new(Span::Fixed(Duration::from_millis(40)), 1, 0);
        let parts: Vec<u64> = (0..1000).map(|_| sampler.sample_part()).collect();
        assert!(parts.iter().all(|part| *part < 40 * MS));
        let mean = parts.iter().sum::<u64>() / 1000;
        assert!((18 * MS..22 * MS).contains(&mean), "{mean}");
    }
}
