//! A shard on the simulated kernel, a clock that the test advances, and the peers.

use crate::admission::gate::Gate;
use crate::metrics::{ConnectionState, PauseCause};
use crate::shard::event_loop::EventLoop;
use crate::tls::stream::tests::{configs, name};
use crate::tls::table::ListenerTls;
use crate::topics::exchange::{Desk, Exchange};
use crate::{
    CloseReason, Config, ConnectError, Connection, ConnectionId, Ending, Handler, Limits, Message, Request, Shard,
    ShardHandle, Upgrade,
};
use ringway_codec::{
    Decoder, DeflateParams, Event, HeadLimits, Key, MessageKind, OpCode, Role, SpillPool, parse_request,
};
use ringway_io::sim::{Faults, Network, Peer, Sim};
use ringway_io::{BufferConfig, Driver};
use ringway_testkit::Frame;
use rustls::SupportedProtocolVersion;
use rustls::version::TLS13;
use std::cell::{Cell, RefCell};
use std::io::{Read, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Few and short, so that messages span buffers and buffers run out.
fn buffers() -> BufferConfig {
    let buffers = BufferConfig::new().size(1024).and_then(|buffers| buffers.count(16)?.ready(4));
    buffers.expect("the numbers are in range")
}

/// The maximum number of turns until a test must have made progress.
const MAX_TURNS: usize = 50_000;

/// The request of clients for a WebSocket.
pub(super) const REQUEST: &str = "GET /chat HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// All faults, except for those that end a connection: all output must arrive.
pub(super) const fn rough() -> Faults {
    Faults { reset: 0.0, aborted: 0.0, unreachable: 0.0, no_descriptor: 0.0, ..Faults::all() }
}

/// Runs a test without faults, and from many seeds with all faults that do not end connections.
pub(super) fn each_seed(test: impl Fn(u64, Faults)) {
    test(0, Faults::none());
    (1..=40).for_each(|seed| test(seed, rough()));
}

/// One shard, its network and its clock.
pub(super) struct World<H: Handler> {
    pub(super) shard: EventLoop<Sim, H>,
    pub(super) network: Network,
    pub(super) now: Instant,
    /// The time of the latest turn.
    turned: Instant,
    /// The time that passes between two readings of the clock within a turn.
    pub(super) reading_takes: Duration,
    /// The result of the latest turn: whether the loop continues.
    pub(super) running: bool,
}

impl<H: Handler> World<H> {
    /// A shard that listens, with the default configuration.
    pub(super) fn new(seed: u64, faults: Faults, handler: H) -> Self {
        Self::with(seed, faults, Config::default(), Limits::default(), handler)
    }

    pub(super) fn with(seed: u64, faults: Faults, config: Config, limits: Limits, handler: H) -> Self {
        let desk = Exchange::desks(1, limits.max_published).remove(0);
        Self::beside_others(seed, faults, config, limits, handler, desk)
    }

    /// One of several shards, which exchange published messages.
    pub(super) fn beside_others(
        seed: u64,
        faults: Faults,
        config: Config,
        limits: Limits,
        handler: H,
        desk: Desk,
    ) -> Self {
        let (mut sim, network) = Sim::new(seed, faults, buffers());
        sim.limit_connections(limits.max_connections);
        sim.start_listening();
        let now = Instant::now();
        let handle = ShardHandle::new(sim.waker());
        let gate = config.admission.is_active().then(|| Arc::new(Gate::new(&config.admission, now)));
        let mut shard = EventLoop::new(0, sim, Arc::new(config), limits, handle, handler, now);
        shard.join(desk);
        gate.into_iter().for_each(|gate| shard.use_gate(gate));
        shard.start();
        Self { shard, network, now, turned: now, reading_takes: Duration::ZERO, running: true }
    }

    /// The same, with TLS on its listener.
    pub(super) fn secure(seed: u64, faults: Faults, handler: H) -> Self {
        let mut world = Self::new(seed, faults, handler);
        world.use_tls(configs(&TLS13).0);
        world
    }

    pub(super) fn use_tls(&mut self, config: Arc<rustls::ServerConfig>) {
        self.shard.use_tls(vec![Some(ListenerTls { config, certificates: false })]);
    }

    pub(super) fn handler(&mut self) -> &mut H {
        &mut self.shard.handler
    }

    /// Posts work to the shard, as another thread does.
    pub(super) fn post(&self, work: impl FnOnce(&mut H, &mut Shard<'_, H>) + Send + 'static) {
        self.shard.control.handle.post(work).expect("the mailbox has room");
    }

    pub(super) fn turn(&mut self) {
        // The first reading of the clock is before the wait, the others are after it.
        let (before, now) = (Cell::new(Some(std::mem::replace(&mut self.turned, self.now))), Cell::new(self.now));
        let step = self.reading_takes;
        let clock = || before.take().unwrap_or_else(|| now.replace(now.get() + step));
        self.running = self.shard.turn(clock).expect("the simulation does not fail");
        self.assert_charged();
    }

    /// Checks that the charged memory is the sum over the sessions, apart from prepared frames.
    #[track_caller]
    fn assert_charged(&self) {
        let memory = &self.shard.core.memory;
        let held: usize = self.shard.sessions.iter().map(crate::session::Session::held).sum();
        let by_layers = self.shard.core.tls.as_ref().map_or(0, |tls| tls.held());
        let by_topics = self.shard.core.topics.as_ref().map_or(0, |topics| topics.held());
        assert_eq!(
            memory.held() - memory.shared(),
            held + by_layers + by_topics,
            "the count is wrong (seed {})",
            self.network.seed()
        );
        self.assert_metered();
    }

    /// Checks that the counts that metrics report are those of the sessions.
    #[track_caller]
    fn assert_metered(&self) {
        let sessions = || self.shard.sessions.iter().map(|session| &session.link);
        let seed = self.network.seed();
        let queued: usize = sessions().map(|link| link.buffered()).sum();
        assert_eq!(self.shard.core.memory.queued(), queued, "the queued bytes are wrong (seed {seed})");
        let states = [ConnectionState::Opening, ConnectionState::Open, ConnectionState::Closing];
        let connections = states.map(|state| sessions().filter(|link| link.phase().state() == state).count() as u64);
        let causes = [PauseCause::Handler, PauseCause::Backlog, PauseCause::Memory];
        let paused = causes.map(|cause| sessions().filter(|link| link.is_paused_by(cause)).count() as u64);
        let gauges = &self.shard.core.meters.gauges;
        assert_eq!((gauges.connections, gauges.paused), (connections, paused), "the counts are wrong (seed {seed})");
    }

    /// Runs turns until no event is pending.
    pub(super) fn run_until_idle(&mut self) {
        self.run_until(|world| world.is_idle());
    }

    /// Whether another turn would do nothing.
    pub(super) fn is_idle(&self) -> bool {
        !self.running || self.network.is_idle() && self.shard.next_work(self.now) != Some(Duration::ZERO)
    }

    /// Runs turns, at least one, until `done`.
    pub(super) fn run_until(&mut self, mut done: impl FnMut(&mut Self) -> bool) {
        for _ in 0..MAX_TURNS {
            self.turn();
            if done(self) {
                return;
            }
            assert!(self.running, "the shard has ended before the expected event (seed {})", self.network.seed());
        }
        panic!("the expected event did not occur in {MAX_TURNS} turns (seed {})", self.network.seed());
    }

    /// Lets time pass, and runs the turns that are due.
    pub(super) fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            let step = self.shard.next_work(self.now).unwrap_or(time).max(Duration::from_millis(1));
            self.now = end.min(self.now + step);
            self.run_until_idle();
        }
    }

    /// Lets time pass in short turns, for a shard that is never idle.
    pub(super) fn keep_turning(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(50);
            self.turn();
        }
    }

    /// Lets time pass without a turn, as if the process was stopped, and then runs the turns that
    /// are due.
    pub(super) fn stall(&mut self, time: Duration) {
        self.now += time;
        self.turned = self.now;
        self.run_until_idle();
    }

    /// Checks that no resources of connections are left.
    #[track_caller]
    pub(super) fn assert_clean(&self) {
        let left = (self.sessions(), self.network.open(), self.network.in_flight(), self.network.pool().guarded());
        assert_eq!(
            left,
            (0, 0, 0, 0),
            "sessions, slots, operations or buffers are left (seed {})",
            self.network.seed()
        );
        assert_eq!(self.shard.core.memory.held(), 0, "memory is still charged (seed {})", self.network.seed());
    }

    /// The connections, handshakes and addresses that are counted over all shards.
    pub(super) fn counts(&self) -> (u32, u32, usize) {
        self.shard.core.tickets.as_ref().expect("admission is active").gate.counts()
    }

    pub(super) fn sessions(&self) -> usize {
        self.shard.sessions.len()
    }

    /// The number of bytes that wait for the peer of the only connection.
    pub(super) fn buffered(&self) -> usize {
        let slot = self.shard.sessions.slots().next().expect("a connection");
        self.shard.sessions.get(slot).expect("its slot was just listed").link.buffered()
    }

    /// A client that has sent its request for a WebSocket, or its ClientHello if the shard has TLS.
    pub(super) fn client(&self) -> WebSocketPeer {
        self.client_on(self.network.connect())
    }

    /// The same, on this connection.
    pub(super) fn client_on(&self, peer: Peer) -> WebSocketPeer {
        let mut client = WebSocketPeer::new(peer, Role::Client);
        if self.shard.core.tls.is_some() {
            client = client.secure(&TLS13);
        }
        client.write(REQUEST.as_bytes());
        client
    }

    /// A client whose connection is open.
    pub(super) fn open_client(&mut self) -> WebSocketPeer {
        let mut client = self.client();
        // The handshake of TLS has three flights before the response.
        for _ in 0..if client.layer.is_some() { 3 } else { 1 } {
            self.run_until_idle();
            client.pull();
        }
        assert_eq!(client.status(), 101, "{client:?}");
        client
    }

    /// The server that the shard has connected to, after it has read the request.
    pub(super) fn server(&mut self) -> WebSocketPeer {
        self.run_until_idle();
        let peer = self.network.accept().unwrap_or_else(|| panic!("not connected (seed {})", self.network.seed()));
        let mut server = WebSocketPeer::new(peer, Role::Server);
        self.run_until_idle();
        server.pull();
        assert!(server.head.ends_with("\r\n\r\n"), "{server:?}");
        server
    }
}

impl<H: Handler> Drop for World<H> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the simulation had seed {}", self.network.seed());
        }
    }
}

/// A frame or message that a peer has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Got {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<u16>),
}

impl Got {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(text.to_owned())
    }

    pub(super) fn message(kind: MessageKind, payload: &[u8]) -> Self {
        match kind {
            MessageKind::Text => Self::Text(String::from_utf8(payload.to_vec()).expect("text is UTF-8")),
            MessageKind::Binary => Self::Binary(payload.to_vec()),
        }
    }
}

/// A peer that uses WebSocket: a client, or the server that a shard in the client role connects to.
#[derive(Debug)]
pub(super) struct WebSocketPeer {
    pub(super) peer: Peer,
    /// TLS of rustls, with its own buffers.
    layer: Option<RefCell<rustls::Connection>>,
    role: Role,
    /// The request or response, once it is complete.
    pub(super) head: String,
    /// Received bytes that are not decoded yet.
    bytes: Vec<u8>,
    decoder: Decoder,
    pool: SpillPool,
    got: Vec<Got>,
    /// The number of messages that were compressed.
    pub(super) compressed: usize,
    /// The payload of the latest ping that the shard has sent by itself.
    pub(super) ping: Vec<u8>,
}

impl WebSocketPeer {
    pub(super) fn new(peer: Peer, role: Role) -> Self {
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
        }
    }

    /// Uses TLS of this version.
    pub(super) fn secure(mut self, version: &'static SupportedProtocolVersion) -> Self {
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
    pub(super) fn layer(&self) -> std::cell::RefMut<'_, rustls::Connection> {
        self.layer.as_ref().expect("the peer has TLS").borrow_mut()
    }

    /// Sends bytes, through the layer if there is one.
    pub(super) fn write(&self, bytes: &[u8]) {
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
    pub(super) fn close_notify(&self) {
        let mut layer = self.layer();
        layer.send_close_notify();
        self.write_records(&mut layer);
    }

    /// Reads bytes, through the layer if there is one.
    fn read_up_to(&self, max: usize) -> Vec<u8> {
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

    pub(super) fn is_server(&self) -> bool {
        self.role == Role::Server
    }

    /// Reads all received bytes.
    pub(super) fn pull(&mut self) {
        self.pull_up_to(usize::MAX);
    }

    pub(super) fn pull_up_to(&mut self, max: usize) {
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
    pub(super) fn inflate(&mut self, params: &DeflateParams) {
        self.decoder = Decoder::with_deflate(self.role, params);
    }

    /// The status of the response.
    pub(super) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0)
    }

    /// The bytes after a response that opens no WebSocket.
    pub(super) fn body(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The messages read since the last call, in order.
    pub(super) fn take(&mut self) -> Vec<Got> {
        self.pull();
        std::mem::take(&mut self.got)
    }

    /// All messages read so far.
    pub(super) fn got(&self) -> &[Got] {
        &self.got
    }

    /// One frame.
    pub(super) fn frame(&self, opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
        let frame = Frame::new(opcode as u8, payload).fin(fin).key([0x37, 0xfa, payload.len() as u8, 0x3d]);
        match self.role {
            Role::Client => frame.bytes(),
            Role::Server => frame.unmasked().bytes(),
        }
    }

    pub(super) fn send(&self, opcode: OpCode, payload: &[u8]) {
        self.write(&self.frame(opcode, true, payload));
    }

    pub(super) fn text(&self, text: &str) {
        self.send(OpCode::Text, text.as_bytes());
    }

    pub(super) fn close_frame(&self, code: u16) -> Vec<u8> {
        self.frame(OpCode::Close, true, &code.to_be_bytes())
    }

    pub(super) fn close(&self, code: u16) {
        self.write(&self.close_frame(code));
    }

    /// Accepts the request of a client.
    pub(super) fn accept(&self) {
        self.write(&self.accepting());
    }

    /// The response that accepts the request of a client.
    pub(super) fn accepting(&self) -> Vec<u8> {
        self.accepting_with(None)
    }

    pub(super) fn accepting_with(&self, deflate: Option<&DeflateParams>) -> Vec<u8> {
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
    pub(super) fn assert_finished(&self) {
        assert!(self.peer.is_finished() && !self.peer.is_reset(), "{:?} was not ended with FIN", self.peer);
    }
}

/// A handler that records events, and whose actions a test can replace. By default it echoes. The
/// state is a number that the test chooses.
#[derive(Clone)]
pub(super) struct Scripted {
    pub(super) log: Vec<String>,
    pub(super) opened: Vec<ConnectionId>,
    pub(super) on_upgrade: fn(&mut Self, &Request<'_>) -> Upgrade<u32>,
    pub(super) on_open: fn(&mut Self, &mut Connection<'_, Self>),
    pub(super) on_message: fn(&mut Self, &mut Connection<'_, Self>, Message<'_>),
    pub(super) on_drained: fn(&mut Self, &mut Connection<'_, Self>),
    pub(super) on_closed: fn(&mut Self, &mut Shard<'_, Self>),
    pub(super) on_failed: fn(&mut Self, &mut Shard<'_, Self>),
    pub(super) on_woken: fn(&mut Self, &mut Shard<'_, Self>),
    /// Connections that are held, and the action for each.
    pub(super) held: Vec<ConnectionId>,
    pub(super) on_connected: fn(&mut Self, &mut Shard<'_, Self>, ConnectionId),
    /// Requests whose answer was deferred.
    pub(super) deferred: Vec<ConnectionId>,
    /// A counter for tests.
    pub(super) count: usize,
}

impl Scripted {
    pub(super) fn new() -> Self {
        Self {
            log: Vec::new(),
            opened: Vec::new(),
            on_upgrade: |_, _| Upgrade::accept(7),
            on_open: |_, _| {},
            on_message: |_, conn, message| conn.reply(message),
            on_drained: |_, _| {},
            on_closed: |_, _| {},
            on_failed: |_, _| {},
            on_woken: |_, _| {},
            held: Vec::new(),
            on_connected: |_, _, _| {},
            deferred: Vec::new(),
            count: 0,
        }
    }

    /// The events since the last call.
    pub(super) fn take_log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.log)
    }
}

impl Handler for Scripted {
    type State = u32;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<u32> {
        (self.on_upgrade)(self, request)
    }

    fn connected(&mut self, shard: &mut Shard<'_, Self>, state: &mut u32, id: ConnectionId) {
        self.log.push(format!("connected {state}"));
        self.held.push(id);
        (self.on_connected)(self, shard, id);
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.log.push("open".to_owned());
        self.opened.push(conn.id());
        (self.on_open)(self, conn);
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let payload = message.payload();
        self.log.push(match message.as_text() {
            Some(text) if text.len() <= 20 => format!("message {text}"),
            _ => format!("message of {} bytes", payload.len()),
        });
        (self.on_message)(self, conn, message);
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        self.log.push("drained".to_owned());
        (self.on_drained)(self, conn);
    }

    fn ping(&mut self, _conn: &mut Connection<'_, Self>, payload: &[u8]) {
        self.log.push(format!("ping {}", payload.escape_ascii()));
    }

    fn pong(&mut self, _conn: &mut Connection<'_, Self>, payload: &[u8]) {
        self.log.push(format!("pong {}", payload.escape_ascii()));
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, state: u32, reason: &CloseReason) {
        let ending = match &reason.ending {
            Ending::Violation(_) => "Violation".to_owned(),
            Ending::Failed(_) => "Failed".to_owned(),
            ending => format!("{ending:?}"),
        };
        self.log.push(format!("closed {state}: {} {ending}", reason.code.as_u16()));
        (self.on_closed)(self, shard);
    }

    fn failed(&mut self, shard: &mut Shard<'_, Self>, state: u32, error: &ConnectError) {
        let kind = match error {
            ConnectError::Unreachable(error) => format!("Unreachable {:?}", error.kind()),
            ConnectError::Lost(stage, error) => format!("Lost {stage:?} {:?}", error.kind()),
            ConnectError::Handshake(error) => format!("Handshake {error:?}"),
            ConnectError::Source(error) => format!("Source {error}"),
            error => format!("{error:?}"),
        };
        self.log.push(format!("failed {state}: {kind}"));
        (self.on_failed)(self, shard);
    }

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        self.log.push("woken".to_owned());
        (self.on_woken)(self, shard);
    }
}
