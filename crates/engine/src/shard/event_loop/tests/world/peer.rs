//! A peer of a shard: a client or a server that uses WebSocket, with or without TLS.

use crate::tls::stream::tests::{configs, name};
use ringway_codec::{
    Decoder, DeflateParams, Event, HeadLimits, Key, MessageKind, OpCode, Role, SpillPool, parse_request,
};
use ringway_io::sim::Peer;
use ringway_testkit::Frame;
use rustls::SupportedProtocolVersion;
use std::cell::RefCell;
use std::io::{Read, Write};

/// A frame or message that a peer has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::shard::event_loop::tests) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl Got {
    pub(in crate::shard::event_loop::tests) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(in crate::shard::event_loop::tests) fn message(kind: MessageKind, payload: &[u8]) -> Self {
        match kind {
            MessageKind::Text => Self::Text(String::from_utf8(payload.to_vec()).expect("text is UTF-8")),
            MessageKind::Binary => Self::Binary(payload.to_vec()),
        }
    }
}

/// A peer that uses WebSocket: a client, or the server that a shard in the client role connects to.
#[derive(Debug)]
pub(in crate::shard::event_loop::tests) struct WebSocketPeer {
    pub(in crate::shard::event_loop::tests) peer: Peer,
    /// TLS of rustls, with its own buffers.
    pub(super) layer: Option<RefCell<rustls::Connection>>,
    role: Role,
    /// The request or response, once it is complete.
    pub(in crate::shard::event_loop::tests) head: String,
    /// Received bytes that are not decoded yet.
    bytes: Vec<u8>,
    decoder: Decoder,
    pool: SpillPool,
    got: Vec<Got>,
    /// The number of messages that were compressed.
    pub(in crate::shard::event_loop::tests) compressed: usize,
    /// The payload of the latest ping that the shard has sent by itself.
    pub(in crate::shard::event_loop::tests) ping: Vec<u8>,
    /// All bytes that were read and written, without TLS.
    pub(in crate::shard::event_loop::tests) read: RefCell<Vec<u8>>,
    pub(in crate::shard::event_loop::tests) written: RefCell<Vec<u8>>,
}

impl WebSocketPeer {
    pub(in crate::shard::event_loop::tests) fn new(peer: Peer, role: Role) -> Self {
        let pool = SpillPool::new(ringway_codec::Limits::default());
        let decoder = Decoder::new(role);
        Self {
            peer,
            layer: None,
            role,
            head: String::new(),
            bytes: Vec::new(),
            decoder,
            pool,
            got: Vec::new(),
            compressed: 0,
            ping: Vec::new(),
            read: RefCell::default(),
            written: RefCell::default(),
        }
    }

    /// Uses TLS of this version.
    pub(in crate::shard::event_loop::tests) fn secure(mut self, version: &'static SupportedProtocolVersion) -> Self {
        let (server, client) = configs(version);
        let layer: rustls::Connection = match self.role {
            Role::Client => rustls::ClientConnection::new(client, name()).expect("a configuration").into(),
            Role::Server => rustls::ServerConnection::new(server).expect("a configuration").into(),
        };
        self.layer = Some(RefCell::new(layer));
        self.write(b"");
        self
    }

    /// The layer, after its handshake.
    pub(in crate::shard::event_loop::tests) fn layer(&self) -> std::cell::RefMut<'_, rustls::Connection> {
        self.layer.as_ref().expect("the peer has TLS").borrow_mut()
    }

    /// Sends bytes, through the layer if there is one.
    pub(in crate::shard::event_loop::tests) fn write(&self, bytes: &[u8]) {
        self.written.borrow_mut().extend_from_slice(bytes);
        let Some(layer) = &self.layer else { return self.peer.write(bytes) };
        let mut layer = layer.borrow_mut();
        layer.set_buffer_limit(None);
        layer.writer().write_all(bytes).expect("there is no limit");
        self.write_records(&mut layer);
    }

    fn write_records(&self, layer: &mut rustls::Connection) {
        let mut records = Vec::new();
        while layer.wants_write() {
            layer.write_tls(&mut records).expect("memory");
        }
        if !records.is_empty() {
            self.peer.write(&records);
        }
    }

    /// Sends the close_notify of the layer.
    pub(in crate::shard::event_loop::tests) fn close_notify(&self) {
        let mut layer = self.layer();
        layer.send_close_notify();
        self.write_records(&mut layer);
    }

    /// Reads bytes, through the layer if there is one.
    fn read_up_to(&self, max: usize) -> Vec<u8> {
        let bytes = self.read_plain(max);
        self.read.borrow_mut().extend_from_slice(&bytes);
        bytes
    }

    fn read_plain(&self, max: usize) -> Vec<u8> {
        let bytes = self.peer.read_up_to(max);
        let Some(layer) = &self.layer else { return bytes };
        let mut layer = layer.borrow_mut();
        let (mut records, mut plain) = (&bytes[..], Vec::new());
        while !records.is_empty() {
            layer.read_tls(&mut records).expect("memory");
            layer.process_new_packets().unwrap_or_else(|error| panic!("{:?}: {error}", self.peer));
            // An end is reported as an error, once everything before it is read.
            let _ = layer.reader().read_to_end(&mut plain);
        }
        self.write_records(&mut layer);
        plain
    }

    pub(in crate::shard::event_loop::tests) fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// Reads all received bytes.
    pub(in crate::shard::event_loop::tests) fn pull(&mut self) {
        self.pull_up_to(usize::MAX);
    }

    pub(in crate::shard::event_loop::tests) fn pull_up_to(&mut self, max: usize) {
        self.bytes.extend(self.read_up_to(max));
        if self.head.is_empty() {
            let Some(end) = self.bytes.windows(4).position(|window| window == b"\r\n\r\n") else { return };
            let head: Vec<u8> = self.bytes.drain(..end + 4).collect();
            self.head = String::from_utf8(head).expect("heads are ASCII");
        }
        if self.role == Role::Server || self.status() == 101 {
            self.decode();
        }
    }

    fn decode(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut at = 0;
        loop {
            let got = match self.decoder.next(&mut self.pool, &mut bytes, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Message(message))) => {
                    self.compressed += usize::from(message.is_compressed());
                    Got::message(message.kind(), message.payload())
                }
                // The shard's own pings contain their time.
                Ok(Some(Event::Ping(payload))) if payload.len() == 8 => {
                    self.ping = payload.to_vec();
                    Got::Ping(Vec::new())
                }
                Ok(Some(Event::Ping(payload))) => Got::Ping(payload.to_vec()),
                Ok(Some(Event::Pong(payload))) => Got::Pong(payload.to_vec()),
                Ok(Some(Event::Close(close))) => Got::Close(close.map(|(code, _)| code.as_u16())),
                Err(error) => {
                    panic!("{:?} received an invalid WebSocket stream: {error}; before it {:?}", self.peer, self.got)
                }
            };
            self.got.push(got);
        }
    }

    /// Allows compressed messages from now on.
    pub(in crate::shard::event_loop::tests) fn inflate(&mut self, params: &DeflateParams) {
        self.decoder = Decoder::with_deflate(self.role, params);
    }

    /// The status of the response.
    pub(in crate::shard::event_loop::tests) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The bytes after a response that opens no WebSocket.
    pub(in crate::shard::event_loop::tests) fn body(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The messages read since the last call, in order.
    pub(in crate::shard::event_loop::tests) fn take(&mut self) -> Vec<Got> {
        self.pull();
        std::mem::take(&mut self.got)
    }

    /// All messages read so far.
    pub(in crate::shard::event_loop::tests) fn got(&self) -> &[Got] {
        &self.got
    }

    /// One frame.
    pub(in crate::shard::event_loop::tests) fn frame(&self, opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let frame = Frame::new(opcode as u8, payload).fin(fin).key([0x37, 0xfa, payload.len() as u8, 0x3d]);
        match self.role {
            Role::Client => frame.bytes(),
            Role::Server => frame.unmasked().bytes(),
        }
    }

    pub(in crate::shard::event_loop::tests) fn send(&self, opcode: OpCode, payload: &[u8]) {
        self.write(&self.frame(opcode, true, payload));
    }

    pub(in crate::shard::event_loop::tests) fn text(&self, text: &str) {
        self.send(OpCode::Text, text.as_bytes());
    }

    pub(in crate::shard::event_loop::tests) fn close_frame(&self, code: u16) -> Vec<u8> {
        self.frame(OpCode::Close, true, &code.to_be_bytes())
    }

    pub(in crate::shard::event_loop::tests) fn close(&self, code: u16) {
        self.write(&self.close_frame(code));
    }

    /// Accepts the request of a client.
    pub(in crate::shard::event_loop::tests) fn accept(&self) {
        self.write(&self.accepting());
    }

    /// The response that accepts the request of a client.
    pub(in crate::shard::event_loop::tests) fn accepting(&self) -> Vec<u8> {
        self.accepting_with(None)
    }

    pub(in crate::shard::event_loop::tests) fn accepting_with(&self, deflate: Option<&DeflateParams>) -> Vec<u8> {
        let (request, _) = parse_request(self.head.as_bytes(), &HeadLimits::default())
            .expect("the request is valid")
            .expect("the request is complete");
        let key: Key = request.websocket().expect("the request asks for a WebSocket");
        let mut response = Vec::new();
        let chosen = request.subprotocols().next();
        ringway_codec::encode_accept(&key, chosen, deflate, &crate::HeaderMap::new(), &mut response);
        response
    }

    /// Checks that the shard has ended the TCP connection with FIN, before this peer did.
    #[track_caller]
    pub(in crate::shard::event_loop::tests) fn assert_finished(&self) {
        assert!(self.peer.is_finished() && !self.peer.is_reset(), "{:?} was not ended with FIN", self.peer);
    }
}
