//! The limit of open file descriptors.

use rustix::process::{Resource, getrlimit, setrlimit};
use std::io;

/// The limit of open file descriptors of this process, as [`raise_descriptor_limit`] found and left
/// it. `None` is unlimited.
///
/// ```
/// use ringway_io::{DescriptorLimit, raise_descriptor_limit};
///
/// let DescriptorLimit { before, soft, .. } = raise_descriptor_limit()?;
/// // `None` is unlimited.
/// assert!(soft.is_none() || soft >= before);
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DescriptorLimit {
    /// The soft limit before the call.
    pub before: Option<u64>,
    /// The soft limit now: how many descriptors the process may have open.
    pub soft: Option<u64>,
    /// The hard limit. Raising it takes CAP_SYS_RESOURCE: `LimitNOFILE=` of systemd, `--ulimit
    /// nofile=` of docker.
    pub hard: Option<u64>,
}

/// Raises the soft limit of open file descriptors (`ulimit -n`) to the hard limit, for the whole
/// process and for the processes that it starts from then on.
///
/// Each connection takes a descriptor, and many systems start processes with a soft limit of 1024.
/// The library does not call this function by itself, because code that uses select(2) fails with
/// descriptors from 1024 on.
///
/// Costs two system calls (`prlimit64`), or one when the limits are equal.
///
/// # Errors
/// When the system forbids the change, for example in a sandbox. The soft limit is then as it was.
///
/// ```
/// let limit = ringway_io::raise_descriptor_limit()?;
/// assert_eq!(limit.soft, limit.hard);
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    let mut limit = getrlimit(Resource::Nofile);
    let before = limit.current;
    if before != limit.maximum {
        limit.current = limit.maximum;
        setrlimit(Resource::Nofile, limit)?;
    }
    Ok(DescriptorLimit { before, soft: limit.current, hard: limit.maximum })
}
