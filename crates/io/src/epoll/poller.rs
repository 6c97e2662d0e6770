//! The epoll set: requests, the readiness of connections, and the completions that follow.
//!
//! A request is tried with a non-blocking system call: a send and a connect when they are
//! submitted, a receive when the connection is readable. A request that would wait stays in its
//! connection's [`Interest`] until an event of the connection.

use super::accepting::{self, Accepts};
use super::interest::{self, Interest, InterestFlag};
use super::transfer::{self, Reception};
use crate::busy_poll::PollWindow;
use crate::pages::Pages;
use crate::slab::{NOWHERE, Slab};
use crate::table::{Cancellable, KernelInterface, Operation, RealDescriptors, WAKER, new_socket};
use crate::{Address, Buffer, BusyPoll, Listener, Output, Pool, Slot, UnixAddress, Waker};
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::sockopt;
use socket2::{SockRef, Type};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// The maximum number of events of one epoll_wait(2).
const MAX_EVENTS: usize = 256;

/// The longest wait of one epoll_wait(2), whose timeout is an `int` of milliseconds.
const MAX_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// The longest wait of a turn while a connect waits for room in the queue of a Unix socket, which
/// causes no event.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// A completion, in the terms of [`SlotTable::complete`](crate::table::SlotTable::complete).
#[derive(Debug)]
pub(super) struct Completed {
    pub(super) user_data: u64,
    pub(super) result: i32,
    pub(super) more: bool,
    pub(super) buffer: Option<Buffer>,
}

impl Completed {
    fn last(operation: Operation, slot: Slot, result: i32) -> Self {
        Self { user_data: operation.user_data(slot), result, more: false, buffer: None }
    }

    fn one_of_many(operation: Operation, slot: Slot, result: i32, buffer: Option<Buffer>) -> Self {
        Self { user_data: operation.user_data(slot), result, more: true, buffer }
    }
}

/// A send that has not been taken back.
#[derive(Debug)]
struct HeldSend {
    output: Output,
    written: usize,
    /// The number of bytes to write. The rest of the output is left to another send.
    end: usize,
    /// Whether it completes with the first part that the socket takes.
    in_parts: bool,
}

/// An epoll set, with the requests of its connections.
pub(super) struct Poller {
    pub(super) epoll: OwnedFd,
    pub(super) pool: Pool,
    pub(super) waker: Waker,
    interests: Pages<Interest>,
    accepts: Accepts,
    held: Slab<HeldSend>,
    /// The connects that have found the queue of their Unix socket full.
    refused: VecDeque<(Slot, UnixAddress)>,
    /// Completions that no turn has returned yet.
    completed: VecDeque<Completed>,
    /// The connections that have a receive requested and may have bytes.
    readable: VecDeque<Slot>,
    /// How many connections of `readable` this turn may still visit: each at most once.
    visits: usize,
    /// How many buffers this turn may still fill.
    quota: u16,
    events: Vec<Event>,
    /// Whether the last turn called epoll_wait(2).
    polled: bool,
    /// Whether the last turn may have left events in the kernel.
    partial: bool,
    /// The permanent error of epoll_wait(2).
    broken: Option<Errno>,
    start: Instant,
    window: PollWindow,
    /// When the last wait ended.
    waited: Instant,
}

impl HeldSend {
    /// The result of the send: the number of bytes written, at most 1 GiB.
    fn result(&self) -> i32 {
        i32::try_from(self.written).unwrap_or(i32::MAX)
    }
}

impl Poller {
    pub(super) fn new(pool: Pool, busy_poll: BusyPoll) -> io::Result<Self> {
        let epoll = epoll::create(CreateFlags::CLOEXEC)?;
        let start = Instant::now();
        Ok(Self {
            epoll,
            pool,
            waker: Waker::new()?,
            interests: Pages::new(),
            accepts: Accepts::new(),
            held: Slab::new(),
            refused: VecDeque::new(),
            completed: VecDeque::new(),
            readable: VecDeque::new(),
            visits: 0,
            quota: 0,
            events: Vec::with_capacity(MAX_EVENTS),
            polled: false,
            partial: false,
            broken: None,
            start,
            window: PollWindow::new(busy_poll),
            waited: start,
        })
    }

    /// Fails when epoll_wait(2) has failed permanently.
    pub(super) fn check(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |error| Err(error.into()))
    }

    /// The system call of a turn: waits for an event, unless there is work already or `timeout` is
    /// zero.
    ///
    /// A turn that finds completions of the turn before makes no system call, and the next turn
    /// makes one again. A turn of replies, whose sends have completed at once, therefore costs no
    /// second epoll_wait(2).
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.polled && !self.completed.is_empty() {
            self.polled = false;
            self.partial = true;
        } else {
            self.polled = true;
            let count = self.wait(timeout)?;
            self.partial = count == MAX_EVENTS;
            self.handle_events();
            self.retry_connects();
        }
        self.visits = self.readable.len();
        self.accepts.begin_turn();
        Ok(())
    }

    fn wait(&mut self, mut timeout: Option<Duration>) -> io::Result<usize> {
        if !self.refused.is_empty() {
            timeout = Some(timeout.map_or(RETRY_INTERVAL, |timeout| timeout.min(RETRY_INTERVAL)));
        }
        if timeout == Some(Duration::ZERO) || self.has_work() {
            return self.fetch(Some(Duration::ZERO));
        }
        if self.window.is_off() {
            return self.fetch(timeout);
        }
        let began = Instant::now();
        let limit = self.window.next(began.saturating_duration_since(self.waited));
        let (mut polled, end) = (Duration::ZERO, timeout.map_or(limit, |timeout| limit.min(timeout)));
        while polled < end {
            let count = self.fetch(Some(Duration::ZERO))?;
            polled = began.elapsed();
            if count > 0 {
                self.window.hit(polled);
                self.waited = began + polled;
                return Ok(count);
            }
        }
        let count = self.fetch(timeout.map(|timeout| timeout.saturating_sub(polled)))?;
        let slept = began.elapsed();
        self.window.slept(!limit.is_zero(), slept);
        self.waited = began + slept;
        Ok(count)
    }

    /// Calls epoll_wait(2). Returns the number of events.
    fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        let timespec = timeout.map(|timeout| {
            let timeout = timeout.min(MAX_WAIT);
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() }
        });
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timespec.as_ref()) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => {
                tracing::error!(%error, "epoll_wait fails: this driver is broken");
                self.broken = Some(error);
                Err(error.into())
            }
        }
    }

    /// Whether every output was taken back.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.held.len() == 0
    }

    /// Whether an event of the connection has shown bytes, or an end, that were not received.
    #[cfg(test)]
    pub(super) fn is_readable(&mut self, slot: Slot) -> bool {
        self.interest(slot).is_some_and(|interest| interest.is(InterestFlag::Readable))
    }

    fn has_work(&self) -> bool {
        !self.completed.is_empty() || !self.readable.is_empty()
    }

    fn handle_events(&mut self) {
        let mut events = std::mem::take(&mut self.events);
        for event in events.drain(..) {
            match Operation::from_user_data(event.data.u64()) {
                Some((Operation::Accept, slot)) => self.accepts.note(slot),
                Some((Operation::Wake, slot)) => {
                    self.completed.push_back(Completed::one_of_many(Operation::Wake, slot, 0, None));
                }
                Some((_, slot)) => self.handle(slot, event.flags),
                None => debug_assert!(false, "an event that no registration has"),
            }
        }
        self.events = events;
    }

    /// Handles the events of a connection.
    fn handle(&mut self, slot: Slot, events: EventFlags) {
        // A descriptor that another process has inherited can cause events after its close.
        let Some(interest) = self.interest(slot) else { return };
        interest.note(events);
        if interest.should_queue() {
            interest.set(InterestFlag::Queued);
            self.readable.push_back(slot);
        }
        if !interest::is_writable(events) {
            return;
        }
        let Some(interest) = self.interest(slot) else { return };
        let (descriptor, ticket) = (interest.fd, interest.ticket);
        if interest.take(InterestFlag::Connecting) {
            let result = sockopt::socket_error(self.borrow(descriptor)).and_then(|result| result);
            let result = result.map_or_else(|error| -error.raw_os_error(), |()| 0);
            self.completed.push_back(Completed::last(Operation::Connect, slot, result));
        } else if interest.is(InterestFlag::Sending)
            && let Some(result) = self.write(descriptor, ticket)
        {
            self.end_send(slot, result);
        }
    }

    /// Tries the connects again that have found a full queue, until one finds it full again. That
    /// one goes to the end, because the next may be to another server.
    fn retry_connects(&mut self) {
        while let Some((slot, peer)) = self.refused.pop_front() {
            let Some(interest) = self.interest(slot).filter(|interest| interest.is(InterestFlag::Connecting)) else {
                continue;
            };
            let descriptor = interest.fd;
            interest.take(InterestFlag::Connecting);
            let before = self.refused.len();
            self.try_connect(descriptor, slot, &peer.into());
            if self.refused.len() > before {
                break;
            }
        }
    }

    /// Connects, as far as that is possible without waiting.
    fn try_connect(&mut self, descriptor: RawFd, slot: Slot, peer: &Address) {
        let connected = SockRef::from(&self.borrow(descriptor)).connect(&peer.to_sock_addr());
        let connected = connected.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let result = match (connected, peer) {
            // EINTR: the connection is established in the background too (connect(2)).
            (Err(Errno::INPROGRESS | Errno::INTR), _) => {
                self.register(descriptor, slot, InterestFlag::Connecting).map(|_| None)
            }
            (Err(Errno::AGAIN), Address::Unix(peer)) => {
                self.entry(descriptor, slot).set(InterestFlag::Connecting);
                self.refused.push_back((slot, peer.clone()));
                Ok(None)
            }
            (result, _) => result.map(Some),
        };
        match result {
            Ok(None) => {}
            Ok(Some(())) => self.completed.push_back(Completed::last(Operation::Connect, slot, 0)),
            Err(error) => self.completed.push_back(Completed::last(Operation::Connect, slot, -error.raw_os_error())),
        }
    }

    /// The next completion of this turn.
    #[inline]
    pub(super) fn next(&mut self) -> Option<Completed> {
        self.completed.pop_front().or_else(|| self.next_accepted()).or_else(|| self.next_received())
    }

    /// The next completion that has occurred already. For the teardown of the driver.
    pub(super) fn take_completed(&mut self) -> Option<Completed> {
        self.completed.pop_front()
    }

    /// Visits the connections that may have bytes, each once: one that has more than a buffer holds
    /// goes to the end of the queue.
    fn next_received(&mut self) -> Option<Completed> {
        while self.visits > 0 {
            if self.quota == 0 {
                // The rest is received in the next turn, into the buffers of this one.
                self.visits = 0;
                return None;
            }
            self.visits -= 1;
            let slot = self.readable.pop_front()?;
            let Some(interest) = self.interest(slot) else { continue };
            interest.take(InterestFlag::Queued);
            if !interest.should_queue() {
                continue;
            }
            let descriptor = interest.fd;
            let reception = transfer::receive(self.borrow(descriptor), &self.pool);
            let size = self.pool.buffer_size();
            let Some(interest) = self.interest(slot) else { continue };
            let error = match reception {
                Reception::Bytes(buffer) => {
                    let len = buffer.len();
                    interest.received(len, size);
                    if interest.should_queue() {
                        interest.set(InterestFlag::Queued);
                        self.readable.push_back(slot);
                    }
                    self.quota -= 1;
                    return Some(Completed::one_of_many(Operation::Receive, slot, len as i32, Some(buffer)));
                }
                Reception::Failed(Errno::AGAIN) => {
                    interest.emptied();
                    continue;
                }
                Reception::Failed(Errno::INTR) => {
                    interest.set(InterestFlag::Queued);
                    self.readable.push_back(slot);
                    continue;
                }
                Reception::End => 0,
                Reception::NoBuffer => Errno::NOBUFS.raw_os_error(),
                Reception::Failed(error) => error.raw_os_error(),
            };
            interest.take(InterestFlag::Receiving);
            return Some(Completed::last(Operation::Receive, slot, -error));
        }
        None
    }

    fn next_accepted(&mut self) -> Option<Completed> {
        while let Some((slot, listener)) = self.accepts.next() {
            match accepting::accept(self.borrow(listener)) {
                Ok(descriptor) => {
                    if self.accepts.is_shared(slot)
                        && let Err(error) = self.pass_on(slot, listener)
                    {
                        self.disarm_accept(slot);
                        self.completed.push_back(Completed::last(Operation::Accept, slot, -error.raw_os_error()));
                    }
                    return Some(Completed::one_of_many(Operation::Accept, slot, descriptor, None));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => self.accepts.emptied(slot),
                Err(error) => {
                    self.disarm_accept(slot);
                    return Some(Completed::last(Operation::Accept, slot, -error.raw_os_error()));
                }
            }
        }
        None
    }

    fn pass_on(&mut self, slot: Slot, listener: RawFd) -> Result<(), Errno> {
        // SAFETY: as in `borrow`, which would borrow all of `self`. The borrow ends with this call.
        let listener = unsafe { BorrowedFd::borrow_raw(listener) };
        self.accepts.pass_on(&self.epoll, listener, slot)
    }

    /// Ends a request to accept. Returns whether there was one.
    fn disarm_accept(&mut self, slot: Slot) -> bool {
        let Some(listener) = self.accepts.disarm(slot) else { return false };
        // It fails only in a broken epoll set.
        let _ = epoll::delete(&self.epoll, self.borrow(listener));
        true
    }

    /// Writes what the socket takes of a send. Returns the result of the send when it is complete
    /// or has failed.
    fn write(&mut self, descriptor: RawFd, ticket: u32) -> Option<i32> {
        // SAFETY: as in `borrow`, which would borrow all of `self`. The borrow ends with this call.
        let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let send = self.held.get_mut(ticket)?;
        loop {
            match transfer::send(socket, &send.output, send.written, send.end) {
                Ok(count) => {
                    send.written += count;
                    // After a part, the socket is full, and its next space causes an event.
                    return (send.written == send.end || send.in_parts).then_some(send.result());
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return None,
                // The error is reported even after a part was written, because the socket has
                // forgotten it: a receive would report the end of the stream instead.
                Err(error) => return Some(-error.raw_os_error()),
            }
        }
    }

    /// A send has ended with this result.
    fn end_send(&mut self, slot: Slot, result: i32) {
        if let Some(interest) = self.interest(slot) {
            interest.take(InterestFlag::Sending);
        }
        self.completed.push_back(Completed::last(Operation::Send, slot, result));
    }

    /// The entry of a slot that has one.
    #[inline]
    fn interest(&mut self, slot: Slot) -> Option<&mut Interest> {
        self.interests.get_mut(slot.index() as usize).filter(|interest| interest.is_of(slot))
    }

    /// The entry of a slot, which is made if it has none.
    #[inline]
    fn entry(&mut self, descriptor: RawFd, slot: Slot) -> &mut Interest {
        let index = slot.index() as usize;
        self.interests.grow(index + 1, Interest::unused);
        let interest = &mut self.interests[index];
        if !interest.is_of(slot) {
            *interest = Interest::new(descriptor, slot);
        }
        interest
    }

    /// Adds a connection to the epoll set, once, and sets `flag` in its entry. The event of its
    /// present state follows.
    #[inline]
    fn register(&mut self, descriptor: RawFd, slot: Slot, flag: InterestFlag) -> Result<&mut Interest, Errno> {
        let index = slot.index() as usize;
        if !self.entry(descriptor, slot).is(InterestFlag::Registered) {
            let data = EventData::new_u64(Operation::Receive.user_data(slot));
            epoll::add(&self.epoll, self.borrow(descriptor), data, interest::EVENTS)?;
            self.interests[index].set(InterestFlag::Registered);
        }
        let interest = &mut self.interests[index];
        interest.set(flag);
        Ok(interest)
    }

    /// Cancels a request. Returns the result with which it ends; `None` when it is not in progress.
    fn end(&mut self, target: Cancellable, slot: Slot) -> Option<i32> {
        let cancelled = -Errno::CANCELED.raw_os_error();
        let flag = match target {
            Cancellable::Accept => return self.disarm_accept(slot).then_some(cancelled),
            Cancellable::Wake => {
                // As in `disarm_accept`.
                let _ = epoll::delete(&self.epoll, self.waker.fd());
                return Some(cancelled);
            }
            Cancellable::Receive => InterestFlag::Receiving,
            Cancellable::Send => InterestFlag::Sending,
            Cancellable::Connect => InterestFlag::Connecting,
        };
        let interest = self.interest(slot)?;
        let ticket = interest.ticket;
        if !interest.take(flag) {
            return None;
        }
        let written =
            if target == Cancellable::Send { self.held.get_mut(ticket).map_or(0, |send| send.result()) } else { 0 };
        Some(if written > 0 { written } else { cancelled })
    }

    #[inline]
    fn push_send(&mut self, descriptor: RawFd, slot: Slot, output: Output, in_parts: bool) -> u32 {
        let end = transfer::sendable(&output);
        let ticket = self.held.insert(HeldSend { output, written: 0, end, in_parts });
        let result =
            self.write(descriptor, ticket).or_else(|| match self.register(descriptor, slot, InterestFlag::Sending) {
                Ok(interest) => {
                    interest.ticket = ticket;
                    None
                }
                Err(error) => Some(-error.raw_os_error()),
            });
        if let Some(result) = result {
            self.completed.push_back(Completed::last(Operation::Send, slot, result));
        }
        ticket
    }

    /// Borrows a descriptor of the table for one system call.
    fn borrow(&self, descriptor: RawFd) -> BorrowedFd<'_> {
        // SAFETY: the table passes a descriptor only while it owns it, and an interest is removed
        // when the table gives its descriptor up (`close`), so it is open. Listeners are open until
        // their accept has had its last completion (UNSAFE.md 8).
        unsafe { BorrowedFd::borrow_raw(descriptor) }
    }
}

impl RealDescriptors for Poller {}

impl KernelInterface for Poller {
    type Listener = Listener;

    fn accept(&mut self, listener: &Listener, slot: Slot) {
        if let Err(error) = self.accepts.arm(&self.epoll, listener, slot) {
            self.completed.push_back(Completed::last(Operation::Accept, slot, -error.raw_os_error()));
        }
    }

    fn is_unix(listener: &Listener) -> bool {
        listener.is_unix()
    }

    fn socket(&mut self, peer: &Address) -> io::Result<RawFd> {
        new_socket(peer, Type::STREAM.nonblocking())
    }

    fn connect(&mut self, descriptor: RawFd, slot: Slot, peer: &Address) -> u32 {
        self.try_connect(descriptor, slot, peer);
        NOWHERE
    }

    #[inline]
    fn receive(&mut self, descriptor: RawFd, slot: Slot) {
        match self.register(descriptor, slot, InterestFlag::Receiving) {
            Ok(interest) => {
                if interest.should_queue() {
                    interest.set(InterestFlag::Queued);
                    self.readable.push_back(slot);
                }
            }
            Err(error) => self.completed.push_back(Completed::last(Operation::Receive, slot, -error.raw_os_error())),
        }
    }

    #[inline]
    fn send(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        self.push_send(descriptor, slot, output, false)
    }

    fn send_in_parts(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        self.push_send(descriptor, slot, output, true)
    }

    #[inline]
    fn take_back(&mut self, ticket: u32) -> Option<Output> {
        self.held.remove(ticket).map(|send| send.output)
    }

    fn cancel(&mut self, target: Cancellable, slot: Slot) {
        let ended = self.end(target, slot);
        if let Some(result) = ended {
            self.completed.push_back(Completed::last(target.operation(), slot, result));
        }
        let result = ended.map_or(-Errno::NOENT.raw_os_error(), |_| 0);
        self.completed.push_back(Completed::last(Operation::Cancel(target), slot, result));
    }

    fn close(&mut self, descriptor: RawFd, slot: Slot) {
        if let Some(interest) = self.interest(slot) {
            *interest = Interest::unused();
        }
        // SAFETY: the table has given up the descriptor, which is open, and nothing else owns it.
        // Closing it removes it from the epoll set.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        self.completed.push_back(Completed::last(Operation::Close, slot, 0));
    }

    fn has_unreaped(&mut self) -> bool {
        self.partial || self.has_work()
    }

    fn watch_waker(&mut self) {
        let data = EventData::new_u64(Operation::Wake.user_data(WAKER));
        if let Err(error) = epoll::add(&self.epoll, self.waker.fd(), data, EventFlags::IN) {
            // Without the waker a wait could last for ever. The next turn tries again.
            self.completed.push_back(Completed::last(Operation::Wake, WAKER, -error.raw_os_error()));
        }
    }

    fn take_wake(&mut self) -> bool {
        self.waker.take()
    }

    /// Sets how many buffers this turn may fill. A buffer is taken from the pool when a connection
    /// is readable.
    #[inline]
    fn lend(&mut self, target: u16) -> u16 {
        self.quota = target;
        u16::try_from(self.pool.free()).map_or(target, |free| target.min(free))
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}
