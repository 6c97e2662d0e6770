//! Lists of cores in the kernel's format: `0-3,8`.

use std::fmt;
use std::str::FromStr;

/// The highest core number allowed in a list. It bounds the memory of a mistyped range, and is
/// above the numbers of any system.
const MAX_CORE: usize = (1 << 20) - 1;

/// Cores in the order in which they were named.
///
/// Parses and displays the kernel's list format (`0-3,8`, as in `/proc/self/status` and `taskset
/// -c`). Parsing keeps the order, and refuses an empty list and a core that is named twice;
/// displaying sorts, so that the same cores always have the same text.
///
/// ```
/// use ringway::placement::CoreList;
///
/// let list: CoreList = "8,0-2".parse()?;
/// assert_eq!(list.as_slice(), [8, 0, 1, 2]);
/// assert_eq!(list.to_string(), "0-2,8");
/// # Ok::<(), ringway::placement::CoreListError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoreList(Vec<usize>);

/// Why a text is not a list of cores.
///
/// ```
/// use ringway::placement::{CoreList, CoreListError};
///
/// assert_eq!("0-3,2".parse::<CoreList>(), Err(CoreListError::Duplicate(2)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CoreListError {
    /// The list, or one of its parts, is empty.
    #[error("name at least one core, as 0-3,8")]
    Empty,
    /// A part is neither a number nor a range of two.
    #[error("{0:?} is neither a core nor a range of cores; give them as 0-3,8")]
    Part(String),
    /// A range ends before it begins.
    #[error("the range {0}-{1} ends before it begins; write {1}-{0}")]
    Reversed(usize, usize),
    /// A core is named twice.
    #[error("core {0} is named twice; name each core once")]
    Duplicate(usize),
    /// A number above those of any system.
    #[error("core {0} is out of range; the highest number is {MAX_CORE}")]
    TooLarge(usize),
}

impl CoreList {
    /// The cores, in the order in which they were named.
    #[must_use]
    pub fn as_slice(&self) -> &[usize] {
        &self.0
    }

    /// The cores, in the order in which they were named.
    #[must_use]
    pub fn into_vec(self) -> Vec<usize> {
        self.0
    }
}

impl FromIterator<usize> for CoreList {
    fn from_iter<I: IntoIterator<Item = usize>>(cores: I) -> Self {
        Self(cores.into_iter().collect())
    }
}

impl FromStr for CoreList {
    type Err = CoreListError;

    fn from_str(text: &str) -> Result<Self, CoreListError> {
        let mut cores = Vec::new();
        for part in text.split(',') {
            let (first, last) = range(part)?;
            if cores.len() + (last - first) > MAX_CORE {
                return Err(CoreListError::Duplicate(first));
            }
            cores.extend(first..=last);
        }
        let mut sorted = cores.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(CoreListError::Duplicate(pair[0])),
            None => Ok(Self(cores)),
        }
    }
}

/// The first and last core of one part of a list; equal for a single core.
fn range(part: &str) -> Result<(usize, usize), CoreListError> {
    if part.is_empty() {
        return Err(CoreListError::Empty);
    }
    let (first, last) = part.split_once('-').unwrap_or((part, part));
    let number = |text: &str| {
        // `parse` accepts a leading plus sign.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| digits).ok_or_else(|| CoreListError::Part(part.into()))
    };
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(CoreListError::Reversed(first, last));
    }
    if last > MAX_CORE {
        return Err(CoreListError::TooLarge(last));
    }
    Ok((first, last))
}

impl fmt::Display for CoreList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cores = self.0.clone();
        cores.sort_unstable();
        cores.dedup();
        for (index, range) in cores.chunk_by(|core, next| core + 1 == *next).enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            match range {
                [first, .., last] => write!(f, "{first}-{last}")?,
                [one] => write!(f, "{one}")?,
                [] => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<usize>, CoreListError> {
        text.parse().map(CoreList::into_vec)
    }

    #[test]
    fn ranges_and_single_cores_are_parsed_in_order() {
        assert_eq!(parse("5"), Ok(vec![5]));
        assert_eq!(parse("0-3,8"), Ok(vec![0, 1, 2, 3, 8]));
        assert_eq!(parse("8,0-1"), Ok(vec![8, 0, 1]));
        assert_eq!(parse("4-4"), Ok(vec![4]));
    }

    #[test]
    fn a_displayed_list_parses() {
        for cores in [vec![5], vec![0, 1, 2, 3, 8], vec![0, 2, 4], vec![7, 8]] {
            let list: CoreList = cores.iter().copied().collect();
            assert_eq!(parse(&list.to_string()), Ok(cores));
        }
    }

    #[test]
    fn adjacent_cores_are_displayed_as_a_range_and_each_core_once() {
        let list = |cores: &[usize]| cores.iter().copied().collect::<CoreList>().to_string();
        assert_eq!(list(&[]), "");
        assert_eq!(list(&[5]), "5");
        assert_eq!(list(&[3, 1, 2, 0, 8]), "0-3,8");
        assert_eq!(list(&[0, 1, 0, 1, 0]), "0-1");
        assert_eq!(list(&[0, 2, 4]), "0,2,4");
    }

    #[test]
    fn a_text_that_is_not_a_list_is_refused_with_the_reason() {
        assert_eq!(parse(""), Err(CoreListError::Empty));
        assert_eq!(parse("0,"), Err(CoreListError::Empty));
        assert_eq!(parse(",0"), Err(CoreListError::Empty));
        assert_eq!(parse("3-1"), Err(CoreListError::Reversed(3, 1)));
        assert_eq!(parse("0,0"), Err(CoreListError::Duplicate(0)));
        assert_eq!(parse("0-3,2"), Err(CoreListError::Duplicate(2)));
        assert_eq!(parse("0-1048576"), Err(CoreListError::TooLarge(1 << 20)));
        for part in ["first", "-", "1-", "-1", "1-2-3", "+1", " 1", "1.5", "99999999999999999999"] {
            assert_eq!(parse(part), Err(CoreListError::Part(part.into())), "{part:?}");
        }
    }
}
