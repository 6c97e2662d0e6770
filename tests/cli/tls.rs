//! `ringway serve` with TLS: the choice of certificates, its options, and the reload.

use ringway_testkit::certificates::{Authority, DAY, Folder, Identity, Leaf};
use ringway_tests::tls::{HandshakeFailure, RustlsPeer, TlsPeer, authenticate, client_config, client_config_of, der};
use ringway_tests::{Frame, ServerProcess, WATCHDOG, WirePeer, ringway};
use rustix::process::Signal;
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, ProtocolVersion};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Instant, SystemTime};

/// A root with an intermediate, and a folder for the files of a server.
pub(crate) struct Ca {
    pub(crate) root: Authority,
    pub(crate) intermediate: Authority,
    pub(crate) folder: Folder,
}

impl Ca {
    pub(crate) fn new() -> Self {
        let root = Authority::root("Test Root");
        Self { intermediate: root.intermediate("Test Intermediate"), root, folder: Folder::new() }
    }

    /// Issues a certificate for these names, and writes it to `NAME.pem` and `NAME.key`.
    pub(crate) fn write(&self, file: &str, names: &[&str]) -> Identity {
        let identity = self.intermediate.issue(names);
        self.folder.write_identity(file, &identity);
        identity
    }

    pub(crate) fn client(&self) -> ClientConfig {
        client_config(&self.root.pem())
    }

    /// The flags of `serve` for these pairs of files.
    pub(crate) fn flags(&self, files: &[&str]) -> Vec<String> {
        let flag = |name: &str, file: String| format!("--{name}={}", self.folder.path(&file).display());
        files
            .iter()
            .flat_map(|file| [flag("tls-cert", format!("{file}.pem")), flag("tls-key", format!("{file}.key"))])
            .collect()
    }

    /// Starts a server with one shard and these pairs of files.
    pub(crate) fn serve(&self, files: &[&str], arguments: &[&str]) -> ServerProcess {
        let flags = self.flags(files);
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).chain(["--shards=1"]).chain(arguments.iter().copied()).collect();
        ServerProcess::with(&flags)
    }
}

/// The path as text.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// The address of the first listener with TLS.
pub(crate) fn address(server: &ServerProcess) -> SocketAddr {
    server.secure_addresses()[0]
}

/// The certificate that a client gets for this name.
fn certificate_for(server: &ServerProcess, config: ClientConfig, name: &str) -> Vec<u8> {
    RustlsPeer::connect(address(server), config, name).expect("a handshake").certificate()
}

#[test]
fn clients_get_the_certificate_of_the_name_that_they_ask_for() {
    let ca = Ca::new();
    let first = ca.write("first", &["a.example", "localhost"]);
    let second = ca.write("second", &["b.example", "*.c.example"]);
    let server = ca.serve(&["first", "second"], &[]);
    for (name, expected) in
        [("a.example", &first), ("localhost", &first), ("b.example", &second), ("x.c.example", &second)]
    {
        assert_eq!(certificate_for(&server, ca.client(), name), der(expected), "{name}");
    }
    // The name is in neither certificate: the server sends its first one.
    let mut config = ca.client();
    config.enable_sni = false;
    assert_eq!(certificate_for(&server, config, "a.example"), der(&first));
    let failure = RustlsPeer::connect(address(&server), ca.client(), "d.example").err().expect("another name");
    let HandshakeFailure::Tls(rustls::Error::InvalidCertificate(error)) = failure else { panic!("{failure:?}") };
    assert!(error.to_string().contains("a.example"), "{error}");
}

#[test]
fn the_library_and_each_certificate_with_its_expiry_are_printed() {
    let ca = Ca::new();
    ca.write("first", &["a.example", "*.b.example"]);
    ca.write("second", &["c.example"]);
    let server = ca.serve(&["first", "second"], &[]);
    let lines: Vec<&str> = server.announced.iter().map(String::as_str).collect();
    let at = lines.iter().position(|line| line.starts_with("driver ")).expect("the driver");
    let library = lines[at + 1].strip_prefix("tls          rustls with aws-lc-rs; kernel TLS: ").expect("the library");
    let protocols = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp").unwrap_or_default();
    let state = if protocols.split_whitespace().any(|name| name == "tls") { "available" } else { "not available" };
    assert!(library.starts_with(state) && library.ends_with(", not used"), "{library}");
    for (line, names) in [(lines[at + 2], "a.example, *.b.example"), (lines[at + 3], "c.example")] {
        // Valid for 89 days of 90 since the certificate was made.
        let text = format!("certificate  {names}; expires in 88 days, on 2");
        assert!(line.starts_with(&text) && line.ends_with(" UTC"), "{line}");
    }
    let plain = ServerProcess::with(&["--shards=1"]);
    assert!(!plain.announced.iter().any(|line| line.starts_with("tls")), "{:?}", plain.announced);
}

#[test]
fn a_certificate_that_expires_soon_is_a_warning() {
    let ca = Ca::new();
    let now = SystemTime::now();
    let leaf = Leaf::new(&["localhost"]).valid(now - DAY, now + 10 * DAY + DAY / 2);
    ca.folder.write_identity("server", &ca.intermediate.sign(&leaf));
    let mut server = ca.serve(&["server"], &[]);
    assert!(server.announced.iter().any(|line| line.starts_with("certificate  localhost; expires in 10 days, on 2")));
    let warning = server.warning();
    assert!(warning.contains("expires in 10 days, on 2") && warning.contains("renew it"), "{warning}");
}

#[test]
fn tls_min_refuses_older_versions() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let tls12 = || client_config_of(&[&TLS12], &ca.root.pem());
    let server = ca.serve(&["server"], &[]);
    let peer = RustlsPeer::connect(address(&server), tls12(), "localhost").expect("a handshake");
    assert_eq!(peer.connection.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let mut server = ca.serve(&["server"], &["--tls-min=1.3"]);
    let failure = RustlsPeer::connect(address(&server), tls12(), "localhost").err();
    let Some(HandshakeFailure::Tls(rustls::Error::AlertReceived(alert))) = failure else { panic!("{failure:?}") };
    assert_eq!(alert, AlertDescription::ProtocolVersion);
    let warning = server.warning();
    assert!(warning.contains("no common version of TLS") && warning.contains("--tls-min"), "{warning}");
    let tls13 = client_config_of(&[&TLS13], &ca.root.pem());
    RustlsPeer::connect(address(&server), tls13, "localhost").expect("a handshake");
}

#[test]
fn the_application_protocol_is_http_1_1() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let mut server = ca.serve(&["server"], &[]);
    let connect = |alpn: &[&str]| {
        let mut config = ca.client();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        RustlsPeer::connect(address(&server), config, "localhost")
    };
    let agreed = |alpn: &[&str]| connect(alpn).expect("a handshake").connection.alpn_protocol().map(<[u8]>::to_vec);
    assert_eq!(agreed(&[]), None);
    assert_eq!(agreed(&["http/1.1"]).as_deref(), Some(&b"http/1.1"[..]));
    assert_eq!(agreed(&["h2", "http/1.1"]).as_deref(), Some(&b"http/1.1"[..]));
    let failure = connect(&["h2"]).err();
    let Some(HandshakeFailure::Tls(rustls::Error::AlertReceived(alert))) = failure else { panic!("{failure:?}") };
    assert_eq!(alert, AlertDescription::NoApplicationProtocol);
    let warning = server.warning();
    assert!(warning.contains("no application protocol (ALPN) in common"), "{warning}");
}

#[test]
fn records_have_the_given_size() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    for (flags, max) in [(&["--tls-record-size=512"][..], 512), (&[], 16_320)] {
        let server = ca.serve(&["server"], flags);
        let mut peer = TlsPeer::open(address(&server), &ca.root.pem());
        let message = vec![b'a'; 40_000];
        for part in Frame::binary(&message).bytes().chunks(16 * 1024) {
            peer.write(part);
        }
        let (mut received, mut longest) = (0, 0);
        while received < message.len() {
            let (_, data) = peer.record().expect("the echo");
            received += data.len();
            longest = longest.max(data.len());
        }
        assert_eq!(longest, max, "{flags:?}");
    }
}

#[test]
fn plain_and_tls_listeners_share_a_process() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let flags = ca.flags(&["server"]);
    let mut command = ringway(&["serve", "--shards=1", "--listen=ws://127.0.0.1:0", "--listen=wss://127.0.0.1:0"]);
    command.args(flags);
    let server = ServerProcess::start(command);
    WirePeer::open(server.address()).expect_echo("plain");
    TlsPeer::open(address(&server), &ca.root.pem()).expect_echo("secure");
}

#[test]
fn clients_authenticate_by_certificates() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let client = ca.intermediate.sign(&Leaf::new(&["client-7"]).client());
    let foreign = Authority::root("Other Root").sign(&Leaf::new(&["client-8"]).client());
    let root = ca.folder.write("clients.pem", ca.root.pem());
    let flag = format!("--tls-client-ca={}", root.display());
    let with = |identity: &Identity| {
        let mut config = ca.client();
        authenticate(&mut config, identity);
        config
    };
    let cases = [
        (None, "the client sent no certificate, and this server requires one (--tls-client-auth)"),
        (Some(&foreign), "the certificate of the client is not from a CA of --tls-client-ca"),
    ];
    for (identity, warning) in cases {
        let mut server = ca.serve(&["server"], &[&flag]);
        let config = identity.map_or_else(|| ca.client(), with);
        // With TLS 1.3, the server verifies the certificate after the client's handshake.
        let upgraded = RustlsPeer::connect(address(&server), config, "localhost").and_then(|mut peer| peer.upgrade());
        assert!(upgraded.is_err(), "{warning}");
        let line = server.warning();
        assert!(line.contains(warning), "{line}");
        let upgraded = RustlsPeer::connect(address(&server), with(&client), "localhost").map(|mut peer| peer.upgrade());
        assert!(upgraded.expect("a handshake").expect("a response").starts_with("HTTP/1.1 101 "));
    }
    let server = ca.serve(&["server"], &[&flag, "--tls-client-auth=optional"]);
    for config in [ca.client(), with(&client)] {
        let mut peer = RustlsPeer::connect(address(&server), config, "localhost").expect("a handshake");
        assert!(peer.upgrade().expect("a response").starts_with("HTTP/1.1 101 "));
    }
}

/// Connects until the server has this certificate.
pub(crate) fn wait_for_certificate(server: &ServerProcess, ca: &Ca, expected: &Identity) {
    let deadline = Instant::now() + WATCHDOG;
    while certificate_for(server, ca.client(), "localhost") != der(expected) {
        assert!(Instant::now() < deadline, "the certificate has not changed within {WATCHDOG:?}");
    }
}

#[test]
fn sighup_reloads_certificates_and_open_connections_live_on() {
    let ca = Ca::new();
    let first = ca.write("server", &["localhost"]);
    let mut server = ca.serve(&["server"], &[]);
    let mut open = TlsPeer::open(address(&server), &ca.root.pem());
    open.expect_echo("before");
    assert_eq!(certificate_for(&server, ca.client(), "localhost"), der(&first));

    // A key of another certificate is not used, and the log has the reason.
    let key = ca.folder.path("server.key");
    ca.folder.write("server.key", ca.root.issue(&["localhost"]).key);
    let expect_defect = |server: &mut ServerProcess| {
        let line = server.warning();
        assert!(line.contains("the present ones remain in use"), "{line}");
        assert!(line.contains("does not match the certificate") && line.contains(text(&key)), "{line}");
    };
    expect_defect(&mut server);
    // The files are unchanged since: only the signal causes another reading of them.
    server.signal(Signal::HUP);
    expect_defect(&mut server);
    assert_eq!(certificate_for(&server, ca.client(), "localhost"), der(&first));

    let second = ca.write("server", &["localhost"]);
    server.signal(Signal::HUP);
    wait_for_certificate(&server, &ca, &second);
    open.expect_echo("after");
}

#[test]
fn changed_files_are_reloaded_without_a_signal() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let mut server = ca.serve(&["server"], &[]);
    let mut open = TlsPeer::open(address(&server), &ca.root.pem());
    let second = ca.write("server", &["localhost"]);
    wait_for_certificate(&server, &ca, &second);
    open.expect_echo("after");

    // An invalid file is reported without a signal too.
    ca.folder.write("server.pem", "no certificate");
    let line = server.warning();
    assert!(line.contains("the present ones remain in use") && line.contains("has no certificate"), "{line}");
    assert_eq!(certificate_for(&server, ca.client(), "localhost"), der(&second));
    open.expect_echo("later");
}
