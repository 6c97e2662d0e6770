//! The limit of open file descriptors. It holds for the whole process, so these tests have one of
//! their own.

use ringway_io::raise_descriptor_limit;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs::File;
use std::io;

/// Opens this many files at once.
fn open(count: usize) -> io::Result<Vec<File>> {
    (0..count).map(|_| File::open("/dev/null")).collect()
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_limit() {
    const LOW: u64 = 64;
    let mut limit = getrlimit(Resource::Nofile);
    assert!(limit.maximum.is_none_or(|hard| hard > 2 * LOW), "the hard limit is too low for this test: {limit:?}");
    limit.current = Some(LOW);
    setrlimit(Resource::Nofile, limit).expect("lowering is allowed");
    let error = open(LOW as usize).expect_err("the standard streams are open too");
    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));

    let raised = raise_descriptor_limit().expect("no sandbox");
    assert_eq!((raised.before, raised.soft, raised.hard), (Some(LOW), limit.maximum, limit.maximum));
    assert_eq!(getrlimit(Resource::Nofile).current, limit.maximum);
    open(LOW as usize).expect("the limit is higher now");

    let again = raise_descriptor_limit().expect("nothing to change");
    assert_eq!((again.before, again.soft), (limit.maximum, limit.maximum));
}
