//! Why the driver of a shard does not accept, and the changes between accepting and not.

use std::time::Instant;

/// Why accepting is paused.
#[derive(Debug, Default)]
pub(crate) struct Accepting {
    /// Too many TLS handshakes wait.
    pub(crate) is_busy: bool,
    /// The accept rate allows no connection before this time.
    pub(crate) until: Option<Instant>,
    /// The driver does not accept.
    pub(crate) is_paused: bool,
}

impl Accepting {
    pub(crate) fn pause_for(&mut self, until: Instant) {
        self.until = Some(until);
    }

    /// Whether nothing requires a pause.
    #[inline]
    pub(crate) fn is_allowed(&self) -> bool {
        !self.is_busy && self.until.is_none()
    }

    /// Whether accepting was not paused, and need not be.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        self.is_allowed() && !self.is_paused
    }

    /// Whether accepting is to be resumed (`true`) or paused (`false`) now; `None`: neither.
    pub(crate) fn change(&mut self) -> Option<bool> {
        let pause = !self.is_allowed();
        (std::mem::replace(&mut self.is_paused, pause) != pause).then_some(!pause)
    }
}
