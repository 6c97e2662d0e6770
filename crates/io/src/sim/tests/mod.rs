mod behaviour;
mod datagrams;
mod detaching;
mod echo;
mod invariants;
mod obstacles;
mod rules;

use super::kernel::{Cqe, SimKernel};
use super::*;
use crate::{Cause, Stats};
use handle::ACCEPT_PAUSE;
use kernel::Sqe;
use std::collections::VecDeque;
use std::net::SocketAddr;

const BUFFERS: BufferConfig = BufferConfig { size: 1024, count: 16, ready: Some(2), working_set: None };

fn turn(sim: &mut Sim) -> Vec<Completion> {
    let mut completions = Vec::new();
    sim.wait(None, &mut completions).expect("the simulation does not fail");
    completions
}

/// Turns until the simulation is idle. Returns all completions.
fn run_until_idle(sim: &mut Sim) -> Vec<Completion> {
    let mut all = Vec::new();
    for _ in 0..10_000 {
        all.extend(turn(sim));
        if sim.is_idle() {
            return all;
        }
    }
    panic!("the simulation does not become idle");
}

fn accepted(sim: &mut Sim) -> Slot {
    let completions = run_until_idle(sim);
    let slot = completions.iter().find_map(|completion| match completion {
        Completion::Accepted { slot, .. } => Some(*slot),
        _ => None,
    });
    slot.unwrap_or_else(|| panic!("accepted nothing: {completions:?}"))
}

fn simulated(faults: Faults) -> (Sim, Network) {
    let (mut sim, network) = Sim::new(42, faults, BUFFERS);
    sim.start_listening();
    (sim, network)
}

/// A driver with one accepted connection, and its peer.
fn connection(faults: Faults) -> (Sim, Network, Slot, Peer) {
    let (mut sim, network) = simulated(faults);
    let peer = network.connect();
    let slot = accepted(&mut sim);
    (sim, network, slot, peer)
}

fn output(bytes: &[u8]) -> Output {
    Output::One(bytes.to_vec().into())
}

/// The received bytes of all completions.
fn received(completions: &[Completion]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for completion in completions {
        if let Completion::Received { buffer, .. } = completion {
            bytes.extend_from_slice(buffer);
        }
    }
    bytes
}

/// A kernel without a driver, with one connected socket.
fn kernel() -> (SimKernel, usize) {
    let pool = Pool::new(&BUFFERS).expect("in range");
    let mut kernel = SimKernel::new(42, Faults::none(), pool, Waker::new().expect("an eventfd"));
    let descriptor = kernel.socket(([198, 51, 100, 1], 443).into(), None).expect("no limit");
    kernel.submit(1, Sqe::Connect { descriptor });
    assert_eq!(results(&mut kernel), [(1, 0)]);
    (kernel, descriptor)
}

fn results(kernel: &mut SimKernel) -> Vec<(u64, i32)> {
    kernel.enter();
    std::iter::from_fn(|| kernel.next_cqe()).map(|Cqe { user_data, result, .. }| (user_data, result)).collect()
}
