//! A shortage of memory: the total cost of peers that each stay within their limits.

use super::world::{Got, REQUEST, Scripted, WebSocketPeer, World, each_seed, rough};
use crate::shard::memory::Pressure;
use crate::{Config, Deflate, Limits, Message, OnMemoryLimit, Prepared, Upgrade};
use ringway_codec::{DeflateParams, Deflater, MessageKind, OpCode, Role, WindowBits, encode_deflated};
use ringway_io::sim::Faults;
use std::cell::Cell;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const MAX_MEMORY: usize = 400_000;

fn small(seed: u64, faults: Faults) -> World<Scripted> {
    let limits =
        Limits { max_memory: Some(MAX_MEMORY), max_message: 200_000, max_buffered: 100_000, ..Limits::default() };
    World::with(seed, faults, Config::default(), limits, Scripted::new())
}

/// Sends the beginning of a message of many bytes.
pub(super) fn begin(client: &WebSocketPeer, bytes: usize) {
    client.peer.write(&client.frame(OpCode::Binary, false, &vec![7; bytes]));
}

fn memory_is_bounded(world: &World<Scripted>) {
    let held = world.shard.core.memory.held();
    assert!(held < MAX_MEMORY + 300_000, "{held} bytes are held");
}

#[test]
fn the_sum_of_unfinished_messages_is_bounded_and_the_largest_are_closed_with_1013() {
    each_seed(|seed, faults| {
        let mut world = small(seed, faults);
        let mut small = world.open_client();
        begin(&small, 500);
        let mut large: Vec<WebSocketPeer> = (0..8).map(|_| world.open_client()).collect();
        for client in &large {
            begin(client, 90_000);
            client.send(OpCode::Pong, b"");
            world.run_until(|world| {
                memory_is_bounded(world);
                world.is_idle()
            });
        }
        world.pass(SECOND);
        let closed =
            large.iter_mut().filter_map(|client| client.take().pop()).filter(|got| *got == Got::Close(Some(1013)));
        let counters = world.shard.core.counters;
        assert!(counters.memory_closes + counters.memory_pauses > 0, "seed {seed}: {counters:?}");
        assert_eq!(closed.count() as u64, counters.memory_closes, "seed {seed}");
        assert!(world.shard.core.memory.held() <= MAX_MEMORY, "seed {seed}");
        // A connection that holds little is not affected.
        small.peer.write(&small.frame(OpCode::Continuation, true, b"rest"));
        world.run_until_idle();
        assert_eq!(small.take(), [Got::Binary([&[7; 500][..], b"rest"].concat())], "seed {seed}");
        // After the message timeout no memory is held for them.
        world.pass(130 * SECOND);
        assert!(world.shard.core.memory.held() < 10_000, "seed {seed}");
    });
}

#[test]
fn at_the_limit_new_handshakes_get_503_until_memory_is_available() {
    // The peers read slowly, and pausing their input frees nothing, so the limit is reached.
    let mut world = small(1, Faults::none());
    let clients: Vec<WebSocketPeer> = (0..12).map(|_| world.open_client()).collect();
    for client in &clients {
        client.peer.set_window(0);
        // Output above `max_buffered` pauses receiving, so each connection holds somewhat more than
        // that.
        client.send(OpCode::Binary, &[7; 99_000]);
    }
    let mut refused = 0;
    for _ in 0..200 {
        world.turn();
        memory_is_bounded(&world);
        if world.shard.core.shortage.exhausted.is_some() {
            let mut late = world.client();
            (0..6).for_each(|_| world.turn());
            late.pull();
            refused += u32::from(late.status() == 503);
        }
    }
    world.run_until_idle();
    let counters = world.shard.core.counters;
    assert!(refused > 0 && counters.memory_refusals >= u64::from(refused), "{counters:?}");
    assert!(counters.memory_closes > 0, "{counters:?}");
    let log = world.handler().take_log();
    assert!(log.iter().any(|line| line.ends_with("1006 MemoryLimit")), "{log:?}");
    drop(clients);
    world.pass(120 * SECOND);
    world.open_client();
}

#[test]
fn heads_and_stashes_are_charged() {
    let mut world = small(1, Faults::none());
    let head = world.client();
    head.peer.write(b"GET / HTTP/1.1\r\nX: ");
    let silent = WebSocketPeer::new(world.network.connect(), ringway_codec::Role::Client);
    silent.peer.write(&[b'G'; 1]);
    silent.peer.write(&[b'x'; 9000]);
    world.run_until_idle();
    assert!(world.shard.core.memory.held() >= 9000);
    let client = world.open_client();
    let id = *world.handler().opened.last().expect("open");
    world.post(move |_, shard| shard.connection(id).expect("open").pause());
    world.run_until_idle();
    let before = world.shard.core.memory.held();
    client.send(OpCode::Binary, &[1; 3000]);
    world.run_until_idle();
    assert!(world.shard.core.memory.held() >= before + 3000);
}

/// A client of a server with context takeover, which sends one compressed message.
fn with_contexts(world: &mut World<Scripted>, message: &[u8]) -> WebSocketPeer {
    let mut client = WebSocketPeer::new(world.network.connect(), Role::Client);
    let offer = "\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n";
    client.peer.write(REQUEST.replace("\r\n\r\n", offer).as_bytes());
    world.run_until_idle();
    client.pull();
    client.inflate(&DeflateParams::default());
    client.peer.write(message);
    world.run_until_idle();
    client
}

#[test]
fn idle_contexts_of_compression_do_not_pause_a_shard_permanently() {
    let config = Config { deflate: Some(Deflate::takeover()), ..Config::default() };
    let limits = Limits { max_memory: Some(1 << 20), max_message: 200_000, ..Limits::default() };
    let mut handler = Scripted::new();
    handler.on_message = |_, _, _| {};
    let mut world = World::with(1, Faults::none(), config, limits, handler);
    let (mut deflater, mut message) = (Deflater::new(6, WindowBits::MAX).expect("a window"), Vec::new());
    encode_deflated(MessageKind::Binary, &[1; 300], Some([1; 4]), &mut deflater, true, &mut message);
    let mut clients = Vec::new();
    while world.shard.core.shortage.paused.is_empty() {
        clients.push(with_contexts(&mut world, &message));
        assert!(clients.len() < 100, "an inflater for each takes more than the budget");
    }
    clients.iter().for_each(|client| client.send(OpCode::Ping, b"hi"));
    world.pass(30 * SECOND);
    let pongs =
        clients.iter_mut().filter_map(|client| client.take().contains(&Got::Pong(b"hi".to_vec())).then_some(()));
    let (pongs, counters) = (pongs.count(), world.shard.core.counters);
    assert!(counters.memory_closes > 0 && pongs >= clients.len() / 2, "{pongs} of {}: {counters:?}", clients.len());
    assert!(world.shard.core.shortage.paused.is_empty());
}

#[test]
fn own_compressors_are_freed_before_anything_is_paused() {
    let config = Config { deflate: Some(Deflate::takeover()), ..Config::default() };
    let limits = Limits { max_memory: Some(2 << 20), max_message: 200_000, ..Limits::default() };
    let mut world = World::with(1, Faults::none(), config, limits, Scripted::new());
    let (mut deflater, mut message) = (Deflater::new(6, WindowBits::MAX).expect("a window"), Vec::new());
    encode_deflated(MessageKind::Binary, &[1; 300], Some([1; 4]), &mut deflater, true, &mut message);
    for _ in 0..10 {
        let mut client = with_contexts(&mut world, &message);
        assert_eq!(client.take(), [Got::Binary(vec![1; 300])]);
    }
    let counters = world.shard.core.counters;
    assert_eq!((counters.memory_pauses, counters.memory_closes), (0, 0));
}

#[test]
fn slow_readers_of_prepared_frames_are_closed_and_not_others() {
    let limits = Limits { max_memory: Some(1 << 20), max_message: 200_000, max_buffered: 100_000, ..Limits::default() };
    let mut world = World::with(1, Faults::none(), Config::default(), limits, Scripted::new());
    let slow: Vec<_> = (0..20).map(|_| world.open_client()).collect();
    slow.iter().for_each(|client| client.peer.set_window(0));
    let mut small = world.open_client();
    begin(&small, 50);
    world.run_until_idle();
    for (n, id) in world.handler().opened.clone().into_iter().take(slow.len()).enumerate() {
        for _ in 0..9 {
            world.post(move |_, shard| {
                let prepared = Prepared::binary(&[n as u8; 10_000]);
                if let Some(mut connection) = shard.connection(id) {
                    let _ = connection.send_prepared(&prepared);
                }
            });
        }
        world.run_until_idle();
        assert!(world.shard.core.memory.held() < 1 << 20, "the budget is exceeded");
    }
    // Those that have read nothing for a second.
    world.pass(2 * SECOND);
    assert!(world.shard.core.counters.memory_closes > 0);
    small.peer.write(&small.frame(OpCode::Continuation, true, b""));
    world.run_until_idle();
    assert_eq!(small.take(), [Got::Binary(vec![7; 50])], "it holds little");
}

#[test]
fn memory_of_a_deferred_request_is_charged() {
    let mut handler = Scripted::new();
    handler.on_upgrade = |handler, request| {
        handler.deferred.push(request.id());
        Upgrade::defer()
    };
    let mut world = World::new(1, Faults::none(), handler);
    let client = WebSocketPeer::new(world.network.connect(), Role::Client);
    let names = (0..3000).map(|n| format!("{n:x}")).collect::<Vec<_>>().join(",");
    let offer = format!("\r\nSec-WebSocket-Protocol: {names}\r\n\r\n");
    client.peer.write(REQUEST.replace("\r\n\r\n", &offer).as_bytes());
    world.run_until_idle();
    assert_eq!(world.handler().deferred.len(), 1);
    assert!(world.shard.core.memory.held() >= names.len());
}

#[test]
fn new_handshakes_are_refused_at_the_limit_and_not_long_after() {
    let mut world = small(1, Faults::none());
    let slow: Vec<_> = (0..12).map(|_| world.open_client()).collect();
    for client in &slow {
        client.peer.set_window(0);
        client.send(OpCode::Binary, &[7; 99_000]);
    }
    world.run_until_idle();
    assert!(world.shard.core.shortage.exhausted.is_some());
    // Those that are left do not read either: after a while they are closed until the sum is low.
    world.pass(12 * SECOND);
    assert!(world.shard.core.memory.held() > MAX_MEMORY / 2);
    world.open_client();
}

#[test]
fn healthy_readers_of_a_broadcast_do_not_count_as_large_holders() {
    let limits = Limits { max_memory: Some(1 << 20), max_message: 300_000, max_buffered: 300_000, ..Limits::default() };
    let mut world = World::with(1, Faults::none(), Config::default(), limits, Scripted::new());
    let mut readers: Vec<_> = (0..10).map(|_| world.open_client()).collect();
    let ids = world.handler().opened.clone();
    let large: Vec<_> = (0..13).map(|_| world.open_client()).collect();
    for client in &large {
        begin(client, 65_000);
    }
    world.run_until_idle();
    world.post(move |_, shard| {
        let prepared = Prepared::binary(&vec![9; 230_000]);
        for id in ids {
            assert!(shard.connection(id).expect("open").send_prepared(&prepared).is_accepted());
        }
    });
    world.run_until_idle();
    world.pass(SECOND);
    for reader in &mut readers {
        world.run_until(|world| {
            reader.pull();
            world.is_idle()
        });
        assert!(reader.take() == [Got::Binary(vec![9; 230_000])], "a reader is closed");
    }
}

#[test]
fn a_short_spike_closes_nobody() {
    let mut world = small(1, Faults::none());
    let mut clients = Vec::new();
    while world.shard.core.shortage.paused.is_empty() {
        clients.push(world.open_client());
        begin(&clients[clients.len() - 1], 15_000);
        world.run_until_idle();
    }
    assert_eq!(world.shard.core.counters.memory_closes, 0);
    let last = *world.handler().opened.last().expect("there are some");
    world.post(move |_, shard| shard.connection(last).expect("open").terminate());
    world.pass(20 * SECOND);
    assert_eq!(world.shard.core.counters.memory_closes, 0);
    assert!(world.shard.core.shortage.paused.is_empty(), "receiving has resumed");
}

#[test]
fn the_allocator_is_purged_when_freed_memory_may_exceed_the_budget() {
    thread_local! {
        static PURGES: Cell<usize> = const { Cell::new(0) };
    }
    let limits = Limits { max_memory: Some(1 << 20), max_message: 200_000, ..Limits::default() };
    let config = Config::default().purge_allocator(Some(|| PURGES.set(PURGES.get() + 1)));
    let mut world = World::with(1, Faults::none(), config, limits, Scripted::new());
    let mut clients = Vec::new();
    // Half of the high-water mark is 392 KiB.
    while world.shard.core.memory.held() < 380 << 10 {
        assert_eq!(PURGES.get(), 0);
        clients.push(world.open_client());
        begin(&clients[clients.len() - 1], 60_000);
        world.run_until_idle();
    }
    while world.shard.core.memory.pressure() == Pressure::Low {
        clients.push(world.open_client());
        begin(&clients[clients.len() - 1], 60_000);
        world.run_until_idle();
    }
    assert!(PURGES.get() > 0);
    world.run_until_idle();
    PURGES.set(0);
    world.pass(SECOND);
    assert_eq!(PURGES.get(), 0, "nothing is freed");
    world.post(|handler, shard| {
        let some = handler.opened.len() / 4;
        handler.opened[..some].iter().for_each(|id| shard.connection(*id).expect("open").terminate());
    });
    world.run_until_idle();
    PURGES.set(0);
    while world.shard.core.memory.pressure() == Pressure::Low {
        clients.push(world.open_client());
        begin(&clients[clients.len() - 1], 60_000);
        world.run_until_idle();
    }
    assert!(PURGES.get() > 0);
}

/// Ten readers of which only the first reads, each with as much output as the shard allows. Sends
/// more in `drained`.
fn crowded(seed: u64, faults: Faults, policy: OnMemoryLimit) -> (World<Scripted>, Vec<WebSocketPeer>) {
    const MESSAGE: usize = 90_000;
    let limits = Limits { max_memory: Some(1 << 20), max_message: 200_000, max_buffered: 95_000, ..Limits::default() };
    let config = Config { on_memory_limit: policy, ..Config::default() };
    let mut handler = Scripted::new();
    handler.on_drained = |handler, conn| {
        handler.count += usize::from(conn.send(Message::binary(&[7; MESSAGE])).is_accepted());
    };
    let mut world = World::with(seed, faults, config, limits, handler);
    let clients: Vec<_> = (0..15).map(|_| world.open_client()).collect();
    clients[1..].iter().for_each(|client| client.peer.set_window(0));
    world.post(|handler, shard| {
        for id in handler.opened.clone().into_iter().skip(1) {
            let mut conn = shard.connection(id).expect("open");
            handler.count += usize::from(conn.send(Message::binary(&[7; MESSAGE])).is_accepted());
        }
        assert!(shard.memory_held() <= 1 << 20, "{} bytes are held", shard.memory_held());
        assert!(handler.count < 14, "all messages are queued");
    });
    world.run_until_idle();
    (world, clients)
}

#[test]
fn near_the_budget_messages_are_handed_back_and_stalled_readers_are_closed() {
    each_seed(|seed, faults| {
        let (mut world, mut clients) = crowded(seed, faults, OnMemoryLimit::CloseSlowest);
        assert_eq!(world.shard.core.counters.memory_closes, 0, "seed {seed}: they may still read");
        // The healthy reader loses nothing at the limit, and its pings are answered.
        for n in 0..30u8 {
            clients[0].send(OpCode::Ping, &[n]);
            clients[0].send(OpCode::Binary, &[n; 500]);
            world.pass(SECOND / 10);
            assert_eq!(clients[0].take(), [Got::Pong(vec![n]), Got::Binary(vec![n; 500])], "seed {seed}");
            assert!(world.shard.core.memory.held() <= 1 << 20, "seed {seed}");
        }
        let counters = world.shard.core.counters;
        assert!(counters.memory_closes > 0 && counters.handed_back > 0, "{counters:?} (seed {seed})");
        // What was handed back was sent when memory was available again.
        assert!(world.handler().count >= 12, "{} messages (seed {seed})", world.handler().count);
        assert!(world.shard.core.memory.held() <= 1 << 20, "seed {seed}");
    });
}

#[test]
fn with_the_policy_to_pause_nobody_is_closed_for_memory() {
    each_seed(|seed, faults| {
        let (mut world, mut clients) = crowded(seed, faults, OnMemoryLimit::Pause);
        world.pass(20 * SECOND);
        let counters = world.shard.core.counters;
        assert!((counters.memory_closes, world.sessions()) == (0, 15) && counters.handed_back > 0, "{counters:?}");
        // They read again, and get what was handed back, too.
        clients.iter().for_each(|client| client.peer.set_window(1 << 20));
        for _ in 0..10 {
            world.pass(SECOND);
            clients.iter_mut().for_each(WebSocketPeer::pull);
        }
        for client in &mut clients[1..] {
            assert!(client.take().contains(&Got::Binary(vec![7; 90_000])), "seed {seed}");
        }
    });
}

#[test]
fn a_reader_that_makes_progress_is_not_closed_before_one_that_does_not() {
    let (mut world, mut clients) = crowded(1, rough(), OnMemoryLimit::CloseSlowest);
    // The second one reads slowly, and holds as much as the others.
    clients[1].peer.set_window(2_000);
    let slow = world.handler().opened[1];
    for _ in 0..30 {
        clients[1].pull_up_to(1_500);
        world.pass(SECOND / 10);
    }
    assert!(world.shard.core.counters.memory_closes > 0);
    assert!(world.shard.sessions.slots().any(|slot| crate::ConnectionId(slot) == slow), "the reader is closed");
}
