//! The resource limits of this process.

use rustix::process::{Resource, getrlimit};

/// Raises the soft limit of open files to the hard limit, and returns it; `None` if there is no
/// limit.
pub(crate) fn raise_open_files() -> Option<u64> {
    match ringway::raise_descriptor_limit() {
        Ok(limit) => limit.soft,
        // This fails in a sandbox that forbids it. The limit is unchanged then, and is returned as
        // it is.
        Err(_) => getrlimit(Resource::Nofile).current,
    }
}
