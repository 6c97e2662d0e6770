//! Talkers under all faults: each receives exactly the expected messages, or a prefix if the
//! network reset the connection.

use super::world::{Got, WebSocketPeer, World, each_seed};
use crate::api::endpoint::EndpointTls;
use crate::tls::stream::tests::{configs, name};
use crate::{
    CloseReason, ConnectError, Connection, ConnectionId, Endpoint, Handler, Message, Prepared, Request, SendOutcome,
    Shard, Upgrade,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringway_codec::{MessageKind, OpCode, Role};
use ringway_io::sim::{Faults, Injected};
use rustls::version::TLS13;
use std::ops::Range;
use std::sync::Arc;

const TALKERS: usize = 6;
const SIZES: [usize; 7] = [0, 5, 125, 126, 900, 1100, 5000];
const BEFORE: &str = "before";

/// Answers as the first byte of a message specifies: `b` sends other output before the reply, `p`
/// replies and sends a prepared frame, `c` sends a copy; any other byte is a reply.
struct Answering {
    prepared: Prepared,
    open: usize,
    closed: usize,
    failed: usize,
}

impl Answering {
    fn new() -> Self {
        Self { prepared: Prepared::binary(&[b'P'; 3000]), open: 0, closed: 0, failed: 0 }
    }
}

fn assert_taken(sent: &SendOutcome<'_>) {
    assert!(sent.is_accepted(), "the queue is far below the limit");
}

impl Handler for Answering {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, _conn: &mut Connection<'_, Self>) {
        self.open += 1;
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match message.payload().first() {
            Some(b'b') => {
                assert_taken(&conn.send(Message::text(BEFORE)));
                conn.reply(message);
            }
            Some(b'p') => {
                conn.reply(message);
                assert_taken(&conn.send_prepared(&self.prepared));
            }
            Some(b'c') => assert_taken(&conn.send(message)),
            _ => conn.reply(message),
        }
    }

    fn closed(&mut self, _shard: &mut Shard<'_, Self>, (): (), _reason: &CloseReason) {
        self.closed += 1;
    }

    fn failed(&mut self, _shard: &mut Shard<'_, Self>, (): (), _error: &ConnectError) {
        self.failed += 1;
    }
}

/// A peer with the data it sends, and the messages it expects.
struct Talker {
    client: WebSocketPeer,
    /// Each element is written at once, the first one first.
    writes: Vec<Vec<u8>>,
    due: Vec<Got>,
    /// Whether it is a server that has not accepted yet.
    asked: bool,
}

impl Talker {
    fn new(client: WebSocketPeer, name: usize, rng: &mut StdRng) -> Self {
        client.peer.set_window(rng.random_range(200..20_000));
        let (mut writes, mut due, mut write) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..rng.random_range(4..12) {
            say(&client, name, number, rng, &mut write, &mut due);
            if rng.random_bool(0.4) {
                writes.push(std::mem::take(&mut write));
            }
        }
        write.extend(client.close_frame(1000));
        due.push(Got::Close(Some(1000)));
        writes.push(write);
        writes.reverse();
        let asked = client.is_server();
        Self { client, writes, due, asked }
    }

    /// Performs a random action. Returns whether anything is left to send.
    fn act(&mut self, rng: &mut StdRng) -> bool {
        if rng.random_bool(0.5) {
            self.client.pull_up_to(rng.random_range(1..3000));
        }
        if self.asked {
            self.asked = self.client.head.is_empty();
            if !self.asked {
                self.client.accept();
            }
        } else if rng.random_bool(0.3)
            && let Some(write) = self.writes.pop()
        {
            self.client.write(&write);
        }
        !self.writes.is_empty() && !self.client.peer.is_reset()
    }

    /// Reads received bytes. A server ends TCP after the closing handshake.
    fn listen(&mut self) {
        self.client.pull();
        if self.client.is_server()
            && !self.client.peer.is_finished()
            && self.client.got().ends_with(&[Got::Close(Some(1000))])
        {
            self.client.peer.finish();
        }
    }
}

/// Adds one message, in several frames, with pings before and between them.
fn say(client: &WebSocketPeer, name: usize, number: usize, rng: &mut StdRng, write: &mut Vec<u8>, due: &mut Vec<Got>) {
    let kind = if rng.random() { MessageKind::Text } else { MessageKind::Binary };
    let size = SIZES[rng.random_range(0..SIZES.len())];
    let mut payload = format!("{}{name}/{number}:", char::from(b"rbpc"[rng.random_range(0..4)])).into_bytes();
    let filler = if kind == MessageKind::Text { b'a'..=b'z' } else { 0..=255 };
    payload.resize_with(size.max(payload.len()), || rng.random_range(filler.clone()));
    payload.truncate(size);
    let mut ping = |rng: &mut StdRng, write: &mut Vec<u8>| {
        if rng.random_bool(0.15) {
            let payload = vec![b'a' + number as u8; rng.random_range(0..=125)];
            write.extend(client.frame(OpCode::Ping, true, &payload));
            due.push(Got::Pong(payload));
        }
    };
    ping(rng, write);
    let (mut opcode, mut rest) = (OpCode::from(kind), &payload[..]);
    while rng.random_bool(0.2) {
        let (fragment, behind) = rest.split_at(rng.random_range(0..=rest.len()));
        write.extend(client.frame(opcode, false, fragment));
        ping(rng, write);
        (opcode, rest) = (OpCode::Continuation, behind);
    }
    write.extend(client.frame(opcode, true, rest));
    let echo = Got::message(kind, &payload);
    match payload.first() {
        Some(b'b') => due.extend([Got::text(BEFORE), echo]),
        Some(b'p') => due.extend([echo, Got::Binary(vec![b'P'; 3000])]),
        _ => due.push(echo),
    }
}

/// What is below the WebSocket.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Layer {
    Plain,
    Tls,
}

/// Clients talk to the shard, or the shard, in the client role, to servers.
fn run(seed: u64, faults: Faults, role: Role, layer: Layer) -> Injected {
    let mut world = match layer {
        Layer::Plain => World::new(seed, faults, Answering::new()),
        Layer::Tls => World::secure(seed, faults, Answering::new()),
    };
    let mut rng = StdRng::seed_from_u64(seed);
    let mut talkers: Vec<Talker> = Vec::new();
    match role {
        Role::Server => {
            talkers.extend((0..TALKERS).map(|name| Talker::new(world.client(), name, &mut rng)));
        }
        Role::Client => {
            let mut endpoint = Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address");
            if layer == Layer::Tls {
                endpoint.tls = Some(EndpointTls { config: configs(&TLS13).1, name: name() });
            }
            let endpoint = Arc::new(endpoint);
            world.post(move |_, shard| (0..TALKERS).for_each(|_| shard.connect(&endpoint, ())));
            world.run_until_idle();
            while let Some(peer) = world.network.accept() {
                let mut server = WebSocketPeer::new(peer, Role::Server);
                if layer == Layer::Tls {
                    server = server.secure(&TLS13);
                }
                talkers.push(Talker::new(server, talkers.len(), &mut rng));
            }
        }
    }
    world.run_until(|_| talkers.iter_mut().filter_map(|talker| talker.act(&mut rng).then_some(())).count() == 0);
    world.run_until(|world| {
        talkers.iter_mut().for_each(Talker::listen);
        world.is_idle()
    });
    let mut resets = 0;
    for (name, talker) in talkers.iter().enumerate() {
        let (got, due) = (talker.client.got(), &talker.due);
        if talker.client.peer.is_reset() {
            resets += 1;
            assert!(due.starts_with(got), "talker {name}, reset, received other messages than expected (seed {seed})");
        } else {
            let same = got.iter().zip(due).take_while(|(got, due)| got == due).count();
            assert_eq!(
                (same, got.len()),
                (due.len(), due.len()),
                "talker {name} did not receive the expected messages (seed {seed})"
            );
            assert!(talker.client.peer.is_finished(), "the shard does not end TCP with talker {name} (seed {seed})");
        }
    }
    let injected = world.network.injected();
    assert!(resets <= injected.reset + injected.aborted, "connections are reset by the shard (seed {seed})");
    let unconnected = injected.unreachable + injected.no_descriptor;
    let handler = world.handler();
    assert_eq!(handler.open, handler.closed, "opened connections did not close, or closed twice (seed {seed})");
    let cut_off = resets + if role == Role::Client { unconnected } else { 0 };
    assert!(handler.open as u64 + cut_off >= TALKERS as u64, "not all were open (seed {seed})");
    if role == Role::Client {
        assert_eq!(handler.open + handler.failed, TALKERS, "each connect has one outcome (seed {seed})");
    }
    world.assert_clean();
    injected
}

/// Runs all seeds, and checks that every fault was injected, apart from those of other roles.
fn run_all(seeds: Range<u64>, role: Role, layer: Layer, others: &[&str]) {
    let mut struck: Vec<(&str, u64)> = Vec::new();
    for seed in seeds {
        let injected = run(seed, Faults::all(), role, layer).each();
        struck.resize(injected.len(), ("", 0));
        for (sum, (name, count)) in struck.iter_mut().zip(injected) {
            *sum = (name, sum.1 + count);
        }
    }
    let never: Vec<_> = struck.iter().filter(|(name, count)| *count == 0 && !others.contains(name)).collect();
    assert!(never.is_empty(), "faults that were never injected: {never:?}");
}

/// The seeds to run: `RINGWAY_SEEDS=FROM..TO` in the environment, or these.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(asked) = std::env::var("RINGWAY_SEEDS") else { return usual };
    let range = asked.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("RINGWAY_SEEDS is {asked:?}: give FROM..TO"))
}

#[test]
fn under_all_faults_each_client_receives_its_messages_in_order() {
    run_all(seeds(0..300), Role::Server, Layer::Plain, &["unreachable"]);
}

#[test]
fn under_all_faults_each_server_receives_its_messages_in_order() {
    run_all(seeds(0..150), Role::Client, Layer::Plain, &["last_accept", "aborted"]);
}

#[test]
fn under_all_faults_each_client_with_tls_receives_its_messages_in_order() {
    run_all(seeds(0..150), Role::Server, Layer::Tls, &["unreachable"]);
}

#[test]
fn under_all_faults_each_server_with_tls_receives_its_messages_in_order() {
    run_all(seeds(0..100), Role::Client, Layer::Tls, &["last_accept", "aborted"]);
}

#[test]
fn without_faults_each_client_receives_its_messages_and_none_is_reset() {
    for seed in 0..30 {
        for layer in [Layer::Plain, Layer::Tls] {
            run(seed, Faults::none(), Role::Server, layer);
            run(seed, Faults::none(), Role::Client, layer);
        }
    }
}

/// Forwards every message to all connections, including the sender's: as a copy or a shared frame.
struct Room(Vec<ConnectionId>);

impl Handler for Room {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.0.push(conn.id());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let (sender, prepared) = (conn.id(), Prepared::binary(message.payload()));
        for id in self.0.clone().into_iter().filter(|id| *id != sender) {
            let mut shard = conn.shard();
            let mut other = shard.connection(id).expect("all connections stay open");
            assert_taken(&other.send_prepared(&prepared));
        }
        conn.reply(message);
    }
}

#[test]
fn a_message_to_a_room_reaches_all_in_order() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Room(Vec::new()));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut clients: Vec<WebSocketPeer> = (0..5).map(|_| world.open_client()).collect();
        for client in &clients {
            client.peer.set_window(rng.random_range(100..10_000));
        }
        let said: Vec<(u8, Vec<u8>)> = (0..60)
            .map(|number| {
                let speaker = rng.random_range(0..5);
                let mut message = vec![speaker, number];
                message.resize(SIZES[rng.random_range(1..SIZES.len())], b'.');
                clients[usize::from(speaker)].send(OpCode::Binary, &message);
                (0..rng.random_range(0..3)).for_each(|_| world.turn());
                (speaker, message)
            })
            .collect();
        world.run_until(|world| {
            clients.iter_mut().for_each(|client| client.pull_up_to(rng.random_range(1..2000)));
            world.is_idle()
        });
        for client in &mut clients {
            let got = client.take();
            for speaker in 0..5 {
                let of_one = got.iter().filter(|got| matches!(got, Got::Binary(bytes) if bytes[0] == speaker));
                let due =
                    said.iter().filter(|(from, _)| *from == speaker).map(|(_, message)| Got::Binary(message.clone()));
                assert!(of_one.cloned().eq(due), "the messages of {speaker} differ from those received (seed {seed})");
            }
            assert_eq!(got.len(), said.len(), "seed {seed}");
        }
    });
}

/// Forwards every message to the other one of two connections, in its receive buffer.
struct Pair(Vec<ConnectionId>);

impl Handler for Pair {
    type State = ();

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.0.push(conn.id());
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        let sender = conn.id();
        let other = self.0.iter().find(|id| **id != sender).expect("two are open");
        conn.shard().connection(*other).expect("both stay open").reply(message);
    }
}

#[test]
fn a_message_of_one_connection_can_be_the_reply_on_another() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, Pair(Vec::new()));
        let mut pair = [world.open_client(), world.open_client()];
        let message = |from: usize, n: usize| vec![from as u8; SIZES[n % SIZES.len()] + n];
        for n in 0..40 {
            (0..2).for_each(|from| pair[from].send(OpCode::Binary, &message(from, n)));
            (0..n % 3).for_each(|_| world.turn());
        }
        world.run_until_idle();
        for (to, client) in pair.iter_mut().enumerate() {
            let due: Vec<Got> = (0..40).map(|n| Got::Binary(message(1 - to, n))).collect();
            assert!(client.take() == due, "not the messages of the other one (seed {seed})");
        }
    });
}
