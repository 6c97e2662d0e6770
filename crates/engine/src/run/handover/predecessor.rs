//! The side of the new process.

use super::protocol::{self, FOREIGN, Kind, PassedSocket, SECURE};
use super::{HandoverError, STEP_TIMEOUT};
use crate::run::error::StartError;
use ringway_io::{Address, Listener, UnixAddress};
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
    /// The listeners, and the addresses of those with TLS.
    pub(crate) fn take_listeners(&mut self) -> Result<(Vec<Listener>, Vec<Address>), StartError> {
        let (mut listeners, mut secure) = (Vec::new(), Vec::new());
        for PassedSocket { socket, flags } in self.sockets.drain(..) {
            let listener = Listener::take_over(socket, flags & FOREIGN != 0)?;
            if flags & SECURE != 0 {
                secure.push(listener.address().clone());
            }
            if listener.address().unix().is_some() {
                self.files.extend(listener.duplicate());
            }
            listeners.push(listener);
        }
        Ok((listeners, secure))
    }

    /// Whether a socket has clients with TLS, so that this process needs a certificate.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.sockets.iter().any(|socket| socket.flags & SECURE != 0)
    }

    /// Confirms that this process serves, and waits until the other one has begun to drain.
    ///
    /// # Errors
    /// A [`HandoverError`] if the other process has ended meanwhile, or has given up. Both may serve
    /// then.
    pub fn release(self) -> Result<(), HandoverError> {
        protocol::send(&self.stream, Kind::Ready, 0)?;
        protocol::receive(&self.stream, Kind::Draining)?;
        self.files.iter().for_each(|listener| listener.own_file(true));
        Ok(())
    }
}
