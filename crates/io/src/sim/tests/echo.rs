//! An echo with hundreds of seeds: no byte is lost, duplicated or reordered, and no resource is
//! left in use.

use super::super::faults::RandomSource;
use super::*;
use crate::Chunk;
use std::collections::{BTreeSet, HashMap};

/// Prints the seed of a test that panics.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the failing seed is {}", self.0);
        }
    }
}

/// One connection of the echo.
struct Echoing {
    slot: Slot,
    queue: VecDeque<Chunk>,
    sending: bool,
    paused: bool,
    finished: bool,
}

/// A user of the driver that echoes everything, pauses at random, and sends receive buffers as
/// replies.
struct Echo {
    sim: Sim,
    open: HashMap<u32, Echoing>,
    random: RandomSource,
    /// Slots closed since the last turn. Completions that it has already returned may still name
    /// them.
    closed: Vec<Slot>,
    /// Peers whose connection the echo has closed early.
    cut: BTreeSet<SocketAddr>,
    trace: Option<Vec<String>>,
}

impl Echo {
    fn turn(&mut self) {
        self.closed.clear();
        for completion in turn(&mut self.sim) {
            if let Some(trace) = &mut self.trace {
                trace.push(format!("{completion:?}"));
            }
            self.complete(completion);
        }
        self.whim();
    }

    fn complete(&mut self, completion: Completion) {
        if let Completion::Received { slot, .. } | Completion::Sent { slot, .. } | Completion::Ended { slot, .. } =
            &completion
            && self.closed.contains(slot)
        {
            return;
        }
        match completion {
            Completion::Accepted { slot, .. } | Completion::Connected { slot } => {
                let echoing = Echoing { slot, queue: VecDeque::new(), sending: false, paused: false, finished: false };
                assert!(self.open.insert(slot.index(), echoing).is_none(), "slot {slot:?} is in use");
                self.sim.receive(slot);
            }
            Completion::Received { slot, buffer } => {
                assert!(!buffer.is_empty());
                let echoing = self.of(slot);
                echoing.queue.push_back(if buffer.is_scarce() {
                    buffer.to_vec().into()
                } else {
                    let range = 0..buffer.len() as u32;
                    Chunk::Buffer { buffer, range }
                });
                self.flush(slot);
            }
            Completion::Sent { slot, output, written } => {
                let echoing = self.of(slot);
                echoing.sending = false;
                if written < output.len() {
                    let rest: Vec<u8> = output.chunks().flat_map(Chunk::as_slice).skip(written).copied().collect();
                    echoing.queue.push_front(rest.into());
                }
                self.flush(slot);
            }
            Completion::Released { .. } => {}
            Completion::Ended { slot, cause: Cause::Finished } => {
                self.of(slot).finished = true;
                self.flush(slot);
            }
            Completion::Ended { slot, .. } => self.close(slot),
            Completion::Datagram(_) | Completion::Woken => {}
        }
    }

    fn of(&mut self, slot: Slot) -> &mut Echoing {
        let echoing = self.open.get_mut(&slot.index()).expect("completions are for open slots");
        assert_eq!(echoing.slot, slot, "completions are for the current user of the slot");
        echoing
    }

    fn flush(&mut self, slot: Slot) {
        let echoing = self.of(slot);
        if echoing.sending {
            return;
        }
        if !echoing.queue.is_empty() {
            let count = echoing.queue.len().min(Output::MAX_CHUNKS);
            let mut chunks: Vec<Chunk> = echoing.queue.drain(..count).collect();
            echoing.sending = true;
            let output = if count == 1 { Output::One(chunks.remove(0)) } else { Output::Many(chunks) };
            self.sim.send(slot, output);
        } else if echoing.finished {
            self.sim.finish(slot);
            self.close(slot);
        }
    }

    fn close(&mut self, slot: Slot) {
        self.open.remove(&slot.index());
        self.closed.push(slot);
        self.sim.close(slot);
    }

    /// Sometimes pauses or resumes a connection, and rarely closes one.
    fn whim(&mut self) {
        let mut indices: Vec<u32> = self.open.keys().copied().collect();
        indices.sort_unstable();
        for index in indices {
            let echoing = self.open.get_mut(&index).expect("taken from the keys");
            match self.random.within(0..=999) {
                0..50 => echoing.paused = true,
                50..200 => echoing.paused = false,
                200 => {
                    let slot = echoing.slot;
                    self.cut.extend(self.sim.peer_address(slot));
                    self.close(slot);
                    continue;
                }
                _ => continue,
            }
            let (slot, paused) = (echoing.slot, echoing.paused);
            if paused { self.sim.pause(slot) } else { self.sim.receive(slot) }
        }
    }

    fn resume(&mut self) {
        for echoing in self.open.values_mut().filter(|echoing| echoing.paused) {
            echoing.paused = false;
            self.sim.receive(echoing.slot);
        }
    }
}

/// A peer that sends bytes at random times and stores the echo.
struct Client {
    peer: Peer,
    bytes: Vec<u8>,
    written: usize,
    echoed: Vec<u8>,
}

impl Client {
    fn new(peer: Peer, random: &mut RandomSource) -> Self {
        if random.within(0..=2) == 0 {
            peer.set_window(random.within(1..=700));
        }
        let tag = random.within(0..=255);
        let bytes = (0..random.within(0..=6000)).map(|at| (at * 7 + at / 251 + tag) as u8).collect();
        Self { peer, bytes, written: 0, echoed: Vec::new() }
    }

    fn act(&mut self, random: &mut RandomSource) {
        if self.written < self.bytes.len() && random.within(0..=3) == 0 {
            let end = (self.written + random.within(1..=2000)).min(self.bytes.len());
            self.peer.write(&self.bytes[self.written..end]);
            self.written = end;
            if end == self.bytes.len() {
                self.peer.finish();
            }
        } else if self.bytes.is_empty() {
            self.peer.finish();
        }
        if random.within(0..=3) == 0 {
            self.echoed.extend(self.peer.read_up_to(random.within(1..=5000)));
        }
    }

    fn is_done(&self) -> bool {
        self.written == self.bytes.len() || self.peer.is_reset()
    }
}

struct Outcome {
    injected: Injected,
    stats: Stats,
    whole: usize,
    trace: Vec<String>,
}

/// One run: connections in both roles send until all bytes are echoed. Then no resource may be in
/// use.
fn echo(seed: u64, faults: Faults, traced: bool) -> Outcome {
    let _seed = Seed(seed);
    let (mut sim, network) = Sim::new(seed, faults, BUFFERS);
    sim.start_listening();
    let mut random = RandomSource::new(!seed);
    if random.within(0..=1) == 0 {
        network.set_descriptor_limit(random.within(2..=5));
    }
    let mut clients: Vec<Client> =
        (0..random.within(1..=6)).map(|_| Client::new(network.connect(), &mut random)).collect();
    for port in 0..random.within(0..=3) {
        let slot = sim.reserve().expect("a slot is free");
        sim.connect(slot, SocketAddr::from(([198, 51, 100, 1], 2000 + port as u16)));
    }
    let mut echo = Echo {
        sim,
        open: HashMap::new(),
        random: RandomSource::new(seed ^ 0x5eed),
        closed: Vec::new(),
        cut: BTreeSet::new(),
        trace: traced.then(Vec::new),
    };
    let mut turns = 0;
    loop {
        while let Some(peer) = network.accept() {
            clients.push(Client::new(peer, &mut random));
        }
        for client in &mut clients {
            client.act(&mut random);
        }
        echo.turn();
        turns += 1;
        assert!(turns < 100_000, "the run ends");
        if clients.iter().all(Client::is_done) {
            for client in &mut clients {
                client.echoed.extend(client.peer.read());
            }
            echo.resume();
            if network.is_idle() {
                break;
            }
        }
    }
    let mut whole = 0;
    for client in &clients {
        assert!(client.bytes.starts_with(&client.echoed), "the echo has the bytes that were written");
        let address = client.peer.address();
        if !client.peer.is_reset() && !echo.cut.contains(&address) {
            assert_eq!(client.echoed.len(), client.bytes.len(), "all bytes of {address} are echoed");
            assert!(client.peer.is_finished(), "{address} gets a FIN");
            whole += 1;
        }
    }
    let (sim, pool) = (&echo.sim, network.pool());
    assert_eq!((sim.open(), sim.in_flight(), network.open(), pool.guarded()), (0, 0, 0, 0), "no resource is in use");
    assert!(echo.open.is_empty());
    let outcome =
        Outcome { injected: sim.injected(), stats: *sim.stats(), whole, trace: echo.trace.take().unwrap_or_default() };
    drop(echo);
    assert_eq!(pool.free(), usize::from(BUFFERS.count), "all buffers are in the pool");
    outcome
}

#[test]
fn every_byte_is_echoed_once_and_in_order_with_all_faults() {
    let mut counts: HashMap<&str, u64> = HashMap::new();
    let mut stats = Stats::default();
    let mut whole = 0;
    for seed in 0..400 {
        let outcome = echo(seed, Faults::all(), false);
        for (fault, count) in outcome.injected.each() {
            *counts.entry(fault).or_default() += count;
        }
        whole += outcome.whole;
        stats.stale += outcome.stats.stale;
        stats.starved += outcome.stats.starved;
        stats.overflows += outcome.stats.overflows;
        stats.short_sends += outcome.stats.short_sends;
        stats.accept_pauses += outcome.stats.accept_pauses;
    }
    assert!(counts.values().all(|&count| count > 0), "a fault was never injected: {counts:?}");
    assert!(whole > 400, "only {whole} connections were echoed completely");
    let counted = [stats.stale, stats.starved, stats.overflows, stats.short_sends, stats.accept_pauses];
    assert!(counted.iter().all(|&count| count > 0), "{stats:?}");
}

#[test]
fn each_fault_is_injected_alone_when_only_it_is_configured() {
    for (name, faults) in Faults::one_by_one() {
        let mut counts = 0;
        for seed in 0..30 {
            for (fault, count) in echo(seed, faults, false).injected.each() {
                assert!(fault == name || count == 0, "{fault} was injected, configured was {name}");
                counts += count;
            }
        }
        assert!(counts > 0, "{name} was never injected");
    }
}

#[test]
fn without_faults_nothing_is_reset_or_lost() {
    for seed in 0..50 {
        let outcome = echo(seed, Faults::none(), false);
        assert_eq!(outcome.injected, Injected::default());
        assert_eq!(outcome.stats.overflows, 0);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for seed in 0..10 {
        let (first, second) = (echo(seed, Faults::all(), true), echo(seed, Faults::all(), true));
        assert!(!first.trace.is_empty());
        assert_eq!(first.trace, second.trace);
        assert_eq!((first.stats, first.injected), (second.stats, second.injected));
    }
    assert_ne!(echo(1, Faults::all(), true).trace, echo(2, Faults::all(), true).trace);
}
