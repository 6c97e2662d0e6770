//! The control messages that carry this end of a datagram: `IP_PKTINFO` and `IPV6_PKTINFO`.
//!
//! The kernel reads and writes a header of a length in the size of a pointer, a level and a type,
//! then the data, and aligns the next header to the size of a pointer (cmsg(3)).

use super::PacketInfo;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const LENGTH: usize = size_of::<usize>();
const HEADER: usize = LENGTH + 8;

/// `struct in_pktinfo`: the index of the interface, the local address, the destination.
const PKTINFO: usize = 12;
/// `struct in6_pktinfo`: the address, the index of the interface.
const PKTINFO6: usize = 20;

/// Room for both.
pub(crate) const CONTROL_ROOM: usize = 2 * (HEADER + PKTINFO6.next_multiple_of(LENGTH));

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn ipv4(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// This end of a datagram with these control messages.
pub(crate) fn parse_control(mut bytes: &[u8]) -> Option<PacketInfo> {
    let mut found = None;
    while let Some(length) = bytes.first_chunk().map(|length| usize::from_ne_bytes(*length)) {
        let Some(message) = bytes.get(..length).filter(|_| length >= HEADER) else { break };
        let (level, kind, data) = (word(message, LENGTH)?, word(message, LENGTH + 4)?, &message[HEADER..]);
        match (level as i32, kind as i32) {
            (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                let (interface, local, destination) = (word(data, 0)?, ipv4(data, 4)?, ipv4(data, 8)?);
                // On a socket of IPv6, it has more than the other message.
                return Some(PacketInfo { destination: destination.into(), local: Some(local.into()), interface });
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                let destination = Ipv6Addr::from(*data.first_chunk::<16>()?);
                found = Some(PacketInfo { destination: destination.into(), local: None, interface: word(data, 16)? });
            }
            _ => {}
        }
        bytes = bytes.get(length.next_multiple_of(LENGTH)..).unwrap_or_default();
    }
    found
}

/// Writes the control message with which a datagram to `peer` is sent from this end. Returns its
/// length; 0 for one whose address the kernel chooses.
pub(crate) fn write_control(local: Option<PacketInfo>, peer: SocketAddr, bytes: &mut [u8; CONTROL_ROOM]) -> usize {
    let Some(PacketInfo { destination, local, interface }) = local else { return 0 };
    let (level, kind, data, length) = match local.unwrap_or(destination) {
        IpAddr::V4(source) => {
            let mut data = [0; PKTINFO6];
            data[4..8].copy_from_slice(&source.octets());
            (libc::IPPROTO_IP, libc::IP_PKTINFO, data, PKTINFO)
        }
        IpAddr::V6(source) => {
            let mut data = [0; PKTINFO6];
            data[..16].copy_from_slice(&source.octets());
            // An address of a link needs its interface. Others are left to the routes.
            let of_link = matches!(peer, SocketAddr::V6(peer) if peer.ip().is_unicast_link_local());
            if of_link || source.is_unicast_link_local() {
                data[16..20].copy_from_slice(&interface.to_ne_bytes());
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, data, PKTINFO6)
        }
    };
    bytes[..LENGTH].copy_from_slice(&(HEADER + length).to_ne_bytes());
    bytes[LENGTH..LENGTH + 4].copy_from_slice(&level.to_ne_bytes());
    bytes[LENGTH + 4..HEADER].copy_from_slice(&kind.to_ne_bytes());
    bytes[HEADER..HEADER + length].copy_from_slice(&data[..length]);
    HEADER + length.next_multiple_of(LENGTH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_written_is_parsed() {
        let mut bytes = [0; CONTROL_ROOM];
        let v4 = PacketInfo {
            destination: IpAddr::from([10, 0, 0, 1]),
            local: Some(IpAddr::from([10, 0, 0, 1])),
            interface: 0,
        };
        let len = write_control(Some(v4), peer("10.0.0.9:5000"), &mut bytes);
        // The kernel ignores the destination of a datagram that is sent.
        let sent = PacketInfo { destination: IpAddr::from([0, 0, 0, 0]), ..v4 };
        assert_eq!(parse_control(&bytes[..len]), Some(sent));
        let v6 = PacketInfo { destination: "2001:db8::1".parse().expect("an address"), local: None, interface: 4 };
        let len = write_control(Some(v6), peer("[2001:db8::2]:5000"), &mut bytes);
        assert_eq!(parse_control(&bytes[..len]), Some(PacketInfo { interface: 0, ..v6 }));
        let link = PacketInfo { destination: "fe80::1".parse().expect("an address"), local: None, interface: 4 };
        let len = write_control(Some(link), peer("[fe80::2]:5000"), &mut bytes);
        assert_eq!(parse_control(&bytes[..len]), Some(link));
        assert_eq!(write_control(None, peer("10.0.0.9:5000"), &mut bytes), 0);
    }

    #[test]
    fn any_bytes_are_parsed_without_a_panic() {
        let mut bytes = [0; CONTROL_ROOM];
        let info = PacketInfo { destination: IpAddr::from([10, 0, 0, 1]), local: None, interface: 0 };
        write_control(Some(info), peer("10.0.0.9:5000"), &mut bytes);
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0xff] {
                let mut changed = bytes;
                changed[at] = value;
                for len in 0..=changed.len() {
                    let _ = parse_control(&changed[..len]);
                }
            }
        }
    }
}
