//! Socket addresses as the kernel writes and reads them (`sockaddr_in`, `sockaddr_in6`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// The size of the longer one.
pub(crate) const MAX_NAME: usize = size_of::<libc::sockaddr_in6>();

/// The address in these bytes; `None` for one of another family.
pub(crate) fn parse_address(bytes: &[u8]) -> Option<SocketAddr> {
    let family = u16::from_ne_bytes(*bytes.first_chunk()?);
    let port = u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?);
    match i32::from(family) {
        libc::AF_INET => {
            let address: [u8; 4] = *bytes.get(4..)?.first_chunk()?;
            Some(SocketAddrV4::new(Ipv4Addr::from(address), port).into())
        }
        libc::AF_INET6 => {
            let flow = u32::from_be_bytes(*bytes.get(4..)?.first_chunk()?);
            let address: [u8; 16] = *bytes.get(8..)?.first_chunk()?;
            let scope = u32::from_ne_bytes(*bytes.get(24..)?.first_chunk()?);
            Some(SocketAddrV6::new(Ipv6Addr::from(address), port, flow, scope).into())
        }
        _ => None,
    }
}

/// Writes an address. Returns its length.
pub(crate) fn write_address(address: SocketAddr, bytes: &mut [u8; MAX_NAME]) -> usize {
    bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
    match address {
        SocketAddr::V4(address) => {
            bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
            bytes[4..8].copy_from_slice(&address.ip().octets());
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
            bytes[4..8].copy_from_slice(&address.flowinfo().to_be_bytes());
            bytes[8..24].copy_from_slice(&address.ip().octets());
            bytes[24..28].copy_from_slice(&address.scope_id().to_ne_bytes());
            MAX_NAME
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use socket2::SockAddr;

    #[test]
    fn addresses_are_those_of_the_c_library() {
        for text in ["127.0.0.1:7", "255.255.255.255:65535", "[::1]:7", "[2001:db8::5]:9", "[::ffff:10.0.0.1]:1024"] {
            let address: SocketAddr = text.parse().expect("an address");
            let mut bytes = [0; MAX_NAME];
            let len = write_address(address, &mut bytes);
            assert_eq!(len, SockAddr::from(address).len() as usize);
            assert_eq!(parse_address(&bytes[..len]), Some(address));
            assert!((0..len.min(8)).all(|short| parse_address(&bytes[..short]).is_none()), "{text}");
        }
        let zone = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().expect("an address"), 7, 0, 3));
        let mut bytes = [0; MAX_NAME];
        let len = write_address(zone, &mut bytes);
        assert_eq!(parse_address(&bytes[..len]), Some(zone));
        assert_eq!(parse_address(&[1, 0, b'/', b't', b'm', b'p']), None, "of a Unix socket");
    }
}
