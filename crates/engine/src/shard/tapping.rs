//! Reports the traced connections of a shard to its tap.

use crate::api::handler::Handler;
use crate::session::Session;
use crate::shard::core::Core;
use crate::shard::dispatch::Dispatch;
use crate::tap::{ShardTap, TappedConnection};
use ringway_io::{Driver, Slot};
use std::time::Instant;

impl Core {
    /// Calls `report` with the tap, if there is one, and with the time. Drops a tap that is over.
    #[cold]
    pub(crate) fn with_tap(&mut self, report: impl FnOnce(&mut ShardTap, Instant)) {
        let now = self.current_time();
        if let Some(tap) = &mut self.tap {
            report(tap, now);
            if tap.is_over() {
                self.tap = None;
            }
        }
    }
}

impl<D: Driver, H: Handler> Dispatch<'_, D, H> {
    /// Adds the session of an accepted connection, which is traced from now on if the tap takes it.
    /// `has_tls`: its listener has TLS.
    #[inline]
    pub(super) fn insert_accepted(&mut self, session: Session<H::State>, has_tls: bool) {
        if self.core.tap.is_some() {
            self.tap_opened(session.link.slot(), false, has_tls);
        }
        self.sessions.insert(session);
    }

    /// Reports the end of a connection.
    pub(super) fn tap_ended(&mut self, slot: Slot, peer_finished: bool, cause: impl FnOnce() -> String) {
        if self.core.tap.is_some() {
            self.core.with_tap(|tap, now| tap.ended(slot, now, peer_finished, cause));
        }
    }

    /// Traces a connection that was accepted or established, if the tap takes it.
    #[cold]
    pub(super) fn tap_opened(&mut self, slot: Slot, is_outgoing: bool, has_tls: bool) {
        let driver = self.driver;
        self.core.with_tap(|tap, now| {
            tap.opened(slot, now, || TappedConnection {
                is_outgoing,
                local: driver.local_address(slot),
                remote: driver.peer_address(slot),
                has_tls,
            });
        });
    }
}
