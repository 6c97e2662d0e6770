//! Peers that exceed the limits: their queues stay bounded.

use crate::{HAS_BUFFER_RING, config};
use ringway::{Connection, Handler, Limits, Message, Request, Upgrade};
use ringway_tests::{Echo, Frame, Received, TestServer, WATCHDOG, WirePeer};
use std::time::Instant;

/// A handler that echoes, and records the maximum of bytes queued for a connection.
#[derive(Default)]
struct Watching {
    peak: usize,
}

impl Handler for Watching {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
        self.peak = self.peak.max(conn.buffered_amount());
    }

    fn ping(&mut self, conn: &mut Connection<'_, Self>, _: &[u8]) {
        self.peak = self.peak.max(conn.buffered_amount());
    }
}

const MAX_BUFFERED: usize = 256 * 1024;
/// More than the kernel's buffers of both sides and directions hold.
const MAX_ACCEPTED: usize = 64 << 20;

fn server() -> TestServer<Watching> {
    let limits = Limits::default().max_buffered(MAX_BUFFERED).expect("in range");
    TestServer::start(config(), limits, |_| Watching::default())
}

/// Writes the frames that `make` returns, and reads nothing, until the server's queue for the peer
/// is full and it stops reading. Returns the number of frames begun, and the rest of the last one.
fn flood(server: &TestServer<Watching>, peer: &mut WirePeer, make: impl Fn(u32) -> Frame) -> (u32, Vec<u8>) {
    let deadline = Instant::now() + WATCHDOG;
    let (mut begun, mut written) = (0, 0);
    loop {
        let mut rest: Vec<u8> = Vec::new();
        while rest.len() < 64 * 1024 {
            rest.extend(make(begun).bytes());
            begun += 1;
        }
        while !rest.is_empty() {
            let count = peer.write_some(&rest);
            // A server that reads nothing for a while may only be slow.
            if count == 0 && server.on_shard(|watching, _| watching.peak >= MAX_BUFFERED) {
                return (begun, rest);
            }
            assert!(count > 0 || Instant::now() < deadline, "the server reads nothing although its queue has room");
            rest.drain(..count);
            written += count;
            assert!(written < MAX_ACCEPTED, "the server accepted {written} bytes from a peer that does not read");
        }
    }
}

/// The limit and the reply that exceeded it: the next message waits.
const BOUND: usize = MAX_BUFFERED + 32 * 1024;

/// The limit and the pongs to the input of one turn: all receive buffers of [`config`].
const PONG_BOUND: usize = MAX_BUFFERED + 64 * 32 * 1024;

#[test]
fn the_queue_of_a_slow_reader_is_bounded_and_no_message_is_lost() {
    let server = server();
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    let number = |n: u32| [&n.to_be_bytes()[..], &[n as u8; 16 * 1024]].concat();
    let (begun, rest) = flood(&server, &mut peer, |n| Frame::binary(number(n)));
    // Then the peer reads, while the rest and further frames are written.
    let mut writer = peer.writer();
    let writing = std::thread::spawn(move || {
        writer.write(rest);
        for n in begun..begun + 100 {
            writer.send(&Frame::binary(number(n)));
        }
    });
    for n in 0..begun + 100 {
        assert_eq!(peer.frame(), Received::binary(number(n)), "message {n}");
    }
    writing.join().expect("all was written");
    let peak = server.on_shard(|watching, _| watching.peak);
    assert!(peak <= BOUND, "{peak} bytes waited for the peer; the limit is {MAX_BUFFERED}");
}

#[test]
fn small_messages_that_are_not_read_back_are_bounded_too() {
    let server = server();
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    let (_, rest) = flood(&server, &mut peer, |n| Frame::text(format!("{n:0100}")));
    drop((peer, rest));
    server.wait_until_empty();
    let peak = server.on_shard(|watching, _| watching.peak);
    assert!(peak <= BOUND, "{peak} bytes waited for the peer; the limit is {MAX_BUFFERED}");
}

#[test]
fn pongs_that_are_not_read_are_bounded() {
    let server = server();
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    let (_, rest) = flood(&server, &mut peer, |_| Frame::ping([7; 125]));
    drop((peer, rest));
    server.wait_until_empty();
    let peak = server.on_shard(|watching, _| watching.peak);
    assert!(peak <= PONG_BOUND, "{peak} bytes waited for the peer; the limit is {MAX_BUFFERED}");
}

#[test]
fn a_slow_reader_does_not_delay_others() {
    let server = server();
    let mut slow = WirePeer::connect_narrow(server.address());
    slow.upgrade();
    let mut quick = WirePeer::open(server.address());
    let (_, rest) = flood(&server, &mut slow, |n| Frame::binary(n.to_be_bytes().repeat(4096)));
    for n in 0..200 {
        quick.expect_echo(&format!("message {n}"));
    }
    drop((slow, rest));
}

#[test]
fn connections_over_the_limit_wait_until_a_slot_frees() {
    let limits = Limits::default().max_connections(2).expect("in range");
    let server = TestServer::start(config(), limits, |_| Echo);
    let mut first = WirePeer::open(server.address());
    let mut second = WirePeer::open(server.address());
    let mut third = WirePeer::connect(server.address());
    third.write(ringway_tests::RawRequest::websocket().bytes());
    for _ in 0..100 {
        first.expect_echo("served");
        second.expect_echo("served as well");
    }
    assert_eq!(server.connection_count(), 2);
    first.reset();
    third.expect_upgrade();
    third.expect_echo("its turn");
    second.expect_echo("still there");
    drop((second, third));
    server.wait_until_empty();
    WirePeer::open(server.address()).expect_echo("and on");
}

#[test]
fn an_empty_buffer_ring_loses_no_bytes() {
    let buffers = ringway::BufferConfig::new().size(1024).and_then(|buffers| buffers.count(4)?.ready(1));
    let config = config().buffers(buffers.expect("the numbers are in range"));
    let server = TestServer::start(config, Limits::default(), |_| Echo);
    let mut peers: Vec<WirePeer> = (0..30).map(|_| WirePeer::open(server.address())).collect();
    for round in 0..20u8 {
        for (n, peer) in peers.iter_mut().enumerate() {
            peer.send(&Frame::binary([n as u8, round].repeat(1000)));
        }
        for (n, peer) in peers.iter_mut().enumerate() {
            assert_eq!(peer.frame(), Received::binary([n as u8, round].repeat(1000)));
        }
    }
    drop(peers);
    server.wait_until_empty();
    // Without a ring, a receive takes a buffer only when bytes have arrived.
    assert!(server.stop().stats.starved > 0 || !HAS_BUFFER_RING, "the ring must have been empty at least once");
}
