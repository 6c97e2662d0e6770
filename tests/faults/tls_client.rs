//! The client role against servers with TLS that have bad certificates, or send hostile records.

use crate::config;
use ringway::{
    Client, ClientTls, CloseReason, ConnectError, Connection, Endpoint, Handler, Message, Request, Running, Shard,
    Shards, Upgrade,
};
use ringway_testkit::certificates::{Authority, Identity};
use ringway_tests::tls::{HandshakeFailure, KEY_UPDATE_REQUEST, TlsPeer, server_config};
use ringway_tests::{Frame, WATCHDOG, accepting, with_watchdog};
use rustls::{AlertDescription, ContentType, ServerConfig};
use std::net::TcpListener;
use std::sync::{Arc, mpsc};

/// An echo that reports its events as text.
struct Reporting(mpsc::Sender<String>);

impl Handler for Reporting {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, _: &mut Connection<'_, Self>) {
        let _ = self.0.send("open".into());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
        let _ = self.0.send(format!("closed {reason}"));
    }

    fn failed(&mut self, _: &mut Shard<'_, Self>, (): (), error: &ConnectError) {
        let _ = self.0.send(format!("failed {error}"));
    }
}

/// A client of Ringway that trusts one root, and a listener of the test.
struct ClientAndListener {
    running: Option<Running<Reporting>>,
    events: mpsc::Receiver<String>,
    listener: TcpListener,
    root: Authority,
}

impl ClientAndListener {
    fn new() -> Self {
        let (sender, events) = mpsc::channel();
        let client = Client::new().shards(Shards::Count(1)).config(config());
        let running = client.start(move |_| Reporting(sender.clone())).expect("it starts");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { running: Some(running), events, listener, root: Authority::root("Test Root") }
    }

    fn tls(&self) -> ClientTls {
        let tls = ClientTls::with_ca_pem(self.root.pem().as_bytes()).expect("a root");
        tls.with_server_name("localhost").expect("a name")
    }

    /// Lets the client connect, and completes the handshake as a server.
    fn connect(&self, tls: &ClientTls, config: ServerConfig) -> Result<TlsPeer, HandshakeFailure> {
        let url = format!("wss://{}/", self.listener.local_addr().expect("it is bound"));
        let endpoint = Arc::new(Endpoint::resolve(&url).expect("a URL").tls(tls).expect("wss"));
        let handle = &self.running.as_ref().expect("it runs until it is dropped").handles()[0];
        handle.post(move |_, shard| shard.connect(&endpoint, ())).expect("there is room");
        TlsPeer::accept(self.listener.accept().expect("the client connects").0, config)
    }

    fn connect_to(&self, identity: &Identity) -> Result<TlsPeer, HandshakeFailure> {
        self.connect(&self.tls(), server_config(&identity.chain(), identity))
    }

    /// A WebSocket between the client and a server with a valid certificate.
    fn open(&self) -> TlsPeer {
        let mut peer = self.connect_to(&self.root.issue(&["localhost"])).expect("a handshake");
        let answer = accepting(&peer.head());
        peer.write(answer);
        assert_eq!(self.event(), "open");
        peer
    }

    fn event(&self) -> String {
        self.events.recv_timeout(WATCHDOG).expect("an event")
    }

    /// Sends `attack` on an open connection. Checks the alert, if one is expected, and the reason
    /// of the handler.
    fn check(&self, attack: impl FnOnce(&mut TlsPeer), alert: impl Into<Option<u8>>, reason: &str) {
        let mut peer = self.open();
        attack(&mut peer);
        if let Some(alert) = alert.into() {
            assert_eq!(peer.alert(), alert, "{reason}");
        }
        peer.finish();
        let event = self.event();
        assert!(event.starts_with("closed 1006, TLS failed: ") && event.contains(reason), "{event}");
    }
}

impl Drop for ClientAndListener {
    fn drop(&mut self) {
        if let Some(running) = self.running.take().filter(|_| !std::thread::panicking()) {
            running.stop();
            with_watchdog("the client stops", move || running.wait()).expect("no shard has failed");
        }
    }
}

/// Writes a message of a client's peer: without a mask.
fn expect_echo(peer: &mut TlsPeer, text: &str) {
    let frame = Frame::text(text).unmasked();
    peer.send(&frame);
    let head = peer.data(6);
    let payload: Vec<u8> = peer.data(usize::from(head[1] & 0x7f));
    let unmasked: Vec<u8> = payload.iter().zip(head[2..].iter().cycle()).map(|(byte, key)| byte ^ key).collect();
    assert_eq!((head[0], &unmasked[..]), (0x81, text.as_bytes()));
}

#[test]
fn a_server_with_a_bad_certificate_gets_an_alert_and_no_request() {
    let client = ClientAndListener::new();
    let foreign = Authority::root("Other Root");
    for (identity, alert, reason) in [
        (foreign.issue(&["localhost"]), AlertDescription::UnknownCA, "unknown CA"),
        (
            client.root.issue(&["a.example", "b.example"]),
            AlertDescription::BadCertificate,
            "not for localhost (it has a.example, b.example)",
        ),
    ] {
        let failure = client.connect_to(&identity).err().expect("the client refuses it");
        let HandshakeFailure::Tls(rustls::Error::AlertReceived(received)) = failure else { panic!("{failure:?}") };
        assert_eq!(received, alert);
        let event = client.event();
        assert!(event.starts_with("failed ") && event.contains(reason), "{event}");
    }
    expect_echo(&mut client.open(), "the client still connects");
}

#[test]
fn rfc8446_5_2_a_record_with_a_changed_tag_fails_the_connection() {
    let client = ClientAndListener::new();
    let attack = |peer: &mut TlsPeer| peer.send_changed(&Frame::text("changed").unmasked());
    client.check(attack, 20, "a record of the server could not be decrypted");
}

#[test]
fn rfc8446_5_1_an_oversized_record_fails_the_connection() {
    let client = ClientAndListener::new();
    client.check(|peer| peer.write(vec![0; (1 << 14) + 256]), 22, "the server sent a record longer than TLS allows");
}

#[test]
fn a_flood_of_key_updates_fails_the_connection() {
    let client = ClientAndListener::new();
    // rustls sends no alert for it.
    client.check(TlsPeer::flood_key_updates, None, "the server sent a flood of messages without data");
}

#[test]
fn rfc8446_6_1_a_fin_without_a_close_notify_is_an_error_only_before_the_close_frames() {
    let client = ClientAndListener::new();
    let mut peer = client.open();
    expect_echo(&mut peer, "before");
    peer.finish();
    let event = client.event();
    assert!(event.starts_with("closed 1006") && event.contains("close_notify"), "{event}");

    let mut peer = client.open();
    peer.send(&Frame::close(1000, "bye").unmasked());
    let head = peer.data(6);
    assert_eq!(head[0], 0x88, "its close frame");
    peer.finish();
    let event = client.event();
    assert!(event.starts_with("closed 1000"), "{event}");
}

#[test]
fn a_fin_during_the_handshake_fails_the_connection() {
    let client = ClientAndListener::new();
    let peer = client.connect_to(&client.root.issue(&["localhost"])).expect("a handshake");
    drop(peer);
    let event = client.event();
    assert!(event.starts_with("failed "), "{event}");
}

/// A NewSessionTicket (RFC 8446 section 4.6.1): lifetime, age_add, nonce, ticket, no extensions.
fn session_ticket() -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(3600u32.to_be_bytes());
    body.extend(7u32.to_be_bytes());
    body.extend([2, 0, 1]);
    body.extend([0, 32]);
    body.extend([0x5a; 32]);
    body.extend([0, 0]);
    let mut message = vec![4, 0, 0, body.len() as u8];
    message.extend(body);
    message
}

#[test]
fn data_is_sent_while_a_ticket_or_a_key_update_is_incomplete() {
    let client = ClientAndListener::new();
    for (message, changes_keys) in [(session_ticket(), false), (KEY_UPDATE_REQUEST.to_vec(), true)] {
        let mut peer = client.open();
        for at in [1, 3, 4, message.len() - 1] {
            // In one segment: the reply is sealed while the message of the handshake is incomplete.
            let mut bytes = peer.seal_data(Frame::text("x").unmasked().bytes());
            bytes.extend(peer.seal(ContentType::Handshake, &message[..at]));
            peer.write_raw(bytes);
            assert_eq!(peer.data(7).len(), 7, "the reply");
            let rest = peer.seal(ContentType::Handshake, &message[at..]);
            if changes_keys {
                peer.change_keys();
            }
            peer.write_raw(rest);
            expect_echo(&mut peer, "after");
        }
        expect_echo(&mut peer, "later");
        drop(peer);
        let event = client.event();
        assert!(event.starts_with("closed 1006"), "{event}");
    }
}

#[test]
fn a_server_that_answers_without_tls_is_named() {
    let client = ClientAndListener::new();
    let url = format!("wss://{}/", client.listener.local_addr().expect("it is bound"));
    let endpoint = Arc::new(Endpoint::resolve(&url).expect("a URL").tls(&client.tls()).expect("wss"));
    let handle = &client.running.as_ref().expect("it runs").handles()[0];
    handle.post(move |_, shard| shard.connect(&endpoint, ())).expect("there is room");
    let mut peer = ringway_tests::WirePeer::accepted(client.listener.accept().expect("the client connects").0);
    peer.write("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let event = client.event();
    assert!(event.contains("is its port plain? then use ws://"), "{event}");
}
