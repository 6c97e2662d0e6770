//! `--app push:1k`: sends messages to each connection at a rate, from its opening on, and drops
//! what it receives.
//!
//! Message `n` of a connection, from 0, is due `n / rate` seconds after its opening. Each message
//! has its number in the first 8 bytes, in the format of the mark of `ringway load`. A message that
//! the outbox of a slow reader does not take is skipped, and its number with it, so that the reader
//! sees the gap.
//!
//! Sending times are rounded up to ticks of a millisecond, so that many connections share one wake
//! of the shard. Due times are not rounded, so the rate does not drift.

use super::{App, Syntax};
use crate::serve::site;
use crate::values::{count, some_size};
use ringway::{Connection, ConnectionId, Handler, Message, Request, Response, SendOutcome, Shard, Upgrade};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub(super) const SYNTAX: Syntax = Syntax {
    name: "push",
    example: "push:1k:512",
    help: "Send messages to each connection, here 1000 a second of 512 bytes (default 64)",
    parse: |options| parse(options).map(App::Push),
};

/// The maximum number of messages a second.
const MAX_RATE: u64 = 1_000_000;

/// The default size of a message.
const DEFAULT_SIZE: usize = 64;

/// The minimum and maximum size of a message.
const SIZES: std::ops::RangeInclusive<usize> = MARK..=1 << 30;

/// The size of the mark in front of a message.
const MARK: usize = 8;

/// The interval to which sending times are rounded up.
const TICK: Duration = Duration::from_millis(1);

const NANOS: u128 = 1_000_000_000;

/// The messages that each connection receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PushOptions {
    /// Messages a second.
    rate: u64,
    /// Bytes of a message.
    size: usize,
}

impl fmt::Display for PushOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rate, size } = self;
        write!(f, "push, {rate} messages of {size} bytes a second to each connection")
    }
}

fn parse(options: Option<&str>) -> Result<PushOptions, String> {
    let options = options.unwrap_or_default();
    let (rate, size) = options.split_once(':').map_or((options, None), |(rate, size)| (rate, Some(size)));
    let rate = match count(rate) {
        Ok(rate @ 1..=MAX_RATE) => rate,
        _ => {
            return Err(format!(
                "give a rate from 1 to {MAX_RATE} messages a second, and optionally a size, as push:10 or {}",
                SYNTAX.example
            ));
        }
    };
    let size = size.map_or(Ok(DEFAULT_SIZE), some_size)?;
    if !SIZES.contains(&size) {
        return Err(format!("give a size from {} to {} bytes", SIZES.start(), SIZES.end()));
    }
    Ok(PushOptions { rate, size })
}

/// The due times of the messages of one connection.
#[derive(Clone, Copy, Debug)]
struct PushSchedule {
    opened: Instant,
    rate: u64,
}

impl PushSchedule {
    /// The number of messages that are due up to `now`.
    fn due(&self, now: Instant) -> u64 {
        let elapsed = now.saturating_duration_since(self.opened).as_nanos();
        // 2^64 messages take 584 thousand years at the maximum rate.
        (elapsed * u128::from(self.rate) / NANOS) as u64 + 1
    }

    /// The time at which message `number` is due.
    fn due_at(&self, number: u64) -> Instant {
        let nanos = (u128::from(number) * NANOS).div_ceil(u128::from(self.rate));
        self.opened + Duration::from_nanos(nanos as u64)
    }
}

/// The messages of all shards.
#[derive(Debug, Default)]
pub(crate) struct PushCounts {
    sent: AtomicU64,
    skipped: AtomicU64,
}

impl fmt::Display for PushCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sent, skipped) = (self.sent.load(Ordering::Relaxed), self.skipped.load(Ordering::Relaxed));
        write!(f, "{sent} messages; {skipped} more skipped because their readers were slow")
    }
}

/// The state of one connection.
pub(crate) struct PushState {
    /// `None` until the connection is open.
    schedule: Option<PushSchedule>,
    /// The number of the next message.
    next: u64,
}

/// The application of one shard.
pub(crate) struct PushApp {
    options: PushOptions,
    counts: Arc<PushCounts>,
    /// The message that was sent last: the next one differs in its mark only.
    message: Vec<u8>,
    /// Tick 0.
    start: Instant,
    /// The connections by the tick at which their next message is due. Those that have ended are
    /// dropped when their tick comes.
    ticks: BTreeMap<u64, Vec<ConnectionId>>,
}

impl PushApp {
    pub(crate) fn new(options: PushOptions, counts: Arc<PushCounts>) -> Self {
        let message = (0..options.size as u64).map(|at| mix(at) as u8).collect();
        Self { options, counts, message, start: Instant::now(), ticks: BTreeMap::new() }
    }

    /// Sends what is due to a connection, and enters its next message.
    fn push(&mut self, conn: &mut Connection<'_, Self>) {
        let now = conn.shard().turn_time();
        let PushState { schedule: Some(schedule), next } = *conn.state() else { return };
        let due = schedule.due(now);
        let sent = (next..due).take_while(|number| self.send(conn, *number)).count() as u64;
        self.counts.sent.fetch_add(sent, Ordering::Relaxed);
        if !conn.is_open() {
            return;
        }
        // While the outbox does not take one message, it takes none of the following ones.
        self.counts.skipped.fetch_add(due - next - sent, Ordering::Relaxed);
        conn.state().next = due;
        let wait = schedule.due_at(due).saturating_duration_since(self.start).as_nanos();
        let tick = wait.div_ceil(TICK.as_nanos()) as u64;
        self.ticks.entry(tick).or_default().push(conn.id());
    }

    /// Sends one message. Returns whether the connection accepts it.
    fn send(&mut self, conn: &mut Connection<'_, Self>, number: u64) -> bool {
        // Numbers of messages wrap at 2^32.
        self.message[..MARK].copy_from_slice(&mark(number as u32));
        matches!(conn.send(Message::binary(&self.message)), SendOutcome::Sent | SendOutcome::Queued(_))
    }

    /// Sets the alarm for the first tick that has connections.
    fn set_alarm(&self, shard: &mut Shard<'_, Self>) {
        if let Some((tick, _)) = self.ticks.first_key_value() {
            shard.wake_at(self.start + Duration::from_nanos(tick * TICK.as_nanos() as u64));
        }
    }
}

impl Handler for PushApp {
    type State = PushState;

    fn request(&mut self, request: &Request<'_>) -> Response {
        site::respond(request)
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<PushState> {
        Upgrade::accept(PushState { schedule: None, next: 0 })
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        let opened = conn.shard().turn_time();
        conn.state().schedule = Some(PushSchedule { opened, rate: self.options.rate });
        self.push(conn);
        self.set_alarm(&mut conn.shard());
    }

    fn message(&mut self, _: &mut Connection<'_, Self>, _: Message<'_>) {}

    fn woken(&mut self, shard: &mut Shard<'_, Self>) {
        let elapsed = shard.turn_time().saturating_duration_since(self.start).as_nanos();
        let now = (elapsed / TICK.as_nanos()) as u64;
        while let Some(entry) = self.ticks.first_entry().filter(|entry| *entry.key() <= now) {
            for id in entry.remove() {
                if let Some(mut conn) = shard.connection(id) {
                    self.push(&mut conn);
                }
            }
        }
        self.set_alarm(shard);
    }
}

/// The mark of message `number`: that of a binary message of connection 0 of `ringway load` with
/// the seed 0. It is the number and 32 bits of check, both big endian.
fn mark(number: u32) -> [u8; MARK] {
    const KEY: u64 = mix(0);
    let check = mix(u64::from(number) ^ KEY) >> 32;
    (u64::from(number) << 32 | check).to_be_bytes()
}

/// The finalizer of SplitMix64.
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_sizes_are_parsed() {
        for (text, rate, size) in [("10", 10, 64), ("1k", 1000, 64), ("1k:512", 1000, 512), ("1m:8", 1_000_000, 8)] {
            assert_eq!(parse(Some(text)), Ok(PushOptions { rate, size }));
        }
        for text in ["0", "2m", "1.5", "-1", "1k:", "1k:7", "1k:2G", "1k:512:1", "k"] {
            assert!(parse(Some(text)).is_err_and(|error| error.starts_with("give ")), "{text}");
        }
    }

    #[test]
    fn a_message_is_due_at_its_time_and_not_a_nanosecond_before() {
        let opened = Instant::now();
        for rate in [1, 3, 7, 1000, 999_983, MAX_RATE] {
            let schedule = PushSchedule { opened, rate };
            for number in (0..1000).chain([rate * 86_400, rate * 86_400 * 365 + 1]) {
                let at = schedule.due_at(number);
                assert_eq!(schedule.due(at), number + 1, "rate {rate}");
                assert!(number == 0 || schedule.due(at - Duration::from_nanos(1)) == number, "rate {rate}");
            }
        }
    }

    #[test]
    fn the_rate_does_not_drift_in_a_year() {
        const DAYS: u64 = 365;
        let schedule = PushSchedule { opened: Instant::now(), rate: 333_333 };
        let year = schedule.opened + Duration::from_secs(86_400 * DAYS);
        assert_eq!(schedule.due(year), 333_333 * 86_400 * DAYS + 1);
    }

    /// The first output of SplitMix64 with the seed 0, and two marks computed by another program.
    #[test]
    fn the_mark_is_the_number_and_its_check() {
        assert_eq!(mix(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(mark(0), [0, 0, 0, 0, 0xa7, 6, 0xdd, 0x2f]);
        assert_eq!(mark(0x0102_0304), [1, 2, 3, 4, 0x2d, 0xf3, 0xba, 0x16]);
    }
}
