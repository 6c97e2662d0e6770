//! The faults that the simulated kernel injects, and how often.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::ops::RangeInclusive;

/// Declares the faults once: [`Faults`] has the probability of each, [`Injected`] its count.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident: $all:literal,)+) => {
        /// The probability of each fault, from 0, never, to 1, always where it is possible.
        ///
        /// All of them can occur with a real kernel or network. A driver and its users must handle
        /// them without losing, duplicating or reordering a byte.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $name: f64,)+
        }

        impl Faults {
            /// No faults.
            #[must_use]
            pub const fn none() -> Self {
                Self { $($name: 0.0,)+ }
            }

            /// All faults, each rare enough that a run makes progress.
            #[must_use]
            pub const fn all() -> Self {
                Self { $($name: $all,)+ }
            }
        }

        /// How often each fault of [`Faults`] has been injected.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Injected {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Injected {
            /// The name and the count of each fault.
            #[must_use]
            pub fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }

        #[cfg(test)]
        impl Faults {
            /// For each fault, its name and a configuration with only this fault, at a probability
            /// of 1/4.
            pub(super) fn one_by_one() -> Vec<(&'static str, Self)> {
                vec![$((stringify!($name), Self { $name: 0.25, ..Self::none() })),+]
            }
        }
    };
}

faults! {
    /// A receive completes with a part of the available bytes (one byte, half of the time). The
    /// rest follows with the next one.
    split: 0.3,
    /// A multishot receive ends with a completion that has data, without F_MORE.
    last_receive: 0.1,
    /// A multishot receive ends with EAGAIN or EINTR although bytes are available.
    ended_receive: 0.05,
    /// A receive ends with ENOBUFS although buffers are available.
    no_buffer: 0.05,
    /// An operation completes up to 32 turns late: an accept, a connect, a receive, a cancel, a
    /// close, or a send whose bytes have arrived.
    late: 0.1,
    /// A completion with a buffer is reported for a connection whose descriptor is closed.
    stale: 0.1,
    /// The completion queue has room for 1 to 4 entries in this turn. Further completions end
    /// multishot operations and are returned by later turns.
    overflow: 0.05,
    /// Accepting ends with EMFILE, ENFILE or ENOMEM, or a socket for an outgoing connection is
    /// refused for the same reason.
    no_descriptor: 0.1,
    /// A multishot accept ends with a completion that has a connection.
    last_accept: 0.1,
    /// A connection is gone before it is accepted: the multishot accept ends with ECONNABORTED.
    aborted: 0.02,
    /// The network resets an open connection, and bytes in transit are lost. One time in four the
    /// error is ETIMEDOUT instead of ECONNRESET. Drawn once per turn and connection.
    reset: 0.002,
    /// A send completes after a part of its bytes.
    short_send: 0.1,
    /// A send completes with EINTR or EAGAIN, and no byte is written.
    interrupted_send: 0.05,
    /// An outgoing connection fails: ECONNREFUSED, ETIMEDOUT or EHOSTUNREACH.
    unreachable: 0.05,
    /// A cancel comes too late (EALREADY), and its target continues.
    missed_cancel: 0.1,
    /// Operations of different connections complete in random order. Those of one connection keep
    /// their order.
    shuffle: 0.5,
    /// The waker is reported without a wake.
    spurious_wake: 0.02,
    /// A turn is interrupted: it returns no completions although there are some.
    empty_turn: 0.05,
}

/// The only source of randomness in a run.
#[derive(Debug)]
pub(super) struct RandomSource(Xoshiro256PlusPlus);

impl RandomSource {
    pub(super) fn new(seed: u64) -> Self {
        // A fixed algorithm, unlike `StdRng`, so that a seed gives the same run with newer versions
        // of the crate.
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Draws an event with this probability, and counts it.
    pub(super) fn draw(&mut self, probability: f64, count: &mut u64) -> bool {
        let draw = probability > 0.0 && self.0.random_bool(probability.min(1.0));
        *count += u64::from(draw);
        draw
    }

    /// A number of the range, uniformly distributed.
    pub(super) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        self.0.random_range(range)
    }

    /// One of these, uniformly distributed.
    pub(super) fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.within(0..=these.len() - 1)]
    }
}
