//! The client role: connecting, the opening handshake, masked frames, and failures.

use super::world::{Got, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{CloseCode, Config, Endpoint, Limits, Message, SendOutcome, Shard};
use ringway_codec::OpCode;
use ringway_io::sim::{Faults, Reception};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn endpoint() -> Arc<Endpoint> {
    let endpoint = Endpoint::resolve("ws://192.0.2.1:9001/path?query=1").expect("an address");
    let endpoint = endpoint.subprotocols(["chat", "news"]).expect("tokens");
    Arc::new(endpoint.origin("https://example.com").expect("an origin"))
}

fn connect<H>(shard: &mut Shard<'_, H>, state: u32)
where
    H: crate::Handler<State = u32>,
{
    shard.connect(&endpoint(), state);
}

/// A shard that sends a greeting to the servers that it connects to, and a server that has received
/// its request.
fn asking(seed: u64, faults: Faults) -> (World<Scripted>, WebSocketPeer) {
    let mut handler = Scripted::new();
    handler.on_open = |_, conn| assert!(matches!(conn.send(Message::text("hello")), SendOutcome::Sent));
    let mut world = World::new(seed, faults, handler);
    world.post(|_, shard| connect(shard, 5));
    let server = world.server();
    (world, server)
}

fn connected(seed: u64, faults: Faults) -> (World<Scripted>, WebSocketPeer) {
    let (mut world, mut server) = asking(seed, faults);
    server.accept();
    world.run_until_idle();
    assert_eq!(server.take(), [Got::text("hello")], "seed {seed}");
    assert_eq!(world.handler().take_log(), ["open"], "seed {seed}");
    (world, server)
}

/// Checks that the shard has dropped the connection, and has reported that once.
#[track_caller]
fn assert_failed(world: &mut World<Scripted>, error: &str) {
    assert_eq!(world.handler().take_log(), [format!("failed 5: {error}")]);
    world.assert_clean();
}

#[test]
fn the_request_contains_the_settings_of_the_endpoint() {
    each_seed(|seed, faults| {
        let (_, server) = asking(seed, faults);
        assert!(server.head.starts_with("GET /path?query=1 HTTP/1.1\r\n"), "{}", server.head);
        for line in [
            "Host: 192.0.2.1:9001",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: chat, news",
            "Origin: https://example.com",
        ] {
            assert!(server.head.contains(&format!("\r\n{line}\r\n")), "{line:?} is missing in {}", server.head);
        }
    });
}

#[test]
fn each_connection_has_its_own_key() {
    let (mut world, first) = asking(1, Faults::none());
    world.post(|_, shard| connect(shard, 6));
    let second = world.server();
    let key = |server: &WebSocketPeer| {
        let line = server.head.lines().find(|line| line.starts_with("Sec-WebSocket-Key: ")).expect("a key");
        line.to_owned()
    };
    assert_ne!(key(&first), key(&second));
}

#[test]
fn rfc6455_4_1_nothing_is_sent_before_the_servers_answer() {
    each_seed(|seed, faults| {
        let (mut world, mut server) = asking(seed, faults);
        world.pass(5 * SECOND);
        server.peer.write(&server.accepting()[..40]);
        world.run_until_idle();
        world.pass(4 * SECOND);
        assert_eq!(server.take(), [], "seed {seed}");
        assert_eq!(server.body(), "", "seed {seed}");
        server.peer.write(&server.accepting()[40..]);
        world.run_until_idle();
        assert_eq!(server.take(), [Got::text("hello")], "seed {seed}");
    });
}

#[test]
fn with_a_wss_url_nothing_is_sent_unencrypted() {
    for url in ["wss://192.0.2.1/", "WSS://192.0.2.1:80/"] {
        let mut world = World::new(0, Faults::none(), Scripted::new());
        let endpoint = Arc::new(Endpoint::resolve(url).expect("an address, and roots"));
        world.post(move |_, shard| shard.connect(&endpoint, 7));
        world.run_until_idle();
        let server = world.network.accept().expect("connected");
        world.run_until_idle();
        let bytes = server.read();
        assert!(bytes.starts_with(&[22, 3]), "{url}: {}", bytes.escape_ascii());
        assert_eq!(usize::from(u16::from_be_bytes([bytes[3], bytes[4]])) + 5, bytes.len(), "only a ClientHello");
    }
}

#[test]
fn rfc6455_5_5_a_ping_with_more_than_125_bytes_is_refused() {
    each_seed(|seed, faults| {
        let ping = |id, len: usize| {
            move |_: &mut Scripted, shard: &mut Shard<'_, Scripted>| {
                let refused = shard.connection(id).expect("open").ping(&vec![b'p'; len]).err();
                let text = "a ping of 126 bytes is too long: give 0 to 125".to_owned();
                assert_eq!(refused.map(|error| error.to_string()), (len > 125).then_some(text));
            }
        };
        let (mut world, mut server) = connected(seed, faults);
        let id = world.handler().opened[0];
        [126, 125].into_iter().for_each(|len| world.post(ping(id, len)));
        world.run_until_idle();
        assert_eq!(server.take(), [Got::Ping(vec![b'p'; 125])], "seed {seed}");

        let mut world = World::new(seed, faults, Scripted::new());
        let mut client = world.open_client();
        let id = world.handler().opened[0];
        [126, 125].into_iter().for_each(|len| world.post(ping(id, len)));
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Ping(vec![b'p'; 125])], "seed {seed}");
    });
}

#[test]
fn messages_pass_in_both_directions_and_the_clients_are_masked() {
    each_seed(|seed, faults| {
        // The server's decoder refuses unmasked frames.
        let (mut world, mut server) = connected(seed, faults);
        let long = "spans buffers ".repeat(215);
        server.text("short");
        server.text(&long);
        server.peer.write(&server.frame(OpCode::Text, false, b"in "));
        server.send(OpCode::Ping, b"?");
        server.peer.write(&server.frame(OpCode::Continuation, true, b"fragments"));
        world.run_until_idle();
        let due = [Got::text("short"), Got::text(&long), Got::Pong(b"?".to_vec()), Got::text("in fragments")];
        assert_eq!(server.take(), due, "seed {seed}");
    });
}

#[test]
fn a_message_right_behind_the_response_is_not_lost() {
    each_seed(|seed, faults| {
        let (mut world, mut server) = asking(seed, faults);
        server.peer.write(&[server.accepting(), server.frame(OpCode::Text, true, b"welcome")].concat());
        world.run_until_idle();
        assert_eq!(server.take(), [Got::text("hello"), Got::text("welcome")], "seed {seed}");
        assert_eq!(world.handler().take_log(), ["open", "message welcome"], "seed {seed}");
    });
}

#[test]
fn rfc6455_7_1_1_the_client_waits_for_the_server_to_end_tcp() {
    each_seed(|seed, faults| {
        for ours in [true, false] {
            let (mut world, mut server) = connected(seed, faults);
            if ours {
                let id = world.handler().opened[0];
                world.post(move |_, shard| {
                    shard.connection(id).expect("open").close(CloseCode::NORMAL, "").expect("sendable");
                });
                world.run_until_idle();
                assert_eq!(server.take(), [Got::Close(Some(1000))], "seed {seed}");
                server.close(1000);
                world.run_until_idle();
            } else {
                server.close(1000);
                world.run_until_idle();
                assert_eq!(server.take(), [Got::Close(Some(1000))], "seed {seed}");
            }
            assert!(!server.peer.is_finished() && !server.peer.is_reset(), "seed {seed}");
            assert!(world.handler().log.is_empty(), "seed {seed}");
            server.peer.finish();
            world.run_until_idle();
            server.assert_finished();
            let told = if ours { "closed 5: 1000 Local" } else { "closed 5: 1000 Peer" };
            assert_eq!(world.handler().take_log(), [told], "seed {seed}");
            world.assert_clean();
        }
    });
}

#[test]
fn the_client_ends_tcp_if_the_server_does_not_after_the_closing_handshake() {
    let (mut world, server) = connected(1, rough());
    server.close(1000);
    world.run_until_idle();
    world.pass(6 * SECOND);
    server.assert_finished();
    assert_eq!(world.handler().take_log(), ["closed 5: 1000 Peer"]);
    world.assert_clean();
}

#[test]
fn a_server_that_vanishes_or_violates_the_protocol_is_reported_as_a_client_is() {
    each_seed(|seed, faults| {
        let (mut world, server) = connected(seed, faults);
        server.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["closed 5: 1006 Vanished"], "seed {seed}");
        world.assert_clean();

        let (mut world, mut server) = connected(seed, faults);
        // A masked frame.
        server.peer.write(b"\x81\x81\0\0\0\0x");
        world.run_until_idle();
        assert_eq!(server.take(), [Got::Close(Some(1002))], "seed {seed}");
        server.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["closed 5: 1002 Violation"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_wrong_accept_value_fails_the_connection() {
    each_seed(|seed, faults| {
        let (mut world, server) = asking(seed, faults);
        let response = String::from_utf8(server.accepting()).expect("ASCII");
        let (front, accept) = response.split_once("Accept: ").expect("the response has it");
        let first = if accept.starts_with('x') { 'y' } else { 'x' };
        server.peer.write(format!("{front}Accept: {first}{}", &accept[1..]).as_bytes());
        world.run_until_idle();
        assert_failed(&mut world, "Handshake Accept");
        assert!(server.peer.is_finished(), "seed {seed}");
    });
}

#[test]
fn a_subprotocol_that_was_not_offered_fails_the_connection() {
    let (mut world, server) = asking(1, rough());
    let response = String::from_utf8(server.accepting()).expect("ASCII");
    assert!(response.contains("Protocol: chat\r\n"));
    server.peer.write(response.replace("chat", "tchat").as_bytes());
    world.run_until_idle();
    assert_failed(&mut world, "Handshake Subprotocol(\"tchat\")");
}

#[test]
fn another_status_fails_the_connection_and_is_in_the_error() {
    each_seed(|seed, faults| {
        let (mut world, server) = asking(seed, faults);
        server.peer.write(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\nlater");
        world.run_until_idle();
        assert_failed(&mut world, "Handshake Status { status: 503, reason: \"Service Unavailable\" }");
    });
}

#[test]
fn an_end_in_the_handshake_fails_the_connection() {
    each_seed(|seed, faults| {
        for reset in [false, true] {
            let (mut world, server) = asking(seed, faults);
            server.peer.write(&server.accepting()[..20]);
            world.run_until_idle();
            if reset {
                server.peer.reset()
            } else {
                server.peer.finish()
            }
            world.run_until_idle();
            assert_failed(&mut world, if reset { "Lost Upgrade ConnectionReset" } else { "Ended(Upgrade)" });
        }
    });
}

#[test]
fn a_server_that_sends_nothing_times_out() {
    each_seed(|seed, faults| {
        let (mut world, server) = asking(seed, faults);
        world.pass(9 * SECOND);
        server.peer.write(b"HTTP/1.1 101 ");
        world.run_until_idle();
        assert!(world.handler().log.is_empty(), "seed {seed}");
        world.pass(SECOND + Duration::from_millis(20));
        assert_failed(&mut world, "Timeout(Upgrade)");
    });
}

#[test]
fn a_connection_attempt_without_an_answer_times_out() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        world.network.set_reception(Reception::Ignore);
        world.post(|_, shard| connect(shard, 5));
        world.run_until_idle();
        assert_eq!(world.sessions(), 1, "seed {seed}");
        world.pass(11 * SECOND);
        assert_failed(&mut world, "Timeout(Connect)");
    });
}

/// A server with three addresses.
fn three_addresses() -> Arc<Endpoint> {
    let addresses = ["192.0.2.1:9001", "[2001:db8::1]:9001", "192.0.2.2:9001"];
    let addresses = addresses.map(|address| address.parse().expect("an address"));
    Arc::new(Endpoint::with_addresses("ws://three.example:9001/", addresses).expect("three addresses"))
}

#[test]
fn the_next_address_is_tried_when_one_does_not_answer_or_refuses() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        world.network.set_reception(Reception::Ignore);
        world.post(|_, shard| shard.connect(&three_addresses(), 5));
        // Each of three addresses has a third of the ten seconds: the first and then the second
        // time out.
        world.pass(6 * SECOND);
        assert_eq!((world.sessions(), world.handler().log.len()), (1, 0), "seed {seed}");
        world.network.set_reception(Reception::Welcome);
        world.pass(SECOND);
        let server = world.server();
        server.accept();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open"], "seed {seed}");
        assert_eq!(world.sessions(), 1, "seed {seed}");
    });
}

#[test]
fn when_no_address_accepts_the_connection_fails_once_within_one_timeout() {
    each_seed(|seed, faults| {
        for (reception, error) in
            [(Reception::Refuse, "Unreachable ConnectionRefused"), (Reception::Ignore, "Timeout(Connect)")]
        {
            let mut world = World::new(seed, faults, Scripted::new());
            world.network.set_reception(reception);
            world.post(|_, shard| shard.connect(&three_addresses(), 5));
            world.run_until_idle();
            world.pass(10 * SECOND + Duration::from_millis(100));
            assert_failed(&mut world, error);
        }
    });
}

#[test]
fn the_results_of_the_handshake_are_available_in_open() {
    let mut handler = Scripted::new();
    handler.on_open = |handler, conn| {
        let upgrade = conn.response_headers().and_then(|headers| headers.get("upgrade")).cloned();
        handler.log.push(format!("{:?} {upgrade:?}", conn.subprotocol()));
    };
    handler.on_message = |handler, conn, _| {
        handler.log.push(format!("{:?} {}", conn.subprotocol(), conn.response_headers().is_none()));
    };
    let mut world = World::new(1, rough(), handler);
    world.post(|_, shard| connect(shard, 5));
    let server = world.server();
    server.accept();
    server.text("later");
    world.run_until_idle();
    let log = world.handler().take_log();
    assert_eq!(log, ["open", r#"Some("chat") Some("websocket")"#, "message later", "None true"]);
}

#[test]
fn the_stages_of_opening_are_timed_apart() {
    let mut handler = Scripted::new();
    handler.on_open = |handler, conn| {
        let times = conn.opening_times().expect("the client role");
        assert_eq!(times.total(), times.connect() + times.upgrade());
        handler.log.push(format!("{:?} {:?} {:?}", times.connect(), times.tls(), times.upgrade()));
    };
    handler.on_message = |handler, conn, _| handler.log.push(format!("{:?}", conn.opening_times()));
    let mut world = World::new(1, Faults::none(), handler);
    world.network.set_reception(Reception::Ignore);
    world.post(|_, shard| shard.connect(&three_addresses(), 5));
    world.run_until_idle();
    // The first address does not answer within a third of the timeout of 10 s.
    world.pass(4 * SECOND);
    world.network.set_reception(Reception::Welcome);
    let server = world.server();
    world.pass(2 * SECOND);
    server.accept();
    server.text("later");
    world.run_until_idle();
    let log = world.handler().take_log();
    assert_eq!(log, ["open", "4s None 2s", "message later", "None"]);
}

#[test]
fn a_connection_that_is_refused_fails() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        world.network.set_reception(Reception::Refuse);
        world.post(|_, shard| connect(shard, 5));
        world.run_until_idle();
        assert_failed(&mut world, "Unreachable ConnectionRefused");
    });
}

#[test]
fn a_process_without_descriptors_fails_the_connection() {
    let mut world = World::new(1, Faults::none(), Scripted::new());
    world.network.set_descriptor_limit(0);
    world.post(|_, shard| connect(shard, 5));
    world.run_until_idle();
    assert_failed(&mut world, "Unreachable Uncategorized");
}

#[test]
fn above_the_limit_of_connections_connecting_fails_until_a_slot_is_free() {
    each_seed(|seed, faults| {
        let limits = Limits { max_connections: 2, ..Limits::default() };
        let mut world = World::with(seed, faults, Config::default(), limits, Scripted::new());
        world.network.set_reception(Reception::Ignore);
        world.post(|_, shard| (1..=3).for_each(|state| connect(shard, state)));
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["failed 3: NoSlot"], "seed {seed}");
        world.pass(11 * SECOND);
        world.handler().log.clear();
        world.network.set_reception(Reception::Welcome);
        world.post(|_, shard| connect(shard, 4));
        let server = world.server();
        server.accept();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open"], "seed {seed}");
    });
}

#[test]
fn a_handler_that_retries_at_once_does_not_block_the_shard() {
    let limits = Limits { max_connections: 1, ..Limits::default() };
    let mut handler = Scripted::new();
    handler.on_failed = |handler, shard| {
        handler.count += 1;
        connect(shard, 6);
    };
    let mut world = World::with(1, Faults::none(), Config::default(), limits, handler);
    world.network.set_reception(Reception::Ignore);
    world.post(|_, shard| (5..=6).for_each(|state| connect(shard, state)));
    (0..20).for_each(|_| world.turn());
    assert!((10..=20).contains(&world.handler().count), "one attempt per turn, not {} in all", world.handler().count);
    assert_eq!(world.shard.next_work(world.now), Some(Duration::ZERO), "the next attempt is pending");
    // It retries until a slot is free.
    world.keep_turning(11 * SECOND);
    world.run_until(|world| world.handler().log.iter().any(|line| line == "failed 5: Timeout(Connect)"));
    world.handler().on_failed = |_, _| {};
    world.run_until_idle();
    world.network.set_reception(Reception::Welcome);
    world.post(|_, shard| connect(shard, 6));
    let server = world.server();
    server.accept();
    world.run_until_idle();
    assert_eq!(world.handler().log.last().map(String::as_str), Some("open"));
}

#[test]
fn connecting_while_the_shard_stops_fails_and_does_not_delay_its_end() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_closed = |_, shard| connect(shard, 6);
        handler.on_failed = |_, shard| connect(shard, 6);
        let mut world = World::new(seed, faults, handler);
        let mut client = world.open_client();
        world.post(|_, shard| shard.stop());
        world.run_until(|world| world.sessions() == 0 || client.peer.is_finished() || !client.take().is_empty());
        world.post(|_, shard| connect(shard, 5));
        world.run_until(|world| world.handler().log.contains(&"failed 5: Stopping".to_owned()));
        client.close(1001);
        world.run_until(|world| !world.running);
        let log = world.handler().take_log();
        assert!(log.contains(&"closed 7: 1001 Local".to_owned()), "seed {seed}: {log:?}");
        assert_eq!(world.sessions(), 0, "seed {seed}");
    });
}
