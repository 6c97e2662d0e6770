//! Lists of cores, for people to read.

use ringway::placement::CoreList;

/// Cores as the kernel writes them: in order, each once, neighbours as ranges: `0-3,8`.
pub(crate) fn list(cores: impl IntoIterator<Item = usize>) -> String {
    cores.into_iter().collect::<CoreList>().to_string()
}
