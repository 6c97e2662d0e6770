//! The ramp: the pace of connecting, and its results.

use crate::plan::MAX_CONNECT_CONCURRENCY;
use std::time::{Duration, Instant};

/// A server that accepts none of this many connections is assumed to accept no others.
const HOPELESS: u64 = MAX_CONNECT_CONCURRENCY as u64;

/// The next step of a thread that connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Start another connection.
    Connect,
    /// Start none before this time.
    At(Instant),
    /// Start none until one in progress has opened or failed.
    Wait,
    /// All connections are open or have failed.
    Over,
}

/// The state of connecting.
pub(crate) struct Ramp {
    wanted: u64,
    rate: Option<f64>,
    /// The maximum number of handshakes in progress.
    concurrency: u64,
    pub(crate) began: Instant,
    pub(crate) started: u64,
    pub(crate) established: u64,
    pub(crate) failed: u64,
    /// The time at which the latest one opened, in nanoseconds since the run's epoch.
    pub(crate) latest: u64,
}

impl Ramp {
    /// A ramp of `wanted` connections, `concurrency` at a time, limited to `rate` per second if one
    /// is given.
    pub(crate) fn new(wanted: u64, rate: Option<f64>, concurrency: u64, began: Instant) -> Self {
        Self { wanted, rate, concurrency, began, started: 0, established: 0, failed: 0, latest: 0 }
    }

    /// The next step at `now`.
    pub(crate) fn next(&self, now: Instant) -> Next {
        let over = self.established + self.failed;
        let hopeless = self.established == 0 && self.failed >= HOPELESS;
        if over >= self.wanted || hopeless && over == self.started {
            return Next::Over;
        }
        if hopeless || self.started >= self.wanted || self.started - over >= self.concurrency {
            return Next::Wait;
        }
        match self.rate.map(|rate| self.began + Duration::from_secs_f64(self.started as f64 / rate)) {
            Some(due) if due > now => Next::At(due),
            _ => Next::Connect,
        }
    }

    /// Abandons the connections that have not started.
    pub(crate) fn give_up(&mut self) {
        self.wanted = self.started;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_are_under_way_than_requested() {
        let now = Instant::now();
        for concurrency in [1, 2, 256] {
            let mut ramp = Ramp::new(1000, None, concurrency, now);
            while ramp.next(now) == Next::Connect {
                ramp.started += 1;
            }
            assert_eq!((ramp.started, ramp.next(now)), (concurrency, Next::Wait));
            ramp.established += 1;
            assert_eq!(ramp.next(now), Next::Connect);
        }
    }

    #[test]
    fn a_late_start_is_caught_up() {
        let began = Instant::now();
        let mut ramp = Ramp::new(100, Some(10.0), 256, began);
        assert_eq!(ramp.next(began), Next::Connect);
        ramp.started = 1;
        assert_eq!(ramp.next(began), Next::At(began + Duration::from_millis(100)));
        ramp.started = 5;
        assert_eq!(ramp.next(began + Duration::from_millis(500)), Next::Connect);
    }

    #[test]
    fn it_is_over_when_all_are_open_or_have_failed() {
        let now = Instant::now();
        let mut ramp = Ramp::new(3, None, 256, now);
        ramp.started = 3;
        assert_eq!(ramp.next(now), Next::Wait);
        (ramp.established, ramp.failed) = (1, 2);
        assert_eq!(ramp.next(now), Next::Over);
    }

    #[test]
    fn a_server_that_accepts_none_is_abandoned() {
        let now = Instant::now();
        let mut ramp = Ramp::new(1_000_000, None, 256, now);
        (ramp.started, ramp.failed) = (2 * HOPELESS - 1, HOPELESS);
        assert_eq!(ramp.next(now), Next::Wait, "those under way may yet open");
        ramp.failed = ramp.started;
        assert_eq!(ramp.next(now), Next::Over);
        (ramp.established, ramp.failed) = (1, ramp.failed - 1);
        assert_eq!(ramp.next(now), Next::Connect, "one that opened shows that others can");
    }

    #[test]
    fn pending_connections_can_be_abandoned() {
        let now = Instant::now();
        let mut ramp = Ramp::new(10, None, 256, now);
        (ramp.started, ramp.established) = (4, 4);
        ramp.give_up();
        assert_eq!(ramp.next(now), Next::Over);
    }
}
