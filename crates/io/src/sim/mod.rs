//! A driver over a simulated kernel: no socket, no clock, and every fault that a seed can bring.
//!
//! [`Sim`] keeps the books as the io_uring driver does: generations, what is in flight, starved connections, accepts
//! that pause. Below it a simulated kernel completes what it is asked for late, in part, in another order or not at
//! all, as [`Faults`] say. A [`Network`] plays the peers. All of it runs in one thread and follows from the seed, so
//! a failure is repeated by its number.
//!
//! Both layers also check their user: a broken rule of [`Driver`] is a panic that names the seed.
//!
//! ```
//! use ringway_io::sim::{Faults, Sim};
//! use ringway_io::{BufferConfig, Completion, Driver, Output};
//!
//! let (mut sim, network) = Sim::new(7, Faults::none(), BufferConfig::default());
//! sim.start_listening();
//! let peer = network.connect();
//! peer.write(b"ping");
//! let mut completions = Vec::new();
//! while !network.is_idle() {
//!     sim.wait(None, &mut completions)?;
//!     for completion in completions.drain(..) {
//!         match completion {
//!             Completion::Accepted { slot } => sim.receive(slot),
//!             Completion::Received { slot, buffer } => sim.send(slot, Output::One(buffer.to_vec().into())),
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(peer.read(), b"ping");
//! # Ok::<(), std::io::Error>(())
//! ```

mod complete;
mod connection;
mod faults;
mod kernel;
mod link;
mod network;
mod operation;

pub use faults::{Faults, Injected};
pub use kernel::Reception;
pub use network::{Network, Peer};

use crate::{BufferConfig, Cause, Completion, Driver, Listener, Output, Pool, Slot, Stats, Waker};
use connection::{Connection, Fin};
use kernel::{Kernel, Request};
use operation::Operation;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How many completions one turn hands out.
const BUDGET: usize = 1024;

/// How many turns accepting rests when no slot of this driver frees: the descriptors may be another's.
const REST: u64 = 64;

/// A driver whose kernel is simulated. It never blocks: a turn in which nothing can be done hands out nothing.
pub struct Sim {
    kernel: Rc<RefCell<Kernel>>,
    pool: Pool,
    buffers: BufferConfig,
    connections: Vec<Connection>,
    free: Vec<u32>,
    most: u64,
    /// How many buffers should lie ready: doubles, once a turn at most, when the kernel finds none.
    ready: u16,
    /// Slots whose receive ended because there was no buffer, the longest waiting in front.
    starved: VecDeque<Slot>,
    listening: bool,
    accepting: bool,
    /// A cancel of the accept is in flight.
    accept_cancelled: bool,
    /// Accepting rests until this turn.
    resting: Option<u64>,
    /// Outgoing connections for which there was no socket: reported with the next turn.
    unconnected: Vec<(Slot, io::Error)>,
    waker: Waker,
    watching: bool,
    stats: Stats,
}

impl Sim {
    /// A driver, and the network that its peers are on. The same seed gives the same run.
    ///
    /// # Panics
    /// When `buffers` are out of their range, or the process can open no file (for the [`Waker`]).
    #[must_use]
    pub fn new(seed: u64, faults: Faults, buffers: BufferConfig) -> (Self, Network) {
        let pool = Pool::new(&buffers).unwrap_or_else(|text| panic!("{text}"));
        let waker = Waker::new().unwrap_or_else(|error| panic!("no eventfd for the simulation: {error}"));
        let kernel = Rc::new(RefCell::new(Kernel::new(seed, faults, pool.clone(), waker.clone())));
        let network = Network(Rc::clone(&kernel));
        let sim = Self {
            kernel,
            pool,
            buffers,
            connections: Vec::new(),
            free: Vec::new(),
            most: 1 << 20,
            ready: buffers.ready,
            starved: VecDeque::new(),
            listening: false,
            accepting: false,
            accept_cancelled: false,
            resting: None,
            unconnected: Vec::new(),
            waker,
            watching: false,
            stats: Stats::default(),
        };
        (sim, network)
    }

    /// Begins to accept, as [`Driver::listen`] does, without a real listener.
    pub fn start_listening(&mut self) {
        self.listening = true;
        self.kernel.borrow_mut().listen();
    }

    /// How many slots may be in use at once; accepting pauses and [`Driver::reserve`] fails when there are as many.
    /// Default 1 048 576.
    pub fn limit_connections(&mut self, most: u32) {
        self.most = u64::from(most);
        self.tell();
    }

    /// Another handle on its network.
    #[must_use]
    pub fn network(&self) -> Network {
        Network(Rc::clone(&self.kernel))
    }

    /// Its receive buffers.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// How many slots are in use, those that are closing included.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.stats.open
    }

    /// How many operations of connections the kernel has not given back.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.kernel.borrow().in_flight()
    }

    /// Whether no turn will bring anything more: see [`Network::is_idle`].
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.kernel.borrow().is_idle()
    }

    /// How often each fault has struck so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.kernel.borrow().injected
    }

    #[track_caller]
    fn violated(&self, rule: impl std::fmt::Display) -> ! {
        self.kernel.borrow().violated(rule)
    }

    /// Keeps the network's view of the driver true.
    fn tell(&self) {
        let ledger = &mut self.kernel.borrow_mut().ledger;
        ledger.open = self.stats.open;
        ledger.full = self.is_full();
        ledger.starved = self.starved.len();
        ledger.unreported = self.unconnected.len();
    }

    fn is_full(&self) -> bool {
        self.stats.open >= self.most
    }

    /// Submits an operation of a connection.
    fn submit(&mut self, operation: Operation, slot: Slot, request: Request) {
        self.connections[slot.index() as usize].in_flight += 1;
        self.kernel.borrow_mut().submit(operation.user_data(slot), request);
    }

    /// The connection of a slot that is not closed. A slot that nobody was ever given is a mistake.
    #[track_caller]
    fn current(&mut self, slot: Slot) -> Option<&mut Connection> {
        let index = slot.index() as usize;
        let Some(connection) = self.connections.get(index) else {
            self.violated(format_args!("slot {slot:?} was never given out"));
        };
        let age = Slot::new(0, connection.generation.wrapping_sub(slot.generation())).generation();
        // The generation of an index that is free is its next user's. An age beyond half of all generations is negative.
        if age > Slot::new(0, u32::MAX).generation() / 2 || age == 0 && connection.can_free() {
            self.violated(format_args!("slot {slot:?} is not given out yet"));
        }
        let connection = &mut self.connections[index];
        (age == 0 && connection.owned).then_some(connection)
    }

    fn adopt(&mut self) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(Connection::default());
            (self.connections.len() - 1) as u32
        });
        let connection = &mut self.connections[index as usize];
        connection.owned = true;
        self.stats.open += 1;
        connection.slot(index)
    }

    fn arm(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot.index() as usize];
        if let Some(descriptor) = connection.descriptor
            && connection.should_arm()
        {
            connection.armed = true;
            self.submit(Operation::Receive, slot, Request::Receive { descriptor });
        }
    }

    /// Cancels the receive in flight, once.
    fn disarm(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot.index() as usize];
        if connection.armed && !connection.cancelled {
            connection.cancelled = true;
            self.cancel(Operation::CancelReceive, Operation::Receive, slot);
        }
    }

    fn cancel(&mut self, operation: Operation, target: Operation, slot: Slot) {
        self.submit(operation, slot, Request::Cancel { target: target.user_data(slot) });
    }

    /// Goes on with the end of a slot: closes the descriptor when nothing else is in flight, and frees the slot when
    /// that is done.
    fn wind_up(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot.index() as usize];
        if connection.can_close() {
            if let Some(descriptor) = connection.descriptor.take() {
                self.submit(Operation::Close, slot, Request::Close { descriptor });
            }
        } else if connection.can_free() {
            connection.free(slot.index());
            self.free.push(slot.index());
            self.stats.open -= 1;
            self.resting = None;
        }
    }

    /// Lends the kernel buffers and re-arms as many starved receives as there are buffers for, the oldest first.
    fn feed(&mut self) {
        let mut kernel = self.kernel.borrow_mut();
        while kernel.ready() < self.ready {
            let Some(index) = self.pool.take() else { break };
            kernel.provide(index);
        }
        let count = usize::from(kernel.ready()).min(self.starved.len());
        drop(kernel);
        for slot in self.starved.drain(..count).collect::<Vec<_>>() {
            if let Some(connection) = self.current(slot) {
                connection.starved = false;
                self.arm(slot);
            }
        }
    }

    fn arm_accept(&mut self) {
        if self.resting.is_some_and(|end| self.stats.turns >= end) {
            self.resting = None;
        }
        if self.listening && !self.accepting && self.resting.is_none() && !self.is_full() {
            self.accepting = true;
            let user_data = Operation::Accept.user_data(Operation::NOBODY);
            self.kernel.borrow_mut().submit(user_data, Request::Accept);
        }
    }

    fn cancel_accept(&mut self) {
        if self.accepting && !self.accept_cancelled {
            self.accept_cancelled = true;
            let target = Operation::Accept.user_data(Operation::NOBODY);
            let user_data = Operation::CancelAccept.user_data(Operation::NOBODY);
            self.kernel.borrow_mut().submit(user_data, Request::Cancel { target });
        }
    }

    fn pause_accepting(&mut self) {
        if self.resting.replace(self.stats.turns + REST).is_none() {
            self.stats.accept_pauses += 1;
        }
        self.cancel_accept();
    }
}

impl Driver for Sim {
    /// Only remembers that it listens: the peers come from [`Network::connect`], and the socket is closed.
    fn listen(&mut self, listener: Listener) {
        drop(listener);
        self.start_listening();
    }

    fn stop_listening(&mut self) {
        self.listening = false;
        self.kernel.borrow_mut().stop_listening();
        self.cancel_accept();
    }

    fn reserve(&mut self) -> Option<Slot> {
        let slot = (!self.is_full()).then(|| self.adopt());
        self.tell();
        slot
    }

    /// # Panics
    /// When the slot was not reserved, or is connected or connecting already.
    fn connect(&mut self, slot: Slot, peer: SocketAddr) {
        let Some(connection) = self.current(slot) else { return };
        if connection.descriptor.is_some() || connection.ended {
            self.violated(format_args!("slot {slot:?} is connected a second time"));
        }
        let socket = self.kernel.borrow_mut().socket(peer);
        match socket {
            Ok(descriptor) => {
                let connection = &mut self.connections[slot.index() as usize];
                connection.descriptor = Some(descriptor);
                connection.connecting = true;
                self.submit(Operation::Connect, slot, Request::Connect { descriptor });
            }
            Err(errno) => self.unconnected.push((slot, io::Error::from_raw_os_error(errno))),
        }
        self.tell();
    }

    fn receive(&mut self, slot: Slot) {
        if let Some(connection) = self.current(slot) {
            connection.wanted = true;
            self.arm(slot);
        }
    }

    fn pause(&mut self, slot: Slot) {
        if let Some(connection) = self.current(slot) {
            connection.wanted = false;
            self.disarm(slot);
        }
    }

    /// # Panics
    /// When the slot still has a send in flight, is not connected, or has ended its sending direction.
    fn send(&mut self, slot: Slot, output: Output) {
        let Some(connection) = self.current(slot) else { return };
        let (sending, fin) = (connection.output.is_some(), connection.fin);
        let descriptor = connection.descriptor.filter(|_| !connection.connecting);
        if sending {
            self.violated(format_args!("slot {slot:?} has a send in flight"));
        }
        if fin == Fin::Sent {
            self.violated(format_args!("slot {slot:?} sends after it has ended its sending direction"));
        }
        let Some(descriptor) = descriptor else {
            self.violated(format_args!("slot {slot:?} sends before it is connected"));
        };
        let output = Rc::new(output);
        self.connections[slot.index() as usize].output = Some(Rc::clone(&output));
        self.submit(Operation::Send, slot, Request::Send { descriptor, output });
    }

    /// With a send in flight, FIN follows the send that completes whole.
    fn finish(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        if connection.fin != Fin::Open {
            return;
        }
        if connection.output.is_some() {
            connection.fin = Fin::Asked;
        } else if let Some(descriptor) = connection.descriptor {
            connection.fin = Fin::Sent;
            self.kernel.borrow_mut().shutdown(descriptor);
        }
    }

    fn close(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        connection.owned = false;
        let (sending, connecting) = (connection.output.is_some(), connection.connecting);
        self.disarm(slot);
        if sending {
            self.cancel(Operation::CancelSend, Operation::Send, slot);
        }
        if connecting {
            self.cancel(Operation::CancelConnect, Operation::Connect, slot);
        }
        self.wind_up(slot);
        self.tell();
    }

    fn peer_address(&self, slot: Slot) -> Option<SocketAddr> {
        let connection = self.connections.get(slot.index() as usize)?;
        if !connection.owned || connection.generation != slot.generation() {
            return None;
        }
        self.kernel.borrow().peer_address(connection.descriptor?)
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// One turn. The timeout is not looked at: time is the caller's own.
    fn wait(&mut self, _timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.stats.turns += 1;
        self.feed();
        if !self.watching {
            self.watching = true;
            self.kernel.borrow_mut().submit(Operation::Wake.user_data(Operation::NOBODY), Request::WatchWaker);
        }
        self.arm_accept();
        for (slot, error) in std::mem::take(&mut self.unconnected) {
            self.end(slot, Cause::Unconnected(error), completions);
        }
        self.kernel.borrow_mut().enter();
        self.stats.overflows += u64::from(self.kernel.borrow().is_overflowing());
        let starved = self.stats.starved;
        for _ in 0..BUDGET {
            let event = self.kernel.borrow_mut().next_event();
            let Some(event) = event else { break };
            self.stats.completions += 1;
            self.complete(event, completions);
        }
        if self.stats.starved > starved {
            self.ready = self.ready.saturating_mul(2).min(self.buffers.count);
        }
        self.tell();
        Ok(())
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for Sim {
    /// Closes everything at once; the peers learn of it, and every buffer that is behind no guard is in the pool again.
    fn drop(&mut self) {
        self.kernel.borrow_mut().shut();
    }
}

#[cfg(test)]
mod tests;
