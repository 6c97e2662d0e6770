//! The listening sockets of a running server, as its shards pass them on.

use super::{HandoverError, STEP_TIMEOUT};
use crate::api::handler::Handler;
use crate::api::shard::{Shard, ShardHandle};
use ringway_codec::Scheme;
use ringway_io::{Address, DatagramSocket, Listener};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// The time between two questions whether a shard has ended its accepts, which takes it a turn or
/// two.
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// A socket, and what it is used for.
pub(super) type OfferedSocket = (Offered, SocketUse);

/// A socket that is passed on.
#[derive(Debug)]
pub(super) enum Offered {
    Listener(Listener),
    Datagrams(DatagramSocket),
}

impl Offered {
    /// Whether a service manager has opened it.
    pub(super) fn is_foreign(&self) -> bool {
        matches!(self, Self::Listener(listener) if listener.is_foreign())
    }

    /// Whether its file is removed with it.
    pub(super) fn own_file(&self, owned: bool) {
        if let Self::Listener(listener) = self {
            listener.own_file(owned);
        }
    }
}

impl AsFd for Offered {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Listener(listener) => listener.as_fd(),
            Self::Datagrams(socket) => socket.as_fd(),
        }
    }
}

/// What the clients of a socket speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SocketUse {
    Plain,
    Tls,
    /// The echo service.
    Echo,
}

/// A server whose sockets are passed on.
pub(super) trait Source: Send {
    /// Duplicates of its listening sockets. Shards may share one.
    ///
    /// # Errors
    /// [`HandoverError::Shard`] if a shard does not answer.
    fn sockets(&self) -> Result<Vec<OfferedSocket>, HandoverError>;

    /// Ends accepting, and waits until no accept is in flight, until the deadline at most.
    ///
    /// # Errors
    /// As above; that shard may still accept until it drains.
    fn stop_listening(&self, deadline: Instant) -> Result<(), HandoverError>;
}

/// The listening sockets of a running server ([`Running::handover_part`]), to pass them on with those
/// of another one ([`OfferOptions::part`]). Does not keep the server running.
///
/// [`Running::handover_part`]: crate::Running::handover_part
/// [`OfferOptions::part`]: super::OfferOptions::part
pub struct Part(pub(super) Box<dyn Source>);

impl Part {
    /// The sockets of these shards. Clients speak the scheme of their address.
    pub(crate) fn new<H: Handler>(
        handles: &[ShardHandle<H>],
        addresses: &[Address],
        schemes: &[Scheme],
        echo: &[Address],
    ) -> Self {
        let schemes = addresses.iter().cloned().zip(schemes.iter().copied()).collect();
        Self(Box::new(ShardSource { handles: handles.to_vec(), schemes, echo: echo.to_vec() }))
    }
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").finish_non_exhaustive()
    }
}

/// The shards of a server.
struct ShardSource<H: Handler> {
    handles: Vec<ShardHandle<H>>,
    schemes: Vec<(Address, Scheme)>,
    /// The addresses of the echo service.
    echo: Vec<Address>,
}

impl<H: Handler> ShardSource<H> {
    /// The answer of a shard until the deadline.
    fn ask<R: Send + 'static>(
        &self,
        shard: usize,
        deadline: Instant,
        question: impl FnOnce(&mut Shard<'_, H>) -> R + Send + 'static,
    ) -> Result<R, HandoverError> {
        let (answer, answered) = mpsc::sync_channel(1);
        let ask = move |_: &mut H, shard: &mut Shard<'_, H>| drop(answer.send(question(shard)));
        self.handles[shard].post(ask).map_err(|_| HandoverError::Shard(shard))?;
        let left = deadline.saturating_duration_since(Instant::now());
        answered.recv_timeout(left).map_err(|_| HandoverError::Shard(shard))
    }
}

impl<H: Handler> Source for ShardSource<H> {
    fn sockets(&self) -> Result<Vec<OfferedSocket>, HandoverError> {
        let mut sockets = Vec::new();
        for shard in 0..self.handles.len() {
            let deadline = Instant::now() + STEP_TIMEOUT;
            for (_, listener) in self.ask(shard, deadline, |shard| shard.duplicate_listeners())?? {
                let is_own = |(of, scheme): &(Address, Scheme)| of == listener.address() && *scheme == Scheme::Wss;
                let used = match self.schemes.iter().any(is_own) {
                    _ if self.echo.contains(listener.address()) => SocketUse::Echo,
                    true => SocketUse::Tls,
                    false => SocketUse::Plain,
                };
                sockets.push((Offered::Listener(listener), used));
            }
            for socket in self.ask(shard, deadline, |shard| shard.duplicate_datagrams())?? {
                sockets.push((Offered::Datagrams(socket), SocketUse::Echo));
            }
        }
        Ok(sockets)
    }

    fn stop_listening(&self, deadline: Instant) -> Result<(), HandoverError> {
        // All at once, so that the queues are left alone for as short a time as possible.
        for (shard, handle) in self.handles.iter().enumerate() {
            let stop = |_: &mut H, shard: &mut Shard<'_, H>| shard.stop_listening();
            handle.post(stop).map_err(|_| HandoverError::Shard(shard))?;
        }
        for shard in 0..self.handles.len() {
            while self.ask(shard, deadline, |shard| shard.has_listeners())? {
                if Instant::now() >= deadline {
                    return Err(HandoverError::Shard(shard));
                }
                thread::sleep(POLL_INTERVAL);
            }
        }
        Ok(())
    }
}
