//! An accepted connection on its way from one driver to another.

#[cfg(any(test, feature = "sim"))]
use crate::sim::SimEnd;
use socket2::{Domain, SockRef, Type};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::{fmt, io};

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

impl Detached {
    /// A connection that this process has accepted without a driver: a connected socket of TCP or of
    /// a Unix stream. It gets the options that accepted sockets have: blocking mode and `TCP_NODELAY`.
    ///
    /// ```
    /// use ringway_io::Detached;
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (ours, _theirs) = UnixStream::pair()?;
    /// let detached = Detached::from_socket(ours)?;
    /// # let _ = detached;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// `InvalidInput` for a descriptor that is not a stream socket, and the errors of setsockopt(2)
    /// and ioctl(2).
    pub fn from_socket(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let descriptor = socket.into();
        let own = SockRef::from(&descriptor);
        let not_a_stream = || io::Error::new(io::ErrorKind::InvalidInput, "the descriptor is not a stream socket");
        if own.r#type().map_err(|_| not_a_stream())? != Type::STREAM {
            return Err(not_a_stream());
        }
        let unix = own.local_addr()?.domain() == Domain::UNIX;
        if !unix {
            own.set_tcp_nodelay(true)?;
        }
        rustix::io::ioctl_fionbio(descriptor.as_fd(), false)?;
        Ok(Self { socket: DetachedSocket::Open { descriptor, kind: Type::STREAM }, unix })
    }
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
