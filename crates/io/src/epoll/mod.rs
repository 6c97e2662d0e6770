//! The driver on epoll(7), for machines where io_uring is refused.
//!
//! It performs the requests of the `SlotTable` with non-blocking system calls, and reports their
//! results as completions. A connection is registered once, edge-triggered, for both directions.
//! A send is tried when it is submitted. A receive is tried when its connection is readable, into a
//! buffer that is taken from the pool for it, so an idle connection has no buffer.
//!
//! The work of a turn is bounded: by `BUDGET` completions, by the buffers of the working set,
//! which bounds the bytes that are received, and by one receive of each connection.

mod accepting;
pub(crate) mod datagrams;
mod interest;
pub(crate) mod poller;
pub(crate) mod sends;
pub(crate) mod set;
mod sleep;
pub(crate) mod transfer;
pub(crate) mod transfers;

use crate::option::check_range;
use crate::table::{BUDGET, SlotTable, forward};
use crate::{BufferConfig, BusyPoll, Completion, Driver, OptionError, Pool, Waker};
use poller::Poller;
use set::EpollSet;
use std::io;
use std::time::Duration;
use thiserror::Error;
use transfers::Direct;

/// The maximum of [`EpollConfig::max_connections`]. The upper half of the slot indices identifies
/// no connection.
const MAX_CONNECTIONS: u32 = 1 << 30;

/// The configuration of an [`Epoll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpollConfig {
    /// The receive buffers.
    pub buffers: BufferConfig,
    /// How many connections may be open at once, 1 to 2³⁰. At the limit, accepting pauses. Default
    /// 1,048,576.
    pub max_connections: u32,
    /// How long to call epoll_wait(2) with a timeout of zero before sleeping. Default: adaptive.
    pub busy_poll: BusyPoll,
}

impl Default for EpollConfig {
    fn default() -> Self {
        Self { buffers: BufferConfig::default(), max_connections: 1 << 20, busy_poll: BusyPoll::default() }
    }
}

impl EpollConfig {
    /// Checks all numbers.
    ///
    /// # Errors
    /// An [`OptionError`] for the first one that is out of range.
    pub fn check(&self) -> Result<(), OptionError> {
        check_range("max_connections", self.max_connections, 1..=MAX_CONNECTIONS, "1 to 1073741824")?;
        self.buffers.check()
    }
}

/// Why an [`Epoll`] could not be made.
///
/// The enum is exhaustive: the caller reports the two causes in different ways, and there is no
/// third one.
#[derive(Debug, Error)]
pub enum EpollError {
    /// An option of the configuration is out of its range.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// The system refuses a descriptor: of the epoll set, or of the waker.
    #[error("cannot open an epoll set: {0}; raise the limit of open files (`ulimit -n`)")]
    Refused(io::Error),
}

/// A driver on epoll, for the thread that made it.
///
/// ```
/// use ringway_io::epoll::{Epoll, EpollConfig};
/// use ringway_io::{Chunk, Completion, Driver, Listener, Output};
/// use std::io::{Read, Write};
///
/// let listener = Listener::bind("127.0.0.1:0".parse()?)?;
/// let mut client = std::net::TcpStream::connect(listener.address().tcp().expect("TCP"))?;
/// client.write_all(b"hello")?;
///
/// let mut driver = Epoll::new(EpollConfig::default())?;
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
pub struct Epoll {
    table: SlotTable<Poller<Direct>>,
}

impl Epoll {
    /// A driver for the calling thread, whose timer slack (prctl(2)) it assumes to stay as it is.
    /// Takes two descriptors.
    ///
    /// # Errors
    /// [`EpollError::Option`] for a number of `config` that is out of its range,
    /// [`EpollError::Refused`] when no descriptor is left.
    pub fn new(config: EpollConfig) -> Result<Self, EpollError> {
        config.check()?;
        let pool = Pool::new(&config.buffers)?;
        let poller = EpollSet::new(config.busy_poll)
            .and_then(|set| Poller::new(pool, set, Direct::new()))
            .map_err(EpollError::Refused)?;
        Ok(Self { table: SlotTable::new(poller, &config.buffers, config.max_connections) })
    }

    /// The pool of its receive buffers.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.table.kernel.pool
    }
}

impl Driver for Epoll {
    forward!(requests);
    forward!(accepting);
    forward!(queries);
    forward!(datagrams);

    fn waker(&self) -> Waker {
        self.table.kernel.waker.clone()
    }

    /// As [`Driver::wait`]. Before Linux 5.11, a timeout is rounded up to a millisecond.
    fn wait(&mut self, mut timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()> {
        self.table.kernel.set.check()?;
        self.table.begin_turn(&mut timeout, completions);
        self.table.kernel.enter(timeout)?;
        self.table.stats.polled = self.table.kernel.set.polled();
        for _ in 0..BUDGET {
            let Some(completed) = self.table.kernel.next() else { break };
            let (user_data, result) = (completed.user_data, completed.result);
            self.table.complete(user_data, result, completed.more, completed.buffer, completions);
        }
        self.table.receive_datagrams(completions);
        self.table.end_turn();
        Ok(())
    }

    fn free_buffers(&self) -> usize {
        self.table.kernel.pool.unguarded()
    }
}

impl Drop for Epoll {
    /// Closes all slots. No operation outlives its system call, so nothing has to be waited for.
    fn drop(&mut self) {
        self.table.close_all();
        let mut completions = Vec::new();
        while let Some(completed) = self.table.kernel.take_completed() {
            let (user_data, result) = (completed.user_data, completed.result);
            self.table.complete(user_data, result, completed.more, completed.buffer, &mut completions);
        }
        debug_assert_eq!(self.table.stats.open, 0, "every close completes at once");
    }
}

#[cfg(test)]
mod tests;
