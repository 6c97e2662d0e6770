//! The sockets of outgoing connections, and their options.

use crate::Address;
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::os::fd::{AsRawFd, IntoRawFd, RawFd};
use thiserror::Error;

/// The options of an outgoing connection. The defaults are those of the system.
///
/// ```
/// use ringway_io::ConnectOptions;
///
/// let options = ConnectOptions::default().source(Some([127, 0, 0, 2].into())).receive_buffer(Some(4096));
/// # let _ = options;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectOptions {
    pub(crate) source: Option<IpAddr>,
    pub(crate) receive_buffer: Option<u32>,
    pub(crate) datagrams: bool,
}

impl ConnectOptions {
    /// Binds the connection to this address of the machine before it is established. Default: the
    /// kernel chooses one by the route.
    ///
    /// The port is chosen when the connection is established (`IP_BIND_ADDRESS_NO_PORT`, ip(7),
    /// since Linux 4.2). One port can therefore serve connections to several servers, and the
    /// number of ports (`net.ipv4.ip_local_port_range`, 28,232 by default) limits the connections
    /// from one address to one server. Without effect on Unix sockets.
    #[must_use]
    pub fn source(mut self, source: Option<IpAddr>) -> Self {
        self.source = source;
        self
    }

    /// The size of the kernel's receive buffer in bytes (`SO_RCVBUF`, socket(7)). It is set before
    /// the connection is established, because it determines the window that the peer is offered
    /// (tcp(7)). The kernel doubles it, for its own overhead, and limits it to
    /// `net.core.rmem_max`; the minimum is 2304 bytes after doubling. Default: the kernel adjusts
    /// the size while it receives. Without effect on Unix sockets, where the send buffer of the
    /// peer counts.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: Option<u32>) -> Self {
        self.receive_buffer = bytes;
        self
    }

    /// Opens a UDP socket, which receives from the peer only. Each [`Completion::Received`] is one
    /// datagram, up to the size of a receive buffer, and each send of [`Output::One`] is one. Empty
    /// datagrams are not reported. Default: `false`, a connection of TCP.
    ///
    /// [`Completion::Received`]: crate::Completion::Received
    /// [`Output::One`]: crate::Output::One
    #[must_use]
    pub fn datagrams(mut self, datagrams: bool) -> Self {
        self.datagrams = datagrams;
        self
    }
}

/// An outgoing connection could not be bound to its source address. It is the inner error
/// ([`io::Error::get_ref`]) of [`Cause::Unconnected`](crate::Cause::Unconnected).
///
/// ```
/// use ringway_io::SourceError;
///
/// let error = std::io::Error::from_raw_os_error(99); // EADDRNOTAVAIL
/// let error = SourceError { address: [192, 0, 2, 7].into(), error };
/// assert_eq!(error.to_string(), "192.0.2.7 is not an address of this machine");
/// ```
#[derive(Debug, Error)]
#[error("{}", describe(*.address, .error))]
pub struct SourceError {
    /// The source address.
    pub address: IpAddr,
    /// The error of the kernel.
    pub error: io::Error,
}

fn describe(address: IpAddr, error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => format!("{address} is not an address of this machine"),
        _ => format!("cannot connect from {address}: {error}"),
    }
}

/// A socket for a connection to `peer`. `kind`: a stream, possibly non-blocking.
pub(crate) fn socket(peer: &Address, kind: Type, options: &ConnectOptions) -> io::Result<RawFd> {
    let Address::Tcp(peer) = peer else {
        return Ok(Socket::new(Domain::UNIX, kind, None)?.into_raw_fd());
    };
    let socket = if options.datagrams {
        let socket = Socket::new(Domain::for_address(*peer), Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_nonblocking(kind != Type::STREAM)?;
        socket
    } else {
        let socket = Socket::new(Domain::for_address(*peer), kind, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        socket
    };
    if let Some(bytes) = options.receive_buffer {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(source) = options.source {
        let refused = |error: io::Error| io::Error::new(error.kind(), SourceError { address: source, error });
        bind_address(&socket, source, peer).map_err(refused)?;
    }
    Ok(socket.into_raw_fd())
}

/// Binds a socket to an address. Its port is chosen when it connects.
fn bind_address(socket: &Socket, source: IpAddr, peer: &SocketAddr) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option is an integer, which the kernel copies during the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of_val(&on) as libc::socklen_t,
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let address = match (source, peer) {
        // A link-local address exists on each interface, and this is the one that leads to the
        // peer.
        (IpAddr::V6(source), SocketAddr::V6(peer)) => SocketAddrV6::new(source, 0, 0, peer.scope_id()).into(),
        (source, _) => SocketAddr::new(source, 0),
    };
    SockRef::from(socket).bind(&SockAddr::from(address))
}
