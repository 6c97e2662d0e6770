//! Drivers whose receive buffers or completion queue are used up by bursts: no byte is lost.

use crate::{HAS_BUFFER_RING, config};
use ringway::{BufferConfig, Config, Handler, Limits, Stats};
use ringway_tests::{Counting, Frame, RawRequest, Received, TestServer, WATCHDOG, WirePeer};
use std::sync::mpsc;
use std::thread;

/// The peers that act at once.
const PEERS: usize = 400;

/// Holds the shard while `work` runs, so that all that peers do in it arrives at once.
fn while_held<H: Handler, R>(server: &TestServer<H>, work: impl FnOnce() -> R) -> R {
    let (release, released) = mpsc::channel::<()>();
    let (held, is_held) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            server.on_shard(move |_, _| {
                held.send(()).expect("the test waits for it");
                let _ = released.recv_timeout(WATCHDOG);
            });
        });
        is_held.recv_timeout(WATCHDOG).expect("the shard runs");
        let result = work();
        drop(release);
        result
    })
}

/// Peers of a server with this configuration connect, send, and close, all at once, and receive
/// what they have sent.
fn burst(config: Config) -> Stats {
    let server = TestServer::start(config, Limits::default(), |_| Counting::default());
    let mut peers: Vec<WirePeer> = while_held(&server, || {
        let connect = |_| {
            let mut peer = WirePeer::connect(server.address());
            peer.write(RawRequest::websocket().bytes());
            peer
        };
        (0..PEERS).map(connect).collect()
    });
    peers.iter_mut().for_each(|peer| drop(peer.expect_upgrade()));
    const ROUNDS: usize = 5;
    for round in 0..ROUNDS {
        let payload = |peer: usize, number: usize| [round, peer % 251, number].map(|n| n as u8).repeat(700);
        while_held(&server, || {
            for (at, peer) in peers.iter_mut().enumerate() {
                (0..3).for_each(|number| peer.send(&Frame::binary(payload(at, number))));
            }
        });
        for (at, peer) in peers.iter_mut().enumerate() {
            for number in 0..3 {
                assert!(peer.frame() == Received::binary(payload(at, number)), "round {round}, peer {at}, {number}");
            }
        }
    }
    assert_eq!(server.on_shard(|counting, _| counting.0), (PEERS * ROUNDS * 3) as u64, "each message came once");
    while_held(&server, || peers.iter_mut().for_each(|peer| peer.send(&Frame::close(1000, ""))));
    for peer in &mut peers {
        assert_eq!(peer.close_code(), Some(1000));
    }
    drop(peers);
    server.wait_until_empty();
    server.stop().stats
}

#[test]
fn bursts_beyond_the_completion_queue_lose_nothing() {
    let stats = burst(config().ring_entries(8).expect("in range"));
    println!("{} overflows, {} receives without a buffer", stats.overflows, stats.starved);
    // The queue has 32 entries. Epoll has none.
    assert_eq!(stats.overflows > 0, HAS_BUFFER_RING, "{stats:?}");
}

#[test]
fn bursts_beyond_the_receive_buffers_lose_nothing() {
    let buffers = BufferConfig::new().size(1024).and_then(|buffers| buffers.count(4)?.ready(1));
    let stats = burst(config().buffers(buffers.expect("in range")));
    println!("{} overflows, {} receives without a buffer", stats.overflows, stats.starved);
    // Without a ring, a receive takes a buffer only when bytes have arrived.
    assert!(stats.starved > 0 || !HAS_BUFFER_RING, "{stats:?}");
}
