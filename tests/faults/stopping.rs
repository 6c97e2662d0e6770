//! Stopping: all connections receive a close frame, within a limited time.

use crate::{config, echo_server};
use ringway::{Limits, Shard};
use ringway_tests::{Echo, End, Frame, RawRequest, Received, TestServer, WirePeer};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;

#[test]
fn stopping_closes_all_connections_with_1001() {
    let server = echo_server();
    let mut peers: Vec<WirePeer> = (0..50).map(|_| WirePeer::open(server.address())).collect();
    server.begin_stop();
    for peer in &mut peers {
        assert_eq!(peer.close_code(), Some(1001));
        peer.send(&Frame::close(1001, ""));
        assert_eq!(peer.end(), End::Finished);
    }
    let report = server.wait();
    assert_eq!(report.stats.accepted, 50);
}

#[test]
fn output_before_the_stop_arrives_before_the_close() {
    let server = echo_server();
    let mut peer = WirePeer::open(server.address());
    let large = vec![1; 1_000_000];
    peer.send(&Frame::binary(&large));
    server.wait_until("the reply is on its way", |_, shard| shard.connection_count() == 1);
    server.begin_stop();
    // The echo may be complete or missing, but not truncated.
    let mut frame = peer.frame();
    if frame == Received::binary(&large) {
        frame = peer.frame();
    }
    assert_eq!(frame.close_code(), Some(1001));
    peer.send(&Frame::close(1001, ""));
    assert_eq!(peer.end(), End::Finished);
    server.wait();
}

#[test]
fn stopping_does_not_wait_for_silent_peers() {
    let hour = Duration::from_secs(3600);
    let patient = config()
        .handshake_timeout(hour)
        .expect("in range")
        .idle_timeout(None)
        .expect("in range")
        .close_timeout(hour)
        .expect("in range")
        .close_limit(hour)
        .expect("in range")
        .stop_timeout(Duration::from_millis(300))
        .expect("in range");
    let server = TestServer::start(patient, Limits::default(), |_| Echo);
    let mut open = WirePeer::open(server.address());
    let mut opening = WirePeer::connect(server.address());
    opening.write("GET / HTTP/1.1\r\n");
    let mut violating = WirePeer::open(server.address());
    violating.send(&Frame::new(3, ""));
    assert_eq!(violating.close_code(), Some(1002));
    server.wait_until("all are accepted", |_, shard| shard.connection_count() == 3);
    server.stop();
    assert_eq!(open.close_code(), Some(1001));
    open.end();
    assert_eq!(opening.response().status, 503);
    opening.end();
    violating.end();
}

#[test]
fn stopping_without_connections_is_immediate() {
    let hour = Duration::from_secs(3600);
    let server = TestServer::start(config().stop_timeout(hour).expect("in range"), Limits::default(), |_| Echo);
    server.stop();
}

#[test]
fn a_stopped_server_does_not_listen() {
    let server = echo_server();
    let address = server.address();
    server.stop();
    let error = TcpStream::connect_timeout(&address, Duration::from_secs(5)).expect_err("nobody listens");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_second_stop_has_no_effect() {
    let server = echo_server();
    let mut peer = WirePeer::open(server.address());
    server.begin_stop();
    server.begin_stop();
    assert_eq!(peer.close_code(), Some(1001));
    peer.send(&Frame::close(1001, ""));
    assert_eq!(peer.end(), End::Finished);
    server.wait();
}

#[test]
fn connections_that_wait_in_the_queue_are_refused_with_503_and_none_is_reset() {
    let server = TestServer::start(config(), Limits::default(), |_| Echo);
    let (held, is_held) = mpsc::channel();
    let (release, released) = mpsc::channel::<()>();
    // While the shard is busy, connections wait in the queue, behind the stop.
    let busy = move |_: &mut Echo, shard: &mut Shard<'_, Echo>| {
        shard.stop();
        held.send(()).expect("the test waits");
        let _ = released.recv();
    };
    server.on_shard(|_, shard| shard.handle()).post(busy).expect("the mailbox is empty");
    is_held.recv().expect("the shard runs");
    let mut peers: Vec<WirePeer> = (0..200).map(|_| WirePeer::connect(server.address())).collect();
    for peer in &mut peers {
        peer.write(RawRequest::websocket().bytes());
    }
    drop(release);
    for peer in &mut peers {
        let response = peer.response();
        assert_eq!(response.status, 503, "{response:?}");
        assert_eq!(peer.end(), End::Finished);
    }
    drop(peers);
    let drain = server.wait().drain.expect("it drained");
    assert_eq!((drain.refused, drain.unopened, drain.aborted), (200, 0, 0));
}
