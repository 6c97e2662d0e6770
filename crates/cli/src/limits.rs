//! The limits of this process.

use rustix::process::{Resource, getrlimit};

/// Raises the limit of open files to the maximum that this user may have, and returns it; `None`: there is no limit.
pub(crate) fn raise_open_files() -> Option<u64> {
    match ringway::raise_descriptor_limit() {
        Ok(limit) => limit.soft,
        // A sandbox may forbid the change. The limit is as it was.
        Err(_) => getrlimit(Resource::Nofile).current,
    }
}
