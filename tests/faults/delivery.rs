//! Messages that a handler sends, or stashes by pausing, arrive completely, once, in order.

use crate::{config, echo_server};
use ringway::{
    BufferConfig, CloseCode, Connection, ConnectionId, Handler, Limits, Message, MessageKind, Prepared, Request,
    SendOutcome, Upgrade,
};
use ringway_tests::{End, Frame, Received, TestServer, WirePeer};

#[test]
fn rfc6455_5_4_a_ping_between_fragments_is_answered_before_the_message() {
    let server = echo_server();
    let mut peer = WirePeer::open(server.address());
    for frame in [Frame::text("Hel").more(), Frame::ping("now"), Frame::continuation("").more(), Frame::ping("")] {
        peer.send(&frame);
    }
    peer.send(&Frame::continuation("lo"));
    assert_eq!(peer.frame(), Received::pong("now"));
    assert_eq!(peer.frame(), Received::pong(""));
    assert_eq!(peer.frame(), Received::text("Hello"));
}

#[test]
fn rfc6455_5_5_3_an_unsolicited_pong_is_ignored() {
    let server = echo_server();
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::pong("nobody asked"));
    peer.send(&Frame::text("a").more());
    peer.send(&Frame::pong([1; 125]));
    peer.send(&Frame::continuation("b"));
    assert_eq!(peer.frame(), Received::text("ab"));
}

#[test]
fn empty_messages_are_messages() {
    let server = echo_server();
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text(""));
    peer.send(&Frame::binary("").more());
    peer.send(&Frame::continuation(""));
    assert_eq!(peer.frame(), Received::text(""));
    assert_eq!(peer.frame(), Received::binary(""));
}

#[test]
fn messages_of_every_length_around_the_edges_come_back() {
    let edges = [125, 126, 127, 4080, 4096, 4100, 32_754, 32_768, 32_782, 65_535, 65_536, 1_000_000];
    let server = echo_server();
    let mut peer = WirePeer::open(server.address());
    for length in edges {
        let payload: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        peer.send(&Frame::binary(&payload));
        assert_eq!(peer.frame(), Received::binary(&payload));
    }
}

/// A handler whose answer depends on the first byte of the message.
struct Mixing {
    prepared: Prepared,
}

/// The additional answer of `Mixing`: too long to be copied into the outbox.
const LONG: [u8; 3000] = [b'L'; 3000];

impl Handler for Mixing {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let all_sent = match message.payload()[0] % 8 {
            0..=2 => {
                conn.reply(message);
                true
            }
            3 => conn.send(Message::binary(message.payload())).is_accepted(),
            4 => conn.send_prepared(&self.prepared).is_accepted(),
            5 => {
                let before = conn.send(Message::text("before")).is_accepted();
                conn.reply(message);
                before
            }
            6 => {
                conn.reply(message);
                conn.send(Message::text("after")).is_accepted()
            }
            _ => {
                let before = conn.send_prepared(&self.prepared).is_accepted();
                conn.reply(message);
                before && conn.send_prepared(&self.prepared).is_accepted()
            }
        };
        assert!(all_sent, "the limit is high enough for the test");
    }

    fn ping(&mut self, conn: &mut Connection<'_, Self>, payload: &[u8]) {
        if payload == b"and" {
            let _ = conn.send(Message::text("pinged"));
        }
    }
}

/// The expected answers of `Mixing` to a message.
fn mixed(payload: &[u8]) -> Vec<Received> {
    let echo = || Received::binary(payload);
    match payload[0] % 8 {
        0..=3 => vec![echo()],
        4 => vec![Received::binary(LONG)],
        5 => vec![Received::text("before"), echo()],
        6 => vec![echo(), Received::text("after")],
        _ => vec![Received::binary(LONG), echo(), Received::binary(LONG)],
    }
}

/// The xorshift generator, with the same numbers in every run.
struct Numbers(u32);

impl Numbers {
    fn below(&mut self, limit: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 % limit
    }
}

#[test]
fn replies_sends_and_prepared_frames_keep_their_order_in_a_pipeline() {
    let buffers = BufferConfig::new().size(4096).and_then(|buffers| buffers.count(64)).expect("in range");
    let limits = Limits::default().max_buffered(64 << 20).expect("in range");
    let make = |_| Mixing { prepared: Prepared::binary(&LONG) };
    let server = TestServer::start(config().buffers(buffers), limits, make);
    let mut peer = WirePeer::open(server.address());
    let mut numbers = Numbers(0x2545_f491);
    for round in 0..60 {
        let (mut bytes, mut expected) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let length = match numbers.below(20) {
                0 => 5000 + numbers.below(5000), // does not fit a buffer
                1..4 => 126 + numbers.below(1000),
                _ => 1 + numbers.below(60),
            };
            let payload: Vec<u8> = (0..length).map(|_| numbers.below(256) as u8).collect();
            let (first, second) = payload.split_at(numbers.below(length) as usize);
            match numbers.below(6) {
                0 => bytes.extend([Frame::binary(first).more().bytes(), Frame::continuation(second).bytes()].concat()),
                1 => {
                    bytes.extend([Frame::ping("and").bytes(), Frame::binary(&payload).bytes()].concat());
                    expected.extend([Received::pong("and"), Received::text("pinged")]);
                }
                2 => {
                    bytes.extend([Frame::ping("p").bytes(), Frame::binary(&payload).bytes()].concat());
                    expected.push(Received::pong("p"));
                }
                _ => bytes.extend(Frame::binary(&payload).bytes()),
            }
            expected.extend(mixed(&payload));
        }
        let mut writer = peer.writer();
        let writing = std::thread::spawn(move || writer.write(bytes));
        for (at, expected) in expected.iter().enumerate() {
            assert_eq!(peer.frame(), *expected, "frame {at} of round {round}");
        }
        writing.join().expect("all was written");
    }
}

/// A handler that pauses on request and counts messages.
#[derive(Default)]
struct Pausing {
    paused: Option<ConnectionId>,
    messages: usize,
}

impl Handler for Pausing {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.messages += 1;
        if message.as_text() == Some("pause") {
            conn.pause();
            self.paused = Some(conn.id());
        }
        conn.reply(message);
    }
}

fn pausing() -> TestServer<Pausing> {
    TestServer::start(config(), Limits::default(), |_| Pausing::default())
}

fn resume(server: &TestServer<Pausing>) {
    server.on_shard(|pausing, shard| {
        let id = pausing.paused.take().expect("it was told to pause");
        shard.connection(id).expect("it is still there").resume();
    });
}

#[test]
fn pings_are_answered_although_the_handler_paused() {
    let server = pausing();
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("pause"));
    assert_eq!(peer.frame(), Received::text("pause"));
    for n in 0..10 {
        peer.send(&Frame::ping([n]));
        assert_eq!(peer.frame(), Received::pong([n]));
    }
    peer.send(&Frame::text("held back"));
    assert_eq!(server.on_shard(|pausing, _| pausing.messages), 1);
    resume(&server);
    assert_eq!(peer.frame(), Received::text("held back"));
}

#[test]
fn no_message_is_delivered_while_paused_and_none_is_lost() {
    let server = pausing();
    let mut peer = WirePeer::open(server.address());
    let texts: Vec<String> = (0..3000).map(|n| format!("{n} {}", "x".repeat(n % 700))).collect();
    let behind: Vec<u8> = texts.iter().flat_map(|text| Frame::text(text).bytes()).collect();
    let mut writer = peer.writer();
    let bytes = [Frame::text("pause").bytes(), behind].concat();
    let writing = std::thread::spawn(move || writer.write(bytes));
    assert_eq!(peer.frame(), Received::text("pause"));
    // Each query is a turn in which further messages could be delivered.
    for _ in 0..100 {
        assert_eq!(server.on_shard(|pausing, _| pausing.messages), 1);
    }
    resume(&server);
    for text in &texts {
        assert_eq!(peer.frame(), Received::text(text));
    }
    writing.join().expect("all was written");
}

#[test]
fn repeated_pausing_loses_no_message() {
    let server = pausing();
    let mut peer = WirePeer::open(server.address());
    let round = [Frame::text("pause"), Frame::ping("p"), Frame::text("a"), Frame::binary([7; 40_000])];
    let bytes: Vec<u8> = round.iter().cycle().take(4 * 50).flat_map(Frame::bytes).collect();
    let mut writer = peer.writer();
    let writing = std::thread::spawn(move || writer.write(bytes));
    for _ in 0..50 {
        assert_eq!(peer.frame(), Received::text("pause"));
        resume(&server);
        assert_eq!(peer.frame(), Received::pong("p"));
        assert_eq!(peer.frame(), Received::text("a"));
        assert_eq!(peer.frame(), Received::binary([7; 40_000]));
    }
    writing.join().expect("all was written");
}

#[test]
fn a_close_is_answered_although_the_handler_paused() {
    let server = pausing();
    let mut peer = WirePeer::open(server.address());
    peer.send(&Frame::text("pause"));
    assert_eq!(peer.frame(), Received::text("pause"));
    peer.send(&Frame::close(1000, ""));
    assert_eq!(peer.close_code(), Some(1000));
    assert_eq!(peer.end(), End::Finished);
    server.wait_until_empty();
}

#[test]
fn a_violation_is_answered_although_the_handler_paused() {
    let server = pausing();
    let mut peer = WirePeer::open(server.address());
    peer.write([Frame::text("pause").bytes(), Frame::new(3, "").bytes()].concat());
    assert_eq!(peer.frame(), Received::text("pause"));
    assert_eq!(peer.close_code(), Some(1002));
    assert_eq!(peer.end(), End::Finished);
}

#[test]
fn stashed_messages_are_delivered_before_the_end_of_the_stream() {
    let server = pausing();
    let mut peer = WirePeer::open(server.address());
    peer.write(["pause", "one", "two"].map(|text| Frame::text(text).bytes()).concat());
    peer.finish();
    assert_eq!(peer.frame(), Received::text("pause"));
    resume(&server);
    assert_eq!(peer.frame(), Received::text("one"));
    assert_eq!(peer.frame(), Received::text("two"));
    assert_eq!(peer.end(), End::Finished);
    server.wait_until_empty();
}

#[test]
fn a_handler_closes_a_connection_that_it_paused() {
    let server = pausing();
    let mut peer = WirePeer::open(server.address());
    peer.write(["pause", "never delivered"].map(|text| Frame::text(text).bytes()).concat());
    assert_eq!(peer.frame(), Received::text("pause"));
    server.on_shard(|pausing, shard| {
        let id = pausing.paused.expect("it was told to pause");
        shard.connection(id).expect("it is still there").close(CloseCode::POLICY, "").expect("sendable");
    });
    assert_eq!(peer.close_code(), Some(1008));
    peer.send(&Frame::close(1008, ""));
    assert_eq!(peer.end(), End::Finished);
    server.wait_until_empty();
    assert_eq!(server.on_shard(|pausing, _| pausing.messages), 1);
}

/// A handler that sends numbered messages as fast as `send` accepts them, until all are sent.
#[derive(Default)]
struct Flooding {
    refused: usize,
    drained: usize,
    peak: usize,
}

const FLOOD: u32 = 600;

impl Flooding {
    fn flood(&mut self, conn: &mut Connection<'_, Self>) {
        while *conn.state() < FLOOD {
            let n = *conn.state();
            let payload = [&n.to_be_bytes()[..], &[n as u8; 10_000]].concat();
            match conn.send(Message::binary(&payload)) {
                SendOutcome::Sent | SendOutcome::Queued(_) => *conn.state() += 1,
                refused => {
                    let message = refused.into_message().expect("neither sent nor queued");
                    assert_eq!((message.kind(), message.payload()), (MessageKind::Binary, &payload[..]));
                    self.refused += 1;
                    return;
                }
            }
            self.peak = self.peak.max(conn.buffered_amount());
        }
    }
}

impl Handler for Flooding {
    /// The number of messages to send.
    type State = u32;

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u32> {
        Upgrade::accept(0)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, _: Message<'_>) {
        self.flood(conn);
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        assert_eq!(conn.buffered_amount(), 0);
        self.drained += 1;
        self.flood(conn);
    }
}

#[test]
fn send_returns_messages_over_the_limit_and_drained_follows() {
    let limits = Limits::default().max_buffered(100_000).expect("in range");
    let server = TestServer::start(config(), limits, |_| Flooding::default());
    let mut peer = WirePeer::connect_narrow(server.address());
    peer.upgrade();
    peer.send(&Frame::text("go"));
    for n in 0..FLOOD {
        let expected = [&n.to_be_bytes()[..], &[n as u8; 10_000]].concat();
        assert_eq!(peer.frame(), Received::binary(expected), "message {n}");
    }
    let (refused, drained, peak) = server.on_shard(|flooding, _| (flooding.refused, flooding.drained, flooding.peak));
    assert!(refused > 0 && drained >= refused, "refused {refused} times, drained {drained} times");
    assert!(peak <= 100_000, "{peak} bytes waited");
}

/// A handler that keeps the ids of all its connections.
#[derive(Default)]
struct Gathering {
    open: Vec<ConnectionId>,
}

impl Handler for Gathering {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.open.push(conn.id());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

#[test]
fn a_prepared_message_reaches_all_connections() {
    let server = TestServer::start(config(), Limits::default(), |_| Gathering::default());
    let mut peers: Vec<WirePeer> = (0..40).map(|_| WirePeer::open(server.address())).collect();
    let long = "long ".repeat(20_000);
    let (first, second) = (Prepared::text("short"), Prepared::text(&long));
    server.on_shard(move |gathering, shard| {
        for prepared in [&first, &second, &first] {
            for id in &gathering.open {
                let mut conn = shard.connection(*id).expect("it is open");
                assert!(conn.send_prepared(prepared).is_accepted());
            }
        }
    });
    for peer in &mut peers {
        for text in ["short", &long, "short"] {
            assert_eq!(peer.frame(), Received::text(text));
        }
    }
}

#[test]
fn a_prepared_message_reaches_the_connections_that_are_still_open() {
    let server = TestServer::start(config(), Limits::default(), |_| Gathering::default());
    let mut peers: Vec<WirePeer> = (0..20).map(|_| WirePeer::open(server.address())).collect();
    for peer in peers.drain(..10) {
        peer.reset();
    }
    let prepared = Prepared::binary(&[5; 50_000]);
    server.on_shard(move |gathering, shard| {
        for id in &gathering.open {
            if let Some(mut conn) = shard.connection(*id) {
                let _ = conn.send_prepared(&prepared);
            }
        }
    });
    for peer in &mut peers {
        assert_eq!(peer.frame(), Received::binary([5; 50_000]));
    }
    drop(peers);
    server.wait_until_empty();
}

#[test]
fn concurrent_peers_receive_their_own_messages() {
    let server = echo_server();
    let address = server.address();
    let threads: Vec<_> = (0..4u8)
        .map(|thread| {
            std::thread::spawn(move || {
                let mut peers: Vec<WirePeer> = (0..25).map(|_| WirePeer::open(address)).collect();
                for round in 0..20u8 {
                    for (n, peer) in peers.iter_mut().enumerate() {
                        peer.send(&Frame::binary([thread, n as u8, round].repeat(1 + n * 30)));
                    }
                    for (n, peer) in peers.iter_mut().enumerate() {
                        assert_eq!(peer.frame(), Received::binary([thread, n as u8, round].repeat(1 + n * 30)));
                    }
                }
            })
        })
        .collect();
    for thread in threads {
        thread.join().expect("each got its own");
    }
    server.wait_until_empty();
}
