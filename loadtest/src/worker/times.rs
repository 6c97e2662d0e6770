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
    failures: u32,
    rng: Generator,
}

impl Retries {
    pub(super) fn new(backoff: Backoff, seed: u64, index: u64) -> Self {
        Self { backoff, failures: 0, rng: random::stream(seed, index) }
    }

    /// The wait after another failure, in nanoseconds.
    pub(super) fn failed(&mut self) -> u64 {
        self.failures += 1;
        self.backoff.sample(self.failures, &mut self.rng)
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }
}
