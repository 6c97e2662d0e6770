//! TCP connections that end, stall or deliver single bytes at various points.

use crate::config;
use crate::ending_log::EndingLog;
use ringway::Limits;
use ringway_tests::{End, Frame, LengthField, RawRequest, Received, TestServer, WirePeer};

fn server() -> TestServer<EndingLog> {
    TestServer::start(config(), Limits::default(), |_| EndingLog::default())
}

/// Waits until every slot is free, and checks that the handler was called for exactly one ending.
fn expect_ending(server: &TestServer<EndingLog>, expected: &str) {
    server.wait_until_empty();
    assert_eq!(server.on_shard(|log, _| log.endings.clone()), [expected]);
}

#[test]
fn a_frame_may_come_one_byte_at_a_time() {
    let server = server();
    let mut peer = WirePeer::open(server.address());
    for payload in [&b"x"[..], &[b'y'; 126], &[b'z'; 300]] {
        peer.write_byte_by_byte(Frame::binary(payload).bytes());
        assert_eq!(peer.frame(), Received::binary(payload));
    }
    peer.write_byte_by_byte(Frame::ping("p").bytes());
    assert_eq!(peer.frame(), Received::pong("p"));
}

#[test]
fn a_text_whose_characters_are_cut_by_fragments_and_segments_is_valid() {
    let server = server();
    let mut peer = WirePeer::open(server.address());
    let text = "κόσμε𝄞".as_bytes();
    let last = text.len() - 1;
    for (at, byte) in text.iter().enumerate() {
        let frame = if at == 0 { Frame::text([*byte]) } else { Frame::continuation([*byte]) };
        peer.write_byte_by_byte(if at == last { frame } else { frame.more() }.bytes());
    }
    assert_eq!(peer.frame(), Received::text("κόσμε𝄞"));
}

#[test]
fn a_request_that_is_followed_by_fin_is_answered() {
    let server = server();
    let mut peer = WirePeer::connect(server.address());
    peer.write(RawRequest::websocket().bytes());
    peer.finish();
    peer.expect_upgrade();
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "1006 vanished");
}

#[test]
fn a_message_that_is_followed_by_fin_gets_its_echo() {
    let server = server();
    let mut peer = WirePeer::open(server.address());
    let large = vec![5; 3_000_000];
    let mut writer = peer.writer();
    let frame = Frame::binary(&large).bytes();
    let writing = std::thread::spawn(move || {
        writer.write(frame);
        writer.send(&Frame::text("last"));
        writer.finish();
    });
    assert_eq!(peer.frame(), Received::binary(&large));
    assert_eq!(peer.frame(), Received::text("last"));
    assert_eq!(peer.end(), End::Finished);
    writing.join().expect("all was written");
    expect_ending(&server, "1006 vanished");
}

#[test]
fn fin_in_the_middle_of_a_frame_ends_the_connection() {
    for cut in [1, 3, 7, 20] {
        let server = server();
        let mut peer = WirePeer::open(server.address());
        peer.write(&Frame::text([b'a'; 200]).bytes()[..cut]);
        peer.finish();
        assert_eq!(peer.end(), End::Finished);
        expect_ending(&server, "1006 vanished");
    }
}

#[test]
fn fin_between_fragments_ends_the_connection() {
    let server = server();
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("a").more());
    peer.finish();
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "1006 vanished");
}

#[test]
fn a_reset_in_the_middle_of_a_frame_ends_the_connection() {
    let server = server();
    let mut peer = WirePeer::open(server.address());
    peer.expect_echo("so far so good");
    peer.write(&Frame::binary([1; 5000]).bytes()[..2000]);
    peer.reset();
    expect_ending(&server, "1006 reset");
}

#[test]
fn a_reset_while_a_reply_is_in_flight_ends_the_connection() {
    let server = server();
    let mut peer = WirePeer::open(server.address());
    let mut writer = peer.writer();
    // A part of the echo arrives, and far more is in flight than the kernel's buffers hold.
    let writing = std::thread::spawn(move || {
        let frame = Frame::binary(vec![1; 4_000_000]).bytes();
        (0..4).take_while(|_| writer.try_write(&frame).is_ok()).count()
    });
    assert_eq!(peer.frame(), Received::binary(vec![1; 4_000_000]));
    peer.reset_on_drop();
    drop(peer);
    writing.join().expect("no assertion in it");
    expect_ending(&server, "1006 reset");
}

#[test]
fn connections_that_end_in_the_handshake_free_their_slots() {
    let server = server();
    let request = RawRequest::websocket().bytes();
    for cut in [0, 1, 40, request.len() - 1] {
        let mut peer = WirePeer::connect(server.address());
        peer.write(&request[..cut]);
        peer.finish();
        assert_eq!(peer.end(), End::Finished);
        let mut peer = WirePeer::connect(server.address());
        peer.write(&request[..cut]);
        peer.reset();
    }
    server.wait_until_empty();
    assert!(
        server.on_shard(|log, _| log.endings.is_empty()),
        "`closed` is not called for a connection that never opened"
    );
}

#[test]
fn a_silent_connection_does_not_affect_others() {
    let server = server();
    let silent: Vec<WirePeer> = (0..20).map(|_| WirePeer::connect(server.address())).collect();
    WirePeer::open(server.address()).expect_echo("served");
    server.wait_until("all are accepted", |_, shard| shard.connection_count() >= 20);
    drop(silent);
    server.wait_until_empty();
}

#[test]
fn a_length_allocates_no_memory_before_its_payload_arrives() {
    let limits = Limits::default().max_message(1 << 30).expect("in range");
    let server = TestServer::start(config(), limits, |_| EndingLog::default());
    let mut peer = WirePeer::open(server.address());
    peer.write(Frame::binary([0; 10]).announcing(LengthField::Long(1 << 30)).bytes());
    peer.finish();
    assert_eq!(peer.end(), End::Finished);
    expect_ending(&server, "1006 vanished");
}
