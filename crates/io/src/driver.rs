//! The interface between the engine and the kernel: the trait [`Driver`] and its completions.

use crate::{
    Address, Buffer, ConnectOptions, Datagram, DatagramSocket, Detached, Listener, Output, PeerCredentials, Slot,
    TcpInfo, Waker,
};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// The sockets of one core.
///
/// [`Completion::Accepted`] and [`Driver::reserve`] give the caller a slot, which belongs to the
/// caller until [`Driver::close`]. After that call, no [`Driver::wait`] returns a completion for
/// it, and its index is reused when no operation of the slot is in flight any more. Calls for a
/// closed slot are ignored.
pub trait Driver {
    /// Accepts connections on `listener` from the next [`Driver::wait`] on.
    /// [`Completion::Accepted`] names the listener by the number of this call, from 0.
    fn listen(&mut self, listener: Listener);

    /// Stops accepting until [`Driver::resume_accepting`]. Connections wait in the queues of the
    /// listeners meanwhile; those that the kernel has already accepted are still reported.
    fn pause_accepting(&mut self);

    /// Accepts again from the next [`Driver::wait`] on.
    fn resume_accepting(&mut self);

    /// Closes all listeners. Open connections stay open, and connections that the kernel has
    /// already accepted are still reported. Connections that wait in the queue of a listener are
    /// reset, unless another process has the same socket.
    fn stop_listening(&mut self);

    /// Closes all listeners without a reset: each accept is cancelled, the connections that wait in
    /// the queue of its listener are accepted until it is empty (EAGAIN), and then the listener is
    /// closed. One turn accepts up to 64 of them. Each is reported as [`Completion::Accepted`].
    ///
    /// While no slot or descriptor is free, the queue waits; [`Driver::stop_listening`] ends the
    /// wait. A listener of [`Listener::inherit`] is closed at once, because its queue belongs to the
    /// process that has passed it on. A connection that arrives between the last accept and the
    /// close is reset.
    fn drain_listeners(&mut self);

    /// Whether a listener is open, or a connection may be accepted that was not reported yet. After
    /// [`Driver::stop_listening`] that is so until the accepts in flight have ended.
    fn has_listeners(&self) -> bool;

    /// Duplicates of the listeners that accept connections, with their numbers, to pass them to
    /// another process.
    ///
    /// # Errors
    /// When a descriptor cannot be duplicated; `Unsupported` in a simulation.
    fn duplicate_listeners(&self) -> io::Result<Vec<(usize, Listener)>>;

    /// Receives datagrams on a socket from the next [`Driver::wait`] on, each with
    /// [`Completion::Datagram`], which names the socket by the number of this call, from 0.
    ///
    /// # Errors
    /// When the kernel refuses it; `Unsupported` for a driver without datagrams.
    fn open_datagrams(&mut self, socket: DatagramSocket) -> io::Result<()> {
        drop(socket);
        Err(io::Error::new(io::ErrorKind::Unsupported, "this driver has no datagrams"))
    }

    /// Sends a datagram on its socket, from its local address. UDP is not reliable: a datagram that
    /// the kernel does not take at once is dropped, and counted in [`Stats::datagrams_unsent`]. When
    /// [`Driver::has_datagrams`] is false after [`Driver::stop_datagrams`], nothing is sent any more.
    ///
    /// Any number can be in flight. Their payloads are dropped when they are sent.
    fn send_datagram(&mut self, datagram: Datagram) {
        drop(datagram);
    }

    /// Receives no further datagrams, and closes the sockets when none is in flight. Datagrams that
    /// the kernel has already put into a buffer are still reported, and can be answered in the turn in
    /// which they are reported; those in the queue of a socket are left to another process that has it.
    fn stop_datagrams(&mut self) {}

    /// Whether a socket for datagrams receives, or has sends in flight.
    fn has_datagrams(&self) -> bool {
        false
    }

    /// Duplicates of the sockets for datagrams, to pass them to another process.
    ///
    /// # Errors
    /// When a descriptor cannot be duplicated.
    fn duplicate_datagrams(&self) -> io::Result<Vec<DatagramSocket>> {
        Ok(Vec::new())
    }

    /// Reserves a slot for an outgoing connection; `None` when the limit of connections is reached.
    fn reserve(&mut self) -> Option<Slot>;

    /// Takes an accepted connection out of this driver, so that another one can
    /// [`adopt`](Driver::adopt) it; `None` for a closed slot. The slot is free afterwards, as after
    /// [`Driver::close`]. Bytes that the peer has sent stay in the socket. Costs no system call.
    ///
    /// # Panics
    /// When something was requested on the slot since it was accepted, or the slot was not accepted.
    fn detach(&mut self, slot: Slot) -> Option<Detached>;

    /// Takes over a connection that another driver has [detached](Driver::detach), also one of
    /// another kind. It has a slot from now on, and is in the state of a connection that was
    /// reported with [`Completion::Accepted`], which is not reported for it, and not counted in
    /// [`Stats::accepted`]. The limit of connections may be exceeded by it, and accepting pauses then.
    ///
    /// Costs one `ioctl(2)` when the drivers are of different kinds, and otherwise no system call.
    ///
    /// # Panics
    /// When the connection is one of a simulation and this driver is not, or the reverse.
    fn adopt(&mut self, detached: Detached) -> Slot;

    /// Connects a reserved slot. Completes with [`Completion::Connected`], or with
    /// [`Completion::Ended`] and its cause. A slot is connected only once.
    ///
    /// # Panics
    /// When the slot was accepted, or was connected before.
    fn connect(&mut self, slot: Slot, peer: impl Into<Address>) {
        self.connect_with(slot, peer, &ConnectOptions::default());
    }

    /// As [`Driver::connect`], with options. A source address that cannot be used ends the slot
    /// with [`Cause::Unconnected`], whose inner error is a [`SourceError`](crate::SourceError).
    ///
    /// # Panics
    /// As [`Driver::connect`].
    fn connect_with(&mut self, slot: Slot, peer: impl Into<Address>, options: &ConnectOptions);

    /// Receives on the slot until [`Driver::pause`]: each time bytes arrive,
    /// [`Completion::Received`]. On a slot that is not connected yet, receiving begins with the
    /// connection.
    fn receive(&mut self, slot: Slot);

    /// Stops receiving. Bytes that the kernel has already put into a buffer are still reported.
    fn pause(&mut self, slot: Slot);

    /// Sends all of `output`, and returns it with [`Completion::Sent`].
    ///
    /// A send that fails because the peer is gone completes when the bytes that arrived before that were
    /// received, unless the slot is paused or all buffers are in use.
    ///
    /// Sending still works after [`Completion::Ended`] with [`Cause::Finished`]. After any other
    /// cause nothing is written, and no further `Ended` is reported.
    ///
    /// # Panics
    /// When a send is in flight on the slot, because bytes of two sends could interleave. When the
    /// slot is not connected, or its sending direction has ended.
    fn send(&mut self, slot: Slot, output: Output);

    /// Ends the sending direction (FIN); receiving continues.
    ///
    /// With a send in flight, FIN follows when all of its bytes are written. After a short send the
    /// rest can still be sent, and FIN follows the rest. Nothing else may be sent after this call.
    /// On a slot that is not connected yet, FIN follows when the connection is established. A
    /// second call does nothing.
    fn finish(&mut self, slot: Slot);

    /// Closes the slot. An output in flight is returned with [`Completion::Released`] after its
    /// completion; a part of it may not be sent.
    ///
    /// Completions that an earlier [`Driver::wait`] has returned may still name the slot; the
    /// caller has to skip them.
    fn close(&mut self, slot: Slot);

    /// The address of the slot's peer; `None` when the connection is gone, or is one of a Unix
    /// socket, whose clients have no address. Costs one `getpeername(2)`.
    fn peer_address(&self, slot: Slot) -> Option<SocketAddr>;

    /// The address of this end of the slot's connection; `None` when the connection is gone, or is
    /// one of a Unix socket. Costs one `getsockname(2)`.
    fn local_address(&self, slot: Slot) -> Option<SocketAddr>;

    /// The process at the other end of a Unix socket; `None` for TCP, or when the connection is
    /// gone or not established yet. Costs one `getsockopt(2)` with `SO_PEERCRED`.
    fn peer_credentials(&self, slot: Slot) -> Option<PeerCredentials>;

    /// The number of bytes sent on this slot that the peer's kernel has acknowledged, from the
    /// start of the connection on; `None` when the connection is gone or not established yet.
    ///
    /// The count never decreases. It grows while a slow peer reads, also during a send whose
    /// [`Completion::Sent`] takes minutes: a receiver that does not read fills its socket buffer,
    /// and acknowledges no more until it reads. Compare two values; the absolute number is not
    /// exact, because TCP also counts the SYN and the FIN.
    ///
    /// The receive buffer of a Unix socket is the queue of what its peer has sent, so bytes are
    /// acknowledged when they are queued. The value is then a number of sends and not of bytes; it
    /// grows with each send that queues some of its bytes, and, while a send waits for room, each
    /// time the peer has read a buffer of the kernel completely (at most some 50 KB).
    ///
    /// Costs one `getsockopt(2)` with `TCP_INFO` (`tcpi_bytes_acked`, since Linux 4.1), or one
    /// `ioctl(2)` with `SIOCOUTQ` while a send on a Unix socket is in flight.
    fn acknowledged(&self, slot: Slot) -> Option<u64>;

    /// The round-trip time and the retransmits of the slot's connection; `None` when it is gone,
    /// not established yet, or one of a Unix socket. Costs one `getsockopt(2)` with `TCP_INFO`.
    fn tcp_info(&self, slot: Slot) -> Option<TcpInfo>;

    /// The number of bytes that the kernel has received on this slot and has not put into a receive
    /// buffer yet; 0 when the connection is gone.
    ///
    /// A completion that [`Driver::wait`] has not returned yet may hold further bytes: see
    /// [`Driver::has_backlog`].
    ///
    /// Costs one `ioctl(2)` with `FIONREAD` (`SIOCINQ`, tcp(7)).
    fn unread(&self, slot: Slot) -> usize;

    /// Whether the last [`Driver::wait`] may have left received bytes behind: completions that did
    /// not fit into the turn, or connections whose receive has ended and is not armed again yet,
    /// for example for want of a buffer.
    ///
    /// `false` means that the last `wait` has returned every completion that the kernel had, and
    /// that a receive is armed on every connection that receives, apart from those where
    /// [`Driver::receive`] was called after that `wait`.
    ///
    /// Costs no system call.
    fn has_backlog(&self) -> bool;

    /// A handle that wakes this driver from another thread.
    fn waker(&self) -> Waker;

    /// Submits the requested operations without a wait, so that they proceed while the caller is
    /// busy. Their completions are returned by the next [`Driver::wait`]. A driver that carries out
    /// operations when they are requested does nothing.
    ///
    /// # Errors
    /// As [`Driver::wait`].
    fn submit(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Submits the requested operations, waits until one completes, and appends the completions to
    /// `completions`.
    ///
    /// Returns after `timeout` at the latest; without one, it waits without limit. It may return
    /// without a completion. One call appends a bounded number of completions; the others follow
    /// with the next call.
    ///
    /// # Errors
    /// Only when the driver is unusable; interruptions, full queues and timeouts are handled
    /// internally. Every further call fails with the same error, and the driver can only be
    /// dropped.
    fn wait(&mut self, timeout: Option<Duration>, completions: &mut Vec<Completion>) -> io::Result<()>;

    /// The number of receive buffers that no caller holds: those lent to the kernel are free. Costs
    /// no system call.
    fn free_buffers(&self) -> usize;

    /// The counters of this driver.
    fn stats(&self) -> &Stats;
}

/// An event on a connection, or on the driver itself.
///
/// The enum is exhaustive: every kind has to be handled, because ignoring a completion loses bytes
/// or a connection.
#[derive(Debug)]
pub enum Completion {
    /// A connection was accepted. Nothing is received on it before [`Driver::receive`].
    Accepted {
        /// The new connection.
        slot: Slot,
        /// The number of its listener, from 0 in the order of the calls of [`Driver::listen`].
        listener: usize,
    },
    /// An outgoing connection is established.
    Connected {
        /// The connection.
        slot: Slot,
    },
    /// Bytes were received.
    Received {
        /// The connection.
        slot: Slot,
        /// The bytes, at least one.
        buffer: Buffer,
    },
    /// A send has completed.
    Sent {
        /// The connection.
        slot: Slot,
        /// The output that was passed to [`Driver::send`].
        output: Output,
        /// The number of bytes that were written. When it is less than the length of the output,
        /// the rest has to be sent again, unless [`Completion::Ended`] follows.
        written: usize,
    },
    /// The output of a slot that was closed while its send was in flight. The kernel no longer uses
    /// it.
    Released {
        /// The output that was passed to [`Driver::send`].
        output: Output,
    },
    /// Nothing more is received. The slot stays in use until [`Driver::close`].
    ///
    /// Reported once, or twice: after [`Cause::Finished`] sending still works, and when a send
    /// fails later, `Ended` is reported again with that cause. After any other cause, only the
    /// [`Completion::Sent`] of a send in flight follows.
    Ended {
        /// The connection.
        slot: Slot,
        /// The cause.
        cause: Cause,
    },
    /// A datagram was received. It is boxed, because it would more than double the size of the
    /// completions of connections.
    Datagram(Box<Datagram>),
    /// [`Waker::wake`] was called.
    Woken,
}

/// How long a thread polls for events in user space before it sleeps in the kernel.
///
/// Polling trades CPU time for latency where events follow each other closely: on a virtual
/// machine, a round trip with one connection takes about a third of the time. A thread that polls
/// keeps its core busy.
///
/// ```
/// use ringway_io::BusyPoll;
/// use std::time::Duration;
///
/// assert_eq!(BusyPoll::default(), BusyPoll::Adaptive);
/// let longest = BusyPoll::Fixed(Duration::from_micros(200));
/// # let _ = longest;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum BusyPoll {
    /// No polling.
    Off,
    /// Up to 50 µs, while recent sleeps were that short and polling has avoided some of them. An
    /// idle thread does not poll, nor does a thread whose peers run on its core.
    #[default]
    Adaptive,
    /// This long before each sleep, and again at the end of a wait with a timeout, so that what is
    /// due then is not late by the time to wake the thread.
    Fixed(Duration),
}

/// Why nothing more is received on a connection.
///
/// The enum is exhaustive: the cause decides how a connection is closed, and whether it can still
/// send. Errors that need no distinction are [`Cause::Failed`].
#[derive(Debug)]
pub enum Cause {
    /// The peer has ended its sending direction (FIN).
    Finished,
    /// The peer has aborted the connection (RST), or a send failed because the connection was gone.
    Reset,
    /// The connection could not be established. The inner error is a
    /// [`SourceError`](crate::SourceError) when its source address could not be used.
    Unconnected(io::Error),
    /// Any other error of the kernel.
    Failed(io::Error),
}

/// Counters of one driver since its start.
///
/// ```
/// use ringway_io::{Driver, Stats};
///
/// /// Whether a driver needs more receive buffers.
/// fn is_short_of_buffers(driver: &impl Driver) -> bool {
///     let Stats { starved, turns, .. } = *driver.stats();
///     starved > turns / 100
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Slots in use, including those that are closing.
    pub open: u64,
    /// Connections accepted.
    pub accepted: u64,
    /// Calls of [`Driver::wait`].
    pub turns: u64,
    /// Completions that the kernel reported.
    pub completions: u64,
    /// Completions that were dropped because their slot was closed, or had ended, before. This is
    /// normal. Completions of operations that closing has cancelled are not counted.
    pub stale: u64,
    /// How often a receive ended because no buffer was available (ENOBUFS).
    pub starved: u64,
    /// How often the completion queue was full, which ends multishot requests.
    pub overflows: u64,
    /// Sends that wrote fewer bytes than they were given.
    pub short_sends: u64,
    /// How often accepting paused because no descriptor, or no slot, was left.
    pub accept_pauses: u64,
    /// Datagrams received.
    pub datagrams_received: u64,
    /// Datagrams that the kernel has taken.
    pub datagrams_sent: u64,
    /// Datagrams that the kernel has not taken: its buffer was full, or it has refused them.
    pub datagrams_unsent: u64,
    /// The time for which the thread polled before a sleep, or after it until the end of a wait
    /// ([`BusyPoll`]), up to the last [`Driver::wait`]. A clock of wall time: if the thread was
    /// preempted during a poll, the poll counts up to the limit of the policy.
    pub polled: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn moves each completion several times, so its size is part of the cost of a message.
    #[test]
    fn a_completion_has_48_bytes() {
        assert_eq!(size_of::<Completion>(), 48);
    }
}
