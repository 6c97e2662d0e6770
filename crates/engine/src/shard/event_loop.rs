//! The event loop of a shard: passes completions of the driver to sessions, and their actions to
//! the driver.

mod arrivals;

use crate::admission::gate::Gate;
use crate::admission::tickets::Tickets;
use crate::api::error::ConnectError;
use crate::api::handler::Handler;
use crate::api::shard::{Command, Control, Shard, ShardHandle};
use crate::config::{Config, Limits};
use crate::echo::rules::EchoRules;
use crate::echo::service::EchoService;
use crate::metrics::published::Published;
use crate::run::readiness::Readiness;
use crate::session::attempt::Attempt;
use crate::shard::accepting::Accepting;
use crate::shard::balance::Balancer;
use crate::shard::core::{Action, Core, Counters};
use crate::shard::dispatch::Dispatch;
use crate::shard::drain::{Drain, DrainReason, DrainReport, DrainStep, DrainTally, DrainTimes};
use crate::shard::relief::relieve;
use crate::shard::session_table::SessionTable;
use crate::shard::slice::WAITING_TIME;
use crate::tls::table::{HANDSHAKE_TIME, ListenerTls, TlsTable};
use crate::topics::exchange::Desk;
use crate::topics::sweep::sweep;
use ringway_io::{Completion, Driver, Stats};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A shard: driver, sessions and handler, on one thread.
pub(crate) struct EventLoop<D, H: Handler> {
    driver: D,
    handler: H,
    sessions: SessionTable<H::State>,
    core: Core,
    control: Control<H>,
    completions: Vec<Completion>,
    fired: Vec<u32>,
    /// `None` until the shard drains.
    drain: Option<Box<Drain>>,
    /// The server's number of each listener, by the driver's number; empty if they are the same.
    listeners: Vec<usize>,
    /// When the drain began.
    drained_from: Instant,
    /// The copy of the numbers that other threads read.
    published: Arc<Published>,
    accepting: Accepting,
    /// With [`Accept::Balanced`](crate::Accept), and other shards.
    balancer: Option<Box<Balancer>>,
    /// The echo service, if it has listeners.
    echo: Option<Box<EchoService>>,
}

impl<D: Driver, H: Handler> EventLoop<D, H> {
    pub(crate) fn new(
        index: usize,
        driver: D,
        config: Arc<Config>,
        limits: Limits,
        handle: ShardHandle<H>,
        handler: H,
        now: Instant,
    ) -> Self {
        Self {
            driver,
            handler,
            sessions: SessionTable::new(),
            core: Core::new(config, limits, now),
            control: Control { index, handle, commands: VecDeque::new(), alarm: None },
            completions: Vec::new(),
            fired: Vec::new(),
            drain: None,
            listeners: Vec::new(),
            drained_from: now,
            published: Arc::new(Published::new()),
            accepting: Accepting::default(),
            balancer: None,
            echo: None,
        }
    }

    /// Publishes the numbers of the shard here.
    pub(crate) fn publish_to(&mut self, published: Arc<Published>) {
        self.published = published;
    }

    /// Publishes the numbers of the shard, at the end of a turn.
    fn publish(&mut self) {
        let Self { driver, core, published, .. } = self;
        if core.slices.reads_clock() {
            core.meters.read_cpu(core.clock.now(), driver.stats().polled);
        }
        published.publish(core, driver.stats(), driver.free_buffers());
    }

    /// Uses TLS on some of the listeners, which have numbers as in [`Completion::Accepted`].
    pub(crate) fn use_tls(&mut self, listeners: Vec<Option<ListenerTls>>) {
        if listeners.iter().any(Option::is_some) {
            self.core.tls = Some(Box::new(TlsTable::new(listeners)));
        }
    }

    /// Numbers the listeners: a shard can have several sockets of one address.
    pub(crate) fn number_listeners(&mut self, numbers: Vec<usize>) {
        self.listeners = numbers;
    }

    /// Shares the readiness with other shards.
    pub(crate) fn use_readiness(&mut self, readiness: Readiness) {
        self.core.readiness = readiness;
    }

    /// Exchanges published messages with other shards.
    pub(crate) fn join(&mut self, desk: Desk) {
        desk.open(self.driver.waker());
        self.core.topics.get_or_insert_default().join(desk);
    }

    /// Transfers accepted connections to the shards with the fewest connections, and adopts those of
    /// others.
    pub(crate) fn use_balancer(&mut self, mut balancer: Balancer) {
        balancer.open(self.driver.waker());
        self.balancer = Some(Box::new(balancer));
    }

    /// Serves the echo service on some of the listeners, which have numbers as in
    /// [`Completion::Accepted`], and on the datagrams that the rules allow.
    pub(crate) fn use_echo(&mut self, listeners: Vec<bool>, rules: Option<EchoRules>) {
        let is_used = rules.is_some() || listeners.contains(&true);
        self.echo = is_used.then(|| Box::new(EchoService::new(listeners, rules, &self.core)));
    }

    /// The number of connections, those of the echo service included.
    fn connections(&self) -> usize {
        self.sessions.len() + self.echo.as_ref().map_or(0, |echo| echo.streams.len())
    }

    /// Counts the connections of this shard with those of the others.
    pub(crate) fn use_gate(&mut self, gate: Arc<Gate>) {
        self.core.tickets = Some(Box::new(Tickets::new(gate)));
    }

    /// Runs until the shard is stopped and its connections have ended.
    pub(crate) fn run(mut self) -> io::Result<(Stats, Counters, Option<DrainReport>)> {
        self.measure_time();
        self.start();
        while self.turn(Instant::now)? {}
        Ok(self.report())
    }

    /// Measures the time that turns take. In simulations the clock is not read.
    pub(crate) fn measure_time(&mut self) {
        self.core.slices.measure_time();
    }

    /// The counters, and what the drain has done.
    pub(crate) fn report(&self) -> (Stats, Counters, Option<DrainReport>) {
        let drained_for = Instant::now().saturating_duration_since(self.drained_from);
        let report = self.core.drain.as_ref().map(|drain| DrainReport { duration: drained_for, ..drain.report });
        (*self.driver.stats(), self.core.counters, report)
    }

    /// Calls the handler's `start`.
    pub(crate) fn start(&mut self) {
        self.dispatch().with_shard(H::start);
        self.finish_turn();
        self.publish();
    }

    /// Runs one turn: waits for the kernel, handles the completions, and submits the resulting
    /// operations. Returns whether the loop continues.
    pub(crate) fn turn(&mut self, clock: impl Fn() -> Instant) -> io::Result<bool> {
        let before = clock();
        let timeout = self.begin_wait(before);
        self.turn_within(timeout, clock)
    }

    /// Begins a wait for the kernel. Returns its maximum time.
    pub(crate) fn begin_wait(&mut self, now: Instant) -> Option<Duration> {
        let timeout = self.next_work(now);
        self.core.clock.begin_wait(now, timeout);
        timeout
    }

    /// Runs one turn, whose wait ends after `timeout`. It began with [`EventLoop::begin_wait`].
    pub(crate) fn turn_within(&mut self, timeout: Option<Duration>, clock: impl Fn() -> Instant) -> io::Result<bool> {
        let mut completions = std::mem::take(&mut self.completions);
        self.driver.wait(timeout, &mut completions)?;
        self.core.begin_turn(clock());
        self.core.meters.turn_duration.record_micros(self.core.clock.busy());
        if self.core.topics.as_ref().is_some_and(|topics| topics.has_mail()) {
            // Before anything is received: a peer may refer to what was published elsewhere.
            let received = self.core.with_topics(|topics, limits| topics.receive(limits));
            self.core.counters.mailbox_messages += received;
        }
        for completion in completions.drain(..) {
            self.complete(completion);
        }
        self.completions = completions;
        self.adopt_transfers();
        self.core.end_pauses(&mut self.fired);
        if !self.core.waiting.is_empty() {
            // After new input, so that waiting input does not delay it for long.
            let began = clock();
            self.dispatch().decode_waiting(|| clock().saturating_duration_since(began) >= WAITING_TIME);
        }
        if self.core.tls.as_ref().is_some_and(|tls| tls.has_work()) {
            // The output of this turn is sent first, because handshakes take long.
            self.finish_turn();
            self.driver.submit()?;
            let began = clock();
            self.dispatch().shake_hands(|| clock().saturating_duration_since(began) >= HANDSHAKE_TIME);
            if let Some(accept) = self.core.tls.as_mut().and_then(|tls| tls.change_accepting()) {
                self.accepting.is_busy = !accept;
            }
        }
        self.change_accepting();
        let mut fired = std::mem::take(&mut self.fired);
        self.dispatch().expire(&mut fired);
        self.dispatch().expire_timers(&mut fired);
        self.fired = fired;
        self.finish_turn();
        self.publish_balance();
        let continues = !self.is_done();
        self.publish();
        Ok(continues)
    }

    /// The handler.
    pub(crate) fn handler_mut(&mut self) -> &mut H {
        &mut self.handler
    }

    /// The driver.
    pub(crate) fn driver(&self) -> &D {
        &self.driver
    }

    /// Lends the handler and the shard to `call`, between two turns.
    pub(crate) fn lend<R>(&mut self, call: impl FnOnce(&mut H, &mut Shard<'_, H>) -> R) -> R {
        self.dispatch().lend(call)
    }

    /// Adds a listener with TLS, which has no socket: for [`EventLoop::take_over`]. Returns its
    /// number.
    pub(crate) fn add_tls(&mut self, listener: ListenerTls) -> usize {
        self.core.tls.get_or_insert_default().add(listener)
    }

    /// Updates the time between two turns, if that of the last turn is older than `age`.
    pub(crate) fn refresh(&mut self, now: Instant, age: Duration) {
        if now.saturating_duration_since(self.core.now()) >= age {
            self.core.begin_turn(now);
            self.begin_wait(now);
        }
    }

    /// Drops all connections and closes the listeners, without a further turn.
    pub(crate) fn abandon(&mut self) {
        self.driver.stop_listening();
        self.driver.stop_datagrams();
        self.remove_all();
        for command in std::mem::take(&mut self.control.commands) {
            if let Command::Connect(attempt, state) = command {
                let error = attempt.into_failure(ConnectError::Stopping);
                self.dispatch().unconnected(state, &error);
            }
        }
        // A handler may have answered a failure with another attempt.
        self.control.commands.clear();
        self.finish_turn();
        self.publish();
    }

    fn remove_all(&mut self) {
        self.dispatch().remove_all();
        if let Some(echo) = &mut self.echo {
            echo.drop_all(&mut self.driver);
        }
    }

    /// The time until there is work without a completion: for sessions, for commands of the
    /// handler, the alarm, or the drain.
    pub(crate) fn next_work(&self, now: Instant) -> Option<Duration> {
        if !self.control.commands.is_empty() || self.balancer.as_ref().is_some_and(|balancer| balancer.has_mail()) {
            return Some(Duration::ZERO);
        }
        let left = |at: Instant| at.saturating_duration_since(now);
        let (alarm, accepting) = (self.control.alarm.map(left), self.accepting.until.map(left));
        let drain = self.drain.as_ref().map(|drain| drain.wait(self.core.clock.at(now), self.has_ended()));
        let echo = self.echo.as_ref().and_then(|echo| echo.wait(now, &self.core));
        [self.core.poll_timeout(now), alarm, accepting, drain, echo].into_iter().flatten().min()
    }

    #[inline]
    fn dispatch(&mut self) -> Dispatch<'_, D, H> {
        let Self { driver, handler, sessions, core, control, .. } = self;
        Dispatch { handler, sessions, core, control, driver }
    }

    #[inline]
    fn complete(&mut self, mut completion: Completion) {
        if let Some(echo) = &mut self.echo {
            let Some(other) = echo.complete(completion, &mut self.driver, &mut self.core) else { return };
            completion = other;
        }
        match completion {
            Completion::Received { slot, buffer } => self.dispatch().received(slot, buffer),
            Completion::Sent { slot, output, written } => self.dispatch().sent(slot, output, written),
            Completion::Released { output } => self.dispatch().released(output),
            Completion::Accepted { slot, listener } => {
                let listener = self.listeners.get(listener).copied().unwrap_or(listener);
                self.accepted(slot, listener);
            }
            Completion::Connected { slot } => self.dispatch().connected(slot),
            Completion::Datagram(_) => {} // The echo service has handled it.
            Completion::Ended { slot, cause } => self.dispatch().ended(slot, cause),
            Completion::Woken => {
                if let Some(reason) = self.control.handle.requested_drain() {
                    self.begin_drain(reason);
                }
                for work in self.control.handle.take() {
                    self.dispatch().with_shard(work);
                }
            }
        }
    }

    /// Executes the commands of handlers, and passes the actions of the turn to the driver.
    fn finish_turn(&mut self) {
        // Commands issued meanwhile wait for the next turn: a handler may answer each failed
        // connect with another.
        for _ in 0..self.control.commands.len() {
            let Some(command) = self.control.commands.pop_front() else { break };
            match command {
                Command::Connect(attempt, state) => self.connect(attempt, state),
                Command::RequestUpgrade(slot) => self.dispatch().request_upgrade(slot),
                Command::Answer(slot, upgrade) => self.dispatch().answer(slot, upgrade),
                Command::Terminate(slot) => self.dispatch().terminate(slot),
                Command::Abort(slot) => self.dispatch().abort(slot),
                Command::Drain(reason) => self.begin_drain(reason),
                Command::StopListening => {
                    self.driver.stop_listening();
                    self.driver.stop_datagrams();
                }
            }
        }
        sweep(&mut self.dispatch());
        if self.drain.is_some() {
            self.advance_drain();
        }
        self.dispatch().flush();
        if self.core.is_short_of_memory() {
            relieve(&mut self.dispatch());
            self.dispatch().flush();
        }
        if let Some(purge) = self.core.config.purge_allocator
            && self.core.memory.end_turn()
        {
            purge();
        }
        if let Some(echo) = &mut self.echo {
            echo.finish_turn(&mut self.driver, &mut self.core);
        }
        self.core.notices.log(|slot| self.driver.peer_address(slot));
        for action in self.core.actions.drain(..) {
            match action {
                Action::Send(slot, output) => self.driver.send(slot, output),
                Action::Receive(slot) => self.driver.receive(slot),
                Action::Pause(slot) => self.driver.pause(slot),
                Action::Finish(slot) => self.driver.finish(slot),
                Action::Close(slot) => self.driver.close(slot),
            }
        }
    }

    fn connect(&mut self, attempt: Attempt, mut state: H::State) {
        let error = if self.drain.as_ref().is_some_and(|drain| drain.is_closing()) {
            ConnectError::Stopping
        } else if let Some(slot) = self.driver.reserve() {
            if !self.dispatch().wants_connection(slot, &mut state) {
                return self.driver.close(slot);
            }
            let (address, options) = (attempt.address().clone(), attempt.options());
            self.dispatch().connecting(slot, attempt, state);
            self.driver.connect_with(slot, address, &options);
            return;
        } else {
            attempt.into_failure(ConnectError::NoSlot)
        };
        self.dispatch().unconnected(state, &error);
    }

    fn begin_drain(&mut self, reason: DrainReason) {
        if self.drain.is_some() {
            return;
        }
        self.core.readiness.drain();
        self.core.meters.gauges.draining = true;
        self.core.drain = Some(DrainTally::new(reason));
        self.drained_from = self.core.now();
        let config = &self.core.config;
        let times = DrainTimes {
            delay: if reason == DrainReason::Stop { config.drain_delay } else { Duration::ZERO },
            timeout: config.stop_timeout,
            close_timeout: config.close_timeout,
            rate: config.drain_rate,
        };
        self.drain = Some(Box::new(Drain::new(reason, self.core.clock.effective(), times)));
    }

    /// Carries out the steps of the drain that are due.
    #[cold]
    fn advance_drain(&mut self) {
        let now = self.core.clock.effective();
        let Some(mut drain) = self.drain.take() else { return };
        loop {
            match drain.step(now, self.driver.has_listeners()) {
                DrainStep::Wait => break,
                DrainStep::ClearQueues => {
                    self.refuse_upgrades();
                    self.driver.drain_listeners();
                    // Now: clearing may end before a pause for the accept rate does.
                    self.change_accepting();
                }
                DrainStep::StopListening => self.driver.stop_listening(),
                DrainStep::Collect => {
                    // Queues that are not empty by now are not waited for.
                    self.driver.stop_listening();
                    self.driver.stop_datagrams();
                    let streams = self.echo.iter().flat_map(|echo| echo.streams.lasting()).collect();
                    drain.add(self.dispatch().drain_candidates(drain.reason()));
                    drain.add(streams);
                }
                DrainStep::Close => {
                    while let Some(slot) = drain.next(now) {
                        match &mut self.echo {
                            Some(echo) if echo.streams.has(slot) => echo.streams.end(slot, now),
                            _ => self.dispatch().drain_one(slot, drain.reason()),
                        }
                    }
                }
                // At the end of the turn, after the output of this one.
                DrainStep::Abort => break,
            }
        }
        self.drain = Some(drain);
    }

    fn refuse_upgrades(&mut self) {
        if let Some(drain) = &mut self.core.drain {
            drain.refuses = true;
        }
    }

    /// Whether neither a connection nor a listener is left, and no connection of another shard is on
    /// its way.
    fn has_ended(&self) -> bool {
        let expects = self.balancer.as_ref().is_some_and(|balancer| balancer.expects());
        let has_sockets = self.driver.has_listeners() || self.driver.has_datagrams();
        self.connections() == 0 && !has_sockets && !expects
    }

    fn is_done(&mut self) -> bool {
        let has_ended = self.has_ended();
        let Some(drain) = &mut self.drain else { return false };
        drain.begin_turn();
        if has_ended {
            return drain.is_closing();
        }
        if !drain.is_overdue(self.core.clock.effective()) {
            return false;
        }
        if self.connections() > 0 {
            tracing::warn!(
                connections = self.connections(),
                "draining: not all connections closed within {:?}; the others are dropped",
                self.core.config.stop_timeout
            );
        }
        if let Some(drain) = &mut self.core.drain {
            drain.aborts = true;
        }
        // They are dropped with the others.
        self.adopt_transfers();
        self.remove_all();
        self.finish_turn();
        true
    }
}

#[cfg(test)]
mod tests;
