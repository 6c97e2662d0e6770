//! Queries the kernel about listening sockets (sock_diag(7)): the length and the limit of their
//! accept queues. Neither needs privileges; both are limited to this network namespace.

use rustix::io::Errno;
use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with, sockopt};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A socket that listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ListeningSocket {
    /// The address. `None` for a Unix socket.
    pub(super) address: Option<SocketAddr>,
    /// The connections in its accept queue.
    pub(super) queued: u32,
    /// The limit of its accept queue, the `backlog` of listen(2), as the kernel has reduced it to
    /// `somaxconn`.
    pub(super) limit: u32,
    /// The connections and SYNs that it has dropped, mostly because a queue was full. `None` for a
    /// Unix socket, whose peers wait.
    pub(super) drops: Option<u32>,
}

/// The TCP sockets of this network namespace that listen.
pub(super) fn tcp() -> Result<Vec<ListeningSocket>, Errno> {
    let mut found = ask(&inet_request(family::INET))?;
    found.extend(ask(&inet_request(family::INET6))?);
    Ok(found)
}

/// The Unix socket with an inode, if it listens.
pub(super) fn unix(inode: u64) -> Result<Option<ListeningSocket>, Errno> {
    let Ok(inode) = u32::try_from(inode) else { return Ok(None) };
    Ok(ask(&unix_request(inode))?.pop())
}

/// The numbers of address families (`sys/socket.h`).
mod family {
    pub(super) const UNIX: u8 = 1;
    pub(super) const INET: u8 = 2;
    pub(super) const INET6: u8 = 10;
}

/// Message types and flags of netlink (`linux/netlink.h`, `linux/sock_diag.h`).
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_DUMP: u16 = 0x300;

/// Sends a request and returns the sockets of all messages of the answer.
fn ask(request: &[u8]) -> Result<Vec<ListeningSocket>, Errno> {
    let socket: OwnedFd =
        socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, Some(SOCK_DIAG))?;
    // The kernel answers within the call of sendto(2) or recv(2), so this ends only a broken one.
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(1)))?;
    sendto(&socket, request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut found = Vec::new();
    let mut buffer = vec![0; 32 << 10];
    loop {
        let (count, _) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
        if parse(&buffer[..count], &mut found)? || !is_dump(request) {
            return Ok(found);
        }
    }
}

/// A header of netlink and a body of the given parts.
fn message(flags: u16, parts: &[&[u8]]) -> Vec<u8> {
    let length = 16 + parts.iter().map(|part| part.len()).sum::<usize>();
    let mut bytes = Vec::with_capacity(length);
    bytes.extend((length as u32).to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend([0; 8]); // Sequence number and port.
    parts.iter().for_each(|part| bytes.extend_from_slice(part));
    bytes
}

fn is_dump(request: &[u8]) -> bool {
    request.get(6..8) == Some(&(NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes())
}

/// Requests all listening TCP sockets of a family (`struct inet_diag_req_v2`), with their memory
/// figures, among which is the number of drops.
fn inet_request(family: u8) -> Vec<u8> {
    const TCP: u8 = 6;
    const LISTEN: u32 = 1 << 10;
    let head = [family, TCP, 1 << (SKMEMINFO - 1), 0];
    message(NLM_F_REQUEST | NLM_F_DUMP, &[&head, &LISTEN.to_ne_bytes(), &[0; 48]])
}

/// Requests the Unix socket with an inode (`struct unix_diag_req`), with the lengths of its queues.
fn unix_request(inode: u32) -> Vec<u8> {
    const SHOW_RQLEN: u32 = 0x10;
    let words = [u32::MAX, inode, SHOW_RQLEN, u32::MAX, u32::MAX];
    let words: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    message(NLM_F_REQUEST, &[&[family::UNIX, 0, 0, 0], &words])
}

/// Adds the sockets of a datagram. Returns whether it ends the answer.
fn parse(mut bytes: &[u8], found: &mut Vec<ListeningSocket>) -> Result<bool, Errno> {
    while let (Some(length), Some(kind)) = (word(bytes, 0), half(bytes, 4)) {
        let length = (length as usize).max(16).min(bytes.len());
        let body = &bytes[16.min(length)..length];
        match kind {
            NLMSG_DONE => return Ok(true),
            NLMSG_ERROR => {
                let code = word(body, 0).map_or(0, |code| code as i32);
                return if code == 0 { Ok(true) } else { Err(Errno::from_raw_os_error(code.saturating_neg())) };
            }
            SOCK_DIAG_BY_FAMILY => found.extend(socket(body)),
            _ => {}
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    Ok(false)
}

/// The attributes that are requested (`linux/inet_diag.h`, `linux/unix_diag.h`).
const SKMEMINFO: u16 = 7;
const RQLEN: u16 = 4;

/// A socket from `struct inet_diag_msg` or `struct unix_diag_msg`, with its attributes.
fn socket(body: &[u8]) -> Option<ListeningSocket> {
    const LISTEN: u8 = 10;
    if *body.get(1)? != LISTEN && body[0] != family::UNIX {
        return None;
    }
    let port = || Some(u16::from_be_bytes(body.get(4..6)?.try_into().ok()?));
    let ip: IpAddr = match body[0] {
        family::INET => Ipv4Addr::from(<[u8; 4]>::try_from(body.get(8..12)?).ok()?).into(),
        family::INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(body.get(8..24)?).ok()?).into(),
        family::UNIX => {
            // state, at offset 2, is that of TCP.
            let queues = attribute(body.get(16..)?, RQLEN).filter(|_| body.get(2) == Some(&LISTEN))?;
            let (queued, limit) = (word(queues, 0)?, word(queues, 4)?);
            return Some(ListeningSocket { address: None, queued, limit, drops: None });
        }
        _ => return None,
    };
    Some(ListeningSocket {
        address: Some(SocketAddr::new(ip, port()?)),
        queued: word(body, 56)?,
        limit: word(body, 60)?,
        drops: attribute(body.get(72..)?, SKMEMINFO).and_then(|memory| word(memory, 32)),
    })
}

/// The value of an attribute.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    while let (Some(length), Some(kind)) = (half(bytes, 0), half(bytes, 2)) {
        let length = usize::from(length).clamp(4, bytes.len());
        if kind == wanted {
            return Some(&bytes[4..length]);
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    None
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message of the kernel about a listener on 127.0.0.1:9001.
    fn answer() -> Vec<u8> {
        let mut body = vec![0; 72];
        body[..2].copy_from_slice(&[family::INET, 10]);
        body[4..6].copy_from_slice(&9001u16.to_be_bytes());
        body[8..12].copy_from_slice(&[127, 0, 0, 1]);
        body[56..60].copy_from_slice(&3u32.to_ne_bytes());
        body[60..64].copy_from_slice(&128u32.to_ne_bytes());
        let mut memory = [0; 36];
        memory[32..].copy_from_slice(&12u32.to_ne_bytes());
        body.extend([5u16.to_ne_bytes(), 1u16.to_ne_bytes()].concat());
        body.extend([9, 0, 0, 0]); // One byte, and three of padding.
        body.extend([40u16.to_ne_bytes(), SKMEMINFO.to_ne_bytes()].concat());
        body.extend(memory);
        message(0, &[&body])
    }

    #[test]
    fn an_answer_is_parsed_and_a_cut_one_is_not_believed() {
        let mut found = Vec::new();
        let two = [answer(), answer()].concat();
        assert_eq!(parse(&two, &mut found), Ok(false));
        let expected = ListeningSocket {
            address: Some(SocketAddr::from(([127, 0, 0, 1], 9001))),
            queued: 3,
            limit: 128,
            drops: Some(12),
        };
        assert_eq!(found, [expected; 2]);
        for length in 0..answer().len() {
            let mut found = Vec::new();
            assert!(parse(&answer()[..length], &mut found).is_ok());
            assert!(found.iter().all(
                |socket| ListeningSocket { drops: None, ..*socket } == ListeningSocket { drops: None, ..expected }
            ));
        }
    }

    #[test]
    fn the_end_and_errors_are_recognized() {
        let mut done = message(0, &[&[0; 4]]);
        done[4..6].copy_from_slice(&NLMSG_DONE.to_ne_bytes());
        assert_eq!(parse(&done, &mut Vec::new()), Ok(true));
        let mut refused = message(0, &[&(-2i32).to_ne_bytes()]);
        refused[4..6].copy_from_slice(&NLMSG_ERROR.to_ne_bytes());
        assert_eq!(parse(&refused, &mut Vec::new()), Err(Errno::NOENT));
    }
}
