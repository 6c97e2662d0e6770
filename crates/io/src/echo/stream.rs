//! The state of one connection of the echo service.

use super::outbox::EchoOutbox;
use crate::Slot;
use std::time::Instant;

/// The direction that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Bytes are echoed.
    Open,
    /// The peer has ended its direction: what waits is sent, and then the connection is closed.
    PeerFinished,
    /// The service ends the connection: what waits is sent, and then this side's direction ends.
    Ending,
    /// This side's direction has ended: input is dropped until the peer ends its own.
    Lingering,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) slot: Slot,
    pub(super) stage: Stage,
    pub(super) is_dirty: bool,
    pub(super) receives: bool,
    pub(super) outbox: EchoOutbox,
    /// The time at which bytes were last received, or the last send has completed.
    pub(super) active: Instant,
    /// What the peer had acknowledged at the check that saw it first, while output waits.
    pub(super) progress: Option<(u64, Instant)>,
    /// When the service began to end the connection.
    pub(super) ending_since: Option<Instant>,
}

impl Stream {
    pub(super) fn new(slot: Slot, now: Instant) -> Self {
        Self {
            slot,
            stage: Stage::Open,
            is_dirty: false,
            receives: true,
            outbox: EchoOutbox::default(),
            active: now,
            progress: None,
            ending_since: None,
        }
    }
}
