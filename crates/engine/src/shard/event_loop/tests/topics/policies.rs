//! What happens to subscribers that read slowly, by the policy of their topic.

use crate::shard::event_loop::tests::world::{Got, WebSocketPeer, World, each_seed};
use crate::{
    CloseReason, Config, Connection, Ending, Handler, Limits, Message, Prepared, Request, Shard, TopicLimit,
    TopicPolicy, Upgrade,
};
use ringway_codec::OpCode;
use ringway_io::sim::Faults;
use std::collections::HashMap;

/// The messages of a flood.
const COUNT: usize = 200;

/// Subscribes each connection to `feed`.
struct Feed {
    policy: TopicPolicy,
    /// The messages that each connection has missed, by its number.
    missed: HashMap<usize, u64>,
    open: usize,
    endings: Vec<Ending>,
}

impl Feed {
    fn new(policy: TopicPolicy) -> Self {
        Self { policy, missed: HashMap::new(), open: 0, endings: Vec::new() }
    }
}

impl Handler for Feed {
    type State = usize;

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        shard.set_topic("feed", self.policy).expect("the first topic");
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<usize> {
        self.open += 1;
        Upgrade::accept(self.open - 1)
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        assert_eq!(conn.subscribe("feed"), Ok(true));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }

    fn lagged(&mut self, conn: &mut Connection<'_, Self>, topic: &str, missed: u64) {
        assert_eq!(topic, "feed");
        *self.missed.entry(*conn.state()).or_default() += missed;
    }

    fn closed(&mut self, _: &mut Shard<'_, Self>, _: usize, reason: &CloseReason) {
        self.endings.push(match reason.ending {
            Ending::SlowReader => Ending::SlowReader,
            _ => Ending::Vanished,
        });
    }
}

fn limits() -> Limits {
    Limits { max_buffered: 20_000, max_memory: Some(8 << 20), ..Limits::default() }
}

fn world(seed: u64, faults: Faults, policy: TopicPolicy) -> World<Feed> {
    World::with(seed, faults, Config::default(), limits(), Feed::new(policy))
}

/// Publishes `count` messages from `first` on, with a turn after each few; message `n` has key
/// `n % 10 + 1`.
fn publish(world: &mut World<Feed>, messages: std::ops::Range<usize>) {
    for number in messages {
        let text = format!("{number:6}{}", ".".repeat(number * 37 % 1500));
        world.shard.dispatch().with_shard(move |_, shard| {
            let published = shard.publish_keyed("feed", number as u64 % 10 + 1, &Prepared::text(&text));
            published.expect("there is room");
        });
        if number % 3 == 0 {
            world.turn();
        }
    }
}

/// The numbers of the messages that a client has received.
fn numbers(client: &mut WebSocketPeer) -> Vec<usize> {
    let number = |got: &Got| match got {
        Got::Text(text) => Some(text[..6].trim().parse().expect("a number")),
        _ => None,
    };
    client.take().iter().filter_map(number).collect()
}

/// Clients of which the first does not read.
fn clients(world: &mut World<Feed>) -> (WebSocketPeer, WebSocketPeer) {
    let (stalled, reading) = (world.open_client(), world.open_client());
    stalled.peer.set_window(1000);
    (stalled, reading)
}

fn finish(world: &mut World<Feed>, clients: &mut [&mut WebSocketPeer]) {
    world.run_until(|world| {
        clients.iter_mut().for_each(|client| client.pull());
        world.is_idle()
    });
}

#[test]
fn a_slow_subscriber_is_closed_with_1013_and_has_no_gap() {
    each_seed(|seed, faults| {
        let mut world = world(seed, faults, TopicPolicy::Close);
        let (mut stalled, mut reading) = clients(&mut world);
        for step in 0..COUNT / 10 {
            publish(&mut world, step * 10..step * 10 + 10);
            finish(&mut world, &mut [&mut reading]);
        }
        finish(&mut world, &mut [&mut stalled, &mut reading]);
        assert_eq!(numbers(&mut reading), (0..COUNT).collect::<Vec<_>>(), "seed {seed}");
        let got = stalled.got().to_vec();
        assert_eq!(got.last(), Some(&Got::Close(Some(1013))), "seed {seed}");
        let received = numbers(&mut stalled);
        assert!(received.len() < COUNT && received == (0..received.len()).collect::<Vec<_>>(), "seed {seed}");
        let counters = world.shard.core.counters;
        assert_eq!((counters.topic_closes, counters.published), (1, COUNT as u64), "seed {seed}");
        assert!(counters.dropped_close > 0);
        stalled.peer.finish();
        finish(&mut world, &mut [&mut stalled, &mut reading]);
        assert!(matches!(world.handler().endings[..], [Ending::SlowReader]), "seed {seed}");
    });
}

/// What is published in one turn is more than one segment.
#[test]
fn a_slow_subscriber_is_counted_once_whatever_follows_its_gap() {
    each_seed(|seed, faults| {
        let mut world = world(seed, faults, TopicPolicy::Close);
        let mut stalled: Vec<WebSocketPeer> = (0..3).map(|_| world.open_client()).collect();
        stalled.iter().for_each(|client| client.peer.set_window(1000));
        let mut copies = 0;
        for _ in 0..5 {
            world.shard.dispatch().with_shard(|_, shard| {
                for number in 0..30 {
                    let text = format!("{number:6}{}", ".".repeat(1000));
                    copies += shard.publish("feed", &Prepared::text(&text)).expect("there is room").here;
                }
            });
            world.run_until_idle();
        }
        finish(&mut world, &mut stalled.iter_mut().collect::<Vec<_>>());
        let counters = world.shard.core.counters;
        assert_eq!(counters.topic_closes, 3, "seed {seed}");
        assert_eq!(counters.deliveries + counters.dropped_close, copies as u64, "seed {seed}");
        for client in &mut stalled {
            assert_eq!(client.got().last(), Some(&Got::Close(Some(1013))), "seed {seed}");
        }
    });
}

#[test]
fn the_newest_messages_are_dropped_and_counted() {
    each_seed(|seed, faults| {
        let mut world = world(seed, faults, TopicPolicy::DropNewest);
        let (mut stalled, mut reading) = clients(&mut world);
        let (mut received, mut in_all) = (Vec::new(), 0);
        for round in 0..3 {
            let begin = round * COUNT;
            for step in 0..COUNT / 10 {
                publish(&mut world, begin + step * 10..begin + step * 10 + 10);
                finish(&mut world, &mut [&mut reading]);
                in_all += 10;
            }
            finish(&mut world, &mut [&mut stalled, &mut reading]);
            received.extend(numbers(&mut stalled));
        }
        assert_eq!(numbers(&mut reading), (0..in_all).collect::<Vec<_>>(), "seed {seed}");
        assert!(received.is_sorted_by(|one, next| one < next), "{received:?} (seed {seed})");
        let missed = world.handler().missed.get(&0).copied().unwrap_or(0);
        assert!(missed > 0 && !world.shard.handler.missed.contains_key(&1), "seed {seed}");
        assert_eq!(missed + received.len() as u64, in_all as u64, "seed {seed}");
        assert_eq!(world.shard.core.counters.dropped_newest, missed);
        assert_eq!(world.shard.core.counters.deliveries, (received.len() + in_all) as u64);
    });
}

#[test]
fn a_slow_subscriber_of_latest_ends_with_the_last_message_of_each_key_in_order() {
    each_seed(|seed, faults| {
        let mut world = world(seed, faults, TopicPolicy::Latest);
        let (mut stalled, mut reading) = clients(&mut world);
        for step in 0..COUNT / 10 {
            publish(&mut world, step * 10..step * 10 + 10);
            finish(&mut world, &mut [&mut reading]);
        }
        assert_eq!(numbers(&mut reading), (0..COUNT).collect::<Vec<_>>(), "seed {seed}");
        finish(&mut world, &mut [&mut stalled, &mut reading]);
        let received = numbers(&mut stalled);
        assert!(received.len() < COUNT, "seed {seed}");
        assert!(received.is_sorted_by(|one, next| one < next), "{received:?} (seed {seed})");
        assert!(received.ends_with(&(COUNT - 10..COUNT).collect::<Vec<_>>()), "{received:?} (seed {seed})");
        // It follows the topic again.
        publish(&mut world, COUNT..COUNT + 5);
        finish(&mut world, &mut [&mut stalled, &mut reading]);
        assert_eq!(numbers(&mut stalled), (COUNT..COUNT + 5).collect::<Vec<_>>(), "seed {seed}");
        let mut late = world.open_client();
        finish(&mut world, &mut [&mut late]);
        assert_eq!(numbers(&mut late), (COUNT - 5..COUNT + 5).collect::<Vec<_>>(), "seed {seed}");
        assert_eq!(world.shard.core.counters.topic_closes, 0);
        assert!(world.shard.core.counters.dropped_latest > 0);
    });
}

#[test]
fn a_thousand_stalled_readers_stay_within_the_memory_budget() {
    const READERS: usize = 1000;
    let mut world = world(0, Faults::none(), TopicPolicy::DropNewest);
    let clients: Vec<WebSocketPeer> = (0..READERS).map(|_| world.client()).collect();
    world.run_until_idle();
    let mut clients = clients;
    for client in &mut clients {
        client.pull();
        client.peer.set_window(100);
    }
    let (mut most, mut received) = (0, 0);
    for step in 0..COUNT / 10 {
        publish(&mut world, step * 10..step * 10 + 10);
        for _ in 0..10 {
            world.turn();
            most = most.max(world.shard.core.memory.held());
        }
    }
    assert!(most < 8 << 20, "{most} bytes");
    assert_eq!(world.shard.core.counters.memory_closes, 0);
    finish(&mut world, &mut clients.iter_mut().collect::<Vec<_>>());
    for client in &mut clients {
        received += numbers(client).len() as u64;
    }
    let missed: u64 = world.handler().missed.values().sum();
    assert!(missed > 0 && received > 0);
    assert_eq!(missed + received, (READERS * COUNT) as u64);
}

#[test]
fn limits_refuse_by_name_and_change_nothing() {
    let limits =
        Limits { max_topics: 3, max_subscriptions: 2, max_topic_keys: 10, max_published: 64 << 10, ..limits() };
    let mut world = World::with(0, Faults::none(), Config::default(), limits, Feed::new(TopicPolicy::Latest));
    let mut client = world.open_client();
    world.shard.dispatch().with_shard(|_, shard| {
        let id = {
            let mut ids = Vec::new();
            shard.for_each_connection(|conn| ids.push(conn.id()));
            ids[0]
        };
        let mut conn = shard.connection(id).expect("it is open");
        assert_eq!(conn.subscribe("feed"), Ok(false));
        assert_eq!(conn.subscribe(""), Err(TopicLimit::Name(0)));
        assert_eq!(conn.subscribe(&"n".repeat(256)), Err(TopicLimit::Name(256)));
        assert_eq!(conn.subscribe(&"n".repeat(255)), Ok(true));
        assert_eq!(conn.subscribe("third"), Err(TopicLimit::Subscriptions(2)));
        assert_eq!(shard.topic_count(), 2, "a refused subscription leaves no topic behind");
        shard.set_topic("kept", TopicPolicy::DropNewest).expect("the third topic");
        assert_eq!(shard.set_topic("fourth", TopicPolicy::Latest), Err(TopicLimit::Topics(3)));
        let text = Prepared::text("value");
        for key in 0..10 {
            assert_eq!(shard.publish_keyed("feed", key, &text).expect("there is room").here, 1);
        }
        assert_eq!(shard.publish_keyed("feed", 10, &text), Err(TopicLimit::Keys(10)));
        let large = Prepared::text(&"v".repeat(30 << 10));
        assert!(shard.publish_keyed("feed", 1, &large).is_ok());
        let mut accepted = 0;
        while shard.publish("unknown", &large).is_ok() && shard.publish_keyed("feed", 2, &text).is_ok() {
            accepted += 1;
            assert!(accepted < 1000, "the log has no limit");
        }
        assert!(matches!(shard.publish("feed", &text), Err(TopicLimit::Backlog(_))));
        shard.connection(id).expect("it is open").unsubscribe("feed");
        assert_eq!(shard.subscription_count(), 1);
        shard.connection(id).expect("it is open").terminate();
        assert_eq!((shard.topic_count(), shard.subscription_count()), (2, 0), "those with a policy");
        shard.set_topic("kept", TopicPolicy::Close).expect("it exists");
        shard.set_topic("feed", TopicPolicy::Close).expect("it exists");
    });
    finish(&mut world, &mut [&mut client]);
    let topics = world.shard.core.topics.as_ref().expect("they were used");
    assert_eq!((topics.registry.len(), topics.held()), (0, 0));
    world.assert_clean();
}

#[test]
fn what_was_published_before_a_close_frame_of_the_peer_precedes_the_answer() {
    let mut world = world(0, Faults::none(), TopicPolicy::Close);
    let mut client = world.open_client();
    client.send(OpCode::Text, b"     1");
    client.close(1000);
    publish(&mut world, 1..2);
    finish(&mut world, &mut [&mut client]);
    let got = client.got();
    assert!(matches!(got, [Got::Text(_), Got::Text(_), Got::Close(Some(1000))]), "{got:?}");
}
