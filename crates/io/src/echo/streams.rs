//! The connections of the echo service on one driver: their output, their limits and their ends.

use super::stream::{Stage, Stream};
use crate::{Buffer, Cause, Chunk, Driver, Output, Slot, TimerWheel};
use std::time::{Duration, Instant};

/// The resolution of the deadlines.
const TICK: Duration = Duration::from_millis(10);

/// The limits of a connection. Time is that of the caller, which may leave out stalls of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EchoLimits {
    /// With this many bytes that wait for the peer, nothing more is received.
    pub high_water: usize,
    /// From this many on downwards, it is received again.
    pub low_water: usize,
    /// The time without a byte in either direction after which a connection is closed.
    pub idle_timeout: Option<Duration>,
    /// The time without progress after which a connection whose peer does not read is closed.
    pub write_timeout: Option<Duration>,
    /// The time that a connection may take to end after [`EchoStreams::end`].
    pub close_timeout: Duration,
}

impl EchoLimits {
    /// No deadlines: for a service whose peers are trusted.
    #[must_use]
    pub const fn trusting() -> Self {
        let high_water = 1 << 20;
        let close_timeout = Duration::from_secs(5);
        Self { high_water, low_water: high_water / 2, idle_timeout: None, write_timeout: None, close_timeout }
    }
}

/// How much memory the connections may use beyond what they hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// As much as their limits allow.
    #[default]
    Free,
    /// Little: a connection with output that waits receives nothing.
    Short,
    /// None: a connection that receives more while its output waits is closed.
    Exhausted,
}

/// Why a connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EchoEnd {
    /// Both directions have ended, and every byte was echoed.
    Finished,
    /// The peer has reset the connection, or it has failed.
    Lost,
    /// No byte was exchanged for the idle timeout.
    Idle,
    /// The peer did not read for the write timeout.
    WriteTimeout,
    /// Memory was exhausted while its output waited.
    Memory,
    /// The peer did not end its direction in time after the service had ended its own.
    CloseTimeout,
    /// The service has dropped it.
    Dropped,
}

/// What the connections have exchanged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EchoCounts {
    /// Connections served.
    pub opened: u64,
    /// Bytes received.
    pub received: u64,
    /// Bytes that the kernel has taken.
    pub sent: u64,
    /// How often receiving on a connection was paused because its output waited.
    pub pauses: u64,
}

/// The connections of the echo service on one driver.
///
/// ```no_run
/// use ringway_io::echo::{EchoLimits, EchoStreams};
/// use ringway_io::epoll::{Epoll, EpollConfig};
/// use ringway_io::{Completion, Driver, Listener};
/// use std::time::Instant;
///
/// let mut driver = Epoll::new(EpollConfig::default())?;
/// driver.listen(Listener::bind("127.0.0.1:7007".parse()?)?);
/// let mut streams = EchoStreams::new(EchoLimits::trusting(), Instant::now());
/// let mut completions = Vec::new();
/// loop {
///     driver.wait(None, &mut completions)?;
///     let now = Instant::now();
///     for completion in completions.drain(..) {
///         match completion {
///             Completion::Accepted { slot, .. } => streams.open(slot, &mut driver, now),
///             Completion::Received { slot, buffer } => streams.received(slot, buffer, now),
///             Completion::Sent { slot, output, written } => streams.sent(slot, output, written, now),
///             Completion::Ended { slot, cause } => streams.ended(slot, &cause, &mut driver),
///             _ => {}
///         }
///     }
///     streams.flush(&mut driver);
/// }
/// # #[allow(unreachable_code)]
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EchoStreams {
    /// By the index of the slot.
    streams: Vec<Option<Box<Stream>>>,
    open: usize,
    limits: EchoLimits,
    room: Room,
    /// The connections to look at in [`EchoStreams::flush`].
    dirty: Vec<Slot>,
    /// The memory that the output of all connections occupies, and its bytes.
    held: usize,
    queued: usize,
    wheel: TimerWheel,
    fired: Vec<u32>,
    ends: Vec<(Slot, EchoEnd)>,
    /// The connections that have received more while memory was exhausted.
    exhausted: Vec<Slot>,
    counts: EchoCounts,
}

impl EchoStreams {
    /// A service without connections.
    #[must_use]
    pub fn new(limits: EchoLimits, now: Instant) -> Self {
        Self {
            streams: Vec::new(),
            open: 0,
            limits,
            room: Room::Free,
            dirty: Vec::new(),
            held: 0,
            queued: 0,
            wheel: TimerWheel::new(now, TICK),
            fired: Vec::new(),
            ends: Vec::new(),
            exhausted: Vec::new(),
            counts: EchoCounts::default(),
        }
    }

    /// The number of connections.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open
    }

    /// Whether there is no connection.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// Whether the slot is a connection of the service.
    #[inline]
    #[must_use]
    pub fn has(&self, slot: Slot) -> bool {
        self.get(slot).is_some()
    }

    /// The slots of all connections.
    pub fn slots(&self) -> impl Iterator<Item = Slot> {
        self.streams.iter().flatten().map(|stream| stream.slot)
    }

    /// The slots of the connections that the service has not begun to end.
    pub fn lasting(&self) -> impl Iterator<Item = Slot> {
        self.streams.iter().flatten().filter(|stream| stream.ending_since.is_none()).map(|stream| stream.slot)
    }

    /// The number of bytes of memory that the output of all connections occupies.
    #[must_use]
    pub fn held(&self) -> usize {
        self.held
    }

    /// The number of bytes that wait for peers, including those in flight.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// What the connections have exchanged so far.
    #[must_use]
    pub fn counts(&self) -> EchoCounts {
        self.counts
    }

    /// Sets how much memory the connections may use from now on.
    pub fn set_room(&mut self, room: Room) {
        self.room = room;
    }

    /// Serves a connection that was accepted.
    pub fn open(&mut self, slot: Slot, driver: &mut impl Driver, now: Instant) {
        let index = slot.index() as usize;
        if self.streams.len() <= index {
            self.streams.resize_with(index + 1, || None);
        }
        debug_assert!(self.streams[index].is_none(), "slot {slot:?} is used twice");
        self.streams[index] = Some(Box::new(Stream::new(slot, now)));
        self.open += 1;
        self.counts.opened += 1;
        driver.receive(slot);
        if let Some(wait) = self.check_period() {
            self.wheel.set(slot.index(), now + wait);
        }
    }

    /// Handles received bytes: they go back.
    #[inline]
    pub fn received(&mut self, slot: Slot, buffer: Buffer, now: Instant) {
        let Some(stream) = get_mut(&mut self.streams, slot) else { return };
        self.counts.received += buffer.len() as u64;
        stream.active = now;
        if stream.stage == Stage::Lingering {
            return;
        }
        let waits = stream.outbox.bytes() > 0;
        if waits && self.room == Room::Exhausted {
            self.exhausted.push(slot);
            return;
        }
        let (bytes, held) = (buffer.len(), stream.outbox.held());
        // A slow reader does not keep the last buffers, nor mostly empty ones.
        if buffer.is_scarce() || waits && bytes < buffer.capacity() / 4 {
            stream.outbox.append(&buffer);
        } else {
            stream.outbox.push(Chunk::Buffer { range: 0..bytes as u32, buffer });
        }
        self.held += stream.outbox.held() - held;
        self.queued += bytes;
        mark(stream, &mut self.dirty);
    }

    /// Handles the completion of a send.
    #[inline]
    pub fn sent(&mut self, slot: Slot, output: Output, written: usize, now: Instant) {
        self.counts.sent += written as u64;
        let Some(stream) = get_mut(&mut self.streams, slot) else { return };
        let held = stream.outbox.held();
        stream.outbox.sent(output, written);
        self.held -= held - stream.outbox.held();
        self.queued -= written;
        stream.active = now;
        mark(stream, &mut self.dirty);
    }

    /// Handles the end of a connection's input.
    pub fn ended(&mut self, slot: Slot, cause: &Cause, driver: &mut impl Driver) {
        let Some(stream) = get_mut(&mut self.streams, slot) else { return };
        match (cause, stream.stage) {
            (Cause::Finished, Stage::Lingering) => self.remove(slot, EchoEnd::Finished, driver),
            (Cause::Finished, _) => {
                stream.stage = Stage::PeerFinished;
                stream.receives = false;
                mark(stream, &mut self.dirty);
            }
            (Cause::Reset | Cause::Failed(_) | Cause::Unconnected(_), _) => self.remove(slot, EchoEnd::Lost, driver),
        }
    }

    /// Begins to end a connection: what was received is echoed, then this side's direction ends, and
    /// the connection is closed when the peer has ended its own.
    pub fn end(&mut self, slot: Slot, now: Instant) {
        let Some(stream) = get_mut(&mut self.streams, slot) else { return };
        if stream.ending_since.is_none() {
            stream.ending_since = Some(now);
            self.wheel.set(slot.index(), now + self.limits.close_timeout);
        }
        if stream.stage == Stage::Open {
            stream.stage = Stage::Ending;
            mark(stream, &mut self.dirty);
        }
    }

    /// Drops a connection.
    pub fn drop_stream(&mut self, slot: Slot, driver: &mut impl Driver) {
        self.remove(slot, EchoEnd::Dropped, driver);
    }

    /// Ends a turn: sends what is queued, pauses and resumes receiving, and continues with the ends.
    pub fn flush(&mut self, driver: &mut impl Driver) {
        while let Some(slot) = self.exhausted.pop() {
            self.remove(slot, EchoEnd::Memory, driver);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            self.flush_stream(slot, driver);
        }
        self.dirty = dirty;
    }

    #[inline]
    fn flush_stream(&mut self, slot: Slot, driver: &mut impl Driver) {
        let Some(stream) = get_mut(&mut self.streams, slot) else { return };
        stream.is_dirty = false;
        stream.outbox.flush(driver, slot);
        let waiting = stream.outbox.bytes();
        if waiting == 0 {
            match stream.stage {
                Stage::Open | Stage::Lingering => {}
                Stage::PeerFinished => return self.remove(slot, EchoEnd::Finished, driver),
                Stage::Ending => {
                    stream.stage = Stage::Lingering;
                    driver.finish(slot);
                }
            }
        }
        let may_receive = match stream.stage {
            Stage::PeerFinished => return,
            Stage::Lingering => true,
            _ if waiting > 0 && self.room != Room::Free => false,
            _ if stream.receives => waiting < self.limits.high_water,
            _ => waiting <= self.limits.low_water,
        };
        if may_receive != stream.receives {
            stream.receives = may_receive;
            if may_receive {
                driver.receive(slot);
            } else {
                self.counts.pauses += 1;
                driver.pause(slot);
            }
        }
    }

    /// The connections that have ended since the last call, and why. Their slots are closed.
    pub fn take_ends(&mut self) -> Vec<(Slot, EchoEnd)> {
        std::mem::take(&mut self.ends)
    }

    /// Whether connections have ended since the last call of [`EchoStreams::take_ends`].
    #[inline]
    #[must_use]
    pub fn has_ends(&self) -> bool {
        !self.ends.is_empty()
    }

    /// The time from `now` until [`EchoStreams::expire`] has to be called.
    #[must_use]
    pub fn wait(&self, now: Instant) -> Option<Duration> {
        if self.dirty.is_empty() { self.wheel.wait(now) } else { Some(Duration::ZERO) }
    }

    /// Closes the connections whose time is over.
    pub fn expire(&mut self, now: Instant, driver: &mut impl Driver) {
        let mut fired = std::mem::take(&mut self.fired);
        self.wheel.expire(now, &mut fired);
        for index in fired.drain(..) {
            let Some(stream) = self.streams.get_mut(index as usize).and_then(Option::as_mut) else { continue };
            let slot = stream.slot;
            match check(stream, &self.limits, now, driver) {
                Err(end) => self.remove(slot, end, driver),
                Ok(Some(wait)) => self.wheel.set(index, now + wait),
                Ok(None) => {}
            }
        }
        self.fired = fired;
    }

    /// The time between two checks of a connection; `None` without deadlines.
    fn check_period(&self) -> Option<Duration> {
        let EchoLimits { idle_timeout, write_timeout, .. } = self.limits;
        idle_timeout.into_iter().chain(write_timeout).min().map(|least| least / 2)
    }

    fn get(&self, slot: Slot) -> Option<&Stream> {
        self.streams.get(slot.index() as usize)?.as_deref().filter(|stream| stream.slot == slot)
    }

    /// Closes a connection.
    #[cold]
    fn remove(&mut self, slot: Slot, end: EchoEnd, driver: &mut impl Driver) {
        if !self.has(slot) {
            return;
        }
        let Some(mut stream) = self.streams[slot.index() as usize].take() else { return };
        self.held -= stream.outbox.held();
        self.queued -= stream.outbox.bytes();
        stream.outbox.discard();
        self.open -= 1;
        self.wheel.clear(slot.index());
        self.ends.push((slot, end));
        driver.close(slot);
    }
}

/// The connection of a slot.
#[inline]
fn get_mut(streams: &mut [Option<Box<Stream>>], slot: Slot) -> Option<&mut Stream> {
    streams.get_mut(slot.index() as usize)?.as_deref_mut().filter(|stream| stream.slot == slot)
}

/// Adds a connection to those that are flushed at the end of the turn.
#[inline]
fn mark(stream: &mut Stream, dirty: &mut Vec<Slot>) {
    if !stream.is_dirty {
        stream.is_dirty = true;
        dirty.push(stream.slot);
    }
}

/// Checks the deadlines of a connection. Returns the time until the next check; `None` without a
/// deadline.
fn check(
    stream: &mut Stream,
    limits: &EchoLimits,
    now: Instant,
    driver: &impl Driver,
) -> Result<Option<Duration>, EchoEnd> {
    let since = |then: Instant| now.saturating_duration_since(then);
    let left = |limit: Duration, then: Instant| limit.checked_sub(since(then)).filter(|left| !left.is_zero());
    if let Some(then) = stream.ending_since {
        return left(limits.close_timeout, then).map(Some).ok_or(EchoEnd::CloseTimeout);
    }
    let mut next = None;
    if stream.outbox.bytes() == 0 {
        stream.progress = None;
    } else if let Some(limit) = limits.write_timeout {
        // A send completes only at its end; what the peer's kernel acknowledges shows progress.
        let acknowledged = driver.acknowledged(stream.slot).unwrap_or_default();
        let then = match stream.progress {
            Some((before, then)) if before == acknowledged => then,
            _ => {
                stream.progress = Some((acknowledged, now));
                stream.active = now;
                now
            }
        };
        let left = left(limit, then).ok_or(EchoEnd::WriteTimeout)?;
        next = Some(left.min(limit / 4));
    }
    if let Some(limit) = limits.idle_timeout
        && stream.outbox.bytes() == 0
    {
        next = Some(left(limit, stream.active).ok_or(EchoEnd::Idle)?);
    }
    Ok(next.or(limits.write_timeout.map(|limit| limit / 2)))
}
