//! Connections that move from one simulation to another.

use super::*;

#[test]
fn a_connection_moves_between_simulations_with_its_peer() {
    let (mut sim, network, slot, peer) = connection(Faults::none());
    peer.write(b"before");
    let detached = sim.detach(slot).expect("the slot is open");
    peer.write(b" and after");
    assert_eq!((network.open(), sim.detach(slot).is_none()), (0, true));

    let (mut other, network) = simulated(Faults::none());
    let slot = other.adopt(detached);
    assert_eq!((network.open(), other.peer_address(slot)), (1, Some(peer.address())));
    other.receive(slot);
    assert_eq!(received(&run_until_idle(&mut other)), b"before and after");
    other.send(slot, output(b"answer"));
    run_until_idle(&mut other);
    assert_eq!(peer.read(), b"answer");
    other.close(slot);
    run_until_idle(&mut other);
    assert!(peer.is_finished() && network.open() == 0);
}

#[test]
fn a_detached_connection_that_nobody_adopts_is_closed() {
    let (mut sim, _, slot, peer) = connection(Faults::none());
    let detached = sim.detach(slot);
    assert!(!peer.is_finished());
    drop(detached);
    assert!(peer.is_finished());
}

#[test]
fn a_network_that_is_gone_leaves_a_detached_connection_open() {
    let (mut sim, network, slot, peer) = connection(Faults::none());
    let detached = sim.detach(slot).expect("the slot is open");
    drop((sim, network));
    let (mut other, _) = simulated(Faults::none());
    let slot = other.adopt(detached);
    other.send(slot, output(b"still here"));
    run_until_idle(&mut other);
    assert_eq!(peer.read(), b"still here");
}

#[test]
#[should_panic(expected = "moves between a simulation and a kernel")]
fn a_simulated_connection_cannot_move_to_a_kernel() {
    let (mut sim, _, slot, _peer) = connection(Faults::none());
    let detached = sim.detach(slot).expect("the slot is open");
    let mut epoll = crate::epoll::Epoll::new(crate::epoll::EpollConfig::default()).expect("descriptors");
    epoll.adopt(detached);
}
