//! SIGINT and SIGTERM.

use ringway_tests::{End, Frame, Received, ServerProcess, WirePeer};
use rustix::process::Signal;
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

#[test]
fn a_signal_closes_with_1001_and_exits_with_0() {
    for signal in [Signal::TERM, Signal::INT] {
        let serving = ServerProcess::with(&["--shards", "2"]);
        let mut peers: Vec<WirePeer> = (0..10).map(|_| WirePeer::open(serving.address())).collect();
        serving.signal(signal);
        for peer in &mut peers {
            assert_eq!(peer.close_code(), Some(1001));
            peer.send(&Frame::close(1001, ""));
            assert_eq!(peer.end(), End::Finished);
        }
        let (status, stderr) = serving.wait();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{signal:?}");
    }
}

#[test]
fn a_signal_without_connections_ends_it() {
    let serving = ServerProcess::with(&[]);
    serving.signal(Signal::TERM);
    assert_eq!(serving.wait().0.code(), Some(0));
}

#[test]
fn stopping_waits_for_silent_peers_no_longer_than_the_stop_timeout() {
    let serving = ServerProcess::with(&["--shards=1", "--close-timeout=1h", "--stop-timeout=300ms"]);
    let mut peer = WirePeer::open(serving.address());
    serving.signal(Signal::TERM);
    assert_eq!(peer.close_code(), Some(1001));
    let (status, stderr) = serving.wait();
    assert_eq!(status.code(), Some(0));
    assert!(stderr.contains("are dropped") && stderr.lines().count() == 1, "{stderr}");
    peer.end();
}

#[test]
fn a_second_signal_ends_it_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let serving = ServerProcess::with(&["--shards=1", "--close-timeout=1h", "--stop-timeout=1h"]);
        let mut peer = WirePeer::open(serving.address());
        serving.signal(signal);
        assert_eq!(peer.close_code(), Some(1001), "the first signal was handled");
        serving.signal(signal);
        let (status, _) = serving.wait();
        let number = signal.as_raw();
        assert!(status.signal() == Some(number) || status.code() == Some(128 + number), "{status}");
    }
}

#[test]
fn a_stopped_process_cuts_off_no_peer_whose_bytes_wait_for_it() {
    let serving = ServerProcess::with(&["--shards=1", "--idle-timeout=1500ms"]);
    let mut peers: Vec<WirePeer> = (0..120).map(|_| WirePeer::open(serving.address())).collect();
    serving.signal(Signal::STOP);
    for peer in &mut peers {
        peer.send(&Frame::text("written while it was stopped"));
    }
    // Time has to pass while the process is stopped: twice the idle timeout.
    std::thread::sleep(Duration::from_secs(3));
    serving.signal(Signal::CONT);
    for peer in &mut peers {
        let echo = std::iter::repeat_with(|| peer.frame()).find(|frame| !frame.is_ping());
        assert_eq!(echo, Some(Received::text("written while it was stopped")));
    }
}
