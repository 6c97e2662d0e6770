//! The ends of connections and of the shard.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{CloseCode, Config, Endpoint, Limits, Message, Request, SendOutcome, Upgrade};
use ringway_codec::{OpCode, Role};
use ringway_io::sim::Faults;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// A handler that echoes, and closes with 4000 at the message `bye`.
fn leaving() -> Scripted {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| {
        if message.as_text() == Some("bye") {
            conn.close(CloseCode::new(4000), "requested").expect("sendable");
        } else {
            conn.reply(message);
        }
    };
    handler
}

/// Writes frames together: several in one receive buffer.
fn write(client: &WebSocketPeer, frames: &[(OpCode, &[u8])]) {
    let bytes: Vec<u8> = frames.iter().flat_map(|(opcode, payload)| client.frame(*opcode, true, payload)).collect();
    client.peer.write(&bytes);
}

#[test]
fn a_close_is_answered_with_its_code_and_the_server_ends_tcp_first() {
    each_seed(|seed, faults| {
        for (payload, code, told) in [(&b"\x03\xe8done"[..], 1000, 1000), (b"\x0f\xa0", 4000, 4000)] {
            let mut world = World::new(seed, faults, Scripted::new());
            let mut client = world.open_client();
            write(&client, &[(OpCode::Text, b"last words"), (OpCode::Close, payload)]);
            world.run_until_idle();
            assert_eq!(client.take(), [Got::text("last words"), Got::Close(Some(code))], "seed {seed}");
            client.assert_finished();
            assert_eq!(world.handler().log.last(), Some(&format!("closed 7: {told} Peer")), "seed {seed}");
            world.assert_clean();
        }
    });
}

#[test]
fn rfc6455_7_1_5_a_close_without_a_code_is_1005_and_answered_without_one() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let mut client = world.open_client();
        client.send(OpCode::Close, b"");
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(None)], "seed {seed}");
        client.assert_finished();
        assert_eq!(world.handler().take_log(), ["open", "closed 7: 1005 Peer"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn after_this_sides_close_frame_the_answer_is_awaited_and_messages_are_dropped() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, leaving());
        let mut client = world.open_client();
        client.text("bye");
        client.text("too late");
        client.send(OpCode::Ping, b"too late");
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(4000))], "seed {seed}");
        assert!(!client.peer.is_finished(), "the answer is awaited (seed {seed})");
        client.text("later still");
        world.pass(4 * SECOND);
        client.close(4000);
        world.run_until_idle();
        client.assert_finished();
        assert_eq!(world.handler().take_log(), ["open", "message bye", "closed 7: 4000 Local"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_close_in_the_middle_of_a_buffer_is_sent_after_the_replies_before_it() {
    each_seed(|seed, faults| {
        for frames in [
            // The peer's close frame can lie in the same buffer: the two close frames have crossed.
            &[(OpCode::Text, &b"one"[..]), (OpCode::Ping, b"two"), (OpCode::Text, b"bye"), (OpCode::Text, b"three")][..],
            &[
                (OpCode::Text, &b"one"[..]),
                (OpCode::Ping, b"two"),
                (OpCode::Text, b"bye"),
                (OpCode::Close, b"\x03\xe8"),
            ],
        ] {
            let mut world = World::new(seed, faults, leaving());
            let mut client = world.open_client();
            write(&client, frames);
            if frames[3].0 == OpCode::Text {
                world.run_until_idle();
                client.close(4000);
            }
            world.run_until_idle();
            let due = [Got::text("one"), Got::Pong(b"two".to_vec()), Got::Close(Some(4000))];
            assert_eq!(client.take(), due, "seed {seed}");
            let log = ["open", "message one", "ping two", "message bye", "closed 7: 4000 Local"];
            assert_eq!(world.handler().take_log(), log, "seed {seed}");
            client.assert_finished();
            world.assert_clean();
        }
    });
}

#[test]
fn a_close_without_an_answer_ends_after_its_timeout() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, leaving());
        let mut client = world.open_client();
        client.text("bye");
        world.run_until_idle();
        for _ in 0..4 {
            // Other messages do not answer the close frame.
            client.text("what?");
            world.pass(SECOND);
        }
        assert_eq!(world.sessions(), 1, "seed {seed}");
        world.pass(SECOND + Duration::from_millis(20));
        assert_eq!(world.handler().take_log(), ["open", "message bye", "closed 7: 4000 Unanswered"], "seed {seed}");
        assert_eq!(client.take(), [Got::Close(Some(4000))], "seed {seed}");
        assert!(client.peer.is_finished(), "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_close_that_the_peer_never_reads_ends_after_its_timeout() {
    let limits = Limits { max_buffered: 3000, ..Limits::default() };
    for end in ["bye", ""] {
        let mut world = World::with(5, rough(), Config::default(), limits, leaving());
        let client = world.open_client();
        client.peer.set_window(0);
        for _ in 0..4 {
            client.send(OpCode::Binary, &[1; 700]);
        }
        match end {
            "" => client.close(1000),
            text => client.text(text),
        }
        world.run_until_idle();
        // A quarter of the timeout passes before the check that first sees no progress.
        world.pass(7 * SECOND);
        world.assert_clean();
        let told = if end.is_empty() { "closed 7: 1000 Peer" } else { "closed 7: 4000 Unanswered" };
        assert_eq!(world.handler().log.last().map(String::as_str), Some(told));
    }
}

#[test]
fn a_close_within_open_takes_effect() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_open = |_, conn| {
            assert!(conn.is_open());
            conn.close(CloseCode::NO_STATUS, "").expect("no code is sent");
            assert!(!conn.is_open());
            conn.close(CloseCode::NORMAL, "no second close").expect("sendable");
            conn.ping(b"no ping after the close").expect("short");
        };
        let mut world = World::new(seed, faults, handler);
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client.peer.write(&[REQUEST.as_bytes(), &client.frame(OpCode::Text, true, b"early")].concat());
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(None)], "seed {seed}");
        client.close(1000);
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "closed 7: 1005 Local"], "seed {seed}");
        client.assert_finished();
        world.assert_clean();
    });
}

#[test]
fn a_peer_that_keeps_sending_after_a_violation_receives_the_close_frame() {
    each_seed(|seed, faults| {
        for finishes in [true, false] {
            let mut world = World::new(seed, faults, Scripted::new());
            let mut client = world.open_client();
            let reserved = [0x83, 0x80, 0, 0, 0, 0];
            client.peer.write(&[&client.frame(OpCode::Text, true, b"fine")[..], &reserved, &[b'x'; 2000]].concat());
            for _ in 0..10 {
                client.peer.write(&[b'x'; 5000]);
                (0..5).for_each(|_| world.turn());
            }
            world.run_until_idle();
            assert_eq!(client.take(), [Got::text("fine"), Got::Close(Some(1002))], "seed {seed}");
            client.assert_finished();
            assert_eq!(client.peer.unreceived(), 0, "unread bytes would cause a reset (seed {seed})");
            if finishes {
                client.peer.finish();
                world.run_until_idle();
            } else {
                world.pass(6 * SECOND);
            }
            let log = ["open", "message fine", "closed 7: 1002 Violation"];
            assert_eq!(world.handler().take_log(), log, "seed {seed}");
            assert!(!client.peer.is_reset(), "seed {seed}");
            world.assert_clean();
        }
    });
}

#[test]
fn each_violation_is_answered_with_its_close_code() {
    let limits = Limits { max_message: 4000, ..Limits::default() };
    let too_big = [&[0x82, 0xfe, 0x0f, 0xa1, 0, 0, 0, 0][..], &[0; 100]].concat();
    for (bytes, code) in [
        (&b"\x81\x05hello"[..], 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x88\x81\0\0\0\0x", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (&too_big, 1009),
    ] {
        let mut world = World::with(2, rough(), Config::default(), limits, Scripted::new());
        let mut client = world.open_client();
        client.peer.write(bytes);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(code))], "{bytes:?}");
        client.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open".to_owned(), format!("closed 7: {code} Violation")]);
        world.assert_clean();
    }
}

#[test]
fn a_violation_after_this_sides_close_frame_causes_no_second_one() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, leaving());
        let mut client = world.open_client();
        client.text("bye");
        world.run_until_idle();
        client.peer.write(&[0xff; 3000]);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(4000))], "seed {seed}");
        client.peer.finish();
        world.run_until_idle();
        client.assert_finished();
        world.assert_clean();
    });
}

#[test]
fn a_peer_that_has_ended_its_direction_still_receives_its_answers() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let mut client = world.open_client();
        client.peer.set_window(1500);
        let messages: Vec<Vec<u8>> = (0..20u8).map(|n| vec![n; 900]).collect();
        messages.iter().for_each(|message| client.send(OpCode::Binary, message));
        client.peer.finish();
        world.run_until(|world| {
            client.pull_up_to(400);
            world.is_idle()
        });
        assert!(client.take() == messages.into_iter().map(Got::Binary).collect::<Vec<_>>(), "seed {seed}");
        client.assert_finished();
        assert_eq!(world.handler().log.last().map(String::as_str), Some("closed 7: 1006 Vanished"), "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_fin_while_the_close_is_awaited_is_reported_once() {
    each_seed(|seed, faults| {
        for reset in [false, true] {
            let mut world = World::new(seed, faults, leaving());
            let client = world.open_client();
            client.text("bye");
            world.run_until_idle();
            if reset {
                client.peer.reset()
            } else {
                client.peer.finish()
            }
            world.run_until_idle();
            assert_eq!(world.handler().take_log(), ["open", "message bye", "closed 7: 4000 Unanswered"], "seed {seed}");
            world.assert_clean();
        }
    });
}

#[test]
fn a_reset_is_reported_once() {
    each_seed(|seed, faults| {
        for backlog in [false, true] {
            let mut world = World::new(seed, faults, Scripted::new());
            let client = world.open_client();
            if backlog {
                client.peer.set_window(0);
                client.text("never read");
                world.run_until_idle();
            }
            world.handler().log.clear();
            client.peer.reset();
            world.run_until_idle();
            assert_eq!(world.handler().take_log(), ["closed 7: 1006 Reset"], "seed {seed}");
            world.assert_clean();
        }
    });
}

#[test]
fn a_reset_during_the_handshake_is_not_reported() {
    for whole in [false, true] {
        let mut handler = Scripted::new();
        handler.on_upgrade = |_, _| Upgrade::defer();
        let mut world = World::new(1, rough(), handler);
        let peer = world.network.connect();
        peer.write(&REQUEST.as_bytes()[..if whole { REQUEST.len() } else { 30 }]);
        world.run_until_idle();
        peer.reset();
        world.run_until_idle();
        world.pass(20 * SECOND);
        assert!(world.handler().log.is_empty());
        world.assert_clean();
    }
}

#[test]
fn a_reset_after_the_peers_fin_ends_the_sending_of_queued_output() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let client = world.open_client();
        client.peer.set_window(0);
        client.text("an answer that will not be read");
        client.peer.finish();
        world.run_until_idle();
        client.peer.reset();
        world.run_until_idle();
        world.assert_clean();
        let log = ["open", "message of 31 bytes", "closed 7: 1006 Vanished"];
        assert_eq!(world.handler().take_log(), log, "seed {seed}");
    });
}

#[test]
fn a_reset_after_the_fin_on_a_paused_connection_ends_the_sending_of_queued_output() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |_, conn, message| {
            conn.pause();
            conn.reply(message);
        };
        let mut world = World::new(seed, faults, handler);
        let client = world.open_client();
        client.peer.set_window(0);
        client.text("an answer that will not be read");
        client.text("held back");
        client.peer.finish();
        world.run_until_idle();
        client.peer.reset();
        world.run_until_idle();
        world.assert_clean();
        let log = ["open", "message of 31 bytes", "closed 7: 1006 Reset"];
        assert_eq!(world.handler().take_log(), log, "seed {seed}");
    });
}

#[test]
fn a_plain_request_with_close_is_answered_and_its_connection_closed() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client.peer.write(b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\n\r\n");
        world.run_until_idle();
        client.pull();
        assert_eq!(client.status(), 200, "seed {seed}");
        assert!(client.body().starts_with("Ringway ") && client.body().ends_with("server\n"), "seed {seed}");
        client.assert_finished();
        client.peer.finish();
        world.run_until_idle();
        assert!(world.handler().log.is_empty(), "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_malformed_request_is_refused_with_the_reason_and_no_reset() {
    each_seed(|seed, faults| {
        let limits = Limits { max_head: 500, max_headers: 5, ..Limits::default() };
        for (request, status) in [
            (REQUEST.replace("Version: 13", "Version: 8"), 426),
            (REQUEST.replace("Host: server.example\r\n", ""), 400),
            ("\x17\x03\x01\x02\x00\x01".to_owned(), 400),
            (REQUEST.replace("/chat", &"x".repeat(2000)), 414),
            (REQUEST.replace("Host", &format!("Cookie: {}\r\nHost", "x".repeat(2000))), 431),
        ] {
            let mut world = World::with(seed, faults, Config::default(), limits, Scripted::new());
            let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
            client.peer.write(request.as_bytes());
            client.peer.write(&[b'x'; 5000]);
            world.run_until_idle();
            client.pull();
            assert_eq!(client.status(), status, "seed {seed}");
            client.assert_finished();
            client.peer.finish();
            world.run_until_idle();
            assert!(!client.peer.is_reset(), "seed {seed}");
            assert!(world.handler().log.is_empty(), "seed {seed}");
            world.assert_clean();
        }
    });
}

#[test]
fn stopping_closes_all_connections_with_1001_and_ends_when_all_have_answered() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let mut clients: Vec<WebSocketPeer> = (0..5).map(|_| world.open_client()).collect();
        let half_open = world.network.connect();
        half_open.write(&REQUEST.as_bytes()[..50]);
        world.run_until_idle();
        world.post(|_, shard| {
            shard.stop();
            shard.stop();
        });
        world.run_until_idle();
        assert!(world.running, "seed {seed}");
        let refusal = String::from_utf8(half_open.read()).expect("ASCII");
        assert!(refusal.starts_with("HTTP/1.1 503 ") && half_open.is_finished(), "{refusal} (seed {seed})");
        half_open.finish();
        assert!(world.network.connect().is_reset(), "nothing more is accepted (seed {seed})");
        for client in &mut clients {
            assert_eq!(client.take(), [Got::Close(Some(1001))], "seed {seed}");
            assert!(world.running, "seed {seed}");
            client.close(1001);
            world.run_until_idle();
        }
        assert!(!world.running, "seed {seed}");
        assert_eq!(world.sessions(), 0, "seed {seed}");
        let log = world.handler().take_log();
        // Dropping the shard drops the driver, which closes the slots that it had begun to close.
        drop(world);
        clients.iter().for_each(WebSocketPeer::assert_finished);
        assert_eq!(log.iter().filter(|line| *line == "closed 7: 1001 Local").count(), 5, "seed {seed}");
    });
}

#[test]
fn stopping_waits_until_its_timeout_at_most() {
    each_seed(|seed, faults| {
        // The shorter applies: the timeout of one close, or that of stopping.
        for (close_timeout, stop_timeout) in [(2, 10), (10, 2)] {
            let config = Config {
                close_timeout: close_timeout * SECOND,
                stop_timeout: stop_timeout * SECOND,
                ..Config::default()
            };
            let mut world = World::with(seed, faults, config, Limits::default(), Scripted::new());
            let mut silent = world.open_client();
            world.post(|_, shard| shard.stop());
            world.run_until_idle();
            assert_eq!(silent.take(), [Got::Close(Some(1001))], "seed {seed}");
            world.pass(SECOND);
            assert!(world.running, "seed {seed}");
            world.pass(SECOND + Duration::from_millis(20));
            assert!(!world.running, "seed {seed}");
            assert_eq!(world.handler().take_log(), ["open", "closed 7: 1001 Unanswered"], "seed {seed}");
        }
    });
}

#[test]
fn a_shard_that_is_stopped_before_its_first_turn_ends_at_once() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    world.post(|_, shard| shard.stop());
    world.run_until_idle();
    assert!(!world.running);

    // Stops in `start`, the only call after which the loop does not check the end of the turn.
    struct Stopping;
    impl crate::Handler for Stopping {
        type State = ();

        fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
            Upgrade::accept(())
        }
        fn start(&mut self, shard: &mut crate::Shard<'_, Self>) {
            shard.stop();
        }
        fn message(&mut self, _: &mut crate::Connection<'_, Self>, _: crate::Message<'_>) {}
    }
    let mut world = World::new(1, Faults::none(), Stopping);
    world.run_until(|world| !world.running);
}

#[test]
fn connections_accepted_while_the_shard_stops_are_closed_or_refused() {
    for seed in 0..100 {
        // The kernel has accepted them, and reports that only after the shard has begun to stop.
        let faults = Faults { overflow: 0.5, empty_turn: 0.5, ..rough() };
        let mut world = World::new(seed, faults, Scripted::new());
        let mut waiting = world.open_client();
        let mut late: Vec<WebSocketPeer> = (0..10).map(|_| world.client()).collect();
        world.post(|_, shard| shard.stop());
        world.run_until_idle();
        world.pass(SECOND / 10);
        for client in &mut late {
            if client.take() == [Got::Close(Some(1001))] {
                client.close(1001); // Accepted before the stop.
            } else {
                assert!(
                    client.head.starts_with("HTTP/1.1 503 ") && client.peer.is_finished(),
                    "seed {seed}: {client:?}"
                );
                client.peer.finish();
            }
        }
        waiting.close(1001);
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
        let got = waiting.take();
        assert_eq!(got.last(), Some(&Got::Close(Some(1001))), "seed {seed}");
    }
}

#[test]
fn stopping_closes_outgoing_connections() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address"));
        let again = Arc::clone(&endpoint);
        world.post(move |_, shard| shard.connect(&endpoint, 5));
        let mut server = world.server();
        server.accept();
        world.run_until_idle();
        world.post(move |_, shard| shard.connect(&again, 6));
        let unanswered = world.server();
        world.post(|_, shard| shard.stop());
        world.run_until_idle();
        assert_eq!(server.take(), [Got::Close(Some(1001))], "seed {seed}");
        server.close(1001);
        world.run_until_idle();
        assert!(world.running && !server.peer.is_finished(), "the server ends TCP first (seed {seed})");
        server.peer.finish();
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
        assert_eq!(world.handler().take_log(), ["open", "failed 6: Stopping", "closed 5: 1001 Local"], "seed {seed}");
        assert!(unanswered.peer.is_finished() || unanswered.peer.is_reset(), "seed {seed}");
    });
}

#[test]
fn a_terminated_connection_ends_at_once_without_a_close_frame() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_message = |_, conn, message| {
            conn.reply(message);
            conn.terminate();
            assert!(!conn.is_open());
            assert!(matches!(conn.send(Message::text("too late")), SendOutcome::Closed(_)));
            conn.close(CloseCode::NORMAL, "").expect("sendable");
            conn.terminate();
        };
        let mut world = World::new(seed, faults, handler);
        let mut client = world.open_client();
        // Input after the message is not delivered, and a violation in it is not answered.
        let broken = [0xff, 0xff, 0xff];
        client.peer.write(
            &[&client.frame(OpCode::Text, true, b"drop me")[..], &client.frame(OpCode::Text, true, b"more")].concat(),
        );
        client.peer.write(&broken);
        world.run_until_idle();
        assert_eq!(client.take(), [], "seed {seed}");
        assert_eq!(world.handler().take_log(), ["open", "message drop me", "closed 7: 1006 Terminated"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn terminating_a_connection_with_queued_output_does_not_wait_for_its_peer() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let client = world.open_client();
        client.peer.set_window(1000);
        let id = world.handler().opened[0];
        world.post(move |_, shard| {
            let mut conn = shard.connection(id).expect("open");
            assert!(conn.send(Message::binary(&[7; 100_000])).is_accepted());
        });
        world.run_until_idle();
        assert!(world.buffered() > 50_000, "seed {seed}");
        world.post(move |_, shard| shard.connection(id).expect("open").terminate());
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "closed 7: 1006 Terminated"], "seed {seed}");
        world.assert_clean();
        drop(client);
    });
}

#[test]
fn a_closing_connection_can_be_terminated() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let mut client = world.open_client();
        let id = world.handler().opened[0];
        world.post(move |_, shard| shard.connection(id).expect("open").close(CloseCode::NORMAL, "").expect("sendable"));
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(1000))], "seed {seed}");
        world.post(move |_, shard| shard.connection(id).expect("closing").terminate());
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "closed 7: 1006 Terminated"], "seed {seed}");
        world.assert_clean();
    });
}
