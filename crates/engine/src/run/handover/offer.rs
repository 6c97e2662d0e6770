//! The side of the old process: a thread that offers the listening sockets.

use super::protocol::{self, FOREIGN, Kind, PassedSocket, SECURE};
use super::source::{Offered, SocketUse, Source};
use super::{ECHO_PART, HandoverError, OfferOptions, Part, STEP_TIMEOUT};
use crate::api::handler::Handler;
use crate::api::shard::ShardHandle;
use crate::run::readiness::Readiness;
use crate::shard::drain::DrainReason;
use ringway_io::{Listener, UnixAddress, UnixSocket};
use rustix::fs::OFlags;
use rustix::net::SocketFlags;
use std::collections::HashSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The number of the server that makes the offer.
const OWN_PART: u8 = 0;

/// What is handed over, and how the old process ends.
pub(crate) struct Offer<H: Handler> {
    handles: Vec<ShardHandle<H>>,
    /// The servers whose sockets are passed on, with the numbers of their parts.
    sources: Vec<(u8, Box<dyn Source>)>,
    readiness: Readiness,
    confirm_timeout: Duration,
    /// Called before the drain.
    before: Box<dyn FnOnce() + Send>,
}

/// A socket with its byte of the protocol.
type DescribedSocket = (Offered, u8);

impl<H: Handler> Offer<H> {
    /// Offers the sockets of the server with these shards, and those of the options.
    pub(crate) fn new(handles: Vec<ShardHandle<H>>, own: Part, readiness: Readiness, options: OfferOptions) -> Self {
        let OfferOptions { confirm_timeout, parts, before } = options;
        let sources = [(OWN_PART, own.0)].into_iter().chain(parts).collect();
        Self { handles, sources, readiness, confirm_timeout, before }
    }

    /// Listens at `path`, and starts the thread. It ends with the hand-over, or with the process.
    pub(crate) fn start(self, path: &Path) -> Result<(), HandoverError> {
        let address =
            UnixAddress::from_path(path).map_err(|error| HandoverError::Path { path: path.to_owned(), error })?;
        let socket = UnixSocket::new(address).mode(0o600).map_err(|error| io::Error::other(error.to_string()))?;
        let listener = Listener::bind_unix(&socket)?;
        thread::Builder::new().name("ringway-handover".into()).spawn(move || self.serve(listener))?;
        Ok(())
    }

    /// Serves one successor after the other, until one has taken over.
    fn serve(self, listener: Listener) {
        loop {
            let stream = match rustix::net::accept_with(&listener, SocketFlags::CLOEXEC) {
                Ok(stream) => UnixStream::from(stream),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => continue,
                Err(error) => {
                    tracing::error!("hand-overs are no longer offered: {}", io::Error::from(error));
                    return;
                }
            };
            if self.readiness.is_draining() {
                return;
            }
            match self.transfer(&stream) {
                Ok(sockets) => return self.hand_over(&stream, listener, sockets),
                // A probe whether a server listens here connects and says nothing.
                Err(HandoverError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tracing::info!("a successor has ended before it was ready; this process goes on serving");
                }
                Err(error) => tracing::warn!("no hand-over, this process goes on serving: {error}"),
            }
        }
    }

    /// Ends accepting, and begins the drain.
    fn hand_over(self, stream: &UnixStream, listener: Listener, sockets: Vec<DescribedSocket>) {
        // Before the readiness changes: no connection that opens from then on is told that it came to
        // a server that drains.
        let deadline = Instant::now() + STEP_TIMEOUT / 2;
        for (_, source) in &self.sources {
            if let Err(error) = source.stop_listening(deadline) {
                tracing::warn!("the hand-over continues: {error}");
            }
        }
        (self.before)();
        self.readiness.drain();
        sockets.iter().for_each(|(socket, _)| socket.own_file(false));
        drop(sockets);
        // The successor listens at the same path next.
        drop(listener);
        // Before the drain: without connections, the process may end with it.
        if let Err(error) = protocol::send(stream, Kind::Draining, 0) {
            tracing::warn!("the successor has the sockets, and has gone: {error}");
        }
        self.handles.iter().for_each(|handle| handle.drain(DrainReason::HandOver));
    }

    /// Passes the sockets on, and waits until the successor serves.
    fn transfer(&self, stream: &UnixStream) -> Result<Vec<DescribedSocket>, HandoverError> {
        stream.set_read_timeout(Some(STEP_TIMEOUT))?;
        stream.set_write_timeout(Some(STEP_TIMEOUT))?;
        let peer = rustix::net::sockopt::socket_peercred(stream).map_err(io::Error::from)?;
        if peer.uid != rustix::process::geteuid() && !peer.uid.is_root() {
            return Err(HandoverError::User(peer.uid.as_raw()));
        }
        protocol::receive(stream, Kind::Hello)?;
        let sockets = self.sockets()?;
        let modes: Vec<_> = sockets.iter().map(|(socket, _)| rustix::fs::fcntl_getfl(socket)).collect();
        let passed: Vec<(BorrowedFd<'_>, u8)> =
            sockets.iter().map(|(socket, flags)| (socket.as_fd(), *flags)).collect();
        let result = protocol::send_sockets(stream, &passed).and_then(|()| {
            stream.set_read_timeout(Some(self.confirm_timeout))?;
            match protocol::receive(stream, Kind::Ready) {
                Err(HandoverError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    // It reads this if it confirms later.
                    let _ = protocol::send(stream, Kind::Late, 0);
                    Err(HandoverError::Unconfirmed(peer.pid.as_raw_nonzero().get(), self.confirm_timeout))
                }
                result => result,
            }
        });
        match result {
            Ok(_) => Ok(sockets),
            Err(error) => {
                // The successor may have changed O_NONBLOCK, which belongs to the socket and not to
                // the descriptor.
                for ((socket, _), mode) in sockets.iter().zip(modes) {
                    let nonblocking = mode.is_ok_and(|mode| mode.contains(OFlags::NONBLOCK));
                    let _ = rustix::io::ioctl_fionbio(socket, nonblocking);
                }
                Err(error)
            }
        }
    }

    /// Duplicates of the listening sockets of all servers, each socket once.
    fn sockets(&self) -> Result<Vec<DescribedSocket>, HandoverError> {
        let (mut sockets, mut inodes) = (Vec::new(), HashSet::new());
        for (part, source) in &self.sources {
            for (listener, used) in source.sockets()? {
                let inode = rustix::fs::fstat(&listener).map_err(io::Error::from)?.st_ino;
                if !inodes.insert(inode) {
                    continue; // Shards share it.
                }
                let secure = if used == SocketUse::Tls { SECURE } else { 0 };
                let flags = if listener.is_foreign() { FOREIGN } else { 0 } | secure;
                // The service of another server is found by its address.
                let part = if used == SocketUse::Echo && *part == OWN_PART { ECHO_PART } else { *part };
                sockets.push((listener, PassedSocket::describe(part, flags)));
            }
        }
        Ok(sockets)
    }
}
