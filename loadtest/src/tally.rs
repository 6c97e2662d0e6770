//! The events that the threads of a run send to the coordinating thread.

use crate::errors::Errors;
use crate::measure::Recorder;
use crate::observe::usage::Usage;
use crate::opening::OpeningTally;
use std::time::Duration;

/// An event of a thread.
pub(crate) enum ThreadEvent {
    /// All its connections are open or have failed.
    Ramped(Ramped),
    /// Its current figures, as a response to a query.
    Standing(usize, Standing),
    /// It has nothing left to measure: every message has been answered, or no connection is left.
    Drained,
    /// Its connections are closed; the final counts.
    Closed(Box<Tally>),
}

/// The result of connecting.
pub(crate) struct Ramped {
    pub(crate) index: usize,
    /// The system's thread id.
    pub(crate) thread: i32,
    pub(crate) established: u64,
}

/// The current figures of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) open: u64,
    pub(crate) failed: u64,
    /// Messages answered since the beginning, or sent, if messages are not answered.
    pub(crate) done: u64,
    pub(crate) errors: u64,
}

/// The counts of a thread.
pub(crate) struct Tally {
    pub(crate) index: usize,
    pub(crate) established: u64,
    /// Connections that failed to open. One that was in progress when the run ended does not count.
    pub(crate) failed: u64,
    /// The number of these with negotiated compression.
    pub(crate) compressing: u64,
    pub(crate) opening: OpeningTally,
    /// The start of the first connect and the time at which the last connection was open, in
    /// nanoseconds since the epoch.
    pub(crate) ramp: Option<(u64, u64)>,
    pub(crate) errors: Errors,
    /// `None` if measuring did not begin.
    pub(crate) measured: Option<Measured>,
}

/// The measurements of a thread.
pub(crate) struct Measured {
    pub(crate) latency: Recorder,
    /// Messages that were in flight when measuring began, or were sent since.
    pub(crate) sent: u64,
    /// Those that were answered correctly.
    pub(crate) received: u64,
    /// Those that were not answered.
    pub(crate) missing: u64,
    pub(crate) window: MeasuredWindow,
}

/// The counts within the measured time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeasuredWindow {
    /// Messages answered, or sent, if messages are not answered.
    pub(crate) messages: u64,
    /// The bytes of their payloads.
    pub(crate) bytes: u64,
    pub(crate) length: Duration,
    pub(crate) usage: Usage,
}
