//! The network of the simulation, and its peers.

use super::connection::{SharedConnection, SimConnection};
use super::kernel::{Reception, SimKernel};
use super::{DatagramFaults, Faults, Injected, InjectedDatagramFaults, SentDatagram};
use crate::Pool;
use std::cell::RefCell;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::MutexGuard;

/// The network that a [`Sim`](super::Sim) is connected to, with a view of its kernel. A clone is
/// another handle of the same network.
///
/// Actions of a peer take effect immediately, and the next turns of the driver report them.
#[derive(Clone)]
pub struct Network(pub(super) Rc<RefCell<SimKernel>>);

impl Network {
    /// Connects to the driver's listener. Without a listener the connection is refused:
    /// [`Peer::is_reset`].
    #[must_use]
    pub fn connect(&self) -> Peer {
        let connection = self.0.borrow_mut().connect_peer(None);
        self.peer(connection)
    }

    /// As [`Network::connect`], from this address; otherwise all peers have the same one.
    #[must_use]
    pub fn connect_from(&self, address: IpAddr) -> Peer {
        let connection = self.0.borrow_mut().connect_peer(Some(address));
        self.peer(connection)
    }

    /// The peer of the oldest outgoing connection of the driver that was not accepted yet.
    #[must_use]
    pub fn accept(&self) -> Option<Peer> {
        let connection = self.0.borrow_mut().outgoing.pop_front()?;
        Some(self.peer(connection))
    }

    fn peer(&self, connection: usize) -> Peer {
        Peer { connection: self.0.borrow().connections[connection].clone() }
    }

    /// Sets how outgoing connections of the driver are answered, including those in progress.
    pub fn set_reception(&self, reception: Reception) {
        self.0.borrow_mut().reception = reception;
    }

    /// Sets the number of unread bytes at which the driver's sends stall, for new connections.
    /// Default 256 KiB.
    pub fn set_window(&self, bytes: usize) {
        self.0.borrow_mut().window = bytes;
    }

    /// Declares source addresses to be none of this machine: connecting from one of them fails.
    /// Default: none.
    pub fn set_foreign(&self, addresses: impl IntoIterator<Item = IpAddr>) {
        self.0.borrow_mut().foreign = addresses.into_iter().collect();
    }

    /// Sets the limit of open descriptors, at which accepting fails with EMFILE. Default: no limit.
    pub fn set_descriptor_limit(&self, limit: usize) {
        self.0.borrow_mut().descriptor_limit = limit;
    }

    /// Sets the errno with which accepting fails at the limit of descriptors: EMFILE, which is the
    /// default, ENFILE, ENOBUFS or ENOMEM (accept(2)).
    pub fn set_descriptor_error(&self, errno: i32) {
        self.0.borrow_mut().descriptor_error = errno;
    }

    /// Changes the faults from now on. With [`Faults::none`], a test can end cleanly.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Sends a datagram to the socket with this number, from `peer` to `destination`, which is one of
    /// the addresses of the driver. A payload of at most 65,527 bytes.
    ///
    /// # Panics
    /// When the driver has opened no such socket.
    pub fn send_datagram(&self, socket: usize, peer: SocketAddr, destination: IpAddr, payload: &[u8]) {
        self.0.borrow_mut().arrive(socket, (peer, destination), payload);
    }

    /// The datagrams of the driver that have arrived at their peers since the last call.
    #[must_use]
    pub fn receive_datagrams(&self) -> Vec<SentDatagram> {
        self.0.borrow_mut().datagrams.take_delivered()
    }

    /// Changes the faults of datagrams from now on. Default: none.
    pub fn set_datagram_faults(&self, faults: DatagramFaults) {
        self.0.borrow_mut().datagrams.faults = faults;
    }

    /// How often each fault of datagrams has been injected so far.
    #[must_use]
    pub fn injected_datagram_faults(&self) -> InjectedDatagramFaults {
        self.0.borrow().datagrams.injected
    }

    /// The number of buffers that datagrams hold: those that the driver has reported and that were not
    /// dropped, and sends in flight.
    #[must_use]
    pub fn guarded_datagrams(&self) -> usize {
        self.0.borrow().datagrams.guarded()
    }

    /// Whether further turns have no effect until a peer or the driver's user acts. Late operations
    /// count as outstanding; spurious wakes and stale completions do not.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.borrow().is_idle()
    }

    /// The number of slots that the driver has in use, including those that are closing.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.borrow().status.open
    }

    /// The number of operations of connections in flight: 0 when everything is closed and idle.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.borrow().in_flight()
    }

    /// The driver's receive buffers.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.0.borrow().pool().clone()
    }

    /// How often each fault has been injected so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.0.borrow().injected
    }

    /// The seed that reproduces this run.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.0.borrow().seed()
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("seed", &self.seed()).finish_non_exhaustive()
    }
}

/// One peer of the driver: the remote end of a connection. A clone is another handle of the same
/// peer. Dropping handles does not affect the connection.
#[derive(Clone, Debug)]
pub struct Peer {
    connection: SharedConnection,
}

impl Peer {
    fn connection(&self) -> MutexGuard<'_, SimConnection> {
        self.connection.lock()
    }

    /// Its address, as the driver sees it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.connection().address
    }

    /// The source address that the driver has requested for an outgoing connection.
    #[must_use]
    pub fn source(&self) -> Option<IpAddr> {
        self.connection().source
    }

    /// Sends bytes to the driver. Any number is accepted at once. On a connection that is gone they
    /// are lost.
    ///
    /// # Panics
    /// After [`Peer::finish`].
    pub fn write(&self, bytes: &[u8]) {
        let mut connection = self.connection();
        assert!(!connection.inbound_finished, "a peer writes after its FIN");
        connection.write(bytes);
    }

    /// The number of bytes that it has sent and the driver has not received.
    #[must_use]
    pub fn unreceived(&self) -> usize {
        self.connection().inbound.len()
    }

    /// Reads all bytes that have arrived, which makes room for more.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        self.read_up_to(usize::MAX)
    }

    /// Reads at most this many bytes.
    #[must_use]
    pub fn read_up_to(&self, most: usize) -> Vec<u8> {
        let mut connection = self.connection();
        let len = connection.outbound.len().min(most);
        connection.read += len as u64;
        connection.outbound.drain(..len).collect()
    }

    /// Sets the number of unread bytes at which the driver's sends stall. With 0 they stall at
    /// once.
    pub fn set_window(&self, bytes: usize) {
        self.connection().window = bytes;
    }

    /// Ends its sending direction (FIN). It can still read.
    pub fn finish(&self) {
        self.connection().inbound_finished = true;
    }

    /// Aborts the connection (RST).
    pub fn reset(&self) {
        self.connection().abort(libc::ECONNRESET);
    }

    /// Whether the driver has ended its sending direction, or closed without RST. Earlier bytes may
    /// be unread.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.connection().outbound_finished
    }

    /// Whether the connection was aborted: by the driver, by the network or by [`Peer::reset`].
    #[must_use]
    pub fn is_reset(&self) -> bool {
        self.connection().reset
    }
}
