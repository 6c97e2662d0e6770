//! Ends of connections with TLS that are not of Ringway: configurations and handshakes of rustls.

mod old_records;
mod records;

pub use old_records::Tls12Peer;
pub use records::{KEY_UPDATE, KEY_UPDATE_REQUEST, TlsPeer};

use crate::peer::End;
use crate::{RawRequest, WATCHDOG, WirePeer};
use ringway_testkit::certificates::Identity;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{
    CipherSuite, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection,
    SupportedCipherSuite, SupportedProtocolVersion, Tls13CipherSuite,
};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

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
