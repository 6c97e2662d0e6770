//! What the threads of a run send to the conductor.

use crate::broadcast::Delivered;
use crate::histogram::Recorder;
use crate::ledger::Ledger;
use crate::observe::usage::Usage;
use crate::opening::OpeningTally;
use crate::steps::RunPhase;

/// An event of a thread.
pub(crate) enum ThreadEvent {
    /// All its connections are open or have failed.
    Ramped(Ramped),
    /// Its current figures, as a response to a query.
    Standing(usize, Standing),
    /// The ledgers of an interval that has ended.
    Cut(Box<Cut>),
    /// It has nothing left to measure: every message has been answered, or no connection is left.
    Drained,
    /// Its connections are closed.
    Closed(Box<Tally>),
}

/// The result of connecting.
pub(crate) struct Ramped {
    pub(crate) index: usize,
    /// The system's thread id.
    pub(crate) thread: i32,
    /// The open connections of each population.
    pub(crate) established: Vec<u64>,
}

/// The current figures of a thread.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) open: u64,
    pub(crate) failed: u64,
    /// Messages that were answered since the beginning, or sent, if messages are not answered.
    pub(crate) done: u64,
    pub(crate) errors: u64,
    pub(crate) behind: Behind,
}

/// The messages of a thread that are due and not answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Behind {
    /// Arrivals that are due and not submitted.
    pub(crate) unsent: u64,
    /// Messages that wait for a reply.
    pub(crate) unanswered: u64,
}

impl Behind {
    /// Adds those of another thread or population.
    pub(crate) fn add(&mut self, other: Self) {
        self.unsent += other.unsent;
        self.unanswered += other.unanswered;
    }

    pub(crate) fn total(self) -> u64 {
        self.unsent + self.unanswered
    }
}

/// The ledgers of a thread in an interval.
pub(crate) struct Cut {
    pub(crate) index: usize,
    /// The phase of the interval.
    pub(crate) phase: RunPhase,
    /// The end of the interval, in nanoseconds since the epoch.
    pub(crate) to: u64,
    /// By population.
    #[expect(clippy::vec_box, reason = "a ledger of several hundred bytes is replaced and sent as a pointer")]
    pub(crate) ledgers: Vec<Box<Ledger>>,
    /// By population: the deliveries since the latest cut, and the number of those that are left
    /// out.
    pub(crate) deliveries: Vec<(Vec<Delivered>, u64)>,
    /// Messages that are due and not submitted, and messages that wait for a reply.
    pub(crate) behind: Behind,
    /// How late the thread woke up for its alarms in the interval.
    pub(crate) late: Recorder,
    /// The CPU time of the thread since measuring began, at the end of it.
    pub(crate) usage: Option<Usage>,
}

/// The connections of a thread.
pub(crate) struct Tally {
    pub(crate) index: usize,
    /// By population.
    pub(crate) crews: Vec<CrewTally>,
    /// Bytes of the messages that were compressed in the measured part, before and after.
    pub(crate) deflated: (u64, u64),
}

/// The connections of one population on a thread.
pub(crate) struct CrewTally {
    pub(crate) established: u64,
    /// Connections that failed to open. One that was in progress when the run ended does not count.
    pub(crate) failed: u64,
    /// The number of these with negotiated compression.
    pub(crate) compressing: u64,
    /// The start of the first connect and the time at which the last connection was open, in
    /// nanoseconds since the epoch.
    pub(crate) ramp: Option<(u64, u64)>,
    pub(crate) opening: OpeningTally,
}
