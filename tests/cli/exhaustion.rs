//! Servers whose descriptors or handshakes are used up by their peers.

use ringway_tests::{RawRequest, ServerProcess, WirePeer, ringway_after};
use rustix::process::Signal;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// More than 64 descriptors allow.
const PEERS: usize = 100;

/// Of these, the server can accept with 64 descriptors, of which it needs some itself.
const ACCEPTED: usize = 40;

#[test]
fn a_server_without_free_descriptors_serves_its_connections_and_accepts_again() {
    for driver in ["uring", "epoll"] {
        let arguments = ["serve", "--listen=127.0.0.1:0", "--shards=1", "--buffers=64", "--driver", driver];
        let serving = ServerProcess::start(ringway_after("ulimit -n 64", &arguments));
        let mut peers: Vec<WirePeer> = (0..PEERS).map(|_| WirePeer::connect(serving.address())).collect();
        for peer in &mut peers {
            // The kernel accepts it for the server.
            peer.write(RawRequest::websocket().bytes());
        }
        let mut waiting = peers.split_off(ACCEPTED);
        for peer in &mut peers {
            peer.expect_upgrade();
            peer.expect_echo("served at the limit");
        }
        drop(peers);
        // Each one that ends makes room for one that waits.
        while let Some(mut peer) = waiting.pop() {
            if waiting.len() < ACCEPTED {
                peer.expect_upgrade();
                peer.expect_echo("served after the wait");
            }
        }
        let mut late = WirePeer::open(serving.address());
        late.expect_echo("accepting has resumed");
        serving.signal(Signal::TERM);
        let log = serving.wait().1;
        let episodes = log.lines().filter(|line| line.contains("accepting pauses")).count();
        assert_eq!(episodes, 1, "one line for the episode ({driver}): {log}");
    }
}

/// Peers that begin a request and never end it. Each takes a descriptor of this process and one of
/// the server's.
const SLOW: usize = 10_000;

/// Handshakes beside them.
const HANDSHAKES: usize = 500;

/// A part of a request, of a length that differs from peer to peer.
fn part(number: usize, request: &[u8]) -> usize {
    1 + number % (request.len() - 1)
}

#[test]
fn handshakes_beside_thousands_of_unfinished_ones_succeed() {
    ringway::raise_descriptor_limit().expect("the limit can be raised to the hard one");
    for driver in ["uring", "epoll"] {
        handshakes_succeed_on(driver);
    }
}

fn handshakes_succeed_on(driver: &str) {
    let serving = ServerProcess::with(&["--shards=1", "--handshake-timeout=5m", "--driver", driver]);
    let request = RawRequest::websocket().bytes();
    let mut slow: Vec<WirePeer> = (0..SLOW)
        .map(|number| {
            // From an address of their own, so that they leave the ports of the usual one to others.
            let mut peer = WirePeer::connect_from(serving.address(), Ipv4Addr::new(127, 0, 0, 2));
            peer.reset_on_drop();
            peer.write(&request[..part(number, &request)]);
            peer
        })
        .collect();
    let mut times: Vec<Duration> = (0..HANDSHAKES)
        .map(|_| {
            let start = Instant::now();
            WirePeer::open(serving.address()).expect_echo("beside them");
            start.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (median, p99) = (times[HANDSHAKES / 2], times[HANDSHAKES * 99 / 100]);
    println!(
        "{HANDSHAKES} handshakes with an echo beside {SLOW} unfinished ones ({driver}): p50 {median:?}, p99 {p99:?}"
    );
    // They were held meanwhile: each can end its request.
    for (number, peer) in slow.iter_mut().enumerate() {
        peer.write(&request[part(number, &request)..]);
    }
    slow.iter_mut().for_each(|peer| drop(peer.expect_upgrade()));
}
