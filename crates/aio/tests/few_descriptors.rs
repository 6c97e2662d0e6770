//! A server that cannot start for want of descriptors: it leaves none behind. It has a process of its
//! own, because the limit is that of the process.

use ringway_aio::{Config, Server, Shards};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::fs;

/// The number of open descriptors.
fn open() -> u64 {
    fs::read_dir("/proc/self/fd").expect("procfs").count() as u64 - 1
}

fn server() -> Server {
    let config = Config::default().cores(ringway::Cores::Unpinned).expect("any core");
    Server::bind("127.0.0.1:0").expect("a port").config(config).shards(Shards::Count(1))
}

#[test]
fn a_server_that_cannot_start_costs_no_descriptor() {
    const MAX_LEFT: u64 = 24;
    // The first one makes what the process keeps.
    let running = server().start(|_| async {}).expect("tokio-uring works here");
    running.stop();
    running.wait().expect("no runtime fails");
    let (limit, before) = (getrlimit(Resource::Nofile), open());
    let mut started = 0;
    for left in 0..MAX_LEFT {
        let server = server();
        let mut few = limit;
        few.current = Some(open() + left);
        setrlimit(Resource::Nofile, few).expect("lowering is allowed");
        let result = server.start(|_| async {});
        setrlimit(Resource::Nofile, limit).expect("it is the limit of before");
        match result {
            Ok(running) => {
                running.stop();
                running.wait().expect("no runtime fails");
                started += 1;
            }
            Err(error) => assert!(error.to_string().contains("ulimit -n"), "{left} left: {error}"),
        }
        assert_eq!(open(), before, "with {left} descriptors left");
    }
    // Inherited descriptors may have numbers above the limit.
    assert!((1..MAX_LEFT).contains(&started), "{started} of {MAX_LEFT} were started");
}
