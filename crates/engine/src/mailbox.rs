//! Work for a shard from other threads.

use crate::{Handler, Shard};
use ringway_io::Waker;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// How much work may wait in one mailbox.
const CAPACITY: usize = 4096;

type Work<H> = Box<dyn FnOnce(&mut H, &mut Shard<'_, H>) + Send>;

/// Posts work to one shard from any thread.
pub struct ShardHandle<H: Handler> {
    waiting: Arc<Mutex<VecDeque<Work<H>>>>,
    waker: Waker,
}

/// The shard has not kept up: as much work as its mailbox holds is waiting, and this was not added. Try again later.
#[derive(Debug, thiserror::Error)]
#[error("the shard's mailbox is full ({CAPACITY} pieces of work wait)")]
pub struct MailboxFull;

impl<H: Handler> ShardHandle<H> {
    pub(crate) fn new(waker: Waker) -> Self {
        Self { waiting: Arc::default(), waker }
    }

    /// Runs `work` on the shard's thread, with its handler, in the order of posting.
    ///
    /// Costs a lock, and one `write(2)` when the mailbox was empty.
    ///
    /// # Errors
    /// [`MailboxFull`] when 4096 pieces of work are waiting.
    pub fn post(&self, work: impl FnOnce(&mut H, &mut Shard<'_, H>) + Send + 'static) -> Result<(), MailboxFull> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= CAPACITY {
            return Err(MailboxFull);
        }
        let was_empty = waiting.is_empty();
        waiting.push_back(Box::new(work));
        drop(waiting);
        if was_empty {
            self.waker.wake();
        }
        Ok(())
    }

    /// Takes all that is waiting.
    pub(crate) fn take(&self) -> VecDeque<Work<H>> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<H: Handler> Clone for ShardHandle<H> {
    fn clone(&self) -> Self {
        Self { waiting: Arc::clone(&self.waiting), waker: self.waker.clone() }
    }
}

impl<H: Handler> std::fmt::Debug for ShardHandle<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ShardHandle").finish_non_exhaustive()
    }
}
