//! Peers that each stay within their limits, on real sockets: what they may hold together, and who
//! is closed.

use crate::config;
use crate::ending_log::EndingLog;
use ringway::Limits;
use ringway_tests::{Frame, TestServer, WirePeer};
use std::io::{Read, Write};
use std::time::Duration;

const MIB: usize = 1 << 20;

#[test]
fn unfinished_messages_of_many_connections_stay_within_the_budget() {
    let limits = Limits::default().max_message(4 * MIB).and_then(|limits| limits.max_memory(Some(16 * MIB)));
    let server = TestServer::start(config(), limits.expect("in range"), |_| EndingLog::default());
    let mut small = WirePeer::open(server.address());
    small.send(&Frame::text("a").more());
    let large: Vec<WirePeer> = (0..10).map(|_| WirePeer::open(server.address())).collect();
    let bytes = Frame::binary(vec![7; 3 * MIB]).more().bytes();
    for peer in &large {
        let mut stream = peer.stream();
        stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a socket option");
        // A peer that is not read, or is closed, cannot write all of it.
        let _ = stream.write_all(&bytes);
        let held = server.on_shard(|_, shard| shard.memory_held());
        // The budget may be exceeded by the bytes of one turn, and by the growth of one buffer.
        assert!(held <= 21 * MIB, "{held} bytes are held");
    }
    server.wait_until("memory is short", |_, shard| {
        let counters = shard.counters();
        counters.memory_pauses + counters.memory_closes > 0
    });
    // The one that holds little is served.
    small.send(&Frame::continuation(b"b"));
    small.expect_echo("ab");
}

#[test]
fn a_slow_reader_of_a_large_message_gets_all_of_it_although_no_send_completes_in_the_write_timeout() {
    let config = config().write_timeout(Duration::from_millis(500)).expect("in range");
    let limits = Limits::default().max_message(16 * MIB).expect("in range");
    let server = TestServer::start(config, limits, |_| EndingLog::default());
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    let payload = vec![3; 8 * MIB];
    let mut writer = peer.writer();
    let writing = std::thread::spawn(move || writer.write(Frame::binary(payload).bytes()));
    let mut stream = peer.stream();
    let (mut read, mut buffer) = (0, vec![0; 256 << 10]);
    while read < 8 * MIB {
        // Many times the write timeout in all: the socket takes 16 KiB at a time.
        std::thread::sleep(Duration::from_millis(8));
        let len = stream.read(&mut buffer).expect("the connection is not closed");
        assert!(len > 0, "the connection ended after {read} bytes");
        read += len;
    }
    writing.join().expect("all of it is written");
    assert_eq!(server.on_shard(|_, shard| shard.counters()).write_timeouts, 0);
}

#[test]
fn a_peer_that_never_reads_is_given_up_although_it_answers_pings() {
    let config = config().write_timeout(Duration::from_millis(200)).expect("in range");
    let limits = Limits::default().max_buffered(64 * MIB).expect("in range");
    let server = TestServer::start(config, limits, |_| EndingLog::default());
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    // More than the sockets hold, and less than makes the server stop reading.
    let echoed = Frame::binary([1; 90_000]).bytes();
    // It may be closed before all of it is written.
    let _ = (0..150).try_for_each(|_| peer.try_write(&echoed));
    server.wait_until("the peer is closed", |_, shard| shard.counters().write_timeouts == 1);
    server.wait_until_empty();
    assert_eq!(server.on_shard(|handler, _| handler.endings.clone()), ["1006 write timeout"]);
}
