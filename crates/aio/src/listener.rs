//! A listening socket whose connections become streams.

use crate::accept::Acceptor;
use crate::error::Error;
use crate::opening::OpeningSockets;
use crate::room::RoomWait;
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
use tokio::time::{Instant, Sleep};

/// The default of [`Listener::max_opening`].
const MAX_OPENING: usize = 1024;

/// How long an opening handshake keeps its place at a limit. A burst of connections on a busy core
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
    /// Waits for room in the shard of the runtime, from the first accept on.
    room: Option<Rc<RoomWait>>,
    /// A connection that has displaced the oldest handshake, and since when: it waits for the slot.
    next: Option<(OwnedFd, Instant)>,
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
                        room: None,
                        next: None,
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

    /// Sets how many opening handshakes may be in progress at once. Default 1024. At this limit, and at
    /// [`Limits::max_connections`](ringway::Limits::max_connections), a new connection takes the place of
    /// the oldest handshake of this listener, once that is 1 s old.
    ///
    /// Connections that send nothing therefore delay others by about 1 s, as long as fewer of them arrive
    /// in a second than there are places: `handshakes`, or what connections that are open, or belong to
    /// others than this listener, leave of `max_connections`, if that is less. When more arrive, they
    /// fill the queue of the kernel, and each place takes one of them per second.
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
        let room = self.room()?;
        if let Some(error) = room.shard().end() {
            return Poll::Ready(Err(error));
        }
        // Those that are open leave before new ones take the place of others.
        if let Poll::Ready(result) = self.poll_opening(cx) {
            return Poll::Ready(result);
        }
        if let Poll::Ready(Err(error)) = self.poll_sockets(&room, cx) {
            return Poll::Ready(Err(error));
        }
        self.poll_opening(cx)
    }

    /// The place among those that wait for room in the shard, which wakes this listener at its end.
    fn room(&mut self) -> Result<Rc<RoomWait>, Error> {
        if let Some(room) = &self.room {
            return Ok(Rc::clone(room));
        }
        let shard = RuntimeShard::current()?;
        shard.watch_end(self.opening.woken());
        let room = Rc::new(RoomWait::new(shard));
        self.room = Some(Rc::clone(&room));
        Ok(room)
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

    /// Takes connections out of the queue of the kernel, and begins their handshakes.
    fn poll_sockets(&mut self, room: &RoomWait, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        for _ in 0..MAX_ACCEPTED {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            std::task::ready!(self.poll_place(room, cx));
            let Some(socket) = std::task::ready!(self.poll_socket(cx))? else { continue };
            if self.opening.len() >= self.max_opening || room.shard().is_full() {
                tracing::debug!("a connection did not open within {GRACE:?}, and gives its place to another");
                self.opening.drop_oldest();
                if room.poll(cx).is_pending() {
                    // The slot is free after a turn of the shard.
                    self.next = Some((socket, Instant::now()));
                    continue;
                }
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
        // The shard has a turn before any of these gives its place to another.
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next connection; `None` if there was an error that does not end accepting.
    fn poll_socket(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<OwnedFd>, Error>> {
        if let Some((socket, _)) = self.next.take() {
            return Poll::Ready(Ok(Some(socket)));
        }
        match std::task::ready!(self.socket.poll_accept(cx)) {
            Ok((stream, _)) => return Poll::Ready(Ok(Some(stream.into_std()?.into()))),
            Err(error) if is_of_peer(&error) => {}
            Err(error) if is_shortage(&error) => {
                tracing::warn!("accepting pauses: {error}; raise the limit of open files (`ulimit -n`)");
                self.pause = Some(Box::pin(tokio::time::sleep(PAUSE)));
            }
            Err(error) => return Poll::Ready(Err(error.into())),
        }
        Poll::Ready(Ok(None))
    }

    /// Waits until a handshake can begin: below both limits, or when the oldest one is old enough to
    /// give its place to it.
    fn poll_place(&mut self, room: &RoomWait, cx: &mut Context<'_>) -> Poll<()> {
        let has_room = room.poll(cx).is_ready();
        if has_room && self.opening.len() < self.max_opening {
            return Poll::Ready(());
        }
        if !has_room && !room.shard().is_full() {
            // The accept rate allows none, or too many TLS handshakes wait.
            return Poll::Pending;
        }
        let Some(oldest) = self.opening.oldest() else { return if has_room { Poll::Ready(()) } else { Poll::Pending } };
        // One handshake is dropped for one connection, unless another one has taken the slot.
        let displaced = self.next.as_ref().filter(|_| !has_room).map(|(_, at)| *at);
        let at = displaced.map_or(oldest, |displaced| displaced.max(oldest)) + GRACE;
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
