//! Connections that arrive at a shard: from its listeners, from other shards, and from the caller of
//! a shard that accepts them itself; and whether any are wanted.

use super::EventLoop;
use crate::admission::gate::Pace;
use crate::api::handler::Handler;
use crate::shard::balance::{Choice, MAX_TRANSFERS, Transfer};
use ringway_io::{Detached, Driver, Slot};
use std::time::Duration;

impl<D: Driver, H: Handler> EventLoop<D, H> {
    /// Takes over a connection that was accepted elsewhere, as one of this listener.
    fn adopt(&mut self, detached: Detached, listener: usize, pace: Pace) -> Slot {
        let slot = self.driver.adopt(detached);
        self.core.counters.adopted += 1;
        self.dispatch().accepted(slot, listener, pace);
        slot
    }

    /// Takes over a connection that was accepted without a driver, and counts it towards the accept
    /// rate. `None`: it was rejected, and is closed without a response.
    pub(crate) fn take_over(&mut self, detached: Detached, listener: usize) -> Option<Slot> {
        let pace = self.dispatch().pace();
        let slot = self.adopt(detached, listener, pace);
        if let Pace::Pause(time) = pace {
            self.accepting.pause_for(self.core.now() + time);
        }
        self.sessions.get_mut(slot).is_some().then_some(slot)
    }

    /// Whether the limit of connections is reached.
    pub(crate) fn is_full(&self) -> bool {
        self.driver.stats().open >= u64::from(self.core.limits.max_connections)
    }

    /// Whether neither a limit nor the accept rate keeps the shard from accepting a connection.
    pub(crate) fn may_accept(&self) -> bool {
        self.accepting.is_allowed() && !self.is_full()
    }

    /// Handles a connection that the driver has accepted.
    pub(super) fn accepted(&mut self, slot: Slot, listener: usize) {
        let pace = self.dispatch().pace();
        let slot = if pace == Pace::Reject { Some(slot) } else { self.transfer(slot, listener) };
        if let Some(slot) = slot {
            self.serve(slot, listener, pace);
        }
        if let Pace::Pause(time) = pace {
            self.accepting.pause_for(self.core.now() + time);
        }
    }

    /// Serves an accepted connection of this shard.
    fn serve(&mut self, slot: Slot, listener: usize, pace: Pace) {
        if !self.echo.as_ref().is_some_and(|echo| echo.has_listener(listener)) {
            return self.dispatch().accepted(slot, listener, pace);
        }
        let is_admitted = self.dispatch().admits_stream(slot, pace == Pace::Reject);
        match &mut self.echo {
            Some(echo) if is_admitted => echo.open(slot, &mut self.driver, &self.core),
            _ => self.driver.close(slot),
        }
    }

    /// Transfers an accepted connection to the shard with the fewest connections, if that is another
    /// one. Returns the slot of a connection that stays.
    #[inline]
    fn transfer(&mut self, slot: Slot, listener: usize) -> Option<Slot> {
        let connections = self.connections();
        let Some(balancer) = self.balancer.as_mut().filter(|_| self.drain.is_none()) else { return Some(slot) };
        balancer.publish(connections);
        match balancer.choose(self.core.shortage.exhausted.is_none()) {
            Choice::Here => Some(slot),
            Choice::Full => {
                self.core.counters.transfers_full += 1;
                Some(slot)
            }
            Choice::Shard(target) => {
                let Some(detached) = self.driver.detach(slot) else {
                    balancer.withdraw(target);
                    return None;
                };
                match balancer.send(target, Transfer { detached, listener }) {
                    Ok(()) => {
                        self.core.counters.transferred += 1;
                        None
                    }
                    // The shard has ended.
                    Err(transfer) => Some(self.driver.adopt(transfer.detached)),
                }
            }
        }
    }

    /// Adopts the connections that other shards have transferred to this one.
    pub(super) fn adopt_transfers(&mut self) {
        let Some(balancer) = self.balancer.as_ref().filter(|balancer| balancer.has_mail()) else { return };
        balancer.begin_taking();
        for _ in 0..MAX_TRANSFERS {
            let Some(transfer) = self.balancer.as_ref().and_then(|balancer| balancer.take()) else { return };
            // The shard that has accepted it has counted it towards the accept rate.
            self.adopt(transfer.detached, transfer.listener, Pace::Take);
            let connections = self.connections();
            if let Some(balancer) = &mut self.balancer {
                balancer.arrived(connections);
            }
        }
        self.balancer.iter().for_each(|balancer| balancer.interrupt_taking());
    }

    /// Publishes the state of this shard for those that may transfer connections to it.
    pub(super) fn publish_balance(&mut self) {
        let connections = self.connections();
        if let Some(balancer) = &mut self.balancer {
            balancer.publish(connections);
            let is_able = !self.accepting.is_busy && self.core.shortage.exhausted.is_none();
            balancer.set_open(is_able && self.drain.is_none());
        }
    }

    /// Pauses or resumes accepting.
    #[inline]
    pub(super) fn change_accepting(&mut self) {
        if self.accepting.is_open() {
            return;
        }
        if self.core.refuses_upgrades() {
            // The queues are cleared: each connection gets its refusal.
            self.accepting.until = None;
        }
        if let Some(at) = self.accepting.until
            && at <= self.core.now()
        {
            let now = self.core.now();
            let left = self.core.tickets.as_ref().map_or(Duration::ZERO, |tickets| tickets.gate.pause_left(now));
            self.accepting.until = (!left.is_zero()).then(|| now + left);
        }
        match self.accepting.change() {
            Some(true) => self.driver.resume_accepting(),
            Some(false) => self.driver.pause_accepting(),
            None => {}
        }
    }
}
