//! The driver on io_uring.
//!
//! Each turn makes one `io_uring_enter`, which submits the requested operations, waits, and runs
//! the kernel's deferred work for this ring. UNSAFE.md lists the invariants that keep the kernel's
//! pointers valid.

mod datagrams;
mod entry;
pub(crate) mod gather;
mod provided;
mod ring;
mod setup;
mod unavailable;

pub use setup::{Features, probe};
pub use unavailable::{LikelyCause, Unavailable};

use crate::option::check_range;
use crate::table::{Operation, SlotTable, forward};
use crate::{BufferConfig, BusyPoll, Completion, Datagram, DatagramSocket, Driver, OptionError, Pool, Waker};
use datagrams::Datagrams;
use io_uring::cqueue;
use ring::Ring;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::time::{Duration, Instant};
use thiserror::Error;

/// How long a teardown waits for the operations in flight.
pub(crate) const TEARDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// The maximum of [`UringConfig::max_connections`]. The upper half of the slot indices identifies
/// no connection.
const MAX_CONNECTIONS: u32 = 1 << 30;

/// The configuration of a [`Uring`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UringConfig {
    /// Entries of the submission queue, 8 to 32 768; the kernel rounds the number up to a power of
    /// two. The completion queue has four times as many, but at most 65 536 (the kernel's limit).
    /// Default 1024.
    pub ring_entries: u32,
    /// The receive buffers.
    pub buffers: BufferConfig,
    /// How many connections may be open at once, 1 to 2³⁰. At the limit, accepting pauses;
    /// connections that the kernel has accepted in the same turn are still served. Default
    /// 1,048,576.
    pub max_connections: u32,
    /// How long to poll the ring before sleeping. Default: adaptive.
    pub busy_poll: BusyPoll,
}

impl Default for UringConfig {
    fn default() -> Self {
        Self {
            ring_entries: 1024,
            buffers: BufferConfig::default(),
            max_connections: 1 << 20,
            busy_poll: BusyPoll::default(),
        }
    }
}

impl UringConfig {
    /// Checks all numbers.
    ///
    /// # Errors
    /// An [`OptionError`] for the first one that is out of range.
    pub fn check(&self) -> Result<(), OptionError> {
        check_range("ring_entries", self.ring_entries, 8..=32_768, "8 to 32768")?;
        check_range("max_connections", self.max_connections, 1..=MAX_CONNECTIONS, "1 to 1073741824")?;
        self.buffers.check()
    }

    /// The bytes of kernel memory that a driver with these options shares with the kernel, for the
    /// queues and the buffer ring. The kernel counts them against the limit of locked memory
    /// (`ulimit -l`) of the user, over all processes, unless the process has CAP_IPC_LOCK: before
    /// 5.12, and again since 6.14.
    #[must_use]
    pub fn locked_bytes(&self) -> u64 {
        /// `struct io_rings` before the completions.
        const HEADER: u64 = 64;
        let entries = u64::from(self.ring_entries).next_power_of_two();
        let submissions = entries * 64;
        // Completions of 16 bytes, and the array of indices of the submission queue.
        let rings = HEADER + (entries * 4).min(65_536) * 16 + entries * 4;
        let buffers = u64::from(self.buffers.count) * 16;
        [submissions, rings, buffers].iter().map(|part| part.next_multiple_of(4096)).sum()
    }
}

/// Why a [`Uring`], or a driver on tokio-uring, could not be made.
///
/// The enum is exhaustive: the caller reports the two causes in different ways, and there is no
/// third one.
#[derive(Debug, Error)]
pub enum SetupError {
    /// An option of the configuration is out of its range.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The kernel refuses io_uring, or lacks a feature.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// A driver on io_uring, for the thread that made it.
///
/// ```
/// use ringway_io::uring::{Uring, UringConfig};
/// use ringway_io::{Chunk, Completion, Driver, Listener, Output};
/// use std::io::{Read, Write};
///
/// let listener = Listener::bind("127.0.0.1:0".parse()?)?;
/// let mut client = std::net::TcpStream::connect(listener.address().to_string())?;
/// client.write_all(b"hello")?;
///
/// let mut driver = Uring::new(UringConfig::default())?;
/// driver.listen(listener);
/// let mut completions = Vec::new();
/// let mut echoed = false;
/// while !echoed {
///     driver.wait(None, &mut completions)?;
///     for completion in completions.drain(..) {
///         match completion {
///             Completion::Accepted { slot, .. } => driver.receive(slot),
///             Completion::Received { slot, buffer } => {
///                 let range = 0..buffer.len() as u32;
///                 // The receive buffer goes back out, without a copy.
///                 driver.send(slot, Output::One(Chunk::Buffer { buffer, range }));
///             }
///             Completion::Sent { .. } => echoed = true,
///             _ => {}
///         }
///     }
/// }
/// let mut reply = [0; 5];
/// client.read_exact(&mut reply)?;
/// assert_eq!(&reply, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// After a driver was dropped, the kernel may interrupt its thread once more (EINTR), when it
/// releases the ring.
pub struct Uring {
    // Dropped first, with the ring.
    table: SlotTable<Ring>,
    /// `None` until a socket for datagrams is opened.
    datagrams: Option<Box<Datagrams>>,
    features: Features,
}

impl Uring {
    /// A driver for the calling thread. Only this thread may use it.
    ///
    /// # Errors
    /// [`SetupError::Option`] for a number of `config` that is out of its range,
    /// [`SetupError::Unavailable`] when the kernel refuses io_uring. [`probe`] reports the same
    /// before threads are started.
    pub fn new(config: UringConfig) -> Result<Self, SetupError> {
        config.check()?;
        let pool = Pool::new(&config.buffers)?;
        let (ring, provided, features) = setup::open(config.ring_entries, &pool, config.buffers.count)?;
        let waker = Waker::new().map_err(|error| Unavailable::new("opening an eventfd", error))?;
        let ring = Ring::new(
            ring,
            provided,
            pool,
            waker,
            if features.shows_pending_work() { config.busy_poll } else { BusyPoll::Off },
        );
        Ok(Self { table: SlotTable::new(ring, &config.buffers, config.max_connections), datagrams: None, features })
    }

    /// The features that the kernel supports.
    #[must_use]
    pub fn features(&self) -> &Features {
        &self.features
    }

    /// The pool of its receive buffers.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.table.kernel.pool
    }

    fn reap(&mut self, completions: &mut Vec<Completion>) {
        let mut reaped = self.table.kernel.reap();
        for entry in reaped.drain(..) {
            if let Some(datagrams) = &mut self.datagrams
                && let Some(of) = Operation::of_datagrams(entry.user_data())
            {
                let SlotTable { kernel, stats, .. } = &mut self.table;
                stats.completions += 1;
                datagrams.complete(kernel, of, &entry, stats, completions);
                continue;
            }
            let buffer = self.table.kernel.buffer(&entry);
            self.table.complete(entry.user_data(), entry.result(), cqueue::more(entry.flags()), buffer, completions);
        }
        self.table.kernel.reaped(reaped);
        self.table.end_turn();
    }

    /// Whether no operation is in flight.
    fn is_idle(&self) -> bool {
        let is_idle = self.datagrams.as_ref().is_none_or(|datagrams| datagrams.is_idle());
        is_idle && self.table.is_idle() && self.table.kernel.holds_nothing()
    }
}

impl Driver for Uring {
    forward!(requests);
    forward!(accepting);
    forward!(queries);

    fn open_datagrams(&mut self, socket: DatagramSocket) -> io::Result<()> {
        let datagrams = match &mut self.datagrams {
            Some(datagrams) => datagrams,
            none => none.insert(Box::new(Datagrams::new(&self.table.kernel)?)),
        };
        datagrams.open(socket);
        Ok(())
    }

    fn send_datagram(&mut self, datagram: Datagram) {
        let Some(datagrams) = &mut self.datagrams else { return };
        if !datagrams.send(&mut self.table.kernel, datagram) {
            self.table.stats.datagrams_unsent += 1;
        }
    }

    fn stop_datagrams(&mut self) {
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.stop(&mut self.table.kernel);
        }
    }

    fn has_datagrams(&self) -> bool {
        self.datagrams.as_ref().is_some_and(|datagrams| datagrams.is_open())
    }

    fn duplicate_datagrams(&self) -> io::Result<Vec<DatagramSocket>> {
        self.datagrams.as_ref().map_or(Ok(Vec::new()), |datagrams| datagrams.duplicate())
    }

    fn waker(&self) -> Waker {
        self.table.kernel.waker.clone()
    }

    fn submit(&mut self) -> io::Result<()> {
        self.table.kernel.check()?;
        self.table.kernel.enter(Some(Duration::ZERO))
    }

    fn wait(&mut self, mut timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.table.kernel.check()?;
        self.table.begin_turn(&mut timeout, completions);
        if let Some(datagrams) = &mut self.datagrams {
            datagrams.begin_turn(&mut self.table.kernel);
        }
        self.table.stats.overflows += u64::from(self.table.kernel.is_overflowing());
        self.table.kernel.enter(timeout)?;
        self.table.stats.polled = self.table.kernel.polled();
        self.reap(completions);
        Ok(())
    }

    fn free_buffers(&self) -> usize {
        self.table.kernel.pool.unguarded()
    }
}

impl Drop for Uring {
    /// Dropping a ring is not a barrier: the kernel may still write to buffers. All operations are
    /// therefore cancelled and reaped first. If that does not complete in time, the memory is
    /// leaked, because freeing it would be unsound.
    fn drop(&mut self) {
        self.stop_datagrams();
        self.table.close_all();
        let deadline = Instant::now() + TEARDOWN_TIMEOUT;
        let mut completions = Vec::new();
        while !self.is_idle() && !self.table.kernel.is_broken() && Instant::now() < deadline {
            if self.table.kernel.enter(Some(Duration::from_millis(20))).is_err() {
                break;
            }
            self.reap(&mut completions);
            for completion in completions.drain(..) {
                if let Completion::Accepted { slot, .. } = completion {
                    self.close(slot);
                }
            }
        }
        if !self.is_idle() {
            tracing::error!(
                open = self.table.stats.open,
                "operations of a ring did not end in time; its memory is leaked"
            );
            self.table.kernel.leak();
            self.datagrams.iter_mut().for_each(|datagrams| datagrams.leak());
            for descriptor in self.table.take_descriptors() {
                // SAFETY: the table has given up the descriptor, which is open, because no close
                // was submitted for it. Operations in flight hold their own reference to the file.
                drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
            }
        }
    }
}

#[cfg(test)]
mod tests;
