//! A client with TLS 1.2 that can send any record.
//!
//! rustls makes the handshake. After it, the records are sealed and opened here, with the keys of the
//! handshake and the ciphers of rustls (RFC 5246 section 6.2.3.3).

use super::{HEADER, RustlsPeer, client_config_of, read_record};
use crate::peer::End;
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::version::TLS12;
use rustls::{ConnectionTrafficSecrets, ContentType, ProtocolVersion};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};

/// A client with TLS 1.2, with an open WebSocket. Reading waits for records, and panics after
/// [`WATCHDOG`](crate::WATCHDOG).
pub struct Tls12Peer {
    stream: TcpStream,
    encrypter: Box<dyn MessageEncrypter>,
    decrypter: Box<dyn MessageDecrypter>,
    /// The numbers of the next records.
    sent: u64,
    received: u64,
}

impl Tls12Peer {
    /// Connects to a server with a certificate of `root` for `localhost`, and opens a WebSocket.
    #[must_use]
    pub fn open(server: SocketAddr, root: &str) -> Self {
        let mut config = client_config_of(&[&TLS12], root);
        config.enable_secret_extraction = true;
        let mut peer = RustlsPeer::connect(server, config, "localhost").expect("a handshake");
        peer.upgrade().expect("a response");
        let RustlsPeer { connection, stream } = peer;
        let suite = connection.negotiated_cipher_suite().expect("the handshake is complete");
        let rustls::SupportedCipherSuite::Tls12(suite) = suite else { panic!("{suite:?} is not of TLS 1.2") };
        let secrets = connection.dangerous_extract_secrets().expect("the option is set");
        let fixed = suite.aead_alg.key_block_shape().fixed_iv_len;
        let ((sent, sealing), (received, opening)) = (secrets.tx, secrets.rx);
        let (key, iv) = parts(sealing);
        let encrypter = suite.aead_alg.encrypter(key, &iv.as_ref()[..fixed], &iv.as_ref()[fixed..]);
        let (key, iv) = parts(opening);
        let decrypter = suite.aead_alg.decrypter(key, &iv.as_ref()[..fixed]);
        Self { stream, encrypter, decrypter, sent, received }
    }

    /// Sends one record of this type.
    pub fn send(&mut self, kind: ContentType, plain: &[u8]) {
        let payload = OutboundChunks::Single(plain);
        let message = OutboundPlainMessage { typ: kind, version: ProtocolVersion::TLSv1_2, payload };
        let record = self.encrypter.encrypt(message, self.sent).expect("it fits in a record");
        self.sent += 1;
        self.stream.write_all(&record.encode()).expect("the server accepts the bytes");
    }

    /// Reads a record: its type, and its plaintext.
    ///
    /// # Errors
    /// The end of the connection.
    pub fn record(&mut self) -> Result<(ContentType, Vec<u8>), End> {
        let mut record = read_record(&mut self.stream)?;
        let kind = ContentType::from(record[0]);
        let message = InboundOpaqueMessage::new(kind, ProtocolVersion::TLSv1_2, &mut record[HEADER..]);
        let opened = self.decrypter.decrypt(message, self.received).expect("a valid record");
        self.received += 1;
        Ok((opened.typ, opened.payload.to_vec()))
    }
}

fn parts(secrets: ConnectionTrafficSecrets) -> (AeadKey, Iv) {
    match secrets {
        ConnectionTrafficSecrets::Aes128Gcm { key, iv }
        | ConnectionTrafficSecrets::Aes256Gcm { key, iv }
        | ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (key, iv),
        _ => panic!("an unknown cipher"),
    }
}
