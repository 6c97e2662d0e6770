//! A driver on a simulated kernel, without sockets and without a clock, with faults from a seed.
//!
//! [`Sim`] uses the same per-slot state as the io_uring driver, so the same code handles
//! completions. The simulated kernel completes requests late, in part, in another order or with an
//! error, according to [`Faults`]. A [`Network`] provides the peers. A simulation runs in one
//! thread and depends only on its seed, so a failure is reproduced from its seed.
//!
//! The simulation also checks its user: a violation of the contract of [`Driver`] is a panic that
//! names the seed.
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
//!             Completion::Accepted { slot, .. } => sim.receive(slot),
//!             Completion::Received { slot, buffer } => {
//!                 sim.send(slot, Output::One(buffer.to_vec().into()));
//!             }
//!             _ => {}
//!         }
//!     }
//! }
//! assert_eq!(peer.read(), b"ping");
//! # Ok::<(), std::io::Error>(())
//! ```

mod connection;
mod datagrams;
mod faults;
mod handle;
mod kernel;
mod network;

pub(crate) use connection::SimEnd;
pub use datagrams::{DatagramFaults, InjectedDatagramFaults, SentDatagram};
pub use faults::{Faults, Injected};
pub use kernel::Reception;
pub use network::{Network, Peer};

use crate::table::{BUDGET, SlotTable, forward};
use crate::{
    Address, BufferConfig, Completion, ConnectOptions, Datagram, DatagramSocket, Detached, Driver, Listener, Output,
    Pool, Slot, Waker,
};
use handle::Handle;
use kernel::SimKernel;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::Duration;

/// The default of [`BufferConfig::working_set`]. Fixed, so that a seed gives the same run on
/// machines with different caches.
const WORKING_SET: u32 = 512 * 1024;

/// The default limit of slots in use.
const MAX_SLOTS: u32 = 1 << 20;

/// A driver on a simulated kernel. It never blocks: a turn without events returns no completions.
/// It has no Unix sockets: connecting to one fails with EAFNOSUPPORT.
pub struct Sim {
    table: SlotTable<Handle>,
    waker: Waker,
}

impl Sim {
    /// A driver, and the network of its peers. The same seed gives the same run.
    ///
    /// # Panics
    /// When `buffers` are out of range, or the process can open no eventfd (for the [`Waker`]).
    #[must_use]
    pub fn new(seed: u64, faults: Faults, buffers: BufferConfig) -> (Self, Network) {
        let buffers = BufferConfig { working_set: buffers.working_set.or(Some(WORKING_SET)), ..buffers };
        let pool = Pool::new(&buffers).unwrap_or_else(|error| panic!("{error}"));
        let waker = Waker::new().unwrap_or_else(|error| panic!("no eventfd for the simulation: {error}"));
        let kernel = Rc::new(RefCell::new(SimKernel::new(seed, faults, pool.clone(), waker.clone())));
        let network = Network(Rc::clone(&kernel));
        (Self { table: SlotTable::new(Handle::new(kernel, pool), &buffers, MAX_SLOTS), waker }, network)
    }

    /// Begins to accept, as [`Driver::listen`] does, without a real listener. A second call does
    /// nothing until [`Driver::stop_listening`].
    pub fn start_listening(&mut self) {
        if !self.table.is_listening() {
            let listener = self.table.kernel.listener();
            self.table.listen(listener);
        }
    }

    /// Opens a socket for datagrams, as [`Driver::open_datagrams`] does, without a real one. It has all
    /// addresses: see [`Network::send_datagram`].
    ///
    /// # Panics
    /// When there is no memory for the buffers.
    pub fn start_datagrams(&mut self) {
        let opened = self.kernel().borrow_mut().datagrams.open();
        opened.unwrap_or_else(|error| panic!("no buffers for datagrams: {error}"));
    }

    /// Sets the maximum number of slots in use. At the limit, accepting pauses and
    /// [`Driver::reserve`] fails. Default 1,048,576.
    pub fn limit_connections(&mut self, max: u32) {
        self.table.limit(max);
        self.publish_status();
    }

    /// Another handle of its network.
    #[must_use]
    pub fn network(&self) -> Network {
        Network(Rc::clone(&self.table.kernel.shared))
    }

    /// Its receive buffers.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.table.kernel.pool
    }

    /// The number of slots in use, including those that are closing.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.table.stats.open
    }

    /// The number of operations of connections in flight.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.kernel().borrow().in_flight()
    }

    /// Whether further turns have no effect: see [`Network::is_idle`].
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.kernel().borrow().is_idle()
    }

    /// How often each fault has been injected so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.kernel().borrow().injected
    }

    fn kernel(&self) -> &RefCell<SimKernel> {
        &self.table.kernel.shared
    }

    /// Publishes the status of the driver to the network.
    fn publish_status(&self) {
        let status = &mut self.kernel().borrow_mut().status;
        status.open = self.table.stats.open;
        status.full = self.table.is_full();
        status.draining = self.table.is_draining();
        status.starved = self.table.starved();
        status.unreported = self.table.unreported();
    }

    /// Panics for a slot that was never given out. A closed slot is allowed.
    #[track_caller]
    fn check(&self, slot: Slot) {
        let Some((present, in_use)) = self.table.slot_at(slot.index()) else {
            self.kernel().borrow().violated(format_args!("slot {slot:?} was never given out"));
        };
        let age = Slot::new(0, present.generation().wrapping_sub(slot.generation())).generation();
        // A free index has the generation of its next user. An age above half of all generations is
        // negative.
        if age > Slot::new(0, u32::MAX).generation() / 2 || age == 0 && !in_use {
            self.kernel().borrow().violated(format_args!("slot {slot:?} is not given out yet"));
        }
    }
}

impl Driver for Sim {
    /// Begins to accept the peers of [`Network::connect`]. The socket is closed.
    fn listen(&mut self, listener: Listener) {
        drop(listener);
        self.start_listening();
    }

    forward!(accepting);
    forward!(queries);

    /// Opens a socket of the simulation. The real one is closed.
    fn open_datagrams(&mut self, socket: DatagramSocket) -> io::Result<()> {
        drop(socket);
        self.kernel().borrow_mut().datagrams.open()
    }

    fn send_datagram(&mut self, datagram: Datagram) {
        if !self.kernel().borrow_mut().send_datagram(datagram) {
            self.table.stats.datagrams_unsent += 1;
        }
    }

    fn stop_datagrams(&mut self) {
        self.kernel().borrow_mut().stop_datagrams();
    }

    fn has_datagrams(&self) -> bool {
        self.kernel().borrow().datagrams.is_open()
    }

    fn duplicate_datagrams(&self) -> io::Result<Vec<DatagramSocket>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "a simulation has no sockets"))
    }

    fn reserve(&mut self) -> Option<Slot> {
        let slot = self.table.reserve();
        self.publish_status();
        slot
    }

    fn detach(&mut self, slot: Slot) -> Option<Detached> {
        self.check(slot);
        let detached = self.table.detach(slot);
        self.publish_status();
        detached
    }

    /// Takes over a connection of another simulation, with its network's peer.
    fn adopt(&mut self, detached: Detached) -> Slot {
        let slot = self.table.attach(detached);
        self.publish_status();
        slot
    }

    fn connect_with(&mut self, slot: Slot, peer: impl Into<Address>, options: &ConnectOptions) {
        self.check(slot);
        self.table.connect(slot, &peer.into(), options);
        self.publish_status();
    }

    fn receive(&mut self, slot: Slot) {
        self.check(slot);
        self.table.receive(slot);
    }

    fn pause(&mut self, slot: Slot) {
        self.check(slot);
        self.table.pause(slot);
    }

    fn send(&mut self, slot: Slot, output: Output) {
        self.check(slot);
        self.table.send(slot, output);
    }

    fn finish(&mut self, slot: Slot) {
        self.check(slot);
        self.table.finish(slot);
    }

    fn close(&mut self, slot: Slot) {
        self.check(slot);
        self.table.close(slot);
        self.publish_status();
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// One turn. The timeout is ignored, because a simulation has no clock.
    fn wait(&mut self, mut timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.table.begin_turn(&mut timeout, completions);
        self.table.kernel.enter();
        let overflowing = self.kernel().borrow().is_overflowing();
        self.table.stats.overflows += u64::from(overflowing);
        for _ in 0..BUDGET {
            let Some(event) = self.table.kernel.next_cqe() else { break };
            self.table.complete(event.user_data, event.result, event.more, event.buffer, completions);
        }
        self.table.kernel.shared.borrow_mut().exchange_datagrams(&mut self.table.stats, completions);
        self.table.end_turn();
        self.publish_status();
        Ok(())
    }

    fn free_buffers(&self) -> usize {
        self.table.kernel.pool.unguarded()
    }
}

impl Drop for Sim {
    /// Closes all connections at once, and returns all buffers without a guard to the pool.
    fn drop(&mut self) {
        self.kernel().borrow_mut().close_all();
    }
}

#[cfg(test)]
mod tests;
