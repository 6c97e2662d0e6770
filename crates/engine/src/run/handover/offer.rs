//! The side of the old process: a thread that offers the listening sockets.

use super::protocol::{self, FOREIGN, Kind, SECURE};
use super::{CONFIRM_TIMEOUT, HandoverError, STEP_TIMEOUT};
use crate::api::handler::Handler;
use crate::api::shard::{Shard, ShardHandle};
use crate::run::readiness::Readiness;
use crate::shard::drain::DrainReason;
use ringway_codec::Scheme;
use ringway_io::{Address, Listener, UnixAddress, UnixSocket};
use rustix::fs::OFlags;
use rustix::net::SocketFlags;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

/// What is handed over, and how the old process ends.
pub(crate) struct Offer<H: Handler> {
    pub(crate) handles: Vec<ShardHandle<H>>,
    pub(crate) schemes: Vec<(Address, Scheme)>,
    pub(crate) readiness: Readiness,
    /// Called before the drain.
    pub(crate) before: Box<dyn FnOnce() + Send>,
}

impl<H: Handler> Offer<H> {
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
                Ok(sockets) => {
                    (self.before)();
                    self.readiness.drain();
                    sockets.iter().for_each(|(socket, _)| socket.own_file(false));
                    drop(sockets);
                    self.handles.iter().for_each(|handle| handle.drain(DrainReason::HandOver));
                    // The successor listens at the same path next.
                    drop(listener);
                    if let Err(error) = protocol::send(&stream, Kind::Draining, 0) {
                        tracing::warn!("the successor has the sockets, and has gone: {error}");
                    }
                    return;
                }
                // A probe whether a server listens here connects and says nothing.
                Err(HandoverError::Io(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tracing::info!("a successor has ended before it was ready; this process goes on serving");
                }
                Err(error) => tracing::warn!("no hand-over, this process goes on serving: {error}"),
            }
        }
    }

    /// Passes the sockets on, and waits until the successor serves.
    fn transfer(&self, stream: &UnixStream) -> Result<Vec<(Listener, u8)>, HandoverError> {
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
            stream.set_read_timeout(Some(CONFIRM_TIMEOUT))?;
            protocol::receive(stream, Kind::Ready)
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

    /// Duplicates of the listening sockets of all shards, each socket once, with their flags.
    fn sockets(&self) -> Result<Vec<(Listener, u8)>, HandoverError> {
        let (mut sockets, mut inodes) = (Vec::new(), Vec::new());
        for (shard, handle) in self.handles.iter().enumerate() {
            let (answer, answered) = mpsc::sync_channel(1);
            let ask = move |_: &mut H, shard: &mut Shard<'_, H>| {
                let _ = answer.send(shard.duplicate_listeners());
            };
            let failed = |_| HandoverError::Shard(shard);
            handle.post(ask).map_err(|_| HandoverError::Shard(shard))?;
            for (_, listener) in answered.recv_timeout(STEP_TIMEOUT).map_err(failed)?? {
                let inode = rustix::fs::fstat(&listener).map_err(io::Error::from)?.st_ino;
                if inodes.contains(&inode) {
                    continue; // Shards share it.
                }
                inodes.push(inode);
                let secure = self.schemes.iter().any(|(of, scheme)| of == listener.address() && *scheme == Scheme::Wss);
                let flags = if listener.is_foreign() { FOREIGN } else { 0 } | if secure { SECURE } else { 0 };
                sockets.push((listener, flags));
            }
        }
        Ok(sockets)
    }
}
