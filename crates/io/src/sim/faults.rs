//! What the simulated kernel does wrong, and how often.

use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use std::ops::RangeInclusive;

/// Declares the faults once: [`Faults`] has the probability of each, [`Injected`] how often it has
/// struck.
macro_rules! faults {
    ($($(#[doc = $doc:literal])+ $name:ident: $all:literal,)+) => {
        /// How probable each fault is: 0 never, 1 whenever there is occasion.
        ///
        /// All of them are things that a kernel or a network may do; a driver and what is built on
        /// it must go on without losing, doubling or mixing a byte.
        #[derive(Clone, Copy, Debug, PartialEq)]
        pub struct Faults {
            $($(#[doc = $doc])+ pub $name: f64,)+
        }

        impl Faults {
            /// A kernel and a network without fault.
            #[must_use]
            pub const fn none() -> Self {
                Self { $($name: 0.0,)+ }
            }

            /// Every fault, each as often as leaves a run of some hundred turns something to do.
            #[must_use]
            pub const fn all() -> Self {
                Self { $($name: $all,)+ }
            }
        }

        /// How often each fault of [`Faults`] has struck.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Injected {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Injected {
            /// The name of each fault, and how often it has struck.
            #[must_use]
            pub fn each(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),+]
            }
        }

        #[cfg(test)]
        impl Faults {
            /// For each fault its name, and faults in which it alone strikes, one time in four.
            pub(super) fn one_by_one() -> Vec<(&'static str, Self)> {
                vec![$((stringify!($name), Self { $name: 0.25, ..Self::none() })),+]
            }
        }
    };
}

faults! {
    /// A receive completes with a part of the bytes that are there (one byte, half of the time);
    /// the rest comes with the next.
    split: 0.3,
    /// A multishot receive ends with the bytes that it delivers: a completion with data and without
    /// F_MORE.
    last_receive: 0.1,
    /// A multishot receive ends with EAGAIN or EINTR and delivers nothing, although there are
    /// bytes.
    ended_receive: 0.05,
    /// A receive ends with ENOBUFS although buffers lie ready.
    no_buffer: 0.05,
    /// An operation completes up to 32 turns after it could have: an accept, a connect, a receive,
    /// a cancel, a close, or a send whose bytes have long arrived.
    late: 0.1,
    /// A completion comes for a connection whose descriptor is closed, with a buffer.
    stale: 0.1,
    /// The completion queue has room for 1 to 4 entries in this turn. What is beyond ends multishot
    /// operations and is handed out in later turns.
    overflow: 0.05,
    /// Accepting ends with EMFILE or ENFILE, or a socket for an outgoing connection is refused for
    /// the same reason.
    no_descriptor: 0.1,
    /// A multishot accept ends with the connection that it delivers.
    last_accept: 0.1,
    /// A connection is gone before it is accepted: the multishot accept ends with ECONNABORTED.
    aborted: 0.02,
    /// The network resets an open connection; bytes that were under way are lost. One time in four
    /// the error is ETIMEDOUT instead of ECONNRESET. The occasion is each turn of each connection.
    reset: 0.002,
    /// A send completes with a part of its bytes written.
    short_send: 0.1,
    /// A send completes with EINTR or EAGAIN and nothing written.
    interrupted_send: 0.05,
    /// An outgoing connection fails: ECONNREFUSED, ETIMEDOUT or EHOSTUNREACH.
    unreachable: 0.05,
    /// A cancel comes too late (EALREADY): what it was to cancel goes on.
    missed_cancel: 0.1,
    /// Operations of several connections complete in another order than they could have. Those of
    /// one connection keep theirs.
    shuffle: 0.5,
    /// The waker is reported though nobody has woken.
    spurious_wake: 0.02,
    /// A turn is interrupted: it hands out nothing, although there are completions.
    empty_turn: 0.05,
}

/// The one source of chance in a run.
#[derive(Debug)]
pub(super) struct RandomSource(Xoshiro256PlusPlus);

impl RandomSource {
    pub(super) fn new(seed: u64) -> Self {
        // Named, not `StdRng`: a seed from an old report must give the same run with a newer crate.
        Self(Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// Whether something of this probability happens; counts it.
    pub(super) fn strikes(&mut self, probability: f64, count: &mut u64) -> bool {
        let strikes = probability > 0.0 && self.0.random_bool(probability.min(1.0));
        *count += u64::from(strikes);
        strikes
    }

    /// A number of the range, each as probable.
    pub(super) fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        self.0.random_range(range)
    }

    /// One of these, each as probable.
    pub(super) fn one_of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.within(0..=these.len() - 1)]
    }
}
