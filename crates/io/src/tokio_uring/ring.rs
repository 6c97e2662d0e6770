//! The transfers of the driver: collected, submitted to the ring of tokio-uring in batches, and
//! completed in the order of their submission.

use super::operation::{self, Custody, InFlight, Landed, Lent, Permits, Ticket};
use super::ready::Signal;
use crate::epoll::sends::HeldSend;
use crate::epoll::transfer::Reception;
use crate::epoll::transfers::{Moved, Transfers, Written};
use crate::slab::Slab;
use crate::{Output, Pool, Slot};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::runtime::Id;
use tokio::time::{Instant, Sleep};

/// How often a runtime is made to submit again while operations do not complete. tokio-uring drops
/// the error of a submission that the kernel refused for want of memory.
const SUBMIT_AGAIN: Duration = Duration::from_millis(100);

/// Up to this number of writes is submitted without a look for further events, which are unlikely.
const REPLIES: usize = 2;

/// A transfer that is not submitted yet.
enum Queued {
    Receive { descriptor: RawFd, slot: Slot, lent: Lent },
    Write { descriptor: RawFd, slot: Slot, ticket: u32 },
}

/// The transfers, and the runtime whose ring performs them.
pub(crate) struct Ring {
    batch: Batch,
    // Behind the operations in flight, so that it is dropped after them.
    runtime: Runtime,
}

/// The runtime of a driver.
enum Runtime {
    /// It belongs to the driver, and runs only while the driver submits.
    Owned { runtime: ::tokio_uring::Runtime, again: Pin<Box<Sleep>> },
    /// The driver is used within it.
    Shared { set: AsyncFd<OwnedFd>, signal: Arc<Signal>, waker: Waker },
}

struct Batch {
    queued: VecDeque<Queued>,
    /// In the order of submission, in which they complete: none of them waits.
    in_flight: VecDeque<InFlight>,
    ended: VecDeque<Moved>,
    /// `None` while a write of the send is in flight.
    sends: Slab<Option<HeldSend>>,
    permits: Rc<Permits>,
    custody: Rc<Custody>,
}

impl Ring {
    pub(super) fn owned(runtime: ::tokio_uring::Runtime) -> Self {
        // A timer is made within its runtime.
        let again = runtime.block_on(poll_fn(|_| Poll::Ready(Box::pin(tokio::time::sleep(SUBMIT_AGAIN)))));
        Self { batch: Batch::new(Rc::new(Permits::new())), runtime: Runtime::Owned { runtime, again } }
    }

    /// `set` is a duplicate of the descriptor of the epoll set, in the reactor of this runtime.
    pub(super) fn shared(set: AsyncFd<OwnedFd>, runtime: Id) -> Self {
        let signal = Arc::new(Signal::default());
        // The first turn begins at once.
        signal.raise();
        let waker = Waker::from(Arc::clone(&signal));
        Self { batch: Batch::new(Permits::of_runtime(runtime)), runtime: Runtime::Shared { set, signal, waker } }
    }

    /// The signal of a driver that is used within a runtime.
    pub(super) fn signal(&self) -> Option<&Arc<Signal>> {
        match &self.runtime {
            Runtime::Owned { .. } => None,
            Runtime::Shared { signal, .. } => Some(signal),
        }
    }

    /// Makes the signal follow the epoll set: raises it if there may be events, and otherwise with
    /// the next one.
    pub(super) fn watch(&self) {
        if let Runtime::Shared { set, signal, waker } = &self.runtime
            && set.poll_read_ready(&mut Context::from_waker(waker)).is_ready()
        {
            signal.raise();
        }
    }

    /// Whether the kernel uses no memory of an operation, and every output was taken back.
    #[cfg(test)]
    pub(super) fn holds_nothing(&self) -> bool {
        self.batch.in_flight.is_empty() && self.batch.sends.len() == 0
    }

    #[cfg(test)]
    pub(super) fn permits(&self) -> &Rc<Permits> {
        &self.batch.permits
    }

    /// Drops what is not submitted. What is in flight keeps its memory, and `descriptors`, until its
    /// completion. For the end of the driver.
    pub(super) fn abandon(&mut self, descriptors: impl Iterator<Item = OwnedFd>) {
        self.batch.queued.clear();
        for descriptor in descriptors {
            self.batch.custody.keep(descriptor);
        }
        self.batch.in_flight.clear();
    }
}

impl Batch {
    fn new(permits: Rc<Permits>) -> Self {
        Self {
            queued: VecDeque::new(),
            in_flight: VecDeque::new(),
            ended: VecDeque::new(),
            sends: Slab::new(),
            permits,
            custody: Rc::default(),
        }
    }

    /// Submits what is collected, as far as there are permits, and takes the ends of operations.
    /// Ready when nothing is left; otherwise the waker is woken when there is more to do.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.submit();
            let Some(first) = self.in_flight.front_mut() else {
                if self.queued.is_empty() {
                    return Poll::Ready(());
                }
                // Another driver of this runtime has all permits.
                self.permits.wait(cx.waker());
                return Poll::Pending;
            };
            let Poll::Ready(landed) = Pin::new(first).poll(cx) else { return Poll::Pending };
            self.in_flight.pop_front();
            self.land(landed);
        }
    }

    fn submit(&mut self) {
        while !self.queued.is_empty() {
            let Some(permit) = self.permits.take() else { return };
            let Some(queued) = self.queued.pop_front() else { return };
            let custody = Rc::clone(&self.custody);
            match queued {
                Queued::Receive { descriptor, slot, lent } => {
                    let of = Ticket { descriptor, slot, permit, custody };
                    self.in_flight.push_back(operation::receive(of, lent));
                }
                Queued::Write { descriptor, slot, ticket } => {
                    if let Some(send) = self.sends.get_mut(ticket).and_then(Option::take) {
                        let of = Ticket { descriptor, slot, permit, custody };
                        self.in_flight.push_back(operation::write(of, ticket, send));
                    }
                }
            }
        }
    }

    fn land(&mut self, landed: Landed) {
        let moved = match landed {
            Landed::Received { slot, result, buffer } => {
                let reception = match (buffer, result) {
                    (Some(buffer), _) => Reception::Bytes(buffer),
                    (None, 0..) => Reception::End,
                    (None, error) => Reception::Failed(Errno::from_raw_os_error(-error)),
                };
                Moved::Received { slot, reception }
            }
            Landed::Sent { slot, ticket, result, mut send } => {
                let count = usize::try_from(result).map_err(|_| Errno::from_raw_os_error(-result));
                let written = match count {
                    // Not a full socket: the write is repeated.
                    Err(Errno::INTR) => Written::InFlight,
                    count => send.wrote(count).map_or(Written::Blocked, Written::Done),
                };
                if let Some(place) = self.sends.get_mut(ticket) {
                    *place = Some(send);
                }
                Moved::Written { slot, ticket, written }
            }
        };
        self.ended.push_back(moved);
    }
}

impl Transfers for Ring {
    const BATCHED: bool = true;

    fn receive(&mut self, socket: BorrowedFd<'_>, slot: Slot, pool: &Pool) -> Option<Reception> {
        let Some(lent) = Lent::take(pool) else { return Some(Reception::NoBuffer) };
        self.batch.queued.push_back(Queued::Receive { descriptor: socket.as_raw_fd(), slot, lent });
        None
    }

    fn insert(&mut self, output: Output, in_parts: bool) -> u32 {
        self.batch.sends.insert(Some(HeldSend::new(output, in_parts)))
    }

    fn write(&mut self, socket: BorrowedFd<'_>, slot: Slot, ticket: u32) -> Written {
        self.batch.queued.push_back(Queued::Write { descriptor: socket.as_raw_fd(), slot, ticket });
        Written::InFlight
    }

    fn written(&mut self, ticket: u32) -> i32 {
        self.batch.sends.get_mut(ticket).and_then(|send| send.as_ref()).map_or(0, HeldSend::result)
    }

    fn take_back(&mut self, ticket: u32) -> Option<Output> {
        self.batch.sends.remove(ticket).flatten().map(|send| send.output)
    }

    fn run(&mut self) {
        if self.batch.queued.is_empty() && self.batch.in_flight.is_empty() {
            return;
        }
        let batch = &mut self.batch;
        match &mut self.runtime {
            // The runtime submits before it sleeps, and the operations complete with that.
            Runtime::Owned { runtime, again } => runtime.block_on(poll_fn(|cx| {
                if batch.advance(cx).is_ready() {
                    return Poll::Ready(());
                }
                while again.as_mut().poll(cx).is_ready() {
                    again.as_mut().reset(Instant::now() + SUBMIT_AGAIN);
                }
                Poll::Pending
            })),
            Runtime::Shared { waker, .. } => {
                // What is left is reported to the signal.
                let _ = batch.advance(&mut Context::from_waker(waker));
            }
        }
    }

    fn next(&mut self) -> Option<Moved> {
        self.batch.ended.pop_front()
    }

    fn has_work(&self) -> bool {
        !self.batch.queued.is_empty() || !self.batch.in_flight.is_empty() || !self.batch.ended.is_empty()
    }

    fn is_reply(&self) -> bool {
        let queued = &self.batch.queued;
        (1..=REPLIES).contains(&queued.len()) && queued.iter().all(|of| matches!(of, Queued::Write { .. }))
    }

    fn may_have_events(&mut self) -> bool {
        match &self.runtime {
            Runtime::Owned { .. } => true,
            Runtime::Shared { set, waker, .. } => set.poll_read_ready(&mut Context::from_waker(waker)).is_ready(),
        }
    }

    fn drained(&mut self) {
        if let Runtime::Shared { set, waker, .. } = &self.runtime
            && let Poll::Ready(Ok(mut guard)) = set.poll_read_ready(&mut Context::from_waker(waker))
        {
            guard.clear_ready();
        }
    }

    fn touched(&self) {
        if let Runtime::Shared { signal, .. } = &self.runtime {
            signal.raise();
        }
    }
}
