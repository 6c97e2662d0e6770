//! The PROXY protocol, and the addresses of clients behind proxies.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed};
use crate::tls::stream::tests::configs;
use crate::{Admission, Config, Limits, Upgrade};
use ringway_codec::Role;
use ringway_io::sim::{Faults, Peer};
use rustls::version::{TLS12, TLS13};
use std::time::Duration;

const PROXY: &str = "10.0.0.1";
const STRANGER: &str = "203.0.113.66";
const LINE: &[u8] = b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 443\r\n";

/// Version 2, of the client 203.0.113.7, with one further field.
const BINARY: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0f\xcb\x00\x71\x07\xc6\x33\x64\x01\xdc\x04\x01\xbb\x04\x00\x00";

/// Version 2, a health check of the proxy.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn handler() -> Scripted {
    let mut handler = Scripted::new();
    handler.on_upgrade = |handler, request| {
        let address = request.client_addr().map_or_else(|| "none".to_owned(), |address| address.to_string());
        handler.log.push(format!("client {address}"));
        Upgrade::accept(7)
    };
    handler
}

fn admission() -> Admission {
    Admission::new().trusting(&["10.0.0.0/8"]).proxy_protocol(true)
}

fn world(seed: u64, faults: Faults, admission: Admission) -> World<Scripted> {
    World::with(seed, faults, Config::default().admission(admission), Limits::default(), handler())
}

fn connect(world: &World<Scripted>, address: &str) -> Peer {
    world.network.connect_from(address.parse().expect("an address"))
}

/// A client whose connection begins with these bytes.
fn client(world: &World<Scripted>, address: &str, bytes: &[u8]) -> WebSocketPeer {
    let client = WebSocketPeer::new(connect(world, address), Role::Client);
    client.write(bytes);
    client
}

#[track_caller]
fn assert_closed(world: &mut World<Scripted>, mut peer: WebSocketPeer, rejected: u64) {
    world.run_until_idle();
    peer.pull();
    assert!((peer.peer.is_finished() || peer.peer.is_reset()) && peer.head.is_empty(), "{peer:?}");
    assert_eq!(world.shard.core.counters.rejected_proxy, rejected);
    assert!(world.handler().take_log().is_empty());
}

#[test]
fn a_trusted_peer_names_its_client_and_the_request_may_follow_in_any_split() {
    for (header, name) in
        [(LINE, "203.0.113.7"), (BINARY, "203.0.113.7"), (LOCAL, PROXY), (b"PROXY UNKNOWN\r\n", PROXY)]
    {
        let all = [header, REQUEST.as_bytes()].concat();
        for split in 0..=header.len() + 3 {
            let mut world = world(0, Faults::none(), admission());
            let mut client = client(&world, PROXY, &all[..split]);
            world.run_until_idle();
            client.write(&all[split..]);
            world.run_until_idle();
            client.pull();
            assert_eq!(client.status(), 101, "split at {split} of {}", header.escape_ascii());
            assert_eq!(world.handler().take_log(), [format!("client {name}"), "open".to_owned()]);
            client.text("hello");
            world.run_until_idle();
            assert_eq!(client.take(), [Got::text("hello")]);
            client.peer.reset();
            world.run_until_idle();
            world.assert_clean();
        }
    }
}

#[test]
fn header_request_and_messages_in_one_write_are_served_under_faults() {
    each_seed(|seed, faults| {
        let mut world = world(seed, faults, admission());
        let mut client = client(&world, PROXY, &[BINARY, REQUEST.as_bytes()].concat());
        client.text("early");
        client.peer.finish();
        world.run_until_idle();
        client.pull();
        assert_eq!(client.status(), 101, "seed {seed}");
        assert_eq!(client.take(), [Got::text("early")], "seed {seed}");
        world.network.set_faults(Faults::none());
        world.run_until_idle();
        world.assert_clean();
    });
}

#[test]
fn the_header_comes_before_tls() {
    for version in [&TLS12, &TLS13] {
        for header in [LINE, BINARY, LOCAL] {
            for split in [0, 1, header.len() - 1, header.len()] {
                let mut world = world(0, Faults::none(), admission());
                world.use_tls(configs(version).0);
                let peer = connect(&world, PROXY);
                peer.write(&header[..split]);
                // With the ClientHello behind it, or in a write of its own.
                if split < header.len() {
                    world.run_until_idle();
                    peer.write(&header[split..]);
                }
                let mut client = WebSocketPeer::new(peer, Role::Client).secure(version);
                client.write(REQUEST.as_bytes());
                for _ in 0..3 {
                    world.run_until_idle();
                    client.pull();
                }
                assert_eq!(client.status(), 101, "split at {split} of {}", header.escape_ascii());
                client.text("hello");
                world.run_until_idle();
                assert_eq!(client.take(), [Got::text("hello")]);
                client.peer.reset();
                world.run_until_idle();
                world.assert_clean();
            }
        }
    }
}

#[test]
fn a_trusted_peer_without_a_valid_header_is_closed() {
    each_seed(|seed, faults| {
        let mut world = world(seed, faults, admission());
        let wrong: [&[u8]; 5] = [
            REQUEST.as_bytes(),
            b"PROXY TCP4 203.0.113.7 198.51.100.1 56324 65536\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x31",
            b"\x16\x03\x01",
            &[b'P'; 20_000],
        ];
        for (at, bytes) in wrong.into_iter().enumerate() {
            let peer = client(&world, PROXY, bytes);
            assert_closed(&mut world, peer, at as u64 + 1);
        }
        world.network.set_faults(Faults::none());
        world.run_until_idle();
        world.assert_clean();
    });
}

#[test]
fn a_header_that_does_not_end_is_closed_after_the_handshake_timeout() {
    let mut world = world(0, Faults::none(), admission());
    let slow = client(&world, PROXY, &LINE[..20]);
    let silent = client(&world, PROXY, b"");
    world.run_until_idle();
    assert_eq!(world.sessions(), 2);
    world.pass(Duration::from_secs(11));
    assert_closed(&mut world, slow, 2);
    assert_closed(&mut world, silent, 2);
    world.assert_clean();
}

#[test]
fn a_header_of_an_untrusted_peer_is_refused_and_without_one_it_is_served() {
    for header in [LINE, BINARY] {
        let mut world = world(0, Faults::none(), admission());
        let forged = client(&world, STRANGER, &[header, REQUEST.as_bytes()].concat());
        assert_closed(&mut world, forged, 1);
        let mut honest = client(&world, STRANGER, REQUEST.as_bytes());
        world.run_until_idle();
        honest.pull();
        assert_eq!(honest.status(), 101);
        assert_eq!(world.handler().take_log(), [format!("client {STRANGER}"), "open".to_owned()]);
    }
    // In parts, its beginning is an invalid request.
    let mut world = world(0, Faults::none(), admission());
    let mut forged = client(&world, STRANGER, &LINE[..3]);
    world.run_until_idle();
    forged.write(&[&LINE[3..], REQUEST.as_bytes()].concat());
    world.run_until_idle();
    forged.pull();
    assert!(matches!(forged.status(), 400 | 505), "{forged:?}");
    // A second header of a trusted peer is one of its client.
    let twice = client(&world, PROXY, &[LINE, LINE, REQUEST.as_bytes()].concat());
    assert_closed(&mut world, twice, 1);
}

#[test]
fn without_the_option_the_header_is_an_invalid_request() {
    let mut world = world(0, Faults::none(), Admission::new().trusting(&["10.0.0.0/8"]));
    for header in [LINE, BINARY] {
        let mut peer = client(&world, PROXY, &[header, REQUEST.as_bytes()].concat());
        world.run_until_idle();
        peer.pull();
        assert!(matches!(peer.status(), 400 | 505), "{peer:?}");
    }
}

#[test]
fn the_client_of_a_proxy_is_counted_and_the_proxy_is_not() {
    let mut world = world(0, Faults::none(), admission().max_per_address(Some(2)).expect("in range"));
    let other = b"PROXY TCP6 2001:db8::7 ::1 56324 443\r\n";
    let mut peers = Vec::new();
    for (header, expected) in [
        (LINE, 101),
        (BINARY, 101),
        (LINE, 503),
        (&other[..], 101),
        (LOCAL, 101),
        (LOCAL, 101),
        (LOCAL, 101),
        (BINARY, 503),
    ] {
        let mut client = client(&world, PROXY, &[header, REQUEST.as_bytes()].concat());
        world.run_until_idle();
        client.pull();
        assert_eq!(client.status(), expected, "{}", header.escape_ascii());
        peers.push(client.peer);
    }
    assert_eq!((world.shard.core.counters.rejected_address, world.counts().2), (2, 2));
    peers.iter().for_each(Peer::reset);
    world.run_until_idle();
    world.pass(Duration::from_secs(6));
    assert_eq!(world.counts(), (0, 0, 0));
    world.assert_clean();
}

#[test]
fn x_forwarded_for_of_an_untrusted_peer_is_ignored() {
    let named = |peer: &str, header: &[u8], forwarded: &str| {
        let admission = Admission { proxy_protocol: !header.is_empty(), ..admission() };
        let mut world = world(0, Faults::none(), admission);
        let (head, end) = REQUEST.split_at(REQUEST.len() - 2);
        let request = format!("{head}X-Forwarded-For: 192.0.2.1\r\nx-forwarded-for: {forwarded}\r\n{end}");
        let _client = client(&world, peer, &[header, request.as_bytes()].concat());
        world.run_until_idle();
        world.handler().take_log().remove(0)
    };
    assert_eq!(named(PROXY, b"", "203.0.113.9, 10.7.7.7"), "client 203.0.113.9");
    assert_eq!(named(STRANGER, b"", "203.0.113.9, 10.7.7.7"), format!("client {STRANGER}"));
    // The client that the PROXY protocol names is the peer of the request.
    assert_eq!(named(PROXY, LINE, "203.0.113.9"), "client 203.0.113.7");
    assert_eq!(named(PROXY, LOCAL, "203.0.113.9"), "client 203.0.113.9");
    let inner = b"PROXY TCP4 10.3.3.3 198.51.100.1 56324 443\r\n";
    assert_eq!(named(PROXY, inner, "203.0.113.9"), "client 203.0.113.9");
}

#[test]
fn a_shard_stops_while_headers_are_awaited() {
    let mut world = world(0, Faults::none(), admission());
    let peers = [client(&world, PROXY, b""), client(&world, PROXY, &LINE[..9])];
    world.run_until_idle();
    world.post(|_, shard| shard.stop());
    world.run_until(|world| !world.running);
    assert_eq!(world.sessions(), 0);
    drop(peers);
}
