//! Metrics: what a shard counts, the copy of it that other threads read, and its exposition.
//!
//! A shard counts in plain integers that it owns ([`Counters`](crate::Counters), [`Meters`]). At the
//! end of each turn it copies them to a block of atomic integers of its own ([`Published`]), which
//! any thread may read at any time: there is no lock, and no cache line that two shards write. What
//! changes seldom is copied only after a change.

pub(crate) mod codes;
pub(crate) mod histogram;
#[cfg(feature = "metrics")]
mod openmetrics;
#[cfg(feature = "metrics")]
mod process;
pub(crate) mod published;
pub(crate) mod reader;
pub(crate) mod snapshot;
mod times;
mod words;

use codes::{CloseTally, CodeTally, StatusTally};
use histogram::Histogram;
use std::time::{Duration, Instant};
use times::SlotTimes;

/// What a shard measures besides its [`Counters`](crate::Counters).
#[derive(Debug)]
pub(crate) struct Meters {
    pub(crate) gauges: Gauges,
    /// The payload of received messages, in bytes.
    pub(crate) received_size: Histogram,
    /// The payload of sent messages, in bytes.
    pub(crate) sent_size: Histogram,
    /// From the opening handshake to the end.
    pub(crate) connection_duration: Histogram,
    /// From the accept to the response that accepts the upgrade.
    pub(crate) handshake_duration: Histogram,
    /// From a ping of the shard to its pong.
    pub(crate) ping_rtt: Histogram,
    /// From the start of a sweep to its end, over all its turns.
    pub(crate) fanout_duration: Histogram,
    /// A turn without its wait.
    pub(crate) turn_duration: Histogram,
    pub(crate) closes: CloseTally,
    pub(crate) violations: CodeTally,
    pub(crate) responses: StatusTally,
    /// When connections were accepted or opened; `None` without
    /// [`Config::connection_times`](crate::Config::connection_times).
    times: Option<SlotTimes>,
    start: Instant,
    /// Makes the payload of pings unpredictable.
    ping_key: u64,
    /// The CPU time of the shard's thread, and when it was read.
    cpu: Option<(Instant, Duration)>,
}

/// Numbers that rise and fall, and sums that are no [`Counters`](crate::Counters).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gauges {
    /// Connections, by [`ConnectionState`].
    pub(crate) connections: [u64; 3],
    /// Connections on which receiving is paused, by [`PauseCause`]. One connection can be paused by
    /// several causes.
    pub(crate) paused: [u64; 3],
    /// Topics.
    pub(crate) topics: u64,
    /// Subscriptions: pairs of a connection and a topic.
    pub(crate) subscriptions: u64,
    /// Whether the shard is draining or stopping.
    pub(crate) draining: bool,
    /// The CPU time of the shard's thread without polling, in nanoseconds.
    pub(crate) busy_nanos: u64,
}

/// The state of a connection, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectionState {
    /// Until the end of the opening handshake.
    Opening,
    Open,
    /// From the first close frame, or the decision to end the connection.
    Closing,
}

/// Why receiving is paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PauseCause {
    Handler,
    /// The peer does not read.
    Backlog,
    /// The shard is near its memory limit.
    Memory,
}

/// The maximum round trip that is measured. Beyond it, the payload of a pong is the peer's own.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(600);

/// The time between two readings of the thread's CPU time, which takes a system call.
const CPU_PERIOD: Duration = Duration::from_millis(100);

impl Meters {
    pub(crate) fn new(now: Instant, connection_times: bool, ping_key: u64) -> Self {
        Self {
            gauges: Gauges::default(),
            received_size: Histogram::new(&histogram::SIZE),
            sent_size: Histogram::new(&histogram::SIZE),
            connection_duration: Histogram::new(&histogram::LIFETIME),
            handshake_duration: Histogram::new(&histogram::HANDSHAKE),
            ping_rtt: Histogram::new(&histogram::ROUND_TRIP),
            fanout_duration: Histogram::new(&histogram::WORK),
            turn_duration: Histogram::new(&histogram::WORK),
            closes: CloseTally::default(),
            violations: CodeTally::default(),
            responses: StatusTally::default(),
            times: connection_times.then(SlotTimes::default),
            start: now,
            ping_key,
            cpu: None,
        }
    }

    /// Counts a connection that is created.
    pub(crate) fn created(&mut self, slot: u32, now: Instant) {
        self.gauges.connections[ConnectionState::Opening as usize] += 1;
        let millis = self.millis(now);
        if let Some(times) = &mut self.times {
            times.set(slot, millis);
        }
    }

    /// Counts a connection of the server role whose opening handshake is complete. `is_server`: the
    /// duration of the handshake is recorded.
    pub(crate) fn opened(&mut self, slot: u32, is_server: bool, now: Instant) {
        let millis = self.millis(now);
        let Some(times) = &mut self.times else { return };
        if is_server {
            self.handshake_duration.record(u64::from(times.since(slot, millis)));
        }
        times.set(slot, millis);
    }

    /// Records the duration of a connection that was open and ends now.
    pub(crate) fn ended(&mut self, slot: u32, now: Instant) {
        let millis = self.millis(now);
        if let Some(times) = &self.times {
            self.connection_duration.record(u64::from(times.since(slot, millis)));
        }
    }

    /// Counts the change of a connection's state.
    #[inline]
    pub(crate) fn moved(&mut self, from: ConnectionState, to: ConnectionState) {
        self.left(from);
        self.gauges.connections[to as usize] += 1;
    }

    /// Counts a connection that is removed.
    #[inline]
    pub(crate) fn left(&mut self, from: ConnectionState) {
        let count = &mut self.gauges.connections[from as usize];
        debug_assert!(*count > 0, "no connection is {from:?}");
        *count = count.saturating_sub(1);
    }

    /// Counts a pause of receiving.
    pub(crate) fn paused(&mut self, by: PauseCause) {
        self.gauges.paused[by as usize] += 1;
    }

    /// Counts the end of a pause.
    pub(crate) fn resumed(&mut self, by: PauseCause) {
        let count = &mut self.gauges.paused[by as usize];
        debug_assert!(*count > 0, "no connection is paused by {by:?}");
        *count = count.saturating_sub(1);
    }

    /// The payload of a ping that is sent now: the time, hidden from the peer, so that a pong with
    /// a payload of the peer's choice records nothing.
    pub(crate) fn ping_payload(&self, now: Instant) -> [u8; 8] {
        (self.micros(now) ^ self.ping_key).to_be_bytes()
    }

    /// Records the round trip of a ping of this shard.
    pub(crate) fn pong_received(&mut self, payload: &[u8], now: Instant) {
        let Ok(payload) = <[u8; 8]>::try_from(payload) else { return };
        let sent = u64::from_be_bytes(payload) ^ self.ping_key;
        if let Some(micros) = self.micros(now).checked_sub(sent)
            && u128::from(micros) < MAX_ROUND_TRIP.as_micros()
        {
            self.ping_rtt.record(micros);
        }
    }

    /// Reads the CPU time of the calling thread, unless it was read lately. `polled`: the time spent
    /// on polling, which is not counted.
    pub(crate) fn read_cpu(&mut self, now: Instant, polled: Duration) {
        if self.cpu.is_none_or(|(at, _)| now.saturating_duration_since(at) >= CPU_PERIOD) {
            let spec = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
            let cpu = Duration::try_from(spec).unwrap_or_default();
            self.cpu = Some((now, cpu));
            // Polling is measured in wall time, so the difference can shrink for a moment.
            let busy = u64::try_from(cpu.saturating_sub(polled).as_nanos()).unwrap_or(u64::MAX);
            self.gauges.busy_nanos = self.gauges.busy_nanos.max(busy);
        }
    }

    fn micros(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.start).as_micros()).unwrap_or(u64::MAX)
    }

    /// The time since the start in milliseconds, which wraps around after 49 days.
    fn millis(&self, now: Instant) -> u32 {
        now.saturating_duration_since(self.start).as_millis() as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_pong_of_a_ping_of_the_shard_is_measured() {
        let start = Instant::now();
        let mut meters = Meters::new(start, false, 0x0123_4567_89ab_cdef);
        let at = |millis| start + Duration::from_millis(millis);
        let ping = meters.ping_payload(at(50));
        for forged in [&b""[..], &b"p"[..], &[0; 8], &[255; 8], &b"12345678"[..]] {
            meters.pong_received(forged, at(60));
        }
        // From the future, and from too long ago.
        meters.pong_received(&ping, at(49));
        meters.pong_received(&ping, at(600_050));
        assert_eq!(meters.ping_rtt.count(), 0);
        meters.pong_received(&ping, at(62));
        assert_eq!((meters.ping_rtt.count(), meters.ping_rtt.sum()), (1, 0.012));
    }

    #[test]
    fn durations_are_measured_with_times_only() {
        let start = Instant::now();
        for (times, counts) in [(false, (0, 0)), (true, (1, 1))] {
            let mut meters = Meters::new(start, times, 0);
            meters.created(700, start);
            meters.opened(700, true, start + Duration::from_millis(30));
            meters.ended(700, start + Duration::from_millis(5030));
            assert_eq!((meters.handshake_duration.count(), meters.connection_duration.count()), counts);
            if times {
                assert_eq!((meters.handshake_duration.sum(), meters.connection_duration.sum()), (0.03, 5.0));
            }
        }
    }
}
