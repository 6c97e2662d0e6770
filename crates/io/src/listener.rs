//! Listening sockets: one per driver on the same port, or one Unix socket that all drivers share.
//! The kernel distributes the connections.

use crate::unix::{self, SocketFile, UnixBindError, UnixSocket};
use crate::{Address, UnixAddress};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// The length of the queue of connections that are not accepted yet. The kernel caps it at sysctl
/// `net.core.somaxconn`.
pub(crate) const BACKLOG: i32 = 65_535;

/// The maximum time that accepting from a shared queue waits when another process has taken the
/// connection that poll(2) has shown. The socket may be a blocking one, and O_NONBLOCK would change
/// it for the other processes too. Accepted sockets inherit this timeout (`SO_RCVTIMEO`), which
/// neither io_uring nor a nonblocking socket observes.
const QUEUE_WAIT: Duration = Duration::from_millis(1);

/// Why an address cannot be listened on.
///
/// ```
/// use ringway_io::{BindError, Listener};
///
/// let first = Listener::bind("127.0.0.1:0".parse().unwrap())?;
/// let address = first.address().tcp().unwrap();
/// let error = Listener::bind(address).unwrap_err();
/// assert!(matches!(error, BindError::Taken(taken) if taken == address));
/// # Ok::<(), BindError>(())
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// The port is in use.
    #[error("cannot listen on {0}: the port is taken; stop the program that has it (`ss -ltnp 'sport = :{port}'` names it) or choose another port", port = .0.port())]
    Taken(SocketAddr),
    /// The port is privileged.
    #[error(
        "cannot listen on {0}: no permission for ports below 1024; choose a higher port, or grant CAP_NET_BIND_SERVICE"
    )]
    Forbidden(SocketAddr),
    /// No interface of this machine has the address.
    #[error("cannot listen on {0}: this machine has no such address; `ip address` lists those it has")]
    NoSuchAddress(SocketAddr),
    /// The process, or the system, has reached its limit of open files.
    #[error("cannot listen on {0}: too many open files; raise the limit (`ulimit -n`)")]
    TooManyFiles(SocketAddr),
    /// A Unix socket cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Unix(UnixAddress, UnixBindError),
    /// Any other error.
    #[error("cannot listen on {0}: {1}")]
    Other(SocketAddr, io::Error),
}

impl BindError {
    pub(crate) fn new(address: SocketAddr, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::AddrInUse => Self::Taken(address),
            io::ErrorKind::PermissionDenied => Self::Forbidden(address),
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress(address),
            _ if matches!(error.raw_os_error(), Some(23 | 24)) => Self::TooManyFiles(address),
            _ => Self::Other(address, error),
        }
    }
}

/// Why a socket that another process has opened cannot be listened on.
///
/// ```
/// use ringway_io::{InheritError, Listener};
///
/// let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
/// let error = Listener::inherit(datagrams).unwrap_err();
/// assert!(matches!(error, InheritError::NotAStream(_)));
/// ```
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InheritError {
    /// The descriptor is not a stream socket of TCP or of a Unix address.
    #[error(
        "cannot listen on the inherited descriptor {0}: it is not a socket of TCP or a Unix stream socket; pass one (systemd: \
         `ListenStream=`)"
    )]
    NotAStream(RawFd),
    /// The socket does not listen.
    #[error(
        "cannot listen on the inherited descriptor {0}: it is a socket that does not listen; pass a listening one (systemd: \
         `Accept=no`)"
    )]
    NotListening(RawFd),
    /// The descriptor is not a socket of UDP.
    #[error("cannot receive on the inherited descriptor {0}: it is not a socket of UDP")]
    NotDatagrams(RawFd),
    /// Any other error.
    #[error("cannot listen on the inherited descriptor {0}: {1}")]
    Other(RawFd, io::Error),
}

/// A listening socket: a TCP socket with `SO_REUSEPORT` and `TCP_NODELAY` (which accepted sockets
/// inherit), or a Unix socket.
///
/// ```
/// use ringway_io::Listener;
///
/// let first = Listener::bind("127.0.0.1:0".parse().unwrap())?;
/// let second = first.sibling()?; // for the driver of another thread
/// assert_eq!(first.address(), second.address());
/// # Ok::<(), ringway_io::BindError>(())
/// ```
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: Address,
    /// Whether siblings, or other processes, accept from the same queue.
    shared: bool,
    /// Whether another process has opened the socket, and listens on it after this one has ended.
    foreign: bool,
    /// Whether one connection at a time is accepted, although the queue is not shared.
    is_single: bool,
    /// The file of a Unix socket. The last sibling removes it.
    file: Option<Arc<SocketFile>>,
}

impl Listener {
    /// Binds and listens. Port 0 lets the system choose one.
    ///
    /// With `SO_REUSEPORT` alone, a second program of the same user could share the port unnoticed.
    /// The port is therefore first bound without it, which fails when the port is in use.
    ///
    /// # Errors
    /// A [`BindError`] that names the address, the reason and the remedy.
    pub fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let fail = |error| BindError::new(address, error);
        if address.port() != 0 {
            socket(address).and_then(|probe| probe.bind(&address.into())).map_err(fail)?;
        }
        Self::open(address).map_err(fail)
    }

    /// Binds a Unix socket and listens.
    ///
    /// A socket file whose server is gone is replaced: connecting to it is refused (ECONNREFUSED).
    /// A server that listens there sees a connection that is closed at once. A file of another kind
    /// is never removed.
    ///
    /// The file is removed when the last sibling is dropped, if it is still the same file; a
    /// process that is killed leaves it behind. Needs procfs, and one descriptor besides those of
    /// the siblings.
    ///
    /// # Errors
    /// [`BindError::Unix`], which names the address, the reason and the remedy.
    pub fn bind_unix(socket: &UnixSocket) -> Result<Self, BindError> {
        let address = socket.address();
        let (socket, file) = unix::bind(socket).map_err(|error| BindError::Unix(address.clone(), error))?;
        let (address, file) = (address.clone().into(), file.map(Arc::new));
        Ok(Self { socket, address, shared: true, foreign: false, is_single: false, file })
    }

    /// Takes a listening socket that another process has opened, such as a service manager: of TCP,
    /// or a Unix socket, whose file is left to that process.
    ///
    /// Its backlog stays as it is. Its siblings are duplicates of the descriptor: they share one
    /// queue of connections, because `SO_REUSEPORT` lets only sockets of one user share a port. A
    /// driver on io_uring accepts one connection at a time from a shared queue, so that the kernel
    /// wakes the drivers in turn; that takes one more submission entry for each connection than a
    /// listener of [`Listener::bind`].
    ///
    /// `O_NONBLOCK` is cleared, which every process that has the socket sees: with it, io_uring
    /// does not wait for a connection. The driver on epoll sets it.
    ///
    /// # Errors
    /// An [`InheritError`] that names the descriptor, the reason and the remedy.
    pub fn inherit(socket: impl Into<OwnedFd>) -> Result<Self, InheritError> {
        let socket = Socket::from(socket.into());
        let descriptor = socket.as_raw_fd();
        let other = |error| InheritError::Other(descriptor, error);
        let is_stream = match socket.r#type() {
            Ok(kind) => kind == Type::STREAM,
            Err(error) if error.raw_os_error() == Some(libc::ENOTSOCK) => false,
            Err(error) => return Err(other(error)),
        };
        if !is_stream {
            return Err(InheritError::NotAStream(descriptor));
        }
        if !socket.is_listener().map_err(other)? {
            return Err(InheritError::NotListening(descriptor));
        }
        let address = Address::from_sock_addr(&socket.local_addr().map_err(other)?);
        let Some(address) = address else { return Err(InheritError::NotAStream(descriptor)) };
        socket.set_nonblocking(false).map_err(other)?;
        if address.tcp().is_some() {
            socket.set_tcp_nodelay(true).map_err(other)?;
        }
        Ok(Self { socket, address, shared: true, foreign: true, is_single: false, file: None })
    }

    /// Takes a listening socket over from a former process of the same server, which has made it with
    /// [`Listener::bind`] or [`Listener::bind_unix`], or, with `foreign`, inherited it
    /// ([`Listener::inherit`]).
    ///
    /// The file of a Unix socket is not removed unless [`Listener::own_file`] is called.
    ///
    /// # Errors
    /// As [`Listener::inherit`].
    pub fn take_over(socket: impl Into<OwnedFd>, foreign: bool) -> Result<Self, InheritError> {
        let listener = Self::inherit(socket)?;
        let shared = foreign || listener.is_unix();
        let path = listener.address.unix().filter(|_| !foreign).and_then(|address| address.as_path());
        let file = path.and_then(|path| SocketFile::taken_over(path).ok()).map(Arc::new);
        Ok(Self { shared, foreign, file, ..listener })
    }

    /// Another listener on the same socket, to pass it to another process.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn duplicate(&self) -> io::Result<Self> {
        let socket = self.socket.try_clone()?;
        // The other process may clear O_NONBLOCK, which would let an accept of this one wait.
        socket.set_read_timeout(Some(QUEUE_WAIT))?;
        let (address, file) = (self.address.clone(), self.file.clone());
        let Self { shared, foreign, is_single, .. } = *self;
        Ok(Self { socket, address, shared, foreign, is_single, file })
    }

    /// Whether the last sibling removes the file of a Unix socket. Affects all siblings.
    pub fn own_file(&self, owned: bool) {
        if let Some(file) = &self.file {
            file.own(owned);
        }
    }

    /// Another listener on the same address and port, for another driver. The kernel distributes
    /// the connections.
    ///
    /// Siblings of a Unix listener share one socket, because Unix sockets have no `SO_REUSEPORT`.
    /// Each connection goes to the driver that has waited longest.
    ///
    /// # Errors
    /// As [`Listener::bind`] and [`Listener::bind_unix`].
    pub fn sibling(&self) -> Result<Self, BindError> {
        if self.shared {
            let socket = self.socket.try_clone().map_err(|error| match &self.address {
                Address::Tcp(address) => BindError::new(*address, error),
                Address::Unix(address) => BindError::Unix(address.clone(), UnixBindError::of_sibling(error)),
            })?;
            let (address, file) = (self.address.clone(), self.file.clone());
            let Self { foreign, is_single, .. } = *self;
            return Ok(Self { socket, address, shared: true, foreign, is_single, file });
        }
        let Some(address) = self.address.tcp() else { unreachable!("a Unix listener is shared") };
        let sibling = Self::open(address).map_err(|error| BindError::new(address, error))?;
        Ok(Self { is_single: self.is_single, ..sibling })
    }

    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        let address = address.into();
        Ok(Self { socket, address, shared: false, foreign: false, is_single: false, file: None })
    }

    /// Accepts one connection without waiting; `None` if the queue is empty.
    pub(crate) fn accept_queued(&self, flags: SocketFlags) -> Result<Option<RawFd>, Errno> {
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        if poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? == 0 {
            return Ok(None);
        }
        if self.shared && self.socket.set_read_timeout(Some(QUEUE_WAIT)).is_err() {
            return Err(Errno::INVAL);
        }
        match rustix::net::accept_with(&self.socket, flags) {
            Ok(accepted) => Ok(Some(accepted.into_raw_fd())),
            Err(Errno::AGAIN) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The address it listens on, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it is a Unix socket, which its siblings share.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.address, Address::Unix(_))
    }

    /// Whether the queue of connections is left to the process that has opened the socket.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Accepts one connection in a turn of the driver, also on siblings that are made from now on,
    /// so that [`Driver::pause_accepting`](crate::Driver::pause_accepting) takes effect after each
    /// of them. Otherwise a driver accepts what waits in the queue. Costs one submission entry, or
    /// one `epoll_ctl(2)`, for each connection.
    ///
    /// ```
    /// use ringway_io::Listener;
    ///
    /// let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap())?;
    /// listener.accept_one_at_a_time();
    /// # Ok::<(), ringway_io::BindError>(())
    /// ```
    pub fn accept_one_at_a_time(&mut self) {
        self.is_single = true;
    }

    /// Whether its siblings are duplicates of one socket.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.shared
    }

    /// Whether one connection is accepted at a time: on request, or because other listeners accept
    /// from the same queue of connections.
    pub(crate) fn is_single(&self) -> bool {
        self.shared || self.is_single
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Set explicitly, so that a program can listen on `[::]` and `0.0.0.0` at once, whatever
        // sysctl `net.ipv6.bindv6only` is.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn siblings_share_the_port_the_system_chose() {
        let first = Listener::bind(LOCAL).expect("a free port");
        let second = first.sibling().expect("the port is ours");
        assert_ne!(first.address().tcp().map(|address| address.port()), Some(0));
        assert_eq!(first.address(), second.address());
    }

    #[test]
    fn a_port_in_use_is_refused_despite_reuse_port() {
        let first = Listener::bind(LOCAL).expect("a free port");
        let error = Listener::bind(first.address().tcp().expect("TCP")).expect_err("taken");
        assert!(matches!(error, BindError::Taken(_)), "{error}");
        assert!(error.to_string().contains(&first.address().to_string()));
    }

    #[test]
    fn an_inherited_socket_and_its_siblings_share_one_queue() {
        let socket = TcpListener::bind(LOCAL).expect("a free port");
        socket.set_nonblocking(true).expect("it is open");
        let first = Listener::inherit(socket).expect("it listens");
        let second = first.sibling().expect("a descriptor is left");
        assert_eq!(first.address(), second.address());
        let peer = std::net::TcpStream::connect(first.address().tcp().expect("TCP")).expect("it listens");
        // Either would accept it: the queue is one, and an accept waits although the socket was
        // nonblocking.
        let (_, from) = second.socket.accept().expect("a connection waits");
        assert_eq!(from.as_socket(), peer.local_addr().ok());
    }

    #[test]
    fn an_inherited_unix_socket_keeps_its_address_and_its_file() {
        let path = std::env::temp_dir().join(format!("ringway-inherit-{}.sock", std::process::id()));
        let socket = std::os::unix::net::UnixListener::bind(&path).expect("the path is free");
        let listener = Listener::inherit(socket).expect("it listens");
        assert_eq!(listener.address().unix().and_then(|address| address.as_path()), Some(path.as_path()));
        drop(listener.sibling().expect("a duplicate"));
        drop(listener);
        std::fs::remove_file(path).expect("the file belongs to the process that made it");
    }

    #[test]
    fn an_inherited_descriptor_that_cannot_be_listened_on_is_refused_with_the_reason() {
        let file = std::fs::File::open("/dev/null").expect("a device");
        let error = Listener::inherit(file).expect_err("not a socket");
        assert!(matches!(error, InheritError::NotAStream(_)), "{error}");
        let (datagrams, _other) = std::os::unix::net::UnixDatagram::pair().expect("two sockets");
        let error = Listener::inherit(datagrams).expect_err("not a stream");
        assert!(matches!(error, InheritError::NotAStream(_)), "{error}");
        let listening = TcpListener::bind(LOCAL).expect("a free port");
        let connected = std::net::TcpStream::connect(listening.local_addr().expect("bound")).expect("it listens");
        let descriptor = connected.as_raw_fd();
        let error = Listener::inherit(connected).expect_err("it does not listen");
        assert!(matches!(error, InheritError::NotListening(of) if of == descriptor), "{error}");
    }

    #[test]
    fn an_address_of_another_machine_is_refused_by_name() {
        let error = Listener::bind("240.0.0.1:0".parse().expect("an address")).expect_err("not ours");
        assert!(matches!(error, BindError::NoSuchAddress(_)), "{error}");
    }
}
