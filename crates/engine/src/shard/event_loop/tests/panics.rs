//! Handlers that panic.

use super::world::{Got, Scripted, World, each_seed, rough};
use crate::{Config, Limits, OnPanic, Upgrade};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Panics at the message `panic`; at `panic late` after a reply to it.
fn panicking() -> Scripted {
    let mut handler = Scripted::new();
    handler.on_message = |_, conn, message| match message.as_text() {
        Some("panic") => panic!("on purpose"),
        Some("panic late") => {
            conn.reply(message);
            panic!("on purpose");
        }
        _ => conn.reply(message),
    };
    handler
}

#[test]
fn a_panic_closes_only_its_connection_with_1011() {
    each_seed(|seed, faults| {
        let mut world = World::new(seed, faults, panicking());
        let (mut one, mut other) = (world.open_client(), world.open_client());
        let words =
            ["first", "panic late", "behind"].map(|text| one.frame(ringway_codec::OpCode::Text, true, text.as_bytes()));
        one.peer.write(&words.concat());
        other.text("still there");
        world.run_until_idle();
        assert_eq!(one.take(), [Got::text("first"), Got::text("panic late"), Got::Close(Some(1011))], "seed {seed}");
        assert_eq!(other.take(), [Got::text("still there")], "seed {seed}");
        one.close(1011);
        other.close(1000);
        world.run_until_idle();
        assert_eq!(world.shard.core.counters.panics, 1);
        let log = world.handler().take_log();
        assert!(log.contains(&"closed 7: 1011 Panicked".to_owned()), "{log:?}");
        world.assert_clean();
    });
}

#[test]
fn a_panic_at_an_assembled_message_releases_its_buffers() {
    let mut world = World::new(1, rough(), panicking());
    let mut client = world.open_client();
    let frames = [
        client.frame(ringway_codec::OpCode::Text, false, b"pa"),
        client.frame(ringway_codec::OpCode::Continuation, true, b"nic"),
    ];
    for frame in frames {
        client.peer.write(&frame);
        world.run_until_idle();
    }
    assert_eq!(client.take(), [Got::Close(Some(1011))]);
    client.close(1011);
    world.run_until_idle();
    world.assert_clean();
}

#[test]
fn a_panic_in_any_call_leaves_the_shard_running() {
    let mut handler = Scripted::new();
    handler.on_upgrade = |handler, _| {
        handler.count += 1;
        if handler.count == 1 { panic!("on purpose") } else { Upgrade::accept(7) }
    };
    handler.on_closed = |_, _| panic!("on purpose");
    handler.on_woken = |_, _| panic!("on purpose");
    let mut world = World::new(1, rough(), handler);
    let mut refused = world.client();
    world.run_until_idle();
    refused.pull();
    assert_eq!(refused.status(), 500);
    refused.peer.finish();
    world.post(|_, _| panic!("on purpose"));
    world.post(|_, shard| shard.wake_at(shard.turn_time() + Duration::from_secs(1)));
    world.pass(Duration::from_secs(2));
    let client = world.open_client();
    client.close(1000);
    world.run_until_idle();
    assert_eq!((world.shard.core.counters.panics, world.running), (4, true));
    world.assert_clean();
}

#[test]
fn a_panic_stops_the_shard_if_the_configuration_says_so() {
    let config = Config { on_panic: OnPanic::Stop, ..Config::default() };
    let mut world = World::with(1, rough(), config, Limits::default(), panicking());
    let client = world.open_client();
    client.text("panic");
    let panic = catch_unwind(AssertUnwindSafe(|| world.run_until_idle())).expect_err("it is passed on");
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
}
