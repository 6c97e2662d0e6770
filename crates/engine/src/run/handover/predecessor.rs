//! The side of the new process.

use super::protocol::{self, FOREIGN, Kind, PassedSocket, SECURE};
use super::{ECHO_PART, HandoverError, STEP_TIMEOUT};
use crate::run::error::StartError;
use ringway_io::{Address, DatagramSocket, Listener, UnixAddress};
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

/// The process that this one replaces, between the transfer of its sockets and its drain. Dropping
/// it without [`Predecessor::release`] leaves that process serving.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    sockets: Vec<PassedSocket>,
    /// Duplicates of Unix listeners, whose files this process removes once it has them alone.
    files: Vec<Listener>,
}

/// The listeners of one part.
#[derive(Debug)]
pub(crate) struct TakenListeners {
    pub(crate) listeners: Vec<Listener>,
    /// The addresses of those with TLS.
    pub(crate) secure: Vec<Address>,
}

/// Asks the process that offers its listening sockets at `path` for them; `None` if there is none:
/// no file, or nobody listens.
///
/// # Errors
/// A [`HandoverError`] if the process does not answer, refuses, or speaks another version. It goes
/// on serving.
pub fn take_over(path: impl AsRef<Path>) -> Result<Option<Predecessor>, HandoverError> {
    let path = path.as_ref();
    UnixAddress::from_path(path).map_err(|error| HandoverError::Path { path: path.to_owned(), error })?;
    let stream = match UnixStream::connect(path) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            return Ok(None);
        }
        Err(error) => return Err(error.into()),
    };
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    protocol::send(&stream, Kind::Hello, 0)?;
    let sockets = protocol::receive_sockets(&stream)?;
    Ok(Some(Predecessor { stream, sockets, files: Vec::new() }))
}

impl Predecessor {
    /// The listeners of a part; 0 is the server that made the offer.
    pub(crate) fn take_listeners(&mut self, part: u8) -> Result<TakenListeners, StartError> {
        let mut taken = TakenListeners { listeners: Vec::new(), secure: Vec::new() };
        for PassedSocket { socket, flags } in self.sockets.extract_if(.., |socket| socket.part() == part) {
            let listener = Listener::take_over(socket, flags & FOREIGN != 0)?;
            if flags & SECURE != 0 {
                taken.secure.push(listener.address().clone());
            }
            if listener.address().unix().is_some() {
                self.files.extend(listener.duplicate());
            }
            taken.listeners.push(listener);
        }
        Ok(taken)
    }

    /// The sockets of the echo service on UDP of the server that made the offer.
    pub(crate) fn take_datagrams(&mut self) -> Result<Vec<DatagramSocket>, StartError> {
        let is_one =
            |passed: &mut PassedSocket| passed.part() == ECHO_PART && DatagramSocket::is_datagrams(&passed.socket);
        let taken = self.sockets.extract_if(.., is_one);
        Ok(taken.map(|passed| DatagramSocket::take_over(passed.socket)).collect::<Result<_, _>>()?)
    }

    /// The addresses of the server that made the offer, each once, in the order of its calls of
    /// [`Server::bind`]. Empty once its sockets have been taken.
    ///
    /// [`Server::bind`]: crate::Server::bind
    #[must_use]
    pub fn addresses(&self) -> Vec<Address> {
        let mut addresses = Vec::new();
        for passed in self.sockets.iter().filter(|passed| passed.part() == 0) {
            // Other descriptors are refused when they are taken.
            if let Ok(Some(address)) = Address::of_socket(&passed.socket)
                && !addresses.contains(&address)
            {
                addresses.push(address);
            }
        }
        addresses
    }

    /// Whether a socket of the server that made the offer has clients with TLS, so that this process
    /// needs a certificate if it takes all of them ([`Server::from_predecessor`]). `false` once they
    /// have been taken.
    ///
    /// [`Server::from_predecessor`]: crate::Server::from_predecessor
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.sockets.iter().any(|socket| socket.part() == 0 && socket.flags & SECURE != 0)
    }

    /// Whether a service manager has opened a socket of the server that made the offer
    /// ([`Server::from_listeners`]). `false` once they have been taken.
    ///
    /// [`Server::from_listeners`]: crate::Server::from_listeners
    #[must_use]
    pub fn is_activated(&self) -> bool {
        self.sockets.iter().any(|socket| socket.part() == 0 && socket.flags & FOREIGN != 0)
    }

    /// Confirms that this process serves, and waits until the other one accepts no more and has begun
    /// to drain. Takes some milliseconds, and at most [`STEP_TIMEOUT`].
    ///
    /// Sockets that this process has not taken are closed. Their queues are reset when the other
    /// process has stopped accepting.
    ///
    /// # Errors
    /// [`HandoverError::Late`] if the other process has given up, and goes on serving: this one should
    /// end. Another [`HandoverError`] if that process has ended meanwhile, or does not answer; it may
    /// still serve then.
    pub fn release(self) -> Result<(), HandoverError> {
        let sent = protocol::send(&self.stream, Kind::Ready, 0);
        match protocol::receive(&self.stream, Kind::Draining) {
            Ok(_) => {}
            // The connection may be closed with the answer in it.
            Err(late @ HandoverError::Late) => return Err(late),
            Err(error) => return Err(sent.err().unwrap_or(error)),
        }
        self.files.iter().for_each(|listener| listener.own_file(true));
        // The files of Unix sockets that this process has not taken are removed.
        for PassedSocket { socket, flags } in self.sockets {
            if let Ok(listener) = Listener::take_over(socket, flags & FOREIGN != 0) {
                listener.own_file(true);
            }
        }
        Ok(())
    }
}
