//! One shard at work: its driver's completions go to the hub, and what the hub decides goes to the driver.

use crate::client::ConnectError;
use crate::connection::Shard;
use crate::handler::Handler;
use crate::hub::{Action, Hub, Wish};
use ringway_io::{Completion, Driver, Slot, Stats};
use std::io;
use std::time::{Duration, Instant};

/// A shard: driver, sessions and handler, on one thread.
pub(crate) struct EventLoop<D, H: Handler> {
    driver: D,
    hub: Hub<H>,
    handler: H,
    completions: Vec<Completion>,
    actions: Vec<Action>,
    /// When a shard that is stopping waits no longer.
    deadline: Option<Instant>,
}

impl<D: Driver, H: Handler> EventLoop<D, H> {
    pub(crate) fn new(driver: D, hub: Hub<H>, handler: H) -> Self {
        Self { driver, hub, handler, completions: Vec::new(), actions: Vec::new(), deadline: None }
    }

    /// Runs until the shard is told to stop and its connections are gone.
    pub(crate) fn run(mut self) -> io::Result<Stats> {
        self.start();
        while self.turn(Instant::now)? {}
        Ok(*self.driver.stats())
    }

    /// Lets the handler begin.
    pub(crate) fn start(&mut self) {
        let driver = &self.driver;
        let peers = |slot: Slot| driver.peer_address(slot);
        self.handler.start(&mut Shard { hub: &mut self.hub, peers: &peers });
        self.finish_turn();
    }

    /// One turn: wait for the kernel, work off what has completed, and hand on what came of it. Whether there is more
    /// to do.
    pub(crate) fn turn(&mut self, clock: impl Fn() -> Instant) -> io::Result<bool> {
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.wait(self.patience(clock()), &mut completions)?;
        self.hub.begin_turn(clock());
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        let driver = &self.driver;
        let peers = |slot: Slot| driver.peer_address(slot);
        self.hub.expire(&mut self.handler, &peers);
        self.finish_turn();
        Ok(!self.is_done())
    }

    /// How long this turn may wait for the kernel; `None`: as long as it takes.
    fn patience(&self, now: Instant) -> Option<Duration> {
        let patience = self.hub.patience(now);
        let left = self.deadline.map(|deadline| match self.hub.table.len() {
            0 => Duration::ZERO,
            _ => deadline.saturating_duration_since(now),
        });
        [patience, left].into_iter().flatten().min()
    }

    #[inline]
    fn complete(&mut self, completion: Completion) {
        let (driver, hub, handler) = (&self.driver, &mut self.hub, &mut self.handler);
        let peers = |slot: Slot| driver.peer_address(slot);
        match completion {
            Completion::Received { slot, buffer } => hub.received(handler, &peers, slot, buffer),
            Completion::Sent { slot, output, written } => hub.sent(handler, &peers, slot, output, written),
            // One that came in while listening ended: the kernel had accepted it by then.
            Completion::Accepted { slot } if hub.is_stopping() => self.actions.push(Action::Close(slot)),
            Completion::Accepted { slot } => hub.accepted(slot),
            Completion::Connected { slot } => hub.connected(slot),
            Completion::Ended { slot, cause } => hub.ended(handler, &peers, slot, cause),
            Completion::Woken => {
                for work in hub.handle.take() {
                    work(handler, &mut Shard { hub, peers: &peers });
                }
            }
        }
    }

    /// Does what handlers asked for, and has the driver do what came of the turn.
    fn finish_turn(&mut self) {
        // What is asked for meanwhile waits for the next turn: a handler may answer each failed connect with another.
        for _ in 0..self.hub.wishes.len() {
            let Some(wish) = self.hub.wishes.pop_front() else { break };
            match wish {
                Wish::Connect(endpoint, state) => self.connect(&endpoint, state),
                Wish::Answer(slot, upgrade) => {
                    let driver = &self.driver;
                    let peers = |slot: Slot| driver.peer_address(slot);
                    self.hub.answer(&mut self.handler, &peers, slot, upgrade);
                }
                Wish::Stop => self.stop(),
            }
        }
        let driver = &self.driver;
        let peers = |slot: Slot| driver.peer_address(slot);
        self.hub.settle(&mut self.handler, &peers, &mut self.actions);
        for action in self.actions.drain(..) {
            match action {
                Action::Send(slot, output) => self.driver.send(slot, output),
                Action::Receive(slot) => self.driver.receive(slot),
                Action::Pause(slot) => self.driver.pause(slot),
                Action::Finish(slot) => self.driver.finish(slot),
                Action::Close(slot) => self.driver.close(slot),
            }
        }
    }

    fn connect(&mut self, endpoint: &std::sync::Arc<crate::Endpoint>, state: H::State) {
        let error = if self.hub.is_stopping() {
            ConnectError::Stopping
        } else if let Some(slot) = self.driver.reserve() {
            self.hub.connecting(slot, endpoint.clone(), state);
            self.driver.connect(slot, endpoint.address);
            return;
        } else {
            ConnectError::NoSlot
        };
        let driver = &self.driver;
        let peers = |slot: Slot| driver.peer_address(slot);
        self.hub.unconnected(&mut self.handler, &peers, state, &error);
    }

    fn stop(&mut self) {
        self.driver.stop_listening();
        self.deadline.get_or_insert(self.hub.after(self.hub.config.stop_timeout));
        let driver = &self.driver;
        let peers = |slot: Slot| driver.peer_address(slot);
        self.hub.stop(&mut self.handler, &peers);
    }

    fn is_done(&mut self) -> bool {
        let Some(deadline) = self.deadline else { return false };
        if self.hub.table.len() > 0 && self.hub.now < deadline {
            return false;
        }
        if self.hub.table.len() > 0 {
            tracing::warn!(
                connections = self.hub.table.len(),
                "stopping: not all connections closed within {:?}; they are cut off",
                self.hub.config.stop_timeout.max(Duration::ZERO)
            );
            let driver = &self.driver;
            let peers = |slot: Slot| driver.peer_address(slot);
            self.hub.release_all(&mut self.handler, &peers);
            self.finish_turn();
        }
        true
    }
}

#[cfg(test)]
mod tests;
