//! Balanced accepting on real sockets: how even it is, and what becomes of connections when it ends.

use crate::config;
use ringway::{
    Accept, Config, Connection, Handler, Message, Request, Running, Server, Shard, ShardHandle, ShardReport, Shards,
    TlsConfig, Upgrade,
};
use ringway_testkit::certificates::Authority;
use ringway_tests::tls::{RustlsPeer, client_config};
use ringway_tests::{End, Frame, RawRequest, TestDirectory, WATCHDOG, WirePeer, with_watchdog};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

const SHARDS: usize = 4;
const CONNECTIONS: usize = 1000;

/// A handler that echoes.
#[derive(Debug)]
struct Echoing;

impl Handler for Echoing {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

fn start(server: Server, config: Config) -> Running<Echoing> {
    ringway::raise_descriptor_limit().expect("the limit of files can be raised");
    let server = server.config(config.accept(Accept::Balanced)).shards(Shards::Count(SHARDS));
    server.start(|_| Echoing).expect("it starts")
}

fn tcp() -> Server {
    Server::bind("127.0.0.1:0").expect("a free port")
}

fn address(running: &Running<Echoing>) -> SocketAddr {
    running.addresses()[0].tcp().expect("TCP")
}

/// The connections of each shard.
fn counts(running: &Running<Echoing>) -> Vec<usize> {
    let count = |handle: &ShardHandle<Echoing>| {
        let (answer, answered) = mpsc::sync_channel(1);
        let ask = move |_: &mut Echoing, shard: &mut Shard<'_, Echoing>| {
            answer.send(shard.connection_count()).expect("the test waits");
        };
        handle.post(ask).expect("there is room in the mailbox");
        answered.recv_timeout(WATCHDOG).expect("the shard processes its mailbox")
    };
    running.handles().iter().map(count).collect()
}

/// Waits until the server has this number of connections, and returns those of each shard.
fn wait_for(running: &Running<Echoing>, connections: usize) -> Vec<usize> {
    let deadline = Instant::now() + WATCHDOG;
    loop {
        let counts = counts(running);
        if counts.iter().sum::<usize>() == connections {
            return counts;
        }
        assert!(Instant::now() < deadline, "{counts:?} instead of {connections}");
    }
}

#[track_caller]
fn assert_within_five_percent(counts: &[usize]) {
    let mean = CONNECTIONS as f64 / SHARDS as f64;
    let is_near = |count: &usize| (*count as f64 - mean).abs() <= 0.05 * mean;
    assert!(counts.len() == SHARDS && counts.iter().all(is_near), "{counts:?}");
}

fn stop(running: Running<Echoing>) -> Vec<ShardReport> {
    running.stop();
    with_watchdog("the server stops", move || running.wait()).expect("no shard has failed")
}

/// Opens the connections from several threads at once.
fn open_all<P: Send + 'static>(open: impl Fn() -> P + Clone + Send + 'static) -> Vec<P> {
    let threads = (0..4).map(|_| {
        let open = open.clone();
        thread::spawn(move || (0..CONNECTIONS / 4).map(|_| open()).collect::<Vec<P>>())
    });
    let threads: Vec<_> = threads.collect();
    threads.into_iter().flat_map(|thread| thread.join().expect("all connections open")).collect()
}

/// The sums of connections that were transferred, and that were adopted.
fn transfers(reports: &[ShardReport]) -> (u64, u64) {
    let sum = |of: fn(&ShardReport) -> u64| reports.iter().map(of).sum();
    (sum(|report| report.counters.transferred), sum(|report| report.counters.adopted))
}

#[test]
fn a_thousand_connections_over_four_shards_are_within_five_percent() {
    let running = start(tcp(), config());
    let address = address(&running);
    let mut peers = open_all(move || WirePeer::open(address));
    assert_within_five_percent(&wait_for(&running, CONNECTIONS));
    for (at, peer) in peers.iter_mut().enumerate().step_by(20) {
        peer.expect_echo(&format!("number {at}"));
    }
    drop(peers);
    let reports = stop(running);
    let accepted: u64 = reports.iter().map(|report| report.stats.accepted).sum();
    let (transferred, adopted) = transfers(&reports);
    assert_eq!((accepted, transferred), (CONNECTIONS as u64, adopted));
    assert!(transferred > 0);
}

#[test]
fn so_are_those_with_tls() {
    let root = Authority::root("Test Root");
    let identity = root.issue(&["localhost"]);
    let tls = TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a chain and its key");
    let running = start(tcp().tls(&tls), config());
    let (address, root) = (address(&running), root.pem());
    // Connections are transferred before their handshake: it is made on one in ten of them.
    let opened = Arc::new(AtomicUsize::new(0));
    let open = move || match opened.fetch_add(1, Ordering::Relaxed) % 10 {
        0 => Ok(RustlsPeer::connect(address, client_config(&root), "localhost").expect("the handshake is complete")),
        _ => Err(TcpStream::connect(address).expect("it listens")),
    };
    let mut peers = open_all(open);
    assert_within_five_percent(&wait_for(&running, CONNECTIONS));
    for peer in peers.iter_mut().flatten() {
        peer.upgrade().expect("it is upgraded");
        peer.write(Frame::text("over TLS").bytes()).expect("it is open");
        assert_eq!(peer.data(10).expect("an echo"), b"\x81\x08over TLS");
    }
    drop(peers);
    let (transferred, adopted) = transfers(&stop(running));
    assert_eq!(transferred, adopted);
}

#[test]
fn so_are_those_of_a_unix_socket() {
    let folder = TestDirectory::new("balanced");
    let path = folder.path().join("server.sock");
    let server = Server::bind(format!("unix:{}", path.display())).expect("the path is free");
    let running = start(server, config());
    let open = move || {
        let mut peer = WirePeer::connect_unix(&path);
        peer.upgrade();
        peer
    };
    let mut peers = open_all(open);
    assert_within_five_percent(&wait_for(&running, CONNECTIONS));
    peers.iter_mut().step_by(50).for_each(|peer| peer.expect_echo("on a Unix socket"));
    drop(peers);
    stop(running);
}

#[test]
fn connections_of_one_inherited_socket_are_spread_over_all_shards() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let running = start(Server::from_listeners([socket]).expect("it listens"), config());
    let address = address(&running);
    let peers = open_all(move || WirePeer::open(address));
    assert_within_five_percent(&wait_for(&running, CONNECTIONS));
    drop(peers);
    stop(running);
}

#[test]
fn new_connections_fill_the_shard_that_has_lost_its_own() {
    let running = start(tcp(), config());
    let address = address(&running);
    let mut peers = open_all(move || WirePeer::open(address));
    let end_all = |_: &mut Echoing, shard: &mut Shard<'_, Echoing>| {
        shard.for_each_connection(|conn| conn.terminate());
    };
    running.handles()[2].post(end_all).expect("there is room in the mailbox");
    let left: usize = (0..SHARDS).filter(|at| *at != 2).map(|at| counts(&running)[at]).sum();
    wait_for(&running, left);
    let more: Vec<WirePeer> = (left..CONNECTIONS).map(|_| WirePeer::open(address)).collect();
    assert_within_five_percent(&wait_for(&running, CONNECTIONS));
    peers.extend(more);
    drop(peers);
    stop(running);
}

#[test]
fn each_connection_is_answered_or_closed_when_the_server_stops_under_connects() {
    let running = start(tcp(), config());
    let address = address(&running);
    let opened = AtomicUsize::new(0);
    let reports = thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut open = Vec::new();
                    while let Ok(mut stream) = TcpStream::connect(address) {
                        if stream.write_all(&RawRequest::websocket().bytes()).is_err() {
                            break;
                        }
                        stream.set_read_timeout(Some(WATCHDOG)).expect("not zero");
                        // An answer, or the end: only a connection that nobody serves waits.
                        match stream.read(&mut [0; 1024]) {
                            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                                panic!("a connection is not served")
                            }
                            _ => opened.fetch_add(1, Ordering::Relaxed),
                        };
                        open.push(stream);
                    }
                    for mut stream in open {
                        // To the end: a close frame, and FIN or RST.
                        let _ = stream.shutdown(Shutdown::Write);
                        match stream.read_to_end(&mut Vec::new()) {
                            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                                panic!("a connection stays open")
                            }
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        while opened.load(Ordering::Relaxed) < 400 {
            thread::yield_now();
        }
        let reports = stop(running);
        clients.into_iter().for_each(|client| client.join().expect("none is forgotten"));
        reports
    });
    let (transferred, adopted) = transfers(&reports);
    assert!(transferred > 0 && transferred == adopted, "{transferred} transferred, {adopted} adopted");
}

#[test]
fn a_close_frame_reaches_a_transferred_connection_when_the_server_stops() {
    let running = start(tcp(), config());
    let address = address(&running);
    let mut peers: Vec<WirePeer> = (0..40).map(|_| WirePeer::open(address)).collect();
    running.stop();
    for peer in &mut peers {
        assert_eq!(peer.close_code(), Some(1001));
        peer.send(&Frame::close(1001, ""));
        assert_eq!(peer.end(), End::Finished);
    }
    let reports = stop(running);
    assert!(transfers(&reports).0 > 0);
}
