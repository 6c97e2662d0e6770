//! The connections of a listener whose opening handshake is in progress.

use crate::error::Error;
use crate::handle::Answerer;
use crate::websocket::WebSocket;
use crate::woken::WokenList;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::time::Instant;

/// The connections, the oldest first. Each has a waker of its own, so that only those are polled for
/// which something has happened.
#[derive(Default)]
pub(crate) struct OpeningSockets {
    sockets: BTreeMap<u64, OpeningSocket>,
    /// The number of the next one.
    next: u64,
    woken: Arc<WokenList>,
}

struct OpeningSocket {
    socket: WebSocket,
    waker: Waker,
    since: Instant,
}

impl OpeningSockets {
    pub(crate) fn len(&self) -> usize {
        self.sockets.len()
    }

    /// The list that wakes the task of the listener.
    pub(crate) fn woken(&self) -> &Arc<WokenList> {
        &self.woken
    }

    pub(crate) fn push(&mut self, socket: WebSocket) {
        let number = self.next;
        self.next += 1;
        let waker = self.woken.waker(number);
        self.sockets.insert(number, OpeningSocket { socket, waker, since: Instant::now() });
        self.woken.push(number);
    }

    /// When the oldest one has begun.
    pub(crate) fn oldest(&self) -> Option<Instant> {
        self.sockets.first_key_value().map(|(_, oldest)| oldest.since)
    }

    /// Drops the oldest one.
    pub(crate) fn drop_oldest(&mut self) {
        drop(self.sockets.pop_first());
    }

    /// The next one that is open, or has failed. The task is woken when there may be one.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        answer: Option<&Answerer>,
    ) -> Poll<(WebSocket, Result<(), Error>)> {
        while let Some(number) = self.woken.next(cx.waker()) {
            let Some(OpeningSocket { socket, waker, .. }) = self.sockets.get(&number) else { continue };
            let polled = socket.sender.0.poll_open(&mut Context::from_waker(waker), answer);
            if let Poll::Ready(result) = polled
                && let Some(ended) = self.sockets.remove(&number)
            {
                return Poll::Ready((ended.socket, result));
            }
        }
        Poll::Pending
    }
}
