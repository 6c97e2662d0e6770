//! Connections with TLS, whose peer is rustls with its own buffers.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed};
use crate::api::endpoint::EndpointTls;
use crate::tls::stream::tests::{configs, name};
use crate::tls::table::{HANDSHAKE_TIME, WAITING_MAX};
use crate::{CloseCode, Config, Endpoint, Limits, Message, Prepared, TlsVersion, Upgrade};
use ringway_codec::{OpCode, Role};
use ringway_io::Driver;
use ringway_io::sim::Faults;
use rustls::version::{TLS12, TLS13};
use std::sync::Arc;
use std::time::Duration;

fn open(seed: u64, faults: Faults) -> (World<Scripted>, WebSocketPeer) {
    let mut world = World::secure(seed, faults, Scripted::new());
    let client = world.open_client();
    (world, client)
}

/// The payload of a message of `len` bytes.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 251) as u8).collect()
}

#[test]
fn messages_of_all_sizes_are_echoed_in_both_versions() {
    for version in [&TLS12, &TLS13] {
        let mut world = World::secure(0, Faults::none(), Scripted::new());
        if version == &TLS12 {
            world.use_tls(configs(&TLS12).0);
        }
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client).secure(version);
        client.write(REQUEST.as_bytes());
        for len in [0, 1, 125, 126, 16_000, 16_384, 16_385, 70_000, 600_000] {
            let payload = pattern(len);
            client.send(OpCode::Binary, &payload);
            world.run_until(|world| {
                client.pull();
                world.is_idle()
            });
            assert!(client.take() == [Got::Binary(payload)], "{len} bytes, {version:?}");
        }
        client.close(1000);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(1000))]);
        world.run_until_idle();
        world.assert_clean();
    }
}

#[test]
fn an_idle_connection_owns_no_buffer() {
    let (mut world, mut client) = open(0, Faults::none());
    client.send(OpCode::Binary, &pattern(5000));
    world.run_until_idle();
    assert_eq!(client.take().len(), 1);
    world.run_until_idle();
    let tls = world.shard.core.tls.as_ref().expect("a listener has TLS");
    assert_eq!((tls.buffered(), world.network.pool().guarded()), (0, 0));
}

#[test]
fn the_close_frame_and_the_close_notify_end_the_connection_and_nothing_is_missing() {
    each_seed(|seed, faults| {
        let (mut world, mut client) = open(seed, faults);
        client.close(4001);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(4001))], "seed {seed}");
        let state = client.layer().process_new_packets().expect("valid records");
        assert!(state.peer_has_closed(), "a close_notify follows the close frame (seed {seed})");
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "closed 7: 4001 Peer"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn the_bytes_that_were_not_sent_are_those_of_the_plaintext() {
    let (mut world, client) = open(0, Faults::none());
    client.peer.set_window(0);
    client.send(OpCode::Binary, &pattern(5000));
    world.run_until_idle();
    // The send of its record is in flight.
    assert!(world.buffered() > 4 + 5000);
    client.peer.reset();
    world.run_until_idle();
    assert_eq!(world.handler().take_log(), ["open", "message of 5000 bytes", "closed 7: 1006 Reset"]);
    assert_eq!(world.handler().unsent, 4 + 5000, "the header and the payload, without the record");
    world.assert_clean();
}

#[test]
fn a_close_notify_without_a_close_frame_ends_the_peers_direction() {
    each_seed(|seed, faults| {
        let (mut world, mut client) = open(seed, faults);
        client.text("last");
        client.close_notify();
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text("last")], "seed {seed}");
        client.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "message last", "closed 7: 1006 Vanished"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn rfc8446_6_1_a_fin_without_a_close_notify_is_a_truncation() {
    each_seed(|seed, faults| {
        let (mut world, client) = open(seed, faults);
        client.text("last");
        client.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "message last", "closed 7: 1006 Truncated"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_fin_without_a_close_notify_after_the_close_frames_is_harmless() {
    each_seed(|seed, faults| {
        let (mut world, client) = open(seed, faults);
        client.close(1000);
        client.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "closed 7: 1000 Peer"], "seed {seed}");
        world.assert_clean();
    });
}

#[test]
fn a_changed_record_ends_the_connection_with_an_alert_after_the_messages_before_it() {
    each_seed(|seed, faults| {
        let (mut world, client) = open(seed, faults);
        client.text("intact");
        // A record of 17 bytes whose tag is wrong.
        client.peer.write(&[23, 3, 3, 0, 17]);
        client.peer.write(&[7; 17]);
        world.run_until_idle();
        let log = world.handler().take_log();
        assert_eq!(log[..2], ["open", "message intact"], "seed {seed}");
        let bytes = client.peer.read();
        let error = {
            let mut layer = client.layer();
            layer.read_tls(&mut &bytes[..]).expect("memory");
            let mut error = layer.process_new_packets().err();
            while error.is_none() && layer.wants_read() {
                if layer.read_tls(&mut &b""[..]).expect("memory") == 0 {
                    break;
                }
                error = layer.process_new_packets().err();
            }
            error
        };
        assert!(matches!(error, Some(rustls::Error::AlertReceived(_))), "{error:?} (seed {seed})");
        client.peer.finish();
        world.run_until_idle();
        let log = world.handler().take_log();
        assert!(log.len() == 1 && log[0].starts_with("closed 7: 1006 Tls("), "{log:?} (seed {seed})");
        world.assert_clean();
    });
}

#[test]
fn http_on_a_listener_with_tls_is_answered_in_plain_text() {
    each_seed(|seed, faults| {
        let mut world = World::secure(seed, faults, Scripted::new());
        let client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client.write(REQUEST.as_bytes());
        world.run_until_idle();
        let answer = String::from_utf8(client.peer.read()).expect("text");
        assert!(answer.starts_with("HTTP/1.1 400 Bad Request\r\n") && answer.contains("wss://"), "{answer}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
        client.assert_finished();
        client.peer.finish();
        world.run_until_idle();
        world.assert_clean();
    });
}

#[test]
fn a_client_hello_on_a_listener_without_tls_gets_an_alert() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let client = WebSocketPeer::new(world.network.connect(), Role::Client).secure(&TLS13);
        world.run_until_idle();
        assert_eq!(client.peer.read(), [21, 3, 3, 0, 2, 2, 10], "seed {seed}");
        client.assert_finished();
        client.peer.finish();
        world.run_until_idle();
        world.assert_clean();
    });
}

#[test]
fn one_deadline_applies_to_the_handshakes_of_tls_and_websocket() {
    // Nothing; a part of the ClientHello; TLS without a request.
    for step in 0..3 {
        let mut world = World::secure(0, Faults::none(), Scripted::new());
        let peer = world.network.connect();
        match step {
            0 => {}
            1 => peer.write(&[22, 3, 1, 2, 0, 1]),
            _ => {
                let client = WebSocketPeer::new(peer.clone(), Role::Client).secure(&TLS13);
                for _ in 0..3 {
                    world.run_until_idle();
                    let mut client_side = client.layer();
                    let bytes = peer.read();
                    client_side.read_tls(&mut &bytes[..]).expect("memory");
                    client_side.process_new_packets().expect("valid records");
                    let mut records = Vec::new();
                    while client_side.wants_write() {
                        client_side.write_tls(&mut records).expect("memory");
                    }
                    peer.write(&records);
                }
                assert!(!client.layer().is_handshaking());
            }
        }
        world.run_until_idle();
        world.pass(Duration::from_secs(9));
        assert!(!peer.is_finished() && !peer.is_reset(), "step {step}: in time");
        world.pass(Duration::from_secs(2));
        assert!(peer.is_finished() || peer.is_reset(), "step {step}: too late");
        peer.finish();
        world.pass(Duration::from_secs(10));
        world.assert_clean();
    }
}

#[test]
fn the_handler_sees_what_the_handshake_has_agreed_on() {
    let mut handler = Scripted::new();
    handler.on_upgrade = |handler, request| {
        let tls = request.tls().expect("a connection with TLS");
        assert_eq!(tls.version(), Some(TlsVersion::Tls13));
        handler.log.push(tls.cipher_suite().unwrap_or_default().to_owned());
        Upgrade::accept(7)
    };
    handler.on_open = |_, conn| {
        let tls = conn.tls().expect("a connection with TLS");
        assert_eq!(tls.peer_certificates().count(), 0);
    };
    let mut world = World::secure(0, Faults::none(), handler);
    let _client = world.open_client();
    assert_eq!(world.handler().take_log(), ["TLS13_AES_256_GCM_SHA384", "open"]);
}

#[test]
fn prepared_messages_and_replies_keep_their_order() {
    each_seed(|seed, faults| {
        let (mut world, mut client) = open(seed, faults);
        world.handler().on_message = |_, conn, message| {
            let payload = message.payload().to_vec();
            let _ = conn.send(Message::text("before"));
            conn.reply(message);
            let _ = conn.send_prepared(&Prepared::binary(&payload));
        };
        client.peer.set_window(700);
        for len in [3, 3000, 40_000] {
            let payload = pattern(len);
            client.send(OpCode::Binary, &payload);
            world.run_until(|world| {
                client.pull_up_to(333);
                world.is_idle()
            });
            let expected = [Got::text("before"), Got::Binary(payload.clone()), Got::Binary(payload)];
            assert!(client.take() == expected, "{len} bytes (seed {seed})");
        }
    });
}

#[test]
fn a_certificate_of_another_name_fails_the_connection_with_an_alert() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Scripted::new());
        let mut endpoint = Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address");
        let other = rustls::pki_types::ServerName::try_from("other.test").expect("a name");
        endpoint.tls = Some(EndpointTls { config: configs(&TLS13).1, name: other });
        let endpoint = Arc::new(endpoint);
        world.post(move |_, shard| shard.connect(&endpoint, 7));
        world.run_until_idle();
        let peer = world.network.accept().expect("connected");
        let server = WebSocketPeer::new(peer, Role::Server).secure(&TLS13);
        world.run_until_idle();
        let mut error = None;
        for _ in 0..4 {
            let bytes = server.peer.read();
            let mut layer = server.layer();
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                layer.read_tls(&mut rest).expect("memory");
                error = layer.process_new_packets().err().or(error);
            }
            let mut records = Vec::new();
            while layer.wants_write() {
                layer.write_tls(&mut records).expect("memory");
            }
            drop(layer);
            server.peer.write(&records);
            world.run_until_idle();
        }
        assert!(matches!(error, Some(rustls::Error::AlertReceived(_))), "{error:?} (seed {seed})");
        server.peer.finish();
        world.run_until_idle();
        let log = world.handler().take_log();
        assert!(log.len() == 1 && log[0].starts_with("failed 7: Tls("), "{log:?} (seed {seed})");
        for part in ["other.test", "server.test"] {
            assert!(log[0].contains(part), "{log:?} (seed {seed})");
        }
        world.assert_clean();
    });
}

#[test]
fn stopping_closes_connections_with_tls() {
    let (mut world, mut client) = open(0, Faults::none());
    world.post(|_, shard| shard.stop());
    world.run_until_idle();
    assert_eq!(client.take(), [Got::Close(Some(CloseCode::GOING_AWAY.as_u16()))]);
    client.close(1001);
    world.run_until_idle();
    assert!(!world.running);
}

#[test]
fn the_sum_of_unfinished_records_is_bounded_and_their_holders_are_closed() {
    let limits = Limits { max_memory: Some(400_000), max_message: 200_000, ..Limits::default() };
    let mut world = World::with(0, Faults::none(), Config::default(), limits, Scripted::new());
    world.use_tls(configs(&TLS13).0);
    let mut small = world.open_client();
    // The header of a record of 16 KiB, and most of it: nothing of it can be opened.
    let mut part = vec![23, 3, 3, 0x40, 0];
    part.resize(16_000, 0);
    let mut held = 0;
    for _ in 0..40 {
        let client = world.open_client();
        client.peer.write(&part);
        world.run_until_idle();
        world.pass(Duration::from_secs(1));
        held = held.max(world.shard.core.memory.held());
    }
    world.pass(Duration::from_secs(30));
    let counters = world.shard.core.counters;
    assert!(counters.memory_closes > 0, "{counters:?}");
    assert!(held < 450_000, "{held} bytes are held");
    small.send(OpCode::Binary, b"in time");
    world.run_until_idle();
    let got = small.take();
    assert!(got.contains(&Got::Binary(b"in time".to_vec())), "{got:?}");
}

#[test]
fn accepting_pauses_while_too_many_handshakes_wait() {
    let mut world = World::secure(0, Faults::none(), Scripted::new());
    // Each turn has time for one handshake, and brings eight connections.
    world.reading_takes = HANDSHAKE_TIME;
    // A record of the handshake with a message of an unknown type.
    let record = [22, 3, 1, 0, 4, 99, 0, 0, 0];
    let mut peers = Vec::new();
    let (mut most, mut paused) = (0, 0);
    while paused < 500 {
        peers.extend((0..8).map(|_| world.network.connect()));
        peers.iter().rev().take(8).for_each(|peer| peer.write(&record));
        world.turn();
        most = most.max(world.shard.core.tls.as_ref().expect("a listener has TLS").waiting());
        paused += u32::from(world.shard.driver.stats().accept_pauses > 0);
        assert!(peers.len() < 10 * WAITING_MAX, "accepting does not pause");
    }
    assert!(world.shard.driver.stats().accepted < peers.len() as u64, "connections are accepted during the pause");
    world.reading_takes = Duration::ZERO;
    world.run_until_idle();
    assert!((WAITING_MAX..WAITING_MAX + 512).contains(&most), "{most} waited");
    assert_eq!(world.shard.driver.stats().accepted, peers.len() as u64, "all are accepted at last");
    assert_eq!(world.shard.core.counters.tls_failures, peers.len() as u64);
    drop(peers);
    world.pass(Duration::from_secs(30));
    world.assert_clean();
}

/// A shard that has connected to a server of TLS, and the server, which has read nothing.
fn connecting(seed: u64, faults: Faults, handler: Scripted) -> (World<Scripted>, WebSocketPeer) {
    let mut world = World::new(seed, faults, handler);
    let mut endpoint = Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address");
    endpoint.tls = Some(EndpointTls { config: configs(&TLS13).1, name: name() });
    let endpoint = Arc::new(endpoint);
    world.post(move |_, shard| shard.connect(&endpoint, 7));
    world.run_until_idle();
    let peer = world.network.accept().expect("connected");
    world.run_until_idle();
    (world, WebSocketPeer::new(peer, Role::Server).secure(&TLS13))
}

#[test]
fn the_handshake_of_tls_is_timed_apart_from_the_upgrade() {
    let mut handler = Scripted::new();
    handler.on_open = |handler, conn| {
        let times = conn.opening_times().expect("the client role");
        let (tls, session) = (times.tls().expect("a connection with TLS"), conn.tls().expect("a connection with TLS"));
        assert_eq!(times.total(), times.connect() + tls + times.upgrade());
        handler.log.push(format!("{tls:?} {:?} {:?}", times.upgrade(), session.version()));
    };
    let (mut world, mut server) = connecting(0, Faults::none(), handler);
    world.pass(Duration::from_secs(2));
    server.pull(); // the ClientHello
    world.run_until_idle();
    world.pass(Duration::from_secs(3));
    server.pull(); // the Finished message and the request
    server.accept();
    world.run_until_idle();
    assert_eq!(world.handler().take_log(), ["open", "2s 3s Some(Tls13)"]);
}

#[test]
fn a_failure_has_the_stage_in_which_it_happens() {
    each_seed(|seed, faults| {
        for (end, error) in ["Ended", "Lost", "Timeout"].into_iter().flat_map(|end| {
            ["Tls", "Upgrade"].map(|stage| {
                (end, if end == "Lost" { format!("Lost {stage} ConnectionReset") } else { format!("{end}({stage})") })
            })
        }) {
            let (mut world, mut server) = connecting(seed, faults, Scripted::new());
            if error.contains("Upgrade") {
                server.pull();
                world.run_until_idle();
                server.pull();
                world.run_until_idle();
            }
            match end {
                "Ended" => server.peer.finish(),
                "Lost" => server.peer.reset(),
                _ => world.pass(Duration::from_secs(11)),
            }
            world.run_until_idle();
            assert_eq!(world.handler().take_log(), [format!("failed 7: {error}")], "seed {seed}");
        }
    });
}

#[test]
fn a_close_notify_behind_a_stashed_message_ends_receiving() {
    let mut handler = Scripted::new();
    handler.on_open = |_, conn| conn.pause();
    let mut world = World::secure(0, Faults::none(), handler);
    let client = world.open_client();
    client.text("stashed");
    client.close_notify();
    world.run_until_idle();
    let layers = |world: &World<Scripted>| world.shard.core.tls.as_ref().expect("a listener has TLS").buffered();
    client.peer.write(&[23; 50_000]);
    world.run_until_idle();
    assert_eq!((client.peer.unreceived(), layers(&world)), (50_000, 0));
}

#[test]
fn a_request_is_answered_although_fin_follows_it_at_once() {
    each_seed(|seed, faults| {
        let mut world = World::secure(seed, faults, Scripted::new());
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client).secure(&TLS13);
        client.write(REQUEST.as_bytes());
        while client.layer().is_handshaking() {
            world.turn();
            client.pull();
        }
        // The last flight and the request were sent by the same call.
        client.peer.finish();
        world.run_until(|world| {
            client.pull();
            world.is_idle()
        });
        assert_eq!(client.status(), 101, "seed {seed}");
    });
}

#[test]
fn records_are_opened_in_shares_of_a_turn_and_all_are_delivered_before_the_end() {
    each_seed(|seed, faults| {
        let (mut world, mut client) = open(seed, faults);
        let count = 3000;
        for n in 0..count {
            client.text(&n.to_string());
        }
        client.close_notify();
        client.peer.finish();
        let mut delivered = world.handler().take_log().len() - 1;
        let mut largest = 0;
        let mut next = 0;
        while !world.is_idle() {
            world.turn();
            client.pull();
            for got in client.take() {
                assert_eq!(got, Got::text(&next.to_string()), "seed {seed}");
                next += 1;
            }
            let log = world.handler().take_log();
            largest = largest.max(log.len());
            delivered += log.len();
        }
        // The last entry is that of the end.
        assert_eq!((next, delivered), (count, count + 1), "seed {seed}");
        assert!(largest <= 512, "{largest} messages in one turn, each in a record (seed {seed})");
        world.assert_clean();
    });
}

#[test]
fn records_behind_a_stash_are_opened_after_it() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_open = |_, conn| conn.pause();
        let mut world = World::secure(seed, faults, handler);
        let mut client = world.open_client();
        (0..500).for_each(|n| client.text(&n.to_string()));
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open"], "seed {seed}");
        let id = world.handler().opened[0];
        world.post(move |_, shard| shard.connection(id).expect("open").resume());
        let mut next = 0;
        world.run_until(|world| {
            client.pull();
            for got in client.take() {
                assert_eq!(got, Got::text(&next.to_string()), "seed {seed}");
                next += 1;
            }
            world.is_idle()
        });
        assert_eq!(next, 500, "seed {seed}");
    });
}
