//! The ring: submissions, the memory of the operations in flight, and the system call of a turn.

use super::entry::{self, SendMode};
use super::gather::Gather;
use super::provided::Provided;
use crate::busy_poll::PollWindow;
use crate::detached::DetachedSocket;
use crate::slab::Slab;
use crate::table::{BUDGET, Cancellable, KernelInterface, RealDescriptors};
use crate::{Address, Buffer, BusyPoll, Listener, Output, Pool, Slot, Waker};
use io_uring::squeue::Entry;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{SockAddr, Type};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

/// How long the kernel may refuse a full submission queue before the driver is considered broken.
const SUBMIT_TIMEOUT: Duration = Duration::from_secs(1);

/// The memory that the kernel uses for one request until its completion.
enum InFlight {
    Output { output: Output, _gather: Option<Gather> },
    Address(#[expect(dead_code, reason = "the kernel reads it")] Box<SockAddr>),
}

/// An io_uring, with all memory that it refers to.
pub(super) struct Ring {
    // Dropped first: the ring must be closed before its memory is freed.
    pub(super) ring: IoUring,
    provided: Provided,
    pub(super) pool: Pool,
    held: Slab<InFlight>,
    pub(super) waker: Waker,
    /// Completions to handle: those of this turn, or those taken early to make room in a full
    /// queue.
    reaped: Vec<cqueue::Entry>,
    /// The permanent error of `io_uring_enter`. With it, nothing can be submitted any more.
    broken: Option<i32>,
    start: Instant,
    window: PollWindow,
    /// When the last wait ended.
    waited: Instant,
}

impl Ring {
    pub(super) fn new(ring: IoUring, provided: Provided, pool: Pool, waker: Waker, busy_poll: BusyPoll) -> Self {
        let (start, window) = (Instant::now(), PollWindow::new(busy_poll));
        Self {
            ring,
            provided,
            pool,
            held: Slab::new(),
            waker,
            reaped: Vec::new(),
            broken: None,
            start,
            window,
            waited: start,
        }
    }

    /// Adds an entry to the submission queue; a full queue is submitted first. Returns whether the
    /// entry was added, which fails when the ring is broken.
    ///
    /// All memory that the entry points to must be owned by `held`, `provided` or `Datagrams` until its
    /// completion.
    #[inline]
    pub(super) fn push(&mut self, entry: &Entry) -> bool {
        // SAFETY: the memory that the entry points to stays valid until its completion. Outputs and
        // addresses are in `held`, and datagrams in `Datagrams::outgoing`, from which only that
        // completion removes them; receives refer only to the registered rings, and to the header of
        // `Datagrams`, which lives as long (UNSAFE.md 1).
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
            self.check()?;
            let Err(error) = self.ring.submit() else { return Ok(()) };
            // EBUSY and EAGAIN: the kernel has no room until completions are reaped. They are
            // stored for later.
            self.reaped.extend(self.ring.completion());
            if !is_transient(&error)
                || Instant::now() > *deadline.get_or_insert_with(|| Instant::now() + SUBMIT_TIMEOUT)
            {
                return Err(self.mark_broken(error));
            }
            std::thread::yield_now();
        }
    }

    /// Records that the kernel accepts no submissions.
    #[cold]
    fn mark_broken(&mut self, error: io::Error) -> io::Error {
        tracing::error!(%error, "io_uring_enter fails: this driver is broken");
        self.broken = Some(error.raw_os_error().unwrap_or(libc::EIO));
        error
    }

    /// Fails when the ring is broken.
    pub(super) fn check(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(errno)))
    }

    /// The system call of a turn: submits, and waits for one completion unless there is one or
    /// `timeout` is zero.
    ///
    /// It waits for only one, so that the next turn overlaps with the work of the peers. Since 6.14
    /// one call runs at most max(20, `min_complete`) task works. A larger `min_complete` with a
    /// timeout of zero runs more of them, but programs a timer and sleeps whenever fewer are
    /// pending.
    pub(super) fn enter(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) || !self.reaped.is_empty() || !self.ring.completion().is_empty() {
            return self.submit(0, None);
        }
        if !self.ring.submission().is_empty() || self.has_event() {
            // Most sends complete during submission, so this rarely sleeps.
            return self.submit(1, timeout);
        }
        if self.window.is_off() {
            return self.submit(1, timeout);
        }
        let began = Instant::now();
        let limit = self.window.next(began.saturating_duration_since(self.waited));
        let polled = self.poll(began, timeout.map_or(limit, |timeout| limit.min(timeout)));
        let is_hit = self.has_event();
        if is_hit || timeout.is_some_and(|timeout| polled >= timeout) {
            match is_hit {
                true => self.window.hit(polled),
                false => self.window.timed_out(polled),
            }
            self.waited = began + polled;
            // Pending work may not lead to a completion, so this must not wait for one.
            return self.submit(0, None);
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(polled));
        let last = left.map_or(Duration::ZERO, |left| self.window.last(left));
        let sleep = left.map(|left| left - last);
        let mut result = self.submit(u32::from(sleep != Some(Duration::ZERO)), sleep);
        if !last.is_zero() && result.is_ok() && !self.has_event() {
            let now = Instant::now();
            let left = timeout.unwrap_or_default().saturating_sub(now.saturating_duration_since(began));
            let polled = self.poll(now, left);
            self.window.polled_last(polled);
            result = self.submit(0, None);
        }
        let slept = began.elapsed();
        self.window.slept(polled, slept);
        self.waited = began + slept;
        result
    }

    /// The time of all polls so far.
    #[inline]
    pub(super) fn polled(&self) -> Duration {
        self.window.polled()
    }

    /// Polls the ring in user space until there is an event or `limit` is over. Returns the time
    /// that it took.
    fn poll(&mut self, began: Instant, limit: Duration) -> Duration {
        let mut elapsed = Duration::ZERO;
        while elapsed < limit && !self.has_event() {
            std::hint::spin_loop();
            elapsed = began.elapsed();
        }
        elapsed
    }

    /// Whether a completion is in the queue, or deferred work is pending that the next call runs.
    fn has_event(&mut self) -> bool {
        self.ring.submission().taskrun() || !self.ring.completion().is_empty()
    }

    /// Submits, and waits for `want` completions, for at most `timeout`.
    fn submit(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        debug_assert!(want == 0 || timeout != Some(Duration::ZERO), "a wait with a timeout of zero programs a timer");
        let timespec = timeout.filter(|_| want > 0).map(Timespec::from);
        let mut args = SubmitArgs::new();
        if let Some(timespec) = &timespec {
            args = args.timespec(timespec);
        }
        match self.ring.submitter().submit_with_args(want as usize, &args) {
            Ok(_) => Ok(()),
            Err(error) if is_transient(&error) => Ok(()),
            Err(error) => Err(self.mark_broken(error)),
        }
    }

    /// Takes the completions to handle, at most [`BUDGET`] unless more were taken early. The list
    /// is returned with [`Ring::reaped`].
    pub(super) fn reap(&mut self) -> Vec<cqueue::Entry> {
        let mut reaped = std::mem::take(&mut self.reaped);
        let room = BUDGET.saturating_sub(reaped.len());
        reaped.extend(self.ring.completion().take(room));
        reaped
    }

    /// Returns the empty list of completions for reuse, unless further completions were stored
    /// since.
    pub(super) fn reaped(&mut self, empty: Vec<cqueue::Entry>) {
        if self.reaped.is_empty() {
            self.reaped = empty;
        }
    }

    /// The buffer of a completion.
    #[inline]
    pub(super) fn buffer(&mut self, entry: &cqueue::Entry) -> Option<Buffer> {
        let id = cqueue::buffer_select(entry.flags())?;
        self.provided.claim(id, entry.result())
    }

    /// Whether completions did not fit into the completion queue.
    pub(super) fn is_overflowing(&mut self) -> bool {
        self.ring.submission().cq_overflow()
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    #[inline]
    fn push_send(&mut self, descriptor: RawFd, slot: Slot, output: Output, mode: SendMode) -> u32 {
        // The bytes of the chunks are on the heap or in the pool, so they do not move with the
        // output into `held`.
        let (entry, gather) = match &output {
            Output::One(chunk) => (entry::send(descriptor, slot, chunk.as_slice(), mode), None),
            Output::Many(chunks) => {
                let gather = Gather::new(chunks);
                (entry::send_gathered(descriptor, slot, &gather, mode), Some(gather))
            }
        };
        let ticket = self.held.insert(InFlight::Output { output, _gather: gather });
        self.push(&entry);
        ticket
    }

    /// Whether the kernel uses no memory of an operation.
    pub(super) fn holds_nothing(&self) -> bool {
        self.held.len() == 0
    }

    /// Leaks the memory that the kernel may still use.
    pub(super) fn leak(&mut self) {
        self.provided.leak();
        std::mem::forget(std::mem::replace(&mut self.held, Slab::new()));
    }
}

impl RealDescriptors for Ring {
    const SOCKET_TYPE: Type = Type::STREAM;
}

impl KernelInterface for Ring {
    type Listener = Listener;

    fn is_unix(listener: &Listener) -> bool {
        listener.is_unix()
    }

    fn duplicate(listener: &Listener) -> io::Result<Listener> {
        listener.duplicate()
    }

    fn leaves_queue(listener: &Listener) -> bool {
        listener.is_foreign()
    }

    fn accept_queued(&mut self, listener: &Listener) -> Result<Option<RawFd>, i32> {
        listener.accept_queued(SocketFlags::CLOEXEC).map_err(Errno::raw_os_error)
    }

    fn detach(&mut self, descriptor: RawFd, _slot: Slot) -> DetachedSocket {
        Self::give_up(descriptor)
    }

    fn attach(&mut self, socket: DetachedSocket) -> Option<RawFd> {
        Self::take_over(socket)
    }

    fn accept(&mut self, listener: &Listener, slot: Slot) {
        let accept = if listener.is_single() { entry::accept_one } else { entry::accept };
        self.push(&accept(listener.as_fd().as_raw_fd(), slot));
    }

    fn connect(&mut self, descriptor: RawFd, slot: Slot, peer: &Address) -> u32 {
        let address = Box::new(peer.to_sock_addr());
        let entry = entry::connect(descriptor, slot, &address);
        let ticket = self.held.insert(InFlight::Address(address));
        self.push(&entry);
        ticket
    }

    #[inline]
    fn receive(&mut self, descriptor: RawFd, slot: Slot) {
        self.push(&entry::receive(descriptor, slot));
    }

    #[inline]
    fn send(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        self.push_send(descriptor, slot, output, SendMode::All)
    }

    fn send_in_parts(&mut self, descriptor: RawFd, slot: Slot, output: Output) -> u32 {
        self.push_send(descriptor, slot, output, SendMode::Part)
    }

    #[inline]
    fn take_back(&mut self, ticket: u32) -> Option<Output> {
        match self.held.remove(ticket)? {
            InFlight::Output { output, .. } => Some(output),
            InFlight::Address(_) => None,
        }
    }

    fn cancel(&mut self, target: Cancellable, slot: Slot) {
        self.push(&entry::cancel(target, slot));
    }

    fn close(&mut self, descriptor: RawFd, slot: Slot) {
        if !self.push(&entry::close(descriptor, slot)) {
            // SAFETY: the table has given up the descriptor, which is open, because its close was
            // not submitted.
            drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
        }
    }

    fn has_unreaped(&mut self) -> bool {
        !self.reaped.is_empty() || self.has_event() || self.is_overflowing()
    }

    fn watch_waker(&mut self) {
        let entry = entry::watch_waker(self.waker.fd().as_raw_fd());
        self.push(&entry);
    }

    fn take_wake(&mut self) -> bool {
        self.waker.take()
    }

    #[inline]
    fn lend(&mut self, target: u16) -> u16 {
        self.provided.refill(target);
        self.provided.ready()
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY | libc::EAGAIN | libc::ETIME))
}
