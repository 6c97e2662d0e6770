//! Datagrams on the simulated kernel.

use super::*;
use crate::Datagram;
use std::collections::BTreeMap;
use std::net::IpAddr;

const SERVICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

fn peer(number: u16) -> SocketAddr {
    SocketAddr::from(([203, 0, 113, 1], 5000 + number))
}

fn with_datagrams(seed: u64, faults: DatagramFaults) -> (Sim, Network) {
    let (mut sim, network) = Sim::new(seed, Faults::none(), BUFFERS);
    sim.start_datagrams();
    network.set_datagram_faults(faults);
    (sim, network)
}

fn datagrams(completions: Vec<Completion>) -> Vec<Datagram> {
    let only = |completion| match completion {
        Completion::Datagram(datagram) => Some(*datagram),
        _ => None,
    };
    completions.into_iter().filter_map(only).collect()
}

#[test]
fn a_datagram_names_both_ends_and_its_reply_comes_from_the_addressed_one() {
    let (mut sim, network) = with_datagrams(1, DatagramFaults::none());
    for payload in [&b"hello"[..], b"", &[7; 65_507]] {
        network.send_datagram(0, peer(1), SERVICE, payload);
        let received = datagrams(turn(&mut sim)).pop().expect("it arrives");
        assert_eq!((received.peer, received.payload.as_slice()), (peer(1), payload));
        assert_eq!(received.local.map(|local| local.destination), Some(SERVICE));
        sim.send_datagram(received);
        run_until_idle(&mut sim);
        let sent = SentDatagram { socket: 0, from: Some(SERVICE), to: peer(1), payload: payload.to_vec() };
        assert_eq!(network.receive_datagrams(), [sent]);
    }
    assert_eq!((sim.stats().datagrams_received, sim.stats().datagrams_sent), (3, 3));
    assert_eq!(network.guarded_datagrams(), 0);
}

/// Echoes the datagrams of eight peers until all is quiet, and compares the counts of the driver with
/// those of the network.
fn echo(seed: u64, faults: DatagramFaults) -> InjectedDatagramFaults {
    let (mut sim, network) = with_datagrams(seed, faults);
    let mut sent: BTreeMap<(SocketAddr, Vec<u8>), u64> = BTreeMap::new();
    let mut answered = 0;
    for number in 0..200_u32 {
        let (from, payload) = (peer(number as u16 % 8), number.to_be_bytes().to_vec());
        network.send_datagram(0, from, SERVICE, &payload);
        sent.insert((from, payload), 0);
        for datagram in datagrams(turn(&mut sim)) {
            answered += 1;
            sim.send_datagram(datagram);
        }
    }
    while !sim.is_idle() {
        for datagram in datagrams(turn(&mut sim)) {
            answered += 1;
            sim.send_datagram(datagram);
        }
    }
    let (stats, injected) = (*sim.stats(), network.injected_datagram_faults());
    let arrived = network.receive_datagrams();
    assert_eq!(answered, 200 - injected.lost_inbound + injected.repeated_inbound, "seed {seed}");
    assert_eq!((stats.datagrams_received, stats.datagrams_sent + stats.datagrams_unsent), (answered, answered));
    assert_eq!(stats.datagrams_unsent, injected.refused);
    let expected = stats.datagrams_sent - injected.lost_outbound + injected.repeated_outbound;
    assert_eq!(arrived.len() as u64, expected, "seed {seed}");
    for datagram in arrived {
        let copies = sent.get_mut(&(datagram.to, datagram.payload)).expect("the payload that this peer has sent");
        *copies += 1;
        assert!(*copies <= 4, "at most twice in each direction");
    }
    assert_eq!(network.guarded_datagrams(), 0, "all buffers are returned");
    injected
}

#[test]
fn each_datagram_is_answered_lost_or_refused_and_counted() {
    assert_eq!(echo(0, DatagramFaults::none()), InjectedDatagramFaults::default());
    let mut sum = 0;
    for seed in 1..=100 {
        let injected = echo(seed, DatagramFaults::all());
        let each = [injected.lost_inbound, injected.lost_outbound, injected.repeated_inbound];
        let others = [injected.repeated_outbound, injected.late, injected.refused, injected.no_buffer];
        assert!(each.iter().chain(&others).all(|count| *count > 0), "seed {seed}: {injected:?}");
        sum += each.iter().chain(&others).sum::<u64>();
        assert_eq!(echo(seed, DatagramFaults::all()), injected, "a seed gives the same run");
    }
    assert!(sum > 100);
}

#[test]
fn datagrams_wait_for_buffers_and_a_full_queue_loses_them() {
    let (mut sim, network) = with_datagrams(1, DatagramFaults::none());
    for number in 0..400_u32 {
        network.send_datagram(0, peer(1), SERVICE, &number.to_be_bytes());
    }
    assert_eq!(network.injected_datagram_faults().lost_inbound, 400 - 256);
    let mut held = datagrams(turn(&mut sim));
    assert_eq!((held.len(), datagrams(turn(&mut sim)).len()), (64, 0), "as many as there are buffers");
    assert!(sim.is_idle());
    held.truncate(60);
    assert_eq!(datagrams(turn(&mut sim)).len(), 4);
    drop(held);
    let rest: Vec<usize> = (0..3).map(|_| datagrams(turn(&mut sim)).len()).collect();
    assert_eq!(rest, [64, 64, 256 - 64 - 4 - 128]);
    assert!(sim.is_idle());
}

#[test]
fn a_stop_ends_when_all_that_was_reported_is_answered() {
    for seed in 0..50 {
        let (mut sim, network) = with_datagrams(seed, DatagramFaults { late: 0.5, ..DatagramFaults::none() });
        (0..20).for_each(|number| network.send_datagram(0, peer(number), SERVICE, b"before"));
        datagrams(turn(&mut sim)).into_iter().for_each(|datagram| sim.send_datagram(datagram));
        assert!(sim.has_datagrams());
        sim.stop_datagrams();
        while sim.has_datagrams() {
            datagrams(turn(&mut sim)).into_iter().for_each(|datagram| sim.send_datagram(datagram));
        }
        let count = sim.stats().datagrams_received;
        assert_eq!((network.receive_datagrams().len() as u64, sim.stats().datagrams_sent), (count, count));
        assert_eq!(network.guarded_datagrams(), 0, "seed {seed}");
        network.send_datagram(0, peer(1), SERVICE, b"after");
        assert!(datagrams(run_until_idle(&mut sim)).is_empty());
    }
}

#[test]
#[should_panic(expected = "socket 1 for datagrams was never opened")]
fn a_datagram_on_a_socket_that_was_never_opened_is_a_violation() {
    let (mut sim, network) = with_datagrams(1, DatagramFaults::none());
    network.send_datagram(0, peer(1), SERVICE, b"hello");
    let mut received = datagrams(turn(&mut sim)).pop().expect("it arrives");
    received.socket = 1;
    sim.send_datagram(received);
}

#[test]
fn the_longest_payload_and_no_longer_one_is_sent() {
    let (mut sim, network) = with_datagrams(1, DatagramFaults::none());
    network.send_datagram(0, peer(1), SERVICE, b"hello");
    let received = datagrams(turn(&mut sim)).pop().expect("it arrives");
    sim.send_datagram(Datagram { payload: vec![1; 65_508].into(), ..received });
    run_until_idle(&mut sim);
    assert_eq!((sim.stats().datagrams_unsent, network.receive_datagrams().len()), (1, 0));
}
