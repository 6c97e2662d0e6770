//! What became of a message that was due, and the messages that wait for their connections.

use ringway::SendOutcome;
use std::collections::{HashMap, VecDeque};

/// The maximum number of messages that wait for their connections on a thread: 8 MiB. Further ones are
/// unsent at once.
const MAX_HELD: usize = 1 << 20;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Submission {
    /// Its connection has taken it.
    Sent,
    /// Its connection takes no more until the server has read what was sent before.
    Full,
    /// Its connection is not open.
    Lost,
}

impl Submission {
    pub(super) fn of(outcome: &SendOutcome<'_>) -> Self {
        match outcome {
            outcome if outcome.is_accepted() => Self::Sent,
            SendOutcome::Full(_) => Self::Full,
            _ => Self::Lost,
        }
    }
}

/// The times at which messages were due that their connections did not take, by place.
#[derive(Debug, Default)]
pub(super) struct Held {
    places: HashMap<u32, VecDeque<u64>>,
    pub(super) total: usize,
}

impl Held {
    /// Adds a message. Returns whether there was room.
    pub(super) fn add(&mut self, place: u32, intended: u64) -> bool {
        let has_room = self.total < MAX_HELD;
        if has_room {
            self.places.entry(place).or_default().push_back(intended);
            self.total += 1;
        }
        has_room
    }

    /// The first message of a place.
    #[inline]
    pub(super) fn first(&self, place: u32) -> Option<u64> {
        if self.total == 0 { None } else { self.places.get(&place)?.front().copied() }
    }

    /// Removes it.
    pub(super) fn take(&mut self, place: u32) {
        if let Some(queue) = self.places.get_mut(&place) {
            self.total -= usize::from(queue.pop_front().is_some());
            if queue.is_empty() {
                self.places.remove(&place);
            }
        }
    }

    /// Removes the messages of a place.
    pub(super) fn take_place(&mut self, place: u32) -> VecDeque<u64> {
        if self.total == 0 {
            return VecDeque::new();
        }
        let taken = self.places.remove(&place).unwrap_or_default();
        self.total -= taken.len();
        taken
    }

    /// Removes all messages.
    pub(super) fn take_all(&mut self) -> Vec<u64> {
        self.total = 0;
        std::mem::take(&mut self.places).into_values().flatten().collect()
    }
}
