//! The counts over all shards that decide whether a connection is taken.

use super::addresses::{AddressKey, AddressTable};
use super::options::{Admission, OverRate};
use super::rate::{Rate, TokenBucket, nanos_since};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A value in cache lines of its own: two, because processors prefetch pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

/// Why a connection is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The process is at its limit of connections.
    Full,
    /// Connections arrive too fast.
    Rate,
    /// Too many opening handshakes are in progress.
    Handshakes,
    /// The client has too many connections.
    Address,
}

impl Rejection {
    /// The body of the response, and the text of the warning.
    pub(crate) const fn text(self) -> &'static str {
        match self {
            Self::Full => "the server is at its limit of connections; try again later",
            Self::Rate => "connections arrive too fast; try again later",
            Self::Handshakes => "too many opening handshakes are in progress; try again later",
            Self::Address => "this address has too many connections; close one, or try again later",
        }
    }
}

/// What to do with a connection, given the rate of accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    Take,
    /// Take it, and accept none for this time.
    Pause(Duration),
    Reject,
}

/// The counts of a process. Shards use it when they accept, and when a connection or its handshake
/// ends.
#[derive(Debug)]
pub(crate) struct Gate {
    start: Instant,
    connections: Option<Limit>,
    handshakes: Option<Limit>,
    addresses: Option<AddressTable>,
    accepts: Option<(Rate, OverRate, Mutex<TokenBucket>)>,
}

/// A number that is limited.
#[derive(Debug)]
struct Limit {
    max: u32,
    count: Padded<AtomicU32>,
}

impl Limit {
    fn new(max: u32) -> Self {
        Self { max, count: Padded::default() }
    }

    /// Counts one more, unless the limit is reached. Returns whether it was counted.
    fn add(&self) -> bool {
        let more = |count: u32| (count < self.max).then(|| count + 1);
        self.count.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_ok()
    }

    fn remove(&self) {
        let before = self.count.0.fetch_sub(1, Ordering::AcqRel);
        debug_assert!(before > 0, "only what was counted is removed");
    }
}

impl Gate {
    pub(crate) fn new(admission: &Admission, start: Instant) -> Self {
        let Admission { max_connections, max_handshakes, max_per_address, accept_rate, over_accept_rate, .. } =
            *admission;
        Self {
            start,
            connections: max_connections.map(Limit::new),
            handshakes: max_handshakes.map(Limit::new),
            addresses: max_per_address.map(AddressTable::new),
            accepts: accept_rate.map(|rate| (rate, over_accept_rate, Mutex::new(TokenBucket::full(rate, 0)))),
        }
    }

    /// Counts an accepted connection towards the rate.
    pub(crate) fn pace(&self, now: Instant) -> Pace {
        let Some((rate, over, bucket)) = &self.accepts else { return Pace::Take };
        let now = nanos_since(self.start, now);
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        match over {
            OverRate::Reject if bucket.try_take(*rate, now) => Pace::Take,
            OverRate::Reject => Pace::Reject,
            // It is accepted already. Other shards may have accepted one each meanwhile, so that
            // the debt is at most their number.
            OverRate::Pause => {
                bucket.take(*rate, 1, now);
                Some(bucket.wait(*rate, now)).filter(|wait| !wait.is_zero()).map_or(Pace::Take, Pace::Pause)
            }
        }
    }

    /// How long no connection may be accepted.
    pub(crate) fn pause_left(&self, now: Instant) -> Duration {
        let Some((rate, _, bucket)) = &self.accepts else { return Duration::ZERO };
        let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
        bucket.wait(*rate, nanos_since(self.start, now))
    }

    /// Counts a connection. Returns whether it is within the limit.
    pub(crate) fn add_connection(&self) -> bool {
        self.connections.as_ref().is_none_or(Limit::add)
    }

    pub(crate) fn remove_connection(&self) {
        self.connections.iter().for_each(Limit::remove);
    }

    /// Counts an opening handshake. Returns whether it is within the limit.
    pub(crate) fn add_handshake(&self) -> bool {
        self.handshakes.as_ref().is_none_or(Limit::add)
    }

    pub(crate) fn remove_handshake(&self) {
        self.handshakes.iter().for_each(Limit::remove);
    }

    /// Whether opening handshakes are limited.
    pub(crate) fn limits_handshakes(&self) -> bool {
        self.handshakes.is_some()
    }

    /// Counts a connection of a client. Returns whether it is within the limit.
    pub(crate) fn add_address(&self, key: AddressKey) -> bool {
        self.addresses.as_ref().is_none_or(|addresses| addresses.add(key))
    }

    pub(crate) fn remove_address(&self, key: AddressKey) {
        self.addresses.iter().for_each(|addresses| addresses.remove(key));
    }

    /// The numbers of connections, handshakes and clients that are counted.
    #[cfg(test)]
    pub(crate) fn counts(&self) -> (u32, u32, usize) {
        let count = |limit: &Option<Limit>| limit.as_ref().map_or(0, |limit| limit.count.0.load(Ordering::Acquire));
        (count(&self.connections), count(&self.handshakes), self.addresses.as_ref().map_or(0, AddressTable::clients))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_counts_to_its_maximum_and_no_further() {
        let admission = Admission::new().max_connections(Some(2)).expect("in range");
        let gate = Gate::new(&admission, Instant::now());
        assert_eq!([gate.add_connection(), gate.add_connection(), gate.add_connection()], [true, true, false]);
        gate.remove_connection();
        assert!(gate.add_connection() && gate.counts().0 == 2);
        assert!((0..100).all(|_| gate.add_handshake()), "without a limit");
    }

    #[test]
    fn above_the_rate_connections_are_rejected_or_accepting_pauses() {
        let start = Instant::now();
        let rate = Some(Rate::per_second(10).burst(2));
        let reject = Admission { accept_rate: rate, over_accept_rate: OverRate::Reject, ..Admission::new() };
        let gate = Gate::new(&reject, start);
        assert_eq!([(); 3].map(|()| gate.pace(start)), [Pace::Take, Pace::Take, Pace::Reject]);
        let pause = Admission { accept_rate: rate, ..Admission::new() };
        let gate = Gate::new(&pause, start);
        let tenth = Duration::from_millis(100);
        assert_eq!([(); 3].map(|()| gate.pace(start)), [Pace::Take, Pace::Pause(tenth), Pace::Pause(2 * tenth)]);
        assert_eq!(gate.pause_left(start + tenth), tenth, "another shard had accepted one");
        assert_eq!(gate.pause_left(start + 2 * tenth), Duration::ZERO);
    }
}
