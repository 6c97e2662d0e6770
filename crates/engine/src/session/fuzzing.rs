//! Drives one session with arbitrary bytes: they encode received input, completions of sends, the
//! passage and jumps of time, and calls of the application. Checks the invariants of a session
//! after each step.

mod requests;

#[cfg(feature = "fuzzing")]
pub use requests::drive_requests;

use super::Session;
use super::application::Application;
use super::attempt::Attempt;
use super::closing::Removal;
use super::deadlines::PeerProbe;
use super::link::{Link, SessionPhase};
use super::opening::RequestHandler;
use crate::api::endpoint::Endpoint;
use crate::api::message::Message;
use crate::api::response::{Response, Upgrade};
use crate::config::{Config, Deflate, Limits};
use crate::shard::core::{Action, Core};
use crate::shard::drain::DrainReason;
use http::StatusCode;
use ringway_codec::{CloseCode, Decoder, Event, OpCode, Prepared, Role, SpillPool, encode_close};
use ringway_io::{BufferConfig, Cause, Output, Pool, Slot};
use std::sync::Arc;
use std::time::{Duration, Instant};

const SLOT: Slot = Slot::new(1, 1);
const REQUEST: &str = "GET / HTTP/1.1\r\nHost: server.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n\r\n";
/// The number of bytes of one receive buffer.
const BUFFER: usize = 1024;

/// Acts as the first byte of a message specifies.
struct Acting {
    prepared: Prepared,
    open: usize,
}

impl RequestHandler<u8> for Acting {
    fn upgrade(&mut self, _: Slot, request: &ringway_codec::Request<'_>, _: &mut Core) -> Upgrade<u8> {
        match request.path() {
            "/defer" => Upgrade::defer(),
            "/reject" => Upgrade::reject(StatusCode::FORBIDDEN, "no"),
            _ => Upgrade::accept(1),
        }
    }

    fn request(&mut self, _: Slot, _: &ringway_codec::Request<'_>, _: &mut Core) -> Response {
        Response::text(StatusCode::OK, "hello")
    }
}

impl Application<u8> for Acting {
    fn connected(&mut self, _: &mut Link<u8>, _: &mut Core) -> bool {
        unreachable!("the endpoint holds no connection")
    }

    fn open(&mut self, _: &mut Link<u8>, _: &mut Core) {
        self.open += 1;
        assert_eq!(self.open, 1, "a connection opens at most once");
    }

    fn message(&mut self, link: &mut Link<u8>, core: &mut Core, message: Message<'_>) {
        assert!(link.is_open(), "no message is delivered after this side's close frame");
        match message.payload().first() {
            Some(b'b') if link.has_room(5, false, core) => {
                link.send(OpCode::Binary, b"before", core);
                link.reply(message, true, core);
            }
            Some(b's') if link.has_room(3000, true, core) => {
                link.reply(message, true, core);
                link.send_prepared(&self.prepared, core);
            }
            Some(b'p') => link.pause(core),
            Some(b'q') => {
                link.reply(message, true, core);
                link.pause(core);
            }
            Some(b'x') => link.handler_panicked(core),
            Some(b'c') => {
                let payload = encode_close(CloseCode::NORMAL, "bye").expect("short");
                link.begin_close(CloseCode::NORMAL, "bye", &payload, core);
            }
            Some(b'i') => {}
            _ => link.reply(message, true, core),
        }
    }

    fn ping(&mut self, _: &mut Link<u8>, _: &mut Core, _: &[u8]) {}

    fn pong(&mut self, _: &mut Link<u8>, _: &mut Core, _: &[u8]) {}

    fn drained(&mut self, link: &mut Link<u8>, core: &mut Core) {
        let mark = core.limits.low_mark();
        assert!(link.buffered() <= mark, "`drained` is called above the low-water mark");
    }
}

/// The state of the driver and the kernel.
struct Outside {
    pool: Pool,
    now: Instant,
    in_flight: Option<Output>,
    receiving: bool,
    finished: bool,
    acknowledged: u64,
    unread: bool,
    backlog: bool,
    /// The bytes sent to the peer, after the head.
    sent: Vec<u8>,
    turns: u32,
}

impl PeerProbe for Outside {
    fn acknowledged(&self, _: Slot) -> Option<u64> {
        Some(self.acknowledged)
    }

    fn has_unread(&self, _: Slot) -> bool {
        self.unread
    }

    fn has_backlog(&self) -> bool {
        self.backlog
    }
}

/// Runs one session until `data` is used up.
///
/// # Panics
/// When an invariant does not hold.
#[cfg_attr(not(feature = "fuzzing"), expect(unreachable_pub, reason = "the fuzz target calls it"))]
pub fn drive_session(data: &[u8]) {
    let Some((&setup, mut data)) = data.split_first() else { return };
    let limits = Limits {
        max_message: 20_000,
        max_buffered: 4000,
        max_memory: Some(100_000),
        max_head: 2000,
        ..Limits::default()
    };
    let config = Config {
        idle_timeout: (setup & 1 == 0).then(|| Duration::from_secs(20)),
        deflate: match setup >> 1 & 3 {
            0 => None,
            1 => Some(Deflate::shared()),
            _ => Some(Deflate::takeover()),
        },
        ..Config::default()
    };
    let buffers = BufferConfig::new().size(BUFFER as u32).and_then(|buffers| buffers.count(8)?.ready(1));
    let now = Instant::now();
    let mut core = Core::new(Arc::new(config), limits, now);
    let mut app = Acting { prepared: Prepared::binary(&[b'P'; 3000]), open: 0 };
    let mut session = if setup & 8 == 0 {
        Session::accepted(SLOT, &mut core)
    } else {
        let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address"));
        let attempt = Attempt::first(endpoint, &core);
        Session::connecting(SLOT, attempt, 1, &mut core)
    };
    let mut outside = Outside {
        pool: Pool::new(&buffers.expect("in range")).expect("in range"),
        now,
        in_flight: None,
        receiving: false,
        finished: false,
        acknowledged: 0,
        unread: false,
        backlog: false,
        sent: Vec::new(),
        turns: 0,
    };
    let mut removal = None;
    if setup & 8 != 0 {
        session.connected(&mut core, &mut app);
        if setup & 16 != 0 {
            removal = flush(&mut session, &mut core, &mut app, &mut outside);
            let response = accept(outside.in_flight.as_ref().expect("the request is sent"), setup & 32 != 0);
            removal = removal.or_else(|| receive(&mut session, &mut core, &mut app, &mut outside, &response));
        }
    } else if setup & 16 != 0 {
        let path = if setup & 32 != 0 { "/defer" } else { "/" };
        let request = REQUEST.replacen('/', path, 1);
        removal = receive(&mut session, &mut core, &mut app, &mut outside, request.as_bytes());
    }
    while removal.is_none() {
        removal = flush(&mut session, &mut core, &mut app, &mut outside);
        assert_eq!(core.memory.held() - core.memory.shared(), session.held(), "the count of memory is wrong");
        let Some((&op, rest)) = data.split_first() else { break };
        data = rest;
        removal = removal.or_else(|| step(op, &mut data, &mut session, &mut core, &mut app, &mut outside));
    }
    let opened = app.open > 0;
    let (_, reason) = session.release(&mut core);
    assert_eq!(reason.is_some(), opened, "the end of a connection is reported if it was open");
    outside.in_flight.into_iter().for_each(|output| core.memory.reclaim(output));
    assert_eq!((core.memory.held(), outside.pool.guarded()), (0, 0), "memory or buffers are left");
    if setup & 8 == 0 {
        well_formed(&outside.sent, &core.config);
    }
}

/// The response that accepts a request of the client role.
fn accept(request: &Output, compressing: bool) -> Vec<u8> {
    let bytes: Vec<u8> = request.chunks().flat_map(|chunk| chunk.as_slice()).copied().collect();
    let (request, _) = ringway_codec::parse_request(&bytes, &ringway_codec::HeadLimits::default())
        .expect("the request is valid")
        .expect("the request is complete");
    let params = ringway_codec::DeflateParams {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        ..Default::default()
    };
    let offered = request.header_values("sec-websocket-extensions").next().is_some();
    let deflate = (compressing && offered).then_some(&params);
    let mut response = Vec::new();
    let key = request.websocket().expect("it requests a WebSocket");
    ringway_codec::encode_accept(&key, None, deflate, &http::HeaderMap::new(), &mut response);
    response
}

fn receive(
    session: &mut Session<u8>,
    core: &mut Core,
    app: &mut Acting,
    outside: &mut Outside,
    bytes: &[u8],
) -> Option<Removal> {
    if bytes.is_empty() || session.link.phase() == SessionPhase::Connecting {
        return None;
    }
    // Without a buffer, the kernel does not deliver.
    let buffer = outside.pool.fill(&bytes[..bytes.len().min(BUFFER)])?;
    session.receive(buffer, core, app)
}

fn step(
    op: u8,
    data: &mut &[u8],
    session: &mut Session<u8>,
    core: &mut Core,
    app: &mut Acting,
    outside: &mut Outside,
) -> Option<Removal> {
    let arg = data.split_off_first().copied().unwrap_or(0);
    match op % 12 {
        // Bytes are received, possibly a few after receiving was paused: they were received before.
        0..=3 => {
            let len = (usize::from(op) << 4 ^ usize::from(arg)).min(data.len());
            let bytes = data.split_off(..len).unwrap_or_default();
            receive(session, core, app, outside, bytes)
        }
        // A send completes, whole or in part.
        4 | 5 => {
            let output = outside.in_flight.take()?;
            let written = if op % 12 == 4 { output.len() } else { output.len() * usize::from(arg) / 256 };
            let bytes: Vec<u8> = output.chunks().flat_map(|chunk| chunk.as_slice()).copied().collect();
            outside.sent.extend_from_slice(&bytes[..written]);
            outside.acknowledged += written as u64;
            session.sent(output, written, core, app);
            None
        }
        6 => {
            session.link.resume(core);
            None
        }
        // Time passes in one turn, or a turn is late.
        7 | 8 => {
            outside.unread = arg & 1 != 0;
            outside.backlog = arg & 4 != 0;
            outside.acknowledged += u64::from(arg >> 1 & 1);
            let time = Duration::from_millis(u64::from(arg) * 400);
            let before = outside.now;
            core.clock.begin_wait(before, (op % 12 == 8).then_some(time / 2));
            outside.now += time;
            core.begin_turn(outside.now);
            let mut fired = Vec::new();
            core.expired(&mut fired);
            fired.first().and_then(|_| session.timed_out(outside, core))
        }
        9 => {
            core.begin_turn(outside.now);
            core.waiting.clear();
            session.end_wait(core, app)
        }
        10 => match arg % 6 {
            4 => {
                let exhausted = core.shortage.exhausted.is_none().then(|| core.tick());
                core.shortage.exhausted = exhausted;
                None
            }
            5 => {
                session.link.drop_compressor(core);
                None
            }
            0 => session.ended(Cause::Finished, core),
            1 => session.ended(Cause::Reset, core),
            2 => session.drain(DrainReason::Stop, core),
            _ => session.shed(core),
        },
        _ => match arg % 4 {
            0 => session.answer(Upgrade::accept(2), core, app),
            1 => session.answer(Upgrade::reject(StatusCode::FORBIDDEN, "no"), core, app),
            2 => {
                session.link.pause_for_memory(core);
                None
            }
            _ => {
                session.link.resume_from_memory(core);
                None
            }
        },
    }
}

fn flush(session: &mut Session<u8>, core: &mut Core, app: &mut Acting, outside: &mut Outside) -> Option<Removal> {
    let mut removal = None;
    // Delivering stashed input can mark the session again.
    for slot in std::mem::take(&mut core.dirty) {
        assert_eq!(slot, SLOT);
        removal = removal.or_else(|| session.flush(core, app));
    }
    outside.turns += 1;
    for action in std::mem::take(&mut core.actions) {
        match action {
            Action::Send(SLOT, output) => {
                assert!(!output.is_empty() && !outside.finished, "a send has bytes and precedes FIN");
                assert!(outside.in_flight.replace(output).is_none(), "at most one send is in flight");
            }
            Action::Receive(SLOT) => assert!(!std::mem::replace(&mut outside.receiving, true)),
            Action::Pause(SLOT) => assert!(std::mem::replace(&mut outside.receiving, false)),
            Action::Finish(SLOT) => assert!(!std::mem::replace(&mut outside.finished, true)),
            action => panic!("not an action of this session: {action:?}"),
        }
    }
    removal
}

/// Checks that the output of a server is a response, and after an accepting one, frames that a
/// client can decode.
fn well_formed(sent: &[u8], config: &Config) {
    let Some(end) = sent.windows(4).position(|window| window == b"\r\n\r\n") else { return };
    assert!(sent.starts_with(b"HTTP/1.1 "), "{}", sent.escape_ascii());
    if !sent.starts_with(b"HTTP/1.1 101") {
        return;
    }
    let compressing = sent[..end].windows(18).any(|window| window == b"permessage-deflate");
    assert!(!compressing || config.deflate.is_some());
    let mut decoder = Decoder::new(Role::Client);
    if compressing {
        let params = ringway_codec::DeflateParams {
            client_no_context_takeover: true,
            server_no_context_takeover: !config.deflate.is_some_and(|deflate| deflate.own_takeover),
            ..Default::default()
        };
        decoder = Decoder::with_deflate(Role::Client, &params);
    }
    let (mut pool, mut frames, mut at) =
        (SpillPool::new(ringway_codec::Limits::default()), sent[end + 4..].to_vec(), 0);
    loop {
        match decoder.next(&mut pool, &mut frames, &mut at) {
            Ok(Some(Event::Close(_)) | None) => break,
            Ok(Some(_)) => {}
            Err(error) => panic!("the output is not a valid WebSocket stream: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Steps that are valid more often than arbitrary bytes.
    fn steps() -> impl Strategy<Value = Vec<u8>> {
        let frame =
            (prop_oneof![Just(1u8), Just(2), Just(9), Just(10), Just(0), Just(8)], any::<bool>(), "[a-z]{0,40}")
                .prop_map(|(opcode, fin, text)| {
                    let mut bytes = vec![opcode | u8::from(fin) << 7, 0x80 | text.len() as u8, 0, 0, 0, 0];
                    bytes.extend_from_slice(text.as_bytes());
                    let mut step = vec![0, bytes.len() as u8];
                    step.extend(bytes);
                    step
                });
        let other = (4..12u8, any::<u8>()).prop_map(|(op, arg)| vec![op, arg]);
        let noise = proptest::collection::vec(any::<u8>(), 0..30);
        let step = prop_oneof![6 => frame, 6 => other, 1 => noise];
        (any::<u8>(), proptest::collection::vec(step, 0..120)).prop_map(|(setup, steps)| {
            let mut data = vec![setup | 16 & !8];
            data.extend(steps.concat());
            data
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn a_session_keeps_its_invariants_under_random_steps(data in steps()) {
            drive_session(&data);
        }

        #[test]
        fn a_session_keeps_its_invariants_under_arbitrary_bytes(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            drive_session(&data);
        }
    }
}
