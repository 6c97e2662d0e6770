//! One end of a connection with TLS 1.3, in either role, that can send any record.
//!
//! rustls makes the handshake. After it, the records are sealed and opened here, with the traffic
//! secrets of the handshake and the ciphers of rustls (RFC 8446 sections 5.2 and 7).

use super::{
    HEADER, HandshakeFailure, client_config, client_connection, read_record, shake_hands, suite, take_records,
};
use crate::peer::End;
use crate::{Frame, RawRequest, WirePeer};
use rustls::crypto::cipher::{
    AeadKey, InboundOpaqueMessage, Iv, MessageDecrypter, MessageEncrypter, OutboundChunks, OutboundPlainMessage,
};
use rustls::crypto::tls13::OkmBlock;
use rustls::{ClientConfig, ContentType, KeyLog, ProtocolVersion, ServerConfig, ServerConnection};
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};

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
/// after [`WATCHDOG`](crate::WATCHDOG).
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

    /// Sends a frame in a record whose tag is changed.
    pub fn send_changed(&mut self, frame: &Frame) {
        let mut record = self.seal_data(frame.bytes());
        *record.last_mut().expect("not empty") ^= 1;
        self.write_raw(record);
    }

    /// Sends 100 messages that request a KeyUpdate, or fewer if the other end ends the connection.
    pub fn flood_key_updates(&mut self) {
        for _ in 0..100 {
            let record = self.seal(ContentType::Handshake, &KEY_UPDATE_REQUEST);
            self.change_keys();
            if !self.try_write_raw(record) {
                break;
            }
        }
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
