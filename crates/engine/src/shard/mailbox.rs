//! A bounded queue of work for a shard, filled by other threads.

use ringway_io::Waker;
use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much work may wait in one mailbox.
const CAPACITY: usize = 4096;

/// The mailbox of one shard; clones share it.
pub(crate) struct Mailbox<W> {
    queue: Arc<Mutex<WorkQueue<W>>>,
    /// Whether the shard was told to stop. Apart from the queue, which may be full.
    stopping: Arc<AtomicBool>,
    waker: Waker,
}

struct WorkQueue<W> {
    waiting: VecDeque<W>,
    /// The shard has ended: nobody will do what is posted.
    closed: bool,
}

/// Why work was not taken.
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
    /// The shard has not kept up: as much work as its mailbox holds is waiting. Try again later.
    #[error("the shard's mailbox is full ({CAPACITY} pieces of work wait)")]
    Full,
    /// The shard has ended.
    #[error("the shard has ended")]
    Ended,
}

impl<W> Mailbox<W> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self {
            queue: Arc::new(Mutex::new(WorkQueue { waiting: VecDeque::new(), closed: false })),
            stopping: Arc::default(),
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
            return Err(PostError::Full);
        }
        let was_empty = queue.waiting.is_empty();
        queue.waiting.push_back(work);
        drop(queue);
        if was_empty {
            self.waker.wake();
        }
        Ok(())
    }

    /// Tells the shard to stop, whatever is waiting.
    pub(crate) fn request_stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the shard was told to stop.
    pub(crate) fn is_stop_requested(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Takes all that is waiting.
    pub(crate) fn take(&self) -> VecDeque<W> {
        std::mem::take(&mut self.queue().waiting)
    }

    /// The shard ends: what is waiting is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        let mut queue = self.queue();
        queue.closed = true;
        let waiting = std::mem::take(&mut queue.waiting);
        // Dropping work may run the application's code, which may post.
        drop(queue);
        drop(waiting);
    }
}

impl<W> Clone for Mailbox<W> {
    fn clone(&self) -> Self {
        Self { queue: Arc::clone(&self.queue), stopping: Arc::clone(&self.stopping), waker: self.waker.clone() }
    }
}

impl<W> fmt::Debug for Mailbox<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}
