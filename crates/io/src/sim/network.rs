//! The other side: what a test plays the peers with.

use super::connection::SimConnection;
use super::kernel::{Reception, SimKernel};
use super::{Faults, Injected};
use crate::Pool;
use std::cell::{Ref, RefCell, RefMut};
use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;

/// The network that a [`Sim`](super::Sim) is connected to, and the view of its kernel from outside.
/// Cloning is cheap and gives another handle on the same network.
///
/// Nothing happens here by itself: what a peer does is there at once, and the driver learns of it
/// with its next turns.
#[derive(Clone)]
pub struct Network(pub(super) Rc<RefCell<SimKernel>>);

impl Network {
    /// A connection to the driver's listener. When nobody listens it is refused:
    /// [`Peer::is_reset`].
    #[must_use]
    pub fn connect(&self) -> Peer {
        let connection = self.0.borrow_mut().connect_peer();
        Peer { network: self.clone(), connection }
    }

    /// The peer of the oldest connection that the driver has made and that was not taken yet.
    #[must_use]
    pub fn accept(&self) -> Option<Peer> {
        let connection = self.0.borrow_mut().outgoing.pop_front()?;
        Some(Peer { network: self.clone(), connection })
    }

    /// What becomes of the connections that the driver makes from now on, and of those in the
    /// making.
    pub fn set_reception(&self, reception: Reception) {
        self.0.borrow_mut().reception = reception;
    }

    /// How many bytes a peer that does not read takes before the driver's sends stall, for
    /// connections from now on. Default 256 KiB.
    pub fn set_window(&self, bytes: usize) {
        self.0.borrow_mut().window = bytes;
    }

    /// How many descriptors the driver's process may have open: beyond it accepting fails with
    /// EMFILE. Without limit at first.
    pub fn set_descriptor_limit(&self, limit: usize) {
        self.0.borrow_mut().descriptor_limit = limit;
    }

    /// Changes the faults from now on; [`Faults::none`] lets a test come to a clean end.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Whether no turn will bring anything more, unless a peer or the driver's user does something
    /// first. Operations that are late count as something to come; spurious wakes and stale
    /// completions, of which there is no end, do not.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.borrow().is_idle()
    }

    /// How many slots the driver has in use, those that are closing included.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.0.borrow().status.open
    }

    /// How many operations of connections the kernel has not given back: 0 when everything is
    /// closed and idle.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.0.borrow().in_flight()
    }

    /// The driver's receive buffers.
    #[must_use]
    pub fn pool(&self) -> Pool {
        self.0.borrow().pool().clone()
    }

    /// How often each fault has struck so far.
    #[must_use]
    pub fn injected(&self) -> Injected {
        self.0.borrow().injected
    }

    /// The seed that makes this run happen again.
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

/// One peer of the driver: the far end of a connection. Cloning gives another handle on the same
/// peer; dropping the handles does nothing to the connection.
#[derive(Clone, Debug)]
pub struct Peer {
    network: Network,
    connection: usize,
}

impl Peer {
    fn connection(&self) -> Ref<'_, SimConnection> {
        Ref::map(self.network.0.borrow(), |kernel| &kernel.connections[self.connection])
    }

    fn connection_mut(&self) -> RefMut<'_, SimConnection> {
        RefMut::map(self.network.0.borrow_mut(), |kernel| &mut kernel.connections[self.connection])
    }

    /// Its address, as the driver sees it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.connection().address
    }

    /// Sends bytes to the driver. Any number is taken at once. On a connection that is gone they
    /// are lost.
    ///
    /// # Panics
    /// After [`Peer::finish`].
    pub fn write(&self, bytes: &[u8]) {
        let mut connection = self.connection_mut();
        assert!(!connection.inbound_finished, "a peer writes after its FIN");
        connection.write(bytes);
    }

    /// How many of the bytes that it has sent the driver has not received.
    #[must_use]
    pub fn unreceived(&self) -> usize {
        self.connection().inbound.len()
    }

    /// Takes all that has arrived, which makes room for more.
    #[must_use]
    pub fn read(&self) -> Vec<u8> {
        self.read_up_to(usize::MAX)
    }

    /// Takes what has arrived, this many bytes at most: a slow reader.
    #[must_use]
    pub fn read_up_to(&self, most: usize) -> Vec<u8> {
        let mut connection = self.connection_mut();
        let len = connection.outbound.len().min(most);
        connection.read += len as u64;
        connection.outbound.drain(..len).collect()
    }

    /// How many bytes may lie unread before the driver's sends stall; 0 stalls them at once.
    pub fn set_window(&self, bytes: usize) {
        self.connection_mut().window = bytes;
    }

    /// Ends its sending direction (FIN). It can go on reading.
    pub fn finish(&self) {
        self.connection_mut().inbound_finished = true;
    }

    /// Aborts the connection (RST).
    pub fn reset(&self) {
        self.connection_mut().abort(libc::ECONNRESET);
    }

    /// Whether the driver has ended its sending direction or closed in good order. What came before
    /// may be unread.
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
