//! The messages of a hand-over, on a Unix stream socket.
//!
//! Each message is a header of 16 bytes: `RINGWAY\0`, the version, the kind and a count. The sockets
//! follow their header in batches: for each socket one byte, with two flags and the number of its
//! part, and the descriptors as SCM_RIGHTS with the first byte of the batch.

use super::{HandoverError, MAX_SOCKETS};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

const MAGIC: &[u8; 8] = b"RINGWAY\0";
pub(super) const VERSION: u16 = 2;

/// The maximum number of descriptors of one message (the kernel has 253).
const BATCH: usize = 64;

/// What a header announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The new process asks for the sockets.
    Hello = 1,
    /// The old process passes them; the count is their number.
    Sockets = 2,
    /// The new process serves.
    Ready = 3,
    /// The old process accepts no more, and drains.
    Draining = 4,
    /// The old process has waited too long for `Ready`, and goes on serving.
    Late = 5,
}

/// One socket, its flags and its part.
#[derive(Debug)]
pub(super) struct PassedSocket {
    pub(super) socket: OwnedFd,
    pub(super) flags: u8,
}

/// A service manager has opened the socket.
pub(super) const FOREIGN: u8 = 1;
/// Its clients use TLS.
pub(super) const SECURE: u8 = 2;
/// The number of its part is above the flags.
const PART_SHIFT: u32 = 2;

impl PassedSocket {
    /// The byte that describes a socket of this part.
    pub(super) const fn describe(part: u8, flags: u8) -> u8 {
        part << PART_SHIFT | flags
    }

    pub(super) const fn part(&self) -> u8 {
        self.flags >> PART_SHIFT
    }
}

pub(super) fn send(mut stream: &UnixStream, kind: Kind, count: u32) -> Result<(), HandoverError> {
    let mut header = [0; 16];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_le_bytes());
    header[10..12].copy_from_slice(&(kind as u16).to_le_bytes());
    header[12..].copy_from_slice(&count.to_le_bytes());
    Ok(stream.write_all(&header)?)
}

/// Receives a header of this kind. Returns its count.
pub(super) fn receive(mut stream: &UnixStream, kind: Kind) -> Result<u32, HandoverError> {
    let mut header = [0; 16];
    stream.read_exact(&mut header)?;
    if &header[..8] != MAGIC {
        return Err(HandoverError::Protocol("sends no message of the protocol"));
    }
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if number(8) != VERSION {
        return Err(HandoverError::Version(number(8), VERSION));
    }
    if number(10) == Kind::Late as u16 {
        return Err(HandoverError::Late);
    }
    if number(10) != kind as u16 {
        return Err(HandoverError::Protocol("sends another message than the expected one"));
    }
    Ok(u32::from_le_bytes([header[12], header[13], header[14], header[15]]))
}

/// Sends the sockets, after their header.
pub(super) fn send_sockets(stream: &UnixStream, sockets: &[(BorrowedFd<'_>, u8)]) -> Result<(), HandoverError> {
    if sockets.len() > MAX_SOCKETS {
        return Err(HandoverError::TooMany(sockets.len()));
    }
    send(stream, Kind::Sockets, sockets.len() as u32)?;
    for batch in sockets.chunks(BATCH) {
        let flags: Vec<u8> = batch.iter().map(|(_, flags)| *flags).collect();
        let descriptors: Vec<BorrowedFd<'_>> = batch.iter().map(|(socket, _)| *socket).collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let sent =
            sendmsg(stream, &[IoSlice::new(&flags)], &mut control, SendFlags::NOSIGNAL).map_err(io::Error::from)?;
        let mut rest = stream;
        rest.write_all(&flags[sent..])?;
    }
    Ok(())
}

/// Receives the sockets, with their header.
pub(super) fn receive_sockets(stream: &UnixStream) -> Result<Vec<PassedSocket>, HandoverError> {
    let count = receive(stream, Kind::Sockets)? as usize;
    if count > MAX_SOCKETS {
        return Err(HandoverError::TooMany(count));
    }
    let mut sockets = Vec::new();
    while sockets.len() < count {
        let size = BATCH.min(count - sockets.len());
        let mut flags = [0; BATCH];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let received =
            recvmsg(stream, &mut [IoSliceMut::new(&mut flags[..size])], &mut control, RecvFlags::CMSG_CLOEXEC)
                .map_err(io::Error::from)?;
        let descriptors: Vec<OwnedFd> = control
            .drain()
            .filter_map(|message| match message {
                RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                _ => None,
            })
            .flatten()
            .collect();
        let mut rest = stream;
        rest.read_exact(&mut flags[received.bytes..size])?;
        if descriptors.len() != size {
            return Err(HandoverError::Protocol("passes fewer sockets than it announces (`ulimit -n` may be too low)"));
        }
        sockets.extend(descriptors.into_iter().zip(flags).map(|(socket, flags)| PassedSocket { socket, flags }));
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().expect("two sockets")
    }

    #[test]
    fn sockets_arrive_in_order_with_their_flags_over_several_batches() {
        let (old, new) = pair();
        let null = std::fs::File::open("/dev/null").expect("a device");
        let flags: Vec<u8> = (0..150).map(|at| PassedSocket::describe(at as u8 % 64, at as u8 % 4)).collect();
        let passed: Vec<_> = flags.iter().map(|flags| (null.as_fd(), *flags)).collect();
        send_sockets(&old, &passed).expect("the buffer has room");
        let received = receive_sockets(&new).expect("complete");
        assert_eq!(received.iter().map(|socket| socket.flags).collect::<Vec<_>>(), flags);
        assert!(received.iter().zip(0..150).all(|(socket, at)| socket.part() == at as u8 % 64));
        let inode = |fd: BorrowedFd<'_>| rustix::fs::fstat(fd).expect("open").st_ino;
        assert!(received.iter().all(|socket| inode(socket.socket.as_fd()) == inode(null.as_fd())));
    }

    #[test]
    fn other_bytes_versions_kinds_and_counts_are_refused() {
        let refused = |bytes: &[u8]| {
            let (mut old, new) = pair();
            old.write_all(bytes).expect("the buffer has room");
            drop(old);
            receive_sockets(&new).expect_err("refused")
        };
        let header = |version: u8, kind: u8, count: u32| {
            [&b"RINGWAY\0"[..], &[version, 0, kind, 0], &count.to_le_bytes()].concat()
        };
        assert!(matches!(refused(b"GET / HTTP/1.1\r\n"), HandoverError::Protocol(_)));
        assert!(matches!(refused(&header(9, 2, 1)), HandoverError::Version(9, VERSION)));
        assert!(matches!(refused(&header(2, 4, 1)), HandoverError::Protocol(_)));
        assert!(matches!(refused(&header(2, 5, 0)), HandoverError::Late));
        assert!(matches!(refused(&header(2, 2, u32::MAX)), HandoverError::TooMany(_)));
        assert!(matches!(refused(&header(2, 2, 1)), HandoverError::Io(_)));
        assert!(matches!(refused(&[header(2, 2, 1), vec![0]].concat()), HandoverError::Protocol(_)));
    }
}
