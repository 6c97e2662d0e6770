//! Plain HTTP on a shard, with all faults that do not end connections.

use super::world::{REQUEST, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{
    Config, Connection, DrainReason, Handler, HeaderMap, Limits, Message, Request, Response, StatusCode, Upgrade,
};
use ringway_codec::{OpCode, Role};
use ringway_io::sim::{Faults, Peer};
use std::time::Duration;

/// Answers each path with a body of its length in the path, and panics at `/panic`.
struct Pages;

impl Handler for Pages {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        assert_ne!(request.path(), "/panic");
        let len = request.path()[1..].parse().expect("a length");
        Response::new(StatusCode::OK, HeaderMap::new(), vec![b'x'; len])
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n")
}

/// The lengths of the bodies of whole responses with 200 at the start of `bytes`, and the rest.
fn bodies(mut bytes: &[u8]) -> (Vec<usize>, &[u8]) {
    let mut lengths = Vec::new();
    while bytes.starts_with(b"HTTP/1.1 200") {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head") + 4;
        let head = std::str::from_utf8(&bytes[..end]).expect("ASCII");
        let len = head.lines().find_map(|line| line.strip_prefix("Content-Length: ")).expect("a length");
        let len: usize = len.parse().expect("a number");
        assert!(bytes[end..end + len].iter().all(|&byte| byte == b'x'));
        lengths.push(len);
        bytes = &bytes[end + len..];
    }
    (lengths, bytes)
}

#[test]
fn pipelined_requests_are_answered_in_order_and_the_last_can_open_a_websocket() {
    each_seed(|seed, faults| {
        let limits = Limits { max_buffered: 4000, ..Limits::default() };
        let mut world = World::with(seed, faults, Config::default(), limits, Pages);
        let client = WebSocketPeer::new(world.network.connect(), Role::Client);
        let lengths: Vec<usize> = (0..60).map(|n| n * 37 % 1500).collect();
        let requests: String = lengths.iter().map(|len| get(&format!("/{len}"))).collect();
        client.peer.write(requests.as_bytes());
        client.peer.write(REQUEST.as_bytes());
        client.text("hi");
        let mut bytes = Vec::new();
        world.run_until(|world| {
            bytes.extend(client.peer.read_up_to(500));
            let buffered = if world.sessions() == 0 { 0 } else { world.buffered() };
            assert!(buffered < 4000 + 1700, "the output of a connection is limited (seed {seed})");
            world.is_idle() && bodies_are(&bytes, lengths.len())
        });
        bytes.extend(client.peer.read());
        let (answered, rest) = bodies(&bytes);
        assert_eq!(answered, lengths, "seed {seed}");
        let echo = [&[0x81, 2][..], b"hi"].concat();
        assert!(rest.starts_with(b"HTTP/1.1 101") && rest.ends_with(&echo), "seed {seed}: {}", rest.escape_ascii());
        client.peer.write(&client.frame(OpCode::Close, true, b""));
        world.run_until_idle();
        world.assert_clean();
        assert_eq!(world.shard.core.http.kept_alive(), 0, "seed {seed}");
    });
}

/// Whether this many bodies, and the response after them, have arrived.
fn bodies_are(bytes: &[u8], count: usize) -> bool {
    bytes.windows(12).filter(|window| *window == b"HTTP/1.1 200").count() == count && bytes.ends_with(b"hi")
}

#[test]
fn a_peer_that_ends_its_direction_behind_its_requests_gets_all_responses() {
    each_seed(|seed, faults| {
        let limits = Limits { max_buffered: 2000, ..Limits::default() };
        let mut world = World::with(seed, faults, Config::default(), limits, Pages);
        let peer = world.network.connect();
        peer.write(get("/700").repeat(30).as_bytes());
        peer.finish();
        let mut bytes = Vec::new();
        world.run_until(|world| {
            bytes.extend(peer.read_up_to(300));
            world.is_idle() && world.sessions() == 0
        });
        bytes.extend(peer.read());
        assert_eq!(bodies(&bytes), (vec![700; 30], &b""[..]), "seed {seed}");
        assert!(peer.is_finished() && !peer.is_reset(), "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn an_idle_connection_ends_without_a_response_and_without_a_reset() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Pages);
        let peer = world.network.connect();
        peer.write(get("/10").as_bytes());
        world.run_until_idle();
        assert_eq!(bodies(&peer.read()).0, [10], "seed {seed}");
        world.pass(Duration::from_secs(14));
        assert!(!peer.is_finished(), "seed {seed}");
        peer.write(get("/20").as_bytes());
        world.run_until_idle();
        assert_eq!(bodies(&peer.read()).0, [20], "seed {seed}");
        world.pass(Duration::from_secs(16));
        assert_eq!(peer.read(), b"", "seed {seed}");
        assert!(peer.is_finished() && !peer.is_reset(), "seed {seed}");
        peer.finish();
        world.run_until_idle();
        world.assert_clean();
    });
}

#[test]
fn a_panic_in_a_request_is_answered_with_500_and_ends_the_connection() {
    let mut world = World::new(1, rough(), Pages);
    let peer = world.network.connect();
    peer.write((get("/5") + &get("/panic") + &get("/5")).as_bytes());
    world.run_until_idle();
    let bytes = peer.read();
    let (answered, rest) = bodies(&bytes);
    assert_eq!(answered, [5]);
    let rest = std::str::from_utf8(rest).expect("ASCII");
    assert!(rest.starts_with("HTTP/1.1 500") && rest.contains("Connection: close"), "{rest}");
    assert_eq!(rest.matches("HTTP/1.1").count(), 1, "{rest}");
    peer.finish();
    world.run_until_idle();
    world.assert_clean();
}

#[test]
fn a_connection_with_many_requests_leaves_time_for_the_others() {
    let mut world = World::new(0, Faults::none(), Pages);
    let (busy, other) = (world.network.connect(), world.network.connect());
    world.run_until_idle();
    busy.write(get("/0").repeat(900).as_bytes());
    world.turn();
    other.write(get("/1").as_bytes());
    let mut turns = 0;
    world.run_until(|_| {
        turns += 1;
        !other.read().is_empty()
    });
    assert!(turns <= 4, "{turns} turns");
    assert!(world.shard.core.counters.yields > 0, "the other connection uses up its share of a turn");
    world.run_until_idle();
    assert_eq!(bodies(&busy.read()).0.len(), 900);
}

#[test]
fn a_stop_closes_idle_connections_at_once() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let peer = world.network.connect();
    peer.write(get("/").as_bytes());
    world.run_until_idle();
    assert!(peer.read().starts_with(b"HTTP/1.1 200"));
    world.post(|_, shard| shard.stop());
    // Without the passage of time: there is nothing to wait for.
    world.run_until(|world| !world.running);
    assert_eq!(world.sessions(), 0);
}

/// A world with this delay before its drain, and connections that each have had a response.
fn kept_alive<const N: usize>(seed: u64, faults: Faults, drain_delay: Duration) -> (World<Pages>, [Peer; N]) {
    let config = Config { drain_delay, ..Config::default() };
    let mut world = World::with(seed, faults, config, Limits::default(), Pages);
    let peers = [(); N].map(|()| world.network.connect());
    for peer in &peers {
        peer.write(get("/10").as_bytes());
    }
    world.run_until_idle();
    for peer in &peers {
        let response = peer.read();
        assert_eq!(bodies(&response).0, [10], "seed {seed}");
        assert!(response.windows(22).any(|window| window == b"Connection: keep-alive"), "seed {seed}");
    }
    (world, peers)
}

/// Checks that a connection has got one response, with this status and length of its body, and has
/// ended behind it.
fn assert_last_response(peer: &Peer, status: u16, len: Option<usize>, seed: u64) {
    let bytes = peer.read();
    let text = bytes.escape_ascii().to_string();
    assert!(bytes.starts_with(format!("HTTP/1.1 {status} ").as_bytes()), "seed {seed}: {text}");
    assert_eq!(text.matches("HTTP/1.1").count(), 1, "seed {seed}: {text}");
    assert!(text.contains("\\r\\nConnection: close\\r\\n"), "seed {seed}: {text}");
    if let Some(len) = len {
        assert_eq!(bodies(&bytes).0, [len], "seed {seed}");
    }
    assert!(peer.is_finished() && !peer.is_reset(), "seed {seed}");
    peer.finish();
}

#[test]
fn a_drain_closes_idle_connections_at_once_and_says_close_to_a_request_in_flight() {
    const DELAY: Duration = Duration::from_secs(2);
    for (reason, delay) in
        [(DrainReason::Stop, DELAY), (DrainReason::Stop, Duration::ZERO), (DrainReason::HandOver, Duration::ZERO)]
    {
        each_seed(|seed, faults| {
            let (mut world, [idle, half, slow]) = kept_alive(seed, faults, delay);
            half.write(b"GET /20 HTTP/1.1\r\nHo");
            // Its peer does not read.
            slow.set_window(0);
            slow.write(get("/200000").as_bytes());
            world.run_until_idle();
            world.post(move |_, shard| shard.drain(reason));
            world.run_until_idle();
            if !delay.is_zero() {
                // It is announced; until the delay is over, connections are used as before.
                assert!(!idle.is_finished(), "seed {seed}");
                half.write(b"st: a\r\n\r\n");
                world.run_until_idle();
                assert_last_response(&half, 200, Some(20), seed);
                world.pass(delay);
            }
            // Without the passage of further time.
            assert_eq!(idle.read(), b"", "seed {seed}");
            assert!(idle.is_finished() && !idle.is_reset(), "{reason:?}, seed {seed}");
            idle.finish();
            match reason {
                // The rest of the request would be for nobody.
                DrainReason::Stop if delay.is_zero() => assert_last_response(&half, 503, None, seed),
                DrainReason::HandOver => {
                    assert!(!half.is_finished(), "seed {seed}");
                    half.write(b"st: a\r\n\r\n");
                    world.run_until_idle();
                    assert_last_response(&half, 200, Some(20), seed);
                }
                _ => {}
            }
            // A response that is being sent is sent to its end.
            assert!(!slow.is_finished(), "seed {seed}");
            let mut bytes = Vec::new();
            world.run_until(|_| {
                slow.set_window(200_000);
                bytes.extend(slow.read());
                slow.is_finished()
            });
            bytes.extend(slow.read());
            assert_eq!(bodies(&bytes), (vec![200_000], &b""[..]), "{reason:?}, seed {seed}");
            slow.finish();
            world.run_until_idle();
            assert!(!world.running, "{reason:?}, seed {seed}");
            let report = world.shard.core.drain.as_ref().expect("it drains").report;
            let refused = u64::from(reason == DrainReason::Stop && delay.is_zero());
            assert_eq!((report.refused, report.unopened, report.aborted), (refused, 0, 0), "{reason:?}, seed {seed}");
        });
    }
}
