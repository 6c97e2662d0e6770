//! `ringway load wss://…`: servers with bad certificates, and each of its TLS flags.

use crate::tls::{Ca, address, text};
use ringway::{Connection, Handler, Limits, Message, Request, Server, TlsConfig, Upgrade};
use ringway_testkit::certificates::{Authority, DAY, Identity, KeyKind, Leaf};
use ringway_tests::tls::{HandshakeFailure, RustlsPeer, server_config};
use ringway_tests::{Ended, TestServer, accepting, config, ringway, run};
use rustls::ServerConfig;
use std::net::{SocketAddr, TcpListener};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

/// `ringway load` with one connection that sends nothing.
fn load(server: SocketAddr, arguments: &[&str]) -> Ended {
    let url = format!("wss://{server}/");
    let fixed = ["load", &url, "-c=1", "--mode=idle", "-d=1ms", "-w=0", "-q"];
    run(ringway(&[&fixed[..], arguments].concat()))
}

/// A server of rustls that accepts one connection, and answers the close frame of the client.
fn one_connection(config: ServerConfig) -> (SocketAddr, JoinHandle<Result<(), HandshakeFailure>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let serve = move || {
        let stream = listener.accept().expect("the client connects").0;
        let mut peer = RustlsPeer::accept(stream, config)?;
        let answer = accepting(&peer.head()?);
        peer.write(answer)?;
        let head = peer.data(2)?;
        assert_eq!(head[0], 0x88, "the client sends a close frame only");
        peer.data(4 + usize::from(head[1] & 0x7f))?;
        peer.write([0x88, 2, 3, 0xe8])?;
        peer.close_notify();
        Ok(())
    };
    (address, thread::spawn(serve))
}

/// Loads a server with this configuration, and returns the result of both.
fn load_once(config: ServerConfig, arguments: &[&str]) -> (Ended, Result<(), HandshakeFailure>) {
    let (address, server) = one_connection(config);
    let ended = load(address, arguments);
    (ended, server.join().expect("no assertion has failed"))
}

/// Checks that a server with this certificate is refused with this text, and whether `-k` accepts
/// it.
fn check(ca: &Ca, name: &str, chain: &str, key: &Identity, expected: &str, insecure_accepts: bool) {
    let root = ca.folder.write("root.pem", ca.root.pem());
    let flags = ["--cacert", text(&root), "--servername=localhost"];
    let (ended, served) = load_once(server_config(chain, key), &flags);
    assert_eq!(ended.status.code(), Some(1), "{name}: {ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{name}: {ended:?}");
    assert!(ended.stderr.contains(expected), "{name}: {ended:?}");
    assert!(!ended.stderr.contains("Context"), "{name}: no name of a type of rustls: {ended:?}");
    assert!(served.is_err(), "{name}: the request must not be sent");
    let (ended, served) = load_once(server_config(chain, key), &["-k"]);
    let code = if insecure_accepts { 0 } else { 1 };
    assert_eq!(ended.status.code(), Some(code), "{name}: {ended:?}");
    assert_eq!(served.is_ok(), insecure_accepts, "{name}: {served:?}");
    assert!(ended.stderr.contains("certificates of servers are not verified"), "{name}: {ended:?}");
}

fn issue(ca: &Ca, leaf: &Leaf) -> Identity {
    ca.intermediate.sign(leaf)
}

#[test]
fn a_valid_certificate_is_accepted() {
    let ca = Ca::new();
    let root = ca.folder.write("root.pem", ca.root.pem());
    for key in [KeyKind::P256, KeyKind::Ed25519, KeyKind::Rsa] {
        let identity = issue(&ca, &Leaf::new(&["localhost"]).key(key));
        let flags = ["--cacert", text(&root), "--servername=localhost"];
        let (ended, served) = load_once(server_config(&identity.chain(), &identity), &flags);
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{key:?}: {ended:?}");
        assert!(served.is_ok(), "{key:?}: {served:?}");
    }
    // The address of the URL is in the certificate.
    let identity = issue(&ca, &Leaf::new(&["127.0.0.1"]));
    let (ended, _) = load_once(server_config(&identity.chain(), &identity), &["--cacert", text(&root)]);
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn certificates_out_of_their_validity_are_refused_with_the_date() {
    let ca = Ca::new();
    let now = SystemTime::now();
    let expired = issue(&ca, &Leaf::new(&["localhost"]).valid(now - 30 * DAY, now - DAY));
    check(&ca, "expired", &expired.chain(), &expired, "a certificate of the server expired on 2", true);
    let future = issue(&ca, &Leaf::new(&["localhost"]).valid(now + DAY, now + 30 * DAY));
    let text = "a certificate of the server is not valid before 2";
    check(&ca, "not yet valid", &future.chain(), &future, text, true);
}

#[test]
fn a_certificate_of_another_name_is_refused_with_its_names() {
    let ca = Ca::new();
    let wrong = issue(&ca, &Leaf::new(&["a.example", "*.b.example", "192.0.2.7"]));
    let text = "not for localhost (it has a.example, *.b.example, 192.0.2.7); use one of its names, or give it with \
                --servername";
    check(&ca, "wrong name", &wrong.chain(), &wrong, text, true);
}

#[test]
fn certificates_without_a_trusted_issuer_are_refused() {
    let ca = Ca::new();
    let unknown = "unknown CA, or the server does not send its intermediate certificate; give the CA with --cacert, or \
                   skip the verification with -k";
    let own = Leaf::new(&["localhost"]).self_signed();
    check(&ca, "self-signed", &own.chain(), &own, unknown, true);
    let marked = Leaf::new(&["localhost"]).marked_as_ca().self_signed();
    check(&ca, "self-signed, a CA", &marked.chain(), &marked, "basicConstraints=CA:FALSE", true);
    let foreign = Authority::root("Other Root").issue(&["localhost"]);
    check(&ca, "unknown CA", &foreign.chain(), &foreign, unknown, true);
    let leaf = issue(&ca, &Leaf::new(&["localhost"]));
    check(&ca, "missing intermediate", &leaf.certificate, &leaf, unknown, true);
    // A root of the same name with another key.
    let twin = Authority::root("Test Root").issue(&["localhost"]);
    check(&ca, "twin of the root", &twin.chain(), &twin, "its chain is of another CA with the same name", true);
}

#[test]
fn a_certificate_of_a_client_is_refused() {
    let ca = Ca::new();
    let client = issue(&ca, &Leaf::new(&["localhost"]).client());
    check(&ca, "client's", &client.chain(), &client, "not for use by a server (extended key usage)", true);
}

#[test]
fn a_server_without_the_key_of_its_certificate_is_refused_also_without_verification() {
    let ca = Ca::new();
    let identity = issue(&ca, &Leaf::new(&["localhost"]));
    let other = issue(&ca, &Leaf::new(&["localhost"]));
    check(&ca, "other key", &identity.chain(), &other, "its key is not that of its certificate", false);
    let rsa = issue(&ca, &Leaf::new(&["localhost"]).key(KeyKind::Rsa));
    check(&ca, "other kind of key", &identity.chain(), &rsa, "its key is not that of its certificate", false);
}

#[test]
fn servername_chooses_the_certificate() {
    let ca = Ca::new();
    ca.write("first", &["a.example"]);
    ca.write("second", &["b.example"]);
    let server = ca.serve(&["first", "second"], &[]);
    let root = ca.folder.write("root.pem", ca.root.pem());
    for name in ["a.example", "b.example"] {
        let ended = load(address(&server), &["--cacert", text(&root), "--servername", name]);
        assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{name}: {ended:?}");
    }
    let ended = load(address(&server), &["--cacert", text(&root)]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("not for 127.0.0.1 (it has a.example)"), "{ended:?}");
}

#[test]
fn cacert_takes_several_files() {
    let ca = Ca::new();
    ca.write("server", &["127.0.0.1"]);
    let server = ca.serve(&["server"], &[]);
    let root = ca.folder.write("root.pem", ca.root.pem());
    let other = ca.folder.write("other.pem", Authority::root("Other Root").pem());
    let ended = load(address(&server), &["--cacert", text(&other), "--cacert", text(&root)]);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let ended = load(address(&server), &["--cacert", text(&other)]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
}

#[test]
fn the_roots_of_the_system_are_the_default() {
    let ca = Ca::new();
    ca.write("server", &["127.0.0.1"]);
    let server = ca.serve(&["server"], &[]);
    let root = ca.folder.write("root.pem", ca.root.pem());
    let url = format!("wss://{}/", address(&server));
    let load = || ringway(&["load", &url, "-c=1", "--mode=idle", "-d=1ms", "-w=0", "-q"]);
    let mut command = load();
    command.env("SSL_CERT_FILE", &root);
    let ended = run(command);
    assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let other = ca.folder.write("other.pem", Authority::root("Other Root").pem());
    let mut command = load();
    command.env("SSL_CERT_FILE", &other);
    let ended = run(command);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("unknown CA"), "{ended:?}");
}

#[test]
fn alpn_is_offered_as_given() {
    let ca = Ca::new();
    ca.write("server", &["127.0.0.1"]);
    let server = ca.serve(&["server"], &[]);
    for alpn in ["http/1.1", "h2,http/1.1", "none"] {
        let ended = load(address(&server), &["-k", "--alpn", alpn]);
        assert_eq!(ended.status.code(), Some(0), "{alpn}: {ended:?}");
    }
    let ended = load(address(&server), &["-k", "--alpn=h2"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let expected = "the server supports none of the offered application protocols; change them with --alpn";
    assert!(ended.stderr.contains(expected), "{ended:?}");
}

#[test]
fn cert_and_key_authenticate_the_client() {
    let ca = Ca::new();
    ca.write("server", &["127.0.0.1"]);
    let root = ca.folder.write("root.pem", ca.root.pem());
    let client = ca.intermediate.sign(&Leaf::new(&["client-7"]).client());
    let foreign = Authority::root("Other Root").sign(&Leaf::new(&["client-8"]).client());
    let (chain, key) = ca.folder.write_identity("client", &client);
    let (other_chain, other_key) = ca.folder.write_identity("foreign", &foreign);
    let both = ca.folder.write("both.pem", client.chain() + &client.key);
    let ca_flag = format!("--tls-client-ca={}", root.display());
    let cases = [
        (vec!["--cert", text(&chain), "--key", text(&key)], None),
        (vec!["--cert", text(&both)], None),
        (vec![], Some("the server requires a client certificate; give it with --cert and --key")),
        (
            vec!["--cert", text(&other_chain), "--key", text(&other_key)],
            Some("the server does not trust the CA of the client certificate (--cert)"),
        ),
    ];
    for (flags, expected) in cases {
        let server = ca.serve(&["server"], &[&ca_flag]);
        let ended = load(address(&server), &[&["--cacert", text(&root)], &flags[..]].concat());
        match expected {
            None => assert_eq!((ended.status.code(), ended.stderr.as_str()), (Some(0), ""), "{flags:?}: {ended:?}"),
            Some(expected) => {
                assert_eq!(ended.status.code(), Some(1), "{flags:?}: {ended:?}");
                assert!(ended.stderr.contains(expected), "{flags:?}: {ended:?}");
            }
        }
    }
}

/// A handler that counts the connections, and those whose session was resumed.
#[derive(Default)]
struct Resumed {
    connections: usize,
    resumed: usize,
}

impl Handler for Resumed {
    type State = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        self.connections += 1;
        self.resumed += usize::from(request.tls().is_some_and(|tls| tls.is_resumed()));
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

#[test]
fn sessions_are_resumed_only_with_resume() {
    let ca = Ca::new();
    let identity = ca.write("server", &["127.0.0.1"]);
    let tls = TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a valid chain");
    let server = Server::bind("127.0.0.1:0").expect("a free port").tls(&tls);
    let server = TestServer::listening(server, config(), Limits::default(), |_| Resumed::default());
    // One connection at a time: a connection can use the ticket of an earlier one only.
    let url = format!("wss://{}/", server.address());
    let load = ["load", &url, "-k", "-c=20", "-t=1", "--connect-rate=50", "--mode=idle", "-d=1ms", "-w=0", "-q"];
    for (flags, resumes) in [(&[][..], false), (&["--resume"][..], true)] {
        let ended = run(ringway(&[&load[..], flags].concat()));
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        let counted = server.on_shard(|counts, _| std::mem::take(counts));
        assert_eq!(counted.connections, 20);
        assert_eq!(counted.resumed > 0, resumes, "{flags:?}: {} of 20", counted.resumed);
    }
}

#[test]
fn a_plain_port_is_named() {
    let server = TestServer::echo();
    let ended = load(server.address(), &["-k"]);
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("then use ws:// (alert unexpected_message)"), "{ended:?}");
}

#[test]
fn a_port_with_tls_is_named_to_a_plain_client() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let server = ca.serve(&["server"], &[]);
    let url = format!("ws://{}/", address(&server));
    let ended = run(ringway(&["load", &url, "-c=1", "--mode=idle", "-d=1ms", "-w=0", "-q"]));
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains("answered 400 ") && ended.stderr.contains("use wss://"), "{ended:?}");
}

#[test]
fn flags_of_tls_need_a_url_with_wss() {
    for flags in [&["-k"][..], &["--servername=a.example"], &["--alpn=h2"], &["--resume"], &["--cacert=/none.pem"]] {
        let ended = run(ringway(&[&["load", "ws://127.0.0.1:1/"], flags].concat()));
        assert_eq!(ended.status.code(), Some(2), "{flags:?}: {ended:?}");
        assert!(ended.stderr.contains("is for TLS: give a URL with wss://"), "{flags:?}: {ended:?}");
    }
}
