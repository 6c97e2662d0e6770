//! An accepted connection on its way from one driver to another.

#[cfg(any(test, feature = "sim"))]
use crate::sim::SimEnd;
use socket2::Type;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};

/// An accepted connection that belongs to no driver: [`Driver::detach`](crate::Driver::detach)
/// returns it, and [`Driver::adopt`](crate::Driver::adopt) of another driver, in another thread as a
/// rule, takes it over. Dropping it closes the connection.
///
/// ```
/// use ringway_io::epoll::{Epoll, EpollConfig};
/// use ringway_io::{Completion, Detached, Driver, Listener};
///
/// let mut accepting = Epoll::new(EpollConfig::default())?;
/// let listener = Listener::bind("127.0.0.1:0".parse()?)?;
/// let client = std::net::TcpStream::connect(listener.address().tcp().expect("TCP"))?;
/// accepting.listen(listener);
/// let mut completions = Vec::new();
/// let detached: Detached = loop {
///     accepting.wait(None, &mut completions)?;
///     if let Some(Completion::Accepted { slot, .. }) = completions.pop() {
///         break accepting.detach(slot).expect("the slot is open");
///     }
/// };
/// let mut serving = Epoll::new(EpollConfig::default())?;
/// let slot = serving.adopt(detached);
/// assert_eq!(serving.peer_address(slot), Some(client.local_addr()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Detached {
    pub(crate) socket: DetachedSocket,
    /// It is a connection of a Unix socket.
    pub(crate) unix: bool,
}

/// The descriptor of a [`Detached`] connection.
pub(crate) enum DetachedSocket {
    Open {
        descriptor: OwnedFd,
        /// A stream, possibly non-blocking.
        kind: Type,
    },
    #[cfg(any(test, feature = "sim"))]
    Simulated(SimEnd),
}

impl fmt::Debug for Detached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let descriptor = match &self.socket {
            DetachedSocket::Open { descriptor, .. } => Some(descriptor.as_raw_fd()),
            #[cfg(any(test, feature = "sim"))]
            DetachedSocket::Simulated(_) => None,
        };
        f.debug_struct("Detached").field("descriptor", &descriptor).field("unix", &self.unix).finish()
    }
}
