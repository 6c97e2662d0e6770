//! HTTP requests as a handler sees them.

use crate::api::id::ConnectionId;
use ringway_io::Slot;
use std::fmt;
use std::net::SocketAddr;
use std::ops::Deref;

/// Finds the address of a slot's peer: the part of the driver that handlers may use.
pub(crate) trait PeerAddress {
    fn peer_address(&self, slot: Slot) -> Option<SocketAddr>;
}

/// An HTTP request: one that asks for a WebSocket, or a plain one on the same port.
///
/// Method, target, headers, cookies, origin and offered subprotocols are read through the request of
/// [`ringway_codec`] that it derefs to.
pub struct Request<'a> {
    pub(crate) head: &'a ringway_codec::Request<'a>,
    pub(crate) id: ConnectionId,
    pub(crate) peers: &'a dyn PeerAddress,
}

impl Request<'_> {
    /// The connection it came on.
    #[must_use]
    pub fn id(&self) -> ConnectionId {
        self.id
    }

    /// The peer's address; `None` when the connection is gone already. Costs one `getpeername(2)`.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.peers.peer_address(self.id.0)
    }
}

impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("head", self.head).field("id", &self.id).finish_non_exhaustive()
    }
}

impl<'a> Deref for Request<'a> {
    type Target = ringway_codec::Request<'a>;

    fn deref(&self) -> &Self::Target {
        self.head
    }
}
