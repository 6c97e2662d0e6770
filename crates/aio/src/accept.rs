//! The server role on a socket that the program has accepted.

use crate::connection::Connection;
use crate::error::Error;
use crate::handle::Answerer;
use crate::request::{Answer, Request};
use crate::room::RoomWait;
use crate::shard::RuntimeShard;
use crate::websocket::WebSocket;
use ringway::TlsConfig;
use ringway_io::Detached;
use std::fmt;
use std::future::poll_fn;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::Poll;
use tokio_uring::net::TcpStream;

/// Accepts a WebSocket on a TCP connection.
///
/// The connection is taken over, with the bytes that wait in its socket. No operation of its own may
/// be in flight, not even of a future that was dropped: tokio-uring would pass bytes to it.
///
/// It counts towards the limits of the runtime. While the accept rate allows no connection
/// ([`Admission::accept_rate`](ringway::Admission::accept_rate)), it waits.
///
/// ```no_run
/// use tokio_uring::net::TcpListener;
///
/// tokio_uring::start(async {
///     let listener = TcpListener::bind("127.0.0.1:9001".parse()?)?;
///     loop {
///         let (stream, _) = listener.accept().await?;
///         tokio_uring::spawn(async move {
///             let mut ws = ringway_aio::accept(stream).await?;
///             while let Some(message) = ws.next().await {
///                 ws.send(message?).await?;
///             }
///             Ok::<(), ringway_aio::Error>(())
///         });
///     }
///     # #[allow(unreachable_code)]
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Accept`] if the peer sends no valid request in time
/// ([`Config::handshake_timeout`](ringway::Config::handshake_timeout)); it was answered with the
/// status then. [`Error::Full`] if a limit of connections is reached. If the future is dropped, the
/// connection is closed.
///
/// # Panics
/// In a runtime of tokio that is not one of tokio-uring.
pub async fn accept(stream: TcpStream) -> Result<WebSocket, Error> {
    Acceptor::new().accept(stream).await
}

/// As [`accept`], with an answer to the request.
///
/// ```no_run
/// use ringway_aio::{Answer, StatusCode};
///
/// # async fn serve(stream: tokio_uring::net::TcpStream) -> Result<(), ringway_aio::Error> {
/// let ws = ringway_aio::accept_with(stream, |request| match request.path() {
///     "/chat" => Answer::accept().subprotocol("chat.v2"),
///     _ => Answer::reject(StatusCode::NOT_FOUND, "there is only /chat"),
/// })
/// .await?;
/// # drop(ws);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// As [`accept`], and [`Error::Accept`] with [`Unopened::Rejected`](ringway::Unopened::Rejected) after
/// a rejection.
///
/// # Panics
/// As [`accept`].
pub async fn accept_with(stream: TcpStream, answer: impl Fn(&Request) -> Answer + 'static) -> Result<WebSocket, Error> {
    Acceptor::new().answer(answer).accept(stream).await
}

/// The options of accepted connections. Cheap to clone.
///
/// ```no_run
/// use ringway_aio::{Acceptor, Listener, TlsConfig};
///
/// tokio_uring::start(async {
///     let tls = TlsConfig::from_files("chain.pem", "key.pem")?;
///     let mut listener = Listener::bind("0.0.0.0:443")?.with(Acceptor::new().tls(&tls));
///     let ws = listener.accept().await?;
///     # drop(ws);
///     Ok::<(), Box<dyn std::error::Error>>(())
/// })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Acceptor {
    tls: Option<TlsConfig>,
    answer: Option<Rc<Answerer>>,
}

impl Acceptor {
    /// Without TLS; each valid request is accepted.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Uses TLS. Clones of one configuration share its state; a runtime takes at most 256 that are no
    /// clones.
    #[must_use]
    pub fn tls(mut self, tls: &TlsConfig) -> Self {
        self.tls = Some(tls.clone());
        self
    }

    /// Answers each request with `answer`, which runs in the task that accepts. Without it, each valid
    /// request is accepted, with the first of [`Config::subprotocols`](ringway::Config::subprotocols)
    /// that the client offers.
    #[must_use]
    pub fn answer(mut self, answer: impl Fn(&Request) -> Answer + 'static) -> Self {
        self.answer = Some(Rc::new(answer));
        self
    }

    /// Accepts a WebSocket on a TCP connection of tokio-uring.
    ///
    /// # Errors
    /// As [`accept_with`].
    ///
    /// # Panics
    /// As [`accept`].
    pub async fn accept(&self, stream: TcpStream) -> Result<WebSocket, Error> {
        let socket = ringway_io::tokio_uring::into_socket(stream)?;
        self.accept_socket(socket).await
    }

    /// Accepts a WebSocket on any connected stream socket: of TCP, or a Unix socket.
    ///
    /// # Errors
    /// As [`accept_with`], and [`Error::Socket`] for another kind of descriptor.
    ///
    /// # Panics
    /// As [`accept`].
    pub async fn accept_socket(&self, socket: impl Into<OwnedFd>) -> Result<WebSocket, Error> {
        let socket = socket.into();
        {
            let room = RoomWait::new(RuntimeShard::current()?);
            poll_fn(|cx| if room.shard().is_full() { Poll::Ready(Err(Error::Full)) } else { room.poll(cx).map(Ok) })
                .await?;
        }
        let socket = self.begin(socket)?;
        socket.opened(self.answer.as_deref()).await?;
        Ok(socket)
    }

    /// Begins the opening handshake. The stream is not open yet.
    pub(crate) fn begin(&self, socket: OwnedFd) -> Result<WebSocket, Error> {
        let shard = RuntimeShard::current()?;
        let socket = Detached::from_socket(socket)?;
        let connection = Rc::new(Connection::new(self.answer.is_some()));
        let accepted = shard.with_local(|local| {
            let id = local.accept(socket, self.tls.as_ref())?.ok_or(Error::Full)?;
            connection.identify(id);
            local.handler_mut().expect(id, &connection);
            Ok::<(), Error>(())
        });
        accepted.unwrap_or(Err(Error::Stopped))?;
        shard.request_turn();
        Ok(WebSocket::new(shard, connection))
    }

    pub(crate) fn answerer(&self) -> Option<&Answerer> {
        self.answer.as_deref()
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").field("tls", &self.tls.is_some()).field("answer", &self.answer.is_some()).finish()
    }
}
