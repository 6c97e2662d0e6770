//! The state of one connection.

use crate::matching::Window;
use crate::sequence::Sequence;
use std::time::Duration;

/// The state of one connection. Small, so that a million idle connections take little memory.
pub(crate) struct Line {
    /// The population.
    pub(super) crew: u16,
    /// The number of the connection within its population on this thread.
    pub(super) place: u32,
    /// Distinguishes the connection's messages from those of others.
    pub(super) salt: u32,
    /// Whether a look for expired messages is scheduled.
    pub(super) is_watched: bool,
    /// Whether the connection is open and waits for the answer to its subscription.
    pub(super) is_subscribing: bool,
    /// The messages that wait for a reply.
    pub(super) window: Window,
    /// Until the connection is open, the time at which it was due. Afterwards a figure of the
    /// behaviour, from 0.
    pub(super) mark: u64,
    /// When the connection opened, in milliseconds since the epoch, modulo 2³².
    pub(super) opened: u32,
    /// The numbers that were received without having been asked for.
    pub(super) sequence: Sequence,
    /// The next number to send where `window` is not used.
    pub(super) next: u32,
}

impl Line {
    /// A connection that is not open yet.
    pub(super) fn connecting(crew: u16, place: u32, salt: u32, due: u64) -> Self {
        Self {
            crew,
            place,
            salt,
            is_watched: false,
            is_subscribing: false,
            window: Window::default(),
            mark: due,
            opened: 0,
            sequence: Sequence::default(),
            next: 0,
        }
    }

    /// The time for which the connection has been open, up to 49 days.
    pub(super) fn age(&self, now: u64) -> Duration {
        Duration::from_millis(millis(now).wrapping_sub(self.opened).into())
    }
}

/// A time in milliseconds, modulo 2³².
pub(super) fn millis(nanos: u64) -> u32 {
    (nanos / 1_000_000) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_small() {
        assert!(size_of::<Line>() <= 88, "{}", size_of::<Line>());
    }
}
