//! Silence: a ping at half of the idle timeout, the end at all of it.

use crate::ending_log::EndingLog;
use ringway::Limits;
use ringway_tests::{End, Frame, Received, TestServer, WirePeer, config};
use std::time::Duration;

fn start(timeout: Option<Duration>) -> TestServer<EndingLog> {
    TestServer::start(config().idle_timeout(timeout).expect("in range"), Limits::default(), |_| EndingLog::default())
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let server = start(Some(Duration::from_millis(400)));
    let mut peer = WirePeer::open(server.address());
    assert_eq!(peer.frame(), Received::ping(""));
    assert_eq!(peer.end(), End::Finished);
    server.wait_until_empty();
    assert_eq!(server.on_shard(|log, _| log.idle()), 1);
}

/// Whether a peer stays that does `answer` at each ping, and sends nothing else. On a machine that is busy it may be too
/// late with one, so it is given up only with the longest of these timeouts.
fn stays(answer: impl Fn(&mut WirePeer, usize), farewell: impl Fn(&mut WirePeer)) {
    for timeout in [2, 8, 32].map(Duration::from_secs) {
        let server = start(Some(timeout));
        let mut peer = WirePeer::open(server.address());
        // More pings than one timeout has room for.
        let pings = (0..4).take_while(|turn| {
            let is_ping = peer.try_frame() == Ok(Received::ping(""));
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
    panic!("it was given up, with whatever timeout");
}

#[test]
fn a_peer_that_answers_pings_stays() {
    stays(|peer, _| drop(peer.try_write(Frame::pong("").bytes())), |peer| peer.expect_echo("still here"));
}

#[test]
fn a_message_that_never_ends_does_not_count_as_silence_while_its_bytes_come() {
    let message = Frame::text("slowly").bytes();
    // Each of the first bytes comes after a ping, so after half a timeout of silence.
    let byte = |peer: &mut WirePeer, turn: usize| drop(peer.try_write([message[turn]]));
    stays(byte, |peer| {
        peer.write(&message[4..]);
        assert_eq!(peer.frame(), Received::text("slowly"));
    });
}

/// Its acknowledgements keep TCP alive, so only the server can find out that it reads no more.
#[test]
fn a_peer_that_stops_reading_is_given_up() {
    let limits = Limits::default().max_buffered(64 * 1024).expect("in range");
    let config = config().idle_timeout(Some(Duration::from_millis(500))).expect("in range");
    let server = TestServer::start(config, limits, |_| EndingLog::default());
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    // Messages until the kernel takes no more of them, or the server has given up: at most 64 MiB.
    let frame = Frame::binary([0; 16 * 1024]).bytes();
    let mut writer = peer.writer();
    let flood = std::thread::spawn(move || (0..4096).take_while(|_| writer.try_write(&frame).is_ok()).count());
    server.wait_until("it is given up", |log, _| log.idle() == 1);
    server.wait_until_empty();
    flood.join().expect("no assertion in it");
    drop(peer);
}
