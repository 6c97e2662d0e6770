//! What the populations of a thread share: the clock, the agenda, the current step.

use crate::agenda::Agenda;
use crate::plan::Verify;
use crate::steps::Timetable;
use ringway::{ConnectionId, Shard};
use std::ops::Range;
use std::time::{Duration, Instant, SystemTime};

/// What is due on a thread at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The next step of the run.
    Step,
    /// More connections of a population.
    Connect(u16),
    /// The next arrival of a population with an open loop.
    Arrival(u16),
    /// The timeout of the oldest message of a connection.
    Expiry(u16, ConnectionId),
    /// The next ping of a population.
    Ping(u16),
    /// The end of the time for a pong of a population.
    Pong(u16),
    /// A connection of a population, such as the end of its think time.
    Connection(u16, ConnectionId),
    /// A place of a population that connects again.
    Place(u16, u32),
    /// More connections to close.
    Close,
}

/// What the populations of a thread share.
pub(super) struct Context {
    /// The number of the thread.
    pub(super) index: usize,
    pub(super) threads: usize,
    epoch: Instant,
    /// The latest reading of the clock, in nanoseconds since the epoch.
    pub(super) now: u64,
    /// The start of the turn whose messages are being processed.
    turn: Instant,
    pub(super) agenda: Agenda<Due>,
    /// The time of the alarm, if it was later than the time at which it was set.
    pub(super) alarm: Option<u64>,
    /// Messages that are due in this range belong to the current interval.
    pub(super) interval: Range<u64>,
    /// The end of the current phase, if it ends by time.
    pub(super) edge: u64,
    /// Whether messages may be sent.
    pub(super) is_sending: bool,
    pub(super) timetable: Option<Timetable>,
    pub(super) verify: Verify,
    /// The time after which a message no longer waits for its reply, in nanoseconds.
    pub(super) timeout: u64,
    /// The time of the epoch in nanoseconds since 1970.
    epoch_unix: u64,
}

impl Context {
    pub(super) fn new(index: usize, threads: usize, epoch: Instant, verify: Verify, timeout: Duration) -> Self {
        Self {
            index,
            threads,
            epoch,
            now: 0,
            turn: epoch,
            agenda: Agenda::new(),
            alarm: None,
            interval: 0..u64::MAX,
            edge: u64::MAX,
            is_sending: false,
            timetable: None,
            verify,
            timeout: nanos(timeout),
            epoch_unix: nanos(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
                .saturating_sub(nanos(epoch.elapsed())),
        }
    }

    /// Reads the clock.
    pub(super) fn read_clock(&mut self) {
        self.now = nanos(self.epoch.elapsed());
    }

    /// Sets the time for a message that is received in the turn with this start. Returns whether the
    /// current phase is over.
    ///
    /// All messages of a turn have the time at which it began: what is handled in a turn has arrived
    /// before. That is later than the arrival in the socket, so a reported latency is never too
    /// short. A busy generator makes it too long by up to two of its turns: the message arrived
    /// during the turn before, and a reply to it is passed to the kernel at the end of this turn; see
    /// [`verdict`](crate::verdict). Reading the clock for each connection instead would move both
    /// times by the same amount, and would cost about 1 % of the rate.
    #[inline]
    pub(super) fn begin_input(&mut self, turn: Instant) -> bool {
        if self.turn != turn {
            self.turn = turn;
            // The clock may have been read earlier in this turn.
            self.now = self.now.max(self.since_epoch(turn));
        }
        self.now >= self.edge
    }

    /// The latest reading of the clock, in nanoseconds since 1970.
    #[inline]
    pub(super) fn unix_time(&self) -> u64 {
        self.epoch_unix + self.now
    }

    /// The instant of a time since the epoch.
    pub(super) fn at(&self, nanos: u64) -> Instant {
        self.epoch + Duration::from_nanos(nanos)
    }

    /// A time since the epoch of an instant.
    pub(super) fn since_epoch(&self, at: Instant) -> u64 {
        nanos(at.saturating_duration_since(self.epoch))
    }

    /// Whether a message that was due at this time belongs to the current interval.
    #[inline]
    pub(super) fn counts(&self, intended: u64) -> bool {
        self.interval.contains(&intended)
    }

    /// Wakes the thread up for what is due next.
    pub(super) fn set_alarm<H: ringway::Handler>(&mut self, shard: &mut Shard<'_, H>) {
        if let Some(next) = self.agenda.next() {
            // How late the thread is for what is due already is not how late it woke up.
            self.alarm = Some(next).filter(|next| *next > self.now);
            shard.wake_at(self.at(next));
        }
    }
}

/// A duration in nanoseconds; `u64::MAX` if it is longer than 584 years.
pub(crate) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
