//! The state that the sessions of a shard share: memory, time, random numbers, configuration, and
//! pending work.

use crate::admission::throttle::Throttle;
use crate::admission::tickets::Tickets;
use crate::api::error::Unopened;
use crate::api::id::TimerId;
use crate::api::tls::TlsSession;
use crate::api::topic::{Published, TopicLimit};
use crate::config::{Config, Limits};
use crate::metrics::Meters;
use crate::run::readiness::Readiness;
use crate::session::compression::Compressors;
use crate::shard::clock::{ShardClock, TICK};
use crate::shard::drain::DrainTally;
use crate::shard::http::HttpState;
use crate::shard::lifetimes::Lifetimes;
use crate::shard::memory::{Memory, PAUSE_TIME, Pressure, REFUSAL_TIME, RESUME_TIME, SEARCH_TIME, Shortage};
use crate::shard::notices::Notices;
use crate::shard::slice::Slices;
use crate::shard::timers::{TimerOwner, UserTimers};
use crate::tap::ShardTap;
use crate::tls::table::TlsTable;
use crate::topics::Topics;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use ringway_codec::Prepared;
use ringway_io::{Output, Slot, TimerWheel};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// An operation for the driver.
#[derive(Debug)]
pub(crate) enum Action {
    Send(Slot, Output),
    Receive(Slot),
    Pause(Slot),
    /// Ends this side's direction.
    Finish(Slot),
    Close(Slot),
}

/// Counters of a shard since its start: panics, timeouts, and actions against overload.
///
/// ```
/// use ringway::{Handler, Shard};
///
/// /// Whether connections of the shard were ended or refused to free memory.
/// fn was_short_of_memory<H: Handler>(shard: &Shard<'_, H>) -> bool {
///     let counters = shard.counters();
///     counters.memory_closes + counters.memory_refusals > 0
/// }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Panics of the handler.
    pub panics: u64,
    /// Connections closed because their peer was idle ([`Config::idle_timeout`]).
    pub idle: u64,
    /// Connections closed because their peer did not read ([`Config::write_timeout`]).
    pub write_timeouts: u64,
    /// Connections closed with 1001 because their lifetime was over ([`Config::max_lifetime`]).
    pub lifetime_closes: u64,
    /// Connections closed because a message took too long ([`Limits::message_timeout`]).
    pub message_timeouts: u64,
    /// Messages that were handed back to the handler because too much output waits for their peer,
    /// or because memory is short ([`SendOutcome::Full`](crate::SendOutcome)).
    pub handed_back: u64,
    /// How often the delivery of messages on a connection was paused because more than
    /// [`Limits::max_buffered`] bytes of output waited for its peer.
    pub backlog_pauses: u64,
    /// How often receiving on a connection was paused because memory was short
    /// ([`Limits::max_memory`]).
    pub memory_pauses: u64,
    /// Opening handshakes refused with 503 because the shard was at its memory limit.
    pub memory_refusals: u64,
    /// Connections that were ended to free memory: closed with 1013, refused with 503 during the
    /// handshake, or dropped.
    pub memory_closes: u64,
    /// How often a connection used up its budget for a turn and had to wait.
    pub yields: u64,
    /// Connections whose TLS layer failed, during the handshake or later.
    pub tls_failures: u64,
    /// How often the shard did not poll its sockets for 500 ms or more.
    pub stalls: u64,
    /// Bytes of payload of the sent messages that were compressed; each prepared message is not one
    /// of them ([`Prepared`](crate::Prepared)).
    pub deflate_input: u64,
    /// Bytes of these messages after compression, with their frame headers.
    pub deflate_output: u64,
    /// Bytes received from the kernel: frames, handshakes and TLS included.
    pub received_bytes: u64,
    /// Bytes that the kernel has taken: frames, handshakes and TLS included.
    pub sent_bytes: u64,
    /// Opening handshakes of accepted connections that were complete.
    pub handshakes_accepted: u64,
    /// Opening handshakes that the engine has refused, because the request was not a valid one for a
    /// WebSocket, or its origin was not allowed.
    pub handshakes_refused: u64,
    /// Opening handshakes that the handler has rejected.
    pub handshakes_rejected: u64,
    /// Opening handshakes that were not complete within
    /// [`Config::handshake_timeout`](crate::Config::handshake_timeout).
    pub handshakes_timed_out: u64,
    /// Accepted connections whose handshake of TLS has failed.
    pub handshakes_tls: u64,
    /// Accepted connections that have ended before an opening handshake was answered.
    pub handshakes_aborted: u64,
    /// Accepted connections that were refused, with a response or a close, because the shard or the
    /// process was at its limit of connections.
    pub rejected_limit: u64,
    /// Accepted connections that were refused because connections arrived faster than the limit of
    /// the accept rate.
    pub rejected_rate: u64,
    /// Accepted connections that were refused because too many opening handshakes were in progress.
    pub rejected_handshakes: u64,
    /// Accepted connections that were refused because their address had too many connections.
    pub rejected_address: u64,
    /// Accepted connections that were refused because of the PROXY protocol: its header was missing
    /// or malformed, or came from an address that is not trusted.
    pub rejected_proxy: u64,
    /// Accepted connections that were transferred to another shard, because it had fewer
    /// ([`Accept::Balanced`](crate::Accept)). Only the accepting shard counts them in
    /// [`Stats::accepted`](crate::Stats), and the other one in all that follows.
    pub transferred: u64,
    /// Connections that another shard has accepted and transferred to this one.
    pub adopted: u64,
    /// Accepted connections that were not transferred because too many were on their way to the
    /// other shard.
    pub transfers_full: u64,
    /// How often a connection was not read for a while because it had used up its rate
    /// ([`Limits::message_rate`], [`Limits::byte_rate`]).
    pub rate_pauses: u64,
    /// Accepted connections that were refused with 503 because the shard was draining or stopping.
    pub rejected_draining: u64,
    /// Messages that were published on this shard, once each, regardless of the number of
    /// subscribers.
    pub published: u64,
    /// Published messages that were queued for a subscriber of this shard, once for each subscriber.
    pub deliveries: u64,
    /// Deliveries that a topic with the policy `DropNewest` has dropped for slow subscribers.
    pub dropped_newest: u64,
    /// Published messages that a topic with the policy `Latest` has not queued for a slow subscriber.
    /// Those that are still the latest of their keys when it has read its output are queued then, and
    /// are deliveries as well.
    pub dropped_latest: u64,
    /// Deliveries that a topic with the policy `Close` has dropped with the connections of slow
    /// subscribers.
    pub dropped_close: u64,
    /// Published messages for other shards that were dropped, or replaced by newer ones of the same
    /// key, because the mailbox stayed full.
    pub dropped_mailbox: u64,
    /// Connections that a topic with the policy `Close` has closed with 1013, because they were slow.
    pub topic_closes: u64,
    /// How often a message to another shard found its mailbox full.
    pub mailbox_full: u64,
    /// Published messages that this shard has taken out of its mailbox, from other shards and from
    /// threads without a shard.
    pub mailbox_messages: u64,
    /// TCP connections of the echo service that were served ([`Server::and_echo`](crate::Server)).
    pub echo_opened: u64,
    /// Those of them that have ended.
    pub echo_closed: u64,
    /// Bytes that the echo service has received on them.
    pub echo_received_bytes: u64,
    /// Bytes that it has sent back.
    pub echo_sent_bytes: u64,
    /// How often it stopped reading a connection, because its echoes waited for the peer.
    pub echo_pauses: u64,
    /// Datagrams that the echo service has answered ([`Server::and_echo_datagrams`](crate::Server)).
    pub echo_datagrams: u64,
    /// Bytes of their payload.
    pub echo_datagram_bytes: u64,
    /// Answers among them that the kernel has not sent: its buffer was full, or it has refused them.
    pub echo_unsent: u64,
    /// Datagrams that the echo service has ignored because they were longer than its buffer.
    pub echo_ignored_truncated: u64,
    /// Datagrams that it has ignored because their port is below 1024.
    pub echo_ignored_port: u64,
    /// Datagrams that it has ignored because they are from or to a broadcast or multicast address.
    pub echo_ignored_group: u64,
    /// Datagrams that it has ignored because their port is one of its own.
    pub echo_ignored_own: u64,
    /// Datagrams that it has ignored because of the rate of their address
    /// ([`EchoRates::per_address`](crate::EchoRates::per_address)).
    pub echo_ignored_address: u64,
    /// Datagrams that it has ignored because of the rate of all
    /// ([`EchoRates::total`](crate::EchoRates::total)).
    pub echo_ignored_total: u64,
    /// Datagrams that it has ignored because their source sends the same payload again and again
    /// ([`EchoRates::per_payload`](crate::EchoRates::per_payload)).
    pub echo_ignored_repeat: u64,
}

/// The state of a shard that its sessions use. State that is budgeted or counted for a whole shard
/// belongs here: each call of a session has it.
pub(crate) struct Core {
    pub(crate) config: Arc<Config>,
    pub(crate) limits: Limits,
    /// The buffers that sessions share, and the memory budget.
    pub(crate) memory: Memory,
    pub(crate) compressors: Option<Box<Compressors>>,
    /// Sessions that are flushed at the end of the turn.
    pub(crate) dirty: Vec<Slot>,
    /// Operations for the driver at the end of the turn.
    pub(crate) actions: Vec<Action>,
    /// Sessions whose input waits because they have used up their budget for a turn, in order.
    pub(crate) waiting: VecDeque<Slot>,
    /// The budget of the current session in this turn.
    pub(crate) slices: Slices,
    pub(crate) counters: Counters,
    /// What is measured besides the counters.
    pub(crate) meters: Meters,
    pub(crate) shortage: Shortage,
    /// The layers of the connections with TLS; `None` if there has been none.
    pub(crate) tls: Option<Box<TlsTable>>,
    /// The topics; `None` until one is used, if the shard is the only one.
    pub(crate) topics: Option<Box<Topics>>,
    /// Whether published messages wait for the sweep. Direct sends have to follow them.
    pub(crate) has_published: bool,
    /// Whether subscribers wait for the latest messages of a topic.
    pub(crate) has_lagging: bool,
    /// What connections were admitted with; `None` if none is looked at.
    pub(crate) tickets: Option<Box<Tickets>>,
    /// The message and byte rates of connections; `None` without a rate.
    pub(crate) throttle: Option<Box<Throttle>>,
    /// What reports traced connections; `None` if none is traced, or will be.
    pub(crate) tap: Option<Box<ShardTap>>,
    pub(crate) notices: Notices,
    pub(crate) http: HttpState,
    /// What the drain has done so far; `None` before it begins.
    pub(crate) drain: Option<DrainTally>,
    /// Shared by the shards of one start.
    pub(crate) readiness: Readiness,
    pub(crate) clock: ShardClock,
    wheel: TimerWheel,
    /// The ends of lifetimes, if these are limited.
    pub(crate) lifetimes: Option<Box<Lifetimes>>,
    /// The timers that handlers set.
    pub(crate) timers: UserTimers,
    /// Generates the mask keys and nonces of the client role, which must be unpredictable (RFC 6455
    /// section 10.3): ChaCha with twelve rounds, seeded by the system once per shard. It generates
    /// 64 words at a time, so that a key costs a nanosecond or two, no system call and no lock
    /// (docs/results/engine.md has measurements).
    rng: StdRng,
}

impl Core {
    pub(crate) fn new(config: Arc<Config>, limits: Limits, now: Instant) -> Self {
        let mut rng: StdRng = rand::make_rng();
        Self {
            memory: Memory::new(&limits),
            meters: Meters::new(now, config.connection_times, rng.next_u64()),
            lifetimes: Lifetimes::new(&config, now),
            tap: config.tap.clone().map(|tap| Box::new(ShardTap::new(tap))),
            compressors: config.deflate.map(|deflate| Box::new(Compressors::new(deflate))),
            config,
            limits,
            dirty: Vec::new(),
            actions: Vec::new(),
            waiting: VecDeque::new(),
            slices: Slices::default(),
            counters: Counters::default(),
            shortage: Shortage::default(),
            tls: None,
            topics: None,
            has_published: false,
            has_lagging: false,
            tickets: None,
            throttle: Throttle::new(limits.message_rate, limits.byte_rate, now),
            notices: Notices::default(),
            http: HttpState::default(),
            drain: None,
            readiness: Readiness::default(),
            clock: ShardClock::new(now),
            wheel: TimerWheel::new(now, TICK),
            timers: UserTimers::new(now),
            rng,
        }
    }

    /// The TLS session of a connection.
    pub(crate) fn tls_session(&self, slot: Slot) -> Option<TlsSession<'_>> {
        self.tls.as_ref()?.get(slot).map(TlsSession::new)
    }

    /// Ends the subscriptions of a connection.
    #[inline]
    pub(crate) fn unsubscribe_all(&mut self, slot: Slot) {
        if self.topics.as_ref().is_some_and(|topics| topics.registry.subscriber(slot.index()).is_some()) {
            self.with_topics(|topics, _| topics.leave_all(slot.index()));
        }
    }

    /// Notes that the outbox of a connection has room for messages of topics.
    #[cold]
    pub(crate) fn has_topic_room(&mut self, slot: Slot) {
        if let Some(topics) = &mut self.topics {
            topics.lagging.has_room(slot.index());
        }
    }

    /// Calls `change` with the topics, and charges what they hold.
    pub(crate) fn with_topics<R>(&mut self, change: impl FnOnce(&mut Topics, &Limits) -> R) -> R {
        let topics = self.topics.get_or_insert_default();
        let before = topics.held();
        let result = change(topics, &self.limits);
        let after = topics.held();
        self.memory.recharge(before, after);
        self.note_topics();
        result
    }

    /// Publishes a message, to all subscribers except for one that is up to date.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        key: u64,
        message: &Prepared,
        except: Option<u32>,
    ) -> Result<Published, TopicLimit> {
        let published = self.with_topics(|topics, limits| topics.publish(topic, key, message, except, limits))?;
        self.counters.published += 1;
        Ok(published)
    }

    /// Updates what the topics' state means for the connections.
    pub(crate) fn note_topics(&mut self) {
        let topics = self.topics.as_deref();
        self.has_published = topics.is_some_and(|topics| !topics.log.is_empty());
        self.has_lagging = topics.is_some_and(|topics| !topics.lagging.is_empty());
    }

    /// Begins a turn.
    pub(crate) fn begin_turn(&mut self, now: Instant) {
        if let Some(stall) = self.clock.begin_turn(now) {
            self.counters.stalls += 1;
            tracing::debug!("the shard did not poll its sockets for {stall:?}; deadlines are extended by as much");
        }
        self.slices.begin_turn(self.clock.busy());
    }

    /// Whether requests for a WebSocket are refused, because the shard drains.
    pub(crate) fn refuses_upgrades(&self) -> bool {
        self.drain.as_ref().is_some_and(|drain| drain.refuses)
    }

    /// Why an accepted connection has not opened, if nothing else is known.
    pub(crate) fn unopened(&self) -> Unopened {
        if self.drain.is_some() { Unopened::Stopping } else { Unopened::Ended }
    }

    /// Counts a connection that is refused because the shard drains.
    pub(crate) fn count_drain_refusal(&mut self) {
        self.counters.rejected_draining += 1;
        if let Some(drain) = &mut self.drain {
            drain.report.refused += 1;
        }
    }

    /// Puts items into random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        items.shuffle(&mut self.rng);
    }

    /// The start time of this turn.
    pub(crate) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// A function that reads the clock as [`current_time`](Core::current_time) does.
    pub(crate) fn clock_reading(&self) -> impl FnOnce() -> Instant + use<> {
        let simulated = (!self.slices.reads_clock()).then(|| self.now());
        move || simulated.unwrap_or_else(Instant::now)
    }

    /// A reading of the clock. In simulations, the start time of this turn.
    pub(crate) fn current_time(&self) -> Instant {
        if self.slices.reads_clock() { Instant::now() } else { self.now() }
    }

    /// Updates the date of HTTP responses. A simulation begins at the example of RFC 9110 section
    /// 5.6.7.
    pub(crate) fn update_date(&mut self) {
        const SIMULATED: Duration = Duration::from_secs(784_111_777);
        let Self { http, clock, slices, .. } = self;
        http.update_date(clock.now(), || match slices.reads_clock() {
            true => SystemTime::now(),
            false => UNIX_EPOCH + SIMULATED + clock.age(),
        });
    }

    /// The start time of this turn in ticks, which wrap around, without the time of stalls.
    #[inline]
    pub(crate) fn tick(&self) -> u32 {
        self.clock.tick()
    }

    /// The time since `tick`.
    pub(crate) fn since(&self, tick: u32) -> Duration {
        TICK * self.tick().wrapping_sub(tick)
    }

    /// A time in ticks.
    pub(crate) fn ticks(&self, time: Duration) -> u32 {
        u32::try_from(time.as_millis() / TICK.as_millis()).unwrap_or(u32::MAX / 2)
    }

    /// The time `time` from now; at most a year, if the clock cannot represent it.
    pub(crate) fn after(&self, time: Duration) -> Instant {
        const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
        self.now().checked_add(time).unwrap_or(self.now() + YEAR)
    }

    /// How long the shard can wait for the kernel, given the timers of its sessions; `None`:
    /// without limit.
    pub(crate) fn poll_timeout(&self, now: Instant) -> Option<Duration> {
        let handshakes = self.tls.as_ref().map_or(0, |tls| tls.waiting());
        let topics = self.topics.as_deref();
        if !self.dirty.is_empty()
            || !self.waiting.is_empty()
            || handshakes > 0
            || topics.is_some_and(|topics| topics.has_work())
        {
            return Some(Duration::ZERO);
        }
        // A mailbox that was full is tried again.
        let others = topics.is_some_and(|topics| topics.waits_for_others()).then_some(Duration::from_millis(1));
        let effective = self.clock.at(now);
        let lifetimes = self.lifetimes.as_ref().and_then(|lifetimes| lifetimes.wait(effective));
        let throttle = self.throttle.as_ref().and_then(|throttle| throttle.wait(now));
        let relief = self.relief_wait();
        let waits = [self.wheel.wait(effective), lifetimes, self.timers.wait(now), relief, throttle, others];
        waits.into_iter().flatten().min()
    }

    /// Whether memory is short, or was short until now.
    #[inline]
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.memory.pressure() != Pressure::Low
            || !self.memory.is_retaining()
            || self.shortage.exhausted.is_some()
            || !self.shortage.paused.is_empty()
            || self.shortage.is_refusing
    }

    /// How long until a shortage of memory has to be looked at, although nothing happens.
    fn relief_wait(&self) -> Option<Duration> {
        let Shortage { paused, paused_since, low_since, exhausted, is_refusing, .. } = &self.shortage;
        let refusing = is_refusing.then_some(SEARCH_TIME);
        let paused = (!paused.is_empty()).then(|| match low_since {
            Some(since) => RESUME_TIME.saturating_sub(self.since(*since)),
            None => PAUSE_TIME.saturating_sub(self.since(*paused_since)),
        });
        let exhausted = exhausted.map(|since| REFUSAL_TIME.saturating_sub(self.since(since)));
        [paused, exhausted, refusing].into_iter().flatten().min().map(|wait| wait.max(TICK))
    }

    /// Sets the timer of a session, and replaces an earlier one.
    pub(crate) fn set_timer(&mut self, slot: Slot, after: Duration) {
        self.wheel.set(slot.index(), self.clock.at(self.after(after)));
    }

    /// Begins the lifetime of a connection that has opened, if lifetimes are limited.
    #[inline]
    pub(crate) fn begin_lifetime(&mut self, slot: Slot) {
        if let Some(lifetimes) = &mut self.lifetimes {
            lifetimes.begin(slot, self.clock.effective(), self.rng.next_u32());
        }
    }

    /// Forgets the lifetime of a connection that has ended.
    #[inline]
    pub(crate) fn forget_lifetime(&mut self, slot: Slot) {
        if let Some(lifetimes) = &mut self.lifetimes {
            lifetimes.forget(slot);
        }
    }

    /// Sets a timer of a handler.
    pub(crate) fn set_user_timer(&mut self, owner: TimerOwner, after: Duration, token: u64) -> TimerId {
        let (now, deadline) = (self.now(), self.after(after));
        self.timers.set(owner, token, now, deadline)
    }

    pub(crate) fn clear_timer(&mut self, slot: Slot) {
        self.wheel.clear(slot.index());
    }

    /// The timers that have fired, as indices of slots.
    pub(crate) fn expired(&mut self, fired: &mut Vec<u32>) {
        self.wheel.expire(self.clock.effective(), fired);
    }

    /// The number of messages that a connection can deliver now. 0: it has used up its rate, and is
    /// not read until [`Core::end_pauses`].
    #[inline]
    pub(crate) fn message_allowance(&mut self, slot: Slot) -> u32 {
        let now = self.clock.now();
        self.throttle.as_mut().map_or(u32::MAX, |throttle| throttle.allowance(slot, now))
    }

    /// Continues with the input of connections whose rate allows another message.
    pub(crate) fn end_pauses(&mut self, fired: &mut Vec<u32>) {
        let now = self.clock.now();
        if let Some(throttle) = &mut self.throttle {
            self.waiting.extend(throttle.expired(now, fired));
        }
    }

    /// The opening handshake of a connection has ended: its request is complete.
    pub(crate) fn handshake_ended(&mut self, slot: Slot) {
        if let Some(tickets) = &mut self.tickets {
            tickets.handshake_ended(slot);
        }
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
