//! Certificates by name, versions, tickets, application protocols and records.

use super::{Ca, Handshake, der, handshake, run, server};
use crate::tls::insecure::AnyCertificate;
use crate::tls::sessions::Sessions;
use crate::tls::{ClientTls, TlsConfig, TlsVersion, provider};
use ringway_testkit::certificates::{KeyKind, Leaf};
use rustls::client::{ClientConfig, ClientSessionStore, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::ServerName;
use rustls::{ProtocolVersion, SignatureScheme, SupportedProtocolVersion, version};
use std::io::Write;
use std::iter;
use std::sync::Arc;
use std::thread;

#[test]
fn rfc6066_3_the_certificate_is_that_of_the_requested_name() {
    let ca = Ca::new();
    let identities = [
        ca.intermediate.issue(&["first.example", "192.0.2.1"]),
        ca.intermediate.issue(&["*.second.example"]),
        ca.intermediate.issue(&["exact.second.example", "Third.Example"]),
    ];
    let config = identities[1..].iter().fold(server(&identities[0]), |config, identity| {
        config.and_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a valid chain and its key")
    });
    let names: Vec<&str> = config.names().collect();
    assert_eq!(names, ["first.example", "192.0.2.1", "*.second.example", "exact.second.example", "third.example"]);
    for (host, expected) in [
        ("first.example", 0),
        ("a.second.example", 1),
        ("A.SECOND.example", 1),
        ("exact.second.example", 2),
        ("third.example", 2),
        ("THIRD.EXAMPLE.", 2),
        // Addresses are not sent as names.
        ("192.0.2.1", 0),
    ] {
        let certificate = handshake(&config, &ca.client(), host).certificate();
        assert_eq!(certificate, der(&identities[expected]), "{host}");
    }
    // No certificate has these names. The first is sent, so the error of the client names it.
    for host in ["second.example", "a.b.second.example", "other.example", "192.0.2.2"] {
        let certificate = handshake(&config, &ClientTls::insecure(), host).certificate();
        assert_eq!(certificate, der(&identities[0]), "{host}");
        assert!(handshake(&config, &ca.client(), host).client_says().contains("it has first.example, 192.0.2.1"));
    }
}

/// A client of rustls with these versions and signatures, which accepts every certificate.
fn raw_client(versions: &[&'static SupportedProtocolVersion], schemes: Vec<SignatureScheme>) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    builder
        .expect("versions of the provider")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyCertificate::of_schemes(provider(), schemes)))
        .with_no_client_auth()
}

fn all_schemes() -> Vec<SignatureScheme> {
    provider().signature_verification_algorithms.supported_schemes()
}

fn name() -> ServerName<'static> {
    ServerName::try_from("a.example").expect("a name")
}

#[test]
fn the_key_is_of_a_kind_that_the_client_supports() {
    let ca = Ca::new();
    let identities = [KeyKind::P256, KeyKind::Rsa, KeyKind::Ed25519]
        .map(|kind| ca.intermediate.sign(&Leaf::new(&["a.example"]).key(kind)));
    let config = identities[1..].iter().fold(server(&identities[0]), |config, identity| {
        config.and_pem(identity.chain().as_bytes(), identity.key.as_bytes()).expect("a valid chain and its key")
    });
    for (schemes, expected) in [
        (all_schemes(), 0),
        (vec![SignatureScheme::RSA_PSS_SHA256], 1),
        (vec![SignatureScheme::ED25519], 2),
        (vec![SignatureScheme::ED25519, SignatureScheme::RSA_PSS_SHA256], 1),
    ] {
        let client = raw_client(&[&version::TLS13], schemes.clone());
        let ended = run(config.rustls(), Arc::new(client), name());
        assert_eq!(ended.certificate(), der(&identities[expected]), "{schemes:?}");
    }
    let client = raw_client(&[&version::TLS13], vec![SignatureScheme::ECDSA_NISTP521_SHA512]);
    let ended = run(config.rustls(), Arc::new(client), name());
    assert_eq!(ended.server_says(), "the client does not support signatures of the kind of key that this side has");
}

#[test]
fn the_minimum_version_is_1_2_or_1_3() {
    let config = Ca::new().server(&["a.example"]);
    let client = |versions: &[&'static SupportedProtocolVersion]| Arc::new(raw_client(versions, all_schemes()));
    let both = run(config.rustls(), client(&[&version::TLS12, &version::TLS13]), name());
    both.expect();
    assert_eq!(both.server.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    let old = run(config.rustls(), client(&[&version::TLS12]), name());
    old.expect();
    assert_eq!(old.server.protocol_version(), Some(ProtocolVersion::TLSv1_2));

    let config = config.min_version(TlsVersion::Tls13);
    run(config.rustls(), client(&[&version::TLS12, &version::TLS13]), name()).expect();
    let refused = run(config.rustls(), client(&[&version::TLS12]), name());
    assert_eq!(
        refused.server_says(),
        "there is no common version of TLS: the client supports none of this server's (--tls-min)"
    );
    assert_eq!(refused.client_says(), "the server supports no version of TLS in common (alert protocol_version)");
}

#[test]
fn a_client_offers_its_maximum_version() {
    let ca = Ca::new();
    let (config, client) = (ca.server(&["a.example"]), ca.client());
    for (client, version) in [
        (client.clone(), ProtocolVersion::TLSv1_3),
        (client.clone().max_version(TlsVersion::Tls13), ProtocolVersion::TLSv1_3),
        (client.max_version(TlsVersion::Tls12), ProtocolVersion::TLSv1_2),
    ] {
        let ended = handshake(&config, &client, "a.example");
        ended.expect();
        assert_eq!(ended.client.protocol_version(), Some(version));
    }
}

#[test]
fn sessions_are_resumed_by_the_connections_of_all_shards() {
    let ca = Ca::new();
    let config = ca.server(&["a.example"]);
    let client = ca.client();
    assert!(!handshake(&config, &client, "a.example").resumed());
    // A shard has a clone of the `Arc`; the server keeps nothing of the first connection.
    let (shard, same_client) = (config.clone(), client.clone());
    let resumed = thread::spawn(move || handshake(&shard, &same_client, "a.example").resumed());
    assert!(resumed.join().expect("a handshake"));
    // Another client has no ticket, and a server of other ticket keys cannot read this client's.
    assert!(!handshake(&config, &ca.client(), "a.example").resumed());
    assert!(!handshake(&ca.server(&["a.example"]), &client, "a.example").resumed());
}

#[test]
fn rfc5077_sessions_of_1_2_are_resumed_with_tickets() {
    let config = Ca::new().server(&["a.example"]);
    let client = Arc::new(raw_client(&[&version::TLS12], all_schemes()));
    assert!(!run(config.rustls(), Arc::clone(&client), name()).resumed());
    assert!(run(config.rustls(), client, name()).resumed());
}

#[test]
fn resumption_can_be_off() {
    let ca = Ca::new();
    let config = ca.server(&["a.example"]);
    let client = ca.client().resumption(false);
    assert!(!handshake(&config, &client, "a.example").resumed());
    assert!(!handshake(&config, &client, "a.example").resumed());
    let client = client.resumption(true);
    assert!(!handshake(&config, &client, "a.example").resumed());
    assert!(handshake(&config, &client, "a.example").resumed());
}

#[test]
fn rfc8446_c_4_each_ticket_is_for_one_of_many_connections() {
    let ca = Ca::new();
    let config = ca.server(&["a.example", "b.example"]);
    let client = ca.client();
    let open = |count: usize, host: &str| {
        // All of them begin before the first ends.
        let begin = |_| Handshake::new(config.rustls(), client.rustls(), client.server_name(host).expect("a name"));
        let handshakes: Vec<_> = (0..count).map(begin).collect();
        handshakes.into_iter().filter_map(|handshake| handshake.complete().resumed().then_some(())).count()
    };
    assert_eq!(open(20, "a.example"), 0);
    assert_eq!(open(20, "b.example"), 0, "sessions of another name are not resumed");
    assert_eq!(open(30, "a.example"), 20, "each ticket is used once");
    assert_eq!(open(30, "a.example"), 30, "each handshake brings a ticket");
    assert_eq!(open(20, "b.example"), 20);
}

#[test]
fn the_oldest_tickets_are_dropped_beyond_the_capacity() {
    let config = Ca::new().server(&["a.example"]);
    let sessions = Arc::new(Sessions::new(3));
    let mut client = raw_client(&[&version::TLS13], all_schemes());
    client.resumption = Resumption::store(Arc::clone(&sessions) as _);
    let client = Arc::new(client);
    let other = ServerName::try_from("b.example").expect("a name");
    let names = [&other, &name(), &name(), &other, &name()].map(Clone::clone);
    // Handshakes that begin before the first ends take no tickets.
    let begun = names.map(|name| Handshake::new(config.rustls(), Arc::clone(&client), name));
    assert!(begun.into_iter().all(|handshake| !handshake.complete().resumed()));
    let count = |name| iter::from_fn(|| sessions.take_tls13_ticket(&name)).count();
    assert_eq!((count(other), count(name())), (1, 2));
}

#[test]
fn a_handshake_issues_one_ticket() {
    let config = Ca::new().server(&["a.example"]);
    let mut client = raw_client(&[&version::TLS13], all_schemes());
    client.resumption = Resumption::in_memory_sessions(64);
    let client = Arc::new(client);
    let first = run(config.rustls(), Arc::clone(&client), name());
    assert!(!first.resumed());
    assert_eq!(first.client.tls13_tickets_received(), 1);
}

#[test]
fn early_data_is_refused() {
    let config = Ca::new().server(&["a.example"]);
    let mut client = raw_client(&[&version::TLS13], all_schemes());
    client.enable_early_data = true;
    let client = Arc::new(client);
    assert!(!run(config.rustls(), Arc::clone(&client), name()).resumed());
    let mut second = run(config.rustls(), client, name());
    assert!(second.resumed());
    // The ticket allows none, so the client has sent none.
    assert!(second.client.early_data().is_none() && second.server.early_data().is_none());
}

#[test]
fn the_default_provider_of_the_process_remains_that_of_the_application() {
    let ca = Ca::new();
    handshake(&ca.server(&["a.example"]), &ca.client(), "a.example").expect();
    assert!(CryptoProvider::get_default().is_none());
}

#[test]
fn rfc7301_the_application_protocol_is_http_1_1() {
    let ca = Ca::new();
    let config = ca.server(&["a.example"]);
    let client = |protocols: &[&str]| ca.client().alpn(protocols.iter().copied()).expect("short names");
    let selected = |ended: &Handshake| {
        ended.expect();
        ended.client.alpn_protocol().map(<[u8]>::to_vec)
    };
    let http = Some(b"http/1.1".to_vec());
    assert_eq!(selected(&handshake(&config, &ca.client(), "a.example")), http);
    assert_eq!(selected(&handshake(&config, &client(&["h2", "http/1.1"]), "a.example")), http);
    assert_eq!(selected(&handshake(&config, &client(&[]), "a.example")), None);
    let refused = handshake(&config, &client(&["h2"]), "a.example");
    assert_eq!(
        refused.server_says(),
        "the client offers no application protocol (ALPN) in common; this server supports http/1.1"
    );
    assert_eq!(
        refused.client_says(),
        "the server supports none of the offered application protocols; change them with --alpn (alert \
         no_application_protocol)"
    );
    for bad in ["", &"x".repeat(256)] {
        assert!(ca.client().alpn([bad]).expect_err("out of range").to_string().starts_with("tls.alpn is "));
    }
}

#[test]
fn records_have_at_most_the_configured_size() {
    let ca = Ca::new();
    let records = |config: &TlsConfig, message: usize| {
        let mut ended = handshake(config, &ca.client(), "a.example");
        ended.expect();
        ended.server.writer().write_all(&vec![7; message]).expect("a short message");
        let mut bytes = Vec::new();
        while ended.server.wants_write() {
            ended.server.write_tls(&mut bytes).expect("a vector takes all");
        }
        // RFC 8446 section 5.2: a header of 5 bytes with the length, then 17 bytes besides the
        // content.
        let mut sizes = Vec::new();
        while let [_, _, _, high, low, rest @ ..] = &bytes[..] {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            sizes.push(length - 17);
            bytes = rest[length..].to_vec();
        }
        sizes
    };
    let config = ca.server(&["a.example"]);
    assert_eq!(records(&config, 16_385), [16_320, 65]);
    let config = config.record_size(512).expect("in range");
    assert_eq!(records(&config, 1_500), [512, 512, 476]);
    let config = config.record_size(16_384).expect("in range");
    assert_eq!(records(&config, 20_000), [16_384, 3_616]);
    for size in [0, 511, 16_385] {
        let error = ca.server(&["a.example"]).record_size(size).expect_err("out of range");
        assert_eq!(error.to_string(), format!("tls.record_size is {size}: give 512 to 16384"));
    }
}
