//! The two halves of a stream.

use crate::Message;
use crate::connection::{Connection, RECEIVER, SENDER};
use crate::error::{CloseReason, Error, TrySendError};
use crate::handle::Handle;
use crate::shard::RuntimeShard;
use ringway::CloseCode;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

/// The sending half of a [`WebSocket`](crate::WebSocket).
///
/// Pings and closes of the peer are answered whether or not a half is polled. When both halves are
/// dropped, the connection is dropped as with a `WebSocket`.
#[derive(Debug)]
pub struct Sender(pub(crate) Handle);

/// The receiving half of a [`WebSocket`](crate::WebSocket). When it is dropped alone, messages are
/// received and discarded, so that pings and the peer's close are still answered.
#[derive(Debug)]
pub struct Receiver(pub(crate) Handle);

/// Both handles of a connection.
pub(crate) fn handles(shard: Rc<RuntimeShard>, connection: Rc<Connection>) -> (Sender, Receiver) {
    let handle = Handle::new(shard, connection);
    (Sender(handle.clone()), Receiver(handle))
}

impl Sender {
    /// As [`WebSocket::send`](crate::WebSocket::send).
    ///
    /// # Errors
    /// As [`WebSocket::send`](crate::WebSocket::send).
    pub async fn send(&mut self, message: impl Into<Message>) -> Result<(), Error> {
        let mut message = Some(message.into());
        poll_fn(|cx| {
            std::task::ready!(self.0.poll_unsent(cx))?;
            self.0.poll_send(cx, &mut message)
        })
        .await
    }

    /// As [`WebSocket::try_send`](crate::WebSocket::try_send).
    ///
    /// # Errors
    /// As [`WebSocket::try_send`](crate::WebSocket::try_send).
    pub fn try_send(&mut self, message: impl Into<Message>) -> Result<(), TrySendError> {
        self.0.try_send(message.into())
    }

    /// As [`WebSocket::flush`](crate::WebSocket::flush).
    ///
    /// # Errors
    /// As [`WebSocket::flush`](crate::WebSocket::flush).
    pub async fn flush(&mut self) -> Result<(), Error> {
        poll_fn(|cx| self.0.poll_flush(cx)).await
    }

    /// As [`WebSocket::ping`](crate::WebSocket::ping).
    ///
    /// # Errors
    /// As [`WebSocket::ping`](crate::WebSocket::ping).
    pub fn ping(&mut self, payload: &[u8]) -> Result<(), Error> {
        self.0.ping(payload)
    }

    /// As [`WebSocket::close`](crate::WebSocket::close).
    ///
    /// # Errors
    /// As [`WebSocket::close`](crate::WebSocket::close).
    pub async fn close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let mut has_begun = false;
        poll_fn(|cx| {
            if !has_begun {
                if self.0.is_open() {
                    std::task::ready!(self.0.poll_unsent(cx))?;
                }
                self.0.begin_close(code, reason)?;
                has_begun = true;
            }
            self.0.poll_closed(cx)
        })
        .await
    }

    /// As [`WebSocket::buffered_amount`](crate::WebSocket::buffered_amount).
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.0.buffered_amount()
    }

    /// As [`WebSocket::is_open`](crate::WebSocket::is_open).
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.is_open()
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.0.release(SENDER);
    }
}

impl Receiver {
    /// As [`WebSocket::next`](crate::WebSocket::next).
    pub async fn next(&mut self) -> Option<Result<Message, Error>> {
        poll_fn(|cx| self.0.poll_next(cx)).await
    }

    /// As [`WebSocket::subprotocol`](crate::WebSocket::subprotocol).
    #[must_use]
    pub fn subprotocol(&self) -> Option<String> {
        self.0.subprotocol()
    }

    /// As [`WebSocket::remote_addr`](crate::WebSocket::remote_addr).
    #[must_use]
    pub fn remote_addr(&self) -> Option<SocketAddr> {
        self.0.remote_addr()
    }

    /// As [`WebSocket::close_reason`](crate::WebSocket::close_reason).
    #[must_use]
    pub fn close_reason(&self) -> Option<Arc<CloseReason>> {
        self.0.close_reason()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.0.release(RECEIVER);
    }
}
