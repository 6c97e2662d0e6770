//! Messages between shards, and from threads without a shard.

use crate::shard::event_loop::tests::world::{Got, WebSocketPeer, World};
use crate::topics::exchange::Exchange;
use crate::topics::publisher::Publisher;
use crate::{
    Config, Connection, Handler, Limits, Message, Prepared, PublishError, Request, Shard, TopicPolicy, Upgrade,
};
use ringway_io::sim::Faults;
use std::sync::Arc;

/// Subscribes each connection to `news`.
struct News {
    policy: TopicPolicy,
    missed: u64,
}

impl Handler for News {
    type State = ();

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        shard.set_topic("news", self.policy).expect("the first topic");
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        assert_eq!(conn.subscribe("news"), Ok(true));
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }

    fn lagged(&mut self, _: &mut Connection<'_, Self>, _: &str, missed: u64) {
        self.missed += missed;
    }
}

fn worlds(shards: usize, policy: TopicPolicy) -> (Vec<World<News>>, Arc<Exchange>) {
    let limits = Limits { max_published: 64 << 10, ..Limits::default() };
    let desks = Exchange::desks(shards, limits.max_published);
    let exchange = Arc::clone(desks[0].exchange());
    let world = |desk| {
        let handler = News { policy, missed: 0 };
        World::beside_others(0, Faults::none(), Config::default(), limits, handler, desk)
    };
    (desks.into_iter().map(world).collect(), exchange)
}

fn run_until_idle(worlds: &mut [World<News>]) {
    loop {
        worlds.iter_mut().for_each(World::run_until_idle);
        if worlds.iter().all(World::is_idle) {
            return;
        }
    }
}

fn texts(client: &mut WebSocketPeer) -> Vec<String> {
    let text = |got| if let Got::Text(text) = got { text } else { panic!("{got:?}") };
    client.take().into_iter().map(text).collect()
}

/// Publishes message `number` on a shard. Returns whether there was room.
fn publish(world: &mut World<News>, number: usize, size: usize) -> bool {
    let mut room = false;
    world.shard.dispatch().with_shard(|_, shard| {
        let text = format!("{number:5}{}", ".".repeat(size));
        room = shard.publish("news", &Prepared::text(&text)).is_ok();
    });
    room
}

#[test]
fn shards_receive_what_they_have_subscribers_for() {
    let (mut worlds, _) = worlds(3, TopicPolicy::Close);
    let mut client = worlds[1].open_client();
    worlds[0].shard.dispatch().with_shard(|_, shard| {
        let published = shard.publish("news", &Prepared::text("to shard 1")).expect("there is room");
        assert_eq!((published.here, published.shards), (0, 1));
    });
    run_until_idle(&mut worlds);
    assert_eq!(texts(&mut client), ["to shard 1"]);
    client.close(1000);
    run_until_idle(&mut worlds);
    worlds[0].shard.dispatch().with_shard(|_, shard| {
        let published = shard.publish("news", &Prepared::text("to nobody")).expect("there is room");
        assert_eq!((published.here, published.shards), (0, 0));
    });
    let received: Vec<u64> = worlds.iter().map(|world| world.shard.core.counters.mailbox_messages).collect();
    assert_eq!(received, [0, 1, 0]);
}

#[test]
fn a_publisher_reaches_all_shards_in_order_through_any_of_them() {
    for home in 0..3 {
        let (mut worlds, exchange) = worlds(3, TopicPolicy::Close);
        let publisher = Publisher::new(exchange, home);
        assert_eq!(publisher.publish("news", &Prepared::text("early")), Ok(0));
        let mut clients = [worlds[0].open_client(), worlds[2].open_client()];
        for number in 0..300 {
            assert_eq!(publisher.publish("news", &Prepared::text(&number.to_string())), Ok(2));
        }
        run_until_idle(&mut worlds);
        let due: Vec<String> = (0..300).map(|number| number.to_string()).collect();
        for client in &mut clients {
            assert_eq!(texts(client), due, "through {home}");
        }
    }
}

#[test]
fn a_full_mailbox_refuses_a_publisher_and_an_ended_shard_too() {
    let (mut worlds, exchange) = worlds(1, TopicPolicy::Close);
    let mut client = worlds[0].open_client();
    let publisher = Publisher::new(exchange, 0);
    let text = Prepared::text(&"n".repeat(5000));
    let mut accepted = 0;
    while publisher.publish("news", &text) == Ok(1) {
        accepted += 1;
        assert!(accepted < 100, "the mailbox has no limit");
    }
    assert_eq!(publisher.publish("news", &text), Err(PublishError::Full));
    run_until_idle(&mut worlds);
    assert_eq!(texts(&mut client).len(), accepted);
    assert_eq!(publisher.publish("news", &text), Ok(1));
    worlds.clear();
    assert_eq!(publisher.publish("news", &text), Err(PublishError::Ended));
}

/// Publishes on one shard while another, with one subscriber, does not run.
fn flood(policy: TopicPolicy) -> (Vec<World<News>>, WebSocketPeer, usize) {
    let (mut worlds, _) = worlds(2, policy);
    let client = worlds[1].open_client();
    let mut published = 0;
    for number in 0..300 {
        published += usize::from(publish(&mut worlds[0], number, 2000));
        worlds[0].turn();
        assert!(worlds[0].shard.core.memory.held() < 256 << 10, "what waits is limited");
    }
    let counters = worlds[0].shard.core.counters;
    assert!(counters.mailbox_full > 0 && counters.dropped_mailbox > 0, "{counters:?}");
    (worlds, client, published)
}

/// Runs both shards until the waiting messages have arrived.
fn run_until_delivered(worlds: &mut [World<News>]) {
    for _ in 0..200 {
        worlds.iter_mut().for_each(World::turn);
    }
    run_until_idle(worlds);
    assert!(!worlds[0].shard.core.topics.as_ref().expect("used").waits_for_others());
}

#[test]
fn messages_that_a_stopped_shard_misses_are_counted_for_its_subscribers() {
    let (mut worlds, mut client, published) = flood(TopicPolicy::DropNewest);
    run_until_delivered(&mut worlds);
    let received = texts(&mut client).len() as u64;
    let missed = worlds[1].handler().missed;
    assert!(missed > 0 && received > 0);
    assert_eq!(missed + received, published as u64);
    assert_eq!(worlds[0].shard.core.counters.dropped_mailbox, missed);
}

#[test]
fn a_subscriber_of_a_stopped_shard_is_closed_rather_than_left_with_a_gap() {
    let (mut worlds, mut client, _) = flood(TopicPolicy::Close);
    run_until_delivered(&mut worlds);
    let mut got = client.take();
    assert_eq!(got.pop(), Some(Got::Close(Some(1013))));
    for (number, got) in got.iter().enumerate() {
        assert!(matches!(got, Got::Text(text) if text.starts_with(&format!("{number:5}"))), "{number}: {got:?}");
    }
}

/// More is published than the stuck shard's mailbox holds. The last messages are the only ones of
/// their keys.
#[test]
fn the_latest_messages_are_not_lost_while_another_shard_is_stuck() {
    const KEYS: u64 = 5;
    const MESSAGES: u64 = 1000;
    let key = |number| if number < MESSAGES - KEYS { number % KEYS } else { number };
    let (mut worlds, exchange) = worlds(2, TopicPolicy::Latest);
    let publisher = Publisher::new(exchange, 0);
    let mut here = worlds[0].open_client();
    for number in 0..MESSAGES {
        let message = Prepared::text(&format!("{number:6}{}", ".".repeat(1000)));
        while publisher.publish_keyed("news", key(number), &message) == Err(PublishError::Full) {
            worlds[0].turn();
        }
        if number % 10 == 0 {
            worlds[0].turn();
            here.pull();
        }
    }
    let number = |got: &Got| match got {
        Got::Text(text) => text[..6].trim().parse::<u64>().ok(),
        _ => None,
    };
    // The other shard does not run.
    for _ in 0..1000 {
        worlds[0].turn();
        here.pull();
    }
    let received: Vec<u64> = here.take().iter().filter_map(number).collect();
    assert!(received.is_sorted(), "{received:?}");
    for last in MESSAGES - KEYS..MESSAGES {
        assert!(received.contains(&last), "{last} is not among {received:?}");
    }
    let mut there = worlds[1].open_client();
    run_until_idle(&mut worlds);
    there.pull();
    let mut received: Vec<u64> = there.take().iter().filter_map(number).collect();
    received.sort_unstable();
    let last: Vec<u64> = (MESSAGES - KEYS..MESSAGES).collect();
    assert!(received.ends_with(&last), "{received:?}");
}
