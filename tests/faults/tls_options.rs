//! The TLS options of servers, and what handlers and operators see of TLS.

use crate::config;
use crate::tls::{Endings, serve, tls_config};
use ringway::{ClientAuth, Connection, Handler, Message, Request, Server, Shards, TlsConfig, TlsSession, Upgrade};
use ringway_testkit::certificates::{Authority, Folder, Identity, Leaf};
use ringway_tests::tls::{RustlsPeer, TlsPeer, authenticate, client_config, client_config_of, der};
use ringway_tests::{Frame, WATCHDOG, WirePeer, with_watchdog};
use rustls::version::TLS12;
use rustls::{ClientConfig, ProtocolVersion};
use std::mem;
use std::time::Instant;

/// What a handler sees of TLS.
#[derive(Default)]
struct Sessions(Vec<SeenSession>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct SeenSession {
    certificates: Vec<Vec<u8>>,
    alpn: Option<Vec<u8>>,
    resumed: bool,
}

fn seen(tls: Option<TlsSession<'_>>) -> SeenSession {
    let tls = tls.expect("a connection with TLS");
    SeenSession {
        certificates: tls.peer_certificates().map(<[u8]>::to_vec).collect(),
        alpn: tls.alpn().map(<[u8]>::to_vec),
        resumed: tls.is_resumed(),
    }
}

impl Handler for Sessions {
    type State = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        self.0.push(seen(request.tls()));
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        assert_eq!(Some(&seen(conn.tls())), self.0.last(), "it remains readable");
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

/// A client with this certificate.
fn with_identity(root: &Authority, identity: &Identity) -> ClientConfig {
    let mut config = client_config(&root.pem());
    authenticate(&mut config, identity);
    config
}

#[test]
fn the_handler_reads_the_certificate_of_the_client() {
    let root = Authority::root("Test Root");
    let client = root.sign(&Leaf::new(&["client-7"]).client());
    let foreign = Authority::root("Other Root").sign(&Leaf::new(&["client-8"]).client());
    for (auth, without_certificate) in [(ClientAuth::Required, false), (ClientAuth::Optional, true)] {
        let tls = tls_config(&root.issue(&["localhost"])).client_ca_pem(root.pem().as_bytes(), auth).expect("a CA");
        let server = serve(&tls, |_| Sessions::default());
        // With TLS 1.3, a client has completed its handshake before the server verifies its
        // certificate.
        let opens = |config: ClientConfig| {
            let mut peer = RustlsPeer::connect(server.address(), config, "localhost").expect("a handshake");
            peer.upgrade().is_ok()
        };
        assert!(opens(with_identity(&root, &client)), "{auth:?}");
        assert_eq!(opens(client_config(&root.pem())), without_certificate, "{auth:?}");
        assert!(!opens(with_identity(&root, &foreign)), "{auth:?}: another CA");
        let sessions = server.on_shard(|sessions, _| mem::take(&mut sessions.0));
        let certificates: Vec<_> = sessions.iter().map(|session| session.certificates.clone()).collect();
        let mut expected = vec![vec![der(&client)]];
        expected.extend(without_certificate.then(Vec::new));
        assert_eq!(certificates, expected, "{auth:?}");
        assert!(sessions.iter().all(|session| session.alpn.as_deref() == Some(b"http/1.1")));
    }
}

#[test]
fn plain_and_tls_listeners_with_different_certificates_share_a_process() {
    let (first, second) = (Authority::root("First Root"), Authority::root("Second Root"));
    let server = Server::bind("127.0.0.1:0").expect("a free port").tls(&tls_config(&first.issue(&["localhost"])));
    let server = server.and_bind("127.0.0.1:0").expect("a free port").and_bind("127.0.0.1:0").expect("a free port");
    let server = server.tls(&tls_config(&second.issue(&["localhost"])));
    let running = server.shards(Shards::Count(2)).config(config()).start(|_| Endings::default());
    let running = running.expect("it starts");
    let schemes: Vec<_> = running.schemes().iter().map(ToString::to_string).collect();
    assert_eq!(schemes, ["wss", "ws", "wss"]);
    let address = |index: usize| running.addresses()[index].tcp().expect("TCP");
    for _ in 0..4 {
        TlsPeer::open(address(0), &first.pem()).expect_echo("first");
        let mut plain = WirePeer::open(address(1));
        plain.expect_echo("plain");
        TlsPeer::open(address(2), &second.pem()).expect_echo("second");
    }
    running.stop();
    with_watchdog("the server stops", move || running.wait()).expect("no shard has failed");
}

#[test]
fn the_certificates_in_use_are_readable_for_monitoring() {
    let root = Authority::root("Test Root");
    let folder = Folder::new();
    let (chain, key) = folder.write_identity("server", &root.issue(&["a.example", "localhost"]));
    let files = TlsConfig::from_files(chain, key).expect("a valid chain and its key");
    let fixed = tls_config(&root.issue(&["c.example"]));
    let server = Server::bind("127.0.0.1:0").expect("a free port").tls(&files);
    let server = server.and_bind("127.0.0.1:0").expect("a free port").tls(&fixed);
    // The configuration of two listeners is listed once.
    let server = server.and_bind("127.0.0.1:0").expect("a free port").tls(&files);
    let running = server.shards(Shards::Count(1)).config(config()).start(|_| Endings::default()).expect("it starts");
    let names = || running.certificates().into_iter().map(|certificate| certificate.names).collect::<Vec<_>>();
    assert_eq!(names(), [vec!["a.example", "localhost"], vec!["c.example"]]);
    assert!(running.certificates().iter().all(|certificate| certificate.days_left() == 88));
    assert!(running.tls_library().is_some_and(|library| library.starts_with("rustls with aws-lc-rs; kernel TLS: ")));

    // After a reload, those of the new files.
    folder.write_identity("server", &root.sign(&Leaf::new(&["b.example"])));
    running.reload_certificates();
    let deadline = Instant::now() + WATCHDOG;
    while names() != [vec!["b.example"], vec!["c.example"]] {
        assert!(Instant::now() < deadline, "{:?}", names());
        std::thread::yield_now();
    }
    running.stop();
    with_watchdog("the server stops", move || running.wait()).expect("no shard has failed");
}

#[test]
fn a_client_of_tls_1_2_is_served() {
    let root = Authority::root("Test Root");
    let server = serve(&tls_config(&root.issue(&["localhost"])), |_| Endings::default());
    let config = client_config_of(&[&TLS12], &root.pem());
    let mut peer = RustlsPeer::connect(server.address(), config, "localhost").expect("a handshake");
    assert_eq!(peer.connection.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    assert!(peer.upgrade().expect("a response").starts_with("HTTP/1.1 101 "));
    peer.write(Frame::text("echo").bytes()).expect("accepted");
    let echo = Frame::text("echo").unmasked().bytes();
    assert_eq!(peer.data(echo.len()).expect("the echo"), echo);
}
