//! Fan-out by raw sends on plain epoll, the independent floor of `bench --parts fanout`: the bytes
//! of each message are written to all connections, its sender included, by one write(2) each. The
//! messages of one read are written together.
//!
//! It serves the WebSocket client of the generator, and no other: a complete handshake, unfragmented
//! messages, and the close frame. Of this workspace it uses one function, which calculates the
//! answer to the key of a handshake, so that a slowdown of the engine does not slow it down too.

use super::epoll::{accept_all, key, write};
use ringway_codec::Key;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use std::io::{self, ErrorKind, Read};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;

/// Bytes of the shared receive buffer.
const BUFFER: usize = 512 << 10;

/// The maximum number of events of one wait.
const EVENTS: usize = 1024;

/// The maximum length of a handshake.
const MAX_HEAD: usize = 8 << 10;

/// The maximum length of a message.
const MAX_MESSAGE: usize = 16 << 20;

/// The maximum number of bytes that wait for all sockets together. A connection that would exceed it
/// is closed.
const MAX_UNSENT: usize = 1 << 30;

/// Serves all connections of `listener`, on the calling thread, until `stop` is readable.
pub(super) fn serve(listener: &TcpListener, stop: impl AsFd) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let (listening, stopping) = (key(listener), key(&stop));
    epoll::add(&epoll, listener, EventData::new_u64(listening), EventFlags::IN)?;
    epoll::add(&epoll, stop.as_fd(), EventData::new_u64(stopping), EventFlags::IN)?;
    let mut members = Members { epoll, all: Vec::new(), unsent: 0 };
    let mut buffer = vec![0; BUFFER];
    let mut published = Vec::new();
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        match epoll::wait(&members.epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        for event in events.drain(..) {
            let key = event.data.u64();
            if key == stopping {
                return Ok(());
            }
            if key == listening {
                accept_all(listener, |stream| members.add(stream))?;
                continue;
            }
            members.progress(key as usize, &mut buffer, &mut published);
            if !published.is_empty() {
                members.send_to_all(&published);
                published.clear();
            }
        }
    }
}

/// The connections, by descriptor.
struct Members {
    epoll: OwnedFd,
    all: Vec<Option<Member>>,
    /// The bytes that wait for all sockets.
    unsent: usize,
}

impl Members {
    fn add(&mut self, stream: TcpStream) -> io::Result<()> {
        let index = key(&stream);
        epoll::add(&self.epoll, &stream, EventData::new_u64(index), EventFlags::IN)?;
        let index = index as usize;
        if self.all.len() <= index {
            self.all.resize_with(index + 1, || None);
        }
        self.all[index] = Some(Member { stream, input: Vec::new(), is_open: false, unsent: Vec::new() });
        Ok(())
    }

    /// Continues to write to a connection, and reads from it. The frames to distribute are appended
    /// to `published`.
    fn progress(&mut self, index: usize, buffer: &mut [u8], published: &mut Vec<u8>) {
        let Some(Some(member)) = self.all.get_mut(index) else { return };
        let before = member.unsent.len();
        let result = member.flush(&self.epoll).and_then(|()| member.read(buffer, published));
        self.unsent = self.unsent + member.unsent.len() - before;
        if result.is_err() {
            self.remove(index);
        }
    }

    /// Writes the same bytes to all connections.
    fn send_to_all(&mut self, bytes: &[u8]) {
        for index in 0..self.all.len() {
            let Some(member) = self.all[index].as_mut().filter(|member| member.is_open) else { continue };
            let before = member.unsent.len();
            let result = member.send(bytes, &self.epoll);
            self.unsent = self.unsent + member.unsent.len() - before;
            if result.is_err() || self.unsent > MAX_UNSENT {
                self.remove(index);
            }
        }
    }

    /// Closes a connection, which removes it from the epoll set.
    fn remove(&mut self, index: usize) {
        if let Some(member) = self.all[index].take() {
            self.unsent -= member.unsent.len();
        }
    }
}

/// A connection.
struct Member {
    stream: TcpStream,
    /// The bytes of a handshake or of a frame that is incomplete.
    input: Vec<u8>,
    /// Whether the handshake is complete.
    is_open: bool,
    /// Bytes that the socket did not accept.
    unsent: Vec<u8>,
}

impl Member {
    fn send(&mut self, bytes: &[u8], epoll: &OwnedFd) -> io::Result<()> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = write(&mut self.stream, bytes)?;
        if sent < bytes.len() {
            self.unsent.extend_from_slice(&bytes[sent..]);
            self.wait_for(epoll, EventFlags::IN | EventFlags::OUT)?;
        }
        Ok(())
    }

    fn flush(&mut self, epoll: &OwnedFd) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let sent = write(&mut self.stream, &self.unsent)?;
        self.unsent.drain(..sent);
        if self.unsent.is_empty() { self.wait_for(epoll, EventFlags::IN) } else { Ok(()) }
    }

    fn wait_for(&self, epoll: &OwnedFd, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(epoll, &self.stream, EventData::new_u64(key(&self.stream)), flags)?)
    }

    /// Reads once. An error, or the end of the stream, closes the connection.
    fn read(&mut self, buffer: &mut [u8], published: &mut Vec<u8>) -> io::Result<()> {
        let received = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(received) => received,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error),
        };
        self.input.extend_from_slice(&buffer[..received]);
        let mut at = 0;
        if !self.is_open {
            let Some((answer, len)) = handshake(&self.input)? else { return Ok(()) };
            // The answer is shorter than any send buffer, and the first bytes of the connection.
            if write(&mut self.stream, answer.as_bytes())? < answer.len() {
                return Err(ErrorKind::WriteZero.into());
            }
            (self.is_open, at) = (true, len);
        }
        while let Some(len) = distribute(&self.input[at..], published)? {
            at += len;
        }
        self.input.drain(..at);
        Ok(())
    }
}

/// The answer to a handshake, and the length of the request. `None`: it is incomplete.
fn handshake(input: &[u8]) -> io::Result<Option<(String, usize)>> {
    let Some(end) = input.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
        return if input.len() > MAX_HEAD { Err(ErrorKind::InvalidData.into()) } else { Ok(None) };
    };
    let key = input[..end].split(|byte| *byte == b'\n').find_map(|line| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        line[..colon].eq_ignore_ascii_case(b"sec-websocket-key").then(|| line[colon + 1..].trim_ascii())
    });
    let accept = key.and_then(Key::parse).ok_or(ErrorKind::InvalidData)?.accept();
    let accept = String::from_utf8_lossy(&accept);
    let answer = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Ok(Some((answer, end + 4)))
}

/// Appends the server's frame of a client's message to `published`, and returns the length of the
/// client's frame (RFC 6455 section 5.2). `None`: the frame is incomplete. An error ends the
/// connection: its peer has sent a close frame, or a frame that the generator does not send.
fn distribute(input: &[u8], published: &mut Vec<u8>) -> io::Result<Option<usize>> {
    let &[first, second, ref rest @ ..] = input else { return Ok(None) };
    if !matches!(first, 0x81 | 0x82) || second & 0x80 == 0 {
        return Err(ErrorKind::ConnectionAborted.into());
    }
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let Some((length, rest)) = rest.split_at_checked(extended) else { return Ok(None) };
    let payload_len = match extended {
        0 => usize::from(second & 0x7f),
        _ => length.iter().fold(0, |len, byte| len << 8 | usize::from(*byte)),
    };
    if payload_len > MAX_MESSAGE {
        return Err(ErrorKind::InvalidData.into());
    }
    let Some((mask, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some(payload) = rest.get(..payload_len) else { return Ok(None) };
    published.extend([first, second & 0x7f]);
    published.extend_from_slice(length);
    published.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    Ok(Some(2 + extended + mask.len() + payload_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc6455_5_2_a_message_becomes_the_servers_frame_of_the_same_length_form() {
        for len in [0, 5, 125, 126, 65_535, 65_536] {
            let payload: Vec<u8> = (0..len).map(|at| at as u8).collect();
            let mut input = vec![0x82];
            match len {
                0..=125 => input.push(0x80 | len as u8),
                126..=65_535 => input.extend([&[0xfe][..], &(len as u16).to_be_bytes()].concat()),
                _ => input.extend([&[0xff][..], &(len as u64).to_be_bytes()].concat()),
            }
            let head = input.len();
            input.extend([1, 2, 3, 4]);
            input.extend(payload.iter().enumerate().map(|(at, byte)| byte ^ [1, 2, 3, 4][at % 4]));
            let mut published = Vec::new();
            for short in [0, 1, head, head + 3, input.len() - 1].into_iter().filter(|short| *short < input.len()) {
                let found = distribute(&input[..short], &mut published).expect("the beginning is valid");
                assert!(found.is_none() && published.is_empty(), "{len}: {short} bytes");
            }
            let taken = distribute(&[&input[..], b"next"].concat(), &mut published).expect("valid");
            assert_eq!(taken, Some(input.len()));
            input[1] &= 0x7f;
            assert!(published == [&input[..head], &payload].concat(), "{len}");
        }
    }

    #[test]
    fn frames_that_the_generator_does_not_send_end_the_connection() {
        for wrong in [&[0x88, 0x80][..], &[0x01, 0x80], &[0x81, 0x05], &[0x82, 0xff, 0, 0, 0, 0, 1, 0, 0, 1]] {
            assert!(distribute(wrong, &mut Vec::new()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn rfc6455_1_3_the_key_of_the_example_is_answered() {
        let request = b"GET / HTTP/1.1\r\nsec-websocket-KEY: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nrest";
        let (answer, len) = handshake(request).expect("valid").expect("complete");
        assert!(answer.contains("\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"), "{answer}");
        assert_eq!(len, request.len() - 4);
        assert!(handshake(&request[..20]).expect("valid so far").is_none());
        assert!(handshake(b"GET / HTTP/1.1\r\n\r\n").is_err(), "it has no key");
        assert!(handshake(&[b'x'; MAX_HEAD + 1]).is_err());
    }
}
