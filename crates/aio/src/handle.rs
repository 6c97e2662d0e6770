//! The operations of a stream, which its handles share.

use crate::Message;
use crate::connection::{Connection, Opening, Outcome, Received};
use crate::error::{CloseReason, Error, TrySendError};
use crate::request::{Answer, Request};
use crate::shard::RuntimeShard;
use ringway::{CloseCode, SendOutcome, Unopened};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Answers the request of a connection.
pub(crate) type Answerer = dyn Fn(&Request) -> Answer;

/// A connection and its shard.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    shard: Rc<RuntimeShard>,
    connection: Rc<Connection>,
}

impl Handle {
    pub(crate) fn new(shard: Rc<RuntimeShard>, connection: Rc<Connection>) -> Self {
        Self { shard, connection }
    }

    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.connection, &other.connection)
    }

    /// Drops one of the two handles.
    pub(crate) fn release(&self, handle: u8) {
        let is_last = self.connection.release(handle);
        if !self.connection.has_receiver() {
            self.discard();
        }
        if is_last {
            self.shard.abandon(&self.connection);
        }
    }

    /// Drops the messages that were not received, and those that follow.
    fn discard(&self) {
        let (bytes, was_paused) = self.connection.discard();
        self.shard.took(bytes);
        if was_paused {
            self.resume();
        }
    }

    fn resume(&self) {
        self.with_open(|conn| conn.resume());
        self.shard.request_turn();
    }

    /// Calls `call` with the connection; `None` if it is not open or closing in the engine.
    fn with_open<R>(&self, call: impl FnOnce(&mut ringway::Connection<'_, crate::streams::Streams>) -> R) -> Option<R> {
        let id = self.connection.id()?;
        self.shard.with(|_, shard| shard.connection(id).map(|mut conn| call(&mut conn))).flatten()
    }

    /// Why nothing can be sent.
    fn closed(&self) -> Error {
        self.outcome().and_then(|outcome| outcome.error()).unwrap_or(Error::Closed)
    }

    fn outcome(&self) -> Option<Outcome> {
        self.connection.outcome().or_else(|| self.shard.end().map(Outcome::Failed))
    }

    /// Waits until the connection is open. `answer` answers its request.
    pub(crate) fn poll_open(&self, cx: &mut Context<'_>, answer: Option<&Answerer>) -> Poll<Result<(), Error>> {
        loop {
            match self.connection.poll_opening(cx.waker()) {
                Opening::Open => return Poll::Ready(Ok(())),
                Opening::Failed(error) => return Poll::Ready(Err(error)),
                Opening::Answer(request) => {
                    let answer = answer.map_or_else(Answer::accept, |answer| answer(&request));
                    let rejection = answer.rejection();
                    let upgrade = answer.into_upgrade(Rc::clone(&self.connection));
                    if let Some(id) = self.connection.id() {
                        self.shard.with(|_, shard| shard.answer(id, upgrade));
                        self.shard.request_turn();
                    }
                    if let Some(status) = rejection {
                        // The response is sent although the handles are dropped now.
                        self.connection.ended(Outcome::Failed(Unopened::Rejected(status).into()));
                    }
                }
                Opening::Wait => {
                    return match self.shard.end() {
                        Some(error) => Poll::Ready(Err(error)),
                        None => Poll::Pending,
                    };
                }
            }
        }
    }

    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match self.connection.poll_received(cx.waker()) {
            Received::Message { message, resumes } => {
                self.shard.took(message.weight());
                if resumes {
                    self.resume();
                }
                Poll::Ready(Some(Ok(message)))
            }
            Received::Failed(error) => Poll::Ready(Some(Err(error))),
            Received::End => Poll::Ready(None),
            Received::Nothing { resumes } => {
                if resumes {
                    self.resume();
                }
                Poll::Pending
            }
        }
    }

    pub(crate) fn try_send(&self, message: Message) -> Result<(), TrySendError> {
        enum Sent {
            Done,
            Full,
            TooLarge,
        }
        if let Some(kept) = self.connection.take_unsent() {
            // The sink has accepted it before.
            match self.try_send(kept) {
                Ok(()) => {}
                Err(TrySendError::Full(kept)) => {
                    // It was taken just now.
                    let _ = self.connection.keep_unsent(kept);
                    return Err(TrySendError::Full(message));
                }
                Err(TrySendError::Failed(_, error)) => return Err(TrySendError::Failed(message, error)),
            }
        }
        let sent = self.with_open(|conn| match conn.send(message.lent()) {
            SendOutcome::Sent | SendOutcome::Queued(_) => Some(Sent::Done),
            SendOutcome::Full(_) => Some(Sent::Full),
            SendOutcome::TooLarge(_) => Some(Sent::TooLarge),
            _ => None,
        });
        match sent.flatten() {
            Some(Sent::Done) => {
                self.shard.request_turn();
                Ok(())
            }
            Some(Sent::Full) => Err(TrySendError::Full(message)),
            Some(Sent::TooLarge) => {
                let len = message.len();
                Err(TrySendError::Failed(message, Error::TooLarge(len)))
            }
            None => Err(TrySendError::Failed(message, self.closed())),
        }
    }

    /// Sends the message that the sink has kept. Ready when none is left.
    pub(crate) fn poll_unsent(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let Some(message) = self.connection.take_unsent() else { return Poll::Ready(Ok(())) };
        let mut message = Some(message);
        let sent = self.poll_send(cx, &mut message);
        if let Some(message) = message
            && sent.is_pending()
        {
            // It was taken just now.
            let _ = self.connection.keep_unsent(message);
        }
        sent
    }

    /// Sends `message`, and takes it then; waits while too much output waits for the peer.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, message: &mut Option<Message>) -> Poll<Result<(), Error>> {
        let Some(taken) = message.take() else { return Poll::Ready(Ok(())) };
        match self.try_send(taken) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(TrySendError::Full(returned)) => {
                *message = Some(returned);
                self.connection.await_writable(cx.waker());
                Poll::Pending
            }
            Err(TrySendError::Failed(_, error)) => Poll::Ready(Err(error)),
        }
    }

    /// Keeps a message of the sink that is not accepted at once.
    pub(crate) fn start_send(&self, message: Message) -> Result<(), Error> {
        match self.try_send(message) {
            Ok(()) => Ok(()),
            // `poll_unsent` precedes it.
            Err(TrySendError::Full(message)) => self.connection.keep_unsent(message).map_err(|_| Error::Closed),
            Err(TrySendError::Failed(_, error)) => Err(error),
        }
    }

    /// Waits until the kernel has all output. While the connection is closing, waits for its end.
    pub(crate) fn poll_flush(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if let Some(outcome) = self.outcome() {
            return Poll::Ready(outcome.error().map_or(Ok(()), Err));
        }
        std::task::ready!(self.poll_unsent(cx))?;
        self.connection.await_writable(cx.waker());
        let waits = self.with_open(|conn| {
            conn.notify_drained();
            conn.buffered_amount() > 0 || !conn.is_open()
        });
        if waits == Some(false) { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// Begins the closing handshake, behind the output. Has no effect on a connection that is closing.
    pub(crate) fn begin_close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let closed = self.with_open(|conn| conn.close(code, reason));
        self.shard.request_turn();
        Ok(closed.unwrap_or(Ok(()))?)
    }

    /// Waits for the end of the connection.
    pub(crate) fn poll_closed(&self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self.outcome() {
            Some(outcome) => Poll::Ready(outcome.error().map_or(Ok(()), Err)),
            None => {
                self.connection.await_writable(cx.waker());
                Poll::Pending
            }
        }
    }

    pub(crate) fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        let sent = self.with_open(|conn| conn.ping(payload)).ok_or_else(|| self.closed())?;
        self.shard.request_turn();
        Ok(sent?)
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        self.with_open(|conn| conn.buffered_amount()).unwrap_or(0)
    }

    pub(crate) fn is_open(&self) -> bool {
        self.with_open(|conn| conn.is_open()).unwrap_or(false)
    }

    pub(crate) fn is_compressing(&self) -> bool {
        self.with_open(|conn| conn.is_compressing()).unwrap_or(false)
    }

    pub(crate) fn remote_addr(&self) -> Option<SocketAddr> {
        self.with_open(|conn| conn.remote_addr()).flatten()
    }

    pub(crate) fn subprotocol(&self) -> Option<String> {
        self.connection.subprotocol()
    }

    pub(crate) fn close_reason(&self) -> Option<Arc<CloseReason>> {
        match self.connection.outcome()? {
            Outcome::Closed(reason) => Some(reason),
            Outcome::Failed(_) => None,
        }
    }
}
