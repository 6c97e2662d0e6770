//! The wire tap: what it reports is compared with what the peers have read and written.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed};
use crate::tap::{TapDirection, TapEnd, TapKind, TapOptions, TapReader, TappedConnection, WireTap};
use crate::tls::stream::tests::configs;
use crate::{Admission, Config, Deflate, Endpoint, Limits, Message, Prepared, Upgrade};
use ringway_codec::{OpCode, Role};
use ringway_io::sim::Faults;
use rustls::version::{TLS12, TLS13};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What a tap has reported of one connection.
#[derive(Default)]
struct Trace {
    opened: Option<TappedConnection>,
    received: Vec<u8>,
    sent: Vec<u8>,
    /// The bytes that are missing between those that were reported.
    gaps: u64,
    end: Option<TapEnd>,
}

/// Takes the events that are queued.
fn take(reader: &mut TapReader) -> BTreeMap<u32, Trace> {
    let mut traces = BTreeMap::<u32, Trace>::new();
    let (mut expected, mut time) = (HashMap::new(), None);
    while let Some(event) = reader.try_next() {
        assert!(time.is_none_or(|time| time <= event.time), "the times of a shard never decrease");
        time = Some(event.time);
        let trace = traces.entry(event.connection).or_default();
        assert!(trace.end.is_none(), "nothing follows the end");
        match event.kind {
            TapKind::Opened(opened) => trace.opened = Some(opened),
            TapKind::Bytes { direction, offset, bytes } => {
                let next = expected.entry((event.connection, direction)).or_insert(0);
                assert!(*next <= offset && !bytes.is_empty());
                trace.gaps += offset - *next;
                *next = offset + bytes.len() as u64;
                match direction {
                    TapDirection::Received => trace.received.extend(bytes),
                    TapDirection::Sent => trace.sent.extend(bytes),
                }
            }
            TapKind::Ended(end) => trace.end = Some(end),
        }
    }
    traces
}

/// The trace of the only connection, which has ended.
#[track_caller]
fn take_one(reader: &mut TapReader) -> Trace {
    let mut traces = take(reader);
    assert_eq!(traces.len(), 1);
    let trace = traces.remove(&1).expect("the first one");
    let end = trace.end.as_ref().expect("it has ended");
    assert_eq!((end.received, end.sent), (trace.received.len() as u64, trace.sent.len() as u64));
    trace
}

/// Checks that the trace has exactly the bytes of the peer.
#[track_caller]
fn assert_bytes(trace: &Trace, peer: &WebSocketPeer) {
    let name = |bytes: &[u8]| format!("{} bytes", bytes.len());
    let (read, written) = (peer.read.borrow(), peer.written.borrow());
    assert!(trace.received == *written, "received {} of {}", name(&trace.received), name(&written));
    assert!(trace.sent == *read, "sent {} of {}", name(&trace.sent), name(&read));
    assert_eq!(trace.gaps, 0);
}

fn tapped(connections: u32) -> (Config, TapReader) {
    let (tap, reader) = WireTap::new(TapOptions::default().connections(connections));
    (Config::default().tap(Some(tap)), reader)
}

fn world(seed: u64, faults: Faults, config: Config) -> World<Scripted> {
    World::with(seed, faults, config, Limits::default(), Scripted::new())
}

/// Exchanges messages whose replies are written in place, joined, copied, assembled and shared, and
/// closes the connection.
fn converse(world: &mut World<Scripted>, client: &mut WebSocketPeer) {
    world.handler().on_message = |_, conn, message| {
        if message.payload() == b"shared" {
            let _ = conn.send_prepared(&Prepared::binary(&[7; 5000]));
            let _ = conn.send(Message::text("behind"));
        }
        conn.reply(message);
    };
    let mut burst = Vec::new();
    for len in [0, 1, 60, 5, 300] {
        burst.extend(client.frame(OpCode::Binary, true, &vec![len as u8; len]));
    }
    client.write(&burst);
    client.send(OpCode::Ping, b"are you there");
    for payload in [vec![1; 900], vec![2; 20_000], b"shared".to_vec(), vec![3; 300_000]] {
        client.send(OpCode::Binary, &payload);
        world.run_until(|world| {
            client.pull_up_to(3000);
            world.is_idle()
        });
    }
    client.write(&client.frame(OpCode::Text, false, b"in two "));
    world.run_until_idle();
    client.write(&client.frame(OpCode::Continuation, true, b"frames"));
    client.close(4001);
    world.run_until(|world| {
        client.pull();
        world.is_idle() && client.peer.is_finished()
    });
    let got = client.take();
    assert_eq!(got.last(), Some(&Got::Close(Some(4001))));
    client.peer.finish();
    world.run_until_idle();
    world.assert_clean();
}

#[test]
fn a_tap_reports_the_bytes_on_the_wire() {
    each_seed(|seed, faults| {
        let (config, mut reader) = tapped(1);
        let mut world = world(seed, faults, config);
        let mut client = world.open_client();
        converse(&mut world, &mut client);
        let trace = take_one(&mut reader);
        assert_bytes(&trace, &client);
        assert_eq!(trace.end.expect("checked").cause, "4001, closed by the peer");
        assert!(trace.received.starts_with(REQUEST.as_bytes()));
        let opened = trace.opened.expect("the first event");
        assert!(!opened.is_outgoing && !opened.has_tls && opened.local.is_some(), "{opened:?}");
        assert_eq!(opened.remote, Some(client.peer.address()));
    });
}

#[test]
fn a_tap_reports_plaintext_under_tls() {
    let exchange = |seed, faults, version| {
        let (config, mut reader) = tapped(1);
        let mut world = world(seed, faults, config);
        world.use_tls(configs(version).0);
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client).secure(version);
        client.write(REQUEST.as_bytes());
        converse(&mut world, &mut client);
        let trace = take_one(&mut reader);
        assert!(trace.opened.expect("reported").has_tls);
        assert_bytes(&trace, &client);
    };
    exchange(0, Faults::none(), &TLS12);
    each_seed(|seed, faults| exchange(seed, faults, &TLS13));
}

#[test]
fn compressed_messages_are_reported_compressed() {
    each_seed(|seed, faults| {
        let (config, mut reader) = tapped(1);
        let mut world = world(seed, faults, config.deflate(Some(Deflate::takeover())));
        // A reply would be compressed if its message was.
        world.handler().on_message = |_, conn, message| {
            assert!(conn.send(Message::text(message.as_text().expect("text"))).is_accepted());
        };
        let client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client
            .write(REQUEST.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n").as_bytes());
        client.text(&"the same again, ".repeat(500));
        world.run_until_idle();
        let read = client.peer.read();
        let head = read.windows(4).position(|window| window == b"\r\n\r\n").expect("a response") + 4;
        assert_eq!(read[head] & 0x40, 0x40, "RSV1 (seed {seed})");
        client.peer.finish();
        world.run_until_idle();
        let trace = take_one(&mut reader);
        assert!(trace.sent == read && trace.received == *client.written.borrow(), "seed {seed}");
    });
}

#[test]
fn the_client_role_is_traced_with_its_request() {
    each_seed(|seed, faults| {
        let (config, mut reader) = tapped(1);
        let mut world = world(seed, faults, config);
        world.handler().on_open = |_, conn| assert!(conn.send(Message::text("hello")).is_accepted());
        world.post(|_, shard| {
            let endpoint = Endpoint::resolve("ws://192.0.2.1:9001/path").expect("an address");
            shard.connect(&Arc::new(endpoint), 5);
        });
        let mut server = world.server();
        server.accept();
        server.text("welcome");
        server.close(1001);
        world.run_until_idle();
        server.pull();
        assert_eq!(server.take().last(), Some(&Got::Close(Some(1001))), "seed {seed}");
        server.peer.finish();
        world.run_until_idle();
        let trace = take_one(&mut reader);
        assert!(trace.opened.is_some_and(|opened| opened.is_outgoing && !opened.has_tls));
        assert!(trace.sent.starts_with(b"GET /path HTTP/1.1\r\n"));
        assert_bytes(&trace, &server);
    });
}

#[test]
fn a_full_queue_neither_blocks_nor_grows_and_the_loss_is_visible() {
    const CAPACITY: usize = 10_000;
    each_seed(|seed, faults| {
        let (tap, mut reader) = WireTap::new(TapOptions::default().capacity(CAPACITY));
        let mut world = world(seed, faults, Config::default().tap(Some(tap)));
        let mut client = world.open_client();
        let echo = |world: &mut World<Scripted>, client: &mut WebSocketPeer, len: usize| {
            client.send(OpCode::Binary, &vec![9; len]);
            world.run_until(|world| {
                client.pull();
                world.is_idle()
            });
            assert_eq!(client.take(), [Got::Binary(vec![9; len])], "seed {seed}");
        };
        for _ in 0..10 {
            echo(&mut world, &mut client, 7000);
            assert!(reader.queued() <= CAPACITY, "{} (seed {seed})", reader.queued());
        }
        let lost = reader.lost();
        assert!(lost > 0, "seed {seed}");
        let first = take(&mut reader).remove(&1).expect("traced");
        assert_eq!(first.gaps + first.received.len() as u64 + first.sent.len() as u64 + lost, {
            let all = client.read.borrow().len() + client.written.borrow().len();
            all as u64 + first.gaps
        });
        // There is room again.
        echo(&mut world, &mut client, 10);
        client.peer.finish();
        world.run_until_idle();
        let mut last = Trace::default();
        while let Some(event) = reader.try_next() {
            match event.kind {
                TapKind::Bytes { direction: TapDirection::Sent, offset, bytes } => {
                    assert_eq!(offset + bytes.len() as u64, client.read.borrow().len() as u64, "seed {seed}");
                    last.sent.extend(bytes);
                }
                TapKind::Ended(end) => last.end = Some(end),
                _ => {}
            }
        }
        assert!(client.read.borrow().ends_with(&last.sent) && last.sent.len() == 12, "seed {seed}");
        let end = last.end.expect("there is always room for the end");
        let (read, written) = (client.read.borrow().len() as u64, client.written.borrow().len() as u64);
        assert_eq!((end.sent, end.received, reader.queued()), (read, written, 0), "seed {seed}");
    });
}

#[test]
fn the_first_connections_are_traced_and_then_the_tap_is_dropped() {
    let (config, mut reader) = tapped(2);
    let mut world = world(0, Faults::none(), config);
    let clients = [(); 3].map(|()| world.open_client());
    clients.iter().for_each(|client| client.text("hello"));
    world.run_until_idle();
    let traces = take(&mut reader);
    assert_eq!(traces.keys().copied().collect::<Vec<_>>(), [1, 2]);
    assert!(world.shard.core.tap.is_some());
    clients.iter().take(2).for_each(|client| client.peer.finish());
    world.run_until_idle();
    assert!(world.shard.core.tap.is_none(), "no connection is traced any more");
    assert!(take(&mut reader).values().all(|trace| trace.end.as_ref().is_some_and(|end| end.peer_finished)));
    clients[2].text("untraced");
    world.run_until_idle();
    assert!(reader.try_next().is_none());
}

#[test]
fn a_tap_without_a_reader_is_dropped_and_the_connection_continues() {
    let (config, reader) = tapped(2);
    let mut world = world(0, Faults::none(), config);
    let mut client = world.open_client();
    drop(reader);
    for text in ["one", "two"] {
        client.text(text);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text(text)]);
    }
    assert!(world.shard.core.tap.is_none());
}

#[test]
fn the_header_of_the_proxy_protocol_is_not_traced() {
    each_seed(|seed, faults| {
        let (config, mut reader) = tapped(1);
        let admission = Admission::new().trusting(&["192.0.2.0/24"]).proxy_protocol(true);
        let config = config.admission(admission);
        let mut world = world(seed, faults, config);
        let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client.peer.write(b"PROXY TCP4 198.51.100.7 192.0.2.9 1234 80\r\n");
        client.write(REQUEST.as_bytes());
        client.text("hello");
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text("hello")], "seed {seed}");
        client.peer.finish();
        world.run_until_idle();
        assert_bytes(&take_one(&mut reader), &client);
    });
}

#[test]
fn iterating_ends_after_the_events_that_were_queued_before_the_finish() {
    let (tap, mut reader) = WireTap::new(TapOptions::default());
    let config = Config::default().tap(Some(tap.clone()));
    let mut world = world(0, Faults::none(), config);
    let client = world.open_client();
    client.peer.finish();
    world.run_until_idle();
    tap.finish();
    assert_eq!(reader.by_ref().filter(|event| matches!(event.kind, TapKind::Ended(_))).count(), 1);
    assert!(reader.next().is_none() && reader.try_next().is_none());
}

#[test]
fn a_refused_request_is_traced() {
    let (config, mut reader) = tapped(1);
    let mut world = world(0, Faults::none(), config);
    let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
    client.write(b"GET / HTTP/1.1\r\n\r\n");
    world.run_until_idle();
    client.pull();
    client.peer.finish();
    world.run_until_idle();
    let trace = take_one(&mut reader);
    assert!(trace.sent.starts_with(b"HTTP/1.1 400 "), "{}", trace.sent.escape_ascii());
    assert_eq!(trace.end.expect("checked").cause, "it was not open as a WebSocket");
}

#[test]
fn an_aborted_connection_ends_in_the_trace() {
    each_seed(|seed, faults| {
        let (config, mut reader) = tapped(1);
        let mut world = world(seed, faults, config);
        world.handler().on_upgrade = |handler, request| {
            handler.deferred.push(request.id());
            Upgrade::defer()
        };
        let client = WebSocketPeer::new(world.network.connect(), Role::Client);
        client.write(REQUEST.as_bytes());
        world.run_until_idle();
        let id = world.handler().deferred[0];
        world.post(move |_, shard| shard.abort(id));
        world.run_until_idle();
        let trace = take_one(&mut reader);
        assert_bytes(&trace, &client);
        assert_eq!(trace.end.expect("checked").cause, "dropped by the application before it was open", "seed {seed}");
        assert!(world.shard.core.tap.is_none(), "no connection is traced any more");
    });
}

#[test]
fn an_outgoing_connection_that_is_aborted_ends_in_the_trace() {
    each_seed(|seed, faults| {
        let (config, mut reader) = tapped(1);
        let mut world = world(seed, faults, config);
        world.post(|_, shard| {
            let endpoint = Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address");
            shard.connect(&Arc::new(endpoint.hold_before_upgrade(true)), 5);
        });
        world.run_until_idle();
        let _server = world.network.accept().expect("it has connected");
        world.run_until_idle();
        let id = world.handler().held[0];
        world.post(move |_, shard| shard.abort(id));
        world.run_until_idle();
        let trace = take_one(&mut reader);
        assert!(trace.opened.is_some_and(|opened| opened.is_outgoing), "seed {seed}");
        assert_eq!(trace.end.expect("checked").cause, "dropped by the application before it was open", "seed {seed}");
    });
}
