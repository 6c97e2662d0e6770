//! Which connections of a listener are to be polled, and the task that polls them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// The connections that are to be polled.
#[derive(Default)]
pub(crate) struct WokenList(Mutex<Woken>);

#[derive(Default)]
struct Woken {
    /// At most two for each connection: one from its begin, and one from its waker.
    numbers: VecDeque<u64>,
    task: Option<Waker>,
}

impl WokenList {
    fn lock(&self) -> MutexGuard<'_, Woken> {
        // Nothing panics while it is locked.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The waker of one connection.
    pub(crate) fn waker(self: &Arc<Self>, number: u64) -> Waker {
        Waker::from(Arc::new(Notifier { number, list: Arc::clone(self) }))
    }

    pub(crate) fn push(&self, number: u64) {
        self.lock().numbers.push_back(number);
    }

    /// Takes one of them. Without one, the task is woken by the next.
    pub(crate) fn next(&self, task: &Waker) -> Option<u64> {
        let mut woken = self.lock();
        let number = woken.numbers.pop_front();
        if number.is_none() && !woken.task.as_ref().is_some_and(|waiting| waiting.will_wake(task)) {
            let former = woken.task.replace(task.clone());
            drop(woken);
            drop(former);
        }
        number
    }

    pub(crate) fn wake_task(&self) {
        let task = self.lock().task.take();
        if let Some(task) = task {
            task.wake();
        }
    }
}

/// The waker of one connection.
struct Notifier {
    number: u64,
    list: Arc<WokenList>,
}

impl Wake for Notifier {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.list.push(self.number);
        self.list.wake_task();
    }
}
