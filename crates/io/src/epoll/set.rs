//! The epoll set: its registrations, and the wait for their events.

use super::sleep::Sleep;
use crate::busy_poll::PollWindow;
use crate::table::Operation;
use crate::{BusyPoll, Slot};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The maximum number of events of one epoll_wait(2).
pub(super) const MAX_EVENTS: usize = 256;

/// An epoll set, with the events of the last wait.
pub(crate) struct EpollSet {
    epoll: OwnedFd,
    events: Vec<Event>,
    sleep: Sleep,
    /// The permanent error of epoll_wait(2).
    broken: Option<Errno>,
    window: PollWindow,
    /// When the last wait ended.
    waited: Instant,
}

impl EpollSet {
    pub(crate) fn new(busy_poll: BusyPoll) -> io::Result<Self> {
        Ok(Self {
            epoll: epoll::create(CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(MAX_EVENTS),
            sleep: Sleep::new(),
            broken: None,
            window: PollWindow::new(busy_poll),
            waited: Instant::now(),
        })
    }

    /// Fails when epoll_wait(2) has failed permanently.
    pub(crate) fn check(&self) -> io::Result<()> {
        self.broken.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Adds a descriptor. Its events have the user data of `operation`.
    pub(super) fn add(
        &self,
        descriptor: BorrowedFd<'_>,
        operation: Operation,
        slot: Slot,
        events: EventFlags,
    ) -> Result<(), Errno> {
        epoll::add(&self.epoll, descriptor, EventData::new_u64(operation.user_data(slot)), events)
    }

    pub(super) fn delete(&self, descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
        epoll::delete(&self.epoll, descriptor)
    }

    /// Waits for an event: polls first and at the end of `timeout`, as far as the window allows
    /// it. Returns the number of events.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        if self.window.is_off() {
            return self.fetch(timeout);
        }
        let began = Instant::now();
        let limit = self.window.next(began.saturating_duration_since(self.waited));
        let (mut polled, end) = (Duration::ZERO, timeout.map_or(limit, |timeout| limit.min(timeout)));
        while polled < end {
            let count = self.fetch(Some(Duration::ZERO))?;
            polled = began.elapsed();
            if count > 0 || timeout.is_some_and(|timeout| polled >= timeout) {
                match count {
                    0 => self.window.timed_out(polled),
                    _ => self.window.hit(polled),
                }
                self.waited = began + polled;
                return Ok(count);
            }
        }
        let left = timeout.map(|timeout| timeout.saturating_sub(polled));
        let last = left.map_or(Duration::ZERO, |left| self.window.last(left));
        let mut count = self.fetch(left.map(|left| left - last))?;
        let woken = began.elapsed();
        let mut slept = woken;
        if !last.is_zero() {
            while count == 0 && timeout.is_some_and(|timeout| slept < timeout) {
                count = self.fetch(Some(Duration::ZERO))?;
                slept = began.elapsed();
            }
            self.window.polled_last(slept - woken);
        }
        self.window.slept(polled, slept);
        self.waited = began + slept;
        Ok(count)
    }

    /// The time of all polls so far.
    #[inline]
    pub(crate) fn polled(&self) -> Duration {
        self.window.polled()
    }

    /// Waits in the epoll set, for at most `timeout`. Returns the number of events.
    pub(super) fn fetch(&mut self, timeout: Option<Duration>) -> io::Result<usize> {
        match self.sleep.wait(self.epoll.as_fd(), &mut self.events, timeout) {
            Ok(count) => Ok(count),
            Err(Errno::INTR) => Ok(0),
            Err(error) => {
                tracing::error!(%error, "epoll_wait fails: this driver is broken");
                self.broken = Some(error);
                Err(error.into())
            }
        }
    }

    /// Takes the events of the last wait. The list is returned with [`EpollSet::handled`].
    pub(super) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Returns the empty list of events for reuse.
    pub(super) fn handled(&mut self, empty: Vec<Event>) {
        self.events = empty;
    }

    /// The descriptor of the set, which is readable while an event waits.
    #[cfg(any(test, feature = "tokio-uring"))]
    pub(crate) fn descriptor(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}
