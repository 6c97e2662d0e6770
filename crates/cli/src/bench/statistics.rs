//! Medians and spreads.

use serde::Serialize;

/// The median, minimum and maximum over the rounds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
    /// The number of values.
    pub(crate) count: usize,
}

impl Spread {
    /// Computes the spread of these values; the median of an even number is the mean of the middle
    /// two. `None` if there are none.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (count, middle) = (values.len(), values.len() / 2);
        let (min, max) = (*values.first()?, *values.last()?);
        let median = if count % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) };
        Some(Self { median, min, max, count })
    }
}

/// The median alone.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    Spread::of(values).map(|spread| spread.median)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([]), None);
    }

    #[test]
    fn the_spread_has_both_ends() {
        let spread = Spread::of([5.0, 1.0, 9.0]);
        assert_eq!(spread, Some(Spread { median: 5.0, min: 1.0, max: 9.0, count: 3 }));
    }
}
