//! Random numbers that a seed determines, on every machine and with every version of this program.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{Rng, SeedableRng};

/// The generator of schedules and lifetimes. Its sequence is part of its definition, unlike that
/// of `StdRng`, which may change with the version of `rand`.
pub(crate) type Generator = Xoshiro256PlusPlus;

/// The generator of stream `index` of a seed. The streams of a seed are unrelated.
pub(crate) fn stream(seed: u64, index: u64) -> Generator {
    // A fraction of the golden ratio separates the seeds of the streams by more than small seeds
    // differ. SplitMix64 expands the sum to the state.
    Generator::seed_from_u64(seed ^ index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32))
}

/// A number in [0, 1), a multiple of 2⁻⁵³.
#[inline]
pub(crate) fn unit(rng: &mut impl Rng) -> f64 {
    const STEP: f64 = 1.0 / (1u64 << 53) as f64;
    (rng.next_u64() >> 11) as f64 * STEP
}

/// A whole number from 0 to `max`. Its bias is below 2⁻⁶⁴ × `max`.
#[inline]
pub(crate) fn up_to(rng: &mut impl Rng, max: u64) -> u64 {
    ((u128::from(rng.next_u64()) * (u128::from(max) + 1)) >> 64) as u64
}

/// An exponentially distributed number with mean 1, from 0 to 36.8.
#[inline]
pub(crate) fn exponential(rng: &mut impl Rng) -> f64 {
    // The argument is in (0, 1], and exact.
    -(1.0 - unit(rng)).ln()
}

/// A normally distributed number with mean 0 and standard deviation 1 (Box and Muller's method).
pub(crate) fn normal(rng: &mut impl Rng) -> f64 {
    let radius = (2.0 * exponential(rng)).sqrt();
    radius * (std::f64::consts::TAU * unit(rng)).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: u32 = 200_000;

    /// The mean and the variance of `draw`.
    fn moments(seed: u64, draw: impl Fn(&mut Generator) -> f64) -> (f64, f64) {
        let mut rng = stream(seed, 0);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..SAMPLES {
            let value = draw(&mut rng);
            sum += value;
            squares += value * value;
        }
        let mean = sum / f64::from(SAMPLES);
        (mean, squares / f64::from(SAMPLES) - mean * mean)
    }

    fn assert_moments(found: (f64, f64), mean: f64, variance: f64) {
        // Five standard errors of the mean; the variance has heavier tails.
        let error = 5.0 * (variance / f64::from(SAMPLES)).sqrt();
        assert!((found.0 - mean).abs() < error, "mean {} for {mean}", found.0);
        assert!((found.1 - variance).abs() < 0.03 * variance, "variance {} for {variance}", found.1);
    }

    #[test]
    fn the_moments_are_those_of_the_distributions() {
        for seed in 0..5 {
            assert_moments(moments(seed, unit), 0.5, 1.0 / 12.0);
            assert_moments(moments(seed, exponential), 1.0, 1.0);
            assert_moments(moments(seed, normal), 0.0, 1.0);
        }
    }

    #[test]
    fn whole_numbers_include_both_ends() {
        for max in [0, 1, 2, 6] {
            let mut counts = vec![0u32; max as usize + 1];
            let mut rng = stream(4, max);
            (0..70_000).for_each(|_| counts[up_to(&mut rng, max) as usize] += 1);
            let expected = 70_000 / counts.len() as u32;
            assert!(counts.iter().all(|count| count.abs_diff(expected) <= expected / 20), "{counts:?}");
        }
        assert!((0..100).any(|index| up_to(&mut stream(5, index), u64::MAX) > u64::MAX / 2));
    }

    #[test]
    fn the_sequence_of_a_seed_never_changes() {
        let mut rng = stream(1, 0);
        let drawn: [u64; 3] = std::array::from_fn(|_| rng.next_u64());
        // From an implementation in another language.
        assert_eq!(drawn, [0xe505_39e6_d445_a176, 0x91d0_bb21_c004_b7bd, 0xd7b0_2648_0353_c5f2]);
    }

    #[test]
    fn streams_differ_by_seed_and_by_index() {
        let mut first = std::collections::HashSet::new();
        for seed in 0..100 {
            for index in 0..100 {
                assert!(first.insert(stream(seed, index).next_u64()), "stream {index} of seed {seed} repeats another");
            }
        }
    }
}
