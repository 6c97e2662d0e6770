//! Where the connections of a population are in the recording that they replay.

use crate::pace::Rounds;

/// Where each connection is in the recording.
pub(super) struct Replay {
    pub(super) rounds: Rounds,
    /// By place.
    pub(super) positions: Vec<Position>,
}

/// Where a connection is in the recording.
#[derive(Clone, Copy, Default)]
pub(super) struct Position {
    /// The number of the next message.
    pub(super) next: u64,
    /// Whether the connection takes no more until its output was sent.
    pub(super) is_full: bool,
}

impl Replay {
    pub(super) fn new(rounds: Rounds, places: usize) -> Self {
        Self { rounds, positions: vec![Position::default(); places] }
    }
}
