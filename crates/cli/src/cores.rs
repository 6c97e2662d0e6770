//! Lists of cores, for people to read.

/// Cores as the kernel writes them: in order, each once, neighbours as ranges: `0-3,8`.
pub(crate) fn list(cores: impl IntoIterator<Item = usize>) -> String {
    let mut cores: Vec<usize> = cores.into_iter().collect();
    cores.sort_unstable();
    cores.dedup();
    let ranges: Vec<String> = cores
        .chunk_by(|core, next| core + 1 == *next)
        .map(|range| match range {
            [first, .., last] => format!("{first}-{last}"),
            one => one.iter().map(usize::to_string).collect(),
        })
        .collect();
    ranges.join(",")
}

#[cfg(test)]
mod tests {
    use super::list;

    #[test]
    fn neighbours_are_a_range_and_each_core_is_named_once() {
        assert_eq!(list([]), "");
        assert_eq!(list([5]), "5");
        assert_eq!(list([3, 1, 2, 0, 8]), "0-3,8");
        assert_eq!(list((0..1024).map(|shard| shard % 2)), "0-1");
        assert_eq!(list([0, 2, 4]), "0,2,4");
    }
}
