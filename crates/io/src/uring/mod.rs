//! The driver on io_uring.
//!
//! One turn is one `io_uring_enter`: it submits what was asked for since the last one, waits, and runs the kernel's
//! work for this ring. UNSAFE.md lists the invariants that keep the kernel's pointers valid.

mod accept;
mod connection;
mod gather;
mod operation;
mod provided;
mod refusal;
mod setup;

pub use refusal::Refusal;
pub use setup::{Rung, probe};

use crate::slab::{NOWHERE, Slab};
use crate::{BufferConfig, Cause, Completion, Driver, Listener, Output, Pool, Slot, Stats, Waker};
use accept::{Acceptors, Obstacle};
use connection::{Connection, Flag};
use gather::Gather;
use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue};
use operation::Operation;
use provided::Provided;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// How many completions one turn hands out, so that a flood cannot keep replies from being submitted.
///
/// There is no budget of bytes per connection on top of it: the kernel keeps one. A multishot receive fills 32 buffers at
/// most before it goes to the end of the ring's work (`MULTISHOT_MAX_RETRY`), completions are worked off in the order in
/// which they came, and whoever finds no buffer waits in line with the others.
const BUDGET: usize = 1024;

/// How long a full submission queue may find the kernel without room before the driver counts as broken.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a teardown waits for the kernel to let go of everything.
const TEARDOWN: Duration = Duration::from_secs(5);

/// What a [`Uring`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringConfig {
    /// Entries of the submission queue, 8 to 32 768; the completion queue has four times as many. Default 1024.
    pub entries: u32,
    /// The receive buffers.
    pub buffers: BufferConfig,
    /// How many connections may be open at once. When there are as many, accepting pauses; those that the kernel has
    /// accepted in the same turn are still served. Default 1 048 576.
    pub max_connections: u32,
}

impl Default for UringConfig {
    fn default() -> Self {
        Self { entries: 1024, buffers: BufferConfig::default(), max_connections: 1 << 20 }
    }
}

/// What the kernel holds for one slot until a completion gives it back.
enum Held {
    Output { output: Output, _gather: Option<Gather> },
    Address(#[expect(dead_code, reason = "the kernel reads it")] Box<SockAddr>),
}

/// A driver on an io_uring of the thread that made it.
pub struct Uring {
    // Dropped first: the ring must be closed before the memory that it knows goes.
    ring: IoUring,
    provided: Provided,
    pool: Pool,
    rung: Rung,
    config: UringConfig,
    connections: Vec<Connection>,
    free: Vec<u32>,
    held: Slab<Held>,
    acceptors: Acceptors,
    /// How many buffers should lie ready: doubles, once a turn at most, when the kernel finds none.
    ready: u16,
    /// Slots whose receive ended because there was no buffer, the longest waiting in front.
    starved: VecDeque<Slot>,
    waker: Waker,
    watching: bool,
    /// Completions that are to be worked off: those of this turn, or taken early to make room in a full queue.
    reaped: Vec<cqueue::Entry>,
    /// The error that the kernel has answered `io_uring_enter` with, for good: nothing can be submitted any more.
    broken: Option<i32>,
    stats: Stats,
}

impl Uring {
    /// A driver for the calling thread; only this thread may use it.
    ///
    /// # Errors
    /// When the kernel refuses: see [`probe`], which says so before any thread is started.
    pub fn new(config: UringConfig) -> Result<Self, Refusal> {
        let invalid = |text| Refusal::new("reserving buffers", io::Error::new(io::ErrorKind::InvalidInput, text));
        let pool = Pool::new(&config.buffers).map_err(invalid)?;
        let (ring, provided, rung) = setup::open(config.entries.clamp(8, 32_768), &pool, config.buffers.count)?;
        let waker = Waker::new().map_err(|error| Refusal::new("opening an eventfd", error))?;
        let ready = config.buffers.ready;
        Ok(Self {
            ring,
            provided,
            pool,
            rung,
            config,
            connections: Vec::new(),
            free: Vec::new(),
            held: Slab::new(),
            acceptors: Acceptors::default(),
            ready,
            starved: VecDeque::new(),
            waker,
            watching: false,
            reaped: Vec::new(),
            broken: None,
            stats: Stats::default(),
        })
    }

    /// What the kernel granted.
    #[must_use]
    pub fn rung(&self) -> &Rung {
        &self.rung
    }

    /// The pool of its receive buffers.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// Puts an entry in the submission queue; a full queue is submitted first. Whether the driver took it: one that is
    /// broken does not.
    ///
    /// All memory that the entry points to must be owned by `held`, `provided` or `acceptors` until its completion.
    fn push(&mut self, entry: &Entry) -> bool {
        // SAFETY: what the entry points to stays valid until its completion: outputs and addresses lie in `held`,
        // which only that completion empties; receives point to nothing but the registered ring (UNSAFE.md 1).
        while unsafe { self.ring.submission().push(entry) }.is_err() {
            if self.make_room().is_err() {
                return false;
            }
        }
        true
    }

    /// Submits a full queue.
    #[cold]
    fn make_room(&mut self) -> io::Result<()> {
        let mut deadline = None;
        loop {
            self.is_usable()?;
            let Err(error) = self.ring.submit() else { return Ok(()) };
            // EBUSY and EAGAIN: the kernel has no room before its completions are reaped. They are kept aside.
            self.reaped.extend(self.ring.completion());
            if !is_transient(&error) || Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + PATIENCE) {
                return Err(self.broke(error));
            }
            std::thread::yield_now();
        }
    }

    /// Remembers that the kernel does not take what is submitted.
    #[cold]
    fn broke(&mut self, error: io::Error) -> io::Error {
        tracing::error!(%error, "io_uring_enter fails: this driver is broken");
        self.broken = Some(error.raw_os_error().unwrap_or(libc::EIO));
        error
    }

    fn is_usable(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    fn current(&mut self, slot: Slot) -> Option<&mut Connection> {
        let connection = self.connections.get_mut(slot.index() as usize)?;
        (connection.slot_generation == slot.generation() && connection.is(Flag::Owned)).then_some(connection)
    }

    fn is_full(&self) -> bool {
        self.stats.open >= u64::from(self.config.max_connections)
    }

    /// Gives a slot to a descriptor, whose owner it becomes.
    fn adopt(&mut self, fd: RawFd) -> Slot {
        let index = self.free.pop().unwrap_or_else(|| {
            self.connections.push(Connection::new());
            (self.connections.len() - 1) as u32
        });
        let connection = &mut self.connections[index as usize];
        connection.fd = fd;
        connection.set(Flag::Owned);
        if fd >= 0 {
            connection.set(Flag::Dialed);
        }
        self.stats.open += 1;
        connection.slot(index)
    }

    fn arm(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot.index() as usize];
        connection.set(Flag::Armed);
        connection.in_flight += 1;
        let entry = operation::receive(connection.fd, slot);
        self.push(&entry);
    }

    /// Cancels the receive in flight, once.
    fn disarm(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot.index() as usize];
        if connection.is(Flag::Armed) && !connection.is(Flag::Cancelled) {
            connection.set(Flag::Cancelled);
            self.cancel(Operation::Receive, slot);
        }
    }

    fn cancel(&mut self, operation: Operation, slot: Slot) {
        self.connections[slot.index() as usize].in_flight += 1;
        self.push(&operation::cancel(operation, slot));
    }

    /// Goes on with the end of a slot: closes the descriptor when nothing else is in flight, and frees the slot when
    /// that is done.
    fn wind_up(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot.index() as usize];
        if connection.can_close() {
            let fd = connection.take_fd();
            connection.in_flight += 1;
            if !self.push(&operation::close(fd, slot)) {
                // SAFETY: `take_fd` gave this call the open descriptor, and the close of it was not submitted.
                drop(unsafe { OwnedFd::from_raw_fd(fd) });
            }
        } else if connection.can_free() {
            connection.free(slot.index());
            self.free.push(slot.index());
            self.stats.open -= 1;
            self.acceptors.slot_freed();
        }
    }

    /// One operation of the slot has had its last completion.
    fn landed(&mut self, slot: Slot) {
        self.connections[slot.index() as usize].in_flight -= 1;
        self.wind_up(slot);
    }

    /// Says that the connection has ended: once, and once more when it breaks after the peer's FIN.
    fn end(&mut self, slot: Slot, cause: Cause, completions: &mut Vec<Completion>) {
        let Some(connection) = self.current(slot) else { return };
        if connection.is(Flag::Broken) || connection.is(Flag::Ended) && matches!(cause, Cause::Finished) {
            return;
        }
        connection.set(Flag::Ended);
        if !matches!(cause, Cause::Finished) {
            connection.set(Flag::Broken);
        }
        completions.push(Completion::Ended { slot, cause });
    }

    /// Sends FIN now.
    fn shut_down(&mut self, slot: Slot) {
        let connection = &mut self.connections[slot.index() as usize];
        connection.set(Flag::FinSent);
        // SAFETY: callers have seen that the slot is owned and connected, so its descriptor is open: it is closed only
        // after `close` gave the slot up.
        let fd = unsafe { BorrowedFd::borrow_raw(connection.fd) };
        // It fails only when the connection is gone, which the receive reports.
        let _ = rustix::net::shutdown(fd, rustix::net::Shutdown::Write);
    }

    /// Lends the kernel buffers and re-arms as many starved receives as there are buffers for, the longest waiting
    /// first.
    fn feed(&mut self) {
        self.provided.refill(self.ready);
        let mut left = self.provided.ready();
        while left > 0
            && let Some(slot) = self.starved.pop_front()
        {
            if let Some(connection) = self.current(slot) {
                connection.unset(Flag::Starved);
                if connection.should_arm() {
                    self.arm(slot);
                    left -= 1;
                }
            }
        }
    }

    fn watch_waker(&mut self) {
        if !self.watching {
            self.watching = true;
            let entry = operation::watch_waker(self.waker.fd().as_raw_fd());
            self.push(&entry);
        }
    }

    /// The one system call of a turn.
    fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // Completions that are here already, kept aside or in the queue, are reason enough not to wait.
        let waiting = self.reaped.is_empty() && self.ring.completion().is_empty();
        let (want, timeout) = match timeout {
            _ if !waiting => (0, Some(Duration::ZERO)),
            timeout => (1, timeout),
        };
        let timespec = timeout.map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        match self.ring.submitter().submit_with_args(want, &args) {
            Ok(_) => Ok(()),
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(self.broke(error)),
        }
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        let mut reaped = std::mem::take(&mut self.reaped);
        let room = BUDGET.saturating_sub(reaped.len());
        reaped.extend(self.ring.completion().take(room));
        self.stats.completions += reaped.len() as u64;
        let starved = self.stats.starved;
        for entry in reaped.drain(..) {
            self.complete(&entry, completions);
        }
        if self.stats.starved > starved {
            self.ready = self.ready.saturating_mul(2).min(self.config.buffers.count);
        }
        // `complete` may have kept further ones aside.
        if self.reaped.is_empty() {
            self.reaped = reaped;
        }
    }

    fn complete(&mut self, entry: &cqueue::Entry, completions: &mut Vec<Completion>) {
        let (result, more) = (entry.result(), cqueue::more(entry.flags()));
        let Some((operation, slot)) = operation::from_user_data(entry.user_data()) else {
            self.stats.stale += 1;
            return;
        };
        match operation {
            Operation::Accept => return self.accepted(slot, result, more, completions),
            Operation::Wake => {
                self.watching = more;
                if self.waker.take() {
                    completions.push(Completion::Woken);
                }
                return;
            }
            Operation::CancelAccept => {
                if result < 0 && self.acceptors.cancel_failed(slot) {
                    self.push(&operation::cancel(Operation::Accept, slot));
                }
                return;
            }
            Operation::CancelWake => {
                if result < 0 && self.watching {
                    self.push(&operation::cancel(Operation::Wake, slot));
                }
                return;
            }
            _ => {}
        }
        let known = self.connections.get(slot.index() as usize).map(|connection| connection.slot_generation);
        if known != Some(slot.generation()) {
            self.stats.stale += 1;
            if let Some(id) = cqueue::buffer_select(entry.flags()) {
                drop(self.provided.claim(id, result));
            }
            return;
        }
        match operation {
            Operation::Receive => self.received(slot, entry, completions),
            Operation::Send => self.sent(slot, result, completions),
            Operation::Connect => self.connected(slot, result, completions),
            Operation::CancelReceive | Operation::CancelSend | Operation::CancelConnect => {
                self.cancelled(slot, operation, result);
            }
            Operation::Close => self.landed(slot),
            Operation::Accept | Operation::Wake | Operation::CancelAccept | Operation::CancelWake => {}
        }
    }

    fn accepted(&mut self, listener: Slot, result: i32, more: bool, completions: &mut Vec<Completion>) {
        if !more {
            self.acceptors.disarmed(listener);
        }
        if result >= 0 {
            let slot = self.adopt(result);
            self.stats.accepted += 1;
            completions.push(Completion::Accepted { slot });
            if self.is_full() {
                self.pause_accepting(Obstacle::Full);
            }
        } else if let Some(obstacle) = Obstacle::of(-result) {
            self.pause_accepting(obstacle);
        }
    }

    fn pause_accepting(&mut self, obstacle: Obstacle) {
        if self.acceptors.pause(Instant::now(), obstacle) {
            self.stats.accept_pauses += 1;
        }
        for entry in self.acceptors.cancels() {
            self.push(&entry);
        }
    }

    /// A cancel is answered. One that came too late (EALREADY) has to be repeated while its target goes on, or a slot
    /// would never be freed and a pause never come.
    fn cancelled(&mut self, slot: Slot, operation: Operation, result: i32) {
        let connection = &mut self.connections[slot.index() as usize];
        if result < 0 {
            match operation {
                Operation::CancelReceive => {
                    connection.unset(Flag::Cancelled);
                    if connection.should_disarm() {
                        self.disarm(slot);
                    }
                }
                Operation::CancelSend if connection.is(Flag::Sending) => self.cancel(Operation::Send, slot),
                Operation::CancelConnect if connection.is(Flag::Connecting) => self.cancel(Operation::Connect, slot),
                _ => {}
            }
        }
        self.landed(slot);
    }

    fn received(&mut self, slot: Slot, entry: &cqueue::Entry, completions: &mut Vec<Completion>) {
        let (result, more) = (entry.result(), cqueue::more(entry.flags()));
        let buffer = cqueue::buffer_select(entry.flags()).and_then(|id| self.provided.claim(id, result));
        let connection = &mut self.connections[slot.index() as usize];
        if !more {
            connection.unset(Flag::Armed);
            connection.unset(Flag::Cancelled);
        }
        if !connection.is(Flag::Owned) || connection.is(Flag::Ended) {
            // Closed, or a send has met the end first: what comes now is dropped.
            self.stats.stale += u64::from(result != -libc::ECANCELED);
        } else if let Some(buffer) = buffer {
            completions.push(Completion::Received { slot, buffer });
        } else {
            match -result {
                0 => self.end(slot, Cause::Finished, completions),
                libc::ENOBUFS => {
                    connection.set(Flag::Starved);
                    self.starved.push_back(slot);
                    self.stats.starved += 1;
                }
                libc::ECANCELED | libc::EINTR | libc::EAGAIN => {}
                errno => self.end(slot, cause(errno), completions),
            }
        }
        if !more {
            if self.connections[slot.index() as usize].should_arm() {
                self.arm(slot);
            }
            self.landed(slot);
        }
    }

    fn sent(&mut self, slot: Slot, result: i32, completions: &mut Vec<Completion>) {
        let connection = &mut self.connections[slot.index() as usize];
        connection.unset(Flag::Sending);
        let held = std::mem::replace(&mut connection.held, NOWHERE);
        let owned = connection.is(Flag::Owned);
        if let Some(Held::Output { output, .. }) = self.held.remove(held) {
            if owned {
                let written = usize::try_from(result).unwrap_or(0);
                if written < output.len() {
                    self.stats.short_sends += 1;
                } else if connection.is(Flag::FinAsked) && !connection.is(Flag::FinSent) {
                    self.shut_down(slot);
                }
                completions.push(Completion::Sent { slot, output, written });
                if result < 0 && !matches!(-result, libc::EINTR | libc::EAGAIN) {
                    self.end(slot, cause(-result), completions);
                }
            } else {
                self.stats.stale += u64::from(result != -libc::ECANCELED);
            }
        }
        self.landed(slot);
    }

    fn connected(&mut self, slot: Slot, result: i32, completions: &mut Vec<Completion>) {
        let connection = &mut self.connections[slot.index() as usize];
        connection.unset(Flag::Connecting);
        let held = std::mem::replace(&mut connection.held, NOWHERE);
        self.held.remove(held);
        if self.current(slot).is_some() {
            if result == 0 {
                completions.push(Completion::Connected { slot });
                let connection = &self.connections[slot.index() as usize];
                let (finish, receive) = (connection.is(Flag::FinAsked), connection.should_arm());
                if finish {
                    self.shut_down(slot);
                }
                if receive {
                    self.arm(slot);
                }
            } else {
                let error = io::Error::from_raw_os_error(-result);
                self.end(slot, Cause::Unconnected(error), completions);
            }
        }
        self.landed(slot);
    }

    /// Whether the kernel has let go of everything.
    fn is_at_rest(&self) -> bool {
        self.stats.open == 0 && self.acceptors.is_at_rest() && self.held.len() == 0 && !self.watching
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ETIME))
}

fn cause(errno: i32) -> Cause {
    match errno {
        libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED | libc::ENOTCONN => Cause::Reset,
        _ => Cause::Failed(io::Error::from_raw_os_error(errno)),
    }
}

impl Driver for Uring {
    fn listen(&mut self, listener: Listener) {
        self.acceptors.add(listener);
    }

    fn stop_listening(&mut self) {
        self.acceptors.stop();
        for entry in self.acceptors.cancels() {
            self.push(&entry);
        }
    }

    fn reserve(&mut self) -> Option<Slot> {
        (!self.is_full()).then(|| self.adopt(-1))
    }

    fn connect(&mut self, slot: Slot, peer: SocketAddr) {
        let Some(connection) = self.current(slot) else { return };
        assert!(!connection.is(Flag::Dialed), "slot {slot:?} is connected a second time");
        connection.set(Flag::Dialed);
        let socket = Socket::new(Domain::for_address(peer), Type::STREAM, Some(Protocol::TCP))
            .and_then(|socket| socket.set_tcp_nodelay(true).map(|()| socket));
        match socket {
            Ok(socket) => {
                let address = Box::new(SockAddr::from(peer));
                let connection = &mut self.connections[slot.index() as usize];
                connection.fd = socket.into_raw_fd();
                connection.set(Flag::Connecting);
                connection.in_flight += 1;
                let entry = operation::connect(connection.fd, slot, &address);
                connection.held = self.held.insert(Held::Address(address));
                self.push(&entry);
            }
            Err(error) => self.acceptors.unconnected.push((slot, error)),
        }
    }

    fn receive(&mut self, slot: Slot) {
        if let Some(connection) = self.current(slot) {
            connection.set(Flag::Wanted);
            if connection.should_arm() {
                self.arm(slot);
            }
        }
    }

    fn pause(&mut self, slot: Slot) {
        if let Some(connection) = self.current(slot) {
            connection.unset(Flag::Wanted);
            self.disarm(slot);
        }
    }

    fn send(&mut self, slot: Slot, output: Output) {
        let Some(connection) = self.current(slot) else { return };
        assert!(!connection.is(Flag::Sending), "slot {slot:?} has a send in flight");
        assert!(!connection.is(Flag::FinSent), "slot {slot:?} sends after it has ended its sending direction");
        assert!(connection.is_connected(), "slot {slot:?} sends before it is connected");
        connection.set(Flag::Sending);
        connection.in_flight += 1;
        let fd = connection.fd;
        // The chunks' bytes lie on the heap or in the pool: they stay where they are when the output moves into `held`.
        let (entry, gather) = match &output {
            Output::One(chunk) => (operation::send(fd, slot, chunk.as_slice()), None),
            Output::Many(chunks) => {
                let gather = Gather::new(chunks);
                (operation::send_gathered(fd, slot, &gather), Some(gather))
            }
        };
        let held = self.held.insert(Held::Output { output, _gather: gather });
        self.connections[slot.index() as usize].held = held;
        self.push(&entry);
    }

    fn finish(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        if connection.is(Flag::FinSent) {
            return;
        }
        connection.set(Flag::FinAsked);
        // shutdown(2) acts at once: before a send that is only queued, which would then fail with EPIPE.
        if connection.is_connected() && !connection.is(Flag::Sending) {
            self.shut_down(slot);
        }
    }

    fn close(&mut self, slot: Slot) {
        let Some(connection) = self.current(slot) else { return };
        connection.unset(Flag::Owned);
        let (sending, connecting) = (connection.is(Flag::Sending), connection.is(Flag::Connecting));
        self.disarm(slot);
        if sending {
            self.cancel(Operation::Send, slot);
        }
        if connecting {
            self.cancel(Operation::Connect, slot);
        }
        self.wind_up(slot);
    }

    fn peer_address(&self, slot: Slot) -> Option<SocketAddr> {
        let connection = self.connections.get(slot.index() as usize)?;
        if connection.slot_generation != slot.generation() || !connection.is(Flag::Owned) || connection.fd < 0 {
            return None;
        }
        // SAFETY: the slot is owned, so its descriptor is open.
        let fd = unsafe { BorrowedFd::borrow_raw(connection.fd) };
        rustix::net::getpeername(fd).ok()??.try_into().ok()
    }

    fn waker(&self) -> Waker {
        self.waker.clone()
    }

    fn wait(&mut self, timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.is_usable()?;
        self.stats.turns += 1;
        self.feed();
        self.watch_waker();
        let mut timeout = timeout;
        if !self.is_full() {
            for entry in self.acceptors.arms(&mut timeout) {
                self.push(&entry);
            }
        }
        for (slot, error) in std::mem::take(&mut self.acceptors.unconnected) {
            self.end(slot, Cause::Unconnected(error), completions);
            timeout = Some(Duration::ZERO);
        }
        if self.ring.submission().cq_overflow() {
            self.stats.overflows += 1;
        }
        self.enter(timeout)?;
        self.reap(completions);
        Ok(())
    }

    fn stats(&self) -> &Stats {
        &self.stats
    }
}

impl Drop for Uring {
    /// Dropping a ring is no barrier: the kernel may go on writing to buffers. So everything is cancelled and waited
    /// for first; if that does not come to an end, the memory is leaked rather than freed under the kernel.
    fn drop(&mut self) {
        self.stop_listening();
        for index in 0..self.connections.len() {
            let slot = self.connections[index].slot(index as u32);
            self.close(slot);
        }
        self.push(&operation::cancel(Operation::Wake, operation::WAKER));
        let deadline = Instant::now() + TEARDOWN;
        let mut completions = Vec::new();
        while !self.is_at_rest() && self.broken.is_none() && Instant::now() < deadline {
            if self.enter(Some(Duration::from_millis(20))).is_err() {
                break;
            }
            self.reap(&mut completions);
            for completion in completions.drain(..) {
                if let Completion::Accepted { slot } = completion {
                    self.close(slot);
                }
            }
        }
        if !self.is_at_rest() {
            tracing::error!(
                open = self.stats.open,
                "the kernel did not let go of a ring in time; its memory is leaked"
            );
            self.provided.leak();
            std::mem::forget(std::mem::replace(&mut self.held, Slab::new()));
            for connection in &mut self.connections {
                let fd = connection.take_fd();
                if fd >= 0 {
                    // SAFETY: `take_fd` gave this call the descriptor, which is open: no close was submitted for it. What
                    // the kernel still does with its file it does on a reference of its own.
                    drop(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
