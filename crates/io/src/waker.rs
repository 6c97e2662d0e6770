//! Waking a driver from another thread.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Wakes the driver that made it, from any thread: its [`Driver::wait`](crate::Driver::wait)
/// reports [`Completion::Woken`](crate::Completion::Woken). Several wakes may be reported as one.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Wakes the driver. Costs one `write(2)`.
    pub fn wake(&self) {
        // The only error of an open eventfd is EAGAIN, when its counter is at 2⁶⁴ - 2. A wake is
        // pending then.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Clears pending wakes; whether there were any.
    pub(crate) fn take(&self) -> bool {
        rustix::io::read(&*self.0, &mut [0u8; 8]).is_ok()
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakes_from_another_thread_are_taken_once() {
        let waker = Waker::new().expect("an eventfd");
        assert!(!waker.take());
        let other = waker.clone();
        std::thread::spawn(move || {
            other.wake();
            other.wake();
        })
        .join()
        .expect("no panic");
        assert!(waker.take());
        assert!(!waker.take());
    }
}
