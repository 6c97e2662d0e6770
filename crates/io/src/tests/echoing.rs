//! Echoes of random pieces on many connections, with pauses, few buffers and slow readers: no byte
//! is lost, duplicated or reordered.

use super::*;
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::thread;

on_each_driver! {
    random_echoes_with_pauses_lose_no_byte,
}

/// The number of connections, and the number of bytes of each.
const PEERS: usize = 8;
const BYTES: usize = 300_000;

/// What the driver's user knows of a connection.
#[derive(Default)]
struct Echoing {
    /// Received bytes that wait for the send in flight.
    queued: Vec<Chunk>,
    sending: bool,
    finished: bool,
    paused: bool,
}

/// One peer: writes its bytes in random pieces, and reads in random pieces until the end.
fn run_peer(address: SocketAddr, seed: u64) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let bytes: Vec<u8> = (0..BYTES).map(|_| random.random()).collect();
    let stream = TcpStream::connect(address).expect("it listens");
    if seed.is_multiple_of(2) {
        // The echoes do not fit into the buffer, so sends wait for their reader.
        socket2::SockRef::from(&stream).set_recv_buffer_size(4096).expect("a socket option");
    }
    let mut writer = stream.try_clone().expect("a descriptor");
    let mut pieces = Xoshiro256PlusPlus::seed_from_u64(!seed);
    let sent = bytes.clone();
    let writing = thread::spawn(move || {
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let most = if pieces.random_bool(0.5) { 40 } else { 20_000 };
            let (piece, after) = rest.split_at(pieces.random_range(1..=most.min(rest.len())));
            writer.write_all(piece).expect("the driver reads");
            rest = after;
        }
        writer.shutdown(Shutdown::Write).expect("still open");
    });
    let (mut all, mut piece, mut reader) = (Vec::new(), vec![0; 30_000], stream);
    loop {
        let most = random.random_range(1..=piece.len());
        let len = reader.read(&mut piece[..most]).expect("closed without RST");
        if len == 0 {
            break;
        }
        all.extend_from_slice(&piece[..len]);
    }
    writing.join().expect("no panic");
    assert!(all == bytes, "{} of {} bytes, seed {seed}", all.len(), bytes.len());
}

fn random_echoes_with_pauses_lose_no_byte<D: TestDriver>() {
    for round in 0..3 {
        let mut config = small(PEERS as u32);
        config.buffers.count = [1, 4, 64][round as usize];
        let (mut driver, address) = listening::<D>(config);
        let peers: Vec<_> =
            (0..PEERS as u64).map(|peer| thread::spawn(move || run_peer(address, round * 100 + peer))).collect();
        echo_until_all_have_ended(&mut driver, round);
        peers.into_iter().for_each(|peer| peer.join().expect("no panic"));
        assert_eq!((driver.pool().guarded(), driver.stats().open), (0, 0));
    }
}

/// Echoes to [`PEERS`] connections until they are closed. Pauses them at random.
fn echo_until_all_have_ended(driver: &mut impl TestDriver, seed: u64) {
    let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut connections: std::collections::HashMap<Slot, Echoing> = std::collections::HashMap::new();
    let (mut completions, mut ended) = (Vec::new(), 0);
    while ended < PEERS || driver.stats().open > 0 {
        // A paused connection resumes in a later turn, which must not wait.
        let paused = connections.values().any(|connection| connection.paused);
        driver.wait(paused.then_some(Duration::ZERO), &mut completions).expect("the driver works");
        for completion in completions.drain(..) {
            let slot = match completion {
                Completion::Accepted { slot, .. } => {
                    connections.insert(slot, Echoing::default());
                    driver.receive(slot);
                    continue;
                }
                Completion::Received { slot, buffer } => {
                    let connection = connections.get_mut(&slot).expect("it is open");
                    connection.queued.push(buffer.to_vec().into());
                    if random.random_bool(0.2) {
                        connection.paused = true;
                        driver.pause(slot);
                    }
                    slot
                }
                Completion::Sent { slot, output, written } => {
                    assert_eq!(written, output.len());
                    connections.get_mut(&slot).expect("it is open").sending = false;
                    slot
                }
                Completion::Ended { slot, cause } => {
                    assert!(matches!(cause, Cause::Finished), "{cause:?}");
                    connections.get_mut(&slot).expect("it is open").finished = true;
                    slot
                }
                other => panic!("{other:?}"),
            };
            let connection = connections.get_mut(&slot).expect("it is open");
            if !connection.sending && !connection.queued.is_empty() {
                let count = connection.queued.len().min(Output::MAX_CHUNKS);
                connection.sending = true;
                driver.send(slot, Output::Many(connection.queued.drain(..count).collect()));
            } else if !connection.sending && connection.finished {
                connections.remove(&slot);
                driver.close(slot);
                ended += 1;
            }
        }
        for (slot, connection) in connections.iter_mut().filter(|(_, connection)| connection.paused) {
            if random.random_bool(0.5) {
                connection.paused = false;
                driver.receive(*slot);
            }
        }
    }
}
