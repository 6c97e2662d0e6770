//! Two layers that talk to each other in memory.

use super::*;
use ringway_io::Chunk;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::PrivateKeyDer;
use rustls::unbuffered::ConnectionState;
use rustls::{RootCertStore, SignatureAlgorithm, SupportedProtocolVersion, version};
use std::sync::OnceLock;

/// The configurations of a server `server.test` and of a client that trusts it, always the same for
/// a version.
pub(crate) fn configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    static MADE: OnceLock<[(Arc<ServerConfig>, Arc<ClientConfig>); 2]> = OnceLock::new();
    let made = MADE.get_or_init(|| [&version::TLS12, &version::TLS13].map(make_configs));
    made[usize::from(version == &version::TLS13)].clone()
}

fn make_configs(version: &'static SupportedProtocolVersion) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    make_configs_with(version, &default_provider().cipher_suites)
}

/// As [`configs`], with these cipher suites of the version.
fn make_configs_with(
    version: &'static SupportedProtocolVersion,
    cipher_suites: &[SupportedCipherSuite],
) -> (Arc<ServerConfig>, Arc<ClientConfig>) {
    let made = rcgen::generate_simple_self_signed(["server.test".to_owned()]).expect("a valid name");
    let key = PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let certificate = made.cert.der().clone();
    let provider = Arc::new(CryptoProvider { cipher_suites: cipher_suites.to_vec(), ..default_provider() });
    let server = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&[version])
        .expect("supported")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .expect("the key matches");
    let mut roots = RootCertStore::empty();
    roots.add(certificate).expect("a certificate");
    let client = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("supported")
        .with_root_certificates(roots)
        .with_no_client_auth();
    (Arc::new(server), Arc::new(client))
}

pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("server.test").expect("a name")
}

/// The maximum length of a request.
const MAX_HEAD: usize = 16 * 1024;

/// A server and a client, and the plaintext that each has received.
struct Pair {
    server: TlsStream,
    client: TlsStream,
    to_server: Vec<u8>,
    to_client: Vec<u8>,
}

impl Pair {
    fn new(version: &'static SupportedProtocolVersion) -> Self {
        let (server, client) = configs(version);
        Self::of(server, client)
    }

    fn of(server: Arc<ServerConfig>, client: Arc<ClientConfig>) -> Self {
        Self {
            server: TlsStream::server(server, false, MAX_HEAD).expect("a configuration"),
            client: TlsStream::client(client, name()).expect("a configuration"),
            to_server: Vec::new(),
            to_client: Vec::new(),
        }
    }

    fn open(version: &'static SupportedProtocolVersion) -> Self {
        let mut pair = Self::new(version);
        pair.exchange(usize::MAX).expect("a handshake");
        assert!(pair.server.is_open() && pair.client.is_open());
        pair
    }

    /// Passes the streams' own records on in parts of `part` bytes, until there are none.
    fn exchange(&mut self, part: usize) -> Result<(), TlsFailure> {
        loop {
            let (mut from_client, mut from_server) = (Vec::new(), Vec::new());
            self.client.take_own(&mut from_client);
            self.server.take_own(&mut from_server);
            if from_client.is_empty() && from_server.is_empty() {
                return Ok(());
            }
            for bytes in from_client.chunks_mut(part) {
                receive(&mut self.server, bytes, &mut self.to_server)?;
                while self.server.has_collected_record() {
                    shake_hands(&mut self.server, &mut self.to_server)?;
                }
            }
            for bytes in from_server.chunks_mut(part) {
                receive(&mut self.client, bytes, &mut self.to_client)?;
            }
        }
    }
}

/// Passes bytes to a stream, and appends their plaintext.
fn receive(stream: &mut TlsStream, bytes: &mut [u8], to: &mut Vec<u8>) -> Result<TlsProgress, TlsFailure> {
    let mut plain = Plaintext::default();
    let result = stream.receive(bytes, usize::MAX, &mut plain);
    assert!(plain.in_place.is_empty() || plain.copied.is_empty(), "one of two places");
    to.extend_from_slice(&bytes[plain.in_place]);
    to.append(&mut plain.copied);
    result
}

fn shake_hands(stream: &mut TlsStream, to: &mut Vec<u8>) -> Result<TlsProgress, TlsFailure> {
    let mut plain = Plaintext::default();
    let result = stream.shake_hands(&mut plain);
    to.append(&mut plain.copied);
    result
}

fn seal(stream: &mut TlsStream, output: &Output) -> (usize, Vec<u8>) {
    let mut sealed = Vec::new();
    let taken = stream.seal(output, &mut Vec::new(), &mut sealed).expect("the keys are fresh");
    (taken, sealed)
}

fn one(bytes: &[u8]) -> Output {
    Output::One(Chunk::from(bytes.to_vec()))
}

/// The lengths of the records in `sealed`, without their headers.
fn records(mut sealed: &[u8]) -> Vec<usize> {
    let mut lengths = Vec::new();
    while let [_, _, _, high, low, rest @ ..] = sealed {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        lengths.push(len);
        sealed = &rest[len..];
    }
    lengths
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[test]
fn a_handshake_succeeds_however_its_bytes_are_cut() {
    for version in [&version::TLS12, &version::TLS13] {
        for part in [1, 2, 5, 6, 100, 1000, usize::MAX] {
            let mut pair = Pair::new(version);
            pair.exchange(part).expect("a handshake");
            assert!(pair.server.is_open() && pair.client.is_open(), "{version:?} in parts of {part}");
            assert_eq!(pair.client.version(), Some(version.version));
            assert_eq!(pair.server.buffered(), 0, "an idle connection owns no buffer");
        }
    }
}

#[test]
fn data_is_opened_however_its_records_are_cut() {
    for version in [&version::TLS12, &version::TLS13] {
        for part in [1, 3, 4, 5, 6, 29, 1000, 16_384, 100_000] {
            let mut pair = Pair::open(version);
            let data = pattern(40_000);
            let mut sealed = Vec::new();
            for range in [0..20, 20..21, 21..40_000] {
                sealed.extend(seal(&mut pair.client, &one(&data[range])).1);
            }
            pair.to_server.clear();
            for bytes in sealed.chunks_mut(part) {
                receive(&mut pair.server, bytes, &mut pair.to_server).expect("valid records");
            }
            assert!(pair.to_server == data, "{version:?} in parts of {part}");
            assert_eq!(pair.server.buffered(), 0, "an idle connection owns no buffer");
        }
    }
}

#[test]
fn records_behind_the_first_of_a_connection_are_opened_in_place() {
    let suites = default_provider().cipher_suites;
    for suite in suites.into_iter().filter(|suite| suite.usable_for_signature_algorithm(SignatureAlgorithm::ECDSA)) {
        let version = suite.version();
        let (server, client) = make_configs_with(version, &[suite]);
        let mut pair = Pair::of(server, client);
        pair.exchange(usize::MAX).expect("a handshake");
        assert_eq!(pair.server.cipher_suite(), Some(suite));
        let data = pattern(50_000);
        let (_, mut first) = seal(&mut pair.client, &one(&data[..CHECKED]));
        receive(&mut pair.server, &mut first, &mut pair.to_server).expect("valid records");
        for lengths in [&[16, 1, 15, 17, 20_000][..], &[16_384, 16_384], &[20], &[3, 16_384, 20]] {
            let (mut sealed, mut end) = (Vec::new(), 0);
            for len in lengths {
                sealed.extend(seal(&mut pair.client, &one(&data[end..end + len])).1);
                end += len;
            }
            let mut plain = Plaintext::default();
            pair.server.receive(&mut sealed, usize::MAX, &mut plain).expect("valid records");
            assert!(plain.copied.is_empty(), "{suite:?} {lengths:?}");
            assert!(sealed[plain.in_place] == data[..end], "{suite:?} {lengths:?}");
        }
    }
}

/// Parts of all lengths end within records; replies are sealed while bytes are kept.
#[test]
fn a_number_of_records_is_opened_and_the_rest_kept() {
    for version in [&version::TLS12, &version::TLS13] {
        for part in [1, 7, 30, 100, 1000, usize::MAX] {
            let mut pair = Pair::open(version);
            let data = pattern(400);
            let mut sealed: Vec<u8> = data.chunks(4).flat_map(|each| seal(&mut pair.client, &one(each)).1).collect();
            pair.client.finish(&mut sealed);
            let mut calls = 0;
            let mut opened = |pair: &mut Pair, result: Result<TlsProgress, TlsFailure>, plain: Vec<u8>| {
                let progress = result.expect("valid records");
                assert!(plain.len() <= 3 * 4, "{} bytes of three records", plain.len());
                pair.to_server.extend_from_slice(&plain);
                assert!(!progress.peer_finished || pair.to_server == data);
                calls += 1;
            };
            let part = part.min(sealed.len());
            for bytes in sealed.chunks_mut(part) {
                let mut plain = Plaintext::default();
                let result = pair.server.receive(bytes, 3, &mut plain);
                plain.append(bytes, &[]);
                opened(&mut pair, result, plain.copied);
                let reply = seal(&mut pair.server, &one(b"reply")).1;
                assert_eq!(records(&reply).len(), 1);
                if pair.server.records_left() > 0 {
                    continue;
                }
                while pair.server.has_kept() {
                    let mut plain = Plaintext::default();
                    let result = pair.server.open_kept(3, &mut plain);
                    opened(&mut pair, result, plain.copied);
                    seal(&mut pair.server, &one(b"reply"));
                }
            }
            assert!(pair.to_server == data, "{} bytes in parts of {part}", pair.to_server.len());
            assert!(calls >= 100 / 3, "{calls} calls");
            assert!(pair.server.has_peer_finished());
        }
    }
}

#[test]
fn chunks_are_joined_to_full_records() {
    let mut pair = Pair::open(&version::TLS13);
    let data = pattern(100_000);
    for cuts in [vec![2, 6, 9000, 9001, 60_000], vec![16_384, 32_768], vec![1], vec![50_000], vec![10, 16_394, 99_999]]
    {
        let mut chunks = Vec::new();
        let mut start = 0;
        for end in cuts.iter().copied().chain([data.len()]) {
            chunks.push(Chunk::from(data[start..end].to_vec()));
            start = end;
        }
        let (taken, mut sealed) = seal(&mut pair.server, &Output::Many(chunks));
        assert_eq!(taken, data.len());
        let lengths = records(&sealed);
        assert_eq!(lengths.len(), data.len().div_ceil(FRAGMENT), "{cuts:?}: {lengths:?}");
        pair.to_client.clear();
        receive(&mut pair.client, &mut sealed, &mut pair.to_client).expect("valid records");
        assert!(pair.to_client == data, "{cuts:?}");
    }
}

#[test]
fn one_call_seals_a_limited_number_of_bytes() {
    let mut pair = Pair::open(&version::TLS13);
    let data = pattern(3 * SEAL_MAX / 2);
    let (taken, mut sealed) = seal(&mut pair.server, &one(&data));
    assert_eq!(taken, SEAL_MAX);
    pair.to_client.clear();
    receive(&mut pair.client, &mut sealed, &mut pair.to_client).expect("valid records");
    assert!(pair.to_client == data[..SEAL_MAX]);
}

#[test]
fn a_changed_record_fails_after_the_data_before_it_and_an_alert_is_sent() {
    let mut pair = Pair::open(&version::TLS13);
    let (_, mut sealed) = seal(&mut pair.client, &one(b"intact"));
    let (_, changed) = seal(&mut pair.client, &one(b"changed"));
    sealed.extend(changed);
    *sealed.last_mut().expect("not empty") ^= 1;
    pair.to_server.clear();
    let failure = receive(&mut pair.server, &mut sealed, &mut pair.to_server).expect_err("the tag is wrong");
    assert!(matches!(failure, TlsFailure::Protocol(Error::DecryptError)), "{failure:?}");
    assert_eq!(pair.to_server, b"intact");
    assert!(pair.server.has_output() && !pair.server.is_open());
    let mut alert = Vec::new();
    pair.server.take_own(&mut alert);
    let failure = receive(&mut pair.client, &mut alert, &mut pair.to_client).expect_err("an alert");
    assert!(matches!(failure, TlsFailure::Protocol(Error::AlertReceived(_))), "{failure:?}");
}

#[test]
fn a_close_notify_ends_the_direction_of_its_sender() {
    for version in [&version::TLS12, &version::TLS13] {
        let mut pair = Pair::open(version);
        let (_, mut sealed) = seal(&mut pair.client, &one(b"last"));
        pair.client.finish(&mut sealed);
        let bytes = sealed.len();
        pair.client.finish(&mut sealed);
        assert_eq!(sealed.len(), bytes, "only one is sent");
        assert!(!pair.client.is_open());
        pair.to_server.clear();
        let progress = receive(&mut pair.server, &mut sealed, &mut pair.to_server).expect("valid records");
        assert!(progress.peer_finished);
        assert_eq!(pair.to_server, b"last");
        let (_, mut answer) = seal(&mut pair.server, &one(b"answer"));
        pair.to_client.clear();
        receive(&mut pair.client, &mut answer, &mut pair.to_client).expect("the other direction is open");
        assert_eq!(pair.to_client, b"answer");
    }
}

#[test]
fn http_without_tls_is_recognised() {
    for request in ["GET / HTTP/1.1\r\n\r\n", "POST /x", "OPTIONS *", "PUT /", "HEAD /"] {
        let mut pair = Pair::new(&version::TLS13);
        let failure = receive(&mut pair.server, &mut request.as_bytes().to_vec(), &mut pair.to_server);
        assert!(matches!(failure, Err(TlsFailure::PlainHttp)), "{request}: {failure:?}");
    }
}

#[test]
fn a_header_of_no_record_fails_without_its_content() {
    // A type, a version and a length that no record has.
    for header in
        [[0, 3, 1, 2, 0], [19, 3, 1, 2, 0], [25, 3, 1, 2, 0], [0xff; 5], [22, 4, 0, 2, 0], [22, 3, 1, 0x48, 0]]
    {
        let mut pair = Pair::new(&version::TLS13);
        receive(&mut pair.server, &mut header.clone(), &mut pair.to_server).expect("collected");
        assert!(pair.server.has_collected_record(), "{header:?}");
        assert!(shake_hands(&mut pair.server, &mut pair.to_server).is_err(), "{header:?}");
    }
    for header in [[20, 3, 3, 0, 1], [22, 3, 0, 0, 5], [22, 3, 4, 0x47, 0xff], [24, 3, 3, 0, 9]] {
        let mut pair = Pair::new(&version::TLS13);
        receive(&mut pair.server, &mut header.clone(), &mut pair.to_server).expect("collected");
        assert!(!pair.server.has_collected_record(), "{header:?}");
    }
}

#[test]
fn a_part_of_a_message_waits_for_the_next_record() {
    let mut pair = Pair::new(&version::TLS13);
    let mut hello = Vec::new();
    pair.client.take_own(&mut hello);
    let (first, second) = hello[RECORD_HEADER..].split_at(100);
    let record = |part: &[u8]| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat();
    receive(&mut pair.server, &mut record(first), &mut pair.to_server).expect("collected");
    assert!(pair.server.has_collected_record());
    shake_hands(&mut pair.server, &mut pair.to_server).expect("the message is incomplete");
    // Otherwise the shard would process the same bytes in each turn.
    assert!(!pair.server.has_collected_record());
    let mut rest = record(second);
    let (begin, end) = rest.split_at_mut(3);
    receive(&mut pair.server, begin, &mut pair.to_server).expect("collected");
    assert!(!pair.server.has_collected_record(), "the header of the second record is incomplete");
    receive(&mut pair.server, end, &mut pair.to_server).expect("collected");
    assert!(pair.server.has_collected_record());
    pair.exchange(usize::MAX).expect("a handshake");
    assert!(!pair.server.is_open(), "the client has sent nothing since");
    while pair.server.has_collected_record() {
        shake_hands(&mut pair.server, &mut pair.to_server).expect("the message is complete");
    }
    pair.exchange(usize::MAX).expect("a handshake");
    assert!(pair.server.is_open() && pair.client.is_open());
}

#[test]
fn a_handshake_of_unlimited_length_fails() {
    let mut pair = Pair::new(&version::TLS13);
    // The header of a record of 16 KiB, and a message of the handshake of 16 MiB.
    let mut bytes = vec![22, 3, 1, 0x40, 0, 1, 0xff, 0xff, 0xff];
    bytes.resize(HANDSHAKE_MAX, 0);
    receive(&mut pair.server, &mut bytes, &mut pair.to_server).expect("not too long yet");
    let failure = receive(&mut pair.server, &mut [0; 100], &mut pair.to_server);
    assert!(matches!(failure, Err(TlsFailure::HandshakeTooLong(HANDSHAKE_MAX))), "{failure:?}");
}

#[test]
fn a_request_can_follow_the_handshake_while_it_waits() {
    for (len, fits) in [(15_900, true), (MAX_HEAD, true), (40_000, false)] {
        let mut pair = Pair::new(&version::TLS13);
        let (mut hello, mut flight, mut last) = (Vec::new(), Vec::new(), Vec::new());
        pair.client.take_own(&mut hello);
        receive(&mut pair.server, &mut hello, &mut pair.to_server).expect("collected");
        shake_hands(&mut pair.server, &mut pair.to_server).expect("a ClientHello");
        pair.server.take_own(&mut flight);
        receive(&mut pair.client, &mut flight, &mut pair.to_client).expect("the server's flight");
        pair.client.take_own(&mut last);
        last.extend(seal(&mut pair.client, &one(&pattern(len))).1);
        let collected = receive(&mut pair.server, &mut last, &mut pair.to_server);
        if fits {
            collected.expect("the handshake is short");
            shake_hands(&mut pair.server, &mut pair.to_server).expect("valid records");
            assert!(pair.to_server == pattern(len), "{len}");
        } else {
            assert!(matches!(collected, Err(TlsFailure::HandshakeTooLong(_))), "{collected:?}");
        }
    }
}

#[test]
fn bytes_behind_a_close_notify_are_not_kept() {
    let mut pair = Pair::open(&version::TLS13);
    let (_, mut sealed) = seal(&mut pair.client, &one(b"last"));
    pair.client.finish(&mut sealed);
    sealed.extend([23; 5000]);
    pair.to_server.clear();
    let progress = receive(&mut pair.server, &mut sealed, &mut pair.to_server).expect("valid records");
    assert_eq!((pair.to_server.as_slice(), progress.peer_finished), (&b"last"[..], true));
    receive(&mut pair.server, &mut [23; 5000], &mut pair.to_server).expect("ignored");
    assert_eq!((pair.to_server.as_slice(), pair.server.buffered()), (&b"last"[..], 0));
}

#[test]
fn a_flood_of_key_updates_fails() {
    let mut pair = Pair::open(&version::TLS13);
    let mut failed = false;
    for _ in 0..1000 {
        let TlsConnection::Client(client) = &mut pair.client.connection else { panic!("the client") };
        let status = client.process_tls_records(&mut []);
        let Ok(ConnectionState::WriteTraffic(traffic)) = status.state else { panic!("open") };
        traffic.refresh_traffic_keys().expect("TLS 1.3");
        pair.client.process(&mut [], &mut Plaintext::default()).expect("no input");
        let mut update = Vec::new();
        pair.client.take_own(&mut update);
        assert!(!update.is_empty());
        if receive(&mut pair.server, &mut update, &mut pair.to_server).is_err() {
            failed = true;
            break;
        }
        assert!(pair.server.buffered() < 64 * 1024, "the answers are limited");
    }
    assert!(failed, "1000 updates without data");
}

#[test]
fn a_session_is_resumed_by_a_ticket() {
    let (server, client) = make_configs(&version::TLS13);
    for resumed in [false, true] {
        let mut pair = Pair::of(Arc::clone(&server), Arc::clone(&client));
        pair.exchange(usize::MAX).expect("a handshake");
        assert_eq!((pair.server.is_resumed(), pair.client.is_resumed()), (resumed, resumed));
    }
}
