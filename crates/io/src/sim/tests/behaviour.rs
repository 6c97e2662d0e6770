//! The driver without faults, or with those that a test needs.

use super::*;

#[test]
fn a_pause_of_accepting_ends_even_if_no_slot_is_freed() {
    let (mut sim, network) = simulated(Faults { no_descriptor: 1.0, ..Faults::none() });
    let _peer = network.connect();
    turn(&mut sim);
    network.set_faults(Faults::none());
    accepted(&mut sim);
    assert!(sim.stats().turns > u64::from(ACCEPT_PAUSE));
}

#[test]
fn an_outgoing_connection_is_established_and_receives() {
    let (mut sim, network) = Sim::new(1, Faults::none(), BUFFERS);
    let slot = sim.reserve().expect("a slot");
    let address = SocketAddr::from(([198, 51, 100, 1], 443));
    network.set_reception(Reception::Ignore);
    sim.connect(slot, address);
    sim.receive(slot);
    assert!(run_until_idle(&mut sim).is_empty(), "a receive before the connection waits for the connection");
    network.set_reception(Reception::Welcome);
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Connected { slot: connected }] if connected == slot));
    let peer = network.accept().expect("the driver has connected");
    assert_eq!((peer.address(), sim.peer_address(slot)), (address, Some(address)));
    peer.write(b"hello");
    assert_eq!(received(&run_until_idle(&mut sim)), b"hello");
}

#[test]
fn an_outgoing_connection_that_fails_reports_the_cause() {
    let (mut sim, network) = Sim::new(1, Faults::none(), BUFFERS);
    network.set_reception(Reception::Refuse);
    let refused = sim.reserve().expect("a slot");
    sim.connect(refused, SocketAddr::from(([198, 51, 100, 1], 443)));
    network.set_descriptor_limit(1);
    let without_socket = sim.reserve().expect("a slot");
    sim.connect(without_socket, SocketAddr::from(([198, 51, 100, 1], 443)));
    let mut errors: Vec<_> = run_until_idle(&mut sim)
        .into_iter()
        .map(|completion| match completion {
            Completion::Ended { slot, cause: Cause::Unconnected(error) } => (slot, error.raw_os_error()),
            other => panic!("{other:?}"),
        })
        .collect();
    errors.sort_by_key(|(slot, _)| slot.index());
    assert_eq!(errors, [(refused, Some(libc::ECONNREFUSED)), (without_socket, Some(libc::EMFILE))]);
    sim.close(refused);
    sim.close(without_socket);
    run_until_idle(&mut sim);
    assert_eq!((sim.open(), sim.in_flight()), (0, 0));
}

#[test]
fn a_paused_connection_receives_nothing_until_it_is_armed() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    run_until_idle(&mut sim);
    sim.pause(slot);
    run_until_idle(&mut sim);
    peer.write(b"later");
    assert!(run_until_idle(&mut sim).is_empty());
    assert_eq!(peer.unreceived(), 5);
    sim.receive(slot);
    assert_eq!(received(&run_until_idle(&mut sim)), b"later");
}

#[test]
fn a_slow_reader_stalls_the_send_until_it_reads() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    peer.set_window(3);
    sim.send(slot, output(b"123456"));
    assert!(run_until_idle(&mut sim).is_empty());
    assert_eq!(peer.read_up_to(2), b"12");
    assert!(run_until_idle(&mut sim).is_empty());
    assert_eq!(peer.read(), b"345");
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Sent { written: 6, .. }]));
    assert_eq!(peer.read(), b"6");
}

#[test]
fn a_vectored_send_takes_at_most_the_maximum_of_chunks() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    let chunks = (0..=Output::MAX_CHUNKS).map(|at| vec![at as u8].into()).collect();
    sim.send(slot, Output::Many(chunks));
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Sent { written: Output::MAX_CHUNKS, .. }]));
    assert_eq!(peer.read().len(), Output::MAX_CHUNKS);
}

#[test]
fn fin_follows_the_send_that_is_in_flight() {
    let (mut sim, _network, slot, peer) = connection(Faults { late: 1.0, ..Faults::none() });
    sim.receive(slot);
    sim.send(slot, output(b"the last words"));
    sim.finish(slot);
    assert!(!peer.is_finished());
    run_until_idle(&mut sim);
    assert!(peer.is_finished() && !peer.is_reset());
    assert_eq!(peer.read(), b"the last words");
    peer.write(b"receiving goes on");
    peer.finish();
    let completions = run_until_idle(&mut sim);
    assert_eq!(received(&completions), b"receiving goes on");
    assert!(matches!(completions.last(), Some(Completion::Ended { cause: Cause::Finished, .. })));
}

#[test]
fn after_the_peers_fin_sending_works() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    peer.finish();
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Ended { cause: Cause::Finished, .. }]));
    sim.send(slot, output(b"goodbye"));
    run_until_idle(&mut sim);
    assert_eq!(peer.read(), b"goodbye");
}

#[test]
fn bytes_before_a_reset_are_received_before_the_end() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    peer.write(b"last words");
    peer.reset();
    sim.receive(slot);
    let completions = run_until_idle(&mut sim);
    assert_eq!(received(&completions), b"last words");
    assert!(matches!(completions.last(), Some(Completion::Ended { cause: Cause::Reset, .. })));
}

#[test]
fn a_wake_is_reported_and_two_may_be_reported_as_one() {
    let (mut sim, _network) = simulated(Faults::none());
    assert!(run_until_idle(&mut sim).is_empty());
    let waker = sim.waker();
    std::thread::spawn(move || {
        waker.wake();
        waker.wake();
    })
    .join()
    .expect("no panic");
    assert!(!sim.is_idle());
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Woken]));
}

#[test]
fn a_connection_without_a_listener_is_reset() {
    let (mut sim, network) = Sim::new(1, Faults::none(), BUFFERS);
    assert!(network.connect().is_reset());
    sim.start_listening();
    let open = network.connect();
    let slot = accepted(&mut sim);
    let waiting = network.connect();
    sim.stop_listening();
    assert!(run_until_idle(&mut sim).is_empty());
    assert!(waiting.is_reset() && network.connect().is_reset());
    assert!(!open.is_reset(), "open connections stay open");
    sim.send(slot, output(b"still here"));
    run_until_idle(&mut sim);
    assert_eq!(open.read(), b"still here");
}

#[test]
fn calls_for_a_closed_slot_are_ignored() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    sim.close(slot);
    for _ in 0..2 {
        sim.receive(slot);
        sim.pause(slot);
        sim.finish(slot);
        sim.send(slot, output(b"x"));
        sim.connect(slot, SocketAddr::from(([198, 51, 100, 1], 443)));
        sim.close(slot);
        assert_eq!(sim.peer_address(slot), None);
        assert!(run_until_idle(&mut sim).is_empty());
    }
    assert!(peer.is_finished() && peer.read().is_empty());
    assert_eq!((sim.open(), sim.in_flight()), (0, 0));
}

#[test]
fn a_cancel_finds_its_request_or_fails_with_enoent() {
    let (mut kernel, descriptor) = kernel();
    kernel.submit(2, Sqe::Receive { descriptor });
    kernel.submit(3, Sqe::Cancel { target: 2 });
    kernel.submit(4, Sqe::Cancel { target: 99 });
    assert_eq!(results(&mut kernel), [(4, -libc::ENOENT), (2, -libc::ECANCELED), (3, 0)]);
    assert_eq!(kernel.in_flight(), 0);
}

#[test]
fn acknowledged_bytes_grow_as_the_peer_reads_during_a_send() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    peer.set_window(3);
    sim.send(slot, output(b"123456"));
    assert!(run_until_idle(&mut sim).is_empty());
    assert_eq!(sim.acknowledged(slot), Some(0));
    assert_eq!(peer.read_up_to(2), b"12");
    assert!(run_until_idle(&mut sim).is_empty());
    assert_eq!(sim.acknowledged(slot), Some(2));
    assert_eq!(peer.read(), b"345");
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Sent { written: 6, .. }]));
    assert_eq!(sim.acknowledged(slot), Some(5));
    peer.reset();
    assert_eq!(sim.acknowledged(slot), None);
}

#[test]
fn a_connection_that_is_not_established_has_acknowledged_nothing() {
    let (mut sim, network) = Sim::new(1, Faults::none(), BUFFERS);
    network.set_reception(Reception::Ignore);
    let slot = sim.reserve().expect("a slot");
    assert_eq!((sim.acknowledged(slot), sim.unread(slot)), (None, 0));
    sim.connect(slot, SocketAddr::from(([198, 51, 100, 1], 443)));
    run_until_idle(&mut sim);
    assert_eq!((sim.acknowledged(slot), sim.unread(slot)), (None, 0));
}

#[test]
fn unread_bytes_are_counted_until_they_are_received_or_the_slot_is_closed() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    peer.write(b"12345");
    assert_eq!(sim.unread(slot), 5);
    sim.receive(slot);
    assert_eq!(received(&run_until_idle(&mut sim)), b"12345");
    assert_eq!(sim.unread(slot), 0);
    sim.pause(slot);
    run_until_idle(&mut sim);
    peer.write(b"678");
    peer.reset();
    assert_eq!(sim.unread(slot), 3, "bytes before a reset can still be received");
    sim.close(slot);
    assert_eq!(sim.unread(slot), 0);
}

#[test]
fn completions_beyond_the_budget_of_a_turn_are_a_backlog() {
    let buffers = BufferConfig { count: 2048, ready: Some(2048), ..BUFFERS };
    let (mut sim, network) = Sim::new(1, Faults::none(), buffers);
    sim.start_listening();
    let peers: Vec<Peer> = (0..BUDGET + 1).map(|_| network.connect()).collect();
    for completion in run_until_idle(&mut sim) {
        let Completion::Accepted { slot, .. } = completion else { panic!("{completion:?}") };
        sim.receive(slot);
    }
    run_until_idle(&mut sim);
    assert!(!sim.has_backlog());
    peers.iter().for_each(|peer| peer.write(b"x"));
    assert_eq!(turn(&mut sim).len(), BUDGET);
    assert!(sim.has_backlog());
    assert_eq!(turn(&mut sim).len(), 1);
    assert!(!sim.has_backlog());
}

#[test]
fn a_connection_without_a_buffer_is_a_backlog_while_it_wants_bytes() {
    let (mut sim, network) = Sim::new(1, Faults::none(), BufferConfig { count: 1, ready: Some(1), ..BUFFERS });
    sim.start_listening();
    let peers = [network.connect(), network.connect()];
    let slots = [accepted(&mut sim), Slot::new(1, 0)];
    slots.iter().for_each(|slot| sim.receive(*slot));
    run_until_idle(&mut sim);
    peers.iter().for_each(|peer| peer.write(b"x"));
    let kept = run_until_idle(&mut sim);
    assert!(matches!(kept[..], [Completion::Received { .. }]), "{kept:?}");
    assert!(sim.has_backlog());
    sim.pause(slots[1]);
    assert!(!sim.has_backlog());
    sim.receive(slots[1]);
    assert!(sim.has_backlog());
    drop(kept);
    assert_eq!(received(&run_until_idle(&mut sim)), b"x");
    assert!(!sim.has_backlog());
}

#[test]
fn a_receive_that_is_armed_again_is_a_backlog_until_the_next_turn() {
    let (mut sim, network, slot, peer) = connection(Faults { last_receive: 1.0, ..Faults::none() });
    sim.receive(slot);
    run_until_idle(&mut sim);
    peer.write(b"x");
    assert_eq!(received(&turn(&mut sim)), b"x");
    assert!(sim.has_backlog());
    network.set_faults(Faults::none());
    peer.write(b"y");
    assert_eq!(received(&turn(&mut sim)), b"y");
    assert!(!sim.has_backlog());
}

#[test]
fn a_turn_that_is_interrupted_leaves_a_backlog() {
    let (mut sim, network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    run_until_idle(&mut sim);
    network.set_faults(Faults { empty_turn: 1.0, ..Faults::none() });
    peer.write(b"x");
    assert!(turn(&mut sim).is_empty());
    assert!(sim.has_backlog());
    network.set_faults(Faults::none());
    assert_eq!(received(&turn(&mut sim)), b"x");
    assert!(!sim.has_backlog());
}

#[test]
fn a_driver_that_its_user_pauses_accepts_again_when_it_is_resumed() {
    let (mut sim, network, first, _peer) = connection(Faults::none());
    sim.pause_accepting();
    let before = sim.stats().accepted;
    let _waiting = network.connect();
    sim.close(first);
    for _ in 0..2 * ACCEPT_PAUSE {
        turn(&mut sim);
    }
    assert_eq!(sim.stats().accepted, before, "neither a freed slot nor time ends the pause");
    sim.resume_accepting();
    for _ in 0..4 {
        turn(&mut sim);
    }
    assert_eq!((sim.stats().accepted, sim.stats().accept_pauses), (before + 1, 1));
}
