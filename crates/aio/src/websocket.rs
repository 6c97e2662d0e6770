//! One WebSocket as an asynchronous stream.

use crate::Message;
use crate::connection::Connection;
use crate::error::{CloseReason, Error, TrySendError};
use crate::halves::{Receiver, Sender, handles};
use crate::handle::Answerer;
use crate::shard::RuntimeShard;
use ringway::CloseCode;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// An open WebSocket.
///
/// Pings and closes of the peer are answered by the runtime's shard, whether or not the stream is
/// polled. Up to 64 messages or 64 KiB that the task has not taken are queued; beyond it, receiving
/// pauses, and the kernel's flow control stops the peer. An idle stream holds no receive buffer.
///
/// All methods that wait are cancellation-safe: a future that is dropped loses no message and sends
/// no part of one.
///
/// Dropping an open WebSocket drops the connection at once, without a close frame: the peer sees an
/// abnormal end (1006). While a panic unwinds, it is closed with 1011. One whose closing handshake
/// has begun completes it in the background, as long as the runtime runs.
///
/// ```
/// use ringway_aio::{CloseCode, Listener, Message};
///
/// tokio_uring::start(async {
///     let mut listener = Listener::bind("127.0.0.1:0")?;
///     let url = format!("ws://{}/", listener.local_addr());
///     tokio_uring::spawn(async move {
///         while let Ok(mut ws) = listener.accept().await {
///             while let Some(Ok(message)) = ws.next().await {
///                 let _ = ws.send(message).await;
///             }
///         }
///     });
///     let mut ws = ringway_aio::connect(&url).await?;
///     ws.send("hello").await?;
///     assert_eq!(ws.next().await.transpose()?, Some(Message::from("hello")));
///     ws.close(CloseCode::NORMAL, "bye").await
/// })?;
/// # Ok::<(), ringway_aio::Error>(())
/// ```
#[derive(Debug)]
pub struct WebSocket {
    pub(crate) sender: Sender,
    pub(crate) receiver: Receiver,
}

impl WebSocket {
    pub(crate) fn new(shard: Rc<RuntimeShard>, connection: Rc<Connection>) -> Self {
        let (sender, receiver) = handles(shard, connection);
        Self { sender, receiver }
    }

    /// Waits until the connection is open. It is borrowed: a future that owned it would be larger by it.
    pub(crate) async fn opened(&self, answer: Option<&Answerer>) -> Result<(), Error> {
        poll_fn(|cx| self.sender.0.poll_open(cx, answer)).await
    }

    /// The next message. `None` when both sides have closed the connection; after an error, which
    /// says how it ended otherwise, also `None`. Messages that were received before the end are
    /// returned first; after [`WebSocket::close`] was called no more are received.
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        self.receiver.next().await
    }

    /// Sends a message. Waits while more than
    /// [`Limits::max_buffered`](ringway::Limits::max_buffered) bytes of output wait for the peer, and
    /// continues when they have fallen to the low-water mark. It does not wait for the peer, nor for
    /// the kernel: see [`WebSocket::flush`]. Costs one copy of the payload.
    ///
    /// If the future is dropped, the message was not sent.
    ///
    /// # Errors
    /// [`Error::Closed`] if the connection is closing, the cause if it has ended otherwise, and
    /// [`Error::TooLarge`] for more than 1 GiB.
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        self.sender.send(message).await
    }

    /// Sends a message without waiting, or hands it back.
    ///
    /// # Errors
    /// [`TrySendError::Full`] if too much output waits for the peer; otherwise as
    /// [`WebSocket::send`].
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.sender.try_send(message)
    }

    /// Waits until the kernel has taken all output. While the connection is closing, waits for its
    /// end.
    ///
    /// # Errors
    /// The cause, if the connection has ended without a closing handshake.
    pub async fn flush(&mut self) -> Result<(), Error> {
        self.sender.flush().await
    }

    /// Sends a ping of up to 125 bytes. The answer restarts the idle timeout, and is not reported.
    /// Has no effect on a connection that is closing.
    ///
    /// # Errors
    /// [`Error::Ping`] for a longer payload, and the cause if the connection has ended.
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.sender.ping(payload)
    }

    /// Closes the connection, behind the output, and waits for its end: at most
    /// [`Config::close_limit`](ringway::Config::close_limit). Begins with the first poll; if the
    /// future is dropped then, the closing handshake goes on. On a connection that is closing, waits
    /// for the end.
    ///
    /// # Errors
    /// [`Error::CloseCode`] for a code that must not be sent; the connection stays open then.
    /// Otherwise the cause, if the connection has ended without a complete closing handshake.
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        self.sender.close(code, reason).await
    }

    /// How the connection ended; `None` before.
    #[must_use]
    pub fn close_reason(&self) -> Option<Arc<CloseReason>> {
        self.receiver.close_reason()
    }

    /// The subprotocol that the opening handshake agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<String> {
        self.receiver.subprotocol()
    }

    /// The peer's address; `None` after the end, and for a Unix socket. Costs one `getpeername(2)`.
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.receiver.remote_addr()
    }

    /// The number of bytes of output that wait for the peer, with frame headers; 0 after the end.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.sender.buffered_amount()
    }

    /// Whether messages can be sent: no close frame has been sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.sender.is_open()
    }

    /// Whether messages can be compressed: the opening handshake agreed on permessage-deflate.
    #[must_use]
    pub fn is_compressing(&self) -> bool {
        self.sender.0.is_compressing()
    }

    /// Splits the stream, so that two tasks can send and receive. Costs nothing.
    #[must_use]
    pub fn split(self) -> (Sender, Receiver) {
        let Self { sender, receiver } = self;
        (sender, receiver)
    }

    /// Joins the halves of one stream.
    ///
    /// # Errors
    /// The halves, if they belong to different streams.
    pub fn join(sender: Sender, receiver: Receiver) -> Result<Self, (Sender, Receiver)> {
        if sender.0.is_same(&receiver.0) { Ok(Self { sender, receiver }) } else { Err((sender, receiver)) }
    }
}
