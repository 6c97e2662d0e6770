//! The echo service of a shard: its TCP connections, with the limits that the connections of
//! WebSockets have too, and its datagrams.
//!
//! [`EchoStreams`] serves the connections. This part admits them, gives them the memory that the shard
//! has left, answers the datagrams that [`EchoRules`] allows, and counts.

use super::rules::{EchoRules, Ignored};
use crate::api::handler::Handler;
use crate::shard::core::Core;
use crate::shard::dispatch::Dispatch;
use crate::shard::memory::Pressure;
use ringway_io::echo::{EchoEnd, EchoLimits, EchoStreams, Room};
use ringway_io::{Completion, Datagram, Driver, Slot};
use std::time::{Duration, Instant};

/// The echo service of a shard.
pub(crate) struct EchoService {
    /// Whether the listener of the server with this number is one of the service.
    listeners: Vec<bool>,
    pub(crate) streams: EchoStreams,
    /// `None` without datagrams.
    rules: Option<EchoRules>,
    /// The bytes that are charged to the memory of the shard: occupied, and queued.
    charged: (usize, usize),
}

impl EchoService {
    pub(crate) fn new(listeners: Vec<bool>, rules: Option<EchoRules>, core: &Core) -> Self {
        let (config, limits) = (&core.config, &core.limits);
        let limits = EchoLimits {
            high_water: limits.max_buffered,
            low_water: limits.low_mark(),
            idle_timeout: config.idle_timeout,
            write_timeout: Some(config.write_timeout),
            close_timeout: config.close_timeout,
        };
        Self { listeners, streams: EchoStreams::new(limits, core.clock.effective()), rules, charged: (0, 0) }
    }

    /// Whether the connections of a listener belong to the service.
    pub(crate) fn has_listener(&self, listener: usize) -> bool {
        self.listeners.get(listener).copied().unwrap_or(false)
    }

    /// Serves a connection that was admitted.
    pub(crate) fn open(&mut self, slot: Slot, driver: &mut impl Driver, core: &Core) {
        self.streams.open(slot, driver, core.clock.effective());
    }

    /// Handles a completion of the service. Returns one of another connection.
    #[inline]
    pub(crate) fn complete(
        &mut self,
        completion: Completion,
        driver: &mut impl Driver,
        core: &mut Core,
    ) -> Option<Completion> {
        let (streams, now) = (&mut self.streams, core.clock.effective());
        match completion {
            Completion::Received { slot, buffer } if streams.has(slot) => streams.received(slot, buffer, now),
            Completion::Sent { slot, output, written } if streams.has(slot) => streams.sent(slot, output, written, now),
            Completion::Ended { slot, cause } if streams.has(slot) => streams.ended(slot, &cause, driver),
            Completion::Datagram(datagram) => self.answer(*datagram, driver, core),
            other => return Some(other),
        }
        None
    }

    /// Sends a datagram back, if the rules allow it.
    fn answer(&mut self, datagram: Datagram, driver: &mut impl Driver, core: &mut Core) {
        let Some(rules) = &mut self.rules else { return };
        let now = core.now();
        let counters = &mut core.counters;
        let ignored = match rules.check(&datagram, now) {
            Ok(()) => {
                counters.echo_datagrams += 1;
                counters.echo_datagram_bytes += datagram.payload.len() as u64;
                return driver.send_datagram(datagram);
            }
            Err(Ignored::Truncated) => &mut counters.echo_ignored_truncated,
            Err(Ignored::Port) => &mut counters.echo_ignored_port,
            Err(Ignored::Group) => &mut counters.echo_ignored_group,
            Err(Ignored::Own) => &mut counters.echo_ignored_own,
            Err(Ignored::Address) => &mut counters.echo_ignored_address,
            Err(Ignored::Total) => &mut counters.echo_ignored_total,
            Err(Ignored::Repeat) => &mut counters.echo_ignored_repeat,
        };
        *ignored += 1;
    }

    /// The time until the next deadline of a connection.
    pub(crate) fn wait(&self, now: Instant, core: &Core) -> Option<Duration> {
        self.streams.wait(core.clock.at(now))
    }

    /// Ends a turn: checks deadlines, sends, and counts.
    pub(crate) fn finish_turn(&mut self, driver: &mut impl Driver, core: &mut Core) {
        self.streams.expire(core.clock.effective(), driver);
        self.streams.set_room(match core.memory.pressure() {
            Pressure::Low => Room::Free,
            Pressure::High => Room::Short,
            Pressure::Full => Room::Exhausted,
        });
        self.streams.flush(driver);
        let (held, queued) = (self.streams.held(), self.streams.queued());
        let before = std::mem::replace(&mut self.charged, (held, queued));
        core.memory.recharge(before.0, held);
        core.memory.enqueue(queued);
        core.memory.dequeue(before.1);
        let counts = self.streams.counts();
        let counters = &mut core.counters;
        counters.echo_opened = counts.opened;
        counters.echo_received_bytes = counts.received;
        counters.echo_sent_bytes = counts.sent;
        counters.echo_pauses = counts.pauses;
        counters.echo_unsent = driver.stats().datagrams_unsent;
        if self.streams.has_ends() {
            self.note_ends(core);
        }
    }

    #[cold]
    fn note_ends(&mut self, core: &mut Core) {
        for (slot, end) in self.streams.take_ends() {
            core.counters.echo_closed += 1;
            match end {
                EchoEnd::Idle => core.counters.idle += 1,
                EchoEnd::WriteTimeout => core.counters.write_timeouts += 1,
                EchoEnd::Memory => core.counters.memory_closes += 1,
                _ => {}
            }
            if let Some(tickets) = &mut core.tickets {
                tickets.release(slot);
            }
            if let Some(drain) = &mut core.drain {
                drain.ended(end == EchoEnd::Finished);
            }
        }
    }

    /// Drops all connections, at the deadline of a drain.
    pub(crate) fn drop_all(&mut self, driver: &mut impl Driver) {
        let slots: Vec<Slot> = self.streams.slots().collect();
        slots.into_iter().for_each(|slot| self.streams.drop_stream(slot, driver));
    }
}

impl<D: Driver, H: Handler> Dispatch<'_, D, H> {
    /// Whether a connection of the echo service may be served. It has no opening handshake, and gets
    /// no response.
    pub(crate) fn admits_stream(&mut self, slot: Slot, is_over_rate: bool) -> bool {
        if self.core.refuses_upgrades() {
            self.core.count_drain_refusal();
            return false;
        }
        self.admit_stream(slot, is_over_rate)
    }
}
