//! The numbers that a shard publishes, compared with what its peers did.

use super::world::{REQUEST, Scripted, WebSocketPeer, World, each_seed};
use crate::{CloseCode, ClosedBy, Config, Limits, Message, ShardMetrics};
use ringway_codec::{OpCode, Role};
use ringway_io::sim::Faults;
use std::time::Duration;

/// A handler that echoes, and closes with 4000 at the message `bye`.
fn echoing() -> Scripted {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| match message.as_text() {
        Some("bye") => conn.close(CloseCode::new(4000), "").expect("sendable"),
        Some("pause") => conn.pause(),
        _ => conn.reply(message),
    };
    handler
}

fn metrics(world: &World<Scripted>) -> ShardMetrics {
    world.shard.published.read(0)
}

/// A peer that has sent these bytes instead of a request for a WebSocket.
fn plain_peer(world: &mut World<Scripted>, bytes: &[u8]) -> WebSocketPeer {
    let mut peer = WebSocketPeer::new(world.network.connect(), Role::Client);
    peer.write(bytes);
    world.run_until_idle();
    peer.pull();
    peer
}

#[test]
fn messages_and_bytes_are_those_of_the_peers() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, echoing());
        let mut client = world.open_client();
        let mut received = REQUEST.len();
        for text in ["", "a message", &"m".repeat(3000)] {
            let frame = client.frame(OpCode::Text, true, text.as_bytes());
            received += frame.len();
            client.write(&frame);
        }
        world.run_until_idle();
        client.pull();
        let now = metrics(&world);
        assert_eq!((now.messages_received(), now.messages_sent()), (3, 3), "seed {seed}");
        for histogram in [now.received_size, now.sent_size] {
            let up_to = |bound: f64| histogram.cumulative().find(|(at, _)| *at == bound).map(|(_, count)| count);
            assert_eq!((up_to(64.0), up_to(1024.0), up_to(4096.0)), (Some(2), Some(2), Some(3)), "seed {seed}");
            assert_eq!(histogram.sum(), 3009.0, "seed {seed}");
        }
        assert_eq!(now.counters.received_bytes, received as u64, "seed {seed}");
        let replies = 2 + (2 + 9) + (4 + 3000);
        assert_eq!(now.counters.sent_bytes, (client.head.len() + replies) as u64, "seed {seed}");
        assert_eq!((now.queue_bytes, now.buffers_free), (0, 16), "seed {seed}");
        assert!(now.driver.turns > 0, "seed {seed}");
    });
}

#[test]
fn connections_are_counted_by_their_state_and_their_end() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, echoing());
        let clients: Vec<_> = (0..6).map(|_| world.open_client()).collect();
        let opening = world.network.connect();
        world.run_until_idle();
        let now = metrics(&world);
        assert_eq!((now.connections.opening, now.connections.open, now.connections.closing), (1, 6, 0), "seed {seed}");
        assert_eq!((now.driver.accepted, now.counters.handshakes_accepted), (7, 6), "seed {seed}");

        clients[0].close(1000);
        clients[1].close(1000);
        clients[2].text("bye");
        clients[3].send(OpCode::Text, b"\xff");
        clients[4].peer.finish();
        world.run_until_idle();
        // Its close frame is not answered yet.
        let now = metrics(&world);
        assert_eq!((now.connections.open, now.connections.closing), (1, 2), "seed {seed}");
        clients[2].close(4000);
        clients[3].peer.finish();
        opening.finish();
        world.run_until_idle();
        let now = metrics(&world);
        assert_eq!((now.connections.opening, now.connections.open, now.connections.closing), (0, 1, 0), "seed {seed}");
        let mut closes: Vec<_> = now.closes().collect();
        closes.sort_by_key(|(code, ..)| *code);
        let expected = [
            ("1000", ClosedBy::Peer, 2),
            ("1006", ClosedBy::Peer, 1),
            ("1007", ClosedBy::Local, 1),
            ("4000-4999", ClosedBy::Local, 1),
        ];
        assert_eq!(closes, expected, "seed {seed}");
        assert_eq!(now.protocol_errors().collect::<Vec<_>>(), [("1007", 1)], "seed {seed}");
        assert_eq!(now.counters.handshakes_aborted, 1, "seed {seed}");
    });
}

#[test]
fn handshakes_and_responses_are_counted_by_their_result() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, echoing());
        let _client = world.open_client();
        let old = REQUEST.replace("Version: 13", "Version: 8");
        assert_eq!(plain_peer(&mut world, old.as_bytes()).status(), 426, "seed {seed}");
        assert_eq!(plain_peer(&mut world, b"GET / HTTP/9\r\n\r\n").status(), 505, "seed {seed}");
        let page = plain_peer(&mut world, b"GET / HTTP/1.1\r\nHost: server.example\r\n\r\n").status();
        let silent = world.network.connect();
        world.run_until_idle();
        world.pass(Duration::from_secs(11));
        let answer = String::from_utf8(silent.read()).expect("ASCII");
        assert!(answer.starts_with("HTTP/1.1 408"), "seed {seed}: {answer}");
        let now = metrics(&world);
        let counters = now.counters;
        let results = (counters.handshakes_accepted, counters.handshakes_refused, counters.handshakes_timed_out);
        assert_eq!(results, (1, 2, 1), "seed {seed}");
        let mut expected = vec![("101", 1), ("408", 1), ("426", 1), ("505", 1)];
        match expected.iter_mut().find(|(code, _)| *code == page.to_string()) {
            Some((_, count)) => *count += 1,
            None => expected.push((crate::metrics::codes::status_label(page), 1)),
        }
        expected.sort_unstable();
        assert_eq!(now.http_responses().collect::<Vec<_>>(), expected, "seed {seed}");
    });
}

#[test]
fn a_pong_gives_the_round_trip_of_its_ping_and_pauses_are_counted() {
    let config = Config { idle_timeout: Some(Duration::from_secs(20)), ..Config::default() };
    let config = config.connection_times(true);
    let mut world = World::with(0, Faults::none(), config, Limits::default(), echoing());
    let mut client = world.open_client();
    world.pass(Duration::from_secs(11));
    client.pull();
    assert_eq!(client.ping.len(), 8, "the shard has sent a ping");
    world.now += Duration::from_millis(40);
    client.send(OpCode::Pong, b"a payload of its own");
    client.send(OpCode::Pong, &client.ping.clone());
    client.text("pause");
    world.run_until_idle();
    let now = metrics(&world);
    assert_eq!((now.ping_rtt.count(), now.paused.by_handler), (1, 1));
    // The ping is 1 s old.
    assert!((1.03..1.05).contains(&now.ping_rtt.sum()), "{}", now.ping_rtt.sum());
    world.post(|handler, shard| shard.connection(handler.opened[0]).expect("open").resume());
    world.run_until_idle();
    assert_eq!(metrics(&world).paused.by_handler, 0);
    client.peer.reset();
    world.run_until_idle();
    let now = metrics(&world);
    assert_eq!((now.handshake_duration.count(), now.connection_duration.count()), (1, 1));
    assert!((11.04..13.0).contains(&now.connection_duration.sum()), "{}", now.connection_duration.sum());
}

#[test]
fn the_queue_of_a_peer_that_does_not_read_is_published() {
    let mut handler = echoing();
    handler.on_open = |_, conn| assert!(conn.send(Message::text(&"x".repeat(100_000))).is_accepted());
    let mut world = World::new(0, Faults::none(), handler);
    world.network.set_window(1000);
    let _client = world.client();
    world.run_until_idle();
    let now = metrics(&world);
    assert!(now.queue_bytes > 98_000 && now.queue_bytes <= 100_200, "{}", now.queue_bytes);
    assert!(now.budget_used_bytes >= now.queue_bytes && now.budget_bytes >= now.budget_used_bytes);
    assert!(!now.draining);
    world.post(|_, shard| shard.stop());
    world.run_until_idle();
    assert!(metrics(&world).draining);
}
