//! Raw TCP echo on plain epoll, the independent floor: level-triggered, one shared buffer, one read and one write for
//! each event. It needs the standard library and rustix alone, and no crate of this workspace, so that a loss in the
//! io_uring driver does not lower it too.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

/// Bytes of the shared buffer.
const BUFFER: usize = 512 << 10;

/// How many events one wait returns at most.
const EVENTS: usize = 1024;

/// How many connections wait to be accepted at most; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// A socket that listens on `address`. Several may listen on one port, one for each thread.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    sockopt::set_socket_reuseport(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Echoes what comes to connections of `listener`, on the calling thread, until `stop` is readable.
pub(crate) fn serve(listener: &TcpListener, stop: impl AsFd) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let (listening, stopping) = (key(listener), key(&stop));
    epoll::add(&epoll, listener, EventData::new_u64(listening), EventFlags::IN)?;
    epoll::add(&epoll, stop.as_fd(), EventData::new_u64(stopping), EventFlags::IN)?;
    let mut connections: Vec<Option<EpollConnection>> = Vec::new();
    let mut buffer = vec![0; BUFFER];
    let mut events: Vec<Event> = Vec::with_capacity(EVENTS);
    loop {
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        for event in events.drain(..) {
            let key = event.data.u64();
            if key == stopping {
                return Ok(());
            }
            if key == listening {
                accept(listener, &epoll, &mut connections)?;
            } else if let Some(entry) = connections.get_mut(key as usize)
                && entry.as_mut().is_some_and(|connection| connection.echo(&epoll, &mut buffer).is_err())
            {
                // Closing the socket takes it out of the epoll set.
                *entry = None;
            }
        }
    }
}

/// What tells descriptors apart in events, and the index of a connection: the descriptor's number.
fn key(of: &impl AsFd) -> u64 {
    of.as_fd().as_raw_fd().unsigned_abs().into()
}

/// Accepts all connections that wait.
fn accept(listener: &TcpListener, epoll: &OwnedFd, connections: &mut Vec<Option<EpollConnection>>) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The client has given up already.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let index = key(&stream);
        epoll::add(epoll, &stream, EventData::new_u64(index), EventFlags::IN)?;
        let index = index as usize;
        if connections.len() <= index {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(EpollConnection { stream, unsent: Vec::new() });
    }
}

/// One connection.
struct EpollConnection {
    stream: TcpStream,
    /// What the socket did not take. While there is any, the connection waits to write and nothing more is read from it.
    unsent: Vec<u8>,
}

impl EpollConnection {
    /// Reads once and writes that back, or goes on writing. An error ends the connection; so does its end.
    fn echo(&mut self, epoll: &OwnedFd, buffer: &mut [u8]) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let sent = write(&mut self.stream, &self.unsent)?;
            self.unsent.drain(..sent);
            return if self.unsent.is_empty() { self.wait_for(epoll, EventFlags::IN) } else { Ok(()) };
        }
        let received = match self.stream.read(buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(received) => received,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(()),
            Err(error) => return Err(error),
        };
        let sent = write(&mut self.stream, &buffer[..received])?;
        if sent == received {
            return Ok(());
        }
        self.unsent.extend_from_slice(&buffer[sent..received]);
        self.wait_for(epoll, EventFlags::OUT)
    }

    /// Has the next event of the connection be one of `flags`.
    fn wait_for(&self, epoll: &OwnedFd, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(epoll, &self.stream, EventData::new_u64(key(&self.stream)), flags)?)
    }
}

/// Writes once. Returns how many bytes the socket took, 0 when it is full.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        result => result,
    }
}
