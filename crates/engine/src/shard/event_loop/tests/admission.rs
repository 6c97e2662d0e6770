//! Limits over all shards, rates, and the rejection of connections.

use super::world::{Got, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::{Admission, Config, Limits, OverRate, Rate, RejectWith};
use ringway_codec::{OpCode, Role};
use ringway_io::Driver as _;
use ringway_io::sim::{Faults, Peer};
use rustix::io::Errno;
use std::net::IpAddr;
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn world(seed: u64, faults: Faults, admission: Admission) -> World<Scripted> {
    World::with(seed, faults, Config::default().admission(admission), Limits::default(), Scripted::new())
}

fn limited(seed: u64, faults: Faults, limits: Limits) -> World<Scripted> {
    World::with(seed, faults, Config::default(), limits, Scripted::new())
}

fn from(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// A peer that has sent nothing.
fn silent(world: &World<Scripted>) -> WebSocketPeer {
    WebSocketPeer::new(world.network.connect(), Role::Client)
}

/// Ends all peers, and checks that nothing is counted any more.
fn end(world: &mut World<Scripted>, peers: impl IntoIterator<Item = Peer>) {
    world.network.set_faults(Faults::none());
    peers.into_iter().for_each(|peer| peer.reset());
    // A connection whose answer is deferred does not receive, and ends with its timeout.
    world.pass(20 * SECOND);
    world.assert_clean();
    assert_eq!(world.counts(), (0, 0, 0), "counts are left (seed {})", world.network.seed());
}

#[test]
fn a_connection_over_the_limit_of_the_process_gets_503_and_the_others_continue() {
    each_seed(|seed, faults| {
        let admission = Admission::new().max_connections(Some(2)).expect("in range");
        let mut world = world(seed, faults, admission);
        let (mut first, second) = (world.open_client(), world.open_client());
        let mut third = world.client();
        world.run_until_idle();
        third.pull();
        assert_eq!(third.status(), 503, "seed {seed}");
        assert!(third.head.contains("\r\nretry-after: 5\r\n"), "{}", third.head);
        assert!(third.body().starts_with("the server is at its limit of connections"), "{}", third.body());
        third.assert_finished();
        assert_eq!((world.shard.core.counters.rejected_limit, world.counts().0), (1, 2));

        first.text("still here");
        world.run_until_idle();
        assert_eq!(first.take(), [Got::text("still here")]);
        second.peer.reset();
        world.run_until_idle();
        let fourth = world.open_client();
        end(&mut world, [first.peer, third.peer, fourth.peer]);
    });
}

#[test]
fn the_operator_chooses_how_connections_are_rejected() {
    let reject = |reject_with| {
        let admission = Admission::new().max_connections(Some(1)).expect("in range").reject_with(reject_with);
        let mut world = world(0, Faults::none(), admission.retry_after(90 * SECOND).expect("in range"));
        let first = world.open_client();
        let mut second = silent(&world);
        world.run_until_idle();
        second.pull();
        let (head, finished) = (second.head.clone(), second.peer.is_finished());
        end(&mut world, [first.peer, second.peer]);
        assert!(finished);
        head
    };
    let head = reject(RejectWith::TooManyRequests);
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nretry-after: 90\r\n"), "{head}");
    assert!(reject(RejectWith::Unavailable).starts_with("HTTP/1.1 503 "));
    assert_eq!(reject(RejectWith::Close), "");
}

#[test]
fn a_listener_with_tls_rejects_with_a_close() {
    let admission = Admission::new().max_connections(Some(1)).expect("in range");
    let mut world = world(0, Faults::none(), admission);
    world.use_tls(crate::tls::stream::tests::configs(&rustls::version::TLS13).0);
    let first = world.open_client();
    let second = silent(&world);
    world.run_until_idle();
    assert!(second.peer.read().is_empty() && second.peer.is_finished());
    end(&mut world, [first.peer, second.peer]);
}

#[test]
fn rejected_connections_beyond_the_responses_in_progress_are_closed() {
    let admission = Admission::new().max_connections(Some(1)).expect("in range");
    let mut world = world(0, Faults::none(), admission);
    let first = world.open_client();
    let peers: Vec<Peer> = (0..200).map(|_| world.network.connect()).collect();
    world.run_until_idle();
    let answered = peers.iter().filter(|peer| peer.read().starts_with(b"HTTP/1.1 503")).count();
    assert_eq!((answered, world.shard.core.counters.rejected_limit), (64, 200));
    assert!(peers.iter().all(Peer::is_finished));
    // Peers that keep a rejected connection open keep it for the close timeout only.
    world.pass(6 * SECOND);
    assert_eq!(world.sessions(), 1);
    end(&mut world, [first.peer]);
}

#[test]
fn a_new_connection_takes_the_place_of_the_oldest_handshake_in_progress() {
    each_seed(|seed, faults| {
        let admission = Admission::new().max_handshakes(Some(10)).expect("in range");
        let mut world = world(seed, faults, admission);
        let mut slow: Vec<WebSocketPeer> = Vec::new();
        for round in 0..50 {
            let peer = silent(&world);
            peer.write(b"GET / HTTP/1.1\r\nHost: a\r\n");
            slow.push(peer);
            world.run_until_idle();
            if round % 10 == 9 {
                // A client that sends its request at once is served.
                let mut client = world.client();
                world.run_until_idle();
                client.pull();
                assert_eq!(client.status(), 101, "seed {seed}, round {round}");
                client.peer.reset();
            }
        }
        let rejected = world.shard.core.counters.rejected_handshakes;
        assert_eq!((rejected, world.counts().1), (41, 9), "seed {seed}");
        slow.iter_mut().for_each(WebSocketPeer::pull);
        let answered: Vec<usize> = (0..50).filter(|at| slow[*at].status() == 503).collect();
        assert_eq!(answered, (0..41).collect::<Vec<_>>(), "seed {seed}: the oldest first");
        // Those that stay complete their handshake.
        for client in &mut slow[41..] {
            client.write(&super::world::REQUEST.as_bytes()["GET /chat HTTP/1.1\r\nHost: server.example\r\n".len()..]);
        }
        world.run_until_idle();
        slow[41..].iter_mut().for_each(WebSocketPeer::pull);
        assert!(slow[41..].iter().all(|client| client.status() == 101), "seed {seed}");
        assert_eq!(world.counts().1, 0, "seed {seed}");
        end(&mut world, slow.into_iter().map(|client| client.peer));
    });
}

#[test]
fn a_deferred_answer_is_no_handshake_in_progress() {
    let admission = Admission::new().max_handshakes(Some(1)).expect("in range");
    let mut world = world(0, Faults::none(), admission);
    world.handler().on_upgrade = |_, _| crate::Upgrade::defer();
    let mut peers = Vec::new();
    for _ in 0..5 {
        peers.push(world.client().peer);
        world.run_until_idle();
    }
    assert_eq!((world.sessions(), world.counts().1, world.shard.core.counters.rejected_handshakes), (5, 0, 0));
    end(&mut world, peers);
}

#[test]
fn each_address_has_its_number_of_connections() {
    each_seed(|seed, faults| {
        let admission = Admission::new().max_per_address(Some(2)).expect("in range").trusting(&["10.0.0.0/8"]);
        let mut world = world(seed, faults, admission);
        let mut peers = Vec::new();
        for (address, expected) in [
            ("203.0.113.1", 101),
            ("203.0.113.1", 101),
            ("203.0.113.1", 503),
            ("203.0.113.2", 101),
            ("2001:db8:1:1::1", 101),
            ("2001:db8:1:1::2", 101),
            ("2001:db8:1:1:ffff::3", 503),
            ("2001:db8:1:2::1", 101),
            ("10.0.0.1", 101),
            ("10.0.0.1", 101),
            ("10.0.0.1", 101),
        ] {
            let mut client = world.client_on(world.network.connect_from(from(address)));
            world.run_until_idle();
            client.pull();
            assert_eq!(client.status(), expected, "{address}, seed {seed}");
            peers.push(client.peer);
        }
        assert_eq!((world.shard.core.counters.rejected_address, world.counts().2), (2, 4), "seed {seed}");
        peers[0].reset();
        world.run_until_idle();
        let mut client = world.client_on(world.network.connect_from(from("203.0.113.1")));
        world.run_until_idle();
        client.pull();
        assert_eq!(client.status(), 101, "seed {seed}: a place is free");
        peers.push(client.peer);
        end(&mut world, peers);
    });
}

#[test]
fn above_the_accept_rate_connections_wait_and_then_are_served_in_order() {
    // Each accept ends after one connection, as on a listener that accepts one at a time.
    let faults = Faults { last_accept: 1.0, ..Faults::none() };
    let rate = Rate::per_second(10).burst(3);
    let mut world = world(1, faults, Admission::new().accept_rate(Some(rate)).expect("in range"));
    let peers: Vec<WebSocketPeer> = (0..20).map(|_| world.client()).collect();
    // The kernel is never idle while connections wait.
    let pass = |world: &mut World<Scripted>, steps: u64| {
        for turn in 0..50 * steps {
            world.turn();
            if turn % 5 == 4 {
                world.now += 10 * MS;
            }
        }
        world.sessions() as u64
    };
    let mut last = pass(&mut world, 1);
    assert_eq!(last, 3, "the burst");
    for tenth in 2..=16 {
        let now = pass(&mut world, 1);
        assert!((last..=last + 1).contains(&now) && now <= 3 + tenth, "{last}, then {now} after {tenth} tenths");
        last = now;
    }
    assert!(last >= 17, "{last}");
    assert_eq!(pass(&mut world, 5), 20);
    assert!(world.shard.driver.stats().accept_pauses >= 15, "{:?}", world.shard.driver.stats());
    end(&mut world, peers.into_iter().map(|client| client.peer));
}

#[test]
fn above_the_accept_rate_connections_are_rejected_on_request() {
    each_seed(|seed, faults| {
        let admission = Admission::new().accept_rate(Some(Rate::per_second(10).burst(3))).expect("in range");
        let mut world = world(seed, faults, admission.over_accept_rate(OverRate::Reject));
        let mut peers: Vec<WebSocketPeer> = (0..10).map(|_| world.client()).collect();
        world.run_until_idle();
        peers.iter_mut().for_each(WebSocketPeer::pull);
        let with = |status| peers.iter().filter(|peer| peer.status() == status).count();
        assert_eq!((with(101), with(503), world.shard.core.counters.rejected_rate), (3, 7, 7), "seed {seed}");
        world.pass(100 * MS);
        let next = world.open_client();
        end(&mut world, peers.into_iter().map(|client| client.peer).chain([next.peer]));
    });
}

#[test]
fn a_message_rate_delays_messages_and_loses_none() {
    each_seed(|seed, faults| {
        let limits = Limits::default().message_rate(Some(Rate::per_second(10).burst(5))).expect("in range");
        let mut world = limited(seed, faults, limits);
        let mut client = world.open_client();
        let mut bystander = world.open_client();
        let all: Vec<u8> = (0..40).flat_map(|n| client.frame(OpCode::Text, true, format!("{n}").as_bytes())).collect();
        client.write(&all);
        world.run_until_idle();
        client.pull();
        assert_eq!(client.got().len(), 5, "seed {seed}: the burst");
        bystander.text("hello");
        world.run_until_idle();
        assert_eq!(bystander.take(), [Got::text("hello")], "seed {seed}: others are not delayed");
        for tenth in 1..=35 {
            world.pass(100 * MS);
            client.pull();
            let expected = (5 + tenth).min(40);
            assert!(
                (expected - 1..=expected).contains(&client.got().len()),
                "seed {seed}, {tenth}: {}",
                client.got().len()
            );
        }
        world.pass(100 * MS);
        let expected: Vec<Got> = (0..40).map(|n| Got::text(&n.to_string())).collect();
        assert_eq!(client.take(), expected, "seed {seed}");
        assert!(world.shard.core.counters.rate_pauses >= 8, "seed {seed}");
        client.close(1000);
        world.pass(SECOND);
        client.pull();
        assert!(matches!(client.got(), [Got::Close(Some(1000))]), "seed {seed}: {:?}", client.got());
        bystander.peer.reset();
        client.peer.reset();
        world.run_until_idle();
        world.assert_clean();
    });
}

#[test]
fn within_the_message_rate_nothing_pauses() {
    let limits = Limits::default().message_rate(Some(Rate::per_second(10))).expect("in range");
    let mut world = limited(0, Faults::none(), limits);
    let mut client = world.open_client();
    for n in 0..50 {
        client.text(&n.to_string());
        world.run_until_idle();
        client.pull();
        assert_eq!(client.got().len(), n + 1);
        world.pass(100 * MS);
    }
    assert_eq!(world.shard.core.counters.rate_pauses, 0);
}

#[test]
fn a_byte_rate_holds_for_messages_of_any_size_and_for_parts_of_them() {
    each_seed(|seed, faults| {
        let limits = Limits::default().byte_rate(Some(Rate::per_second(1000))).expect("in range");
        let mut world = limited(seed, faults, limits);
        let mut client = world.open_client();
        // 40 messages of 1000 bytes with their headers, each in two fragments.
        let payload = [b'x'; 492];
        let fragment = |fin, opcode| client.frame(opcode, fin, &payload);
        let message = [fragment(false, OpCode::Binary), fragment(true, OpCode::Continuation)].concat();
        assert_eq!(message.len(), 1000);
        client.write(&message.repeat(40));
        let mut elapsed = Duration::ZERO;
        while client.got().len() < 40 {
            world.pass(100 * MS);
            client.pull();
            elapsed += 100 * MS;
            assert!(elapsed < 60 * SECOND, "seed {seed}");
        }
        // The first 1000 bytes are free, and what the kernel has put into the 16 buffers of 1024
        // before a pause may exceed the rate.
        let seconds = elapsed.as_secs_f64();
        assert!((39.0 - 16.4..=39.2).contains(&seconds), "seed {seed}: {elapsed:?}");
        assert!(client.take().iter().all(|got| *got == Got::Binary(payload.repeat(2))), "seed {seed}");
        client.peer.reset();
        world.pass(30 * SECOND);
        world.assert_clean();
    });
}

#[test]
fn a_pause_for_the_rate_is_neither_idle_nor_a_slow_message() {
    let config = Config::default().idle_timeout(Some(2 * SECOND)).expect("in range");
    let limits =
        Limits::default().byte_rate(Some(Rate::per_second(100))).and_then(|limits| limits.message_timeout(2 * SECOND));
    let mut world = World::with(0, Faults::none(), config, limits.expect("in range"), Scripted::new());
    let mut client = world.open_client();
    client.send(OpCode::Binary, &vec![b'x'; 3_000]);
    for _ in 0..40 {
        world.pass(SECOND);
        client.pull();
        if client.got().iter().any(|got| matches!(got, Got::Ping(_))) {
            client.take();
            client.send(OpCode::Pong, b"");
        }
        if !client.got().is_empty() {
            break;
        }
    }
    assert!(matches!(client.got().first(), Some(Got::Binary(payload)) if payload.len() == 3_000), "{:?}", client.got());
}

#[test]
fn a_shard_stops_while_accepting_and_connections_are_paused() {
    for seed in 1..=40 {
        let admission = Admission::new().accept_rate(Some(Rate::per_second(1).burst(2))).expect("in range");
        let limits = Limits::default().message_rate(Some(Rate::per_second(1))).expect("in range");
        let mut world = World::with(seed, rough(), Config::default().admission(admission), limits, Scripted::new());
        let mut client = world.open_client();
        let _waiting: Vec<Peer> = (0..5).map(|_| world.network.connect()).collect();
        (0..10).for_each(|n| client.text(&n.to_string()));
        // The kernel is not idle while connections wait.
        (0..100).for_each(|_| world.turn());
        assert!(world.shard.core.counters.rate_pauses > 0, "seed {seed}");
        world.post(|_, shard| shard.stop());
        world.run_until_idle();
        client.pull();
        client.close(1001);
        world.pass(30 * SECOND);
        assert!(!world.running, "seed {seed}");
        assert_eq!((world.sessions(), world.shard.core.memory.held()), (0, 0), "seed {seed}");
    }
}

#[test]
fn while_the_kernel_has_nothing_for_another_socket_open_connections_go_on_and_accepting_resumes() {
    const ERRORS: [Errno; 4] = [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM];
    each_seed(|seed, faults| {
        let errno = ERRORS[seed as usize % ERRORS.len()];
        let mut world = limited(seed, faults, Limits::default());
        let mut open = [world.open_client(), world.open_client()];
        world.network.set_descriptor_error(errno.raw_os_error());
        world.network.set_descriptor_limit(2);
        let mut waiting: Vec<WebSocketPeer> = (0..5).map(|_| world.client()).collect();
        for round in 0..10 {
            open.iter().for_each(|client| client.text("still served"));
            world.pass(SECOND);
            for client in &mut open {
                assert_eq!(client.take(), [Got::text("still served")], "round {round}, errno {errno}, seed {seed}");
            }
        }
        // It is tried again once a second, not in each turn.
        let pauses = world.shard.driver.stats().accept_pauses;
        assert!((1..=11).contains(&pauses), "{pauses} pauses in 10 s, errno {errno}, seed {seed}");
        assert_eq!(world.sessions(), 2, "errno {errno}, seed {seed}");

        // What was lacking is there again, although no connection of this shard has closed.
        world.network.set_descriptor_limit(usize::MAX);
        world.pass(2 * SECOND);
        for client in &mut waiting {
            client.pull();
            assert_eq!(client.status(), 101, "errno {errno}, seed {seed}");
        }
        world.network.set_faults(Faults::none());
        waiting.into_iter().chain(open).for_each(|client| client.peer.reset());
        world.run_until_idle();
        world.assert_clean();
    });
}
