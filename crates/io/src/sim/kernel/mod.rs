//! The simulated kernel: takes requests, and returns completions with the faults of a kernel and a
//! network.
//!
//! It does not know slots. As in io_uring, each request has a number, and its completions have the
//! same number. The bytes of a connection are delivered in order; other completions can come in any
//! order.

mod listener;
mod socket;

use super::connection::{SharedConnection, SimConnection, SimEnd};
use super::datagrams::SimDatagrams;
use super::faults::{Faults, Injected, RandomSource};
use crate::{Buffer, Completion, Datagram, Output, Pool, Stats, Waker};
use listener::SimListener;
use socket::{Pending, Sending, SimSocket};
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::MutexGuard;

/// The number of an open socket. Numbers are reused, the latest first.
pub(super) type Descriptor = usize;

/// The capacity of the completion queue: four times the default submission queue.
const CAPACITY: usize = 4096;

/// The maximum delay of a late operation, in turns.
const LATEST: usize = 32;

/// A request.
pub(super) enum Sqe {
    /// Accept until cancelled.
    Accept,
    /// Connect to the address of the socket.
    Connect {
        descriptor: Descriptor,
    },
    /// Receive into provided buffers until cancelled.
    Receive {
        descriptor: Descriptor,
    },
    /// Send all of the output, which the kernel shares with the driver until the completion.
    Send {
        descriptor: Descriptor,
        output: Rc<Output>,
    },
    /// Cancel the request with this number.
    Cancel {
        target: u64,
    },
    Close {
        descriptor: Descriptor,
    },
    /// Report wakes until cancelled.
    WatchWaker,
}

/// One entry of the completion queue.
pub(super) struct Cqe {
    pub(super) user_data: u64,
    /// The result of the system call: a number, or a negated errno.
    pub(super) result: i32,
    /// The request stays in flight (IORING_CQE_F_MORE).
    pub(super) more: bool,
    pub(super) buffer: Option<Buffer>,
    /// Whether it belongs to an operation of a connection, which is in flight until the completion
    /// is returned.
    counted: bool,
}

/// How outgoing connections of the driver are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reception {
    /// They are established. [`Network::accept`](super::Network::accept) returns the peers.
    #[default]
    Welcome,
    /// They are refused (ECONNREFUSED).
    Refuse,
    /// They find no local port (EADDRNOTAVAIL).
    NoPort,
    /// There is no answer: they stay in progress until the driver closes them.
    Ignore,
}

/// The status of the driver, from which the network derives whether the simulation is idle.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct DriverStatus {
    /// Slots in use.
    pub(super) open: u64,
    /// Whether the limit of slots is reached.
    pub(super) full: bool,
    /// Whether the driver takes the connections out of the backlog, and then closes the listener.
    pub(super) draining: bool,
    /// The number of connections that wait for a buffer.
    pub(super) starved: usize,
    /// The number of completions that the driver has stored.
    pub(super) unreported: usize,
}

pub(super) struct SimKernel {
    seed: u64,
    random: RandomSource,
    pub(super) faults: Faults,
    pub(super) injected: Injected,
    turn: u64,
    /// Submitted requests, which the next turn starts.
    queue: Vec<(u64, Sqe)>,
    events: VecDeque<Cqe>,
    /// The capacity of the completion queue in this turn.
    capacity: usize,
    /// How many more completions this turn returns.
    handout: usize,
    shuffling: bool,
    pub(super) connections: Vec<SharedConnection>,
    sockets: Vec<Option<SimSocket>>,
    free: Vec<Descriptor>,
    pub(super) descriptor_limit: usize,
    /// The errno of an accept at that limit.
    pub(super) descriptor_error: i32,
    /// The socket of each request that can be cancelled.
    cancellable: BTreeMap<u64, Descriptor>,
    listener: SimListener,
    pub(super) datagrams: SimDatagrams,
    /// Outgoing connections that the network has not accepted.
    pub(super) outgoing: VecDeque<usize>,
    pub(super) reception: Reception,
    pub(super) window: usize,
    /// The source addresses that are none of this machine.
    pub(super) foreign: Vec<IpAddr>,
    waker: Waker,
    /// Whether a wake was not reported yet.
    woken: Cell<bool>,
    watch: Option<u64>,
    pool: Pool,
    /// The buffers that were lent, first in, first out.
    ring: VecDeque<u16>,
    retired: VecDeque<u64>,
    in_flight: usize,
    pub(super) status: DriverStatus,
}

impl SimKernel {
    pub(super) fn new(seed: u64, faults: Faults, pool: Pool, waker: Waker) -> Self {
        Self {
            seed,
            random: RandomSource::new(seed),
            faults,
            injected: Injected::default(),
            turn: 0,
            queue: Vec::new(),
            events: VecDeque::new(),
            capacity: CAPACITY,
            handout: 0,
            shuffling: false,
            connections: Vec::new(),
            sockets: Vec::new(),
            free: Vec::new(),
            descriptor_limit: usize::MAX,
            descriptor_error: libc::EMFILE,
            cancellable: BTreeMap::new(),
            listener: SimListener::default(),
            datagrams: SimDatagrams::new(),
            outgoing: VecDeque::new(),
            reception: Reception::Welcome,
            window: 256 * 1024,
            foreign: Vec::new(),
            waker,
            woken: Cell::new(false),
            watch: None,
            pool,
            ring: VecDeque::new(),
            retired: VecDeque::new(),
            in_flight: 0,
            status: DriverStatus::default(),
        }
    }

    /// Panics because a contract was violated. The message has the seed that reproduces the run.
    #[track_caller]
    pub(super) fn violated(&self, rule: impl fmt::Display) -> ! {
        panic!("simulation with seed {}, turn {}: {rule}", self.seed, self.turn)
    }

    pub(super) fn seed(&self) -> u64 {
        self.seed
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }

    /// The number of operations of connections whose last completion was not returned yet.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn submit(&mut self, user_data: u64, request: Sqe) {
        if !matches!(request, Sqe::Accept | Sqe::WatchWaker) {
            self.in_flight += 1;
        }
        self.queue.push((user_data, request));
    }

    /// Lends a buffer, as `Provided::refill` does.
    pub(super) fn provide(&mut self, index: u16) {
        self.ring.push_back(index);
    }

    pub(super) fn ready(&self) -> u16 {
        self.ring.len() as u16
    }

    /// A socket for an outgoing connection: `socket(2)`.
    pub(super) fn socket(&mut self, address: SocketAddr, source: Option<IpAddr>) -> Result<Descriptor, i32> {
        if let Some(errno) = self.has_no_descriptor() {
            return Err(errno);
        }
        let connection = SimConnection { source, ..SimConnection::new(address, self.window) };
        self.connections.push(SharedConnection::new(connection));
        Ok(self.open_socket(self.connections.len() - 1))
    }

    /// Gives up an accepted socket on which nothing was requested.
    pub(super) fn detach(&mut self, descriptor: Descriptor) -> SimEnd {
        let socket = self.socket_of(descriptor);
        let connection = socket.connection;
        if socket.is_busy() || socket.received_as.is_some() {
            self.violated(format_args!("descriptor {descriptor} is detached after a request on it"));
        }
        let connection = self.connections[connection].clone();
        self.sockets[descriptor] = None;
        self.free.push(descriptor);
        SimEnd::new(connection)
    }

    /// Takes over a connection of another kernel.
    pub(super) fn attach(&mut self, end: SimEnd) -> Descriptor {
        let Some(connection) = end.take() else { self.violated("a connection is attached twice") };
        self.connections.push(connection);
        self.open_socket(self.connections.len() - 1)
    }

    /// Sends FIN: `shutdown(2)`. It takes effect before requests that are only submitted.
    pub(super) fn shutdown(&mut self, descriptor: Descriptor) {
        let sends = |(_, request): &_| matches!(request, Sqe::Send { descriptor: other, .. } if *other == descriptor);
        let queued = self.queue.iter().any(sends);
        let socket = self.socket_of(descriptor);
        if queued || socket.send.is_some() {
            self.violated(format_args!("descriptor {descriptor} is shut down under a send, which fails with EPIPE"));
        }
        let connection = socket.connection;
        self.connections[connection].lock().outbound_finished = true;
    }

    /// A peer sends a datagram.
    pub(super) fn arrive(&mut self, socket: usize, ends: (SocketAddr, IpAddr), payload: &[u8]) {
        self.check_datagrams(socket);
        self.datagrams.arrive((self.turn, &mut self.random), socket, ends, payload);
    }

    /// Sends a datagram. Returns whether it is in flight.
    pub(super) fn send_datagram(&mut self, datagram: Datagram) -> bool {
        self.check_datagrams(datagram.socket);
        self.datagrams.send(self.turn, &mut self.random, datagram)
    }

    fn check_datagrams(&self, socket: usize) {
        if !self.datagrams.has_socket(socket) {
            self.violated(format_args!("socket {socket} for datagrams was never opened"));
        }
    }

    pub(super) fn stop_datagrams(&mut self) {
        self.datagrams.stop(self.turn, &mut self.random);
    }

    /// The part of a turn for datagrams.
    pub(super) fn exchange_datagrams(&mut self, stats: &mut Stats, completions: &mut Vec<Completion>) {
        self.datagrams.work(self.turn, &mut self.random, stats, completions);
    }

    pub(super) fn peer_address(&self, descriptor: Descriptor) -> Option<SocketAddr> {
        self.connection_of(descriptor).map(|connection| connection.address)
    }

    /// The bytes that the peer has read.
    pub(super) fn acknowledged(&self, descriptor: Descriptor) -> Option<u64> {
        self.connection_of(descriptor).map(|connection| connection.read)
    }

    /// The bytes that the peer has written and no receive has delivered.
    pub(super) fn unread(&self, descriptor: Descriptor) -> usize {
        let socket = self.sockets.get(descriptor).and_then(Option::as_ref);
        socket.map_or(0, |socket| self.connections[socket.connection].lock().inbound.len())
    }

    /// Whether the peer writes no more.
    pub(super) fn is_hung_up(&self, descriptor: Descriptor) -> bool {
        let Some(socket) = self.sockets.get(descriptor).and_then(Option::as_ref) else { return true };
        let connection = self.connections[socket.connection].lock();
        connection.error.is_some() || connection.inbound_finished
    }

    /// Whether the completion queue holds events.
    pub(super) fn has_cqes(&self) -> bool {
        !self.events.is_empty()
    }

    /// The connection of a descriptor; `None` when it is not established, or gone.
    fn connection_of(&self, descriptor: Descriptor) -> Option<MutexGuard<'_, SimConnection>> {
        let connection = self.connections[self.sockets.get(descriptor)?.as_ref()?.connection].lock();
        (connection.established && connection.error.is_none()).then_some(connection)
    }

    /// Whether completions did not fit into the completion queue (IORING_SQ_CQ_OVERFLOW).
    pub(super) fn is_overflowing(&self) -> bool {
        self.events.len() > self.capacity
    }

    /// One turn: starts the submitted requests, and completes those that are due.
    pub(super) fn enter(&mut self) {
        self.turn += 1;
        let squeezed = self.random.draw(self.faults.overflow, &mut 0);
        self.capacity = if squeezed { self.random.within(1..=4) } else { CAPACITY };
        for (user_data, request) in std::mem::take(&mut self.queue) {
            self.start(user_data, request);
        }
        self.work();
        let empty = !self.events.is_empty() && self.random.draw(self.faults.empty_turn, &mut self.injected.empty_turn);
        self.handout = if empty { 0 } else { self.capacity };
    }

    /// The next completion of this turn.
    pub(super) fn next_cqe(&mut self) -> Option<Cqe> {
        self.handout = self.handout.checked_sub(1)?;
        let event = self.events.pop_front()?;
        self.in_flight -= usize::from(event.counted && !event.more);
        Some(event)
    }

    /// Closes all descriptors of the driver, with the operations in flight on them.
    pub(super) fn close_all(&mut self) {
        self.stop_listening();
        self.datagrams.close();
        self.queue.clear();
        self.events.clear();
        self.cancellable.clear();
        self.listener.accept = None;
        self.watch = None;
        self.in_flight = 0;
        self.status = DriverStatus::default();
        for socket in self.sockets.drain(..).flatten() {
            self.connections[socket.connection].lock().close();
        }
        self.free.clear();
        for index in self.ring.drain(..) {
            self.pool.put_back(index);
        }
    }

    /// Whether further turns have no effect until a peer, the engine or the test acts.
    pub(super) fn is_idle(&self) -> bool {
        let waiting = !self.listener.backlog.is_empty() || self.status.draining;
        let acceptable = waiting && !self.status.full && self.open_sockets() < self.descriptor_limit;
        let feedable = self.status.starved > 0 && (!self.ring.is_empty() || self.pool.free() > 0);
        self.queue.is_empty()
            && self.events.is_empty()
            && self.datagrams.is_idle()
            && self.listener.cancels.is_empty()
            && self.status.unreported == 0
            && !acceptable
            && !feedable
            && !self.is_awake()
            && self.sockets.iter().flatten().all(|socket| self.is_stuck(socket))
    }

    /// Starts a request. Most requests can complete in the same turn.
    fn start(&mut self, user_data: u64, request: Sqe) {
        match request {
            Sqe::Accept => {
                let pending = Pending { user_data, due: self.due() };
                if self.listener.accept.replace(pending).is_some() {
                    self.violated("the driver has two accepts in flight on one listener");
                }
            }
            Sqe::WatchWaker => {
                if self.watch.replace(user_data).is_some() {
                    self.violated("the driver watches the waker twice");
                }
            }
            Sqe::Connect { descriptor } => {
                let pending = Pending { user_data, due: self.due() };
                self.socket_of(descriptor).connect = Some(pending);
                self.cancellable.insert(user_data, descriptor);
            }
            Sqe::Receive { descriptor } => {
                let pending = Pending { user_data, due: self.due() };
                let socket = self.socket_of(descriptor);
                socket.received_as = Some(user_data);
                if socket.receive.replace(pending).is_some() {
                    self.violated(format_args!("the driver has two receives in flight on descriptor {descriptor}"));
                }
                self.cancellable.insert(user_data, descriptor);
            }
            Sqe::Send { descriptor, output } => {
                let pending = Pending { user_data, due: self.turn };
                let sending = Sending { pending, checksum: socket::checksum(&output), output, written: 0, done: false };
                if self.socket_of(descriptor).send.replace(sending).is_some() {
                    self.violated(format_args!("the driver has two sends in flight on descriptor {descriptor}"));
                }
                self.cancellable.insert(user_data, descriptor);
            }
            Sqe::Cancel { target } => self.start_cancel(user_data, target),
            Sqe::Close { descriptor } => {
                let pending = Pending { user_data, due: self.due() };
                let socket = self.socket_of(descriptor);
                if socket.is_busy() || socket.close.replace(pending).is_some() {
                    self.violated(format_args!(
                        "the driver closes descriptor {descriptor} with operations in flight, which cancels none of them"
                    ));
                }
            }
        }
    }

    fn work(&mut self) {
        self.repeat_stale();
        let mut open: Vec<Descriptor> =
            (0..self.sockets.len()).filter(|&descriptor| self.sockets[descriptor].is_some()).collect();
        for &descriptor in &open {
            self.reset_at_random(descriptor);
        }
        self.shuffling = open.len() > 1 && self.random.draw(self.faults.shuffle, &mut self.injected.shuffle);
        if self.shuffling {
            while !open.is_empty() {
                let at = self.random.within(0..=open.len() - 1);
                if !self.advance(open[at]) {
                    open.swap_remove(at);
                }
            }
        } else {
            for descriptor in open {
                while self.advance(descriptor) {}
            }
        }
        while self.advance_accept() {}
        self.watch_waker();
    }

    /// Advances one operation of a socket; returns whether there was one to advance.
    fn advance(&mut self, descriptor: Descriptor) -> bool {
        // Either direction can complete first. The bytes of each stay in order.
        let send_first = self.shuffling && self.random.within(0..=1) == 1;
        self.advance_cancel(descriptor)
            || self.advance_connect(descriptor)
            || (send_first && self.advance_send(descriptor))
            || self.advance_receive(descriptor)
            || self.advance_send(descriptor)
            || self.advance_close(descriptor)
    }

    /// Adds a completion to the queue; returns whether its request stays in flight. As in io_uring,
    /// a multishot request ends with a completion that does not fit into the queue.
    fn post(&mut self, mut event: Cqe) -> bool {
        if self.events.len() >= self.capacity {
            event.more = false;
            self.injected.overflow += u64::from(self.capacity < CAPACITY);
        }
        let more = event.more;
        self.events.push_back(event);
        more
    }

    /// Posts the last completion of an operation of a connection.
    fn post_last(&mut self, user_data: u64, result: i32) {
        self.post(Cqe { user_data, result, more: false, buffer: None, counted: true });
    }

    /// Fills a lent buffer, if there is one.
    fn fill(&mut self, bytes: &[u8]) -> Option<Buffer> {
        // `fill` takes the buffer that was put back last, which is the first one of the ring.
        self.pool.put_back(self.ring.pop_front()?);
        self.pool.fill(bytes)
    }

    /// The first turn in which an operation that begins now can complete.
    fn due(&mut self) -> u64 {
        let late = self.random.draw(self.faults.late, &mut self.injected.late);
        self.turn + if late { self.random.within(1..=LATEST) as u64 } else { 0 }
    }

    fn is_awake(&self) -> bool {
        self.woken.set(self.woken.get() || self.waker.take());
        self.woken.get()
    }

    fn watch_waker(&mut self) {
        let Some(user_data) = self.watch else { return };
        if self.is_awake() || self.random.draw(self.faults.spurious_wake, &mut self.injected.spurious_wake) {
            self.woken.set(false);
            if !self.post(Cqe { user_data, result: 1, more: true, buffer: None, counted: false }) {
                self.watch = None;
            }
        }
    }

    /// Posts a completion for a connection that is gone.
    fn repeat_stale(&mut self) {
        if self.retired.is_empty() || !self.random.draw(self.faults.stale, &mut self.injected.stale) {
            return;
        }
        let at = self.random.within(0..=self.retired.len() - 1);
        let Some(user_data) = self.retired.remove(at) else { return };
        let more = self.random.within(0..=1) == 1;
        let buffer = self.fill(b"bytes of a connection that is gone");
        let result = buffer.as_ref().map_or(-libc::ECANCELED, |buffer| buffer.len() as i32);
        self.events.push_back(Cqe { user_data, result, more, buffer, counted: false });
    }
}
