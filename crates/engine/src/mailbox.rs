//! Work for a shard from other threads.

use crate::{Handler, Shard};
use ringway_io::Waker;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How much work may wait in one mailbox.
const CAPACITY: usize = 4096;

type Work<H> = Box<dyn FnOnce(&mut H, &mut Shard<'_, H>) + Send>;

/// Posts work to one shard from any thread.
pub struct ShardHandle<H: Handler> {
    mailbox: Arc<Mutex<Mailbox<H>>>,
    waker: Waker,
}

struct Mailbox<H: Handler> {
    waiting: VecDeque<Work<H>>,
    /// The shard has ended: nobody will do what is posted.
    closed: bool,
}

/// Why work was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// The shard has not kept up: as much work as its mailbox holds is waiting. Try again later.
    #[error("the shard's mailbox is full ({CAPACITY} pieces of work wait)")]
    Full,
    /// The shard has ended.
    #[error("the shard has ended")]
    Ended,
}

impl<H: Handler> ShardHandle<H> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { mailbox: Arc::new(Mutex::new(Mailbox { waiting: VecDeque::new(), closed: false })), waker }
    }

    fn mailbox(&self) -> MutexGuard<'_, Mailbox<H>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs `work` on the shard's thread, with its handler, in the order of posting.
    ///
    /// Costs a lock, and one `write(2)` when the mailbox was empty.
    ///
    /// # Errors
    /// [`PostError::Full`] when 4096 pieces of work are waiting, [`PostError::Ended`] when nobody is there to do it.
    pub fn post(&self, work: impl FnOnce(&mut H, &mut Shard<'_, H>) + Send + 'static) -> Result<(), PostError> {
        let mut mailbox = self.mailbox();
        if mailbox.closed {
            return Err(PostError::Ended);
        }
        if mailbox.waiting.len() >= CAPACITY {
            return Err(PostError::Full);
        }
        let was_empty = mailbox.waiting.is_empty();
        mailbox.waiting.push_back(Box::new(work));
        drop(mailbox);
        if was_empty {
            self.waker.wake();
        }
        Ok(())
    }

    /// Takes all that is waiting.
    pub(crate) fn take(&self) -> VecDeque<Work<H>> {
        std::mem::take(&mut self.mailbox().waiting)
    }

    /// The shard ends: what is waiting is dropped, and nothing more is taken.
    pub(crate) fn close(&self) {
        let mut mailbox = self.mailbox();
        mailbox.closed = true;
        let waiting = std::mem::take(&mut mailbox.waiting);
        // Dropping work may run the application's code, which may post.
        drop(mailbox);
        drop(waiting);
    }
}

impl<H: Handler> Clone for ShardHandle<H> {
    fn clone(&self) -> Self {
        Self { mailbox: Arc::clone(&self.mailbox), waker: self.waker.clone() }
    }
}

impl<H: Handler> std::fmt::Debug for ShardHandle<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardHandle").finish_non_exhaustive()
    }
}
