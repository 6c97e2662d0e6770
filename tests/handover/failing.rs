//! Successors that fail: before they are ready, or too late.

use super::{DRIVERS, HandoverError, Ledger, OfferOptions, predecessor, start};
use ringway::handover::MAX_PART;
use ringway::{Server, StartError};
use ringway_tests::{Frame, TestDirectory, WirePeer};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// A server that waits a short time for its successor.
fn impatient(
    path: &Path,
    driver: ringway::DriverChoice,
    ledger: &Ledger,
) -> (super::Running<super::Recorder>, SocketAddr) {
    let old = start(Server::bind("127.0.0.1:0").expect("a free port"), driver, 2, ledger);
    let options = OfferOptions::new().confirm_timeout(Duration::from_millis(50)).expect("in range");
    old.offer_with(path, options).expect("the path is free");
    let address = old.addresses()[0].tcp().expect("TCP");
    (old, address)
}

#[test]
fn a_successor_that_hangs_is_given_up_and_the_next_one_takes_over() {
    for driver in DRIVERS {
        let folder = TestDirectory::new(&format!("hangs-{driver:?}"));
        let path = folder.file("h.sock");
        let ledger = Ledger::default();
        let (old, address) = impatient(&path, driver, &ledger);
        let mut peer = WirePeer::open(address);
        let first = predecessor(&path);
        // The next one is answered when the time of the first is over.
        let second = predecessor(&path);
        peer.expect_echo("still served");
        WirePeer::open(address).expect_echo("and new ones too");
        let error = first.release().expect_err("it is too late");
        assert!(matches!(error, HandoverError::Late), "{error}");
        drop(second);
        // On a busy machine the start may take longer than the server waits; it tries again then.
        let new = loop {
            let mut next = predecessor(&path);
            let new = start(Server::from_predecessor(&mut next, None).expect("it listens"), driver, 1, &ledger);
            match next.release() {
                Ok(()) => break new,
                Err(HandoverError::Late) => {
                    new.stop();
                    new.wait().expect("it ends without an error");
                }
                Err(error) => panic!("{error}"),
            }
        };
        assert_eq!(peer.close_code(), Some(1012));
        peer.send(&Frame::close(1012, ""));
        old.wait().expect("it ends without an error");
        WirePeer::open(address).expect_echo("by the successor");
        new.stop();
        new.wait().expect("it ends without an error");
    }
}

#[test]
fn a_successor_that_fails_while_it_serves_leaves_the_server_serving() {
    for (old_driver, new_driver) in DRIVERS.into_iter().flat_map(|old| DRIVERS.map(|new| (old, new))) {
        let folder = TestDirectory::new(&format!("fails-{old_driver:?}-{new_driver:?}"));
        let path = folder.file("h.sock");
        let ledger = Ledger::default();
        let old = start(Server::bind("127.0.0.1:0").expect("a free port"), old_driver, 2, &ledger);
        old.offer(&path).expect("the path is free");
        let address = old.addresses()[0].tcp().expect("TCP");
        for round in 0..3 {
            let mut former = predecessor(&path);
            let failing =
                start(Server::from_predecessor(&mut former, None).expect("it listens"), new_driver, 1, &ledger);
            // It ends without a confirmation, and so do the connections that it has accepted.
            failing.stop();
            failing.wait().expect("it ends without an error");
            drop(former);
            for _ in 0..20 {
                WirePeer::open(address).expect_echo(&format!("round {round}"));
            }
        }
        old.stop();
        old.wait().expect("it ends without an error");
    }
}

#[test]
fn a_predecessor_that_dies_meanwhile_is_reported() {
    let folder = TestDirectory::new("dies");
    let path = folder.file("h.sock");
    // It passes no sockets, says so, and is gone.
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("the path is free");
    let old = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().expect("a successor");
        let mut hello = [0; 16];
        stream.read_exact(&mut hello).expect("a greeting");
        let sockets = [&b"RINGWAY\0"[..], &[2, 0, 2, 0, 0, 0, 0, 0]].concat();
        stream.write_all(&sockets).expect("it reads");
    });
    let mut former = predecessor(&path);
    old.join().expect("no panic");
    assert!(former.addresses().is_empty() && !former.has_tls() && !former.is_activated());
    let server = Server::taking_over(&mut former).and_then(|server| server.and_bind("127.0.0.1:0"));
    assert!(!matches!(server, Err(StartError::Inherit(_))));
    let error = former.release().expect_err("it is gone");
    assert!(matches!(error, HandoverError::Io(_)), "{error}");
}

#[test]
fn options_out_of_range_are_refused_with_the_range() {
    let ledger = Ledger::default();
    let other = start(Server::bind("127.0.0.1:0").expect("a free port"), ringway::DriverChoice::Auto, 1, &ledger);
    let error = |result: Result<OfferOptions, ringway::ConfigError>| result.expect_err("out of range").to_string();
    let part = |number| OfferOptions::new().part(number, other.handover_part());
    assert_eq!(error(part(0)), "handover.part is 0: give 1 to 62");
    assert_eq!(error(part(MAX_PART + 1)), "handover.part is 63: give 1 to 62");
    let twice = part(MAX_PART).and_then(|options| options.part(MAX_PART, other.handover_part()));
    assert_eq!(error(twice), "handover.part is 62: give a number that no other part has");
    let zero = OfferOptions::new().confirm_timeout(Duration::ZERO);
    assert_eq!(error(zero), "handover.confirm_timeout is 0ns: give 1 ms to 365 days");
    other.stop();
    other.wait().expect("it ends without an error");
}
