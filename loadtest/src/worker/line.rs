//! The state of one connection.

use crate::matching::Window;

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
    /// The messages that wait for a reply.
    pub(super) window: Window,
    /// The time at which the connection was due, or of the latest message.
    pub(super) mark: u64,
    /// The next sequence number to receive, or to send.
    pub(super) next: u32,
}

impl Line {
    /// A connection that is not open yet.
    pub(super) fn connecting(crew: u16, place: u32, salt: u32, due: u64) -> Self {
        Self { crew, place, salt, is_watched: false, window: Window::default(), mark: due, next: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_small() {
        assert!(size_of::<Line>() <= 88, "{}", size_of::<Line>());
    }
}
