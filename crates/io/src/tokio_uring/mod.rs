//! The driver on the library tokio-uring (version 0.5), for Linux 5.11 and newer: it needs no buffer
//! rings and no multishot operations, which the driver on io_uring does.
//!
//! The idle connections are in an epoll set, edge-triggered, as those of the driver on epoll; both
//! drivers share its code. An idle connection therefore has neither a receive buffer nor a task. The
//! bytes are moved by operations of tokio-uring: when connections are readable, each takes a buffer
//! of the pool, and one `io_uring_enter` submits the receives of a turn together with the sends that
//! were requested since the last one. Accepting and connecting are system calls of their own.
//!
//! There are two ways to use it:
//!
//! - [`TokioUring::new`] owns its runtime. [`Driver::wait`] sleeps in the epoll set, and the runtime
//!   runs only to submit operations and to take their completions.
//! - [`TokioUring::within`] is used by a task of a runtime of tokio-uring. [`Driver::wait`] never
//!   sleeps; [`Ready::ready`] waits until it has something to return. [`TokioUring::adopt_socket`]
//!   takes over a connection that the program has accepted or connected itself.
//!
//! ```
//! use ringway_io::tokio_uring::{TokioUring, TokioUringConfig};
//! use ringway_io::{Chunk, Completion, Driver, Output};
//! use std::io::{Read, Write};
//!
//! let (mut client, server) = std::os::unix::net::UnixStream::pair()?;
//! client.write_all(b"hello")?;
//! tokio_uring::start(async {
//!     let mut driver = TokioUring::within(TokioUringConfig::default())?;
//!     let (ready, mut completions) = (driver.ready(), Vec::new());
//!     let slot = driver.adopt_socket(server.into(), true);
//!     driver.receive(slot);
//!     loop {
//!         ready.ready().await;
//!         driver.wait(None, &mut completions)?;
//!         for completion in completions.drain(..) {
//!             match completion {
//!                 Completion::Received { slot, buffer } => {
//!                     let range = 0..buffer.len() as u32;
//!                     driver.send(slot, Output::One(Chunk::Buffer { buffer, range }));
//!                 }
//!                 Completion::Sent { .. } => return Ok::<_, Box<dyn std::error::Error>>(()),
//!                 _ => {}
//!             }
//!         }
//!     }
//! })?;
//! let mut reply = [0; 5];
//! client.read_exact(&mut reply)?;
//! assert_eq!(&reply, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What tokio-uring 0.5 lacks
//!
//! | defect | consequence | here | test |
//! |---|---|---|---|
//! | its ring is polled through epoll, by the reactor of tokio | a batch of completions costs two `epoll_wait` besides the `io_uring_enter`, and timeouts are rounded up to a millisecond | the thread sleeps in the epoll set of the connections, with a timeout in nanoseconds, and enters the runtime only with operations to submit | `a_wait_ends_at_its_timeout`, `a_wait_with_a_timeout_of_zero_does_not_sleep` |
//! | an operation cannot be cancelled: its `user_data` is private | a receive in flight would hold its buffer, and keep the descriptor open, until the peer sends something | each operation has `MSG_DONTWAIT`, so it completes when it is submitted; accept(2) and connect(2) are called directly | `closing_with_a_receive_and_a_stuck_send_in_flight_frees_the_slot_and_the_output`, `an_idle_connection_holds_no_buffer_and_no_operation` |
//! | operations are in flight when a future, or the runtime, is dropped | the kernel writes to memory that was freed, or an entry that is submitted later uses a descriptor that belongs to another file by then | an operation owns its buffer or its output, and the descriptors of a dropped driver stay open until its last operation has ended | `a_driver_dropped_before_its_operations_are_submitted_keeps_what_they_use` |
//! | futures of its sockets panic when they are dropped after the runtime, or polled without it | a driver that outlives its runtime ends the thread | only operations of one completion are used (`UnsubmittedOneshot`), whose futures may be dropped at any time; a wait without a runtime, or in another one, is an error | `a_driver_that_outlives_its_runtime_reports_an_error`, `a_driver_that_is_moved_to_another_runtime_reports_an_error` |
//! | a multishot completion panics (`unreachable`) | no multishot accept or receive | no operation has more than one completion | no test: a multishot operation cannot be requested |
//! | a full submission queue (256 entries) is submitted with `expect` | a refusal of the kernel is a panic | at most 128 operations are in flight, over all drivers of a runtime | `the_operations_in_flight_are_bounded_over_the_drivers_of_a_runtime`, `the_operations_of_one_runtime_do_not_limit_those_of_another` |
//! | an error of the submission before a sleep is dropped | operations wait without an end | a runtime with operations in flight submits again after 100 ms | no test: the kernel refuses a submission only without memory |
//! | operations are submitted only before the runtime sleeps | a task that never lets the runtime sleep delays them | a runtime of the driver has no other tasks; within a runtime of the program there is no remedy | no test |
//! | `Runtime::new` loses the descriptors of its runtime of tokio when the ring cannot be made | an attempt without success costs up to four descriptors | it is tried only with enough free descriptors ([`check_descriptors`]), and after [`probe`] where programs choose a driver | `a_driver_that_cannot_be_made_costs_no_descriptor` |
//! | nested epoll sets wake all drivers that share a listener: `EPOLLEXCLUSIVE` ends at a set that is polled itself | each connection wakes every driver | with a runtime of its own the driver sleeps in the set itself, and the drivers take turns; within a runtime of the program each connection wakes all of them, and one accepts it | `drivers_that_share_a_listener_take_turns` |

mod operation;
mod probe;
mod ready;
mod ring;
mod socket;

pub use probe::{check_descriptors, probe};
pub use ready::Ready;
pub use socket::into_socket;

use crate::detached::DetachedSocket;
use crate::epoll::poller::Poller;
use crate::epoll::set::EpollSet;
use crate::epoll::transfers::Transfers;
use crate::option::check_range;
use crate::table::{BUDGET, SlotTable, forward};
use crate::uring::SetupError;
use crate::{BufferConfig, BusyPoll, Completion, Detached, Driver, OptionError, Pool, Slot, Waker};
use ring::Ring;
use socket2::Type;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::runtime::{Handle, Id};

/// The maximum of [`TokioUringConfig::max_connections`], as that of the other drivers.
const MAX_CONNECTIONS: u32 = 1 << 30;

/// The configuration of a [`TokioUring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokioUringConfig {
    /// The receive buffers.
    pub buffers: BufferConfig,
    /// How many connections may be open at once, 1 to 2³⁰. At the limit, accepting pauses. Default
    /// 1,048,576.
    pub max_connections: u32,
    /// How long to poll before sleeping. Has no effect on a driver that was made with
    /// [`TokioUring::within`]. Default: adaptive.
    pub busy_poll: BusyPoll,
}

impl Default for TokioUringConfig {
    fn default() -> Self {
        Self { buffers: BufferConfig::default(), max_connections: 1 << 20, busy_poll: BusyPoll::default() }
    }
}

impl TokioUringConfig {
    /// Checks all numbers.
    ///
    /// # Errors
    /// An [`OptionError`] for the first one that is out of range.
    pub fn check(&self) -> Result<(), OptionError> {
        check_range("max_connections", self.max_connections, 1..=MAX_CONNECTIONS, "1 to 1073741824")?;
        self.buffers.check()
    }
}

/// A driver on tokio-uring, for the thread that made it. See the [module](self).
pub struct TokioUring {
    table: SlotTable<Poller<Ring>>,
    /// The runtime of the program that it is used within; `None` with a runtime of its own.
    runtime: Option<Id>,
}

impl TokioUring {
    /// A driver with a runtime of its own. Takes up to seven descriptors.
    ///
    /// # Errors
    /// [`SetupError::Option`] for a number of `config` that is out of its range,
    /// [`SetupError::Unavailable`] when the ring cannot be made, with the cause and the remedy.
    ///
    /// # Panics
    /// [`Driver::wait`], [`Driver::submit`] and `drop` panic in an asynchronous task, as every
    /// runtime of tokio does: use [`TokioUring::within`] there.
    pub fn new(config: TokioUringConfig) -> Result<Self, SetupError> {
        let (pool, set) = Self::prepare(&config)?;
        let ring = Ring::owned(probe::runtime()?);
        Self::assemble(&config, pool, set, ring, None)
    }

    /// A driver within the runtime of tokio-uring that runs the calling task. Its [`Driver::wait`]
    /// never sleeps, whatever its timeout, and is to be called when [`Ready::ready`] returns, and
    /// after requests. Takes three descriptors.
    ///
    /// Requests are submitted by the next wait. A wait that leaves connections without a buffer is
    /// repeated by the caller when it has dropped a [`Buffer`](crate::Buffer): see
    /// [`TokioUring::can_feed`].
    ///
    /// When the driver is dropped, its connections are closed. Operations in flight, of which there
    /// are some only until the runtime sleeps the next time, keep their memory and their
    /// descriptors; what is left of a send is not written.
    ///
    /// # Errors
    /// As [`TokioUring::new`].
    ///
    /// # Panics
    /// Outside of a runtime of tokio-uring.
    pub fn within(config: TokioUringConfig) -> Result<Self, SetupError> {
        let (pool, set) = Self::prepare(&config)?;
        operation::submit_nothing();
        let runtime = Handle::current().id();
        let descriptor = set.descriptor().try_clone_to_owned();
        let descriptor = descriptor.map_err(probe::unavailable("duplicating an epoll descriptor"))?;
        // SAFETY: an `OwnedFd` has the same open descriptor until it is dropped, and the registration
        // is removed before that.
        let descriptor = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }
            .map_err(|error| probe::unavailable("registering with the reactor of tokio")(error.into()))?;
        Self::assemble(&config, pool, set, Ring::shared(descriptor, runtime), Some(runtime))
    }

    fn prepare(config: &TokioUringConfig) -> Result<(Pool, EpollSet), SetupError> {
        config.check()?;
        let pool = Pool::new(&config.buffers)?;
        let set = EpollSet::new(config.busy_poll).map_err(probe::unavailable("opening an epoll set"))?;
        Ok((pool, set))
    }

    fn assemble(
        config: &TokioUringConfig,
        pool: Pool,
        set: EpollSet,
        ring: Ring,
        runtime: Option<Id>,
    ) -> Result<Self, SetupError> {
        let poller = Poller::new(pool, set, ring).map_err(probe::unavailable("opening an eventfd"))?;
        Ok(Self { table: SlotTable::new(poller, &config.buffers, config.max_connections), runtime })
    }

    /// The pool of its receive buffers.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.table.kernel.pool
    }

    /// Takes over a connected stream socket that this driver has not made, of TCP or a Unix socket
    /// (`is_unix`). It is in the state of a connection that was reported with
    /// [`Completion::Accepted`], as after [`Driver::adopt`]: nothing is received before
    /// [`Driver::receive`]. Its options stay as they are, but it becomes non-blocking.
    pub fn adopt_socket(&mut self, socket: OwnedFd, is_unix: bool) -> Slot {
        let socket = DetachedSocket::Open { descriptor: socket, kind: Type::STREAM };
        self.adopt(Detached { socket, unix: is_unix })
    }

    /// A handle that tells tasks when the next wait has something to return.
    ///
    /// # Panics
    /// For a driver that was made with [`TokioUring::new`]: its wait sleeps.
    #[must_use]
    pub fn ready(&self) -> Ready {
        let signal = self.table.kernel.transfers.signal();
        Ready(signal.expect("only a driver within a runtime has a handle").clone())
    }

    /// Whether a connection waits for a buffer although there is one: the next wait receives from it.
    /// No event of the kernel leads to that wait.
    #[must_use]
    pub fn can_feed(&self) -> bool {
        self.table.is_starved() && self.pool().free() > 0
    }

    fn is_within(&self) -> bool {
        self.runtime.is_some()
    }

    fn check(&self) -> io::Result<()> {
        self.table.kernel.set.check()?;
        let Some(runtime) = self.runtime else { return Ok(()) };
        match Handle::try_current() {
            Ok(current) if current.id() == runtime => Ok(()),
            Ok(_) => Err(io::Error::other(
                "this driver was made in another runtime of tokio-uring: use it in a task of that one",
            )),
            Err(_) => Err(io::Error::other("the runtime of tokio-uring that this driver was made in does not run")),
        }
    }

    /// The end of a turn within a runtime: whether another one has something to do at once, or after
    /// which event or time.
    fn watch(&mut self, timeout: Option<Duration>) {
        let is_due = self.table.has_starved_send();
        let kernel = &mut self.table.kernel;
        let Some(signal) = kernel.transfers.signal().cloned() else { return };
        let retry = kernel.retry_interval();
        let timeout = timeout.into_iter().chain(retry).min();
        signal.lower(timeout.map(|timeout| Instant::now() + timeout));
        kernel.run_transfers();
        kernel.transfers.watch();
        if is_due || kernel.is_due() {
            signal.raise();
        }
    }

    /// Passes the completions of the kernel to the table, at most the budget of a turn.
    fn reap(&mut self, completions: &mut Vec<Completion>) {
        for _ in 0..BUDGET {
            let Some(completed) = self.table.kernel.next() else { break };
            let (user_data, result) = (completed.user_data, completed.result);
            self.table.complete(user_data, result, completed.more, completed.buffer, completions);
        }
    }
}

impl Driver for TokioUring {
    forward!(requests);
    forward!(accepting);
    forward!(queries);
    forward!(datagrams);

    fn waker(&self) -> Waker {
        self.table.kernel.waker.clone()
    }

    fn submit(&mut self) -> io::Result<()> {
        self.check()?;
        self.table.kernel.run_transfers();
        Ok(())
    }

    /// As [`Driver::wait`]. A driver within a runtime does not sleep, whatever the timeout.
    fn wait(&mut self, mut timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.check()?;
        let within = self.is_within();
        if within {
            timeout = None;
        }
        self.table.begin_turn(&mut timeout, completions);
        self.table.kernel.enter(if within { Some(Duration::ZERO) } else { timeout })?;
        self.table.stats.polled = self.table.kernel.set.polled();
        self.reap(completions);
        self.table.receive_datagrams(completions);
        self.table.end_turn();
        if within {
            self.watch(timeout);
        }
        Ok(())
    }

    fn free_buffers(&self) -> usize {
        self.table.kernel.pool.unguarded()
    }
}

impl Drop for TokioUring {
    /// Closes all slots. A driver with a runtime of its own completes its operations first. Within a
    /// runtime, what is in flight is left to the runtime, with the descriptors that it uses.
    fn drop(&mut self) {
        self.table.close_all();
        let mut completions = Vec::new();
        loop {
            if !self.is_within() && self.table.kernel.transfers.has_work() {
                self.table.kernel.run_transfers();
            }
            let Some(completed) = self.table.kernel.take_completed() else { break };
            let (user_data, result) = (completed.user_data, completed.result);
            self.table.complete(user_data, result, completed.more, completed.buffer, &mut completions);
        }
        let descriptors: Vec<OwnedFd> = self
            .table
            .take_descriptors()
            // SAFETY: the table has given up the descriptor, which is open, because no close was
            // requested for it (UNSAFE.md 8).
            .map(|descriptor| unsafe { OwnedFd::from_raw_fd(descriptor) })
            .collect();
        let ring = &mut self.table.kernel.transfers;
        debug_assert!(descriptors.is_empty() || ring.signal().is_some(), "every operation completes at once");
        ring.abandon(descriptors.into_iter());
        ring.touched();
    }
}

#[cfg(test)]
mod tests;
