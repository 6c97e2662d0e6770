//! A hand-over of the sockets of the echo service to a new process.

use super::{answer, await_metric, client, connect, echo_address, exchange, metric};
use ringway_tests::{ServerProcess, TestDirectory, ringway};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// The servers of a test, which pass their sockets to each other.
struct Series {
    path: PathBuf,
    _folder: TestDirectory,
}

impl Series {
    fn new(name: &str) -> Self {
        let folder = TestDirectory::new(name);
        Self { path: folder.path().join("handover.sock"), _folder: folder }
    }

    fn start(&self, driver: &str, shards: u32, echo: &str) -> ServerProcess {
        let mut command = ringway(&["serve"]);
        command.arg("--handover").arg(&self.path).arg("--listen=127.0.0.1:0").arg("--admin=127.0.0.1:0");
        command.arg(format!("--shards={shards}")).arg(format!("--driver={driver}")).arg(echo);
        // All clients share one address, and a fast machine asks more often than its rate allows.
        command.arg("--echo-udp-rate=10m").arg("--echo-udp-total=10m");
        ServerProcess::start(command)
    }
}

#[test]
fn a_hand_over_passes_the_echo_sockets_on() {
    let series = Series::new("rfc862-handover");
    let first = series.start("uring", 2, "--echo-tcp=0");
    let address = echo_address(&first, "tcp");
    let mut old = connect(address);
    old.write_all(b"x").expect("open");
    old.read_exact(&mut [0]).expect("it is echoed");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    // None of the connections is refused or reset.
    let storm = thread::spawn(move || {
        let mut count = 0;
        while !stopped.load(Ordering::Relaxed) {
            let mut peer = connect(address);
            peer.write_all(b"storm").expect("no reset");
            peer.shutdown(Shutdown::Write).expect("open");
            let mut echo = Vec::new();
            peer.read_to_end(&mut echo).expect("no reset");
            // The drain of the former server may end a connection before its bytes were read.
            assert!(echo == b"storm" || echo.is_empty(), "{echo:?}");
            count += 1;
        }
        count
    });
    let second = series.start("epoll", 3, &format!("--echo-tcp={address}"));
    assert_eq!(echo_address(&second, "tcp"), address);
    assert_eq!(old.read(&mut [0]).expect("the former server ends it in order"), 0);
    drop(old);
    let (status, stderr) = first.wait();
    assert!(status.success(), "{stderr}");
    assert_eq!(exchange(address, b"successor"), b"successor");
    stop.store(true, Ordering::Relaxed);
    assert!(storm.join().expect("no connection is refused or reset") > 0);
    assert!(metric(&second, "ringway_echo_connections_served_total", "") > 0);
}

/// Sends datagrams one after another, each from another port than the one before it, until told to
/// stop. Each is answered, and counted.
fn ask(address: SocketAddr, stop: &AtomicBool, asked: &AtomicU64) {
    let clients: Vec<_> = (0..16).map(|_| client("127.0.0.1:0")).collect();
    for (number, client) in (0_u64..).zip(clients.iter().cycle()) {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let sent = number.to_be_bytes();
        assert_eq!(answer(client, &sent, address), (sent.to_vec(), address), "datagram {number}");
        asked.store(number + 1, Ordering::Relaxed);
    }
}

#[test]
fn datagrams_are_answered_before_during_and_after_a_hand_over() {
    for (drivers, shards) in [(["uring", "epoll"], [2, 3]), (["epoll", "uring"], [2, 1]), (["uring", "uring"], [1, 2])]
    {
        let series = Series::new("rfc862-datagrams");
        let first = series.start(drivers[0], shards[0], "--echo-udp=127.0.0.1:0");
        let address = echo_address(&first, "udp");
        let (stop, asked) = (AtomicBool::new(false), AtomicU64::new(0));
        let reached = |count: u64| {
            while asked.load(Ordering::Relaxed) < count {
                thread::yield_now();
            }
        };
        thread::scope(|scope| {
            let asking = scope.spawn(|| ask(address, &stop, &asked));
            reached(100);
            assert!(metric(&first, "ringway_echo_datagrams_total", "") > 0, "before");
            let second = series.start(drivers[1], shards[1], &format!("--echo-udp={address}"));
            assert_eq!(echo_address(&second, "udp"), address);
            let (status, stderr) = first.wait();
            assert!(status.success(), "{stderr}");
            reached(asked.load(Ordering::Relaxed) + 100);
            stop.store(true, Ordering::Relaxed);
            asking.join().expect("each datagram is answered");
            await_metric(&second, "ringway_echo_datagrams_total", "", |answered| answered >= 100);
        });
    }
}
