//! Servers with TLS against clients that send hostile records, and records that are cut in unusual
//! ways.

use crate::config;
use ringway::{CloseReason, Connection, Handler, Limits, Message, Request, Server, Shard, TlsConfig, Upgrade};
use ringway_testkit::certificates::{Authority, Identity};
use ringway_tests::tls::{
    HandshakeFailure, KEY_UPDATE, KEY_UPDATE_REQUEST, Tls12Peer, TlsPeer, client_config, client_connection,
    in_records_of, take_records,
};
use ringway_tests::{Frame, TestServer};
use rustls::ContentType;
use std::io::Write;
use std::mem;
use std::net::TcpStream;

/// A handler that echoes, and records how connections ended.
#[derive(Default)]
pub(crate) struct Endings(Vec<String>);

impl Handler for Endings {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
        self.0.push(reason.to_string());
    }
}

/// A server with a certificate for `localhost`.
struct SecureServer {
    server: TestServer<Endings>,
    root: String,
}

impl SecureServer {
    fn start() -> Self {
        let root = Authority::root("Test Root");
        let tls = tls_config(&root.issue(&["localhost"]));
        Self { server: serve(&tls, |_| Endings::default()), root: root.pem() }
    }

    fn open(&self) -> TlsPeer {
        TlsPeer::open(self.server.address(), &self.root)
    }

    /// The endings since the last call, after all connections have ended.
    fn endings(&self) -> Vec<String> {
        self.server.wait_until_empty();
        self.server.on_shard(|endings, _| mem::take(&mut endings.0))
    }

    /// Sends `attack` on an open connection. Checks the alert, if one is expected, the reason of the
    /// handler, and that the server serves others.
    fn check(&self, attack: impl FnOnce(&mut TlsPeer), alert: impl Into<Option<u8>>, reason: &str) {
        let mut peer = self.open();
        peer.expect_echo("before");
        attack(&mut peer);
        if let Some(alert) = alert.into() {
            assert_eq!(peer.alert(), alert, "{reason}");
        }
        peer.finish();
        while peer.record().is_ok() {}
        let endings = self.endings();
        assert_eq!(endings.len(), 1, "{endings:?}");
        assert!(endings[0].starts_with("1006, TLS failed: ") && endings[0].contains(reason), "{endings:?}");
        self.check_serving();
    }

    fn check_serving(&self) {
        let mut peer = self.open();
        peer.expect_echo("still");
        peer.send(&Frame::close(1000, ""));
        peer.expect_frame(&Frame::close(1000, "").unmasked());
        peer.close_notify();
        assert_eq!(peer.alert(), 0, "close_notify");
        peer.end();
        assert_eq!(self.endings().len(), 1);
    }
}

pub(crate) fn tls_config(identity: &Identity) -> TlsConfig {
    TlsConfig::from_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a valid chain and its key")
}

pub(crate) fn serve<H: Handler>(tls: &TlsConfig, make: impl Fn(usize) -> H + Send + Sync + 'static) -> TestServer<H> {
    let server = Server::bind("127.0.0.1:0").expect("a free port").tls(tls);
    TestServer::listening(server, config(), Limits::default(), make)
}

/// The descriptions of alerts (RFC 8446 section 6).
mod alert {
    pub(super) const UNEXPECTED_MESSAGE: u8 = 10;
    pub(super) const BAD_RECORD_MAC: u8 = 20;
    pub(super) const RECORD_OVERFLOW: u8 = 22;
    pub(super) const DECODE_ERROR: u8 = 50;
    pub(super) const NO_RENEGOTIATION: u8 = 100;
}

#[test]
fn rfc8446_5_2_a_record_with_a_changed_tag_ends_the_connection() {
    let server = SecureServer::start();
    let attack = |peer: &mut TlsPeer| peer.send_changed(&Frame::text("changed"));
    let reason = "a record of the client could not be decrypted: it was changed on the way, or the client is faulty";
    server.check(attack, alert::BAD_RECORD_MAC, reason);
}

#[test]
fn rfc8446_5_1_an_oversized_record_ends_the_connection() {
    let server = SecureServer::start();
    let too_long = "the client sent a record longer than TLS allows";
    // One byte of plaintext over the limit; ciphertext over the limit of TLS 1.3.
    for len in [(1 << 14) + 1, (1 << 14) + 256] {
        server.check(|peer| peer.write(vec![0; len]), alert::RECORD_OVERFLOW, too_long);
    }
}

#[test]
fn a_record_header_over_every_limit_ends_the_connection_before_its_content() {
    let server = SecureServer::start();
    let reason = "the client sent a record longer than TLS allows, or not TLS";
    server.check(|peer| peer.write_raw([23, 3, 3, 0xff, 0xff]), alert::DECODE_ERROR, reason);
}

#[test]
fn a_long_message_of_the_protocol_in_padded_records_ends_the_connection() {
    let server = SecureServer::start();
    let attack = |peer: &mut TlsPeer| {
        // Each record has one byte of a KeyUpdate of 65 280 bytes, and padding. rustls keeps them all
        // until the message is complete: 1 GiB.
        for at in 0..100 {
            let mut plain = if at == 0 { vec![24, 0, 0xff, 0] } else { vec![0] };
            plain.push(22);
            plain.resize(1 << 14, 0);
            let record = peer.seal(ContentType::from(0), &plain);
            if !peer.try_write_raw(record) {
                return;
            }
        }
    };
    server.check(attack, None, "longer than 65536 bytes");
}

#[test]
fn rfc8446_5_1_an_unknown_type_of_record_ends_the_connection() {
    let server = SecureServer::start();
    let sealed = |peer: &mut TlsPeer| {
        let record = peer.seal(ContentType::Unknown(99), b"what");
        peer.write_raw(record);
    };
    server.check(sealed, None, "the client");
    let plain = |peer: &mut TlsPeer| peer.write_raw([99, 3, 3, 0, 1, 0]);
    server.check(plain, alert::DECODE_ERROR, "the client does not use TLS");
}

#[test]
fn an_alert_without_protection_does_not_end_the_peers_direction() {
    let server = SecureServer::start();
    // A close_notify of someone on the path.
    let reason = "a record of the client could not be decrypted";
    server.check(|peer| peer.write_raw([21, 3, 3, 0, 2, 1, 0]), alert::BAD_RECORD_MAC, reason);
}

#[test]
fn rfc8446_4_1_2_renegotiation_ends_the_connection() {
    let server = SecureServer::start();
    let attack = |peer: &mut TlsPeer| {
        let hello = take_records(&mut client_connection(client_config(&server.root), "localhost"));
        let record = peer.seal(ContentType::Handshake, &hello[5..]);
        peer.write_raw(record);
    };
    let reason = "the client sent a TLS message out of order (expected KeyUpdate, got ClientHello)";
    server.check(attack, alert::UNEXPECTED_MESSAGE, reason);
}

#[test]
fn rfc5246_7_2_2_renegotiation_is_refused_once_and_then_ends_the_connection() {
    let server = SecureServer::start();
    let mut peer = Tls12Peer::open(server.server.address(), &server.root);
    let hello = take_records(&mut client_connection(client_config(&server.root), "localhost"));
    peer.send(ContentType::Handshake, &hello[5..]);
    // A warning.
    assert_eq!(peer.record(), Ok((ContentType::Alert, vec![1, alert::NO_RENEGOTIATION])));
    peer.send(ContentType::ApplicationData, &Frame::text("after").bytes());
    assert_eq!(peer.record(), Ok((ContentType::ApplicationData, Frame::text("after").unmasked().bytes())));
    peer.send(ContentType::Handshake, &hello[5..]);
    while peer.record().is_ok() {}
    let endings = server.endings();
    assert_eq!(endings.len(), 1, "{endings:?}");
    assert!(
        endings[0].starts_with("1006, TLS failed: ") && endings[0].contains("too many renegotiation requests"),
        "{endings:?}"
    );
    server.check_serving();
}

#[test]
fn a_flood_of_key_updates_ends_the_connection() {
    let server = SecureServer::start();
    // rustls sends no alert for it.
    server.check(TlsPeer::flood_key_updates, None, "the client sent a flood of messages without data");
}

#[test]
fn a_flood_of_empty_records_ends_the_connection() {
    let server = SecureServer::start();
    let attack = |peer: &mut TlsPeer| {
        let records: Vec<u8> = (0..100).flat_map(|_| peer.seal_data("")).collect();
        peer.try_write_raw(records);
    };
    // rustls sends no alert for it.
    server.check(attack, None, "the client sent a flood of messages without data");
}

#[test]
fn a_fatal_alert_of_the_client_is_the_reason() {
    let server = SecureServer::start();
    let mut peer = server.open();
    let record = peer.seal(ContentType::Alert, &[2, 80]);
    peer.write_raw(record);
    peer.finish();
    peer.end();
    let endings = server.endings();
    assert!(endings[0].contains("the client failed with an internal error"), "{endings:?}");
    server.check_serving();
}

#[test]
fn rfc8446_6_1_a_fin_without_a_close_notify_is_an_error_only_before_the_close_frames() {
    let server = SecureServer::start();
    let mut peer = server.open();
    peer.expect_echo("before");
    peer.finish();
    while peer.record().is_ok() {}
    let endings = server.endings();
    assert!(endings[0].starts_with("1006"), "{endings:?}");
    assert!(endings[0].contains("close_notify"), "{endings:?}");

    let mut peer = server.open();
    peer.send(&Frame::close(1000, ""));
    peer.expect_frame(&Frame::close(1000, "").unmasked());
    peer.finish();
    while peer.record().is_ok() {}
    let endings = server.endings();
    assert!(endings[0].starts_with("1000"), "{endings:?}");
    server.check_serving();
}

/// Sends a message, and in the same segment the first part of a message of the handshake, so that
/// the reply is sealed while the message is incomplete; then the rest of it, and a message under the
/// keys after it.
fn split_key_update(peer: &mut TlsPeer, update: &[u8], at: usize) {
    let mut bytes = peer.seal_data(Frame::text("during").bytes());
    bytes.extend(peer.seal(ContentType::Handshake, &update[..at]));
    peer.write_raw(bytes);
    peer.expect_frame(&Frame::text("during").unmasked());
    let rest = peer.seal(ContentType::Handshake, &update[at..]);
    peer.change_keys();
    peer.write_raw(rest);
    peer.expect_echo("after");
}

#[test]
fn data_is_sent_while_a_key_update_is_incomplete() {
    let server = SecureServer::start();
    let mut peer = server.open();
    for at in 1..KEY_UPDATE.len() {
        split_key_update(&mut peer, &KEY_UPDATE, at);
        split_key_update(&mut peer, &KEY_UPDATE_REQUEST, at);
    }
    peer.expect_echo("later");
}

#[test]
fn a_key_update_arrives_byte_by_byte() {
    let server = SecureServer::start();
    let mut peer = server.open();
    for _ in 0..3 {
        for byte in KEY_UPDATE_REQUEST {
            for byte in peer.seal(ContentType::Handshake, &[byte]) {
                peer.write_raw([byte]);
            }
        }
        peer.change_keys();
        peer.expect_echo("after");
    }
}

#[test]
fn a_client_hello_may_be_split_at_every_byte() {
    let server = SecureServer::start();
    let connect = |write: &dyn Fn(&mut TcpStream, Vec<u8>)| {
        let write = |stream: &mut _, hello| write(stream, hello);
        let connected = TlsPeer::connect_with(server.server.address(), client_config(&server.root), "localhost", write);
        let mut peer = connected.expect("a handshake");
        peer.upgrade();
        peer.expect_echo("split");
    };
    // In segments of one byte.
    connect(&|stream, hello| {
        for byte in hello {
            stream.write_all(&[byte]).expect("the server accepts the bytes");
        }
    });
    // In records, each in segments of its own, and all in one.
    for len in [1, 2, 3, 4, 5, 100, 1000] {
        connect(&|stream, hello| stream.write_all(&in_records_of(len, &hello)).expect("the server accepts the bytes"));
        connect(&|stream, hello| {
            for record in in_records_of(len, &hello).chunks(len + 5) {
                stream.write_all(record).expect("the server accepts the bytes");
            }
        });
    }
}

#[test]
fn a_client_hello_over_16_kib_is_refused() {
    let server = SecureServer::start();
    let mut config = client_config(&server.root);
    config.alpn_protocols = (0..100).map(|n| format!("{n:0>200}").into_bytes()).collect();
    config.alpn_protocols.push(b"http/1.1".to_vec());
    let write = |stream: &mut TcpStream, hello: Vec<u8>| {
        assert!(hello.len() > 16 * 1024);
        stream.write_all(&hello).expect("the server accepts the bytes");
    };
    let refused = TlsPeer::connect_with(server.server.address(), config, "localhost", write);
    // Another reason would come with an alert of rustls.
    let reason = refused.err().expect("a refusal");
    assert!(matches!(reason, HandshakeFailure::Ended(_)), "{reason:?}");
    server.check_serving();
}
