//! The requests and the readiness of the connections in the epoll set, and the completions that
//! follow.
//!
//! A request is tried with a non-blocking system call: a send and a connect when they are
//! submitted, a receive when the connection is readable. A request that would wait stays in its
//! connection's [`Interest`] until an event of the connection.

mod datagrams;
mod requests;

use super::accepting::{self, Accepts};
use super::datagrams::Datagrams;
use super::interest::{self, Interest, InterestFlag, Interests};
use super::set::{EpollSet, MAX_EVENTS};
use super::transfer::Reception;
#[cfg(feature = "tokio-uring")]
use super::transfers::Moved;
use super::transfers::{Transfers, Written};
use crate::table::{Cancellable, Operation};
use crate::{Address, Buffer, DatagramSocket, Output, Pool, Slot, UnixAddress, Waker};
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::{SocketType, sockopt};
use socket2::SockRef;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::{Duration, Instant};

/// The longest wait of a turn while a connect waits for room in the queue of a Unix socket, which
/// causes no event.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);

/// A completion, in the terms of [`SlotTable::complete`](crate::table::SlotTable::complete).
#[derive(Debug)]
pub(crate) struct Completed {
    pub(crate) user_data: u64,
    pub(crate) result: i32,
    pub(crate) more: bool,
    pub(crate) buffer: Option<Buffer>,
}

impl Completed {
    fn last(operation: Operation, slot: Slot, result: i32) -> Self {
        Self { user_data: operation.user_data(slot), result, more: false, buffer: None }
    }

    fn one_of_many(operation: Operation, slot: Slot, result: i32, buffer: Option<Buffer>) -> Self {
        Self { user_data: operation.user_data(slot), result, more: true, buffer }
    }
}

/// What a cancel has done to its target.
enum Cancelled {
    /// The target has ended with this result.
    Ended(i32),
    /// The target is in flight, and ends with its transfer.
    EndsLater,
    /// There is none.
    NotFound,
}

/// The requests of the connections in an epoll set.
pub(crate) struct Poller<T> {
    pub(crate) set: EpollSet,
    pub(crate) pool: Pool,
    pub(crate) waker: Waker,
    pub(crate) transfers: T,
    interests: Interests,
    accepts: Accepts,
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
    /// Whether the last turn called epoll_wait(2).
    polled: bool,
    /// Whether the last turn may have left events in the kernel.
    partial: bool,
    start: Instant,
    /// `None` until a socket for datagrams is opened.
    datagrams: Option<Box<Datagrams>>,
}

impl<T: Transfers> Poller<T> {
    pub(crate) fn new(pool: Pool, set: EpollSet, transfers: T) -> io::Result<Self> {
        Ok(Self {
            set,
            pool,
            waker: Waker::new()?,
            transfers,
            interests: Interests::new(),
            accepts: Accepts::new(),
            refused: VecDeque::new(),
            completed: VecDeque::new(),
            readable: VecDeque::new(),
            visits: 0,
            quota: 0,
            polled: false,
            partial: false,
            start: Instant::now(),
            datagrams: None,
        })
    }

    /// The system call of a turn: waits for an event, unless there is work already or `timeout` is
    /// zero.
    ///
    /// A turn that finds completions of the turn before makes no system call, and the next turn
    /// makes one again. A turn of replies, whose sends have completed at once, therefore costs no
    /// second epoll_wait(2).
    pub(crate) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if self.polled && (!self.completed.is_empty() || self.transfers.is_reply()) {
            self.polled = false;
            self.partial = true;
        } else {
            self.polled = true;
            let count = self.wait(timeout)?;
            self.partial = count == MAX_EVENTS;
            let lasting = self.handle_events();
            if count == 0 || !self.partial && !lasting {
                self.transfers.drained();
            }
            self.retry_connects();
        }
        self.visits = self.readable.len();
        self.accepts.begin_turn();
        #[cfg(feature = "tokio-uring")]
        if T::BATCHED {
            while let Some(completed) = self.next_received() {
                self.completed.push_back(completed);
            }
            self.run_transfers();
        }
        Ok(())
    }

    /// Begins the transfers that were collected, and takes those that have ended.
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn run_transfers(&mut self) {
        self.transfers.run();
        while let Some(moved) = self.transfers.next() {
            match moved {
                Moved::Received { slot, reception } => self.end_receive(slot, reception),
                Moved::Written { slot, ticket, written } => self.end_write(slot, ticket, written),
            }
        }
    }

    /// Receives on a socket for datagrams from now on.
    pub(crate) fn open_datagrams(&mut self, socket: DatagramSocket) -> io::Result<()> {
        let datagrams = match &mut self.datagrams {
            Some(datagrams) => datagrams,
            none => none.insert(Box::new(Datagrams::new()?)),
        };
        datagrams.open(&self.set, socket)
    }

    /// The sockets for datagrams; `None` if there has been none.
    pub(crate) fn datagrams(&mut self) -> Option<(&mut Datagrams, &EpollSet)> {
        self.datagrams.as_deref_mut().map(|datagrams| (datagrams, &self.set))
    }

    /// The same, for reading.
    pub(crate) fn has_datagrams(&self) -> Option<&Datagrams> {
        self.datagrams.as_deref()
    }

    fn wait(&mut self, mut timeout: Option<Duration>) -> io::Result<usize> {
        if !self.refused.is_empty() {
            timeout = Some(timeout.map_or(RETRY_INTERVAL, |timeout| timeout.min(RETRY_INTERVAL)));
        }
        if timeout == Some(Duration::ZERO) || self.has_work() {
            if !self.transfers.may_have_events() {
                return Ok(0);
            }
            return self.set.fetch(Some(Duration::ZERO));
        }
        self.set.wait(timeout)
    }

    /// Whether an event of the connection has shown bytes, or an end, that were not received.
    #[cfg(test)]
    pub(crate) fn is_readable(&mut self, slot: Slot) -> bool {
        self.interests.get_mut(slot).is_some_and(|interest| interest.is(InterestFlag::Readable))
    }

    /// Whether the next turn has something to do that needs no event.
    pub(crate) fn has_work(&self) -> bool {
        !self.completed.is_empty() || !self.readable.is_empty() || self.transfers.has_work()
    }

    /// Whether the next turn has completions, or begins transfers, without an event.
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn is_due(&self) -> bool {
        !self.completed.is_empty() || !self.readable.is_empty() || self.partial || self.accepts.has_ready()
    }

    /// When a connect is tried again that no event leads to.
    #[cfg(feature = "tokio-uring")]
    pub(crate) fn retry_interval(&self) -> Option<Duration> {
        (!self.refused.is_empty()).then_some(RETRY_INTERVAL)
    }

    /// Stores a completion for the next turn.
    #[inline]
    fn complete(&mut self, completed: Completed) {
        self.completed.push_back(completed);
        self.transfers.touched();
    }

    /// Queues a connection that may have bytes.
    #[inline]
    fn queue(&mut self, slot: Slot) {
        self.readable.push_back(slot);
        self.transfers.touched();
    }

    /// Handles the events of the last wait. Returns whether one of them lasts until it is handled
    /// further (level-triggered).
    fn handle_events(&mut self) -> bool {
        let mut lasting = false;
        let mut events = self.set.take_events();
        for event in events.drain(..) {
            match Operation::from_user_data(event.data.u64()) {
                Some((Operation::Accept, slot)) => {
                    lasting = true;
                    self.accepts.note(slot);
                }
                Some((Operation::Wake, slot)) => {
                    lasting = true;
                    self.completed.push_back(Completed::one_of_many(Operation::Wake, slot, 0, None));
                }
                Some((Operation::ReceiveDatagrams, slot)) => {
                    lasting = true;
                    self.datagrams.iter_mut().for_each(|datagrams| datagrams.note(slot.index()));
                }
                Some((_, slot)) => self.handle(slot, event.flags),
                None => debug_assert!(false, "an event that no registration has"),
            }
        }
        self.set.handled(events);
        lasting
    }

    /// Handles the events of a connection.
    fn handle(&mut self, slot: Slot, events: EventFlags) {
        // A descriptor that another process has inherited can cause events after its close.
        let Some(interest) = self.interests.get_mut(slot) else { return };
        interest.note(events);
        if interest.should_queue() {
            interest.set(InterestFlag::Queued);
            self.queue(slot);
        }
        if !interest::is_writable(events) {
            return;
        }
        let Some(interest) = self.interests.get_mut(slot) else { return };
        let (descriptor, ticket) = (interest.fd, interest.ticket);
        if interest.take(InterestFlag::Connecting) {
            let result = sockopt::socket_error(borrow(&descriptor)).and_then(|result| result);
            let result = result.map_or_else(|error| -error.raw_os_error(), |()| 0);
            self.completed.push_back(Completed::last(Operation::Connect, slot, result));
        } else if interest.is(InterestFlag::WriteInFlight) {
            interest.set(InterestFlag::Writable);
        } else if interest.is(InterestFlag::Sending) {
            self.write(descriptor, slot, ticket);
        }
    }

    /// Tries the connects again that have found a full queue, until one finds it full again. That
    /// one goes to the end, because the next may be to another server.
    fn retry_connects(&mut self) {
        while let Some((slot, peer)) = self.refused.pop_front() {
            let Some(interest) = self.interests.get_mut(slot).filter(|interest| interest.is(InterestFlag::Connecting))
            else {
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
        let connected = SockRef::from(&borrow(&descriptor)).connect(&peer.to_sock_addr());
        let connected = connected.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
        let result = match (connected, peer) {
            // EINTR: the connection is established in the background too (connect(2)).
            (Err(Errno::INPROGRESS | Errno::INTR), _) => {
                self.register(descriptor, slot, InterestFlag::Connecting).map(|_| None)
            }
            (Err(Errno::AGAIN), Address::Unix(peer)) => {
                self.interests.entry(descriptor, slot).set(InterestFlag::Connecting);
                self.refused.push_back((slot, peer.clone()));
                Ok(None)
            }
            (result, _) => result.map(Some),
        };
        match result {
            Ok(None) => {}
            Ok(Some(())) => {
                // A connect of TCP does not succeed at once.
                if peer.tcp().is_some() && sockopt::socket_type(borrow(&descriptor)) == Ok(SocketType::DGRAM) {
                    self.interests.entry(descriptor, slot).set(InterestFlag::Datagrams);
                }
                self.completed.push_back(Completed::last(Operation::Connect, slot, 0));
            }
            Err(error) => self.completed.push_back(Completed::last(Operation::Connect, slot, -error.raw_os_error())),
        }
    }

    /// The next completion of this turn.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Completed> {
        self.completed.pop_front().or_else(|| self.next_accepted()).or_else(|| self.next_received())
    }

    /// The next completion that has occurred already. For the teardown of the driver.
    pub(crate) fn take_completed(&mut self) -> Option<Completed> {
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
            let Some(interest) = self.interests.get_mut(slot) else { continue };
            interest.take(InterestFlag::Queued);
            if !interest.should_queue() {
                continue;
            }
            let descriptor = interest.fd;
            let reception = self.transfers.receive(borrow(&descriptor), slot, &self.pool);
            let size = self.pool.buffer_size();
            let Some(interest) = self.interests.get_mut(slot) else { continue };
            let Some(reception) = reception else {
                interest.begin_receive();
                self.quota -= 1;
                continue;
            };
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
            match accepting::accept(borrow(&listener)) {
                Ok(descriptor) => {
                    if self.accepts.is_shared(slot)
                        && let Err(error) = self.accepts.pass_on(&self.set, borrow(&listener), slot)
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

    /// Ends a request to accept. Returns whether there was one.
    fn disarm_accept(&mut self, slot: Slot) -> bool {
        let Some(listener) = self.accepts.disarm(slot) else { return false };
        // It fails only in a broken epoll set.
        let _ = self.set.delete(borrow(&listener));
        true
    }

    /// A receive that was in flight has ended.
    #[cfg(feature = "tokio-uring")]
    fn end_receive(&mut self, slot: Slot, reception: Reception) {
        let size = self.pool.buffer_size();
        let Some(interest) = self.interests.get_mut(slot) else { return };
        let len = match &reception {
            Reception::Bytes(buffer) => Some(buffer.len()),
            // An empty datagram; others may wait behind it.
            Reception::End if interest.is(InterestFlag::Datagrams) => Some(0),
            _ => None,
        };
        interest.end_receive(len, size);
        let cancelled = interest.take(InterestFlag::ReceiveCancelled);
        let completed = match reception {
            Reception::Bytes(buffer) => {
                let (user_data, result) = (Operation::Receive.user_data(slot), buffer.len() as i32);
                Some(Completed { user_data, result, more: !cancelled, buffer: Some(buffer) })
            }
            // It has changed nothing: events since it began lead to the next receive.
            Reception::Failed(Errno::AGAIN) => None,
            Reception::Failed(Errno::INTR) => {
                interest.set(InterestFlag::Readable);
                None
            }
            Reception::End => Some(Completed::last(Operation::Receive, slot, 0)),
            Reception::NoBuffer => Some(Completed::last(Operation::Receive, slot, -Errno::NOBUFS.raw_os_error())),
            Reception::Failed(error) => Some(Completed::last(Operation::Receive, slot, -error.raw_os_error())),
        };
        if completed.as_ref().is_some_and(|completed| !completed.more) {
            interest.take(InterestFlag::Receiving);
        } else if interest.should_queue() {
            interest.set(InterestFlag::Queued);
            self.queue(slot);
        }
        if let Some(completed) = completed {
            self.complete(completed);
        } else if cancelled {
            self.complete(Completed::last(Operation::Receive, slot, -Errno::CANCELED.raw_os_error()));
        }
    }

    /// A write that was in flight has ended.
    #[cfg(feature = "tokio-uring")]
    fn end_write(&mut self, slot: Slot, ticket: u32, written: Written) {
        let Some(interest) = self.interests.get_mut(slot) else { return };
        interest.take(InterestFlag::WriteInFlight);
        let cancelled = interest.take(InterestFlag::SendCancelled);
        let (descriptor, again) = (interest.fd, interest.take(InterestFlag::Writable));
        match written {
            Written::Done(result) => self.end_send(slot, result),
            Written::Blocked | Written::InFlight if cancelled => {
                let result = self.cancelled_send(ticket);
                self.end_send(slot, result);
            }
            Written::Blocked if !again => self.wait_for_room(descriptor, slot, ticket),
            Written::Blocked | Written::InFlight => self.write(descriptor, slot, ticket),
        }
    }

    /// Continues a send that has waited.
    fn write(&mut self, descriptor: RawFd, slot: Slot, ticket: u32) {
        let written = self.transfers.write(borrow(&descriptor), slot, ticket);
        self.handle_write(written, descriptor, slot, ticket);
    }

    fn handle_write(&mut self, written: Written, descriptor: RawFd, slot: Slot, ticket: u32) {
        match written {
            Written::Done(result) => self.end_send(slot, result),
            Written::Blocked => self.wait_for_room(descriptor, slot, ticket),
            #[cfg(feature = "tokio-uring")]
            Written::InFlight => {
                let interest = self.interests.entry(descriptor, slot);
                interest.ticket = ticket;
                interest.take(InterestFlag::Sending);
                interest.set(InterestFlag::WriteInFlight);
                self.transfers.touched();
            }
        }
    }

    /// Continues a send when its socket has room.
    fn wait_for_room(&mut self, descriptor: RawFd, slot: Slot, ticket: u32) {
        match self.register(descriptor, slot, InterestFlag::Sending) {
            Ok(interest) => interest.ticket = ticket,
            Err(error) => self.end_send(slot, -error.raw_os_error()),
        }
    }

    /// A send that has waited has ended with this result.
    fn end_send(&mut self, slot: Slot, result: i32) {
        if let Some(interest) = self.interests.get_mut(slot) {
            interest.take(InterestFlag::Sending);
        }
        self.complete(Completed::last(Operation::Send, slot, result));
    }

    /// The result of a send that is cancelled.
    fn cancelled_send(&mut self, ticket: u32) -> i32 {
        match self.transfers.written(ticket) {
            0 => -Errno::CANCELED.raw_os_error(),
            written => written,
        }
    }

    /// Adds a connection to the epoll set, once, and sets `flag` in its entry. The event of its
    /// present state follows.
    #[inline]
    fn register(&mut self, descriptor: RawFd, slot: Slot, flag: InterestFlag) -> Result<&mut Interest, Errno> {
        let interest = self.interests.entry(descriptor, slot);
        if !interest.is(InterestFlag::Registered) {
            self.set.add(borrow(&descriptor), Operation::Receive, slot, interest::EVENTS)?;
            interest.set(InterestFlag::Registered);
        }
        interest.set(flag);
        Ok(interest)
    }

    /// Cancels a request.
    fn end(&mut self, target: Cancellable, slot: Slot) -> Cancelled {
        let cancelled = -Errno::CANCELED.raw_os_error();
        let (flag, in_flight, mark) = match target {
            Cancellable::Accept if self.disarm_accept(slot) => return Cancelled::Ended(cancelled),
            Cancellable::Accept => return Cancelled::NotFound,
            Cancellable::Wake => {
                // As in `disarm_accept`.
                let _ = self.set.delete(self.waker.fd());
                return Cancelled::Ended(cancelled);
            }
            Cancellable::Receive => {
                (InterestFlag::Receiving, InterestFlag::ReceiveInFlight, InterestFlag::ReceiveCancelled)
            }
            Cancellable::Send => (InterestFlag::Sending, InterestFlag::WriteInFlight, InterestFlag::SendCancelled),
            Cancellable::Connect => (InterestFlag::Connecting, InterestFlag::Connecting, InterestFlag::Connecting),
            // Their sockets are closed at once.
            Cancellable::ReceiveDatagrams => return Cancelled::NotFound,
        };
        let Some(interest) = self.interests.get_mut(slot) else { return Cancelled::NotFound };
        let ticket = interest.ticket;
        let found = interest.take(flag);
        if interest.is(in_flight) {
            interest.set(mark);
            return Cancelled::EndsLater;
        }
        match (found, target) {
            (false, _) => Cancelled::NotFound,
            (true, Cancellable::Send) => Cancelled::Ended(self.cancelled_send(ticket)),
            (true, _) => Cancelled::Ended(cancelled),
        }
    }

    #[inline]
    fn push_send(&mut self, descriptor: RawFd, slot: Slot, output: Output, in_parts: bool) -> u32 {
        let ticket = self.transfers.insert(output, in_parts);
        match self.transfers.write(borrow(&descriptor), slot, ticket) {
            // The usual case. The interest, which may not exist, has nothing of this send.
            Written::Done(result) => self.complete(Completed::last(Operation::Send, slot, result)),
            written => self.handle_write(written, descriptor, slot, ticket),
        }
        ticket
    }
}

/// Borrows a descriptor of the table for one system call.
fn borrow(descriptor: &RawFd) -> BorrowedFd<'_> {
    // SAFETY: the table passes a descriptor only while it owns it, and an interest is removed when
    // the table gives its descriptor up (`close`), so it is open. Listeners are open until their
    // accept has had its last completion (UNSAFE.md 8).
    unsafe { BorrowedFd::borrow_raw(*descriptor) }
}
