//! Drives sessions with bytes, events and a clock, without an event loop or driver.

use super::*;
use crate::Endpoint;
use crate::api::close::CloseReason;
use crate::api::response::Response;
use crate::api::response::Upgrade;
use crate::config::{Config, Limits};
use http::StatusCode;
use ringway_codec::{CloseCode, OpCode};
use ringway_codec::{encode_client, encode_server};
use ringway_io::{BufferConfig, Pool};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const REQUEST: &[u8] =
    b"GET / HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
pub(super) const SLOT: Slot = Slot::new(3, 7);

/// Echoes messages, and records its calls.
#[derive(Default)]
pub(super) struct RecordingEcho {
    log: Vec<String>,
    pub(super) defer: bool,
    postpones: bool,
    /// The answer to plain requests, if it is not a line of text.
    pub(super) respond: Option<fn(&ringway_codec::Request<'_>) -> Response>,
}

impl opening::RequestHandler<u8> for RecordingEcho {
    fn upgrade(&mut self, slot: Slot, request: &ringway_codec::Request<'_>, _: &mut Core) -> Upgrade<u8> {
        assert_eq!(slot, SLOT);
        self.log.push(format!("upgrade {}", request.path()));
        if self.defer { Upgrade::defer() } else { Upgrade::accept(1) }
    }

    fn request(&mut self, _: Slot, request: &ringway_codec::Request<'_>, _: &mut Core) -> Response {
        self.log.push(format!("{} {}", request.method(), request.path()));
        self.respond.map_or_else(|| Response::text(StatusCode::OK, "hello"), |respond| respond(request))
    }
}

impl Application<u8> for RecordingEcho {
    fn connected(&mut self, _: &mut Link<u8>, _: &mut Core) -> bool {
        unreachable!("the endpoint holds no connection")
    }

    fn open(&mut self, link: &mut Link<u8>, _: &mut Core) {
        self.log.push(format!("open {}", link.state.expect("the connection was accepted")));
    }

    fn message(&mut self, link: &mut Link<u8>, core: &mut Core, message: Message<'_>) {
        self.log.push(format!("message {}", message.payload().escape_ascii()));
        if message.payload() == b"pause" {
            link.pause(core);
        }
        link.reply(message, true, core);
    }

    fn postpones_violation(&mut self, _: &mut Link<u8>, _: &mut Core) -> bool {
        self.postpones
    }

    fn ping(&mut self, _: &mut Link<u8>, _: &mut Core, payload: &[u8]) {
        self.log.push(format!("ping {}", payload.escape_ascii()));
    }

    fn pong(&mut self, _: &mut Link<u8>, _: &mut Core, payload: &[u8]) {
        self.log.push(format!("pong {}", payload.escape_ascii()));
    }

    fn drained(&mut self, _: &mut Link<u8>, _: &mut Core) {
        self.log.push("drained".to_owned());
    }
}

/// A fixed view of the peer's kernel.
#[derive(Default)]
pub(super) struct Probe {
    pub(super) acknowledged: u64,
    unread: bool,
    backlog: bool,
}

impl PeerProbe for Probe {
    fn acknowledged(&self, slot: Slot) -> Option<u64> {
        assert_eq!(slot, SLOT);
        Some(self.acknowledged)
    }

    fn has_unread(&self, slot: Slot) -> bool {
        assert_eq!(slot, SLOT);
        self.unread
    }

    fn has_backlog(&self) -> bool {
        self.backlog
    }
}

/// A session with its core, and the results of its actions.
pub(super) struct SessionHarness {
    pub(super) session: Session<u8>,
    pub(super) core: Core,
    pub(super) app: RecordingEcho,
    pub(super) probe: Probe,
    pool: Pool,
    now: Instant,
    pub(super) receiving: bool,
    pub(super) in_flight: Option<Output>,
    pub(super) finished: bool,
    pub(super) removal: Option<Removal>,
}

impl SessionHarness {
    fn new(config: Config, limits: Limits, session: impl FnOnce(&mut Core) -> Session<u8>) -> Self {
        let now = Instant::now();
        let mut core = Core::new(Arc::new(config), limits, now);
        let session = session(&mut core);
        let buffers = BufferConfig::new().size(4096).and_then(|buffers| buffers.count(16));
        let pool = buffers.and_then(|buffers| Pool::new(&buffers)).expect("the numbers are in range");
        let app = RecordingEcho::default();
        let mut harness = Self {
            session,
            core,
            app,
            probe: Probe::default(),
            pool,
            now,
            receiving: false,
            in_flight: None,
            finished: false,
            removal: None,
        };
        harness.flush();
        harness
    }

    pub(super) fn server(config: Config, limits: Limits) -> Self {
        Self::new(config, limits, |core| Session::accepted(SLOT, core))
    }

    /// A session in the server role that is open.
    fn open(config: Config, limits: Limits) -> Self {
        let mut harness = Self::server(config, limits);
        harness.receive(REQUEST);
        assert!(harness.sent().starts_with(b"HTTP/1.1 101"));
        assert_eq!(harness.log(), ["upgrade /", "open 1"]);
        harness
    }

    pub(super) fn receive(&mut self, bytes: &[u8]) {
        assert!(self.removal.is_none(), "the session has ended");
        let buffer = self.pool.fill(bytes).expect("a buffer is free");
        self.removal = self.session.receive(buffer, &mut self.core, &mut self.app);
        self.flush();
        let memory = &self.core.memory;
        assert_eq!(
            memory.held() - memory.shared(),
            self.session.held(),
            "the shard's count differs from the session's"
        );
    }

    pub(super) fn flush(&mut self) {
        for slot in std::mem::take(&mut self.core.dirty) {
            assert_eq!(slot, SLOT);
            if self.removal.is_none() {
                self.removal = self.session.flush(&mut self.core, &mut self.app);
            }
        }
        for action in self.core.actions.drain(..) {
            match action {
                Action::Send(SLOT, output) => {
                    assert!(self.in_flight.replace(output).is_none(), "at most one send is in flight");
                }
                Action::Receive(SLOT) => self.receiving = true,
                Action::Pause(SLOT) => self.receiving = false,
                Action::Finish(SLOT) => self.finished = true,
                action => panic!("not an action of this session: {action:?}"),
            }
        }
    }

    /// Completes all sends, the first one after `first` of its bytes. Returns the sent bytes.
    pub(super) fn sent_after(&mut self, mut first: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while let Some(output) = self.in_flight.take() {
            let bytes: Vec<u8> = output.chunks().flat_map(|chunk| chunk.as_slice()).copied().collect();
            let written = bytes.len().min(std::mem::replace(&mut first, usize::MAX));
            sent.extend_from_slice(&bytes[..written]);
            self.session.sent(output, written, &mut self.core, &mut self.app);
            self.flush();
        }
        sent
    }

    pub(super) fn sent(&mut self) -> Vec<u8> {
        self.sent_after(usize::MAX)
    }

    pub(super) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.core.begin_turn(self.now);
        let mut fired = Vec::new();
        self.core.expired(&mut fired);
        for index in fired {
            assert_eq!(index, SLOT.index());
            self.removal = self.session.timed_out(&self.probe, &mut self.core);
        }
        self.flush();
    }

    pub(super) fn log(&mut self) -> Vec<String> {
        std::mem::take(&mut self.app.log)
    }

    /// Releases the ended session, and checks that it leaves nothing in its shard. Returns the
    /// reason that the handler receives.
    pub(super) fn release(self) -> Option<CloseReason> {
        let Self { session, mut core, pool, in_flight, removal, .. } = self;
        assert!(matches!(removal, Some(Removal::Closed)), "{removal:?}");
        let (_, reason) = session.release(&mut core);
        assert!(matches!(core.actions[..], [Action::Close(SLOT)]), "{:?}", core.actions);
        in_flight.into_iter().for_each(|output| core.memory.reclaim(output));
        assert_eq!((pool.guarded(), core.memory.held()), (0, 0), "buffers or bytes are left");
        reason
    }
}

pub(super) fn from_client(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_client(opcode, payload, [5, 6, 7, 8], &mut frame);
    frame
}

pub(super) fn from_server(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_server(opcode, payload, &mut frame);
    frame
}

#[test]
fn a_server_opens_echoes_and_closes_with_bytes_alone() {
    let mut harness = SessionHarness::server(Config::default(), Limits::default());
    assert!(harness.receiving);
    let mut bytes = REQUEST.to_vec();
    bytes.extend(from_client(OpCode::Text, b"behind the handshake"));
    harness.receive(&bytes);
    let sent = harness.sent();
    assert!(sent.ends_with(&from_server(OpCode::Text, b"behind the handshake")), "{}", sent.escape_ascii());
    harness.receive(&[from_client(OpCode::Text, b"one"), from_client(OpCode::Ping, b"p")].concat());
    assert_eq!(harness.sent(), [from_server(OpCode::Text, b"one"), from_server(OpCode::Pong, b"p")].concat());
    harness.receive(&from_client(OpCode::Close, &[3, 232]));
    assert!(harness.removal.is_none(), "this side's close frame is not sent yet");
    assert_eq!(harness.sent(), from_server(OpCode::Close, &[3, 232]));
    assert_eq!(harness.log(), ["upgrade /", "open 1", "message behind the handshake", "message one", "ping p"]);
    let reason = harness.release().expect("it was open");
    assert!(reason.is_clean() && reason.code == CloseCode::NORMAL, "{reason}");
}

#[test]
fn the_reason_of_an_end_has_the_bytes_that_were_not_sent() {
    let closed = |sends: usize| {
        let mut harness = SessionHarness::server(Config::default(), Limits::default());
        harness.receive(REQUEST);
        harness.sent();
        harness.receive(&from_client(OpCode::Text, b"answered"));
        if sends > 0 {
            harness.sent();
        }
        harness.receive(&from_client(OpCode::Close, &[3, 232]));
        if sends > 1 {
            harness.sent();
        }
        harness.removal = harness.session.ended(Cause::Reset, &mut harness.core).or(harness.removal);
        harness.release().expect("it was open")
    };
    for (sends, unsent) in [(0, from_server(OpCode::Text, b"answered").len()), (1, 0), (2, 0)] {
        let reason = closed(sends);
        assert_eq!((reason.is_clean(), reason.unsent), (true, unsent), "{sends}: the close frame is not counted");
    }
}

#[test]
fn the_result_does_not_depend_on_how_the_bytes_are_split() {
    let mut bytes = REQUEST.to_vec();
    for n in 0..5 {
        bytes.extend(from_client(OpCode::Binary, &vec![b'a' + n; 20 * usize::from(n)]));
        bytes.extend(from_client(OpCode::Ping, &[b'0' + n]));
    }
    bytes.extend(from_client(OpCode::Close, b""));
    let run = |size: usize| {
        let mut harness = SessionHarness::server(Config::default(), Limits::default());
        let mut sent = Vec::new();
        for part in bytes.chunks(size) {
            harness.receive(part);
            sent.extend(harness.sent());
        }
        (sent, harness.log(), harness.release().map(|reason| reason.to_string()))
    };
    let whole = run(bytes.len());
    assert!(whole.0.ends_with(&from_server(OpCode::Close, b"")));
    for size in [1, 2, 3, 7, 50, 200] {
        assert_eq!(run(size), whole, "in parts of {size} bytes");
    }
}

#[test]
fn output_behind_a_send_in_flight_is_coalesced_and_a_short_send_is_continued() {
    let mut harness = SessionHarness::open(Config::default(), Limits::default());
    for text in [b"one", b"two", b"six"] {
        harness.receive(&from_client(OpCode::Text, text));
    }
    let expected = [b"one", b"two", b"six"].map(|text| from_server(OpCode::Text, text)).concat();
    assert_eq!((harness.session.link.buffered(), harness.sent_after(2)), (expected.len(), expected));
    assert_eq!(harness.session.link.buffered(), 0);
}

#[test]
fn a_session_does_not_deliver_until_a_slow_peer_has_read_half_of_the_limit() {
    let limits = Limits { max_buffered: 1000, ..Limits::default() };
    let mut harness = SessionHarness::open(Config::default(), limits);
    let message = from_client(OpCode::Binary, &[1; 600]);
    harness.receive(&message);
    assert!(harness.receiving);
    harness.receive(&message);
    assert!(harness.receiving, "a ping could be next");
    harness.receive(&message);
    assert!(!harness.receiving, "more than the limit is queued");
    assert_eq!((harness.log().len(), harness.session.link.buffered()), (2, 1208), "the third message is stashed");
    let echo = from_server(OpCode::Binary, &[1; 600]);
    assert_eq!(harness.sent(), [&echo[..]; 3].concat());
    assert!(harness.receiving);
}

#[test]
fn a_paused_session_stashes_the_next_message_and_delivers_it_when_resumed() {
    let mut harness = SessionHarness::open(Config::default(), Limits::default());
    let texts = [&b"pause"[..], b"one", b"two"];
    harness.receive(&texts.map(|text| from_client(OpCode::Text, text)).concat());
    assert_eq!(harness.log(), ["message pause"]);
    assert!(!harness.receiving);
    // The peer's FIN is handled after the stashed input.
    assert!(harness.session.ended(Cause::Finished, &mut harness.core).is_none());
    harness.session.link.resume(&mut harness.core);
    harness.flush();
    assert_eq!(harness.log(), ["message one", "message two"]);
    assert_eq!(harness.sent(), texts.map(|text| from_server(OpCode::Text, text)).concat());
    assert!(matches!(harness.release().expect("the connection was open").ending, Ending::Vanished));
}

#[test]
fn a_postponed_violation_is_handled_at_the_resume_or_after_the_close_timeout() {
    for resumes in [true, false] {
        let config = Config::default();
        let timeout = config.close_timeout;
        let mut harness = SessionHarness::open(config, Limits::default());
        harness.app.postpones = true;
        harness.receive(&[from_client(OpCode::Text, b"one"), from_server(OpCode::Text, b"not masked")].concat());
        assert_eq!(harness.sent(), from_server(OpCode::Text, b"one"));
        harness.pass(timeout / 2);
        assert!(harness.sent().is_empty() && !harness.receiving);
        if resumes {
            harness.session.link.resume(&mut harness.core);
            harness.flush();
        } else {
            harness.pass(timeout);
        }
        let sent = harness.sent();
        assert!(sent.starts_with(&[0x88]) && sent[2..4] == 1002u16.to_be_bytes(), "{}", sent.escape_ascii());
        assert!(harness.receiving, "the end of the peer's direction is awaited");
    }
}

#[test]
fn a_violation_is_answered_with_its_close_code_and_the_peer_ends_tcp() {
    let mut harness = SessionHarness::open(Config::default(), Limits::default());
    harness.receive(&from_server(OpCode::Text, b"not masked"));
    let sent = harness.sent();
    assert_eq!((sent[0], &sent[2..4]), (0x88, &[3, 234][..]), "a close frame with 1002");
    assert!(harness.finished && harness.removal.is_none());
    harness.removal = harness.session.ended(Cause::Finished, &mut harness.core);
    assert!(matches!(harness.release().expect("the connection was open").ending, Ending::Violation(_)));
}

#[test]
fn a_deferred_answer_opens_the_connection_and_delivers_earlier_input() {
    let mut harness = SessionHarness::server(Config::default(), Limits::default());
    harness.app.defer = true;
    harness.receive(REQUEST);
    assert!(!harness.receiving);
    harness.receive(&from_client(OpCode::Text, b"early"));
    assert_eq!((harness.log(), harness.sent()), (vec!["upgrade /".to_owned()], vec![]));
    harness.removal = harness.session.answer(Upgrade::accept(9), &mut harness.core, &mut harness.app);
    harness.flush();
    assert_eq!(harness.log(), ["open 9", "message early"]);
    assert!(harness.sent().ends_with(&from_server(OpCode::Text, b"early")));
}

#[test]
fn an_idle_session_sends_a_ping_and_then_times_out() {
    let config = Config { idle_timeout: Some(Duration::from_secs(10)), ..Config::default() };
    let mut harness = SessionHarness::open(config, Limits::default());
    harness.pass(Duration::from_millis(5010));
    let ping = harness.sent();
    assert_eq!((&ping[..2], ping.len()), (&[0x89, 8][..], 10), "a ping with its time");
    harness.pass(Duration::from_millis(5010));
    assert!(matches!(harness.release().expect("the connection was open").ending, Ending::Idle));
}

#[test]
fn a_missing_request_is_answered_with_408() {
    let mut harness = SessionHarness::server(Config::default(), Limits::default());
    harness.receive(&REQUEST[..20]);
    harness.pass(Duration::from_millis(10_010));
    assert!(harness.sent().starts_with(b"HTTP/1.1 408"));
    assert!(harness.finished, "the session lingers");
    harness.pass(Duration::from_millis(5010));
    assert!(harness.release().is_none(), "the connection was never open");
}

#[test]
fn the_client_role_sends_the_request_and_masks_its_frames() {
    let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/chat").expect("an address"));
    let mut harness = SessionHarness::new(Config::default(), Limits::default(), |core| {
        Session::connecting(SLOT, Attempt::first(endpoint, core), 5, core)
    });
    harness.session.connected(&mut harness.core, &mut harness.app);
    harness.flush();
    let request = String::from_utf8(harness.sent()).expect("ASCII");
    assert!(request.starts_with("GET /chat HTTP/1.1\r\n"), "{request}");
    let (parsed, _) =
        ringway_codec::parse_request(request.as_bytes(), &Limits::default().head()).expect("valid").expect("complete");
    let mut response = Vec::new();
    let key = parsed.websocket().expect("it asks for a WebSocket");
    ringway_codec::encode_accept(&key, None, None, &http::HeaderMap::new(), &mut response);
    response.extend(from_server(OpCode::Text, b"hi"));
    harness.receive(&response);
    assert_eq!(harness.log(), ["open 5", "message hi"]);
    let sent = harness.sent();
    assert_eq!((sent.len(), sent[1]), (8, 0x82), "a masked frame of two bytes");
    harness.receive(&from_server(OpCode::Close, b""));
    assert_eq!(harness.sent().len(), 6);
    assert!(harness.removal.is_none(), "the server ends TCP (RFC 6455 section 7.1.1)");
    harness.removal = harness.session.ended(Cause::Finished, &mut harness.core);
    harness.flush();
    assert!(harness.release().expect("the connection was open").is_clean());
}

#[test]
fn a_client_that_is_refused_fails_to_connect() {
    let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address"));
    let mut harness = SessionHarness::new(Config::default(), Limits::default(), |core| {
        Session::connecting(SLOT, Attempt::first(endpoint, core), 5, core)
    });
    harness.session.connected(&mut harness.core, &mut harness.app);
    harness.flush();
    harness.receive(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(harness.removal, Some(Removal::Unconnected(ConnectError::Handshake(_)))), "{:?}", harness.removal);
}
