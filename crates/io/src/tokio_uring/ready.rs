//! Waiting for a driver from a task of its runtime.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Instant;
use tokio::time::Sleep;

/// Tells tasks when a driver that was made with [`TokioUring::within`](super::TokioUring::within)
/// has something to return. Cheap to clone; it does not keep the driver alive.
#[derive(Clone)]
pub struct Ready(pub(super) Arc<Signal>);

impl Ready {
    /// Waits until a [`Driver::wait`](crate::Driver::wait) has something to do: completions, events
    /// of sockets, a wake, requests that are not submitted yet, or a time that is due. It may be
    /// early, and any number of tasks may wait. Also returns when the driver is dropped.
    ///
    /// Cancellation-safe: it takes nothing.
    pub async fn ready(&self) {
        let mut sleep: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if self.0.poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let Some(deadline) = self.0.deadline() else { return Poll::Pending };
            let deadline = tokio::time::Instant::from_std(deadline);
            let sleep = sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            if sleep.deadline() != deadline {
                sleep.as_mut().reset(deadline);
            }
            sleep.as_mut().poll(cx)
        })
        .await;
    }

    /// Whether [`Ready::ready`] would return at once.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.0.raised.load(Ordering::Acquire) || self.0.deadline().is_some_and(|deadline| deadline <= Instant::now())
    }
}

impl fmt::Debug for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ready").field("is_ready", &self.is_ready()).finish()
    }
}

/// Whether a driver has something to do, and the tasks that wait for it. It is the waker of the
/// driver's operations, and wakes all of the tasks.
#[derive(Default)]
pub(super) struct Signal {
    raised: AtomicBool,
    waits: Mutex<Waits>,
}

#[derive(Default)]
struct Waits {
    wakers: Vec<Waker>,
    /// When the driver has something to do without an event.
    deadline: Option<Instant>,
}

impl Signal {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        // Nothing panics while it is locked.
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn raise(&self) {
        if self.raised.swap(true, Ordering::AcqRel) {
            return;
        }
        let wakers = std::mem::take(&mut self.waits().wakers);
        for waker in wakers {
            waker.wake();
        }
    }

    /// There is nothing to do until the next event, or until `deadline`.
    pub(super) fn lower(&self, deadline: Option<Instant>) {
        self.waits().deadline = deadline;
        self.raised.store(false, Ordering::Release);
    }

    fn deadline(&self) -> Option<Instant> {
        self.waits().deadline
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waits = self.waits();
        if self.raised.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        // Those of tasks that no longer wait are dropped with the next signal. A task that waits
        // again and again has one.
        if !waits.wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
            waits.wakers.push(cx.waker().clone());
        }
        Poll::Pending
    }
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.raise();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.raise();
    }
}
