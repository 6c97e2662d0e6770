//! `ringway serve` against clients whose first bytes are not those of a valid handshake: the answer,
//! the line of its log, and that it serves others.

use crate::tls::{Ca, address};
use ringway_tests::tls::{HandshakeFailure, RustlsPeer, TlsPeer, client_connection, in_records_of, take_records};
use ringway_tests::{End, RawRequest, ServerProcess, WirePeer, ringway};

/// A ClientHello of this version (RFC 5246 section 7.4.1.2), with these extensions.
fn old_hello(version: [u8; 2], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_vec();
    body.extend([7; 32]);
    // No session; two suites with AES and SHA-1; no compression.
    body.extend([0, 0, 4, 0xc0, 0x13, 0, 0x2f, 1, 0]);
    body.extend(extensions);
    let mut record = vec![22, 3, 1];
    record.extend((body.len() as u16 + 4).to_be_bytes());
    record.extend([1, 0, 0, body.len() as u8]);
    record.extend(body);
    record
}

/// A CLIENT-HELLO of SSL 2.0, as in RFC 6101 appendix E.1.
fn sslv2_hello() -> Vec<u8> {
    let mut hello = vec![0x80, 31, 1, 0, 2, 0, 6, 0, 0, 0, 16, 1, 0, 0x80, 7, 0, 0xc0];
    hello.extend([7; 16]);
    hello
}

/// The ClientHello of a client that offers many application protocols: 20 KB.
fn huge_hello(ca: &Ca) -> Vec<u8> {
    let mut config = ca.client();
    config.alpn_protocols = (0..100).map(|n| format!("{n:0>200}").into_bytes()).collect();
    take_records(&mut client_connection(config, "localhost"))
}

/// Bytes of a linear congruential generator, which begin with `first`.
fn garbage(first: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(first);
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    [first].into_iter().chain((1..len).map(next)).collect()
}

/// What the server answers.
#[derive(Debug)]
enum Answer {
    /// An alert of this description, without protection.
    Alert(u8),
    /// An alert, or none.
    Any,
}

fn check(ca: &Ca, name: &str, bytes: &[u8], answer: &Answer, log: &str) {
    let mut server = ca.serve(&["server"], &[]);
    let mut peer = WirePeer::connect(address(&server));
    peer.write(bytes);
    let line = server.warning();
    assert!(line.contains("a TLS connection failed: ") && line.contains(log), "{name}: {line}");
    if let Answer::Alert(description) = answer {
        let alert = peer.bytes(7);
        assert_eq!((alert[0], alert[5], alert[6]), (21, 2, *description), "{name}: {alert:?}");
    }
    peer.finish();
    // rustls has an alert for most failures.
    peer.rest();
    TlsPeer::open(address(&server), &ca.root.pem()).expect_echo("still serving");
}

#[test]
fn old_versions_are_refused_with_an_alert() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let no_version = "there is no common version of TLS";
    // One extension: signature_algorithms (RFC 5246 section 7.4.1.4.1), which clients before TLS 1.2
    // do not have.
    let extensions = [0, 8, 0, 13, 0, 4, 0, 2, 4, 3];
    for version in [[3, 0], [3, 1], [3, 2]] {
        check(&ca, &format!("{version:?}"), &old_hello(version, &[]), &Answer::Alert(40), no_version);
        check(&ca, &format!("{version:?}"), &old_hello(version, &extensions), &Answer::Alert(70), no_version);
    }
    let parts = in_records_of(3, &old_hello([3, 1], &extensions));
    check(&ca, "TLS 1.0 in parts", &parts, &Answer::Alert(70), no_version);
    check(&ca, "SSL 2.0", &sslv2_hello(), &Answer::Any, "the client does not use TLS");
}

#[test]
fn bytes_that_are_not_tls_are_refused() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    for first in [0, 1, 19, 25, 0x7f, 0x80, 0xff] {
        let bytes = garbage(first, 300);
        check(&ca, &format!("garbage {first}"), &bytes, &Answer::Any, "the client does not use TLS");
    }
}

#[test]
fn records_that_may_not_come_first_are_refused() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let data = [23, 3, 3, 0, 4, 1, 2, 3, 4];
    check(&ca, "data", &data, &Answer::Alert(10), "the client sent a TLS message out of order");
    let finished = [22, 3, 3, 0, 4, 20, 0, 0, 0];
    check(&ca, "Finished", &finished, &Answer::Alert(10), "the client sent a TLS message out of order");
    let alert = [21, 3, 1, 0, 2, 2, 40];
    check(&ca, "alert", &alert, &Answer::Any, "the client rejected the handshake");
    let unknown = [99, 3, 3, 0, 4, 1, 2, 3, 4];
    check(&ca, "unknown type", &unknown, &Answer::Any, "the client does not use TLS");
}

#[test]
fn records_and_messages_that_are_too_long_are_refused() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let header = [22, 3, 1, 0xff, 0xff, 1];
    check(&ca, "length of a record", &header, &Answer::Any, "longer than TLS allows");
    let log = "the peer's part of the handshake is longer than 16384 bytes";
    check(&ca, "20 KB", &huge_hello(&ca), &Answer::Any, log);
    // The length of the message alone is over the limit.
    let message = [22, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff];
    check(&ca, "length of a message", &message, &Answer::Any, "a handshake message that is too long");
}

#[test]
fn an_invalid_client_hello_is_refused() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let truncated = [22, 3, 1, 0, 6, 1, 0, 0, 2, 3, 3];
    check(&ca, "truncated", &truncated, &Answer::Alert(50), "the client sent an invalid TLS message");
}

#[test]
fn http_on_a_port_with_tls_gets_one_sentence() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let mut server = ca.serve(&["server"], &[]);
    let mut peer = WirePeer::connect(address(&server));
    peer.write(RawRequest::websocket().bytes());
    let response = peer.response();
    assert_eq!((response.status, response.body.lines().count()), (400, 1), "{response:?}");
    assert!(response.body.contains("wss://"), "{response:?}");
    assert_eq!(peer.end(), End::Finished, "the answer must not be destroyed by a reset");
    let line = server.warning();
    assert!(line.contains("HTTP without TLS; it needs https:// or wss:// in its URL"), "{line}");
    TlsPeer::open(address(&server), &ca.root.pem()).expect_echo("still serving");
}

#[test]
fn a_client_hello_on_a_plain_port_gets_an_alert_and_a_hint() {
    let ca = Ca::new();
    let mut server = ServerProcess::with(&["--shards=1"]);
    let failure = RustlsPeer::connect(server.address(), ca.client(), "localhost").err().expect("the port is plain");
    assert!(matches!(failure, HandshakeFailure::Tls(rustls::Error::AlertReceived(_))), "{failure:?}");
    let line = server.warning();
    assert!(line.contains("a client began TLS on a listener without it"), "{line}");
    assert!(line.contains("--tls-cert"), "the remedy: {line}");
    WirePeer::open(server.address()).expect_echo("still serving");
}

#[test]
fn warnings_of_one_kind_do_not_suppress_other_kinds() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let flags = ca.flags(&["server"]);
    let mut command = ringway(&["serve", "--shards=1", "--listen=ws://127.0.0.1:0", "--listen=wss://127.0.0.1:0"]);
    command.args(flags);
    let mut server = ServerProcess::start(command);
    let mut peer = WirePeer::connect(address(&server));
    peer.write(RawRequest::websocket().bytes());
    peer.rest();
    assert!(RustlsPeer::connect(server.address(), ca.client(), "localhost").is_err());
    let mut config = ca.client();
    config.alpn_protocols = vec![b"h2".to_vec()];
    assert!(RustlsPeer::connect(address(&server), config, "localhost").is_err());
    for expected in
        ["HTTP without TLS", "a client began TLS on a listener without it", "no application protocol (ALPN)"]
    {
        let line = server.warning();
        assert!(line.contains(expected) && line.contains(" (peer 127.0.0.1:"), "{expected}: {line}");
    }
}

#[test]
fn a_connection_that_ends_during_its_handshake_leaves_nothing_behind() {
    let ca = Ca::new();
    ca.write("server", &["localhost"]);
    let server = ca.serve(&["server"], &[]);
    let hello = take_records(&mut client_connection(ca.client(), "localhost"));
    for len in [0, 1, 4, 5, 6, 100, hello.len() - 1, hello.len()] {
        let mut peer = WirePeer::connect(address(&server));
        peer.write(&hello[..len]);
        peer.finish();
        peer.rest();
        let mut peer = WirePeer::connect(address(&server));
        peer.write(&hello[..len]);
        peer.reset();
    }
    TlsPeer::open(address(&server), &ca.root.pem()).expect_echo("still serving");
}
