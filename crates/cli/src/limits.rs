//! The limits of this process.

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the limit of open files to the most that this user may have, and returns it; `None`: there is no limit.
pub(crate) fn raise_open_files() -> Option<u64> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // It fails where a sandbox forbids it; the limit is as it was then, and that is what is returned.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current
}
