//! Talkers under every fault: what arrives is exactly what was due, or its beginning where the network cut it off.

use super::world::{Client, Got, World};
use crate::{CloseReason, Connection, Handler, Message, Prepared, Sent, Shard};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use ringway_codec::{MessageKind, OpCode};
use ringway_io::sim::{Faults, Injected};
use std::ops::ControlFlow;

const TALKERS: usize = 6;
const SIZES: [usize; 7] = [0, 5, 125, 126, 900, 1100, 5000];
const BEFORE: &str = "before";

/// Answers as the first byte of a message says: `b` sends something before it replies, `p` replies and sends a prepared
/// frame, `c` sends a copy; anything else, it replies.
struct Answering {
    prepared: Prepared,
    open: usize,
    closed: usize,
}

impl Answering {
    fn new() -> Self {
        Self { prepared: Prepared::binary(&[b'P'; 3000]), open: 0, closed: 0 }
    }
}

fn assert_taken(sent: &Sent<'_>) {
    assert!(!matches!(sent, Sent::Full(_)), "far less than the limit waits");
}

impl Handler for Answering {
    type State = ();

    fn open(&mut self, _conn: &mut Connection<'_, Self>) {
        self.open += 1;
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        match message.payload().first() {
            Some(b'b') => {
                assert_taken(&conn.send(Message::text(BEFORE)));
                conn.reply(message);
            }
            Some(b'p') => {
                conn.reply(message);
                assert_taken(&conn.send_prepared(&self.prepared));
            }
            Some(b'c') => assert_taken(&conn.send(message)),
            _ => conn.reply(message),
        }
    }

    fn closed(&mut self, _shard: &mut Shard<'_, Self>, (): (), _reason: &CloseReason) {
        self.closed += 1;
    }
}

/// A client with what it has to say, and what it must hear.
struct Talker {
    client: Client,
    /// What it writes at once, the next in front.
    writes: Vec<Vec<u8>>,
    due: Vec<Got>,
}

impl Talker {
    fn new(client: Client, name: usize, rng: &mut StdRng) -> Self {
        let (mut writes, mut due, mut write) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..rng.random_range(4..12) {
            say(&client, name, number, rng, &mut write, &mut due);
            if rng.random_bool(0.4) {
                writes.push(std::mem::take(&mut write));
            }
        }
        write.extend(client.close_frame(1000));
        due.push(Got::Close(Some(1000)));
        writes.push(write);
        writes.reverse();
        Self { client, writes, due }
    }

    /// Whether anything is left to do.
    fn act(&mut self, rng: &mut StdRng) -> ControlFlow<()> {
        if rng.random_bool(0.3)
            && let Some(write) = self.writes.pop()
        {
            self.client.peer.write(&write);
        }
        if rng.random_bool(0.5) {
            self.client.pull_up_to(rng.random_range(1..3000));
        }
        if self.writes.is_empty() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// One message, in frames of its own, with pings before and between them.
fn say(client: &Client, name: usize, number: usize, rng: &mut StdRng, write: &mut Vec<u8>, due: &mut Vec<Got>) {
    let kind = if rng.random() { MessageKind::Text } else { MessageKind::Binary };
    let size = SIZES[rng.random_range(0..SIZES.len())];
    let mut payload = format!("{}{name}/{number}:", char::from(b"rbpc"[rng.random_range(0..4)])).into_bytes();
    let filler = if kind == MessageKind::Text { b'a'..=b'z' } else { 0..=255 };
    payload.resize_with(size.max(payload.len()), || rng.random_range(filler.clone()));
    payload.truncate(size);
    let mut ping = |rng: &mut StdRng, write: &mut Vec<u8>| {
        if rng.random_bool(0.15) {
            let payload = vec![b'a' + number as u8; rng.random_range(0..=125)];
            write.extend(client.frame(OpCode::Ping, true, &payload));
            due.push(Got::Pong(payload));
        }
    };
    ping(rng, write);
    let (mut opcode, mut rest) = (kind.opcode(), &payload[..]);
    while rng.random_bool(0.2) {
        let (fragment, behind) = rest.split_at(rng.random_range(0..=rest.len()));
        write.extend(client.frame(opcode, false, fragment));
        ping(rng, write);
        (opcode, rest) = (OpCode::Continuation, behind);
    }
    write.extend(client.frame(opcode, true, rest));
    let echo = Got::message(kind, &payload);
    match payload.first() {
        Some(b'b') => due.extend([Got::text(BEFORE), echo]),
        Some(b'p') => due.extend([echo, Got::Binary(vec![b'P'; 3000])]),
        _ => due.push(echo),
    }
}

fn run(seed: u64, faults: Faults) -> Injected {
    let mut world = World::new(seed, faults, Answering::new());
    let mut rng = StdRng::seed_from_u64(seed);
    let mut talkers: Vec<Talker> = (0..TALKERS)
        .map(|name| {
            let talker = Talker::new(world.client(), name, &mut rng);
            talker.client.peer.set_window(rng.random_range(200..20_000));
            talker
        })
        .collect();
    world.run_until(|_| {
        let mut left = 0;
        for talker in &mut talkers {
            left += usize::from(talker.act(&mut rng).is_continue());
        }
        left == 0
    });
    world.run_until(|world| {
        talkers.iter_mut().for_each(|talker| talker.client.pull());
        world.is_idle()
    });
    let mut resets = 0;
    for (name, talker) in talkers.iter().enumerate() {
        let (got, due) = (talker.client.got(), &talker.due);
        if talker.client.peer.is_reset() {
            resets += 1;
            assert!(due.starts_with(got), "talker {name}, reset, got something else than its due (seed {seed})");
        } else {
            let same = got.iter().zip(due).take_while(|(got, due)| got == due).count();
            assert_eq!((same, got.len()), (due.len(), due.len()), "talker {name} did not get its due (seed {seed})");
            assert!(talker.client.peer.is_finished(), "the server does not end talker {name}'s TCP (seed {seed})");
        }
    }
    let injected = world.network.injected();
    assert!(resets <= injected.reset + injected.aborted, "connections are reset, not by the network (seed {seed})");
    let handler = world.handler();
    assert_eq!(handler.open, handler.closed, "who opened did not close, or closed twice (seed {seed})");
    assert!(handler.open as u64 >= TALKERS as u64 - resets, "not all were open (seed {seed})");
    world.assert_clean();
    injected
}

#[test]
fn under_every_fault_each_talker_gets_its_due_in_order() {
    let mut struck: Vec<(&str, u64)> = Vec::new();
    for seed in 0..300 {
        let injected = run(seed, Faults::all()).each();
        struck.resize(injected.len(), ("", 0));
        for (sum, (name, count)) in struck.iter_mut().zip(injected) {
            *sum = (name, sum.1 + count);
        }
    }
    // Nothing here connects; all other faults must have had their chance.
    let idle: Vec<_> = struck.iter().filter(|(name, count)| *count == 0 && *name != "unreachable").collect();
    assert!(idle.is_empty(), "faults that never struck: {idle:?}");
}

#[test]
fn without_faults_each_talker_gets_its_due_and_nobody_is_reset() {
    for seed in 0..30 {
        run(seed, Faults::none());
    }
}
