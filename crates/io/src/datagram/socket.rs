//! Sockets for datagrams: one per driver on the same port; the kernel distributes the datagrams.

use crate::{BindError, InheritError};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A bound UDP socket with `SO_REUSEPORT`, which reports the address that each datagram was sent to.
///
/// ```
/// use ringway_io::DatagramSocket;
///
/// let first = DatagramSocket::bind("127.0.0.1:0".parse().unwrap())?;
/// let second = first.sibling()?; // for the driver of another thread
/// assert_eq!(first.address(), second.address());
/// # Ok::<(), ringway_io::BindError>(())
/// ```
#[derive(Debug)]
pub struct DatagramSocket {
    socket: Socket,
    address: SocketAddr,
}

impl DatagramSocket {
    /// Binds a socket. Port 0 lets the system choose one.
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

    /// Takes a socket over from a former process of the same server.
    ///
    /// # Errors
    /// [`InheritError::NotDatagrams`] for another socket.
    pub fn take_over(socket: impl Into<OwnedFd>) -> Result<Self, InheritError> {
        let socket = Socket::from(socket.into());
        let descriptor = socket.as_raw_fd();
        let other = |error| InheritError::Other(descriptor, error);
        let is_udp = Self::is_datagrams(&socket);
        let address = socket.local_addr().map_err(other)?.as_socket();
        let Some(address) = address.filter(|_| is_udp) else { return Err(InheritError::NotDatagrams(descriptor)) };
        report_destinations(&socket, address).map_err(other)?;
        Ok(Self { socket, address })
    }

    /// Whether a descriptor is a UDP socket.
    #[must_use]
    pub fn is_datagrams(socket: &impl AsFd) -> bool {
        let socket = socket2::SockRef::from(socket);
        socket.r#type().is_ok_and(|kind| kind == Type::DGRAM)
            && socket.protocol().is_ok_and(|protocol| protocol == Some(Protocol::UDP))
    }

    /// Another descriptor of the same socket, to pass it to another process. Each datagram is received
    /// once.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn duplicate(&self) -> io::Result<Self> {
        Ok(Self { socket: self.socket.try_clone()?, address: self.address })
    }

    /// Another socket on the same address and port, for another driver. The kernel distributes the
    /// datagrams by their addresses and ports.
    ///
    /// # Errors
    /// As [`DatagramSocket::bind`].
    pub fn sibling(&self) -> Result<Self, BindError> {
        Self::open(self.address).map_err(|error| BindError::new(self.address, error))
    }

    fn open(address: SocketAddr) -> io::Result<Self> {
        let socket = socket(address)?;
        socket.set_reuse_port(true)?;
        report_destinations(&socket, address)?;
        socket.bind(&address.into())?;
        let address = socket.local_addr()?.as_socket().unwrap_or(address);
        Ok(Self { socket, address })
    }

    /// The address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl AsFd for DatagramSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn socket(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        // As of listeners: a program can use `[::]` and `0.0.0.0` at once.
        socket.set_only_v6(true)?;
    }
    Ok(socket)
}

/// Lets the kernel report the destination of each datagram.
fn report_destinations(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    let set = |level: libc::c_int, option: libc::c_int| {
        let on: libc::c_int = 1;
        // SAFETY: the option is an integer, which the kernel copies during the call.
        let result = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as libc::socklen_t,
            )
        };
        if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    };
    if address.is_ipv6() {
        set(libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)?;
    }
    // A socket of IPv6 that was passed on may receive IPv4 too.
    set(libc::IPPROTO_IP, libc::IP_PKTINFO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    #[test]
    fn siblings_share_a_port_that_others_cannot_bind() {
        let first = DatagramSocket::bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let second = first.sibling().expect("the port is ours");
        assert_eq!(first.address(), second.address());
        let error = DatagramSocket::bind(first.address()).expect_err("taken");
        assert!(matches!(error, BindError::Taken(_)), "{error}");
    }

    #[test]
    fn other_sockets_are_not_taken_over() {
        let stream = TcpListener::bind("127.0.0.1:0").expect("a free port");
        assert!(!DatagramSocket::is_datagrams(&stream));
        let error = DatagramSocket::take_over(stream).expect_err("a stream");
        assert!(matches!(error, InheritError::NotDatagrams(_)), "{error}");
        let datagrams = UdpSocket::bind("[::1]:0").expect("a free port");
        let address = datagrams.local_addr().expect("bound");
        assert_eq!(DatagramSocket::take_over(datagrams).expect("UDP").address(), address);
    }
}
