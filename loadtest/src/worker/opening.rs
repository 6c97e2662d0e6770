//! Opening the connections of a population on one thread.

use super::context::Context;
use super::line::Line;
use super::{CrewOrders, Worker};
use crate::opening::OpeningTally;
use crate::plan::Rotation;
use ringway::{Endpoint, Shard};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A server that accepts none of this many connections is assumed to accept no others.
const GIVE_UP_AFTER: u64 = 256;

/// The time after which a thread asks again for a permit that it did not get, in nanoseconds.
pub(super) const ASK_AGAIN: u64 = 1_000_000;

/// The permits to open connections: one bound on the handshakes in progress, over all threads.
pub(crate) struct Permits {
    left: AtomicU32,
}

impl Permits {
    pub(crate) fn new(handshakes: u32) -> Self {
        Self { left: AtomicU32::new(handshakes) }
    }

    fn take(&self) -> bool {
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give_back(&self) {
        self.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// The next step of opening connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// None before this time.
    At(u64),
    /// None until one in progress has opened or failed.
    Wait,
    /// All are open or have failed.
    Over,
}

/// Opening the connections of a population on one thread.
pub(super) struct Opening {
    endpoints: Arc<[Arc<Endpoint>]>,
    rotation: Rotation,
    /// `None`: handshakes need no permits.
    permits: Option<Arc<Permits>>,
    wanted: u64,
    /// Connections per second of this population on this thread.
    rate: Option<f64>,
    /// The number of the first connection, and the distance between two: unique over all threads.
    first_number: u32,
    stride: u32,
    pub(super) began: u64,
    pub(super) started: u64,
    pub(super) established: u64,
    pub(super) failed: u64,
    /// Handshakes in progress.
    in_progress: u64,
    /// The time at which the latest one opened.
    pub(super) latest: u64,
    pub(super) compressing: u64,
    pub(super) tally: OpeningTally,
}

impl Opening {
    /// `first`: the number of connections to open before messages are sent.
    pub(super) fn new(orders: &CrewOrders, first: u64, needs_permits: bool) -> Self {
        Self {
            endpoints: Arc::clone(&orders.endpoints),
            rotation: orders.rotation.clone(),
            permits: needs_permits.then(|| Arc::clone(&orders.permits)),
            wanted: first,
            rate: orders.connect_rate,
            first_number: orders.first_number,
            stride: orders.stride,
            began: 0,
            started: 0,
            established: 0,
            failed: 0,
            in_progress: 0,
            latest: 0,
            compressing: 0,
            tally: OpeningTally::default(),
        }
    }

    /// Starts as many of the first connections as are due.
    pub(super) fn proceed(&mut self, crew: u16, cx: &mut Context, shard: &mut Shard<'_, Worker>) -> Next {
        loop {
            let over = self.established + self.failed;
            let is_given_up = self.established == 0 && self.failed >= GIVE_UP_AFTER;
            if over >= self.wanted || is_given_up && over == self.started {
                return Next::Over;
            }
            if is_given_up || self.started >= self.wanted {
                return Next::Wait;
            }
            if let Some(rate) = self.rate {
                // A low rate can be due later than any time; the conversion saturates.
                let due = self.began.saturating_add((self.started as f64 / rate * 1e9) as u64);
                if due > cx.now {
                    cx.read_clock();
                    if due > cx.now {
                        return Next::At(due);
                    }
                }
            }
            let place = self.started as u32;
            if !self.connect(crew, place, cx, shard) {
                return if self.in_progress > 0 { Next::Wait } else { Next::At(cx.now + ASK_AGAIN) };
            }
            self.started += 1;
        }
    }

    /// Starts the connection of a place, which is due now. Returns whether there was a permit for it.
    pub(super) fn connect(&mut self, crew: u16, place: u32, cx: &Context, shard: &mut Shard<'_, Worker>) -> bool {
        self.connect_due(crew, place, cx.now, shard)
    }

    /// The same for a connection that was due at this time.
    pub(super) fn connect_due(&mut self, crew: u16, place: u32, due: u64, shard: &mut Shard<'_, Worker>) -> bool {
        if self.permits.as_ref().is_some_and(|permits| !permits.take()) {
            return false;
        }
        self.in_progress += 1;
        let endpoint = &self.endpoints[self.rotation.at(place.into())];
        shard.connect(endpoint, Line::connecting(crew, place, self.number_of(place), due));
        true
    }

    /// The number of the connection of a place, which identifies its messages.
    fn number_of(&self, place: u32) -> u32 {
        self.first_number.wrapping_add(place.wrapping_mul(self.stride))
    }

    /// Ends a handshake: it has succeeded or failed.
    pub(super) fn concluded(&mut self) {
        self.in_progress -= 1;
        if let Some(permits) = &self.permits {
            permits.give_back();
        }
    }

    /// Whether all connections that were started are established or have failed.
    pub(super) fn has_settled(&self) -> bool {
        self.established + self.failed >= self.started
    }

    /// Whether handshakes are in progress.
    pub(super) fn is_busy(&self) -> bool {
        self.in_progress > 0
    }

    /// Abandons the connections that were not started.
    pub(super) fn give_up(&mut self) {
        self.wanted = self.started;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_permits_out_than_allowed() {
        let permits = Permits::new(2);
        assert!(permits.take() && permits.take() && !permits.take());
        permits.give_back();
        assert!(permits.take() && !permits.take());
    }
}
