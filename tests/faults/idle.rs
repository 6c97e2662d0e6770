//! After half of the idle timeout without traffic, the server sends a ping; after all of it, it
//! closes the connection.

use crate::config;
use crate::ending_log::EndingLog;
use ringway::Limits;
use ringway_tests::{End, Frame, Received, TestServer, WirePeer};
use std::time::Duration;

fn start(timeout: Option<Duration>) -> TestServer<EndingLog> {
    TestServer::start(config().idle_timeout(timeout).expect("in range"), Limits::default(), |_| EndingLog::default())
}

#[test]
fn a_silent_peer_is_pinged_and_then_closed() {
    let server = start(Some(Duration::from_millis(400)));
    let mut peer = WirePeer::open(server.address());
    assert!(peer.frame().is_ping());
    assert_eq!(peer.end(), End::Finished);
    server.wait_until_empty();
    assert_eq!(server.on_shard(|log, _| log.idle()), 1);
}

/// Checks that a peer stays connected that calls `answer` at each ping and sends nothing else. On a
/// busy machine it may answer too late, so the test fails only with the longest of these timeouts.
fn stays(answer: impl Fn(&mut WirePeer, usize), farewell: impl Fn(&mut WirePeer)) {
    for timeout in [2, 8, 32].map(Duration::from_secs) {
        let server = start(Some(timeout));
        let mut peer = WirePeer::open(server.address());
        // More pings than fit into one timeout.
        let pings = (0..4).take_while(|turn| {
            let is_ping = peer.try_frame().is_ok_and(|frame| frame.is_ping());
            if is_ping {
                answer(&mut peer, *turn);
            }
            is_ping
        });
        if pings.count() == 4 {
            farewell(&mut peer);
            return assert_eq!(server.on_shard(|log, _| log.idle()), 0);
        }
    }
    panic!("it was closed with each of the timeouts");
}

#[test]
fn a_peer_that_answers_pings_stays() {
    stays(|peer, _| drop(peer.try_write(Frame::pong("").bytes())), |peer| peer.expect_echo("still here"));
}

#[test]
fn received_bytes_of_an_incomplete_message_count_as_traffic() {
    let message = Frame::text("slowly").bytes();
    // Each of the first bytes is sent after a ping, so after half of the timeout without traffic.
    let byte = |peer: &mut WirePeer, turn: usize| drop(peer.try_write([message[turn]]));
    stays(byte, |peer| {
        peer.write(&message[4..]);
        assert_eq!(peer.frame(), Received::text("slowly"));
    });
}

/// The peer's kernel still acknowledges, so TCP does not detect that it has stopped reading.
#[test]
fn a_peer_that_stops_reading_is_closed() {
    let limits = Limits::default().max_buffered(64 * 1024).expect("in range");
    let config = config().write_timeout(Duration::from_millis(500)).expect("in range");
    let server = TestServer::start(config, limits, |_| EndingLog::default());
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    // Messages until the kernel accepts no more, or the server closes the connection: at most 64
    // MiB.
    let frame = Frame::binary([0; 16 * 1024]).bytes();
    let mut writer = peer.writer();
    let flood = std::thread::spawn(move || (0..4096).take_while(|_| writer.try_write(&frame).is_ok()).count());
    server.wait_until("it is closed", |_, shard| shard.counters().write_timeouts == 1);
    server.wait_until_empty();
    flood.join().expect("no assertion in it");
    drop(peer);
}
