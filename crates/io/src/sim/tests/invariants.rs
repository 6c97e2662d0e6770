//! The invariants of the driver: buffers and outputs in flight, slots, cancels, and accepting.

use super::*;
use crate::Chunk;
use std::collections::HashMap;

#[test]
#[should_panic(expected = "changed while it was in flight")]
fn bytes_that_change_in_flight_are_detected() {
    let (mut kernel, descriptor) = kernel();
    let connection = kernel.connections.len() - 1;
    kernel.connections[connection].lock().window = 2;
    kernel.submit(2, Sqe::Send { descriptor, output: Rc::new(output(b"before")) });
    assert_eq!(results(&mut kernel), []);
    kernel.tamper(descriptor, output(b"behind"));
    kernel.connections[connection].lock().window = 100;
    kernel.enter();
    kernel.enter();
}

#[test]
fn a_slot_is_reused_only_with_nothing_in_flight() {
    let late = Faults { late: 1.0, stale: 1.0, ..Faults::none() };
    let (mut sim, network, first, peer) = connection(late);
    sim.receive(first);
    sim.send(first, output(b"farewell"));
    turn(&mut sim);
    peer.write(b"too late");
    sim.close(first);
    let second_peer = network.connect();
    let mut second = None;
    while second.is_none() {
        for completion in turn(&mut sim) {
            match completion {
                Completion::Accepted { slot, .. } => second = Some(slot),
                other => panic!("a completion for a closed slot: {other:?}"),
            }
        }
    }
    let second = second.expect("set above");
    assert_ne!(first.index(), second.index(), "the receive and the send of {first:?} are still in flight");
    assert!(sim.in_flight() > 0);
    run_until_idle(&mut sim);
    assert_eq!((sim.open(), sim.in_flight()), (1, 0));
    assert!(sim.stats().stale > 0);
    let third_peer = network.connect();
    let third = accepted(&mut sim);
    assert_eq!(third.index(), first.index());
    assert_ne!(third.generation(), first.generation());
    // The kernel has reported a stale completion of the first user, which was dropped.
    sim.receive(third);
    sim.receive(first);
    sim.send(first, output(b"ignored"));
    third_peer.write(b"mine");
    assert_eq!(received(&run_until_idle(&mut sim)), b"mine");
    assert!(sim.injected().stale > 0);
    assert!(third_peer.read().is_empty() && second_peer.read().is_empty());
}

#[test]
fn a_receive_that_ends_delivers_its_data_and_is_armed_again() {
    let (mut sim, _network, slot, peer) = connection(Faults { last_receive: 1.0, ..Faults::none() });
    sim.receive(slot);
    for text in [b"one", b"two", b"six"] {
        peer.write(text);
        assert_eq!(received(&run_until_idle(&mut sim)), text);
    }
    assert_eq!(sim.injected().last_receive, 3);
}

#[test]
fn a_receive_that_ends_without_data_is_armed_again() {
    let (mut sim, network, slot, peer) = connection(Faults { ended_receive: 1.0, ..Faults::none() });
    sim.receive(slot);
    peer.write(b"hello");
    for _ in 0..10 {
        assert!(turn(&mut sim).is_empty());
    }
    network.set_faults(Faults::none());
    assert_eq!(received(&run_until_idle(&mut sim)), b"hello");
}

#[test]
fn a_starved_connection_is_armed_again_only_when_a_buffer_is_free() {
    let (mut sim, network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    let mut kept = Vec::new();
    for _ in 0..BUFFERS.count {
        peer.write(b"x");
        kept.extend(run_until_idle(&mut sim));
    }
    assert_eq!(network.pool().guarded(), usize::from(BUFFERS.count));
    peer.write(b"the last");
    let starved = sim.stats().starved;
    for _ in 0..50 {
        assert!(turn(&mut sim).is_empty());
    }
    assert_eq!(sim.stats().starved, starved + 1, "it is not armed again at once");
    assert!(sim.is_idle(), "it waits for a buffer");
    kept.pop();
    assert!(!sim.is_idle());
    assert_eq!(received(&run_until_idle(&mut sim)), b"the last");
}

#[test]
fn enobufs_with_buffers_ready_loses_nothing() {
    let (mut sim, network, slot, peer) = connection(Faults { no_buffer: 1.0, ..Faults::none() });
    sim.receive(slot);
    peer.write(b"hello");
    for turns in 1..10 {
        assert!(turn(&mut sim).is_empty());
        assert!(sim.stats().starved <= turns, "armed at most once per turn");
    }
    network.set_faults(Faults::none());
    assert_eq!(received(&run_until_idle(&mut sim)), b"hello");
}

#[test]
fn the_first_free_buffer_goes_to_the_longest_waiting_connection() {
    let (mut sim, network, hog, hog_peer) = connection(Faults::none());
    sim.receive(hog);
    let mut kept = Vec::new();
    for _ in 0..BUFFERS.count {
        hog_peer.write(b"x");
        kept.extend(run_until_idle(&mut sim));
    }
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let peer = network.connect();
        let slot = accepted(&mut sim);
        sim.receive(slot);
        peer.write(b"y");
        run_until_idle(&mut sim);
        waiting.push(slot);
    }
    for expected in waiting {
        kept.pop();
        let completions = run_until_idle(&mut sim);
        assert!(matches!(completions[..], [Completion::Received { slot, .. }] if slot == expected), "{completions:?}");
        kept.extend(completions);
    }
    assert_eq!(sim.stats().starved, 1, "the others wait without being armed");
}

#[test]
fn multishots_that_an_overflow_has_ended_are_armed_again() {
    let (mut sim, network) = simulated(Faults { overflow: 1.0, split: 1.0, ..Faults::none() });
    let peers: Vec<Peer> = (0..8).map(|_| network.connect()).collect();
    let mut heard: HashMap<Slot, Vec<u8>> = HashMap::new();
    for peer in &peers {
        peer.write(b"a text that comes in many parts");
    }
    while !sim.is_idle() {
        for completion in turn(&mut sim) {
            match completion {
                Completion::Accepted { slot, .. } => sim.receive(slot),
                Completion::Received { slot, buffer } => heard.entry(slot).or_default().extend_from_slice(&buffer),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(sim.stats().overflows > 0);
    assert!(sim.injected().overflow > 0);
    assert_eq!(heard.len(), peers.len());
    assert!(heard.values().all(|bytes| bytes == b"a text that comes in many parts"));
}

#[test]
fn a_multishot_ends_without_room_for_its_completion() {
    let (mut kernel, descriptor) = kernel();
    kernel.faults = Faults { overflow: 1.0, split: 1.0, ..Faults::none() };
    for _ in 0..BUFFERS.count {
        let index = kernel.pool().take().expect("the pool is full");
        kernel.provide(index);
    }
    kernel.submit(2, Sqe::Receive { descriptor });
    kernel.connections[0].lock().write(&[7; 1000]);
    kernel.enter();
    assert!(kernel.is_overflowing());
    let mut events: Vec<Cqe> = Vec::new();
    while kernel.in_flight() > 0 {
        events.extend(std::iter::from_fn(|| kernel.next_cqe()));
        kernel.enter();
    }
    let (last, before) = events.split_last().expect("there are events");
    assert!(before.iter().all(|event| event.more) && !last.more, "the completion without room ends it");
    assert!(last.buffer.is_some(), "it still has its data");
}

#[test]
fn a_poll_of_the_waker_that_an_overflow_has_ended_is_armed_again() {
    let (mut sim, network) = simulated(Faults { overflow: 1.0, ..Faults::none() });
    let waker = sim.waker();
    for _ in 0..5 {
        let _peers: Vec<Peer> = (0..8).map(|_| network.connect()).collect();
        waker.wake();
        let completions = run_until_idle(&mut sim);
        assert!(completions.iter().any(|completion| matches!(completion, Completion::Woken)), "{completions:?}");
    }
}

#[test]
fn the_user_sends_the_rest_of_a_short_send() {
    let (mut sim, _network, slot, peer) = connection(Faults { short_send: 1.0, ..Faults::none() });
    let text = b"a text that is sent in parts";
    let mut rest = text.to_vec();
    let mut sends = 0;
    while !rest.is_empty() {
        sim.send(slot, output(&rest));
        sends += 1;
        for completion in run_until_idle(&mut sim) {
            let Completion::Sent { output, written, .. } = completion else { panic!("{completion:?}") };
            assert_eq!(output.chunks().flat_map(Chunk::as_slice).copied().collect::<Vec<_>>(), rest);
            assert!(written > 0 && (written < rest.len() || rest.len() == 1));
            rest.drain(..written);
        }
    }
    assert_eq!(peer.read(), text);
    assert!(sends > 1);
    assert_eq!(sim.stats().short_sends, sends - 1);
}

#[test]
fn a_send_that_fails_with_a_reset_is_short_and_the_end_follows() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    peer.set_window(4);
    sim.receive(slot);
    sim.send(slot, output(b"12345678"));
    assert!(run_until_idle(&mut sim).is_empty());
    peer.reset();
    let completions = run_until_idle(&mut sim);
    let written = completions.iter().find_map(|completion| match completion {
        Completion::Sent { written, .. } => Some(*written),
        _ => None,
    });
    assert_eq!(written, Some(4));
    let ends =
        completions.iter().filter(|completion| matches!(completion, Completion::Ended { cause: Cause::Reset, .. }));
    assert_eq!(ends.count(), 1);
    sim.send(slot, output(b"5678"));
    assert!(matches!(&run_until_idle(&mut sim)[..], [Completion::Sent { written: 0, .. }]), "Ended comes once");
}

/// A connection whose send has failed while bytes wait that arrived before the reset.
fn failed_send() -> (Sim, Network, Slot) {
    let (mut sim, network, slot, peer) = connection(Faults { late: 1.0, ..Faults::none() });
    sim.receive(slot);
    turn(&mut sim);
    network.set_faults(Faults::none());
    peer.write(b"on its way");
    peer.reset();
    sim.send(slot, output(b"x"));
    assert!(turn(&mut sim).is_empty(), "neither is reported");
    (sim, network, slot)
}

#[test]
fn bytes_before_a_reset_are_received_before_a_failed_send_reports_it() {
    let (mut sim, _network, slot) = failed_send();
    let completions = run_until_idle(&mut sim);
    assert_eq!(received(&completions), b"on its way");
    let [.., last_but_one, last] = &completions[..] else { panic!("{completions:?}") };
    assert!(matches!(last_but_one, Completion::Sent { written: 0, .. }), "{completions:?}");
    assert!(matches!(last, Completion::Ended { cause: Cause::Reset, .. }), "{completions:?}");
    sim.send(slot, output(b"y"));
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Sent { written: 0, .. }]), "Ended comes once");
}

#[test]
fn a_failed_send_waits_for_no_receive_that_is_paused() {
    let (mut sim, _network, slot) = failed_send();
    sim.pause(slot);
    let completions = run_until_idle(&mut sim);
    assert!(
        matches!(completions[..], [Completion::Sent { .. }, Completion::Ended { cause: Cause::Reset, .. }]),
        "{completions:?}"
    );
}

#[test]
fn failed_sends_give_their_buffers_back_to_receives_that_wait_for_one() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    peer.write(&[7; 16 * 1024]);
    let chunks = run_until_idle(&mut sim).into_iter().map(|completion| match completion {
        Completion::Received { buffer, .. } => {
            let range = 0..buffer.len() as u32;
            Chunk::Buffer { buffer, range }
        }
        other => panic!("{other:?}"),
    });
    let all = Output::Many(chunks.collect());
    assert_eq!(sim.free_buffers(), 0);
    peer.write(b"on its way");
    peer.reset();
    sim.send(slot, all);
    let completions = run_until_idle(&mut sim);
    assert!(
        matches!(completions[..], [Completion::Sent { .. }, Completion::Ended { cause: Cause::Reset, .. }]),
        "{completions:?}"
    );
    drop(completions);
    assert_eq!(sim.free_buffers(), 16);
}

#[test]
fn a_failed_send_is_released_when_the_slot_is_closed() {
    let (mut sim, _network, slot) = failed_send();
    sim.close(slot);
    let completions = run_until_idle(&mut sim);
    assert!(matches!(completions[..], [Completion::Released { .. }]), "{completions:?}");
    assert_eq!(sim.stats().open, 0);
}

#[test]
fn a_descriptor_is_closed_only_after_its_operations_were_cancelled() {
    // The simulated kernel panics when a descriptor is closed earlier. Cancels that come too late
    // are repeated.
    let (mut sim, network, slot, peer) = connection(Faults { late: 0.5, shuffle: 1.0, ..Faults::none() });
    let other = sim.reserve().expect("a slot");
    network.set_reception(Reception::Ignore);
    sim.connect(other, SocketAddr::from(([198, 51, 100, 1], 2000)));
    peer.set_window(0);
    sim.receive(slot);
    sim.send(slot, output(b"stalls"));
    run_until_idle(&mut sim);
    network.set_faults(Faults { missed_cancel: 1.0, ..Faults::none() });
    sim.close(slot);
    sim.close(other);
    for _ in 0..10 {
        assert!(turn(&mut sim).is_empty());
    }
    assert!(sim.injected().missed_cancel >= 30, "the receive, the send and the connect continue");
    network.set_faults(Faults { late: 0.5, shuffle: 1.0, ..Faults::none() });
    let completions = run_until_idle(&mut sim);
    assert!(matches!(completions[..], [Completion::Released { .. }]), "the output is returned: {completions:?}");
    assert_eq!((sim.open(), sim.in_flight()), (0, 0));
    assert!(peer.is_finished());
}

#[test]
fn a_pause_takes_effect_although_its_cancel_was_too_late() {
    let (mut sim, network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    run_until_idle(&mut sim);
    network.set_faults(Faults { missed_cancel: 1.0, ..Faults::none() });
    sim.pause(slot);
    for _ in 0..5 {
        assert!(turn(&mut sim).is_empty());
    }
    assert!(sim.injected().missed_cancel >= 4);
    network.set_faults(Faults::none());
    run_until_idle(&mut sim);
    peer.write(b"later");
    assert!(run_until_idle(&mut sim).is_empty());
    sim.receive(slot);
    assert_eq!(received(&run_until_idle(&mut sim)), b"later");
}

#[test]
fn a_cancel_that_was_too_late_is_not_repeated_when_the_receive_is_wanted_again() {
    let (mut sim, network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    run_until_idle(&mut sim);
    network.set_faults(Faults { missed_cancel: 1.0, ..Faults::none() });
    sim.pause(slot);
    sim.receive(slot);
    run_until_idle(&mut sim);
    assert_eq!(sim.injected().missed_cancel, 1);
    peer.write(b"at once");
    assert_eq!(received(&run_until_idle(&mut sim)), b"at once");
}

#[test]
fn a_second_pause_takes_effect_while_the_cancel_of_the_first_is_in_flight() {
    // Cancels are late, so receives that end with their data complete before them.
    for seed in 0..200 {
        let faults = Faults { late: 0.7, last_receive: 0.5, missed_cancel: 0.3, ..Faults::none() };
        let (mut sim, network) = Sim::new(seed, faults, BUFFERS);
        sim.start_listening();
        let peer = network.connect();
        let slot = accepted(&mut sim);
        for _ in 0..5 {
            sim.receive(slot);
            peer.write(b"x");
            turn(&mut sim);
            sim.pause(slot);
            turn(&mut sim);
            sim.receive(slot);
            turn(&mut sim);
            sim.pause(slot);
        }
        run_until_idle(&mut sim);
        peer.write(b"held back");
        assert!(run_until_idle(&mut sim).is_empty(), "seed {seed}");
    }
}

#[test]
fn draining_accepts_each_connection_of_the_queue_once_under_faults() {
    for seed in 0..200 {
        let faults = Faults { reset: 0.0, ..Faults::all() };
        let (mut sim, network) = Sim::new(seed, faults, BufferConfig::default());
        sim.start_listening();
        let peers: Vec<_> = (0..30).map(|_| network.connect()).collect();
        let mut completions = Vec::new();
        for _ in 0..seed % 5 {
            sim.wait(None, &mut completions).expect("the simulation does not fail");
        }
        sim.drain_listeners();
        while sim.has_listeners() {
            sim.wait(None, &mut completions).expect("the simulation does not fail");
        }
        let accepted = completions.iter().filter(|of| matches!(of, Completion::Accepted { .. })).count();
        let aborted = peers.iter().filter(|peer| peer.is_reset()).count();
        assert_eq!(accepted + aborted, 30, "seed {seed}");
        assert_eq!(network.injected().aborted, aborted as u64, "seed {seed}: no other connection is reset");
        assert!(network.connect().is_reset(), "seed {seed}: nothing listens");
    }
}

#[test]
fn listening_ends_although_the_cancel_of_its_accept_was_too_late() {
    let (mut sim, network) = simulated(Faults::none());
    run_until_idle(&mut sim);
    network.set_faults(Faults { missed_cancel: 1.0, ..Faults::none() });
    sim.stop_listening();
    for _ in 0..5 {
        assert!(turn(&mut sim).is_empty());
    }
    network.set_faults(Faults::none());
    run_until_idle(&mut sim);
    assert!(network.connect().is_reset(), "there is no listener");
}

#[test]
fn a_connection_that_breaks_after_the_peers_fin_reports_it_once() {
    let (mut sim, _network, slot, peer) = connection(Faults::none());
    sim.receive(slot);
    peer.finish();
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Ended { cause: Cause::Finished, .. }]));
    peer.reset();
    sim.send(slot, output(b"x"));
    let completions = run_until_idle(&mut sim);
    assert!(
        matches!(completions[..], [Completion::Sent { .. }, Completion::Ended { cause: Cause::Reset, .. }]),
        "{completions:?}"
    );
    sim.send(slot, output(b"y"));
    assert!(matches!(run_until_idle(&mut sim)[..], [Completion::Sent { written: 0, .. }]));
}

#[test]
fn dropping_the_driver_closes_connections_and_returns_buffers() {
    let (mut sim, network, slot, peer) = connection(Faults::none());
    peer.set_window(2);
    sim.receive(slot);
    sim.send(slot, output(b"under way"));
    turn(&mut sim);
    peer.write(b"unread");
    drop(sim);
    assert!(peer.is_reset());
    assert!(network.connect().is_reset());
    let pool = network.pool();
    assert_eq!((network.in_flight(), pool.guarded(), pool.free()), (0, 0, usize::from(BUFFERS.count)));
}

#[test]
fn accepting_pauses_without_descriptors_and_resumes_when_a_slot_is_freed() {
    let (mut sim, network, first, _peer) = connection(Faults::none());
    network.set_descriptor_limit(1);
    let waiting = network.connect();
    for _ in 0..20 {
        assert!(turn(&mut sim).is_empty());
    }
    assert_eq!((sim.stats().accept_pauses, sim.stats().completions), (1, 2), "one EMFILE, then a pause");
    assert!(!waiting.is_reset(), "it waits in the backlog");
    sim.close(first);
    let second = accepted(&mut sim);
    assert!(sim.stats().turns < 30, "it resumes when the slot is freed, not at the end of the pause");
    assert_eq!(sim.peer_address(second), Some(waiting.address()));
}

#[test]
fn accepting_pauses_at_the_limit_of_slots() {
    let (mut sim, network) = simulated(Faults::none());
    sim.limit_connections(1);
    let _peers = [network.connect()];
    let slot = accepted(&mut sim);
    assert_eq!(sim.reserve(), None);
    let waiting = network.connect();
    assert!(run_until_idle(&mut sim).is_empty());
    sim.close(slot);
    let second = accepted(&mut sim);
    assert_eq!(sim.peer_address(second), Some(waiting.address()));
    assert_eq!(sim.stats().accept_pauses, 2);
}
