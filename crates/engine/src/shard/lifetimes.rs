//! The maximum lifetime of connections.
//!
//! Connections that open together do not end together: each gets a lifetime of its own, which is
//! shorter than the maximum by a random part of the jitter. The deadlines are on a wheel of their
//! own, which exists only if lifetimes are limited: 16 bytes for each connection.

use crate::config::Config;
use crate::shard::clock::TICK;
use ringway_io::{Slot, TimerWheel};
use std::time::{Duration, Instant};

/// The ends of the lifetimes of a shard's connections, on the clock that stops during stalls: after
/// a stall, not all connections end at once.
pub(crate) struct Lifetimes {
    wheel: TimerWheel,
    max: Duration,
    jitter: Duration,
}

impl Lifetimes {
    /// `None` if lifetimes are not limited.
    pub(crate) fn new(config: &Config, now: Instant) -> Option<Box<Self>> {
        let max = config.max_lifetime?;
        Some(Box::new(Self { wheel: TimerWheel::new(now, TICK), max, jitter: config.jitter_of(max) }))
    }

    /// Begins the lifetime of a connection. `random` decides the part of the jitter.
    pub(crate) fn begin(&mut self, slot: Slot, now: Instant, random: u32) {
        let part = self.jitter.mul_f64(f64::from(random) / f64::from(u32::MAX)).min(self.jitter);
        let lifetime = self.max.saturating_sub(part);
        let end = now.checked_add(lifetime).unwrap_or(now + Duration::from_secs(365 * 24 * 60 * 60));
        self.wheel.set(slot.index(), end);
    }

    /// Forgets a connection that has ended.
    pub(crate) fn forget(&mut self, slot: Slot) {
        self.wheel.clear(slot.index());
    }

    /// The connections whose lifetime is over, as indices of slots.
    pub(crate) fn expired(&mut self, now: Instant, fired: &mut Vec<u32>) {
        self.wheel.expire(now, fired);
    }

    /// The time from `now` until a lifetime can be over; `None` if there is no connection.
    pub(crate) fn wait(&self, now: Instant) -> Option<Duration> {
        self.wheel.wait(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_between_the_maximum_less_the_jitter_and_the_maximum() {
        let start = Instant::now();
        let (max, jitter) = (Duration::from_secs(100), Duration::from_secs(40));
        let config = Config::default().max_lifetime(Some(max)).and_then(|config| config.lifetime_jitter(Some(jitter)));
        for (random, end) in [(0, 100), (u32::MAX / 2, 80), (u32::MAX, 60)] {
            let mut lifetimes = Lifetimes::new(config.as_ref().expect("in range"), start).expect("there is a maximum");
            lifetimes.begin(Slot::new(3, 1), start, random);
            let wait = loop {
                let wait = lifetimes.wait(start).expect("a connection is open");
                let mut fired = Vec::new();
                lifetimes.expired(start + wait, &mut fired);
                if fired == [3] {
                    break wait;
                }
            };
            let late = wait.saturating_sub(Duration::from_secs(end));
            assert!(wait >= Duration::from_secs(end) && late <= 2 * TICK, "{random}: {wait:?}");
            assert_eq!(lifetimes.wait(start + wait), None);
        }
    }

    #[test]
    fn without_a_jitter_of_its_own_a_tenth_of_the_maximum_is_used() {
        let max = Duration::from_secs(3600);
        let config = Config::default().max_lifetime(Some(max)).expect("in range");
        assert_eq!(Lifetimes::new(&config, Instant::now()).expect("limited").jitter, Duration::from_secs(360));
        assert!(Lifetimes::new(&Config::default(), Instant::now()).is_none());
    }
}
