//! The deadlines of an open and of a closing connection, which are checked when its timer fires.

use super::Link;
use super::phase::SessionFlag;
use crate::api::close::{CloseReason, Ending};
use crate::session::closing::Removal;
use crate::session::deadlines::{Awaited, PeerProbe, check_period};
use crate::shard::clock::TICK;
use crate::shard::core::Core;
use crate::shard::notices::NoticeKind;
use ringway_codec::{CloseCode, OpCode};
use std::time::Duration;

impl<S> Link<S> {
    /// Sets the timer of a connection that has opened.
    pub(in crate::session) fn set_check_timer(&self, core: &mut Core) {
        let period = check_period(&core.config, &core.limits);
        core.set_timer(self.slot, period);
    }

    /// Checks the deadlines of an open connection: of the output, of the message that is being
    /// received, and of the peer's activity. Sets the timer for the next check.
    pub(in crate::session) fn check_deadlines(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Removal> {
        if let Some(left) = self.check_violation(core) {
            // The close timeout bounds everything else.
            if left.is_zero() {
                self.end_postponement(core);
            } else {
                core.set_timer(self.slot, left);
            }
            return None;
        }
        let mut next = check_period(&core.config, &core.limits);
        if let Some(left) = self.check_output(probe, core) {
            if left.is_zero() {
                core.counters.write_timeouts += 1;
                core.notices.warn(core.clock.now(), NoticeKind::WriteTimeout, self.slot, || {
                    let timeout = core.config.write_timeout;
                    format!("a connection is dropped: its peer took nothing for {timeout:?} (config.write_timeout)")
                });
                return Some(self.broken(Ending::WriteTimeout));
            }
            // Progress of the output is detected only by checks.
            next = next.min(left).min(core.config.write_timeout / 4);
        }
        if let Some(left) = self.check_message(probe, core) {
            if left.is_zero() {
                core.counters.message_timeouts += 1;
                let text = "the message took too long";
                self.fail(CloseCode::POLICY, text, Ending::MessageTimeout, core);
                return None;
            }
            next = next.min(left);
        }
        if let Some(left) = self.check_signs_of_life(probe, core) {
            if left.is_zero() {
                core.counters.idle += 1;
                return Some(self.broken(Ending::Idle));
            }
            next = next.min(left);
        }
        self.free_unused_cold();
        core.set_timer(self.slot, next);
        None
    }

    /// The time left for the peer to acknowledge some of the output; `None` if no output is
    /// pending.
    pub(in crate::session) fn check_output(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        if self.outbox.bytes() == 0 {
            if let Some(cold) = &mut self.cold {
                cold.deadlines.no_output();
            }
            return None;
        }
        // If the connection is gone, the driver is about to report its end.
        let acknowledged = probe.acknowledged(self.slot)?;
        let stalled = self.cold().deadlines.stalled(acknowledged, core);
        Some(core.config.write_timeout.saturating_sub(stalled))
    }

    /// The time left for the message that is being received; `None` if there is none.
    fn check_message(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        let since = self.cold.as_ref()?.deadlines.message_since?;
        if (self.is(SessionFlag::PausedByHandler) || self.is(SessionFlag::Waiting)) && !self.is(SessionFlag::Receiving)
        {
            // This side keeps the rest from being received, so the time does not count.
            self.cold().deadlines.message_since = Some(core.tick());
            return Some(core.limits.message_timeout);
        }
        let left = core.limits.message_timeout.saturating_sub(core.since(since));
        let (slot, receiving) = (self.slot, self.is(SessionFlag::Receiving));
        let deadlines = &mut self.cold().deadlines;
        if !left.is_zero() {
            deadlines.in_time(Awaited::Message);
            return Some(left);
        }
        // The rest may have arrived during a stall of the shard.
        let late = receiving && deadlines.may_have_arrived(Awaited::Message, slot, probe, core);
        Some(if late { TICK } else { Duration::ZERO })
    }

    /// The time left until the peer is pinged or times out; `None` if another deadline applies, or
    /// none. After half of the idle timeout without activity, sends a ping. A peer times out only
    /// after a ping, and only if no answer to it can have arrived.
    fn check_signs_of_life(&mut self, probe: &impl PeerProbe, core: &mut Core) -> Option<Duration> {
        let limit = core.config.idle_timeout?;
        if self.is(SessionFlag::PausedByBacklog)
            || self.is(SessionFlag::PausedByMemory)
            || self.is(SessionFlag::Waiting)
        {
            self.last_active = core.tick();
            self.unset(SessionFlag::Pinged);
            return None;
        }
        let reading = self.is(SessionFlag::Receiving);
        let silence = core.since(self.last_active);
        if silence >= limit && self.is(SessionFlag::Pinged) {
            if reading {
                let slot = self.slot;
                let late = self.cold().deadlines.may_have_arrived(Awaited::Sign, slot, probe, core);
                return Some(if late { TICK } else { Duration::ZERO });
            }
            // The handler has paused the connection, so the pong is not read: the peer's kernel has
            // to acknowledge the ping.
            let before = self.cold().deadlines.pinged_at.take();
            if probe.acknowledged(self.slot) <= before {
                return Some(Duration::ZERO);
            }
            self.last_active = core.tick();
            self.unset(SessionFlag::Pinged);
            return Some(limit / 2);
        }
        if silence < limit / 2 {
            if let Some(cold) = &mut self.cold {
                cold.deadlines.in_time(Awaited::Sign);
            }
            return Some(limit / 2 - silence);
        }
        if !self.is(SessionFlag::Pinged) {
            // Idle connections keep no compressor.
            self.drop_compressor(core);
            if !reading {
                self.cold().deadlines.pinged_at = Some(probe.acknowledged(self.slot).unwrap_or_default());
            }
            self.set(SessionFlag::Pinged);
            let payload = core.meters.ping_payload(core.now());
            self.send(OpCode::Ping, &payload, core);
            // Even after a late ping, the peer has half of the idle timeout to answer.
            self.last_active = core.tick().wrapping_sub(core.ticks(limit / 2));
            return Some(limit / 2);
        }
        Some(limit - silence)
    }

    /// Whether a closing connection has timed out: it has made no progress for the close timeout,
    /// or has reached the close limit. Sets the timer for the next check.
    pub(in crate::session) fn check_closing(&mut self, probe: &impl PeerProbe, core: &mut Core) -> bool {
        let pending =
            if self.outbox.bytes() == 0 { None } else { Some(probe.acknowledged(self.slot).unwrap_or_default()) };
        let deadlines = &mut self.cold().deadlines;
        let in_all = core.config.close_limit.saturating_sub(deadlines.closing_for(core));
        let timeout = core.config.close_timeout;
        let left = timeout.saturating_sub(deadlines.closing_stalled(pending, core)).min(in_all);
        core.set_timer(self.slot, left.min(timeout / 4));
        left.is_zero()
    }

    /// Takes the reason of the end, if the connection was open and `closed` has to be called.
    pub(in crate::session) fn take_reason(&mut self) -> Option<CloseReason> {
        self.is(SessionFlag::Opened).then(|| {
            let reason = self.cold.take().and_then(|cold| cold.reason);
            reason.unwrap_or_else(|| CloseReason::abnormal(Ending::Vanished))
        })
    }
}
