//! The steps of a run over all threads: connect, pause, warm up, measure, drain, close.

use crate::LoadError;
use crate::broadcast::Join;
use crate::fleet::{self, Fleet};
use crate::histogram::Recorder;
use crate::ledger::{Counts, Ledger};
use crate::observe::usage::Usage;
use crate::plan::{Behaviour, Plan, Population, RunLength};
use crate::processes::Edges;
use crate::steps::{RunPhase, Timetable};
use crate::tally::{Behind, Cut, Ramped, Standing, Tally, ThreadEvent};
use crate::timeline::{Moment, Timeline};
use crate::worker::{Worker, nanos};
use std::mem;
use std::sync::mpsc::{RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

/// The interval at which the threads are queried and the caller is informed.
const TICK: Duration = Duration::from_millis(100);

/// The interval of the cuts of the time series, and of the histograms of the live view.
pub(crate) const INTERVAL: Duration = Duration::from_secs(1);

/// The time to wait for replies if the run is stopped early.
const WAIT_IF_STOPPED: Duration = Duration::from_secs(1);

/// The progress of a run, reported about ten times a second.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// The current phase.
    pub phase: RunPhase,
    /// The time since the phase began.
    pub elapsed: Duration,
    /// The length of the phase, if it ends by time.
    pub of: Option<Duration>,
    /// The number of messages that ends the phase, if there is one.
    pub of_messages: Option<u64>,
    /// Open connections.
    pub open: u64,
    /// Connections that failed to open.
    pub failed: u64,
    /// Messages that were answered, or sent where they are not answered, since the warm-up began.
    pub messages: u64,
    /// The current rate of these, per second.
    pub per_second: f64,
    /// The median response time in the latest second, in microseconds.
    pub p50: Option<f64>,
    /// The 99th percentile of it.
    pub p99: Option<f64>,
    /// Messages that are due and were not submitted.
    pub backlog: u64,
    /// Errors of all kinds.
    pub errors: u64,
}

/// What a run has measured.
#[derive(Default)]
pub(crate) struct Score {
    /// By population: the messages that were due in the measured part.
    pub(crate) measured: Vec<Ledger>,
    /// By population: everything before, with the errors of connecting.
    pub(crate) before: Vec<Ledger>,
    /// By population: the errors of closing.
    pub(crate) after: Vec<Ledger>,
    /// By thread and population: the counts in `measured`.
    pub(crate) shares: Vec<Vec<Counts>>,
    /// By thread: its CPU time in the measured part.
    pub(crate) usage: Vec<Usage>,
    /// The length of the measured part.
    pub(crate) length: Duration,
    pub(crate) timeline: Timeline,
    /// The open connections of each population when messages began.
    pub(crate) established: Vec<u64>,
    /// The cores of the threads.
    pub(crate) cores: Vec<Option<usize>>,
    /// Messages that were due and not answered, at the beginning and at the end of the measured part.
    pub(crate) behind: (Behind, Behind),
    /// How late the threads woke up for what was due in the measured part.
    pub(crate) late: Recorder,
    pub(crate) tallies: Vec<Tally>,
}

/// A run in progress.
pub(crate) struct Conductor<'a> {
    plan: &'a Plan,
    fleet: Fleet,
    report: &'a mut dyn FnMut(&Progress),
    phase: RunPhase,
    phase_began: Instant,
    phase_length: Option<Duration>,
    next_tick: Instant,
    next_cut: Instant,
    standings: Vec<Standing>,
    /// The completed messages at the latest query, and its time.
    latest: (Instant, u64),
    /// The time of the latest change of the number of completed messages.
    moved: Instant,
    ramped: Vec<Ramped>,
    drained: usize,
    /// The beginning of the measured part, in nanoseconds since the epoch.
    measured_from: u64,
    live: Moment,
    /// By population: the deliveries of its broadcast.
    joins: Vec<Join>,
    score: Score,
}

impl<'a> Conductor<'a> {
    pub(crate) fn new(plan: &'a Plan, fleet: Fleet, report: &'a mut dyn FnMut(&Progress)) -> Self {
        let (epoch, threads) = (fleet.epoch(), fleet.threads());
        let ledgers = || plan.populations.iter().map(|_| Ledger::default()).collect::<Vec<_>>();
        let time = match plan.length {
            RunLength::Time(time) => Some(time),
            RunLength::Messages(_) => None,
        };
        let score = Score {
            measured: ledgers(),
            before: ledgers(),
            after: ledgers(),
            shares: vec![vec![Counts::default(); plan.populations.len()]; threads],
            // A thread that ends before the measured part uses nothing in it.
            usage: vec![Usage { delay: Some(Duration::ZERO), ..Usage::default() }; threads],
            timeline: Timeline::new(time, threads),
            ..Score::default()
        };
        Self {
            plan,
            fleet,
            report,
            phase: RunPhase::Connect,
            phase_began: epoch,
            phase_length: None,
            next_tick: epoch + TICK,
            next_cut: epoch + INTERVAL,
            standings: vec![Standing::default(); threads],
            latest: (epoch, 0),
            moved: epoch,
            ramped: Vec::new(),
            drained: 0,
            measured_from: 0,
            live: Moment::default(),
            joins: plan.populations.iter().map(|_| Join::new(threads, nanos(plan.timeout))).collect(),
            score,
        }
    }

    /// The system's ids of the threads in their order; known when the connections are open.
    pub(crate) fn thread_ids(&self) -> Vec<i32> {
        self.ramped.iter().map(|ramped| ramped.thread).collect()
    }

    /// Opens all connections, or determines that they cannot be opened. Returns whether the run can
    /// continue.
    pub(crate) fn connect(&mut self) -> bool {
        self.enter(RunPhase::Connect, None);
        self.fleet.post_all(|worker, shard| worker.connect(shard));
        let threads = self.fleet.threads();
        self.wait(None, |run| run.ramped.len() == threads || run.plan.stop.is_set());
        self.ramped.sort_by_key(|ramped| ramped.index);
        for Ramped { established, .. } in &self.ramped {
            self.score.established.resize(established.len(), 0);
            self.score.established.iter_mut().zip(established).for_each(|(sum, open)| *sum += open);
        }
        for (join, established) in self.joins.iter_mut().zip(&self.score.established) {
            join.set_readers(established.saturating_sub(1));
        }
        let established: u64 = self.score.established.iter().sum();
        let later = self.plan.populations.iter().any(|population| fleet::connects_later(&population.behaviour));
        !self.plan.stop.is_set() && (established > 0 || later)
    }

    /// Sends messages, measures, and waits for outstanding replies. Sends the beginning of the measured
    /// part to `edges`, and its end when it is known.
    pub(crate) fn measure(&mut self, edges: &Sender<Instant>) {
        let (time, messages) = match self.plan.length {
            RunLength::Time(time) => (Some(time), None),
            RunLength::Messages(messages) => (None, Some(messages)),
        };
        let timetable = Timetable::new(self.fleet.now(), self.plan.warmup(), time);
        self.measured_from = timetable.measure;
        if let (Some(edges), Some(_)) = (&self.plan.edges, time) {
            // Sending fails if the receiver has been dropped.
            let _ = edges.send(Edges { begin: self.fleet.at(timetable.measure), end: self.fleet.at(timetable.drain) });
        }
        // Sending fails if there is no sampler.
        let _ = edges.send(self.fleet.at(timetable.measure));
        if time.is_some() {
            let _ = edges.send(self.fleet.at(timetable.drain));
        }
        for (index, quotas) in self.quotas(messages) {
            self.fleet.post(index, move |worker, shard| worker.begin(shard, timetable, quotas));
        }
        let threads = self.fleet.threads();
        let over = move |run: &Self| run.drained == threads || run.plan.stop.is_set();
        self.enter(RunPhase::Pause, None);
        self.wait(Some(self.fleet.at(timetable.warm_up)), over);
        self.enter(RunPhase::WarmUp, Some(self.plan.warmup()));
        self.wait(Some(self.fleet.at(timetable.measure)), over);
        self.enter(RunPhase::Measure, time);
        self.moved = Instant::now();
        self.next_cut = self.fleet.at(timetable.measure) + INTERVAL;
        if time.is_some() {
            self.wait(Some(self.fleet.at(timetable.drain)), over);
        } else {
            // A connection whose reply does not come goes on after the timeout, and the reply to its
            // next message may not come either.
            let stalled_after = self.plan.timeout.saturating_mul(3);
            self.wait(None, move |run| over(run) || run.moved.elapsed() > stalled_after);
        }
        // The earliest end counts: the measuring may be over before its time.
        let _ = edges.send(Instant::now());
        self.enter(RunPhase::Drain, None);
        let is_early = time.is_none() || self.plan.stop.is_set();
        if self.plan.stop.is_set() {
            self.fleet.post_all(|worker, shard| worker.end(shard));
        } else if is_early {
            self.fleet.post_all(|worker, shard| worker.end_short(shard));
        }
        // A run by number of messages that has stalled has already waited.
        let wait = if is_early { WAIT_IF_STOPPED.min(self.plan.timeout) } else { self.plan.timeout };
        self.wait(Some(Instant::now() + wait), |run| run.drained == threads);
    }

    /// Each thread's share of the messages of each population, in proportion to its connections.
    fn quotas(&self, messages: Option<u64>) -> Vec<(usize, Option<Vec<u64>>)> {
        let Some(messages) = messages else {
            return (0..self.fleet.threads()).map(|index| (index, None)).collect();
        };
        // By population, the connections that send on each thread.
        let sends: Vec<bool> = self.plan.populations.iter().map(|population| population.behaviour.sends()).collect();
        let places: Vec<(usize, Vec<u64>)> = self
            .ramped
            .iter()
            .map(|Ramped { index, established, .. }| {
                let of =
                    established.iter().zip(&sends).zip(&self.plan.populations).map(|((open, sends), population)| {
                        let later = fleet::connects_later(&population.behaviour);
                        let threads = self.fleet.threads();
                        let open =
                            if later { Plan::share(population.connections.into(), threads, *index) } else { *open };
                        // Of a broadcast, only the publishers send.
                        match population.behaviour {
                            Behaviour::Broadcast { publishers, .. } => {
                                Plan::share(publishers.into(), self.fleet.threads(), *index).min(open)
                            }
                            _ if *sends => open,
                            _ => 0,
                        }
                    });
                (*index, of.collect())
            })
            .collect();
        let mut places_left: u64 = places.iter().flat_map(|(_, places)| places).sum();
        let mut left = messages;
        let shares = places.into_iter().map(|(index, places)| {
            let shares = places.into_iter().map(|places| {
                // The last one takes the remainder.
                let share = (u128::from(left) * u128::from(places)).checked_div(places_left.into()).unwrap_or(0) as u64;
                left -= share;
                places_left -= places;
                share
            });
            (index, Some(shares.collect()))
        });
        shares.collect()
    }

    /// Closes all connections and ends the threads.
    pub(crate) fn close(mut self) -> Result<Score, LoadError> {
        self.enter(RunPhase::Close, None);
        self.fleet.post_all(|worker, shard| worker.close(shard));
        let threads = self.fleet.threads();
        // The engine closes connections that do not answer within its close timeout.
        self.wait(Some(Instant::now() + 2 * fleet::CLOSE_TIMEOUT), |run| run.score.tallies.len() == threads);
        let now = self.fleet.now();
        for (join, total) in self.joins.iter_mut().zip(&mut self.score.measured) {
            join.finish(now, total);
        }
        self.fleet.stop()?;
        self.score.tallies.sort_by_key(|tally| tally.index);
        Ok(self.score)
    }

    fn enter(&mut self, phase: RunPhase, length: Option<Duration>) {
        (self.phase, self.phase_began, self.phase_length) = (phase, Instant::now(), length);
    }

    /// Handles the events of the threads and reports progress, until `done` returns true or
    /// `until` has passed.
    fn wait(&mut self, until: Option<Instant>, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return;
            }
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                self.report_progress(now);
                self.fleet.post_all(Worker::stand);
            }
            if now >= self.next_cut {
                self.next_cut += INTERVAL;
                if matches!(self.phase, RunPhase::WarmUp | RunPhase::Measure) {
                    self.fleet.post_all(|worker, _| worker.cut_now());
                }
            }
            let next = until.map_or(self.next_tick, |until| until.min(self.next_tick));
            match self.fleet.next_event(next.saturating_duration_since(now)) {
                Ok(event) => self.take(event),
                Err(RecvTimeoutError::Timeout) => {}
                // Every thread has ended early. Stopping them returns the error.
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn take(&mut self, event: ThreadEvent) {
        match event {
            ThreadEvent::Ramped(ramped) => {
                self.standings[ramped.index].open = ramped.established.iter().sum();
                self.ramped.push(ramped);
            }
            ThreadEvent::Standing(index, standing) => {
                if standing.done != self.standings[index].done {
                    self.moved = Instant::now();
                }
                self.standings[index] = standing;
            }
            ThreadEvent::Cut(cut) => self.take_cut(*cut),
            ThreadEvent::Drained => self.drained += 1,
            // A connection that opened while the others closed leads to a second tally.
            ThreadEvent::Closed(tally) => {
                if !self.score.tallies.iter().any(|known| known.index == tally.index) {
                    self.score.tallies.push(*tally);
                }
            }
        }
    }

    /// Adds the ledgers of an interval of a thread.
    fn take_cut(&mut self, mut cut: Cut) {
        let score = &mut self.score;
        if cut.phase < RunPhase::Measure && cut.to == self.measured_from {
            score.behind.0.add(cut.behind);
        }
        score.late.merge(&mut cut.late);
        if let Some(usage) = cut.usage {
            score.behind.1.add(cut.behind);
            score.usage[cut.index] = usage;
            score.length = score.length.max(Duration::from_nanos(cut.to.saturating_sub(self.measured_from)));
        }
        let totals = match cut.phase {
            RunPhase::Connect | RunPhase::Pause | RunPhase::WarmUp => &mut score.before,
            RunPhase::Measure | RunPhase::Drain => &mut score.measured,
            RunPhase::Close => &mut score.after,
        };
        if cut.phase == RunPhase::Measure {
            let answered = self.plan.populations.iter().map(|population| population.behaviour.is_answered());
            let ledgers = cut.ledgers.iter_mut().map(|ledger| &mut **ledger).zip(answered);
            let to = cut.to.saturating_sub(self.measured_from);
            score.timeline.add(to, cut.index, cut.usage.is_some(), ledgers);
        }
        self.live.add(cut.index, answered(&self.plan.populations, &mut cut.ledgers));
        let is_measured = matches!(cut.phase, RunPhase::Measure | RunPhase::Drain);
        let populations = totals.iter_mut().zip(&mut score.shares[cut.index]);
        for ((total, share), mut ledger) in populations.zip(cut.ledgers) {
            if cut.phase == RunPhase::Drain {
                // The rate is that of the measured part.
                ledger.counts.forget_arrivals();
            }
            if is_measured {
                share.add(&ledger.counts);
            }
            total.merge(*ledger);
        }
        if is_measured {
            for ((join, delivered), total) in self.joins.iter_mut().zip(cut.deliveries).zip(&mut score.measured) {
                join.add(cut.index, cut.to, delivered, total);
            }
        }
    }

    fn report_progress(&mut self, now: Instant) {
        let total = |figure: fn(&Standing) -> u64| self.standings.iter().map(figure).sum::<u64>();
        let messages = total(|standing| standing.done);
        let (before, messages_before) = mem::replace(&mut self.latest, (now, messages));
        let elapsed = now.saturating_duration_since(before).as_secs_f64();
        let (p50, p99) = self.live.quantiles();
        let progress = Progress {
            phase: self.phase,
            elapsed: now.saturating_duration_since(self.phase_began),
            of: self.phase_length,
            of_messages: match self.plan.length {
                RunLength::Messages(messages) if self.phase == RunPhase::Measure => Some(messages),
                _ => None,
            },
            open: total(|standing| standing.open),
            failed: total(|standing| standing.failed),
            messages,
            per_second: if elapsed > 0.0 { messages.saturating_sub(messages_before) as f64 / elapsed } else { 0.0 },
            p50,
            p99,
            backlog: total(|standing| standing.behind.unsent),
            errors: total(|standing| standing.errors),
        };
        (self.report)(&progress);
    }
}

/// The ledgers of the populations whose messages are answered: only these have response times.
fn answered<'a>(populations: &[Population], ledgers: &'a mut [Box<Ledger>]) -> impl Iterator<Item = &'a mut Ledger> {
    let ledgers = populations.iter().zip(ledgers);
    ledgers.filter(|(population, _)| population.behaviour.is_answered()).map(|(_, ledger)| &mut **ledger)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answered_populations_have_response_times() {
        let of = |behaviour| Population { behaviour, ..Plan::new("ws://127.0.0.1:9/").populations.remove(0) };
        let populations = [of(Behaviour::Echo), of(Behaviour::Send), of(Behaviour::Connect)];
        let mut ledgers: Vec<Box<Ledger>> = populations.iter().map(|_| Box::default()).collect();
        ledgers.iter_mut().zip(1..).for_each(|(ledger, number)| ledger.counts.sent = number);
        let sent: Vec<u64> = answered(&populations, &mut ledgers).map(|ledger| ledger.counts.sent).collect();
        assert_eq!(sent, [1, 3]);
    }
}
