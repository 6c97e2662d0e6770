//! Raw TCP echo on plain epoll, the independent floor: level-triggered, one shared buffer, one read
//! and one write for each event. It uses the standard library and rustix only and no crate of this
//! workspace, so that a slowdown of the io_uring driver does not slow it down too.

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fd::OwnedFd;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};

/// Bytes of the shared buffer.
const BUFFER: usize = 512 << 10;

/// The maximum number of events of one wait.
const EVENTS: usize = 1024;

/// The backlog of the listener; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Listens on `address`. Several sockets can listen on one port, one for each thread.
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

/// Echoes on all connections of `listener`, on the calling thread, until `stop` is readable.
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
                // Closing the socket removes it from the epoll set.
                *entry = None;
            }
        }
    }
}

/// The number of a descriptor: it identifies the descriptor in events and is the index of a
/// connection.
pub(super) fn key(of: &impl AsFd) -> u64 {
    of.as_fd().as_raw_fd().unsigned_abs().into()
}

/// Accepts all pending connections.
fn accept(listener: &TcpListener, epoll: &OwnedFd, connections: &mut Vec<Option<EpollConnection>>) -> io::Result<()> {
    accept_all(listener, |stream| {
        let index = key(&stream);
        epoll::add(epoll, &stream, EventData::new_u64(index), EventFlags::IN)?;
        let index = index as usize;
        if connections.len() <= index {
            connections.resize_with(index + 1, || None);
        }
        connections[index] = Some(EpollConnection { stream, unsent: Vec::new() });
        Ok(())
    })
}

/// Accepts all pending connections, and hands each to `add`.
pub(super) fn accept_all(listener: &TcpListener, mut add: impl FnMut(TcpStream) -> io::Result<()>) -> io::Result<()> {
    loop {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            // The client has already reset the connection.
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        add(stream)?;
    }
}

/// A connection.
struct EpollConnection {
    stream: TcpStream,
    /// Bytes that the socket did not accept. While there are any, the connection waits until it is
    /// writable and is not read.
    unsent: Vec<u8>,
}

impl EpollConnection {
    /// Reads once and writes the bytes back, or continues to write. An error or the end of the
    /// stream closes the connection.
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

    /// Sets the events of the connection to `flags`.
    fn wait_for(&self, epoll: &OwnedFd, flags: EventFlags) -> io::Result<()> {
        Ok(epoll::modify(epoll, &self.stream, EventData::new_u64(key(&self.stream)), flags)?)
    }
}

/// Writes once. Returns the number of bytes that the socket accepted, 0 if it is full.
pub(super) fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    match stream.write(bytes) {
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(0),
        result => result,
    }
}
