//! A shard that its caller drives, on epoll, with a plain client in the other end of a socket pair.

use super::LocalShard;
use crate::{
    Admission, Config, ConnectError, Connection, ConnectionId, Deflate, Endpoint, Handler, Limits, Message, Rate,
    RejectWith, Request, Shard, TlsConfig, Unopened, Upgrade,
};
use ringway_io::Detached;
use ringway_io::epoll::{Epoll, EpollConfig};
use ringway_testkit::certificates::Authority;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

const REQUEST: &[u8] = b"GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Echoes, and records what is called.
#[derive(Default)]
struct Recording {
    opened: Vec<ConnectionId>,
    attempts: Vec<ConnectionId>,
    unopened: Vec<Unopened>,
    failed: Vec<String>,
    closed: usize,
    refuses_attempts: bool,
}

impl Handler for Recording {
    type State = Arc<()>;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<Arc<()>> {
        Upgrade::accept(Arc::default())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.opened.push(conn.id());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }

    fn connecting(&mut self, _: &mut Arc<()>, id: ConnectionId) -> bool {
        self.attempts.push(id);
        !self.refuses_attempts
    }

    fn unopened(&mut self, _: &mut Shard<'_, Self>, _: ConnectionId, cause: &Unopened) {
        self.unopened.push(cause.clone());
    }

    fn failed(&mut self, _: &mut Shard<'_, Self>, _: Arc<()>, error: &ConnectError) {
        self.failed.push(error.to_string());
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, _: Arc<()>, _: &crate::CloseReason) {
        self.closed += 1;
    }
}

type Local = LocalShard<Epoll, Recording>;

fn local() -> Local {
    let driver = Epoll::new(EpollConfig::default()).expect("an epoll set");
    let config = Config::default().deflate(Some(Deflate::shared()));
    LocalShard::new(driver, Recording::default(), config, Limits::default(), 1).expect("the defaults are valid")
}

fn turn_until(shard: &mut Local, mut done: impl FnMut(&mut Recording, &mut Shard<'_, Recording>) -> bool) {
    while !shard.with(&mut done) {
        assert!(shard.turn().expect("the driver works"));
    }
}

fn adopt(shard: &mut Local) -> (UnixStream, ConnectionId) {
    let (ours, theirs) = UnixStream::pair().expect("descriptors");
    let id = shard.accept(Detached::from_socket(ours).expect("a stream"), None).expect("no TLS");
    (theirs, id.expect("there is no limit"))
}

#[test]
fn an_adopted_connection_opens_and_echoes_between_turns_that_never_block() {
    let mut shard = local();
    let (mut peer, id) = adopt(&mut shard);
    peer.write_all(REQUEST).expect("it is open");
    turn_until(&mut shard, |handler, _| handler.opened == [id]);
    // A masked "hi", with a key of zeros.
    peer.write_all(&[0x81, 0x82, 0, 0, 0, 0, b'h', b'i']).expect("it is open");
    let mut got = Vec::new();
    peer.set_nonblocking(true).expect("a socket");
    while !got.ends_with(&[0x81, 2, b'h', b'i']) {
        shard.turn().expect("the driver works");
        let mut bytes = [0; 4096];
        if let Ok(len) = peer.read(&mut bytes) {
            got.extend_from_slice(&bytes[..len]);
        }
    }
    // What is sent between two turns leaves with the next one.
    shard.with(|_, shard| drop(shard.connection(id).expect("it is open").send(Message::text("later"))));
    shard.turn().expect("the driver works");
    let mut bytes = [0; 16];
    let len = loop {
        shard.turn().expect("the driver works");
        if let Ok(len) = peer.read(&mut bytes) {
            break len;
        }
    };
    assert_eq!(bytes[..len], [&[0x81, 5], &b"later"[..]].concat());
}

#[test]
fn a_connection_that_does_not_open_is_reported_with_the_cause() {
    let mut shard = local();
    let (mut peer, _) = adopt(&mut shard);
    peer.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it is open");
    drop(peer);
    turn_until(&mut shard, |handler, _| handler.unopened.len() == 1);
    let (peer, _) = adopt(&mut shard);
    drop(peer);
    turn_until(&mut shard, |handler, _| handler.unopened.len() == 2);
    shard.with(|handler, _| {
        assert!(matches!(&handler.unopened[0], Unopened::Refused(status, _) if status.as_u16() == 400));
        assert_eq!(handler.unopened[1], Unopened::Ended);
    });
    let root = Authority::root("Test Root");
    let identity = root.issue(&["localhost"]);
    let tls = TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a chain and its key");
    let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
    shard.accept(Detached::from_socket(ours).expect("a stream"), Some(&tls)).expect("the first configuration");
    theirs.write_all(b"not a record of TLS, but long enough for one").expect("it is open");
    theirs.shutdown(std::net::Shutdown::Write).expect("it is open");
    turn_until(&mut shard, |handler, _| handler.unopened.len() == 3);
    shard.with(|handler, _| assert!(matches!(handler.unopened[2], Unopened::Tls(_)), "{:?}", handler.unopened));
}

#[test]
fn an_aborted_connection_is_gone_without_a_call_and_its_socket_is_closed() {
    let mut shard = local();
    let (mut peer, id) = adopt(&mut shard);
    shard.turn().expect("the driver works");
    shard.with(|_, shard| shard.abort(id));
    peer.set_nonblocking(true).expect("a socket");
    while peer.read(&mut [0; 16]).is_err() {
        shard.turn().expect("the driver works");
    }
    turn_until(&mut shard, |_, shard| shard.connection_count() == 0);
    shard.with(|handler, _| assert!(handler.unopened.is_empty() && handler.closed == 0));
}

#[test]
fn an_outgoing_connection_can_be_aborted_or_refused_before_it_is_established() {
    let mut shard = local();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let endpoint = Arc::new(Endpoint::resolve(&url).expect("an address"));
    let state = Arc::new(());
    shard.with(|_, shard| shard.connect(&endpoint, Arc::clone(&state)));
    turn_until(&mut shard, |handler, _| handler.attempts.len() == 1);
    shard.with(|handler, shard| shard.abort(handler.attempts[0]));
    turn_until(&mut shard, |_, shard| shard.connection_count() == 0);
    assert_eq!(Arc::strong_count(&state), 1, "the state is dropped");
    shard.with(|handler, shard| {
        handler.refuses_attempts = true;
        shard.connect(&endpoint, Arc::clone(&state));
    });
    turn_until(&mut shard, |handler, _| handler.attempts.len() == 2);
    assert_eq!(Arc::strong_count(&state), 1);
    shard.with(|handler, shard| {
        assert!(handler.failed.is_empty() && handler.closed == 0);
        assert_eq!(shard.connection_count(), 0);
    });
}

#[test]
fn abandoning_drops_all_connections_at_once() {
    let mut shard = local();
    let (mut open, _) = adopt(&mut shard);
    let (mut opening, _) = adopt(&mut shard);
    open.write_all(REQUEST).expect("it is open");
    turn_until(&mut shard, |handler, _| handler.opened.len() == 1);
    shard.end_all();
    drop(shard);
    let mut rest = Vec::new();
    open.read_to_end(&mut rest).expect("an end");
    assert!(rest.starts_with(b"HTTP/1.1 101 "));
    assert_eq!(opening.read(&mut [0; 16]).expect("an end"), 0);
}

#[test]
fn abandoning_reports_outgoing_connections_that_are_not_open() {
    let mut shard = local();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("ws://{}/", listener.local_addr().expect("bound"));
    let endpoint = Arc::new(Endpoint::resolve(&url).expect("an address"));
    shard.with(|_, shard| shard.connect(&endpoint, Arc::default()));
    turn_until(&mut shard, |handler, _| handler.attempts.len() == 1);
    // This one is still a command.
    shard.with(|_, shard| shard.connect(&endpoint, Arc::default()));
    shard.end_all();
    let failed = &shard.handler_mut().failed;
    assert!(failed.len() == 2 && failed.iter().all(|error| error.contains("stopping")), "{failed:?}");
}

#[test]
fn the_limits_of_connections_hold_for_adopted_ones() {
    let driver = || Epoll::new(EpollConfig::default()).expect("an epoll set");
    let limits = Limits::default().max_connections(1).expect("in range");
    let mut shard =
        LocalShard::new(driver(), Recording::default(), Config::default(), limits, 1).expect("the options are valid");
    assert!(shard.may_accept());
    let (peer, _) = adopt(&mut shard);
    assert!(!shard.may_accept() && shard.is_full());
    drop(peer);
    turn_until(&mut shard, |handler, _| handler.unopened.len() == 1);
    while !shard.may_accept() {
        assert!(shard.turn().expect("the driver works"));
    }
    let admission = Admission::new().max_connections(Some(1)).expect("in range").reject_with(RejectWith::Close);
    let config = Config::default().admission(admission);
    let mut shard =
        LocalShard::new(driver(), Recording::default(), config, Limits::default(), 1).expect("the options are valid");
    let (_peer, _) = adopt(&mut shard);
    let (ours, mut theirs) = UnixStream::pair().expect("descriptors");
    let rejected = shard.accept(Detached::from_socket(ours).expect("a stream"), None).expect("no TLS");
    assert_eq!(rejected, None);
    shard.turn().expect("the driver works");
    assert_eq!(theirs.read(&mut [0; 16]).expect("an end"), 0);
}

#[test]
fn adopted_connections_count_towards_the_accept_rate() {
    let rate = Rate::per_second(1000).burst(1);
    let admission = Admission::new().accept_rate(Some(rate)).expect("in range");
    let driver = Epoll::new(EpollConfig::default()).expect("an epoll set");
    let config = Config::default().admission(admission);
    let mut shard =
        LocalShard::new(driver, Recording::default(), config, Limits::default(), 1).expect("the options are valid");
    let _first = adopt(&mut shard);
    assert!(!shard.may_accept() && !shard.is_full());
    assert!(shard.next_work().is_some(), "the end of the pause is due");
    while !shard.may_accept() {
        assert!(shard.turn().expect("the driver works"));
    }
}

#[test]
fn deadlines_that_are_set_long_after_the_last_turn_begin_at_the_present() {
    let mut shard = local();
    shard.turn().expect("the driver works");
    let before = shard.with(|_, shard| shard.turn_time());
    while before.elapsed() < super::STALE {
        std::thread::yield_now();
    }
    let from = Instant::now();
    assert!(shard.with(|_, shard| shard.turn_time()) >= from);
}
