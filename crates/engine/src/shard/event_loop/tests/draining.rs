//! The drain of a shard: its order, its rate and its deadline.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{Admission, Config, DrainReason, DrainReport, Limits, Rate, Shard};
use ringway_io::sim::Faults;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn world(seed: u64, faults: Faults, config: Config) -> World<Scripted> {
    World::with(seed, faults, config, Limits::default(), Scripted::new())
}

fn drain(world: &World<Scripted>, reason: DrainReason) {
    world.post(move |_, shard: &mut Shard<'_, Scripted>| shard.drain(reason));
}

fn report(world: &World<Scripted>) -> DrainReport {
    world.shard.core.drain.as_ref().expect("it drains").report
}

/// Answers the close frame of each client that has one, and returns the indices of those.
fn answer(clients: &mut [WebSocketPeer], open: &mut Vec<usize>, code: u16) -> Vec<usize> {
    let told: Vec<usize> = open
        .iter()
        .copied()
        .filter(|at| match clients[*at].take()[..] {
            [] => false,
            [Got::Close(got)] => {
                assert_eq!(got, Some(code));
                true
            }
            ref other => panic!("{other:?}"),
        })
        .collect();
    for at in &told {
        clients[*at].close(code);
    }
    open.retain(|at| !told.contains(at));
    told
}

/// Answers the close frame of each client that was accepted before the drain began. The others were
/// refused with 503: returns their number.
fn answer_or_refused(clients: &mut [WebSocketPeer], seed: u64) -> u64 {
    let mut refused = 0;
    for client in clients {
        assert!(!client.peer.is_reset(), "seed {seed}");
        match client.take()[..] {
            [Got::Close(Some(1001))] => client.close(1001),
            [] => {
                refused += 1;
                assert_eq!(client.status(), 503, "seed {seed}: {client:?}");
                assert!(client.head.contains("\r\nretry-after: 1\r\n"), "{}", client.head);
                client.peer.finish();
            }
            ref other => panic!("seed {seed}: {other:?}"),
        }
    }
    refused
}

#[test]
fn a_stop_is_announced_first_and_accepts_until_the_delay_is_over() {
    each_seed(|seed, faults| {
        let config = Config { drain_delay: 3 * SECOND, ..Config::default() };
        let mut world = world(seed, faults, config);
        world.shard.core.readiness.started();
        let readiness = world.shard.core.readiness.clone();
        let mut early = world.open_client();
        assert!(readiness.is_ready());
        drain(&world, DrainReason::Stop);
        world.run_until_idle();
        assert!(readiness.is_draining() && !readiness.is_ready(), "seed {seed}");
        world.post(|handler, shard| handler.count = usize::from(shard.is_draining()));
        world.pass(2 * SECOND);
        assert_eq!(world.handler().count, 1, "seed {seed}");
        let mut late = world.open_client();
        late.text("still served");
        world.run_until_idle();
        assert_eq!((late.take(), early.take()), (vec![Got::text("still served")], vec![]), "seed {seed}");
        world.pass(SECOND);
        for client in [&mut early, &mut late] {
            assert_eq!(client.take(), [Got::Close(Some(1001))], "seed {seed}");
            client.close(1001);
        }
        assert!(world.network.connect().is_reset(), "seed {seed}");
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
        assert_eq!(report(&world).closed, 2, "seed {seed}");
    });
}

#[test]
fn connections_in_the_queue_are_answered_with_503_and_none_is_reset() {
    for seed in 0..300 {
        // The accept is late, so the connections are in the queue, or accepted and not reported yet.
        let faults = if seed == 0 { Faults::none() } else { Faults { late: 0.5, empty_turn: 0.5, ..rough() } };
        let mut world = world(seed, faults, Config::default());
        let mut queued: Vec<WebSocketPeer> = (0..100).map(|_| world.client()).collect();
        drain(&world, DrainReason::Stop);
        world.run_until(|world| world.shard.drain.as_ref().is_some_and(|drain| drain.is_closing()));
        world.run_until_idle();
        world.pass(SECOND / 5);
        let refused = answer_or_refused(&mut queued, seed);
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
        let DrainReport { closed, refused: counted, lost, aborted, unopened, .. } = report(&world);
        assert_eq!((closed + refused, counted), (100, refused), "seed {seed}");
        assert_eq!((lost, aborted, unopened), (0, 0, 0), "seed {seed}");
        assert_eq!(world.shard.core.counters.rejected_draining, refused, "seed {seed}");
    }
}

#[test]
fn connections_that_the_accept_rate_delays_are_answered_with_503_at_once() {
    each_seed(|seed, faults| {
        let rate = Admission::new().accept_rate(Some(Rate::per_second(1).burst(1))).expect("in range");
        // Each accept ends after one connection, as on a listener that accepts one at a time.
        let faults = Faults { last_accept: 1.0, ..faults };
        // The queues are cleared for a quarter of the time, which is less than the pause.
        let config = Config { stop_timeout: 2 * SECOND, ..Config::default() }.admission(rate);
        let mut world = world(seed, faults, config);
        let mut first = world.open_client();
        let mut delayed: Vec<WebSocketPeer> = (0..30).map(|_| world.client()).collect();
        // The kernel is never idle while connections wait.
        for _ in 0..50 {
            world.turn();
        }
        delayed.iter_mut().for_each(WebSocketPeer::pull);
        assert!(
            delayed.iter().filter(|client| client.head.is_empty()).count() >= 28,
            "the rate delays them (seed {seed})"
        );
        drain(&world, DrainReason::Stop);
        world.run_until(|world| world.shard.core.refuses_upgrades());
        assert!(!world.shard.accepting.is_paused, "the next turn may begin when the queues are closed (seed {seed})");
        // No time passes meanwhile.
        world.run_until(|world| world.shard.drain.as_ref().is_some_and(|drain| drain.is_closing()));
        world.run_until_idle();
        world.pass(SECOND / 5);
        assert_eq!(first.take(), [Got::Close(Some(1001))], "seed {seed}");
        first.close(1001);
        let refused = answer_or_refused(&mut delayed, seed);
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
        let DrainReport { closed, refused: counted, lost, aborted, .. } = report(&world);
        assert_eq!((closed + refused, counted, lost, aborted), (31, refused, 0, 0), "seed {seed}");
    });
}

#[test]
fn plain_requests_in_the_queue_are_still_answered() {
    let mut world = world(0, Faults::none(), Config::default());
    let probe = world.network.connect();
    probe.write(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n");
    drain(&world, DrainReason::Stop);
    world.run_until_idle();
    let answer = String::from_utf8(probe.read()).expect("ASCII");
    assert!(answer.starts_with("HTTP/1.1 ") && !answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(report(&world).refused, 0);
}

#[test]
fn close_frames_are_sent_at_the_rate_in_random_order() {
    each_seed(|seed, faults| {
        let config = Config { drain_rate: Some(20), stop_timeout: 100 * SECOND, ..Config::default() };
        let mut world = world(seed, faults, config);
        let mut clients: Vec<WebSocketPeer> = (0..40).map(|_| world.open_client()).collect();
        drain(&world, DrainReason::Stop);
        world.run_until_idle();
        let (mut open, mut order) = ((0..40).collect(), Vec::new());
        order.extend(answer(&mut clients, &mut open, 1001));
        for step in 1..=20 {
            world.pass(SECOND / 10);
            order.extend(answer(&mut clients, &mut open, 1001));
            // 20 a second, rounded up, and a step of 10 ms ahead.
            let due = step * 2 + 1;
            assert!((due - 2..=due).contains(&order.len()), "seed {seed}: {} after {step}", order.len());
        }
        world.pass(SECOND / 10);
        order.extend(answer(&mut clients, &mut open, 1001));
        world.run_until_idle();
        assert!(!world.running && open.is_empty(), "seed {seed}");
        assert_eq!(report(&world).closed, 40, "seed {seed}");
        assert!(!order.is_sorted(), "seed {seed}: {order:?}");
    });
}

#[test]
fn the_rate_is_raised_to_fit_the_deadline() {
    each_seed(|seed, faults| {
        let config = Config { drain_rate: Some(1), stop_timeout: 4 * SECOND, ..Config::default() };
        let mut world = world(seed, faults, config);
        let mut clients: Vec<WebSocketPeer> = (0..40).map(|_| world.open_client()).collect();
        drain(&world, DrainReason::Stop);
        let mut open = (0..40).collect();
        world.run_until_idle();
        world.pass(SECOND);
        let half = answer(&mut clients, &mut open, 1001).len();
        assert!((18..=22).contains(&half), "seed {seed}: {half}");
        world.pass(SECOND);
        answer(&mut clients, &mut open, 1001);
        assert!(open.is_empty(), "seed {seed}");
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
    });
}

#[test]
fn what_is_left_at_the_deadline_is_dropped_and_counted() {
    each_seed(|seed, faults| {
        let config = Config { stop_timeout: 2 * SECOND, ..Config::default() };
        let mut world = world(seed, faults, config);
        let mut prompt = world.open_client();
        let _silent: Vec<WebSocketPeer> = (0..3).map(|_| world.open_client()).collect();
        let gone = world.open_client();
        drain(&world, DrainReason::Stop);
        world.run_until_idle();
        assert_eq!(prompt.take(), [Got::Close(Some(1001))], "seed {seed}");
        prompt.close(1001);
        gone.peer.reset();
        world.pass(SECOND);
        assert!(world.running, "seed {seed}");
        world.pass(SECOND + SECOND / 10);
        assert!(!world.running, "seed {seed}");
        let DrainReport { closed, lost, aborted, refused, unopened, .. } = report(&world);
        assert_eq!((closed, lost, aborted, refused, unopened), (1, 1, 3, 0, 0), "seed {seed}");
        assert_eq!(world.sessions(), 0);
    });
}

#[test]
fn a_process_that_was_stopped_during_its_drain_drops_nothing_early() {
    let config = Config { drain_rate: Some(1), stop_timeout: 4 * SECOND, ..Config::default() };
    let mut world = world(0, Faults::none(), config);
    let mut clients: Vec<WebSocketPeer> = (0..8).map(|_| world.open_client()).collect();
    drain(&world, DrainReason::Stop);
    world.run_until_idle();
    world.stall(60 * SECOND);
    assert!(world.running);
    let mut open = (0..8).collect();
    answer(&mut clients, &mut open, 1001);
    assert!(!open.is_empty(), "the time that it was stopped does not count");
    for _ in 0..4 {
        world.pass(SECOND / 2);
        answer(&mut clients, &mut open, 1001);
    }
    world.run_until_idle();
    assert!(!world.running && open.is_empty());
    assert_eq!(report(&world).closed, 8);
}

#[test]
fn a_hand_over_closes_with_1012_and_completes_handshakes_first() {
    each_seed(|seed, faults| {
        let config = Config { drain_delay: 60 * SECOND, ..Config::default() };
        let mut world = world(seed, faults, config);
        let mut old = world.open_client();
        let mut opening = WebSocketPeer::new(world.network.connect(), ringway_codec::Role::Client);
        opening.write(&REQUEST.as_bytes()[..40]);
        world.run_until_idle();
        drain(&world, DrainReason::HandOver);
        world.run_until_idle();
        assert!(world.network.connect().is_reset(), "it listens no more, without a delay (seed {seed})");
        assert_eq!(old.take(), [Got::Close(Some(1012))], "seed {seed}");
        old.close(1012);
        opening.write(&REQUEST.as_bytes()[40..]);
        world.run_until_idle();
        opening.text("served");
        world.pass(SECOND);
        let got = opening.take();
        assert_eq!(opening.status(), 101, "seed {seed}");
        assert!(got.ends_with(&[Got::Close(Some(1012))]), "seed {seed}: {got:?}");
        opening.close(1012);
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
        assert_eq!((report(&world).closed, report(&world).refused), (2, 0), "seed {seed}");
    });
}

#[test]
fn connections_that_the_kernel_has_accepted_are_served_in_a_hand_over() {
    for seed in 0..300 {
        let faults = Faults { overflow: 0.5, empty_turn: 0.5, late: 0.5, ..rough() };
        let mut world = world(seed, faults, Config::default());
        let mut clients: Vec<WebSocketPeer> = (0..20).map(|_| world.client()).collect();
        for _ in 0..seed % 4 {
            world.turn();
        }
        drain(&world, DrainReason::HandOver);
        world.run_until_idle();
        world.pass(SECOND);
        let mut served = 0;
        for client in &mut clients {
            // In the simulation nobody else has the socket, so its queue is reset.
            if client.peer.is_reset() {
                continue;
            }
            assert_eq!(client.take(), [Got::Close(Some(1012))], "seed {seed}: {client:?}");
            client.close(1012);
            served += 1;
        }
        world.run_until_idle();
        assert!(!world.running, "seed {seed}");
        assert_eq!(report(&world).closed, served, "seed {seed}");
        assert_eq!(world.network.injected().reset, 0);
    }
}

#[test]
fn the_first_reason_counts() {
    let mut world = world(0, Faults::none(), Config::default());
    let mut client = world.open_client();
    world.shard.control.handle.drain(DrainReason::HandOver);
    world.shard.control.handle.drain(DrainReason::Stop);
    world.run_until_idle();
    drain(&world, DrainReason::Stop);
    world.run_until_idle();
    assert_eq!(client.take(), [Got::Close(Some(1012))]);
    client.close(1012);
    world.run_until_idle();
    assert!(!world.running);
}
