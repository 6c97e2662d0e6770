//! What the sessions of a shard share: pools, time, random numbers, configuration, and the work that they cause.

use crate::config::{Config, Limits};
use crate::session::compression::Compressors;
use rand::Rng;
use rand::rngs::StdRng;
use ringway_codec::SpillPool;
use ringway_io::{Output, Slot, TimerWheel};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The resolution of the timers. Deadlines are seconds away.
const TICK: Duration = Duration::from_millis(10);

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    Send(Slot, Output),
    Receive(Slot),
    Pause(Slot),
    /// Ends our direction.
    Finish(Slot),
    Close(Slot),
}

/// Everything that a session needs of its shard. What is budgeted or counted for a whole shard belongs here: each call of
/// a session has it.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) limits: Limits,
    /// Assembly buffers, and the buffers of outboxes.
    pub(crate) pool: SpillPool,
    pub(crate) compressors: Option<Box<Compressors>>,
    /// Sessions that are flushed at the end of the turn.
    pub(crate) dirty: Vec<Slot>,
    /// What the driver does at the end of the turn.
    pub(crate) actions: Vec<Action>,
    /// When this turn began.
    now: Instant,
    /// `now` in ticks since the start, modulo 2³².
    tick: u32,
    start: Instant,
    wheel: TimerWheel,
    /// The mask keys and nonces of the client role, which nobody may predict (RFC 6455 section 10.3): ChaCha with twelve
    /// rounds, seeded by the system once per shard. It makes 64 words at a time, so that a key costs a nanosecond or two, no
    /// system call and no lock (docs/benchmarking.md has the figures).
    rng: StdRng,
}

impl Core {
    pub(crate) fn new(config: Arc<Config>, limits: Limits, now: Instant) -> Self {
        Self {
            pool: SpillPool::new(limits.codec()),
            compressors: config.deflate.map(|deflate| Box::new(Compressors::new(deflate))),
            config,
            limits,
            dirty: Vec::new(),
            actions: Vec::new(),
            now,
            tick: 0,
            start: now,
            wheel: TimerWheel::new(now, TICK),
            rng: rand::make_rng(),
        }
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
        self.tick = (now.saturating_duration_since(self.start).as_millis() / TICK.as_millis()) as u32;
    }

    /// The time at which this turn began.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// The same in ticks, which wrap around.
    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        self.tick
    }

    /// How much time has passed since `tick`.
    pub(crate) fn since(&self, tick: u32) -> Duration {
        TICK * self.tick.wrapping_sub(tick)
    }

    /// When so much time has passed; for more than the clock can represent, in a year.
    pub(crate) fn after(&self, time: Duration) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        self.now.checked_add(time).unwrap_or(self.now + YEAR)
    }

    /// How long the shard may wait for the kernel on behalf of its sessions; `None`: as long as it takes.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Duration> {
        if self.dirty.is_empty() { self.wheel.wait(now) } else { Some(Duration::ZERO) }
    }

    /// Sets the timer of a session, wherever it was before.
    pub(crate) fn set_timer(&mut self, slot: Slot, after: Duration) {
        self.wheel.set(slot.index(), self.after(after));
    }

    pub(crate) fn clear_timer(&mut self, slot: Slot) {
        self.wheel.clear(slot.index());
    }

    /// The timers that have fired, as indices of slots.
    pub(crate) fn expired(&mut self, fired: &mut Vec<u32>) {
        self.wheel.expire(self.now, fired);
    }

    /// The key that masks one frame.
    pub(crate) fn mask_key(&mut self) -> [u8; 4] {
        self.rng.next_u32().to_ne_bytes()
    }

    /// The key of one opening handshake.
    pub(crate) fn nonce(&mut self) -> [u8; 16] {
        let mut nonce = [0; 16];
        self.rng.fill_bytes(&mut nonce);
        nonce
    }
}
