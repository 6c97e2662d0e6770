//! State for deciding when a peer has timed out.
//!
//! A deadline is checked when the session's timer fires, not at each event: a connection in use
//! sets no timers. The results that a check needs from earlier ones are kept here, for the few
//! connections with something pending.

use crate::config::{Config, Limits};
use crate::shard::core::Core;
use ringway_io::{Driver, Slot};
use std::time::Duration;

/// The kernel's view of a peer. Each call costs a system call, and is made only when a deadline has
/// passed or output is pending.
pub(crate) trait PeerProbe {
    /// The number of bytes that the peer has acknowledged; `None` if the connection is gone.
    fn acknowledged(&self, slot: Slot) -> Option<u64>;

    /// Whether the kernel holds bytes of the peer that are not in a receive buffer yet.
    fn has_unread(&self, slot: Slot) -> bool;

    /// Whether completions may be pending that the last turn has not handed out.
    fn has_backlog(&self) -> bool;
}

impl<D: Driver> PeerProbe for D {
    fn acknowledged(&self, slot: Slot) -> Option<u64> {
        Driver::acknowledged(self, slot)
    }

    fn has_unread(&self, slot: Slot) -> bool {
        self.unread(slot) > 0
    }

    fn has_backlog(&self) -> bool {
        Driver::has_backlog(self)
    }
}

/// After this many turns every completion that was pending before them has been handed out,
/// although the shard may always have a backlog.
const FULL_PASS: u32 = 64;

/// The bytes that a deadline is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Awaited {
    /// The rest of a message.
    Message,
    /// Anything: an answer to a ping, or the rest of a handshake.
    Sign,
}

/// The results of earlier checks of a connection's deadlines.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    /// The tick at which the message that is being received began.
    pub(crate) message_since: Option<u32>,
    /// The tick at which closing began.
    closing_since: u32,
    /// The progress of the output, while there is any.
    progress: Option<OutputProgress>,
    /// The number of acknowledged bytes when the peer was pinged, on a connection that does not
    /// receive.
    pub(crate) pinged_at: Option<u64>,
    /// For each kind of [`Awaited`] bytes, the turn in which their deadline was found to have passed.
    late: [Option<u32>; 2],
}

#[derive(Clone, Copy, Debug)]
struct OutputProgress {
    acknowledged: u64,
    /// The tick at which this number was first seen.
    since: u32,
}

impl Deadlines {
    /// Creates those of a connection that begins to close.
    pub(crate) fn closing(since: u32) -> Self {
        Self { closing_since: since, ..Self::default() }
    }

    /// Whether nothing is pending.
    pub(crate) fn is_idle(&self) -> bool {
        self.message_since.is_none() && self.progress.is_none() && self.pinged_at.is_none() && self.late == [None; 2]
    }

    /// Whether the awaited bytes of the peer may have arrived although the session has not received
    /// them, after their deadline has passed. That is so for a full pass over the sockets at most.
    pub(crate) fn may_have_arrived(
        &mut self,
        awaited: Awaited,
        slot: Slot,
        probe: &impl PeerProbe,
        core: &Core,
    ) -> bool {
        let turn = core.clock.turn();
        let since = *self.late[awaited as usize].get_or_insert(turn);
        turn.wrapping_sub(since) < FULL_PASS && (probe.has_unread(slot) || probe.has_backlog())
    }

    /// Clears the passed deadline after input from the peer.
    pub(crate) fn in_time(&mut self, awaited: Awaited) {
        self.late[awaited as usize] = None;
    }

    /// Clears the progress: no output is pending.
    pub(crate) fn no_output(&mut self) {
        self.progress = None;
    }

    /// The time without acknowledgements from the peer, measured from the first check that found
    /// the current count.
    pub(crate) fn stalled(&mut self, acknowledged: u64, core: &Core) -> Duration {
        match self.progress {
            Some(progress) if progress.acknowledged == acknowledged => core.since(progress.since),
            _ => {
                self.progress = Some(OutputProgress { acknowledged, since: core.tick() });
                Duration::ZERO
            }
        }
    }

    /// The time since the connection began to close.
    pub(crate) fn closing_for(&self, core: &Core) -> Duration {
        core.since(self.closing_since)
    }

    /// The time for which closing has made no progress. Output that was pending at the last check
    /// counts as progress if some of it was sent since.
    pub(crate) fn closing_stalled(&mut self, pending: Option<u64>, core: &Core) -> Duration {
        match pending {
            Some(acknowledged) => self.stalled(acknowledged, core),
            None => core.since(self.progress.map_or(self.closing_since, |progress| progress.since)),
        }
    }
}

/// The period of the checks of an open connection's deadlines.
pub(crate) fn check_period(config: &Config, limits: &Limits) -> Duration {
    let period = config.write_timeout.min(limits.message_timeout);
    config.idle_timeout.map_or(period, |idle| idle.min(period)) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::Instant;

    #[test]
    fn a_stall_lasts_from_the_first_check_that_saw_the_count() {
        let start = Instant::now();
        let mut core = Core::new(Arc::new(Config::default()), Limits::default(), start);
        let mut deadlines = Deadlines::default();
        let mut at = |second: u64, acknowledged: u64| {
            core.begin_turn(start + Duration::from_secs(second));
            deadlines.stalled(acknowledged, &core).as_secs()
        };
        assert_eq!([at(10, 5), at(20, 5), at(35, 5)], [0, 10, 25]);
        assert_eq!([at(40, 6), at(41, 6)], [0, 1]);
    }

    #[test]
    fn closing_is_timed_from_its_start_unless_output_was_pending() {
        let start = Instant::now();
        let mut core = Core::new(Arc::new(Config::default()), Limits::default(), start);
        let mut deadlines = Deadlines::default();
        let mut at = |second: u64, pending: Option<u64>| {
            core.begin_turn(start + Duration::from_secs(second));
            deadlines.closing_stalled(pending, &core).as_secs()
        };
        assert_eq!([at(1, None), at(2, Some(5)), at(3, Some(5)), at(4, Some(6)), at(9, None)], [1, 0, 1, 0, 5]);
    }
}
