//! Two shards whose connections subscribe, unsubscribe, send, publish and close at random, from
//! many seeds. A model in the handlers records what each connection must receive.

use crate::shard::event_loop::tests::world::{Got, REQUEST, WebSocketPeer, World};
use crate::topics::exchange::Exchange;
use crate::{
    CloseCode, Config, Connection, ConnectionId, Deflate, Handler, Limits, Message, Prepared, Request, Shard, Upgrade,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringway_codec::{DeflateParams, Role};
use ringway_io::sim::Faults;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;

const SHARDS: usize = 2;
const CLIENTS: usize = 4;
/// Every connection has subscribed to the first one all the time.
const TOPICS: [&str; 4] = ["all", "red", "green", "blue"];
const SIZES: [usize; 6] = [0, 0, 30, 200, 1200, 5000];

/// What the connections must receive.
#[derive(Default)]
struct Model {
    clients: Vec<Expected>,
    /// For each shard and number, the topic of what it has published; `None` for what it has sent.
    published: [Vec<Option<usize>>; SHARDS],
}

struct Expected {
    shard: usize,
    topics: BTreeSet<usize>,
    /// All topics that it has had.
    ever: BTreeSet<usize>,
    /// The numbers of its own shard's messages, in order.
    due: Vec<usize>,
    /// The number of messages of the other shard before its first subscription.
    foreign_before: usize,
    /// The shard has begun to close it.
    is_closed: bool,
}

impl Model {
    /// A message of a shard, with its number in the content.
    fn message(&mut self, shard: usize, topic: Option<usize>) -> (usize, String) {
        let number = self.published[shard].len();
        self.published[shard].push(topic);
        let mut text = format!("{shard}/{number}/");
        let size = SIZES[number * 7 % SIZES.len()];
        while text.len() < size {
            text.push(char::from(b'a' + (text.len() * number % 26) as u8));
        }
        (number, text)
    }

    fn publish(&mut self, shard: usize, topic: usize, number: usize, except: Option<usize>) -> usize {
        let mut receivers = 0;
        for (name, client) in self.clients.iter_mut().enumerate() {
            if client.shard == shard && client.topics.contains(&topic) && except != Some(name) {
                client.due.push(number);
                receivers += 1;
            }
        }
        receivers
    }
}

/// Performs random operations for each message.
struct Member {
    shard: usize,
    rng: StdRng,
    model: Rc<RefCell<Model>>,
    open: Vec<ConnectionId>,
    changes: Vec<(String, bool)>,
}

impl Handler for Member {
    /// The number of the client.
    type State = usize;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<usize> {
        let name = request.target().trim_start_matches("/chat").parse().expect("the name of a client");
        Upgrade::accept(name)
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let name = *conn.state();
        self.open.push(conn.id());
        assert_eq!(conn.subscribe(TOPICS[0]), Ok(true));
        let mut model = self.model.borrow_mut();
        let foreign_before = model.published[1 - self.shard].len();
        let client = &mut model.clients[name];
        assert_eq!(client.shard, self.shard);
        client.topics.insert(0);
        client.ever.insert(0);
        client.foreign_before = foreign_before;
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        for _ in 0..message.payload().len() {
            if self.rng.random_bool(0.7) {
                self.act(conn);
                continue;
            }
            let other = self.open[self.rng.random_range(0..self.open.len())];
            if let Some(mut other) = conn.shard().connection(other) {
                self.act(&mut other);
            }
        }
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, name: usize, _: &crate::CloseReason) {
        self.model.borrow_mut().clients[name].topics.clear();
    }

    fn topic_changed(&mut self, _: &mut Shard<'_, Self>, topic: &str, subscribers: usize) {
        self.changes.push((topic.to_owned(), subscribers > 0));
    }
}

impl Member {
    fn act(&mut self, conn: &mut Connection<'_, Self>) {
        let name = *conn.state();
        let topic = self.rng.random_range(0..TOPICS.len());
        let model = Rc::clone(&self.model);
        let mut model = model.borrow_mut();
        if !conn.is_open() {
            assert!(!conn.is_subscribed(TOPICS[topic]), "a closing connection has no subscriptions");
            return;
        }
        match self.rng.random_range(0..20) {
            0..3 => {
                let (number, text) = model.message(self.shard, None);
                model.clients[name].due.push(number);
                assert!(conn.send(Message::text(&text)).is_accepted());
            }
            3 => {
                let (number, text) = model.message(self.shard, None);
                model.clients[name].due.push(number);
                assert!(conn.send_prepared(&Prepared::text(&text)).is_accepted());
            }
            4..7 if topic > 0 => {
                let is_new = model.clients[name].topics.insert(topic);
                model.clients[name].ever.insert(topic);
                assert_eq!(conn.subscribe(TOPICS[topic]), Ok(is_new));
            }
            7..9 if topic > 0 => {
                let was = model.clients[name].topics.remove(&topic);
                assert_eq!(conn.unsubscribe(TOPICS[topic]), was);
            }
            9..13 => {
                let (number, text) = model.message(self.shard, Some(topic));
                let receivers = model.publish(self.shard, topic, number, Some(name));
                let published = conn.publish(TOPICS[topic], &Prepared::text(&text)).expect("there is room");
                assert!(published.here <= receivers, "{published:?} of {receivers}");
            }
            13..18 => {
                let (number, text) = model.message(self.shard, Some(topic));
                let receivers = model.publish(self.shard, topic, number, None);
                let published = conn.shard().publish(TOPICS[topic], &Prepared::text(&text)).expect("there is room");
                assert!(published.here <= receivers, "{published:?} of {receivers}");
            }
            18 => conn.ping(b"still there?").expect("it is short"),
            19 if self.rng.random_bool(0.1) => {
                conn.close(CloseCode::NORMAL, "").expect("1000 may be sent");
                model.clients[name].topics.clear();
                model.clients[name].is_closed = true;
            }
            _ => {}
        }
    }
}

/// The shard and number of each message that a client has received.
fn numbers(got: &[Got]) -> Vec<(usize, usize)> {
    let text = got.iter().filter_map(|got| if let Got::Text(text) = got { Some(text) } else { None });
    text.map(|text| {
        let mut parts = text.split('/');
        let mut number = || parts.next().and_then(|part| part.parse().ok()).expect("a number");
        (number(), number())
    })
    .collect()
}

/// Checks what a client has received.
fn check(client: &WebSocketPeer, expected: &Expected, model: &Model, has_left: bool, seed: u64) {
    let got = numbers(client.got());
    let of = |shard: usize| got.iter().filter(move |(from, _)| *from == shard).map(|(_, number)| *number);
    let own: Vec<usize> = of(expected.shard).collect();
    let foreign: Vec<usize> = of(1 - expected.shard).collect();
    let is_cut = has_left || client.peer.is_reset();
    if is_cut {
        assert!(expected.due.starts_with(&own), "{own:?} is not the start of {:?} (seed {seed})", expected.due);
    } else {
        assert_eq!(own, expected.due, "own messages (seed {seed})");
    }
    assert!(foreign.is_sorted_by(|one, next| one < next), "{foreign:?}: order of the other shard (seed {seed})");
    let published = &model.published[1 - expected.shard];
    for number in &foreign {
        let topic = published[*number].expect("sent messages stay on their shard");
        assert!(expected.ever.contains(&topic), "{number} is of another topic (seed {seed})");
    }
    if !is_cut && !expected.is_closed {
        let all = (expected.foreign_before..published.len()).filter(|number| published[*number] == Some(0));
        let missed: Vec<usize> = all.filter(|number| !foreign.contains(number)).collect();
        assert!(missed.is_empty(), "{missed:?} of the other shard are missing (seed {seed})");
    }
}

/// Returns the number of messages that were received.
fn run(seed: u64, faults: Faults) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let model = Rc::new(RefCell::new(Model::default()));
    let deflate = rng.random_bool(0.25).then(|| Deflate { threshold: 100, ..Deflate::takeover() });
    let is_deflating = deflate.is_some();
    // Few sends in each turn, so that a sweep takes several.
    let config = Config { ring_entries: rng.random_range(1..=3), deflate, ..Config::default() };
    let limits = Limits { max_buffered: 1 << 30, ..Limits::default() };
    let mut worlds: Vec<World<Member>> = Exchange::desks(SHARDS, limits.max_published)
        .into_iter()
        .enumerate()
        .map(|(shard, desk)| {
            let rng = StdRng::seed_from_u64(rng.random());
            let handler = Member { shard, rng, model: Rc::clone(&model), open: Vec::new(), changes: Vec::new() };
            World::beside_others(seed ^ shard as u64, faults, config.clone(), limits, handler, desk)
        })
        .collect();
    let mut clients: Vec<WebSocketPeer> = (0..CLIENTS)
        .map(|name| {
            let shard = name % SHARDS;
            model.borrow_mut().clients.push(Expected {
                shard,
                topics: BTreeSet::new(),
                ever: BTreeSet::new(),
                due: Vec::new(),
                foreign_before: 0,
                is_closed: false,
            });
            let mut client = WebSocketPeer::new(worlds[shard].network.connect(), Role::Client);
            let mut request = REQUEST.replace("/chat", &format!("/chat{name}"));
            if is_deflating && rng.random_bool(0.5) {
                request = request.replace("\r\n\r\n", "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n");
                client.inflate(&DeflateParams::default());
            }
            client.write(request.as_bytes());
            client.peer.set_window(rng.random_range(300..20_000));
            client
        })
        .collect();
    let mut has_left = [false; CLIENTS];
    for _ in 0..rng.random_range(5..40) {
        let name = rng.random_range(0..CLIENTS);
        let client = &mut clients[name];
        match rng.random_range(0..10) {
            0..4 if !has_left[name] && !client.peer.is_reset() => {
                client.text(&"x".repeat(rng.random_range(1..4)));
            }
            4 if rng.random_bool(0.05) && !has_left[name] && !client.peer.is_reset() => {
                client.close(1000);
                has_left[name] = true;
            }
            5..7 => client.pull_up_to(rng.random_range(1..4000)),
            _ => worlds[rng.random_range(0..SHARDS)].turn(),
        }
    }
    for _ in 0..100_000 {
        worlds.iter_mut().for_each(World::turn);
        clients.iter_mut().for_each(WebSocketPeer::pull);
        if worlds.iter().all(World::is_idle) {
            break;
        }
    }
    assert!(worlds.iter().all(World::is_idle), "the shards are never idle (seed {seed})");
    let model = model.borrow();
    for (name, client) in clients.iter().enumerate() {
        check(client, &model.clients[name], &model, has_left[name], seed);
    }
    for world in &mut worlds {
        let topics = world.shard.core.topics.as_ref().expect("they are used");
        assert!(topics.log.is_empty() && !topics.has_work() && !topics.waits_for_others(), "seed {seed}");
        for topic in TOPICS {
            let changes = world.shard.handler.changes.iter().filter(|(name, _)| name == topic);
            let begins: Vec<bool> = changes.map(|(_, has)| *has).collect();
            let alternates = (0..begins.len()).map(|n| n % 2 == 0);
            assert!(begins.iter().copied().eq(alternates), "{topic}: {begins:?} (seed {seed})");
        }
    }
    clients.iter().map(|client| client.got().len()).sum()
}

/// The seeds to run: `RINGWAY_TOPIC_SEEDS=FROM..TO` in the environment, or these.
fn seeds(usual: Range<u64>) -> Range<u64> {
    let Ok(asked) = std::env::var("RINGWAY_TOPIC_SEEDS") else { return usual };
    let range = asked.split_once("..").and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or_else(|| panic!("RINGWAY_TOPIC_SEEDS is {asked:?}: give FROM..TO"))
}

#[test]
fn each_subscriber_receives_what_is_published_once_and_in_order() {
    let mut received = 0;
    for seed in seeds(0..1500) {
        let faults = if seed % 3 == 0 { Faults::none() } else { Faults::all() };
        received += run(seed, faults);
    }
    assert!(received > 10_000, "{received} messages prove little");
}
