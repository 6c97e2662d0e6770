//! The client role: what a server says that does not open a WebSocket, for endpoints that want it.

use super::world::{Scripted, WebSocketPeer, World, each_seed};
use crate::Endpoint;
use ringway_io::sim::Faults;
use std::sync::Arc;
use std::time::Duration;

/// A shard that has sent its request to an endpoint that reads up to 8 bytes of a refusal's body.
fn asking(seed: u64, faults: Faults) -> (World<Scripted>, WebSocketPeer) {
    let mut world = World::new(seed, faults, Scripted::new());
    let endpoint = Endpoint::resolve("ws://192.0.2.1:9001/").expect("an address").read_refusals(8).expect("in range");
    let endpoint = Arc::new(endpoint);
    world.post(move |_, shard| shard.connect(&endpoint, 5));
    let server = world.server();
    (world, server)
}

const HEAD: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n";

#[track_caller]
fn assert_refused(world: &mut World<Scripted>, response: &str) {
    assert_eq!(world.handler().take_log(), [format!("failed 5: Refused {response}")]);
    world.assert_clean();
}

#[test]
fn a_refusal_is_reported_when_its_body_is_complete() {
    each_seed(|seed, faults| {
        let (mut world, server) = asking(seed, faults);
        for part in [&HEAD[..20], &HEAD[20..], b"he", b"ll"] {
            server.peer.write(part);
            world.run_until_idle();
            assert!(world.handler().log.is_empty(), "seed {seed}");
        }
        server.peer.write(b"o and more");
        world.run_until_idle();
        assert_refused(&mut world, "404 hello");
    });
}

#[test]
fn a_refusal_ends_with_its_connection() {
    each_seed(|seed, faults| {
        for (head, response) in [(HEAD, "404 he…"), (b"HTTP/1.1 503 Busy\r\n\r\n", "503 he")] {
            let (mut world, server) = asking(seed, faults);
            server.peer.write(&[head, b"he"].concat());
            world.run_until_idle();
            server.peer.finish();
            world.run_until_idle();
            assert_refused(&mut world, response);
        }
    });
}

#[test]
fn the_rest_of_a_refusal_is_awaited_for_a_second() {
    each_seed(|seed, faults| {
        let (mut world, server) = asking(seed, faults);
        server.peer.write(&[HEAD, b"he"].concat());
        world.run_until_idle();
        world.pass(Duration::from_millis(900));
        assert!(world.handler().log.is_empty(), "seed {seed}");
        world.pass(Duration::from_millis(200));
        assert_refused(&mut world, "404 he…");
    });
}

#[test]
fn what_is_received_of_a_refusal_is_limited() {
    each_seed(|seed, faults| {
        let (mut world, server) = asking(seed, faults);
        server.peer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n0123456789");
        world.run_until_idle();
        assert_refused(&mut world, "200 01234567…");
    });
}

#[test]
fn the_size_of_a_body_has_a_range() {
    let error = Endpoint::resolve("ws://192.0.2.1/").expect("an address").read_refusals(65_537).expect_err("too large");
    assert_eq!(error.to_string(), "endpoint.read_refusals is 65537: give 0 to 65536 bytes");
}
