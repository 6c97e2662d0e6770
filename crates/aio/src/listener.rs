//! A listening socket whose connections become streams.

use crate::accept::Acceptor;
use crate::error::Error;
use crate::websocket::WebSocket;
use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::Sleep;

/// The maximum number of opening handshakes that are in progress at once. Beyond it, connections wait
/// in the queue of the kernel.
const MAX_OPENING: usize = 1024;

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
    opening: Vec<WebSocket>,
    /// While no descriptor is left.
    pause: Option<Pin<Box<Sleep>>>,
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
                    return Ok(Self { socket, address, acceptor: Acceptor::new(), opening: Vec::new(), pause: None });
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

    /// The next WebSocket that is open. Up to 1024 opening handshakes are in progress at once, so that
    /// a slow peer delays no other. Connections that fail to open are logged at the level debug, and
    /// skipped. While no descriptor is left, connections wait in the queue of the kernel.
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
        if let Poll::Ready(Err(error)) = self.poll_sockets(cx) {
            return Poll::Ready(Err(error));
        }
        let mut at = 0;
        while let Some(socket) = self.opening.get(at) {
            match socket.sender.0.poll_open(cx, self.acceptor.answerer()) {
                Poll::Pending => at += 1,
                Poll::Ready(result) => {
                    let socket = self.opening.swap_remove(at);
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
        }
        Poll::Pending
    }

    /// Takes connections out of the queue of the kernel.
    fn poll_sockets(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while self.opening.len() < MAX_OPENING {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match std::task::ready!(self.socket.poll_accept(cx)) {
                Ok((stream, _)) => {
                    let socket = OwnedFd::from(stream.into_std()?);
                    match self.acceptor.begin(socket) {
                        Ok(socket) => self.opening.push(socket),
                        // The peer is gone already.
                        Err(Error::Socket(error)) => tracing::debug!("a connection could not be used: {error}"),
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
        Poll::Pending
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
