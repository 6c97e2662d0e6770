//! The datagrams of a driver whose readiness comes from epoll: received at the end of a turn, and sent at
//! once.

use super::Poller;
use crate::epoll::transfers::Transfers;
use crate::table::SlotTable;
use crate::{Completion, Datagram};

impl<T: Transfers> SlotTable<Poller<T>> {
    /// Receives datagrams, at the end of a turn.
    #[inline]
    pub(crate) fn receive_datagrams(&mut self, completions: &mut Vec<Completion>) {
        let Self { kernel, stats, .. } = self;
        if let Some((datagrams, _)) = kernel.datagrams() {
            datagrams.receive(stats, completions);
        }
    }

    /// Sends a datagram, and counts it.
    pub(crate) fn send_datagram(&mut self, datagram: Datagram) {
        let Self { kernel, stats, .. } = self;
        let is_sent = kernel.datagrams().is_some_and(|(datagrams, _)| datagrams.send(datagram));
        *if is_sent { &mut stats.datagrams_sent } else { &mut stats.datagrams_unsent } += 1;
    }
}
