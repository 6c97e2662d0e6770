//! A thousand subscribers that never read, beside some that do: the memory stays within its budget,
//! those that read receive everything, and each message is either received or counted as missed.

use crate::config;
use ringway::{
    Connection, Handler, Limits, Message, Prepared, Request, Shard, TopicPolicy, Upgrade, raise_descriptor_limit,
};
use ringway_tests::{Frame, Received, TestServer, WirePeer};
use std::net::Ipv4Addr;
use std::time::Duration;

/// The subscribers that do not read while messages are published.
const STALLED: usize = 1000;

/// Those that read.
const HEALTHY: usize = 20;

/// The bytes of a message. What the kernel and the outbox hold of a stalled subscriber is a part of
/// all messages.
const SIZE: usize = 4096;

/// The number of messages, and how many are published before those that read do so.
const PUBLISHED: u32 = 120;
const BATCH: u32 = 8;

const KEYS: u32 = 10;

/// The smallest one. A copy of the queued messages for each of the stalled subscribers would take
/// sixty times as much.
const BUDGET: usize = 1 << 20;

/// A handler whose connections subscribe to the topic of their path. The state of a connection is
/// the number of messages that it has missed; it answers each message with it.
struct News;

impl Handler for News {
    type State = u64;

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        for (topic, policy) in TOPICS {
            shard.set_topic(topic, policy).expect("the shard has few topics");
        }
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<u64> {
        Upgrade::accept(0)
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match message.as_text() {
            Some("missed") => {
                let missed = conn.state().to_string();
                assert!(conn.send(Message::text(&missed)).is_accepted(), "there is room for a reply");
            }
            Some(topic) => {
                conn.subscribe(topic).expect("the limits allow it");
                conn.reply(message);
            }
            None => conn.reply(message),
        }
    }

    fn lagged(&mut self, conn: &mut Connection<'_, Self>, _: &str, missed: u64) {
        *conn.state() += missed;
    }
}

const TOPICS: [(&str, TopicPolicy); 3] =
    [("close", TopicPolicy::Close), ("newest", TopicPolicy::DropNewest), ("latest", TopicPolicy::Latest)];

/// Message `number`.
fn payload(number: u32) -> Vec<u8> {
    [&number.to_be_bytes()[..], &[number as u8; SIZE - 4]].concat()
}

/// The number of a message.
fn number(frame: &Received) -> u32 {
    let number = u32::from_be_bytes(frame.payload[..4].try_into().expect("a message"));
    assert!(*frame == Received::binary(payload(number)), "message {number} is damaged");
    number
}

/// A server, its subscribers, and what was published to them.
struct Broadcast {
    server: TestServer<News>,
    stalled: Vec<WirePeer>,
    healthy: Vec<WirePeer>,
    /// The sum of the subscribers of each published message.
    copies: u64,
    max_held: usize,
}

impl Broadcast {
    /// Publishes all messages, while those that read do so.
    fn of(topic: &'static str) -> Self {
        raise_descriptor_limit().expect("the limit can be raised to the hard one");
        let limits = Limits::default().max_buffered(64 << 10).and_then(|limits| limits.max_message(64 << 10));
        let limits = limits.and_then(|limits| limits.max_memory(Some(BUDGET)));
        // None of the subscribers is closed, or pinged, by a timeout.
        let long = Duration::from_secs(600);
        let config = config().idle_timeout(None).and_then(|config| config.write_timeout(long));
        let config = config.and_then(|config| config.close_limit(long)?.close_timeout(long));
        let server = TestServer::start(config.expect("in range"), limits.expect("in range"), |_| News);
        let subscribe = |mut peer: WirePeer| {
            peer.upgrade();
            peer.expect_echo(topic);
            peer
        };
        let source = Ipv4Addr::new(127, 0, 0, 3);
        let connect = |_| subscribe(WirePeer::connect_tiny(server.address(), source));
        let stalled = (0..STALLED).map(connect).collect();
        let healthy = (0..HEALTHY).map(|_| subscribe(WirePeer::connect(server.address()))).collect();
        let mut broadcast = Self { server, stalled, healthy, copies: 0, max_held: 0 };
        for first in (0..PUBLISHED).step_by(BATCH as usize) {
            broadcast.publish(topic, first..first + BATCH);
        }
        broadcast
    }

    fn publish(&mut self, topic: &'static str, numbers: std::ops::Range<u32>) {
        let publish = move |number, shard: &mut Shard<'_, News>| {
            let prepared = Prepared::binary(&payload(number));
            let published = match topic {
                "latest" => shard.publish_keyed(topic, u64::from(number % KEYS), &prepared),
                _ => shard.publish(topic, &prepared),
            };
            published.expect("there is room").here as u64
        };
        let all = numbers.clone();
        self.copies += self.server.on_shard(move |_, shard| all.map(|number| publish(number, shard)).sum::<u64>());
        for peer in &mut self.healthy {
            for expected in numbers.clone() {
                assert_eq!(self::number(&peer.frame()), expected, "a subscriber that reads misses none");
            }
        }
        // A ping is answered, whatever waits for the others.
        self.healthy[0].send(&Frame::ping("p"));
        assert_eq!(self.healthy[0].frame(), Received::pong("p"));
        let held = self.server.on_shard(|_, shard| shard.memory_held());
        assert!(held <= BUDGET, "{held} bytes are held, of {BUDGET}");
        self.max_held = self.max_held.max(held);
    }

    /// Checks that nothing is left of the connections.
    fn end(self) {
        drop((self.stalled, self.healthy));
        self.server.wait_until_empty();
    }
}

#[test]
fn subscribers_that_never_read_are_closed_with_1013_at_their_first_gap() {
    let mut broadcast = Broadcast::of("close");
    let mut received = 0;
    for peer in &mut broadcast.stalled {
        peer.widen();
        let mut expected = 0;
        loop {
            let frame = peer.frame();
            if frame.first == 0x88 {
                assert_eq!(frame.close_code(), Some(1013));
                break;
            }
            assert_eq!(number(&frame), expected, "there is no gap before the close");
            expected += 1;
        }
        assert!(expected < PUBLISHED, "more was published than a connection holds");
        received += u64::from(expected);
    }
    let counters = broadcast.server.on_shard(|_, shard| shard.counters());
    assert_eq!((counters.topic_closes, counters.memory_closes), (STALLED as u64, 0), "{counters:?}");
    assert_eq!(counters.deliveries, received + HEALTHY as u64 * u64::from(PUBLISHED), "{counters:?}");
    assert_eq!(counters.deliveries + counters.dropped_close, broadcast.copies, "{counters:?}");
    println!("at most {} of {BUDGET} bytes were held", broadcast.max_held);
    broadcast.end();
}

#[test]
fn each_message_is_received_or_reported_as_missed_by_a_subscriber_that_does_not_read() {
    let mut broadcast = Broadcast::of("newest");
    let mut missed_by_all = 0;
    for peer in &mut broadcast.stalled {
        peer.widen();
        peer.send(&Frame::text("missed"));
        let (mut received, mut last) = (0, None);
        let missed: u64 = loop {
            let frame = peer.frame();
            if frame.first == 0x81 {
                break String::from_utf8(frame.payload).expect("text").parse().expect("a number");
            }
            let number = number(&frame);
            assert!(last.is_none_or(|last| last < number), "message {number} comes after {last:?}");
            (received, last) = (received + 1, Some(number));
        };
        assert_eq!(missed + received, u64::from(PUBLISHED));
        assert!(missed > 0, "more was published than a connection holds");
        missed_by_all += missed;
    }
    let counters = broadcast.server.on_shard(|_, shard| shard.counters());
    assert_eq!((counters.dropped_newest, counters.topic_closes, counters.memory_closes), (missed_by_all, 0, 0));
    assert_eq!(counters.deliveries + counters.dropped_newest, broadcast.copies, "{counters:?}");
    println!("at most {} of {BUDGET} bytes were held", broadcast.max_held);
    broadcast.end();
}

#[test]
fn a_subscriber_that_does_not_read_gets_the_latest_of_each_key_when_it_does() {
    let mut broadcast = Broadcast::of("latest");
    let mut received = 0;
    for peer in &mut broadcast.stalled {
        peer.widen();
        let (mut last, mut at_the_end) = (None, 0);
        // The latest of each key.
        while at_the_end < KEYS {
            let number = number(&peer.frame());
            assert!(last.is_none_or(|last| last < number), "message {number} comes after {last:?}");
            last = Some(number);
            received += 1;
            at_the_end += u32::from(number >= PUBLISHED - KEYS);
        }
        peer.send(&Frame::binary("and"));
        let next = peer.frame();
        assert!(next == Received::binary("and"), "message {} follows the latest", number(&next));
    }
    assert!(received < STALLED as u64 * u64::from(PUBLISHED), "more was published than a connection holds");
    let counters = broadcast.server.on_shard(|_, shard| shard.counters());
    assert_eq!((counters.topic_closes, counters.memory_closes), (0, 0), "{counters:?}");
    assert_eq!(counters.deliveries, received + HEALTHY as u64 * u64::from(PUBLISHED), "{counters:?}");
    // The latest of their keys are counted as dropped, and as delivered later.
    assert!(counters.deliveries + counters.dropped_latest >= broadcast.copies, "{counters:?}");
    println!("at most {} of {BUDGET} bytes were held", broadcast.max_held);
    broadcast.end();
}
