//! What the threads of a run tell the one that leads it.

use crate::errors::Errors;
use crate::measure::{Recorder, Usage};
use std::time::Duration;

/// What a thread tells.
pub(crate) enum ThreadEvent {
    /// All its connections are open, or have failed.
    Ramped(Ramped),
    /// Where it stands, because it was asked.
    Standing(usize, Standing),
    /// It has nothing left to measure: every message was answered, or no connection is left.
    Drained,
    /// Its connections are closed: all that it has counted.
    Closed(Box<Tally>),
}

/// How connecting went.
pub(crate) struct Ramped {
    pub(crate) index: usize,
    /// The thread, by the system's number.
    pub(crate) thread: i32,
    pub(crate) established: u64,
}

/// Figures of a thread that is at work.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) open: u64,
    pub(crate) failed: u64,
    /// Messages that have been answered, or sent where none are answered, from the beginning on.
    pub(crate) done: u64,
    pub(crate) errors: u64,
}

/// All that a thread has counted.
pub(crate) struct Tally {
    pub(crate) index: usize,
    pub(crate) established: u64,
    /// Connections that were tried and did not open. One that was still under way when the run was ended is none.
    pub(crate) failed: u64,
    /// How many of these have agreed on compression.
    pub(crate) compressing: u64,
    /// How long each connection took to open.
    pub(crate) connect: Recorder,
    /// When the first connect began and the last connection was open, in nanoseconds since the epoch.
    pub(crate) ramp: Option<(u64, u64)>,
    pub(crate) errors: Errors,
    /// `None` when measuring had not begun.
    pub(crate) measured: Option<Measured>,
}

/// What a thread has measured.
pub(crate) struct Measured {
    pub(crate) latency: Recorder,
    /// Messages that were in flight when measuring began, or sent since.
    pub(crate) sent: u64,
    /// Those that were answered as they should be.
    pub(crate) received: u64,
    /// Those that were not answered.
    pub(crate) missing: u64,
    pub(crate) window: MeasuredWindow,
}

/// What lies within the time of measuring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MeasuredWindow {
    /// Messages that were answered, or sent where none are answered.
    pub(crate) messages: u64,
    /// The bytes of their payloads.
    pub(crate) bytes: u64,
    pub(crate) length: Duration,
    pub(crate) usage: Usage,
}
