//! Many subscribers on one shard.

use crate::shard::event_loop::tests::world::{Got, REQUEST, WebSocketPeer, World};
use crate::{Config, Connection, Handler, Limits, Message, Prepared, Request, Upgrade};
use ringway_codec::{OpCode, Role};
use ringway_io::Driver;
use ringway_io::sim::Faults;

const SUBSCRIBERS: usize = 20_000;

/// Subscribes each connection that asks for `/chat`.
struct Crowd;

impl Handler for Crowd {
    type State = bool;

    fn upgrade(&mut self, request: &Request<'_>) -> Upgrade<bool> {
        Upgrade::accept(request.target() == "/chat")
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        if *conn.state() {
            assert_eq!(conn.subscribe("crowd"), Ok(true));
        }
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }
}

/// A shard with subscribers, and a client that is none.
fn crowd() -> (World<Crowd>, Vec<WebSocketPeer>, WebSocketPeer) {
    let mut world = World::with(0, Faults::none(), Config::default(), Limits::default(), Crowd);
    let mut clients = Vec::with_capacity(SUBSCRIBERS);
    while clients.len() < SUBSCRIBERS {
        clients.extend((0..1000).map(|_| world.client()));
        world.run_until_idle();
    }
    let mut other = WebSocketPeer::new(world.network.connect(), Role::Client);
    other.write(REQUEST.replace("/chat", "/echo").as_bytes());
    world.run_until_idle();
    other.pull();
    clients.iter_mut().for_each(WebSocketPeer::pull);
    (world, clients, other)
}

#[test]
fn a_sweep_over_20_000_subscribers_overflows_no_queue_and_delays_no_other_connection() {
    let (mut world, mut clients, mut other) = crowd();
    assert_eq!(world.shard.driver.stats().overflows, 0);
    world.shard.dispatch().with_shard(|_, shard| {
        let published = shard.publish("crowd", &Prepared::text("to all")).expect("there is room");
        assert_eq!((published.here, published.shards), (SUBSCRIBERS, 0));
    });
    let (mut turns, mut answered) = (0, 0);
    while world.shard.core.has_published {
        other.send(OpCode::Text, b"and me?");
        let before = world.network.in_flight();
        world.turn();
        world.turn();
        turns += 2;
        assert!(world.network.in_flight() <= before + 600, "few sends in each turn");
        answered += other.take().len();
        assert_eq!(answered, turns / 2, "the other connection waits for the sweep");
    }
    assert!(turns >= SUBSCRIBERS / 256, "{turns} turns");
    world.run_until_idle();
    assert_eq!(world.shard.driver.stats().overflows, 0);
    for client in &mut clients {
        assert_eq!(client.take(), [Got::text("to all")]);
    }
    assert_eq!(world.shard.core.counters.deliveries, SUBSCRIBERS as u64);
    // The measure is one: as many sends in one turn overflow the queue.
    world.shard.dispatch().with_shard(|_, shard| {
        let message = Prepared::text("at once");
        shard.for_each_connection(|conn| assert!(conn.send_prepared(&message).is_accepted()));
    });
    world.run_until_idle();
    assert!(world.shard.driver.stats().overflows > 0);
}
