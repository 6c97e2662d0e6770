//! `ringway serve --handover`: a new process takes over the listening sockets.

use crate::tls::Ca;
use ringway_tests::numbered::{NumberedClient, Place};
use ringway_tests::{End, Frame, RawRequest, ServerProcess, TestDirectory, WirePeer, ringway, run};
use rustix::process::Signal;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

fn command(path: &Path, arguments: &[&str]) -> Command {
    let mut command = ringway(&["serve"]);
    // Between the two, because the last line of a server is that of its last option.
    command.arg("--handover").arg(path).args(arguments);
    command
}

fn serve(path: &Path, arguments: &[&str]) -> ServerProcess {
    ServerProcess::start(command(path, arguments))
}

/// The address of `--admin`.
fn admin(serving: &ServerProcess) -> SocketAddr {
    let line = serving.announced.iter().find_map(|line| line.strip_prefix("admin        http://"));
    let address = line.and_then(|line| line.split(' ').next()).unwrap_or_else(|| panic!("{:?}", serving.announced));
    address.parse().expect("an address")
}

/// The line about the origin of the sockets.
fn origin(serving: &ServerProcess) -> &str {
    let line = serving.announced.iter().find_map(|line| line.strip_prefix("sockets      "));
    line.unwrap_or_else(|| panic!("{:?}", serving.announced))
}

/// What one client saw.
#[derive(Debug, Default)]
struct Tally {
    connects: u64,
    echoes: u64,
    handed_over: u64,
}

/// Connects at this rate per second until it is told to stop, and reports each connect. Each
/// connection is opened, has its message echoed, and is closed. What is late is made up for.
fn storm(address: SocketAddr, rate: u32, stop: &AtomicBool, connected: &Sender<()>) -> Tally {
    let (start, mut tally) = (Instant::now(), Tally::default());
    while !stop.load(Ordering::Acquire) {
        let due = start + Duration::from_secs(1) * tally.connects as u32 / rate;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        // A refused or reset connection is a panic in each of these calls.
        let mut peer = WirePeer::connect(address);
        peer.write(RawRequest::websocket().bytes());
        peer.expect_upgrade();
        tally.connects += 1;
        let _ = connected.send(());
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
        // It ends without a reset.
        assert_eq!(peer.end(), End::Finished);
    }
    tally
}

fn readyz() -> String {
    "GET /readyz HTTP/1.1\r\nHost: server.example\r\n\r\n".to_owned()
}

/// The status of `/readyz` on a new connection. One that is refused or reset is a panic.
fn readiness(address: SocketAddr) -> u16 {
    let mut peer = WirePeer::connect(address);
    peer.write(readyz());
    peer.response().status
}

/// Asks for `/readyz` until it is told to stop. Returns how often the status was 200 and 503.
fn probe(address: SocketAddr, stop: &AtomicBool) -> (u64, u64) {
    let mut counts = (0, 0);
    while !stop.load(Ordering::Acquire) {
        thread::sleep(Duration::from_millis(2)); // the rate of the probes
        match readiness(address) {
            200 => counts.0 += 1,
            503 => counts.1 += 1,
            status => panic!("{status}"),
        }
    }
    counts
}

#[test]
fn three_hand_overs_under_connects_refuse_and_reset_none_and_lose_no_message() {
    let folder = TestDirectory::new("three-handovers");
    let path = folder.path().join("handover.sock");
    let first = &["--listen=127.0.0.1:0", "--admin=127.0.0.1:0", "--shards=2"];
    let mut serving = serve(&path, first);
    let (address, admin_address) = (serving.address(), admin(&serving));
    assert_eq!(std::fs::metadata(&path).expect("it offers").permissions().mode() & 0o777, 0o600);
    let mut early: Vec<WirePeer> = (0..50).map(|_| WirePeer::open(address)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let started = Instant::now();
    let (connected, opened) = mpsc::channel();
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (stop, connected) = (Arc::clone(&stop), connected.clone());
            thread::spawn(move || storm(address, 25, &stop, &connected))
        })
        .collect();
    drop(connected);
    let probes = [address, admin_address].map(|address| {
        let stop = Arc::clone(&stop);
        thread::spawn(move || probe(address, &stop))
    });
    let numbered: Vec<_> = (0..8)
        .map(|client| NumberedClient::start(Place::Tcp(address), format!("client-{client}"), Duration::from_millis(5)))
        .collect();
    let (listen, same_admin) = (format!("--listen={address}"), format!("--admin={admin_address}"));
    // Fewer and more shards than sockets, and the other driver.
    for more in [["--shards=3", "--driver=auto"], ["--shards=1", "--driver=epoll"], ["--shards=2", "--driver=auto"]] {
        // Each server gets some of them.
        opened.try_iter().for_each(drop);
        for _ in 0..500 {
            opened.recv().expect("none refused, none reset");
        }
        let mut operator = WirePeer::connect(admin_address);
        operator.write(readyz());
        assert_eq!(operator.response().status, 200);
        let next = serve(&path, &[&listen, &same_admin, more[0], more[1]]);
        assert_eq!((next.address(), admin(&next)), (address, admin_address), "{:?}", next.announced);
        assert_eq!(origin(&next), format!("taken over from the former server (--handover): {address}"));
        // New connections come to the new process, and that of the operator is still one to the old.
        assert_eq!((readiness(address), readiness(admin_address)), (200, 200));
        operator.write(readyz());
        assert_eq!(operator.response().status, 503);
        assert_eq!(operator.end(), End::Finished);
        drop(operator);
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
    let elapsed = started.elapsed();
    stop.store(true, Ordering::Release);
    let results: Vec<_> = clients.into_iter().map(|client| client.join().expect("none refused, none reset")).collect();
    let probes = probes.map(|probe| probe.join().expect("none refused, none reset"));
    let numbered: Vec<_> = numbered.into_iter().map(NumberedClient::stop).collect();
    let connects: u64 = results.iter().map(|tally| tally.connects).sum();
    let (messages, repeated) = numbered.iter().fold((0, 0), |(sent, again), tally| {
        assert_eq!(tally.handed_over, 3, "{tally:?}");
        (sent + tally.messages, again + tally.repeated)
    });
    println!(
        "{connects} connects, {:.0} per second; {messages} messages on {} connections, all answered once, {repeated} of \
         them after a close with 1012; /readyz 200 and 503: {probes:?}",
        connects as f64 / elapsed.as_secs_f64(),
        numbered.len(),
    );
    assert!(connects > 0 && results.iter().all(|tally| tally.echoes + tally.handed_over == tally.connects));
    WirePeer::open(address).expect_echo("the last one serves");
    serving.signal(Signal::TERM);
}

#[test]
fn tls_and_unix_sockets_are_handed_over_from_each_driver_to_the_other() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let folder = TestDirectory::new("handover-kinds");
    let (path, file) = (folder.path().join("handover.sock"), folder.file("app.sock"));
    let mut arguments = ca.flags(&["server"]);
    arguments.extend(["--listen=wss://127.0.0.1:0".to_owned(), format!("--listen=unix:{}", file.display())]);
    let serve = |driver: &str| {
        let driver = format!("--driver={driver}");
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(["--shards=2", &driver]).collect();
        serve(&path, &arguments)
    };
    let mut serving = serve("uring");
    let address = serving.secure_addresses()[0];
    let places = [Place::tls(address, &ca.root.pem()), Place::Unix(file.clone())];
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let place = places[client % 2].clone();
            NumberedClient::start(place, format!("client-{client}"), Duration::from_millis(5))
        })
        .collect();
    for driver in ["epoll", "uring"] {
        let next = serve(driver);
        assert_eq!(next.secure_addresses(), [address]);
        let (status, stderr) = std::mem::replace(&mut serving, next).wait();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
        assert!(file.exists(), "the file belongs to the new process");
    }
    for tally in clients.into_iter().map(NumberedClient::stop) {
        assert!(tally.handed_over == 2 && tally.messages > 0, "{tally:?}");
    }
    // Without --listen all sockets are taken, and those of wss need the certificate.
    let ended = run(command(&path, &["--shards=1"]));
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("wss://: give --tls-cert"), "{ended:?}");
    serving.signal(Signal::TERM);
    assert_eq!(serving.wait().0.code(), Some(0));
    assert!(!file.exists(), "the last one removes the file");
}

#[test]
fn a_successor_with_other_addresses_opens_and_closes_what_differs() {
    let folder = TestDirectory::new("handover-addresses");
    let path = folder.path().join("handover.sock");
    let old = serve(&path, &["--listen=127.0.0.1:0", "--listen=127.0.0.2:0", "--shards=1", "--admin=127.0.0.1:0"]);
    let (kept, closed) = (old.addresses()[0], old.addresses()[1]);
    let old_admin = admin(&old);
    let new = serve(&path, &["--listen=127.0.0.3:0", &format!("--listen={kept}"), "--shards=2", "--admin=127.0.0.2:0"]);
    let opened = new.addresses()[0];
    assert_eq!(new.addresses(), [opened, kept]);
    assert_eq!(
        origin(&new),
        format!("taken over from the former server (--handover): {kept}; opened: {opened}; closed: {closed}")
    );
    assert_eq!(old.wait().0.code(), Some(0));
    for address in [kept, opened] {
        WirePeer::open(address).expect_echo("served");
    }
    assert!(TcpStream::connect(closed).is_err() && TcpStream::connect(old_admin).is_err(), "nobody listens there");
    assert_eq!(readiness(admin(&new)), 200);
    // Without --listen: all of them.
    let last = serve(&path, &["--shards=1"]);
    assert_eq!(last.addresses(), [opened, kept]);
    assert_eq!(new.wait().0.code(), Some(0));
}

#[test]
fn a_successor_that_fails_leaves_the_server_serving() {
    let folder = TestDirectory::new("handover");
    let path = folder.path().join("handover.sock");
    let serving = serve(&path, &["--listen=127.0.0.1:0", "--shards=1", "--admin=127.0.0.1:0"]);
    let address = serving.address();
    let mut peer = WirePeer::open(address);
    // It gets the sockets, and ends without a confirmation.
    let taken = ringway::handover::take_over(&path).expect("it offers").expect("it listens");
    drop(taken);
    peer.expect_echo("still served");
    WirePeer::open(address).expect_echo("and new ones too");
    // Programs that cannot start: without their certificate, and on an address of another program.
    let missing = folder.file("missing.pem").display().to_string();
    let (certificate, key) = (format!("--tls-cert={missing}"), format!("--tls-key={missing}"));
    let held = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let other = held.local_addr().expect("bound");
    let (listen_other, admin_other) = (format!("--listen={other}"), format!("--admin={other}"));
    for (arguments, text) in [
        (vec!["--listen=127.0.0.1:0", &certificate, &key], missing.as_str()),
        (vec!["--listen=127.0.0.1:0", &listen_other], "the port is taken"),
        (vec!["--listen=127.0.0.1:0", &admin_other], "--admin"),
    ] {
        let ended = run(command(&path, &arguments));
        let line = ended.line(1);
        assert!(line.contains(text), "{line}");
        peer.expect_echo("still served");
        WirePeer::open(address).expect_echo("and new ones too");
        assert_eq!(readiness(admin(&serving)), 200);
    }
    drop(held);
    // The next one succeeds.
    let next = serve(&path, &["--listen=127.0.0.1:0", "--shards=1"]);
    assert_eq!(next.address(), address);
    assert_eq!(peer.close_code(), Some(1012));
    peer.send(&Frame::close(1012, ""));
    assert_eq!(serving.wait().0.code(), Some(0));
    WirePeer::open(next.address()).expect_echo("by the successor");
}

#[test]
fn a_successor_that_hangs_is_named_and_the_server_goes_on() {
    let folder = TestDirectory::new("handover-hangs");
    let path = folder.path().join("handover.sock");
    let mut serving = serve(&path, &["--listen=127.0.0.1:0", "--shards=1", "--handover-timeout=50ms"]);
    let taken = ringway::handover::take_over(&path).expect("it offers").expect("it listens");
    let warning = serving.warning();
    let own = format!("process {} has the listening sockets, and has not confirmed within 50ms", std::process::id());
    assert!(warning.contains(&own) && warning.contains("goes on serving"), "{warning}");
    assert!(matches!(taken.release(), Err(ringway::handover::HandoverError::Late)));
    WirePeer::open(serving.address()).expect_echo("still served");
    let ended = run(ringway(&["serve", "--handover-timeout=1s"]));
    assert_eq!(ended.status.code(), Some(2));
    assert!(ended.stderr.contains("--handover"), "{ended:?}");
}

#[test]
fn a_server_without_connections_confirms_before_it_ends() {
    let directory = TestDirectory::new("handover-idle");
    let path = directory.file("handover.sock");
    let mut serving = serve(&path, &["--shards=1", "--listen=127.0.0.1:0"]);
    for _ in 0..20 {
        let next = serve(&path, &["--shards=1"]);
        let (status, log) = std::mem::replace(&mut serving, next).wait();
        assert_eq!((status.code(), log.as_str()), (Some(0), ""));
    }
    serving.signal(Signal::TERM);
    let (status, log) = serving.wait();
    assert_eq!((status.code(), log.as_str()), (Some(0), ""));
}
