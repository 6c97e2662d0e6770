//! Unix sockets: the same protocol as on TCP, credentials of the peer, and slow readers.

use crate::config;
use crate::ending_log::EndingLog;
use ringway::{
    Client, CloseCode, Config, Connection, Endpoint, Handler, HeaderMap, HeaderName, HeaderValue, Limits, Message,
    PeerCredentials, Request, Server, Shards, StatusCode, UnixAddress, UnixSocket, Upgrade,
};
use ringway_tests::{End, Frame, Received, TestDirectory, TestServer, WATCHDOG, WirePeer};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// A server that listens on TCP and on this path.
fn serve<H: Handler>(path: &Path, config: Config, make: impl Fn(usize) -> H + Send + Sync + 'static) -> TestServer<H> {
    let server = Server::bind("127.0.0.1:0").expect("a free port");
    let address = format!("unix:{}", path.display());
    let server = server.and_bind(address.as_str()).expect("the path is free");
    TestServer::listening(server, config, Limits::default(), make)
}

fn open(path: &Path) -> WirePeer {
    let mut peer = WirePeer::connect_unix(path);
    peer.upgrade();
    peer
}

/// Whether the credentials are those of this process.
fn is_us(peer: PeerCredentials) -> bool {
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    peer.pid.is_some_and(|pid| pid.get() == std::process::id()) && (peer.uid, peer.gid) == (user, group)
}

/// The credentials, the address and the host of each request.
type Seen = (Option<PeerCredentials>, Option<SocketAddr>, Option<String>);

/// A handler that echoes, and reports the peers of its requests.
struct Watching(mpsc::Sender<Seen>);

impl Handler for Watching {
    type State = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        let host = request.host().map(str::to_owned);
        self.0.send((request.peer_credentials(), request.remote_addr(), host)).expect("the test waits");
        if request.path() == "/forbidden" {
            return Upgrade::reject(StatusCode::FORBIDDEN, "no");
        }
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        if message.as_text() == Some("who am I") {
            let text = if conn.peer_credentials().is_some_and(is_us) { "the server's process" } else { "another" };
            let _ = conn.send(Message::text(text));
        } else {
            conn.reply(message);
        }
    }
}

#[test]
fn a_unix_peer_is_served_and_has_credentials_instead_of_an_address() {
    let directory = TestDirectory::new("unix-serve");
    let path = directory.file("app.sock");
    let (sender, seen) = mpsc::channel();
    let server = serve(&path, config(), move |_| Watching(sender.clone()));
    let mut peer = open(&path);
    let (credentials, address, _) = seen.recv_timeout(WATCHDOG).expect("a request");
    assert!(credentials.is_some_and(is_us), "{credentials:?}");
    assert_eq!(address, None);
    peer.expect_echo("hello");
    peer.send(&Frame::text("who am I"));
    assert_eq!(peer.frame(), Received::text("the server's process"));
    // More than the kernel takes at once.
    let large = vec![7; 4 << 20];
    peer.send(&Frame::binary(large.clone()));
    assert_eq!(peer.frame(), Received::binary(large));
    peer.send(&Frame::close(1000, ""));
    assert_eq!((peer.close_code(), peer.end()), (Some(1000), End::Finished));

    let mut peer = WirePeer::open(server.address());
    let (credentials, address, _) = seen.recv_timeout(WATCHDOG).expect("a request");
    assert!(credentials.is_none() && address.is_some(), "TCP: {credentials:?}, {address:?}");
    peer.send(&Frame::text("who am I"));
    assert_eq!(peer.frame(), Received::text("another"));
    drop(peer);
    server.stop();
    assert!(directory.files().is_empty(), "{:?}", directory.files());
}

/// A client that sends one message, and reports its answer or the error.
struct Asking(Arc<Endpoint>, mpsc::Sender<String>);

impl Handler for Asking {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn start(&mut self, shard: &mut ringway::Shard<'_, Self>) {
        shard.connect(&self.0, ());
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        assert!(conn.peer_credentials().is_some_and(is_us) && conn.remote_addr().is_none());
        let _ = conn.send(Message::text("who am I"));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.1.send(message.as_text().unwrap_or_default().to_owned()).expect("the test waits");
        conn.close(CloseCode::NORMAL, "").expect("1000 may be sent");
        conn.shard().stop();
    }

    fn failed(&mut self, shard: &mut ringway::Shard<'_, Self>, (): (), error: &ringway::ConnectError) {
        self.1.send(error.to_string()).expect("the test waits");
        shard.stop();
    }
}

/// The answer to a client that connects to this URL.
fn ask(url: &str, headers: HeaderMap) -> String {
    let endpoint = Arc::new(Endpoint::resolve(url).expect("valid").headers(headers));
    let (sender, answer) = mpsc::channel();
    let client = Client::new().shards(Shards::Count(1)).config(config());
    let running = client.start(move |_| Asking(Arc::clone(&endpoint), sender.clone())).expect("io_uring works here");
    let answer = answer.recv_timeout(WATCHDOG).expect("an answer or an error");
    running.wait().expect("no shard has failed");
    answer
}

#[test]
fn a_client_connects_to_a_unix_socket_and_its_host_is_localhost() {
    let directory = TestDirectory::new("unix-client");
    let path = directory.file("app.sock");
    let (sender, seen) = mpsc::channel();
    let _server = serve(&path, config(), move |_| Watching(sender.clone()));
    let url = |uri: &str| format!("unix:{}:{uri}", path.display());
    let host = || seen.recv_timeout(WATCHDOG).expect("a request").2;
    assert_eq!(ask(&url("/chat"), HeaderMap::new()), "the server's process");
    assert_eq!(host().as_deref(), Some("localhost"));
    let headers = HeaderMap::from_iter([(HeaderName::from_static("host"), HeaderValue::from_static("chat.example"))]);
    assert_eq!(ask(&url("/chat"), headers), "the server's process");
    assert_eq!(host().as_deref(), Some("chat.example"));
    let refused = ask(&url("/forbidden"), HeaderMap::new());
    assert!(refused.contains("403"), "{refused}");
    let missing = ask(&format!("unix:{}:/", directory.file("none").display()), HeaderMap::new());
    assert!(missing.starts_with("cannot connect: No such file or directory"), "{missing}");
}

#[test]
fn an_abstract_name_works_in_both_roles() {
    let (sender, _seen) = mpsc::channel();
    let name = format!("ringway-faults-{}", std::process::id());
    let socket = UnixSocket::new(UnixAddress::from_abstract_name(&name).expect("short"));
    let server = Server::bind("127.0.0.1:0").and_then(|server| server.and_bind_unix(&socket)).expect("free");
    let _server = TestServer::listening(server, config(), Limits::default(), move |_| Watching(sender.clone()));
    assert_eq!(ask(&format!("unix:@{name}:/chat"), HeaderMap::new()), "the server's process");
}

/// More than the kernel's buffers of a Unix socket hold, and than a slow reader takes.
const LARGE: usize = 4 << 20;
/// More than one buffer of the kernel, so that each step is progress.
const STEP: usize = 64 * 1024;

/// Checks that a peer stays connected that reads little in each half of the write timeout. The
/// pings on another connection are its clock. On a busy machine it may read too late, so the test
/// fails only with the longest of these timeouts.
#[test]
fn a_slow_reader_of_a_unix_socket_stays_connected() {
    for timeout in [1, 4, 16].map(Duration::from_secs) {
        let directory = TestDirectory::new(&format!("unix-slow-{}", timeout.as_secs()));
        let path = directory.file("app.sock");
        let config = config().write_timeout(timeout).and_then(|config| config.idle_timeout(Some(timeout)));
        let server = serve(&path, config.expect("in range"), |_| EndingLog::default());
        let (mut slow, mut clock) = (open(&path), open(&path));
        slow.send(&Frame::binary(vec![7; LARGE]));
        // Three times the write timeout.
        let is_open = (0..6).all(|_| {
            assert!(clock.frame().is_ping());
            clock.send(&Frame::pong(""));
            slow.skip(STEP).is_ok()
        });
        if is_open && server.on_shard(|_, shard| shard.counters().write_timeouts) == 0 {
            // The header of the frame has ten bytes.
            slow.skip(LARGE + 10 - 6 * STEP).expect("it stays open");
            // A ping that the server has sent before the echo has moved its end.
            slow.send(&Frame::text("still here"));
            let echo = Frame::text("still here").unmasked().bytes();
            let mut end = Vec::new();
            while !end.ends_with(&echo) {
                end.extend(slow.bytes(1));
            }
            return;
        }
    }
    panic!("it was closed with each of the timeouts");
}

#[test]
fn a_stalled_reader_of_a_unix_socket_is_closed() {
    let directory = TestDirectory::new("unix-stalled");
    let path = directory.file("app.sock");
    let config = config().write_timeout(Duration::from_millis(500)).expect("in range");
    let server = serve(&path, config, |_| EndingLog::default());
    let mut peer = open(&path);
    peer.send(&Frame::binary(vec![7; LARGE]));
    server.wait_until("it is closed", |_, shard| shard.counters().write_timeouts == 1);
    server.wait_until_empty();
    assert_eq!(server.on_shard(|log, _| log.endings.clone()), ["1006 write timeout"]);
}

/// A handler that does not read from its connections.
struct Pausing;

impl Handler for Pausing {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        conn.pause();
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
}

/// The pong of a peer is not read while its connection is paused. Its kernel acknowledges the ping.
#[test]
fn an_idle_unix_peer_that_is_not_read_stays_connected() {
    let directory = TestDirectory::new("unix-paused");
    let path = directory.file("app.sock");
    let config = config().idle_timeout(Some(Duration::from_millis(400))).expect("in range");
    let server = serve(&path, config, |_| Pausing);
    let mut peer = open(&path);
    // The message waits for the handler, and nothing is read after it.
    peer.send(&Frame::text("later"));
    for _ in 0..4 {
        assert!(peer.frame().is_ping());
    }
    assert_eq!(server.connection_count(), 1);
}
