//! Many connections that end, or fail, at once, in each state that a connection can have. The shard
//! serves others meanwhile, and frees all that they held.

use crate::config;
use ringway::{CloseCode, Connection, Handler, Limits, Message, Request, SendOutcome, Upgrade};
use ringway_tests::{Frame, RawRequest, TestServer, WirePeer};
use std::time::Duration;

/// The connections of each storm.
const CONNECTIONS: usize = 300;

/// A handler that brings its connections into different states.
struct Obedient;

impl Handler for Obedient {
    type State = ();

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<()> {
        if request.path() == "/deferred" { Upgrade::defer() } else { Upgrade::accept(()) }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match message.as_text() {
            Some("close") => conn.close(CloseCode::NORMAL, "as requested").expect("1000 may be sent"),
            Some("pause") => conn.pause(),
            Some("flood") => {
                while let SendOutcome::Sent | SendOutcome::Queued(_) = conn.send(Message::binary(&FLOOD)) {}
            }
            Some("panic") => panic!("as requested"),
            _ => conn.reply(message),
        }
    }
}

static FLOOD: [u8; 64 << 10] = [7; 64 << 10];

fn server() -> TestServer<Obedient> {
    let limits = Limits::default().max_buffered(256 << 10).expect("in range");
    // The reset of a connection whose answer is deferred is detected by this deadline.
    let config = config().handshake_timeout(Duration::from_secs(2)).expect("in range");
    TestServer::start(config, limits, |_| Obedient)
}

/// Waits until one connection is left, and checks that nothing is held for the others.
fn expect_one_left(server: &TestServer<Obedient>, state: &str) {
    // The reset of a paused connection is detected when it receives again.
    server.on_shard(|_, shard| shard.for_each_connection(|conn| conn.resume()));
    server.wait_until("the connections are gone", |_, shard| shard.connection_count() == 1);
    let held = server.on_shard(|_, shard| shard.memory_held());
    assert_eq!(held, 0, "bytes are held after the storm: {state}");
}

/// Brings a connection into a state, and returns when the server has it in that state, or is about
/// to.
type Bring = fn(&mut WirePeer);

/// A connection in a state.
fn brought(server: &TestServer<Obedient>, bring: Bring) -> WirePeer {
    let mut peer = WirePeer::connect_narrow(server.address());
    bring(&mut peer);
    peer
}

fn say(peer: &mut WirePeer, text: &str) {
    peer.upgrade();
    peer.send(&Frame::text(text));
}

const STATES: [(&str, Bring); 12] = [
    ("connected", |_| {}),
    ("half of a request", |peer| peer.write(&RawRequest::websocket().bytes()[..40])),
    ("deferred", |peer| peer.write(RawRequest::websocket().line("GET /deferred HTTP/1.1").bytes())),
    ("requested", |peer| peer.write(RawRequest::websocket().bytes())),
    ("open", |peer| {
        peer.upgrade();
        peer.expect_echo("hello");
    }),
    ("half of a frame", |peer| {
        peer.upgrade();
        peer.write(&Frame::binary([1; 100_000]).bytes()[..50_000]);
    }),
    ("half of a fragmented message", |peer| {
        peer.upgrade();
        let mut first = Frame::binary([1; 5000]).bytes();
        // Not the last fragment (RFC 6455 section 5.2).
        first[0] &= 0x7F;
        peer.write(first);
    }),
    ("replies in flight", |peer| {
        peer.upgrade();
        (0..20).for_each(|_| peer.send(&Frame::binary([1; 10_000])));
    }),
    ("full outbox", |peer| {
        say(peer, "flood");
        peer.frame();
    }),
    ("paused, with input", |peer| {
        say(peer, "pause");
        (0..20).for_each(|_| peer.send(&Frame::binary([1; 10_000])));
    }),
    ("closed by the peer", |peer| {
        peer.upgrade();
        peer.send(&Frame::close(1000, ""));
    }),
    ("closed by the handler", |peer| {
        say(peer, "close");
        assert_eq!(peer.close_code(), Some(1000));
    }),
];

#[test]
fn resets_in_every_state_at_once_free_everything() {
    let server = server();
    let mut healthy = WirePeer::open(server.address());
    for (state, bring) in STATES {
        let peers: Vec<WirePeer> = (0..CONNECTIONS).map(|_| brought(&server, bring)).collect();
        healthy.expect_echo(state);
        peers.into_iter().for_each(WirePeer::reset);
        healthy.expect_echo("after the resets");
        expect_one_left(&server, state);
    }
    drop(healthy);
    server.wait_until_empty();
}

/// All states in one storm: some connections are reset while others are still served.
#[test]
fn resets_of_connections_in_different_states_free_everything() {
    let server = server();
    let mut healthy = WirePeer::open(server.address());
    let bring = |number: usize| STATES[number % STATES.len()].1;
    let mut peers: Vec<WirePeer> = (0..CONNECTIONS).map(|number| brought(&server, bring(number))).collect();
    // In another order than that of their slots.
    while let Some(at) = peers.len().checked_sub(1) {
        peers.swap_remove(at * 7 % peers.len()).reset();
        if at % 50 == 0 {
            healthy.expect_echo("between the resets");
        }
    }
    expect_one_left(&server, "all");
    healthy.expect_echo("after the resets");
}

#[test]
fn panics_of_the_handler_for_many_connections_close_only_those() {
    let server = server();
    let mut healthy = WirePeer::open(server.address());
    let mut peers: Vec<WirePeer> = (0..CONNECTIONS).map(|_| WirePeer::open(server.address())).collect();
    peers.iter_mut().for_each(|peer| peer.send(&Frame::text("panic")));
    for peer in &mut peers {
        assert_eq!(peer.close_code(), Some(1011));
    }
    healthy.expect_echo("after the panics");
    assert_eq!(server.on_shard(|_, shard| shard.counters().panics), CONNECTIONS as u64);
    drop(peers);
    expect_one_left(&server, "panics");
}

/// Messages of a pipeline that the socket buffers of the peer hold only in parts.
#[test]
fn socket_buffers_of_8_kib_lose_nothing() {
    const SIZES: [usize; 8] = [0, 1, 125, 126, 8192, 65_535, 65_536, 300_000];
    let server = server();
    let mut peer = WirePeer::connect_narrow(server.address());
    rustix::net::sockopt::set_socket_send_buffer_size(peer.stream(), 8 << 10).expect("a socket");
    peer.upgrade();
    let mut writer = peer.writer();
    let payload = |round: usize, size: usize| (0..size).map(|at| (at + round) as u8).collect::<Vec<u8>>();
    let writing = std::thread::spawn(move || {
        for round in 0..10 {
            SIZES.iter().for_each(|size| writer.send(&Frame::binary(payload(round, *size))));
        }
    });
    for round in 0..10 {
        for size in SIZES {
            let frame = peer.frame();
            assert!(frame.payload == payload(round, size), "{size} bytes of round {round}");
        }
    }
    writing.join().expect("all was written");
}
