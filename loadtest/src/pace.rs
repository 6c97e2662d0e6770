//! Which arrival is due when. Pure: no clock, no socket.
//!
//! A [`Schedule`] is the rate of arrivals over time, and its integral: the number of arrivals that
//! it offers. A [`Pacer`] is the arrivals of one thread. [`Rounds`] are the times of a
//! recording that repeats. The time of an arrival depends on the
//! schedule alone, never on the times at which earlier arrivals were taken, so a generator that is
//! late has a backlog and no drift.

mod pacer;
mod rounds;
mod schedule;

pub use pacer::Arrivals;
pub(crate) use pacer::Pacer;
pub(crate) use rounds::Rounds;
pub use schedule::{MAX_RATE, Schedule, ScheduleError};
