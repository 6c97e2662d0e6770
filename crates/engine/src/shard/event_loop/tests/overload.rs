//! The time that peers take from a shard, and that a shard takes from its peers: floods, stalls of the
//! process, and deadlines.

use super::shortage::begin;
use super::world::{Got, Scripted, WebSocketPeer, World, rough};
use crate::{Config, Deflate, Endpoint, Limits};
use ringway_codec::{DeflateParams, Deflater, MessageKind, OpCode, WindowBits, encode_deflated};
use ringway_io::sim::Faults;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_message_that_is_never_finished_ends_with_1008_although_its_peer_is_active() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let mut client = world.open_client();
    begin(&client, 100);
    world.run_until_idle();
    for _ in 0..12 {
        world.pass(9 * SECOND);
        client.send(OpCode::Pong, b"");
    }
    client.pull();
    assert!(!client.got().contains(&Got::Close(Some(1008))), "the timeout is two minutes");
    world.pass(13 * SECOND);
    client.pull();
    assert_eq!(client.got().last(), Some(&Got::Close(Some(1008))));
    client.close(1008);
    client.peer.finish();
    world.run_until_idle();
    assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 7: 1008 MessageTimeout"));
    world.assert_clean();
}

#[test]
fn messages_that_follow_each_other_are_timed_one_by_one() {
    let mut world = World::new(1, rough(), Scripted::new());
    let mut client = world.open_client();
    for _ in 0..10 {
        begin(&client, 100);
        world.pass(100 * SECOND);
        client.peer.write(&client.frame(OpCode::Continuation, true, b""));
        world.run_until_idle();
        assert!(matches!(client.take().last(), Some(Got::Binary(_))));
    }
}

/// Clients of a server with an idle timeout of 6 s.
fn watched(clients: usize, faults: Faults) -> (World<Scripted>, Vec<WebSocketPeer>) {
    let config = Config { idle_timeout: Some(6 * SECOND), ..Config::default() };
    let mut world = World::with(1, faults, config, Limits::default(), Scripted::new());
    let clients = (0..clients).map(|_| world.open_client()).collect();
    (world, clients)
}

#[test]
fn a_stall_closes_no_connection_with_unread_bytes() {
    for faults in [Faults::none(), rough()] {
        let (mut world, mut clients) = watched(120, faults);
        world.pass(4 * SECOND);
        for client in &clients {
            client.text("written while the process was stopped");
        }
        world.stall(10 * SECOND);
        assert_eq!(world.sessions(), clients.len());
        for client in &mut clients {
            let got = client.take();
            assert!(got.contains(&Got::text("written while the process was stopped")), "{got:?}");
        }
    }
}

#[test]
fn after_a_stall_an_idle_peer_has_the_rest_of_its_timeout() {
    let (mut world, mut clients) = watched(1, Faults::none());
    world.pass(4 * SECOND);
    assert_eq!(clients[0].take(), [Got::Ping(Vec::new())]);
    world.stall(100 * SECOND);
    assert_eq!(world.shard.core.counters.stalls, 1);
    world.pass(Duration::from_millis(1900));
    assert_eq!(world.sessions(), 1);
    world.pass(Duration::from_millis(200));
    world.assert_clean();
    assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 7: 1006 Idle"));
}

#[test]
fn a_stall_before_the_ping_does_not_shorten_the_time_to_answer_it() {
    let (mut world, mut clients) = watched(1, Faults::none());
    world.pass(2 * SECOND);
    // In short turns, so that none counts as a stall.
    world.stall(Duration::from_millis(99));
    world.stall(100 * SECOND);
    world.pass(2 * SECOND);
    assert_eq!((clients[0].take(), world.sessions()), (vec![Got::Ping(Vec::new())], 1));
    clients[0].send(OpCode::Pong, b"");
    world.pass(2 * SECOND);
    assert_eq!(world.sessions(), 1);
}

#[test]
fn a_flood_of_empty_frames_does_not_delay_other_connections() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let (mut flood, mut other) = (world.open_client(), world.open_client());
    let frames = 30_000;
    let frame = flood.frame(OpCode::Binary, true, b"");
    (0..frames / 1000).for_each(|_| flood.peer.write(&frame.repeat(1000)));
    let (mut before, mut got) = (0, 0);
    world.turn();
    world.handler().log.clear();
    other.send(OpCode::Ping, b"now");
    for turn in 0.. {
        world.turn();
        let handled = world.handler().take_log().len();
        assert!(handled <= 2100, "{handled} messages of one connection in a turn");
        got += flood.take().len();
        if other.take() == [Got::Pong(b"now".to_vec())] {
            before = turn;
            break;
        }
    }
    assert!(before <= 3 && got < frames, "the other connection was answered after {before} turns and {got} frames");
    world.run_until_idle();
    got += flood.take().len();
    assert_eq!(got, frames, "nothing of the flood is lost");
    assert!(world.shard.core.counters.yields > 0);
}

#[test]
fn a_short_message_that_inflates_to_a_long_one_does_not_delay_other_connections() {
    for takeover in [true, false] {
        let deflate = if takeover { Deflate::takeover() } else { Deflate::shared() };
        let config = Config { deflate: Some(deflate), ..Config::default() };
        let mut world = World::with(1, Faults::none(), config, Limits::default(), Scripted::new());
        let mut bomber = WebSocketPeer::new(world.network.connect(), ringway_codec::Role::Client);
        let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
        bomber.peer.write(super::world::REQUEST.replace("\r\n\r\n", offer).as_bytes());
        world.run_until_idle();
        bomber.pull();
        bomber.inflate(&DeflateParams {
            server_no_context_takeover: !takeover,
            client_no_context_takeover: !takeover,
            ..DeflateParams::default()
        });
        let mut other = world.open_client();
        let (mut deflater, mut bomb) = (Deflater::new(9, WindowBits::MAX).expect("a window"), Vec::new());
        let payload = vec![0; 8 << 20];
        encode_deflated(MessageKind::Binary, &payload, Some([1; 4]), &mut deflater, takeover, &mut bomb);
        assert!(bomb.len() < 20_000);
        bomber.peer.write(&bomb);
        bomber.peer.write(&bomber.frame(OpCode::Text, true, b"behind"));
        let (mut excess, mut held, mut turns) = (0, 0, 0);
        world.run_until(|world| {
            let now = world.shard.core.memory.held();
            excess = excess.max(now.saturating_sub(held.max(1 << 18) * 2));
            held = now;
            turns += 1;
            if turns % 8 == 0 {
                other.send(OpCode::Ping, b"");
            }
            !world.handler().log.iter().all(|line| !line.starts_with("message of 8388608"))
        });
        assert_eq!(excess, 0, "more than the budget is inflated in one turn");
        assert!(turns > 50, "{turns} turns");
        world.run_until_idle();
        assert!(other.take().len() >= turns / 8 - 3, "the other connection is answered meanwhile");
        let mut got = Vec::new();
        world.run_until(|world| {
            got.extend(bomber.take());
            world.is_idle() && got.len() == 2
        });
        assert!(got == [Got::Binary(payload), Got::text("behind")], "takeover: {takeover}");
    }
}

#[test]
fn a_slow_reader_that_sends_tiny_frames_holds_few_receive_buffers() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let mut client = world.open_client();
    client.peer.set_window(0);
    for n in 0..200u8 {
        client.send(OpCode::Binary, &[n]);
        world.run_until_idle();
        assert!(world.network.pool().guarded() <= 1, "{n}: {} buffers", world.network.pool().guarded());
    }
    client.peer.set_window(1 << 20);
    world.run_until_idle();
    assert_eq!(client.take().len(), 200);
    world.run_until_idle();
    assert_eq!(world.network.pool().guarded(), 0);
}

#[test]
fn closing_continues_while_the_peer_reads_queued_output() {
    let config = Config { close_timeout: 2 * SECOND, ..Config::default() };
    let limits = Limits { max_buffered: 1 << 20, ..Limits::default() };
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| {
        conn.reply(message);
        conn.close(crate::CloseCode::NORMAL, "").expect("1000 may be sent");
    };
    let mut world = World::with(1, rough(), config, limits, handler);
    let mut client = world.open_client();
    client.peer.set_window(4000);
    let payload = vec![3; 300_000];
    client.send(OpCode::Binary, &payload);
    world.run_until_idle();
    for _ in 0..45 {
        client.pull_up_to(7000);
        world.pass(SECOND);
    }
    client.peer.set_window(1 << 20);
    world.run_until_idle();
    client.pull();
    world.run_until_idle();
    assert!(client.take() == [Got::Binary(payload), Got::Close(Some(1000))], "no output is lost");
}

#[test]
fn closing_has_a_limit_regardless_of_progress() {
    let config = Config { close_timeout: 2 * SECOND, close_limit: 10 * SECOND, ..Config::default() };
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| {
        conn.reply(message);
        conn.close(crate::CloseCode::NORMAL, "").expect("1000 may be sent");
    };
    let mut world = World::with(1, rough(), config, Limits::default(), handler);
    let mut client = world.open_client();
    client.peer.set_window(4000);
    client.send(OpCode::Binary, &[3; 300_000]);
    world.run_until_idle();
    for second in 0..12 {
        assert_eq!(world.sessions(), usize::from(second < 10), "after {second} s");
        client.pull_up_to(1000);
        world.pass(SECOND);
    }
    world.assert_clean();
}

#[test]
fn a_backlog_does_not_extend_the_time_of_a_message() {
    let limits = Limits { max_buffered: 10_000, ..Limits::default() };
    let mut world = World::with(1, Faults::none(), Config::default(), limits, Scripted::new());
    let mut client = world.open_client();
    client.peer.set_window(100);
    begin(&client, 1 << 20);
    world.run_until_idle();
    (0..1000).for_each(|_| client.send(OpCode::Ping, &[1; 125]));
    world.run_until_idle();
    // It reads a few bytes a minute, which is enough for the write timeout.
    for _ in 0..4 {
        client.pull_up_to(60);
        world.pass(50 * SECOND);
    }
    assert_eq!(world.shard.core.counters.message_timeouts, 1);
    assert!(world.shard.core.memory.held() < 100_000, "the message is freed");
}

#[test]
fn a_stall_does_not_fail_a_connection_that_is_being_made() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address"));
    world.post(move |_, shard| shard.connect(&endpoint, 5));
    world.turn();
    world.turn();
    world.stall(11 * SECOND);
    let server = world.server();
    server.accept();
    world.run_until_idle();
    assert_eq!(world.handler().log, ["open"]);
}

#[test]
fn empty_fragments_use_the_share_of_a_turn() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let flood = world.open_client();
    begin(&flood, 0);
    let frame = flood.frame(OpCode::Continuation, false, b"");
    (0..30).for_each(|_| flood.peer.write(&frame.repeat(1000)));
    world.run_until_idle();
    assert!(world.shard.core.counters.yields >= 10, "{:?}", world.shard.core.counters);
}

#[test]
fn a_silent_peer_times_out_although_the_shard_always_has_a_backlog() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let mut floods: Vec<_> = (0..40).map(|_| world.open_client()).collect();
    let silent = world.network.connect();
    world.run_until_idle();
    let sessions = world.sessions();
    for _ in 0..400 {
        for flood in &mut floods {
            if flood.peer.unreceived() < 4000 {
                (0..2).for_each(|_| flood.send(OpCode::Binary, &[1; 2000]));
            }
            flood.take();
        }
        world.now += Duration::from_millis(50);
        world.turn();
        if world.sessions() < sessions || !silent.read().is_empty() {
            return;
        }
    }
    panic!("the handshake timeout of ten seconds has passed twice");
}

#[test]
fn a_flood_does_not_extend_the_time_of_a_message() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    let client = world.open_client();
    begin(&client, 10_000);
    world.run_until_idle();
    // Its socket is never empty.
    for _ in 0..4000 {
        while client.peer.unreceived() < 40_000 {
            (0..50).for_each(|_| client.send(OpCode::Pong, &[1; 125]));
        }
        world.now += Duration::from_millis(50);
        world.turn();
        if world.shard.core.counters.message_timeouts == 1 {
            return;
        }
    }
    panic!("the message timeout of 120 s has passed");
}
