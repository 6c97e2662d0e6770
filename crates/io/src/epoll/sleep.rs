//! Waiting for events with a timeout in nanoseconds: epoll_pwait2(2), since Linux 5.11. Where it is
//! missing, or a seccomp filter refuses it, epoll_wait(2) with a timeout rounded up to
//! milliseconds.
//!
//! The kernel may delay the end of a sleep, so that it coincides with another: by the timer slack
//! of the thread (prctl(2), 50 µs by default), and in epoll also by a part of the timeout, 0.1 % or
//! 0.5 % at a lowered priority (`select_estimate_accuracy`). A long sleep is therefore followed by
//! a short one.

use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll::{self, Event};
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// The longest single sleep: without epoll_pwait2(2) the timeout is an `int` of milliseconds.
const MAX_SLEEP: Duration = Duration::from_secs(24 * 60 * 60);

/// A timeout divided by this number is above each of the kernel's parts.
const ESTIMATE: u32 = 100;

/// The delay that is accepted of a sleep, if the timer slack is shorter.
const MIN_DELAY: Duration = Duration::from_micros(2);

/// The sleeps of one epoll set.
#[derive(Debug)]
pub(super) struct Sleep {
    /// Whether epoll_pwait2(2) works, as far as it was called.
    precise: bool,
    /// A sleep of this length is not delayed by more than the timer slack.
    undelayed: Duration,
}

impl Sleep {
    /// For the calling thread, with its present timer slack.
    pub(super) fn new() -> Self {
        let slack = rustix::thread::current_timer_slack().map_or(MIN_DELAY, Duration::from_nanos);
        Self { precise: true, undelayed: slack.max(MIN_DELAY) * 1000 }
    }

    /// Appends events to the room of `events`: waits for the first, at most for `timeout`. Returns
    /// the number of events.
    pub(super) fn wait(
        &mut self,
        epoll: BorrowedFd<'_>,
        events: &mut Vec<Event>,
        timeout: Option<Duration>,
    ) -> Result<usize, Errno> {
        match timeout {
            None => epoll::wait(epoll, spare_capacity(events), None),
            Some(Duration::ZERO) => {
                epoll::wait(epoll, spare_capacity(events), Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
            }
            Some(timeout) if !self.precise => wait_for_millis(epoll, events, timeout),
            Some(timeout) if timeout <= self.undelayed => self.wait_once(epoll, events, timeout),
            Some(timeout) => self.wait_in_parts(epoll, events, timeout),
        }
    }

    /// Waits for a long time. Each sleep leaves a part of the time to the next one.
    fn wait_in_parts(
        &mut self,
        epoll: BorrowedFd<'_>,
        events: &mut Vec<Event>,
        timeout: Duration,
    ) -> Result<usize, Errno> {
        let began = Instant::now();
        loop {
            let left = timeout.saturating_sub(began.elapsed());
            if left <= self.undelayed {
                return self.wait_once(epoll, events, left);
            }
            let count = self.wait_once(epoll, events, left - left / ESTIMATE)?;
            if count > 0 {
                return Ok(count);
            }
        }
    }

    fn wait_once(&mut self, epoll: BorrowedFd<'_>, events: &mut Vec<Event>, timeout: Duration) -> Result<usize, Errno> {
        if !self.precise {
            return wait_for_millis(epoll, events, timeout);
        }
        match wait_for_nanos(epoll, events, timeout.min(MAX_SLEEP)) {
            // The errors of a kernel, and of a filter, that do not know the call.
            Err(Errno::NOSYS | Errno::PERM) => {
                self.precise = false;
                wait_for_millis(epoll, events, timeout)
            }
            result => result,
        }
    }
}

/// Calls epoll_wait(2). The timeout is rounded up.
fn wait_for_millis(epoll: BorrowedFd<'_>, events: &mut Vec<Event>, timeout: Duration) -> Result<usize, Errno> {
    let timeout = timeout.min(MAX_SLEEP);
    let timespec = Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() };
    epoll::wait(epoll, spare_capacity(events), Some(&timespec))
}

/// Calls epoll_pwait2(2). Not every C library has a function for it.
fn wait_for_nanos(epoll: BorrowedFd<'_>, events: &mut Vec<Event>, timeout: Duration) -> Result<usize, Errno> {
    // `struct __kernel_timespec`: two integers of 64 bits on every architecture.
    let timespec = [timeout.as_secs() as i64, i64::from(timeout.subsec_nanos())];
    let room = events.spare_capacity_mut();
    let len = libc::c_int::try_from(room.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: the kernel writes at most `len` events to `room`, which is that long. `Event` has the
    // layout of `struct epoll_event`: rustix passes it to the kernel too. `timespec` lives until
    // the call returns, and there is no signal mask.
    let count = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            room.as_mut_ptr(),
            len,
            timespec.as_ptr(),
            std::ptr::null::<libc::sigset_t>(),
            0_usize,
        )
    };
    let Ok(count) = usize::try_from(count) else {
        return Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO));
    };
    // SAFETY: the kernel has initialised `count` events behind the present ones, within the
    // capacity.
    unsafe { events.set_len(events.len() + count) };
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::epoll::{CreateFlags, EventData, EventFlags};
    use rustix::event::{EventfdFlags, eventfd};
    use std::os::fd::{AsFd, OwnedFd};

    const MS: Duration = Duration::from_millis(1);

    fn set() -> (OwnedFd, Vec<Event>) {
        (epoll::create(CreateFlags::CLOEXEC).expect("a descriptor"), Vec::with_capacity(4))
    }

    fn lasted(sleep: &mut Sleep, timeout: Duration) -> Duration {
        let (epoll, mut events) = set();
        let began = Instant::now();
        assert_eq!(sleep.wait(epoll.as_fd(), &mut events, Some(timeout)), Ok(0));
        assert!(events.is_empty());
        began.elapsed()
    }

    /// Rounded up to a millisecond, each would take that long.
    #[test]
    fn a_wait_is_not_rounded_up_to_a_millisecond() {
        let shortest = (0..200).map(|_| lasted(&mut Sleep::new(), MS / 5)).min();
        assert!(shortest.is_some_and(|shortest| shortest >= MS / 5 && shortest < MS), "{shortest:?}");
    }

    #[test]
    fn no_wait_ends_before_its_timeout() {
        // The second waits in parts, the third without epoll_pwait2(2).
        for (precise, undelayed) in [(true, 50 * MS), (true, MS / 100), (false, 50 * MS)] {
            for micros in [50, 300, 1000, 3300, 12_345] {
                let timeout = Duration::from_micros(micros);
                let lasted = lasted(&mut Sleep { precise, undelayed }, timeout);
                assert!(lasted >= timeout, "{lasted:?} of {timeout:?}");
            }
        }
    }

    #[test]
    fn events_end_each_kind_of_wait_and_are_appended() {
        for precise in [true, false] {
            let (epoll, mut events) = set();
            let ready = eventfd(1, EventfdFlags::CLOEXEC).expect("a descriptor");
            epoll::add(&epoll, &ready, EventData::new_u64(7), EventFlags::IN).expect("it has room");
            for (count, timeout) in [None, Some(Duration::ZERO), Some(MS), Some(1000 * MS)].into_iter().enumerate() {
                let mut sleep = Sleep { precise, undelayed: 50 * MS };
                assert_eq!(sleep.wait(epoll.as_fd(), &mut events, timeout), Ok(1), "{timeout:?}");
                assert_eq!(events.len(), count + 1);
                assert!(events.iter().all(|event| event.data.u64() == 7));
            }
        }
    }

    #[test]
    fn an_error_of_the_descriptor_does_not_give_up_the_precise_call() {
        let mut sleep = Sleep::new();
        let other = eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor");
        assert_eq!(sleep.wait(other.as_fd(), &mut Vec::with_capacity(4), Some(MS)), Err(Errno::INVAL));
        assert!(sleep.precise);
    }
}
