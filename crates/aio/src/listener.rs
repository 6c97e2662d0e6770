//! A listening socket whose connections become streams.

use crate::accept::Acceptor;
use crate::error::Error;
use crate::opening::OpeningSockets;
use crate::shard::RuntimeShard;
use crate::websocket::WebSocket;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Sleep;

/// The default of [`Listener::max_opening`].
const MAX_OPENING: usize = 1024;

/// How long an opening handshake keeps its place at that limit. A burst of connections on a busy core
/// is served in turn, and does not end its own handshakes.
const GRACE: Duration = Duration::from_secs(1);

/// The maximum number of connections that are accepted between two turns of the shard.
const MAX_ACCEPTED: usize = 64;

/// The length of the kernel's queue of connections.
const BACKLOG: u32 = 4096;

/// How long accepting pauses when no descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// Listens on a TCP port of this runtime. Dropping it closes the port, and the connections whose
/// opening handshake is not complete.
///
/// For a server on all cores, see [`serve`](crate::serve).
///
/// ```
/// use ringway_aio::Listener;
///
/// tokio_uring::start(async {
///     let listener = Listener::bind("127.0.0.1:0")?;
///     assert_ne!(listener.local_addr().port(), 0);
///     Ok::<(), ringway_aio::Error>(())
/// })?;
/// # Ok::<(), ringway_aio::Error>(())
/// ```
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    acceptor: Acceptor,
    opening: OpeningSockets,
    max_opening: usize,
    /// That of the runtime, from the first accept on.
    shard: Option<Rc<RuntimeShard>>,
    /// While no descriptor is left.
    pause: Option<Pin<Box<Sleep>>>,
    /// Ends when the oldest handshake may give its place to another.
    grace: Option<Pin<Box<Sleep>>>,
}

impl Listener {
    /// Listens on the first address that works. A name is looked up in this thread; give an address.
    ///
    /// # Errors
    /// [`Error::Socket`] if no address works, [`Error::NoRuntime`] outside of a runtime.
    pub fn bind(address: impl ToSocketAddrs) -> Result<Self, Error> {
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::NoRuntime);
        }
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "the name has no address");
        for address in address.to_socket_addrs()? {
            match listen(address).and_then(|socket| Ok((socket.local_addr()?, socket))) {
                Ok((address, socket)) => {
                    return Ok(Self {
                        socket,
                        address,
                        acceptor: Acceptor::new(),
                        opening: OpeningSockets::default(),
                        max_opening: MAX_OPENING,
                        shard: None,
                        pause: None,
                        grace: None,
                    });
                }
                Err(error) => last = io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")),
            }
        }
        Err(last.into())
    }

    /// Sets the options of the connections that are accepted from now on.
    #[must_use]
    pub fn with(mut self, acceptor: Acceptor) -> Self {
        self.acceptor = acceptor;
        self
    }

    /// The address, with the port that the system has chosen for port 0.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Sets how many opening handshakes may be in progress at once. Default 1024. At the limit, a new
    /// connection takes the place of the oldest one, once that is 1 s old: connections that send
    /// nothing delay others by at most that time.
    #[must_use]
    pub fn max_opening(mut self, handshakes: NonZeroUsize) -> Self {
        self.max_opening = handshakes.get();
        self
    }

    /// The next WebSocket that is open. Opening handshakes are in progress at once, so that a slow peer
    /// delays no other: see [`Listener::max_opening`]. Connections that fail to open are logged at the
    /// level debug, and skipped.
    ///
    /// Connections wait in the queue of the kernel while this runtime has
    /// [`Limits::max_connections`](ringway::Limits::max_connections), while
    /// [`Admission::accept_rate`](ringway::Admission::accept_rate) allows none, and while no descriptor
    /// is left.
    ///
    /// Cancellation-safe: connections whose handshake has begun stay in the listener.
    ///
    /// # Errors
    /// Only if this runtime can open no further connection: [`Error::Stopped`], [`Error::Start`] and
    /// [`Error::Driver`]; or [`Error::Socket`] if the listening socket fails.
    ///
    /// # Panics
    /// In a runtime of tokio that is not one of tokio-uring.
    pub async fn accept(&mut self) -> Result<WebSocket, Error> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// As [`Listener::accept`].
    fn poll_accept(&mut self, cx: &mut Context<'_>) -> Poll<Result<WebSocket, Error>> {
        let shard = self.shard()?;
        if let Some(error) = shard.end() {
            return Poll::Ready(Err(error));
        }
        // Those that are open leave before new ones take the place of others.
        if let Poll::Ready(result) = self.poll_opening(cx) {
            return Poll::Ready(result);
        }
        if let Poll::Ready(Err(error)) = self.poll_sockets(&shard, cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_opening(cx)
    }

    /// The shard of the runtime, which wakes this listener at its end.
    fn shard(&mut self) -> Result<Rc<RuntimeShard>, Error> {
        if let Some(shard) = &self.shard {
            return Ok(Rc::clone(shard));
        }
        let shard = RuntimeShard::current()?;
        shard.watch_end(self.opening.woken());
        self.shard = Some(Rc::clone(&shard));
        Ok(shard)
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> Poll<Result<WebSocket, Error>> {
        loop {
            let (socket, result) = std::task::ready!(self.opening.poll(cx, self.acceptor.answerer()));
            // There may be room for another connection now.
            cx.waker().wake_by_ref();
            match result {
                Ok(()) => return Poll::Ready(Ok(socket)),
                Err(error @ (Error::Stopped | Error::RuntimeEnded | Error::Driver(_))) => {
                    return Poll::Ready(Err(error));
                }
                Err(error) => tracing::debug!("a connection did not open: {error}"),
            }
        }
    }

    /// Takes connections out of the queue of the kernel.
    fn poll_sockets(&mut self, shard: &RuntimeShard, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..MAX_ACCEPTED {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            std::task::ready!(shard.poll_room(cx));
            std::task::ready!(self.poll_place(cx));
            match std::task::ready!(self.socket.poll_accept(cx)) {
                Ok((stream, _)) => {
                    let socket = OwnedFd::from(stream.into_std()?);
                    if self.opening.len() >= self.max_opening {
                        tracing::debug!("a connection did not open within {GRACE:?}, and gives its place to another");
                        self.opening.drop_oldest();
                    }
                    match self.acceptor.begin(socket) {
                        Ok(socket) => self.opening.push(socket),
                        // The peer is gone already, or a limit is reached.
                        Err(error @ (Error::Socket(_) | Error::Full)) => {
                            tracing::debug!("a connection could not be used: {error}");
                        }
                        Err(error) => return Poll::Ready(Err(error)),
                    }
                }
                Err(error) if is_of_peer(&error) => {}
                Err(error) if is_shortage(&error) => {
                    tracing::warn!("accepting pauses: {error}; raise the limit of open files (`ulimit -n`)");
                    self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
                }
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        // The shard has a turn before any of these gives its place to another.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Waits until a handshake can begin: below the limit, or when the oldest one is old enough to
    /// give its place to it.
    fn poll_place(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.opening.len() < self.max_opening {
            return Poll::Ready(());
        }
        let Some(oldest) = self.opening.oldest() else { return Poll::Ready(()) };
        let at = oldest + GRACE;
        let grace = self.grace.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if grace.deadline() != at {
            grace.as_mut().reset(at);
        }
        grace.as_mut().poll(cx)
    }
}

/// Whether accept(2) reports an error of the connection that it took out of the queue.
fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown, NetworkUnreachable,
    };
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | HostUnreachable | Interrupted | NetworkDown | NetworkUnreachable
    )
}

/// Whether descriptors or memory are short: EMFILE, ENFILE, ENOBUFS or ENOMEM.
fn is_shortage(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(24 | 23 | 105 | 12))
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("address", &self.address).field("opening", &self.opening.len()).finish()
    }
}
