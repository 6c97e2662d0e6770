//! The seam between the engine and the kernel.

use crate::{Buffer, Listener, Output, Slot, Waker};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The sockets of one core.
///
/// A slot is given out by [`Completion::Accepted`] or [`Driver::reserve`] and belongs to the caller until
/// [`Driver::close`]; after that call no completion bears it any more, and its index is used again once the kernel has
/// let go of it. Calls for a slot that is closed already are ignored.
pub trait Driver {
    /// Accepts connections on `listener` from the next [`Driver::wait`] on.
    fn listen(&mut self, listener: Listener);

    /// Closes all listeners. Connections that are open stay so.
    fn stop_listening(&mut self);

    /// Takes a slot for an outgoing connection; `None` when the driver has as many as it may.
    fn reserve(&mut self) -> Option<Slot>;

    /// Connects a reserved slot: [`Completion::Connected`], or [`Completion::Ended`] with the cause.
    fn connect(&mut self, slot: Slot, peer: SocketAddr);

    /// Receives on the slot until [`Driver::pause`]: [`Completion::Received`] each time bytes have come.
    fn receive(&mut self, slot: Slot);

    /// Stops receiving. What the kernel had received by then is still reported.
    fn pause(&mut self, slot: Slot);

    /// Sends all of `output`, and hands it back with [`Completion::Sent`].
    ///
    /// # Panics
    /// When the slot still has a send in flight: bytes of two sends could mix.
    fn send(&mut self, slot: Slot, output: Output);

    /// Ends the sending direction (FIN) after what was sent; receiving goes on.
    fn finish(&mut self, slot: Slot);

    /// Closes the slot. An output in flight is dropped once the kernel has let go of it.
    fn close(&mut self, slot: Slot);

    /// The address of the slot's peer; `None` when the connection is gone. Costs one `getpeername(2)`.
    fn peer_address(&self, slot: Slot) -> Option<SocketAddr>;

    /// What wakes this driver from another thread.
    fn waker(&self) -> Waker;

    /// Submits all that was asked for, waits until something has completed, and appends what has to `completions`.
    ///
    /// With a `timeout` it returns by then at the latest; without one it waits as long as it takes. It may return
    /// with nothing. One call appends a bounded number of completions; what is left comes with the next.
    ///
    /// # Errors
    /// Only when the driver is broken: what is normal (interruption, a full queue, a timeout) is handled inside.
    fn wait(&mut self, timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// What has been counted so far.
    fn stats(&self) -> &Stats;
}

/// What has come true.
#[derive(Debug)]
pub enum Completion {
    /// A connection has come in. Nothing is received on it before [`Driver::receive`].
    Accepted {
        /// The new connection.
        slot: Slot,
    },
    /// An outgoing connection stands.
    Connected {
        /// The connection.
        slot: Slot,
    },
    /// Bytes have come.
    Received {
        /// The connection.
        slot: Slot,
        /// The bytes, never none.
        buffer: Buffer,
    },
    /// A send is over, and this is its output.
    Sent {
        /// The connection.
        slot: Slot,
        /// What was handed to [`Driver::send`].
        output: Output,
        /// How many of its bytes the kernel took. Fewer than all: the rest must be sent again, unless
        /// [`Completion::Ended`] follows.
        written: usize,
    },
    /// Nothing more will be received, for this cause; the slot waits for [`Driver::close`]. After
    /// [`Cause::Finished`] sending still works. Comes once at most.
    Ended {
        /// The connection.
        slot: Slot,
        /// Why.
        cause: Cause,
    },
    /// [`Waker::wake`] was called.
    Woken,
}

/// Why a connection receives nothing more.
#[derive(Debug)]
pub enum Cause {
    /// The peer has ended its sending direction (FIN).
    Finished,
    /// The peer has aborted the connection (RST), or sending found it gone.
    Reset,
    /// The connection could not be made.
    Unconnected(io::Error),
    /// The kernel reports anything else.
    Failed(io::Error),
}

/// Counters of one driver, from its start on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Slots that are in use, those that are closing included.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Calls of [`Driver::wait`].
    pub turns: u64,
    /// Completions that the kernel reported.
    pub completions: u64,
    /// Completions for a slot that was closed by then: normal, and dropped.
    pub stale: u64,
    /// Times that the kernel found no receive buffer.
    pub starved: u64,
    /// Times that the completion queue was full and multishot requests ended.
    pub overflows: u64,
    /// Sends that took fewer bytes than they were given.
    pub short_sends: u64,
    /// Times that accepting stopped because the process had no descriptor, or the driver no slot, left.
    pub accept_pauses: u64,
}
