//! The seam between the engine and the kernel.

use crate::{Buffer, Listener, Output, Slot, Waker};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The sockets of one core.
///
/// A slot is given out by [`Completion::Accepted`] or [`Driver::reserve`] and belongs to the caller
/// until [`Driver::close`]; after that call no [`Driver::wait`] hands out a completion that bears
/// it, and its index is used again once the kernel has let go of it. Calls for a slot that is
/// closed already are ignored.
pub trait Driver {
    /// Accepts connections on `listener` from the next [`Driver::wait`] on.
    fn listen(&mut self, listener: Listener);

    /// Closes all listeners. Connections that are open stay so; those that the kernel accepts
    /// meanwhile are still reported.
    fn stop_listening(&mut self);

    /// Takes a slot for an outgoing connection; `None` when the driver has as many as it may.
    fn reserve(&mut self) -> Option<Slot>;

    /// Connects a reserved slot: [`Completion::Connected`], or [`Completion::Ended`] with the
    /// cause. A slot has one attempt.
    ///
    /// # Panics
    /// When the slot was accepted, or was connected before.
    fn connect(&mut self, slot: Slot, peer: SocketAddr);

    /// Receives on the slot until [`Driver::pause`]: [`Completion::Received`] each time bytes have
    /// come. Asked for before the slot is connected, it begins then.
    fn receive(&mut self, slot: Slot);

    /// Stops receiving. What the kernel had received by then is still reported.
    fn pause(&mut self, slot: Slot);

    /// Sends all of `output`, and hands it back with [`Completion::Sent`].
    ///
    /// It works after [`Completion::Ended`] with [`Cause::Finished`]; after any other cause nothing
    /// is written, and no further `Ended` says so.
    ///
    /// # Panics
    /// When the slot still has a send in flight: bytes of two sends could mix. When the slot is not
    /// connected, or has ended its sending direction.
    fn send(&mut self, slot: Slot, output: Output);

    /// Ends the sending direction (FIN); receiving goes on.
    ///
    /// With a send in flight, FIN follows it, once all of it is written: when it comes back short,
    /// its rest can still be sent, and FIN follows that. Nothing else may be sent after this call.
    /// On a slot that is not connected yet, FIN follows the connection. A second call does nothing.
    fn finish(&mut self, slot: Slot);

    /// Closes the slot. An output in flight comes back with [`Completion::Released`] once the kernel
    /// no longer uses it; part of it may not be sent.
    ///
    /// Completions that [`Driver::wait`] has already handed out, in the same `Vec` as the one that
    /// led to this call, may still bear the slot: the caller has to pass over them.
    fn close(&mut self, slot: Slot);

    /// The address of the slot's peer; `None` when the connection is gone. Costs one
    /// `getpeername(2)`.
    fn peer_address(&self, slot: Slot) -> Option<SocketAddr>;

    /// The number of bytes sent on this slot that the peer's kernel has acknowledged, from the
    /// start of the connection on; `None` when the connection is gone or not established yet.
    ///
    /// The count never decreases. It grows while a slow peer reads, also during a send whose
    /// [`Completion::Sent`] takes minutes: a receiver that does not read fills its socket buffer,
    /// and acknowledges no more until it reads. Compare two values; the absolute number is not
    /// exact, because TCP also counts the SYN and the FIN.
    ///
    /// Costs one `getsockopt(2)` with `TCP_INFO` (`tcpi_bytes_acked`, since Linux 4.1).
    fn acknowledged(&self, slot: Slot) -> Option<u64>;

    /// The number of bytes that the kernel has received on this slot and has not put into a receive
    /// buffer yet; 0 when the connection is gone.
    ///
    /// A completion that [`Driver::wait`] has not handed out may hold further bytes: see
    /// [`Driver::has_backlog`].
    ///
    /// Costs one `ioctl(2)` with `FIONREAD` (`SIOCINQ`, tcp(7)).
    fn unread(&self, slot: Slot) -> usize;

    /// Whether the last [`Driver::wait`] may have left received bytes behind: completions that did
    /// not fit into the turn, or connections whose receive has ended and is not armed again yet,
    /// for example for want of a buffer.
    ///
    /// `false` means that every completion that the kernel had by the end of the last `wait` was
    /// handed out, and that a receive is armed on every connection that wants bytes, apart from
    /// those asked for after that `wait`.
    ///
    /// Costs no system call.
    fn has_backlog(&self) -> bool;

    /// What wakes this driver from another thread.
    fn waker(&self) -> Waker;

    /// Submits all that was asked for, waits until something has completed, and appends what has to
    /// `completions`.
    ///
    /// With a `timeout` it returns by then at the latest; without one it waits as long as it takes.
    /// It may return with nothing. One call appends a bounded number of completions; what is left
    /// comes with the next.
    ///
    /// # Errors
    /// Only when the driver is broken: what is normal (interruption, a full queue, a timeout) is
    /// handled inside. Every further call fails with the same error; the driver can only be dropped
    /// then.
    fn wait(&mut self, timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// What has been counted so far.
    fn stats(&self) -> &Stats;
}

/// An event on a connection, or on the driver itself.
///
/// The enum is exhaustive: a user of a driver has to handle every kind, because a completion that
/// is passed over loses bytes, or a connection.
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
        /// How many of its bytes the kernel took. Fewer than all: the rest must be sent again,
        /// unless [`Completion::Ended`] follows.
        written: usize,
    },
    /// The output of a slot that was closed while its send was in flight. The kernel no longer
    /// uses it.
    Released {
        /// What was handed to [`Driver::send`].
        output: Output,
    },
    /// Nothing more will be received, for this cause; the slot waits for [`Driver::close`].
    ///
    /// Comes once, or twice: after [`Cause::Finished`] sending still works, and when it finds that
    /// the connection has broken since, that comes with the cause. After any other cause nothing
    /// comes but the [`Completion::Sent`] of a send in flight.
    Ended {
        /// The connection.
        slot: Slot,
        /// Why.
        cause: Cause,
    },
    /// [`Waker::wake`] was called.
    Woken,
}

/// How long a thread watches for events from user space before it sleeps in the kernel.
///
/// Polling trades CPU time for latency where events follow each other closely: on a virtual machine
/// a round trip with one connection takes about a third of the time. A thread that polls keeps its
/// core busy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusyPoll {
    /// Never: sleep at once.
    Off,
    /// Up to 50 µs, while recent sleeps were that short and polling has spared some of them. An
    /// idle thread does not poll, nor does one whose peers need its core.
    #[default]
    Adaptive,
    /// Always this long.
    Fixed(Duration),
}

/// Why a connection receives nothing more.
///
/// The enum is exhaustive: the cause decides how a connection is closed, and whether it can still
/// send. An error that the driver does not tell apart is [`Cause::Failed`].
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
#[non_exhaustive]
pub struct Stats {
    /// Slots that are in use, those that are closing included.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Calls of [`Driver::wait`].
    pub turns: u64,
    /// Completions that the kernel reported.
    pub completions: u64,
    /// Completions for a slot that was closed or had ended by then: normal, and dropped. Those that
    /// only say that closing has cancelled something do not count.
    pub stale: u64,
    /// Times that the kernel found no receive buffer.
    pub starved: u64,
    /// Times that the completion queue was full and multishot requests ended.
    pub overflows: u64,
    /// Sends that took fewer bytes than they were given.
    pub short_sends: u64,
    /// Times that accepting stopped because the process had no descriptor, or the driver no slot,
    /// left.
    pub accept_pauses: u64,
}
