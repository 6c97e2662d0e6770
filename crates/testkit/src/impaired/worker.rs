//! The thread of an impaired server.

use super::Impairments;
use super::connection::{HeldReply, ImpairedConnection};
use super::impairments::{CorruptedByte, FaultPlan, ImpairedCounts, ReplyFault};
use super::schedule::ReplySchedule;
use crate::Frame;
use ringway_codec::{Limits, OpCode, SpillPool, encode_server};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt;
use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The time before a reply is due from which on the thread polls without sleeping: longer than the
/// kernel's timer slack (50 µs, prctl(2)) and a wake.
const MARGIN: Duration = Duration::from_micros(150);

/// The maximum number of connections. Further ones wait in the kernel's backlog.
const MAX_CONNECTIONS: usize = 1000;

/// The maximum number of times that [`delays`](super::ImpairedReport::delays) has.
const MAX_DELAYS: usize = 1_000_000;

/// A message that waits for its reply.
struct WaitingReply {
    due: Instant,
    received: Instant,
    connection: u64,
    /// The number of the message among those of its connection, from 0.
    number: u64,
    opcode: OpCode,
    payload: Vec<u8>,
}

/// The replies of a server, as [`ImpairedReport`](super::ImpairedReport) has them.
#[derive(Debug, Default)]
pub(super) struct ReplyRecord {
    pub(super) delays: Vec<Duration>,
    pub(super) corrupted: Vec<u64>,
}

/// What poll(2) has reported.
#[derive(Default)]
struct Readiness {
    is_stopped: bool,
    has_connection: bool,
    /// The connections with input or an end, and those that can be written.
    readable: Vec<u64>,
    writable: Vec<u64>,
}

pub(super) struct Worker {
    listener: TcpListener,
    /// Readable when the server stops.
    stopped: UnixStream,
    impairments: Impairments,
    shared: Arc<Mutex<ImpairedCounts>>,
    connections: BTreeMap<u64, ImpairedConnection>,
    /// The number of connections accepted.
    accepted: u64,
    /// In the order of their due times.
    waiting: VecDeque<WaitingReply>,
    schedule: ReplySchedule,
    faults: FaultPlan,
    pool: SpillPool,
    buffer: Vec<u8>,
    record: ReplyRecord,
    margin: Duration,
}

impl Worker {
    pub(super) fn new(
        listener: TcpListener,
        stopped: UnixStream,
        impairments: Impairments,
        shared: Arc<Mutex<ImpairedCounts>>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        if let Some(bytes) = impairments.receive_buffer {
            // Accepted sockets inherit it.
            sockopt::set_socket_recv_buffer_size(&listener, bytes)?;
        }
        // At a high rate only the number of replies matters, and the thread polls for a quarter of
        // the time at most.
        let margin = impairments.rate.map_or(MARGIN, |rate| MARGIN.min(Duration::from_secs(1) / rate / 4));
        Ok(Self {
            listener,
            stopped,
            shared,
            connections: BTreeMap::new(),
            accepted: 0,
            waiting: VecDeque::new(),
            schedule: ReplySchedule::new(&impairments),
            faults: FaultPlan::new(&impairments),
            pool: SpillPool::new(Limits::default()),
            buffer: vec![0; 64 << 10],
            record: ReplyRecord::default(),
            margin,
            impairments,
        })
    }

    /// Runs until the server is stopped. Returns the record of its replies.
    pub(super) fn run(mut self) -> io::Result<ReplyRecord> {
        let shared = Arc::clone(&self.shared);
        loop {
            let ready = self.wait()?;
            // Counts are visible when the replies are: the lock is held while they are written.
            let mut counts = shared.lock().unwrap_or_else(PoisonError::into_inner);
            if ready.is_stopped {
                return Ok(self.record);
            }
            if ready.has_connection {
                self.accept()?;
            }
            for id in ready.readable {
                self.receive(id, &mut counts);
            }
            counts.waiting = self.waiting_count();
            counts.max_waiting = counts.max_waiting.max(counts.waiting);
            self.answer(&mut counts);
            self.release_held(&mut counts);
            for id in ready.writable {
                self.flush(id);
            }
            self.connections.retain(|_, connection| {
                counts.undelivered += u64::from(connection.is_gone() && connection.held.is_some());
                !connection.is_gone()
            });
            counts.waiting = self.waiting_count();
        }
    }

    fn waiting_count(&self) -> u64 {
        let held = self.connections.values().filter(|connection| connection.held.is_some()).count();
        (self.waiting.len() + held) as u64
    }

    /// How long poll(2) may sleep.
    fn timeout(&self) -> Option<Duration> {
        let held = self.connections.values().filter_map(|connection| Some(connection.held.as_ref()?.until));
        let next = held.chain(self.waiting.front().map(|reply| reply.due)).min()?;
        Some(next.saturating_duration_since(Instant::now()).saturating_sub(self.margin))
    }

    /// Waits for an event, or until a reply is due soon.
    fn wait(&self) -> io::Result<Readiness> {
        let timeout = self
            .timeout()
            .map(|timeout| Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() });
        let is_full = self.waiting.len() >= self.impairments.queue_limit;
        let input = |wanted: bool| if wanted { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = Vec::with_capacity(2 + self.connections.len());
        fds.push(PollFd::new(&self.stopped, PollFlags::IN));
        fds.push(PollFd::new(&self.listener, input(self.connections.len() < MAX_CONNECTIONS)));
        for connection in self.connections.values() {
            let mut events = input(connection.wants_input() && !is_full);
            events.set(PollFlags::OUT, connection.has_output());
            fds.push(PollFd::new(connection.stream(), events));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(Readiness::default()),
            result => result?,
        };
        let has = |fd: &PollFd<'_>, flags: PollFlags| fd.revents().intersects(flags);
        let any = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        let mut ready = Readiness {
            is_stopped: has(&fds[0], any),
            has_connection: has(&fds[1], PollFlags::IN),
            ..Readiness::default()
        };
        for (id, fd) in self.connections.keys().zip(&fds[2..]) {
            if has(fd, any) {
                ready.readable.push(*id);
            }
            if has(fd, PollFlags::OUT) {
                ready.writable.push(*id);
            }
        }
        Ok(ready)
    }

    fn accept(&mut self) -> io::Result<()> {
        while self.connections.len() < MAX_CONNECTIONS {
            let stream = match self.listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                // The client has already reset the connection.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => continue,
                Err(error) => return Err(error),
            };
            self.accepted += 1;
            self.connections.insert(self.accepted, ImpairedConnection::new(stream, self.accepted)?);
        }
        Ok(())
    }

    fn receive(&mut self, id: u64, counts: &mut ImpairedCounts) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let (waiting, schedule) = (&mut self.waiting, &mut self.schedule);
        let mut number = connection.received;
        let message = |received, opcode, payload| {
            let due = schedule.due(received);
            waiting.push_back(WaitingReply { due, received, connection: id, number, opcode, payload });
            number += 1;
        };
        connection.receive(&mut self.pool, &mut self.buffer, self.impairments.ignore_pings, counts, message);
        connection.received = number;
        // The handshake's answer, pongs and close frames are not delayed.
        connection.flush();
    }

    fn flush(&mut self, id: u64) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.flush();
        }
    }

    /// Answers what is due.
    fn answer(&mut self, counts: &mut ImpairedCounts) {
        while let Some(reply) = self.waiting.pop_front() {
            if reply.due > Instant::now() {
                return self.waiting.push_front(reply);
            }
            let id = reply.connection;
            self.deliver(reply, counts);
            // Replies of one time leave together.
            let is_followed =
                self.waiting.front().is_some_and(|next| next.connection == id && next.due <= Instant::now());
            if !is_followed {
                self.flush(id);
            }
        }
    }

    /// Puts a reply, with its fault, into the output of its connection.
    fn deliver(&mut self, mut reply: WaitingReply, counts: &mut ImpairedCounts) {
        let connection = self.connections.get_mut(&reply.connection).filter(|connection| connection.is_open());
        let Some(connection) = connection else { return counts.undelivered += 1 };
        let is_empty = reply.payload.is_empty();
        let fault = self.faults.next(|fault| match fault {
            ReplyFault::Corrupt => !is_empty,
            ReplyFault::Swap => connection.held.is_none(),
            _ => true,
        });
        let output = &mut connection.output;
        match fault {
            Some(ReplyFault::Drop) => return counts.dropped += 1,
            Some(ReplyFault::Swap) => {
                let WaitingReply { received, opcode, payload, .. } = reply;
                let until = Instant::now() + Impairments::SWAP_WAIT;
                connection.held = Some(HeldReply { received, until, opcode, payload });
                return;
            }
            Some(ReplyFault::Corrupt) => {
                counts.corrupted += 1;
                self.record.corrupted.push(reply.number);
                corrupt(reply.opcode, &mut reply.payload, self.impairments.corrupted_byte);
            }
            Some(ReplyFault::Duplicate) => {
                counts.duplicated += 1;
                encode_server(reply.opcode, &reply.payload, output);
            }
            Some(ReplyFault::Ping) => {
                counts.pings_sent += 1;
                encode_server(OpCode::Ping, b"impaired", output);
            }
            Some(ReplyFault::Fragment | ReplyFault::Unasked) | None => {}
        }
        if fault == Some(ReplyFault::Fragment) {
            counts.fragmented += 1;
            fragment(reply.opcode, &reply.payload, output);
        } else {
            encode_server(reply.opcode, &reply.payload, output);
        }
        if fault == Some(ReplyFault::Unasked) {
            counts.unasked += 1;
            encode_server(reply.opcode, &self.impairments.unasked_payload, output);
        }
        let mut answered = 1;
        note_delay(&mut self.record.delays, reply.received);
        if let Some(held) = connection.held.take() {
            counts.swapped += 1;
            answered += 1;
            encode_server(held.opcode, &held.payload, output);
            note_delay(&mut self.record.delays, held.received);
        }
        self.count_answers(reply.connection, answered, counts);
    }

    /// Counts answered messages of a connection, and ends it after those that its plan allows.
    fn count_answers(&mut self, id: u64, answered: u64, counts: &mut ImpairedCounts) {
        counts.answered += answered;
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.answered += answered;
        if let Some(ending) = self.impairments.ending
            && connection.number.is_multiple_of(ending.one_in.into())
            && connection.answered >= ending.after
        {
            counts.ended += 1;
            connection.end(ending.how);
        }
    }

    /// Sends the replies that have waited in vain for one to be swapped with.
    fn release_held(&mut self, counts: &mut ImpairedCounts) {
        let now = Instant::now();
        let is_over = |connection: &ImpairedConnection| connection.held.as_ref().is_some_and(|held| held.until <= now);
        let over: Vec<u64> =
            self.connections.iter().filter(|(_, connection)| is_over(connection)).map(|(id, _)| *id).collect();
        for id in over {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let Some(held) = connection.held.take() else { continue };
            if !connection.is_open() {
                counts.undelivered += 1;
                continue;
            }
            counts.not_swapped += 1;
            encode_server(held.opcode, &held.payload, &mut connection.output);
            note_delay(&mut self.record.delays, held.received);
            self.count_answers(id, 1, counts);
            self.flush(id);
        }
    }
}

fn note_delay(delays: &mut Vec<Duration>, received: Instant) {
    if delays.len() < MAX_DELAYS {
        delays.push(received.elapsed());
    }
}

/// Flips the lowest bit of a byte. The last byte of text is ASCII or ends a character, and stays
/// so.
fn corrupt(opcode: OpCode, payload: &mut [u8], which: CorruptedByte) {
    let is_last = which == CorruptedByte::Last || opcode == OpCode::Text && !payload[0].is_ascii();
    let at = if is_last { payload.len() - 1 } else { 0 };
    payload[at] ^= 1;
}

/// Appends a message of three frames.
fn fragment(opcode: OpCode, payload: &[u8], output: &mut Vec<u8>) {
    let (first, rest) = payload.split_at(payload.len() / 3);
    let (second, third) = rest.split_at(rest.len() / 2);
    output.extend(Frame::new(opcode as u8, first).more().unmasked().bytes());
    output.extend(Frame::continuation(second).more().unmasked().bytes());
    output.extend(Frame::continuation(third).unmasked().bytes());
}
