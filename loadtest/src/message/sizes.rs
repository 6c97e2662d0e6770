//! The sizes of messages: fixed, a range, or a weighted list of both.

use super::hash;
use crate::{MAX_SIZE, size};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// The maximum number of entries of a list.
const MAX_ENTRIES: usize = 64;

/// The maximum weight of an entry.
const MAX_WEIGHT: u32 = 1_000_000;

/// The sizes of messages in bytes, 0 to [`MAX_SIZE`].
///
/// ```
/// use ringway_loadtest::message::Sizes;
///
/// let sizes: Sizes = "20:70,1K:25,16K:5".parse()?;
/// assert_eq!((sizes.min(), sizes.max(), sizes.mean()), (20, 16_384, 1089.2));
/// let sizes: Sizes = "20-1K".parse()?;
/// assert_eq!((sizes.min(), sizes.max()), (20, 1024));
/// # Ok::<(), ringway_loadtest::message::SizesError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Never empty.
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    min: u32,
    max: u32,
    weight: u32,
    /// The entry is chosen by random numbers below this one and not below that of the entry before.
    /// That of the last entry is 2³².
    bound: u64,
}

impl Sizes {
    /// One size.
    ///
    /// # Errors
    /// A size above [`MAX_SIZE`].
    pub fn fixed(size: usize) -> Result<Self, SizesError> {
        Self::range(size..=size)
    }

    /// Uniformly distributed sizes.
    ///
    /// # Errors
    /// An empty range, and a size above [`MAX_SIZE`].
    pub fn range(sizes: RangeInclusive<usize>) -> Result<Self, SizesError> {
        Self::weighted([(sizes, 1)])
    }

    /// Ranges of sizes with weights: the share of a range is its weight divided by the sum of all.
    /// Within a range, sizes are uniformly distributed.
    ///
    /// # Errors
    /// No entries or more than 64, an empty range, a size above [`MAX_SIZE`], and a weight of 0 or
    /// above 1 000 000.
    pub fn weighted(entries: impl IntoIterator<Item = (RangeInclusive<usize>, u32)>) -> Result<Self, SizesError> {
        let mut list = Vec::new();
        for (range, weight) in entries {
            let (min, max) = range.into_inner();
            if min > max {
                return Err(SizesError::Reversed(min, max));
            }
            if max > MAX_SIZE {
                return Err(SizesError::TooLarge(max));
            }
            if !(1..=MAX_WEIGHT).contains(&weight) {
                return Err(SizesError::Weight(weight.to_string()));
            }
            // MAX_SIZE fits in 32 bits.
            list.push(Entry { min: min as u32, max: max as u32, weight, bound: 0 });
        }
        if list.is_empty() {
            return Err(SizesError::Empty);
        }
        if list.len() > MAX_ENTRIES {
            return Err(SizesError::TooMany(list.len()));
        }
        let total: u64 = list.iter().map(|entry| u64::from(entry.weight)).sum();
        let mut sum = 0;
        for entry in &mut list {
            sum += u64::from(entry.weight);
            entry.bound = (sum << 32) / total;
        }
        Ok(Self { entries: list })
    }

    /// The smallest size.
    #[must_use]
    pub fn min(&self) -> usize {
        self.entries.iter().map(|entry| entry.min).min().unwrap_or_default() as usize
    }

    /// The largest size.
    #[must_use]
    pub fn max(&self) -> usize {
        self.entries.iter().map(|entry| entry.max).max().unwrap_or_default() as usize
    }

    /// The mean size.
    #[must_use]
    pub fn mean(&self) -> f64 {
        let mean = |entry: &Entry| f64::from(entry.weight) * (f64::from(entry.min) + f64::from(entry.max)) / 2.0;
        let total: f64 = self.entries.iter().map(|entry| f64::from(entry.weight)).sum();
        self.entries.iter().map(mean).sum::<f64>() / total
    }

    /// The ranges of sizes and their weights.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (RangeInclusive<usize>, u32)> + '_ {
        self.entries.iter().map(|entry| (entry.min as usize..=entry.max as usize, entry.weight))
    }

    /// The size of the message with this hash.
    #[inline]
    pub(super) fn pick(&self, hash: u64) -> usize {
        let entry = match self.entries.as_slice() {
            [only] => only,
            several => Self::choose(several, hash >> 32),
        };
        let mut size = entry.min;
        if entry.max > entry.min {
            // The lower half of the hash: the upper one has chosen the entry.
            size += hash::below(hash << 32, u64::from(entry.max - entry.min) + 1) as u32;
        }
        size as usize
    }

    fn choose(entries: &[Entry], random: u64) -> &Entry {
        entries.iter().find(|entry| random < entry.bound).unwrap_or(&entries[0])
    }
}

impl FromStr for Sizes {
    type Err = SizesError;

    /// A size (`64`), a range (`20-1K`), or a list of both with weights (`20:70,1K-4K:25,16K:5`).
    /// An entry without a weight has the weight 1.
    fn from_str(text: &str) -> Result<Self, SizesError> {
        if text.trim().is_empty() {
            return Err(SizesError::Empty);
        }
        let entries: Vec<_> = text.split(',').map(|entry| parse_entry(entry.trim())).collect::<Result<_, _>>()?;
        Self::weighted(entries)
    }
}

fn parse_entry(text: &str) -> Result<(RangeInclusive<usize>, u32), SizesError> {
    let (sizes, weight) = match text.split_once(':') {
        Some((sizes, weight)) => (sizes, weight.parse().map_err(|_| SizesError::Weight(weight.to_owned()))?),
        None => (text, 1),
    };
    let (min, max) = sizes.split_once('-').unwrap_or((sizes, sizes));
    Ok((parse_size(min)?..=parse_size(max)?, weight))
}

/// A number of bytes: `512`, `16K`, `16KiB`, `1M`; units are powers of 1024.
fn parse_size(text: &str) -> Result<usize, SizesError> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let factor = match text[digits.len()..].to_ascii_lowercase().as_str() {
        "" | "b" => Some(1),
        "k" | "kib" => Some(1 << 10),
        "m" | "mib" => Some(1 << 20),
        "g" | "gib" => Some(1 << 30),
        _ => None,
    };
    // Without the sign that a number may have.
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<usize>().ok()).flatten();
    match (number, factor) {
        (Some(number), Some(factor)) => Ok(number.saturating_mul(factor)),
        _ => Err(SizesError::NotASize(text.to_owned())),
    }
}

impl fmt::Display for Sizes {
    /// In the form that [`FromStr`] reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, entry) in self.entries.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            write!(f, "{comma}{}", Short(entry.min))?;
            if entry.max > entry.min {
                write!(f, "-{}", Short(entry.max))?;
            }
            if self.entries.len() > 1 {
                write!(f, ":{}", entry.weight)?;
            }
        }
        Ok(())
    }
}

/// A size with a unit if it is a whole number of them.
struct Short(u32);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 20) => write!(f, "{}M", bytes >> 20),
            bytes if bytes > 0 && bytes.is_multiple_of(1 << 10) => write!(f, "{}K", bytes >> 10),
            bytes => write!(f, "{bytes}"),
        }
    }
}

/// The error of invalid sizes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SizesError {
    /// No sizes.
    #[error("no size: give one, a range or a list with weights, as 64, 20-1K or 20:70,1K:25,16K:5")]
    Empty,
    /// Text that is not a number of bytes.
    #[error("{0:?} is not a size: give a number of bytes, as 512, 16K or 1M")]
    NotASize(String),
    /// A range from a larger to a smaller size.
    #[error("sizes from {} to {}: give the smaller size first", size(*.0), size(*.1))]
    Reversed(usize, usize),
    /// A size above [`MAX_SIZE`].
    #[error("messages of {}: give sizes up to {}", size(*.0), size(MAX_SIZE))]
    TooLarge(usize),
    /// A weight that is not a number, or out of range.
    #[error("the weight {0:?} is not a whole number from 1 to {MAX_WEIGHT}: give one, as in 20:70,1K:30")]
    Weight(String),
    /// Too many entries.
    #[error("a list of {0} sizes: give at most {MAX_ENTRIES}")]
    TooMany(usize),
}

#[cfg(test)]
mod tests {
    use super::*;
    use hash::Stream;
    use proptest::prelude::*;

    fn sizes(text: &str) -> Sizes {
        text.parse().unwrap()
    }

    #[test]
    fn a_size_a_range_and_a_list_are_parsed() {
        assert_eq!(sizes("64"), Sizes::fixed(64).unwrap());
        assert_eq!(sizes("20-1K"), Sizes::range(20..=1024).unwrap());
        assert_eq!(sizes("0"), Sizes::fixed(0).unwrap());
        assert_eq!(sizes("64KiB-64mib"), Sizes::range(65_536..=67_108_864).unwrap());
        let list = Sizes::weighted([(20..=20, 70), (1024..=1024, 25), (16_384..=16_384, 5)]).unwrap();
        assert_eq!(sizes("20:70,1K:25,16K:5"), list);
        assert_eq!(sizes(" 20:70, 1K:25, 16K:5 "), list);
        assert_eq!(sizes("20,1K"), Sizes::weighted([(20..=20, 1), (1024..=1024, 1)]).unwrap());
        assert_eq!(sizes("20-100:9,1K"), Sizes::weighted([(20..=100, 9), (1024..=1024, 1)]).unwrap());
    }

    #[test]
    fn an_error_has_the_value_and_the_remedy() {
        let many = vec!["1"; 65].join(",");
        for (text, says) in [
            ("", "no size: give one, a range or a list with weights, as 64, 20-1K or 20:70,1K:25,16K:5"),
            ("5x", "\"5x\" is not a size: give a number of bytes, as 512, 16K or 1M"),
            ("-5", "\"\" is not a size: give a number of bytes, as 512, 16K or 1M"),
            ("+5", "\"+5\" is not a size: give a number of bytes, as 512, 16K or 1M"),
            ("1-2-3", "\"2-3\" is not a size: give a number of bytes, as 512, 16K or 1M"),
            ("1.5K", "\"1.5K\" is not a size: give a number of bytes, as 512, 16K or 1M"),
            ("20,", "\"\" is not a size: give a number of bytes, as 512, 16K or 1M"),
            ("9-8", "sizes from 9 B to 8 B: give the smaller size first"),
            ("65M", "messages of 65 MiB: give sizes up to 64 MiB"),
            ("20:0", "the weight \"0\" is not a whole number from 1 to 1000000: give one, as in 20:70,1K:30"),
            ("20:a", "the weight \"a\" is not a whole number from 1 to 1000000: give one, as in 20:70,1K:30"),
            (&many, "a list of 65 sizes: give at most 64"),
        ] {
            assert_eq!(text.parse::<Sizes>().unwrap_err().to_string(), says, "{text}");
        }
        assert!("99999999999999999999".parse::<Sizes>().is_err());
        assert_eq!("18446744073709551615G".parse::<Sizes>(), Err(SizesError::TooLarge(usize::MAX)));
    }

    #[test]
    fn weights_are_the_shares_of_the_sizes() {
        let list = sizes("20:70,1K:25,16K:5");
        let mut stream = Stream::new(11);
        let (mut counts, mut sum, draws) = ([0u32; 3], 0.0, 1_000_000);
        for _ in 0..draws {
            let size = list.pick(stream.next());
            counts[[20, 1024, 16_384].iter().position(|s| *s == size).unwrap()] += 1;
            sum += size as f64;
        }
        // Three standard deviations of the largest share are 1400.
        for (count, expected) in counts.iter().zip([700_000, 250_000, 50_000]) {
            assert!(count.abs_diff(expected) < 1_400, "{counts:?}");
        }
        assert!((sum / f64::from(draws) / list.mean() - 1.0).abs() < 0.01);
    }

    #[test]
    fn sizes_of_a_range_are_uniform() {
        let range = sizes("10-13");
        let mut stream = Stream::new(12);
        let mut counts = [0u32; 4];
        for _ in 0..40_000 {
            counts[range.pick(stream.next()) - 10] += 1;
        }
        assert!(counts.iter().all(|count| (9_700..10_300).contains(count)), "{counts:?}");
        let (mut mean, draws) = (0.0, 100_000);
        let range = sizes("0-64M");
        for _ in 0..draws {
            mean += range.pick(stream.next()) as f64 / f64::from(draws);
        }
        assert!((mean / range.mean() - 1.0).abs() < 0.01, "{mean}");
    }

    #[test]
    fn the_choice_of_the_entry_does_not_bias_the_size_within_it() {
        let list = sizes("0-99:1,100-199:99");
        let mut stream = Stream::new(13);
        let (mut sum, mut count) = (0, 0);
        for _ in 0..1_000_000 {
            let size = list.pick(stream.next());
            if size < 100 {
                (sum, count) = (sum + size, count + 1);
            }
        }
        let mean = sum as f64 / f64::from(count);
        assert!((mean - 49.5).abs() < 1.5, "{mean} of {count}");
    }

    proptest! {
        #[test]
        fn a_list_is_printed_in_the_form_that_is_parsed(
            entries in proptest::collection::vec((0..=MAX_SIZE, 0..=MAX_SIZE, 1..=MAX_WEIGHT), 1..=8),
            hashes: [u64; 8],
        ) {
            let entries: Vec<_> =
                entries.into_iter().map(|(one, other, weight)| (one.min(other)..=one.max(other), weight)).collect();
            // The weight of an only entry has no meaning.
            prop_assume!(entries.len() > 1 || entries[0].1 == 1);
            let list = Sizes::weighted(entries.clone()).unwrap();
            prop_assert_eq!(&list.to_string().parse::<Sizes>().unwrap(), &list);
            for hash in hashes.into_iter().chain([0, u64::MAX, u64::from(u32::MAX), 1 << 32]) {
                let size = list.pick(hash);
                prop_assert!(entries.iter().any(|(range, _)| range.contains(&size)));
                prop_assert!((list.min()..=list.max()).contains(&size));
            }
        }
    }
}
