//! Balanced accepting: transfers between shards, at their limits and at their end.

use super::world::{Got, Scripted, WebSocketPeer, World, each_seed};
use crate::admission::gate::Gate;
use crate::shard::balance::{Balancer, MAX_TRANSFERS};
use crate::shard::drain::DrainReason;
use crate::tls::stream::tests::configs;
use crate::topics::exchange::Exchange;
use crate::{Admission, Config, Limits, OnPanic, Upgrade};
use ringway_codec::Role;
use ringway_io::sim::Faults;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Shards that accept for each other. Each has a listener of its own.
struct Shards {
    worlds: Vec<World<Scripted>>,
}

impl Shards {
    fn new(seed: u64, faults: Faults, count: usize) -> Self {
        Self::with(seed, faults, count, &Config::default(), Limits::default())
    }

    fn with(seed: u64, faults: Faults, count: usize, config: &Config, limits: Limits) -> Self {
        let desks = Exchange::desks(count, limits.max_published);
        let balancers = Balancer::places(count, limits.max_connections);
        let mut worlds = Vec::new();
        for (index, (desk, balancer)) in desks.into_iter().zip(balancers).enumerate() {
            let seed = seed * 64 + index as u64;
            let mut world = World::beside_others(seed, faults, config.clone(), limits, Scripted::new(), desk);
            world.shard.use_balancer(balancer);
            worlds.push(world);
        }
        if config.admission.is_active() {
            let gate = Arc::new(Gate::new(&config.admission, worlds[0].now));
            worlds.iter_mut().for_each(|world| world.shard.use_gate(Arc::clone(&gate)));
        }
        Self { worlds }
    }

    /// Runs turns of all shards that run until none has anything to do.
    fn run_until_idle(&mut self) {
        loop {
            for world in self.worlds.iter_mut().filter(|world| world.running) {
                world.turn();
                if !world.is_idle() {
                    world.run_until_idle();
                }
            }
            if self.worlds.iter().all(|world| world.is_idle()) {
                return;
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        for _ in 0..time.as_millis() / 50 {
            for world in self.worlds.iter_mut().filter(|world| world.running) {
                world.now += Duration::from_millis(50);
            }
            self.run_until_idle();
        }
    }

    fn sessions(&self) -> Vec<usize> {
        self.worlds.iter().map(World::sessions).collect()
    }

    /// Clients whose connections this shard accepts, after their requests.
    fn clients(&self, shard: usize, count: usize) -> Vec<WebSocketPeer> {
        (0..count).map(|_| self.worlds[shard].client()).collect()
    }

    fn sum(&self, count: impl Fn(&crate::Counters) -> u64) -> u64 {
        self.worlds.iter().map(|world| count(&world.shard.core.counters)).sum()
    }

    /// Checks that nothing is left of any connection or transfer.
    #[track_caller]
    fn assert_clean(&mut self) {
        self.run_until_idle();
        // The driver of a shard that has ended waits for its last operations when it is dropped.
        self.worlds.iter().filter(|world| world.running).for_each(World::assert_clean);
        assert!(self.worlds.iter().all(|world| world.sessions() == 0));
        let expects = |world: &World<Scripted>| world.shard.balancer.as_ref().is_some_and(|of| of.expects());
        assert!(!self.worlds.iter().any(expects), "a transfer is still expected");
        assert_eq!(self.sum(|of| of.transferred), self.sum(|of| of.adopted));
    }
}

#[track_caller]
fn assert_opens(client: &mut WebSocketPeer) {
    client.pull();
    assert_eq!(client.status(), 101, "{client:?}");
}

#[test]
fn connections_of_one_listener_are_spread_over_all_shards() {
    each_seed(|seed, faults| {
        let mut shards = Shards::new(seed, faults, 4);
        let mut clients = shards.clients(0, 40);
        shards.run_until_idle();
        assert_eq!(shards.sessions(), [10; 4], "seed {seed}");
        for (at, client) in clients.iter_mut().enumerate() {
            assert_opens(client);
            client.text(&format!("number {at}"));
        }
        shards.run_until_idle();
        for (at, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.take(), [Got::text(&format!("number {at}"))], "seed {seed}");
        }
        assert_eq!(shards.sum(|of| of.transferred), 30);
        clients.iter().for_each(|client| client.peer.reset());
        shards.assert_clean();
    });
}

#[test]
fn new_connections_go_where_others_have_ended() {
    let mut shards = Shards::new(0, Faults::none(), 2);
    let clients = shards.clients(0, 40);
    shards.run_until_idle();
    assert_eq!(shards.sessions(), [20, 20]);
    // All connections of shard 1 end.
    let of_first = shards.worlds[0].handler().opened.len();
    assert_eq!(of_first, 20);
    shards.worlds[1].post(|_, shard| shard.for_each_connection(|conn| conn.terminate()));
    shards.run_until_idle();
    assert_eq!(shards.sessions(), [20, 0]);
    let more = shards.clients(0, 10);
    shards.run_until_idle();
    assert_eq!(shards.sessions(), [20, 10]);
    clients.iter().chain(&more).for_each(|client| client.peer.reset());
    shards.assert_clean();
}

#[test]
fn a_full_mailbox_leaves_connections_where_they_were_accepted() {
    let mut shards = Shards::new(0, Faults::none(), 2);
    let count = 3 * MAX_TRANSFERS;
    let clients = shards.clients(0, count);
    // Shard 1 does not turn.
    while shards.worlds[0].shard.core.counters.transferred + shards.worlds[0].sessions() as u64 != count as u64 {
        shards.worlds[0].turn();
    }
    let counters = shards.worlds[0].shard.core.counters;
    assert_eq!((counters.transferred, shards.worlds[0].sessions()), (MAX_TRANSFERS as u64, 2 * MAX_TRANSFERS));
    assert!(counters.transfers_full > 0, "{counters:?}");
    shards.run_until_idle();
    assert_eq!(shards.sessions(), [2 * MAX_TRANSFERS, MAX_TRANSFERS]);
    for mut client in clients {
        assert_opens(&mut client);
        client.peer.reset();
    }
    shards.assert_clean();
}

#[test]
fn a_shard_that_drains_is_given_none_and_answers_those_on_their_way() {
    each_seed(|seed, faults| {
        let mut shards = Shards::new(seed, faults, 2);
        let mut clients = shards.clients(0, 6);
        // All are accepted; those of shard 1 are on their way.
        let worlds = &mut shards.worlds;
        worlds[0].run_until(|world| world.shard.core.counters.transferred + world.sessions() as u64 == 6);
        assert!(worlds[0].shard.core.counters.transferred >= 2, "seed {seed}");
        worlds[1].shard.control.handle.drain(DrainReason::Stop);
        worlds[1].run_until(|world| world.shard.drain.is_some());
        // From now on connections stay.
        let before = worlds[0].shard.core.counters.transferred;
        let mut later = vec![worlds[0].client(), worlds[0].client()];
        shards.run_until_idle();
        assert_eq!(shards.worlds[0].shard.core.counters.transferred, before, "seed {seed}");
        // Each client has an answer: its connection is open, or closed with 1001, or refused.
        for client in clients.iter_mut().chain(&mut later) {
            client.pull();
            assert!(matches!(client.status(), 101 | 503), "seed {seed}: {client:?}");
        }
        assert!(later.iter().all(|client| client.status() == 101), "seed {seed}");
        clients.iter().chain(&later).for_each(|client| client.peer.reset());
        shards.pass(20 * SECOND);
        assert!(!shards.worlds[1].running, "it has ended");
        shards.assert_clean();
    });
}

#[test]
fn a_shard_does_not_end_before_a_connection_on_its_way_has_arrived() {
    let mut shards = Shards::new(0, Faults::none(), 2);
    let clients = shards.clients(0, 2);
    let worlds = &mut shards.worlds;
    worlds[1].shard.control.handle.drain(DrainReason::HandOver);
    worlds[0].run_until(|world| world.shard.core.counters.transferred == 1);
    // Its drain is requested and its listener closes, but one connection is expected.
    shards.run_until_idle();
    let mut answered = 0;
    for mut client in clients {
        client.pull();
        answered += usize::from(client.status() == 101);
        client.peer.reset();
    }
    assert_eq!((answered, shards.worlds[1].shard.core.counters.adopted), (2, 1));
    shards.pass(12 * SECOND);
    assert!(!shards.worlds[1].running);
    shards.assert_clean();
}

#[test]
fn a_shard_that_ends_at_its_deadline_closes_the_connections_on_their_way() {
    let config = Config::default().stop_timeout(Duration::ZERO).expect("in range");
    let mut shards = Shards::with(0, Faults::none(), 2, &config, Limits::default());
    let clients = shards.clients(0, 20);
    let worlds = &mut shards.worlds;
    worlds[0].run_until(|world| world.shard.core.counters.transferred == 10);
    worlds[1].shard.control.handle.drain(DrainReason::HandOver);
    worlds[1].run_until(|world| !world.running);
    let dropped = worlds.pop().expect("two shards");
    drop(dropped);
    shards.run_until_idle();
    let closed = clients.iter().filter(|client| client.peer.is_finished() || client.peer.is_reset()).count();
    assert_eq!((closed, shards.sessions()), (10, vec![10]), "each is closed or served");
    clients.iter().for_each(|client| client.peer.reset());
    shards.run_until_idle();
    shards.worlds[0].assert_clean();
}

#[test]
fn connections_for_a_shard_that_has_ended_come_back() {
    let mut shards = Shards::new(0, Faults::none(), 2);
    shards.worlds[0].turn();
    // It ends without a drain, as one that panics does.
    drop(shards.worlds.pop());
    let mut clients = shards.clients(0, 10);
    shards.run_until_idle();
    assert_eq!((shards.sessions(), shards.sum(|of| of.transferred)), (vec![10], 0));
    clients.iter_mut().for_each(assert_opens);
    clients.iter().for_each(|client| client.peer.reset());
    shards.run_until_idle();
    shards.worlds[0].assert_clean();
}

#[test]
fn connections_in_the_mailbox_of_a_shard_that_vanishes_are_closed() {
    let mut shards = Shards::new(0, Faults::none(), 2);
    let clients = shards.clients(0, 10);
    shards.worlds[0].run_until(|world| world.shard.core.counters.transferred == 5);
    drop(shards.worlds.pop());
    let closed = || clients.iter().filter(|client| client.peer.is_finished() || client.peer.is_reset()).count();
    assert_eq!(closed(), 5);
    shards.run_until_idle();
    assert_eq!((closed(), shards.sessions()), (5, vec![5]));
}

#[test]
fn a_panic_for_an_adopted_connection_is_answered_and_harms_no_other() {
    let mut shards = Shards::new(0, Faults::none(), 2);
    shards.worlds[1].handler().on_upgrade = |handler, _| {
        handler.count += 1;
        assert!(handler.count != 2, "on purpose");
        Upgrade::accept(7)
    };
    let mut clients = shards.clients(0, 8);
    shards.run_until_idle();
    clients.iter_mut().for_each(WebSocketPeer::pull);
    let statuses = |status| clients.iter().filter(|client| client.status() == status).count();
    assert_eq!((statuses(101), statuses(500)), (7, 1));
    assert_eq!(shards.worlds[1].shard.core.counters.panics, 1);
    clients.iter().for_each(|client| client.peer.reset());
    shards.pass(6 * SECOND);
    shards.assert_clean();
}

#[test]
fn a_shard_that_panics_while_it_adopts_leaves_the_others_accepting() {
    let config = Config::default().on_panic(OnPanic::Stop);
    let mut shards = Shards::with(0, Faults::none(), 2, &config, Limits::default());
    shards.worlds[1].handler().on_upgrade = |_, _| panic!("on purpose");
    let first = shards.clients(0, 6);
    shards.worlds[0].run_until(|world| world.shard.core.counters.transferred == 3);
    let mut failing = shards.worlds.pop().expect("two shards");
    let panic = catch_unwind(AssertUnwindSafe(move || failing.run_until_idle()));
    panic.expect_err("the handler panics, and the shard ends");
    let mut later = shards.clients(0, 6);
    shards.run_until_idle();
    assert_eq!(shards.sessions(), [9], "the three of the shard that has ended are gone");
    later.iter_mut().for_each(assert_opens);
    let ended = first.iter().filter(|client| client.peer.is_finished() || client.peer.is_reset()).count();
    assert_eq!(ended, 3, "none is leaked");
}

#[test]
fn limits_count_transferred_connections_exactly_once() {
    each_seed(|seed, faults| {
        let admission = Admission::new()
            .max_connections(Some(10))
            .and_then(|of| of.max_handshakes(Some(10)))
            .and_then(|of| of.max_per_address(Some(10)))
            .expect("in range");
        let config = Config::default().admission(admission);
        let mut shards = Shards::with(seed, faults, 3, &config, Limits::default());
        let mut clients = shards.clients(0, 12);
        shards.run_until_idle();
        clients.iter_mut().for_each(WebSocketPeer::pull);
        let statuses = |status| clients.iter().filter(|client| client.status() == status).count();
        assert_eq!((statuses(101), statuses(503)), (10, 2), "seed {seed}");
        assert_eq!(shards.worlds[0].counts(), (10, 0, 1), "seed {seed}");
        assert!(shards.sum(|of| of.transferred) > 0, "seed {seed}");
        shards.worlds.iter().for_each(|world| world.network.set_faults(Faults::none()));
        clients.iter().for_each(|client| client.peer.reset());
        shards.pass(6 * SECOND);
        assert_eq!(shards.worlds[0].counts(), (0, 0, 0), "seed {seed}");
        shards.assert_clean();
    });
}

#[test]
fn connections_with_tls_are_transferred_before_their_handshake() {
    each_seed(|seed, faults| {
        let mut shards = Shards::new(seed, faults, 3);
        for world in &mut shards.worlds {
            world.use_tls(configs(&rustls::version::TLS13).0);
        }
        let mut clients = shards.clients(0, 9);
        // The handshake of TLS has three flights before the response.
        for _ in 0..3 {
            shards.run_until_idle();
            clients.iter_mut().for_each(WebSocketPeer::pull);
        }
        assert_eq!(shards.sessions(), [3; 3], "seed {seed}");
        for client in &mut clients {
            assert_opens(client);
            client.text("over TLS");
        }
        shards.run_until_idle();
        assert!(clients.iter_mut().all(|client| client.take() == [Got::text("over TLS")]), "seed {seed}");
        clients.iter().for_each(|client| client.peer.reset());
        shards.assert_clean();
    });
}

#[test]
fn a_shard_without_memory_for_handshakes_passes_connections_on() {
    let mut shards = Shards::new(0, Faults::none(), 2);
    let clients = shards.clients(0, 4);
    shards.run_until_idle();
    assert_eq!(shards.sessions(), [2, 2]);
    let worlds = &mut shards.worlds;
    worlds[1].shard.core.shortage.exhausted = Some(worlds[1].shard.core.tick());
    worlds[1].turn();
    let mut more = shards.clients(1, 3);
    shards.run_until_idle();
    assert_eq!(shards.sessions(), [5, 2]);
    more.iter_mut().for_each(assert_opens);
    clients.iter().chain(&more).for_each(|client| client.peer.reset());
    shards.worlds[1].shard.core.shortage.exhausted = None;
    shards.assert_clean();
}

#[test]
fn without_the_option_connections_stay() {
    let desk = Exchange::desks(1, 1 << 20).remove(0);
    let (config, limits) = (Config::default(), Limits::default());
    let mut world = World::beside_others(0, Faults::none(), config, limits, Scripted::new(), desk);
    let peers: Vec<WebSocketPeer> =
        (0..10).map(|_| WebSocketPeer::new(world.network.connect(), Role::Client)).collect();
    world.run_until_idle();
    let counters = world.shard.core.counters;
    assert_eq!((world.sessions(), counters.transferred, counters.adopted), (10, 0, 0));
    peers.iter().for_each(|peer| peer.peer.reset());
    world.run_until_idle();
    world.assert_clean();
}
