//! `echo`

use crate::process::Process;
use ringway_tests::{End, Frame, Received, WirePeer};

#[test]
fn messages_come_back() {
    let server = Process::start("echo", &["127.0.0.1:0"]);
    let mut peer = WirePeer::open(server.address());
    peer.expect_echo("hello");
    peer.send(&Frame::binary([7; 100_000]));
    assert_eq!(peer.frame(), Received::binary([7; 100_000]));
    for frame in [Frame::text("in ").more(), Frame::continuation("two "), Frame::ping("x")] {
        peer.send(&frame);
    }
    assert_eq!([peer.frame(), peer.frame()], [Received::text("in two "), Received::pong("x")]);
}

#[test]
fn one_that_breaks_the_protocol_harms_no_other() {
    let server = Process::start("echo", &["127.0.0.1:0"]);
    let address = server.address();
    let mut good = WirePeer::open(address);
    let mut bad = WirePeer::open(address);
    bad.send(&Frame::text("a").unmasked());
    assert_eq!(bad.close_code(), Some(1002));
    assert_eq!(bad.end(), End::Finished);
    good.expect_echo("still here");
}

#[test]
fn a_signal_closes_connections_in_order() {
    let server = Process::start("echo", &["127.0.0.1:0"]);
    let mut peer = WirePeer::open(server.address());
    peer.expect_echo("hello");
    server.signal_to_stop();
    assert_eq!(peer.close_code(), Some(1001));
    peer.send(&Frame::close(1001, ""));
    assert_eq!(peer.end(), End::Finished);
    let (status, notices) = server.wait();
    assert!(status.success() && notices.is_empty(), "{status} {notices:?}");
}

#[test]
fn errors_are_one_line() {
    for (arguments, what) in [
        (&[][..], "echo: give one argument, the address to listen on"),
        (&["127.0.0.1:0", "x"], "echo: give one argument, the address to listen on"),
        (&["127.0.0.1"], "echo: cannot listen on \"127.0.0.1\""),
        (&["240.0.0.1:0"], "echo: cannot listen on 240.0.0.1:0: this machine has no such address"),
    ] {
        let (status, notices) = Process::start("echo", arguments).wait();
        assert_eq!(status.code(), Some(1), "{arguments:?}");
        assert!(matches!(&notices[..], [notice] if notice.starts_with(what)), "{notices:?}");
    }
}
