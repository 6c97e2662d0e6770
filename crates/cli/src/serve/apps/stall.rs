//! `--app stall:100ms/1s`: an echo whose threads freeze at the same time for a part of each period,
//! as a process does that a garbage collector or SIGSTOP stops.
//!
//! The times of the freezes depend on the start of the process only: freeze number `k`, from 1,
//! begins `k` periods after it. The load does not move them, so a test knows the share of messages
//! that arrive during a freeze.

use super::{App, Syntax};
use crate::serve::site;
use crate::values::some_time;
use ringway::{Connection, Handler, Message, Request, Response, Shard, Upgrade};
use std::fmt;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const SYNTAX: Syntax = Syntax {
    name: "stall",
    example: "stall:100ms/1s",
    help: "Echo, and freeze all shards at once, here for 100 ms in each second",
    parse: |options| parse(options).map(App::Stall),
};

/// How long the threads freeze, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StallOptions {
    freeze: Duration,
    period: Duration,
}

impl fmt::Display for StallOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stall, frozen for {:?} in each {:?}", self.freeze, self.period)
    }
}

fn parse(options: Option<&str>) -> Result<StallOptions, String> {
    let (freeze, period) = options
        .and_then(|options| options.split_once('/'))
        .ok_or_else(|| format!("give the freeze and its period, as {}", SYNTAX.example))?;
    let (freeze, period) = (some_time(freeze)?, some_time(period)?);
    if freeze >= period {
        return Err(format!("give a freeze shorter than its period: {freeze:?} is not shorter than {period:?}"));
    }
    Ok(StallOptions { freeze, period })
}

/// The times of the freezes.
#[derive(Clone, Copy, Debug)]
struct FreezeSchedule {
    start: Instant,
    options: StallOptions,
}

impl FreezeSchedule {
    /// The time since the start of the current period, and the number of that period.
    fn position(&self, now: Instant) -> (Duration, u64) {
        // 64 bits of nanoseconds are 584 years.
        let nanos = |time: Duration| time.as_nanos() as u64;
        let (elapsed, period) = (nanos(now.saturating_duration_since(self.start)), nanos(self.options.period));
        (Duration::from_nanos(elapsed % period), elapsed / period)
    }

    /// The end of the freeze that `now` is in.
    fn frozen_until(&self, now: Instant) -> Option<Instant> {
        let (since, number) = self.position(now);
        (number > 0 && since < self.options.freeze).then(|| now + (self.options.freeze - since))
    }

    /// The start of the first freeze after `now`.
    fn next_freeze(&self, now: Instant) -> Instant {
        now + (self.options.period - self.position(now).0)
    }
}

/// The application. All shards have the same schedule.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StallApp {
    schedule: FreezeSchedule,
}

impl StallApp {
    /// The application of a process that started at `start`.
    pub(crate) fn new(options: StallOptions, start: Instant) -> Self {
        Self { schedule: FreezeSchedule { start, options } }
    }
}

impl Handler for StallApp {
    type State = ();

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        shard.wake_at(self.schedule.next_freeze(Instant::now()));
    }

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(())
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        conn.reply(message);
    }

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        let now = Instant::now();
        // A shard that wakes after the end of the freeze misses it: the schedule does not move.
        if let Some(end) = self.schedule.frozen_until(now) {
            thread::sleep(end.saturating_duration_since(now));
        }
        shard.wake_at(self.schedule.next_freeze(Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn schedule(freeze: u32, period: u32) -> FreezeSchedule {
        FreezeSchedule { start: Instant::now(), options: StallOptions { freeze: freeze * MS, period: period * MS } }
    }

    #[test]
    fn freezes_begin_at_multiples_of_the_period_after_the_start_but_not_at_the_start() {
        let schedule = schedule(100, 1000);
        let at = |ms| schedule.start + ms * MS;
        for (now, end, next) in [
            (0, None, 1000),
            (99, None, 1000),
            (999, None, 1000),
            (1000, Some(1100), 2000),
            (1001, Some(1100), 2000),
            (1099, Some(1100), 2000),
            (1100, None, 2000),
            (86_400_050, Some(86_400_100), 86_401_000),
        ] {
            assert_eq!(
                (schedule.frozen_until(at(now)), schedule.next_freeze(at(now))),
                (end.map(at), at(next)),
                "{now}"
            );
        }
    }

    #[test]
    fn the_frozen_share_of_the_time_is_that_of_the_options() {
        let schedule = schedule(7, 30);
        let frozen = (30..30 + 30 * 1000).filter(|ms| schedule.frozen_until(schedule.start + *ms * MS).is_some());
        assert_eq!(frozen.count(), 7 * 1000);
    }

    #[test]
    fn options_are_a_freeze_shorter_than_its_period() {
        assert_eq!(parse(Some("100ms/1s")), Ok(StallOptions { freeze: 100 * MS, period: 1000 * MS }));
        for text in ["100ms", "1s/1s", "2s/1s", "0/1s", "1s/", "/1s", "a/b", "1s/2s/3s"] {
            assert!(parse(Some(text)).is_err_and(|error| error.starts_with("give ")), "{text}");
        }
    }
}
