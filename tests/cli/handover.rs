//! `ringway serve --handover`: a new process takes over the listening sockets.

use ringway_tests::{End, Frame, RawRequest, ServerProcess, TestDirectory, WirePeer, ringway};
use rustix::process::Signal;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

fn serve(path: &Path, shards: &str) -> ServerProcess {
    let mut command = ringway(&["serve", "--listen", "127.0.0.1:0", "--shards", shards, "--handover"]);
    command.arg(path);
    ServerProcess::start(command)
}

/// What one client saw.
#[derive(Debug, Default)]
struct Tally {
    connects: u64,
    echoes: u64,
    handed_over: u64,
}

/// Connects at this rate until it is told to stop. Each connection is opened, has its message echoed,
/// and is closed.
fn storm(address: SocketAddr, rate: u32, stop: &AtomicBool) -> Tally {
    let (start, mut tally) = (Instant::now(), Tally::default());
    while !stop.load(Ordering::Acquire) {
        let due = start + Duration::from_secs(1) * tally.connects as u32 / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A refused or reset connection is a panic in each of these calls.
        let mut peer = WirePeer::connect(address);
        peer.write(RawRequest::websocket().bytes());
        peer.expect_upgrade();
        tally.connects += 1;
        let text = format!("message {}", tally.connects);
        peer.send(&Frame::text(&text));
        // Either the echo, and then nothing or a close; or the close without it.
        let first = peer.frame();
        if first == ringway_tests::Received::text(&text) {
            tally.echoes += 1;
            peer.send(&Frame::close(1000, ""));
            let code = peer.close_code();
            assert!(matches!(code, Some(1000 | 1012)), "{code:?}");
        } else {
            assert_eq!(first.close_code(), Some(1012));
            tally.handed_over += 1;
            peer.send(&Frame::close(1012, ""));
        }
    }
    tally
}

#[test]
fn three_hand_overs_under_connects_refuse_and_reset_none() {
    let folder = TestDirectory::new("three-handovers");
    let path = folder.path().join("handover.sock");
    let mut serving = serve(&path, "2");
    let address = serving.address();
    assert_eq!(std::fs::metadata(&path).expect("it offers").permissions().mode() & 0o777, 0o600);
    let mut early: Vec<WirePeer> = (0..50).map(|_| WirePeer::open(address)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || storm(address, 125, &stop))
        })
        .collect();
    // Fewer and more shards than sockets.
    for shards in ["3", "1", "2"] {
        let next = serve(&path, shards);
        assert_eq!(next.address(), address, "{:?}", next.announced);
        assert!(next.announced.iter().any(|line| line.contains("--handover")), "{:?}", next.announced);
        for peer in &mut early {
            assert_eq!(peer.close_code(), Some(1012));
            peer.send(&Frame::close(1012, ""));
            assert_eq!(peer.end(), End::Finished);
        }
        // It ends by itself when its connections have ended.
        let (status, stderr) = std::mem::replace(&mut serving, next).wait();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
        early = (0..50).map(|_| WirePeer::open(address)).collect();
    }
    stop.store(true, Ordering::Release);
    let results: Vec<_> = clients.into_iter().map(|client| client.join().expect("none refused, none reset")).collect();
    let connects: u64 = results.iter().map(|tally| tally.connects).sum();
    println!("{connects} connects, {:.0} per second", connects as f64 / started.elapsed().as_secs_f64());
    assert!(connects > 0 && results.iter().all(|tally| tally.echoes + tally.handed_over == tally.connects));
    WirePeer::open(address).expect_echo("the last one serves");
    serving.signal(Signal::TERM);
}

#[test]
fn a_successor_that_fails_leaves_the_server_serving() {
    let folder = TestDirectory::new("handover");
    let path = folder.path().join("handover.sock");
    let serving = serve(&path, "1");
    let mut peer = WirePeer::open(serving.address());
    // It gets the sockets, and ends without a confirmation.
    let taken = ringway::handover::take_over(&path).expect("it offers").expect("it listens");
    drop(taken);
    peer.expect_echo("still served");
    WirePeer::open(serving.address()).expect_echo("and new ones too");
    // The next one succeeds.
    let next = serve(&path, "1");
    assert_eq!(next.address(), serving.address());
    assert_eq!(peer.close_code(), Some(1012));
    peer.send(&Frame::close(1012, ""));
    assert_eq!(serving.wait().0.code(), Some(0));
    WirePeer::open(next.address()).expect_echo("by the successor");
}
