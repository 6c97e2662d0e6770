//! A message and its state, in 16 bytes.

use super::Sent;

/// The bits of the submitted time below the state: 146 years.
const TIME_BITS: u32 = 62;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// The state of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// There is no message.
    Unused,
    /// It waits for its answer.
    Waiting,
    /// It was answered.
    Answered,
    /// It was not answered in time.
    Expired,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    intended: u64,
    /// The submitted time, and above it the state.
    submitted: u64,
}

impl Entry {
    pub(super) const UNUSED: Self = Self { intended: 0, submitted: 0 };

    #[inline]
    pub(super) fn waiting(sent: Sent) -> Self {
        debug_assert!(sent.submitted <= TIME, "a time below 2⁶² ns");
        Self { intended: sent.intended, submitted: sent.submitted & TIME | 1 << TIME_BITS }
    }

    #[inline]
    pub(super) fn sent(&self) -> Sent {
        Sent { intended: self.intended, submitted: self.submitted & TIME }
    }

    #[inline]
    pub(super) fn state(&self) -> State {
        match self.submitted >> TIME_BITS {
            0 => State::Unused,
            1 => State::Waiting,
            2 => State::Answered,
            _ => State::Expired,
        }
    }

    #[inline]
    pub(super) fn is_waiting(&self) -> bool {
        self.submitted >> TIME_BITS == State::Waiting as u64
    }

    /// Whether a first answer to the message may still arrive: it waits, or has expired.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        // The lower bit of the state.
        self.submitted & 1 << TIME_BITS != 0
    }

    #[inline]
    pub(super) fn set(&mut self, state: State) {
        self.submitted = self.submitted & TIME | (state as u64) << TIME_BITS;
    }
}
