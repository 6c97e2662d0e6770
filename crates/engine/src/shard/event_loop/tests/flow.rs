//! Backpressure, pauses, and the timeouts of peers.

use super::world::{Got, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{Config, Connection, ConnectionId, Limits, Message, SendOutcome, Shard};
use ringway_codec::OpCode;
use ringway_io::sim::Faults;
use std::ops::Range;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// The size of all receive buffers together: the maximum input of one turn.
const ONE_TURN: usize = 16 * 1024;

fn resume(_: &mut Scripted, shard: &mut Shard<'_, Scripted>, id: ConnectionId) {
    shard.connection(id).expect("open").resume();
}

/// A connection that pauses at the message `pause`, and its client.
fn pausing(seed: u64, faults: Faults) -> (World<Scripted>, WebSocketPeer, ConnectionId) {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| {
        if message.as_text().is_some_and(|text| text.starts_with("pause")) {
            conn.pause();
        }
        conn.reply(message);
    };
    let mut world = World::new(seed, faults, handler);
    let client = world.open_client();
    world.handler().log.clear();
    let id = world.handler().opened[0];
    (world, client, id)
}

#[test]
fn backpressure_stops_a_slow_reader_from_sending_and_loses_nothing() {
    each_seed(|seed, faults| {
        let limits = Limits { max_buffered: 10_000, ..Limits::default() };
        let mut world = World::with(seed, faults, Config::default(), limits, Scripted::new());
        let mut client = world.open_client();
        client.peer.set_window(2000);
        let messages: Vec<Vec<u8>> = (0..100u8).map(|n| vec![n; 1500]).collect();
        messages.iter().for_each(|message| client.send(OpCode::Binary, message));
        client.close(1000);
        world.run_until(|world| {
            assert!(world.buffered() <= 10_000 + ONE_TURN, "{} bytes are queued (seed {seed})", world.buffered());
            world.is_idle()
        });
        assert!(client.peer.unreceived() > 100_000, "flow control does not stop the peer (seed {seed})");
        world.run_until(|world| {
            client.pull_up_to(700);
            assert!(world.sessions() == 0 || world.buffered() <= 10_000 + ONE_TURN, "seed {seed}");
            world.is_idle()
        });
        let due: Vec<Got> = messages.into_iter().map(Got::Binary).chain([Got::Close(Some(1000))]).collect();
        assert!(client.take() == due, "not the messages that were sent (seed {seed})");
        client.assert_finished();
        world.assert_clean();
    });
}

#[test]
fn pongs_to_a_peer_that_does_not_read_are_bounded_like_messages() {
    each_seed(|seed, faults| {
        let limits = Limits { max_buffered: 10_000, ..Limits::default() };
        let mut world = World::with(seed, faults, Config::default(), limits, Scripted::new());
        let mut client = world.open_client();
        client.peer.set_window(500);
        let pings: Vec<Vec<u8>> = (0..1000u32).map(|n| [&n.to_be_bytes()[..], &[b'p'; 100]].concat()).collect();
        pings.iter().for_each(|ping| client.send(OpCode::Ping, ping));
        world.run_until(|world| {
            assert!(world.buffered() <= 10_000 + ONE_TURN, "{} bytes are queued (seed {seed})", world.buffered());
            world.is_idle()
        });
        assert!(client.peer.unreceived() > 50_000, "flow control does not stop the peer (seed {seed})");
        world.run_until(|world| {
            client.pull();
            world.is_idle()
        });
        assert!(client.take() == pings.into_iter().map(Got::Pong).collect::<Vec<_>>(), "seed {seed}");
    });
}

#[test]
fn slow_readers_leave_receive_buffers_for_other_connections() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        // More connections than there are buffers.
        let slow: Vec<WebSocketPeer> = (0..20).map(|_| world.open_client()).collect();
        for client in &slow {
            client.peer.set_window(0);
        }
        for _ in 0..3 {
            for client in &slow {
                client.send(OpCode::Binary, &[b's'; 600]);
            }
            world.run_until_idle();
        }
        let mut brisk = world.open_client();
        brisk.text("hello");
        world.run_until_idle();
        assert_eq!(brisk.take(), [Got::text("hello")], "seed {seed}");
        for mut client in slow {
            client.peer.set_window(10_000);
            world.run_until_idle();
            assert!(client.take() == vec![Got::Binary(vec![b's'; 600]); 3], "seed {seed}");
        }
    });
}

/// A client whose echoes are queued in the shard.
fn backlogged(seed: u64) -> (World<Scripted>, WebSocketPeer) {
    let limits = Limits { max_buffered: 10_000, ..Limits::default() };
    let config = Config { idle_timeout: Some(5 * SECOND), write_timeout: 10 * SECOND, ..Config::default() };
    let mut world = World::with(seed, rough(), config, limits, Scripted::new());
    let client = world.open_client();
    client.peer.set_window(2000);
    (0..100).for_each(|_| client.send(OpCode::Binary, &[1; 1500]));
    world.run_until_idle();
    (world, client)
}

#[test]
fn a_slow_reader_does_not_time_out_while_it_reads() {
    let (mut world, mut client) = backlogged(1);
    for _ in 0..30 {
        // Far less than one send: no send completes for a long time.
        client.pull_up_to(100);
        world.pass(5 * SECOND);
    }
    assert_eq!(world.sessions(), 1);
    assert!(client.peer.unreceived() > 10_000, "most of the input is still unread");
}

#[test]
fn a_peer_that_stops_reading_is_closed_after_the_write_timeout() {
    let (mut world, _client) = backlogged(1);
    world.pass(9 * SECOND);
    assert_eq!(world.sessions(), 1);
    // The second check sees that there was no progress.
    world.pass(6 * SECOND);
    world.assert_clean();
    assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 7: 1006 WriteTimeout"));
    assert_eq!(world.shard.core.counters.write_timeouts, 1);
}

#[test]
fn a_peer_that_answers_pings_but_reads_no_message_is_closed() {
    let limits = Limits { max_buffered: 1 << 20, ..Limits::default() };
    let config = Config { write_timeout: 10 * SECOND, ..Config::default() };
    let mut world = World::with(1, rough(), config, limits, Scripted::new());
    let client = world.open_client();
    client.peer.set_window(0);
    client.send(OpCode::Binary, &[1; 1500]);
    for _ in 0..4 {
        world.pass(5 * SECOND);
        client.send(OpCode::Pong, b"");
    }
    world.assert_clean();
    assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 7: 1006 WriteTimeout"));
}

#[test]
fn a_paused_connection_answers_pings_in_front_of_the_next_message_only() {
    each_seed(|seed, faults| {
        let (mut world, mut client, id) = pausing(seed, faults);
        let mut write = Vec::new();
        for (opcode, payload) in [
            (OpCode::Text, "pause"),
            (OpCode::Ping, "front"),
            (OpCode::Text, "one"),
            (OpCode::Ping, "behind"),
            (OpCode::Text, "two"),
        ] {
            write.extend(client.frame(opcode, true, payload.as_bytes()));
        }
        client.peer.write(&write);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text("pause"), Got::Pong(b"front".to_vec())], "seed {seed}");
        client.text("three");
        client.peer.write(
            &[client.frame(OpCode::Text, false, &[b'x'; 3000]), client.frame(OpCode::Continuation, true, b"y")]
                .concat(),
        );
        world.run_until_idle();
        assert_eq!(client.take(), [], "seed {seed}");
        assert!(client.peer.unreceived() > 0, "flow control does not stop the peer (seed {seed})");
        world.post(move |handler, shard| resume(handler, shard, id));
        world.run_until_idle();
        let last = format!("{}y", "x".repeat(3000));
        let due =
            [Got::text("one"), Got::Pong(b"behind".to_vec()), Got::text("two"), Got::text("three"), Got::Text(last)];
        assert_eq!(client.take(), due, "seed {seed}");
        let log =
            "message pause, ping front, message one, ping behind, message two, message three, message of 3001 bytes";
        assert_eq!(world.handler().take_log().join(", "), log, "seed {seed}");
    });
}

#[test]
fn each_resume_delivers_one_message_when_each_message_pauses() {
    each_seed(|seed, faults| {
        let (mut world, mut client, id) = pausing(seed, faults);
        let texts: Vec<String> = (0..30).map(|n| format!("pause {n} {}", ".".repeat(n * 20))).collect();
        texts.iter().for_each(|text| client.text(text));
        for text in &texts {
            world.run_until_idle();
            assert_eq!(client.take(), [Got::text(text)], "seed {seed}");
            world.post(move |handler, shard| resume(handler, shard, id));
        }
        world.run_until_idle();
        client.close(1000);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(1000))], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn pausing_and_resuming_at_any_time_keeps_every_message_in_order() {
    each_seed(|seed, faults| {
        let (mut world, mut client, id) = pausing(seed, faults);
        let texts: Vec<String> = (0..60).map(|n| format!("{n} {}", ".".repeat(n * 37 % 1500))).collect();
        for (n, text) in texts.iter().enumerate() {
            client.text(text);
            if n % 3 == 0 {
                world.post(move |_, shard| shard.connection(id).expect("open").pause());
            }
            if n % 4 == 0 {
                world.post(move |handler, shard| resume(handler, shard, id));
            }
            (0..n % 5).for_each(|_| world.turn());
        }
        world.post(move |handler, shard| resume(handler, shard, id));
        world.run_until_idle();
        assert!(client.take() == texts.iter().map(|text| Got::text(text)).collect::<Vec<_>>(), "seed {seed}");
    });
}

#[test]
fn the_end_of_a_paused_connection_is_reported_after_the_stashed_messages() {
    each_seed(|seed, faults| {
        let (mut world, mut client, id) = pausing(seed, faults);
        for text in ["pause", "one", "two"] {
            client.text(text);
        }
        client.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["message pause"], "seed {seed}");
        world.post(move |handler, shard| resume(handler, shard, id));
        world.run_until_idle();
        assert_eq!(
            world.handler().take_log(),
            ["message one", "message two", "closed 7: 1006 Vanished"],
            "seed {seed}"
        );
        assert_eq!(client.take(), [Got::text("pause"), Got::text("one"), Got::text("two")], "seed {seed}");
        client.assert_finished();
        world.assert_clean();
    });
}

#[test]
fn closing_a_paused_connection_reads_past_stashed_input_to_the_peers_answer() {
    each_seed(|seed, faults| {
        let (mut world, mut client, id) = pausing(seed, faults);
        for text in ["pause", "one", "two"] {
            client.text(text);
        }
        world.run_until_idle();
        world.post(move |_, shard| {
            let mut conn = shard.connection(id).expect("open");
            conn.close(crate::CloseCode::NORMAL, "").expect("sendable");
            conn.pause();
        });
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text("pause"), Got::Close(Some(1000))], "seed {seed}");
        client.close(1000);
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["message pause", "closed 7: 1000 Local"], "seed {seed}");
        world.assert_clean();
    });
}

/// Sends numbered messages until one is handed back.
fn send_more(handler: &mut Scripted, conn: &mut Connection<'_, Scripted>) {
    while handler.count < 500 {
        let text = format!("{} {}", handler.count, "-".repeat(300));
        match conn.send(Message::text(&text)) {
            SendOutcome::Full(back) => return assert_eq!(back.as_text(), Some(&*text)),
            SendOutcome::Queued(bytes) => assert_eq!(bytes, conn.buffered_amount()),
            SendOutcome::Sent => {}
            SendOutcome::Closed(_) | SendOutcome::TooLarge(_) => panic!("the connection is open"),
        }
        assert!(conn.buffered_amount() <= 2000, "{} bytes are queued", conn.buffered_amount());
        handler.count += 1;
    }
}

#[test]
fn a_message_that_was_handed_back_can_be_sent_in_drained() {
    each_seed(|seed, faults| {
        let limits = Limits { max_buffered: 2000, ..Limits::default() };
        let mut handler = Scripted::new();
        handler.on_message = |handler, conn, _| send_more(handler, conn);
        handler.on_drained = send_more;
        let mut world = World::with(seed, faults, Config::default(), limits, handler);
        let mut client = world.open_client();
        client.peer.set_window(1000);
        client.text("go");
        world.run_until(|world| {
            client.pull_up_to(900);
            world.is_idle()
        });
        let due: Vec<Got> = (0..500).map(|n| Got::Text(format!("{n} {}", "-".repeat(300)))).collect();
        assert!(client.take() == due, "not complete, or not in order (seed {seed})");
    });
}

#[test]
fn drained_is_called_only_after_a_message_was_queued_or_handed_back() {
    let mut handler = Scripted::new();
    handler.on_message = |handler, conn, message| {
        let sent = match conn.send(message) {
            SendOutcome::Sent => "sent".to_owned(),
            SendOutcome::Queued(bytes) => format!("queued {bytes}"),
            SendOutcome::Full(message) => format!("full {}", message.payload().len()),
            SendOutcome::Closed(_) | SendOutcome::TooLarge(_) => panic!("the connection is open"),
        };
        handler.log.push(sent);
    };
    let limits = Limits { max_buffered: 1000, ..Limits::default() };
    let mut world = World::with(1, Faults::none(), Config::default(), limits, handler);
    let mut client = world.open_client();
    world.handler().log.clear();
    client.peer.set_window(4);
    let mut say = |world: &mut World<Scripted>, size: usize, read: usize| {
        if size > 0 {
            client.send(OpCode::Binary, &vec![1; size]);
        }
        world.run_until_idle();
        client.pull_up_to(read);
        world.run_until_idle();
        world.handler().take_log().into_iter().filter(|line| !line.starts_with("message")).collect::<Vec<_>>()
    };
    // Frames have two more bytes. None of this output exceeds the low-water mark.
    assert_eq!(say(&mut world, 2, 4), ["sent"]);
    assert_eq!(say(&mut world, 8, 0), ["sent"]);
    assert_eq!(say(&mut world, 10, 0), ["queued 22"]);
    assert_eq!(say(&mut world, 990, 0), ["full 990"]);
    assert_eq!(say(&mut world, 0, 4), [""; 0]);
    for _ in 0..3 {
        assert_eq!(say(&mut world, 0, 4), [""; 0]);
    }
    assert_eq!(say(&mut world, 0, 4), ["drained"]);
    assert_eq!(say(&mut world, 2, 4), ["sent"], "once");
}

/// The calls of `drained` with the number of bytes that wait, while output of 1000 bytes waits in
/// messages of 100, and the peer reads one message at a time.
fn drained_at(seed: u64, faults: Faults, low_water: Option<usize>) -> Vec<usize> {
    let mut handler = Scripted::new();
    handler.on_drained = |handler, conn| handler.log.push(format!("at {}", conn.buffered_amount()));
    handler.on_message = |handler, conn, _| {
        // The first is in flight alone.
        handler.count += usize::from(conn.send(Message::binary(&[1; 98])).is_accepted());
    };
    let limits = Limits { max_buffered: 1000, low_water, ..Limits::default() };
    let mut world = World::with(seed, faults, Config::default(), limits, handler);
    let mut client = world.open_client();
    client.peer.set_window(100);
    // One is in the window of the peer, ten wait, and the rest is handed back.
    for _ in 0..15 {
        client.text("go");
        world.run_until_idle();
    }
    assert!(world.handler().count >= 11, "seed {seed}");
    world.handler().log.clear();
    let mut read = 0;
    while world.buffered() > 0 || read < 20 {
        client.pull_up_to(100);
        world.run_until_idle();
        read += 1;
        assert!(read < 1000, "the output does not drain (seed {seed})");
    }
    let log = world.handler().take_log();
    log.iter().filter_map(|line| line.strip_prefix("at ")).map(|at| at.parse().expect("a number")).collect()
}

#[test]
fn drained_is_called_once_when_the_output_falls_to_the_low_water_mark() {
    each_seed(|seed, faults| {
        for (low_water, mark) in [(None, 500), (Some(250), 250), (Some(900), 900), (Some(0), 0)] {
            let calls = drained_at(seed, faults, low_water);
            assert!(matches!(calls[..], [at] if at <= mark), "{calls:?} with {low_water:?} (seed {seed})");
        }
    });
}

#[test]
fn delivery_continues_at_the_low_water_mark_and_not_before() {
    each_seed(|seed, faults| {
        let limits = Limits { max_buffered: 10_000, low_water: Some(1_000), ..Limits::default() };
        let mut handler = Scripted::new();
        handler.on_message = |handler, conn, message| {
            let pauses = conn.shard().counters().backlog_pauses as usize;
            if pauses > handler.count {
                // The first message after a pause.
                handler.count = pauses;
                assert!(conn.buffered_amount() <= 1_000, "delivered at {} bytes", conn.buffered_amount());
            }
            conn.reply(message);
        };
        let mut world = World::with(seed, faults, Config::default(), limits, handler);
        let mut client = world.open_client();
        client.peer.set_window(500);
        let messages: Vec<_> = (0..60u8).map(|n| vec![n; 1000]).collect();
        messages.iter().for_each(|message| client.send(OpCode::Binary, message));
        world.run_until(|world| {
            client.pull_up_to(300);
            world.is_idle()
        });
        assert!(client.take() == messages.into_iter().map(Got::Binary).collect::<Vec<_>>(), "seed {seed}");
        assert!(world.handler().count >= 2, "{:?} (seed {seed})", world.shard.core.counters);
    });
}

#[test]
fn a_peer_above_the_high_water_mark_can_ping_and_close() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |_, conn, _| assert!(conn.send(Message::binary(&[5; 20_000])).is_accepted());
        let limits = Limits { max_buffered: 10_000, ..Limits::default() };
        let mut world = World::with(seed, faults, Config::default(), limits, handler);
        let mut client = world.open_client();
        client.peer.set_window(600);
        client.text("go");
        world.run_until_idle();
        assert_eq!(world.shard.core.counters.backlog_pauses, 1, "seed {seed}");
        client.send(OpCode::Ping, b"full");
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "message go", "ping full"], "seed {seed}");
        client.close(1000);
        world.run_until_idle();
        client.peer.set_window(100_000);
        world.run_until_idle();
        let got = client.take();
        assert!(got == [Got::Binary(vec![5; 20_000]), Got::Pong(b"full".to_vec()), Got::Close(Some(1000))], "{seed}");
        assert_eq!(world.handler().take_log(), ["closed 7: 1000 Peer"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_message_above_the_limit_is_accepted_when_nothing_is_queued() {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, _| assert!(matches!(conn.send(Message::binary(&[3; 9000])), SendOutcome::Sent));
    let limits = Limits { max_buffered: 1000, ..Limits::default() };
    let mut world = World::with(1, rough(), Config::default(), limits, handler);
    let mut client = world.open_client();
    client.text("go");
    world.run_until_idle();
    assert_eq!(client.take(), [Got::Binary(vec![3; 9000])]);
}

/// Lets this range of milliseconds pass. Returns what the client received in it.
fn silence(world: &mut World<Scripted>, client: &mut WebSocketPeer, milliseconds: Range<u64>) -> Vec<Got> {
    world.pass(Duration::from_millis(milliseconds.end - milliseconds.start));
    client.take()
}

#[test]
fn half_of_the_idle_timeout_causes_a_ping_and_all_of_it_a_close() {
    let config = Config { idle_timeout: Some(10 * SECOND), ..Config::default() };
    let mut world = World::with(3, rough(), config, Limits::default(), Scripted::new());
    let mut client = world.open_client();
    let ping = [Got::Ping(Vec::new())];
    assert_eq!(silence(&mut world, &mut client, 0..4980), []);
    assert_eq!(silence(&mut world, &mut client, 4980..5020), ping);
    client.send(OpCode::Pong, b"");
    world.run_until_idle();
    // The pong counts as activity: five seconds later another ping is sent instead of a close.
    assert_eq!(silence(&mut world, &mut client, 5020..9980), []);
    assert_eq!(silence(&mut world, &mut client, 9980..10_040), ping);
    assert_eq!(silence(&mut world, &mut client, 10_040..14_980), []);
    assert_eq!(world.sessions(), 1);
    world.pass(Duration::from_millis(100));
    client.assert_finished();
    world.assert_clean();
    assert_eq!(world.handler().take_log(), ["open", "pong ", "closed 7: 1006 Idle"]);
}

#[test]
fn a_connection_that_is_closed_while_its_timer_is_due_has_the_close_timeout() {
    let mut handler = Scripted::new();
    // One of a pair is idle, and its end closes the other, which is not idle.
    handler.on_closed = |handler, shard| {
        for id in &handler.opened {
            if let Some(mut other) = shard.connection(*id) {
                other.close(crate::CloseCode::NORMAL, "").expect("sendable");
            }
        }
    };
    let config = Config { idle_timeout: Some(10 * SECOND), ..Config::default() };
    for lively in [0, 1] {
        let mut world = World::with(3, rough(), config.clone(), Limits::default(), handler.clone());
        let mut pair = [world.client(), world.client()];
        world.run_until_idle();
        world.pass(5 * SECOND);
        pair[lively].send(OpCode::Pong, b"");
        world.run_until_idle();
        world.pass(5 * SECOND + Duration::from_millis(10));
        assert!(pair[lively].take().ends_with(&[Got::Close(Some(1000))]), "no close frame was received");
        pair[lively].close(1000);
        world.run_until_idle();
        assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 7: 1000 Local"));
        world.assert_clean();
    }
}

#[test]
fn messages_and_pings_count_as_activity_and_the_idle_timeout_can_be_disabled() {
    let config = Config { idle_timeout: Some(10 * SECOND), ..Config::default() };
    let mut world = World::with(3, rough(), config, Limits::default(), Scripted::new());
    let mut client = world.open_client();
    for _ in 0..20 {
        client.text("x");
        world.pass(2 * SECOND);
        client.send(OpCode::Ping, b"");
        world.pass(2 * SECOND);
    }
    assert!(!client.take().contains(&Got::Ping(Vec::new())), "an active peer is not pinged");
    assert_eq!(world.sessions(), 1);

    let config = Config { idle_timeout: None, ..Config::default() };
    let mut world = World::with(3, rough(), config, Limits::default(), Scripted::new());
    let mut client = world.open_client();
    world.pass(100_000 * SECOND);
    assert_eq!((client.take(), world.sessions()), (vec![], 1));
}

#[test]
fn a_paused_connection_does_not_time_out_while_its_peer_acknowledges_pings() {
    let (mut world, mut client, id) = pausing(1, rough());
    client.text("pause");
    client.text("held back");
    world.run_until_idle();
    for _ in 0..40 {
        world.pass(25 * SECOND);
        client.pull();
    }
    world.post(move |handler, shard| resume(handler, shard, id));
    world.run_until_idle();
    let got = client.take();
    assert!(got.contains(&Got::Ping(Vec::new())), "{got:?}");
    let messages: Vec<_> = got.into_iter().filter(|got| *got != Got::Ping(Vec::new())).collect();
    assert_eq!(messages, [Got::text("pause"), Got::text("held back")]);
}

#[test]
fn a_paused_connection_whose_peer_is_dead_is_closed() {
    let (mut world, client, _) = pausing(1, rough());
    client.text("pause");
    client.text("held back");
    world.run_until_idle();
    client.peer.set_window(0);
    world.pass(200 * SECOND);
    world.assert_clean();
    assert_eq!(world.sessions(), 0);
}

#[test]
fn the_longest_timeouts_do_not_overflow() {
    let forever = Duration::MAX;
    let config = Config {
        handshake_timeout: forever,
        idle_timeout: Some(forever),
        close_timeout: forever,
        stop_timeout: forever,
        ..Config::default()
    };
    let mut world = World::with(1, rough(), config, Limits::default(), Scripted::new());
    let mut client = world.open_client();
    world.post(|_, shard| shard.stop());
    world.run_until_idle();
    assert_eq!(client.take(), [Got::Close(Some(1001))]);
    client.close(1001);
    world.run_until_idle();
    assert!(!world.running);
}
