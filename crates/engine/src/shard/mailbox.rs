//! A bounded queue of work for a shard, filled by other threads.

use crate::shard::drain::DrainReason;
use ringway_io::Waker;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The maximum number of items of work in one mailbox.
const CAPACITY: usize = 4096;

/// The value of [`Mailbox::draining`] before a request.
const NOT_REQUESTED: u8 = 0;

/// The mailbox of one shard; clones share it.
pub(crate) struct Mailbox<W> {
    queue: Arc<Mutex<WorkQueue<W>>>,
    /// Whether the shard was requested to drain, and why: 0, or 1 and the number of the reason.
    /// Separate from the queue, which may be full.
    draining: Arc<AtomicU8>,
    counts: Arc<MailboxCounts>,
    waker: Waker,
}

/// The numbers of a mailbox that metrics report. They are written under the lock of the queue, and
/// read without it.
#[derive(Debug, Default)]
pub(crate) struct MailboxCounts {
    waiting: AtomicU64,
    refused: AtomicU64,
}

impl MailboxCounts {
    /// The number of items of work that wait.
    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// How often work was not accepted because the mailbox was full.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

struct WorkQueue<W> {
    waiting: VecDeque<W>,
    /// The shard has ended: posted work would never run.
    closed: bool,
}

/// Why work was not accepted.
///
/// ```
/// use ringway::{Client, Connection, Handler, Message, PostError, Shards};
/// # struct Quiet;
/// # impl Handler for Quiet {
/// #     type State = ();
/// #     fn upgrade(&mut self, _: &ringway::Request<'_>) -> ringway::Upgrade<()> { ringway::Upgrade::accept(()) }
/// #     fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}
/// # }
///
/// let running = Client::new().shards(Shards::Count(1)).start(|_| Quiet)?;
/// let handle = running.handles()[0].clone();
/// running.stop();
/// running.wait()?;
/// assert_eq!(handle.post(|_, _| {}), Err(PostError::Ended));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PostError {
    /// The mailbox is full, because the shard is slower than the senders. Try again later.
    #[error("the shard's mailbox is full ({CAPACITY} items of work wait)")]
    Full,
    /// The shard has ended.
    #[error("the shard has ended")]
    Ended,
}

impl<W> Mailbox<W> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            queue: Arc::new(Mutex::new(WorkQueue { waiting: VecDeque::new(), closed: false })),
            draining: Arc::default(),
            counts: Arc::default(),
            waker,
        }
    }

    fn queue(&self) -> MutexGuard<'_, WorkQueue<W>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds work, and wakes the shard if there was none.
    pub(crate) fn post(&self, work: W) -> Result<(), PostError> {
        let mut queue = self.queue();
        if queue.closed {
            return Err(PostError::Ended);
        }
        if queue.waiting.len() >= CAPACITY {
            self.counts.refused.fetch_add(1, Ordering::Relaxed);
            return Err(PostError::Full);
        }
        let was_empty = queue.waiting.is_empty();
        queue.waiting.push_back(work);
        self.counts.waiting.store(queue.waiting.len() as u64, Ordering::Relaxed);
        drop(queue);
        if was_empty {
            self.waker.wake();
        }
        Ok(())
    }

    pub(crate) fn counts(&self) -> Arc<MailboxCounts> {
        Arc::clone(&self.counts)
    }

    /// Requests the shard to drain, regardless of queued work. The first request counts.
    pub(crate) fn request_drain(&self, reason: DrainReason) {
        let _ = self.draining.compare_exchange(NOT_REQUESTED, reason as u8 + 1, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }

    /// Why the shard was requested to drain.
    pub(crate) fn requested_drain(&self) -> Option<DrainReason> {
        let reasons = [DrainReason::Stop, DrainReason::HandOver];
        let request = self.draining.load(Ordering::Acquire);
        reasons.into_iter().find(|reason| *reason as u8 + 1 == request)
    }

    /// Takes all queued work.
    pub(crate) fn take(&self) -> VecDeque<W> {
        let mut queue = self.queue();
        self.counts.waiting.store(0, Ordering::Relaxed);
        std::mem::take(&mut queue.waiting)
    }

    /// Closes the mailbox: queued work is dropped, and no further work is accepted.
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        self.counts.waiting.store(0, Ordering::Relaxed);
        let waiting = std::mem::take(&mut queue.waiting);
        // Dropping work can run the application's code, which may post.
        drop(queue);
        drop(waiting);
    }
}

impl<W> Clone for Mailbox<W> {
    fn clone(&self) -> Self {
        Self {
            queue: Arc::clone(&self.queue),
            draining: Arc::clone(&self.draining),
            counts: Arc::clone(&self.counts),
            waker: self.waker.clone(),
        }
    }
}

impl<W> fmt::Debug for Mailbox<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
