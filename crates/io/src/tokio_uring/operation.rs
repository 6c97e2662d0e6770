//! The operations of tokio-uring: their submission entries, and the memory and descriptors that
//! they own until their completion.

use crate::epoll::sends::HeldSend;
use crate::uring::gather::Gather;
use crate::{Buffer, Output, Pool, Slot};
use ::tokio_uring::{InFlightOneshot, OneshotOutputTransform, UnsubmittedOneshot};
use io_uring_0_6::{cqueue, opcode, squeue, types};
use std::cell::{Cell, RefCell};
use std::os::fd::{OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::Waker;
use tokio::runtime::Id;

/// The maximum number of operations in flight over all drivers of a runtime: half of the submission
/// queue of a runtime with default options (256 entries). The other half is left to the program's
/// own operations. tokio-uring panics when it submits a full queue and the kernel refuses that.
pub(super) const MAX_IN_FLIGHT: u32 = 128;

thread_local! {
    /// The permits of the drivers that share a runtime, for each runtime of this thread. They exist as
    /// long as a driver or an operation has them.
    static SHARED: RefCell<Vec<(Id, Weak<Permits>)>> = const { RefCell::new(Vec::new()) };
}

/// How many operations may still be submitted.
pub(super) struct Permits {
    free: Cell<u32>,
    waiters: RefCell<Vec<Waker>>,
}

impl Permits {
    pub(super) const fn new() -> Self {
        Self { free: Cell::new(MAX_IN_FLIGHT), waiters: RefCell::new(Vec::new()) }
    }

    /// Those of all drivers within a runtime of the calling thread.
    pub(super) fn of_runtime(runtime: Id) -> Rc<Self> {
        SHARED.with_borrow_mut(|shared| {
            shared.retain(|(_, permits)| permits.strong_count() > 0);
            let known = shared.iter().find(|(of, _)| *of == runtime);
            known.and_then(|(_, permits)| permits.upgrade()).unwrap_or_else(|| {
                let permits = Rc::new(Self::new());
                shared.push((runtime, Rc::downgrade(&permits)));
                permits
            })
        })
    }

    pub(super) fn take(self: &Rc<Self>) -> Option<Permit> {
        self.free.set(self.free.get().checked_sub(1)?);
        Some(Permit(Rc::clone(self)))
    }

    /// Wakes `waker` when a permit is free again.
    pub(super) fn wait(&self, waker: &Waker) {
        let mut waiters = self.waiters.borrow_mut();
        if !waiters.iter().any(|waiter| waiter.will_wake(waker)) {
            waiters.push(waker.clone());
        }
    }

    #[cfg(test)]
    pub(super) fn in_flight(&self) -> u32 {
        MAX_IN_FLIGHT - self.free.get()
    }
}

/// The right to one operation in flight.
pub(super) struct Permit(Rc<Permits>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.free.set(self.0.free.get() + 1);
        for waiter in self.0.waiters.take() {
            waiter.wake();
        }
    }
}

/// The descriptors that a driver had open when it was dropped with operations in flight. They are
/// closed after the last of these operations, because an operation that is not submitted yet would
/// otherwise use a descriptor that belongs to another file by then.
#[derive(Default)]
pub(super) struct Custody {
    descriptors: RefCell<Vec<OwnedFd>>,
}

impl Custody {
    pub(super) fn keep(&self, descriptor: OwnedFd) {
        self.descriptors.borrow_mut().push(descriptor);
    }
}

/// A buffer that was taken from the pool for one receive.
pub(super) struct Lent {
    pool: Pool,
    /// `None` after [`Lent::fill`].
    index: Option<u16>,
}

impl Lent {
    /// `None` when no buffer is free.
    pub(super) fn take(pool: &Pool) -> Option<Self> {
        let index = Some(pool.take()?);
        Some(Self { pool: pool.clone(), index })
    }

    /// The buffer, of which the kernel has written the first `len` bytes.
    ///
    /// # Safety
    /// The receive into this buffer has completed, and has written `len` bytes.
    unsafe fn fill(mut self, len: usize) -> Option<Buffer> {
        let index = self.index.take()?;
        // SAFETY: `take` took the index, it is neither put back nor guarded elsewhere, and the
        // caller vouches for the bytes.
        Some(unsafe { self.pool.guard(index, len) })
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(index) = self.index.take() {
            self.pool.put_back(index);
        }
    }
}

/// What an operation transfers. The kernel uses its memory until the completion.
enum Transfer {
    Receive(Lent),
    Send {
        ticket: u32,
        send: HeldSend,
        /// The header that the entry points to.
        _gather: Option<Gather>,
    },
}

/// What an operation owns until its completion, also when its driver is gone by then.
pub(super) struct Flight {
    slot: Slot,
    transfer: Transfer,
    _permit: Permit,
    _custody: Rc<Custody>,
}

/// What an operation is submitted with.
pub(super) struct Ticket {
    pub(super) descriptor: RawFd,
    pub(super) slot: Slot,
    pub(super) permit: Permit,
    pub(super) custody: Rc<Custody>,
}

/// The end of an operation.
pub(super) enum Landed {
    /// A receive with this result; with bytes in the buffer if the result is positive.
    Received { slot: Slot, result: i32, buffer: Option<Buffer> },
    /// A write with this result.
    Sent { slot: Slot, ticket: u32, result: i32, send: HeldSend },
}

/// Turns the completion of an operation into its end.
pub(super) struct Land;

impl OneshotOutputTransform for Land {
    type Output = Landed;
    type StoredData = Flight;

    fn transform_oneshot_output(self, flight: Flight, entry: cqueue::Entry) -> Landed {
        let (slot, result) = (flight.slot, entry.result());
        match flight.transfer {
            Transfer::Receive(lent) => {
                let len = usize::try_from(result).unwrap_or(0);
                // SAFETY: this is the completion of the receive, and its result is the number of
                // bytes that it has written.
                let buffer = if len > 0 { unsafe { lent.fill(len) } } else { None };
                Landed::Received { slot, result, buffer }
            }
            Transfer::Send { ticket, send, .. } => Landed::Sent { slot, ticket, result, send },
        }
    }
}

/// An operation in flight. When it is dropped before its completion, tokio-uring keeps its
/// [`Flight`] until then.
pub(super) type InFlight = InFlightOneshot<Flight, Land>;

/// Every operation fails with EAGAIN where it would wait, so that it completes when it is
/// submitted: tokio-uring cannot cancel one.
const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;

/// Receives once, into a buffer (since 5.6).
pub(super) fn receive(of: Ticket, lent: Lent) -> InFlight {
    let (start, size) = match lent.index {
        Some(index) => lent.pool.address(index),
        None => (std::ptr::null_mut(), 0),
    };
    // A buffer is at most 1 MiB.
    let entry = opcode::Recv::new(types::Fd(of.descriptor), start, size as u32).flags(libc::MSG_DONTWAIT).build();
    submit(of, Transfer::Receive(lent), entry)
}

/// Writes what is left of a send (since 5.6; several chunks: since 5.3).
pub(super) fn write(of: Ticket, ticket: u32, send: HeldSend) -> InFlight {
    let descriptor = types::Fd(of.descriptor);
    // The bytes of the chunks are on the heap or in the pool, so they do not move with the output.
    let (entry, gather) = match &send.output {
        Output::One(chunk) => {
            let bytes = &chunk.as_slice()[send.written..send.end];
            // A send is at most 1 GiB.
            (opcode::Send::new(descriptor, bytes.as_ptr(), bytes.len() as u32).flags(FLAGS).build(), None)
        }
        Output::Many(chunks) => {
            let gather = Gather::between(chunks, send.written, send.end);
            (opcode::SendMsg::new(descriptor, gather.header()).flags(FLAGS as u32).build(), Some(gather))
        }
    };
    submit(of, Transfer::Send { ticket, send, _gather: gather }, entry)
}

fn submit(of: Ticket, transfer: Transfer, entry: squeue::Entry) -> InFlight {
    let Ticket { slot, permit, custody, descriptor: _ } = of;
    UnsubmittedOneshot::new(Flight { slot, transfer, _permit: permit, _custody: custody }, Land, entry).submit()
}

/// Submits an operation that does nothing.
///
/// # Panics
/// Outside of a runtime of tokio-uring.
pub(super) fn submit_nothing() {
    struct Ignore;
    impl OneshotOutputTransform for Ignore {
        type Output = ();
        type StoredData = ();

        fn transform_oneshot_output(self, _data: (), _entry: cqueue::Entry) {}
    }
    drop(UnsubmittedOneshot::new((), Ignore, opcode::Nop::new().build()).submit());
}
