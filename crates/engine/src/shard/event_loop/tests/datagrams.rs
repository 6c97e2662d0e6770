//! The echo service on datagrams, on a network that loses, repeats, delays and reorders them.

use super::world::{Scripted, World, each_seed};
use crate::echo::options::EchoRates;
use crate::echo::rates::ReplyRates;
use crate::echo::rules::EchoRules;
use crate::{DrainReason, Shard};
use ringway_io::Driver;
use ringway_io::sim::{DatagramFaults, Faults};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

fn peer(number: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], 5000 + number))
}

/// A shard with an echo service at this address.
fn world(seed: u64, (faults, of_datagrams): (Faults, DatagramFaults), address: SocketAddr) -> World<Scripted> {
    let mut world = World::new(seed, faults, Scripted::new());
    world.shard.driver.start_datagrams();
    world.network.set_datagram_faults(of_datagrams);
    let rates = Arc::new(ReplyRates::new(EchoRates::default(), world.now));
    let rules = EchoRules::new(&[address], rates, world.now);
    world.shard.use_echo(Vec::new(), Some(rules));
    world
}

fn service(number: u8) -> SocketAddr {
    SocketAddr::from(([198, 51, 100, number], 7000 + u16::from(number)))
}

fn faults_of(seed: u64) -> DatagramFaults {
    if seed == 0 { DatagramFaults::none() } else { DatagramFaults::all() }
}

#[test]
fn each_datagram_is_answered_or_counted_beside_a_connection() {
    each_seed(|seed, faults| {
        let mut world = world(seed, (faults, faults_of(seed)), service(1));
        let client = world.open_client();
        let mut copies = HashMap::new();
        for number in 0..300_u32 {
            let (from, payload) = (peer(number as u16 % 16), number.to_be_bytes());
            copies.insert((from, payload.to_vec()), 0);
            world.network.send_datagram(0, from, service(1).ip(), &payload);
            // Others, which are ignored.
            world.network.send_datagram(0, SocketAddr::from(([203, 0, 113, 1], 7)), service(1).ip(), b"echo");
            world.network.send_datagram(0, from, IpAddr::V4(Ipv4Addr::BROADCAST), b"broadcast");
            world.turn();
        }
        client.text("beside datagrams");
        world.run_until_idle();
        let (counters, stats) = (world.shard.core.counters, *world.shard.driver.stats());
        let ignored = counters.echo_ignored_port + counters.echo_ignored_group;
        assert_eq!(counters.echo_datagrams + ignored, stats.datagrams_received, "seed {seed}");
        assert_eq!(stats.datagrams_sent + stats.datagrams_unsent, counters.echo_datagrams, "seed {seed}");
        assert_eq!(counters.echo_unsent, stats.datagrams_unsent, "seed {seed}");
        assert_eq!(counters.echo_datagram_bytes, 4 * counters.echo_datagrams, "seed {seed}");
        let injected = world.network.injected_datagram_faults();
        let arrived = world.network.receive_datagrams();
        let expected = stats.datagrams_sent - injected.lost_outbound + injected.repeated_outbound;
        assert_eq!(arrived.len() as u64, expected, "seed {seed}");
        for datagram in arrived {
            assert_eq!(datagram.from, Some(service(1).ip()));
            *copies.get_mut(&(datagram.to, datagram.payload)).expect("what this peer has sent") += 1;
        }
        if seed == 0 {
            assert!(copies.values().all(|copies| *copies == 1), "each once");
            assert_eq!((counters.echo_ignored_port, counters.echo_ignored_group), (300, 300));
        }
        assert_eq!(world.network.guarded_datagrams(), 0, "all buffers are returned (seed {seed})");
    });
}

/// Carries what one service has sent to the other one. Returns the number of datagrams.
fn carry(from: &World<Scripted>, source: SocketAddr, to: &World<Scripted>, destination: SocketAddr) -> usize {
    let sent = from.network.receive_datagrams();
    for datagram in &sent {
        assert_eq!(datagram.to, destination);
        to.network.send_datagram(0, source, destination.ip(), &datagram.payload);
    }
    sent.len()
}

#[test]
fn a_forged_datagram_loops_between_two_services_for_a_bounded_number_of_rounds() {
    each_seed(|seed, faults| {
        // A network that repeats datagrams multiplies those of a loop.
        let of_datagrams = DatagramFaults { lost: 0.0, refused: 0.0, ..faults_of(seed) };
        let mut worlds = [1, 2].map(|number| world(seed, (faults, of_datagrams), service(number)));
        worlds[0].network.send_datagram(0, service(2), service(1).ip(), b"forged");
        let mut rounds = 0;
        loop {
            worlds.iter_mut().for_each(World::run_until_idle);
            let [first, second] = &worlds;
            let carried = carry(first, service(1), second, service(2)) + carry(second, service(2), first, service(1));
            if carried == 0 {
                break;
            }
            rounds += 1;
            assert!(rounds <= 200, "the loop goes on (seed {seed})");
            worlds.iter_mut().for_each(|world| world.now += Duration::from_millis(100));
        }
        let answered = worlds.each_ref().map(|world| world.shard.core.counters.echo_datagrams);
        // The burst, and one for each second that passes.
        assert!(answered.iter().all(|count| (30..=32 + 20).contains(count)), "{answered:?} (seed {seed})");
        let repeats: u64 = worlds.iter().map(|world| world.shard.core.counters.echo_ignored_repeat).sum();
        assert!(repeats > 0, "seed {seed}");
    });
}

#[test]
fn a_drain_answers_until_it_ends_and_leaves_nothing_behind() {
    each_seed(|seed, faults| {
        let mut world = world(seed, (faults, faults_of(seed)), service(1));
        for number in 0..50 {
            world.network.send_datagram(0, peer(number), service(1).ip(), &number.to_be_bytes());
        }
        world.turn();
        world.post(|_, shard: &mut Shard<'_, Scripted>| shard.drain(DrainReason::Stop));
        while world.running {
            world.turn();
            world.now += Duration::from_millis(10);
        }
        assert!(!world.shard.driver.has_datagrams(), "seed {seed}");
        let (counters, stats) = (world.shard.core.counters, *world.shard.driver.stats());
        assert_eq!(counters.echo_datagrams, stats.datagrams_sent + stats.datagrams_unsent, "seed {seed}");
        assert_eq!(world.network.guarded_datagrams(), 0, "seed {seed}");
    });
}
