//! One shard without its driver: all its sessions, and what happens to them.
//!
//! A pure state machine: what the driver reports goes in ([`Hub::received`], [`Hub::sent`], …), time is an argument, and
//! what the driver is to do comes out as [`Action`]s. So it is tested with bytes alone, and on the simulated kernel.

mod ending;
mod opening;
mod outgoing;
mod receiving;

use crate::client::Endpoint;
use crate::compression::Compressors;
use crate::config::{Config, Limits};
use crate::connection::Connection;
use crate::handler::Handler;
use crate::mailbox::ShardHandle;
use crate::request::Upgrade;
use crate::session::{Farewell, Flag, Phase, put_back, recycle_output};
use crate::table::Table;
use outgoing::Piece;
use rand::rngs::StdRng;
use ringway_codec::{Role, SpillPool};
use ringway_io::{Output, Slot, TimerWheel};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the timers resolve. Deadlines are seconds away, so a hundredth of one is fine enough.
const TICK: Duration = Duration::from_millis(10);

/// Finds the address of a slot's peer: the driver's part that handlers may use.
pub(crate) type Peers<'a> = &'a dyn Fn(Slot) -> Option<SocketAddr>;

/// What the driver is to do.
#[derive(Debug)]
pub(crate) enum Action {
    Send(Slot, Output),
    Receive(Slot),
    Pause(Slot),
    Finish(Slot),
    Close(Slot),
}

/// What a handler asked of its shard; done between the calls of the handler.
pub(crate) enum Wish<S> {
    Connect(Arc<Endpoint>, S),
    Answer(Slot, Upgrade<S>),
    Stop,
}

/// All sessions of one shard.
pub(crate) struct Hub<H: Handler> {
    pub(crate) index: usize,
    pub(crate) config: Arc<Config>,
    pub(crate) limits: Limits,
    pub(crate) table: Table<H::State>,
    pub(crate) handle: ShardHandle<H>,
    /// When this turn began.
    pub(crate) now: Instant,
    /// `now` in ticks since the start, modulo 2³².
    tick: u32,
    start: Instant,
    pub(crate) alarm: Option<Instant>,
    pub(crate) wishes: VecDeque<Wish<H::State>>,
    /// Assembly buffers, and the buffers of outboxes.
    spill: SpillPool,
    wheel: TimerWheel,
    fired: Vec<u32>,
    /// Sessions that have something to do at the end of the turn.
    dirty: Vec<Slot>,
    actions: Vec<Action>,
    /// The session whose bytes are being walked, and what it has put in its outbox since.
    pub(crate) receiving: Option<Slot>,
    pieces: Vec<Piece>,
    compressors: Option<Box<Compressors>>,
    /// The mask keys and nonces of the client role, which nobody may predict (RFC 6455 section 10.3): ChaCha with twelve
    /// rounds, seeded by the system once per shard. It makes 64 words at a time, so that a key costs a nanosecond or two, no
    /// system call and no lock (ARCHITECTURE.md has the figures).
    rng: StdRng,
    stopping: bool,
}

impl<H: Handler> Hub<H> {
    pub(crate) fn new(index: usize, config: Arc<Config>, limits: Limits, handle: ShardHandle<H>, now: Instant) -> Self {
        let compressors = config.deflate.map(|wanted| Box::new(Compressors::new(wanted)));
        Self {
            index,
            config,
            limits,
            table: Table::new(),
            handle,
            now,
            tick: 0,
            start: now,
            alarm: None,
            wishes: VecDeque::new(),
            spill: SpillPool::new(limits.codec()),
            wheel: TimerWheel::new(now, TICK),
            fired: Vec::new(),
            dirty: Vec::new(),
            actions: Vec::new(),
            receiving: None,
            pieces: Vec::new(),
            compressors,
            rng: rand::make_rng(),
            stopping: false,
        }
    }

    /// A turn begins.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        self.now = now;
        self.tick = (now.saturating_duration_since(self.start).as_millis() / TICK.as_millis()) as u32;
    }

    /// How long the shard may wait for the kernel; `None`: as long as it takes.
    pub(crate) fn patience(&self, now: Instant) -> Option<Duration> {
        if !self.dirty.is_empty() || !self.wishes.is_empty() {
            return Some(Duration::ZERO);
        }
        let alarm = self.alarm.map(|at| at.saturating_duration_since(now));
        [self.wheel.wait(now), alarm].into_iter().flatten().min()
    }

    pub(crate) fn is_client(&self, slot: Slot) -> bool {
        self.table.get(slot).is_some_and(|session| session.role == Role::Client)
    }

    /// Puts a session on the list of those that have something to do.
    pub(crate) fn mark(&mut self, slot: Slot) {
        if let Some(session) = self.table.get_mut(slot)
            && !session.is(Flag::Dirty)
        {
            session.set(Flag::Dirty);
            self.dirty.push(slot);
        }
    }

    fn set_timer(&mut self, slot: Slot, after: Duration) {
        self.wheel.set(slot.index(), self.after(after));
    }

    /// When so much time has passed; for more than the clock can say, in a year.
    pub(crate) fn after(&self, time: Duration) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        self.now.checked_add(time).unwrap_or(self.now + YEAR)
    }

    /// A send is over.
    pub(crate) fn sent(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot, output: Output, written: usize) {
        let Some(session) = self.table.get_mut(slot) else {
            recycle_output(output, &mut self.spill);
            return;
        };
        session.unset(Flag::Sending);
        session.buffered -= written;
        // The kernel had no room left for this peer, so what it has taken since, the peer has read.
        if written > 0 && session.is(Flag::PausedByBacklog) {
            session.last_active = self.tick;
        }
        if written < output.len() {
            put_back(&mut session.queue, output, written, &mut self.spill);
        } else {
            recycle_output(output, &mut self.spill);
        }
        let mut busy = session.queue.is_some() || session.phase != Phase::Open;
        if session.is(Flag::PausedByBacklog) && session.buffered <= self.limits.max_buffered / 2 {
            session.unset(Flag::PausedByBacklog);
            busy = true;
        }
        if session.buffered == 0 && session.is(Flag::WantsDrained) && session.phase == Phase::Open {
            session.unset(Flag::WantsDrained);
            handler.drained(&mut Connection::new(self, peers, slot));
            busy = true;
        }
        if busy {
            self.mark(slot);
        }
    }

    /// The timers that have come due, the alarm included.
    pub(crate) fn expire(&mut self, handler: &mut H, peers: Peers<'_>) {
        self.wheel.expire(self.now, &mut self.fired);
        let phase = |slot| self.table.get(slot).map(|session| session.phase);
        let due: Vec<_> = self
            .fired
            .drain(..)
            .filter_map(|index| self.table.slot_at(index))
            .map(|slot| (slot, phase(slot)))
            .collect();
        for (slot, was) in due {
            // One that has been closed meanwhile, by the handler of another's end, has another timer by now.
            if self.table.get(slot).map(|session| session.phase) == was {
                self.timed_out(handler, peers, slot);
            }
        }
        if self.alarm.is_some_and(|at| at <= self.now) {
            self.alarm = None;
            handler.woken(&mut crate::Shard { hub: self, peers });
        }
    }

    /// The end of a turn: one send for each session that has output, and whatever else has come due. Fills `actions`.
    pub(crate) fn settle(&mut self, handler: &mut H, peers: Peers<'_>, actions: &mut Vec<Action>) {
        let mut at = 0;
        // Delivering what was held back may add to the list.
        while let Some(&slot) = self.dirty.get(at) {
            at += 1;
            let Some(session) = self.table.get_mut(slot) else { continue };
            session.unset(Flag::Dirty);
            if !session.is_paused() && session.has_stash() {
                self.deliver_stash(handler, peers, slot);
            }
            self.settle_one(handler, peers, slot);
        }
        self.dirty.clear();
        actions.append(&mut self.actions);
    }

    fn settle_one(&mut self, handler: &mut H, peers: Peers<'_>, slot: Slot) {
        let Some(session) = self.table.get_mut(slot) else { return };
        if session.buffered > self.limits.max_buffered {
            session.set(Flag::PausedByBacklog);
        }
        if !session.is(Flag::Sending)
            && let Some(output) = session.queue.take()
        {
            session.set(Flag::Sending);
            self.actions.push(Action::Send(slot, output));
        }
        let wanted = session.should_receive();
        if wanted != session.is(Flag::Receiving) {
            if wanted {
                session.set(Flag::Receiving);
                self.actions.push(Action::Receive(slot));
            } else {
                session.unset(Flag::Receiving);
                self.actions.push(Action::Pause(slot));
            }
        }
        if let Phase::Departing(farewell) = session.phase
            && !session.is(Flag::Sending)
        {
            let peer_finished = session.is(Flag::PeerFinished);
            match farewell {
                Farewell::Linger if !peer_finished => {
                    session.phase = Phase::Lingering;
                    self.actions.push(Action::Finish(slot));
                }
                // The timer of the departure goes on.
                Farewell::Await if !peer_finished => {}
                _ => self.release(handler, peers, slot),
            }
        }
    }
}
