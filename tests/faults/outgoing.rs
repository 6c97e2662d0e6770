//! Outgoing connections on real sockets: addresses of both sides, the step before the upgrade,
//! messages in parts, and a client that reads slowly.

use crate::{config, echo_server};
use ringway::{
    Client, ConnectError, Connection, ConnectionId, Endpoint, Handler, Message, Request, Running, Shard, ShardHandle,
    Shards, UnixAddress, Upgrade,
};
use ringway_tests::{TestDirectory, WATCHDOG, WirePeer, accepting};
use socket2::SockRef;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Instant;

/// An event of the client.
#[derive(Debug, PartialEq)]
enum Told {
    Connected(ConnectionId),
    Open(ConnectionId),
    Message(Vec<u8>),
    Failed(String),
}

/// Tells its events, and pauses after each message if it is to read slowly.
struct Telling {
    events: mpsc::Sender<Told>,
    slow: bool,
}

impl Handler for Telling {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn connected(&mut self, _: &mut Shard<'_, Self>, (): &mut (), id: ConnectionId) {
        let _ = self.events.send(Told::Connected(id));
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let _ = self.events.send(Told::Open(conn.id()));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        if self.slow {
            conn.pause();
        }
        let _ = self.events.send(Told::Message(message.payload().to_vec()));
    }

    fn failed(&mut self, _: &mut Shard<'_, Self>, (): (), error: &ConnectError) {
        let _ = self.events.send(Told::Failed(error.to_string()));
    }
}

/// A client of one shard. It stops when it is dropped.
struct OneShard {
    running: Option<Running<Telling>>,
    events: mpsc::Receiver<Told>,
}

impl OneShard {
    fn new(slow: bool) -> Self {
        let (sender, events) = mpsc::channel();
        let client = Client::new().shards(Shards::Count(1)).config(config());
        let running = client.start(move |_| Telling { events: sender.clone(), slow }).expect("it starts");
        Self { running: Some(running), events }
    }

    fn handle(&self) -> &ShardHandle<Telling> {
        &self.running.as_ref().expect("it runs until it is dropped").handles()[0]
    }

    fn post(&self, work: impl FnOnce(&mut Shard<'_, Telling>) + Send + 'static) {
        self.handle().post(move |_, shard| work(shard)).expect("there is room in the mailbox");
    }

    fn connect(&self, endpoint: &Arc<Endpoint>, count: usize) {
        let endpoint = Arc::clone(endpoint);
        self.post(move |shard| (0..count).for_each(|_| shard.connect(&endpoint, ())));
    }

    #[track_caller]
    fn told(&self) -> Told {
        self.events.recv_timeout(WATCHDOG).expect("an event")
    }

    #[track_caller]
    fn opened(&self) -> ConnectionId {
        match self.told() {
            Told::Open(id) => id,
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for OneShard {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.stop();
        }
    }
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().expect("an address")).collect()
}

fn bound(listener: &TcpListener) -> SocketAddr {
    listener.local_addr().expect("it is bound")
}

#[test]
fn connections_use_all_targets_and_all_sources() {
    let listeners = ["127.0.0.1:0", "127.0.0.2:0"].map(|address| TcpListener::bind(address).expect("a free port"));
    let endpoint = Endpoint::with_addresses("ws://chat.example/", listeners.iter().map(bound)).expect("valid");
    let endpoint = endpoint.rotate_addresses(true).sources(ips(&["127.0.1.1", "127.0.1.2", "127.0.1.3"]));
    let client = OneShard::new(false);
    client.connect(&Arc::new(endpoint.expect("of the family")), 12);
    let mut pairs: BTreeMap<(SocketAddr, IpAddr), u32> = BTreeMap::new();
    let mut peers = Vec::new();
    for _ in 0..6 {
        for listener in &listeners {
            let (peer, from) = listener.accept().expect("a connection");
            *pairs.entry((bound(listener), from.ip())).or_default() += 1;
            peers.push(peer);
        }
    }
    assert_eq!(pairs.values().copied().collect::<Vec<_>>(), [2; 6], "{pairs:?}");
}

#[test]
fn an_ipv6_target_is_reached_from_an_ipv6_source() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        eprintln!("NOT TESTED: this machine has no IPv6");
        return;
    };
    let endpoint = Endpoint::resolve(&format!("ws://{}/", bound(&listener))).expect("an address");
    let endpoint = endpoint.sources(ips(&["127.0.0.1", "::1"])).expect("one of the family");
    let client = OneShard::new(false);
    client.connect(&Arc::new(endpoint), 2);
    for _ in 0..2 {
        assert_eq!(listener.accept().expect("a connection").1.ip(), ips(&["::1"])[0]);
    }
}

#[test]
fn an_address_of_another_machine_is_named_in_the_error() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = Endpoint::resolve(&format!("ws://{}/", bound(&listener))).expect("an address");
    // TEST-NET-3 (RFC 5737).
    let endpoint = endpoint.sources(ips(&["203.0.113.9"])).expect("of the family");
    let client = OneShard::new(false);
    client.connect(&Arc::new(endpoint), 1);
    assert_eq!(client.told(), Told::Failed("203.0.113.9 is not an address of this machine".to_owned()));
}

/// Accepts the request of a client that was accepted on TCP.
fn upgrade(stream: TcpStream) -> WirePeer {
    let mut peer = WirePeer::accepted(stream);
    let request = peer.head();
    peer.write(accepting(&request));
    peer
}

#[test]
fn all_connections_can_be_established_before_the_first_upgrade() {
    const COUNT: usize = 20;
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = Endpoint::resolve(&format!("ws://{}/", bound(&listener))).expect("an address");
    let client = OneShard::new(false);
    client.connect(&Arc::new(endpoint.hold_before_upgrade(true)), COUNT);
    let streams: Vec<_> = (0..COUNT).map(|_| listener.accept().expect("a connection").0).collect();
    let mut ids = Vec::new();
    while ids.len() < COUNT {
        let Told::Connected(id) = client.told() else { panic!("nothing else happens before the upgrade") };
        ids.push(id);
    }
    for stream in &streams {
        stream.set_nonblocking(true).expect("open");
        let error = { stream }.read(&mut [0]).expect_err("nothing is sent");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        stream.set_nonblocking(false).expect("open");
    }
    client.post(move |shard| ids.into_iter().for_each(|id| shard.request_upgrade(id)));
    let _peers: Vec<_> = streams.into_iter().map(upgrade).collect();
    for _ in 0..COUNT {
        client.opened();
    }
}

#[test]
fn a_server_that_ends_a_held_connection_is_reported() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = Endpoint::resolve(&format!("ws://{}/", bound(&listener))).expect("an address");
    let client = OneShard::new(false);
    client.connect(&Arc::new(endpoint.hold_before_upgrade(true)), 1);
    let (stream, _) = listener.accept().expect("a connection");
    assert!(matches!(client.told(), Told::Connected(_)));
    drop(stream);
    assert_eq!(client.told(), Told::Failed("the peer ended the connection during the opening handshake".to_owned()));
}

#[test]
fn a_unix_target_takes_the_options_that_concern_it() {
    let directory = TestDirectory::new("outgoing");
    let path = directory.path().join("app.sock");
    let listener = UnixListener::bind(&path).expect("a short path");
    let address = UnixAddress::from_path(&path).expect("a short path");
    let endpoint = Endpoint::resolve(&format!("{address}:/chat")).expect("valid");
    let endpoint = endpoint.rotate_addresses(true).hold_before_upgrade(true).receive_buffer(4096).expect("in range");
    let client = OneShard::new(false);
    client.connect(&Arc::new(endpoint), 1);
    let (mut stream, _) = listener.accept().expect("a connection");
    let Told::Connected(id) = client.told() else { panic!("it is held") };
    client.post(move |shard| shard.request_upgrade(id));
    let mut start = [0; 14];
    stream.read_exact(&mut start).expect("the request");
    assert_eq!(&start, b"GET /chat HTTP");
}

#[test]
fn a_server_receives_the_parts_of_a_message_as_one() {
    let server = echo_server();
    let endpoint = Arc::new(Endpoint::resolve(&format!("ws://{}/", server.address())).expect("an address"));
    let client = OneShard::new(false);
    client.connect(&endpoint, 1);
    let id = client.opened();
    let body: Arc<[u8]> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for number in 0..20_u64 {
        let shared = Arc::clone(&body);
        client.post(move |shard| {
            let mut conn = shard.connection(id).expect("open");
            assert!(conn.send(Message::binary_parts(&number.to_be_bytes(), &shared)).is_accepted());
        });
        let Told::Message(echo) = client.told() else { panic!("the echo is missing") };
        assert!(echo[..8] == number.to_be_bytes() && echo[8..] == body[..], "message {number}");
    }
}

#[test]
fn an_open_connection_has_the_round_trip_time_of_the_kernel_and_a_unix_connection_has_none() {
    let directory = TestDirectory::new("tcp-info");
    let path = directory.path().join("app.sock");
    let server = echo_server();
    let unix = ringway::UnixSocket::new(UnixAddress::from_path(&path).expect("a short path"));
    let unix = ringway::Server::bind_unix(&unix).expect("a free path").shards(Shards::Count(1)).config(config());
    let unix = unix.start(|_| ringway_tests::Echo).expect("it starts");
    let tcp_info = |url: &str| {
        let client = OneShard::new(false);
        client.connect(&Arc::new(Endpoint::resolve(url).expect("valid")), 1);
        let id = client.opened();
        let (answer, info) = mpsc::channel();
        client.post(move |shard| answer.send(shard.connection(id).expect("open").tcp_info()).expect("the test waits"));
        info.recv_timeout(WATCHDOG).expect("the shard runs")
    };
    let info = tcp_info(&format!("ws://{}/", server.address())).expect("TCP");
    // The handshake has measured it.
    assert!(!info.round_trip.is_zero() && info.round_trip < WATCHDOG && info.retransmits == 0, "{info:?}");
    assert_eq!(tcp_info(&format!("unix:{}:/", path.display())), None);
    unix.stop();
    unix.wait().expect("no shard has failed");
}

/// The payload of a message of the fast server.
const SIZE: usize = 4096;

/// The maximum number of bytes between a server and a client whose receive buffer and whose send
/// buffer have 16 KiB each: those two, doubled by the kernel, which also accepts one segment beyond
/// each, and the receives of the client until it has a message to keep. With the default buffers
/// the server alone has more.
const MAX_BETWEEN: usize = 256 * 1024;

/// A server that sends numbered messages as fast as it can.
struct FastServer {
    written: Arc<AtomicUsize>,
    /// The state of its thread in /proc.
    status: String,
    watchdog: Instant,
}

impl FastServer {
    fn start(stream: TcpStream) -> Self {
        SockRef::from(&stream).set_send_buffer_size(16 * 1024).expect("open");
        let written = Arc::new(AtomicUsize::new(0));
        let (sender, id) = mpsc::channel();
        let count = Arc::clone(&written);
        thread::spawn(move || {
            let _ = sender.send(rustix::thread::gettid());
            let mut stream = stream;
            for number in 0_u64.. {
                let mut frame = vec![0x82, 126];
                frame.extend((SIZE as u16).to_be_bytes());
                frame.extend(number.to_be_bytes());
                frame.resize(4 + SIZE, 0);
                if stream.write_all(&frame).is_err() {
                    return;
                }
                count.fetch_add(SIZE, Ordering::Release);
            }
        });
        let id = id.recv().expect("the thread runs");
        let status = format!("/proc/self/task/{}/stat", id.as_raw_nonzero());
        Self { written, status, watchdog: Instant::now() + WATCHDOG }
    }

    /// Waits until it sleeps, which it does only when it cannot write. Returns the number of bytes
    /// written.
    fn blocked(&self) -> usize {
        loop {
            let stat = std::fs::read_to_string(&self.status).expect("the thread runs");
            if stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S")) {
                return self.written.load(Ordering::Acquire);
            }
            assert!(Instant::now() < self.watchdog, "the server is never stopped");
            thread::yield_now();
        }
    }
}

#[test]
fn a_client_that_resumes_for_one_message_at_a_time_stops_its_server_in_between() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = Endpoint::resolve(&format!("ws://{}/", bound(&listener))).expect("an address");
    let client = OneShard::new(true);
    client.connect(&Arc::new(endpoint.receive_buffer(16 * 1024).expect("in range")), 1);
    let server = FastServer::start(upgrade(listener.accept().expect("a connection").0).into_stream());
    let id = client.opened();
    for number in 0_u64..200 {
        let Told::Message(payload) = client.told() else { panic!("message {number} is missing") };
        assert_eq!((&payload[..8], payload.len()), (&number.to_be_bytes()[..], SIZE));
        let read = (number as usize + 1) * SIZE;
        let written = server.blocked();
        assert!(written <= read + MAX_BETWEEN, "the server has written {written} bytes, of which {read} are read");
        let (answer, held) = mpsc::channel();
        client.post(move |shard| answer.send(shard.memory_held()).expect("the test waits"));
        let held = held.recv_timeout(WATCHDOG).expect("the shard runs");
        assert!(held <= MAX_BETWEEN, "the client holds {held} bytes");
        // Nothing else is delivered until the client resumes.
        assert!(client.events.try_recv().is_err(), "a message was delivered during the pause");
        client.post(move |shard| shard.connection(id).expect("open").resume());
    }
}

/// The bound of the test above is one: without a pause the server passes it.
#[test]
fn a_client_that_does_not_pause_does_not_stop_its_server() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = Endpoint::resolve(&format!("ws://{}/", bound(&listener))).expect("an address");
    let client = OneShard::new(false);
    client.connect(&Arc::new(endpoint.receive_buffer(16 * 1024).expect("in range")), 1);
    let server = FastServer::start(upgrade(listener.accept().expect("a connection").0).into_stream());
    client.opened();
    while server.written.load(Ordering::Acquire) <= 10 * MAX_BETWEEN {
        assert!(Instant::now() < server.watchdog, "the server is stopped");
        thread::yield_now();
    }
}
