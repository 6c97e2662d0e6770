//! The handler of a conversation: one connection at a time, which it opens again after a loss if
//! that is wanted. It carries out commands, reports events, and decides when the conversation ends.
//! It runs on the shard and never waits.

use super::backoff::Backoff;
use super::event::{Body, Closed, Command, Event, Verdict};
use super::opening::opened;
use super::outcome::{self, ClosedBy};
use super::pings::Pings;
use super::queue::{Commands, Events};
use super::resolver;
use super::sent::Output;
use ringway::{
    CloseCode, CloseReason, ConnectError, Connection, ConnectionId, Ending, Endpoint, Handler, Message, Request,
    SendOutcome, Shard, TimerId, Upgrade,
};
use ringway_loadtest::recording::RecordContent;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What a conversation does by itself.
#[derive(Clone, Debug)]
pub(super) struct Habits {
    /// The URL, for what is printed.
    pub(super) url: String,
    /// Ends after this many messages.
    pub(super) number: Option<u64>,
    /// Whether binary messages count, because they are printed.
    pub(super) counts_binary: bool,
    /// How long nothing is received at the end of the input until the connection is closed.
    pub(super) linger: Duration,
    /// The silence after which a ping is sent.
    pub(super) ping_interval: Option<Duration>,
    /// The number of attempts in a row to connect again.
    pub(super) reconnect: Option<u64>,
    /// Whether the name of the server is looked up again before each of them.
    pub(super) looks_up: bool,
    /// Whether what is sent is reported, for a recording.
    pub(super) records: bool,
}

/// The timers of the connection.
const LINGER: u64 = 1;
const SILENCE: u64 = 2;
const SENT: u64 = 4;

/// The timers of the shard.
const RETRY: u64 = 3;

/// How often an end that is due is checked again, while output waits or a slow reader delays it.
const RECHECK: Duration = Duration::from_millis(20);

/// How often it is checked which output the kernel has taken, while there is some.
const SENT_CHECK: Duration = Duration::from_millis(5);

/// The bytes of a control frame of a client without its payload: two of the header, and the masking
/// key (RFC 6455 section 5.2).
const CLIENT_HEADER: usize = 6;

pub(super) struct Conversation {
    habits: Habits,
    endpoint: Arc<Endpoint>,
    commands: Arc<Commands>,
    events: Arc<Events>,
    connection: Option<ConnectionId>,
    /// Whether the connection is paused until the printing thread has room.
    paused: bool,
    received: u64,
    last_received: Instant,
    pings: Pings,
    sent: Output,
    /// Whether the timer of the check is set.
    checks_sent: bool,
    /// Whether the input has ended.
    finished: bool,
    /// The messages of all connections that may not have arrived.
    unsent: usize,
    /// Why the conversation ends: set when this side begins to close.
    verdict: Option<Verdict>,
    backoff: Backoff,
    retry: Option<TimerId>,
    done: bool,
}

impl Handler for Conversation {
    type State = ();

    fn start(&mut self, shard: &mut Shard<'_, Self>) {
        shard.connect(&self.endpoint, ());
    }

    fn upgrade(&mut self, _: &Request<'_>) -> Upgrade<()> {
        Upgrade::accept(()) // for servers only: a client is not asked
    }

    fn open(&mut self, conn: &mut Connection<'_, Self>) {
        self.backoff.reset();
        self.connection = Some(conn.id());
        self.paused = false;
        self.last_received = conn.shard().turn_time();
        self.pings.clear();
        self.sent.clear();
        self.checks_sent = false;
        let opened = opened(conn, &self.endpoint, &self.habits.url);
        self.report(conn, Event::Opened(Box::new(opened)));
        self.commands.set_open(true);
        if let Some(interval) = self.habits.ping_interval {
            conn.set_timer_with(interval, SILENCE);
        }
        if self.verdict.is_some() {
            return self.close(conn, CloseCode::GOING_AWAY, "");
        }
        if self.finished {
            self.linger(conn);
        }
        self.carry_out(conn);
    }

    fn message(&mut self, conn: &mut Connection<'_, Self>, message: Message<'_>) {
        self.report_sent(conn);
        self.last_received = conn.shard().turn_time();
        if self.is_satisfied() {
            return;
        }
        let body = match message.as_text() {
            Some(text) => Body::Text(text.to_owned()),
            None => Body::Binary(message.payload().to_vec()),
        };
        let counts = self.habits.counts_binary || matches!(body, Body::Text(_));
        self.report(conn, Event::Message { at: SystemTime::now(), body });
        self.received += u64::from(counts);
        if self.is_satisfied() {
            self.verdict.get_or_insert(Verdict::Good);
            self.close(conn, CloseCode::NORMAL, "");
        }
    }

    fn drained(&mut self, conn: &mut Connection<'_, Self>) {
        self.carry_out(conn);
    }

    fn ping(&mut self, conn: &mut Connection<'_, Self>, payload: &[u8]) {
        self.last_received = conn.shard().turn_time();
        // The engine has queued the answer.
        self.sent.queued_by_engine(CLIENT_HEADER + payload.len());
        self.report_sent(conn);
        self.report(conn, Event::Ping { at: SystemTime::now(), payload: payload.to_vec() });
    }

    fn pong(&mut self, conn: &mut Connection<'_, Self>, payload: &[u8]) {
        let now = conn.shard().turn_time();
        self.last_received = now;
        self.report_sent(conn);
        let answers = self.pings.answered(payload, now);
        self.report(conn, Event::Pong { at: SystemTime::now(), payload: payload.to_vec(), answers });
    }

    fn timer(&mut self, conn: &mut Connection<'_, Self>, id: TimerId) {
        match id.token() {
            LINGER => self.check_linger(conn),
            SILENCE => self.check_silence(conn),
            SENT => {
                self.checks_sent = false;
                self.report_sent(conn);
                self.check_sent(conn);
            }
            _ => {}
        }
    }

    fn shard_timer(&mut self, shard: &mut Shard<'_, Self>, id: TimerId) {
        if id.token() != RETRY || self.retry.take().is_none() || self.done {
            return;
        }
        if self.events.is_full() {
            self.retry = Some(shard.set_timer(RECHECK, RETRY));
        } else if self.habits.looks_up {
            resolver::look_up(&self.endpoint, shard.handle(), Self::looked_up);
        } else {
            shard.connect(&self.endpoint, ());
        }
    }

    fn closed(&mut self, shard: &mut Shard<'_, Self>, (): (), reason: &CloseReason) {
        self.connection = None;
        self.commands.set_open(false);
        // A server that closes has not read what waits here, even if it closes as it should.
        while let Some(frame) = self.sent.next_sent(reason.unsent) {
            if let Some(content) = frame.content {
                self.events.push(Event::Sent { at: frame.at, content });
            }
        }
        let unsent = self.sent.waiting();
        self.unsent += unsent;
        self.sent.clear();
        let lost_silently = matches!(reason.ending, Ending::Terminated) && self.verdict.is_none();
        let how = if lost_silently {
            let silence = self.habits.ping_interval.unwrap_or_default() * 2;
            format!("nothing was received for {silence:?}")
        } else {
            outcome::how(reason)
        };
        let by = ClosedBy::of(reason);
        self.events.push(Event::Closed(Closed {
            at: SystemTime::now(),
            code: reason.code,
            reason: reason.text.clone(),
            how,
            clean: reason.is_clean(),
            by_server: matches!(by, ClosedBy::Server(_)),
            unsent,
        }));
        if self.verdict.is_none() && by.is_worth_another_attempt() && self.retry(shard) {
            return;
        }
        let verdict = match self.verdict.take() {
            Some(verdict) => verdict,
            None => outcome::of_end(&by, self.progress()),
        };
        self.finish(shard, verdict);
    }

    fn failed(&mut self, shard: &mut Shard<'_, Self>, (): (), error: &ConnectError) {
        if self.done {
            return;
        }
        if let Some(verdict) = self.verdict.take() {
            return self.finish(shard, verdict);
        }
        self.events.push(Event::Failed(outcome::failure(error, &self.habits.url)));
        if !outcome::is_worth_another_attempt(error) || !self.retry(shard) {
            self.finish(shard, Verdict::Failed);
        }
    }
}

impl Conversation {
    pub(super) fn new(habits: Habits, endpoint: Arc<Endpoint>, commands: Arc<Commands>, events: Arc<Events>) -> Self {
        Self {
            backoff: Backoff::new(habits.reconnect.unwrap_or(0)),
            habits,
            endpoint,
            commands,
            events,
            connection: None,
            paused: false,
            received: 0,
            last_received: Instant::now(),
            pings: Pings::default(),
            sent: Output::default(),
            checks_sent: false,
            finished: false,
            unsent: 0,
            verdict: None,
            retry: None,
            done: false,
        }
    }

    /// Carries out the commands that wait, as far as the connection takes them.
    pub(super) fn commands_wait(&mut self, shard: &mut Shard<'_, Self>) {
        let Some(id) = self.connection else { return };
        if let Some(mut conn) = shard.connection(id) {
            self.carry_out(&mut conn);
        }
    }

    /// The printing thread has room again.
    pub(super) fn resume(&mut self, shard: &mut Shard<'_, Self>) {
        let Some(id) = self.connection else { return };
        if let Some(mut conn) = shard.connection(id)
            && std::mem::take(&mut self.paused)
        {
            conn.resume();
            self.carry_out(&mut conn);
        }
    }

    /// The addresses for the next attempt were looked up.
    fn looked_up(&mut self, shard: &mut Shard<'_, Self>, result: Result<Endpoint, ConnectError>) {
        if self.done {
            return;
        }
        match result {
            Ok(endpoint) => {
                self.endpoint = Arc::new(endpoint);
                shard.connect(&self.endpoint, ());
            }
            Err(error) => {
                self.events.push(Event::Failed(outcome::failure(&error, &self.habits.url)));
                // A resolver can be unreachable for a time, as the server.
                if !self.retry(shard) {
                    self.finish(shard, Verdict::Failed);
                }
            }
        }
    }

    /// Ends the conversation with this verdict: closes the connection, if there is one.
    pub(super) fn end(&mut self, shard: &mut Shard<'_, Self>, code: CloseCode, verdict: Verdict) {
        self.verdict.get_or_insert(verdict);
        if let Some(id) = self.connection
            && let Some(mut conn) = shard.connection(id)
        {
            return self.close(&mut conn, code, "");
        }
        // Not open: there is nothing to close.
        if let Some(verdict) = self.verdict.take() {
            self.finish(shard, verdict);
        }
    }

    fn carry_out(&mut self, conn: &mut Connection<'_, Self>) {
        // What is sent is reported to a recording, which needs room, too.
        while conn.is_open()
            && !(self.paused && self.habits.records)
            && let Some(command) = self.commands.take()
        {
            match command {
                Command::Send(body) => {
                    let message = match &body {
                        Body::Text(text) => Message::text(text),
                        Body::Binary(bytes) => Message::binary(bytes),
                    };
                    let before = conn.buffered_amount();
                    match conn.send(message) {
                        SendOutcome::Sent | SendOutcome::Queued(_) => {
                            let content = self.habits.records.then_some(match body {
                                Body::Text(text) => RecordContent::Text(text),
                                Body::Binary(bytes) => RecordContent::Binary(bytes),
                            });
                            self.queued(conn, before, content, true);
                        }
                        SendOutcome::TooLarge(_) => {
                            let note = "not sent: a message has at most 1 GiB".to_owned();
                            self.report(conn, Event::Note(note));
                        }
                        SendOutcome::Full(_) | SendOutcome::Closed(_) | _ => {
                            return self.commands.give_back(Command::Send(body));
                        }
                    }
                }
                Command::Ping(payload) => {
                    let (now, before) = (conn.shard().turn_time(), conn.buffered_amount());
                    if conn.ping(&payload).is_ok() {
                        let content = self.habits.records.then(|| RecordContent::Ping(payload.clone()));
                        self.queued(conn, before, content, false);
                        self.pings.sent(payload, now, false);
                    }
                }
                Command::Pong(payload) => {
                    let before = conn.buffered_amount();
                    // The reader of the input has checked the length.
                    if conn.pong(&payload).is_ok() {
                        let content = self.habits.records.then_some(RecordContent::Pong(payload));
                        self.queued(conn, before, content, false);
                    }
                }
                Command::Close(code, reason) => {
                    let verdict = outcome::of_end(&ClosedBy::Us, self.progress());
                    self.verdict.get_or_insert(verdict);
                    self.close(conn, code, &reason);
                }
                Command::Finish => {
                    self.finished = true;
                    self.linger(conn);
                }
                Command::Fail(why) => {
                    self.verdict.get_or_insert(Verdict::Error(why));
                    self.close(conn, CloseCode::NORMAL, "");
                }
            }
        }
    }

    /// A frame was queued, before which the output had `before` bytes.
    fn queued(
        &mut self,
        conn: &mut Connection<'_, Self>,
        before: usize,
        content: Option<RecordContent>,
        is_message: bool,
    ) {
        self.sent.queued(before, conn.buffered_amount(), content, is_message);
        self.check_sent(conn);
    }

    /// Sets the timer of the next check of the output, while some waits.
    fn check_sent(&mut self, conn: &mut Connection<'_, Self>) {
        if !self.sent.is_empty() && !std::mem::replace(&mut self.checks_sent, true) {
            conn.set_timer_with(SENT_CHECK, SENT);
        }
    }

    /// Reports what the kernel has taken.
    fn report_sent(&mut self, conn: &mut Connection<'_, Self>) {
        let buffered = conn.buffered_amount();
        while let Some(frame) = self.sent.next_sent(buffered) {
            if let Some(content) = frame.content {
                self.report(conn, Event::Sent { at: frame.at, content });
            }
        }
    }

    /// Begins to wait for answers after the end of the input. With a number of messages to receive,
    /// the connection stays open until they have come.
    fn linger(&mut self, conn: &mut Connection<'_, Self>) {
        if self.habits.number.is_none() {
            // Silence begins now, not when the last message was received.
            self.last_received = conn.shard().turn_time();
            self.check_linger(conn);
        }
    }

    fn check_linger(&mut self, conn: &mut Connection<'_, Self>) {
        let silence = conn.shard().turn_time().saturating_duration_since(self.last_received);
        let left = self.habits.linger.saturating_sub(silence);
        if !left.is_zero() {
            conn.set_timer_with(left, LINGER);
        } else if self.paused || conn.buffered_amount() > 0 {
            // What this side delays is not silence of the server.
            conn.set_timer_with(RECHECK, LINGER);
        } else {
            self.verdict.get_or_insert(Verdict::Good);
            self.close(conn, CloseCode::NORMAL, "");
        }
    }

    /// Sends a ping to a silent server, and drops the connection if it has not answered one.
    fn check_silence(&mut self, conn: &mut Connection<'_, Self>) {
        let Some(interval) = self.habits.ping_interval else { return };
        let now = conn.shard().turn_time();
        let silence = now.saturating_duration_since(self.last_received);
        if self.paused {
            // What is not read cannot be heard.
            self.last_received = now;
        } else if silence >= interval * 2 {
            return conn.terminate();
        } else if silence >= interval {
            let (payload, before) = (self.pings.payload(), conn.buffered_amount());
            if conn.ping(&payload).is_ok() {
                self.queued(conn, before, None, false);
                self.pings.sent(payload, now, true);
            }
            conn.set_timer_with(interval * 2 - silence, SILENCE);
            return;
        }
        let silence = now.saturating_duration_since(self.last_received);
        conn.set_timer_with(interval.saturating_sub(silence).max(RECHECK), SILENCE);
    }

    fn close(&mut self, conn: &mut Connection<'_, Self>, code: CloseCode, reason: &str) {
        self.commands.set_open(false);
        // The reader of the input has checked the code.
        if conn.close(code, reason).is_err() {
            conn.terminate();
        }
        // A paused connection does not receive the answer.
        if std::mem::take(&mut self.paused) {
            conn.resume();
        }
    }

    /// Reports an event, and pauses the connection if the printing thread has no room.
    fn report(&mut self, conn: &mut Connection<'_, Self>, event: Event) {
        if self.events.push(event) && !self.paused && conn.is_open() {
            self.paused = true;
            conn.pause();
        }
    }

    /// The number of received messages, and the wanted one.
    fn progress(&self) -> Option<(u64, u64)> {
        self.habits.number.map(|number| (self.received, number))
    }

    /// Whether the wanted number of messages has been received.
    fn is_satisfied(&self) -> bool {
        self.habits.number.is_some_and(|number| self.received >= number)
    }

    /// Prepares another attempt to connect. Returns `false` if there is none.
    fn retry(&mut self, shard: &mut Shard<'_, Self>) -> bool {
        let Some((attempt, after)) = self.backoff.next() else { return false };
        let of = self.habits.reconnect.unwrap_or(0);
        self.events.push(Event::Retrying { after, attempt, of });
        self.retry = Some(shard.set_timer(after, RETRY));
        true
    }

    fn finish(&mut self, shard: &mut Shard<'_, Self>, verdict: Verdict) {
        if std::mem::replace(&mut self.done, true) {
            return;
        }
        let unsent = self.commands.end();
        if unsent > 0 {
            self.events.push(Event::Note(outcome::not_sent(unsent)));
        }
        self.unsent += unsent;
        // With the wanted number of messages received, the rest of the input does not matter.
        let has_failed = verdict == Verdict::Good && self.unsent > 0 && !self.is_satisfied();
        self.events.push(Event::Done(if has_failed { Verdict::Failed } else { verdict }));
        shard.stop();
    }
}
