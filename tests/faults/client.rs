//! The client role against faulty servers.

use crate::config;
use ringway::{
    Client, CloseCode, CloseReason, Config, ConnectError, Connection, Endpoint, Handler, Message, Request, Running,
    Shard, ShardHandle, Shards, Upgrade,
};
use ringway_tests::{End, Frame, Received, WATCHDOG, WirePeer, accepting, with_watchdog};
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// The events of the client, as text.
struct Telling(mpsc::Sender<String>);

impl Telling {
    fn tell(&self, what: String) {
        let _ = self.0.send(what);
    }
}

impl Handler for Telling {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.tell("open".into());
        assert!(conn.remote_addr().is_some());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match message.as_text() {
            Some("close") => conn.close(CloseCode::NORMAL, "").expect("sendable"),
            _ => conn.reply(message),
        }
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
        self.tell(format!("closed {reason}"));
    }

    fn failed(&mut self, _: &mut Shard<'_, Self>, (): (), error: &ConnectError) {
        self.tell(format!("failed {error}"));
    }
}

/// A client in the engine, and a listener of the test.
struct ClientAndServer {
    running: Option<Running<Telling>>,
    listener: TcpListener,
    told: mpsc::Receiver<String>,
}

impl ClientAndServer {
    fn new(config: Config) -> Self {
        let (teller, told) = mpsc::channel();
        let client = Client::new().shards(Shards::Count(1)).config(config);
        let running = client.start(move |_| Telling(teller.clone())).expect("io_uring");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { running: Some(running), listener, told }
    }

    fn handle(&self) -> &ShardHandle<Telling> {
        &self.running.as_ref().expect("it runs until it is dropped").handles()[0]
    }

    /// Starts a connection of the client without accepting it.
    fn begin(&self) {
        let address = self.listener.local_addr().expect("it is bound");
        let endpoint = Arc::new(Endpoint::resolve(&format!("ws://{address}/path?q=1")).expect("a URL"));
        self.handle().post(move |_, shard| shard.connect(&endpoint, ())).expect("there is room");
    }

    /// Starts a connection of the client and reads its request. Returns the server's end, and the
    /// correct answer.
    fn connect(&self) -> (WirePeer, String) {
        self.begin();
        let mut peer = WirePeer::accepted(self.listener.accept().expect("the client connects").0);
        let head = peer.head();
        assert!(head.starts_with("GET /path?q=1 HTTP/1.1\r\n"), "{head}");
        let answer = accepting(&head);
        (peer, answer)
    }

    fn open(&self) -> WirePeer {
        let (mut peer, answer) = self.connect();
        peer.write(answer);
        self.expect("open");
        peer
    }

    /// Checks that the next event begins with `what`.
    fn expect(&self, what: &str) {
        let told = self.told.recv_timeout(WATCHDOG).expect("an event");
        assert!(told.starts_with(what), "expected {what:?}, got {told:?}");
    }
}

impl Drop for ClientAndServer {
    fn drop(&mut self) {
        if let Some(running) = self.running.take().filter(|_| !std::thread::panicking()) {
            running.stop();
            with_watchdog("the client stops", move || running.wait()).expect("no shard has failed");
        }
    }
}

#[test]
fn rfc6455_5_3_every_frame_has_a_mask_of_its_own() {
    let pair = ClientAndServer::new(config());
    let mut peer = pair.open();
    let mut keys = std::collections::HashSet::new();
    for n in 0..32 {
        let text = format!("message {n}");
        peer.send(&Frame::text(&text).unmasked());
        let (frame, key) = peer.masked_frame();
        assert_eq!(frame, Received::text(&text));
        keys.insert(key);
    }
    assert!(keys.len() > 30, "{} keys for 32 frames", keys.len());
    drop(peer);
    pair.expect("closed 1006");
}

#[test]
fn frames_directly_after_the_answer_are_delivered() {
    let pair = ClientAndServer::new(config());
    let (mut peer, answer) = pair.connect();
    peer.write([answer.as_bytes(), &Frame::text("early").unmasked().bytes()].concat());
    pair.expect("open");
    assert_eq!(peer.masked_frame().0, Received::text("early"));
}

#[test]
fn an_answer_may_come_one_byte_at_a_time() {
    let pair = ClientAndServer::new(config());
    let (mut peer, answer) = pair.connect();
    peer.write_byte_by_byte(answer);
    pair.expect("open");
}

#[test]
fn rfc6455_4_1_an_answer_that_is_not_right_fails_the_connection() {
    let pair = ClientAndServer::new(config());
    let wrong: [(&str, &str, &str); 6] = [
        ("101 Switching Protocols", "404 Not Found", "failed the server answered 404"),
        ("Upgrade: websocket", "Upgrade: h2c", "failed the server's answer has no header Upgrade"),
        ("Connection: Upgrade", "Connection: close", "failed the server's answer has no header Connection"),
        ("Sec-WebSocket-Accept: ", "Sec-WebSocket-Accept: A", "failed the server's Sec-WebSocket-Accept"),
        (
            "\r\n\r\n",
            "\r\nSec-WebSocket-Protocol: chat\r\n\r\n",
            "failed the server's subprotocol \"chat\" was not offered",
        ),
        ("HTTP/1.1", "SSH-2.0", "failed the server's answer is not HTTP"),
    ];
    for (right, changed, what) in wrong {
        let (mut peer, answer) = pair.connect();
        peer.write(answer.replace(right, changed));
        pair.expect(what);
        peer.end();
    }
}

#[test]
fn an_end_before_the_answer_fails_the_connection() {
    let pair = ClientAndServer::new(config());
    let (mut peer, answer) = pair.connect();
    peer.write(&answer.as_bytes()[..20]);
    drop(peer);
    pair.expect("failed the peer ended the connection");
    let (peer, _) = pair.connect();
    peer.reset();
    pair.expect("failed the connection was lost during the opening handshake");
}

#[test]
fn a_refused_connection_fails_the_connection() {
    let pair = ClientAndServer::new(config());
    // Bound but not listening, so that no other process can take the port.
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a descriptor is left");
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let endpoint = Arc::new(Endpoint::resolve(&format!("ws://{address}/")).expect("a URL"));
    pair.handle().post(move |_, shard| shard.connect(&endpoint, ())).expect("there is room");
    pair.expect("failed cannot connect");
}

#[test]
fn no_answer_in_time_fails_the_connection() {
    let pair = ClientAndServer::new(config().handshake_timeout(Duration::from_millis(200)).expect("in range"));
    // Once in the backlog, and once accepted.
    pair.begin();
    pair.expect("failed the opening handshake took too long");
    let accepted = pair.listener.accept();
    let (mut peer, answer) = pair.connect();
    peer.write(&answer.as_bytes()[..20]);
    pair.expect("failed the opening handshake took too long");
    drop(accepted);
}

#[test]
fn a_masked_frame_of_a_server_is_a_violation() {
    let pair = ClientAndServer::new(config());
    let mut peer = pair.open();
    peer.send(&Frame::text("masked"));
    assert_eq!(peer.masked_frame().0.close_code(), Some(1002));
    assert_eq!(peer.end(), End::Finished);
    drop(peer);
    pair.expect("closed 1002");
}

#[test]
fn rfc6455_7_1_1_the_client_lets_the_server_end_tcp() {
    let pair = ClientAndServer::new(config());
    let mut peer = pair.open();
    peer.send(&Frame::close(1000, "done").unmasked());
    assert_eq!(peer.masked_frame().0.close_code(), Some(1000));
    drop(peer);
    pair.expect("closed 1000 \"done\", closed by the peer");
    let mut peer = pair.open();
    peer.send(&Frame::text("close").unmasked());
    assert_eq!(peer.masked_frame().0.close_code(), Some(1000));
    peer.send(&Frame::close(1000, "").unmasked());
    drop(peer);
    pair.expect("closed 1000, closed by us");
}

#[test]
fn a_server_that_does_not_end_tcp_is_disconnected() {
    let pair = ClientAndServer::new(config().close_timeout(Duration::from_millis(200)).expect("in range"));
    let mut peer = pair.open();
    peer.send(&Frame::close(1000, "").unmasked());
    assert_eq!(peer.masked_frame().0.close_code(), Some(1000));
    assert_eq!(peer.end(), End::Finished);
    pair.expect("closed 1000, closed by the peer");
}

#[test]
fn a_stopping_client_reports_it() {
    let pair = ClientAndServer::new(config());
    let mut peer = pair.open();
    let (opening, _) = pair.connect();
    pair.running.as_ref().expect("it runs").stop();
    assert_eq!(peer.masked_frame().0.close_code(), Some(1001));
    pair.expect("failed the shard is stopping");
    peer.send(&Frame::close(1001, "").unmasked());
    drop((peer, opening));
    pair.expect("closed 1001");
}
