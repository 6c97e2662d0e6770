//! Datagrams of UDP: the socket, what is received on it, and the addresses of both ends.
//!
//! A datagram names the address that it was sent to, because a socket of all addresses has many, and
//! a reply has to come from that one.

mod address;
mod control;
mod socket;

pub(crate) use address::{MAX_NAME, parse_address, write_address};
pub(crate) use control::{CONTROL_ROOM, parse_control, write_control};
pub use socket::DatagramSocket;

use crate::Chunk;
use std::net::{IpAddr, SocketAddr};

/// The size of the buffers that datagrams are received in: the longest payload of UDP (65,527 bytes,
/// RFC 768 on IPv6), and what the kernel writes in front of it.
pub(crate) const BUFFER_SIZE: u32 = 66 << 10;

/// The number of these buffers of a driver. Memory that no datagram has used is not resident.
pub(crate) const BUFFERS: u16 = 64;

/// A datagram that was received, or is to be sent.
#[derive(Debug)]
pub struct Datagram {
    /// The number of its socket, from 0 in the order of the calls of
    /// [`Driver::open_datagrams`](crate::Driver::open_datagrams).
    pub socket: usize,
    /// The other end.
    pub peer: SocketAddr,
    /// This end; `None` if the kernel has not told it. A datagram to send then has the address that
    /// the route suggests.
    pub local: Option<PacketInfo>,
    /// The payload, which can be empty.
    pub payload: Chunk,
    /// The payload was longer than the buffer, and its end is lost.
    pub is_truncated: bool,
}

/// This end of a datagram (`IP_PKTINFO`, ip(7); `IPV6_PKTINFO`, RFC 3542 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    /// The destination in the header of the packet.
    pub destination: IpAddr,
    /// The address of this machine that belongs to it: for a packet to this machine alone, it is the
    /// destination. Unknown for IPv6, which has no broadcast.
    pub local: Option<IpAddr>,
    /// The index of the interface.
    pub interface: u32,
}
