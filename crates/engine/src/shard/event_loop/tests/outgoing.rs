//! Outgoing connections: their addresses on both sides, and the step before the upgrade.

use super::world::{Got, Scripted, WebSocketPeer, World, each_seed};
use crate::api::endpoint::EndpointTls;
use crate::tls::stream::tests::{configs, name};
use crate::{Config, ConnectError, ConnectionId, Endpoint, Message, OpeningStage};
use ringway_io::sim::{Faults, Reception};
use rustls::version::TLS13;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|address| address.parse().expect("an address")).collect()
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|address| address.parse().expect("an address")).collect()
}

fn connect(world: &World<Scripted>, endpoint: &Arc<Endpoint>, count: u32) {
    let endpoint = Arc::clone(endpoint);
    world.post(move |_, shard| (0..count).for_each(|state| shard.connect(&endpoint, state)));
}

/// The servers of the connections that have been established since the last call.
fn servers(world: &mut World<Scripted>) -> Vec<ringway_io::sim::Peer> {
    world.run_until_idle();
    std::iter::from_fn(|| world.network.accept()).collect()
}

#[test]
fn connections_use_all_addresses_and_all_sources_in_turn() {
    each_seed(|seed, faults| {
        let endpoint = Endpoint::with_addresses("ws://chat.example/", addresses(&["192.0.2.1:80", "192.0.2.2:81"]));
        let endpoint = endpoint.expect("valid").rotate_addresses(true).sources(ips(&["198.51.100.1", "198.51.100.2"]));
        let endpoint = Arc::new(endpoint.expect("of the family"));
        let mut world = World::new(seed, faults, Scripted::new());
        connect(&world, &endpoint, 8);
        let mut pairs: BTreeMap<(SocketAddr, Option<IpAddr>), u32> = BTreeMap::new();
        for server in servers(&mut world) {
            *pairs.entry((server.address(), server.source())).or_default() += 1;
        }
        assert_eq!(pairs.values().copied().collect::<Vec<_>>(), [2; 4], "seed {seed}: {pairs:?}");
    });
}

#[test]
fn without_sources_the_kernel_chooses_and_the_first_address_is_used() {
    let endpoint = Endpoint::with_addresses("ws://chat.example/", addresses(&["192.0.2.1:80", "192.0.2.2:80"]));
    let endpoint = Arc::new(endpoint.expect("valid"));
    let mut world = World::new(0, Faults::none(), Scripted::new());
    connect(&world, &endpoint, 3);
    for server in servers(&mut world) {
        assert_eq!((server.address().to_string(), server.source()), ("192.0.2.1:80".to_owned(), None));
    }
}

#[test]
fn an_address_of_another_machine_fails_the_connection_and_is_named() {
    each_seed(|seed, faults| {
        let endpoint = Endpoint::resolve("ws://192.0.2.1:80/").expect("an address");
        let endpoint = Arc::new(endpoint.sources(ips(&["198.51.100.1", "203.0.113.9"])).expect("of the family"));
        let mut world = World::new(seed, faults, Scripted::new());
        world.network.set_foreign(ips(&["203.0.113.9"]));
        connect(&world, &endpoint, 2);
        assert_eq!(servers(&mut world).len(), 1, "seed {seed}");
        let log = ["failed 1: Source 203.0.113.9 is not an address of this machine"];
        assert_eq!(world.handler().take_log(), log, "seed {seed}");
    });
}

#[test]
fn the_addresses_after_the_first_choice_are_tried_too() {
    let endpoint = Endpoint::with_addresses("ws://chat.example/", addresses(&["192.0.2.1:80", "[2001:db8::1]:80"]));
    let endpoint = endpoint.expect("valid").rotate_addresses(true).sources(ips(&["198.51.100.1", "2001:db8::9"]));
    let endpoint = Arc::new(endpoint.expect("of both families"));
    let mut world = World::new(0, Faults::none(), Scripted::new());
    world.network.set_foreign(ips(&["2001:db8::9"]));
    connect(&world, &endpoint, 2);
    let reached: Vec<_> =
        servers(&mut world).iter().map(|server| (server.address().to_string(), server.source())).collect();
    let first = ("192.0.2.1:80".to_owned(), Some(IpAddr::from([198, 51, 100, 1])));
    assert_eq!(reached, [first.clone(), first]);
    assert!(world.handler().take_log().is_empty(), "no connection has failed");
}

#[test]
fn a_missing_port_is_explained() {
    let text = ConnectError::NoPort([127, 0, 0, 2].into(), addresses(&["127.0.0.1:80"])[0].into()).to_string();
    let expected = "no local port is left for another connection from 127.0.0.2 to 127.0.0.1:80; \
                    use more source addresses, or widen net.ipv4.ip_local_port_range";
    assert_eq!(text, expected);

    let endpoint = Endpoint::resolve("ws://192.0.2.1:80/").expect("an address");
    let endpoint = Arc::new(endpoint.sources(ips(&["198.51.100.1"])).expect("of the family"));
    let mut world = World::new(0, Faults::none(), Scripted::new());
    world.network.set_reception(Reception::NoPort);
    connect(&world, &endpoint, 1);
    assert!(servers(&mut world).is_empty());
    assert_eq!(world.handler().take_log(), ["failed 0: NoPort(198.51.100.1, Tcp(192.0.2.1:80))"]);
}

// The step before the upgrade.

fn holding() -> Arc<Endpoint> {
    Arc::new(Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address").hold_before_upgrade(true))
}

/// A shard that holds a connection, and its server.
fn held(seed: u64, faults: Faults) -> (World<Scripted>, ringway_io::sim::Peer) {
    let mut world = World::new(seed, faults, Scripted::new());
    let endpoint = holding();
    world.post(move |_, shard| shard.connect(&endpoint, 5));
    let mut servers = servers(&mut world);
    assert_eq!(world.handler().take_log(), ["connected 5"], "seed {seed}");
    (world, servers.remove(0))
}

fn request(world: &mut World<Scripted>, id: ConnectionId) {
    world.post(move |_, shard| shard.request_upgrade(id));
    world.run_until_idle();
}

#[test]
fn a_held_connection_sends_nothing_before_its_handler_asks_for_the_upgrade() {
    each_seed(|seed, faults| {
        let (mut world, peer) = held(seed, faults);
        // Far beyond the timeouts of the handshake and of idle connections.
        world.pass(500 * SECOND);
        assert_eq!(peer.read(), b"", "seed {seed}");
        assert_eq!((world.handler().take_log().len(), peer.is_finished()), (0, false), "seed {seed}");
        let id = world.handler().held[0];
        request(&mut world, id);
        let mut server = WebSocketPeer::new(peer, ringway_codec::Role::Server);
        server.pull();
        server.accept();
        server.text("welcome");
        world.run_until_idle();
        assert_eq!(world.handler().take_log(), ["open", "message welcome"], "seed {seed}");
        assert_eq!(server.take(), [Got::text("welcome")], "seed {seed}");
        // A second request has no effect.
        request(&mut world, id);
        assert_eq!(server.take(), [], "seed {seed}");
    });
}

#[test]
fn all_connections_can_be_established_before_the_first_upgrade() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_connected = |handler, shard, _| {
            if handler.held.len() == 10 {
                handler.held.iter().for_each(|id| shard.request_upgrade(*id));
            }
        };
        let mut world = World::new(seed, faults, handler);
        let endpoint = holding();
        connect(&world, &endpoint, 9);
        let mut all = servers(&mut world);
        assert!(all.iter().all(|server| server.read().is_empty()) && all.len() == 9, "seed {seed}");
        connect(&world, &endpoint, 1);
        all.extend(servers(&mut world));
        world.run_until_idle();
        assert!(all.iter().all(|server| server.read().starts_with(b"GET / ")), "seed {seed}");
    });
}

#[test]
fn the_timeout_of_the_handshake_continues_after_the_hold() {
    let config = || Config::default().handshake_timeout(10 * SECOND).expect("in range");
    let mut world = World::with(0, Faults::none(), config(), crate::Limits::default(), Scripted::new());
    let endpoint = holding();
    world.post(move |_, shard| shard.connect(&endpoint, 5));
    servers(&mut world);
    world.pass(100 * SECOND);
    let id = world.handler().held[0];
    request(&mut world, id);
    world.handler().take_log();
    world.pass(9 * SECOND);
    assert!(world.handler().take_log().is_empty());
    world.pass(2 * SECOND);
    assert_eq!(world.handler().take_log(), ["failed 5: Timeout(Upgrade)"]);
    world.assert_clean();
}

#[test]
fn the_times_of_the_stages_are_apart() {
    let mut handler = Scripted::new();
    handler.on_open = |handler, conn| {
        let times = conn.opening_times().expect("the client role");
        handler.log.push(format!("{:?} {:?} {:?}", times.held(), times.upgrade(), times.total()));
    };
    let mut world = World::new(0, Faults::none(), handler);
    let endpoint = holding();
    world.post(move |_, shard| shard.connect(&endpoint, 5));
    let peer = servers(&mut world).remove(0);
    world.pass(7 * SECOND);
    let id = world.handler().held[0];
    request(&mut world, id);
    let mut server = WebSocketPeer::new(peer, ringway_codec::Role::Server);
    server.pull();
    world.pass(2 * SECOND);
    server.accept();
    world.run_until_idle();
    assert_eq!(world.handler().take_log(), ["connected 5", "open", "Some(7s) 2s 2s"]);
}

#[test]
fn the_end_of_a_held_connection_is_reported_once() {
    each_seed(|seed, faults| {
        type End = (fn(&ringway_io::sim::Peer), &'static str);
        let ends: [End; 3] = [
            (|peer| peer.finish(), "failed 5: Ended(Upgrade)"),
            (|peer| peer.reset(), "failed 5: Lost Upgrade ConnectionReset"),
            (|peer| peer.write(b"HTTP/1.1 408 Request Timeout\r\n\r\n"), "failed 5: Premature"),
        ];
        for (end, expected) in ends {
            let (mut world, peer) = held(seed, faults);
            end(&peer);
            world.run_until_idle();
            assert_eq!(world.handler().take_log(), [expected], "seed {seed}");
            let id = world.handler().held[0];
            request(&mut world, id);
            assert!(world.handler().take_log().is_empty(), "seed {seed}");
            world.assert_clean();
        }
    });
}

#[test]
fn a_held_connection_cannot_be_used_and_ends_with_its_shard() {
    let (mut world, _peer) = held(0, Faults::none());
    let id = world.handler().held[0];
    world.post(move |handler, shard| handler.log.push(format!("{:?}", shard.connection(id).is_some())));
    world.run_until_idle();
    assert_eq!(world.handler().take_log(), ["false"]);
    world.post(|_, shard| shard.stop());
    world.run_until_idle();
    assert_eq!(world.handler().take_log(), ["failed 5: Stopping"]);
    assert!(!world.running && world.sessions() == 0);
}

#[test]
fn a_panic_of_the_handler_ends_the_held_connection() {
    let mut handler = Scripted::new();
    handler.on_connected = |_, _, _| panic!("on purpose");
    let mut world = World::new(0, Faults::none(), handler);
    let endpoint = holding();
    world.post(move |_, shard| shard.connect(&endpoint, 5));
    servers(&mut world);
    assert_eq!(world.handler().take_log(), ["connected 5", "failed 5: Lost Upgrade Other"]);
    world.assert_clean();
}

#[test]
fn with_tls_a_connection_is_held_after_its_handshake() {
    each_seed(|seed, faults| {
        let mut handler = Scripted::new();
        handler.on_open = |handler, conn| {
            handler.log.push(format!("{:?}", conn.opening_times().is_some_and(|times| times.tls().is_some())));
            assert!(conn.send(Message::text("hello")).is_accepted());
        };
        let mut world = World::new(seed, faults, handler);
        let mut endpoint = Endpoint::resolve("ws://192.0.2.1:443/").expect("an address").hold_before_upgrade(true);
        endpoint.tls = Some(EndpointTls { config: configs(&TLS13).1, name: name() });
        let endpoint = Arc::new(endpoint);
        world.post(move |_, shard| shard.connect(&endpoint, 5));
        let peer = servers(&mut world).remove(0);
        assert!(world.handler().take_log().is_empty(), "the handshake of TLS is not complete (seed {seed})");
        let mut server = WebSocketPeer::new(peer, ringway_codec::Role::Server).secure(&TLS13);
        for _ in 0..3 {
            server.pull();
            world.run_until_idle();
        }
        assert_eq!((world.handler().take_log(), server.head.len()), (vec!["connected 5".to_owned()], 0), "seed {seed}");
        world.pass(100 * SECOND);
        let id = world.handler().held[0];
        request(&mut world, id);
        server.pull();
        server.accept();
        world.run_until_idle();
        assert_eq!(server.take(), [Got::text("hello")], "seed {seed}");
        assert_eq!(world.handler().take_log(), ["open", "true"], "seed {seed}");
    });
}

#[test]
fn the_stage_of_a_premature_answer_is_the_upgrade() {
    assert_eq!(ConnectError::Premature.stage(), Some(OpeningStage::Upgrade));
}
