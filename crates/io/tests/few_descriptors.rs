//! A driver on tokio-uring that cannot be made for want of descriptors. The limit holds for the whole
//! process, so this test has one of its own.

use ringway_io::tokio_uring::{TokioUring, TokioUringConfig};
use ringway_io::uring::SetupError;
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;

/// The number of open descriptors, without the one that counts them.
fn open() -> u64 {
    fs::read_dir("/proc/self/fd").expect("procfs").count() as u64 - 1
}

#[test]
fn a_driver_that_cannot_be_made_costs_no_descriptor() {
    // The first one makes what the process keeps.
    drop(TokioUring::new(TokioUringConfig::default()).expect("tokio-uring works here"));
    let (limit, before) = (getrlimit(Resource::Nofile), open());
    let mut made = 0;
    for left in 0..12 {
        let mut few = limit;
        few.current = Some(before + left);
        setrlimit(Resource::Nofile, few).expect("lowering is allowed");
        let driver = TokioUring::new(TokioUringConfig::default());
        setrlimit(Resource::Nofile, limit).expect("it is the limit of before");
        match driver {
            Ok(driver) => {
                drop(driver);
                made += 1;
            }
            Err(SetupError::Unavailable(unavailable)) => {
                assert!(!unavailable.is_refusal() && made == 0, "{left} left: {unavailable}");
                assert!(unavailable.to_string().contains("ulimit -n"), "{unavailable}");
            }
            Err(error) => panic!("{left} left: {error}"),
        }
        assert_eq!(open(), before, "with {left} descriptors left");
    }
    // Inherited descriptors may have numbers above the limit.
    assert!((1..12).contains(&made), "{made} of 12 were made");
}
