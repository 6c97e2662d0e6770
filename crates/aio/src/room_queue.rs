//! The queue of the tasks that wait until a shard may accept a connection.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::task::Waker;

/// The tasks that wait, each with one waker, the oldest first.
#[derive(Default)]
pub(crate) struct RoomQueue {
    wakers: RefCell<BTreeMap<u64, Waker>>,
    /// The number of the next task.
    next: Cell<u64>,
}

impl RoomQueue {
    /// The number of a task that may enter.
    pub(crate) fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.wakers.borrow().len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.wakers.borrow().is_empty()
    }

    /// Wakes all tasks, which enter again if there is no room.
    pub(crate) fn wake(&self) {
        self.wakers.take().into_values().for_each(Waker::wake);
    }

    /// Enters a task, or replaces its waker.
    pub(crate) fn enter(&self, number: u64, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if wakers.get(&number).is_some_and(|entered| entered.will_wake(waker)) {
            return;
        }
        let former = wakers.insert(number, waker.clone());
        // It may drop a task, and with it another one that waits.
        drop(wakers);
        drop(former);
    }

    /// Has no effect on a task that is not in the queue.
    pub(crate) fn leave(&self, number: u64) {
        let former = self.wakers.borrow_mut().remove(&number);
        drop(former);
    }
}
