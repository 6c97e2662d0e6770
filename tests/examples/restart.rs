//! `restart`

use crate::process::Process;
use ringway_tests::{End, Frame, TestDirectory, WirePeer};
use std::net::SocketAddr;

/// Connects, and reads which process it is connected to.
fn connect(address: SocketAddr) -> (WirePeer, String) {
    let mut peer = WirePeer::open(address);
    let process = String::from_utf8(peer.frame().payload).expect("UTF-8");
    assert!(process.starts_with("process "), "{process}");
    (peer, process)
}

#[test]
fn a_new_process_takes_over_and_the_old_one_closes_with_1012() {
    let folder = TestDirectory::new("restart");
    let path = folder.path().join("handover.sock");
    let path = path.to_str().expect("UTF-8");
    let old = Process::start("restart", &["127.0.0.1:0", path]);
    let address = old.address();
    let (mut before, first) = connect(address);
    before.expect_echo("served by the old process");
    // The address of the second one is that of the sockets which it takes over.
    let new = Process::start("restart", &["127.0.0.1:0", path]);
    assert_eq!(new.line(), "took over from the former process");
    assert_eq!(new.address(), address);
    assert_eq!(before.close_code(), Some(1012));
    before.send(&Frame::close(1012, ""));
    assert_eq!(before.end(), End::Finished);
    let (status, notices) = old.wait();
    assert!(status.success() && notices.is_empty(), "{status} {notices:?}");
    let (mut after, second) = connect(address);
    assert_ne!(first, second);
    after.expect_echo("served by the new process");
}

#[test]
fn a_stopped_process_leaves_its_path_to_the_next() {
    let folder = TestDirectory::new("restart-stopped");
    let path = folder.path().join("handover.sock");
    let path = path.to_str().expect("UTF-8");
    for _ in 0..2 {
        let process = Process::start("restart", &["127.0.0.1:0", path]);
        connect(process.address()).0.expect_echo("served");
        process.signal_to_stop();
        assert!(process.wait().0.success());
    }
}
