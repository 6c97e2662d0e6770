//! Compressed messages (RFC 7692) in both roles.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{Config, Deflate, Endpoint, Limits, Message, Prepared, SendOutcome};
use ringway_codec::{
    DeflateParams, DeflatePolicy, Deflater, MessageKind, OpCode, Role, WindowBits, deflated_frame, encode_deflated,
};
use ringway_io::sim::Faults;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const KEY: [u8; 4] = [9, 8, 7, 6];

/// Text that compresses well, and spans many receive buffers.
fn long() -> String {
    (0..400).map(|n| format!("{{\"id\":{n},\"price\":\"€{}\"}},", n * n % 97)).collect()
}

fn config(deflate: Deflate) -> Config {
    Config { deflate: Some(deflate), ..Config::default() }
}

fn assert_taken(sent: &SendOutcome<'_>) {
    assert!(sent.is_accepted(), "the queue is far below the limit");
}

/// A peer that compresses its messages.
struct Compressing {
    client: WebSocketPeer,
    deflater: Deflater,
    takeover: bool,
    key: Option<[u8; 4]>,
}

impl Compressing {
    fn new(mut client: WebSocketPeer, role: Role, params: &DeflateParams) -> Self {
        client.inflate(params);
        let outgoing = params.outgoing(role);
        let deflater = Deflater::new(6, outgoing.window_bits.max(WindowBits::MIN_DEFLATED)).expect("a window");
        Self { client, deflater, takeover: outgoing.takeover, key: (role == Role::Client).then_some(KEY) }
    }

    fn text(&mut self, text: &str) {
        let mut out = Vec::new();
        encode_deflated(MessageKind::Text, text.as_bytes(), self.key, &mut self.deflater, self.takeover, &mut out);
        self.client.peer.write(&out);
    }

    fn take(&mut self) -> Vec<Got> {
        self.client.take()
    }
}

/// A client that offers compression, and the parameters in the shard's answer.
fn offering(world: &mut World<Scripted>, offer: &str) -> (WebSocketPeer, Option<DeflateParams>) {
    let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
    client
        .peer
        .write(REQUEST.replace("\r\n\r\n", &format!("\r\nSec-WebSocket-Extensions: {offer}\r\n\r\n")).as_bytes());
    world.run_until_idle();
    client.pull();
    let answer = client.head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    let flag = |answer: &str, name: &str| answer.split("; ").any(|param| param == name);
    let window = |answer: &str, name: &str| {
        let bits = answer.split("; ").find_map(|param| param.strip_prefix(name)?.strip_prefix('='));
        bits.and_then(|bits| WindowBits::new(bits.parse().expect("a number")))
    };
    let params = answer.map(|answer| DeflateParams {
        server_no_context_takeover: flag(answer, "server_no_context_takeover"),
        client_no_context_takeover: flag(answer, "client_no_context_takeover"),
        server_max_window_bits: window(answer, "server_max_window_bits"),
        client_max_window_bits: window(answer, "client_max_window_bits"),
    });
    (client, params)
}

fn server(seed: u64, faults: Faults, deflate: Deflate, handler: Scripted) -> World<Scripted> {
    World::with(seed, faults, config(deflate), Limits::default(), handler)
}

fn open(world: &mut World<Scripted>, offer: &str) -> Compressing {
    let (client, params) = offering(world, offer);
    Compressing::new(client, Role::Client, &params.expect("the offer is accepted"))
}

const MODES: [Deflate; 4] = [
    Deflate::takeover(),
    Deflate::shared(),
    Deflate { window_bits: 9, ..Deflate::takeover() },
    Deflate { peer_takeover: false, level: 9, ..Deflate::takeover() },
];

#[test]
fn echoes_are_compressed_in_every_mode() {
    each_seed(|seed, faults| {
        for deflate in MODES {
            let mut world = server(seed, faults, deflate, Scripted::new());
            let mut client = open(&mut world, "permessage-deflate; client_max_window_bits");
            let mut due = Vec::new();
            for text in ["short", &long(), &"a".repeat(128), "", &long(), "short"] {
                client.text(text);
                due.push(Got::text(text));
            }
            world.run_until_idle();
            assert_eq!(client.take(), due, "seed {seed}, {deflate:?}");
            assert_eq!(client.client.compressed, 3, "only long messages (seed {seed}, {deflate:?})");
            client.client.close(1000);
            world.run_until_idle();
            assert_eq!(client.take(), [Got::Close(Some(1000))], "seed {seed}");
            client.client.peer.finish();
            world.run_until_idle();
            world.assert_clean();
        }
    });
}

#[test]
fn replies_to_uncompressed_messages_are_uncompressed_and_in_order() {
    each_seed(|seed, faults| {
        let mut world = server(seed, faults, Deflate::takeover(), Scripted::new());
        let mut client = open(&mut world, "permessage-deflate");
        let mut due = Vec::new();
        for n in 0..4 {
            let text = format!("{n} {}", long());
            client.text(&text);
            client.client.text(&text);
            client.client.send(OpCode::Ping, b"?");
            due.extend([Got::text(&text), Got::text(&text), Got::Pong(b"?".to_vec())]);
        }
        world.run_until_idle();
        assert_eq!(client.take(), due, "seed {seed}");
        assert_eq!(client.client.compressed, 4, "seed {seed}");
    });
}

#[test]
fn without_an_acceptable_offer_nothing_is_compressed() {
    let mut world = server(1, rough(), Deflate::takeover(), Scripted::new());
    for offer in ["permessage-deflate; server_max_window_bits=8", "permessage-deflate; unknown", "x-other"] {
        let (mut client, params) = offering(&mut world, offer);
        assert_eq!((client.status(), params), (101, None), "{offer}");
        client.text(&long());
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text(&long())]);
    }
    let (client, _) = offering(&mut world, "permessage-deflate; client_max_window_bits=");
    assert_eq!(client.status(), 400);
    // With compression disabled, no offer is accepted.
    let mut world = World::new(1, rough(), Scripted::new());
    let (client, params) = offering(&mut world, "permessage-deflate");
    assert_eq!((client.status(), params), (101, None));
}

#[test]
fn a_deferred_answer_negotiates_compression() {
    let mut handler = Scripted::new();
    handler.on_upgrade = |handler, request| {
        handler.deferred.push(request.id());
        crate::Upgrade::defer()
    };
    let mut world = server(1, rough(), Deflate::shared(), handler);
    let (client, none) = offering(&mut world, "permessage-deflate");
    assert_eq!(none, None);
    let id = world.handler().deferred[0];
    world.post(move |_, shard| shard.answer(id, crate::Upgrade::accept(9)));
    world.run_until_idle();
    let params = DeflatePolicy { takeover: false, peer_takeover: false, ..DeflatePolicy::default() }
        .accept(&ringway_codec::DeflateOffer::default())
        .expect("the offer has no parameters");
    let mut client = Compressing::new(client, Role::Client, &params);
    client.text(&long());
    world.run_until_idle();
    assert_eq!((client.take(), client.client.compressed), (vec![Got::text(&long())], 1));
    assert!(client.client.head.contains(&format!("\r\nSec-WebSocket-Extensions: {params}\r\n")), "{:?}", client.client);
}

#[test]
fn an_idle_connection_keeps_a_compressor_only_with_takeover_and_only_for_a_while() {
    for (deflate, kept) in [(Deflate::shared(), false), (Deflate::takeover(), true)] {
        let mut world = server(1, rough(), deflate, Scripted::new());
        let mut client = open(&mut world, "permessage-deflate");
        let slot = world.shard.sessions.slots().next().expect("a connection");
        let keeps = |world: &World<Scripted>| {
            let session = world.shard.sessions.get(slot).expect("it is open");
            let outgoing = session.link.keeps_compressor();
            (outgoing, session.decoder.keeps_memory())
        };
        assert_eq!(keeps(&world), (false, false), "no message was sent");
        for _ in 0..2 {
            client.text(&long());
            world.run_until_idle();
            assert_eq!(client.take().len(), 1);
            assert_eq!(keeps(&world), (kept, kept));
            // Half of the idle timeout: a ping is sent and the compressor is freed. The peer's
            // context is kept.
            world.pass(70 * SECOND);
            assert_eq!(client.take(), [Got::Ping(Vec::new())]);
            client.client.send(OpCode::Pong, b"");
            world.run_until_idle();
            assert_eq!(keeps(&world), (false, kept));
        }
    }
}

/// The bytes that the decoder of the only connection holds.
fn held_by_decoder(world: &World<Scripted>) -> usize {
    let slot = world.shard.sessions.slots().next().expect("a connection");
    world.shard.sessions.get(slot).expect("it is open").decoder.held_bytes()
}

/// A handler that pauses its connection after each message.
fn pausing() -> Scripted {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| {
        conn.pause();
        conn.reply(message);
    };
    handler
}

#[test]
fn a_connection_whose_message_used_up_its_turn_keeps_no_inflater_while_it_is_idle() {
    // An inflated byte costs four units, and a turn has 512 Ki: some of these messages end exactly
    // where the turn does, and the input with them.
    for length in (131_000..131_100).step_by(4) {
        let mut world = server(1, Faults::none(), Deflate::shared(), Scripted::new());
        let mut client = open(&mut world, "permessage-deflate");
        let text = "a".repeat(length);
        client.text(&text);
        world.run_until_idle();
        assert_eq!(client.take(), [Got::text(&text)], "{length}");
        assert_eq!(held_by_decoder(&world), 0, "{length}");
    }
}

#[test]
fn a_paused_connection_keeps_no_inflater() {
    let mut world = server(1, Faults::none(), Deflate::shared(), pausing());
    let mut client = open(&mut world, "permessage-deflate");
    client.text(&long());
    client.text(&long());
    world.run_until_idle();
    assert_eq!(client.take(), [Got::text(&long())]);
    assert_eq!(held_by_decoder(&world), 0);
    let id = world.handler().opened[0];
    world.post(move |_, shard| shard.connection(id).expect("open").resume());
    world.run_until_idle();
    assert_eq!(client.take(), [Got::text(&long())]);
}

#[test]
fn each_message_can_be_compressed_or_not_regardless_of_its_length() {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| {
        let text = message.as_text().expect("text").to_owned();
        for message in [Message::text(&text), Message::text(&text).compress(true), Message::text(&text).compress(false)]
        {
            assert_taken(&conn.send(message));
        }
        assert!(conn.is_compressing());
        conn.reply(message.compress(true));
    };
    for deflate in [Deflate::takeover(), Deflate::shared()] {
        let mut world = server(1, rough(), deflate, handler.clone());
        let mut client = open(&mut world, "permessage-deflate");
        for (text, compressed) in [("a".repeat(20), 2), ("a".repeat(200), 3)] {
            client.client.compressed = 0;
            client.client.text(&text);
            world.run_until_idle();
            assert_eq!(client.take(), vec![Got::text(&text); 4]);
            assert_eq!(client.client.compressed, compressed, "{} bytes, {deflate:?}", text.len());
        }
    }
}

#[test]
fn prepared_messages_reach_every_connection_compressed_as_negotiated() {
    each_seed(|seed, faults| {
        let mut world = server(seed, faults, Deflate::takeover(), Scripted::new());
        let offers = [
            "permessage-deflate",
            "permessage-deflate",
            "permessage-deflate; server_no_context_takeover",
            "permessage-deflate; server_max_window_bits=10",
        ];
        let mut clients: Vec<Compressing> = offers.iter().map(|offer| open(&mut world, offer)).collect();
        let mut plain = world.open_client();
        let text = long();
        let prepared = [Prepared::text(&text), Prepared::text("short"), Prepared::text(&text).compress(false)];
        let ids = world.handler().opened.clone();
        let mut due = Vec::new();
        for round in 0..3 {
            let own = format!("{round} {text}");
            clients.iter_mut().for_each(|client| client.text(&own));
            plain.text(&own);
            world.run_until_idle();
            due.push(Got::text(&own));
            let (ids, prepared) = (ids.clone(), prepared.clone());
            world.post(move |_, shard| {
                for id in ids {
                    let mut conn = shard.connection(id).expect("open");
                    for prepared in &prepared {
                        assert_taken(&conn.send_prepared(prepared));
                    }
                }
            });
            world.run_until_idle();
            due.extend([Got::text(&text), Got::text("short"), Got::text(&text)]);
        }
        for client in &mut clients {
            assert_eq!(client.take(), due, "seed {seed}");
            assert_eq!(client.client.compressed, 6, "seed {seed}");
        }
        assert_eq!((plain.take(), plain.compressed), (due, 0), "seed {seed}");
        // Compressed once: the connections share the bytes of the prepared messages.
        let mut deflater = Deflater::new(1, WindowBits::MAX).expect("a window");
        let shared = deflated_frame(&prepared[0], &mut deflater).expect("it is shorter");
        assert_eq!(Arc::strong_count(shared), 1, "it was compressed once");
    });
}

#[test]
fn a_bomb_is_answered_with_1009() {
    let limits = Limits { max_message: 100_000, ..Limits::default() };
    for deflate in [Deflate::takeover(), Deflate::shared()] {
        let mut world = World::with(1, rough(), config(deflate), limits, Scripted::new());
        let mut client = open(&mut world, "permessage-deflate");
        client.text(&"0".repeat(20 << 20));
        world.run_until_idle();
        assert_eq!(client.take(), [Got::Close(Some(1009))]);
        client.client.peer.finish();
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "closed 7: 1009 Violation"]);
        world.assert_clean();
    }
}

#[test]
fn messages_stashed_during_a_pause_are_delivered_and_answered_compressed() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_open = |_, conn| conn.pause();
        let mut world = server(seed, faults, Deflate::takeover(), handler);
        let mut client = open(&mut world, "permessage-deflate");
        client.text(&long());
        client.client.text(&long());
        client.text(&long());
        world.run_until_idle();
        assert_eq!(client.take(), [], "seed {seed}");
        let id = world.handler().opened[0];
        world.post(move |_, shard| shard.connection(id).expect("open").resume());
        world.run_until_idle();
        assert_eq!(client.take(), vec![Got::text(&long()); 3], "seed {seed}");
        assert_eq!(client.client.compressed, 2, "seed {seed}");
    });
}

/// A shard that has connected to a server, which has received its offer.
fn connecting(seed: u64, faults: Faults, deflate: Deflate) -> (World<Scripted>, WebSocketPeer) {
    let mut world = server(seed, faults, deflate, Scripted::new());
    let endpoint = Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address"));
    world.post(move |_, shard| shard.connect(&endpoint, 5));
    let server = world.server();
    (world, server)
}

#[test]
fn a_client_offers_compression_and_uses_the_servers_choice() {
    each_seed(|seed, faults| {
        for (deflate, policy) in [
            (Deflate::takeover(), DeflatePolicy::default()),
            (Deflate::shared(), DeflatePolicy::default()),
            (Deflate::takeover(), DeflatePolicy { takeover: false, peer_takeover: false, ..DeflatePolicy::default() }),
            (Deflate::takeover(), DeflatePolicy { peer_window_bits: WindowBits::MIN, ..DeflatePolicy::default() }),
        ] {
            let (mut world, server) = connecting(seed, faults, deflate);
            let (request, _) =
                ringway_codec::parse_request(server.head.as_bytes(), &ringway_codec::HeadLimits::default())
                    .expect("a request")
                    .expect("a complete one");
            let params = policy.choose(&request.extensions().expect("well formed")).expect("an offer");
            server.peer.write(&server.accepting_with(Some(&params)));
            world.run_until_idle();
            let mut server = Compressing::new(server, Role::Server, &params);
            let mut due = Vec::new();
            for text in ["short", &long(), &long(), "short"] {
                server.text(text);
                due.push(Got::text(text));
            }
            world.run_until_idle();
            assert_eq!(server.take(), due, "seed {seed}");
            assert_eq!(server.client.compressed, 2, "seed {seed}");
        }
    });
}

#[test]
fn a_client_limited_to_a_window_of_256_bytes_sends_uncompressed() {
    let (mut world, server) = connecting(1, rough(), Deflate::takeover());
    let params = DeflateParams { client_max_window_bits: Some(WindowBits::MIN), ..DeflateParams::default() };
    server.peer.write(&server.accepting_with(Some(&params)));
    world.run_until_idle();
    let mut server = Compressing::new(server, Role::Server, &params);
    server.text(&long());
    world.run_until_idle();
    assert_eq!((server.take(), server.client.compressed), (vec![Got::text(&long())], 0));
}

#[test]
fn an_answer_that_matches_no_offer_fails_the_connection() {
    for (deflate, params) in [
        (Deflate::shared(), DeflateParams::default()),
        (
            Deflate { window_bits: 10, ..Deflate::takeover() },
            DeflateParams { client_max_window_bits: WindowBits::new(11), ..DeflateParams::default() },
        ),
    ] {
        let (mut world, server) = connecting(1, rough(), deflate);
        server.peer.write(&server.accepting_with(Some(&params)));
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), [format!("failed 5: Handshake Extension(\"{params}\")")]);
        world.assert_clean();
    }
}

#[test]
fn a_client_sends_uncompressed_to_a_server_that_declines() {
    let (mut world, mut server) = connecting(1, rough(), Deflate::takeover());
    server.accept();
    server.text(&long());
    world.run_until_idle();
    assert_eq!((server.take(), server.compressed), (vec![Got::text(&long())], 0));
}
