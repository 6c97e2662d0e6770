//! A server that is stopped (SIGSTOP) for longer than each of its deadlines: the time in which it
//! could not read does not count against its peers.

use ringway_tests::{Frame, RawRequest, Received, ServerProcess, WATCHDOG, WirePeer};
use rustix::process::Signal;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

/// Each deadline of the server. Bringing the connections into their states, and serving them after
/// the stop, take less than half of it, so that no peer is late.
const DEADLINE: Duration = Duration::from_secs(8);

const DEADLINES: [&str; 7] = [
    "--handshake-timeout=8s",
    "--keep-alive-timeout=8s",
    "--idle-timeout=8s",
    "--write-timeout=8s",
    "--message-timeout=8s",
    "--close-timeout=8s",
    "--close-limit=8s",
];

/// The connections in each state.
const PEERS: usize = 5;

/// What a peer does before the server is stopped, while it is, and afterwards.
struct Case {
    name: &'static str,
    before: fn(&mut WirePeer),
    during: fn(&mut WirePeer),
    after: fn(&mut WirePeer),
}

fn request() -> Vec<u8> {
    RawRequest::websocket().bytes()
}

/// The next frame that is not a ping, which is answered.
fn frame(peer: &mut WirePeer) -> Received {
    loop {
        let frame = peer.frame();
        if !frame.is_ping() {
            return frame;
        }
        peer.send(&Frame::pong(frame.payload));
    }
}

fn echo(peer: &mut WirePeer) {
    peer.send(&Frame::text("served"));
    assert_eq!(frame(peer), Received::text("served"));
}

fn opened(peer: &mut WirePeer) {
    peer.expect_upgrade();
    echo(peer);
}

fn large(number: u8) -> Frame {
    Frame::binary(vec![number; 100_000])
}

const CASES: [Case; 9] = [
    Case { name: "silent before, during and after", before: WirePeer::upgrade, during: |_| {}, after: echo },
    Case { name: "connected", before: |_| {}, during: |peer| peer.write(request()), after: opened },
    Case {
        name: "connected, and silent during the stop",
        before: |_| {},
        during: |_| {},
        after: |peer| {
            peer.write(request());
            opened(peer);
        },
    },
    Case {
        name: "half of a request",
        before: |peer| peer.write(&request()[..50]),
        during: |peer| peer.write(&request()[50..]),
        after: opened,
    },
    Case {
        name: "between two requests",
        before: |peer| {
            peer.write("GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(peer.response().status, 200);
        },
        during: |peer| peer.write(request()),
        after: opened,
    },
    Case {
        name: "open",
        before: WirePeer::upgrade,
        during: |peer| peer.send(&Frame::text("written meanwhile")),
        after: |peer| {
            assert_eq!(frame(peer), Received::text("written meanwhile"));
            echo(peer);
        },
    },
    Case {
        name: "half of a message",
        before: |peer| {
            peer.upgrade();
            peer.write(&large(1).bytes()[..50_000]);
        },
        during: |peer| peer.write(&large(1).bytes()[50_000..]),
        after: |peer| {
            assert!(frame(peer) == Received::binary(vec![1; 100_000]));
            echo(peer);
        },
    },
    Case {
        name: "output that is read during the stop and after it",
        before: |peer| {
            peer.upgrade();
            (0..8).for_each(|number| peer.send(&large(number)));
            peer.skip(4).expect("the reply has begun");
        },
        during: |peer| peer.skip(10_000).expect("the kernel has it"),
        after: |peer| {
            // The rest of the first reply, whose header has ten bytes.
            peer.skip(100_010 - 10_004).expect("the reply");
            for number in 1..8 {
                assert!(frame(peer) == Received::binary(vec![number; 100_000]), "reply {number}");
            }
            echo(peer);
        },
    },
    Case {
        name: "a close that is answered during the stop",
        before: |peer| {
            peer.upgrade();
            peer.send(&Frame::text("unmasked").unmasked());
            assert_eq!(frame(peer).close_code(), Some(1002));
        },
        during: |peer| {
            peer.send(&Frame::close(1002, ""));
            peer.finish();
        },
        after: |peer| assert_eq!(peer.end(), ringway_tests::End::Finished),
    },
];

/// Waits until the process is stopped.
pub(crate) fn wait_until_stopped(pid: u32) {
    let deadline = Instant::now() + WATCHDOG;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process runs");
        // The state is behind the name, which is in parentheses (proc_pid_stat(5)).
        if status.rsplit(") ").next().is_some_and(|rest| rest.starts_with('T')) {
            return;
        }
        assert!(Instant::now() < deadline, "it is not stopped: {status}");
        thread::yield_now();
    }
}

fn stop_and_continue(driver: &str) {
    let options = ["--shards=1", "--buffers=64", "--driver", driver];
    let serving = ServerProcess::with(&[&options[..], &DEADLINES].concat());
    let mut cases: Vec<(&Case, Vec<WirePeer>)> = CASES
        .iter()
        .map(|case| {
            // The kernel takes little of the output that is not read.
            let connect = |_| WirePeer::connect_tiny(serving.address(), Ipv4Addr::LOCALHOST);
            let mut peers: Vec<WirePeer> = (0..PEERS).map(connect).collect();
            peers.iter_mut().for_each(case.before);
            (case, peers)
        })
        .collect();
    serving.signal(Signal::STOP);
    wait_until_stopped(serving.pid());
    for (case, peers) in &mut cases {
        peers.iter_mut().for_each(case.during);
    }
    // All deadlines pass: this is no wait for an event.
    thread::sleep(DEADLINE + Duration::from_secs(1));
    serving.signal(Signal::CONT);
    for (case, peers) in &mut cases {
        println!("{driver}: {}", case.name);
        peers.iter_mut().for_each(case.after);
    }
    serving.signal(Signal::TERM);
    drop(cases);
    let log = serving.wait().1;
    assert!(!log.contains("dropped") && !log.contains("closed:"), "a peer was closed: {log}");
}

#[test]
fn a_stopped_process_closes_no_peer_for_the_time_of_the_stop() {
    thread::scope(|scope| {
        for driver in ["uring", "epoll"] {
            scope.spawn(move || stop_and_continue(driver));
        }
    });
}
