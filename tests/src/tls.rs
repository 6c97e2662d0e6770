//! One end of a connection with TLS 1.3, in either role, that can send any record.
//!
//! rustls makes the handshake. After it, the records are sealed and opened here, with the traffic
//! secrets of the handshake and the ciphers of rustls (RFC 8446 sections 5.2 and 7).

use crate::peer::End;
use crate::{Frame, RawRequest, WATCHDOG, WirePeer};
use ringway_testkit::certificates::Identity;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::crypto::tls13::OkmBlock;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, Connection, ContentType, KeyLog, ProtocolVersion, RootCertStore,
    ServerConfig, ServerConnection, SupportedCipherSuite, SupportedProtocolVersion, Tls13CipherSuite,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

/// The size in bytes of the header of a record.
const HEADER: usize = 5;

/// Why a handshake has failed.
#[derive(Debug)]
pub enum HandshakeFailure {
    /// rustls has refused a record of the other end, or the other end has sent an alert.
    Tls(rustls::Error),
    /// The other end has ended the connection.
    Ended(End),
}

/// The provider of cryptography with one cipher suite of TLS 1.3, and with all of TLS 1.2.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    let is_used = |suite: &SupportedCipherSuite| match suite {
        SupportedCipherSuite::Tls13(suite) => suite.common.suite == CipherSuite::TLS13_AES_256_GCM_SHA384,
        SupportedCipherSuite::Tls12(_) => true,
    };
    provider.cipher_suites.retain(is_used);
    Arc::new(provider)
}

fn suite() -> &'static Tls13CipherSuite {
    let suites = provider().cipher_suites.clone();
    suites.iter().find_map(SupportedCipherSuite::tls13).expect("the provider has it")
}

/// The configuration of a client that verifies servers with this root, and that offers `http/1.1`.
#[must_use]
pub fn client_config(root: &str) -> ClientConfig {
    client_config_of(rustls::DEFAULT_VERSIONS, root)
}

/// As [`client_config`], for these versions of TLS.
#[must_use]
pub fn client_config_of(versions: &[&'static SupportedProtocolVersion], root: &str) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).expect("PEM")).expect("a root");
    let builder = ClientConfig::builder_with_provider(provider()).with_protocol_versions(versions);
    let mut config = builder.expect("suites of both").with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config
}

/// The configuration of a server with this chain and key, which are not checked.
#[must_use]
pub fn server_config(chain: &str, key: &Identity) -> ServerConfig {
    let resolver = Arc::new(SingleCertAndKey::from(certified_key(chain, key)));
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions();
    let mut config = builder.expect("suites of both").with_no_client_auth().with_cert_resolver(resolver);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    // The first record after the handshake is one of the test.
    config.send_tls13_tickets = 0;
    config
}

/// A connection of a client to `name`, which has its ClientHello ready.
#[must_use]
pub fn client_connection(config: ClientConfig, name: &str) -> Connection {
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a configuration").into()
}

/// The records that a connection has ready.
#[must_use]
pub fn take_records(connection: &mut Connection) -> Vec<u8> {
    let mut records = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut records).expect("memory");
    }
    records
}

/// Splits a record of the handshake into records of `len` bytes of content.
#[must_use]
pub fn in_records_of(len: usize, record: &[u8]) -> Vec<u8> {
    let mut split = Vec::new();
    for part in record[HEADER..].chunks(len) {
        split.extend([22, 3, 1]);
        split.extend((part.len() as u16).to_be_bytes());
        split.extend(part);
    }
    split
}

/// Completes a handshake. Reads no byte after its last record.
///
/// # Errors
/// A [`HandshakeFailure`]; the alert for the other end has been sent.
pub fn shake_hands(stream: &mut TcpStream, connection: &mut Connection) -> Result<(), HandshakeFailure> {
    let ended = |_| HandshakeFailure::Ended(End::Reset);
    loop {
        stream.write_all(&take_records(connection)).map_err(ended)?;
        if !connection.is_handshaking() {
            return Ok(());
        }
        let record = read_record(stream).map_err(HandshakeFailure::Ended)?;
        connection.read_tls(&mut &record[..]).expect("memory");
        if let Err(error) = connection.process_new_packets() {
            // An end that has closed the connection takes no alert.
            let _ = stream.write_all(&take_records(connection));
            return Err(HandshakeFailure::Tls(error));
        }
    }
}

/// Reads one record, with its header.
fn read_record(stream: &mut TcpStream) -> Result<Vec<u8>, End> {
    let mut record = vec![0; HEADER];
    read(stream, &mut record)?;
    let len = usize::from(u16::from_be_bytes([record[3], record[4]]));
    record.resize(HEADER + len, 0);
    read(stream, &mut record[HEADER..])?;
    Ok(record)
}

fn read(stream: &mut TcpStream, bytes: &mut [u8]) -> Result<(), End> {
    match stream.read_exact(bytes) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(End::Finished),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Err(End::Reset),
        Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("nothing has come for {WATCHDOG:?}"),
        Err(error) => panic!("reading: {error}"),
    }
}

/// A connection of rustls in either role, of either version of TLS, after its handshake.
pub struct RustlsPeer {
    /// The connection of rustls.
    pub connection: Connection,
    stream: TcpStream,
}

impl RustlsPeer {
    /// Connects to `name`, which resolves to `server`.
    ///
    /// # Errors
    /// As [`shake_hands`].
    pub fn connect(server: SocketAddr, config: ClientConfig, name: &str) -> Result<Self, HandshakeFailure> {
        let mut connection = client_connection(config, name);
        let mut stream = WirePeer::connect(server).into_stream();
        shake_hands(&mut stream, &mut connection)?;
        Ok(Self { connection, stream })
    }

    /// Accepts a connection of a client.
    ///
    /// # Errors
    /// As [`shake_hands`].
    pub fn accept(stream: TcpStream, config: ServerConfig) -> Result<Self, HandshakeFailure> {
        let mut connection = ServerConnection::new(Arc::new(config)).expect("a configuration").into();
        let mut stream = WirePeer::accepted(stream).into_stream();
        shake_hands(&mut stream, &mut connection)?;
        Ok(Self { connection, stream })
    }

    /// Sends data.
    ///
    /// # Errors
    /// How the other end has ended the connection.
    pub fn write(&mut self, data: impl AsRef<[u8]>) -> Result<(), HandshakeFailure> {
        self.connection.writer().write_all(data.as_ref()).expect("memory");
        let records = take_records(&mut self.connection);
        self.stream.write_all(&records).map_err(|_| HandshakeFailure::Ended(End::Reset))
    }

    /// Sends a close_notify.
    pub fn close_notify(&mut self) {
        self.connection.send_close_notify();
        let records = take_records(&mut self.connection);
        // The other end may have closed the connection.
        let _ = self.stream.write_all(&records);
    }

    /// Reads this number of bytes.
    ///
    /// # Errors
    /// How the connection has ended before them.
    pub fn data(&mut self, len: usize) -> Result<Vec<u8>, HandshakeFailure> {
        let mut data = vec![0; len];
        let mut read = 0;
        while read < len {
            match self.connection.reader().read(&mut data[read..]) {
                Ok(0) => return Err(HandshakeFailure::Ended(End::Finished)),
                Ok(more) => read += more,
                Err(_) => {
                    let record = read_record(&mut self.stream).map_err(HandshakeFailure::Ended)?;
                    self.connection.read_tls(&mut &record[..]).expect("memory");
                    self.connection.process_new_packets().map_err(HandshakeFailure::Tls)?;
                }
            }
        }
        Ok(data)
    }

    /// Reads data up to the end of the head of a request or response.
    ///
    /// # Errors
    /// As [`RustlsPeer::data`].
    pub fn head(&mut self) -> Result<String, HandshakeFailure> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.data(1)?);
        }
        Ok(String::from_utf8(head).expect("ASCII"))
    }

    /// Opens a WebSocket as a client.
    ///
    /// # Errors
    /// As [`RustlsPeer::data`].
    pub fn upgrade(&mut self) -> Result<String, HandshakeFailure> {
        self.write(RawRequest::websocket().bytes())?;
        self.head()
    }

    /// The certificate of the other end, in DER.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let chain = self.connection.peer_certificates().expect("the other end has sent its chain");
        chain[0].to_vec()
    }
}

/// The DER encoding of a certificate.
#[must_use]
pub fn der(identity: &Identity) -> Vec<u8> {
    CertificateDer::from_pem_slice(identity.certificate.as_bytes()).expect("PEM").to_vec()
}

/// Makes a client authenticate with this certificate.
pub fn authenticate(config: &mut ClientConfig, identity: &Identity) {
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(certified_key(&identity.chain(), identity)));
}

fn certified_key(chain: &str, key: &Identity) -> CertifiedKey {
    let chain = CertificateDer::pem_slice_iter(chain.as_bytes()).map(|der| der.expect("PEM")).collect();
    let key = PrivateKeyDer::from_pem_slice(key.key.as_bytes()).expect("a key");
    let key = provider().key_provider.load_private_key(key).expect("a kind of key that the provider supports");
    CertifiedKey::new(chain, key)
}

/// The traffic secrets of a handshake.
#[derive(Debug, Default)]
struct Secrets(Mutex<Vec<(String, Vec<u8>)>>);

impl KeyLog for Secrets {
    fn log(&self, label: &str, _: &[u8], secret: &[u8]) {
        self.0.lock().expect("no panic").push((label.to_owned(), secret.to_vec()));
    }
}

impl Secrets {
    /// The secret with this label.
    fn of(&self, label: &str) -> Keys {
        let secrets = self.0.lock().expect("no panic");
        let (_, secret) = secrets.iter().find(|(of, _)| of == label).expect("the handshake is complete, with TLS 1.3");
        Keys { secret: OkmBlock::new(secret), sequence: 0 }
    }
}

/// The keys of one direction (RFC 8446 section 7.3).
struct Keys {
    secret: OkmBlock,
    /// The number of records that they have protected.
    sequence: u64,
}

impl Keys {
    /// `HKDF-Expand-Label` (RFC 8446 section 7.1), without a context.
    fn expand<const LEN: usize>(&self, label: &str) -> [u8; LEN] {
        let label = [b"tls13 ", label.as_bytes()].concat();
        let (len, label_len) = ((LEN as u16).to_be_bytes(), [label.len() as u8]);
        let mut output = [0; LEN];
        let expander = suite().hkdf_provider.expander_for_okm(&self.secret);
        expander.expand_slice(&[&len, &label_len, &label, &[0]], &mut output).expect("it is short");
        output
    }

    fn encrypter(&self) -> Box<dyn MessageEncrypter> {
        suite().aead_alg.encrypter(AeadKey::from(self.expand::<32>("key")), Iv::from(self.expand::<12>("iv")))
    }

    fn decrypter(&self) -> Box<dyn MessageDecrypter> {
        suite().aead_alg.decrypter(AeadKey::from(self.expand::<32>("key")), Iv::from(self.expand::<12>("iv")))
    }

    /// The keys after a KeyUpdate (RFC 8446 section 7.2).
    fn next(&self) -> Self {
        Self { secret: OkmBlock::new(&self.expand::<48>("traffic upd")), sequence: 0 }
    }
}

/// One end of a connection with TLS 1.3 after its handshake. Reading waits for records, and panics
/// after [`WATCHDOG`].
pub struct TlsPeer {
    stream: TcpStream,
    sealing: Keys,
    opening: Keys,
    /// Received data.
    plain: Vec<u8>,
}

/// The message that changes the keys of its sender (RFC 8446 section 4.6.3).
pub const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// The same, which requests a KeyUpdate of the receiver.
pub const KEY_UPDATE_REQUEST: [u8; 5] = [24, 0, 0, 1, 1];

impl TlsPeer {
    /// Connects to a server with a certificate of `root` for `localhost`.
    #[must_use]
    pub fn connect(server: SocketAddr, root: &str) -> Self {
        Self::connect_with(server, client_config(root), "localhost", |stream, hello| {
            stream.write_all(&hello).expect("the server accepts the bytes");
        })
        .expect("a handshake")
    }

    /// As [`TlsPeer::connect`], and opens a WebSocket.
    #[must_use]
    pub fn open(server: SocketAddr, root: &str) -> Self {
        let mut peer = Self::connect(server, root);
        peer.upgrade();
        peer
    }

    /// Connects; `write_hello` writes the records of the ClientHello.
    ///
    /// # Errors
    /// As [`shake_hands`].
    pub fn connect_with(
        server: SocketAddr,
        mut config: ClientConfig,
        name: &str,
        write_hello: impl FnOnce(&mut TcpStream, Vec<u8>),
    ) -> Result<Self, HandshakeFailure> {
        let secrets = Arc::new(Secrets::default());
        config.key_log = Arc::clone(&secrets) as Arc<dyn KeyLog>;
        let mut connection = client_connection(config, name);
        let mut stream = WirePeer::connect(server).into_stream();
        write_hello(&mut stream, take_records(&mut connection));
        shake_hands(&mut stream, &mut connection)?;
        let (sealing, opening) = (secrets.of("CLIENT_TRAFFIC_SECRET_0"), secrets.of("SERVER_TRAFFIC_SECRET_0"));
        Ok(Self { stream, sealing, opening, plain: Vec::new() })
    }

    /// Accepts a connection of a client as a server.
    ///
    /// # Errors
    /// As [`shake_hands`].
    pub fn accept(stream: TcpStream, mut config: ServerConfig) -> Result<Self, HandshakeFailure> {
        let secrets = Arc::new(Secrets::default());
        config.key_log = Arc::clone(&secrets) as Arc<dyn KeyLog>;
        let mut connection = ServerConnection::new(Arc::new(config)).expect("a configuration").into();
        let mut stream = WirePeer::accepted(stream).into_stream();
        shake_hands(&mut stream, &mut connection)?;
        let (sealing, opening) = (secrets.of("SERVER_TRAFFIC_SECRET_0"), secrets.of("CLIENT_TRAFFIC_SECRET_0"));
        Ok(Self { stream, sealing, opening, plain: Vec::new() })
    }

    /// Seals one record of this type, of any length up to 2^16 - 18, without sending it.
    pub fn seal(&mut self, kind: ContentType, plain: &[u8]) -> Vec<u8> {
        let payload = OutboundChunks::Single(plain);
        let message = OutboundPlainMessage { typ: kind, version: ProtocolVersion::TLSv1_3, payload };
        let sealed = self.sealing.encrypter().encrypt(message, self.sealing.sequence).expect("it fits in a record");
        self.sealing.sequence += 1;
        sealed.encode()
    }

    /// Seals a record of data.
    pub fn seal_data(&mut self, plain: impl AsRef<[u8]>) -> Vec<u8> {
        self.seal(ContentType::ApplicationData, plain.as_ref())
    }

    /// Changes the keys of the records that are sealed later.
    pub fn change_keys(&mut self) {
        self.sealing = self.sealing.next();
    }

    /// Writes bytes as they are.
    pub fn write_raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the other end accepts the bytes");
    }

    /// Writes bytes as they are, possibly after the other end has ended the connection.
    pub fn try_write_raw(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.stream.write_all(bytes.as_ref()).is_ok()
    }

    /// Sends data in one record.
    pub fn write(&mut self, plain: impl AsRef<[u8]>) {
        let record = self.seal_data(plain);
        self.write_raw(record);
    }

    /// Sends a frame in one record.
    pub fn send(&mut self, frame: &Frame) {
        self.write(frame.bytes());
    }

    /// Sends a close_notify (RFC 8446 section 6.1).
    pub fn close_notify(&mut self) {
        let record = self.seal(ContentType::Alert, &[1, 0]);
        self.write_raw(record);
    }

    /// Ends this direction of TCP (FIN).
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Reads a record: the type of its content, and its plaintext.
    ///
    /// # Errors
    /// The end of the connection.
    pub fn record(&mut self) -> Result<(ContentType, Vec<u8>), End> {
        let mut record = read_record(&mut self.stream)?;
        let payload = &mut record[HEADER..];
        let message = InboundOpaqueMessage::new(ContentType::ApplicationData, ProtocolVersion::TLSv1_2, payload);
        let opened = self.opening.decrypter().decrypt(message, self.opening.sequence).expect("a valid record");
        self.opening.sequence += 1;
        let opened = (opened.typ, opened.payload.to_vec());
        if opened.0 == ContentType::Handshake && opened.1.first() == Some(&KEY_UPDATE[0]) {
            self.opening = self.opening.next();
        }
        Ok(opened)
    }

    /// Reads `len` bytes of data. Tickets and updates of keys are skipped.
    pub fn data(&mut self, len: usize) -> Vec<u8> {
        while self.plain.len() < len {
            match self.record().expect("data comes") {
                (ContentType::ApplicationData, data) => self.plain.extend(data),
                (ContentType::Handshake, _) => {}
                (other, content) => panic!("expected data, got {other:?} {content:?}"),
            }
        }
        self.plain.drain(..len).collect()
    }

    /// Reads data up to the end of the head of a request or response.
    pub fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.data(1));
        }
        String::from_utf8(head).expect("ASCII")
    }

    /// Opens a WebSocket as a client.
    pub fn upgrade(&mut self) {
        self.write(RawRequest::websocket().bytes());
        let head = self.head();
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    }

    /// Sends a short message as a client, and checks its echo.
    pub fn expect_echo(&mut self, text: &str) {
        self.send(&Frame::text(text));
        self.expect_frame(&Frame::text(text).unmasked());
    }

    /// Reads a frame, which must be this one.
    pub fn expect_frame(&mut self, frame: &Frame) {
        let expected = frame.bytes();
        assert_eq!(self.data(expected.len()), expected);
    }

    /// Reads an alert (RFC 8446 section 6), and returns its description. Data before it is dropped.
    pub fn alert(&mut self) -> u8 {
        loop {
            match self.record().expect("an alert comes") {
                (ContentType::Alert, alert) => return alert[1],
                (ContentType::ApplicationData | ContentType::Handshake, _) => {}
                other => panic!("expected an alert, got {other:?}"),
            }
        }
    }

    /// Waits for the end of the connection, without a further record.
    pub fn end(&mut self) -> End {
        self.record().expect_err("no further record")
    }
}
